/* What a good manifest becomes. */
#include "document.h"

#include <unistd.h>

Test(model, fills_in_what_a_manifest_leaves_out)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good((struct document){0});
    const struct mig_policy *policy = &manifest->policy;

    cr_assert_eq(manifest->settle, MIG_SETTLE_WRITERS);
    cr_assert_eq(policy->profile, MIG_PROFILE_CORRECT);
    cr_assert_eq(policy->clock, MIG_CLOCK_CREATED);
    cr_assert_not(policy->count_usage);
    cr_assert_not(policy->keep_expired);
    cr_assert_eq(policy->retention_days[MIG_KIND_GROUP_MESSAGES], 60);
    cr_assert_eq(policy->retention_days[MIG_KIND_WELCOME_MESSAGES], 90);
    cr_assert_eq(policy->retention_days[MIG_KIND_KEY_PACKAGES], 90);
    cr_assert_eq(policy->source_retention_days[MIG_KIND_GROUP_MESSAGES], 30);
    cr_assert_eq(policy->source_retention_days[MIG_KIND_WELCOME_MESSAGES], 90);
    cr_assert_eq(policy->source_retention_days[MIG_KIND_KEY_PACKAGES], 90);
    cr_assert_eq(policy->retention_days[MIG_KIND_COMMIT_MESSAGES], 0);
    cr_assert_eq(policy->retention_days[MIG_KIND_INBOX_LOG], 0);
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        cr_assert_not(policy->shorter_allowed[kind]);
}

Test(model, holds_what_the_document_says)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    const struct mig_policy *policy;

    cr_assert_eq(
        mig_manifest_load(TESTS_FOLDER "/data/manifests/good/full.json", &manifest, NULL, &err),
        MIG_OK, "%s", err.message);
    policy = &manifest->policy;
    cr_assert_str_eq(manifest->path, TESTS_FOLDER "/data/manifests/good/full.json");
    cr_assert_str_eq(manifest->network, "trial-1");
    cr_assert_str_eq(manifest->source_dsn.text, "host=localhost dbname=v3");
    cr_assert_eq(manifest->settle, MIG_SETTLE_ALL_TRANSACTIONS);
    cr_assert_eq(manifest->source_limits.replication_lag_s, 30);
    cr_assert_eq(manifest->source_limits.active_sessions, 50);
    cr_assert_eq(manifest->source_limits.statement_timeout_s, 60);
    cr_assert_eq(manifest->source_limits.lock_timeout_s, 5);
    cr_assert_eq(manifest->nodes[0].limits.replication_lag_s, 86400);
    cr_assert_eq(manifest->nodes[0].limits.statement_timeout_s, 1);
    cr_assert_eq(manifest->nodes[0].limits.lock_timeout_s, 2);
    cr_assert_eq(manifest->nodes[1].limits.lock_timeout_s, 0);
    cr_assert_eq(manifest->node_count, 3);
    cr_assert_str_eq(manifest->nodes[1].name, "beta");
    cr_assert_eq(manifest->nodes[1].node_id, INT32_MAX);
    cr_assert_str_eq(manifest->nodes[1].dsn.text, "fd:7");
    cr_assert_str_eq(manifest->payer_key.text, "file:payer.key");
    cr_assert_str_eq(manifest->payer_key.folder, TESTS_FOLDER "/data/manifests/good");
    cr_assert_str_eq(manifest->originator_key.text, "env:XMTP_ORIGINATOR_KEY");
    cr_assert_eq(policy->clock, MIG_CLOCK_MIGRATED);
    cr_assert(policy->count_usage);
    cr_assert(policy->keep_expired);
    cr_assert_eq(policy->retention_days[MIG_KIND_WELCOME_MESSAGES], 60);
    cr_assert(policy->shorter_allowed[MIG_KIND_WELCOME_MESSAGES]);
    cr_assert_not(policy->shorter_allowed[MIG_KIND_GROUP_MESSAGES]);
    cr_assert_eq(manifest->rate_count, 2);
    cr_assert_eq(manifest->rates[0].start_ns, INT64_C(1735689600000000000));
    cr_assert_eq(manifest->rates[1].start_ns, INT64_C(1756684800500000000));
    cr_assert_eq(manifest->rates[1].message_fee, 100);
    cr_assert_eq(manifest->rates[1].storage_fee, 200);
}

Test(model, profile_xmtpd_always_means_the_clock_of_the_run)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good(
        (struct document){.policy = "{\"profile\": \"xmtpd\", \"originator_ns\": \"created\"}"});

    cr_assert_eq(manifest->policy.profile, MIG_PROFILE_XMTPD);
    cr_assert_eq(manifest->policy.clock, MIG_CLOCK_MIGRATED);
}

static const char three_rates[] =
    "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 1, \"storage_fee\": 1},"
    "{\"start\": \"2025-02-01T00:00:00Z\", \"message_fee\": 2, \"storage_fee\": 2},"
    "{\"start\": \"2025-03-01T00:00:00Z\", \"message_fee\": 3, \"storage_fee\": 3}]";

Test(rate, in_force_is_the_last_that_has_started)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest =
        parse_good((struct document){.rates = three_rates});
    const struct mig_rate *rates = manifest->rates;

    cr_assert_null(mig_manifest_rate(manifest, INT64_MIN));
    cr_assert_null(mig_manifest_rate(manifest, rates[0].start_ns - 1));
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(mig_manifest_rate(manifest, rates[i].start_ns), &rates[i]);
        cr_assert_eq(mig_manifest_rate(manifest, rates[i].start_ns + 1), &rates[i]);
        if (i > 0)
            cr_assert_eq(mig_manifest_rate(manifest, rates[i].start_ns - 1), &rates[i - 1]);
    }
    cr_assert_eq(mig_manifest_rate(manifest, INT64_MAX), &rates[2]);
}

Test(load, tells_of_a_file_that_is_not_there)
{
    struct mig_manifest *manifest = NULL;
    struct mig_problems problems = {0};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_manifest_load("no-such-folder/local.json", &manifest, &problems, &err),
                 MIG_E_USAGE);
    cr_assert_not_null(strstr(err.message, "no-such-folder/local.json"), "%s", err.message);
    cr_assert_null(manifest);
    cr_assert_eq(problems.count, 0);
}

Test(load, refuses_a_document_of_more_than_a_mebibyte)
{
    char path[] = "/tmp/manifest-XXXXXX";
    const int fd = mkstemp(path);
    const size_t size = (1 << 20) + 1;
    mig_cleanup(mig_free_text) char *spaces = malloc(size);
    struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};

    memset(spaces, ' ', size);
    cr_assert_eq(write(fd, spaces, size), (ssize_t) size);
    close(fd);
    cr_assert_eq(mig_manifest_load(path, &manifest, &problems, NULL), MIG_E_USAGE);
    cr_assert_eq(problems.count, 1);
    cr_assert_not_null(strstr(problems.items[0].message, "1048576"), "%s",
                       problems.items[0].message);
    unlink(path);
}

Test(load, free_takes_null_and_leaves_null)
{
    struct mig_manifest *manifest = NULL;

    mig_manifest_free(&manifest);
    manifest = parse_good((struct document){0});
    mig_manifest_free(&manifest);
    cr_assert_null(manifest);
}
