/* What is wrong with a manifest: where, in which words, everything at once. tests/data/manifests
 * and the schema's test hold the many documents; here are the messages. */
#include "document.h"

struct refusal {
    struct document document;
    const char *pointer;
    const char *said; /* a part of the message */
};

#define KEY "5ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7"
#define NODE(name, id) "{\"name\": \"" name "\", \"node_id\": " id ", \"dsn\": \"env:N\"}"
#define RATE(start, message, storage)                                                              \
    "{\"start\": \"" start "\", \"message_fee\": " message ", \"storage_fee\": " storage "}"

static const struct refusal refusals[] = {
    {{.schema = ""}, "", "member 'schema' is missing"},
    {{.schema = "\"xmtp-migrate/manifest/2\""}, "/schema", "reads version 1"},
    {{.schema = "\"other\""}, "/schema", "must be 'xmtp-migrate/manifest/1', not 'other'"},
    {{.network = "\"Main\""}, "/network", "lower-case letters, digits and '-', not 'Main'"},
    {{.network = "7"}, "/network", "must be a text, not a whole number"},
    {{.network = "\"a\\u0000b\""}, "/network", "NUL"},
    {{.network = "\"\\u001b[31mred\""}, "/network", "not '?[31mred'"},
    {{.more = "\"polcy\": {}"}, "/polcy", "unknown member 'polcy'; known here: schema, network"},
    {{.more = "\"a/b~c\": 1"}, "/a~1b~0c", "unknown member 'a/b~c'"},
    {{.more = "\"network\": \"again\""}, "/network", "twice"},
    {{.more = "\"chain\": {\"x\": [{}, {\"y\": 1, \"\\u0079\": 2}]}"}, "/chain/x/1/y", "twice"},
    {{.source = "{\"dsn\": \"env:V3\", \"settle\": \"never\"}"},
     "/source/settle",
     "must be one of 'writers', 'all-transactions', not 'never'"},
    {{.source = "{\"dsn\": \"host=db password=" KEY "\"}"}, "/source/dsn", "holds a password"},
    {{.source = "{\"dsn\": \"postgres://u:" KEY "@db/v3\"}"}, "/source/dsn", "holds a password"},
    {{.source = "{\"dsn\": \"" KEY "\"}"}, "/source/dsn", "neither a reference"},
    {{.nodes = "[]"}, "/nodes", "1 to 64 elements, not 0"},
    {{.nodes = "[" NODE("a", "13") "]"}, "/nodes/0/node_id", "100 to 2147483647, not 13 (0 to 99"},
    {{.nodes = "[" NODE("a", "99999999999999999999") "]"}, "/nodes/0/node_id", "100 to 2147483647"},
    {{.nodes = "[" NODE("a", "100.0") "]"}, "/nodes/0/node_id", "not a number with a fraction"},
    {{.nodes = "[" NODE("a", "100") "," NODE("a", "200") "]"}, "/nodes/1/name", "/nodes/0"},
    {{.nodes = "[" NODE("a", "100") "," NODE("b", "100") "]"}, "/nodes/1/node_id", "/nodes/0"},
    {{.keys = "{\"payer\": \"" KEY "\", \"originator\": \"fd:3\"}"},
     "/keys/payer",
     "never the key itself"},
    {{.keys = "{\"payer\": \"env:2\", \"originator\": \"fd:3\"}"}, "/keys/payer", "variable"},
    {{.keys = "{\"payer\": \"file:\", \"originator\": \"fd:3\"}"}, "/keys/payer", "a path"},
    {{.keys = "{\"payer\": \"fd:x\", \"originator\": \"fd:3\"}"}, "/keys/payer", "descriptor"},
    {{.policy = "{\"profile\": \"fast\"}"},
     "/policy/profile",
     "must be one of 'correct', 'xmtpd', not 'fast'"},
    {{.policy = "{\"retention_days\": {\"group_messages\": 0}}"},
     "/policy/retention_days/group_messages",
     "must be 1 to 36500, not 0"},
    {{.policy = "{\"retention_days\": {\"welcome_messages\": 60}}"},
     "/policy/retention_days/welcome_messages",
     "list 'welcome_messages' in /policy/allow_shorter_than_source"},
    {{.policy = "{\"allow_shorter_than_source\": [\"inbox_log\"]}"},
     "/policy/allow_shorter_than_source/0",
     "'key_packages', not 'inbox_log'"},
    {{.rates = "[]"}, "/rates", "elements, not 0"},
    {{.rates = "[" RATE("2025-01-01", "1", "1") "]"}, "/rates/0/start", "not '2025-01-01'"},
    {{.rates = "[" RATE("2025-01-01T00:00:00Z", "-1", "1") "]"}, "/rates/0/message_fee", "not -1"},
    {{.rates = "[" RATE("2025-01-01T00:00:00Z", "100", "1735689600") "]"},
     "/rates/0/storage_fee",
     "above /rate_bounds/storage_fee, 1000000; a Unix timestamp"},
    {{.rates = "[" RATE("2025-01-01T00:00:00Z", "1", "1") "," RATE("2025-01-01T00:00:00Z", "1",
                                                                   "1") "]"},
     "/rates/1/start",
     "later than"},
    {{.more = "\"chain\": []"}, "/chain", "must be an object, not a list"},
    {{.more = "\"rate_bounds\": {\"message_fee\": 99}"},
     "/rates/0/message_fee",
     "above /rate_bounds/message_fee, 99"},
};

Test(problems, say_where_and_what)
{
    for (size_t i = 0; i < mig_count_of(refusals); i++) {
        mig_cleanup(mig_free_text) char *text = write_document(&refusals[i].document);
        mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
        struct mig_manifest *manifest = NULL;
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(
            mig_manifest_parse(mig_bytes_of_text(text), "m.json", &manifest, &problems, &err),
            MIG_E_USAGE, "case %zu: %s", i, text);
        cr_assert_null(manifest);
        cr_assert_eq(problems.count, 1, "case %zu: %s", i, text);
        cr_assert_str_eq(problems.items[0].pointer, refusals[i].pointer, "case %zu", i);
        cr_assert_not_null(strstr(problems.items[0].message, refusals[i].said), "case %zu: %s", i,
                           problems.items[0].message);
        cr_assert_null(strstr(problems.items[0].message, "5ec7e7"), "a secret is shown: %s",
                       problems.items[0].message);
        cr_assert_not_null(strstr(err.message, problems.items[0].message), "%s", err.message);
        cr_assert_null(strstr(err.message, "5ec7e7"));
    }
}

static const struct {
    const char *text, *said;
} not_json[] = {
    {"", "line 1, column 1: the document ends too early"},
    {"{", "ends too early"},
    {"{\n  \"schema\": \n}", "line 3, column 1"},
    {"{} {}", "line 1, column 4"},
    {"{}x", "line 1, column 3"},
    {"{'schema': 1}", "not JSON"},
    {"{/* a comment */}", "not JSON"},
    {"{\"schema\": 1,}", "not JSON"},
    {"{\"schema\": \"\xff\"}", "not JSON"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "not JSON"},
    {"[]", "must be an object"},
    {"12 ", "must be an object"},
    {"{\"a\": NaN}", "line 1, column 7: unexpected character"},
    {"{\"a\": -Infinity}", "unexpected character"},
    {"{'\"': 1, \"}]}]}]\": 2}", "line 1, column 2: unexpected character"},
};

Test(problems, tell_where_a_document_stops_being_json)
{
    for (size_t i = 0; i < mig_count_of(not_json); i++) {
        mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
        struct mig_manifest *manifest = NULL;

        cr_assert_eq(mig_manifest_parse(mig_bytes_of_text(not_json[i].text), "m.json", &manifest,
                                        &problems, NULL),
                     MIG_E_USAGE, "case %zu", i);
        cr_assert_eq(problems.count, 1);
        cr_assert_str_empty(problems.items[0].pointer);
        cr_assert_not_null(strstr(problems.items[0].message, not_json[i].said), "case %zu: %s", i,
                           problems.items[0].message);
    }
}

Test(problems, include_bytes_behind_a_nul)
{
    static const char text[] = "{}\0{}";
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
    struct mig_manifest *manifest = NULL;

    mig_manifest_parse((struct mig_bytes){(const uint8_t *) text, sizeof text - 1}, "m.json",
                       &manifest, &problems, NULL);
    cr_assert_eq(problems.count, 1);
    cr_assert_not_null(strstr(problems.items[0].message, "column 3"), "%s",
                       problems.items[0].message);
}

Test(problems, come_all_at_once_and_the_error_counts_them)
{
    const struct document document = {.network = "\"X\"",
                                      .nodes = "[{\"name\": \"a\", \"node_id\": 1}]",
                                      .keys = "{\"payer\": 5, \"extra\": 6}",
                                      .rates = "{}"};
    mig_cleanup(mig_free_text) char *text = write_document(&document);
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
    static const char *const expected[] = {
        "/network", "/nodes/0/node_id", "/nodes/0", "/keys/payer",
        "/keys",    "/keys/extra",      "/rates"};
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_manifest_parse(mig_bytes_of_text(text), "m.json", &manifest, &problems, &err),
                 MIG_E_USAGE);
    cr_assert_eq(problems.count, mig_count_of(expected));
    for (size_t i = 0; i < problems.count; i++)
        cr_assert_str_eq(problems.items[i].pointer, expected[i]);
    cr_assert_not_null(strstr(err.message, "'m.json', /network: "), "%s", err.message);
    cr_assert_str_eq(err.hint, "6 more problems in this manifest");
}

Test(problems, are_no_more_than_a_person_can_use)
{
    mig_cleanup(mig_free_text) char *text = malloc(1 << 20);
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
    struct mig_manifest *manifest = NULL;
    size_t length = (size_t) sprintf(text, "{");

    for (int i = 0; i < 5000; i++)
        length += (size_t) sprintf(text + length, "%s\"m%d\": %d", i ? "," : "", i, i);
    strcpy(text + length, "}");
    cr_assert_eq(mig_manifest_parse(mig_bytes_of_text(text), "m.json", &manifest, &problems, NULL),
                 MIG_E_USAGE);
    cr_assert_eq(problems.count, 201);
    cr_assert_not_null(strstr(problems.items[200].message, "more problems"));
}

Test(problems, may_go_unheard)
{
    struct mig_manifest *manifest = NULL;

    cr_assert_eq(mig_manifest_parse(mig_bytes_of_text("{}"), "m.json", &manifest, NULL, NULL),
                 MIG_E_USAGE);
    cr_assert_null(manifest);
}
