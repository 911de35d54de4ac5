/* Rows that nodes hold and the source lacks. What V3 has pruned no run can bring any more: here the
 * nodes are held against each other, each by what it can have had. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_ROWS 256

int parity_sourceless_add(struct parity_sourceless *sourceless, size_t node,
                          const struct mig_node_row *held, enum parity_outcome outcome,
                          struct mig_error *err)
{
    if (sourceless->count == sourceless->capacity) {
        const size_t capacity = sourceless->capacity ? sourceless->capacity * 2 : FIRST_ROWS;
        void *larger = reallocarray(sourceless->rows, capacity, sizeof *sourceless->rows);

        if (!larger)
            return mig_fail(err, MIG_E_NOMEM, "cannot compare %zu rows: out of memory", capacity);
        sourceless->rows = larger;
        sourceless->capacity = capacity;
    }
    sourceless->rows[sourceless->count++] = (struct parity_sourceless_row){
        .id = held->sequence_id,
        .node = node,
        .pruned = outcome == PARITY_PRUNED,
        .expiry = held->expiry,
    };
    return MIG_OK;
}

static int by_id(const void *left, const void *right)
{
    const struct parity_sourceless_row *a = left, *b = right;

    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

void parity_sourceless_sort(struct parity_sourceless *sourceless)
{
    if (sourceless->count > 0)
        qsort(sourceless->rows, sourceless->count, sizeof *sourceless->rows, by_id);
}

/* What has expired a node's own pruner may have removed. */
bool parity_sourceless_next(const struct parity_sourceless *sourceless, int64_t now_s, size_t *at,
                            size_t *ret_first)
{
    bool found = false;

    while (!found && *at < sourceless->count) {
        *ret_first = *at;
        for (;
             *at < sourceless->count && sourceless->rows[*at].id == sourceless->rows[*ret_first].id;
             ++*at)
            found = found || (sourceless->rows[*at].pruned && sourceless->rows[*at].expiry > now_s);
    }
    return found;
}

/* Whether a run came to the node while V3 had still to keep the row. V3 often keeps rows for
 * longer: where fewer are left than were brought, nobody can say that this one was not among them.
 */
static int was_brought(struct parity_check *check, size_t node, enum mig_kind kind,
                       const struct parity_sourceless_row *row, bool *ret_was,
                       struct mig_error *err)
{
    const enum mig_table table = mig_kind_info(kind)->table;
    struct parity_brought *brought = &check->nodes[node].brought[table];
    int64_t gone_s;
    int result = MIG_OK;

    if (!brought->known || row->id < brought->of.first_id || row->id > brought->of.last_id)
        result = mig_node_brought(check->nodes[node].asker, table, row->id, &brought->of, err);
    if (result != MIG_OK)
        return result;
    brought->known = true;
    *ret_was = brought->of.lacks || (brought->of.since_ns != INT64_MAX &&
                                     parity_gone_s(&check->terms, kind, row->expiry, &gone_s) &&
                                     brought->of.since_ns / MIG_NS_PER_SECOND < gone_s);
    return MIG_OK;
}

static int report_lacking(struct parity_check *check, enum mig_kind kind, size_t node,
                          const struct parity_sourceless_row *holder, struct mig_error *err)
{
    struct parity_note note = {
        .what = "missing",
        .where = "",
        .found = "nothing, and no run can bring it: copy its rows of meta and blob from that node",
    };
    struct mig_parity_sums *sums = &check->report.nodes[node].kinds[kind];
    bool was;
    int result = was_brought(check, node, kind, holder, &was, err);

    if (result != MIG_OK)
        return result;
    sums->missing += was;
    sums->pruned_elsewhere += !was;
    snprintf(note.expected, sizeof note.expected,
             "as node '%.50s' holds it; the source has pruned it",
             check->report.nodes[holder->node].name);
    return was ? parity_report_add(check, kind, holder->id, node, &note, err) : MIG_OK;
}

/* rows are of one id. */
static int check_lacking(struct parity_check *check, enum mig_kind kind,
                         const struct parity_sourceless_row *rows, size_t count,
                         struct mig_error *err)
{
    size_t holder = 0, next = 0;
    int result = MIG_OK;

    while (!rows[holder].pruned)
        holder++;
    for (size_t node = 0; node < check->node_count && result == MIG_OK; node++)
        if (next < count && rows[next].node == node)
            next++;
        else
            result = report_lacking(check, kind, node, &rows[holder], err);
    return result;
}

int parity_check_sourceless(struct parity_check *check, enum mig_kind kind, struct mig_error *err)
{
    struct parity_sourceless *sourceless = &check->sourceless;
    const int64_t now_s = mig_time_now_ns() / MIG_NS_PER_SECOND;
    size_t at = 0, first;
    int result = MIG_OK;

    if (sourceless->count == 0)
        return MIG_OK;
    parity_sourceless_sort(sourceless);
    while (result == MIG_OK && parity_sourceless_next(sourceless, now_s, &at, &first))
        result = check_lacking(check, kind, &sourceless->rows[first], at - first, err);
    sourceless->count = 0;
    return result;
}
