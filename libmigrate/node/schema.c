/* Whether a database is the node it should be, at the level we know; and our own schema in it. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Generated from schemas/sql: each file takes our schema one level up. */
extern const char mig_sql_xmtp_migrate_1[];
static const char *const levels[] = {mig_sql_xmtp_migrate_1};

/* ---- the node ----------------------------------------------------------------------------- */

static int check_server(struct mig_node *node, struct mig_error *err)
{
    const int version = mig_pg_server_version(node->pg);

    if (version >= 150000)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "node '%s' (%s) runs PostgreSQL %d: 15 or newer is needed",
             node->entry->name, mig_pg_place(node->pg), version / 10000);
    return mig_hint(err, "upgrade the server; nodes recommend 17 or newer");
}

static int check_level(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT to_regclass('public.schema_migrations') IS NOT NULL,"
                              " to_regclass('public.gateway_envelope_blobs') IS NOT NULL",
                              NULL, 0, &answer, err);
    bool has_level, is_old;

    if (result != MIG_OK)
        return result;
    has_level = mig_pg_bool(&answer, 0, 0);
    is_old = mig_pg_bool(&answer, 0, 1);
    if (!has_level) {
        mig_fail(err, MIG_E_REFUSED,
                 "node '%s' (%s) is not a node's database: it has no "
                 "schema_migrations",
                 node->entry->name, mig_pg_place(node->pg));
        return mig_hint(err, "check the DSN of the node in the manifest");
    }
    mig_pg_result_release(&answer);
    result = mig_pg_query(node->pg, "SELECT max(version), bool_or(dirty) FROM schema_migrations",
                          NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    if (mig_pg_text(&answer, 0, 0) && mig_pg_int64(&answer, 0, 0) == NODE_SCHEMA_LEVEL &&
        !mig_pg_bool(&answer, 0, 1) && !is_old)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "node '%s' (%s) is at schema level %s%s%s: level %d is needed",
             node->entry->name, mig_pg_place(node->pg),
             mig_pg_text(&answer, 0, 0) ? mig_pg_text(&answer, 0, 0) : "none",
             mig_pg_text(&answer, 0, 1) && mig_pg_bool(&answer, 0, 1) ? " (dirty)" : "",
             is_old ? ", with the table gateway_envelope_blobs of a level before 23" : "",
             NODE_SCHEMA_LEVEL);
    return mig_hint(err, "let the node's own migrations bring it to level %d", NODE_SCHEMA_LEVEL);
}

/* A level alone proves nothing: everything that is read or written must be there. */
static const char *const structure_sql =
    "WITH wanted (relation, attribute, kind) AS (VALUES"
    " ('gateway_envelopes_meta', 'gateway_time', 'timestamp'),"
    " ('gateway_envelopes_meta', 'originator_node_id', 'int4'),"
    " ('gateway_envelopes_meta', 'originator_sequence_id', 'int8'),"
    " ('gateway_envelopes_meta', 'topic', 'bytea'),"
    " ('gateway_envelopes_meta', 'payer_id', 'int4'),"
    " ('gateway_envelopes_meta', 'expiry', 'int8'),"
    " ('gateway_envelopes_blob', 'originator_node_id', 'int4'),"
    " ('gateway_envelopes_blob', 'originator_sequence_id', 'int8'),"
    " ('gateway_envelopes_blob', 'originator_envelope', 'bytea'),"
    " ('gateway_envelopes_latest', 'originator_node_id', 'int4'),"
    " ('gateway_envelopes_latest', 'originator_sequence_id', 'int8'),"
    " ('gateway_envelopes_latest', 'gateway_time', 'timestamp'),"
    " ('payers', 'id', 'int4'), ('payers', 'address', 'text'),"
    " ('unsettled_usage', 'spend_picodollars', 'int8'),"
    " ('migration_tracker', 'source_table', 'text'),"
    " ('migration_tracker', 'last_migrated_id', 'int8'),"
    " ('migration_dead_letter_box', 'source_table', 'text'),"
    " ('migration_dead_letter_box', 'sequence_id', 'int8'),"
    " ('migration_dead_letter_box', 'payload', 'bytea'),"
    " ('migration_dead_letter_box', 'reason', 'text'),"
    " ('node_info', 'node_id', 'int4'))"
    " SELECT string_agg(missing, ', ') FROM ("
    " SELECT relation || '.' || attribute AS missing FROM wanted w WHERE NOT EXISTS (SELECT FROM"
    " pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid ="
    " to_regclass('public.' || relation) AND a.attname = attribute AND t.typname = kind)"
    " UNION ALL SELECT name || '()' FROM (VALUES ('ensure_gateway_parts_v3'),"
    " ('insert_migration_dead_letter_box'), ('delete_migration_dead_letter_box'))"
    " AS functions (name) WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = name)"
    " UNION ALL SELECT relation || ' partitioned' FROM (VALUES ('gateway_envelopes_meta'),"
    " ('gateway_envelopes_blob')) AS parents (relation) WHERE NOT EXISTS (SELECT FROM pg_class"
    " WHERE oid = to_regclass('public.' || relation) AND relkind = 'p')) AS gaps";

static int check_structure(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg, structure_sql, NULL, 0, &answer, err);

    if (result != MIG_OK || !mig_pg_text(&answer, 0, 0))
        return result;
    mig_fail(err, MIG_E_REFUSED, "node '%s' (%s) says level %d but lacks %.400s", node->entry->name,
             mig_pg_place(node->pg), NODE_SCHEMA_LEVEL, mig_pg_text(&answer, 0, 0));
    return mig_hint(err, "compare its schema with a node's of that level");
}

static int check_identity(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg, "SELECT node_id FROM node_info", NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    if (answer.rows == 1 && mig_pg_text(&answer, 0, 0) &&
        mig_pg_int64(&answer, 0, 0) == node->entry->node_id)
        return MIG_OK;
    if (answer.rows != 1 || !mig_pg_text(&answer, 0, 0))
        mig_fail(err, MIG_E_REFUSED, "node '%s' (%s) does not know its id: node_info %s",
                 node->entry->name, mig_pg_place(node->pg),
                 answer.rows == 0  ? "is empty"
                 : answer.rows > 1 ? "has several rows"
                                   : "says NULL");
    else
        mig_fail(err, MIG_E_REFUSED,
                 "node '%s' (%s) is node %s, not %" PRId32 " as the manifest says",
                 node->entry->name, mig_pg_place(node->pg), mig_pg_text(&answer, 0, 0),
                 node->entry->node_id);
    return mig_hint(err, "check nodes[].dsn and nodes[].node_id in the manifest");
}

/* A standby may be about to take over. */
static int check_writable(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT pg_is_in_recovery(), reset_val = 'on' FROM pg_settings"
                              " WHERE name = 'default_transaction_read_only'",
                              NULL, 0, &answer, err);

    if (result != MIG_OK || (!mig_pg_bool(&answer, 0, 0) && !mig_pg_bool(&answer, 0, 1)))
        return result;
    if (mig_pg_bool(&answer, 0, 0))
        mig_fail(err, MIG_E_TEMPORARY, "node '%s' (%s) takes no writes: it is a standby",
                 node->entry->name, mig_pg_place(node->pg));
    else
        mig_fail(err, MIG_E_REFUSED,
                 "node '%s' (%s) takes no writes: it is read-only for this role", node->entry->name,
                 mig_pg_place(node->pg));
    return mig_hint(err, "name the primary, and a role as in schemas/sql/node_role.sql");
}

/* Collects a refusal; whatever else is wrong is wrong with the asking. */
static int collect(int result, const struct mig_error *one, struct mig_errors *refusals,
                   struct mig_error *err)
{
    if (result == MIG_OK)
        return MIG_OK;
    if (result == MIG_E_REFUSED)
        return mig_errors_add(refusals, one, err);
    if (err)
        *err = *one;
    return result;
}

/* What a level lacks is no news where the level is another. */
int node_check_all(struct mig_node *node, struct mig_errors *refusals, bool *ret_usable,
                   struct mig_error *err)
{
    static int (*const lasting[])(struct mig_node *, struct mig_error *) = {
        check_server, check_level, check_structure};
    static int (*const others[])(struct mig_node *, struct mig_error *) = {check_identity,
                                                                           check_writable};
    const size_t before = refusals->count;
    int result = MIG_OK;

    for (size_t i = 0; i < mig_count_of(lasting) && result == MIG_OK && refusals->count == before;
         i++) {
        struct mig_error one = MIG_ERROR_INIT;

        result = collect(lasting[i](node, &one), &one, refusals, err);
    }
    *ret_usable = refusals->count == before;
    for (size_t i = 0; i < mig_count_of(others) && result == MIG_OK; i++) {
        struct mig_error one = MIG_ERROR_INIT;

        result = collect(others[i](node, &one), &one, refusals, err);
    }
    return result;
}

int node_check(struct mig_node *node, bool for_writing, struct mig_error *err)
{
    int result;

    /* First, for a standby may not know yet what the rest asks for. */
    if (for_writing && (result = check_writable(node, err)) != MIG_OK)
        return result;
    if ((result = check_server(node, err)) != MIG_OK ||
        (result = check_level(node, err)) != MIG_OK ||
        (result = check_structure(node, err)) != MIG_OK)
        return result;
    return check_identity(node, err);
}

/* ---- our books ---------------------------------------------------------------------------- */

/* Level 0: not there. */
static int books_level(struct mig_node *node, int64_t *ret_level, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg, "SELECT to_regclass('xmtp_migrate.versions') IS NOT NULL",
                              NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    if (!mig_pg_bool(&answer, 0, 0)) {
        *ret_level = 0;
        return MIG_OK;
    }
    mig_pg_result_release(&answer);
    result = mig_pg_query(node->pg, "SELECT coalesce(max(version), 0) FROM xmtp_migrate.versions",
                          NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_level = mig_pg_int64(&answer, 0, 0);
    if (*ret_level <= (int64_t) mig_count_of(levels))
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED,
             "node '%s': the books in schema xmtp_migrate are of level %" PRId64
             ", this program knows up to %zu",
             node->entry->name, *ret_level, mig_count_of(levels));
    return mig_hint(err, "use the newer version of these tools that wrote them");
}

int node_find_books(struct mig_node *node, struct mig_error *err)
{
    int64_t level;
    int result = books_level(node, &level, err);

    if (result == MIG_OK)
        node->has_books = level == (int64_t) mig_count_of(levels);
    return result;
}

static int raise_level(struct mig_node *node, int64_t level, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int result;

    if ((result = mig_pg_begin(node->pg, err)) != MIG_OK)
        return result;
    snprintf(sql, sizeof sql, "INSERT INTO xmtp_migrate.versions (version) VALUES (%" PRId64 ")",
             level + 1);
    if ((result = mig_pg_exec(node->pg, levels[level], err)) == MIG_OK &&
        (result = mig_pg_exec(node->pg, sql, err)) == MIG_OK)
        result = mig_pg_commit(node->pg, err);
    if (result != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

int node_make_books(struct mig_node *node, struct mig_error *err)
{
    int64_t level;
    int result = books_level(node, &level, err);

    while (result == MIG_OK && level < (int64_t) mig_count_of(levels)) {
        result = raise_level(node, level, err);
        level++;
    }
    node->has_books = result == MIG_OK;
    return result;
}
