/*
 * What arrives at a live source, brought to every node as soon as it is settled: the loop, its
 * beginning and its end.
 */
#include "libmigrate/pipeline/follow.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP_MS 50  /* between looks while somebody writes */
#define IDLE_MS 400 /* while nobody does */
#define EAGER_NS (2 * MIG_NS_PER_SECOND)
#define FINISH_NS (9 * MIG_NS_PER_SECOND) /* for what is in hand once a stop is asked for */
/* For a node that does not answer; the others wait for it. Less than who asks for an end has. */
#define NODE_PATIENCE_S 6
#define END_PATIENCE_S 2 /* once an end is asked for */

bool follow_asked_to_end(const struct follow *follow)
{
    return mig_stop_check(follow->ease, NULL) != MIG_OK;
}

static void wait_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long) ms * 1000000L}, NULL);
}

/* ---- ending in time -------------------------------------------------------------------------- */

/* Who asks for an end gets it: what is in hand has a while, then it is rolled back. */
static void *keep_time(void *context)
{
    struct follow *follow = context;
    int64_t asked_ns = 0;

    while (!atomic_load(&follow->keeper_ends)) {
        if (asked_ns == 0 && follow_asked_to_end(follow))
            asked_ns = mig_time_monotonic_ns();
        if (asked_ns != 0 && mig_time_monotonic_ns() - asked_ns > FINISH_NS)
            atomic_store(&follow->hard.requested, true);
        wait_ms(STEP_MS);
    }
    return NULL;
}

static void follow_release(struct follow *follow)
{
    atomic_store(&follow->keeper_ends, true);
    if (follow->keeper_runs)
        pthread_join(follow->keeper, NULL);
    follow_scout_recall(follow);
    mig_settling_free(&follow->settling);
    pipeline_renew_close(&follow->renew);
    mig_source_close(&follow->packages);
    growth_release(&follow->ahead.growth);
    growth_release(&follow->behind.growth);
    free(follow->ahead.members);
    free(follow->behind.members);
    run_job_release(&follow->job);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static int64_t pause_ms(const struct follow *follow)
{
    const int64_t still_ns = mig_time_monotonic_ns() - follow->moved_ns;

    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        if (follow->state.latest[table] > follow->fronts[table] && still_ns < EAGER_NS)
            return STEP_MS;
    return IDLE_MS;
}

/* A node that is lost in a step is set aside there, or here when it is asked something; whatever
 * else fails ends it. */
static int survive(struct follow *follow, int result, struct mig_error *failure,
                   struct mig_error *err)
{
    struct run_job *job = &follow->job;
    bool lost = false;

    for (size_t i = job->nodes.count; i > 0 && result == MIG_E_TEMPORARY; i--) {
        if (mig_node_alive(job->nodes.items[i - 1]))
            continue;
        if ((result = mig_nodes_set_aside(&job->nodes, i - 1, failure, err)) != MIG_OK)
            return result;
        if (job->nodes.count > 0)
            mig_log(job->hooks, MIG_LOG_WARN, "%s: the other nodes go on without it",
                    failure->message);
        result = MIG_E_TEMPORARY;
        lost = true;
    }
    follow->ahead.valid = follow->behind.valid = false;
    if (lost)
        return MIG_OK;
    if (result != MIG_OK && err)
        *err = *failure;
    return result;
}

static int step(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    bool led = false, caught_up = false;
    int result;

    if ((result = follow_look_for_nodes(follow, err)) != MIG_OK || follow->job.nodes.count == 0)
        return result;
    if ((result = mig_settling_look(follow->settling, &follow->state, err)) != MIG_OK)
        return result;
    follow->job.run.source_wal = mig_source_floor(follow->job.sources.items[0]);
    follow->job.run.by_time =
        follow->job.run.by_time || mig_source_settles_by_time(follow->job.sources.items[0]);
    follow_tell(follow);
    if ((result = follow_lead_on(follow, &led, err)) != MIG_OK ||
        (result = follow_catch_up(follow, &caught_up, err)) != MIG_OK)
        return result;
    *ret_moved = led || caught_up;
    if (mig_time_monotonic_ns() >= follow->tidy_ns || (follow->untidy && !caught_up))
        result = follow_look_back(follow, err);
    return result == MIG_OK ? follow_renew_packages(follow, err) : result;
}

static int go_on(struct follow *follow, struct mig_error *err)
{
    int result = MIG_OK;

    while (result == MIG_OK && !follow_asked_to_end(follow)) {
        struct mig_error failure = MIG_ERROR_INIT;
        bool moved = false;

        result = step(follow, &moved, &failure);
        if (result != MIG_OK)
            result = survive(follow, result, &failure, err);
        if (moved)
            follow->moved_ns = mig_time_monotonic_ns();
        else if (result == MIG_OK)
            mig_report_measure(follow->job.hooks, MIG_MEASURE_IDLE, NULL, NULL, 1);
        for (int64_t left = moved || pipeline_renew_looks(follow->renew) ? 0 : pause_ms(follow);
             left > 0 && result == MIG_OK && !follow_asked_to_end(follow); left -= STEP_MS)
            wait_ms(left < STEP_MS ? left : STEP_MS);
    }
    return result;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static int find_run(struct follow *follow, const struct mig_manifest *manifest,
                    const struct mig_hooks *hooks, bool *ret_there, struct mig_error *err)
{
    const struct mig_run_options *options = &follow->options;
    struct run_job *job = &follow->job;
    int result = run_job_open(job, manifest, options, hooks, &follow->hard, err);

    return result == MIG_OK
               ? pipeline_choose_followed(manifest, options, &job->keys, job->sources.items[0],
                                          &job->nodes, hooks, ret_there, &job->run, err)
               : result;
}

/* Runs where no run is finished yet. *ret_account is what there is of it when an end was asked for
 * meanwhile, else NULL. */
static int run_first(struct follow *follow, const struct mig_manifest *manifest,
                     const struct mig_run_options *options, const struct mig_hooks *hooks,
                     struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    struct mig_run_options first = *options;
    int result;

    first.ease = follow->ease;
    run_job_release(&follow->job);
    follow->job = (struct run_job){0};
    result = mig_pipeline_run(manifest, &first, hooks, &follow->hard, &account, err);
    if (result == MIG_OK && account->unfinished && follow_asked_to_end(follow))
        *ret_account = mig_take(account);
    else if (result == MIG_OK && account->verdict == MIG_VERDICT_RED)
        result = mig_account_outcome(account, err);
    return result;
}

static int open_run(struct follow *follow, const struct mig_manifest *manifest,
                    const struct mig_run_options *options, const struct mig_hooks *hooks,
                    struct mig_account **ret_account, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    bool there = false;
    int result;

    follow->options = *options;
    result = find_run(follow, manifest, hooks, &there, err);
    if (result == MIG_OK && !there) {
        follow->options.new_run = follow->options.has_as_of = false;
        result = run_first(follow, manifest, options, hooks, ret_account, err);
        if (result != MIG_OK || *ret_account)
            return result;
        if ((result = find_run(follow, manifest, hooks, &there, err)) != MIG_OK)
            return result;
        if (!there)
            return mig_fail(err, MIG_E_TEMPORARY, "the run is not finished on every node");
    }
    for (size_t i = 0; i < job->nodes.away_count; i++)
        job->nodes.away[i].awaited = true;
    job->run.followed = true;
    return result == MIG_OK ? run_job_begin(job, err) : result;
}

static int begin(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result;

    follow->ahead.members = calloc(job->manifest->node_count, sizeof(bool));
    follow->behind.members = calloc(job->manifest->node_count, sizeof(bool));
    if (!follow->ahead.members || !follow->behind.members)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    memcpy(follow->fronts, job->run.bounds, sizeof follow->fronts);
    follow->ahead.growth.facts = follow->behind.growth.facts = &job->run.facts;
    follow->ahead.growth.follows = follow->behind.growth.follows = true;
    job->ease = follow->ease;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        follow->lacking_ns[table] = mig_time_monotonic_ns();
    run_job_set_patience(job, NODE_PATIENCE_S, END_PATIENCE_S);
    follow->untidy = true;
    follow->tidy_ns = mig_time_monotonic_ns() + FOLLOW_TIDY_NS;
    if ((result = follow_ask_positions(follow, err)) != MIG_OK)
        return result;
    if ((result = follow_open_packages(follow, err)) != MIG_OK)
        return result;
    mig_log(job->hooks, MIG_LOG_INFO, "following run %s", job->run.facts.run);
    return mig_settling_open(job->sources.items[0], follow->fronts, &follow->settling, err);
}

/* Nobody is left to be asked for an account. */
static int check_nodes(const struct follow *follow, struct mig_error *err)
{
    const struct mig_nodes *nodes = &follow->job.nodes;

    if (nodes->count > 0 || nodes->away_count == 0)
        return MIG_OK;
    if (err)
        *err = nodes->away[0].why;
    return nodes->away[0].why.code;
}

/* The books are made whole for as long as that takes no time. */
static int close_books(struct follow *follow, struct mig_account **ret_account,
                       struct mig_error *err)
{
    const bool costly =
        pipeline_renew_due_ns(follow->renew) - mig_time_monotonic_ns() > FOLLOW_TIDY_NS;
    size_t node;
    bool locked = false;
    int result;

    if ((result = follow_ask_positions(follow, err)) != MIG_OK ||
        (result = follow_packages_locked(follow, &locked, err)) != MIG_OK ||
        (!costly && !locked &&
         (result = pipeline_renew_packages(follow->renew, true, &node, err)) != MIG_OK) ||
        (result = follow_tidy(follow, err)) != MIG_OK ||
        (result = check_nodes(follow, err)) != MIG_OK)
        return result;
    return mig_account_read(&follow->job.nodes, follow->job.run.facts.run, ret_account, err);
}

/* What is in hand is done; who does not answer now is left to the next time. */
static int end(struct follow *follow, struct mig_follow_summary *ret_summary,
               struct mig_account **ret_account, struct mig_error *err)
{
    struct mig_error failure = MIG_ERROR_INIT;
    int result;

    follow->job.ease = NULL;
    while ((result = close_books(follow, ret_account, &failure)) != MIG_OK)
        if ((result = survive(follow, result, &failure, err)) != MIG_OK)
            return result;
    follow->summary.lag_p50_ms = follow_lag(follow, 50, 100);
    follow->summary.lag_p99_ms = follow_lag(follow, 99, 100);
    *ret_summary = follow->summary;
    return MIG_OK;
}

static int go_from_run(struct follow *follow, struct mig_follow_summary *ret_summary,
                       struct mig_account **ret_account, struct mig_error *err)
{
    int result;

    if ((result = begin(follow, err)) != MIG_OK || (result = go_on(follow, err)) != MIG_OK)
        return result;
    return end(follow, ret_summary, ret_account, err);
}

int mig_pipeline_follow(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_follow_summary *ret_summary, struct mig_account **ret_account,
                        struct mig_error *err)
{
    struct follow *follow = calloc(1, sizeof *follow);
    struct mig_follow_summary summary = {0};
    struct mig_account *account = NULL;
    int result, failure;

    if (!follow)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    follow->ease = stop;
    failure = pthread_create(&follow->keeper, NULL, keep_time, follow);
    follow->keeper_runs = failure == 0;
    result = failure == 0
                 ? MIG_OK
                 : mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    if (result == MIG_OK)
        result = open_run(follow, manifest, options, hooks, &account, err);
    if (result == MIG_OK && !account)
        result = go_from_run(follow, &summary, &account, err);
    follow_release(follow);
    free(follow);
    if (result != MIG_OK)
        return result;
    *ret_summary = summary;
    *ret_account = account;
    return MIG_OK;
}
