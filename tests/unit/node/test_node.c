/* What can be said of a node without its server. */
#include "libmigrate/node/node_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mig_manifest *manifest_with(const char *dsn)
{
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    char text[2048];

    snprintf(text, sizeof text,
             "{\"schema\":\"xmtp-migrate/manifest/1\",\"network\":\"local\","
             "\"source\":{\"dsn\":\"env:V3\"},"
             "\"nodes\":[{\"name\":\"alpha\",\"node_id\":100,\"dsn\":\"%s\"}],"
             "\"keys\":{\"payer\":\"env:P\",\"originator\":\"env:O\"},"
             "\"rates\":[{\"start\":\"2025-01-01T00:00:00Z\",\"message_fee\":1,"
             "\"storage_fee\":2}]}",
             dsn);
    cr_assert_eq(mig_manifest_parse(mig_bytes_of_text(text), "m.json", &manifest, NULL, &err),
                 MIG_OK, "%s", err.message);
    return manifest;
}

static int open_node(const char *dsn, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = manifest_with(dsn);
    mig_cleanup(mig_node_close) struct mig_node *node = NULL;

    return mig_node_open(manifest, 0, MIG_NODE_READ, NULL, NULL, &node, err);
}

Test(node, that_is_not_reached_is_named)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(open_node("host=127.0.0.1 port=1 dbname=d", &err), MIG_E_TEMPORARY);
    cr_assert_not_null(strstr(err.message, "node 'alpha'"));
}

Test(node, whose_dsn_is_an_unset_variable_tells_which)
{
    struct mig_error err = MIG_ERROR_INIT;

    unsetenv("XMTP_NO_SUCH_DSN");
    cr_assert_eq(open_node("env:XMTP_NO_SUCH_DSN", &err), MIG_E_USAGE);
    cr_assert_not_null(strstr(err.message, "XMTP_NO_SUCH_DSN"));
}

Test(node, numbers_fit_their_text_at_both_ends)
{
    char text[NODE_NUMBER_SIZE];

    cr_assert_str_eq(node_number(INT64_MIN, text), "-9223372036854775808");
    cr_assert_str_eq(node_number(INT64_MAX, text), "9223372036854775807");
}
