/* Which way the rows of a band come into a node, and why not the fast one. */
#include "libmigrate/node/node_private.h"

static const char *const texts[] = {
    [MIG_WAY_BULK] = "empty",
    [MIG_WAY_HAS_ROWS] = "has rows",
    [MIG_WAY_FEW_ROWS] = "few rows",
    [MIG_WAY_USAGE] = "the policy counts usage",
    [MIG_WAY_NO_RIGHT] = "no right to set session_replication_role",
    [MIG_WAY_NO_OWNER] = "no rights of the tables' owner",
    [MIG_WAY_WAL] = "wal_level is minimal",
};

const char *mig_way_text(enum mig_way way)
{
    return (size_t) way < mig_count_of(texts) ? texts[way] : "unknown";
}

/* What holds for all bands of a node. */
static int find_way(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = MIG_OK;

    if (node->has_way)
        return MIG_OK;
    node->way = MIG_WAY_USAGE;
    if (!node->manifest->policy.count_usage) {
        result = mig_pg_query(
            node->pg,
            "SELECT has_parameter_privilege('session_replication_role', 'SET'), pg_has_role(owner,"
            " 'USAGE') AND coalesce(has_schema_privilege(owner, to_regnamespace('xmtp_migrate'),"
            " 'CREATE'), true), current_setting('wal_level') = 'minimal' FROM (SELECT relowner"
            " FROM pg_class WHERE oid = 'public.gateway_envelopes_meta'::regclass) t (owner)",
            NULL, 0, &answer, err);
        if (result != MIG_OK)
            return result;
        node->way = !mig_pg_bool(&answer, 0, 0)   ? MIG_WAY_NO_RIGHT
                    : !mig_pg_bool(&answer, 0, 1) ? MIG_WAY_NO_OWNER
                    : mig_pg_bool(&answer, 0, 2)  ? MIG_WAY_WAL
                                                  : MIG_WAY_BULK;
    }
    node->has_way = true;
    return result;
}

int mig_node_way(struct mig_node *node, enum mig_table table, int64_t start, enum mig_way *ret_way,
                 struct mig_error *err)
{
    enum node_band_state state = NODE_BAND_ABSENT;
    int result = find_way(node, err);

    if (result == MIG_OK)
        result = node_band_state(node, mig_kind_info(mig_node_kind(table))->stored_originator,
                                 start, &state, err);
    if (result == MIG_OK)
        *ret_way = state == NODE_BAND_HAS_ROWS ? MIG_WAY_HAS_ROWS : node->way;
    return result;
}
