/* How the memory of a job is shared out. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <criterion/criterion.h>

#define MIB ((size_t) 1 << 20)

static struct shares share(size_t max_memory, unsigned bundle_threads)
{
    struct mig_budget *budget = NULL;
    struct shares shares = {0};

    cr_assert_eq(pipeline_open_budget(max_memory, bundle_threads, &budget, &shares, NULL), MIG_OK);
    mig_budget_free(&budget);
    return shares;
}

Test(resources, of_a_bundle_are_no_more_than_keeps_everyone_busy)
{
    cr_expect_eq(share(0, 2).lane_bytes, 64 * MIB);
    cr_expect_eq(share(8192 * MIB, 2).lane_bytes, 64 * MIB);
    cr_expect_eq(share(8192 * MIB, 32).lane_bytes, 384 * MIB);
    cr_expect_gt(share(8192 * MIB, 0).lane_bytes, 4000 * MIB);
}

Test(resources, leave_room_for_what_is_no_part)
{
    cr_expect_eq(share(64 * MIB, 0).lane_bytes, 16 * MIB);
    cr_expect_eq(share(64 * MIB, 2).lane_bytes, 16 * MIB);
    cr_expect_eq(share(0, 0).lane_bytes, (512 - 64) / 2 * MIB);
}

Test(resources, are_refused_when_they_are_too_few)
{
    struct mig_budget *budget = NULL;
    struct shares shares;

    cr_expect_eq(pipeline_open_budget(64 * MIB - 1, 2, &budget, &shares, NULL), MIG_E_USAGE);
    cr_expect_null(budget);
}
