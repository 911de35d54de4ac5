/* Which instant an envelope is stamped with, and what its fee is at the rate of that instant. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#define FIRST_RATE_NS INT64_C(1735689600000000000)
#define SECOND_RATE_NS INT64_C(1756684800000000000)

static void set_number(struct mig_row *row, int column, int64_t number)
{
    row->values[column] = (struct mig_value){.number = number};
}

static struct mig_layers layers_of(struct fixture *fixture, const struct mig_envelope *envelope)
{
    struct mig_layers layers;

    cr_assert_eq(mig_originator_envelope_parse(envelope->originator_envelope, &fixture->arena,
                                               &layers, NULL),
                 MIG_OK);
    return layers;
}

Test(clocks, a_current_key_package_counts_from_when_it_became_that)
{
    static const enum mig_profile profiles[] = {MIG_PROFILE_CORRECT, MIG_PROFILE_XMTPD};
    const int64_t created_ns = FIXTURE_AS_OF - 100 * MIG_NS_PER_DAY;
    const int64_t current_ns = FIXTURE_AS_OF - 5 * MIG_NS_PER_DAY + 999;

    for (size_t i = 0; i < mig_count_of(profiles); i++) {
        mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
        const bool correct = profiles[i] == MIG_PROFILE_CORRECT;
        struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);
        struct mig_envelope envelope;

        fixture.manifest->policy.profile = profiles[i];
        set_number(&row, MIG_KP_CREATED_NS, created_ns);
        fixture_open(&fixture, FIXTURE_AS_OF);
        cr_expect_eq(fixture_transform(&fixture, &row).route, MIG_ROUTE_EXPIRED);
        set_number(&row, MIG_KP_CURRENT_SINCE_NS, current_ns);
        envelope = fixture_transform(&fixture, &row);
        cr_expect_eq(envelope.route, correct ? MIG_ROUTE_NODE : MIG_ROUTE_EXPIRED);
        if (!correct)
            continue;
        cr_expect_eq(envelope.originator_ns, current_ns);
        cr_expect_eq(envelope.gateway_time_us, current_ns / 1000);
        cr_expect_eq(envelope.expiry_unixtime, current_ns / MIG_NS_PER_SECOND + 60 * 86400);
        set_number(&row, MIG_KP_CREATED_NS, current_ns + 7);
        cr_expect_eq(fixture_transform(&fixture, &row).originator_ns, current_ns + 7,
                     "the later of the two counts");
    }
}

Test(clocks, a_current_key_package_is_newer_than_any_rival)
{
    static const struct {
        int64_t rival_ns, ahead_us;
    } cases[] = {
        {-1000, 0}, {-1, 0}, {0, 1}, {999, 1}, {1000, 2}, {3600 * MIG_NS_PER_SECOND, 3600000001},
    };
    const int64_t since_ns = FIXTURE_AS_OF - 5 * MIG_NS_PER_DAY;
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);

    fixture_open(&fixture, FIXTURE_AS_OF);
    set_number(&row, MIG_KP_CREATED_NS, since_ns - MIG_NS_PER_DAY);
    set_number(&row, MIG_KP_CURRENT_SINCE_NS, since_ns + 1);
    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_envelope envelope;

        set_number(&row, MIG_KP_RIVAL_CREATED_NS, since_ns + cases[i].rival_ns);
        envelope = fixture_transform(&fixture, &row);
        cr_expect_eq(envelope.originator_ns, since_ns + 1);
        cr_expect_eq(envelope.gateway_time_us, since_ns / 1000 + cases[i].ahead_us, "case %zu", i);
    }
}

Test(clocks, the_originators_clock_is_never_before_the_first_rate)
{
    static const struct {
        int64_t created_ns, originator_ns;
        uint64_t message_fee, storage_fee;
    } cases[] = {
        {INT64_MIN, FIRST_RATE_NS, 90, 150},
        {0, FIRST_RATE_NS, 90, 150},
        {FIRST_RATE_NS - 1, FIRST_RATE_NS, 90, 150},
        {FIRST_RATE_NS, FIRST_RATE_NS, 90, 150},
        {FIRST_RATE_NS + 1, FIRST_RATE_NS + 1, 90, 150},
        {SECOND_RATE_NS - 1, SECOND_RATE_NS - 1, 90, 150},
        {SECOND_RATE_NS, SECOND_RATE_NS, 100, 200},
        {INT64_MAX, INT64_MAX, 100, 200},
    };
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);

    fixture.manifest->policy.keep_expired = true;
    fixture_open(&fixture, FIXTURE_AS_OF);
    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_envelope envelope;
        struct mig_layers layers;

        set_number(&row, MIG_KP_CREATED_NS, cases[i].created_ns);
        envelope = fixture_transform(&fixture, &row);
        layers = layers_of(&fixture, &envelope);
        cr_expect_eq(envelope.originator_ns, cases[i].originator_ns, "case %zu", i);
        cr_expect_eq(layers.unsigned_layer.originator_ns, cases[i].originator_ns, "case %zu", i);
        cr_expect_eq(envelope.gateway_time_us,
                     cases[i].created_ns / 1000 - (cases[i].created_ns % 1000 < 0),
                     "the upload order of packages older than the first rate is kept, case %zu", i);
        cr_expect_eq(envelope.base_fee_picodollars,
                     cases[i].message_fee +
                         cases[i].storage_fee * envelope.payer_envelope.size * 60,
                     "case %zu", i);
        cr_expect_eq(layers.unsigned_layer.congestion_fee_picodollars, 0);
    }
}

Test(clocks, the_clock_of_the_run_stamps_all_rows_when_the_policy_says_so)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    const int64_t as_of_ns = FIXTURE_AS_OF + 123456789;

    fixture.manifest->policy.clock = MIG_CLOCK_MIGRATED;
    fixture_open(&fixture, as_of_ns);
    for (int table = 0; table < MIG_TABLE_INBOX_LOG; table++) {
        const struct mig_row row = fixture_row((enum mig_table) table);
        const struct mig_envelope envelope = fixture_transform(&fixture, &row);

        cr_expect_eq(envelope.originator_ns, as_of_ns);
        if (table == MIG_TABLE_KEY_PACKAGES)
            cr_expect_lt(envelope.gateway_time_us, FIXTURE_AS_OF / 1000,
                         "by it a node tells an installation's newest package");
        else
            cr_expect_eq(envelope.gateway_time_us, as_of_ns / 1000);
        cr_expect_eq(envelope.expiry_unixtime,
                     FIXTURE_AS_OF / MIG_NS_PER_SECOND - 3600 + 60 * 86400,
                     "expiry is from creation whatever the clock");
    }
}

Test(clocks, a_clock_of_the_run_before_all_rates_is_refused)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_transform *transform = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    fixture.manifest->policy.clock = MIG_CLOCK_MIGRATED;
    cr_expect_eq(
        mig_transform_open(fixture.manifest, FIRST_RATE_NS - 1, NULL, NULL, &transform, &err),
        MIG_E_USAGE);
    cr_expect_null(transform);
    cr_expect(strstr(err.message, "2024-12-31T23:59:59.999999999Z"), "%s", err.message);
    cr_expect(strlen(err.hint) > 0);
    fixture_open(&fixture, FIRST_RATE_NS);
    mig_transform_free(&fixture.transform);
    fixture.manifest->policy.clock = MIG_CLOCK_CREATED;
    fixture_open(&fixture, FIRST_RATE_NS - 1);
}

Test(fees, a_fee_is_exact_up_to_64_bits_and_an_error_beyond)
{
    static const struct {
        struct mig_rate rate;
        size_t size;
        uint32_t days;
        bool fits;
        uint64_t fee;
    } cases[] = {
        {{0, 100, 200}, 1000, 60, true, 100 + 200 * 1000 * 60},
        {{0, 100, 200}, 0, 60, true, 100},
        {{0, 0, 0}, SIZE_MAX, UINT32_MAX, true, 0},
        {{0, 0, 1}, SIZE_MAX, 1, true, UINT64_MAX},
        {{0, 1, 1}, SIZE_MAX, 1, false, 0},
        {{0, UINT64_MAX, 0}, 1, 1, true, UINT64_MAX},
        {{0, UINT64_MAX, 1}, 1, 1, false, 0},
        {{0, 0, UINT64_MAX / 2}, 2, 1, true, UINT64_MAX - 1},
        {{0, 0, UINT64_MAX / 2 + 1}, 2, 1, false, 0},
        {{0, 0, UINT64_MAX / 2 + 1}, 1, 2, false, 0},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        uint64_t fee = 7;

        cr_expect_eq(mig_base_fee(&cases[i].rate, cases[i].size, cases[i].days, &fee, &err),
                     cases[i].fits ? MIG_OK : MIG_E_CORRUPT, "case %zu", i);
        cr_expect_eq(fee, cases[i].fits ? cases[i].fee : 7, "case %zu", i);
    }
}

Test(fees, a_fee_that_overflows_stops_the_run_and_names_the_row)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    const struct mig_row row = fixture_row(MIG_TABLE_WELCOME_MESSAGES);
    struct mig_envelope envelope = {.sequence_id = -42};
    struct mig_error err = MIG_ERROR_INIT;

    fixture.manifest->rates[1].storage_fee = UINT64_MAX / 60;
    fixture_open(&fixture, FIXTURE_AS_OF);
    cr_expect_eq(mig_transform_row(fixture.transform, &row, &fixture.arena, &envelope, &err),
                 MIG_E_CORRUPT);
    cr_expect(strstr(err.message, "welcome_messages 7"), "%s", err.message);
    cr_expect_eq(envelope.sequence_id, -42, "an output is untouched on failure");
}
