/* The budget of bytes that is shared by all stages between reading and loading. */
#include "libmigrate/work/work.h"

#include <pthread.h>
#include <stdlib.h>

struct mig_budget {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    size_t limit_bytes, taken_bytes;
    bool cancelled;
};

int mig_budget_open(size_t limit_bytes, struct mig_budget **ret_budget, struct mig_error *err)
{
    struct mig_budget *budget = calloc(1, sizeof *budget);

    if (!budget)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    pthread_mutex_init(&budget->lock, NULL);
    pthread_cond_init(&budget->given_back, NULL);
    budget->limit_bytes = limit_bytes;
    *ret_budget = budget;
    return MIG_OK;
}

void mig_budget_free(struct mig_budget **budget)
{
    struct mig_budget *b = mig_take(*budget);

    if (!b)
        return;
    pthread_cond_destroy(&b->given_back);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static bool has(const struct mig_budget *budget, size_t bytes)
{
    return budget->taken_bytes == 0 ||
           (bytes <= budget->limit_bytes && budget->taken_bytes <= budget->limit_bytes - bytes);
}

int mig_budget_take(struct mig_budget *budget, size_t bytes, struct mig_error *err)
{
    int result = MIG_OK;

    pthread_mutex_lock(&budget->lock);
    while (!budget->cancelled && !has(budget, bytes))
        pthread_cond_wait(&budget->given_back, &budget->lock);
    if (budget->cancelled)
        result = mig_fail(err, MIG_E_CANCELLED, "stopped on request");
    else
        budget->taken_bytes += bytes;
    pthread_mutex_unlock(&budget->lock);
    return result;
}

void mig_budget_correct(struct mig_budget *budget, size_t from, size_t to)
{
    pthread_mutex_lock(&budget->lock);
    budget->taken_bytes = budget->taken_bytes - from + to;
    if (to < from)
        pthread_cond_broadcast(&budget->given_back);
    pthread_mutex_unlock(&budget->lock);
}

void mig_budget_cancel(struct mig_budget *budget)
{
    pthread_mutex_lock(&budget->lock);
    budget->cancelled = true;
    pthread_cond_broadcast(&budget->given_back);
    pthread_mutex_unlock(&budget->lock);
}
