/* The token bucket under a clock of ours. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <criterion/criterion.h>

#define SECOND MIG_NS_PER_SECOND

Test(token_bucket, without_a_rate_never_waits)
{
    struct token_bucket bucket = {0};

    token_bucket_take(&bucket, UINT64_MAX, 0);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 0), 0);
}

Test(token_bucket, waits_for_as_long_as_the_rows_taken_are_worth)
{
    struct token_bucket bucket = {.rate = 1000};

    cr_assert_eq(token_bucket_wait_ns(&bucket, 100 * SECOND), 0);
    token_bucket_take(&bucket, 1250, 100 * SECOND);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 100 * SECOND), SECOND);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 100 * SECOND + SECOND / 4), SECOND * 3 / 4);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 101 * SECOND), 0);
}

Test(token_bucket, saves_up_no_more_than_a_quarter_of_a_second)
{
    struct token_bucket bucket = {.rate = 1000};

    token_bucket_take(&bucket, 250, 3600 * SECOND);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 3600 * SECOND), 0);
    token_bucket_take(&bucket, 1, 3600 * SECOND);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 3600 * SECOND), SECOND / 1000);
}

Test(token_bucket, keeps_its_rate_over_a_day_of_uneven_statements)
{
    struct token_bucket bucket = {.rate = 333};
    int64_t now_ns = 5 * SECOND;
    uint64_t taken = 0;

    for (uint64_t i = 0; now_ns < (5 + 86400) * SECOND; i++) {
        const uint64_t rows = i * 7919 % 84;

        now_ns += token_bucket_wait_ns(&bucket, now_ns) + (int64_t) (i % 3);
        token_bucket_take(&bucket, rows, now_ns);
        taken += rows;
    }
    cr_assert_leq(taken, UINT64_C(333) * 86400 + 84 + 84);
    cr_assert_geq(taken, UINT64_C(333) * 86400 - 84);
}

Test(token_bucket, takes_very_many_rows_at_the_slowest_rate)
{
    struct token_bucket bucket = {.rate = 1};

    token_bucket_take(&bucket, 4000000, 0);
    cr_assert_eq(token_bucket_wait_ns(&bucket, 0), 4000000 * SECOND);
}
