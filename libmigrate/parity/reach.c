/* Rows above the run need not be there, because a later run may be bringing them. Where the books
 * know of none that got so far, nor the node's tracker of another tool, they tell too little: rows
 * that were lost there would go unnoticed. What is there has been compared with the source. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>

int parity_find_reach(struct parity_check *check, size_t node, enum mig_table table,
                      struct mig_reach *ret_reach, struct mig_error *err)
{
    struct mig_reach all = {INT64_MIN, INT64_MAX, INT64_MIN}, one;
    int result = MIG_OK;

    for (size_t i = 0; i < check->node_count && result == MIG_OK; i++) {
        if ((result = mig_node_reach(check->nodes[i].asker, table, &one, err)) != MIG_OK)
            return result;
        all.settled = one.settled > all.settled ? one.settled : all.settled;
        all.unsettled = one.unsettled < all.unsettled ? one.unsettled : all.unsettled;
        all.tracker = i == node ? one.tracker : all.tracker;
    }
    if (all.settled != INT64_MIN && all.tracker > all.settled)
        all.settled = all.tracker;
    *ret_reach = all;
    return result;
}

static int report_rows(struct parity_check *check, size_t node, enum mig_kind kind,
                       const struct mig_reach *reach, uint64_t rows, int64_t lowest,
                       struct mig_error *err)
{
    struct parity_note note = {.what = "unknown_run", .where = "books"};

    snprintf(note.expected, sizeof note.expected,
             "nothing above %" PRId64 ", where the runs in the books and the tracker end",
             reach->settled);
    snprintf(note.found, sizeof note.found, "%" PRIu64 " row%s", rows, rows == 1 ? "" : "s");
    return parity_report_add(check, kind, lowest, node, &note, err);
}

/* A run is in the books before its first row is on a node: rows that none of them explains, also
 * when they are read once more, are of no run that began meanwhile. */
static int check_node(struct parity_check *check, size_t node, enum mig_kind kind,
                      int64_t settled_bound, struct mig_error *err)
{
    const struct mig_kind_info *info = mig_kind_info(kind);
    struct mig_reach reach = {INT64_MIN, INT64_MAX, INT64_MIN}, before;
    uint64_t rows = 0;
    int64_t lowest, last_id;
    int result = parity_find_reach(check, node, info->table, &reach, err);

    do {
        before = reach;
        last_id = reach.unsettled > settled_bound ? settled_bound
                                                  : reach.unsettled - (reach.unsettled > INT64_MIN);
        if (result != MIG_OK || reach.settled == INT64_MIN || reach.settled >= last_id)
            return result;
        if ((result = mig_node_count(check->nodes[node].asker, info->stored_originator,
                                     reach.settled + 1, last_id, &rows, &lowest, err)) != MIG_OK ||
            rows == 0 ||
            (result = parity_find_reach(check, node, info->table, &reach, err)) != MIG_OK)
            return result;
    } while (reach.settled != before.settled || reach.unsettled != before.unsettled);
    return report_rows(check, node, kind, &reach, rows, lowest, err);
}

int parity_check_reach(struct parity_check *check, enum mig_kind kind, int64_t settled_bound,
                       struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < check->node_count && check->terms.has_run && result == MIG_OK; i++)
        result = check_node(check, i, kind, settled_bound, err);
    return result;
}
