/* What the files of pg share: the connection, waiting, and how a failure gets its code. */
#ifndef MIG_PG_PRIVATE_H
#define MIG_PG_PRIVATE_H

#include "libmigrate/pg/pg.h"

#include <libpq-fe.h>

#define PG_WAIT_STEP_MS 100

enum pg_copy { PG_COPY_NONE, PG_COPY_OUT, PG_COPY_IN };

struct mig_pg {
    PGconn *connection;
    char subject[96], place[256];
    char state[6]; /* SQLSTATE of the last failure; none if the server gave none */
    const struct mig_stop *stop;
    int64_t statement_timeout_s, lock_timeout_s;
    int64_t asked_ns;             /* when the statement under way was sent */
    struct mig_patience patience; /* of a wait without a byte */
    bool timed_out;               /* the last failure was statement_timeout_s */
    bool lost;           /* libpq itself failed: nobody knows where the connection stands */
    bool leaving;        /* what is under way is being left: a wish to stop leaves time for that */
    int64_t leave_by_ns; /* when that time ends; 0 until somebody asked to stop */
    enum pg_copy copy;
    bool copy_binary, copy_started; /* of a COPY out: whether the stream's head has been read */
    char *copy_row;                 /* the row handed out last; libpq's memory */
    struct mig_buffer pending;      /* of a COPY in: what libpq was not given yet */
};

/* MIG_E_CANCELLED once somebody asked to stop; while leaving, once the time for that is over too.
 */
int pg_check_stop(struct mig_pg *pg, struct mig_error *err);

/* From now on what is under way is being left. Gives what pg->leaving was, to be put back. */
bool pg_leave(struct mig_pg *pg);

/* Asks the server to give up the statement under way, and waits for as long as pg_check_stop() lets
 * it. Never fails. */
void pg_cancel(struct mig_pg *pg);

/* Waits until the socket can be read (or written), looking at the stop flag several times a second.
 * Errors: MIG_E_CANCELLED, MIG_E_TEMPORARY. */
int pg_wait(struct mig_pg *pg, bool for_write, struct mig_error *err);

/* Sends what libpq still holds. libpq would keep whatever is not sent yet: in a COPY memory and
 * time would grow with the table. The server may be talking meanwhile (an error, most likely). */
int pg_flush(struct mig_pg *pg, struct mig_error *err);

/* Takes in what has come from the server. False: the connection is lost. */
bool pg_take_in(struct mig_pg *pg);

/* The server is about to be asked something. */
void pg_ask(struct mig_pg *pg);

/* Waits for the next result of what was sent; *ret_result is NULL when there is none left. The
 * caller clears it. A result that reports an error is returned as one. */
int pg_next_result(struct mig_pg *pg, PGresult **ret_result, struct mig_error *err);

/* Reads all results that are left and throws them away; the first failure counts. */
int pg_drain(struct mig_pg *pg, struct mig_error *err);

/* Records what the server has to say, or, if result is NULL, libpq: the connection is lost then,
 * even where that only lacked memory, since statement and answer may have come apart. */
int pg_fail(struct mig_pg *pg, const PGresult *result, struct mig_error *err);

void pg_clear(PGresult **result);

/* hosts.c: which hosts to try, as lists of libpq's, where it is not those of the DSN. */
struct pg_hosts {
    char *host, *address, *port;
};
/* Leaves out the host that the connection was trying. *ret_left: whether there are others.
 * Errors: MIG_E_NOMEM. */
int pg_hosts_drop(PGconn *connection, struct pg_hosts *hosts, bool *ret_left,
                  struct mig_error *err);
void pg_hosts_release(struct pg_hosts *hosts);

#endif
