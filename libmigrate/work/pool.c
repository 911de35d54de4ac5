/* The pool: threads that wait for a job and share out its indexes; the caller works along. */
#include "libmigrate/work/work.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct job {
    size_t count, grain;
    mig_share_fn *share;
    void *context;
};

struct mig_pool {
    pthread_mutex_t lock;
    pthread_cond_t has_job;
    pthread_cond_t job_done;
    struct job job;
    size_t next;       /* first index that nobody has taken */
    unsigned busy;     /* threads inside a share */
    unsigned long run; /* number of the job: how a thread knows a new one */
    bool ending;
    struct mig_error failure;
    unsigned threads, started;
    struct member *members;
};

struct member {
    struct mig_pool *pool;
    pthread_t thread;
    unsigned worker;
};

/* Takes shares until none is left or one has failed. Called and left with the lock held. */
static void work_on_job(struct mig_pool *pool, unsigned worker)
{
    pool->busy++;
    while (pool->next < pool->job.count && pool->failure.code == MIG_OK) {
        const struct job job = pool->job;
        const size_t first = pool->next;
        const size_t end = job.count - first > job.grain ? first + job.grain : job.count;
        struct mig_error err = MIG_ERROR_INIT;
        int result;

        pool->next = end;
        pthread_mutex_unlock(&pool->lock);
        result = job.share(job.context, worker, first, end, &err);
        pthread_mutex_lock(&pool->lock);
        if (result != MIG_OK && pool->failure.code == MIG_OK)
            pool->failure = err;
    }
    pool->busy--;
    if (pool->busy == 0)
        pthread_cond_broadcast(&pool->job_done);
}

static void *serve(void *context)
{
    struct member *member = context;
    struct mig_pool *pool = member->pool;
    unsigned long seen = 0;

    pthread_mutex_lock(&pool->lock);
    while (!pool->ending) {
        if (pool->run == seen) {
            pthread_cond_wait(&pool->has_job, &pool->lock);
            continue;
        }
        seen = pool->run;
        work_on_job(pool, member->worker);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int mig_pool_open(unsigned threads, struct mig_pool **ret_pool, struct mig_error *err)
{
    mig_cleanup(mig_pool_free) struct mig_pool *pool = calloc(1, sizeof *pool);

    if (!pool)
        return mig_fail(err, MIG_E_NOMEM, "cannot make a pool of threads: out of memory");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->has_job, NULL);
    pthread_cond_init(&pool->job_done, NULL);
    pool->threads = mig_thread_count(threads);
    pool->members = calloc(pool->threads, sizeof *pool->members);
    if (!pool->members)
        return mig_fail(err, MIG_E_NOMEM, "cannot make a pool of threads: out of memory");
    for (unsigned i = 1; i < pool->threads; i++) {
        struct member *member = &pool->members[pool->started];
        int failure;

        *member = (struct member){.pool = pool, .worker = i};
        failure = pthread_create(&member->thread, NULL, serve, member);
        if (failure != 0)
            return mig_fail(err, MIG_E_TEMPORARY, "cannot start thread %u of %u: %s", i + 1,
                            pool->threads, strerror(failure));
        pool->started++;
    }
    *ret_pool = mig_take(pool);
    return MIG_OK;
}

void mig_pool_free(struct mig_pool **pool)
{
    struct mig_pool *p = mig_take(*pool);

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->has_job);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->members[i].thread, NULL);
    pthread_cond_destroy(&p->job_done);
    pthread_cond_destroy(&p->has_job);
    pthread_mutex_destroy(&p->lock);
    free(p->members);
    free(p);
}

unsigned mig_pool_threads(const struct mig_pool *pool)
{
    return pool->threads;
}

int mig_pool_run(struct mig_pool *pool, size_t count, size_t grain, mig_share_fn *share,
                 void *context, struct mig_error *err)
{
    struct mig_error failure;

    pthread_mutex_lock(&pool->lock);
    pool->job = (struct job){count, grain ? grain : 1, share, context};
    pool->next = 0;
    pool->failure = MIG_ERROR_INIT;
    pool->run++;
    pthread_cond_broadcast(&pool->has_job);
    work_on_job(pool, 0);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->job_done, &pool->lock);
    failure = pool->failure;
    pthread_mutex_unlock(&pool->lock);
    if (failure.code != MIG_OK && err)
        *err = failure;
    return failure.code;
}
