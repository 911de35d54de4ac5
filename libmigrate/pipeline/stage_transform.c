/* The second stage by itself: a bundle of rows goes in, a bundle of envelopes comes out. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>

struct transform_job {
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct pipeline_keys keys;
    struct mig_bundle_reader *reader;
    struct mig_bundle_writer *writer;
    struct mig_transform *transform;
    struct mig_budget *budget;
    unsigned threads;
    struct mig_arena *scratch; /* one a thread */
    struct mig_stage_summary summary;
};

static void transform_job_release(struct transform_job *job)
{
    mig_bundle_reader_free(&job->reader);
    mig_bundle_writer_free(&job->writer);
    mig_transform_free(&job->transform);
    mig_budget_free(&job->budget);
    for (unsigned i = 0; job->scratch && i < job->threads; i++)
        mig_arena_release(&job->scratch[i]);
    free(job->scratch);
    pipeline_keys_release(&job->keys);
    mig_stage_summary_release(&job->summary);
}

static int take_rows(void *context, void **ret_item, struct mig_error *err)
{
    struct transform_job *job = context;
    mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
    struct mig_part *part = NULL;
    int result;

    if ((result = mig_stop_check(job->stop, err)) != MIG_OK ||
        (result = parcel_reserve(job->budget, &parcel, err)) != MIG_OK ||
        (result = mig_bundle_next(job->reader, &part, NULL, err)) != MIG_OK)
        return result;
    if (part) {
        parcel_fill(parcel, part);
        *ret_item = mig_take(parcel);
    }
    return MIG_OK;
}

static int make_envelopes(void *context, unsigned worker, void *item, struct mig_error *err)
{
    struct transform_job *job = context;
    struct mig_part *part = ((struct parcel *) item)->part;
    const struct mig_tally expired = part->tally; /* an export's tally holds what it left behind */
    int result = mig_transform_part(job->transform, &job->scratch[worker], part, err);

    mig_tally_add(&part->tally, &expired);
    parcel_fill(item, part);
    return result;
}

static int give_envelopes(void *context, void **item, struct mig_error *err)
{
    struct transform_job *job = context;
    mig_cleanup(parcel_drop) struct parcel *parcel = mig_take(*item);
    const struct mig_part *part = parcel->part;
    int result = mig_bundle_add(job->writer, part, err);

    if (result != MIG_OK)
        return result;
    mig_tally_add(&job->summary.tally, &part->tally);
    job->summary.rows += part->row_count;
    job->summary.parts++;
    mig_report_progress(job->hooks,
                        &(struct mig_progress){.stage = "transform",
                                               .subject = mig_table_info(part->table)->name,
                                               .done = job->summary.rows,
                                               .waiting = ""});
    return MIG_OK;
}

static void stop_transforming(void *context)
{
    struct transform_job *job = context;

    mig_budget_cancel(job->budget);
}

static int open_workshop(struct transform_job *job, const struct mig_resources *resources,
                         struct mig_error *err)
{
    struct shares shares;

    job->threads = mig_thread_count(resources->threads);
    job->scratch = calloc(job->threads, sizeof *job->scratch);
    return job->scratch ? pipeline_open_budget(resources->max_memory, job->threads, &job->budget,
                                               &shares, err)
                        : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

/* The bundle's facts become those of the envelopes. */
static int judge_input(struct transform_job *job, const struct mig_manifest *manifest,
                       const char *in, struct mig_error *err)
{
    struct mig_bundle_facts *facts = &job->summary.facts;
    int result;

    *facts = *mig_bundle_facts(job->reader);
    if ((result = pipeline_expect_stage(facts, MIG_STAGE_ROWS, in, err)) != MIG_OK ||
        (result = pipeline_check_facts(manifest, NULL, facts, NULL, in, err)) != MIG_OK)
        return result;
    facts->stage = MIG_STAGE_ENVELOPES;
    mig_address_format(mig_signer_address(job->keys.payer), facts->payer);
    mig_address_format(mig_signer_address(job->keys.originator), facts->originator);
    return MIG_OK;
}

int mig_pipeline_transform(const struct mig_manifest *manifest, const char *in, const char *out,
                           const struct mig_resources *resources, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_stage_summary *ret_summary,
                           struct mig_error *err)
{
    static const struct mig_line line = {.take = take_rows,
                                         .work = make_envelopes,
                                         .give = give_envelopes,
                                         .discard = parcel_discard,
                                         .stop = stop_transforming};
    mig_cleanup(transform_job_release) struct transform_job job = {.hooks = hooks, .stop = stop};
    struct mig_stage_summary *summary = &job.summary;
    bool found = false;
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &job.keys.payer, &job.keys.originator,
                                       err)) != MIG_OK ||
        (result = open_workshop(&job, resources, err)) != MIG_OK ||
        (result = mig_bundle_open(in, true, &job.reader, err)) != MIG_OK ||
        (result = judge_input(&job, manifest, in, err)) != MIG_OK ||
        (result = pipeline_find_finished(out, &summary->facts, hooks, &found, ret_summary, err)) !=
            MIG_OK ||
        found ||
        (result = mig_transform_open(manifest, summary->facts.as_of_ns, job.keys.payer,
                                     job.keys.originator, &job.transform, err)) != MIG_OK ||
        (result = mig_bundle_create(out, &summary->facts, &job.writer, err)) != MIG_OK)
        return result;
    pipeline_tell_removed(hooks, out, mig_bundle_removed(job.writer));
    if ((result = mig_line_run(&line, job.threads, &job, err)) != MIG_OK ||
        (result = mig_blockers_append(&summary->blockers, mig_bundle_blockers(job.reader), err)) !=
            MIG_OK ||
        (result = mig_bundle_commit(job.writer, &summary->blockers, err)) != MIG_OK)
        return result;
    *ret_summary = *summary;
    *summary = (struct mig_stage_summary){0};
    return MIG_OK;
}
