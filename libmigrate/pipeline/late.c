/* Rows that came to the source below what had been settled by time. */
#include "libmigrate/pipeline/run_job.h"

#include <inttypes.h>
#include <stdlib.h>

/* Parts of a table that are looked at while others come: what is late was drawn a moment before
 * what was brought last. */
#define RECENT_PARTS 64

/* A node's parts of a table, and what the source has of them now. */
struct counted {
    struct mig_part_count *parts;
    struct mig_source_range *ranges;
    size_t count;
};

static void counted_release(struct counted *counted)
{
    free(counted->parts);
    free(counted->ranges);
}

static bool are_same_ranges(const struct counted *a, const struct counted *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; i < a->count && same; i++)
        same = a->parts[i].first_id == b->parts[i].first_id &&
               a->parts[i].last_id == b->parts[i].last_id;
    return same;
}

/* Nodes that have the same parts are one question to the source. */
static int count_parts(struct run_job *job, struct mig_node *node, enum mig_table table,
                       bool recent, struct counted *counted, struct mig_error *err)
{
    mig_cleanup(counted_release) struct counted next = {0};
    struct counted before = *counted;
    int result = mig_node_part_counts(node, job->run.facts.run, table, recent ? RECENT_PARTS : 0,
                                      &next.parts, &next.count, err);

    if (result != MIG_OK)
        return result;
    if (before.ranges && are_same_ranges(&next, &before)) {
        next.ranges = mig_take(counted->ranges);
    } else {
        next.ranges = calloc(next.count + 1, sizeof *next.ranges);
        if (!next.ranges)
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        for (size_t i = 0; i < next.count; i++)
            next.ranges[i] =
                (struct mig_source_range){next.parts[i].first_id, next.parts[i].last_id, 0};
        result =
            mig_source_count_ranges(job->sources.items[0], table, next.ranges, next.count, err);
    }
    if (result != MIG_OK)
        return result;
    before = *counted;
    *counted = next;
    next = before;
    return MIG_OK;
}

/* The first part that has grown, and every one behind it: all of these are read once more. V3
 * deletes rows as well: fewer are no news. */
static bool find_grown(const struct counted *counted, size_t *ret_first, bool *ret_closes)
{
    size_t i = 0;

    while (i < counted->count && (int64_t) counted->ranges[i].rows <= counted->parts[i].counted)
        i++;
    *ret_first = i;
    *ret_closes = true;
    for (size_t j = i; j < counted->count; j++)
        *ret_closes = *ret_closes && counted->parts[j].closes;
    return i < counted->count;
}

static int reopen(struct run_job *job, struct mig_node *node, enum mig_table table,
                  const struct mig_part_count *grown, uint64_t rows, struct mig_error *err)
{
    struct mig_source *source = job->sources.items[0];
    int result;

    mig_log(job->hooks, MIG_LOG_WARN,
            "node '%s': %" PRIu64 " rows of %s came to the source up to id %" PRId64
            " after that was taken for settled: what is there from %" PRId64
            " on is read once more",
            mig_node_name(node), rows - (uint64_t) grown->counted, mig_table_info(table)->name,
            grown->last_id, grown->first_id);
    if ((result = mig_source_note_wal(source, err)) != MIG_OK)
        return result;
    job->run.source_wal = mig_source_floor(source);
    if ((result = mig_node_reopen(node, &job->run, table, grown->first_id, err)) == MIG_OK)
        job->places[mig_node_index(node)].positions[table] =
            grown->first_id == INT64_MIN ? INT64_MIN : grown->first_id - 1;
    return result;
}

static int look_at_node(struct run_job *job, struct mig_node *node, enum mig_table table,
                        bool recent, struct counted *counted, bool *any, struct mig_error *err)
{
    size_t first;
    bool closes;
    int result = count_parts(job, node, table, recent, counted, err);

    if (result != MIG_OK || !find_grown(counted, &first, &closes))
        return result;
    if (!closes) {
        mig_log(job->hooks, MIG_LOG_WARN,
                "node '%s': the books do not add up of what it has of %s from id %" PRId64
                " on: rows that came late there are not looked for",
                mig_node_name(node), mig_table_info(table)->name, counted->parts[first].first_id);
        return MIG_OK;
    }
    result = reopen(job, node, table, &counted->parts[first], counted->ranges[first].rows, err);
    *any = *any || result == MIG_OK;
    return result;
}

int pipeline_reopen_late(struct run_job *job, bool recent, bool *any, struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; job->run.by_time && table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        mig_cleanup(counted_release) struct counted counted = {0};

        for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
            result = look_at_node(job, job->nodes.items[i], (enum mig_table) table, recent,
                                  &counted, any, err);
    }
    return result;
}
