/* The tables of V3, the kinds that their rows become, reasons and findings: all as data. */
#include "libmigrate/wire/wire.h"

#include <string.h>

#define NULLABLE .nullable = true
/* Only what V3 databases of some age really lack: any other absence is somebody's mistake. */
#define MISSING(sql) .optional = true, .otherwise = (sql)

static const struct mig_column group_messages[] = {
    [MIG_GM_CREATED_AT] = {"created_at", "created_at", MIG_COLUMN_TIMESTAMP},
    [MIG_GM_GROUP_ID] = {"group_id", "group_id", MIG_COLUMN_BYTES},
    [MIG_GM_DATA] = {"data", "data", MIG_COLUMN_BYTES},
    [MIG_GM_HASH] = {"group_id_data_hash", "group_id_data_hash", MIG_COLUMN_BYTES, NULLABLE},
    [MIG_GM_IS_COMMIT] = {"is_commit", "is_commit", MIG_COLUMN_BOOL, NULLABLE},
    [MIG_GM_SENDER_HMAC] = {"sender_hmac", "sender_hmac", MIG_COLUMN_BYTES, NULLABLE},
    [MIG_GM_SHOULD_PUSH] = {"should_push", "should_push", MIG_COLUMN_BOOL, NULLABLE},
};

static const struct mig_column welcome_messages[] = {
    [MIG_WM_CREATED_AT] = {"created_at", "created_at", MIG_COLUMN_TIMESTAMP},
    [MIG_WM_INSTALLATION_KEY] = {"installation_key", "installation_key", MIG_COLUMN_BYTES},
    [MIG_WM_DATA] = {"data", "data", MIG_COLUMN_BYTES},
    [MIG_WM_HPKE_PUBLIC_KEY] = {"hpke_public_key", "hpke_public_key", MIG_COLUMN_BYTES, NULLABLE},
    [MIG_WM_HASH] = {"installation_key_data_hash", "installation_key_data_hash", MIG_COLUMN_BYTES,
                     NULLABLE},
    [MIG_WM_WRAPPER_ALGORITHM] = {"wrapper_algorithm", "wrapper_algorithm", MIG_COLUMN_INT16},
    [MIG_WM_METADATA] = {"welcome_metadata", "welcome_metadata", MIG_COLUMN_BYTES, NULLABLE,
                         MISSING("NULL::bytea")},
    [MIG_WM_MESSAGE_TYPE] = {"message_type", "message_type", MIG_COLUMN_INT16,
                             MISSING("0::smallint")},
};

static const struct mig_column key_packages[] = {
    [MIG_KP_CREATED_NS] = {"created_at", "created_ns", MIG_COLUMN_INT64},
    [MIG_KP_INSTALLATION_ID] = {"installation_id", "installation_id", MIG_COLUMN_BYTES},
    [MIG_KP_KEY_PACKAGE] = {"key_package", "key_package", MIG_COLUMN_BYTES},
    [MIG_KP_CURRENT_SINCE_NS] = {"installations.updated_at", "current_since_ns", MIG_COLUMN_INT64,
                                 NULLABLE, MISSING("NULL::bigint"),
                                 .derived =
                                     "CASE WHEN i.key_package = t.key_package THEN i.updated_at "
                                     "END"},
    [MIG_KP_RIVAL_CREATED_NS] =
        {"rival.created_at", "rival_created_ns", MIG_COLUMN_INT64, NULLABLE,
         MISSING("NULL::bigint"),
         .derived = "CASE WHEN i.key_package = t.key_package THEN (SELECT max(o.created_at) "
                    "FROM key_packages o WHERE o.installation_id = t.installation_id "
                    "AND o.sequence_id <> t.sequence_id AND o.created_at / 1000 >= "
                    "GREATEST(t.created_at, i.updated_at) / 1000 - 1) END"},
};

static const struct mig_column inbox_log[] = {
    [MIG_IL_CREATED_NS] = {"server_timestamp_ns", "created_ns", MIG_COLUMN_INT64},
    [MIG_IL_INBOX_ID] = {"inbox_id", "inbox_id", MIG_COLUMN_BYTES},
    [MIG_IL_UPDATE] = {"identity_update_proto", "identity_update_proto", MIG_COLUMN_BYTES},
};

static const struct mig_table_info tables[MIG_TABLE_COUNT] = {
    [MIG_TABLE_GROUP_MESSAGES] = {"group_messages", "id", group_messages,
                                  mig_count_of(group_messages), MIG_GM_CREATED_AT},
    [MIG_TABLE_WELCOME_MESSAGES] = {"welcome_messages", "id", welcome_messages,
                                    mig_count_of(welcome_messages), MIG_WM_CREATED_AT},
    [MIG_TABLE_KEY_PACKAGES] = {"key_packages", "sequence_id", key_packages,
                                mig_count_of(key_packages), MIG_KP_CREATED_NS,
                                .joins_installations = true},
    [MIG_TABLE_INBOX_LOG] = {"inbox_log", "sequence_id", inbox_log, mig_count_of(inbox_log),
                             MIG_IL_CREATED_NS},
};

static const struct mig_kind_info kinds[MIG_KIND_COUNT] = {
    [MIG_KIND_GROUP_MESSAGES] = {"group_messages", MIG_TABLE_GROUP_MESSAGES, MIG_ROUTE_NODE, 10, 10,
                                 0, MIG_GM_GROUP_ID, true},
    [MIG_KIND_COMMIT_MESSAGES] = {"commit_messages", MIG_TABLE_GROUP_MESSAGES, MIG_ROUTE_CHAIN, 0,
                                  0, 0, MIG_GM_GROUP_ID, false},
    [MIG_KIND_WELCOME_MESSAGES] = {"welcome_messages", MIG_TABLE_WELCOME_MESSAGES, MIG_ROUTE_NODE,
                                   11, 11, 1, MIG_WM_INSTALLATION_KEY, true},
    [MIG_KIND_KEY_PACKAGES] = {"key_packages", MIG_TABLE_KEY_PACKAGES, MIG_ROUTE_NODE, 13, 13, 3,
                               MIG_KP_INSTALLATION_ID, true},
    [MIG_KIND_INBOX_LOG] = {"inbox_log", MIG_TABLE_INBOX_LOG, MIG_ROUTE_CHAIN, 0, 1, 2,
                            MIG_IL_INBOX_ID, false},
};

#define REPAIR "repair the row at the source, then retry; or waive it by name"

static const struct mig_reason_info reasons[MIG_REASON_COUNT] = {
    [MIG_REASON_NONE] = {"", "", false},
    [MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE] = {"sequence_id_out_of_range",
                                             "a node has no place for this id: waive it by name",
                                             false},
    [MIG_REASON_DATA_EMPTY] = {"data_empty", REPAIR, false},
    [MIG_REASON_GROUP_ID_LENGTH] = {"group_id_length", REPAIR, false},
    [MIG_REASON_IDENTIFIER_EMPTY] = {"identifier_empty", REPAIR, false},
    [MIG_REASON_WRAPPER_ALGORITHM_UNKNOWN] = {"wrapper_algorithm_unknown", REPAIR, false},
    [MIG_REASON_MESSAGE_TYPE_UNKNOWN] = {"message_type_unknown", REPAIR, false},
    [MIG_REASON_KEY_PACKAGE_EMPTY] = {"key_package_empty", REPAIR, false},
    [MIG_REASON_INBOX_ID_LENGTH] = {"inbox_id_length", REPAIR, false},
    [MIG_REASON_IDENTITY_UPDATE_EMPTY] = {"identity_update_empty", REPAIR, false},
    [MIG_REASON_IDENTITY_UPDATE_UNPARSABLE] = {"identity_update_unparsable", REPAIR, false},
    [MIG_REASON_MLS_UNPARSABLE] = {"mls_unparsable",
                                   "fill is_commit in for the row at the source, then retry", true},
    [MIG_REASON_CONFLICT] =
        {"conflict",
         "compare both with xmtp-inspect envelope; then repair the node and retry, or let rejected "
         "retry --replace-conflicts put ours in its place",
         true},
    [MIG_REASON_PAYLOAD_TOO_LARGE] =
        {"payload_too_large", "its group or inbox breaks from here on: decide, then waive by name",
         false},
    [MIG_REASON_TIME_OUT_OF_RANGE] = {"time_out_of_range", REPAIR, false},
};

static const char *const findings[MIG_FINDING_COUNT] = {
    [MIG_FINDING_IS_COMMIT_NULL] = "is_commit_null",
    [MIG_FINDING_IS_COMMIT_DISAGREES] = "is_commit_disagrees",
    [MIG_FINDING_MLS_UNPARSABLE] = "mls_unparsable",
};

const struct mig_table_info *mig_table_info(enum mig_table table)
{
    return &tables[table];
}

bool mig_table_find(const char *name, enum mig_table *ret_table)
{
    for (int table = 0; name && table < MIG_TABLE_COUNT; table++)
        if (strcmp(tables[table].name, name) == 0) {
            *ret_table = (enum mig_table) table;
            return true;
        }
    return false;
}

const struct mig_kind_info *mig_kind_info(enum mig_kind kind)
{
    return &kinds[kind];
}

enum mig_kind mig_node_kind(enum mig_table table)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (kinds[kind].table == table && kinds[kind].route == MIG_ROUTE_NODE)
            return (enum mig_kind) kind;
    return MIG_KIND_COUNT;
}

int mig_kind_parse(const char *name, enum mig_kind *ret_kind, struct mig_error *err)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (strcmp(kinds[kind].name, name) == 0) {
            *ret_kind = (enum mig_kind) kind;
            return MIG_OK;
        }
    mig_fail(err, MIG_E_USAGE, "'%.40s' is no kind of row", name);
    return mig_hint(err, "group_messages, commit_messages, welcome_messages, key_packages, "
                         "inbox_log");
}

const struct mig_reason_info *mig_reason_info(enum mig_reason reason)
{
    return &reasons[reason];
}

enum mig_reason mig_reason_parse(const char *name)
{
    for (int reason = 1; reason < MIG_REASON_COUNT; reason++)
        if (strcmp(reasons[reason].name, name) == 0)
            return (enum mig_reason) reason;
    return MIG_REASON_NONE;
}

const char *mig_finding_name(enum mig_finding finding)
{
    return findings[finding];
}
