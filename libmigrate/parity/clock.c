/* The vector clock: below the highest row it would hide rows from other nodes for good. Far above,
 * rows that are still to come may be passed over; as a clock never goes down, that is worth a word
 * and no difference that anybody could mend. Its time can't be told from rows: it is the newest of
 * whatever came in the same statement. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>

struct clock {
    bool has_clock, has_rows;
    int64_t at, highest;
};

static int report_behind(struct parity_check *check, size_t node, enum mig_kind kind,
                         const struct clock *clock, struct mig_error *err)
{
    struct parity_note note = {.what = "clock_behind", .where = "clock"};

    snprintf(note.expected, sizeof note.expected, "%" PRId64 " or above", clock->highest);
    if (clock->has_clock)
        snprintf(note.found, sizeof note.found, "%" PRId64, clock->at);
    else
        snprintf(note.found, sizeof note.found, "nothing");
    return parity_report_add(check, kind, clock->highest, node, &note, err);
}

/* A node's pruner takes rows, and the clock stays: what a run has reached explains it. */
static int warn_if_ahead(struct parity_check *check, size_t node, enum mig_kind kind,
                         const struct clock *clock, struct mig_error *err)
{
    struct mig_reach reach;
    int result = parity_find_reach(check, node, mig_kind_info(kind)->table, &reach, err);

    if (result != MIG_OK || reach.settled == INT64_MIN || clock->at <= reach.settled ||
        clock->at >= reach.unsettled)
        return result;
    mig_log(check->hooks, MIG_LOG_WARN,
            "node '%s': its clock for %s is at %" PRId64 ", and no run in the books got that far",
            check->report.nodes[node].name, mig_kind_info(kind)->name, clock->at);
    return MIG_OK;
}

static int check_clock(struct parity_check *check, size_t node, enum mig_kind kind,
                       struct mig_error *err)
{
    struct clock clock;
    int result = mig_node_clock(check->nodes[node].asker, mig_kind_info(kind)->stored_originator,
                                &clock.has_clock, &clock.at, &clock.has_rows, &clock.highest, err);

    if (result != MIG_OK)
        return result;
    if (clock.has_rows && (!clock.has_clock || clock.at < clock.highest))
        return report_behind(check, node, kind, &clock, err);
    if (clock.has_clock && check->terms.has_run && (!clock.has_rows || clock.at > clock.highest))
        return warn_if_ahead(check, node, kind, &clock, err);
    return MIG_OK;
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
