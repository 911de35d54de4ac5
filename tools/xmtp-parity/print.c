/* The report for people: what was looked at, the sums, each difference, and the verdict last. */
#include "tools/xmtp-parity/parity_tool.h"

#include <inttypes.h>

static int print_head(const struct mig_parity_report *report, struct mig_error *err)
{
    char as_of[MIG_TIME_TEXT_SIZE];

    mig_time_format(report->as_of_ns, as_of);
    return tool_print(err, "network %s, as of %s, profile %s, %s%s\n", report->network, as_of,
                      report->profile, report->run[0] ? "run " : "no one run known", report->run);
}

static int print_source(const struct mig_parity_report *report, struct mig_error *err)
{
    int result =
        tool_print(err, "%-18s %11s %11s %11s %11s %11s %11s %11s", "source", "judged", "expired",
                   "rejected", "waived", "for nodes", "for chain", "above bound");

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++) {
        const struct mig_kind_tally *tally = &report->tally.kinds[kind];

        result = tool_print(err,
                            "%-18s %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %11" PRIu64
                            " %11" PRIu64 " %11" PRIu64 " %11" PRIu64,
                            mig_kind_info((enum mig_kind) kind)->name, tally->counted,
                            tally->expired, tally->rejected, report->waived[kind], tally->for_nodes,
                            tally->for_chain, report->above_bound[kind]);
    }
    return result;
}

static int print_node(const struct mig_parity_node *node, struct mig_error *err)
{
    int result = tool_print(err, "\n%-18s %11s %11s %11s %11s %11s %11s", node->name, "held",
                            "missing", "altered", "extra", "pruned", "expired");

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++) {
        const struct mig_parity_sums *sums = &node->kinds[kind];

        if (mig_kind_info((enum mig_kind) kind)->route == MIG_ROUTE_NODE)
            result = tool_print(err,
                                "%-18s %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %11" PRIu64
                                " %11" PRIu64 " %11" PRIu64,
                                mig_kind_info((enum mig_kind) kind)->name, sums->held,
                                sums->missing, sums->altered, sums->extra, sums->pruned_at_source,
                                sums->expired_present);
    }
    return result;
}

static int print_elsewhere(const struct mig_parity_node *node, struct mig_error *err)
{
    int result = MIG_OK;

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (node->kinds[kind].pruned_elsewhere > 0)
            result = tool_print(err,
                                "%s: %" PRIu64 " of %s are on other nodes only, V3 pruned them "
                                "before a run came here: copy them from there, or let them expire",
                                node->name, node->kinds[kind].pruned_elsewhere,
                                mig_kind_info((enum mig_kind) kind)->name);
    return result;
}

static int print_counts(const struct mig_parity_report *report, struct mig_error *err)
{
    int result = tool_print(err, "%s", "");

    for (int reason = 1; reason < MIG_REASON_COUNT && result == MIG_OK; reason++)
        if (report->tally.rejects[reason] > 0)
            result = tool_print(err, "rejected: %s %" PRIu64,
                                mig_reason_info((enum mig_reason) reason)->name,
                                report->tally.rejects[reason]);
    for (int finding = 0; finding < MIG_FINDING_COUNT && result == MIG_OK; finding++)
        if (report->tally.findings[finding] > 0)
            result = tool_print(err, "finding: %s %" PRIu64,
                                mig_finding_name((enum mig_finding) finding),
                                report->tally.findings[finding]);
    return result;
}

static int print_differences(const struct mig_parity_report *report, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < report->listed && result == MIG_OK; i++) {
        const struct mig_parity_difference *difference = &report->differences[i];

        result = tool_print(
            err, "%s %s %" PRId64 ": %s: expected %s, found %s%s%s%s",
            report->nodes[difference->node].name, mig_kind_info(difference->kind)->name,
            difference->id, difference->what, difference->expected, difference->found,
            difference->where[0] ? " (" : "", difference->where, difference->where[0] ? ")" : "");
    }
    if (result == MIG_OK && report->difference_count > report->listed)
        result = tool_print(err, "... and %" PRIu64 " more; --list N lists up to N",
                            report->difference_count - (uint64_t) report->listed);
    return result;
}

static int print_signatures(const struct mig_parity_report *report, struct mig_error *err)
{
    char seed[2 * MIG_PARITY_SEED_SIZE + 1];

    if (report->sampling.which != MIG_PARITY_SIGNATURES_SAMPLE)
        return tool_print(err, "signatures: %" PRIu64 " of %" PRIu64 " checked",
                          report->signatures_checked, report->signatures);
    mig_hex_encode((struct mig_bytes){report->sampling.seed, sizeof report->sampling.seed}, seed);
    return tool_print(
        err,
        "signatures: %" PRIu64 " of %" PRIu64 " checked; the same again: --signatures "
        "sample:%.15g --seed %s",
        report->signatures_checked, report->signatures, report->sampling.percent, seed);
}

static int print_verdict(const struct mig_parity_report *report, struct mig_error *err)
{
    static const char *const stories[] = {
        [MIG_PARITY_GREEN] = "every node holds what it must, and nothing else",
        [MIG_PARITY_PARTIAL] = "all but rejected rows is proved; see xmtp-migrate rejected list, "
                               "then repair and retry, or waive by name",
        [MIG_PARITY_RED] = "see the differences; xmtp-migrate run loads what is missing, and "
                           "never overwrites what is altered or extra",
    };

    if (report->signatures_checked == report->signatures)
        return tool_print(err, "verdict: %s: %s", mig_parity_verdict_name(report->verdict),
                          stories[report->verdict]);
    return tool_print(err,
                      "verdict: %s: %s; but who signed is known of %" PRIu64 " of %" PRIu64
                      " signatures only",
                      mig_parity_verdict_name(report->verdict), stories[report->verdict],
                      report->signatures_checked, report->signatures);
}

int parity_print(const struct mig_parity_report *report, struct mig_error *err)
{
    int result;

    if ((result = print_head(report, err)) != MIG_OK ||
        (result = print_source(report, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < report->node_count; i++)
        if ((result = print_node(&report->nodes[i], err)) != MIG_OK ||
            (result = print_elsewhere(&report->nodes[i], err)) != MIG_OK)
            return result;
    if ((result = print_counts(report, err)) != MIG_OK ||
        (result = print_differences(report, err)) != MIG_OK)
        return result;
    return (result = print_signatures(report, err)) == MIG_OK ? print_verdict(report, err) : result;
}
