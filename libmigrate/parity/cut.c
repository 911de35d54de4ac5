/* Cutting what was read into jobs: a few of a part's rows, and of each node's batch what has ids as
 * far. A part or a batch goes with the last job that was cut from it. */
#include "libmigrate/parity/parity_private.h"

#include <stdlib.h>

#define JOB_ROWS 256 /* some ten milliseconds of work: nobody waits long for the last job */

/* ---- who uses what ------------------------------------------------------------------------ */

int parity_part_take(struct parity_check *check, struct mig_part **part,
                     struct parity_part **ret_part, struct mig_error *err)
{
    struct parity_part *taken = malloc(sizeof *taken);

    if (!taken)
        return mig_fail(err, MIG_E_NOMEM, "cannot hold a part: out of memory");
    check->bytes_in_hand += mig_part_bytes(*part);
    *taken = (struct parity_part){.part = mig_take(*part), .users = 1};
    *ret_part = taken;
    return MIG_OK;
}

void parity_part_leave(struct parity_check *check, struct parity_part **part)
{
    struct parity_part *p = mig_take(*part);

    if (!p || --p->users > 0)
        return;
    check->bytes_in_hand -= mig_part_bytes(p->part);
    mig_part_free(&p->part);
    free(p);
}

void parity_batch_leave(struct parity_check *check, struct parity_batch **batch)
{
    struct parity_batch *b = mig_take(*batch);

    if (!b || --b->users > 0)
        return;
    check->bytes_in_hand -= parity_batch_bytes(b);
    parity_batch_free(&b);
}

void parity_job_free(struct parity_check *check, struct parity_job **job)
{
    struct parity_job *j = mig_take(*job);

    if (!j)
        return;
    for (size_t i = 0; i < j->slice_count; i++)
        parity_batch_leave(check, &j->slices[i].batch);
    parity_part_leave(check, &j->part);
    mig_arena_release(&j->arena);
    free(j->slices);
    free(j);
}

static int new_job(size_t slices, struct parity_job **ret_job, struct mig_error *err)
{
    struct parity_job *job = calloc(1, sizeof *job);

    if (!job || !(job->slices = calloc(slices + 1, sizeof *job->slices))) {
        free(job);
        return mig_fail(err, MIG_E_NOMEM, "cannot compare rows: out of memory");
    }
    job->last_finding = &job->findings;
    job->rejected.last = &job->rejected.first;
    job->currents.last = &job->currents.first;
    *ret_job = job;
    return MIG_OK;
}

/* ---- how far a job goes ------------------------------------------------------------------- */

int64_t parity_batch_reach(const struct parity_batch *batch)
{
    if (batch->ended)
        return INT64_MAX;
    return batch->count > 0 ? batch->rows[batch->count - 1].sequence_id : INT64_MIN;
}

static int next_batch(struct parity_check *check, struct parity_node *node, struct mig_error *err)
{
    void *item = NULL;
    int result;

    parity_batch_leave(check, &node->batch);
    if ((result = parity_stream_next(&node->stream, &item, err)) != MIG_OK)
        return result;
    node->batch = item;
    check->bytes_in_hand += parity_batch_bytes(node->batch);
    return MIG_OK;
}

/* Lowers *up_to to the id up to which the batches of all nodes tell all. */
static int read_on(struct parity_check *check, int64_t *up_to, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < check->node_count && result == MIG_OK; i++) {
        struct parity_node *node = &check->nodes[i];

        if (!node->batch || (node->batch->next == node->batch->count && !node->batch->ended))
            result = next_batch(check, node, err);
        if (result == MIG_OK && parity_batch_reach(node->batch) < *up_to)
            *up_to = parity_batch_reach(node->batch);
    }
    return result;
}

static void cut_rows(struct parity_job *job, struct parity_part *part, size_t *next_row,
                     int64_t up_to)
{
    job->part = part;
    part->users++;
    job->rows = part->part->rows + *next_row;
    while (*next_row < part->part->row_count && part->part->rows[*next_row].id <= up_to) {
        job->row_count++;
        ++*next_row;
    }
}

static void cut_slice(struct parity_job *job, struct parity_batch *batch, int64_t up_to)
{
    struct parity_slice *slice = &job->slices[job->slice_count++];

    slice->batch = batch;
    batch->users++;
    slice->rows = batch->rows + batch->next;
    while (batch->next < batch->count && batch->rows[batch->next].sequence_id <= up_to) {
        slice->count++;
        batch->next++;
    }
}

int parity_cut(struct parity_check *check, const struct parity_segment *segment, enum mig_kind kind,
               struct parity_part *part, size_t *next_row, struct parity_job **ret_job,
               bool *ret_more, struct mig_error *err)
{
    const struct mig_part *rows = part->part;
    const size_t nodes = kind == MIG_KIND_COUNT ? 0 : check->node_count;
    int64_t up_to = rows->row_count - *next_row > JOB_ROWS ? rows->rows[*next_row + JOB_ROWS - 1].id
                                                           : rows->last_id;
    struct parity_job *job = NULL;
    int result = nodes > 0 ? read_on(check, &up_to, err) : MIG_OK;

    if (result != MIG_OK || (result = new_job(nodes, &job, err)) != MIG_OK)
        return result;
    job->segment = *segment;
    job->kind = kind;
    cut_rows(job, part, next_row, up_to);
    for (size_t i = 0; i < nodes; i++)
        cut_slice(job, check->nodes[i].batch, up_to);
    *ret_more = up_to < rows->last_id;
    *ret_job = job;
    return MIG_OK;
}
