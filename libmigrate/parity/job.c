/* A job: for each id the source's row is derived, every node's row is judged against it, and its
 * bytes are forgotten again. What all of them hold alike is taken apart once. */
#include "libmigrate/parity/parity_private.h"

/* ---- what is kept ------------------------------------------------------------------------- */

static int keep_subject(struct parity_job *job, struct parity_subjects *subjects,
                        const struct mig_envelope *envelope, struct mig_error *err)
{
    struct parity_subject *subject;
    void *memory;
    int result = mig_arena_alloc(&job->arena, sizeof *subject, &memory, err);

    if (result != MIG_OK)
        return result;
    subject = memory;
    *subject = (struct parity_subject){.envelope = *envelope};
    subject->envelope.client_envelope = subject->envelope.payer_envelope =
        subject->envelope.originator_envelope = (struct mig_bytes){0};
    *subjects->last = subject;
    subjects->last = &subject->next;
    return mig_arena_copy(&job->arena, envelope->topic, &subject->envelope.topic, err);
}

static bool is_current(const struct mig_envelope *envelope)
{
    return envelope->kind == MIG_KIND_KEY_PACKAGES && envelope->route == MIG_ROUTE_NODE &&
           !envelope->row->values[MIG_KP_CURRENT_SINCE_NS].is_null;
}

static int keep_finding(struct parity_job *job, struct parity_finding finding,
                        struct mig_error *err)
{
    void *memory;
    int result = mig_arena_alloc(&job->arena, sizeof finding, &memory, err);

    if (result != MIG_OK)
        return result;
    *(struct parity_finding *) memory = finding;
    *job->last_finding = memory;
    job->last_finding = &((struct parity_finding *) memory)->next;
    return MIG_OK;
}

/* ---- one id ------------------------------------------------------------------------------- */

static int derive(const struct parity_terms *terms, struct parity_job *job,
                  const struct mig_row *row, struct mig_arena *scratch,
                  struct mig_envelope *ret_envelope, struct mig_error *err)
{
    int result = mig_transform_row(terms->transform, row, scratch, ret_envelope, err);

    if (result != MIG_OK)
        return result;
    mig_tally_envelope(&job->tally, ret_envelope);
    if (!job->segment.judged)
        return MIG_OK;
    if (ret_envelope->route == MIG_ROUTE_REJECTED)
        return keep_subject(job, &job->rejected, ret_envelope, err);
    return is_current(ret_envelope) ? keep_subject(job, &job->currents, ret_envelope, err) : MIG_OK;
}

static int judge_at(const struct parity_terms *terms, struct parity_job *job, size_t node,
                    int64_t id, struct mig_arena *scratch, struct parity_pair *pair,
                    struct mig_error *err)
{
    struct parity_slice *slice = &job->slices[node];
    int result = MIG_OK;

    pair->held = parity_slice_take(slice, id);
    if (pair->held && pair->held->lacks_meta) {
        /* No row: one that belongs there is missing all the same. */
        pair->held = NULL;
        result = keep_finding(
            job, (struct parity_finding){.id = id, .node = node, .notes = &parity_meta_missing},
            err);
    }
    if (result != MIG_OK || (!pair->planned && !pair->held))
        return result;
    result = parity_judge(terms, job->kind, job->segment.judged, scratch, &job->arena, pair, err);
    if (result != MIG_OK)
        return result;
    job->signatures += pair->signatures;
    job->signatures_checked += pair->signatures_checked;
    if (pair->planned && !pair->notes) {
        slice->sums.held += pair->outcome == PARITY_HELD;
        slice->sums.expired_present += pair->outcome == PARITY_EXPIRED_PRESENT;
        return MIG_OK;
    }
    return keep_finding(job,
                        (struct parity_finding){
                            .id = id,
                            .node = node,
                            .held = pair->held,
                            .sourceless = !pair->planned,
                            .outcome = pair->outcome,
                            .notes = pair->notes,
                        },
                        err);
}

static int run_id(const struct parity_terms *terms, struct parity_job *job, int64_t id,
                  const struct mig_row *row, struct mig_arena *scratch, struct mig_error *err)
{
    struct mig_envelope envelope;
    struct parity_held twin = {0};
    int result = row ? derive(terms, job, row, scratch, &envelope, err) : MIG_OK;

    for (size_t node = 0; node < job->slice_count && result == MIG_OK; node++) {
        struct parity_pair pair = {.planned = row ? &envelope : NULL, .twin = &twin};

        result = judge_at(terms, job, node, id, scratch, &pair, err);
    }
    return result;
}

int parity_job_run(const struct parity_terms *terms, struct parity_job *job,
                   struct mig_arena *scratch, struct mig_error *err)
{
    const struct mig_row *row;
    int64_t id;
    int result = MIG_OK;

    while (result == MIG_OK && parity_job_next(job, &id, &row)) {
        result = run_id(terms, job, id, row, scratch, err);
        mig_arena_reset(scratch);
    }
    return result;
}
