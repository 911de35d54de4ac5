/*
 * The main job in one process: read ahead on one thread, transform on all, load on one a node. What
 * is done is known from the nodes' books alone.
 */
#include "libmigrate/io/io.h"
#include "libmigrate/pipeline/growth.h"
#include "libmigrate/pipeline/run_job.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 768 /* of what a person names */
#define NAME_ROOM 128 /* for what we name inside it */

/* A run, and what it does beside moving rows. */
struct run {
    struct run_job job;
    struct mig_blockers blockers;
    char chain_out[PATH_SIZE + NAME_ROOM];
    struct mig_spool *spool; /* the chain's share; NULL when there was no room for it */
    bool aside;              /* what passes is to be set aside: it was not seen before */
    struct growth growth;    /* parts that other nodes have are to be theirs again */
};

static void run_release(struct run *run)
{
    run_job_release(&run->job);
    growth_release(&run->growth);
    mig_spool_free(&run->spool);
    mig_blockers_release(&run->blockers);
}

/* Without a spool the chain's share is read once more in the end: slower, and nothing else. */
static void go_on_without_spool(struct run *run, const struct mig_error *why)
{
    mig_log(run->job.hooks, MIG_LOG_WARN,
            "%s: rows for the chain will be read from the source once more", why->message);
    mig_spool_free(&run->spool);
}

static int open_spool(struct run *run, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(run->chain_out);
    struct mig_error failure = MIG_ERROR_INIT;

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (mig_spool_open(folder, &run->spool, &failure) != MIG_OK)
        go_on_without_spool(run, &failure);
    return MIG_OK;
}

static int set_chain_aside(struct run *run, const struct mig_part *part, struct mig_error *err)
{
    struct mig_error failure = MIG_ERROR_INIT;
    int result = run->spool ? mig_spool_add(run->spool, part, &failure) : MIG_OK;

    if (result == MIG_E_IO) {
        go_on_without_spool(run, &failure);
        return MIG_OK;
    }
    if (result != MIG_OK && err)
        *err = failure;
    return result;
}

static int see(void *context, struct parcel *parcel, struct mig_error *err)
{
    struct run *run = context;
    int result = growth_see(&run->growth, parcel, err);

    return result == MIG_OK && run->aside ? set_chain_aside(run, parcel->part, err) : result;
}

/* ---- what is left to do ------------------------------------------------------------------- */

/* The ranges of one table that at least one of the nodes wanted lacks, cut where any node's own
 * parts end, so that every part is either wholly there or wholly missing. What is one part
 * elsewhere, though it has grown beyond what a part can hold at once, is one part here. */
static int ranges_of_table(struct run *run, const bool *wanted, enum mig_table table,
                           struct read_range **ranges, size_t *count, struct mig_error *err)
{
    struct run_job *job = &run->job;
    const int64_t bound = job->run.bounds[table];
    mig_cleanup(pipeline_cuts_release) struct pipeline_cuts cuts = {0};
    struct read_range *larger;
    int64_t position;
    int result = pipeline_find_cuts(&job->nodes, wanted, &job->run, table, &cuts, err);

    if (result != MIG_OK)
        return result;
    /* The last one of the table's own, and one for strays. */
    larger = reallocarray(*ranges, *count + cuts.count + 2, sizeof *larger);
    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    *ranges = larger;
    position = cuts.position;
    for (size_t i = 0; position < bound; i++) {
        const bool cut = i < cuts.count && cuts.ids[i] <= bound;
        const int64_t first = position == INT64_MIN ? INT64_MIN : position + 1;

        position = cut ? cuts.ids[i] : bound;
        larger[(*count)++] = (struct read_range){table, first, position, true};
        if (cut && (result = growth_add_start(&run->growth, table, first, err)) != MIG_OK)
            return result;
        if (!cut)
            run->growth.loose_from[table] = first;
    }
    return MIG_OK;
}

static int find_ranges(void *context, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct run *run = context;
    struct run_job *job = &run->job;
    struct read_range *ranges = NULL;
    size_t count = 0;
    int result = MIG_OK;

    growth_begin_pass(&run->growth);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        struct mig_settled settled;

        result = ranges_of_table(run, wanted, (enum mig_table) table, &ranges, &count, err);
        if (result == MIG_OK)
            result = mig_source_strays(job->sources.items[0], (enum mig_table) table,
                                       job->run.bounds[table], &settled, err);
        assert(result != MIG_OK || ranges); /* with a place for strays */
        if (result == MIG_OK && settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    if (result != MIG_OK) {
        free(ranges);
        return result;
    }
    *ret_ranges = ranges;
    *ret_count = count;
    return MIG_OK;
}

static int estimate(struct run_job *job, uint64_t *ret_total, struct mig_error *err)
{
    int result = MIG_OK;

    *ret_total = 0;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        uint64_t rows;

        result = mig_source_estimate(job->sources.items[0], (enum mig_table) table, &rows, err);
        if (result == MIG_OK)
            *ret_total += rows;
    }
    return result;
}

/* Waits for nodes that were lost, until one is back. Whoever stays away for too long is left to the
 * next sitting. */
static int await_nodes(struct run_job *job, bool *ret_back, struct mig_error *err)
{
    size_t back = 0;

    while (back == 0) {
        struct mig_error failure = MIG_ERROR_INIT;
        size_t i = 0;
        int result;

        while (i < job->nodes.away_count && !job->nodes.away[i].awaited)
            i++;
        if (i == job->nodes.away_count)
            break;
        job->retry.node = job->nodes.away[i].name;
        result =
            mig_retry_wait(&job->retry, &job->nodes.away[i].why, job->hooks, job->stop, &failure);
        if (result == MIG_E_TEMPORARY && job->nodes.count > 0)
            break;
        if (result != MIG_OK) {
            if (err)
                *err = failure;
            return result;
        }
        if ((result = run_job_bring_back(job, &back, err)) != MIG_OK)
            return result;
    }
    *ret_back = back > 0;
    return MIG_OK;
}

/* Passes, until every node that is there has all. */
static int move_rows(struct run *run, struct mig_error *err)
{
    struct run_job *job = &run->job;
    const char *stage = "run";
    bool back = true;
    uint64_t total;
    int result = estimate(job, &total, err);

    run_job_want_all(job);
    run->growth.facts = &job->run.facts;
    run->aside = true;
    job->see = see;
    job->see_context = run;
    while (result == MIG_OK && back && !run_job_eases(job)) {
        while (result == MIG_OK && run_job_lacks(job) && !run_job_eases(job)) {
            result = run_job_pass(job, stage, total, find_ranges, run, err);
            /* Who has all of it has it from a pass that saw everything. */
            if (job->nodes.count > 0 && !job->places[mig_node_index(job->nodes.items[0])].lacks)
                run->aside = false;
            stage = "catching up";
        }
        if (result == MIG_OK && !run_job_eases(job))
            result = await_nodes(job, &back, err);
    }
    return result;
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

/* What was set aside and its bundle may be more than the disk holds: then one without the other. */
static int bundle_chain(struct run *run, bool *ret_there, struct mig_error *err)
{
    const struct run_job *job = &run->job;
    struct pipeline_chain chain = {.manifest = job->manifest,
                                   .run = &job->run,
                                   .source = job->sources.items[0],
                                   .spool = run->spool,
                                   .node = job->nodes.items[0],
                                   .out = run->chain_out,
                                   .blockers = &run->blockers,
                                   .hooks = job->hooks,
                                   .stop = job->stop};
    struct mig_error failure = MIG_ERROR_INIT;
    int result = pipeline_bundle_chain(&chain, ret_there, &failure);

    if (result == MIG_E_IO && run->spool) {
        go_on_without_spool(run, &failure);
        chain.spool = NULL;
        return pipeline_bundle_chain(&chain, ret_there, err);
    }
    if (result != MIG_OK && err)
        *err = failure;
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
        (result = bundle_chain(run, &has_bundle, err)) != MIG_OK ||
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
    return result == MIG_OK ? await_nodes(job, &back, err) : result;
}

/* Times that rows came late are read once more; what comes still later makes the account red. */
#define LATE_ROUNDS 4

/* The chain's share of what came late was not set aside with the others. */
static int find_late(struct run *run, bool *ret_any, struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    int result = pipeline_reopen_late(&run->job, false, ret_any, err);

    if (result == MIG_OK && *ret_any && run->spool) {
        mig_fail(&why, MIG_E_PARTIAL, "rows came late");
        go_on_without_spool(run, &why);
    }
    return result;
}

static int move_and_finish(struct run *run, struct mig_account **ret_account, struct mig_error *err)
{
    int late_rounds = 0, result;

    while ((result = move_rows(run, err)) == MIG_OK) {
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

int pipeline_check_chain_folder(const struct mig_manifest *manifest,
                                const struct mig_run_options *options, struct mig_error *err)
{
    const char *path = options->chain_out ? options->chain_out : manifest->path;
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(path);

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (!*path || strcmp(path, "-") == 0) {
        mig_fail(err, MIG_E_USAGE, "the chain-bound envelopes can't be written to '%s'", path);
        return mig_hint(err, "name a folder or a .tar file with --chain-out");
    }
    if (strlen(path) >= PATH_SIZE)
        return mig_fail(err, MIG_E_USAGE, "the path '%.60s...' is too long", path);
    if (access(folder, W_OK | X_OK) == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_IO, "cannot write the chain-bound envelopes to '%s': %s", folder,
             strerror(errno));
    return mig_hint(err, "say where with --chain-out");
}

static int choose_chain_out(struct run *run, const struct mig_run_options *options,
                            struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(run->job.manifest->path);

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    snprintf(run->chain_out, sizeof run->chain_out, "%.*s", PATH_SIZE - 1,
             options->chain_out ? options->chain_out : folder);
    if (!options->chain_out)
        snprintf(run->chain_out + strlen(run->chain_out), NAME_ROOM, "/%.64s-chain-%s",
                 run->job.manifest->network, run->job.run.facts.run);
    return MIG_OK;
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
        (result = choose_chain_out(&run, options, err)) != MIG_OK ||
        (result = pipeline_check_chain_out(run.chain_out, &job->run, hooks, err)) != MIG_OK ||
        (result = open_spool(&run, err)) != MIG_OK || (result = run_job_begin(job, err)) != MIG_OK)
        return result;
    if ((result = move_and_finish(&run, &account, err)) != MIG_OK)
        return result;
    assert(account);
    if ((result = tell(job, options, account, err)) != MIG_OK)
        return result;
    *ret_account = mig_take(account);
    return MIG_OK;
}
