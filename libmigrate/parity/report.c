/* The report: counts are exact, the list of differences has a limit. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LISTED 64

int parity_report_begin(struct mig_parity_report *report, const struct parity_terms *terms,
                        struct mig_node *const *nodes, size_t node_count, struct mig_error *err)
{
    const bool correct = terms->manifest->policy.profile == MIG_PROFILE_CORRECT;

    *report = (struct mig_parity_report){.as_of_ns = terms->as_of_ns, .sampling = terms->sampling};
    snprintf(report->network, sizeof report->network, "%s", terms->manifest->network);
    snprintf(report->profile, sizeof report->profile, "%s", correct ? "correct" : "xmtpd");
    memcpy(report->run, terms->run, sizeof report->run);
    report->nodes = calloc(node_count, sizeof *report->nodes);
    if (!report->nodes)
        return mig_fail(err, MIG_E_NOMEM, "cannot begin a report: out of memory");
    for (size_t i = 0; i < node_count; i++) {
        report->nodes[i].name = strdup(mig_node_name(nodes[i]));
        if (!report->nodes[i].name)
            return mig_fail(err, MIG_E_NOMEM, "cannot begin a report: out of memory");
        report->node_count++;
    }
    return MIG_OK;
}

void mig_parity_report_release(struct mig_parity_report *report)
{
    for (size_t i = 0; i < report->node_count; i++)
        free(report->nodes[i].name);
    free(report->nodes);
    free(report->differences);
    *report = (struct mig_parity_report){0};
}

int parity_report_add(struct parity_check *check, enum mig_kind kind, int64_t id, size_t node,
                      const struct parity_note *note, struct mig_error *err)
{
    struct mig_parity_report *report = &check->report;
    struct mig_parity_difference *difference;

    report->difference_count++;
    if (report->listed >= check->list_limit)
        return MIG_OK;
    /* Full at every power of two from the first size on. */
    if (report->listed == 0 ||
        (report->listed >= FIRST_LISTED && (report->listed & (report->listed - 1)) == 0)) {
        const size_t capacity = report->listed ? report->listed * 2 : FIRST_LISTED;
        void *larger = reallocarray(report->differences, capacity, sizeof *difference);

        if (!larger)
            return mig_fail(err, MIG_E_NOMEM, "cannot list %zu differences: out of memory",
                            capacity);
        report->differences = larger;
    }
    difference = &report->differences[report->listed++];
    *difference = (struct mig_parity_difference){
        .kind = kind,
        .id = id,
        .originator = note->originator ? note->originator : mig_kind_info(kind)->stored_originator,
        .node = node,
        .what = note->what,
        .where = note->where,
    };
    memcpy(difference->expected, note->expected, sizeof difference->expected);
    memcpy(difference->found, note->found, sizeof difference->found);
    return MIG_OK;
}

static int by_place(const void *left, const void *right)
{
    const struct mig_parity_difference *a = left, *b = right;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return strcmp(a->what, b->what) != 0 ? strcmp(a->what, b->what) : strcmp(a->where, b->where);
}

void parity_report_end(struct mig_parity_report *report)
{
    if (report->listed > 0)
        qsort(report->differences, report->listed, sizeof *report->differences, by_place);
    report->verdict = MIG_PARITY_GREEN;
    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (report->tally.kinds[kind].rejected > report->waived[kind])
            report->verdict = MIG_PARITY_PARTIAL;
    if (report->difference_count > 0)
        report->verdict = MIG_PARITY_RED;
}

const char *mig_parity_verdict_name(enum mig_parity_verdict verdict)
{
    static const char *const names[] = {
        [MIG_PARITY_GREEN] = "green",
        [MIG_PARITY_PARTIAL] = "partial",
        [MIG_PARITY_RED] = "red",
    };

    return names[verdict];
}
