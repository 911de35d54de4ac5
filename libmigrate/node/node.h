/*
 * node: a decentralized node's database. Rows, clocks, trackers, dead letters and our own account
 * of them are written in one transaction; and everything can be read back for comparing.
 *
 * Our tables are in a schema of their own, xmtp_migrate (schemas/sql/xmtp_migrate_*.sql).
 */
#ifndef MIG_NODE_H
#define MIG_NODE_H

#include "libmigrate/base/base.h"
#include "libmigrate/bundle/bundle.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/wire/wire.h"

struct mig_node;

enum mig_node_access {
    MIG_NODE_READ,  /* checks who the node is; changes nothing */
    MIG_NODE_WRITE, /* also checks that it takes writes; lock and schema come with what is written
                     */
};

/*
 * Connects to manifest->nodes[index] and checks that it is that node (node_info), at schema level
 * 23 with the tables, columns and functions of it, and, for writing, that it takes writes. The
 * manifest is borrowed while the node is open. One thread at a time.
 *
 * Errors: as mig_pg_open(); MIG_E_REFUSED (another node, another level, read-only, rights missing);
 * MIG_E_TEMPORARY (another run is at work there, named by host and pid).
 */
int mig_node_open(const struct mig_manifest *manifest, size_t index, enum mig_node_access access,
                  const struct mig_hooks *hooks, const struct mig_stop *stop,
                  struct mig_node **ret_node, struct mig_error *err);
/* What was loaded but not flushed is rolled back. */
void mig_node_close(struct mig_node **node);
const char *mig_node_name(const struct mig_node *node);
size_t mig_node_index(const struct mig_node *node); /* among the manifest's */
/* As mig_pg_set_patience(). */
void mig_node_set_patience(struct mig_node *node, struct mig_patience patience);
/* Whether its connection still stands, as far as is known without asking. */
bool mig_node_alive(const struct mig_node *node);

/*
 * Connects for reading and finds all that would keep a run from writing to the node, whatever it
 * is, told in refusals. *ret_node is NULL when there is nobody to be asked more.
 * Errors: MIG_E_CANCELLED, MIG_E_NOMEM.
 */
int mig_node_examine(const struct mig_manifest *manifest, size_t index,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_errors *refusals, struct mig_node **ret_node,
                     struct mig_error *err);

/* Of the bands of originator that start at these ids, how many hold rows. */
int mig_node_filled_bands(struct mig_node *node, uint32_t originator, const int64_t *starts,
                          size_t count, size_t *ret_filled, struct mig_error *err);

/* Settings of the server that make loading slow or its result unsafe. */
struct mig_setting {
    char name[64], value[128], better[128], why[128];
};
struct mig_settings {
    struct mig_setting items[16];
    size_t count;
};
int mig_node_settings(struct mig_node *node, struct mig_settings *ret_settings,
                      struct mig_error *err);

/* What a byte loaded costs the server, and the room that it has; -1 where that can't be known: the
 * server is on another machine, or the role may not see where its data lies. */
struct mig_node_room {
    bool wal_minimal;       /* what a transaction makes and fills needs no WAL */
    bool wal_full_pages;    /* pages are logged whole after each checkpoint */
    int64_t free_bytes;     /* where the tables lie */
    int64_t wal_free_bytes; /* where the WAL lies */
};
int mig_node_room(struct mig_node *node, struct mig_node_room *ret_room, struct mig_error *err);

/* Takes the lock against a second run, for as long as the node is open; twice is once.
 * Errors: MIG_E_TEMPORARY, naming who has it. */
int mig_node_claim(struct mig_node *node, struct mig_error *err);

/* ---- runs --------------------------------------------------------------------------------- */

/* What is pinned for a run, the same on every node. */
#define MIG_RUN_SOURCE_SIZE 640
struct mig_run {
    struct mig_bundle_facts facts;    /* run id, network, as_of, profile, policy, addresses */
    int64_t bounds[MIG_TABLE_COUNT];  /* each table's settled range ends here; on this node, when it
                                       * is followed */
    char source[MIG_RUN_SOURCE_SIZE]; /* which database its rows come from, as the caller tells it
                                         apart; "" when that is not known */
    int64_t
        source_wal; /* how far the source's WAL had come when these were settled; 0: not known */
    bool by_time;   /* some of that was settled by time: rows may come late */
    bool told;      /* its account was given out, as mig_node_run_told() says on this node */
    bool finished;  /* on this node */
    bool has_parts; /* on this node */
    /* Its rows come from V3 as it is now, not out of a bundle or a dead letter: key packages that
     * the node holds with another standing are written anew. For the caller to say. */
    bool fresh;
    /* It was finished and is gone on with: what it has stays as it is until more comes. For the
     * caller to say. */
    bool followed;
};

/* The run with this id, or with NULL the newest of the manifest's network that this node knows, if
 * any. Errors: as pg; MIG_E_CORRUPT when what is stored can't be read. */
int mig_node_find_run(struct mig_node *node, const char *run, bool *ret_found,
                      struct mig_run *ret_run, struct mig_error *err);
/* The newest. */
int mig_node_last_run(struct mig_node *node, bool *ret_found, struct mig_run *ret_run,
                      struct mig_error *err);

/* All runs of the manifest's network that this node knows, in the order that they were begun. What
 * the books have of a run may be unreadable: it is left out when one that was begun later has
 * finished, and unreadable tells of it; its code is MIG_OK when there is none such. */
struct mig_runs {
    struct mig_run *items;
    size_t count;
    struct mig_error unreadable;
};
void mig_runs_release(struct mig_runs *runs);
int mig_node_runs(struct mig_node *node, struct mig_runs *ret_runs, struct mig_error *err);

/* What the facts of a run were made from, as mig_manifest_print_pinned() gave it. Free with free().
 * NULL when the node does not know the run. */
int mig_node_run_pinned(struct mig_node *node, const char *run, char **ret_pinned,
                        struct mig_error *err);

/* Writes a new run down, or, when the node knows it already, checks that nothing of it differs but
 * where its ranges end: where a run is followed, each node is as far as it came.
 * Errors: MIG_E_REFUSED naming what differs. */
int mig_node_run_begin(struct mig_node *node, const struct mig_run *run, struct mig_error *err);

/* Says that every part of the run is there. blockers go with it, and problems: sentences that make
 * the account red; either NULL when nobody looked for any, and those told before stay. */
int mig_node_run_finish(struct mig_node *node, const struct mig_run *run,
                        const struct mig_blockers *blockers, const char *const *problems,
                        size_t problem_count, struct mig_error *err);

/* Says that whoever asked for the finished run has its account. Until then it is theirs who run the
 * same again. */
int mig_node_run_told(struct mig_node *node, const char *run, struct mig_error *err);

/* Up to which id of a table's settled range the node has all parts of the run; INT64_MIN when it
 * has none. */
int mig_node_position(struct mig_node *node, const char *run, enum mig_table table,
                      int64_t *ret_last_id, struct mig_error *err);

/* Settled parts of a table in the run's books, rising, and how many rows each was counted to have;
 * of the last ones no more than last, 0: of all. Free with free(). */
struct mig_part_count {
    int64_t first_id, last_id, counted;
    bool closes; /* its counts add up, as far as they go */
};
int mig_node_part_counts(struct mig_node *node, const char *run, enum mig_table table, size_t last,
                         struct mig_part_count **ret_parts, size_t *ret_count,
                         struct mig_error *err);

/* Gives up a table's parts from the one that begins with first_id on: they are to be read once
 * more. What the node holds stays. A run that is followed ends before them from now on. */
int mig_node_reopen(struct mig_node *node, const struct mig_run *run, enum mig_table table,
                    int64_t first_id, struct mig_error *err);

/* The last witness in a table's settled parts of the run; its digest is "" when there is none. */
int mig_node_witness(struct mig_node *node, const char *run, enum mig_table table,
                     struct mig_witness *ret_witness, struct mig_error *err);

/* The last part of a table's settled range that the node has of the run; *ret_found is false when
 * it has none. */
int mig_node_last_part(struct mig_node *node, const char *run, enum mig_table table,
                       bool *ret_found, int64_t *ret_first_id, int64_t *ret_last_id,
                       struct mig_error *err);

/* ---- loading ------------------------------------------------------------------------------ */

struct mig_load_result {
    uint64_t loaded, already_there, conflicts;
    uint64_t replaced; /* of those loaded: over what the node held otherwise */
    uint64_t holes;    /* of those loaded: up to where the node's tracker was when the run began */
};

/* What a part was when it was read, as SHA-256 in hex; "" when it has no such rows. Taken once for
 * all nodes, so that two of them can be told apart that were given different readings of V3. */
struct mig_part_digests {
    char nodes[65]; /* its envelopes for nodes */
    char chain[65]; /* its rows for the chain */
};

/* How the rows of a band of MIG_BAND_WIDTH ids come into a node. */
enum mig_way {
    MIG_WAY_BULK,
    /* The others are staged and inserted, because: */
    MIG_WAY_HAS_ROWS, /* the node holds rows of the band */
    MIG_WAY_FEW_ROWS, /* they are one part: for the caller to find, not for mig_node_way() */
    MIG_WAY_USAGE,    /* the policy counts usage, row by row */
    MIG_WAY_NO_RIGHT, /* the role may not set session_replication_role */
    MIG_WAY_NO_OWNER, /* the role has not the rights of the tables' owner, or that none to ours */
    MIG_WAY_WAL,      /* with wal_level minimal a commit writes all of it while others wait */
};
/* "empty", "has rows" ...: in front of a person. Never NULL. */
const char *mig_way_text(enum mig_way way);

/* Which way the rows of a table with ids in the band from start on would go now. A table whose rows
 * all go to the chain has no bands. Errors: as pg; MIG_E_REFUSED for a detached partition. */
int mig_node_way(struct mig_node *node, enum mig_table table, int64_t start, enum mig_way *ret_way,
                 struct mig_error *err);

/*
 * Loads a transformed part in one transaction: envelopes, payer, vector clock, tracker, dead
 * letters, usage by policy, and the part's own account. A row whose id the node holds with the same
 * bytes is already there; with other bytes it becomes a dead letter (conflict) and the node's row
 * stays.
 *
 * The first of several parts of a band that the node has no row of opens the bulk path: this part
 * and the band's others are then one transaction on a connection of their own, which ends behind
 * the band's last part. Till then, and until mig_node_flush(), what was taken may still be lost
 * with an error of a later call; the books and the node are as they were before the band.
 *
 * A part that this run has already loaded is left alone (*ret_result is all zero); an unsettled one
 * is counted anew. The digests are kept with the part. Parts of a table come in order. Errors: as
 * pg; MIG_E_TEMPORARY when partitions keep vanishing under us, or somebody else put rows into the
 * band meanwhile.
 */
int mig_node_load(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                  const struct mig_part_digests *digests, struct mig_load_result *ret_result,
                  struct mig_error *err);

/* Waits until all that mig_node_load() took is committed. Errors: as mig_node_load(). */
int mig_node_flush(struct mig_node *node, struct mig_error *err);

/* The band of a table that was not committed when something failed, if any; or is yet to be. */
bool mig_node_lost_band(const struct mig_node *node, enum mig_table table, int64_t *ret_start);
/* Rows of this band are staged, whatever way they could take. */
void mig_node_stage_band(struct mig_node *node, enum mig_table table, int64_t start);

/* ---- key packages that changed their standing ---------------------------------------------- */

struct mig_renew_result {
    uint64_t renewed; /* rewritten in place */
    uint64_t added;   /* had expired when the run read them, and are current now */
    uint64_t refused; /* differ in more than their standing: left as they are */
};

/*
 * Holds rows of key_packages, transformed anew by a manifest that keeps what has expired, against
 * what the node has, and rewrites those that are of the same message under the run's originator key
 * and differ by their standing alone: times, fee, expiry, signatures. In one transaction, with a
 * record of each in xmtp_migrate.renewed. Rows that the node lacks are left to whoever loads them,
 * but for those that the run took for expired. What mig_node_load() took is flushed first.
 * Errors: as mig_node_load().
 */
int mig_node_renew(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   struct mig_renew_result *ret_result, struct mig_error *err);

/* Since when (ns since 1970) key packages may have changed their standing without the node having
 * been told; INT64_MIN when it knows no run. It may be the node's own clock that says so. */
int mig_node_renewed_since(struct mig_node *node, int64_t *ret_since_ns, struct mig_error *err);
/* All changes before since_ns are there. Errors: as pg. */
int mig_node_set_renewed(struct mig_node *node, const struct mig_run *run, int64_t since_ns,
                         struct mig_error *err);

/* ---- the account -------------------------------------------------------------------------- */

/* What the node's own books say of a run. */
struct mig_node_sums {
    struct mig_tally tally;
    uint64_t loaded[MIG_KIND_COUNT], already_there[MIG_KIND_COUNT];
    uint64_t conflicts[MIG_KIND_COUNT]; /* in tally they stand as rejected, not as for_nodes */
    /* Of those loaded, the rows that another tool should have brought: the node's tracker was
     * behind them when the run began. */
    uint64_t holes[MIG_KIND_COUNT];
    uint64_t other_letters;            /* of another tool, that the run ended or wrote anew */
    uint64_t settled[MIG_TABLE_COUNT]; /* rows counted in settled parts */
    int64_t bounds[MIG_TABLE_COUNT];   /* where the run's ranges end here */
    char *gap; /* where a table's parts leave a gap, overlap or end early, or NULL */
    char *odd; /* what no program of ours would write into the books, or NULL */
    bool finished;
    struct mig_blockers blockers;
    char **problems; /* found when the run ended */
    size_t problem_count;
};
int mig_node_sums(struct mig_node *node, const char *run, struct mig_node_sums *ret_sums,
                  struct mig_error *err);
void mig_node_sums_release(struct mig_node_sums *sums);

/* The parts of a run, by table's name and place, with what was given to the node of each. */
struct mig_booked_part {
    enum mig_table table;
    int64_t first_id, last_id;
    char digest[65];
};
/* Free with free(). Errors: as pg; MIG_E_CORRUPT. */
int mig_node_parts(struct mig_node *node, const char *run, struct mig_booked_part **ret_parts,
                   size_t *ret_count, struct mig_error *err);

/* Where a table's settled parts of a run end, if behind after_id, rising. Free with free(). */
int mig_node_part_ends(struct mig_node *node, const char *run, enum mig_table table,
                       int64_t after_id, int64_t **ret_ends, size_t *ret_count,
                       struct mig_error *err);

/* The chain parts of a run, in order, as they were written down with the rows. */
struct mig_chain_part {
    enum mig_table table;
    int64_t first_id, last_id;
    bool settled;
    uint64_t rows;
    char digest[65];
    int64_t *ids; /* rising; NULL where a second reading can't see other rows */
};
void mig_chain_parts_release(struct mig_chain_part *parts, size_t count);
int mig_node_chain_parts(struct mig_node *node, const char *run, struct mig_chain_part **ret_parts,
                         size_t *ret_count, struct mig_error *err);

/* ---- dead letters ------------------------------------------------------------------------- */

/* What a node holds under an id and what would be loaded, when the two differ. */
struct mig_conflict {
    char held[65], given[65]; /* SHA-256 of the two envelopes; held "" where there is none */
    char differs[32]; /* which of "topic,expiry,envelope" do; "" when nobody wrote it down */
};

struct mig_dead_letter {
    enum mig_kind kind;
    int64_t id;
    char reason[64]; /* as stored: another tool may have put it there */
    bool retryable;
    char added_at[MIG_TIME_TEXT_SIZE], retried_at[MIG_TIME_TEXT_SIZE];
    size_t payload_size;
    struct mig_conflict conflict;
    bool waived;
    char *waiver_reason, *waiver_who; /* NULL when not waived */
    char waiver_when[MIG_TIME_TEXT_SIZE];
};
struct mig_dead_letters {
    struct mig_dead_letter *items;
    size_t count;
};
void mig_dead_letters_release(struct mig_dead_letters *letters);

/* Which letters: all members that are set must match. */
struct mig_letter_filter {
    bool has_kind, has_id;
    enum mig_kind kind;
    int64_t id;
    const char *reason; /* or NULL */
    const char *run;    /* only rows that this run rejected, or NULL */
    /* The next page: letters behind this one, in the order of kind's name and id. */
    bool has_after;
    enum mig_kind after_kind;
    int64_t after_id;
    unsigned limit; /* 0: 1000 */
};
int mig_node_letters(struct mig_node *node, const struct mig_letter_filter *filter,
                     struct mig_dead_letters *ret_letters, struct mig_error *err);

/* The kept record of one letter. *ret_found is false when there is no such letter. */
int mig_node_letter_payload(struct mig_node *node, enum mig_kind kind, int64_t id,
                            struct mig_arena *arena, bool *ret_found, struct mig_bytes *ret_payload,
                            struct mig_error *err);

/* Those of many letters at once, which are of one kind and in the order of their ids, into arena;
 * {NULL, 0} for one that is gone. The caller bounds their bytes by payload_size. */
int mig_node_letter_payloads(struct mig_node *node, const struct mig_dead_letter *letters,
                             size_t count, struct mig_arena *arena, struct mig_bytes *ret_payloads,
                             struct mig_error *err);

/* Waives one letter as it stands now, a conflict with what the node holds now, with a reason and by
 * whom; stored with the time.
 * Errors: MIG_E_USAGE when there is no such letter. */
int mig_node_waive(struct mig_node *node, enum mig_kind kind, int64_t id, const char *reason,
                   const char *who, struct mig_error *err);

/* Somebody's word that what the node holds may be replaced; who and why are kept with it. */
struct mig_repair {
    const char *who, *reason;
};

/*
 * Loads rows again that are dead letters of one kind (part holds just those rows, one for each of
 * letters and in their order, transformed anew, none bound for the chain): envelopes, removal of
 * the letters or their new reasons, and the correction of the run's account, in one transaction.
 * What leaves the box is kept as a former letter. *ret_result tells rows that are conflicts (again)
 * from those that are there now. With a repair (or NULL) what the node holds otherwise is replaced,
 * and kept as it was in xmtp_migrate.replaced.
 * Errors: as mig_node_load(); MIG_E_CONFLICT when a letter is gone, or, of several, when they are
 * not all of the same part of the run; MIG_E_REFUSED when a row to be replaced is another by now
 * than when the conflict was found.
 */
int mig_node_retry(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const struct mig_dead_letter *letters, const struct mig_repair *repair,
                   struct mig_load_result *ret_result, struct mig_error *err);

/* Whether such a repair has replaced the row on this node, now or ever.
 * Errors: as pg. */
int mig_node_was_replaced(struct mig_node *node, enum mig_kind kind, int64_t id, bool *ret_replaced,
                          struct mig_error *err);

/* ---- letters that have left the box -------------------------------------------------------- */

/* A letter as it stood before it left the box, or before another took its place. */
struct mig_former_letter {
    enum mig_kind kind;
    int64_t id;
    char outcome[16]; /* "on_node", "for_chain", "expired", "rewritten" */
    char run[33];
    bool retried;      /* by a retry; else by a run */
    bool foreign_tool; /* another tool had put it there */
    char reason[64];
    bool retryable;
    char added_at[MIG_TIME_TEXT_SIZE], retried_at[MIG_TIME_TEXT_SIZE], ended_at[MIG_TIME_TEXT_SIZE];
    struct mig_bytes payload; /* only asked for by kind and id; lies in the arena */
    size_t payload_size;
    struct mig_conflict conflict;
    const char *repair_who, *repair_reason; /* the node's row was replaced; or NULL */
};
/* Those that filter names, in the order of kind's name, id and time, into arena. reason and run of
 * the filter are those of the former letter. *ret_more: there are more than its limit.
 * Errors: as pg. */
int mig_node_former_letters(struct mig_node *node, const struct mig_letter_filter *filter,
                            struct mig_arena *arena, struct mig_former_letter **ret_letters,
                            size_t *ret_count, bool *ret_more, struct mig_error *err);

/* ---- reading back ------------------------------------------------------------------------- */

/* One row of the node's envelope tables. What it points to is valid until the next read. */
struct mig_node_row {
    int64_t sequence_id;
    bool lacks_meta; /* there is an envelope alone: topic to payer say nothing */
    struct mig_bytes topic;
    int64_t expiry;
    int64_t gateway_time_us;           /* since 1970 */
    char payer[MIG_ADDRESS_TEXT_SIZE]; /* the address that payer_id stands for, or "" */
    bool has_envelope;                 /* false: meta without blob */
    struct mig_bytes originator_envelope;
};

/* Starts reading an originator's rows with ids in [first_id, last_id], in order, in short
 * transactions: both tables as of the same moment. A reading left in the middle is given up by the
 * next begin. */
int mig_node_read_begin(struct mig_node *node, uint32_t originator, int64_t first_id,
                        int64_t last_id, struct mig_error *err);
/* *ret_more is false after the last row. */
int mig_node_read(struct mig_node *node, bool *ret_more, struct mig_node_row *ret_row,
                  struct mig_error *err);

/* An originator's entry in the vector clock, and the highest id in the tables.
 * *ret_has_clock, *ret_has_rows: whether there is one. */
int mig_node_clock(struct mig_node *node, uint32_t originator, bool *ret_has_clock,
                   int64_t *ret_clock, bool *ret_has_rows, int64_t *ret_highest,
                   struct mig_error *err);

/* Which ids of a table runs have brought rows of, or may have: those up to settled, and from
 * unsettled on. Of every run in the books, whatever its network, finished or not.
 * INT64_MIN and INT64_MAX where there are none. And up to where the node's tracker says that any
 * tool has brought rows; INT64_MIN where it says nothing. */
struct mig_reach {
    int64_t settled, unsettled, tracker;
};
int mig_node_reach(struct mig_node *node, enum mig_table table, struct mig_reach *ret_reach,
                   struct mig_error *err);

/* Since when the books can say that rows of a table were looked for and brought, as ns since 1970:
 * the first time of all runs, INT64_MAX when there was none. lacks: of a part that id lies in the
 * node holds fewer rows than the books say were brought. Both are the same for all ids in
 * [first_id, last_id]; id is one of them. */
struct mig_brought {
    int64_t first_id, last_id;
    int64_t since_ns;
    bool lacks;
};
int mig_node_brought(struct mig_node *node, enum mig_table table, int64_t id,
                     struct mig_brought *ret_brought, struct mig_error *err);

/* How many rows of an originator have ids in [first_id, last_id], and the lowest of these ids. */
int mig_node_count(struct mig_node *node, uint32_t originator, int64_t first_id, int64_t last_id,
                   uint64_t *ret_rows, int64_t *ret_lowest, struct mig_error *err);

/* The envelope that the node would call newest for each of count topics: by gateway_time, whoever
 * the originator is. With those of originators from envelopes_from on comes what is in the blob.
 * count at most 1000. The node thinks until its answer is taken, and can be asked nothing else. */
int mig_node_newest_ask(struct mig_node *node, const struct mig_bytes *topics, size_t count,
                        uint32_t envelopes_from, struct mig_error *err);
/* The answer: ret_newest[i] has originator 0 and id 0 when the topic has none; ties says how many
 * share its gateway_time; the envelope lies in arena, nothing where there is no blob. */
struct mig_newest {
    uint32_t originator;
    int64_t sequence_id;
    int64_t ties;
    struct mig_bytes envelope;
};
int mig_node_newest_take(struct mig_node *node, size_t count, struct mig_arena *arena,
                         struct mig_newest *ret_newest, struct mig_error *err);

#endif
