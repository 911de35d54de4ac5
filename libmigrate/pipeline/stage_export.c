/* The first stage by itself: rows of the source into a bundle. */
#include "libmigrate/pipeline/pipeline_private.h"

void mig_stage_summary_release(struct mig_stage_summary *summary)
{
    mig_blockers_release(&summary->blockers);
    *summary = (struct mig_stage_summary){0};
}

/* Takes out what has expired at as_of and counts it; the other rows move together. */
static void drop_expired(const struct mig_policy *policy, int64_t as_of_ns, struct mig_part *part)
{
    size_t kept = 0;

    for (size_t i = 0; i < part->row_count; i++) {
        struct mig_standing standing;

        mig_source_standing(policy, as_of_ns, &part->rows[i], &standing);
        if (standing.expired)
            mig_tally_envelope(&part->tally,
                               &(struct mig_envelope){.kind = standing.kind,
                                                      .expired_early = standing.expired_early,
                                                      .route = MIG_ROUTE_EXPIRED});
        else
            part->rows[kept++] = part->rows[i];
    }
    part->row_count = kept;
}

struct export_job {
    const struct mig_manifest *manifest;
    const struct mig_hooks *hooks;
    struct throttle *throttle;
    struct source_set sources;
    struct mig_budget *budget;
    struct read_ahead *ahead;
    struct mig_bundle_writer *writer;
    uint64_t total;
};

static void export_job_release(struct export_job *job)
{
    throttle_leave(job->throttle);
    read_ahead_close(&job->ahead);
    mig_budget_free(&job->budget);
    source_set_close(&job->sources);
    throttle_close(&job->throttle);
    mig_bundle_writer_free(&job->writer);
}

static int open_throttle(struct export_job *job, uint32_t max_rate, const struct mig_stop *stop,
                         struct mig_error *err)
{
    const struct throttle_options kept = {.max_rate = max_rate, .source = true, .stage = "export"};
    int result = throttle_open(job->manifest, &kept, job->hooks, stop, &job->throttle, err);

    if (result == MIG_OK)
        source_set_gate(&job->sources, throttle_gate(job->throttle));
    return result;
}

static int open_ranges(struct export_job *job, size_t max_memory, struct mig_error *err)
{
    struct read_range ranges[2 * MIG_TABLE_COUNT];
    struct mig_settled all[MIG_TABLE_COUNT];
    struct mig_source *source = job->sources.items[0];
    struct shares shares;
    size_t count = 0;
    int result = mig_source_settle_all(source, all, err);

    if (result != MIG_OK)
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_settled settled = all[table];
        uint64_t rows;

        if ((result = mig_source_estimate(source, (enum mig_table) table, &rows, err)) != MIG_OK)
            return result;
        job->total += rows;
        ranges[count++] =
            (struct read_range){(enum mig_table) table, INT64_MIN, settled.bound, true};
        if (settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    if ((result = mig_source_await_durable(source, err)) != MIG_OK)
        return result;
    result = pipeline_open_budget(max_memory, 0, &job->budget, &shares, err);
    return result == MIG_OK ? read_ahead_open(&job->sources, ranges, count, job->budget,
                                              shares.read_ahead_bytes, &job->ahead, err)
                            : result;
}

static int export_parts(struct export_job *job, int64_t as_of_ns, struct mig_stage_summary *summary,
                        struct mig_error *err)
{
    uint64_t done = 0;

    for (;;) {
        mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
        int result = read_ahead_next(job->ahead, &parcel, err);
        struct mig_part *part;
        char waiting[256];

        if (result != MIG_OK || !parcel)
            return result;
        part = parcel->part;
        done += part->row_count;
        throttle_reason(job->throttle, waiting, sizeof waiting);
        drop_expired(&job->manifest->policy, as_of_ns, part);
        if ((result = mig_bundle_add(job->writer, part, err)) != MIG_OK)
            return result;
        mig_tally_add(&summary->tally, &part->tally);
        summary->rows += part->row_count;
        summary->parts++;
        mig_report_progress(job->hooks,
                            &(struct mig_progress){.stage = "export",
                                                   .subject = mig_table_info(part->table)->name,
                                                   .done = done,
                                                   .total = job->total,
                                                   .waiting = waiting});
    }
}

int mig_pipeline_export(const struct mig_manifest *manifest, bool has_as_of, int64_t as_of_ns,
                        const char *out, const struct mig_resources *resources,
                        const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_stage_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(export_job_release) struct export_job job = {.manifest = manifest, .hooks = hooks};
    mig_cleanup(mig_stage_summary_release) struct mig_stage_summary summary = {0};
    bool found = false;
    int result;

    if (!has_as_of)
        as_of_ns = mig_time_now_ns();
    if ((result = pipeline_facts(manifest, as_of_ns, NULL, hooks, &summary.facts, err)) != MIG_OK ||
        (result = pipeline_find_finished(out, &summary.facts, hooks, &found, ret_summary, err)) !=
            MIG_OK ||
        found)
        return result;
    /* One after another unless asked for: the same rows make the same bundle. */
    if ((result = source_set_open(
             manifest, resources->source_connections > 0 ? resources->source_connections : 1,
             resources->retry_s, hooks, stop, &job.sources, err)) != MIG_OK ||
        (!has_as_of &&
         (result = pipeline_check_clock(job.sources.items[0], hooks, err)) != MIG_OK) ||
        (result = open_throttle(&job, resources->max_rate, stop, err)) != MIG_OK ||
        (result = mig_bundle_create(out, &summary.facts, &job.writer, err)) != MIG_OK)
        return result;
    pipeline_tell_removed(hooks, out, mig_bundle_removed(job.writer));
    if ((result = open_ranges(&job, resources->max_memory, err)) != MIG_OK ||
        (result = export_parts(&job, as_of_ns, &summary, err)) != MIG_OK)
        return result;
    read_ahead_close(&job.ahead);
    if ((result = mig_source_blockers(job.sources.items[0], &summary.blockers, err)) != MIG_OK ||
        (result = mig_bundle_commit(job.writer, &summary.blockers, err)) != MIG_OK)
        return result;
    *ret_summary = summary;
    summary = (struct mig_stage_summary){0};
    return MIG_OK;
}
