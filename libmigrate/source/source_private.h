/* What the files of source share. */
#ifndef MIG_SOURCE_PRIVATE_H
#define MIG_SOURCE_PRIVATE_H

#include "libmigrate/pg/pg.h"
#include "libmigrate/source/source.h"
#include "libmigrate/work/work.h"

#include <pthread.h>

/* Of a statement that names rows one by one. */
#define SOURCE_SQL_LIMIT ((size_t) 1 << 24)

/* A reading under way: COPY statements one after another, cut into parts. */
struct source_reading {
    enum mig_table table;
    int64_t next_id, last_id; /* where the next part begins; where the reading ends */
    int64_t last_row_id;      /* of the rows given out; the next COPY begins behind it */
    bool settled, copying, has_row, ended;
    size_t copy_rows; /* at most, of one COPY */
    uint64_t copied;  /* rows of the COPY under way */
    size_t copied_bytes;
    /* A row that has arrived but lies in the next band, and so in the next part: pg's memory, which
     * stands until it is asked for another. */
    bool has_kept;
    int64_t kept_id;
    struct mig_pg_field kept[MIG_COLUMNS_MAX + 1];
};

/* A look for installations that changed, under way: a page of them at a time. */
struct source_look {
    int64_t since_ns;
    bool by_index, ended;
    int64_t next_page, page_count; /* of the heap, where there is no index */
    struct mig_pg_result found;    /* installation ids in hex, and when each changed */
    int next_found;
    bool reading; /* the rows of some of them */
    int64_t after_ns;
    char *after_id; /* the last one of the page before, in hex */
};
/* renewed.c */
void source_look_release(struct source_look *look);

/* How it is known which ids are final. */
enum settle_method {
    SETTLE_BY_WRITERS,   /* who holds a lock that writing takes has ended */
    SETTLE_BY_EVERYBODY, /* who is in any transaction has */
    SETTLE_BY_TIME       /* some time has passed, and all transactions that were known then: from a
                          * standby neither sessions nor locks are seen */
};

/* What is known of the database, whoever is asked of it. */
struct source_past {
    _Atomic int64_t floor;                         /* WAL that whoever answers must have */
    pthread_mutex_t lock;                          /* guards: */
    struct mig_witness witnesses[MIG_TABLE_COUNT]; /* with the highest ids that were read */
};

struct mig_source {
    const struct mig_manifest *manifest;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct mig_pg *pg;
    unsigned connections;                /* that there were; it may be another server each time */
    unsigned witnessed[MIG_TABLE_COUNT]; /* the connection that has the table's witness, if any */
    bool probed;                         /* this connection */
    bool identified;                     /* by the first of them: */
    struct mig_source_identity identity;
    enum settle_method method; /* of this connection */
    bool is_standby;
    bool sees_sessions; /* and who is prepared */
    bool sees_receiver; /* whether a standby is being told of more */
    int64_t
        reached; /* WAL that this server is known to have replayed; INT64_MAX: it is a primary */
    struct source_past own_past;
    struct source_past *past;       /* of all that read together */
    char *columns[MIG_TABLE_COUNT]; /* the SELECT list of each table */
    bool can_join_installations;    /* installations has the columns that key packages need */
    bool has_is_appended;
    struct source_reading reading;
    struct mig_buffer among; /* the reading is of these rows alone, as SQL; empty: of all */
    struct source_look look;
    struct mig_retry retry; /* of the reading; since the last row */
    unsigned retry_for_s;
    struct mig_stop leaving; /* ends such waits */
    const struct mig_source_gate *gate;
    uint64_t ungated_rows; /* read since the gate was asked */
};

/* Connects, in place of the connection that there was, and probes. */
int source_connect(struct mig_source *source, struct mig_error *err);

/* After a failure that may pass: waits and, where the connection is gone, connects anew; again and
 * again for as long as the source is to be waited for. Errors: why, when that is over. */
int source_recover(struct mig_source *source, struct mig_retry *retry, const struct mig_error *why,
                   struct mig_error *err);

/* server.c: whether the server has what was settled elsewhere. Errors: as pg; MIG_E_TEMPORARY: not
 * yet. */
int source_reach_floor(struct mig_source *source, struct mig_error *err);

/* server.c: how far the WAL of whoever answers has come, and is written; raises the floor. */
int source_note_wal(struct mig_source *source, int64_t *ret_end, int64_t *ret_written,
                    struct mig_error *err);

/* server.c: connects anew to a server that was a standby. Errors: as source_recover(). */
int source_leave_promoted(struct mig_source *source, struct mig_error *err);

/* mig_pg_query(), asked again after such a failure. */
int source_query(struct mig_source *source, const char *sql, const char *const *params,
                 size_t param_count, struct mig_pg_result *ret_result, struct mig_error *err);

/* Looks at the catalogue and fills columns and what else depends on it. */
int source_probe(struct mig_source *source, struct mig_error *err);

/* The sequence that a table's ids are drawn from; name is NULL where there is none and none is
 * needed. */
struct source_sequence {
    char *name; /* quoted as SQL wants it */
    int64_t cache, oid;
};
void source_sequence_release(struct source_sequence *sequence);
/* Errors: MIG_E_REFUSED where no range of ids would ever be known to be final. */
int source_sequence(struct mig_source *source, enum mig_table table,
                    struct source_sequence *ret_sequence, struct mig_error *err);

/* settle_sql.c: the two statements of a look, and one that has a row when sequences have come to
 * cache ids; none where that is not asked. Errors: as source_sequence(). */
int source_settle_sql(struct mig_source *source, struct mig_buffer *latest,
                      struct mig_buffer *holders, struct mig_buffer *caches, struct mig_error *err);

/* server.c: how this connection settles; a warning where that is less sure than it could be. */
int source_choose_method(struct mig_source *source, struct mig_error *err);
void source_tell_method(const struct mig_source *source);

/* witness.c: before a connection reads a table for the first time. Errors: MIG_E_REFUSED. */
int source_check_witness(struct mig_source *source, enum mig_table table, struct mig_error *err);
/* Fills in a part's witness, and keeps it. Errors: MIG_E_NOMEM. */
int source_note_witness(struct mig_source *source, struct mig_part *part, struct mig_error *err);

/* read.c: before each statement that reads rows. */
int source_pass_gate(struct mig_source *source, struct mig_error *err);

#endif
