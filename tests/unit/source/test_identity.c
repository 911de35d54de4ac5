/* Which database a source is, in the books and back. */
#include "libmigrate/source/source.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

static struct mig_source_identity largest(void)
{
    struct mig_source_identity identity = {.system = INT64_MIN, .database = UINT32_MAX};

    for (uint32_t table = 0; table < MIG_TABLE_COUNT; table++) {
        identity.tables[table] = UINT32_MAX - table;
        identity.sequences[table] = UINT32_MAX - 10 - table;
    }
    return identity;
}

Test(identity, comes_back_as_it_was_printed)
{
    const struct mig_source_identity nothing = {0}, all = largest();
    struct mig_source_identity again;
    char text[MIG_SOURCE_IDENTITY_SIZE];

    mig_source_identity_print(&all, text);
    cr_assert_lt(strlen(text), sizeof text - 1);
    cr_assert_eq(mig_source_identity_parse(text, &again, NULL), MIG_OK);
    cr_assert_eq(memcmp(&again, &all, sizeof all), 0);
    mig_source_identity_print(&nothing, text);
    cr_assert_eq(mig_source_identity_parse(text, &again, NULL), MIG_OK);
    cr_assert_eq(memcmp(&again, &nothing, sizeof nothing), 0);
}

Test(identity, anything_else_is_refused)
{
    const struct mig_source_identity all = largest();
    static const char *const broken[] = {"", "database oid=1", "system identifier=x"};
    struct mig_source_identity again;
    char text[MIG_SOURCE_IDENTITY_SIZE];

    for (size_t i = 0; i < mig_count_of(broken); i++)
        cr_assert_eq(mig_source_identity_parse(broken[i], &again, NULL), MIG_E_CORRUPT);
    mig_source_identity_print(&all, text);
    text[strlen(text) - 1] = 'x';
    cr_assert_eq(mig_source_identity_parse(text, &again, NULL), MIG_E_CORRUPT);
}
