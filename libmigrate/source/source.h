/*
 * source: the V3 database, read without holding it up: short read-only transactions, one a range of
 * ids, and only ranges that no transaction can still write into.
 */
#ifndef MIG_SOURCE_H
#define MIG_SOURCE_H

#include "libmigrate/base/base.h"
#include "libmigrate/bundle/bundle.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/wire/wire.h"

/* ---- what can be said of a row before anything is built from it ---------------------------- */

struct mig_standing {
    enum mig_kind kind;
    bool kind_told;    /* false: neither the MLS bytes nor is_commit tell; kind is group_messages */
    uint32_t findings; /* 1u << enum mig_finding */
    bool expired;      /* by the policy at as_of; never when the policy keeps expired rows */
    bool expired_early; /* expired, though V3 keeps such rows for longer (source_retention_days) */
    bool since_known;   /* false: the row's time does not fit 64 bits of nanoseconds */
    int64_t since_ns;   /* what time counts from: creation, or when a key package became current */
};

/* Tells commit from message by the MLS bytes (by the column first under profile xmtpd), and judges
 * expiry at as_of. Any thread. */
void mig_source_standing(const struct mig_policy *policy, int64_t as_of_ns,
                         const struct mig_row *row, struct mig_standing *ret_standing);

/* ---- the database ------------------------------------------------------------------------- */

struct mig_source;

/* Connects read-only, refuses a database that is not V3's (tables or columns missing, named all at
 * once), and notes which optional columns are there. From a standby, and where the role may not
 * look at locks, ranges are settled by time.
 * Errors: as mig_pg_open(), MIG_E_REFUSED. The manifest is borrowed while the source is open. */
int mig_source_open(const struct mig_manifest *manifest, const struct mig_hooks *hooks,
                    const struct mig_stop *stop, struct mig_source **ret_source,
                    struct mig_error *err);
void mig_source_close(struct mig_source **source);

/* For how long a connection that was lost, a server that restarts or a time limit that was reached
 * is tried again before it is a failure; 0, as it is when opened: at once. */
void mig_source_set_retry(struct mig_source *source, unsigned seconds);
/* While on, nobody waits for the source to come back. Any thread. */
void mig_source_leave(struct mig_source *source, bool leave);

/*
 * The range of a table that is final. Rows with ids up to bound can no longer appear; those that
 * are missing were rolled back. Rows above what the sequence has given out were written with ids
 * drawn by hand: they are at stray_first and above, and can't be settled.
 */
struct mig_settled {
    int64_t bound;
    bool has_strays;
    int64_t stray_first;
};

/* Waits until what has been given out of a table's ids, or of all tables' (an array of
 * MIG_TABLE_COUNT), is final; says whom it waits for through progress. Errors: MIG_E_REFUSED (the
 * sequence caches ids, or the column draws none), MIG_E_TEMPORARY (waited 10 minutes),
 * MIG_E_CANCELLED. */
int mig_source_settle(struct mig_source *source, enum mig_table table,
                      struct mig_settled *ret_settled, struct mig_error *err);
int mig_source_settle_all(struct mig_source *source, struct mig_settled *ret_settled,
                          struct mig_error *err);

/* Whether somebody has locked a table for himself, or waits to: who reads it then waits as well. A
 * role that may not see that is told false. */
int mig_source_is_locked(struct mig_source *source, const char *table, bool *ret_is,
                         struct mig_error *err);

/* Whether ranges are settled by time: rows may then still come late, though that is unlikely. */
bool mig_source_settles_by_time(const struct mig_source *source);

/* How much of the source's WAL a server must have replayed before it is asked anything: all that
 * was settled is in it. It rises by itself. 0: none is known. */
int64_t mig_source_floor(const struct mig_source *source);
void mig_source_raise_floor(struct mig_source *source, int64_t wal);
/* Raises it to where whoever answers now is, once that has come to where it was: what was seen of
 * it no other server may lack. Errors: MIG_E_TEMPORARY (a standby is behind). */
int mig_source_note_wal(struct mig_source *source, struct mig_error *err);

/* A row that was read before, of this connection or another: a server that is connected to later
 * may lack it, but not have another in its place, or reading the table is refused. The one with the
 * highest id of a table counts. */
void mig_source_add_witness(struct mig_source *source, enum mig_table table,
                            const struct mig_witness *witness);

/* Floor and witnesses are the other's from now on, which outlives it. */
void mig_source_share_past(struct mig_source *source, struct mig_source *other);

/* Rows above what the sequence has given out, and above bound, now. */
int mig_source_strays(struct mig_source *source, enum mig_table table, int64_t bound,
                      struct mig_settled *ret_settled, struct mig_error *err);

/* Settled bounds that rise while others write; nobody is waited for. */
struct mig_settling;
struct mig_settling_state {
    int64_t settled[MIG_TABLE_COUNT]; /* as in struct mig_settled */
    int64_t bounds[MIG_TABLE_COUNT];  /* as far as that is sure to outlive a crash of the source */
    int64_t latest[MIG_TABLE_COUNT];  /* given out: rows up to here are there or may come */
    bool is_held_up;                  /* by a transaction that may still commit an id: */
    enum mig_table held_up;
    int64_t writer_pid;    /* 0: it is prepared, or known by its number alone: */
    int64_t writer_number; /* 0: it is not */
    int64_t writer_age_s;  /* -1: the role may not see it */
};
/* From bounds that are settled. The source is borrowed. Errors: as mig_source_settle(). */
int mig_settling_open(struct mig_source *source, const int64_t *bounds,
                      struct mig_settling **ret_settling, struct mig_error *err);
void mig_settling_free(struct mig_settling **settling);
/* Two or three cheap statements. Errors: as pg; MIG_E_REFUSED when ids have gone back. */
int mig_settling_look(struct mig_settling *settling, struct mig_settling_state *ret_state,
                      struct mig_error *err);
/* Whom it waits for, for a person; "" when for nobody. */
void mig_settling_describe(const struct mig_settling_state *state, char *text, size_t size);

/*
 * Which database this is, as far as the role may know; 0 stands for what it may not. It stays the
 * same through restarts and failovers to a standby; a dump that is restored, an upgrade or a
 * logical replica is another.
 */
struct mig_source_identity {
    int64_t system;   /* the server's system identifier */
    int64_t database; /* oid */
    int64_t tables[MIG_TABLE_COUNT], sequences[MIG_TABLE_COUNT]; /* oids; 0: it draws from none */
};
int mig_source_identify(struct mig_source *source, struct mig_source_identity *ret_identity,
                        struct mig_error *err);
/* Whether it is the one that was pinned: for a run that is taken up, and for every connection that
 * is made anew. Errors: as pg; MIG_E_REFUSED with all that differs. */
int mig_source_check_same(struct mig_source *source, const struct mig_source_identity *pinned,
                          struct mig_error *err);
/* Whether every sequence has still given out what it had when these bounds were settled: it has
 * not where the database was set back to a backup. Errors: as pg; MIG_E_REFUSED. */
int mig_source_check_reach(struct mig_source *source, const int64_t bounds[MIG_TABLE_COUNT],
                           struct mig_error *err);
/* One line, which parse reads back. Errors of parse: MIG_E_CORRUPT. */
#define MIG_SOURCE_IDENTITY_SIZE 640
void mig_source_identity_print(const struct mig_source_identity *identity,
                               char ret_text[MIG_SOURCE_IDENTITY_SIZE]);
int mig_source_identity_parse(const char *text, struct mig_source_identity *ret_identity,
                              struct mig_error *err);

/* Waits until what has been settled is on the source's disk: before that a crash would set the
 * sequences back, and ids below a bound be given out again. Some tenths of a second at most, none
 * where commits are waited for. Errors: as pg; MIG_E_CANCELLED. */
int mig_source_await_durable(struct mig_source *source, struct mig_error *err);

/* What the server's clock says. */
int mig_source_now(struct mig_source *source, int64_t *ret_ns, struct mig_error *err);

/* About how many rows the table has: the planner's estimate, or a count where it has none. */
int mig_source_estimate(struct mig_source *source, enum mig_table table, uint64_t *ret_rows,
                        struct mig_error *err);

/* How many rows have ids in [first_id, last_id], counted by the server. */
int mig_source_count(struct mig_source *source, enum mig_table table, int64_t first_id,
                     int64_t last_id, uint64_t *ret_rows, struct mig_error *err);

/* The same of many ranges at once, each by itself. */
struct mig_source_range {
    int64_t first_id, last_id;
    uint64_t rows; /* filled in */
};
int mig_source_count_ranges(struct mig_source *source, enum mig_table table,
                            struct mig_source_range *ranges, size_t count, struct mig_error *err);

/* The lowest id in [first_id, last_id]. *ret_found is false when there is none: then *ret_id stays
 * as it is. */
int mig_source_next_id(struct mig_source *source, enum mig_table table, int64_t first_id,
                       int64_t last_id, bool *ret_found, int64_t *ret_id, struct mig_error *err);

/* The first band of nodes' tables that has rows with ids in [first_id, last_id], neither below 0:
 * where it begins, and how many rows of it are in the range, counted up to limit. *ret_found is
 * false when there are none. */
int mig_source_next_band(struct mig_source *source, enum mig_table table, int64_t first_id,
                         int64_t last_id, uint64_t limit, bool *ret_found, int64_t *ret_start,
                         uint64_t *ret_rows, struct mig_error *err);

/* Installations whose current key package is in no row, so that no envelope can carry it. */
int mig_source_blockers(struct mig_source *source, struct mig_blockers *blockers,
                        struct mig_error *err);

/*
 * Whoever keeps the source from being asked for too much. enter is called before each statement
 * that reads rows, outside of any transaction, with how many rows came since the last call; it
 * waits for as long as it must, and what it fails with ends the reading. Any thread that reads.
 */
struct mig_source_gate {
    int (*enter)(void *context, uint64_t rows, struct mig_error *err);
    void *context;
    size_t statement_rows; /* the most of one statement; 0: as many as are good */
};
/* The gate is borrowed while the source is open; NULL takes it away. */
void mig_source_set_gate(struct mig_source *source, const struct mig_source_gate *gate);

/* What can be known of a table without reading it. */
struct mig_source_measure {
    bool analysed;       /* false: rows were counted, and nothing is known of times */
    uint64_t rows, past; /* past: created at or before the instant asked for */
    uint64_t disk_bytes; /* with indexes and TOAST */
    bool has_rows;
    int64_t lowest, highest; /* ids */
};
int mig_source_measure(struct mig_source *source, enum mig_table table, int64_t instant_ns,
                       struct mig_source_measure *ret_measure, struct mig_error *err);

/* The highest id that the table's sequence has given out; INT64_MAX where the manifest's "settle"
 * asks for no sequence. Whether rows can still come below it only mig_source_settle() tells.
 * Errors: MIG_E_REFUSED, as there. */
int mig_source_last_id(struct mig_source *source, enum mig_table table, int64_t *ret_last,
                       struct mig_error *err);

/* The starts of the bands of MIG_BAND_WIDTH ids that hold rows, rising. Free with free(). */
int mig_source_bands(struct mig_source *source, enum mig_table table, int64_t **ret_starts,
                     size_t *ret_count, struct mig_error *err);

/* What would make reading refuse, all of it: rights, row-level security, sequences.
 * Errors: as pg, for what keeps it from being told. */
int mig_source_examine(struct mig_source *source, struct mig_errors *refusals,
                       struct mig_error *err);

/* How large a part may get before the next one begins. */
struct mig_part_limits {
    size_t rows, bytes;
};
#ifndef MIG_PART_ROWS
#define MIG_PART_ROWS 4096
#endif
#define MIG_PART_LIMITS ((struct mig_part_limits){MIG_PART_ROWS, (size_t) 4 << 20})

/* Starts reading the rows of [first_id, last_id] in the order of their ids, as parts that leave no
 * gap. One reader at a time; a reader left in the middle is given up by the next open. */
int mig_source_read_begin(struct mig_source *source, enum mig_table table, int64_t first_id,
                          int64_t last_id, bool settled, struct mig_error *err);

/* The next part, or NULL after the one that ends with last_id. The caller owns it.
 * Errors: as mig_pg_copy_next(); MIG_E_CORRUPT when the server says that it sent another number of
 * rows, or sends them out of order. */
int mig_source_read_part(struct mig_source *source, struct mig_part_limits limits,
                         struct mig_part **ret_part, struct mig_error *err);

/* ---- key packages that changed their standing ---------------------------------------------- */

/*
 * An upload of a package that V3 has already makes no row, but installations.key_package and
 * updated_at change; a new one takes the standing from the one before. updated_at is told by V3's
 * own clock, in a transaction that commits later.
 */
#define MIG_RENEW_MARGIN_NS (INT64_C(600) * MIG_NS_PER_SECOND)

/* What is known before a look begins. */
struct mig_look_mark {
    /* The next look has to begin here, once this one has seen all: when it began less the margin,
     * and no later than the oldest transaction that may hold a change still unseen. */
    int64_t next_since_ns;
    /* The same in two marks: nothing was reported to have changed in between (what is not reported
     * yet will be, and tells the next mark apart). "" where that can't be known. */
    char activity[128];
};
int mig_source_look_mark(struct mig_source *source, int64_t since_ns,
                         struct mig_look_mark *ret_mark, struct mig_error *err);

/*
 * Starts looking for installations changed at or after since_ns; their rows of key_packages come by
 * mig_source_look_part(). With an index on installations (updated_at)
 * this costs what has changed. Without one all of the table is read, page by page, a short
 * statement for every 32 MiB. *ret_by_index tells which; it may be NULL. A database whose
 * installations lack the columns has nothing to look for.
 */
int mig_source_look_begin(struct mig_source *source, int64_t since_ns, bool *ret_by_index,
                          struct mig_error *err);

/* The next rows: all rows of some of those installations, cut as rows above the sequence are. Ids
 * rise in a part, not from part to part. NULL after the last one; the caller owns it.
 * Errors: as mig_source_read_part(). */
int mig_source_look_part(struct mig_source *source, struct mig_part **ret_part,
                         struct mig_error *err);

#endif
