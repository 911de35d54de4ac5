/* What follow does now and then: rows above the sequence, key packages, nodes that were away. */
#include "libmigrate/pipeline/follow.h"

#include <stdlib.h>

/* Of key packages at a time: rows do not wait for them. */
#define RENEW_NS (MIG_NS_PER_SECOND / 10)
#define COMEBACK_NS (2 * MIG_NS_PER_SECOND) /* between tries to reach a node */

static int find_strays(void *context, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct follow *follow = context;
    struct read_range *ranges = calloc(MIG_TABLE_COUNT, sizeof *ranges);
    size_t count = 0;

    (void) wanted;
    if (!ranges)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        struct mig_source *source = follow->job.sources.items[0];
        struct mig_settled settled = {0};
        bool locked;
        int result = mig_source_is_locked(source, mig_table_info((enum mig_table) table)->name,
                                          &locked, err);

        /* Later: the other tables do not wait for one. */
        if (result == MIG_OK && !locked)
            result = mig_source_strays(source, (enum mig_table) table, follow->fronts[table],
                                       &settled, err);
        if (result != MIG_OK) {
            free(ranges);
            return result;
        }
        if (settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    *ret_ranges = ranges;
    *ret_count = count;
    return MIG_OK;
}

/* By time, what was settled may have grown: then the nodes are not as far as they were. */
static int find_late(struct follow *follow, bool *any, struct mig_error *err)
{
    int result = pipeline_reopen_late(&follow->job, true, any, err);

    follow->late_ns = mig_time_monotonic_ns() + FOLLOW_TIDY_NS;
    if (*any)
        follow_fall_back(follow);
    return result;
}

int follow_look_back(struct follow *follow, struct mig_error *err)
{
    const bool due = mig_time_monotonic_ns() >= follow->late_ns;
    bool any = false;
    int result = due ? find_late(follow, &any, err) : MIG_OK;

    return result == MIG_OK && !any ? follow_tidy(follow, err) : result;
}

/* Rows above the sequence, for all who are at the front, whose books are whole then. */
int follow_tidy(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result;

    follow->tidy_ns = mig_time_monotonic_ns() + FOLLOW_TIDY_NS;
    follow->untidy = false;
    for (size_t i = 0; i < job->nodes.count; i++) {
        follow_place(follow, i)->lacks =
            follow_equally_far(follow_place(follow, i)->positions, follow->fronts);
        follow->untidy = follow->untidy || !follow_place(follow, i)->lacks;
    }
    job->see = NULL;
    result = run_job_pass(job, "follow", 0, find_strays, follow, err);
    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        if (follow_equally_far(follow_place(follow, i)->positions, follow->fronts))
            result = mig_node_run_finish(job->nodes.items[i], &job->run, NULL, NULL, 0, err);
    return result;
}

static int open_renew(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    const struct renew_options options = {.manifest = job->manifest,
                                          .keys = &job->keys,
                                          .source = follow->packages,
                                          .nodes = &job->nodes,
                                          .run = &job->run,
                                          .hooks = job->hooks,
                                          .stop = job->stop};

    pipeline_renew_close(&follow->renew);
    return pipeline_renew_open(&options, &follow->renew, err);
}

int follow_open_packages(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result = mig_source_open(job->manifest, job->hooks, job->stop, &follow->packages, err);

    if (result != MIG_OK ||
        (result = pipeline_check_source(follow->packages, &job->run, false, err)) != MIG_OK)
        return result;
    mig_source_set_retry(follow->packages, job->options->resources.retry_s);
    mig_source_share_past(follow->packages, job->sources.items[0]);
    return open_renew(follow, err);
}

int follow_packages_locked(struct follow *follow, bool *ret_are, struct mig_error *err)
{
    int result = mig_source_is_locked(follow->packages, "installations", ret_are, err);

    return result == MIG_OK && !*ret_are
               ? mig_source_is_locked(follow->packages, "key_packages", ret_are, err)
               : result;
}

/* Key packages that have another standing than when their rows came. */
int follow_renew_packages(struct follow *follow, struct mig_error *err)
{
    size_t node;
    bool done, locked;
    int result;

    if (!pipeline_renew_looks(follow->renew) &&
        mig_time_monotonic_ns() < pipeline_renew_due_ns(follow->renew))
        return MIG_OK;
    if ((result = follow_packages_locked(follow, &locked, err)) != MIG_OK || locked)
        return result;
    return pipeline_renew_some(follow->renew, false, RENEW_NS, &done, &node, err);
}

/* With no node left there is nothing else to do than to wait for one. */
static int await_any(struct follow *follow, struct mig_error *err)
{
    struct mig_nodes *nodes = &follow->job.nodes;

    follow_scout_recall(follow);
    for (size_t i = 0; i < nodes->away_count; i++)
        nodes->away[i].awaited = true;
    return mig_retry_wait(&follow->job.retry, &nodes->away[0].why, follow->job.hooks,
                          follow->job.stop, err);
}

/* Nodes away are tried now and then; the others don't wait for it. */
int follow_look_for_nodes(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    const int64_t now_ns = mig_time_monotonic_ns();
    struct mig_error failure = MIG_ERROR_INIT;
    size_t back = 0;
    int result = MIG_OK;

    if (job->nodes.away_count == 0)
        return MIG_OK;
    if (job->nodes.count == 0) {
        result = await_any(follow, err);
    } else if (!follow_scout_is_back(follow)) {
        if (follow->scout || now_ns < follow->comeback_ns)
            return MIG_OK;
        follow->comeback_ns = now_ns + COMEBACK_NS;
        return follow_scout_send(follow, err);
    }
    if (result != MIG_OK)
        return result;
    result = run_job_bring_back(job, &back, &failure);
    if (result != MIG_OK && err)
        *err = failure;
    if (result != MIG_OK || back == 0)
        return result;
    mig_retry_succeeded(&job->retry);
    follow->untidy = true;
    /* What came late while a node was away is to be found before it gets more than is looked at. */
    if ((result = follow_ask_positions(follow, err)) != MIG_OK ||
        (result = find_late(follow, &(bool){false}, err)) != MIG_OK)
        return result;
    return open_renew(follow, err);
}
