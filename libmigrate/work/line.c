/*
 * The line: every thread takes an item, works on it alone and goes on with the next. What is done
 * out of turn waits in a ring; the thread that finds the next in turn there gives it on.
 */
#include "libmigrate/base/fault.h"
#include "libmigrate/work/work.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ITEMS_PER_THREAD 4 /* under way at most: the bound on who runs ahead of a slow one */

struct slot {
    void *item;
    bool ready;
};

struct hall {
    const struct mig_line *line;
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot *ring;
    size_t ring_size;
    size_t taken, given; /* counts of items; their order is their number */
    bool taking, giving, ended;
    struct mig_error failure;
};

struct worker {
    struct hall *hall;
    pthread_t thread;
    unsigned number;
};

unsigned mig_thread_count(unsigned threads)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (threads > 0)
        return threads;
    return cores > 0 ? (unsigned) cores : 1;
}

static bool is_over(const struct hall *hall)
{
    return hall->ended || hall->failure.code != MIG_OK;
}

/* Called with the lock held, as all below. */
static void fail_line(struct hall *hall, const struct mig_error *err)
{
    const bool first = hall->failure.code == MIG_OK;

    if (first)
        hall->failure = *err;
    pthread_cond_broadcast(&hall->changed);
    if (first && hall->line->stop)
        hall->line->stop(hall->context);
}

static bool take_next(struct hall *hall, struct slot **ret_slot)
{
    struct mig_error err = MIG_ERROR_INIT;
    void *item = NULL;
    int result;

    while (!is_over(hall) && (hall->taking || hall->taken - hall->given >= hall->ring_size))
        pthread_cond_wait(&hall->changed, &hall->lock);
    if (is_over(hall))
        return false;
    hall->taking = true;
    pthread_mutex_unlock(&hall->lock);
    result = hall->line->take(hall->context, &item, &err);
    pthread_mutex_lock(&hall->lock);
    hall->taking = false;
    if (result != MIG_OK)
        fail_line(hall, &err);
    else if (!item)
        hall->ended = true;
    pthread_cond_broadcast(&hall->changed);
    if (result != MIG_OK || !item)
        return false;
    *ret_slot = &hall->ring[hall->taken++ % hall->ring_size];
    (*ret_slot)->item = item;
    return true;
}

static void give_what_is_ready(struct hall *hall)
{
    struct slot *slot = &hall->ring[hall->given % hall->ring_size];

    if (hall->giving)
        return;
    hall->giving = true;
    while (slot->ready && hall->failure.code == MIG_OK) {
        struct mig_error err = MIG_ERROR_INIT;
        int result;

        pthread_mutex_unlock(&hall->lock);
        (void) MIG_FAULT(HANDOVER);
        result = hall->line->give(hall->context, &slot->item, &err);
        pthread_mutex_lock(&hall->lock);
        if (result != MIG_OK) {
            fail_line(hall, &err);
            break;
        }
        slot->ready = false;
        slot = &hall->ring[++hall->given % hall->ring_size];
        pthread_cond_broadcast(&hall->changed);
    }
    hall->giving = false;
}

static void *serve(void *context)
{
    const struct worker *worker = context;
    struct hall *hall = worker->hall;
    struct slot *slot = NULL;

    pthread_mutex_lock(&hall->lock);
    while (take_next(hall, &slot)) {
        struct mig_error err = MIG_ERROR_INIT;
        int result;

        pthread_mutex_unlock(&hall->lock);
        result = hall->line->work(hall->context, worker->number, slot->item, &err);
        pthread_mutex_lock(&hall->lock);
        if (result != MIG_OK) {
            fail_line(hall, &err);
            break;
        }
        slot->ready = true;
        give_what_is_ready(hall);
    }
    pthread_mutex_unlock(&hall->lock);
    return NULL;
}

static void run_workers(struct hall *hall, struct worker *workers, unsigned threads)
{
    unsigned started = 1;

    for (; started < threads; started++) {
        struct worker *worker = &workers[started];
        int failure;

        *worker = (struct worker){.hall = hall, .number = started};
        failure = pthread_create(&worker->thread, NULL, serve, worker);
        if (failure != 0) {
            struct mig_error err = MIG_ERROR_INIT;

            mig_fail(&err, MIG_E_TEMPORARY, "cannot start thread %u of %u: %s", started + 1,
                     threads, strerror(failure));
            pthread_mutex_lock(&hall->lock);
            fail_line(hall, &err);
            pthread_mutex_unlock(&hall->lock);
            break;
        }
    }
    workers[0] = (struct worker){.hall = hall};
    serve(&workers[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
}

int mig_line_run(const struct mig_line *line, unsigned threads, void *context,
                 struct mig_error *err)
{
    const unsigned count = mig_thread_count(threads);
    struct hall hall = {.line = line,
                        .context = context,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .ring_size = (size_t) count * ITEMS_PER_THREAD};
    struct worker *workers = calloc(count, sizeof *workers);

    hall.ring = calloc(hall.ring_size, sizeof *hall.ring);
    if (workers && hall.ring)
        run_workers(&hall, workers, count);
    else
        mig_fail(&hall.failure, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; hall.ring && i < hall.ring_size; i++)
        if (hall.ring[i].item)
            line->discard(hall.ring[i].item);
    free(hall.ring);
    free(workers);
    pthread_cond_destroy(&hall.changed);
    pthread_mutex_destroy(&hall.lock);
    if (hall.failure.code != MIG_OK && err)
        *err = hall.failure;
    return hall.failure.code;
}
