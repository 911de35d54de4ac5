/* Which run nodes are judged by. The order that runs were begun in says little: an older bundle may
 * be loaded after a newer run, and a clock may be set back. */
#include "libmigrate/parity/parity_private.h"

#include <string.h>

void parity_share_ends(struct mig_runs *nodes, size_t node_count)
{
    for (size_t i = 0; i < node_count; i++)
        for (size_t j = 0; j < nodes[i].count; j++)
            for (size_t k = 0; k < node_count && nodes[i].items[j].finished; k++)
                for (size_t l = 0; l < nodes[k].count; l++)
                    if (strcmp(nodes[i].items[j].facts.run, nodes[k].items[l].facts.run) == 0)
                        nodes[k].items[l].finished = true;
}

/* Clocks of machines differ a little; no more than this. */
#define CLOCKS_DIFFER_NS (60 * MIG_NS_PER_SECOND)

bool parity_is_to_come(const struct mig_run *run, int64_t now_ns)
{
    return run->facts.as_of_ns > now_ns + CLOCKS_DIFFER_NS;
}

static bool goes_before(const struct mig_run *run, const struct mig_run *other, int64_t now_ns)
{
    if (run->finished != other->finished)
        return run->finished;
    if (parity_is_to_come(run, now_ns) != parity_is_to_come(other, now_ns))
        return !parity_is_to_come(run, now_ns);
    return run->facts.as_of_ns >= other->facts.as_of_ns;
}

bool parity_choose_run(const struct mig_runs *runs, int64_t now_ns, struct mig_run *ret_run)
{
    const struct mig_run *best = NULL;

    for (size_t i = 0; i < runs->count; i++)
        if (!best || goes_before(&runs->items[i], best, now_ns))
            best = &runs->items[i];
    if (!best)
        return false;
    *ret_run = *best;
    for (size_t i = 0; i < runs->count; i++)
        for (size_t table = 0; table < MIG_TABLE_COUNT && runs->items[i].finished; table++)
            if (runs->items[i].bounds[table] > ret_run->bounds[table])
                ret_run->bounds[table] = runs->items[i].bounds[table];
    return true;
}
