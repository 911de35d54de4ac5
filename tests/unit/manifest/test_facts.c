/* The digest of what decides what a row becomes: the same for the same facts, another for others.
 */
#include "document.h"

struct digest {
    char text[65];
};

static struct digest digest_of(struct document document)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good(document);
    struct digest digest;

    cr_assert_eq(mig_manifest_facts(manifest, digest.text, NULL), MIG_OK);
    cr_assert_eq(strspn(digest.text, "0123456789abcdef"), 64);
    return digest;
}

Test(facts, keep_their_digest_from_one_version_to_the_next)
{
    /* SHA-256 of the nine lines of the good document's facts, as sha256sum gives it. */
    cr_assert_str_eq(digest_of((struct document){0}).text,
                     "de07b045d075ab57e6048eca3ae70c55cdf18c9acde004b822c6eca2b9c2ea29");
}

/* Where rows come from and go to, what is kept of them and which key is whose are no such facts:
 * keys and as_of are compared on their own. */
static const struct document same[] = {
    {.source = "{\"dsn\": \"env:OTHER\", \"settle\": \"all-transactions\"}"},
    {.source = "{\"dsn\": \"env:V3_DSN\", \"limits\": {\"active_sessions\": 3}}"},
    {.nodes = "[{\"name\": \"alpha\", \"node_id\": 100, \"dsn\": \"env:ALPHA_DSN\", "
              "\"limits\": {\"lock_timeout_s\": 3}}]"},
    {.nodes = "[{\"name\": \"beta\", \"node_id\": 200, \"dsn\": \"env:B\"}]"},
    {.keys = "{\"payer\": \"fd:3\", \"originator\": \"fd:4\"}"},
    {.policy = "{}"},
    {.policy = "{\"profile\": \"correct\", \"usage\": \"count\"}"},
    {.policy = "{\"retention_days\": {\"group_messages\": 60}}"},
    {.policy = "{\"source_retention_days\": {\"group_messages\": 20}}"},
    {.policy = "{\"allow_shorter_than_source\": [\"key_packages\"]}"},
    {.rates = "[{\"storage_fee\": 200, \"message_fee\": 100, "
              "\"start\": \"2025-01-01T01:00:00.000+01:00\"}]"},
    {.more = "\"rate_bounds\": {\"message_fee\": 5000}"},
    {.more = "\"chain\": {\"application_chain_id\": 1}"},
};

Test(facts, do_not_hang_on_what_changes_no_envelope)
{
    const struct digest good = digest_of((struct document){0});

    for (size_t i = 0; i < mig_count_of(same); i++)
        cr_assert_str_eq(digest_of(same[i]).text, good.text, "case %zu", i);
}

#define SECOND_RATE(start, message, storage)                                                       \
    "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 100, \"storage_fee\": 200},"          \
    "{\"start\": \"" start "\", \"message_fee\": " message ", \"storage_fee\": " storage "}]"

static const struct document different[] = {
    {0},
    {.network = "\"other\""},
    {.policy = "{\"profile\": \"xmtpd\"}"},
    {.policy = "{\"originator_ns\": \"migrated\"}"},
    {.policy = "{\"expired\": \"keep\"}"},
    {.policy = "{\"retention_days\": {\"group_messages\": 61}}"},
    {.policy = "{\"retention_days\": {\"welcome_messages\": 91}}"},
    {.policy = "{\"retention_days\": {\"key_packages\": 91}}"},
    {.rates = "[{\"start\": \"2025-01-01T00:00:00.000000001Z\", \"message_fee\": 100, "
              "\"storage_fee\": 200}]"},
    {.rates = "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 101, "
              "\"storage_fee\": 200}]"},
    {.rates = "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 100, "
              "\"storage_fee\": 201}]"},
    {.rates = "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 200, "
              "\"storage_fee\": 100}]"},
    {.rates = SECOND_RATE("2025-02-01T00:00:00Z", "100", "200")},
    {.rates = SECOND_RATE("2025-03-01T00:00:00Z", "100", "200")},
};

Test(facts, differ_with_everything_that_decides_what_a_row_becomes)
{
    for (size_t i = 0; i < mig_count_of(different); i++)
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(digest_of(different[i]).text, digest_of(different[j]).text,
                              "cases %zu and %zu", i, j);
}

/* ---- one by one ------------------------------------------------------------------------------ */

static void assert_compared(struct document then, struct document now, const char *expected)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *old = parse_good(then);
    mig_cleanup(mig_manifest_free) struct mig_manifest *mine = parse_good(now);
    mig_cleanup(mig_buffer_release) struct mig_buffer kept = MIG_BUFFER_INIT(1 << 16);
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(1 << 16);

    cr_assert_eq(mig_manifest_print_pinned(old, &kept, NULL), MIG_OK);
    cr_assert_eq(
        mig_manifest_compare_pinned(mine, (const char *) kept.data, "the run", &text, NULL),
        MIG_OK);
    cr_assert_str_eq(text.data ? (const char *) text.data : "", expected);
}

Test(facts, tell_one_by_one_what_differs)
{
    for (size_t i = 0; i < mig_count_of(same); i++)
        assert_compared((struct document){0}, same[i], "");
    for (size_t i = 0; i < mig_count_of(different); i++)
        assert_compared(different[i], different[i], "");
    assert_compared((struct document){0},
                    (struct document){.policy = "{\"retention_days\": {\"group_messages\": 30}, "
                                                "\"allow_shorter_than_source\": "
                                                "[\"group_messages\"], \"expired\": \"keep\"}"},
                    "expired: drop in the run, keep in the manifest; retention_days.group_messages:"
                    " 60 in the run, 30 in the manifest");
    assert_compared((struct document){0},
                    (struct document){.rates = SECOND_RATE("2025-02-01T00:00:00Z", "7", "8")},
                    "rates[1].start: none in the run, 2025-02-01T00:00:00Z in the manifest; "
                    "rates[1].message_fee: none in the run, 7 in the manifest; "
                    "rates[1].storage_fee: none in the run, 8 in the manifest");
    assert_compared((struct document){.rates = SECOND_RATE("2025-02-01T00:00:00Z", "7", "8")},
                    (struct document){.network = "\"other\""},
                    "network: local in the run, other in the manifest; "
                    "rates[1].start: 2025-02-01T00:00:00Z in the run, none in the manifest; "
                    "rates[1].message_fee: 7 in the run, none in the manifest; "
                    "rates[1].storage_fee: 8 in the run, none in the manifest");
}

Test(facts, that_were_tampered_with_are_told_to_be_unreadable)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good((struct document){0});
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(1 << 16);

    cr_assert_eq(mig_manifest_compare_pinned(manifest, "[1]", "the run", &text, NULL),
                 MIG_E_CORRUPT);
    cr_assert_eq(mig_manifest_compare_pinned(manifest, "{", "the run", &text, NULL), MIG_E_CORRUPT);
}
