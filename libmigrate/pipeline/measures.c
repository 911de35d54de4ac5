/* What the pipeline tells of itself in figures, for whoever watches. */
#include "libmigrate/pipeline/pipeline_private.h"

void measure_run(const struct mig_hooks *hooks, const struct mig_run *run)
{
    mig_report_measure(hooks, MIG_MEASURE_RUN, run->facts.run, NULL, 1);
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        mig_report_measure(hooks, MIG_MEASURE_SETTLED_BOUND,
                           mig_table_info((enum mig_table) table)->name, NULL,
                           (double) run->bounds[table]);
}

/* Rows above what the sequence gave out say nothing of how far we are. */
static void measure_reach(const struct mig_hooks *hooks, enum mig_measure measure,
                          const struct mig_part *part, const char *node)
{
    if (part->settled)
        mig_report_measure(hooks, measure, mig_table_info(part->table)->name, node,
                           (double) part->last_id);
}

void measure_read(const struct mig_hooks *hooks, const struct mig_part *part)
{
    mig_report_measure(hooks, MIG_MEASURE_ROWS_READ, mig_table_info(part->table)->name, NULL,
                       (double) part->row_count);
    measure_reach(hooks, MIG_MEASURE_SOURCE_LAST_ID, part, NULL);
}

void measure_loaded(const struct mig_hooks *hooks, const char *node, const struct mig_part *part,
                    const struct mig_load_result *loaded, int64_t took_ns)
{
    const char *table = mig_table_info(part->table)->name;
    uint64_t rejected = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        rejected += part->tally.kinds[kind].rejected;
    mig_report_measure(hooks, MIG_MEASURE_ROWS_LOADED, table, node,
                       (double) (loaded->loaded + loaded->already_there));
    mig_report_measure(hooks, MIG_MEASURE_ROWS_REJECTED, table, node, (double) rejected);
    mig_report_measure(hooks, MIG_MEASURE_CONFLICTS, table, node, (double) loaded->conflicts);
    mig_report_measure(hooks, MIG_MEASURE_LOAD_SECONDS, table, node,
                       (double) took_ns / (double) MIG_NS_PER_SECOND);
    measure_reach(hooks, MIG_MEASURE_NODE_LAST_ID, part, node);
}
