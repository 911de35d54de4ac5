/* Who is a commit, who is expired: what is said of a row before anything is built from it. */
#include "libmigrate/source/source.h"
#include "support/golden.h"

#include <criterion/criterion.h>
#include <string.h>

#define NULL_COLUMN (-1)
#define AS_OF (INT64_C(1767225600) * MIG_NS_PER_SECOND)
#define HEAD "\0\1\0\2\20ABCDEFGHIJKLMNOP\0\0\0\0\0\0\0\0"

static const struct mig_policy correct = {.profile = MIG_PROFILE_CORRECT,
                                          .retention_days = {[MIG_KIND_GROUP_MESSAGES] = 60,
                                                             [MIG_KIND_WELCOME_MESSAGES] = 90,
                                                             [MIG_KIND_KEY_PACKAGES] = 30}};

static struct mig_policy xmtpd(void)
{
    struct mig_policy policy = correct;

    policy.profile = MIG_PROFILE_XMTPD;
    return policy;
}

enum { APPLICATION, COMMIT, UNREADABLE };

static struct mig_row message(int bytes, int is_commit)
{
    static const struct mig_bytes data[] = {
        [APPLICATION] = {(const uint8_t *) HEAD "\1", sizeof HEAD},
        [COMMIT] = {(const uint8_t *) HEAD "\3", sizeof HEAD},
        [UNREADABLE] = {(const uint8_t *) "nothing", 7},
    };
    struct mig_row row = {.table = MIG_TABLE_GROUP_MESSAGES, .id = 1};

    row.values[MIG_GM_CREATED_AT].number = AS_OF / 1000 - MIG_PG_EPOCH_US;
    row.values[MIG_GM_DATA].bytes = data[bytes];
    row.values[MIG_GM_IS_COMMIT].is_null = is_commit == NULL_COLUMN;
    row.values[MIG_GM_IS_COMMIT].number = is_commit == 1;
    return row;
}

static struct mig_standing standing_of(const struct mig_policy *policy, const struct mig_row *row)
{
    struct mig_standing standing;

    memset(&standing, 0xa5, sizeof standing);
    mig_source_standing(policy, AS_OF, row, &standing);
    return standing;
}

Test(standing, tells_commits_by_bytes_and_column)
{
    enum { MESSAGES = MIG_KIND_GROUP_MESSAGES, COMMITS = MIG_KIND_COMMIT_MESSAGES };
    enum {
        WAS_NULL = 1 << MIG_FINDING_IS_COMMIT_NULL,
        DISAGREES = 1 << MIG_FINDING_IS_COMMIT_DISAGREES,
        UNPARSABLE = 1 << MIG_FINDING_MLS_UNPARSABLE,
    };
    static const struct {
        int bytes, column;
        int by_correct, by_xmtpd;
        bool told;
        uint32_t findings;
    } cases[] = {
        {APPLICATION, 0, MESSAGES, MESSAGES, true, 0},
        {APPLICATION, 1, MESSAGES, COMMITS, true, DISAGREES},
        {APPLICATION, NULL_COLUMN, MESSAGES, MESSAGES, true, WAS_NULL},
        {COMMIT, 0, COMMITS, MESSAGES, true, DISAGREES},
        {COMMIT, 1, COMMITS, COMMITS, true, 0},
        {COMMIT, NULL_COLUMN, COMMITS, COMMITS, true, WAS_NULL},
        {UNREADABLE, 0, MESSAGES, MESSAGES, true, UNPARSABLE},
        {UNREADABLE, 1, COMMITS, COMMITS, true, UNPARSABLE},
        {UNREADABLE, NULL_COLUMN, MESSAGES, MESSAGES, false, WAS_NULL | UNPARSABLE},
    };
    const struct mig_policy other = xmtpd();

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        const struct mig_row row = message(cases[i].bytes, cases[i].column);
        const struct mig_standing by_correct = standing_of(&correct, &row);
        const struct mig_standing by_xmtpd = standing_of(&other, &row);

        cr_expect_eq(by_correct.kind, (enum mig_kind) cases[i].by_correct, "case %zu", i);
        cr_expect_eq(by_xmtpd.kind, (enum mig_kind) cases[i].by_xmtpd, "case %zu", i);
        cr_expect_eq(by_correct.kind_told, cases[i].told, "case %zu", i);
        cr_expect_eq(by_xmtpd.kind_told, cases[i].told, "case %zu", i);
        cr_expect_eq(by_correct.findings, cases[i].findings, "case %zu", i);
    }
}

Test(standing, of_the_vectors_names_the_kind_of_every_row)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    struct mig_policy policy = correct;

    policy.keep_expired = true;
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_standing standing = standing_of(&policy, &vector.row);
        const struct mig_kind_info *kind = mig_kind_info(standing.kind);
        const char *route = golden_text(vector.expect, "route");

        cr_expect_eq(kind->table, vector.row.table, "%s", vector.name);
        cr_expect_not(standing.expired, "%s", vector.name);
        cr_expect(standing.since_known, "%s", vector.name);
        if (strcmp(route, "rejected") != 0)
            cr_expect_eq(kind->route,
                         strcmp(route, "chain") == 0 ? MIG_ROUTE_CHAIN : MIG_ROUTE_NODE, "%s",
                         vector.name);
    }
}

/* A row of the kind, created as said. */
static struct mig_row made_at(enum mig_kind kind, int64_t created_ns)
{
    const struct mig_table_info *info = mig_table_info(mig_kind_info(kind)->table);
    struct mig_row row = message(kind == MIG_KIND_COMMIT_MESSAGES ? COMMIT : APPLICATION, 0);

    row.table = mig_kind_info(kind)->table;
    if (row.table != MIG_TABLE_GROUP_MESSAGES)
        memset(row.values, 0, sizeof row.values);
    if (row.table == MIG_TABLE_KEY_PACKAGES)
        row.values[MIG_KP_CURRENT_SINCE_NS].is_null = true;
    row.values[info->created_column].number =
        info->columns[info->created_column].type == MIG_COLUMN_TIMESTAMP
            ? created_ns / 1000 - MIG_PG_EPOCH_US
            : created_ns;
    return row;
}

Test(standing, expires_each_kind_after_its_own_days_and_at_the_instant)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        for (int64_t after_us = -1; after_us <= 1; after_us++) {
            const struct mig_kind_info *info = mig_kind_info((enum mig_kind) kind);
            const int64_t created_ns =
                AS_OF - correct.retention_days[kind] * MIG_NS_PER_DAY + after_us * 1000;
            const struct mig_row row = made_at((enum mig_kind) kind, created_ns);
            const struct mig_standing standing = standing_of(&correct, &row);

            cr_expect_eq(standing.kind, (enum mig_kind) kind);
            cr_expect_eq(standing.since_ns, created_ns, "%s", info->name);
            cr_expect_eq(standing.expired, info->expires && after_us <= 0, "%s", info->name);
        }
}

Test(standing, expires_nothing_when_the_policy_keeps_it)
{
    struct mig_policy keeping = correct;

    keeping.keep_expired = true;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        const struct mig_row row = made_at((enum mig_kind) kind, 0);

        cr_expect_eq(standing_of(&correct, &row).expired,
                     mig_kind_info((enum mig_kind) kind)->expires);
        cr_expect_not(standing_of(&keeping, &row).expired);
    }
}

Test(standing, survives_times_at_both_ends)
{
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX};

    for (size_t i = 0; i < mig_count_of(ends); i++) {
        struct mig_row row = made_at(MIG_KIND_KEY_PACKAGES, ends[i]);
        struct mig_standing standing = standing_of(&correct, &row);

        cr_expect(standing.since_known);
        cr_expect_eq(standing.since_ns, ends[i]);
        cr_expect_eq(standing.expired, ends[i] < 0);
        row = made_at(MIG_KIND_WELCOME_MESSAGES, 0);
        row.values[MIG_WM_CREATED_AT].number = ends[i];
        standing = standing_of(&correct, &row);
        cr_expect_not(standing.since_known);
        cr_expect_eq(standing.expired, ends[i] < 0);
    }
}

Test(standing, counts_a_current_key_package_from_the_later_of_two_times)
{
    static const int64_t shifts[] = {-5, -1, 0, 1, 5};
    const struct mig_policy other = xmtpd();

    for (size_t i = 0; i < mig_count_of(shifts); i++) {
        const int64_t created_ns = AS_OF - 3 * MIG_NS_PER_DAY;
        struct mig_row row = made_at(MIG_KIND_KEY_PACKAGES, created_ns);

        row.values[MIG_KP_CURRENT_SINCE_NS] = (struct mig_value){.number = created_ns + shifts[i]};
        cr_expect_eq(standing_of(&correct, &row).since_ns,
                     created_ns + (shifts[i] > 0 ? shifts[i] : 0));
        cr_expect_eq(standing_of(&other, &row).since_ns, created_ns);
    }
}
