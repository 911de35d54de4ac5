/* Reading the source on a thread of its own, so that the next rows are there when they are wanted.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct read_ahead {
    struct mig_source *source;
    struct read_range *ranges;
    size_t count;
    struct mig_queue *queue;
    pthread_t thread;
    bool running;
    struct mig_error failure; /* the thread's; read after the queue has ended */
};

static void discard_part(void *item)
{
    struct mig_part *part = item;

    mig_part_free(&part);
}

static int read_range(struct read_ahead *reader, const struct read_range *range,
                      struct mig_error *err)
{
    int result = mig_source_read_begin(reader->source, range->table, range->first_id,
                                       range->last_id, range->settled, err);

    while (result == MIG_OK) {
        struct mig_part *part = NULL;
        void *item;

        result = mig_source_read_part(reader->source, MIG_PART_LIMITS, &part, err);
        if (result != MIG_OK || !part)
            return result;
        item = part;
        result = mig_queue_push(reader->queue, &item, mig_part_bytes(part), err);
        if (result != MIG_OK)
            mig_part_free(&part);
    }
    return result;
}

static void *read_all(void *context)
{
    struct read_ahead *reader = context;
    int result = MIG_OK;

    for (size_t i = 0; i < reader->count && result == MIG_OK; i++)
        result = read_range(reader, &reader->ranges[i], &reader->failure);
    mig_queue_close(reader->queue);
    return NULL;
}

int read_ahead_open(struct mig_source *source, const struct read_range *ranges, size_t count,
                    struct read_ahead **ret_reader, struct mig_error *err)
{
    mig_cleanup(read_ahead_close) struct read_ahead *reader = calloc(1, sizeof *reader);
    int failure, result;

    if (!reader || !(reader->ranges = calloc(count + 1, sizeof *ranges)))
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (count > 0)
        memcpy(reader->ranges, ranges, count * sizeof *ranges);
    reader->source = source;
    reader->count = count;
    if ((result = mig_queue_open(PIPELINE_QUEUE_BYTES, discard_part, &reader->queue, err)) !=
        MIG_OK)
        return result;
    failure = pthread_create(&reader->thread, NULL, read_all, reader);
    if (failure != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    reader->running = true;
    *ret_reader = mig_take(reader);
    return MIG_OK;
}

int read_ahead_next(struct read_ahead *reader, struct mig_part **ret_part, struct mig_error *err)
{
    void *item;
    int result = mig_queue_pop(reader->queue, &item, err);

    if (result != MIG_OK)
        return result;
    if (!item && reader->failure.code != MIG_OK) {
        if (err)
            *err = reader->failure;
        return reader->failure.code;
    }
    *ret_part = item;
    return MIG_OK;
}

void read_ahead_close(struct read_ahead **reader)
{
    struct read_ahead *r = mig_take(*reader);

    if (!r)
        return;
    if (r->queue)
        mig_queue_cancel(r->queue);
    if (r->running)
        pthread_join(r->thread, NULL);
    mig_queue_free(&r->queue);
    free(r->ranges);
    free(r);
}
