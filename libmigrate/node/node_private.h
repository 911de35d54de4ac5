/* What the files of node share. */
#ifndef MIG_NODE_PRIVATE_H
#define MIG_NODE_PRIVATE_H

#include "libmigrate/node/node.h"
#include "libmigrate/pg/pg.h"

#include <inttypes.h>

#define NODE_SCHEMA_LEVEL 23
#define NODE_SQL_SIZE 4096
#define NODE_NUMBER_SIZE 24
#define NODE_TEXT_LIMIT ((size_t) 64 << 20)
#define NODE_BANDS_MAX 64
/* A span of an originator's ids that stands in the statement itself, for printf: its own bands
 * alone are planned for and locked, of the hundreds that a node may have. */
#define NODE_IN_SPAN                                                                               \
    "originator_node_id = %" PRIu32 " AND originator_sequence_id BETWEEN '%" PRId64                \
    "'::bigint AND '%" PRId64 "'::bigint"

/* A time of the node as RFC 3339. */
#define NODE_UTC_TEXT(column) "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* The bands that are known to have their leaves. */
struct node_band {
    uint32_t originator;
    int64_t start;
};

struct node_payer {
    bool known;
    int64_t id;
    char address[MIG_ADDRESS_TEXT_SIZE];
};

/* Rows read back, a page at a time. */
struct node_reading {
    uint32_t originator;
    int64_t next_id, last_id;
    bool ended; /* behind the page in hand there is none */
    bool close; /* the page before was full */
    /* The page in hand, a transaction of its own: */
    bool in_page;
    int64_t page_last;
    struct mig_arena arena;
    struct mig_node_row *rows; /* of the meta table */
    size_t count, next;
    bool wants_blob, has_blob; /* of the blob table the one that comes next: */
    int64_t blob_id;
    struct mig_bytes envelope;
    uint64_t blobs;
    struct node_payer payer; /* of the last row */
};
/* read.c */
void node_reading_release(struct node_reading *reading);

struct node_bulk;

/* A table's bands on the bulk path: one takes rows while the one before is finished. */
struct node_bulks {
    struct node_bulk *filling, *finishing;
    bool has_slow;      /* rows of the band from slow_start on are not for the bulk path */
    int64_t slow_start; /* asked for once a band, not once a part */
};

/* Kept of the run that was asked about last. */
struct node_trackers {
    char run[64];
    int64_t ids[MIG_TABLE_COUNT];
};

struct mig_node {
    const struct mig_manifest *manifest;
    const struct mig_manifest_node *entry;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct mig_pg *pg;
    bool locked;                       /* holds the lock against a second run */
    bool has_books;                    /* our schema is there */
    bool left_band;                    /* a band was given up: its tables may be there still */
    bool staged;                       /* the session has its staging tables */
    bool keeps_payer;                  /* payer_id is committed */
    const struct mig_run *run;         /* under way, while its rows are stored */
    char payer[MIG_ADDRESS_TEXT_SIZE]; /* of the run under way */
    int32_t payer_id;
    struct node_band bands[NODE_BANDS_MAX]; /* a ring: what falls out is asked for again */
    size_t band_count;
    struct node_reading reading;
    struct node_bulks bulks[MIG_TABLE_COUNT];
    struct node_trackers trackers;
    bool has_way; /* way is known: BULK, or why no band of this node goes that way */
    enum mig_way way;
};

/* schema.c: who and what this database is, and our own schema in it. */
int node_check(struct mig_node *node, bool for_writing, struct mig_error *err);
/* The same for writing, with all refusals at once. *ret_usable: it can be asked more. */
int node_check_all(struct mig_node *node, struct mig_errors *refusals, bool *ret_usable,
                   struct mig_error *err);
int node_find_books(struct mig_node *node, struct mig_error *err);
int node_make_books(struct mig_node *node, struct mig_error *err);

/* examine.c: adds what the role may not do. */
int node_check_rights(struct mig_node *node, struct mig_errors *refusals, struct mig_error *err);

/* claim.c: MIG_E_TEMPORARY when another run is at work here. */
int node_check_unclaimed(struct mig_node *node, struct mig_error *err);
/* Names the session after this process. */
int node_say_who(struct mig_node *node, struct mig_error *err);
/* For a session that writes beside the one that has claimed the node. */
int node_claim_side(struct mig_node *node, struct mig_error *err);

/* For mig_cleanup(node_free_flags) bool *flags = NULL; */
void node_free_flags(bool **flags);

/* bands.c: makes the leaves that ids in [first, last] of originator need, each band that one of
 * part's envelopes lies in. Own transactions, exclusive lock. */
int node_make_bands(struct mig_node *node, const struct mig_part *part, struct mig_error *err);
/* In the rows' transaction, under the shared lock: whether all those leaves are still there. */
int node_bands_there(struct mig_node *node, const struct mig_part *part, bool *ret_there,
                     struct mig_error *err);
void node_forget_bands(struct mig_node *node);
/* For how long a lock of the node's own tables is waited for at a time: others wait behind us. */
#define NODE_LOCK_MS 50
/* The exclusive lock of the bands, and bounds for what is done under it, as statements of a
 * transaction; for printf with NODE_LOCK_MS and node_time_for(). Whoever queues for the lock keeps
 * all of the node's writers behind it: so it is taken in passing, when nobody has it, and queued
 * for only when that does not come about. Foreign keys and partitions cost as much work as there
 * are leaves. */
#define NODE_LOCK_BANDS                                                                            \
    "SET LOCAL lock_timeout = %d;"                                                                 \
    " DO $$ BEGIN FOR i IN 1 .. 20 LOOP IF pg_try_advisory_xact_lock(5) THEN RETURN; END IF;"      \
    " PERFORM pg_sleep(0.005); END LOOP; PERFORM pg_advisory_xact_lock(5); END $$;"                \
    " SELECT set_config('statement_timeout', (%" PRId64 " + count(*))::text, true) FROM pg_class"  \
    " WHERE relispartition AND relkind = 'r' AND relname LIKE 'gateway\\_envelopes\\_meta%%'"
/* What may be taken for it. Grows, so that a slow server is not kept out for ever. */
int64_t node_time_for(unsigned attempt);
/* An attempt that leaves nothing behind when it fails; again and again for patience_s seconds while
 * its failures pass by themselves. */
typedef int node_attempt(struct mig_node *node, const void *context, unsigned number,
                         struct mig_error *err);
int node_try_for(struct mig_node *node, int patience_s, node_attempt *attempt, const void *context,
                 struct mig_error *err);
/* Statements in a transaction of their own, as the owner of the tables, under that lock; for
 * patience_s seconds again and again when locks are not to be had. */
int node_change_bands(struct mig_node *node, const char *sql, int patience_s,
                      struct mig_error *err);
/* What is slept before the next try: longer after each, and not all of a time that others may sleep
 * as well. Errors: MIG_E_CANCELLED. */
int node_pause_after(const struct mig_node *node, unsigned attempt, struct mig_error *err);
int64_t node_band_start(int64_t id);
/* Whose rows a part's are; not for a table whose rows all go to the chain. */
uint32_t node_originator_of(const struct mig_part *part);
/* From here to the transaction's end as the owner of the node's tables: the node's pruner must be
 * able to drop what we make. */
#define NODE_BECOME_OWNER                                                                          \
    "DO $$ DECLARE owner text; BEGIN SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class"    \
    " WHERE oid = 'public.gateway_envelopes_meta'::regclass; IF owner <> current_user THEN"        \
    " EXECUTE format('SET LOCAL ROLE %%I', owner); END IF; END $$"

/* What the node has of a band. */
enum node_band_state { NODE_BAND_ABSENT, NODE_BAND_EMPTY, NODE_BAND_HAS_ROWS };
int node_band_state(struct mig_node *node, uint32_t originator, int64_t start,
                    enum node_band_state *ret_state, struct mig_error *err);

/* What a transaction is to bring: a part of a run, or the rows of letters tried again. */
struct node_load_job {
    const struct mig_run *run;
    const struct mig_part *part;
    const struct mig_part_digests *digests;
    const struct mig_dead_letter *letters; /* a row each; NULL for a part of a run */
    const struct mig_repair *repair;       /* what the node holds otherwise makes room; or NULL */
    bool *conflicts;                       /* a flag a row */
    int64_t tracker; /* where the node's tracker was when the run began; rows up to it are holes */
    struct mig_load_result counts;
};

/* load.c */
void node_tracker_sql(enum mig_table table, int64_t id, char *sql, size_t size);
/* The last row of the table's kind for nodes that this part brought or rejected. */
bool node_last_row_of(const struct mig_part *part, int64_t *ret_id);

/* bulk.c: *ret_taken is false when the part is to be staged; by then every part of its table that
 * went before it is committed. */
int node_bulk_take(struct mig_node *node, struct node_load_job *job, bool *ret_taken,
                   struct mig_error *err);
/* Rolls back whatever is open. */
void node_bulk_abandon(struct mig_node *node);
/* bulk_tables.c: drops what runs that were stopped have left. */
int node_bulk_clean(struct mig_node *node, struct mig_error *err);

int node_stage_prepare(struct mig_node *node, struct mig_error *err);
/* Learns the id of a payer, writing it down where it is new. */
int node_find_payer(struct mig_node *node, const char *address, struct mig_error *err);
/* stage.c: envelopes of a part into the node's tables, in the transaction under way: first into a
 * table of our own, which needs no lock of the node's, then into its own. Flags rows that the node
 * holds with other bytes as conflicts, and counts. */
int node_stage_envelopes(struct mig_node *node, const struct mig_part *part, uint64_t *ret_staged,
                         struct mig_error *err);
int node_store_envelopes(struct mig_node *node, struct node_load_job *job, uint64_t staged,
                         struct mig_error *err);

/* The payer, and all that is staged, which the node lacks, with the usage of it. */
int node_insert_staged(struct mig_node *node, uint32_t originator, uint64_t count,
                       struct mig_error *err);

/* ids.c: ids of rows, listed for a statement. */
struct node_ids {
    struct mig_buffer text; /* an array literal, once ended */
    uint64_t count;
};
#define NODE_IDS_INIT ((struct node_ids){.text = MIG_BUFFER_INIT(NODE_TEXT_LIMIT)})
void node_ids_release(struct node_ids *ids);
int node_add_id(struct node_ids *ids, int64_t id, struct mig_error *err);
int node_end_ids(struct node_ids *ids, struct mig_error *err);
/* Where a part's row with this id is, or row_count. */
size_t node_row_of(const struct mig_part *part, int64_t id);

/* held.c: what the node holds under an id of ours. A row may be half there, meta without blob or
 * blob without meta: the other half is put in if the first is right, or is made right. */
struct node_held {
    struct node_ids all, differing, bare_meta, bare_blobs;
    uint64_t halves;        /* of those that are right */
    uint64_t up_to_tracker; /* of those that are whole, right or not */
};
#define NODE_HELD_INIT                                                                             \
    ((struct node_held){NODE_IDS_INIT, NODE_IDS_INIT, NODE_IDS_INIT, NODE_IDS_INIT, 0, 0})
void node_held_release(struct node_held *held);
/* Of what is staged. Renews what only changed its standing, and lists it; flags the rows that are
 * held with other bytes as conflicts, unless they are to make room. */
int node_find_held(struct mig_node *node, const struct node_load_job *job, uint32_t originator,
                   struct node_held *held, struct node_ids *renewed, struct mig_error *err);
/* Takes them out of the staging table; *ret_clock: one row, what the vector clock must show of
 * them, or none. */
int node_unstage_held(struct mig_node *node, const struct node_held *held,
                      struct mig_pg_result *ret_clock, struct mig_error *err);

/* standing.c: whether rows of the part may change their standing at all. */
bool node_has_standing(const struct mig_node *node, const struct mig_part *part);
/* Of the staged rows with these ids, rewrites those that the node holds and that differ by their
 * standing alone; counts those that differ otherwise. booked: the run has counted them, and its
 * counts go with what expires or comes back. Lists those rewritten, for node_renew_clock(). */
int node_renew_ids(struct mig_node *node, const struct mig_part *part, const struct node_ids *ids,
                   bool booked, struct node_ids *renewed, struct mig_renew_result *counts,
                   struct mig_error *err);
/* The same of the rows that the node was found to hold with other bytes: held.c. */
int node_renew_held(struct mig_node *node, const struct mig_part *part,
                    const struct mig_pg_result *held, struct node_ids *renewed,
                    struct mig_error *err);
/* The time in a node's vector clock goes with the highest id. The last thing in a transaction, as
 * the node takes these locks. */
int node_renew_clock(struct mig_node *node, const struct node_ids *renewed, struct mig_error *err);
/* Keeps what the node holds under these ids and what is staged, before it is changed. */
int node_write_renewed_down(struct mig_node *node, const struct node_ids *ids,
                            struct mig_error *err);
void node_tell_renewed(const struct mig_node *node, const struct mig_renew_result *counts);

/* SQL for a digest of all that a node holds of a row in meta m and blob b. Each piece is of one
 * length, so that no two states of a row can look alike. */
#define NODE_ROW_DIGEST                                                                            \
    "encode(sha256(coalesce(sha256(m.topic) || int8send(m.expiry), '') ||"                         \
    " coalesce(sha256(b.originator_envelope), '')), 'hex')"
/* conflicts.c: what the node holds, and what would be loaded, of staged rows that differ. ids: an
 * array literal. */
int node_note_conflicts(struct mig_node *node, const struct node_load_job *job, uint32_t originator,
                        const char *ids, uint64_t count, struct mig_error *err);
/* Puts what is staged over what the node holds, which is kept, if it is what was last noted.
 * Errors: MIG_E_REFUSED when it is not. */
int node_replace_conflicts(struct mig_node *node, struct node_load_job *job, uint32_t originator,
                           const char *ids, uint64_t count, struct mig_error *err);

/* letters.c: keeps letters of one kind from others until the transaction ends. Errors:
 * MIG_E_CONFLICT when one is gone already. */
int node_lock_letters(struct mig_node *node, const struct mig_dead_letter *letters, size_t count,
                      struct mig_error *err);
/* The part's dead letters, in the transaction under way; retried: somebody asked for these rows. */
int node_store_letters(struct mig_node *node, const struct mig_run *run,
                       const struct mig_part *part, const bool *conflicts, bool retried,
                       struct mig_error *err);

/* former.c: letters of which nothing, or something else, is to stand in the box. */
struct node_former_letter {
    const char *kind, *outcome;
    int64_t id;
    bool foreign; /* another tool had put it there */
    bool leaves;  /* the box; else what is staged takes its place */
};
struct node_former {
    struct mig_buffer kinds, ids, outcomes, foreign, leaves; /* array literals, once ended */
    uint64_t rewritten_foreign, ended_foreign;
};
#define NODE_FORMER_INIT                                                                           \
    ((struct node_former){.kinds = MIG_BUFFER_INIT(NODE_TEXT_LIMIT),                               \
                          .ids = MIG_BUFFER_INIT(NODE_TEXT_LIMIT),                                 \
                          .outcomes = MIG_BUFFER_INIT(NODE_TEXT_LIMIT),                            \
                          .foreign = MIG_BUFFER_INIT(NODE_TEXT_LIMIT),                             \
                          .leaves = MIG_BUFFER_INIT(NODE_TEXT_LIMIT)})
void node_former_release(struct node_former *former);
int node_former_add(struct node_former *former, const struct node_former_letter *letter,
                    struct mig_error *err);
/* Writes down how they stood, unless what is staged says the same, and takes those that leave out
 * of the box. */
int node_former_end(struct mig_node *node, struct node_former *former, const struct mig_run *run,
                    const struct mig_part *part, bool retried, struct mig_error *err);

/* waivers.c: takes from a page of letters, in order, the waivers that were given for other bytes
 * than the node holds by now. */
int node_drop_waivers(struct mig_node *node, struct mig_dead_letters *letters,
                      struct mig_error *err);

/* strays.c: forgets the unsettled parts of the run, all or those that overlap one, but for how many
 * rows of them were loaded. A run that had ended has not, then. */
int node_forget_strays(struct mig_node *node, const char *run, const struct mig_part *within,
                       struct mig_error *err);
/* Those of them that are there already are loaded. */
int node_find_strays(struct mig_node *node, const char *run, enum mig_table table,
                     struct mig_load_result *counts, struct mig_error *err);

/* books.c */
int node_book_part(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const bool *conflicts, const struct mig_part_digests *digests,
                   const struct mig_load_result *result, struct mig_error *err);
/* Moves rows of retried letters to their new states in the counts of the part that holds them; rows
 * that the run did not reject are in no count of it, and nothing is moved. Errors: MIG_E_CONFLICT
 * when the rows are not all of one part, or all of none. */
int node_book_retry(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                    const bool *conflicts, const struct mig_load_result *counts,
                    struct mig_error *err);
/* A key package that the run has booked expires with its standing, or comes back by it: moves it
 * between expired and loaded. *ret_booked is false when the books can't have it on the other side,
 * and nothing is moved. */
int node_book_standing(struct mig_node *node, const struct mig_run *run, const struct mig_row *row,
                       bool expires, bool *ret_booked, struct mig_error *err);
/* Whether the part is in the books already. */
int node_booked(struct mig_node *node, const char *run, const struct mig_part *part,
                bool *ret_booked, struct mig_error *err);

/* trackers.c: where the node's tracker of a table was when the run began; INT64_MIN when it was
 * nowhere. */
int node_tracker_at_begin(struct mig_node *node, const char *run, enum mig_table table,
                          int64_t *ret_id, struct mig_error *err);
/* How many rows of a part that are for nodes lie at id or below. */
uint64_t node_rows_up_to(const struct mig_part *part, int64_t id);

/* pinned.c: where the rows of a run come from, if that is known. */
int node_note_source(struct mig_node *node, const struct mig_run *run, struct mig_error *err);

/* runs.c: refuses what stands in the books of a run and nothing of ours would write. */
int node_refuse_member(const struct mig_node *node, const char *run, const char *member,
                       struct mig_error *err);

/* For mig_cleanup(). */
struct json_object;
void node_put_json(struct json_object **object);

/* run_end.c: how a run ended here, and what blocks it. */
int node_run_outcome(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                     struct mig_error *err);

/* A number as a parameter of a statement. */
const char *node_number(int64_t number, char text[NODE_NUMBER_SIZE]);

#endif
