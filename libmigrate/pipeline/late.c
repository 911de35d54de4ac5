/* Rows that came to the source below what had been settled by time. */
#include "libmigrate/pipeline/run_job.h"

#include <inttypes.h>
#include <stdlib.h>

static void free_parts(struct mig_part_count **parts)
{
    free(*parts);
}

/* The first of some parts of which the source has more rows than were counted, or NULL. V3 deletes
 * rows as well, though only such as are older than these: fewer are no news. */
static int find_grown(struct mig_source *source, enum mig_table table,
                      const struct mig_part_count *parts, size_t count,
                      const struct mig_part_count **ret_grown, uint64_t *ret_rows,
                      struct mig_error *err)
{
    int64_t counted = 0;
    uint64_t there;
    int result;

    *ret_grown = NULL;
    for (size_t i = 0; i < count; i++)
        counted += parts[i].counted;
    if (count == 0 || (result = mig_source_count(source, table, parts[0].first_id,
                                                 parts[count - 1].last_id, &there, err)) != MIG_OK)
        return count == 0 ? MIG_OK : result;
    for (size_t i = 0; i < count && (int64_t) there > counted; i++) {
        uint64_t rows;

        result = mig_source_count(source, table, parts[i].first_id, parts[i].last_id, &rows, err);
        if (result != MIG_OK)
            return result;
        if ((int64_t) rows <= parts[i].counted)
            continue;
        *ret_grown = &parts[i];
        *ret_rows = rows - (uint64_t) parts[i].counted;
        return MIG_OK;
    }
    return MIG_OK;
}

static int reopen_table(struct run_job *job, struct mig_node *node, enum mig_table table,
                        bool recent, bool *any, struct mig_error *err)
{
    mig_cleanup(free_parts) struct mig_part_count *parts = NULL;
    const struct mig_part_count *grown;
    uint64_t rows = 0;
    size_t count = 0;
    int result;

    if ((result = mig_node_part_counts(node, job->run.facts.run, table, recent, &parts, &count,
                                       err)) != MIG_OK ||
        (result = find_grown(job->sources.items[0], table, parts, count, &grown, &rows, err)) !=
            MIG_OK ||
        !grown)
        return result;
    mig_log(
        job->hooks, MIG_LOG_WARN,
        "node '%s': %" PRIu64 " rows of %s came to the source up to id %" PRId64
        " after that was taken for settled: what is there from %" PRId64 " on is read once more",
        mig_node_name(node), rows, mig_table_info(table)->name, grown->last_id, grown->first_id);
    *any = true;
    return mig_node_reopen(node, &job->run, table, grown->first_id, err);
}

int pipeline_reopen_late(struct run_job *job, bool recent, bool *ret_any, struct mig_error *err)
{
    const bool by_time = mig_source_settles_by_time(job->sources.items[0]);
    bool any = false;
    int result = MIG_OK;

    for (size_t i = 0; by_time && i < job->nodes.count; i++)
        for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
            result =
                reopen_table(job, job->nodes.items[i], (enum mig_table) table, recent, &any, err);
    if (result == MIG_OK)
        *ret_any = any;
    return result;
}
