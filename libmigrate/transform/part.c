/* Whole parts: batch by batch, keeping of each envelope only what goes on from here. */
#include "libmigrate/transform/transform_private.h"

#include <stdlib.h>

static int make_envelopes(struct mig_part *part, struct mig_error *err)
{
    free(part->envelopes);
    part->envelopes = calloc(part->row_count ? part->row_count : 1, sizeof *part->envelopes);
    return part->envelopes ? MIG_OK
                           : mig_fail(err, MIG_E_NOMEM, "cannot transform %zu rows: out of memory",
                                      part->row_count);
}

static void count_envelopes(struct mig_part *part)
{
    part->tally = (struct mig_tally){0};
    for (size_t i = 0; i < part->row_count; i++)
        mig_tally_envelope(&part->tally, &part->envelopes[i]);
}

int mig_transform_part(const struct mig_transform *transform, struct mig_arena *scratch,
                       struct mig_part *part, struct mig_error *err)
{
    int result = make_envelopes(part, err);
    size_t taken = 0;

    for (size_t done = 0; done < part->row_count && result == MIG_OK; done += taken) {
        mig_arena_reset(scratch);
        result = transform_batch(transform, part->rows + done, part->row_count - done, NULL,
                                 scratch, part->envelopes + done, &taken, err);
        for (size_t i = done; result == MIG_OK && i < done + taken; i++)
            result = mig_envelope_keep(&part->envelopes[i], &part->arena, err);
    }
    mig_arena_reset(scratch); /* a large row's layers wait for nobody */
    if (result == MIG_OK)
        count_envelopes(part);
    return result;
}
