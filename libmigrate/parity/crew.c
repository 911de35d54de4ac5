/* The crew: threads that take whole jobs from a queue, so that none waits for another's share. The
 * one who began the jobs awaits them in their order. */
#include "libmigrate/parity/parity_private.h"

#include <stdlib.h>
#include <string.h>

struct parity_crew {
    struct mig_queue *queue;
    pthread_mutex_t lock; /* of the jobs' done */
    pthread_cond_t one_done;
    parity_work_fn *work;
    const void *context;
    pthread_t *threads;
    unsigned count, started;
};

static void *serve(void *context)
{
    struct parity_crew *crew = context;
    mig_cleanup(mig_arena_release) struct mig_arena scratch = MIG_ARENA_INIT;
    void *item = NULL;

    while (mig_queue_pop(crew->queue, &item, NULL) == MIG_OK && item) {
        struct parity_job *job = item;
        struct mig_error err = MIG_ERROR_INIT;

        if (crew->work(crew->context, job, &scratch, &err) != MIG_OK)
            job->failure = err;
        pthread_mutex_lock(&crew->lock);
        job->done = true;
        pthread_cond_signal(&crew->one_done);
        pthread_mutex_unlock(&crew->lock);
    }
    return NULL;
}

int parity_crew_open(unsigned threads, parity_work_fn *work, const void *context,
                     struct parity_crew **ret_crew, struct mig_error *err)
{
    mig_cleanup(parity_crew_close) struct parity_crew *crew = calloc(1, sizeof *crew);
    int result;

    if (!crew)
        return mig_fail(err, MIG_E_NOMEM, "cannot start threads: out of memory");
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->one_done, NULL);
    crew->work = work;
    crew->context = context;
    crew->count = mig_thread_count(threads);
    crew->threads = calloc(crew->count, sizeof *crew->threads);
    if (!crew->threads)
        return mig_fail(err, MIG_E_NOMEM, "cannot start threads: out of memory");
    /* Whoever begins jobs bounds their bytes: here each counts as one. */
    if ((result = mig_queue_open(SIZE_MAX, NULL, &crew->queue, err)) != MIG_OK)
        return result;
    for (; crew->started < crew->count; crew->started++) {
        const int failure = pthread_create(&crew->threads[crew->started], NULL, serve, crew);

        if (failure != 0)
            return mig_fail(err, MIG_E_TEMPORARY, "cannot start thread %u of %u: %s",
                            crew->started + 1, crew->count, strerror(failure));
    }
    *ret_crew = mig_take(crew);
    return MIG_OK;
}

void parity_crew_close(struct parity_crew **crew)
{
    struct parity_crew *c = mig_take(*crew);

    if (!c)
        return;
    if (c->queue)
        mig_queue_cancel(c->queue);
    for (unsigned i = 0; i < c->started; i++)
        pthread_join(c->threads[i], NULL);
    mig_queue_free(&c->queue);
    pthread_cond_destroy(&c->one_done);
    pthread_mutex_destroy(&c->lock);
    free(c->threads);
    free(c);
}

unsigned parity_crew_size(const struct parity_crew *crew)
{
    return crew->count;
}

int parity_crew_begin(struct parity_crew *crew, struct parity_job *job, struct mig_error *err)
{
    void *item = job;

    return mig_queue_push(crew->queue, &item, 1, err);
}

int parity_crew_await(struct parity_crew *crew, struct parity_job *job, struct mig_error *err)
{
    pthread_mutex_lock(&crew->lock);
    while (!job->done)
        pthread_cond_wait(&crew->one_done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
    if (job->failure.code != MIG_OK && err)
        *err = job->failure;
    return job->failure.code;
}
