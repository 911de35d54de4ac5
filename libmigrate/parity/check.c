/* The check: walks every table once, the source's rows beside each node's, and puts the questions
 * that a row alone doesn't answer. */
#include "libmigrate/parity/parity_private.h"

#include <stdlib.h>

#define PAIRS_PER_SHARE 32

/* ---- one part against one node -------------------------------------------------------------- */

struct judging {
    struct parity_check *check;
    enum mig_kind kind;
    bool required;
};

static int judge_share(void *context, unsigned worker, size_t first, size_t end,
                       struct mig_error *err)
{
    const struct judging *judging = context;
    struct parity_check *check = judging->check;
    int result = MIG_OK;

    for (size_t i = first; i < end && result == MIG_OK; i++) {
        result =
            parity_judge(&check->terms, judging->kind, judging->required, &check->scratch[worker],
                         &check->notes[worker], &check->pairs[i], err);
        mig_arena_release(&check->scratch[worker]);
    }
    return result;
}

/* Above what is settled a row may have come to the source after it was read, and to the node before
 * that was: only the source can tell. */
static int came_meanwhile(struct parity_check *check, enum mig_kind kind, int64_t id,
                          bool *ret_came, struct mig_error *err)
{
    uint64_t rows;
    int result = MIG_OK;

    if (!check->source_asker)
        result =
            mig_source_open(check->terms.manifest, NULL, check->stop, &check->source_asker, err);
    if (result == MIG_OK)
        result =
            mig_source_count(check->source_asker, mig_kind_info(kind)->table, id, id, &rows, err);
    if (result == MIG_OK)
        *ret_came = rows > 0;
    return result;
}

static void count_outcome(struct mig_parity_sums *sums, const struct parity_pair *pair)
{
    const bool altered = pair->held && pair->notes && pair->outcome != PARITY_EXTRA;

    sums->held += pair->outcome == PARITY_HELD;
    sums->missing += pair->outcome == PARITY_MISSING;
    sums->extra += pair->outcome == PARITY_EXTRA;
    sums->pruned_at_source += pair->outcome == PARITY_PRUNED;
    sums->expired_present += pair->outcome == PARITY_EXPIRED_PRESENT && !altered;
    sums->altered += altered;
}

static int collect_pair(struct parity_check *check, size_t node, enum mig_kind kind,
                        const struct parity_segment *segment, const struct parity_pair *pair,
                        struct mig_error *err)
{
    const int64_t id = pair->planned ? pair->planned->sequence_id : pair->held->sequence_id;
    bool came = false;
    int result = MIG_OK;

    if (!pair->planned && segment->judged && check->node_count > 1)
        result = parity_sourceless_add(&check->sourceless, node, pair, err);
    if (result == MIG_OK && pair->outcome == PARITY_EXTRA && !pair->planned && !segment->settled)
        result = came_meanwhile(check, kind, id, &came, err);
    if (result != MIG_OK || came)
        return result;
    count_outcome(&check->report.nodes[node].kinds[kind], pair);
    for (const struct parity_note *note = pair->notes; note && result == MIG_OK; note = note->next)
        result = parity_report_add(check, kind, id, node, note, err);
    return result;
}

static int make_room(struct parity_check *check, size_t pairs, struct mig_error *err)
{
    struct parity_pair *larger;

    if (pairs <= check->pair_capacity)
        return MIG_OK;
    larger = reallocarray(check->pairs, pairs, sizeof *larger);
    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "cannot compare %zu rows: out of memory", pairs);
    check->pairs = larger;
    check->pair_capacity = pairs;
    return MIG_OK;
}

static int judge_pairs(struct parity_check *check, size_t node, enum mig_kind kind,
                       const struct parity_segment *segment, size_t count, struct mig_error *err)
{
    struct judging judging = {check, kind, segment->judged};
    int result = mig_pool_run(check->pool, count, PAIRS_PER_SHARE, judge_share, &judging, err);

    for (size_t i = 0; i < count && result == MIG_OK; i++)
        result = collect_pair(check, node, kind, segment, &check->pairs[i], err);
    for (unsigned i = 0; i < mig_pool_threads(check->pool); i++)
        mig_arena_release(&check->notes[i]);
    return result;
}

static int check_node(struct parity_check *check, size_t at, enum mig_kind kind,
                      const struct parity_segment *segment, int64_t up_to, struct mig_error *err)
{
    struct parity_node *node = &check->nodes[at];
    int result = make_room(
        check, node->plan.count - node->plan.next + node->batch->count - node->batch->next, err);

    if (result != MIG_OK)
        return result;
    return judge_pairs(check, at, kind, segment,
                       parity_pair_up(&node->plan, node->batch, up_to, check->pairs), err);
}

/* ---- one part against all nodes ------------------------------------------------------------- */

static int next_batch(struct parity_node *node, struct mig_error *err)
{
    void *item = NULL;
    int result;

    parity_batch_free(&node->batch);
    if ((result = parity_stream_next(&node->stream, &item, err)) == MIG_OK)
        node->batch = item;
    return result;
}

/* Lowers *up_to to the id up to which the batches of all nodes tell all. */
static int read_on(struct parity_check *check, int64_t *up_to, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < check->node_count && result == MIG_OK; i++) {
        struct parity_node *node = &check->nodes[i];

        if (!node->batch || (node->batch->next == node->batch->count && !node->batch->ended))
            result = next_batch(node, err);
        if (result == MIG_OK && parity_batch_reach(node->batch) < *up_to)
            *up_to = parity_batch_reach(node->batch);
    }
    return result;
}

/* The nodes go on side by side, so that what one holds can be missed at another. */
static int check_nodes(struct parity_check *check, enum mig_kind kind,
                       const struct parity_segment *segment, const struct mig_part *part,
                       struct mig_error *err)
{
    int64_t up_to;
    int result;

    for (size_t i = 0; i < check->node_count; i++)
        check->nodes[i].plan =
            (struct parity_plan){part->envelopes, check->known, part->row_count, 0};
    do {
        up_to = part->last_id;
        if ((result = mig_stop_check(check->stop, err)) != MIG_OK ||
            (result = read_on(check, &up_to, err)) != MIG_OK)
            return result;
        for (size_t i = 0; i < check->node_count && result == MIG_OK; i++)
            result = check_node(check, i, kind, segment, up_to, err);
        if (result == MIG_OK)
            result = parity_check_sourceless(check, kind, err);
    } while (result == MIG_OK && up_to < part->last_id);
    return result;
}

/* ---- tables --------------------------------------------------------------------------------- */

/* The kind of a table's rows that nodes hold, or MIG_KIND_COUNT when all go to the chain. */
static enum mig_kind kind_on_nodes(enum mig_table table)
{
    int kind = 0;

    while (kind < MIG_KIND_COUNT && (mig_kind_info((enum mig_kind) kind)->table != table ||
                                     mig_kind_info((enum mig_kind) kind)->route != MIG_ROUTE_NODE))
        kind++;
    return (enum mig_kind) kind;
}

static int check_rows(struct parity_check *check, const struct mig_part *part,
                      struct mig_error *err)
{
    int result;

    mig_tally_add(&check->report.tally, &part->tally);
    if ((result = parity_check_letters(check, part, err)) != MIG_OK)
        return result;
    return parity_check_newest(check, part, err);
}

/* Begins to remember signers anew; with one node there is nobody to remember them for. */
static int forget_signers(struct parity_check *check, const struct mig_part *part,
                          struct mig_error *err)
{
    free(mig_take(check->known));
    if (check->node_count < 2 || part->row_count == 0)
        return MIG_OK;
    check->known = calloc(part->row_count, sizeof *check->known);
    return check->known ? MIG_OK
                        : mig_fail(err, MIG_E_NOMEM, "cannot compare %zu rows: out of memory",
                                   part->row_count);
}

static void report_progress(const struct parity_check *check, enum mig_table table)
{
    struct mig_progress progress = {
        .stage = "parity",
        .subject = mig_table_info(table)->name,
        .done = check->rows_done,
        .total = check->rows_total,
        .waiting = "",
    };

    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
        progress.rejected += check->report.tally.kinds[kind].rejected;
    mig_report_progress(check->hooks, &progress);
}

static int check_part(struct parity_check *check, const struct parity_segment *segment,
                      struct mig_part *part, struct mig_error *err)
{
    const enum mig_kind kind = kind_on_nodes(part->table);
    int result = mig_transform_part(check->terms.transform, check->pool, part, err);

    for (size_t k = 0; k < MIG_KIND_COUNT && !segment->judged && result == MIG_OK; k++)
        check->report.above_bound[k] += part->tally.kinds[k].counted;
    if (result == MIG_OK && segment->judged)
        result = check_rows(check, part, err);
    if (result == MIG_OK)
        result = forget_signers(check, part, err);
    if (result == MIG_OK && kind != MIG_KIND_COUNT)
        result = check_nodes(check, kind, segment, part, err);
    check->rows_done += part->row_count;
    report_progress(check, part->table);
    return result;
}

static int begin_streams(struct parity_check *check, enum mig_table table,
                         const struct parity_segment *segment, struct parity_stream *source,
                         struct mig_error *err)
{
    const enum mig_kind kind = kind_on_nodes(table);
    int result = parity_stream_source(source, check->source, table, segment, err);

    for (size_t i = 0; i < check->node_count && kind != MIG_KIND_COUNT && result == MIG_OK; i++)
        result = parity_stream_node(&check->nodes[i].stream, check->nodes[i].reader,
                                    mig_kind_info(kind)->stored_originator, segment, err);
    return result;
}

static int check_segment(struct parity_check *check, enum mig_table table,
                         const struct parity_segment *segment, struct mig_error *err)
{
    mig_cleanup(parity_stream_end) struct parity_stream source = {0};
    int result = begin_streams(check, table, segment, &source, err);

    while (result == MIG_OK) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        void *item = NULL;

        if ((result = parity_stream_next(&source, &item, err)) != MIG_OK)
            break;
        part = item;
        if (!part)
            break;
        result = check_part(check, segment, part, err);
    }
    for (size_t i = 0; i < check->node_count; i++) {
        parity_stream_end(&check->nodes[i].stream);
        parity_batch_free(&check->nodes[i].batch);
    }
    return result;
}

static int check_table(struct parity_check *check, enum mig_table table, struct mig_error *err)
{
    const enum mig_kind kind = kind_on_nodes(table);
    struct parity_segment segments[PARITY_SEGMENTS_MAX];
    struct mig_settled settled;
    size_t count;
    int result = mig_source_settle(check->source, table, &settled, err);

    if (result != MIG_OK)
        return result;
    count = parity_segments(
        &settled, check->terms.has_run ? check->terms.bounds[table] : settled.bound, segments);
    for (size_t i = 0; i < count && result == MIG_OK; i++)
        result = check_segment(check, table, &segments[i], err);
    if (result == MIG_OK && kind != MIG_KIND_COUNT)
        result = parity_check_reach(check, kind, settled.bound, err);
    return result;
}

int mig_parity_check(const struct mig_manifest *manifest, const struct mig_parity_options *options,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_parity_report *ret_report, struct mig_error *err)
{
    mig_cleanup(parity_check_end) struct parity_check check = {
        .hooks = hooks,
        .stop = stop,
        .list_limit = options->list_limit,
    };
    int result;

    if ((result = parity_check_begin(&check, manifest, options, err)) != MIG_OK)
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = check_table(&check, (enum mig_table) table, err);
    if (result != MIG_OK || (result = parity_check_places(&check, err)) != MIG_OK ||
        (result = parity_check_clocks(&check, err)) != MIG_OK)
        return result;
    parity_report_end(&check.report);
    *ret_report = check.report;
    check.report = (struct mig_parity_report){0};
    return MIG_OK;
}
