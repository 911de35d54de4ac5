/* What is set aside comes back as it was, in any order; a full disk takes nothing with it. */
#include "tests/unit/bundle/sample.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

TestSuite(spool, .init = sample_enter, .fini = sample_leave);

static struct mig_spool *open_spool(void)
{
    struct mig_spool *spool = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_spool_open(".", &spool, &err), MIG_OK, "%s", err.message);
    return spool;
}

/* Holds what comes back for a part's range against the part itself; gives how many rows came. */
static size_t expect_back(struct mig_spool *spool, const struct mig_part *part)
{
    mig_cleanup(mig_part_free) struct mig_part *back = NULL;
    size_t place = 0;

    cr_assert_eq(mig_spool_take(spool, part->table, part->first_id, part->last_id, &back, NULL),
                 MIG_OK);
    for (size_t i = 0; i < part->row_count; i++) {
        const struct mig_envelope *envelope = &part->envelopes[i], *other;

        if (envelope->route != MIG_ROUTE_CHAIN)
            continue;
        cr_assert(back && place < back->row_count);
        other = &back->envelopes[place++];
        cr_expect_eq(other->route, MIG_ROUTE_CHAIN);
        cr_expect_eq(other->kind, envelope->kind);
        cr_expect_eq(other->row->id, envelope->row->id);
        cr_expect(mig_bytes_equal(other->topic, envelope->topic));
        cr_expect(mig_bytes_equal(other->client_envelope, envelope->client_envelope));
    }
    cr_expect_eq(back ? back->row_count : 0, place);
    return place;
}

Test(spool, gives_back_what_was_set_aside_in_any_order)
{
    mig_cleanup(mig_spool_free) struct mig_spool *spool = open_spool();
    struct mig_part *parts[SAMPLE_PARTS];
    size_t rows = 0;

    for (size_t i = 0; i < SAMPLE_PARTS; i++) {
        parts[i] = sample_part(MIG_STAGE_ENVELOPES, i);
        cr_assert_eq(mig_spool_add(spool, parts[i], NULL), MIG_OK);
    }
    for (size_t i = 0; i < 2 * SAMPLE_PARTS; i++)
        rows += expect_back(spool, parts[(7 * i + 3) % SAMPLE_PARTS]);
    cr_expect_gt(rows, 0);
    for (size_t i = 0; i < SAMPLE_PARTS; i++)
        mig_part_free(&parts[i]);
}

Test(spool, has_nothing_for_another_range)
{
    mig_cleanup(mig_spool_free) struct mig_spool *spool = open_spool();
    mig_cleanup(mig_part_free) struct mig_part *part =
        sample_envelopes(MIG_TABLE_INBOX_LOG, 100, 200);
    struct mig_part *back = NULL;

    cr_assert_eq(mig_spool_take(spool, MIG_TABLE_INBOX_LOG, 100, 200, &back, NULL), MIG_OK);
    cr_assert_null(back);
    cr_assert_eq(mig_spool_add(spool, part, NULL), MIG_OK);
    cr_expect_gt(expect_back(spool, part), 0);
    cr_assert_eq(mig_spool_take(spool, MIG_TABLE_INBOX_LOG, 100, 199, &back, NULL), MIG_OK);
    cr_assert_null(back);
    cr_assert_eq(mig_spool_take(spool, MIG_TABLE_GROUP_MESSAGES, 100, 200, &back, NULL), MIG_OK);
    cr_assert_null(back);
}

Test(spool, keeps_what_it_has_when_the_disk_is_full)
{
    mig_cleanup(mig_spool_free) struct mig_spool *spool = open_spool();
    mig_cleanup(mig_part_free) struct mig_part *first =
        sample_envelopes(MIG_TABLE_INBOX_LOG, 1, 100);
    mig_cleanup(mig_part_free) struct mig_part *second =
        sample_envelopes(MIG_TABLE_INBOX_LOG, 101, 200);
    struct mig_error err = MIG_ERROR_INIT;
    struct rlimit before, small;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 10, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(mig_spool_add(spool, first, &err), MIG_E_IO);
    cr_expect_not_null(strstr(err.message, "xmtp-migrate"));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* Ten bytes were written: the next part lies where they do. */
    cr_assert_eq(mig_spool_add(spool, second, NULL), MIG_OK);
    cr_expect_gt(expect_back(spool, second), 0);
    cr_assert_eq(mig_spool_add(spool, first, NULL), MIG_OK);
    cr_expect_gt(expect_back(spool, first), 0);
    cr_expect_gt(expect_back(spool, second), 0);
}

Test(spool, needs_a_folder)
{
    struct mig_spool *spool = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_spool_open("no/such/folder", &spool, &err), MIG_E_IO);
    cr_expect_not_null(strstr(err.message, "no/such/folder"));
    cr_assert_null(spool);
}
