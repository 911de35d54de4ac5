/*
 * The two tables that a band is filled in, in our schema under the names that its leaves will have,
 * and the SQL that makes, indexes and attaches them. What the node's parents have is asked of the
 * catalogue, never written down here.
 *
 * Foreign keys can neither be made nor attached without locks on the node's own tables: each such
 * transaction is short and gives up soon, so that nobody queues behind it for long, and is begun
 * again a little later.
 *
 * A foreign key on a filled table would be looked up row by row, among all rows of the node, while
 * others wait: both have theirs from when they are empty. That of the blobs points at the node's
 * partitions. From then on whoever deletes a row there looks into our table, by its key, and
 * whoever drops a partition has to lock it: so it has its key from the start, and nobody may hold
 * it for long. Meta points at payers alone, which nobody deletes: it is filled, and frozen, in one
 * long transaction.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

#define ATTACH_MS 150 /* all of them, and the work under them */
#define ATTACH_MS_MAX 2000
#define PATIENCE 40      /* attempts until a slow server gets twice the time */
#define MAKE_ATTEMPTS 12 /* some eight seconds */
#define MAKE_PATIENCE 4
#define ATTACH_SECONDS 600
#define MAINTENANCE_KB 262144

/* Declares part, parent, leaf and bounds for the loop over both tables. */
static const char each_table[] = "DECLARE part text; parent text; leaf text; def record;"
                                 " there boolean; BEGIN"
                                 " FOREACH part IN ARRAY ARRAY[%s] LOOP"
                                 " parent := 'gateway_envelopes_' || part || '_o%" PRIu32 "';"
                                 " leaf := parent || '_s%" PRId64 "_%" PRId64 "';"
                                 " %s END LOOP; END";

/* Runs a block for meta and blob, in the order given. */
static int for_tables(struct mig_node *node, const struct node_bulk_band *band, const char *order,
                      const char *block, struct mig_error *err)
{
    char body[NODE_SQL_SIZE], sql[NODE_SQL_SIZE + 16];

    snprintf(body, sizeof body, each_table, order, band->originator, band->start,
             band->start + MIG_BAND_WIDTH, block);
    snprintf(sql, sizeof sql, "DO $do$ %s $do$", body);
    return mig_pg_exec(node->pg, sql, err);
}

#define META "'meta'"
#define BLOB "'blob'"

static int set_local(struct mig_node *node, const char *name, int64_t value, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql, "SET LOCAL %s = %" PRId64, name, value);
    return mig_pg_exec(node->pg, sql, err);
}

/* Grows, so that a slow server is not kept out for ever. */
static int64_t time_for(unsigned attempt)
{
    const unsigned doublings = attempt / PATIENCE < 4 ? attempt / PATIENCE : 4;

    return ATTACH_MS << doublings < ATTACH_MS_MAX ? ATTACH_MS << doublings : ATTACH_MS_MAX;
}

/* ---- indexed --------------------------------------------------------------------------------- */

/* The names that PostgreSQL would choose are cut, and then told apart by a number among all of one
 * schema: in that of the node they might be taken. */
static int make_indexes(struct mig_node *node, const struct node_bulk_band *band, const char *which,
                        struct mig_error *err)
{
    return for_tables(
        node, band, which,
        "FOR def IN SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conrelid ="
        " to_regclass('public.' || parent) AND contype IN ('p', 'u') ORDER BY oid LOOP"
        " EXECUTE format('ALTER TABLE xmtp_migrate.%I ADD %s', leaf, def.text); END LOOP;"
        " FOR def IN SELECT CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END AS kind,"
        " pg_get_indexdef(indexrelid) AS text, '_idx' || row_number() OVER (ORDER BY indexrelid) AS"
        " suffix FROM pg_index WHERE indrelid = to_regclass('public.' || parent) AND NOT EXISTS ("
        "SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid) LOOP"
        " EXECUTE format('CREATE %sINDEX %I ON xmtp_migrate.%I%s', def.kind, leaf || def.suffix,"
        " leaf, substr(def.text, strpos(def.text, ' USING '))); END LOOP;",
        err);
}

int node_bulk_index(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err)
{
    return make_indexes(node, band, META, err);
}

/* ---- made ---------------------------------------------------------------------------------- */

/* The parents of an originator's bands may be yet to be made; the node's own functions do that. The
 * bounds stand as a constraint, so that nothing has to be read when the band is attached. A vacuum
 * would hold a lock that attaching has to wait for. */
static int make_once(struct mig_node *node, const struct node_bulk_band *band, int64_t time_ms,
                     struct mig_error *err)
{
    char block[NODE_SQL_SIZE];
    int result;

    snprintf(block, sizeof block,
             "IF to_regclass('public.' || parent) IS NULL THEN"
             " IF part = 'meta' THEN PERFORM make_meta_originator_part_v2(%" PRIu32 ");"
             " ELSE PERFORM make_blob_originator_part_v3(%" PRIu32 "); END IF; END IF;"
             " EXECUTE format('DROP TABLE IF EXISTS xmtp_migrate.%%I', leaf);"
             " EXECUTE format('CREATE TABLE xmtp_migrate.%%I (LIKE public.%%I INCLUDING DEFAULTS"
             " INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION, CONSTRAINT"
             " xmtp_migrate_band CHECK (originator_node_id = %" PRIu32
             " AND originator_sequence_id >= %" PRId64 " AND originator_sequence_id < %" PRId64
             ")) WITH (autovacuum_enabled = off)', leaf, parent);"
             " FOR def IN SELECT conname, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c"
             " JOIN pg_class r ON r.oid = c.confrelid WHERE conrelid = to_regclass('public.' ||"
             " parent) AND contype = 'f' AND NOT r.relispartition ORDER BY c.oid LOOP"
             " EXECUTE format('ALTER TABLE xmtp_migrate.%%I ADD CONSTRAINT %%I %%s', leaf,"
             " def.conname, def.text); END LOOP;",
             band->originator, band->originator, band->originator, band->start,
             band->start + MIG_BAND_WIDTH);
    if ((result = mig_pg_begin(node->pg, err)) == MIG_OK &&
        (result = node_become_owner(node, err)) == MIG_OK &&
        (result = set_local(node, "lock_timeout", NODE_LOCK_MS, err)) == MIG_OK &&
        (result = set_local(node, "statement_timeout", time_ms, err)) == MIG_OK &&
        (result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock(5)", err)) == MIG_OK &&
        (result = for_tables(node, band, META ", " BLOB, block, err)) == MIG_OK &&
        (result = make_indexes(node, band, BLOB, err)) == MIG_OK)
        result = mig_pg_commit(node->pg, err);
    if (result != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

int node_bulk_make(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err)
{
    int result = make_once(node, band, ATTACH_MS, err);

    for (unsigned i = 0; result == MIG_E_TEMPORARY && i < MAKE_ATTEMPTS && mig_pg_alive(node->pg);
         i++)
        if ((result = node_pause_after(node, i, err)) == MIG_OK)
            result = make_once(node, band, time_for(i * PATIENCE / MAKE_PATIENCE), err);
    return result;
}

/* ---- filled ---------------------------------------------------------------------------------- */

/* Rows are frozen in a table that the same transaction has emptied. Foreign keys are not looked up
 * row by row, as they could not be: meta is no partition yet. The manifest's limit is for
 * statements that others may have to wait for: nobody waits for our indexes, however long they
 * take. */
int node_bulk_begin(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int result = mig_pg_begin(node->pg, err);

    snprintf(sql, sizeof sql,
             "SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = 0;"
             " SELECT set_config("
             "'maintenance_work_mem', greatest(setting::bigint, %d)::text, true) FROM pg_settings"
             " WHERE name = 'maintenance_work_mem';"
             " TRUNCATE " NODE_BULK_META "_o%" PRIu32 "_s%" PRId64 "_%" PRId64,
             MAINTENANCE_KB, band->originator, band->start, band->start + MIG_BAND_WIDTH);
    return result == MIG_OK ? mig_pg_exec(node->pg, sql, err) : result;
}

/* Rows that come into the table of blobs are committed part by part, and are of no worth before the
 * band is: the commit that attaches it makes them durable with itself. */
int node_bulk_begin_blobs(struct mig_node *node, struct mig_error *err)
{
    return mig_pg_exec(node->pg,
                       "SET session_replication_role = replica; SET synchronous_commit = off", err);
}

/* ---- attached ------------------------------------------------------------------------------- */

/* An empty leaf in the band's place goes. Whoever writes without the node's advisory lock may have
 * put rows into it at the last moment. */
static const char make_way[] =
    "IF to_regclass('public.' || leaf) IS NOT NULL THEN"
    " EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', leaf);"
    " EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', leaf) INTO there;"
    " IF there THEN RAISE EXCEPTION 'rows came into the band' USING ERRCODE = '40001'; END IF;"
    " EXECUTE format('ALTER TABLE public.%I DETACH PARTITION public.%I', parent, leaf);"
    " EXECUTE format('DROP TABLE public.%I', leaf); END IF;";

static int put_in_place(struct mig_node *node, const struct node_bulk_band *band,
                        struct mig_error *err)
{
    char block[NODE_SQL_SIZE];
    int result;

    snprintf(block, sizeof block,
             "EXECUTE format('ALTER TABLE xmtp_migrate.%%I RESET (autovacuum_enabled)', leaf);"
             " EXECUTE format('ALTER TABLE xmtp_migrate.%%I SET SCHEMA public', leaf);"
             " EXECUTE format('ALTER TABLE public.%%I ATTACH PARTITION public.%%I FOR VALUES FROM"
             " (%" PRId64 ") TO (%" PRId64 ")', parent, leaf);"
             " EXECUTE format('ALTER TABLE public.%%I DROP CONSTRAINT xmtp_migrate_band', leaf);",
             band->start, band->start + MIG_BAND_WIDTH);
    result = for_tables(node, band, BLOB ", " META, make_way, err);
    return result == MIG_OK ? for_tables(node, band, META ", " BLOB, block, err) : result;
}

static int refuse_rows(struct mig_node *node, const struct node_bulk_band *band,
                       struct mig_error *err)
{
    mig_fail(err, MIG_E_TEMPORARY,
             "node '%s': somebody else put rows of originator %" PRIu32
             " into the band from %" PRId64 " while it was filled",
             node->entry->name, band->originator, band->start);
    return mig_hint(err, "run it again: it will be compared with them row by row");
}

/* What others must wait for, from the first lock to before the commit. */
static int attach_once(struct mig_node *node, const struct node_bulk_band *band, int64_t time_ms,
                       node_bulk_more_fn *more, void *context, bool *ret_taken,
                       struct mig_error *err)
{
    enum node_band_state state = NODE_BAND_ABSENT;
    int result;

    if ((result = mig_pg_exec(node->pg, "SAVEPOINT mig_attach", err)) != MIG_OK ||
        (result = set_local(node, "lock_timeout", NODE_LOCK_MS, err)) != MIG_OK ||
        (result = set_local(node, "statement_timeout", time_ms, err)) != MIG_OK ||
        (result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock(5)", err)) != MIG_OK ||
        (result = node_band_state(node, band->originator, band->start, &state, err)) != MIG_OK)
        return result;
    *ret_taken = state == NODE_BAND_HAS_ROWS;
    if (*ret_taken)
        return refuse_rows(node, band, err);
    if ((result = put_in_place(node, band, err)) != MIG_OK)
        return result;
    return more(context, err);
}

/* A standby that is behind must not keep the node's readers waiting: what comes after is written
 * with the setting as it is, and with it all before. */
static int wait_for_no_standby(struct mig_node *node, struct mig_error *err)
{
    return mig_pg_exec(node->pg,
                       "SET LOCAL session_replication_role = origin; SELECT set_config("
                       "'synchronous_commit', 'local', true) WHERE"
                       " current_setting('synchronous_commit') NOT IN ('off', 'local')",
                       err);
}

int node_bulk_attach(struct mig_node *node, const struct node_bulk_band *band,
                     node_bulk_more_fn *more, void *context, struct mig_error *err)
{
    const int64_t until = mig_time_monotonic_ns() + ATTACH_SECONDS * MIG_NS_PER_SECOND;
    bool taken = false;
    int result = wait_for_no_standby(node, err);

    if (result != MIG_OK)
        return result;
    for (unsigned i = 0;; i++) {
        result = attach_once(node, band, time_for(i), more, context, &taken, err);
        if (result == MIG_OK)
            return mig_pg_commit(node->pg, err);
        if (result != MIG_E_TEMPORARY || taken || !mig_pg_alive(node->pg))
            return result;
        if (mig_time_monotonic_ns() > until)
            return mig_hint(err, "see who holds locks on gateway_envelopes_meta or payers for so"
                                 " long (pg_locks), then run it again");
        if ((result = mig_pg_exec(node->pg, "ROLLBACK TO SAVEPOINT mig_attach", err)) != MIG_OK ||
            (result = node_pause_after(node, i, err)) != MIG_OK)
            return result;
    }
}

/* ---- left behind ---------------------------------------------------------------------------- */

static int list_left(struct mig_node *node, struct mig_pg_result *ret_answer, struct mig_error *err)
{
    return mig_pg_query(
        node->pg,
        "SELECT string_agg(format('xmtp_migrate.%I', relname), ', '), count(*) FROM pg_class WHERE"
        " relnamespace = to_regnamespace('xmtp_migrate') AND relkind = 'r' AND relname ~"
        " '^gateway_envelopes_(meta|blob)_o\\d+_s\\d+_\\d+$'",
        NULL, 0, ret_answer, err);
}

static int drop_once(struct mig_node *node, const char *tables, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result;

    if ((result = mig_buffer_print(&sql, err, "DROP TABLE %s%c", tables, '\0')) == MIG_OK &&
        (result = mig_pg_begin(node->pg, err)) == MIG_OK &&
        (result = set_local(node, "lock_timeout", NODE_LOCK_MS, err)) == MIG_OK &&
        (result = mig_pg_exec(node->pg, (const char *) sql.data, err)) == MIG_OK)
        result = mig_pg_commit(node->pg, err);
    if (result != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

int node_bulk_clean(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result left = {0};
    int result = list_left(node, &left, err);

    if (result != MIG_OK || mig_pg_int64(&left, 0, 1) == 0)
        return result;
    result = drop_once(node, mig_pg_text(&left, 0, 0), err);
    for (unsigned i = 0; result == MIG_E_TEMPORARY && i < MAKE_ATTEMPTS && mig_pg_alive(node->pg);
         i++)
        if ((result = node_pause_after(node, i, err)) == MIG_OK)
            result = drop_once(node, mig_pg_text(&left, 0, 0), err);
    if (result == MIG_OK)
        mig_log(node->hooks, MIG_LOG_INFO,
                "node '%s': a run that was stopped had left tables of bands that nobody reads:"
                " %" PRId64 " dropped",
                node->entry->name, mig_pg_int64(&left, 0, 1));
    return result;
}
