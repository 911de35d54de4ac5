/*
 * pg: one connection to PostgreSQL, for source and node alike: settings, errors told apart,
 * waiting that can be interrupted, binary COPY out and in.
 *
 * A connection belongs to one thread at a time. Text in a message never holds a password.
 */
#ifndef MIG_PG_H
#define MIG_PG_H

#include "libmigrate/base/base.h"

struct mig_pg;

struct mig_pg_options {
    const char *subject;         /* put in front of every message: "source", "node 'alpha'" */
    bool read_only;              /* every transaction of the session */
    const struct mig_stop *stop; /* looked at while waiting; may be NULL */
    int64_t statement_timeout_s; /* of the manifest's limits; 0: none, whatever the server says */
    int64_t lock_timeout_s;
};

/* Connects (in 10 s a host at most, or the DSN's connect_timeout), sets UTC, the application name
 * and client encoding, the limits, and that a row-level security policy is an error (MIG_E_REFUSED,
 * at the statement) and hides nothing. Errors: MIG_E_TEMPORARY (nobody there, too many
 * connections), MIG_E_DATABASE (wrong password, no such database), MIG_E_USAGE (not a DSN),
 * MIG_E_CANCELLED, MIG_E_NOMEM. */
int mig_pg_open(const char *dsn, const struct mig_pg_options *options, struct mig_pg **ret_pg,
                struct mig_error *err);
/* Closes and frees; an open transaction is rolled back by the server. NULL is fine. */
void mig_pg_close(struct mig_pg **pg);
int mig_pg_server_version(const struct mig_pg *pg); /* 150004 */
/* For how long a server may be silent while it is waited for, before the connection counts as lost:
 * for sessions whose statements are all short. At the beginning: for ever. */
void mig_pg_set_patience(struct mig_pg *pg, struct mig_patience patience);
/* Whether the connection still stands, as far as is known without asking the server. */
bool mig_pg_alive(const struct mig_pg *pg);
/* Whether it can be asked something new as well: nothing is under way. */
bool mig_pg_idle(const struct mig_pg *pg);
/* Whether the last failure was a row whose key is in the table already. That is MIG_E_DATABASE:
 * only the caller knows whether to look again, since another writer may just have put it there. */
bool mig_pg_met_duplicate(const struct mig_pg *pg);

/* Whether the last failure was that a statement had reached statement_timeout_s. */
bool mig_pg_timed_out(const struct mig_pg *pg);

/* "host:port/dbname" for people. */
const char *mig_pg_place(const struct mig_pg *pg);

/* Runs commands that give no rows. Errors: by SQLSTATE, see pg.c's table: MIG_E_TEMPORARY,
 * MIG_E_REFUSED (rights, missing table or column, read-only), MIG_E_DATABASE, MIG_E_CANCELLED. */
int mig_pg_exec(struct mig_pg *pg, const char *sql, struct mig_error *err);

/* One statement with text parameters ($1 ...; NULL pointers are SQL NULLs), all rows in memory as
 * text. Release with mig_pg_result_release(). */
struct mig_pg_result {
    void *handle;
    int rows, columns;
    int64_t affected; /* of an INSERT, UPDATE, DELETE */
};
int mig_pg_query(struct mig_pg *pg, const char *sql, const char *const *params, size_t param_count,
                 struct mig_pg_result *ret_result, struct mig_error *err);
/* The same, with one bytea parameter given as bytes, as $1; params follow as $2... */
int mig_pg_query_bytes(struct mig_pg *pg, const char *sql, struct mig_bytes bytes,
                       const char *const *params, size_t param_count,
                       struct mig_pg_result *ret_result, struct mig_error *err);
const char *mig_pg_text(const struct mig_pg_result *result, int row, int column); /* NULL: NULL */
int64_t mig_pg_int64(const struct mig_pg_result *result, int row, int column);
bool mig_pg_bool(const struct mig_pg_result *result, int row, int column);
/* Decodes a bytea column's text into arena. */
int mig_pg_bytea(const struct mig_pg_result *result, int row, int column, struct mig_arena *arena,
                 struct mig_bytes *ret_bytes, struct mig_error *err);
void mig_pg_result_release(struct mig_pg_result *result);

int mig_pg_begin(struct mig_pg *pg, struct mig_error *err);
int mig_pg_commit(struct mig_pg *pg, struct mig_error *err);
/* Never fails: what can't be rolled back is gone with the connection. Once somebody asked to stop
 * it waits two seconds for the server at most, as mig_pg_copy_abandon() does. */
void mig_pg_rollback(struct mig_pg *pg);

/* ---- binary COPY -------------------------------------------------------------------------- */

struct mig_pg_field {
    bool is_null;
    struct mig_bytes bytes; /* in network order, as PostgreSQL sends it; until the next call */
};

/* Starts "COPY (...) TO STDOUT (FORMAT binary)". */
int mig_pg_copy_out(struct mig_pg *pg, const char *sql, struct mig_error *err);
/* Fills count fields with the next row; *ret_more is false at the end, and then *ret_rows is the
 * number of rows that the server says it sent. Errors: as above, MIG_E_CORRUPT when the stream is
 * not what the format says or a row has another number of fields. */
int mig_pg_copy_next(struct mig_pg *pg, struct mig_pg_field *fields, size_t count, bool *ret_more,
                     uint64_t *ret_rows, struct mig_error *err);
/* Gives up a COPY that is under way, either direction; the transaction is lost. Never fails. */
void mig_pg_copy_abandon(struct mig_pg *pg);

/* Starts "COPY t (...) FROM STDIN (FORMAT binary)"; rows follow field by field. */
int mig_pg_copy_in(struct mig_pg *pg, const char *sql, struct mig_error *err);
/* Starts a COPY in another format; bytes follow as they are. */
int mig_pg_copy_in_text(struct mig_pg *pg, const char *sql, struct mig_error *err);
int mig_pg_put_raw(struct mig_pg *pg, struct mig_bytes bytes, struct mig_error *err);
int mig_pg_put_row(struct mig_pg *pg, uint16_t fields, struct mig_error *err);
int mig_pg_put_null(struct mig_pg *pg, struct mig_error *err);
int mig_pg_put_int16(struct mig_pg *pg, int16_t value, struct mig_error *err);
int mig_pg_put_int32(struct mig_pg *pg, int32_t value, struct mig_error *err);
int mig_pg_put_int64(struct mig_pg *pg, int64_t value, struct mig_error *err);
int mig_pg_put_bool(struct mig_pg *pg, bool value, struct mig_error *err);
int mig_pg_put_bytes(struct mig_pg *pg, struct mig_bytes bytes, struct mig_error *err);
/* Ends it; gives the server's row count. */
int mig_pg_copy_in_end(struct mig_pg *pg, uint64_t *ret_rows, struct mig_error *err);

/* Numbers as PostgreSQL sends them. The size must be right. Errors: MIG_E_CORRUPT. */
int mig_pg_read_int(const struct mig_pg_field *field, size_t size, int64_t *ret_value,
                    struct mig_error *err);

#endif
