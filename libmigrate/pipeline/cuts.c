/*
 * Where a range that some nodes have and others lack is cut when it is read once more: where it was
 * cut for those that have it. By then V3 may have pruned rows, and parts filled anew would end
 * elsewhere. Fewer rows than before never overflow a part.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>
#include <string.h>

static void free_ids(int64_t **ids)
{
    free(*ids);
}

static int rising(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

static int add_ends(struct mig_node *node, const struct mig_run *run, enum mig_table table,
                    struct pipeline_cuts *cuts, struct mig_error *err)
{
    mig_cleanup(free_ids) int64_t *ends = NULL;
    int64_t *larger;
    size_t count;
    int result =
        mig_node_part_ends(node, run->facts.run, table, cuts->position, &ends, &count, err);

    if (result != MIG_OK || count == 0)
        return result;
    larger = reallocarray(cuts->ids, cuts->count + count, sizeof *larger);
    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    memcpy(larger + cuts->count, ends, count * sizeof *ends);
    cuts->ids = larger;
    cuts->count += count;
    return MIG_OK;
}

static void sort_once_each(struct pipeline_cuts *cuts)
{
    size_t kept = 0;

    if (cuts->count > 0)
        qsort(cuts->ids, cuts->count, sizeof *cuts->ids, rising);
    for (size_t i = 0; i < cuts->count; i++)
        if (kept == 0 || cuts->ids[i] != cuts->ids[kept - 1])
            cuts->ids[kept++] = cuts->ids[i];
    cuts->count = kept;
}

int pipeline_find_cuts(const struct mig_nodes *nodes, const bool *wanted, const struct mig_run *run,
                       enum mig_table table, struct pipeline_cuts *ret_cuts, struct mig_error *err)
{
    mig_cleanup(pipeline_cuts_release) struct pipeline_cuts cuts = {.position = INT64_MAX};
    int result = MIG_OK;

    for (size_t i = 0; i < nodes->count && result == MIG_OK; i++) {
        int64_t position;

        result = mig_node_position(nodes->items[i], run->facts.run, table, &position, err);
        if (result == MIG_OK && wanted[i] && position < cuts.position)
            cuts.position = position;
    }
    for (size_t i = 0; i < nodes->count && result == MIG_OK; i++)
        result = add_ends(nodes->items[i], run, table, &cuts, err);
    if (result != MIG_OK)
        return result;
    sort_once_each(&cuts);
    *ret_cuts = cuts;
    cuts = (struct pipeline_cuts){0};
    return MIG_OK;
}

void pipeline_cuts_release(struct pipeline_cuts *cuts)
{
    free(cuts->ids);
}
