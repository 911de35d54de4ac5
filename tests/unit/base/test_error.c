/* Failures and their stories; hooks; stopping. */
#include "libmigrate/base/base.h"

#include <criterion/criterion.h>
#include <string.h>

Test(error, keeps_the_code_and_the_story)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_expect_eq(mig_fail(&err, MIG_E_IO, "cannot read '%s': %d bytes short", "part", 12),
                 MIG_E_IO);
    cr_expect_eq(err.code, MIG_E_IO);
    cr_expect_str_eq(err.message, "cannot read 'part': 12 bytes short");
    cr_expect_str_eq(err.hint, "");
}

Test(error, gets_a_hint_and_a_place_and_keeps_its_code)
{
    struct mig_error err = MIG_ERROR_INIT;

    mig_fail(&err, MIG_E_REFUSED, "schema level 22");
    cr_expect_eq(mig_hint(&err, "update it to %d", 23), MIG_E_REFUSED);
    cr_expect_eq(mig_error_within(&err, "node '%s'", "beta"), MIG_E_REFUSED);
    cr_expect_eq(mig_error_within(&err, "run"), MIG_E_REFUSED);
    cr_expect_str_eq(err.message, "run: node 'beta': schema level 22");
    cr_expect_str_eq(err.hint, "update it to 23");
}

Test(error, that_is_new_forgets_the_hint_of_the_last)
{
    struct mig_error err = MIG_ERROR_INIT;

    mig_fail(&err, MIG_E_USAGE, "one");
    mig_hint(&err, "do this");
    mig_fail(&err, MIG_E_IO, "two");
    cr_expect_str_eq(err.hint, "");
}

Test(error, keeps_its_code_when_nobody_wants_the_story)
{
    static const enum mig_code codes[] = {MIG_E_USAGE,    MIG_E_NOMEM,   MIG_E_TEMPORARY,
                                          MIG_E_CONFLICT, MIG_E_REFUSED, MIG_E_PARTIAL};

    for (size_t i = 0; i < mig_count_of(codes); i++) {
        cr_expect_eq(mig_fail(NULL, codes[i], "what"), (int) codes[i]);
        cr_expect_eq(mig_hint(NULL, "next"), (int) codes[i]);
        cr_expect_eq(mig_error_within(NULL, "where"), (int) codes[i]);
    }
}

/* Whether a text is whole UTF-8 characters, given that it was made of 2- to 4-byte ones. */
static bool ends_whole(const char *text)
{
    size_t length = strlen(text), back = 0;

    while (back < length && ((unsigned char) text[length - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == length)
        return length == 0;
    switch ((unsigned char) text[length - 1 - back] >> 4) {
    case 0xc:
    case 0xd:
        return back == 1;
    case 0xe:
        return back == 2;
    case 0xf:
        return back == 3;
    default:
        return back == 0;
    }
}

Test(error, too_long_a_story_is_cut_at_a_character)
{
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    for (size_t c = 0; c < mig_count_of(characters); c++)
        for (size_t shift = 0; shift <= 3; shift++) {
            struct mig_error err = MIG_ERROR_INIT;
            char text[4096] = "";

            memcpy(text, "abc", shift);
            while (strlen(text) < 2000)
                strcat(text, characters[c]);
            mig_fail(&err, MIG_E_CORRUPT, "%s", text);
            mig_hint(&err, "%s", text);
            cr_expect(ends_whole(err.message), "message, %zu + %zu", c, shift);
            cr_expect(ends_whole(err.hint), "hint, %zu + %zu", c, shift);
            cr_expect_geq(strlen(err.message), sizeof err.message - 5);
            cr_expect_geq(strlen(err.hint), sizeof err.hint - 5);
            cr_expect_eq(memcmp(err.message, text, strlen(err.message)), 0);
            mig_error_within(&err, "%.*s", (int) shift + 1, "wxyz");
            cr_expect(ends_whole(err.message), "within, %zu + %zu", c, shift);
            cr_expect_eq(err.message[0], 'w');
            mig_error_within(&err, "%s", text);
            cr_expect(ends_whole(err.message), "within much, %zu + %zu", c, shift);
        }
}

Test(error, a_story_that_just_fits_is_whole)
{
    struct mig_error err = MIG_ERROR_INIT;
    char text[sizeof err.message];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mig_fail(&err, MIG_E_CORRUPT, "%s", text);
    cr_expect_str_eq(err.message, text);
}

Test(codes, each_have_a_name_of_their_own_and_an_exit_status)
{
    for (int code = MIG_OK; code >= MIG_E_PARTIAL; code--) {
        const struct mig_code_info *info = mig_code_info((enum mig_code) code);

        cr_assert_not_null(info->name, "code %d", code);
        cr_expect_neq(strcmp(info->name, "unknown"), 0);
        cr_expect_eq(info->exit_status == 0, code == MIG_OK, "%s", info->name);
        for (int other = MIG_OK; other > code; other--)
            cr_expect_neq(strcmp(info->name, mig_code_info((enum mig_code) other)->name), 0);
    }
    cr_expect_eq(mig_code_info(MIG_E_USAGE)->exit_status, 2);
    cr_expect_eq(mig_code_info(MIG_E_DIFFERENT)->exit_status, 3);
    cr_expect_eq(mig_code_info(MIG_E_PARTIAL)->exit_status, 4);
    cr_expect_eq(mig_code_info(MIG_E_TEMPORARY)->exit_status, 5);
    cr_expect_eq(mig_code_info(MIG_E_CANCELLED)->exit_status, 130);
    cr_expect(mig_code_info(MIG_E_TEMPORARY)->retryable);
    cr_expect_not(mig_code_info(MIG_E_CONFLICT)->retryable);
}

Test(codes, that_nobody_knows_are_described_all_the_same)
{
    static const int codes[] = {1, 100, -1000, MIG_E_PARTIAL - 1, INT32_MAX};

    for (size_t i = 0; i < mig_count_of(codes); i++) {
        const struct mig_code_info *info = mig_code_info((enum mig_code) codes[i]);

        cr_expect_str_eq(info->name, "unknown");
        cr_expect_eq(info->exit_status, 1);
        cr_expect_not(info->retryable);
    }
}

/* ---- hooks ---------------------------------------------------------------------------------- */

struct heard {
    enum mig_log_level level;
    char message[2048];
    uint64_t done;
    enum mig_measure measure;
    const char *table, *node;
    double value;
    int times;
};

static void hear_log(void *context, enum mig_log_level level, const char *message)
{
    struct heard *heard = context;

    heard->level = level;
    heard->times++;
    strncpy(heard->message, message, sizeof heard->message - 1);
}

static void hear_progress(void *context, const struct mig_progress *progress)
{
    struct heard *heard = context;

    heard->done = progress->done;
    heard->times++;
}

static void hear_measure(void *context, enum mig_measure measure, const char *table,
                         const char *node, double value)
{
    struct heard *heard = context;

    heard->measure = measure;
    heard->table = table;
    heard->node = node;
    heard->value = value;
    heard->times++;
}

Test(hooks, are_called_with_what_was_said)
{
    struct heard heard = {0};
    const struct mig_hooks hooks = {hear_log, hear_progress, hear_measure, &heard};

    mig_log(&hooks, MIG_LOG_WARN, "%d of %s", 3, "five");
    cr_expect_eq(heard.level, MIG_LOG_WARN);
    cr_expect_str_eq(heard.message, "3 of five");
    mig_report_progress(&hooks, &(struct mig_progress){.done = 99});
    cr_expect_eq(heard.done, 99);
    mig_report_measure(&hooks, MIG_MEASURE_ROWS_LOADED, "inbox_log", "alpha", 7);
    cr_expect_eq(heard.measure, MIG_MEASURE_ROWS_LOADED);
    cr_expect_str_eq(heard.table, "inbox_log");
    cr_expect_str_eq(heard.node, "alpha");
    cr_expect_eq(heard.value, 7);
    cr_expect_eq(heard.times, 3);
}

Test(hooks, may_be_missing)
{
    const struct mig_hooks none = {0};

    mig_log(NULL, MIG_LOG_ERROR, "nobody listens");
    mig_log(&none, MIG_LOG_ERROR, "nobody listens");
    mig_report_progress(NULL, &(struct mig_progress){0});
    mig_report_progress(&none, &(struct mig_progress){0});
    mig_report_measure(NULL, MIG_MEASURE_IDLE, NULL, NULL, 1);
    mig_report_measure(&none, MIG_MEASURE_IDLE, NULL, NULL, 1);
}

Test(stop, is_heard_once_requested)
{
    struct mig_stop stop = {0};
    struct mig_error err = MIG_ERROR_INIT;

    cr_expect_eq(mig_stop_check(NULL, &err), MIG_OK);
    cr_expect_eq(mig_stop_check(&stop, &err), MIG_OK);
    atomic_store(&stop.requested, true);
    cr_expect_eq(mig_stop_check(&stop, &err), MIG_E_CANCELLED);
    cr_expect_eq(err.code, MIG_E_CANCELLED);
}

Test(errors, are_kept_in_their_order_with_their_hints)
{
    mig_cleanup(mig_errors_release) struct mig_errors errors = {0};
    struct mig_error one = MIG_ERROR_INIT;

    for (int i = 0; i < 20; i++) {
        mig_fail(&one, MIG_E_REFUSED, "the %dth", i);
        mig_hint(&one, "hint %d", i);
        cr_assert_eq(mig_errors_add(&errors, &one, NULL), MIG_OK);
    }
    cr_assert_eq(errors.count, 20);
    cr_assert_str_eq(errors.items[0].message, "the 0th");
    cr_assert_str_eq(errors.items[19].hint, "hint 19");
    cr_assert_eq(errors.items[7].code, MIG_E_REFUSED);
}
