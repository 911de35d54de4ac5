/* Reading the source on threads of their own, so that the next rows are there when they are wanted.
 * Each connection has a table at a time: the parts of one table come in order, those of several
 * mixed. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct read_ahead *ahead;
    struct mig_source *source;
    pthread_t thread;
    bool running;
};

struct read_ahead {
    struct mig_budget *budget;
    struct read_range *ranges;
    size_t count;
    struct mig_queue *queue;
    struct reader *readers;
    size_t reader_count;
    pthread_mutex_t lock; /* over what follows */
    size_t next;          /* first range that nobody has taken */
    size_t at_work;
    struct mig_error failure; /* the first; read after the queue has ended */
};

static int read_parcel(struct reader *reader, bool *ret_more, struct mig_error *err)
{
    mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
    struct mig_part *part = NULL;
    void *item;
    int result;

    if ((result = parcel_reserve(reader->ahead->budget, &parcel, err)) != MIG_OK ||
        (result = mig_source_read_part(reader->source, MIG_PART_LIMITS, &part, err)) != MIG_OK)
        return result;
    *ret_more = part != NULL;
    if (!part)
        return MIG_OK;
    parcel_fill(parcel, part);
    item = parcel;
    result = mig_queue_push(reader->ahead->queue, &item, parcel->charged, err);
    parcel = item;
    return result;
}

static int read_range(struct reader *reader, const struct read_range *range, struct mig_error *err)
{
    bool more = true;
    int result = mig_source_read_begin(reader->source, range->table, range->first_id,
                                       range->last_id, range->settled, err);

    while (result == MIG_OK && more)
        result = read_parcel(reader, &more, err);
    return result;
}

/* All ranges of the next table. */
static size_t take_table(struct read_ahead *ahead, const struct read_range **ret_ranges)
{
    size_t count = 0;

    pthread_mutex_lock(&ahead->lock);
    *ret_ranges = &ahead->ranges[ahead->next];
    while (ahead->failure.code == MIG_OK && ahead->next < ahead->count &&
           ahead->ranges[ahead->next].table == (*ret_ranges)->table) {
        ahead->next++;
        count++;
    }
    pthread_mutex_unlock(&ahead->lock);
    return count;
}

static void leave(struct read_ahead *ahead, const struct mig_error *err)
{
    bool last;

    pthread_mutex_lock(&ahead->lock);
    if (err->code != MIG_OK && ahead->failure.code == MIG_OK)
        ahead->failure = *err;
    last = --ahead->at_work == 0;
    pthread_mutex_unlock(&ahead->lock);
    if (last)
        mig_queue_close(ahead->queue);
}

static void *read_tables(void *context)
{
    struct reader *reader = context;
    const struct read_range *ranges;
    struct mig_error err = MIG_ERROR_INIT;
    size_t count;

    while (err.code == MIG_OK && (count = take_table(reader->ahead, &ranges)) > 0)
        for (size_t i = 0; i < count && err.code == MIG_OK; i++)
            (void) !read_range(reader, &ranges[i], &err);
    leave(reader->ahead, &err);
    return NULL;
}

static int start_readers(struct read_ahead *ahead, const struct source_set *sources,
                         struct mig_error *err)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct reader *reader = &ahead->readers[ahead->reader_count];
        int failure;

        *reader = (struct reader){.ahead = ahead, .source = sources->items[i]};
        pthread_mutex_lock(&ahead->lock);
        ahead->at_work++;
        pthread_mutex_unlock(&ahead->lock);
        failure = pthread_create(&reader->thread, NULL, read_tables, reader);
        if (failure != 0) {
            leave(ahead, &MIG_ERROR_INIT);
            return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
        }
        ahead->reader_count++;
    }
    return MIG_OK;
}

int read_ahead_open(const struct source_set *sources, const struct read_range *ranges, size_t count,
                    struct mig_budget *budget, size_t queue_bytes, struct read_ahead **ret_ahead,
                    struct mig_error *err)
{
    mig_cleanup(read_ahead_close) struct read_ahead *ahead = calloc(1, sizeof *ahead);
    int result;

    if (!ahead)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    pthread_mutex_init(&ahead->lock, NULL);
    ahead->ranges = calloc(count + 1, sizeof *ranges);
    ahead->readers = calloc(sources->count, sizeof *ahead->readers);
    if (!ahead->ranges || !ahead->readers)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (count > 0)
        memcpy(ahead->ranges, ranges, count * sizeof *ranges);
    ahead->count = count;
    ahead->budget = budget;
    if ((result = mig_queue_open(queue_bytes, parcel_discard, &ahead->queue, err)) != MIG_OK ||
        (result = start_readers(ahead, sources, err)) != MIG_OK)
        return result;
    *ret_ahead = mig_take(ahead);
    return MIG_OK;
}

int read_ahead_next(struct read_ahead *ahead, struct parcel **ret_parcel, struct mig_error *err)
{
    void *item;
    int result = mig_queue_pop(ahead->queue, &item, err);

    if (result != MIG_OK)
        return result;
    if (!item && ahead->failure.code != MIG_OK) {
        if (err)
            *err = ahead->failure;
        return ahead->failure.code;
    }
    *ret_parcel = item;
    return MIG_OK;
}

void read_ahead_stop(struct read_ahead *ahead)
{
    for (size_t i = 0; i < ahead->reader_count; i++)
        mig_source_leave(ahead->readers[i].source, true);
    mig_queue_cancel(ahead->queue);
    mig_budget_cancel(ahead->budget);
}

void read_ahead_close(struct read_ahead **ahead)
{
    struct read_ahead *a = mig_take(*ahead);

    if (!a)
        return;
    if (a->reader_count > 0)
        read_ahead_stop(a);
    for (size_t i = 0; i < a->reader_count; i++)
        pthread_join(a->readers[i].thread, NULL);
    for (size_t i = 0; i < a->reader_count; i++)
        mig_source_leave(a->readers[i].source, false);
    mig_queue_free(&a->queue);
    pthread_mutex_destroy(&a->lock);
    free(a->readers);
    free(a->ranges);
    free(a);
}
