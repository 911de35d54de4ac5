/* The verb `schema`: the tables of a V3 or a node database, in one transaction, or nothing. */
#include "tools/xmtp-seed/seed.h"
#include "tools/xmtp-seed/verbs.h"

#include <stdio.h>
#include <string.h>

extern const char seed_v3_sql[], seed_node_sql[];

static const char *dsn;
static unsigned node_id = 100;

const struct tool_option schema_options[] = {
    {"dsn", "DSN", "the database: a libpq string, or env:NAME", TOOL_TEXT, &dsn},
    {"node-id", "N", "who the node is (default 100)", TOOL_UNSIGNED, &node_id},
    {.name = NULL},
};

static const struct {
    const char *name;
    const char *sql;
    const char *tables; /* none of these may exist yet */
} schemas[] = {
    {"v3", seed_v3_sql,
     "{group_messages,welcome_messages,inbox_log,key_packages,installations,inboxes,address_log,"
     "commit_log,commit_log_v2}"},
    {"node", seed_node_sql,
     "{gateway_envelopes_meta,gateway_envelopes_blob,gateway_envelope_blobs,"
     "gateway_envelopes_latest,payers,unsettled_usage,originator_congestion,payer_ledger_events,"
     "migration_tracker,migration_dead_letter_box,node_info,blockchain_messages,latest_block,"
     "schema_migrations}"},
};

static int refuse_existing(struct mig_pg *pg, const char *tables, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result found = {0};
    const char *params[] = {tables};
    int result = mig_pg_query(pg,
                              "SELECT c.relname FROM pg_class c WHERE c.relname = ANY ($1::text[])"
                              " AND c.relnamespace = 'public'::regnamespace ORDER BY 1",
                              params, mig_count_of(params), &found, err);

    if (result != MIG_OK || found.rows == 0)
        return result;
    mig_fail(err, MIG_E_REFUSED, "%s: the table '%s' exists already", mig_pg_place(pg),
             mig_pg_text(&found, 0, 0));
    return mig_hint(err, "take an empty database: createdb NAME");
}

/* A node's key is 33 bytes, and here nobody's: the tools only look at the id. */
static int insert_node_info(struct mig_pg *pg, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result ignored = {0};
    char id[16];
    const char *params[] = {id};

    snprintf(id, sizeof id, "%u", node_id);
    return mig_pg_query(
        pg,
        "INSERT INTO public.node_info (node_id, public_key)"
        " VALUES ($1::integer, '\\x02' || sha256(convert_to('node ' || $1, 'UTF8')))",
        params, mig_count_of(params), &ignored, err);
}

static int make_tables(struct mig_pg *pg, const char *sql, const char *tables, bool is_node,
                       struct mig_error *err)
{
    int result = mig_pg_begin(pg, err);

    if (result == MIG_OK)
        result = refuse_existing(pg, tables, err);
    if (result == MIG_OK)
        result = mig_pg_exec(pg, sql, err);
    if (result == MIG_OK && is_node)
        result = insert_node_info(pg, err);
    if (result == MIG_OK)
        return mig_pg_commit(pg, err);
    mig_pg_rollback(pg);
    return result;
}

static int report(struct tool *tool, struct mig_pg *pg, const char *name, struct mig_error *err)
{
    struct json_object *document;
    int result;

    if (!tool->json)
        return tool_print(err, "made the tables of a %s database in %s", name, mig_pg_place(pg));
    document = json_object_new_object();
    json_object_object_add(document, "schema",
                           json_object_new_string("xmtp-migrate/seed-schema/1"));
    json_object_object_add(document, "made", json_object_new_string(name));
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

int cmd_schema(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_pg_close) struct mig_pg *pg = NULL;
    int result;

    if (argc != 1)
        return mig_fail(err, MIG_E_USAGE, "schema takes one of v3 and node, not %d words", argc);
    for (size_t i = 0; i < mig_count_of(schemas); i++) {
        if (strcmp(argv[0], schemas[i].name) != 0)
            continue;
        result = seed_connect(dsn, tool->stop, &pg, err);
        if (result == MIG_OK)
            result = make_tables(pg, schemas[i].sql, schemas[i].tables,
                                 schemas[i].sql == seed_node_sql, err);
        return result == MIG_OK ? report(tool, pg, schemas[i].name, err) : result;
    }
    return mig_fail(err, MIG_E_USAGE, "no schema '%s': there are v3 and node", argv[0]);
}
