/* The vector clock: below the highest row it would hide rows from other nodes for good. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>

static int check_clock(struct parity_check *check, size_t node, enum mig_kind kind,
                       struct mig_error *err)
{
    struct parity_note note = {.what = "clock_behind", .where = "clock"};
    bool has_clock, has_rows;
    int64_t clock, highest;
    int result = mig_node_clock(check->nodes[node].asker, mig_kind_info(kind)->stored_originator,
                                &has_clock, &clock, &has_rows, &highest, err);

    if (result != MIG_OK || !has_rows || (has_clock && clock >= highest))
        return result;
    snprintf(note.expected, sizeof note.expected, "%" PRId64 " or above", highest);
    if (has_clock)
        snprintf(note.found, sizeof note.found, "%" PRId64, clock);
    else
        snprintf(note.found, sizeof note.found, "nothing");
    return parity_report_add(check, kind, highest, node, &note, err);
}

int parity_check_clocks(struct parity_check *check, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t node = 0; node < check->node_count; node++)
        for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
            if (mig_kind_info((enum mig_kind) kind)->route == MIG_ROUTE_NODE)
                result = check_clock(check, node, (enum mig_kind) kind, err);
    return result;
}
