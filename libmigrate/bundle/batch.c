/* Parts decoded side by side while a bundle is verified: nobody is to see them, so that they need
 * not come in their order. What is found out about each waits to be judged in order. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/work/work.h"

#include <stdlib.h>
#include <string.h>

/* Files that wait to be decoded: few parts, but of large ones one alone. */
#define BATCH_BYTES ((size_t) 16 << 20)

struct bundle_batch {
    const struct mig_bundle_facts *facts;
    mig_bundle_judge_fn *judge;
    struct mig_pool *pool;
    struct bundle_lane lanes[BUNDLE_LANES_MAX];
    size_t lane_count, count, bytes;
};

int bundle_batch_open(bool side_by_side, const struct mig_bundle_facts *facts,
                      mig_bundle_judge_fn *judge, struct bundle_batch **ret_batch,
                      struct mig_error *err)
{
    mig_cleanup(bundle_batch_free) struct bundle_batch *batch = calloc(1, sizeof *batch);
    int result;

    if (!batch)
        return mig_fail(err, MIG_E_NOMEM, "cannot verify it: out of memory");
    batch->facts = facts;
    batch->judge = judge;
    for (size_t i = 0; i < BUNDLE_LANES_MAX; i++)
        batch->lanes[i].codec = BUNDLE_CODEC_INIT;
    result = mig_pool_open(side_by_side ? 0 : 1, &batch->pool, err);
    if (result != MIG_OK)
        return result;
    batch->lane_count = mig_pool_threads(batch->pool);
    if (batch->lane_count > BUNDLE_LANES_MAX)
        batch->lane_count = BUNDLE_LANES_MAX;
    *ret_batch = mig_take(batch);
    return MIG_OK;
}

void bundle_batch_free(struct bundle_batch **batch)
{
    struct bundle_batch *b = mig_take(*batch);

    if (!b)
        return;
    mig_pool_free(&b->pool);
    for (size_t i = 0; i < BUNDLE_LANES_MAX; i++)
        bundle_codec_release(&b->lanes[i].codec);
    free(b);
}

bool bundle_batch_is_full(const struct bundle_batch *batch)
{
    return batch->count == batch->lane_count || batch->bytes >= BATCH_BYTES;
}

void bundle_batch_take(struct bundle_batch *batch, const char *name, struct mig_buffer *file)
{
    struct bundle_lane *lane = &batch->lanes[batch->count++];
    const struct mig_buffer filled = *file;

    *file = lane->codec.file;
    lane->codec.file = filled;
    memcpy(lane->name, name, sizeof lane->name);
    batch->bytes += filled.size;
}

static int decode(const struct bundle_batch *batch, struct bundle_lane *lane, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = bundle_decode_part(&lane->codec, mig_buffer_bytes(&lane->codec.file),
                                    batch->facts->stage, &part, &lane->entry, err);

    if (result != MIG_OK)
        return mig_error_within(err, "'%s'", lane->name);
    memcpy(lane->entry.name, lane->name, sizeof lane->name);
    return batch->judge ? batch->judge(batch->facts, part, err) : MIG_OK;
}

/* A failure is the lane's own: the first in the bundle's order is told, not the first in time. */
static int decode_share(void *context, unsigned worker, size_t first, size_t end,
                        struct mig_error *err)
{
    struct bundle_batch *batch = context;

    (void) worker;
    (void) err;
    for (size_t i = first; i < end; i++) {
        batch->lanes[i].failure = MIG_ERROR_INIT;
        (void) decode(batch, &batch->lanes[i], &batch->lanes[i].failure);
    }
    return MIG_OK;
}

int bundle_batch_decode(struct bundle_batch *batch, const struct bundle_lane **ret_lanes,
                        size_t *ret_count, struct mig_error *err)
{
    int result = mig_pool_run(batch->pool, batch->count, 1, decode_share, batch, err);

    if (result != MIG_OK)
        return result;
    *ret_lanes = batch->lanes;
    *ret_count = batch->count;
    batch->count = batch->bytes = 0;
    return MIG_OK;
}
