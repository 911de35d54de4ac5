/* A run's source, nodes and workshop, and one pass of rows from the one to the others. */
#include "libmigrate/pipeline/run_job.h"

#include <stdlib.h>

/* ---- opening and closing ------------------------------------------------------------------- */

void run_job_release(struct run_job *job)
{
    throttle_leave(job->throttle);
    read_ahead_close(&job->ahead);
    for (unsigned i = 0; job->scratch && i < job->threads; i++)
        mig_arena_release(&job->scratch[i]);
    free(job->scratch);
    free(job->places);
    mig_transform_free(&job->transform);
    mig_nodes_close(&job->nodes);
    source_set_close(&job->sources);
    pipeline_keys_release(&job->keys);
    throttle_close(&job->throttle);
}

/* Anew for each pass: whoever left one is not to be waited for again, and whoever was lost may be
 * back. */
static int open_throttle(struct run_job *job, const char *stage, struct mig_error *err)
{
    const struct throttle_options kept = {.max_rate = job->options->resources.max_rate,
                                          .source = true,
                                          .nodes = true,
                                          .stage = stage};
    int result;

    source_set_gate(&job->sources, NULL);
    throttle_close(&job->throttle);
    result = throttle_open(job->manifest, &kept, job->hooks, job->stop, &job->throttle, err);
    if (result == MIG_OK)
        source_set_gate(&job->sources, throttle_gate(job->throttle));
    return result;
}

static int open_workshop(struct run_job *job, struct mig_error *err)
{
    job->threads = mig_thread_count(job->options->resources.threads);
    job->scratch = calloc(job->threads, sizeof *job->scratch);
    job->places = calloc(job->manifest->node_count, sizeof *job->places);
    return job->scratch && job->places ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

int run_job_open(struct run_job *job, const struct mig_manifest *manifest,
                 const struct mig_run_options *options, const struct mig_hooks *hooks,
                 const struct mig_stop *stop, struct mig_error *err)
{
    const struct mig_resources *resources = &options->resources;
    int result;

    job->manifest = manifest;
    job->options = options;
    job->hooks = hooks;
    job->stop = stop;
    job->ease = options->ease;
    job->retry.for_s = resources->retry_s;
    if ((result = mig_manifest_signers(manifest, hooks, &job->keys.payer, &job->keys.originator,
                                       err)) != MIG_OK ||
        (result = open_workshop(job, err)) != MIG_OK ||
        (result = source_set_open(manifest, resources->source_connections, resources->retry_s,
                                  hooks, stop, &job->sources, err)) != MIG_OK ||
        (result = mig_nodes_open_present(manifest, NULL, MIG_NODE_WRITE, hooks, stop, &job->nodes,
                                         err)) != MIG_OK)
        return result;
    return open_throttle(job, "run", err);
}

/* A DSN may name several hosts: they must all have come to the same database. */
static int check_sources(struct run_job *job, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 1; i < job->sources.count && result == MIG_OK; i++)
        result = pipeline_check_source(job->sources.items[i], &job->run, false, err);
    return result;
}

/* What the node has of the run, the source must still have as it was. */
static int hear_witnesses(struct run_job *job, struct mig_node *node, struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        struct mig_witness witness;

        result = mig_node_witness(node, job->run.facts.run, (enum mig_table) table, &witness, err);
        if (result == MIG_OK && witness.digest[0])
            mig_source_add_witness(job->sources.items[0], (enum mig_table) table, &witness);
    }
    return result;
}

int run_job_begin(struct run_job *job, struct mig_error *err)
{
    int result = check_sources(job, err);

    job->run.fresh = true;
    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        if ((result = mig_node_run_begin(job->nodes.items[i], &job->run, err)) == MIG_OK)
            result = hear_witnesses(job, job->nodes.items[i], err);
    return result == MIG_OK
               ? mig_transform_open(job->manifest, job->run.facts.as_of_ns, job->keys.payer,
                                    job->keys.originator, &job->transform, err)
               : result;
}

/* ---- a pass -------------------------------------------------------------------------------- */

bool run_job_eases(const struct run_job *job)
{
    return mig_stop_check(job->ease, NULL) != MIG_OK;
}

static int take_parcel(void *context, struct parcel **ret_parcel, struct mig_error *err)
{
    struct run_job *job = context;

    *ret_parcel = NULL;
    return run_job_eases(job) ? MIG_OK : read_ahead_next(job->ahead, ret_parcel, err);
}

static int transform_part(void *context, unsigned worker, struct mig_part *part,
                          struct mig_error *err)
{
    struct run_job *job = context;

    return mig_transform_part(job->transform, &job->scratch[worker], part, err);
}

static int see_parcel(void *context, struct parcel *parcel, struct mig_error *err)
{
    struct run_job *job = context;

    return job->see ? job->see(job->see_context, parcel, err) : MIG_OK;
}

static void stop_reading(void *context)
{
    struct run_job *job = context;

    read_ahead_stop(job->ahead);
}

static void free_ranges(struct read_range **ranges)
{
    free(*ranges);
}

static int move(struct run_job *job, const bool *wanted, struct flow_options *options,
                run_ranges_fn *find_ranges, void *context, struct flow_end *ret_ends,
                struct mig_error *err)
{
    static const struct flow_source rows = {
        .take = take_parcel, .transform = transform_part, .see = see_parcel, .stop = stop_reading};
    mig_cleanup(free_ranges) struct read_range *ranges = NULL;
    mig_cleanup(mig_budget_free) struct mig_budget *budget = NULL;
    struct flow_source source = rows;
    struct shares shares;
    size_t count = 0;
    int result;

    if ((result = find_ranges(context, wanted, &ranges, &count, err)) != MIG_OK || count == 0 ||
        (result = pipeline_open_budget(job->options->resources.max_memory, 0, &budget, &shares,
                                       err)) != MIG_OK ||
        (result = read_ahead_open(&job->sources, ranges, count, budget, shares.read_ahead_bytes,
                                  &job->ahead, err)) != MIG_OK)
        return result;
    source.context = job;
    options->lane_bytes = shares.lane_bytes;
    options->throttle = job->throttle;
    result = flow_to_nodes(&job->nodes, wanted, options, &source, ret_ends, err);
    read_ahead_close(&job->ahead);
    return result;
}

/* What stopped everything may have been nodes alone: they are for coming back from, and what the
 * others had in hand is given up with their connections. Anything else is the failure of all. */
static bool nodes_were_lost(const struct run_job *job, const bool *wanted,
                            const struct mig_error *failure, struct flow_end *ends)
{
    bool any = false;

    for (size_t i = 0; i < job->nodes.count; i++)
        any = any || ends[i].end == LANE_FAILED || !mig_node_alive(job->nodes.items[i]);
    for (size_t i = 0; any && i < job->nodes.count; i++)
        if (ends[i].end != LANE_FAILED && (wanted[i] || !mig_node_alive(job->nodes.items[i])))
            ends[i] = (struct flow_end){LANE_FAILED, *failure};
    return any;
}

static int move_for(struct run_job *job, const bool *wanted, struct flow_options *options,
                    run_ranges_fn *ranges, void *context, struct flow_end *ends,
                    struct mig_error *err)
{
    struct mig_error failure = MIG_ERROR_INIT;
    int result = move(job, wanted, options, ranges, context, ends, &failure);

    for (size_t i = 0; result == MIG_OK && i < job->nodes.count; i++)
        if (wanted[i] && ends[i].end == LANE_DONE)
            job->places[mig_node_index(job->nodes.items[i])].lacks = false;
    if (result == MIG_E_TEMPORARY && nodes_were_lost(job, wanted, &failure, ends))
        result = MIG_OK;
    if (result != MIG_OK && err)
        *err = failure;
    return result == MIG_OK ? nodes_set_failed_aside(&job->nodes, ends, err) : result;
}

int run_job_pass(struct run_job *job, const char *stage, uint64_t total_rows, run_ranges_fn *ranges,
                 void *context, struct mig_error *err)
{
    struct flow_options options = {.run = &job->run,
                                   .hooks = job->hooks,
                                   .stage = stage,
                                   .total_rows = total_rows,
                                   .threads = job->threads,
                                   .may_leave_behind = true};
    struct flow_end *ends = calloc(job->nodes.count + 1, sizeof *ends);
    bool *wanted = calloc(job->nodes.count + 1, sizeof *wanted);
    int result;

    if (ends && wanted) {
        for (size_t i = 0; i < job->nodes.count; i++)
            wanted[i] = job->places[mig_node_index(job->nodes.items[i])].lacks;
        result = move_for(job, wanted, &options, ranges, context, ends, err);
    } else {
        result = mig_fail(err, MIG_E_NOMEM, "out of memory");
    }
    free(ends);
    free(wanted);
    return result;
}

/* ---- nodes that come and go ----------------------------------------------------------------- */

void run_job_want_all(struct run_job *job)
{
    for (size_t i = 0; i < job->manifest->node_count; i++)
        job->places[i].lacks = true;
}

bool run_job_lacks(const struct run_job *job)
{
    for (size_t i = 0; i < job->nodes.count; i++)
        if (job->places[mig_node_index(job->nodes.items[i])].lacks)
            return true;
    return false;
}

#define SETBACKS_MOST 12U

static void set_patience(const struct run_job *job, struct mig_node *node)
{
    const unsigned setbacks = job->places[mig_node_index(node)].setbacks;

    mig_node_set_patience(node, (struct mig_patience){.seconds = job->patience_s << setbacks / 2,
                                                      .hurried_s = job->hurried_s,
                                                      .hurry = job->ease});
}

void run_job_set_patience(struct run_job *job, unsigned seconds, unsigned hurried_s)
{
    job->patience_s = seconds;
    job->hurried_s = hurried_s;
    for (size_t i = 0; i < job->nodes.count; i++)
        set_patience(job, job->nodes.items[i]);
}

/* Whether the node has got further since it was last looked at. */
static int look_at_place(struct run_job *job, struct mig_node *node, bool *further,
                         struct mig_error *err)
{
    struct run_place *place = &job->places[mig_node_index(node)];
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        int64_t position;

        result =
            mig_node_position(node, job->run.facts.run, (enum mig_table) table, &position, err);
        if (result != MIG_OK || position == place->positions[table])
            continue;
        place->positions[table] = position;
        *further = true;
    }
    return result;
}

static int begin_again(struct run_job *job, struct mig_node *node, bool *further,
                       struct mig_error *err)
{
    struct run_place *place = &job->places[mig_node_index(node)];
    bool moved = false;
    int result;

    set_patience(job, node);
    if ((result = mig_node_run_begin(node, &job->run, err)) != MIG_OK)
        return result;
    /* That has forgotten rows above the sequence. */
    place->lacks = true;
    if ((result = look_at_place(job, node, &moved, err)) != MIG_OK)
        return result;
    place->setbacks = moved ? 0 : place->setbacks + (place->setbacks < SETBACKS_MOST);
    *further = *further || moved;
    return MIG_OK;
}

int run_job_bring_back(struct run_job *job, size_t *ret_back, struct mig_error *err)
{
    const size_t before = job->nodes.count;
    bool further = false;
    int result =
        mig_nodes_bring_back(&job->nodes, job->manifest, job->hooks, job->stop, ret_back, err);

    for (size_t i = job->nodes.count; i > before && result == MIG_OK; i--) {
        struct mig_error failure = MIG_ERROR_INIT;

        result = begin_again(job, job->nodes.items[i - 1], &further, &failure);
        if (result == MIG_E_TEMPORARY) {
            --*ret_back;
            result = mig_nodes_set_aside(&job->nodes, i - 1, &failure, err);
        } else if (result != MIG_OK && err) {
            *err = failure;
        }
    }
    if (further)
        mig_retry_succeeded(&job->retry);
    return result == MIG_OK && *ret_back > 0 ? open_throttle(job, "run", err) : result;
}
