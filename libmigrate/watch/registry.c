/* The figures themselves: as many cells as there are names, made when it is opened, so that nothing
 * that is measured can make more of them. */
#include "libmigrate/watch/watch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int registry_open(struct registry *registry, const struct mig_watch_options *options,
                  struct mig_error *err)
{
    *registry = (struct registry){.tables = options->tables,
                                  .nodes = options->nodes,
                                  .table_count = options->table_count,
                                  .node_count = options->node_count,
                                  .began_ns = mig_time_now_ns()};
    snprintf(registry->version, sizeof registry->version, "%s", options->version);
    snprintf(registry->network, sizeof registry->network, "%s", options->network);
    registry->cells =
        calloc((size_t) MIG_MEASURE_COUNT * (options->table_count + 1) * (options->node_count + 1),
               sizeof *registry->cells);
    return registry->cells ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

void registry_release(struct registry *registry)
{
    free(registry->cells);
    registry->cells = NULL;
}

struct cell *registry_cell(const struct registry *registry, enum mig_measure measure, size_t table,
                           size_t node)
{
    return &registry->cells[((size_t) measure * (registry->table_count + 1) + table) *
                                (registry->node_count + 1) +
                            node];
}

/* The name's place; behind the last one for no name. */
static bool find(const char *const *names, size_t count, const char *name, size_t *ret_place)
{
    size_t place = 0;

    while (place < count && (!name || strcmp(names[place], name) != 0))
        place++;
    *ret_place = place;
    return place < count || !name;
}

static void observe(struct cell *cell, double value)
{
    cell->value += value;
    cell->count++;
    for (size_t i = 0; i < BUCKETS_MAX; i++)
        cell->buckets[i] += value <= bucket_bounds[i];
}

bool registry_report(struct registry *registry, enum mig_measure measure, const char *table,
                     const char *node, double value)
{
    struct cell *cell;
    size_t t, n;

    if (measure == MIG_MEASURE_RUN) {
        snprintf(registry->run, sizeof registry->run, "%s", table ? table : "");
        return true;
    }
    if (!find(registry->tables, registry->table_count, table, &t) ||
        !find(registry->nodes, registry->node_count, node, &n))
        return false;
    cell = registry_cell(registry, measure, t, n);
    switch (measure_infos[measure].effect) {
    case EFFECT_SET:
        cell->value = value;
        break;
    case EFFECT_RAISE:
        if (!cell->known || value > cell->value)
            cell->value = value;
        break;
    case EFFECT_ADD:
        cell->value += value;
        break;
    case EFFECT_OBSERVE:
        observe(cell, value);
        break;
    }
    cell->known = true;
    return true;
}
