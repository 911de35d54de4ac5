/* Instants as RFC 3339 writes them, from end to end of what 64 bits of nanoseconds can say. */
#include "libmigrate/base/base.h"

#include <criterion/criterion.h>
#include <string.h>

#define S MIG_NS_PER_SECOND

Test(time, reads_instants_with_fractions_offsets_and_leap_days)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000000001Z", 1},
        {"1969-12-31T23:59:59.999999999Z", -1},
        {"1970-01-01T00:00:00.5Z", S / 2},
        {"2026-01-01T00:00:00.123456789Z", INT64_C(1767225600123456789)},
        {"2026-01-01t00:00:00z", INT64_C(1767225600) * S},
        {"2026-01-01 00:00:00Z", INT64_C(1767225600) * S},
        {"2026-01-01T02:00:00+02:00", INT64_C(1767225600) * S},
        {"2025-12-31T18:30:00-05:30", INT64_C(1767225600) * S},
        {"2026-01-01T23:59:00+23:59", INT64_C(1767225600) * S},
        {"2000-02-29T00:00:00Z", INT64_C(951782400) * S},
        {"2024-02-29T23:59:59Z", INT64_C(1709251199) * S},
        {"1900-02-28T00:00:00Z", INT64_C(-2203977600) * S},
        {"1900-03-01T00:00:00Z", INT64_C(-2203891200) * S},
        {"2100-03-01T00:00:00Z", INT64_C(4107542400) * S},
        {"1678-01-01T00:00:00Z", INT64_C(-9214560000) * S},
        {"2261-12-31T23:59:59.999999999Z", INT64_C(9214646399) * S + 999999999},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        int64_t ns = 42;

        cr_expect_eq(mig_time_parse(cases[i].text, &ns, &err), MIG_OK, "%s", err.message);
        cr_expect_eq(ns, cases[i].ns, "%s gives %lld", cases[i].text, (long long) ns);
    }
}

Test(time, refuses_everything_else_and_quotes_it)
{
    static const char *const cases[] = {
        "",
        "now",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00Zx",
        "2026-01-01T00:00:00Z ",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+2:00",
        "2026-01-01T00:00:00+0200",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+02:60",
        "2026-01-01T00:00:00*02:00",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "26-01-01T00:00:00Z",
        "02026-01-01T00:00:00Z",
        "-2026-01-01T00:00:00Z",
        "2026/01/01T00:00:00Z",
        "2262-04-11T23:47:16.854775808Z",
        "2262-04-12T00:00:00Z",
        "1677-09-20T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        int64_t ns = 42;

        cr_expect_eq(mig_time_parse(cases[i], &ns, &err), MIG_E_USAGE, "'%s'", cases[i]);
        cr_expect_eq(ns, 42);
        cr_expect(strstr(err.message, cases[i]), "%s", err.message);
        cr_expect_gt(strlen(err.hint), 0);
    }
}

Test(time, quotes_no_more_than_fits_a_line)
{
    char text[4096];
    struct mig_error err = MIG_ERROR_INIT;
    int64_t ns;

    memset(text, '9', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cr_expect_eq(mig_time_parse(text, &ns, &err), MIG_E_USAGE);
    cr_expect_lt(strlen(err.message), 160);
}

Test(time, is_written_with_as_many_digits_as_it_needs)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {S, "1970-01-01T00:00:01Z"},
        {1000000, "1970-01-01T00:00:00.001Z"},
        {1000, "1970-01-01T00:00:00.000001Z"},
        {1, "1970-01-01T00:00:00.000000001Z"},
        {-S, "1969-12-31T23:59:59Z"},
        {-S - 1000, "1969-12-31T23:59:58.999999Z"},
        {INT64_C(1767225600123456789), "2026-01-01T00:00:00.123456789Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        char text[MIG_TIME_TEXT_SIZE];

        mig_time_format(cases[i].ns, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(time, reads_what_it_writes)
{
    uint64_t state = 7;

    for (int round = 0; round < 100000; round++) {
        char text[MIG_TIME_TEXT_SIZE];
        int64_t ns, back;

        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        ns = (int64_t) state / 1002 * 1000 + (round % 2 ? 0 : (int64_t) (state >> 33) % 1000);
        mig_time_format(ns, text);
        cr_assert_eq(mig_time_parse(text, &back, NULL), MIG_OK, "%s", text);
        cr_assert_eq(back, ns, "%s", text);
    }
}

Test(time, of_any_second_is_written_with_six_digits)
{
    static const struct {
        int64_t seconds;
        int32_t us;
        const char *text;
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00.000000Z"},
        {-1, 999999, "1969-12-31T23:59:59.999999Z"},
        {INT64_C(253402300799), 1, "9999-12-31T23:59:59.000001Z"},
        {INT64_C(253402300800), 0, "+10000-01-01T00:00:00.000000Z"},
        {INT64_C(-62167219200), 0, "0000-01-01T00:00:00.000000Z"},
        {INT64_C(-62167219201), 0, "-0001-12-31T23:59:59.000000Z"},
        {INT64_C(9224318015999), 999999, "+294276-12-31T23:59:59.999999Z"},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        char text[MIG_TIME_TEXT_SIZE];

        mig_time_format_us(cases[i].seconds, cases[i].us, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(time, that_only_rises_rises)
{
    int64_t last = mig_time_monotonic_ns();

    for (int i = 0; i < 1000; i++) {
        const int64_t now = mig_time_monotonic_ns();

        cr_assert_geq(now, last);
        last = now;
    }
    cr_expect_gt(mig_time_now_ns(), INT64_C(1700000000) * S);
}
