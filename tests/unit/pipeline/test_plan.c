/* What an envelope costs a node's server, and how fast rows are signed. What servers really store
 * is test_plan.py's to see. */
#include "libmigrate/pipeline/plan_private.h"

#include <criterion/criterion.h>

static struct plan_cost cost_of(size_t rows, size_t topic_size, size_t envelope_size)
{
    struct plan_cost cost = {0};

    for (size_t i = 0; i < rows; i++)
        plan_cost_add(&cost, topic_size, envelope_size);
    return cost;
}

Test(plan_cost, is_more_than_the_bytes_themselves_and_not_by_far)
{
    for (size_t size = 100; size <= 4 << 20; size *= 2) {
        const struct plan_cost cost = cost_of(1, 17, size);

        cr_assert_gt(cost.bulk_bytes, (double) size + 300);
        cr_assert_lt(cost.bulk_bytes, (double) size * 1.1 + 500);
    }
}

Test(plan_cost, of_rows_inserted_one_by_one_is_higher)
{
    const struct plan_cost cost = cost_of(1000, 33, 700);

    cr_assert_gt(cost.staged_bytes, cost.bulk_bytes);
    cr_assert_gt(cost.staged_wal_bytes, cost.bulk_wal_bytes);
    cr_assert_lt(cost.staged_bytes, 1.2 * cost.bulk_bytes);
}

static double rate_of(uint32_t threads)
{
    mig_cleanup(mig_pool_free) struct mig_pool *pool = NULL;
    struct mig_rate rate = {.start_ns = 0, .message_fee = 1, .storage_fee = 1};
    struct mig_manifest manifest = {.rates = &rate, .rate_count = 1};
    uint64_t speed = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        manifest.policy.retention_days[kind] = 60;
    cr_assert_eq(mig_pool_open(threads, &pool, NULL), MIG_OK);
    cr_assert_eq(plan_probe(&manifest, mig_time_now_ns(), NULL, pool, 1, NULL, &speed, NULL),
                 MIG_OK);
    return (double) speed;
}

Test(plan_probe, signs_rows_of_its_own_where_there_are_none)
{
    cr_assert_gt(rate_of(1), 0);
}
