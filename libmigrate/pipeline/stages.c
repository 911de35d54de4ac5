/* The stages one by one: a bundle goes in, a bundle comes out. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <string.h>

void mig_stage_summary_release(struct mig_stage_summary *summary)
{
    mig_blockers_release(&summary->blockers);
    *summary = (struct mig_stage_summary){0};
}

/* ---- export ------------------------------------------------------------------------------- */

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
    struct mig_source *source;
    struct read_ahead *reader;
    struct mig_bundle_writer *writer;
    uint64_t total;
};

static void export_job_release(struct export_job *job)
{
    read_ahead_close(&job->reader);
    mig_source_close(&job->source);
    mig_bundle_writer_free(&job->writer);
}

static int open_ranges(struct export_job *job, struct mig_error *err)
{
    struct read_range ranges[2 * MIG_TABLE_COUNT];
    size_t count = 0;

    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        struct mig_settled settled;
        uint64_t rows;
        int result;

        if ((result = mig_source_settle(job->source, (enum mig_table) table, &settled, err)) !=
                MIG_OK ||
            (result = mig_source_estimate(job->source, (enum mig_table) table, &rows, err)) !=
                MIG_OK)
            return result;
        job->total += rows;
        ranges[count++] =
            (struct read_range){(enum mig_table) table, INT64_MIN, settled.bound, true};
        if (settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    return read_ahead_open(job->source, ranges, count, &job->reader, err);
}

static int export_parts(struct export_job *job, int64_t as_of_ns, struct mig_stage_summary *summary,
                        struct mig_error *err)
{
    uint64_t done = 0;

    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        int result = read_ahead_next(job->reader, &part, err);

        if (result != MIG_OK || !part)
            return result;
        done += part->row_count;
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
                                                   .waiting = ""});
    }
}

int mig_pipeline_export(const struct mig_manifest *manifest, bool has_as_of, int64_t as_of_ns,
                        const char *out, const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_stage_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(export_job_release) struct export_job job = {.manifest = manifest, .hooks = hooks};
    mig_cleanup(mig_stage_summary_release) struct mig_stage_summary summary = {0};
    int result;

    if (!has_as_of)
        as_of_ns = mig_time_now_ns();
    if ((result = mig_source_open(manifest, hooks, stop, &job.source, err)) != MIG_OK ||
        (result = pipeline_facts(manifest, as_of_ns, NULL, hooks, &summary.facts, err)) != MIG_OK ||
        (result = mig_bundle_create(out, &summary.facts, &job.writer, err)) != MIG_OK ||
        (result = open_ranges(&job, err)) != MIG_OK ||
        (result = export_parts(&job, as_of_ns, &summary, err)) != MIG_OK)
        return result;
    read_ahead_close(&job.reader);
    if ((result = mig_source_blockers(job.source, &summary.blockers, err)) != MIG_OK ||
        (result = mig_bundle_commit(job.writer, &summary.blockers, err)) != MIG_OK)
        return result;
    *ret_summary = summary;
    summary = (struct mig_stage_summary){0};
    return MIG_OK;
}

/* ---- transform ----------------------------------------------------------------------------- */

struct transform_job {
    struct pipeline_keys keys;
    struct mig_bundle_reader *reader;
    struct mig_bundle_writer *writer;
    struct mig_transform *transform;
    struct mig_pool *pool;
};

static void transform_job_release(struct transform_job *job)
{
    mig_bundle_reader_free(&job->reader);
    mig_bundle_writer_free(&job->writer);
    mig_transform_free(&job->transform);
    mig_pool_free(&job->pool);
    pipeline_keys_release(&job->keys);
}

static int transform_parts(struct transform_job *job, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_stage_summary *summary,
                           struct mig_error *err)
{
    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        struct mig_tally expired;
        int result;

        if ((result = mig_stop_check(stop, err)) != MIG_OK ||
            (result = mig_bundle_next(job->reader, &part, NULL, err)) != MIG_OK || !part)
            return result;
        expired = part->tally; /* an export's tally holds what it left behind */
        if ((result = mig_transform_part(job->transform, job->pool, part, err)) != MIG_OK)
            return result;
        mig_tally_add(&part->tally, &expired);
        if ((result = mig_bundle_add(job->writer, part, err)) != MIG_OK)
            return result;
        mig_tally_add(&summary->tally, &part->tally);
        summary->rows += part->row_count;
        summary->parts++;
        mig_report_progress(hooks,
                            &(struct mig_progress){.stage = "transform",
                                                   .subject = mig_table_info(part->table)->name,
                                                   .done = summary->rows,
                                                   .waiting = ""});
    }
}

static int expect_stage(const struct mig_bundle_facts *facts, enum mig_stage stage,
                        const char *path, struct mig_error *err)
{
    if (facts->stage == stage)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "'%s' is a bundle of %s, not of %s", path,
             stage == MIG_STAGE_ROWS ? "envelopes" : "rows",
             stage == MIG_STAGE_ROWS ? "rows" : "envelopes");
    return mig_hint(err, "xmtp-export writes rows, xmtp-transform makes envelopes of them, "
                         "xmtp-load loads those");
}

int mig_pipeline_transform(const struct mig_manifest *manifest, const char *in, const char *out,
                           unsigned threads, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_stage_summary *ret_summary,
                           struct mig_error *err)
{
    mig_cleanup(transform_job_release) struct transform_job job = {0};
    mig_cleanup(mig_stage_summary_release) struct mig_stage_summary summary = {0};
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &job.keys.payer, &job.keys.originator,
                                       err)) != MIG_OK ||
        (result = mig_pool_open(threads, &job.pool, err)) != MIG_OK ||
        (result = mig_bundle_open(in, true, &job.reader, err)) != MIG_OK)
        return result;
    summary.facts = *mig_bundle_facts(job.reader);
    if ((result = expect_stage(&summary.facts, MIG_STAGE_ROWS, in, err)) != MIG_OK ||
        (result = pipeline_check_facts(manifest, NULL, &summary.facts, in, err)) != MIG_OK)
        return result;
    summary.facts.stage = MIG_STAGE_ENVELOPES;
    mig_address_format(mig_signer_address(job.keys.payer), summary.facts.payer);
    mig_address_format(mig_signer_address(job.keys.originator), summary.facts.originator);
    if ((result = mig_transform_open(manifest, summary.facts.as_of_ns, job.keys.payer,
                                     job.keys.originator, &job.transform, err)) != MIG_OK ||
        (result = mig_bundle_create(out, &summary.facts, &job.writer, err)) != MIG_OK ||
        (result = transform_parts(&job, hooks, stop, &summary, err)) != MIG_OK ||
        (result = mig_blockers_append(&summary.blockers, mig_bundle_blockers(job.reader), err)) !=
            MIG_OK ||
        (result = mig_bundle_commit(job.writer, &summary.blockers, err)) != MIG_OK)
        return result;
    *ret_summary = summary;
    summary = (struct mig_stage_summary){0};
    return MIG_OK;
}

/* ---- load ---------------------------------------------------------------------------------- */

/* What the bundle says of the whole: each table's settled range, and how many rows there are. */
static void survey(const struct mig_bundle_reader *reader, struct mig_run *run, uint64_t *ret_total)
{
    size_t count;
    const struct mig_bundle_entry *entries = mig_bundle_entries(reader, &count);

    *ret_total = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].settled && entries[i].last_id > run->bounds[entries[i].table])
            run->bounds[entries[i].table] = entries[i].last_id;
        for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
            *ret_total += entries[i].tally.kinds[kind].counted;
    }
}

int mig_pipeline_load(const struct mig_manifest *manifest, const char *in, const char *node_name,
                      const struct mig_hooks *hooks, const struct mig_stop *stop,
                      struct mig_account **ret_account, struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    mig_cleanup(pipeline_keys_release) struct pipeline_keys keys = {0};
    struct mig_run run = {0};
    struct flow_options options = {.run = &run, .hooks = hooks, .stage = "load"};
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &keys.payer, &keys.originator, err)) !=
            MIG_OK ||
        (result = mig_bundle_open_judged(in, bundle_parts_judge, &reader, err)) != MIG_OK)
        return result;
    run.facts = *mig_bundle_facts(reader);
    survey(reader, &run, &options.total_rows);
    if ((result = expect_stage(&run.facts, MIG_STAGE_ENVELOPES, in, err)) != MIG_OK ||
        (result = pipeline_check_facts(manifest, &keys, &run.facts, in, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, node_name, MIG_NODE_WRITE, hooks, stop, &nodes, err)) !=
            MIG_OK)
        return result;
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++)
        result = mig_node_run_begin(nodes.items[i], &run, err);
    if (result == MIG_OK)
        result = flow_to_nodes(&nodes, &options, bundle_parts_next, reader, err);
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++)
        result =
            mig_node_run_finish(nodes.items[i], &run, mig_bundle_blockers(reader), NULL, 0, err);
    return result == MIG_OK
               ? mig_account_read(nodes.items, nodes.count, run.facts.run, ret_account, err)
               : result;
}
