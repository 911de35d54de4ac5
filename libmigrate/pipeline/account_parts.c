/*
 * Whether all nodes were given the same: a row that changes at the source while a run is stopped
 * would reach the nodes that have its part already as it was, and the others as it is.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct parts {
    struct mig_booked_part *items;
    size_t count;
};

static void parts_release(struct parts *parts)
{
    free(parts->items);
}

/* Below 0 when a lies before b and has nothing in common with it, above 0 when behind it. */
static int compare_places(const struct mig_booked_part *a, const struct mig_booked_part *b)
{
    if (a->table != b->table)
        return strcmp(mig_table_info(a->table)->name, mig_table_info(b->table)->name);
    return (a->first_id > b->last_id) - (a->last_id < b->first_id);
}

static bool same(const struct mig_booked_part *a, const struct mig_booked_part *b)
{
    return a->first_id == b->first_id && a->last_id == b->last_id &&
           strcmp(a->digest, b->digest) == 0;
}

/* The last part of a table that is followed may be behind the other node's. */
static bool still_grows(const struct parts *parts, size_t index,
                        const struct mig_booked_part *other)
{
    const struct mig_booked_part *part = &parts->items[index];

    return part->first_id == other->first_id && part->last_id < other->last_id &&
           (index + 1 == parts->count || parts->items[index + 1].table != part->table);
}

/* The first part of one node that is another on the other node, or NULL. What only one has is not
 * looked at: whether a node has all parts is for others to say. */
static const struct mig_booked_part *first_difference(const struct parts *one,
                                                      const struct parts *other)
{
    for (size_t a = 0, b = 0; a < one->count && b < other->count;) {
        const int place = compare_places(&one->items[a], &other->items[b]);

        if (place == 0 && !same(&one->items[a], &other->items[b]) &&
            !still_grows(one, a, &other->items[b]) && !still_grows(other, b, &one->items[a]))
            return &one->items[a];
        a += place <= 0;
        b += place >= 0;
    }
    return NULL;
}

int account_compare_parts(struct mig_account *account, struct mig_node **nodes,
                          struct mig_error *err)
{
    mig_cleanup(parts_release) struct parts first = {0};
    int result = mig_node_parts(nodes[0], account->facts.run, &first.items, &first.count, err);

    for (size_t i = 1; i < account->node_count && result == MIG_OK; i++) {
        mig_cleanup(parts_release) struct parts parts = {0};
        const struct mig_booked_part *part;

        result = mig_node_parts(nodes[i], account->facts.run, &parts.items, &parts.count, err);
        if (result != MIG_OK || !(part = first_difference(&first, &parts)))
            continue;
        result = mig_account_add_problem(account, err,
                                         "%s: the part up to %" PRId64
                                         " differs between nodes '%s' and '%s', its rows changed "
                                         "or were pruned at the source meanwhile: begin a new run "
                                         "(xmtp-migrate run --new-run), which shows "
                                         "the rows that differ as conflicts",
                                         mig_table_info(part->table)->name, part->last_id,
                                         account->nodes[0].name, account->nodes[i].name);
    }
    return result;
}
