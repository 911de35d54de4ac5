/* Which ids of a table that is followed are of one part. */
#include "libmigrate/pipeline/growth.h"

#include <criterion/criterion.h>

Test(growth, parts_end_with_their_bucket_and_with_their_band)
{
    cr_expect_eq(growth_bucket_end(0), 4095);
    cr_expect_eq(growth_bucket_end(4095), 4095);
    cr_expect_eq(growth_bucket_end(4096), 8191);
    cr_expect_eq(growth_bucket_end(MIG_BAND_WIDTH - 1), MIG_BAND_WIDTH - 1);
    cr_expect_eq(growth_bucket_end(-1), -1);
    cr_expect_eq(growth_bucket_first(8191), 4096);
    cr_expect_eq(growth_bucket_first(MIG_BAND_WIDTH + 1), MIG_BAND_WIDTH);
    cr_expect_eq(growth_bucket_first(-1), -4096);
    cr_expect(growth_begins(4096));
    cr_expect(growth_begins(MIG_BAND_WIDTH));
    cr_expect_not(growth_begins(MIG_BAND_WIDTH + 1));
}

Test(growth, the_first_part_of_a_run_begins_where_no_id_is)
{
    cr_expect_lt(growth_bucket_end(INT64_MIN), INT64_MIN + GROWTH_BUCKET);
    cr_expect_neq(growth_bucket_end(INT64_MIN), growth_bucket_end(1));
}
