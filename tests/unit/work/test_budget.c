/* The budget of bytes: its bound, what passes it, what wakes who waits. */
#include "libmigrate/work/work.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct taker {
    struct mig_budget *budget;
    size_t bytes;
    _Atomic bool done;
    int result;
};

static void *take(void *context)
{
    struct taker *taker = context;

    taker->result = mig_budget_take(taker->budget, taker->bytes, NULL);
    taker->done = true;
    return NULL;
}

static void expect_waiting(struct taker *taker)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    cr_assert(!taker->done);
}

Test(budget, lets_in_what_fits_and_lets_the_rest_wait)
{
    mig_cleanup(mig_budget_free) struct mig_budget *budget = NULL;
    struct taker taker = {.bytes = 41};
    pthread_t thread;

    cr_assert_eq(mig_budget_open(100, &budget, NULL), MIG_OK);
    cr_assert_eq(mig_budget_take(budget, 60, NULL), MIG_OK);
    taker.budget = budget;
    pthread_create(&thread, NULL, take, &taker);
    expect_waiting(&taker);
    mig_budget_correct(budget, 60, 59);
    pthread_join(thread, NULL);
    cr_assert_eq(taker.result, MIG_OK);
}

Test(budget, lets_anything_in_when_nothing_is_taken)
{
    mig_cleanup(mig_budget_free) struct mig_budget *budget = NULL;
    struct taker taker = {.bytes = 1};
    pthread_t thread;

    cr_assert_eq(mig_budget_open(100, &budget, NULL), MIG_OK);
    cr_assert_eq(mig_budget_take(budget, 1000, NULL), MIG_OK);
    taker.budget = budget;
    pthread_create(&thread, NULL, take, &taker);
    expect_waiting(&taker);
    mig_budget_correct(budget, 1000, 0);
    pthread_join(thread, NULL);
    cr_assert_eq(taker.result, MIG_OK);
}

Test(budget, cancelling_wakes_who_waits)
{
    mig_cleanup(mig_budget_free) struct mig_budget *budget = NULL;
    struct taker taker = {.bytes = 1};
    pthread_t thread;

    cr_assert_eq(mig_budget_open(100, &budget, NULL), MIG_OK);
    cr_assert_eq(mig_budget_take(budget, 100, NULL), MIG_OK);
    taker.budget = budget;
    pthread_create(&thread, NULL, take, &taker);
    expect_waiting(&taker);
    mig_budget_cancel(budget);
    pthread_join(thread, NULL);
    cr_assert_eq(taker.result, MIG_E_CANCELLED);
    cr_assert_eq(mig_budget_take(budget, 1, NULL), MIG_E_CANCELLED);
}
