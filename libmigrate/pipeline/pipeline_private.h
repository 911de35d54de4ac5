/* What the files of pipeline share. */
#ifndef MIG_PIPELINE_PRIVATE_H
#define MIG_PIPELINE_PRIVATE_H

#include "libmigrate/pipeline/pipeline.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/source/source.h"
#include "libmigrate/transform/transform.h"
#include "libmigrate/work/work.h"

/* The two keys, and what they and the manifest pin down. */
struct pipeline_keys {
    struct mig_signer *payer, *originator;
};
void pipeline_keys_release(struct pipeline_keys *keys);

/* The facts of a new run at as_of; addresses only when keys are given. */
int pipeline_facts(const struct mig_manifest *manifest, int64_t as_of_ns,
                   const struct pipeline_keys *keys, const struct mig_hooks *hooks,
                   struct mig_bundle_facts *ret_facts, struct mig_error *err);

/* Whether facts fit the manifest and keys; tells all that does not, with subject in front. keys may
 * be NULL. pinned: what the books keep of the facts of a run, member by member; NULL for those of a
 * bundle. Errors: MIG_E_REFUSED. */
int pipeline_check_facts(const struct mig_manifest *manifest, const struct pipeline_keys *keys,
                         const struct mig_bundle_facts *facts, const char *pinned,
                         const char *subject, struct mig_error *err);

/* Errors: MIG_E_REFUSED for a bundle of the other stage. */
int pipeline_expect_stage(const struct mig_bundle_facts *facts, enum mig_stage stage,
                          const char *path, struct mig_error *err);

/* finished.c: whether a bundle that was made under these facts lies there whole; of one of rows, by
 * whichever run. Then *ret_summary is what its stage would have told.
 * Errors: MIG_E_NOMEM. What is there and something else is for mig_bundle_create() to refuse. */
int pipeline_find_finished(const char *out, const struct mig_bundle_facts *wanted,
                           const struct mig_hooks *hooks, bool *ret_found,
                           struct mig_stage_summary *ret_summary, struct mig_error *err);

/* What of an unfinished bundle was found where one is begun. */
void pipeline_tell_removed(const struct mig_hooks *hooks, const char *out, size_t removed);

/* A digest over the rows of a transformed part that go by route: NODE or CHAIN; "" when it has
 * none. Of key packages it is whatever their standing, which changes at the source meanwhile; and
 * without those that only this keeps from having expired. facts may be NULL for the
 * chain's. */
int pipeline_digest(const struct mig_part *part, enum mig_route route,
                    const struct mig_bundle_facts *facts, char ret_digest[65],
                    struct mig_error *err);

/* The same in steps, for rows of several parts: what stands for each row, then the digest of all.
 */
int pipeline_add_rows(const struct mig_part *part, enum mig_route route,
                      const struct mig_bundle_facts *facts, struct mig_buffer *rows,
                      struct mig_error *err);
int pipeline_digest_rows(const struct mig_buffer *rows, char ret_digest[65], struct mig_error *err);

/* ---- being watched ------------------------------------------------------------------------- */

void measure_run(const struct mig_hooks *hooks, const struct mig_run *run);
void measure_read(const struct mig_hooks *hooks, const struct mig_part *part);
/* took_ns: how long loading the part took. */
void measure_loaded(const struct mig_hooks *hooks, const char *node, const struct mig_part *part,
                    const struct mig_load_result *loaded, int64_t took_ns);

/* ---- being a good guest -------------------------------------------------------------------- */

/* How far ahead of its rate a stream of rows is. */
struct token_bucket {
    uint32_t rate;      /* rows a second; 0: any */
    int64_t free_at_ns; /* monotonic */
};
/* Rows have gone through; what may be saved up while none do is a quarter of a second's. */
void token_bucket_take(struct token_bucket *bucket, uint64_t rows, int64_t now_ns);
/* How long the next ones should wait. */
int64_t token_bucket_wait_ns(const struct token_bucket *bucket, int64_t now_ns);

/* Keeps --max-rate and the pauses of the manifest's limits. Every function takes NULL for no such
 * thing, and any thread may call it. */
struct throttle;
struct throttle_options {
    uint32_t max_rate;
    bool source, nodes; /* whose limits are kept */
    const char *node;   /* of nodes, this one; NULL: all */
    const char *stage;  /* for progress */
};
/* Errors: as mig_pg_open(); MIG_E_REFUSED when a limit is set that the role may not see. */
int throttle_open(const struct mig_manifest *manifest, const struct throttle_options *options,
                  const struct mig_hooks *hooks, const struct mig_stop *stop,
                  struct throttle **ret_throttle, struct mig_error *err);
void throttle_close(struct throttle **throttle);
/* Ends every wait, now and later: whoever waits is to come to its end. */
void throttle_leave(struct throttle *throttle);
/* For mig_source_set_gate(). Not for NULL. */
const struct mig_source_gate *throttle_gate(const struct throttle *throttle);
/* Waits until the node may be loaded. Errors: MIG_E_CANCELLED; as pg. */
int throttle_node(struct throttle *throttle, const char *node, struct mig_error *err);
/* Why work is slower than it could be, or "". */
void throttle_reason(struct throttle *throttle, char *ret_text, size_t size);

/* ---- parcels: parts on their way ----------------------------------------------------------- */

struct parcel {
    struct mig_part *part;
    struct mig_part_digests digests;
    struct mig_budget *budget;
    size_t charged;      /* what it takes of the budget */
    _Atomic int holders; /* freed when the last one drops it */
};

/* An empty parcel with room in the budget for a part. Errors: MIG_E_CANCELLED, MIG_E_NOMEM. */
int parcel_reserve(struct mig_budget *budget, struct parcel **ret_parcel, struct mig_error *err);
/* Takes the part, and gives back of the budget what it will not need. */
void parcel_fill(struct parcel *parcel, struct mig_part *part);
/* Once the part is transformed: its digests, and what it takes from now on. */
int parcel_seal(struct parcel *parcel, const struct mig_bundle_facts *facts, struct mig_error *err);
struct parcel *parcel_share(struct parcel *parcel);
void parcel_drop(struct parcel **parcel);
void parcel_discard(void *item);

/* How the memory of a job is shared out. */
struct shares {
    size_t read_ahead_bytes, lane_bytes;
};
/* Opens the budget of a job; max_memory 0 is the default. bundle_threads: how many work on parts
 * out of a bundle; 0 when they come from a source. */
int pipeline_open_budget(size_t max_memory, unsigned bundle_threads, struct mig_budget **ret_budget,
                         struct shares *ret_shares, struct mig_error *err);

/* ---- flow: parcels from a producer to all nodes -------------------------------------------- */

/* Where parcels come from; context is given to each. */
struct flow_source {
    /* The next parcel, filled; NULL at the end. One thread at a time. */
    int (*take)(void *context, struct parcel **ret_parcel, struct mig_error *err);
    /* Makes envelopes of its rows; NULL when they are made. Several threads at once, worker below
     * the number of threads. */
    int (*transform)(void *context, unsigned worker, struct mig_part *part, struct mig_error *err);
    /* Sees each transformed parcel once, in order, before the nodes do; may be NULL. */
    int (*see)(void *context, struct parcel *parcel, struct mig_error *err);
    /* Wakes a take that waits; it fails from then on. */
    void (*stop)(void *context);
    void *context;
};

struct flow_options {
    const struct mig_run *run;
    const struct mig_hooks *hooks;
    const char *stage;   /* for progress */
    uint64_t total_rows; /* estimate, 0 when unknown */
    struct throttle *throttle;
    unsigned threads;
    size_t lane_bytes;     /* that may wait for one node */
    bool may_leave_behind; /* the producer can begin anew for a node that is slower than others */
};

/* What came of each node. */
enum lane_end { LANE_DONE, LANE_BEHIND, LANE_FAILED };
struct flow_end {
    enum lane_end end;
    struct mig_error failure;
};

/*
 * Takes parcels from source and loads each into every node that is wanted (NULL: all), a thread a
 * node, with bounded queues. A node that fails by itself is set aside and the others go on; one
 * that holds the others up is left behind. ret_ends has one entry a node.
 * Errors: what stops everything; the first node's failure when none is left.
 */
int flow_to_nodes(struct mig_nodes *nodes, const bool *wanted, const struct flow_options *options,
                  const struct flow_source *source, struct flow_end *ret_ends,
                  struct mig_error *err);

/* Nodes whose lane failed are set aside. Errors: of one whose failure does not pass by itself. */
int nodes_set_failed_aside(struct mig_nodes *nodes, const struct flow_end *ends,
                           struct mig_error *err);

/* Refuses a bundle of envelopes that others signed than it says. */
int bundle_parts_judge(const struct mig_bundle_facts *facts, const struct mig_part *part,
                       struct mig_error *err);
/* The next part of a bundle of envelopes, NULL at the end. */
int bundle_parts_next(struct mig_bundle_reader *reader, struct mig_part **ret_part,
                      struct mig_error *err);

/* ---- the account --------------------------------------------------------------------------- */

/* account_judge.c: adds what does not hold of the sums as a problem each, and sets the verdict. */
int account_judge(struct mig_account *account, const struct mig_node_sums *sums,
                  struct mig_error *err);
/* Counts the rows of one kind that the run rejected, however many nodes did: adds the waivers to
 * the account and sets conflicts apart; dead letters that one node lacks are a problem of it. */
int account_judge_rejections(struct mig_account *account, struct mig_node **nodes,
                             const struct mig_node_sums *sums, enum mig_kind kind,
                             struct mig_error *err);

/* Nodes that were given other envelopes for one part are a problem of the account. */
int account_compare_parts(struct mig_account *account, struct mig_node **nodes,
                          struct mig_error *err);

/* ---- reading ahead ------------------------------------------------------------------------- */

/* Ranges of tables to read, in order. */
struct read_range {
    enum mig_table table;
    int64_t first_id, last_id;
    bool settled;
};

/* Connections to one source. */
struct source_set {
    struct mig_source **items;
    size_t count;
};
/* Opens as many as are wanted, 0 being the default, and no more than there are tables; each tries
 * for retry_s what fails later. */
int source_set_open(const struct mig_manifest *manifest, unsigned connections, unsigned retry_s,
                    const struct mig_hooks *hooks, const struct mig_stop *stop,
                    struct source_set *ret_sources, struct mig_error *err);
void source_set_close(struct source_set *sources);
/* The gate of each. */
void source_set_gate(const struct source_set *sources, const struct mig_source_gate *gate);

/* Reads ranges, those of one table next to each other, on a thread a source, into a queue. */
struct read_ahead;
int read_ahead_open(const struct source_set *sources, const struct read_range *ranges, size_t count,
                    struct mig_budget *budget, size_t queue_bytes, struct read_ahead **ret_ahead,
                    struct mig_error *err);
/* The next parcel, or NULL at the end; the caller owns it. */
int read_ahead_next(struct read_ahead *ahead, struct parcel **ret_parcel, struct mig_error *err);
/* Makes a read_ahead_next() that waits fail. Any thread. */
void read_ahead_stop(struct read_ahead *ahead);
/* Stops the threads, waits for them, frees. The sources are free for other questions afterwards. */
void read_ahead_close(struct read_ahead **ahead);

/* ---- key packages that changed their standing ---------------------------------------------- */

/* What a pass over them works with; all borrowed. Neither the source nor the nodes are anybody
 * else's while it is at work; nodes may be set aside between two passes. Rows that are on their way
 * to a node meanwhile may come after it with what they were read as: the next pass finds them, if
 * they were read no longer before this one than MIG_RENEW_MARGIN_NS. */
struct renew_options {
    const struct mig_manifest *manifest;
    const struct pipeline_keys *keys;
    struct mig_source *source;
    const struct mig_nodes *nodes;
    const struct mig_run *run; /* begun on every node */
    struct throttle *throttle; /* or NULL */
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
};

struct renew;
/* Asks every node since when it was not told: open it anew when a node has come back. */
int pipeline_renew_open(const struct renew_options *options, struct renew **ret_renew,
                        struct mig_error *err);
void pipeline_renew_close(struct renew **renew);

/*
 * One pass: looks at the installations that changed since the pass before, or, for the first one,
 * since the rows that nodes hold were read (runs of before included), and brings every node what
 * their key packages are now. Each node's books say from when the next pass has to look, so that
 * another process can go on. thorough: also when the source reports no change at all since the pass
 * before, as the last pass of a run must.
 *
 * Errors: as source and node; *ret_node is the place of the node that failed, or SIZE_MAX. The pass
 * is then to be done again: what it has changed is not changed twice.
 */
int pipeline_renew_packages(struct renew *renew, bool thorough, size_t *ret_node,
                            struct mig_error *err);

/* The same in slices: about for_ns of it, which another call goes on with unless *ret_done. The
 * source is to be nobody else's in between either. */
int pipeline_renew_some(struct renew *renew, bool thorough, int64_t for_ns, bool *ret_done,
                        size_t *ret_node, struct mig_error *err);
/* Whether a pass is in the middle. */
bool pipeline_renew_looks(const struct renew *renew);

/* When the next pass should be, by the monotonic clock: in a minute, or later where the source has
 * no index for it and looking costs much. */
int64_t pipeline_renew_due_ns(const struct renew *renew);

/* ---- parts of a run ------------------------------------------------------------------------ */

/* cuts.c: up to where all nodes that are wanted have a table's settled range (INT64_MIN when one
 * has nothing), and the ends of the parts behind that any node has, rising. */
struct pipeline_cuts {
    int64_t position;
    int64_t *ids;
    size_t count;
};
int pipeline_find_cuts(const struct mig_nodes *nodes, const bool *wanted, const struct mig_run *run,
                       enum mig_table table, struct pipeline_cuts *ret_cuts, struct mig_error *err);
void pipeline_cuts_release(struct pipeline_cuts *cuts);

/* The run that the nodes are in the middle of, if any, and what a run now would be pinned at. */
struct pipeline_found {
    bool known;      /* run is the newest one */
    bool by_clock;   /* as_of is what our clock says */
    bool unfinished; /* it is to be taken up: not at its end everywhere, or not told */
    int64_t as_of_ns;
    struct mig_run run;
};
/* keys may be NULL. Errors: MIG_E_REFUSED when the unfinished run was begun under other facts. */
int pipeline_find_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                      const struct pipeline_keys *keys, struct mig_nodes *nodes,
                      const struct mig_hooks *hooks, struct pipeline_found *ret_found,
                      struct mig_error *err);

/* Whether source is the database that the run's rows came from, as far as that is known, and has
 * not been set back since. moved: another database may be, that has the same rows.
 * Errors: as mig_source_check_same(). */
int pipeline_check_source(struct mig_source *source, const struct mig_run *run, bool moved,
                          struct mig_error *err);

/* Whether an instant that our clock gave may be pinned: rows count from the source's clock.
 * Errors: MIG_E_REFUSED when they are an hour apart. */
int pipeline_compare_clocks(int64_t ours_ns, int64_t theirs_ns, const struct mig_hooks *hooks,
                            struct mig_error *err);
int pipeline_check_clock(struct mig_source *source, const struct mig_hooks *hooks,
                         struct mig_error *err);

/* Known before anything is begun: whether the chain's part of a run can be written.
 * Errors: MIG_E_IO, MIG_E_USAGE. */
int pipeline_check_chain_folder(const struct mig_manifest *manifest,
                                const struct mig_run_options *options, struct mig_error *err);

/* Which run to work on: the nodes' unfinished one, or a new one, settled. It is yet to be begun on
 * every node. */
int pipeline_choose_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct pipeline_keys *keys, struct mig_source *source,
                        struct mig_nodes *nodes, const struct mig_hooks *hooks,
                        struct mig_run *ret_run, struct mig_error *err);

/* The newest run, to be gone on with; *ret_there is false when there is none, or it is not finished
 * everywhere. Errors: MIG_E_REFUSED under other facts, or for another source. */
int pipeline_choose_followed(const struct mig_manifest *manifest,
                             const struct mig_run_options *options,
                             const struct pipeline_keys *keys, struct mig_source *source,
                             struct mig_nodes *nodes, const struct mig_hooks *hooks,
                             bool *ret_there, struct mig_run *ret_run, struct mig_error *err);

/* Whether such a bundle could be written to out, or is there already.
 * Errors: as mig_bundle_try(). */
int pipeline_check_chain_out(const char *out, const struct mig_run *run,
                             const struct mig_hooks *hooks, struct mig_error *err);

/* A run's chain-bound envelopes and where they go; all borrowed. */
struct pipeline_chain {
    const struct mig_manifest *manifest;
    const struct mig_run *run;
    struct mig_source *source;
    struct mig_spool *spool; /* what was set aside while rows moved; may be NULL */
    struct mig_node *node;   /* whose books say what there is */
    const char *out;
    const struct mig_blockers *blockers;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
};

/* Writes them as a bundle, from the spool or read once more from the source. *ret_there is false
 * when there are none, and no bundle. Errors: as bundles, source, node; MIG_E_CANCELLED. */
int pipeline_bundle_chain(const struct pipeline_chain *chain, bool *ret_there,
                          struct mig_error *err);

/* retry_rows.c: a part with the row of a letter, as the source has it now or as it was kept.
 * Errors: MIG_E_CORRUPT when neither has it. */
int retry_find_row(struct mig_source *source, struct mig_node *node,
                   const struct mig_dead_letter *letter, struct mig_part **ret_part,
                   struct mig_error *err);
/* A part with the rows of letters of one kind, in the order of their ids, as the source has them
 * now. *ret_part is NULL when it lacks some. */
int retry_find_rows(struct mig_source *source, const struct mig_dead_letter *letters, size_t count,
                    struct mig_part **ret_part, struct mig_error *err);

#endif
