/* What a run would do, before anything is written: which way each band would go, and why. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>

struct dry_run {
    struct pipeline_keys keys;
    struct mig_source *source;
    struct mig_nodes nodes;
    struct mig_run run;
    mig_band_fn *tell;
    void *context;
};

static void dry_run_release(struct dry_run *job)
{
    mig_nodes_close(&job->nodes);
    mig_source_close(&job->source);
    pipeline_keys_release(&job->keys);
}

/* Rows that fit one part are staged: asked of the source for each band, so that nothing long runs
 * there. */
static int tell_bands(struct dry_run *job, struct mig_node *node, enum mig_table table,
                      int64_t position, struct mig_error *err)
{
    const uint64_t few = MIG_PART_LIMITS.rows;
    const int64_t bound = job->run.bounds[table];
    int64_t next = position < 0 ? 0 : position + 1;

    while (next <= bound) {
        struct mig_band band = {.node = mig_node_name(node), .table = table};
        uint64_t rows = 0;
        bool found;
        int result = mig_source_next_band(job->source, table, next, bound, few + 1, &found,
                                          &band.start, &rows, err);

        if (result != MIG_OK || !found)
            return result;
        if ((result = mig_node_way(node, table, band.start, &band.way, err)) != MIG_OK)
            return result;
        if (band.way == MIG_WAY_BULK && rows <= few)
            band.way = MIG_WAY_FEW_ROWS;
        if ((result = job->tell(job->context, &band, err)) != MIG_OK)
            return result;
        if (bound - band.start < MIG_BAND_WIDTH)
            return MIG_OK;
        next = band.start + MIG_BAND_WIDTH;
    }
    return MIG_OK;
}

static int tell_node(struct dry_run *job, struct mig_node *node, struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        int64_t position;

        if (mig_node_kind((enum mig_table) table) == MIG_KIND_COUNT)
            continue;
        result =
            mig_node_position(node, job->run.facts.run, (enum mig_table) table, &position, err);
        if (result == MIG_OK)
            result = tell_bands(job, node, (enum mig_table) table, position, err);
    }
    return result;
}

int mig_pipeline_dry_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         mig_band_fn *tell, void *context, struct mig_error *err)
{
    mig_cleanup(dry_run_release) struct dry_run job = {.tell = tell, .context = context};
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &job.keys.payer, &job.keys.originator,
                                       err)) != MIG_OK ||
        (result = mig_source_open(manifest, hooks, stop, &job.source, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, NULL, MIG_NODE_READ, hooks, stop, &job.nodes, err)) !=
            MIG_OK ||
        (result = pipeline_choose_run(manifest, options, &job.keys, job.source, &job.nodes, hooks,
                                      &job.run, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < job.nodes.count && result == MIG_OK; i++)
        result = tell_node(&job, job.nodes.items[i], err);
    return result;
}
