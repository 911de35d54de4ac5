/* Trying again: who waits how long, and when it is given up. */
#include "libmigrate/work/work.h"

#include <criterion/criterion.h>
#include <string.h>

static struct mig_error failure(void)
{
    struct mig_error why = MIG_ERROR_INIT;

    mig_fail(&why, MIG_E_TEMPORARY, "node 'alpha': the connection was lost");
    return why;
}

Test(retry, waits_longer_each_time_and_gives_up_with_the_reason)
{
    struct mig_retry retry = {.for_s = 1};
    const struct mig_error why = failure();
    struct mig_error err = MIG_ERROR_INIT;
    const int64_t begun_ns = mig_time_monotonic_ns();

    while (mig_retry_wait(&retry, &why, NULL, NULL, &err) == MIG_OK)
        cr_assert_lt(retry.attempts, 10u);
    cr_assert_geq(retry.attempts, 1u);
    cr_assert_leq(mig_time_monotonic_ns() - begun_ns, 60 * MIG_NS_PER_SECOND);
    cr_assert_eq(err.code, MIG_E_TEMPORARY);
    cr_assert(strstr(err.message, "the connection was lost"), "%s", err.message);
    cr_assert(strstr(err.message, "given up after"), "%s", err.message);
}

Test(retry, tries_nothing_again_unless_asked_to)
{
    struct mig_retry retry = {0};
    const struct mig_error why = failure();
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_retry_wait(&retry, &why, NULL, NULL, &err), MIG_E_TEMPORARY);
    cr_assert_str_eq(err.message, why.message);
    cr_assert_eq(mig_retry_wait(&retry, &why, NULL, NULL, NULL), MIG_E_TEMPORARY);
}

Test(retry, begins_anew_after_a_success)
{
    struct mig_retry retry = {.for_s = 60};
    const struct mig_error why = failure();

    cr_assert_eq(mig_retry_wait(&retry, &why, NULL, NULL, NULL), MIG_OK);
    cr_assert_eq(mig_retry_wait(&retry, &why, NULL, NULL, NULL), MIG_OK);
    cr_assert_eq(retry.attempts, 2u);
    mig_retry_succeeded(&retry);
    cr_assert_eq(retry.attempts, 0u);
}

static void count_measure(void *context, enum mig_measure measure, const char *table,
                          const char *node, double value)
{
    unsigned *counts = context;

    cr_expect_null(table);
    cr_expect_str_eq(node, "alpha");
    counts[measure] += (unsigned) value;
}

Test(retry, is_measured_of_whom_it_waits_for)
{
    unsigned counts[MIG_MEASURE_COUNT] = {0};
    const struct mig_hooks hooks = {.measure = count_measure, .context = counts};
    struct mig_retry retry = {.for_s = 1, .node = "alpha"}, never = {.node = "alpha"};
    const struct mig_error why = failure();

    while (mig_retry_wait(&retry, &why, &hooks, NULL, NULL) == MIG_OK)
        cr_assert_lt(retry.attempts, 10u);
    cr_expect_eq(counts[MIG_MEASURE_RETRIES], retry.attempts);
    cr_expect_eq(counts[MIG_MEASURE_GIVEN_UP], 1u);
    cr_assert_neq(mig_retry_wait(&never, &why, &hooks, NULL, NULL), MIG_OK);
    cr_expect_eq(counts[MIG_MEASURE_GIVEN_UP], 1u, "nothing was used up");
}

Test(retry, hears_a_wish_to_stop)
{
    struct mig_retry retry = {.for_s = 60, .attempts = 6};
    const struct mig_error why = failure();
    struct mig_stop stop = {0};
    const int64_t begun_ns = mig_time_monotonic_ns();

    retry.since_ns = begun_ns;
    atomic_store(&stop.requested, true);
    cr_assert_eq(mig_retry_wait(&retry, &why, NULL, &stop, NULL), MIG_E_CANCELLED);
    cr_assert_leq(mig_time_monotonic_ns() - begun_ns, 10 * MIG_NS_PER_SECOND);
}
