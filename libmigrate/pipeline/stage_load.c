/* The last stage by itself: a bundle of envelopes into the nodes. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>

/* What the bundle says of the whole: each table's settled range, and how many rows there are. */
static void survey(const struct mig_bundle_reader *reader, struct mig_run *run, uint64_t *ret_total)
{
    size_t count;
    const struct mig_bundle_entry *entries = mig_bundle_entries(reader, &count);

    *ret_total = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].settled && entries[i].last_id > run->bounds[entries[i].table])
            run->bounds[entries[i].table] = entries[i].last_id;
        for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
            *ret_total += entries[i].tally.kinds[kind].counted;
    }
}

struct load_job {
    const struct mig_stop *stop;
    struct mig_bundle_reader *reader;
    struct mig_budget *budget;
};

static void load_job_release(struct load_job *job)
{
    mig_bundle_reader_free(&job->reader);
    mig_budget_free(&job->budget);
}

static int take_envelopes(void *context, struct parcel **ret_parcel, struct mig_error *err)
{
    struct load_job *job = context;
    mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
    struct mig_part *part = NULL;
    int result;

    if ((result = mig_stop_check(job->stop, err)) != MIG_OK ||
        (result = parcel_reserve(job->budget, &parcel, err)) != MIG_OK ||
        (result = bundle_parts_next(job->reader, &part, err)) != MIG_OK)
        return result;
    if (part) {
        parcel_fill(parcel, part);
        *ret_parcel = mig_take(parcel);
    }
    return MIG_OK;
}

static void stop_taking(void *context)
{
    struct load_job *job = context;

    mig_budget_cancel(job->budget);
}

static int load_parts(struct load_job *job, struct mig_nodes *nodes, struct flow_options *options,
                      size_t max_memory, struct mig_error *err)
{
    const struct flow_source source = {.take = take_envelopes, .stop = stop_taking, .context = job};
    struct flow_end *ends = calloc(nodes->count + 1, sizeof *ends);
    struct shares shares;
    int result = ends ? pipeline_open_budget(max_memory, mig_thread_count(options->threads),
                                             &job->budget, &shares, err)
                      : mig_fail(err, MIG_E_NOMEM, "out of memory");

    if (result == MIG_OK) {
        options->lane_bytes = shares.lane_bytes;
        result = flow_to_nodes(nodes, NULL, options, &source, ends, err);
    }
    if (result == MIG_OK)
        result = nodes_set_failed_aside(nodes, ends, err);
    free(ends);
    return result;
}

int mig_pipeline_load(const struct mig_manifest *manifest, const char *in, const char *node_name,
                      const struct mig_resources *resources, const struct mig_hooks *hooks,
                      const struct mig_stop *stop, struct mig_account **ret_account,
                      struct mig_error *err)
{
    mig_cleanup(load_job_release) struct load_job job = {.stop = stop};
    mig_cleanup(throttle_close) struct throttle *throttle = NULL;
    const struct throttle_options kept = {.nodes = true, .node = node_name, .stage = "load"};
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    mig_cleanup(pipeline_keys_release) struct pipeline_keys keys = {0};
    struct mig_run run = {0};
    struct flow_options options = {
        .run = &run, .hooks = hooks, .stage = "load", .threads = resources->threads};
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &keys.payer, &keys.originator, err)) !=
            MIG_OK ||
        (result = mig_bundle_open_judged(in, bundle_parts_judge, resources->threads, &job.reader,
                                         err)) != MIG_OK)
        return result;
    run.facts = *mig_bundle_facts(job.reader);
    survey(job.reader, &run, &options.total_rows);
    if ((result = pipeline_expect_stage(&run.facts, MIG_STAGE_ENVELOPES, in, err)) != MIG_OK ||
        (result = pipeline_check_facts(manifest, &keys, &run.facts, NULL, in, err)) != MIG_OK ||
        (result = mig_nodes_open_present(manifest, node_name, MIG_NODE_WRITE, hooks, stop, &nodes,
                                         err)) != MIG_OK ||
        (result = throttle_open(manifest, &kept, hooks, stop, &throttle, err)) != MIG_OK)
        return result;
    options.throttle = throttle;
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++)
        result = mig_node_run_begin(nodes.items[i], &run, err);
    if (result == MIG_OK)
        result = load_parts(&job, &nodes, &options, resources->max_memory, err);
    /* What is there of a bundle is all that a node will get: who is away doesn't keep it open. */
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++)
        if ((result = mig_node_run_finish(nodes.items[i], &run, mig_bundle_blockers(job.reader),
                                          NULL, 0, err)) == MIG_OK)
            result = mig_node_run_told(nodes.items[i], run.facts.run, err);
    return result == MIG_OK ? mig_account_read(&nodes, run.facts.run, ret_account, err) : result;
}
