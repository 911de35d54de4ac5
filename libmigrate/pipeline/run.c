/*
 * The main job in one process: read ahead on one thread, transform on all, load on one a node. What
 * is done is known from the nodes' books alone.
 */
#include "libmigrate/pipeline/run.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static void run_release(struct run *run)
{
    run_job_release(&run->job);
    growth_release(&run->growth);
    mig_spool_free(&run->spool);
    mig_blockers_release(&run->blockers);
}

/* ---- the end ------------------------------------------------------------------------------ */

/* What the recount finds, a sentence a table at most. */
struct recount {
    char texts[MIG_TABLE_COUNT][256];
    const char *problems[MIG_TABLE_COUNT];
    size_t count;
};

/* The source's own count of the settled ranges. More than we counted: rows were missed. Fewer: V3's
 * pruner was at work, which it is allowed to be. Written down with the run's end, so that its
 * account stays red. */
static int recount(struct run_job *job, struct recount *found, struct mig_error *err)
{
    mig_cleanup(mig_node_sums_release) struct mig_node_sums sums = {0};
    int result = mig_node_sums(job->nodes.items[0], job->run.facts.run, &sums, err);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        char *text = found->texts[found->count];
        uint64_t there;

        result = mig_source_count(job->sources.items[0], (enum mig_table) table, INT64_MIN,
                                  job->run.bounds[table], &there, err);
        if (result != MIG_OK || there <= sums.settled[table])
            continue;
        snprintf(text, sizeof found->texts[0],
                 "the source has %" PRIu64 " rows of %s in the run's range, %" PRIu64
                 " were counted: begin a new run",
                 there, mig_table_info((enum mig_table) table)->name, sums.settled[table]);
        found->problems[found->count++] = text;
    }
    return result;
}

/* Rows were read while V3 went on: what its key packages are now, the nodes are to hold. */
static int renew_packages(struct run_job *job, struct mig_error *err)
{
    const struct renew_options options = {.manifest = job->manifest,
                                          .keys = &job->keys,
                                          .source = job->sources.items[0],
                                          .nodes = &job->nodes,
                                          .run = &job->run,
                                          .throttle = job->throttle,
                                          .hooks = job->hooks,
                                          .stop = job->stop};
    struct renew *renew = NULL;
    size_t failed;
    int result = pipeline_renew_open(&options, &renew, err);

    if (result == MIG_OK)
        result = pipeline_renew_packages(renew, true, &failed, err);
    pipeline_renew_close(&renew);
    return result;
}

/* With a node away the run stays open on all of them: the next sitting takes it up for that one. So
 * it does where an end was asked for. */
static int finish(struct run *run, struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    struct run_job *job = &run->job;
    struct recount found = {.count = 0};
    bool has_bundle = false;
    int result;

    if (job->nodes.away_count > 0 || run_job_eases(job))
        return mig_account_read(&job->nodes, job->run.facts.run, ret_account, err);
    mig_blockers_release(&run->blockers);
    if ((result = mig_source_blockers(job->sources.items[0], &run->blockers, err)) != MIG_OK ||
        (result = run_bundle_chain(run, &has_bundle, err)) != MIG_OK ||
        (result = recount(job, &found, err)) != MIG_OK ||
        (result = renew_packages(job, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        result = mig_node_run_finish(job->nodes.items[i], &job->run, &run->blockers, found.problems,
                                     found.count, err);
    if (result == MIG_OK)
        result = mig_account_read(&job->nodes, job->run.facts.run, &account, err);
    if (result != MIG_OK)
        return result;
    if (has_bundle)
        mig_log(job->hooks, MIG_LOG_INFO, "for the chain: %s", run->chain_out);
    *ret_account = mig_take(account);
    return MIG_OK;
}

/* A node that is lost at the very end is awaited like any other: with a new connection, and the run
 * taken up where its books are. */
static int lose_all(struct run_job *job, const struct mig_error *why, struct mig_error *err)
{
    bool back;
    int result = MIG_OK;

    for (size_t i = job->nodes.count; i > 0 && result == MIG_OK; i--)
        result = mig_nodes_set_aside(&job->nodes, i - 1, why, err);
    return result == MIG_OK ? run_await_nodes(job, &back, err) : result;
}

/* Times that rows came late are read once more; what comes still later makes the account red. */
#define LATE_ROUNDS 4

/* The chain's share of what came late was not set aside with the others. */
static int find_late(struct run *run, bool *any, struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    int result = pipeline_reopen_late(&run->job, false, any, err);

    if (result == MIG_OK && *any && run->spool) {
        mig_fail(&why, MIG_E_PARTIAL, "rows came late");
        run_leave_spool(run, &why);
    }
    return result;
}

static int move_and_finish(struct run *run, struct mig_account **ret_account, struct mig_error *err)
{
    int late_rounds = 0, result;

    while ((result = run_move_rows(run, err)) == MIG_OK) {
        struct mig_error failure = MIG_ERROR_INIT;
        bool late = false;

        if (late_rounds++ < LATE_ROUNDS && !run_job_eases(&run->job) &&
            (result = find_late(run, &late, err)) != MIG_OK)
            break;
        if (late)
            continue;
        result = finish(run, ret_account, &failure);
        if (result != MIG_OK && err)
            *err = failure;
        if (result != MIG_E_TEMPORARY || (result = lose_all(&run->job, &failure, err)) != MIG_OK)
            break;
    }
    return result;
}

/* Whoever has the account is not to be told of a failure behind it. It will go out once more. */
static int tell(struct run_job *job, const struct mig_run_options *options,
                const struct mig_account *account, struct mig_error *err)
{
    struct mig_error failure = MIG_ERROR_INIT;
    int result = options->tell ? options->tell(options->context, account, err) : MIG_OK;

    for (size_t i = 0; i < job->nodes.count && result == MIG_OK && !account->unfinished; i++)
        if (mig_node_run_told(job->nodes.items[i], job->run.facts.run, &failure) != MIG_OK)
            mig_log(job->hooks, MIG_LOG_WARN, "%s: the next run will only tell this account again",
                    failure.message);
    return result;
}

int mig_pipeline_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(run_release) struct run run = {0};
    struct run_job *job = &run.job;
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    int result;

    if ((result = pipeline_check_chain_folder(manifest, options, err)) != MIG_OK ||
        (result = run_job_open(job, manifest, options, hooks, stop, err)) != MIG_OK ||
        (result = pipeline_choose_run(manifest, options, &job->keys, job->sources.items[0],
                                      &job->nodes, hooks, &job->run, err)) != MIG_OK ||
        (result = run_choose_chain_out(&run, options, err)) != MIG_OK ||
        (result = pipeline_check_chain_out(run.chain_out, &job->run, hooks, err)) != MIG_OK ||
        (result = run_open_spool(&run, err)) != MIG_OK ||
        (result = run_job_begin(job, err)) != MIG_OK)
        return result;
    if ((result = move_and_finish(&run, &account, err)) != MIG_OK)
        return result;
    assert(account);
    if ((result = tell(job, options, account, err)) != MIG_OK)
        return result;
    *ret_account = mig_take(account);
    return MIG_OK;
}
