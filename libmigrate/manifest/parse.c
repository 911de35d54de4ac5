/* The members of a manifest, as tables, and the way from what was read to the model. A new member
 * is a row here, and one in schemas/manifest.schema.json. */
#include "libmigrate/manifest/manifest_private.h"

#include <string.h>

#define SCHEMA_FAMILY "xmtp-migrate/manifest/"
#define SCHEMA_VERSION "1"
#define FEE_MAX INT64_C(1000000000000000000)
#define RATES_MAX 10000
#define NODES_MAX 64
#define LIMIT_SECONDS_MAX 86400
#define LIMIT_SESSIONS_MAX 100000

/* What the members are read into; not yet checked against each other. */
struct draft_node {
    char *name;
    int64_t node_id;
    struct mig_reference dsn;
    struct mig_limits limits;
};
struct draft_policy {
    unsigned profile, clock, usage, expired, shorter; /* places in the choices below */
    int64_t retention_days[MIG_KIND_COUNT], source_retention_days[MIG_KIND_COUNT];
};
struct draft {
    unsigned schema;
    char *network;
    struct {
        struct mig_reference dsn;
        unsigned settle;
        int64_t settle_hold_s;
        struct mig_limits limits;
    } source;
    struct mig_list nodes;
    struct {
        struct mig_reference payer, originator;
    } keys;
    struct draft_policy policy;
    struct mig_list rates;
    int64_t rate_bounds[2];
};

static const char *const schema_choices[] = {SCHEMA_FAMILY SCHEMA_VERSION, NULL};
/* In the order of the enums in manifest.h. */
static const char *const settle_choices[] = {"writers", "all-transactions", NULL};
static const char *const profile_choices[] = {"correct", "xmtpd", NULL};
static const char *const clock_choices[] = {"created", "migrated", NULL};
static const char *const usage_choices[] = {"skip", "count", NULL};
static const char *const expired_choices[] = {"drop", "keep", NULL};
static const char *const kind_choices[] = {"group_messages", "welcome_messages", "key_packages",
                                           NULL};
static const enum mig_kind kinds_of_choices[] = {MIG_KIND_GROUP_MESSAGES, MIG_KIND_WELCOME_MESSAGES,
                                                 MIG_KIND_KEY_PACKAGES};

#define AT(type, field) .offset = offsetof(struct type, field)
#define CHOICE(list) .type = json_type_string, .read = mig_read_choice, .choices = (list)
#define INTEGER(from, to)                                                                          \
    .type = json_type_int, .read = mig_read_integer, .least = (from), .most = (to)
#define OBJECT(table)                                                                              \
    .type = json_type_object, .read = mig_read_object, .members = (table),                         \
    .member_count = mig_count_of(table)
#define LIST(from, to, table, example)                                                             \
    .type = json_type_array, .read = mig_read_list, .least = (from), .most = (to),                 \
    .members = (table), .member_count = mig_count_of(table), .element = &(example),                \
    .element_size = sizeof(example)

#define LAG_AND_TIMEOUTS                                                                           \
    {"replication_lag_s", AT(mig_limits, replication_lag_s), INTEGER(1, LIMIT_SECONDS_MAX)},       \
        {"statement_timeout_s", AT(mig_limits, statement_timeout_s),                               \
         INTEGER(1, LIMIT_SECONDS_MAX)},                                                           \
    {                                                                                              \
        "lock_timeout_s", AT(mig_limits, lock_timeout_s), INTEGER(1, LIMIT_SECONDS_MAX)            \
    }

static const struct mig_member source_limit_members[] = {
    LAG_AND_TIMEOUTS,
    {"active_sessions", AT(mig_limits, active_sessions), INTEGER(1, LIMIT_SESSIONS_MAX)},
};
static const struct mig_member node_limit_members[] = {LAG_AND_TIMEOUTS};

static const struct mig_member source_members[] = {
    {"dsn", json_type_string, true, mig_read_dsn, AT(draft, source.dsn)},
    {"settle", AT(draft, source.settle), CHOICE(settle_choices)},
    {"settle_hold_s", AT(draft, source.settle_hold_s), INTEGER(1, LIMIT_SECONDS_MAX)},
    {"limits", AT(draft, source.limits), OBJECT(source_limit_members)},
};

static const struct draft_node empty_node;
static const struct mig_member node_members[] = {
    {"name", json_type_string, true, mig_read_name, AT(draft_node, name)},
    {"node_id", .required = true, AT(draft_node, node_id), INTEGER(100, INT32_MAX),
     .why = "0 to 99 name the originators of the chain and of the migration"},
    {"dsn", json_type_string, true, mig_read_dsn, AT(draft_node, dsn)},
    {"limits", AT(draft_node, limits), OBJECT(node_limit_members)},
};

static const struct mig_member key_members[] = {
    {"payer", json_type_string, true, mig_read_key, AT(draft, keys.payer)},
    {"originator", json_type_string, true, mig_read_key, AT(draft, keys.originator)},
};

#define DAYS(kind) .offset = (kind) * sizeof(int64_t), INTEGER(1, 36500)
static const struct mig_member days_members[] = {
    {"group_messages", DAYS(MIG_KIND_GROUP_MESSAGES)},
    {"welcome_messages", DAYS(MIG_KIND_WELCOME_MESSAGES)},
    {"key_packages", DAYS(MIG_KIND_KEY_PACKAGES)},
};

static const struct mig_member policy_members[] = {
    {"profile", AT(draft_policy, profile), CHOICE(profile_choices)},
    {"originator_ns", AT(draft_policy, clock), CHOICE(clock_choices)},
    {"usage", AT(draft_policy, usage), CHOICE(usage_choices)},
    {"retention_days", AT(draft_policy, retention_days), OBJECT(days_members)},
    {"source_retention_days", AT(draft_policy, source_retention_days), OBJECT(days_members)},
    {"allow_shorter_than_source", json_type_array, false, mig_read_choices,
     AT(draft_policy, shorter), .choices = kind_choices},
    {"expired", AT(draft_policy, expired), CHOICE(expired_choices)},
};

/* No instant is so early that it could be mistaken for "not read". */
static const struct mig_rate empty_rate = {.start_ns = INT64_MIN};
static const struct mig_member rate_members[] = {
    {"start", json_type_string, true, mig_read_time, AT(mig_rate, start_ns)},
    {"message_fee", .required = true, AT(mig_rate, message_fee), INTEGER(0, FEE_MAX)},
    {"storage_fee", .required = true, AT(mig_rate, storage_fee), INTEGER(0, FEE_MAX)},
};

static const struct mig_member bound_members[] = {
    {"message_fee", .offset = 0, INTEGER(0, FEE_MAX)},
    {"storage_fee", .offset = sizeof(int64_t), INTEGER(0, FEE_MAX)},
};

/* The members of source and keys are placed from the start of the draft, hence without AT. */
static const struct mig_member document_members[] = {
    {"schema", .required = true, AT(draft, schema), CHOICE(schema_choices)},
    {"network", json_type_string, true, mig_read_name, AT(draft, network)},
    {"source", .required = true, OBJECT(source_members)},
    {"nodes", .required = true, AT(draft, nodes), LIST(1, NODES_MAX, node_members, empty_node)},
    {"keys", .required = true, OBJECT(key_members)},
    {"policy", AT(draft, policy), OBJECT(policy_members)},
    {"rates", .required = true, AT(draft, rates), LIST(1, RATES_MAX, rate_members, empty_rate)},
    {"rate_bounds", AT(draft, rate_bounds), OBJECT(bound_members)},
    {"chain", .type = json_type_object, .read = mig_read_nothing},
};

static const struct draft defaults = {
    .source = {.settle_hold_s = 10},
    .policy =
        {
            .retention_days = {[MIG_KIND_GROUP_MESSAGES] = 60,
                               [MIG_KIND_WELCOME_MESSAGES] = 90,
                               [MIG_KIND_KEY_PACKAGES] = 90},
            .source_retention_days = {[MIG_KIND_GROUP_MESSAGES] = 30,
                                      [MIG_KIND_WELCOME_MESSAGES] = 90,
                                      [MIG_KIND_KEY_PACKAGES] = 90},
        },
    .rate_bounds = {1000000, 1000000},
};

/* ---- from the draft to the model ---------------------------------------------------------- */

static void settle_policy(const struct draft_policy *draft, struct mig_policy *policy)
{
    policy->profile = (enum mig_profile) draft->profile;
    policy->clock =
        policy->profile == MIG_PROFILE_XMTPD ? MIG_CLOCK_MIGRATED : (enum mig_clock) draft->clock;
    policy->count_usage = draft->usage != 0;
    policy->keep_expired = draft->expired != 0;
    for (size_t i = 0; i < MIG_KIND_COUNT; i++) {
        policy->retention_days[i] = (uint32_t) draft->retention_days[i];
        policy->source_retention_days[i] = (uint32_t) draft->source_retention_days[i];
    }
    for (size_t i = 0; i < mig_count_of(kinds_of_choices); i++)
        policy->shorter_allowed[kinds_of_choices[i]] = draft->shorter >> i & 1;
}

static void settle_nodes(struct mig_reader *reader, const struct mig_list *list,
                         struct mig_manifest *manifest)
{
    const struct draft_node *draft = list->elements;

    manifest->nodes = mig_reader_keep_zeros(reader, list->count, sizeof *manifest->nodes);
    if (!manifest->nodes)
        return;
    manifest->node_count = list->count;
    for (size_t i = 0; i < list->count; i++)
        manifest->nodes[i] = (struct mig_manifest_node){.name = draft[i].name,
                                                        .node_id = (int32_t) draft[i].node_id,
                                                        .dsn = draft[i].dsn,
                                                        .limits = draft[i].limits};
}

static void settle(struct mig_reader *reader, const struct draft *draft,
                   struct mig_manifest *manifest)
{
    manifest->network = draft->network;
    manifest->source_dsn = draft->source.dsn;
    manifest->settle = (enum mig_settle) draft->source.settle;
    manifest->settle_hold_s = draft->source.settle_hold_s;
    manifest->source_limits = draft->source.limits;
    settle_nodes(reader, &draft->nodes, manifest);
    manifest->payer_key = draft->keys.payer;
    manifest->originator_key = draft->keys.originator;
    settle_policy(&draft->policy, &manifest->policy);
    manifest->rates = draft->rates.elements;
    manifest->rate_count = draft->rates.count;
}

/* Another version has other members: what this one has to say about them would only mislead. */
static bool is_other_version(struct mig_reader *reader, struct json_object *document)
{
    const struct mig_place place = {.name = "schema"};
    struct json_object *value;
    const char *text;

    if (!json_object_object_get_ex(document, "schema", &value) ||
        !json_object_is_type(value, json_type_string))
        return false;
    text = json_object_get_string(value);
    if (strncmp(text, SCHEMA_FAMILY, strlen(SCHEMA_FAMILY)) != 0 ||
        strcmp(text, schema_choices[0]) == 0)
        return false;
    mig_complain(reader, &place, "this tool reads version " SCHEMA_VERSION " ('%s'), not '%s'",
                 schema_choices[0], mig_quote_of(text).text);
    return true;
}

static void free_object(struct json_object **object)
{
    json_object_put(*object);
}

void mig_manifest_read(struct mig_reader *reader, struct mig_bytes text,
                       struct mig_manifest *manifest)
{
    mig_cleanup(free_object) struct json_object *document = mig_document_parse(reader, text);
    struct draft draft = defaults;

    if (!document || is_other_version(reader, document))
        return;
    mig_read_document(reader, document, document_members, mig_count_of(document_members), &draft);
    settle(reader, &draft, manifest);
    mig_manifest_check(reader, manifest, draft.rate_bounds);
}
