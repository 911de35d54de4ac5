/* What the vectors don't reach: the order of faults, expiry before them, sizes at their limits. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#define US_PER_DAY (INT64_C(86400) * 1000000)
#define EMPTY ((struct mig_bytes){(const uint8_t *) "", 0})

static struct mig_bytes text(const char *bytes)
{
    return mig_bytes_of_text(bytes);
}

static void set_bytes(struct mig_row *row, int column, struct mig_bytes bytes)
{
    row->values[column] = (struct mig_value){.bytes = bytes};
}

static void set_number(struct mig_row *row, int column, int64_t number)
{
    row->values[column] = (struct mig_value){.number = number};
}

/* ---- the first fault names the row ---------------------------------------------------------- */

/* A row with every fault that its table can have, mended one by one: what is reported must be the
 * first that is left. */
struct mending {
    enum mig_reason reason; /* before this mending */
    int column;             /* -1: the id */
};

static void expect_mendings(enum mig_table table, struct mig_row row, const struct mending *steps,
                            size_t count)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    const struct mig_row good = fixture_row(table);

    fixture_open(&fixture, FIXTURE_AS_OF);
    for (size_t i = 0; i < count; i++) {
        const struct mig_envelope envelope = fixture_transform(&fixture, &row);

        cr_expect_eq(envelope.route, MIG_ROUTE_REJECTED);
        cr_expect_eq(envelope.reason, steps[i].reason, "%s where %s was to be",
                     mig_reason_info(envelope.reason)->name,
                     mig_reason_info(steps[i].reason)->name);
        cr_expect_eq(envelope.findings, 0);
        cr_expect(i == 0 || steps[i].reason > steps[i - 1].reason);
        if (steps[i].column < 0)
            row.id = good.id;
        else
            row.values[steps[i].column] = good.values[steps[i].column];
    }
    cr_expect_eq(fixture_transform(&fixture, &row).reason, MIG_REASON_NONE);
}

Test(rules, the_first_fault_of_a_message_names_it)
{
    struct mig_row row = fixture_row(MIG_TABLE_GROUP_MESSAGES);

    row.id = 0;
    row.values[MIG_GM_IS_COMMIT].is_null = true;
    set_bytes(&row, MIG_GM_DATA, EMPTY);
    set_bytes(&row, MIG_GM_GROUP_ID, text("short"));
    set_number(&row, MIG_GM_CREATED_AT, INT64_MAX);
    expect_mendings(MIG_TABLE_GROUP_MESSAGES, row,
                    (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                                       {MIG_REASON_DATA_EMPTY, MIG_GM_DATA},
                                       {MIG_REASON_GROUP_ID_LENGTH, MIG_GM_GROUP_ID},
                                       {MIG_REASON_TIME_OUT_OF_RANGE, MIG_GM_CREATED_AT}},
                    4);
    set_bytes(&row, MIG_GM_DATA, text("no MLS"));
    expect_mendings(MIG_TABLE_GROUP_MESSAGES, row,
                    (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                                       {MIG_REASON_GROUP_ID_LENGTH, MIG_GM_GROUP_ID},
                                       {MIG_REASON_MLS_UNPARSABLE, MIG_GM_IS_COMMIT},
                                       {MIG_REASON_TIME_OUT_OF_RANGE, MIG_GM_CREATED_AT}},
                    4);
}

Test(rules, the_first_fault_of_a_welcome_names_it)
{
    struct mig_row row = fixture_row(MIG_TABLE_WELCOME_MESSAGES);

    row.id = MIG_SEQUENCE_ID_MAX + 1;
    set_bytes(&row, MIG_WM_DATA, EMPTY);
    set_bytes(&row, MIG_WM_INSTALLATION_KEY, EMPTY);
    set_number(&row, MIG_WM_WRAPPER_ALGORITHM, 9);
    set_number(&row, MIG_WM_MESSAGE_TYPE, 7);
    set_number(&row, MIG_WM_CREATED_AT, INT64_MAX);
    expect_mendings(
        MIG_TABLE_WELCOME_MESSAGES, row,
        (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                           {MIG_REASON_DATA_EMPTY, MIG_WM_DATA},
                           {MIG_REASON_IDENTIFIER_EMPTY, MIG_WM_INSTALLATION_KEY},
                           {MIG_REASON_WRAPPER_ALGORITHM_UNKNOWN, MIG_WM_WRAPPER_ALGORITHM},
                           {MIG_REASON_MESSAGE_TYPE_UNKNOWN, MIG_WM_MESSAGE_TYPE},
                           {MIG_REASON_TIME_OUT_OF_RANGE, MIG_WM_CREATED_AT}},
        6);
}

Test(rules, the_first_fault_of_a_key_package_names_it)
{
    struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);

    row.id = -1;
    set_bytes(&row, MIG_KP_INSTALLATION_ID, EMPTY);
    set_bytes(&row, MIG_KP_KEY_PACKAGE, EMPTY);
    expect_mendings(MIG_TABLE_KEY_PACKAGES, row,
                    (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                                       {MIG_REASON_IDENTIFIER_EMPTY, MIG_KP_INSTALLATION_ID},
                                       {MIG_REASON_KEY_PACKAGE_EMPTY, MIG_KP_KEY_PACKAGE}},
                    3);
}

Test(rules, the_first_fault_of_an_identity_update_names_it)
{
    struct mig_row row = fixture_row(MIG_TABLE_INBOX_LOG);

    row.id = 0;
    set_bytes(&row, MIG_IL_INBOX_ID, EMPTY);
    set_bytes(&row, MIG_IL_UPDATE, EMPTY);
    expect_mendings(MIG_TABLE_INBOX_LOG, row,
                    (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                                       {MIG_REASON_IDENTIFIER_EMPTY, MIG_IL_INBOX_ID},
                                       {MIG_REASON_IDENTITY_UPDATE_EMPTY, MIG_IL_UPDATE}},
                    3);
    set_bytes(&row, MIG_IL_INBOX_ID, text("twenty bytes, all in"));
    set_bytes(&row, MIG_IL_UPDATE, text("\xff"));
    expect_mendings(MIG_TABLE_INBOX_LOG, row,
                    (struct mending[]){{MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE, -1},
                                       {MIG_REASON_INBOX_ID_LENGTH, MIG_IL_INBOX_ID},
                                       {MIG_REASON_IDENTITY_UPDATE_UNPARSABLE, MIG_IL_UPDATE}},
                    3);
}

/* ---- expiry --------------------------------------------------------------------------------- */

Test(rules, expiry_is_decided_before_any_fault)
{
    static const enum mig_table expiring[] = {MIG_TABLE_GROUP_MESSAGES, MIG_TABLE_WELCOME_MESSAGES,
                                              MIG_TABLE_KEY_PACKAGES};
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();

    fixture_open(&fixture, FIXTURE_AS_OF + 61 * MIG_NS_PER_DAY);
    for (size_t i = 0; i < mig_count_of(expiring); i++) {
        const struct mig_table_info *info = mig_table_info(expiring[i]);
        struct mig_row row = fixture_row(expiring[i]);
        struct mig_envelope envelope;

        row.id = -5;
        for (int column = 0; column < (int) info->column_count; column++)
            if (info->columns[column].type == MIG_COLUMN_BYTES)
                set_bytes(&row, column, EMPTY);
        envelope = fixture_transform(&fixture, &row);
        cr_expect_eq(envelope.route, MIG_ROUTE_EXPIRED, "%s", info->name);
        cr_expect_eq(envelope.reason, MIG_REASON_NONE, "%s", info->name);
        cr_expect_eq(envelope.findings, 0, "%s", info->name);
    }
}

Test(rules, a_row_expires_at_the_very_instant)
{
    struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);

    for (int64_t after_ns = -1; after_ns <= 1; after_ns++) {
        mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();

        set_number(&row, MIG_KP_CREATED_NS, FIXTURE_AS_OF - 60 * MIG_NS_PER_DAY + after_ns);
        fixture_open(&fixture, FIXTURE_AS_OF);
        cr_expect_eq(fixture_transform(&fixture, &row).route,
                     after_ns <= 0 ? MIG_ROUTE_EXPIRED : MIG_ROUTE_NODE);
    }
}

Test(rules, commits_and_identity_updates_never_expire)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row rows[2];

    rows[0] = fixture_commit(&fixture, 100);
    rows[1] = fixture_row(MIG_TABLE_INBOX_LOG);
    fixture_open(&fixture, FIXTURE_AS_OF + 100000 * MIG_NS_PER_DAY / 10);
    for (size_t i = 0; i < mig_count_of(rows); i++)
        cr_expect_eq(fixture_transform(&fixture, &rows[i]).route, MIG_ROUTE_CHAIN);
}

Test(rules, infinity_is_a_time_that_no_envelope_can_say)
{
    for (int keep = 0; keep < 2; keep++) {
        mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
        struct mig_row row = fixture_row(MIG_TABLE_GROUP_MESSAGES), commit;

        fixture.manifest->policy.keep_expired = keep;
        fixture_open(&fixture, FIXTURE_AS_OF);
        set_number(&row, MIG_GM_CREATED_AT, INT64_MAX);
        cr_expect_eq(fixture_transform(&fixture, &row).reason, MIG_REASON_TIME_OUT_OF_RANGE);
        set_number(&row, MIG_GM_CREATED_AT, INT64_MIN);
        cr_expect_eq(fixture_transform(&fixture, &row).route,
                     keep ? MIG_ROUTE_REJECTED : MIG_ROUTE_EXPIRED, "expired since for ever");
        set_number(&row, MIG_GM_CREATED_AT, INT64_C(290000) * 366 * US_PER_DAY);
        cr_expect_eq(fixture_transform(&fixture, &row).reason, MIG_REASON_TIME_OUT_OF_RANGE);
        commit = fixture_commit(&fixture, 100);
        set_number(&commit, MIG_GM_CREATED_AT, INT64_MAX);
        cr_expect_eq(fixture_transform(&fixture, &commit).route, MIG_ROUTE_CHAIN,
                     "the chain has a clock of its own");
    }
}

Test(rules, expiry_counts_whole_seconds_downwards)
{
    static const struct {
        int64_t created_ns, expiry;
    } cases[] = {{1999999999, 1 + 60 * 86400},   {0, 60 * 86400},
                 {-1, -1 + 60 * 86400},          {-1000000000, -1 + 60 * 86400},
                 {-1000000001, -2 + 60 * 86400}, {INT64_MAX, INT64_C(9223372036) + 60 * 86400}};
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row row = fixture_row(MIG_TABLE_KEY_PACKAGES);

    fixture.manifest->policy.keep_expired = true;
    fixture_open(&fixture, FIXTURE_AS_OF);
    for (size_t i = 0; i < mig_count_of(cases); i++) {
        set_number(&row, MIG_KP_CREATED_NS, cases[i].created_ns);
        cr_expect_eq(fixture_transform(&fixture, &row).expiry_unixtime, cases[i].expiry,
                     "created at %lld", (long long) cases[i].created_ns);
    }
}

/* ---- sizes ---------------------------------------------------------------------------------- */

Test(rules, a_payload_may_fill_the_chains_limit_and_not_pass_it)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    const size_t probe = MIG_CHAIN_PAYLOAD_MAX - 1000;
    struct mig_row row = fixture_commit(&fixture, probe);
    struct mig_envelope envelope;
    size_t fits;

    fixture_open(&fixture, FIXTURE_AS_OF);
    envelope = fixture_transform(&fixture, &row);
    fits = probe + MIG_CHAIN_PAYLOAD_MAX - envelope.client_envelope.size;
    row = fixture_commit(&fixture, fits);
    envelope = fixture_transform(&fixture, &row);
    cr_expect_eq(envelope.route, MIG_ROUTE_CHAIN);
    cr_expect_eq(envelope.client_envelope.size, MIG_CHAIN_PAYLOAD_MAX);
    row = fixture_commit(&fixture, fits + 1);
    envelope = fixture_transform(&fixture, &row);
    cr_expect_eq(envelope.reason, MIG_REASON_PAYLOAD_TOO_LARGE);
    cr_expect_eq(envelope.kind, MIG_KIND_COMMIT_MESSAGES);
}

Test(rules, an_identity_update_too_large_for_the_chain_is_rejected)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row row = fixture_row(MIG_TABLE_INBOX_LOG);
    const size_t size = MIG_CHAIN_PAYLOAD_MAX - 41;
    void *update;

    /* An unknown field 15 of bytes; the client envelope adds 41 around it. */
    cr_assert_eq(mig_arena_alloc(&fixture.arena, size + 1, &update, NULL), MIG_OK);
    memset(update, 0, size + 1);
    fixture_open(&fixture, FIXTURE_AS_OF);
    for (size_t more = 0; more < 2; more++) {
        const size_t length = size + more - 4;

        memcpy(update,
               (uint8_t[]){0x7a, (uint8_t) (0x80 | (length & 0x7f)),
                           (uint8_t) (0x80 | (length >> 7 & 0x7f)), (uint8_t) (length >> 14)},
               4);
        set_bytes(&row, MIG_IL_UPDATE, (struct mig_bytes){update, size + more});
        cr_expect_eq(fixture_transform(&fixture, &row).reason,
                     more ? MIG_REASON_PAYLOAD_TOO_LARGE : MIG_REASON_NONE);
    }
}

Test(rules, nodes_take_what_the_chain_would_not)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
    struct mig_row row = fixture_commit(&fixture, MIG_CHAIN_PAYLOAD_MAX * 2);
    uint8_t *data = (uint8_t *) (uintptr_t) row.values[MIG_GM_DATA].bytes.data;

    data[4 + 1 + 16 + 8] = MIG_MLS_APPLICATION;
    fixture_open(&fixture, FIXTURE_AS_OF);
    cr_expect_eq(fixture_transform(&fixture, &row).route, MIG_ROUTE_NODE);
}

/* ---- profile xmtpd -------------------------------------------------------------------------- */

Test(rules, only_profile_correct_lets_the_bytes_overrule_the_column)
{
    static const enum mig_profile profiles[] = {MIG_PROFILE_CORRECT, MIG_PROFILE_XMTPD};

    for (size_t i = 0; i < mig_count_of(profiles); i++) {
        mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();
        struct mig_row row = fixture_commit(&fixture, 100);

        fixture.manifest->policy.profile = profiles[i];
        fixture_open(&fixture, FIXTURE_AS_OF);
        row.values[MIG_GM_IS_COMMIT].number = false;
        cr_expect_eq(fixture_transform(&fixture, &row).route,
                     profiles[i] == MIG_PROFILE_CORRECT ? MIG_ROUTE_CHAIN : MIG_ROUTE_NODE);
        row.values[MIG_GM_IS_COMMIT].is_null = true;
        cr_expect_eq(fixture_transform(&fixture, &row).route, MIG_ROUTE_CHAIN);
    }
}

Test(rules, a_digest_covers_its_label_and_its_target)
{
    const struct mig_bytes client = text("bytes");
    uint8_t digests[3][MIG_DIGEST_SIZE], plain[MIG_DIGEST_SIZE];
    const struct mig_bytes by_hand = {(const uint8_t *) "target|\0\0\0\12payer|bytes", 22};

    mig_payer_digest(10, client, digests[0]);
    mig_payer_digest(11, client, digests[1]);
    mig_originator_digest(client, digests[2]);
    mig_keccak256(&by_hand, 1, plain);
    cr_expect_arr_eq(digests[0], plain, MIG_DIGEST_SIZE);
    cr_expect_neq(memcmp(digests[0], digests[1], MIG_DIGEST_SIZE), 0);
    mig_keccak256((struct mig_bytes[]){text("originator|bytes")}, 1, plain);
    cr_expect_arr_eq(digests[2], plain, MIG_DIGEST_SIZE);
}
