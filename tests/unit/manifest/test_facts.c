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
