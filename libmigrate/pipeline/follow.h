/*
 * What the files of follow share. A run is gone on with: its instant and facts stay, its ranges
 * grow. Nodes that are equally far are one group; those behind are caught up a slice at a time
 * between the steps of the others.
 */
#ifndef MIG_FOLLOW_H
#define MIG_FOLLOW_H

#include "libmigrate/pipeline/growth.h"
#include "libmigrate/pipeline/run_job.h"

#include <pthread.h>

#define FOLLOW_LAG_MS 20000 /* what is told apart */
#define FOLLOW_TIDY_NS (60 * MIG_NS_PER_SECOND)

/* Nodes that are equally far, and the parts that they are in the middle of. */
struct group {
    struct growth growth;
    bool *members; /* by the manifest's order */
    bool valid;    /* growth is where they are */
};

struct scout;

struct follow {
    struct run_job job;
    struct mig_run_options options; /* once there is a run, it is gone on with */
    const struct mig_stop *ease;
    struct mig_stop hard; /* what the job hears */
    pthread_t keeper;
    _Atomic bool keeper_ends;
    bool keeper_runs;
    struct mig_settling *settling;
    struct mig_settling_state state;
    struct mig_source *packages; /* a connection for the pass over key packages */
    struct renew *renew;
    int64_t fronts[MIG_TABLE_COUNT]; /* where the nodes are that are farthest */
    struct group ahead, behind;
    /* When it moved last; when the others are due. */
    int64_t moved_ns, tidy_ns, late_ns, comeback_ns;
    int64_t lacking_ns[MIG_TABLE_COUNT]; /* since when rows are settled that a node lacks */
    int64_t told_pid;                    /* the writer that was told of */
    bool untidy;                         /* a node came back */
    struct scout *scout;                 /* on its way to nodes that are away */
    struct mig_follow_summary summary;
    uint32_t lags[FOLLOW_LAG_MS + 1];
    uint64_t lag_count;
};

/* follow.c: whether it shall end. */
bool follow_asked_to_end(const struct follow *follow);

/* follow_legs.c: where a node stands, and whether two places are the same. */
struct run_place *follow_place(const struct follow *follow, size_t index);
bool follow_equally_far(const int64_t *a, const int64_t *b);
/* Asks all nodes that are there. */
int follow_ask_positions(struct follow *follow, struct mig_error *err);
/* Some were put back: the front is where they are now. */
void follow_fall_back(struct follow *follow);
/* Those at the front go on to what is settled; *ret_moved is false when there was nothing. */
int follow_lead_on(struct follow *follow, bool *ret_moved, struct mig_error *err);
/* Some of those behind get a slice nearer. */
int follow_catch_up(struct follow *follow, bool *ret_moved, struct mig_error *err);

/* follow_told.c: how far it is, and whom it waits for. */
void follow_tell(struct follow *follow);
void follow_note_lags(struct follow *follow, enum mig_table table, const struct growth_lags *lags);
/* The lag that a share of the rows kept below, in ms. */
int64_t follow_lag(const struct follow *follow, uint64_t share, uint64_t of);

/* follow_due.c: what is due now and then. */
int follow_tidy(struct follow *follow, struct mig_error *err);
/* Rows that came late first; where there are some, the rest is for later. */
int follow_look_back(struct follow *follow, struct mig_error *err);
int follow_open_packages(struct follow *follow, struct mig_error *err);
/* Whether somebody keeps all readers of key packages waiting. */
int follow_packages_locked(struct follow *follow, bool *ret_are, struct mig_error *err);
int follow_renew_packages(struct follow *follow, struct mig_error *err);
int follow_look_for_nodes(struct follow *follow, struct mig_error *err);

/* follow_scout.c: tries nodes that are away, beside the loop; one at a time is under way. */
int follow_scout_send(struct follow *follow, struct mig_error *err);
/* Whether it has come back and found any, which are awaited then, and no others. */
bool follow_scout_is_back(struct follow *follow);
void follow_scout_recall(struct follow *follow);

#endif
