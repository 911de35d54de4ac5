/* Rising lists side by side, the source's and each node's: what has the same id belongs together.
 */
#include "libmigrate/parity/parity_private.h"

bool parity_job_next(struct parity_job *job, int64_t *ret_id, const struct mig_row **ret_row)
{
    const struct mig_row *row = job->next_row < job->row_count ? &job->rows[job->next_row] : NULL;
    bool any = row != NULL;
    int64_t id = row ? row->id : INT64_MAX;

    for (size_t i = 0; i < job->slice_count; i++) {
        const struct parity_slice *slice = &job->slices[i];

        if (slice->next == slice->count)
            continue;
        any = true;
        if (slice->rows[slice->next].sequence_id < id)
            id = slice->rows[slice->next].sequence_id;
    }
    if (!any)
        return false;
    *ret_id = id;
    *ret_row = row && row->id == id ? row : NULL;
    job->next_row += *ret_row != NULL;
    return true;
}

const struct mig_node_row *parity_slice_take(struct parity_slice *slice, int64_t id)
{
    if (slice->next == slice->count || slice->rows[slice->next].sequence_id != id)
        return NULL;
    return &slice->rows[slice->next++];
}
