/* The figures of a plan: what the source holds, how long signing it takes, what it costs each node.
 */
#include "libmigrate/pipeline/plan_private.h"

#include <stdlib.h>

/* ---- what there is ------------------------------------------------------------------------- */

/* When a row was created that expires at the plan's instant. */
static int64_t cutoff(const struct plan_job *job, enum mig_table table)
{
    const enum mig_kind kind = mig_node_kind(table);
    int64_t cutoff_ns = INT64_MIN;

    if (kind == MIG_KIND_COUNT || job->manifest->policy.keep_expired ||
        __builtin_sub_overflow(job->plan->as_of_ns,
                               job->manifest->policy.retention_days[kind] * MIG_NS_PER_DAY,
                               &cutoff_ns))
        return INT64_MIN;
    return cutoff_ns;
}

static int64_t share(int64_t whole, uint64_t part, uint64_t of)
{
    return of == 0 ? 0 : (int64_t) ((double) whole * (double) part / (double) of + 0.5);
}

static void take_exact(struct mig_plan *plan, enum mig_table table, const struct plan_sums *sums)
{
    plan->tables[table].rows = (int64_t) sums->rows;
    plan->tables[table].bytes = (int64_t) sums->bytes;
    plan->tables[table].parts = (int64_t) sums->parts;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        const struct mig_kind_tally *tally = &sums->tally.kinds[kind];

        if (mig_kind_info((enum mig_kind) kind)->table == table)
            plan->kinds[kind] =
                (struct mig_plan_kind){.rows = (int64_t) tally->counted,
                                       .expired = (int64_t) tally->expired,
                                       .rejected = (int64_t) tally->rejected,
                                       .to_go = (int64_t) (tally->for_nodes + tally->for_chain)};
    }
}

/* Of a key package the row alone doesn't tell when it expires, its installation does: of the rows
 * that are old enough, as many as in the sample. */
static int64_t estimate_expired(const struct mig_source_measure *measure,
                                const struct plan_sums *sums, enum mig_kind kind, int64_t rows)
{
    const bool by_row = kind != MIG_KIND_KEY_PACKAGES;
    int64_t past = share(rows, measure->past, measure->rows);

    if (!mig_kind_info(kind)->expires || sums->cutoff_ns == INT64_MIN || measure->rows == 0)
        return 0;
    if (!measure->analysed || (!by_row && sums->past == 0 && past > 1))
        return MIG_PLAN_UNKNOWN;
    past = by_row ? past : share(past, sums->tally.kinds[kind].expired, sums->past);
    return past < rows ? past : rows;
}

static void take_estimate(struct mig_plan *plan, enum mig_table table,
                          const struct mig_source_measure *measure, const struct plan_sums *sums)
{
    struct mig_plan_table *t = &plan->tables[table];
    int64_t by_rows, by_bytes;

    t->rows = (int64_t) measure->rows;
    t->bytes = share(t->rows, sums->bytes, sums->rows);
    by_rows = (t->rows + (int64_t) MIG_PART_LIMITS.rows - 1) / (int64_t) MIG_PART_LIMITS.rows;
    by_bytes = t->bytes / (int64_t) MIG_PART_LIMITS.bytes + 1;
    t->parts = by_rows > by_bytes ? by_rows : by_bytes;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        struct mig_plan_kind *k = &plan->kinds[kind];

        if (mig_kind_info((enum mig_kind) kind)->table != table)
            continue;
        k->rows = share(t->rows, sums->tally.kinds[kind].counted, sums->rows);
        k->expired = estimate_expired(measure, sums, (enum mig_kind) kind, k->rows);
        k->rejected = MIG_PLAN_UNKNOWN;
        k->to_go = k->expired == MIG_PLAN_UNKNOWN ? MIG_PLAN_UNKNOWN : k->rows - k->expired;
        plan->at_most = plan->at_most || k->to_go == MIG_PLAN_UNKNOWN;
    }
}

static int measure_table(struct plan_job *job, enum mig_table table, struct mig_error *err)
{
    struct plan_sums *sums = &job->sums[table];
    struct mig_source_measure measure;
    int result;

    sums->cutoff_ns = cutoff(job, table);
    if ((result = mig_source_measure(job->source, table, sums->cutoff_ns, &measure, err)) != MIG_OK)
        return result;
    job->plan->tables[table].disk_bytes = (int64_t) measure.disk_bytes;
    if (measure.has_rows &&
        (result = plan_read(job->source, job->transform, table, &measure, job->options->exact, sums,
                            &job->sample, err)) != MIG_OK)
        return result;
    if (job->options->exact) {
        take_exact(job->plan, table, sums);
        return MIG_OK;
    }
    take_estimate(job->plan, table, &measure, sums);
    free(sums->bands); /* the sample's */
    sums->bands = NULL;
    sums->band_count = 0;
    return mig_node_kind(table) == MIG_KIND_COUNT
               ? MIG_OK
               : mig_source_bands(job->source, table, &sums->bands, &sums->band_count, err);
}

int plan_measure_source(struct plan_job *job, struct mig_error *err)
{
    struct mig_error one = MIG_ERROR_INIT;
    bool went_well;
    int result = MIG_OK;

    job->plan->source_known = job->plan->source_known && job->transform && job->throttle;
    if (!job->plan->source_known)
        return MIG_OK;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        mig_report_progress(job->hooks, &(struct mig_progress){
                                            .stage = "plan",
                                            .subject = mig_table_info((enum mig_table) table)->name,
                                            .waiting = ""});
        result = measure_table(job, (enum mig_table) table, &one);
        job->plan->tables[table].bands = job->sums[table].band_count;
    }
    result = plan_note(job, result, &one, &went_well, err);
    job->plan->source_known = went_well;
    return result;
}

/* ---- what it takes ------------------------------------------------------------------------- */

/* What is not known to have expired counts. */
static int64_t most_to_go(const struct mig_plan_kind *kind)
{
    return kind->to_go == MIG_PLAN_UNKNOWN ? kind->rows : kind->to_go;
}

static int64_t to_be_signed(const struct mig_plan *plan)
{
    int64_t rows = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (mig_kind_info((enum mig_kind) kind)->route == MIG_ROUTE_NODE)
            rows += most_to_go(&plan->kinds[kind]);
    return rows;
}

int plan_measure_speed(struct plan_job *job, struct mig_error *err)
{
    struct mig_plan *plan = job->plan;
    const uint32_t max_rate = job->options->run.resources.max_rate;
    uint64_t speed = 0;
    int result = MIG_OK;

    plan->threads = mig_pool_threads(job->pool);
    plan->rows_per_second = plan->seconds = MIG_PLAN_UNKNOWN;
    if (job->options->probe_seconds == 0 || !job->transform)
        return MIG_OK;
    mig_report_progress(
        job->hooks, &(struct mig_progress){.stage = "plan", .subject = "signing", .waiting = ""});
    result = plan_probe(job->manifest, plan->as_of_ns, job->sample, job->pool,
                        job->options->probe_seconds, job->stop, &speed, err);
    if (result != MIG_OK || speed == 0)
        return result;
    plan->rows_per_second = (int64_t) speed;
    if (!plan->source_known)
        return MIG_OK;
    plan->seconds = (to_be_signed(plan) + (int64_t) speed - 1) / (int64_t) speed;
    for (int64_t table = 0, rows = 0; table < MIG_TABLE_COUNT && max_rate > 0; table++) {
        rows += plan->tables[table].rows;
        if (rows / max_rate > plan->seconds)
            plan->seconds = rows / max_rate;
    }
    return MIG_OK;
}

/* Pages are logged whole the first time they change after a checkpoint; those of an index on topics
 * change all the time. */
#define FULL_PAGES 2.0

static void add_cost(struct mig_plan_node *node, const struct mig_node_room *room,
                     const struct plan_sums *sums, int64_t rows, size_t filled)
{
    const struct plan_cost *cost = &sums->cost;
    const uint64_t costed = sums->tally.kinds[MIG_KIND_GROUP_MESSAGES].for_nodes +
                            sums->tally.kinds[MIG_KIND_WELCOME_MESSAGES].for_nodes +
                            sums->tally.kinds[MIG_KIND_KEY_PACKAGES].for_nodes;
    const double staged = sums->band_count > 0 ? (double) filled / (double) sums->band_count : 0;
    const double scale = costed > 0 ? (double) rows / (double) costed : 0;
    const double bulk_wal = room->wal_minimal ? 0 : cost->bulk_wal_bytes;

    node->disk_bytes +=
        (int64_t) (scale * (staged * cost->staged_bytes + (1 - staged) * cost->bulk_bytes));
    node->wal_bytes += (int64_t) (scale * (staged * cost->staged_wal_bytes *
                                               (room->wal_full_pages ? FULL_PAGES : 1) +
                                           (1 - staged) * bulk_wal));
}

static int measure_node(struct plan_job *job, struct mig_node *node, struct mig_plan_node *planned,
                        struct mig_error *err)
{
    struct mig_node_room room;
    int result;

    if ((result = mig_node_settings(node, &planned->settings, err)) != MIG_OK ||
        (result = mig_node_room(node, &room, err)) != MIG_OK)
        return result;
    planned->free_bytes = room.free_bytes;
    planned->wal_free_bytes = room.wal_free_bytes;
    for (int table = 0; table < MIG_TABLE_COUNT && job->plan->source_known; table++) {
        const struct plan_sums *sums = &job->sums[table];
        const enum mig_kind kind = mig_node_kind((enum mig_table) table);
        size_t filled;

        if (kind == MIG_KIND_COUNT)
            continue;
        if ((result = mig_node_filled_bands(node, mig_kind_info(kind)->stored_originator,
                                            sums->bands, sums->band_count, &filled, err)) != MIG_OK)
            return result;
        planned->filled += filled;
        planned->empty += sums->band_count - filled;
        add_cost(planned, &room, sums, most_to_go(&job->plan->kinds[kind]), filled);
    }
    planned->known = true;
    return MIG_OK;
}

int plan_measure_nodes(struct plan_job *job, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++) {
        struct mig_plan_node *planned = &job->plan->nodes[job->places[i]];
        struct mig_error one = MIG_ERROR_INIT;

        result =
            plan_note(job, measure_node(job, job->nodes.items[i], planned, &one), &one, NULL, err);
    }
    return result;
}
