/* What is pinned for a run, and what does not fit it. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ONE "0101010101010101010101010101010101010101010101010101010101010101"
#define KEY_TWO "0202020202020202020202020202020202020202020202020202020202020202"

static struct mig_manifest *manifest_of(const char *network, const char *profile, int storage_fee)
{
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    char text[2048];

    snprintf(text, sizeof text,
             "{\"schema\":\"xmtp-migrate/manifest/1\",\"network\":\"%s\","
             "\"source\":{\"dsn\":\"env:V3\"},"
             "\"nodes\":[{\"name\":\"alpha\",\"node_id\":100,\"dsn\":\"env:A\"}],"
             "\"keys\":{\"payer\":\"env:P\",\"originator\":\"env:O\"},"
             "\"policy\":{\"profile\":\"%s\"},"
             "\"rates\":[{\"start\":\"2025-01-01T00:00:00Z\",\"message_fee\":1,"
             "\"storage_fee\":%d}]}",
             network, profile, storage_fee);
    cr_assert_eq(mig_manifest_parse(mig_bytes_of_text(text), "m.json", &manifest, NULL, &err),
                 MIG_OK, "%s", err.message);
    return manifest;
}

static struct pipeline_keys keys_of(const char *payer, const char *originator)
{
    struct pipeline_keys keys = {0};

    cr_assert_eq(mig_signer_open(payer, strlen(payer), &keys.payer, NULL), MIG_OK);
    cr_assert_eq(mig_signer_open(originator, strlen(originator), &keys.originator, NULL), MIG_OK);
    return keys;
}

/* Facts of one manifest and keys held against another. */
static int check(const char *network, const char *profile, int fee, const char *payer,
                 const char *originator, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *made = manifest_of("local", "correct", 2);
    mig_cleanup(mig_manifest_free) struct mig_manifest *mine = manifest_of(network, profile, fee);
    mig_cleanup(pipeline_keys_release) struct pipeline_keys made_keys = keys_of(KEY_ONE, KEY_TWO);
    mig_cleanup(pipeline_keys_release) struct pipeline_keys my_keys = keys_of(payer, originator);
    struct mig_bundle_facts facts;

    cr_assert_eq(pipeline_facts(made, 5, &made_keys, NULL, &facts, NULL), MIG_OK);
    return pipeline_check_facts(mine, &my_keys, &facts, NULL, "rows.tar", err);
}

Test(facts, that_are_the_same_fit)
{
    cr_assert_eq(check("local", "correct", 2, KEY_ONE, KEY_TWO, NULL), MIG_OK);
}

Test(facts, that_differ_are_refused_with_what_differs)
{
    const struct {
        const char *network, *profile;
        int fee;
        const char *payer, *originator, *word;
    } cases[] = {
        {"mainnet", "correct", 2, KEY_ONE, KEY_TWO, "network"},
        {"local", "xmtpd", 2, KEY_ONE, KEY_TWO, "profile"},
        {"local", "correct", 3, KEY_ONE, KEY_TWO, "rates"},
        {"local", "correct", 2, KEY_TWO, KEY_TWO, "payer"},
        {"local", "correct", 2, KEY_ONE, KEY_ONE, "originator"},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(check(cases[i].network, cases[i].profile, cases[i].fee, cases[i].payer,
                           cases[i].originator, &err),
                     MIG_E_REFUSED, "%s", cases[i].word);
        cr_assert_not_null(strstr(err.message, cases[i].word), "%s", err.message);
        cr_assert_not_null(strstr(err.message, "rows.tar"));
    }
}

static struct mig_envelope chain_row(int64_t id, const char *payload)
{
    return (struct mig_envelope){
        .route = MIG_ROUTE_CHAIN, .sequence_id = id, .client_envelope = mig_bytes_of_text(payload)};
}

static struct mig_envelope node_row(int64_t id, const char *envelope, int64_t gateway_time_us)
{
    return (struct mig_envelope){.route = MIG_ROUTE_NODE,
                                 .sequence_id = id,
                                 .originator_envelope = mig_bytes_of_text(envelope),
                                 .gateway_time_us = gateway_time_us};
}

static void digest_of(const struct mig_envelope *envelopes, size_t count, enum mig_route route,
                      char digest[65])
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;

    cr_assert_eq(mig_part_new(MIG_TABLE_INBOX_LOG, 1, &part, NULL), MIG_OK);
    part->envelopes = calloc(count + 1, sizeof *part->envelopes);
    for (size_t i = 0; i < count; i++) {
        struct mig_row *row;

        cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
        part->envelopes[i] = envelopes[i];
    }
    cr_assert_eq(pipeline_digest(part, route, NULL, digest, NULL), MIG_OK);
}

Test(facts, the_digest_of_chain_rows_tells_order_and_cuts_apart)
{
    const struct mig_envelope one[] = {chain_row(1, "ab"), chain_row(2, "c")};
    const struct mig_envelope other[] = {chain_row(1, "c"), chain_row(2, "ab")};
    const struct mig_envelope cut[] = {chain_row(1, "a"), chain_row(2, "bc")};
    char a[65], b[65], c[65], none[65];

    digest_of(one, 2, MIG_ROUTE_CHAIN, a);
    digest_of(other, 2, MIG_ROUTE_CHAIN, b);
    digest_of(cut, 2, MIG_ROUTE_CHAIN, c);
    digest_of(one, 2, MIG_ROUTE_NODE, none);
    cr_assert_str_neq(a, b);
    cr_assert_str_neq(a, c);
    cr_assert_str_eq(none, "");
}

Test(facts, the_digest_for_nodes_is_of_what_they_get_and_nothing_else)
{
    const struct mig_envelope one[] = {node_row(1, "ab", 7), chain_row(2, "c")};
    const struct mig_envelope alone[] = {node_row(1, "ab", 7)};
    const struct mig_envelope moved[] = {node_row(2, "ab", 7)};
    const struct mig_envelope later[] = {node_row(1, "ab", 8)};
    const struct mig_envelope changed[] = {node_row(1, "ac", 7)};
    char a[65], b[65];

    digest_of(one, 2, MIG_ROUTE_NODE, a);
    digest_of(alone, 1, MIG_ROUTE_NODE, b);
    cr_assert_str_eq(a, b);
    digest_of(moved, 1, MIG_ROUTE_NODE, b);
    cr_assert_str_neq(a, b);
    digest_of(later, 1, MIG_ROUTE_NODE, b);
    cr_assert_str_neq(a, b);
    digest_of(changed, 1, MIG_ROUTE_NODE, b);
    cr_assert_str_neq(a, b);
}

/* One key package as a digest sees it: created, current since (0: it is not), 90 days. */
static void digest_of_package(const char *package, int64_t created_ns, int64_t current_ns,
                              const char *profile, char digest[65])
{
    const int64_t since_ns = current_ns > created_ns ? current_ns : created_ns;
    struct mig_bundle_facts facts = {.as_of_ns = 100 * MIG_NS_PER_DAY};
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_row *row;

    snprintf(facts.profile, sizeof facts.profile, "%s", profile);
    cr_assert_eq(mig_part_new(MIG_TABLE_KEY_PACKAGES, 1, &part, NULL), MIG_OK);
    cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
    row->table = MIG_TABLE_KEY_PACKAGES;
    row->values[MIG_KP_CREATED_NS].number = created_ns;
    row->values[MIG_KP_INSTALLATION_ID].bytes = mig_bytes_of_text("installation");
    row->values[MIG_KP_KEY_PACKAGE].bytes = mig_bytes_of_text(package);
    row->values[MIG_KP_CURRENT_SINCE_NS].is_null = current_ns == 0;
    row->values[MIG_KP_CURRENT_SINCE_NS].number = current_ns;
    part->envelopes = calloc(1, sizeof *part->envelopes);
    part->envelopes[0] = node_row(1, current_ns ? "current" : "not", since_ns / 1000);
    part->envelopes[0].row = row;
    part->envelopes[0].expiry_unixtime = since_ns / MIG_NS_PER_SECOND + INT64_C(90) * 86400;
    cr_assert_eq(pipeline_digest(part, MIG_ROUTE_NODE, &facts, digest, NULL), MIG_OK);
}

Test(facts, the_digest_for_nodes_does_not_hang_on_what_is_current)
{
    const int64_t day = MIG_NS_PER_DAY;
    char a[65], b[65];

    digest_of_package("one", 50 * day + 1, 0, "correct", a);
    digest_of_package("one", 50 * day + 1, 60 * day + 999999999, "correct", b);
    cr_assert_str_eq(a, b);
    digest_of_package("two", 50 * day + 1, 0, "correct", b);
    cr_assert_str_neq(a, b);
    digest_of_package("one", 50 * day + 1, 60 * day, "xmtpd", b);
    cr_assert_str_neq(a, b);
    /* Created at the last moment that has expired, and just after it. */
    digest_of_package("one", 10 * day, 60 * day + 999999999, "correct", b);
    cr_assert_str_eq(b, "");
    digest_of_package("one", 10 * day + 1, 60 * day + 999999999, "correct", b);
    cr_assert_str_eq(a, b);
}

/* ---- clocks -----------------------------------------------------------------------------------
 */

static void count_line(void *context, enum mig_log_level level, const char *message)
{
    (void) message;
    cr_assert_eq(level, MIG_LOG_WARN);
    ++*(int *) context;
}

Test(facts, an_instant_by_a_clock_that_is_far_off_is_not_pinned)
{
    static const struct {
        int64_t ahead_s;
        int result, warnings;
    } cases[] = {
        {0, MIG_OK, 0},
        {60, MIG_OK, 0},
        {-60, MIG_OK, 0},
        {61, MIG_OK, 1},
        {-3599, MIG_OK, 1},
        {3600, MIG_E_REFUSED, 0},
        {-3600, MIG_E_REFUSED, 0},
        {INT64_C(86400) * 36500, MIG_E_REFUSED, 0},
    };
    const int64_t theirs = INT64_C(1767225600) * MIG_NS_PER_SECOND;

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        int warnings = 0;
        const struct mig_hooks hooks = {.log = count_line, .context = &warnings};
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(pipeline_compare_clocks(theirs + cases[i].ahead_s * MIG_NS_PER_SECOND, theirs,
                                             &hooks, &err),
                     cases[i].result, "case %zu", i);
        cr_assert_eq(warnings, cases[i].warnings, "case %zu", i);
        if (cases[i].result != MIG_OK)
            cr_assert_not_null(
                strstr(err.message, cases[i].ahead_s < 0 ? "behind the source" : "ahead of the"));
    }
}
