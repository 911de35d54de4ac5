/* What the files of pipeline share. */
#ifndef MIG_PIPELINE_PRIVATE_H
#define MIG_PIPELINE_PRIVATE_H

#include "libmigrate/pipeline/pipeline.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/source/source.h"
#include "libmigrate/transform/transform.h"
#include "libmigrate/work/work.h"

/* Bytes that may wait between two stages. */
#define PIPELINE_QUEUE_BYTES ((size_t) 32 << 20)

/* The two keys, and what they and the manifest pin down. */
struct pipeline_keys {
    struct mig_signer *payer, *originator;
};
void pipeline_keys_release(struct pipeline_keys *keys);

/* The facts of a new run at as_of; addresses only when keys are given. */
int pipeline_facts(const struct mig_manifest *manifest, int64_t as_of_ns,
                   const struct pipeline_keys *keys, const struct mig_hooks *hooks,
                   struct mig_bundle_facts *ret_facts, struct mig_error *err);

/* Whether facts (of a bundle or a run) fit the manifest and keys; says what does not, with subject
 * in front. keys may be NULL. Errors: MIG_E_REFUSED. */
int pipeline_check_facts(const struct mig_manifest *manifest, const struct pipeline_keys *keys,
                         const struct mig_bundle_facts *facts, const char *subject,
                         struct mig_error *err);

/* A digest over the rows of a transformed part that go by route: NODE or CHAIN; "" when it has
 * none. */
int pipeline_digest(const struct mig_part *part, enum mig_route route, char ret_digest[65],
                    struct mig_error *err);

/* ---- flow: parts from a producer to all nodes ---------------------------------------------- */

/* A part on its way to several nodes: freed when the last one is done with it. */
struct flow_part {
    struct mig_part *part;
    struct mig_part_digests digests;
    _Atomic int holders;
};

/* Gives the next part, transformed; NULL at the end. Called on one thread. */
typedef int flow_next_fn(void *context, struct mig_part **ret_part, struct mig_error *err);

struct flow_options {
    const struct mig_run *run;
    const struct mig_hooks *hooks;
    const char *stage;   /* for progress */
    uint64_t total_rows; /* estimate, 0 when unknown */
};

/* Refuses a bundle of envelopes that others signed than it says. */
int bundle_parts_judge(const struct mig_bundle_facts *facts, const struct mig_part *part,
                       struct mig_error *err);
/* Such a function for a bundle of envelopes; context is its reader. */
int bundle_parts_next(void *context, struct mig_part **ret_part, struct mig_error *err);

/* Takes parts from next and loads each into every node, a thread a node, with bounded queues.
 * Returns when all is loaded or the first failure has stopped everything. */
int flow_to_nodes(struct mig_nodes *nodes, const struct flow_options *options, flow_next_fn *next,
                  void *context, struct mig_error *err);

/* ---- the account --------------------------------------------------------------------------- */

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

/* Reads ranges on a thread of its own, into a bounded queue. */
struct read_ahead;
int read_ahead_open(struct mig_source *source, const struct read_range *ranges, size_t count,
                    struct read_ahead **ret_reader, struct mig_error *err);
/* The next part, or NULL at the end; the caller owns it. */
int read_ahead_next(struct read_ahead *reader, struct mig_part **ret_part, struct mig_error *err);
/* Stops the thread, waits for it, frees. The source is free for other questions afterwards. */
void read_ahead_close(struct read_ahead **reader);

/* ---- parts of a run ------------------------------------------------------------------------ */

/* Which run to work on: the nodes' unfinished one, or a new one, settled. It is yet to be begun on
 * every node. */
int pipeline_choose_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct pipeline_keys *keys, struct mig_source *source,
                        struct mig_nodes *nodes, const struct mig_hooks *hooks,
                        struct mig_run *ret_run, struct mig_error *err);

/* Whether such a bundle could be written to out, or is there already.
 * Errors: as mig_bundle_create(). */
int pipeline_check_chain_out(const char *out, const struct mig_run *run, struct mig_error *err);

/* Writes the chain-bound envelopes of the run as a bundle, read once more from the source and held
 * against what the first node's books say. *ret_there is false when there are none, and no bundle.
 */
int pipeline_bundle_chain(const struct mig_manifest *manifest, const struct mig_run *run,
                          struct mig_source *source, struct mig_node *node, const char *out,
                          const struct mig_blockers *blockers, const struct mig_hooks *hooks,
                          bool *ret_there, struct mig_error *err);

#endif
