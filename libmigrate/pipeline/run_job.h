/*
 * What run and follow are made of: source, nodes and workshop of a run, and passes over what the
 * nodes lack.
 */
#ifndef MIG_RUN_JOB_H
#define MIG_RUN_JOB_H

#include "libmigrate/pipeline/pipeline_private.h"

/* Everything a run needs, released together. */
struct run_job {
    const struct mig_manifest *manifest;
    const struct mig_run_options *options;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    const struct mig_stop *ease; /* once asked for, a pass takes no more; may be NULL */
    struct pipeline_keys keys;
    struct throttle *throttle;
    struct source_set sources; /* the first one also answers what is asked beside the reading */
    struct mig_nodes nodes;
    struct mig_transform *transform;
    unsigned threads;
    struct mig_arena *scratch; /* one a thread */
    struct read_ahead *ahead;
    struct mig_run run;
    struct mig_retry retry; /* of nodes that were lost; since the last time that one got further */
    struct run_place *places;
    unsigned patience_s, hurried_s; /* with a node that does not answer; 0: none is too long */
    /* Sees each transformed parcel once, in order, before the nodes do; may be NULL. */
    int (*see)(void *context, struct parcel *parcel, struct mig_error *err);
    void *see_context;
};

/* For the nodes that are there, and for those that come back: twice as long every other time
 * that one did without having got further, so that what is only slow is done in the end; the first
 * is for all once an end is asked for. */
void run_job_set_patience(struct run_job *job, unsigned seconds, unsigned hurried_s);

/* Where a node of the manifest stands; one each, in the manifest's order. */
struct run_place {
    bool lacks;        /* something of what is to be moved */
    unsigned setbacks; /* times that it came back since it last got further */
    int64_t positions[MIG_TABLE_COUNT];
};

/* Keys, sources, nodes, throttle: nothing is written yet. Errors: of all these. */
int run_job_open(struct run_job *job, const struct mig_manifest *manifest,
                 const struct mig_run_options *options, const struct mig_hooks *hooks,
                 const struct mig_stop *stop, struct mig_error *err);
void run_job_release(struct run_job *job);

/* Once job->run is chosen: begins it on every node that is there. */
int run_job_begin(struct run_job *job, struct mig_error *err);

/* Whether it shall end with what is in hand: a pass then leaves out the rest, whatever it says. */
bool run_job_eases(const struct run_job *job);

/* Ranges to read for the nodes that lack something; the caller frees them with free(). */
typedef int run_ranges_fn(void *context, const bool *wanted, struct read_range **ret_ranges,
                          size_t *ret_count, struct mig_error *err);

/*
 * One pass over ranges for those nodes of job->nodes that are wanted; job->places knows afterwards
 * who still lacks something. A node that failed is set aside.
 * Errors: what stopped everything, and a node's failure that does not pass.
 */
int run_job_pass(struct run_job *job, const char *stage, uint64_t total_rows, run_ranges_fn *ranges,
                 void *context, struct mig_error *err);

/* Tries once to bring back nodes that are awaited, and begins the run on them. */
int run_job_bring_back(struct run_job *job, size_t *ret_back, struct mig_error *err);

/* late.c: where ranges were settled by time, reopens the books of nodes from the first part on that
 * the source has more rows of by now, and puts these nodes back there; recent: of the last parts
 * alone. *any becomes true with the first, even where the others then fail. */
int pipeline_reopen_late(struct run_job *job, bool recent, bool *any, struct mig_error *err);

/* Marks everybody as lacking something. */
void run_job_want_all(struct run_job *job);
/* Whether a node that is there lacks something. */
bool run_job_lacks(const struct run_job *job);

#endif
