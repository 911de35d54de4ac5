/*
 * The main job in one process: read ahead on one thread, transform on all, load on one a node. What
 * is done is known from the nodes' books alone.
 */
#include "libmigrate/io/io.h"
#include "libmigrate/pipeline/pipeline_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 768 /* of what a person names */
#define NAME_ROOM 128 /* for what we name inside it */

/* Everything a run needs, released together. */
struct run_job {
    const struct mig_manifest *manifest;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct pipeline_keys keys;
    struct throttle *throttle;
    struct source_set sources; /* the first one also answers what is asked beside the reading */
    struct mig_nodes nodes;
    struct mig_transform *transform;
    size_t max_memory;
    unsigned threads;
    struct mig_arena *scratch; /* one a thread */
    struct read_ahead *ahead;
    struct mig_run run;
    struct mig_blockers blockers;
    char chain_out[PATH_SIZE + NAME_ROOM];
    struct mig_spool *spool; /* the chain's share; NULL when there was no room for it */
    bool catching_up;        /* the spool has seen it all */
};

static void run_job_release(struct run_job *job)
{
    throttle_leave(job->throttle);
    read_ahead_close(&job->ahead);
    for (unsigned i = 0; job->scratch && i < job->threads; i++)
        mig_arena_release(&job->scratch[i]);
    free(job->scratch);
    mig_transform_free(&job->transform);
    mig_nodes_close(&job->nodes);
    source_set_close(&job->sources);
    pipeline_keys_release(&job->keys);
    throttle_close(&job->throttle);
    mig_spool_free(&job->spool);
    mig_blockers_release(&job->blockers);
}

static int open_throttle(struct run_job *job, const struct mig_run_options *options,
                         const struct mig_stop *stop, struct mig_error *err)
{
    const struct throttle_options kept = {
        .max_rate = options->resources.max_rate, .source = true, .nodes = true, .stage = "run"};
    int result = throttle_open(job->manifest, &kept, job->hooks, stop, &job->throttle, err);

    if (result == MIG_OK)
        source_set_gate(&job->sources, throttle_gate(job->throttle));
    return result;
}

static int take_parcel(void *context, struct parcel **ret_parcel, struct mig_error *err)
{
    struct run_job *job = context;

    return read_ahead_next(job->ahead, ret_parcel, err);
}

static int transform_part(void *context, unsigned worker, struct mig_part *part,
                          struct mig_error *err)
{
    struct run_job *job = context;

    return mig_transform_part(job->transform, &job->scratch[worker], part, err);
}

/* Without a spool the chain's share is read once more in the end: slower, and nothing else. */
static void go_on_without_spool(struct run_job *job, const struct mig_error *why)
{
    mig_log(job->hooks, MIG_LOG_WARN,
            "%s: rows for the chain will be read from the source once more", why->message);
    mig_spool_free(&job->spool);
}

static int open_spool(struct run_job *job, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(job->chain_out);
    struct mig_error failure = MIG_ERROR_INIT;

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (mig_spool_open(folder, &job->spool, &failure) != MIG_OK)
        go_on_without_spool(job, &failure);
    return MIG_OK;
}

static int set_chain_aside(void *context, const struct mig_part *part, struct mig_error *err)
{
    struct run_job *job = context;
    struct mig_error failure = MIG_ERROR_INIT;
    int result = job->spool ? mig_spool_add(job->spool, part, &failure) : MIG_OK;

    if (result == MIG_E_IO) {
        go_on_without_spool(job, &failure);
        return MIG_OK;
    }
    if (result != MIG_OK && err)
        *err = failure;
    return result;
}

static void stop_reading(void *context)
{
    struct run_job *job = context;

    read_ahead_stop(job->ahead);
}

/* ---- what is left to do ------------------------------------------------------------------- */

/* The ranges of one table that at least one of the nodes wanted lacks, cut where any node's own
 * parts end, so that every part is either wholly there or wholly missing. */
static int ranges_of_table(struct run_job *job, const bool *wanted, enum mig_table table,
                           struct read_range **ranges, size_t *count, struct mig_error *err)
{
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
        const int64_t next = i < cuts.count && cuts.ids[i] < bound ? cuts.ids[i] : bound;

        larger[(*count)++] = (struct read_range){
            table, position == INT64_MIN ? INT64_MIN : position + 1, next, true};
        position = next;
    }
    return MIG_OK;
}

static int find_ranges(struct run_job *job, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct read_range *ranges = NULL;
    size_t count = 0;
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        struct mig_settled settled;

        result = ranges_of_table(job, wanted, (enum mig_table) table, &ranges, &count, err);
        if (result == MIG_OK)
            result =
                mig_source_settle(job->sources.items[0], (enum mig_table) table, &settled, err);
        assert(result != MIG_OK || ranges); /* with a place for strays */
        if (result == MIG_OK && settled.has_strays && settled.stray_first > job->run.bounds[table])
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

static void free_ranges(struct read_range **ranges)
{
    free(*ranges);
}

/* One pass over what the nodes wanted lack. */
static int pass(struct run_job *job, const bool *wanted, struct flow_options *options,
                struct flow_end *ret_ends, struct mig_error *err)
{
    mig_cleanup(free_ranges) struct read_range *ranges = NULL;
    mig_cleanup(mig_budget_free) struct mig_budget *budget = NULL;
    const struct flow_source source = {.take = take_parcel,
                                       .transform = transform_part,
                                       .see = job->catching_up ? NULL : set_chain_aside,
                                       .stop = stop_reading,
                                       .context = job};
    struct shares shares;
    size_t count = 0;
    int result;

    if ((result = find_ranges(job, wanted, &ranges, &count, err)) != MIG_OK ||
        (result = pipeline_open_budget(job->max_memory, 0, &budget, &shares, err)) != MIG_OK ||
        (result = read_ahead_open(&job->sources, ranges, count, budget, shares.read_ahead_bytes,
                                  &job->ahead, err)) != MIG_OK)
        return result;
    options->lane_bytes = shares.lane_bytes;
    result = flow_to_nodes(&job->nodes, wanted, options, &source, ret_ends, err);
    read_ahead_close(&job->ahead);
    return result;
}

/* Whom the next pass is for: those that were left behind. What came of the others stays. */
static bool want_those_behind(const struct flow_end *ends, bool *wanted, struct flow_end *all_ends,
                              size_t count)
{
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        if (wanted[i])
            all_ends[i] = ends[i];
        wanted[i] = wanted[i] && ends[i].end == LANE_BEHIND;
        any = any || wanted[i];
    }
    return any;
}

static int move_rows(struct run_job *job, struct mig_error *err)
{
    const size_t count = job->nodes.count;
    struct flow_options options = {.run = &job->run,
                                   .hooks = job->hooks,
                                   .stage = "run",
                                   .throttle = job->throttle,
                                   .threads = job->threads,
                                   .may_leave_behind = true};
    struct flow_end *ends = calloc(2 * count, sizeof *ends), *all_ends = ends + count;
    bool *wanted = calloc(count, sizeof *wanted);
    int result = ends && wanted ? estimate(job, &options.total_rows, err)
                                : mig_fail(err, MIG_E_NOMEM, "out of memory");

    for (size_t i = 0; wanted && i < count; i++)
        wanted[i] = true;
    while (result == MIG_OK) {
        result = pass(job, wanted, &options, ends, err);
        if (result != MIG_OK || !want_those_behind(ends, wanted, all_ends, count))
            break;
        options.stage = "catching up";
        job->catching_up = true;
    }
    if (result == MIG_OK)
        result = nodes_set_failed_aside(&job->nodes, all_ends, err);
    free(ends);
    free(wanted);
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
static int bundle_chain(struct run_job *job, bool *ret_there, struct mig_error *err)
{
    struct pipeline_chain chain = {.manifest = job->manifest,
                                   .run = &job->run,
                                   .source = job->sources.items[0],
                                   .spool = job->spool,
                                   .node = job->nodes.items[0],
                                   .out = job->chain_out,
                                   .blockers = &job->blockers,
                                   .hooks = job->hooks,
                                   .stop = job->stop};
    struct mig_error failure = MIG_ERROR_INIT;
    int result = pipeline_bundle_chain(&chain, ret_there, &failure);

    if (result == MIG_E_IO && job->spool) {
        go_on_without_spool(job, &failure);
        chain.spool = NULL;
        return pipeline_bundle_chain(&chain, ret_there, err);
    }
    if (result != MIG_OK && err)
        *err = failure;
    return result;
}

/* With a node away the run stays open on all of them: the next sitting takes it up for that one. */
static int finish(struct run_job *job, struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    struct recount found = {.count = 0};
    bool has_bundle = false;
    int result;

    if (job->nodes.away_count > 0)
        return mig_account_read(&job->nodes, job->run.facts.run, ret_account, err);
    if ((result = mig_source_blockers(job->sources.items[0], &job->blockers, err)) != MIG_OK ||
        (result = bundle_chain(job, &has_bundle, err)) != MIG_OK ||
        (result = recount(job, &found, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        result = mig_node_run_finish(job->nodes.items[i], &job->run, &job->blockers, found.problems,
                                     found.count, err);
    if (result == MIG_OK)
        result = mig_account_read(&job->nodes, job->run.facts.run, &account, err);
    if (result != MIG_OK)
        return result;
    if (has_bundle)
        mig_log(job->hooks, MIG_LOG_INFO, "for the chain: %s", job->chain_out);
    *ret_account = mig_take(account);
    return MIG_OK;
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

static int choose_chain_out(struct run_job *job, const struct mig_run_options *options,
                            struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(job->manifest->path);

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    snprintf(job->chain_out, sizeof job->chain_out, "%.*s", PATH_SIZE - 1,
             options->chain_out ? options->chain_out : folder);
    if (!options->chain_out)
        snprintf(job->chain_out + strlen(job->chain_out), NAME_ROOM, "/%.64s-chain-%s",
                 job->manifest->network, job->run.facts.run);
    return MIG_OK;
}

static int begin_everywhere(struct run_job *job, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        result = mig_node_run_begin(job->nodes.items[i], &job->run, err);
    return result;
}

static int open_workshop(struct run_job *job, const struct mig_resources *resources,
                         struct mig_error *err)
{
    job->max_memory = resources->max_memory;
    job->threads = mig_thread_count(resources->threads);
    job->scratch = calloc(job->threads, sizeof *job->scratch);
    return job->scratch ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

int mig_pipeline_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(run_job_release) struct run_job job = {
        .manifest = manifest, .hooks = hooks, .stop = stop};
    int result;

    if ((result = pipeline_check_chain_folder(manifest, options, err)) != MIG_OK ||
        (result = mig_manifest_signers(manifest, hooks, &job.keys.payer, &job.keys.originator,
                                       err)) != MIG_OK ||
        (result = open_workshop(&job, &options->resources, err)) != MIG_OK ||
        (result = source_set_open(manifest, options->resources.source_connections, hooks, stop,
                                  &job.sources, err)) != MIG_OK ||
        (result = mig_nodes_open_present(manifest, NULL, MIG_NODE_WRITE, hooks, stop, &job.nodes,
                                         err)) != MIG_OK ||
        (result = open_throttle(&job, options, stop, err)) != MIG_OK ||
        (result = pipeline_choose_run(manifest, options, &job.keys, job.sources.items[0],
                                      &job.nodes, hooks, &job.run, err)) != MIG_OK ||
        (result = choose_chain_out(&job, options, err)) != MIG_OK ||
        (result = pipeline_check_chain_out(job.chain_out, &job.run, err)) != MIG_OK ||
        (result = open_spool(&job, err)) != MIG_OK ||
        (result = begin_everywhere(&job, err)) != MIG_OK ||
        (result = mig_transform_open(manifest, job.run.facts.as_of_ns, job.keys.payer,
                                     job.keys.originator, &job.transform, err)) != MIG_OK ||
        (result = move_rows(&job, err)) != MIG_OK)
        return result;
    return finish(&job, ret_account, err);
}
