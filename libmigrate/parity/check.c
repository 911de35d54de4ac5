/* The check: walks every table once, the source's rows beside each node's. Streams read ahead, jobs
 * are cut from what they give, the crew does them, and they are collected in the order of ids. */
#include "libmigrate/parity/parity_private.h"

/* So many jobs a thread may be under way or done, so that nobody waits while answers are asked for.
 */
#define JOBS_PER_THREAD 4

/* ---- jobs ----------------------------------------------------------------------------------- */

static int collect_first(struct parity_check *check, struct mig_error *err)
{
    struct parity_job *job = check->jobs;
    int result = parity_crew_await(check->crew, job, err);

    if (result == MIG_OK)
        result = parity_collect(check, job, err);
    if (result != MIG_OK)
        return result;
    check->jobs = job->next;
    if (!check->jobs)
        check->last_job = &check->jobs;
    check->job_count--;
    parity_job_free(check, &job);
    return MIG_OK;
}

static int collect_all(struct parity_check *check, struct mig_error *err)
{
    int result = MIG_OK;

    while (check->jobs && result == MIG_OK)
        result = collect_first(check, err);
    return result;
}

static int make_room(struct parity_check *check, struct mig_error *err)
{
    const size_t most = (size_t) JOBS_PER_THREAD * parity_crew_size(check->crew);
    int result = mig_stop_check(check->stop, err);

    while (check->jobs && result == MIG_OK &&
           (check->job_count >= most || check->bytes_in_hand >= check->memory.in_hand_bytes))
        result = collect_first(check, err);
    return result;
}

static int begin_job(struct parity_check *check, struct parity_job *job, struct mig_error *err)
{
    *check->last_job = job;
    check->last_job = &job->next;
    check->job_count++;
    return parity_crew_begin(check->crew, job, err);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* The nodes go on side by side, so that what one holds can be missed at another. */
static int check_part(struct parity_check *check, const struct parity_segment *segment,
                      struct parity_part *part, struct mig_error *err)
{
    const enum mig_kind kind = mig_node_kind(part->part->table);
    size_t next_row = 0;
    bool more = true;
    int result = MIG_OK;

    while (more && result == MIG_OK) {
        struct parity_job *job;

        if ((result = make_room(check, err)) == MIG_OK &&
            (result = parity_cut(check, segment, kind, part, &next_row, &job, &more, err)) ==
                MIG_OK)
            result = begin_job(check, job, err);
    }
    return result;
}

static int begin_streams(struct parity_check *check, enum mig_table table,
                         const struct parity_segment *segment, struct parity_stream *source,
                         struct mig_error *err)
{
    const enum mig_kind kind = mig_node_kind(table);
    int result =
        parity_stream_source(source, check->source, table, segment, check->memory.ahead_bytes, err);

    for (size_t i = 0; i < check->node_count && kind != MIG_KIND_COUNT && result == MIG_OK; i++)
        result = parity_stream_node(&check->nodes[i].stream, check->nodes[i].reader,
                                    mig_kind_info(kind)->stored_originator, segment,
                                    check->memory.ahead_bytes, err);
    return result;
}

static int check_parts(struct parity_check *check, const struct parity_segment *segment,
                       struct parity_stream *source, struct mig_error *err)
{
    for (;;) {
        struct mig_part *read;
        struct parity_part *part;
        void *item = NULL;
        int result = parity_stream_next(source, &item, err);

        if (result != MIG_OK || !item)
            return result;
        read = item;
        if ((result = parity_part_take(check, &read, &part, err)) != MIG_OK) {
            mig_part_free(&read);
            return result;
        }
        result = check_part(check, segment, part, err);
        parity_part_leave(check, &part);
        if (result != MIG_OK)
            return result;
    }
}

static int check_segment(struct parity_check *check, enum mig_table table,
                         const struct parity_segment *segment, struct mig_error *err)
{
    mig_cleanup(parity_stream_end) struct parity_stream source = {0};
    int result = begin_streams(check, table, segment, &source, err);

    if (result == MIG_OK)
        result = check_parts(check, segment, &source, err);
    if (result == MIG_OK)
        result = collect_all(check, err);
    for (size_t i = 0; i < check->node_count; i++) {
        parity_stream_end(&check->nodes[i].stream);
        parity_batch_leave(check, &check->nodes[i].batch);
    }
    return result;
}

static int check_table(struct parity_check *check, enum mig_table table, struct mig_error *err)
{
    const enum mig_kind kind = mig_node_kind(table);
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
        .last_job = &check.jobs,
    };
    int result;

    if ((result = parity_check_begin(&check, manifest, options, err)) != MIG_OK)
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = check_table(&check, (enum mig_table) table, err);
    if (result != MIG_OK || (result = parity_flush_newest(&check, err)) != MIG_OK ||
        (result = parity_check_places(&check, err)) != MIG_OK ||
        (result = parity_check_clocks(&check, err)) != MIG_OK)
        return result;
    parity_report_end(&check.report);
    *ret_report = check.report;
    check.report = (struct mig_parity_report){0};
    return MIG_OK;
}
