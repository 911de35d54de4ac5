/* Reading ahead: each end is read by a thread of its own into a bounded queue, so that databases
 * and processors work at the same time. */
#include "libmigrate/parity/parity_private.h"

#include <stdlib.h>
#include <string.h>

/* Small parts and batches: what is read ahead and in hand is bounded by their bytes, and none of
 * them is worth waiting for. */
#define BATCH_ROWS 1024
#define BATCH_BYTES ((size_t) 1 << 20)
#define PART_LIMITS ((struct mig_part_limits){BATCH_ROWS, BATCH_BYTES})

/* ---- batches ------------------------------------------------------------------------------ */

void parity_batch_free(struct parity_batch **batch)
{
    struct parity_batch *b = mig_take(*batch);

    if (!b)
        return;
    mig_arena_release(&b->arena);
    free(b->rows);
    free(b);
}

static int new_batch(struct parity_batch **ret_batch, struct mig_error *err)
{
    mig_cleanup(parity_batch_free) struct parity_batch *batch = calloc(1, sizeof *batch);

    if (!batch || !(batch->rows = calloc(BATCH_ROWS, sizeof *batch->rows)))
        return mig_fail(err, MIG_E_NOMEM, "cannot hold %d rows: out of memory", BATCH_ROWS);
    batch->users = 1;
    *ret_batch = mig_take(batch);
    return MIG_OK;
}

size_t parity_batch_bytes(const struct parity_batch *batch)
{
    return sizeof *batch + batch->arena.used_bytes + BATCH_ROWS * sizeof *batch->rows;
}

static int keep_row(struct parity_batch *batch, const struct mig_node_row *row,
                    struct mig_error *err)
{
    struct mig_node_row *kept = &batch->rows[batch->count];
    int result;

    *kept = *row;
    if ((result = mig_arena_copy(&batch->arena, row->topic, &kept->topic, err)) != MIG_OK)
        return result;
    if (row->has_envelope && (result = mig_arena_copy(&batch->arena, row->originator_envelope,
                                                      &kept->originator_envelope, err)) != MIG_OK)
        return result;
    batch->count++;
    return MIG_OK;
}

static int push_batch(struct parity_stream *stream, struct parity_batch **batch,
                      struct mig_error *err)
{
    void *item = *batch;
    int result = mig_queue_push(stream->queue, &item, parity_batch_bytes(*batch), err);

    *batch = item;
    return result;
}

static int produce_batches(struct parity_stream *stream, struct mig_error *err)
{
    mig_cleanup(parity_batch_free) struct parity_batch *batch = NULL;
    struct mig_node_row row;
    bool more = true;
    int result = MIG_OK;

    while (result == MIG_OK && more) {
        if (!batch && (result = new_batch(&batch, err)) != MIG_OK)
            return result;
        if ((result = mig_node_read(stream->node, &more, &row, err)) != MIG_OK)
            return result;
        if (more && (result = keep_row(batch, &row, err)) != MIG_OK)
            return result;
        batch->ended = !more;
        if (!more || batch->count == BATCH_ROWS || batch->arena.used_bytes >= BATCH_BYTES)
            result = push_batch(stream, &batch, err);
    }
    return result;
}

static int produce_parts(struct parity_stream *stream, struct mig_error *err)
{
    int result = MIG_OK;

    while (result == MIG_OK) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        void *item;

        result = mig_source_read_part(stream->source, PART_LIMITS, &part, err);
        if (result != MIG_OK || !part)
            return result;
        item = part;
        result = mig_queue_push(stream->queue, &item, mig_part_bytes(part), err);
        part = item;
    }
    return result;
}

static void discard_batch(void *item)
{
    struct parity_batch *batch = item;

    parity_batch_free(&batch);
}

static void discard_part(void *item)
{
    struct mig_part *part = item;

    mig_part_free(&part);
}

/* ---- the thread --------------------------------------------------------------------------- */

static void *serve(void *context)
{
    struct parity_stream *stream = context;
    struct mig_error err = MIG_ERROR_INIT;

    if (stream->produce(stream, &err) == MIG_OK) {
        mig_queue_close(stream->queue);
        return NULL;
    }
    stream->failure = err;
    mig_queue_cancel(stream->queue);
    return NULL;
}

static int start(struct parity_stream *stream, size_t ahead_bytes, void (*discard)(void *item),
                 struct mig_error *err)
{
    int failure, result = mig_queue_open(ahead_bytes, discard, &stream->queue, err);

    if (result != MIG_OK)
        return result;
    failure = pthread_create(&stream->thread, NULL, serve, stream);
    if (failure != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    stream->running = true;
    return MIG_OK;
}

int parity_stream_source(struct parity_stream *stream, struct mig_source *source,
                         enum mig_table table, const struct parity_segment *segment,
                         size_t ahead_bytes, struct mig_error *err)
{
    int result = mig_source_read_begin(source, table, segment->first_id, segment->last_id,
                                       segment->settled, err);

    *stream = (struct parity_stream){.produce = produce_parts, .source = source};
    return result == MIG_OK ? start(stream, ahead_bytes, discard_part, err) : result;
}

int parity_stream_node(struct parity_stream *stream, struct mig_node *node, uint32_t originator,
                       const struct parity_segment *segment, size_t ahead_bytes,
                       struct mig_error *err)
{
    int result = mig_node_read_begin(node, originator, segment->first_id, segment->last_id, err);

    *stream = (struct parity_stream){.produce = produce_batches, .node = node};
    return result == MIG_OK ? start(stream, ahead_bytes, discard_batch, err) : result;
}

static void join(struct parity_stream *stream)
{
    if (stream->running)
        pthread_join(stream->thread, NULL);
    stream->running = false;
}

int parity_stream_next(struct parity_stream *stream, void **ret_item, struct mig_error *err)
{
    int result = mig_queue_pop(stream->queue, ret_item, err);

    /* The queue only knows that it was given up; the thread knows why. */
    if (result == MIG_E_CANCELLED) {
        join(stream);
        if (err && stream->failure.code != MIG_OK)
            *err = stream->failure;
        return stream->failure.code != MIG_OK ? (int) stream->failure.code : result;
    }
    return result;
}

void parity_stream_end(struct parity_stream *stream)
{
    if (stream->queue)
        mig_queue_cancel(stream->queue);
    join(stream);
    mig_queue_free(&stream->queue);
    *stream = (struct parity_stream){0};
}
