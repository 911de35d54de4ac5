/* What the files of run share. */
#ifndef MIG_RUN_H
#define MIG_RUN_H

#include "libmigrate/pipeline/growth.h"
#include "libmigrate/pipeline/run_job.h"

#define RUN_PATH_SIZE 768 /* of what a person names */
#define RUN_NAME_ROOM 128 /* for what we name inside it */

/* A run, and what it does beside moving rows. */
struct run {
    struct run_job job;
    struct mig_blockers blockers;
    char chain_out[RUN_PATH_SIZE + RUN_NAME_ROOM];
    struct mig_spool *spool; /* the chain's share; NULL when there was no room for it */
    bool aside;              /* what passes is to be set aside: it was not seen before */
    struct growth growth;    /* parts that other nodes have are to be theirs again */
};

/* run_rows.c: passes, until every node that is there has all. */
int run_move_rows(struct run *run, struct mig_error *err);
/* Waits for nodes that were lost, until one is back. Whoever stays away for too long is left to the
 * next sitting. */
int run_await_nodes(struct run_job *job, bool *ret_back, struct mig_error *err);

/* run_chain.c: the chain's share is set aside as it passes, and bundled in the end. Without a spool
 * it is read once more then: slower, and nothing else. */
int run_choose_chain_out(struct run *run, const struct mig_run_options *options,
                         struct mig_error *err);
int run_open_spool(struct run *run, struct mig_error *err);
void run_leave_spool(struct run *run, const struct mig_error *why);
int run_set_chain_aside(struct run *run, const struct mig_part *part, struct mig_error *err);
int run_bundle_chain(struct run *run, bool *ret_there, struct mig_error *err);

#endif
