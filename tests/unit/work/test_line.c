/* The line: order, bounds, the first failure, what happens to items that were never given on. */
#include "libmigrate/work/work.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define ITEMS 400

struct trial {
    int taken, given; /* counts */
    int fail_take_at, fail_work_at, fail_give_at;
    _Atomic int at_work, most_at_work, stopped;
    bool in_order;
};

static _Atomic int discarded;

static void count_discard(void *item)
{
    atomic_fetch_add(&discarded, 1);
    free(item);
}

static int take(void *context, void **ret_item, struct mig_error *err)
{
    struct trial *trial = context;
    int *number;

    if (trial->taken == trial->fail_take_at)
        return mig_fail(err, MIG_E_IO, "take %d", trial->taken);
    if (trial->taken == ITEMS)
        return MIG_OK;
    number = malloc(sizeof *number);
    *number = trial->taken++;
    *ret_item = number;
    return MIG_OK;
}

static int work(void *context, unsigned worker, void *item, struct mig_error *err)
{
    struct trial *trial = context;
    const int at_work = atomic_fetch_add(&trial->at_work, 1) + 1, number = *(int *) item;

    cr_expect_lt(worker, 4);
    if (at_work > atomic_load(&trial->most_at_work))
        atomic_store(&trial->most_at_work, at_work);
    /* Of four, the first is the slowest: the others must wait for it. */
    nanosleep(&(struct timespec){.tv_nsec = number % 4 == 0 ? 300000 : 1000}, NULL);
    atomic_fetch_sub(&trial->at_work, 1);
    return number == trial->fail_work_at ? mig_fail(err, MIG_E_CORRUPT, "work %d", number) : MIG_OK;
}

static int give(void *context, void **item, struct mig_error *err)
{
    struct trial *trial = context;
    const int number = *(int *) *item;

    if (number == trial->fail_give_at)
        return mig_fail(err, MIG_E_IO, "give %d", number);
    trial->in_order = trial->in_order && number == trial->given;
    trial->given++;
    free(mig_take(*item));
    return MIG_OK;
}

static void stop(void *context)
{
    atomic_fetch_add(&((struct trial *) context)->stopped, 1);
}

static const struct mig_line line = {take, work, give, count_discard, stop};

static struct trial new_trial(void)
{
    discarded = 0;
    return (struct trial){
        .fail_take_at = -1, .fail_work_at = -1, .fail_give_at = -1, .in_order = true};
}

Test(line, gives_everything_on_in_the_order_it_was_taken)
{
    struct trial trial = new_trial();

    cr_assert_eq(mig_line_run(&line, 4, &trial, NULL), MIG_OK);
    cr_assert_eq(trial.given, ITEMS);
    cr_assert(trial.in_order);
    cr_assert_eq(discarded, 0);
    cr_assert_eq(trial.stopped, 0);
    cr_assert_gt(trial.most_at_work, 1, "several must be worked on at once");
}

Test(line, works_with_one_thread)
{
    struct trial trial = new_trial();

    cr_assert_eq(mig_line_run(&line, 1, &trial, NULL), MIG_OK);
    cr_assert_eq(trial.given, ITEMS);
}

static void assert_fails(struct trial trial, enum mig_code code, const char *message)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_line_run(&line, 4, &trial, &err), code);
    cr_assert_str_eq(err.message, message);
    cr_assert_eq(trial.stopped, 1, "whoever waits is woken once");
    cr_assert(trial.in_order);
    cr_assert_eq(trial.given + discarded, trial.taken, "every item is given on or freed");
}

Test(line, tells_the_first_failure_and_frees_the_rest)
{
    struct trial trial = new_trial();

    trial.fail_take_at = 100;
    assert_fails(trial, MIG_E_IO, "take 100");
    trial = new_trial();
    trial.fail_work_at = 101;
    assert_fails(trial, MIG_E_CORRUPT, "work 101");
    trial = new_trial();
    trial.fail_give_at = 102;
    assert_fails(trial, MIG_E_IO, "give 102");
}
