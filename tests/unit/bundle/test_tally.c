/* Tallies: counting, adding, and JSON that is read as strictly as it is written. */
#include "libmigrate/bundle/bundle.h"

#include <criterion/criterion.h>
#include <string.h>

static void count(struct mig_tally *tally, enum mig_kind kind, enum mig_route route,
                  enum mig_reason reason, uint32_t findings)
{
    const struct mig_envelope envelope = {
        .kind = kind, .route = route, .reason = reason, .findings = findings};

    mig_tally_envelope(tally, &envelope);
}

static struct mig_tally sample_tally(void)
{
    struct mig_tally tally = {0};

    count(&tally, MIG_KIND_GROUP_MESSAGES, MIG_ROUTE_NODE, MIG_REASON_NONE,
          1u << MIG_FINDING_IS_COMMIT_NULL);
    count(&tally, MIG_KIND_GROUP_MESSAGES, MIG_ROUTE_EXPIRED, MIG_REASON_NONE, 0);
    count(&tally, MIG_KIND_GROUP_MESSAGES, MIG_ROUTE_REJECTED, MIG_REASON_DATA_EMPTY, 0);
    count(&tally, MIG_KIND_COMMIT_MESSAGES, MIG_ROUTE_CHAIN, MIG_REASON_NONE, 0);
    return tally;
}

static const char sample_json[] =
    "{\"kinds\":{\"group_messages\":{\"counted\":3,\"expired\":1,\"rejected\":1,\"for_nodes\":1},"
    "\"commit_messages\":{\"counted\":1,\"for_chain\":1}},"
    "\"rejects\":{\"data_empty\":1},\"findings\":{\"is_commit_null\":1}}";

Test(tally, every_row_is_counted_once_and_printed_by_name)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(4096);
    const struct mig_tally tally = sample_tally();

    cr_assert_eq(mig_tally_print_json(&tally, &text, NULL), MIG_OK);
    cr_assert_str_eq((char *) text.data, sample_json);
}

Test(tally, an_empty_one_has_no_zeros)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(4096);
    const struct mig_tally tally = {0};
    struct mig_tally again = sample_tally();

    cr_assert_eq(mig_tally_print_json(&tally, &text, NULL), MIG_OK);
    cr_assert_str_eq((char *) text.data, "{\"kinds\":{},\"rejects\":{},\"findings\":{}}");
    cr_assert_eq(mig_tally_parse_json((char *) text.data, &again, NULL), MIG_OK);
    cr_assert_eq(memcmp(&tally, &again, sizeof tally), 0);
}

Test(tally, what_is_printed_is_read_back)
{
    const struct mig_tally tally = sample_tally();
    struct mig_tally again = {0};

    cr_assert_eq(mig_tally_parse_json(sample_json, &again, NULL), MIG_OK);
    cr_assert_eq(memcmp(&tally, &again, sizeof tally), 0);
}

Test(tally, adding_adds_every_number)
{
    struct mig_tally sum = sample_tally();
    const struct mig_tally more = sample_tally();
    uint64_t *numbers = (uint64_t *) &sum;
    const uint64_t *added = (const uint64_t *) &more;

    mig_tally_add(&sum, &more);
    for (size_t i = 0; i < sizeof sum / sizeof *numbers; i++)
        cr_assert_eq(numbers[i], 2 * added[i]);
}

Test(tally, what_does_not_add_up_or_is_unknown_is_refused)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{\"kinds\":{}",
        "{\"kinds\":{}} x",
        "{\"kinds\":[]}",
        "{\"other\":{}}",
        "{\"kinds\":{\"no_such_kind\":{}}}",
        "{\"kinds\":{\"group_messages\":{\"lost\":1}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":-1}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":1.0}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":\"1\"}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":2,\"for_nodes\":1}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":1,\"for_chain\":1}}}",
        "{\"kinds\":{\"inbox_log\":{\"counted\":1,\"for_nodes\":1}}}",
        "{\"kinds\":{\"group_messages\":{\"for_nodes\":18446744073709551615,\"expired\":1}}}",
        "{\"kinds\":{\"group_messages\":{\"counted\":1,\"rejected\":1}}}",
        "{\"rejects\":{\"data_empty\":1}}",
        "{\"rejects\":{\"no_such_reason\":0}}",
        "{\"findings\":{\"no_such_finding\":1}}",
    };

    for (size_t i = 0; i < mig_count_of(wrong); i++) {
        struct mig_tally tally = sample_tally();
        const struct mig_tally before = sample_tally();
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(mig_tally_parse_json(wrong[i], &tally, &err), MIG_E_CORRUPT, "%s", wrong[i]);
        cr_assert_neq(err.message[0], '\0');
        cr_assert_eq(memcmp(&tally, &before, sizeof tally), 0, "untouched on failure");
    }
}
