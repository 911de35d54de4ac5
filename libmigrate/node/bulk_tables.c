/*
 * The two tables that a band is filled in, in our schema, and the SQL that makes, indexes and
 * attaches them under the names of the band's leaves. What the node's parents have is asked of the
 * catalogue, never written down here.
 *
 * Foreign keys can neither be made nor attached without locks on the node's own tables: each such
 * transaction is one message to the server, is short and gives up soon, so that nobody queues
 * behind it for long, and is begun again a little later. Whatever needs no such lock is done
 * before.
 *
 * A foreign key on a filled table would be looked up row by row, among all rows of the node, while
 * others wait: both have theirs from when they are empty. That of the blobs points at the node's
 * partitions. From then on whoever deletes a row there looks into our table, by its key, and
 * whoever drops a partition has to lock it: so it has its key from the start, and nobody may hold
 * it for long. Meta points at payers alone, which nobody deletes: it is filled, and frozen, in one
 * long transaction.
 *
 * Until they are attached the tables have short names. PostgreSQL writes down a foreign key once
 * for each partition that it points at, under a name that is cut from the table's and counted up
 * until it is free: bands whose names were cut to the same would count through each other's.
 */
#include "libmigrate/node/bulk.h"

#include <inttypes.h>
#include <stdio.h>

#define MAKE_SECONDS 8
#define ATTACH_SECONDS 600
#define MAINTENANCE_KB 262144
#define LOOP_SIZE (NODE_SQL_SIZE + 512)

/* Declares part, parent, leaf and ours (its name until it is that leaf), for the loop over both
 * tables. */
static const char each_table[] = "DECLARE part text; parent text; leaf text; ours text; def record;"
                                 " there boolean; BEGIN"
                                 " FOREACH part IN ARRAY ARRAY[%s] LOOP"
                                 " parent := 'gateway_envelopes_' || part || '_o%" PRIu32 "';"
                                 " leaf := parent || '_s%" PRId64 "_%" PRId64 "';"
                                 " ours := part || '_o%" PRIu32 "_s%" PRId64 "';"
                                 " %s END LOOP; END;";

/* A block for meta and blob, in the order given. */
static void put_loop(char loop[LOOP_SIZE], const struct node_bulk_band *band, const char *order,
                     const char *block)
{
    snprintf(loop, LOOP_SIZE, each_table, order, band->originator, band->start,
             band->start + MIG_BAND_WIDTH, band->originator, band->start, block);
}

#define META "'meta'"
#define BLOB "'blob'"
#define DO_LOOP "DO $do$ %s $do$"
#define DO_SIZE (LOOP_SIZE + sizeof DO_LOOP)

static int for_tables(struct mig_node *node, const struct node_bulk_band *band, const char *order,
                      const char *block, struct mig_error *err)
{
    char loop[LOOP_SIZE], sql[DO_SIZE];

    put_loop(loop, band, order, block);
    snprintf(sql, sizeof sql, DO_LOOP, loop);
    return mig_pg_exec(node->pg, sql, err);
}

/* ---- indexed --------------------------------------------------------------------------------- */

/* Named as PostgreSQL would name those of the leaf; but where it has to cut a name, it tells it
 * apart by a number among all of one schema: in that of the node it might be taken. */
static int make_indexes(struct mig_node *node, const struct node_bulk_band *band, const char *which,
                        struct mig_error *err)
{
    return for_tables(
        node, band, which,
        "FOR def IN SELECT pg_get_constraintdef(oid) AS text, CASE contype WHEN 'p' THEN '_pkey'"
        " ELSE '_key' || row_number() OVER (ORDER BY oid) END AS suffix FROM pg_constraint WHERE"
        " conrelid = to_regclass('public.' || parent) AND contype IN ('p', 'u') ORDER BY oid LOOP"
        " EXECUTE format('ALTER TABLE xmtp_migrate.%I ADD CONSTRAINT %I %s', ours, leaf ||"
        " def.suffix, def.text); END LOOP;"
        " FOR def IN SELECT CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END AS kind,"
        " pg_get_indexdef(indexrelid) AS text, '_idx' || row_number() OVER (ORDER BY indexrelid) AS"
        " suffix FROM pg_index WHERE indrelid = to_regclass('public.' || parent) AND NOT EXISTS ("
        "SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid) LOOP"
        " EXECUTE format('CREATE %sINDEX %I ON xmtp_migrate.%I%s', def.kind, leaf || def.suffix,"
        " ours, substr(def.text, strpos(def.text, ' USING '))); END LOOP;",
        err);
}

int node_bulk_index(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err)
{
    return make_indexes(node, band, META, err);
}

/* ---- made ---------------------------------------------------------------------------------- */

/* Those of the originator's bands; the node's own functions make them. */
static int make_parents(struct mig_node *node, const struct node_bulk_band *band,
                        struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE], sql[NODE_SQL_SIZE];
    int result =
        mig_pg_query(node->pg,
                     "SELECT to_regclass('public.gateway_envelopes_meta_o' || $1) IS NOT NULL AND"
                     " to_regclass('public.gateway_envelopes_blob_o' || $1) IS NOT NULL",
                     (const char *const[]){node_number(band->originator, number)}, 1, &answer, err);

    if (result != MIG_OK || mig_pg_bool(&answer, 0, 0))
        return result;
    snprintf(sql, sizeof sql,
             "SELECT make_meta_originator_part_v2(%s), make_blob_originator_part_v3(%s)", number,
             number);
    return node_change_bands(node, sql, MAKE_SECONDS, err);
}

/* The bounds stand as a constraint, so that nothing has to be read when the band is attached. A
 * vacuum would hold a lock that attaching has to wait for. */
static int make_tables(struct mig_node *node, const void *context, unsigned attempt,
                       struct mig_error *err)
{
    const struct node_bulk_band *band = context;
    char block[NODE_SQL_SIZE], begin[NODE_SQL_SIZE];
    int result;

    (void) attempt;
    snprintf(block, sizeof block,
             "EXECUTE format('DROP TABLE IF EXISTS xmtp_migrate.%%I', ours);"
             " EXECUTE format('CREATE TABLE xmtp_migrate.%%I (LIKE public.%%I INCLUDING DEFAULTS"
             " INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION, CONSTRAINT"
             " xmtp_migrate_band CHECK (originator_node_id = %" PRIu32
             " AND originator_sequence_id >= %" PRId64 " AND originator_sequence_id < %" PRId64
             ")) WITH (autovacuum_enabled = off)', ours, parent);",
             band->originator, band->start, band->start + MIG_BAND_WIDTH);
    snprintf(begin, sizeof begin, "BEGIN; " NODE_BECOME_OWNER "; SET LOCAL lock_timeout = %d",
             NODE_LOCK_MS);
    if ((result = mig_pg_exec(node->pg, begin, err)) == MIG_OK &&
        (result = for_tables(node, band, META ", " BLOB, block, err)) == MIG_OK &&
        (result = make_indexes(node, band, BLOB, err)) == MIG_OK)
        result = mig_pg_commit(node->pg, err);
    if (result != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

#define EACH_FOREIGN_KEY                                                                           \
    "FOR def IN SELECT conname, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c"          \
    " JOIN pg_class r ON r.oid = c.confrelid WHERE conrelid = to_regclass('public.' ||"            \
    " parent) AND contype = 'f' AND NOT r.relispartition ORDER BY c.oid LOOP"

/* Looking whether an empty table keeps its foreign key means planning a query over all leaves: that
 * needs no lock that others wait for, and comes after. */
static int make_foreign_keys(struct mig_node *node, const struct node_bulk_band *band,
                             struct mig_error *err)
{
    char loop[LOOP_SIZE], sql[DO_SIZE];
    int result;

    put_loop(loop, band, META ", " BLOB,
             EACH_FOREIGN_KEY " EXECUTE format('ALTER TABLE xmtp_migrate.%I ADD CONSTRAINT %I %s"
                              " NOT VALID', ours, def.conname, def.text); END LOOP;");
    snprintf(sql, sizeof sql, DO_LOOP, loop);
    result = node_change_bands(node, sql, MAKE_SECONDS, err);
    return result == MIG_OK
               ? for_tables(node, band, META ", " BLOB,
                            EACH_FOREIGN_KEY " EXECUTE format('ALTER TABLE xmtp_migrate.%I VALIDATE"
                                             " CONSTRAINT %I', ours, def.conname); END LOOP;",
                            err)
               : result;
}

int node_bulk_make(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err)
{
    int result;

    if ((result = make_parents(node, band, err)) != MIG_OK ||
        (result = node_try_for(node, MAKE_SECONDS, make_tables, band, err)) != MIG_OK)
        return result;
    return make_foreign_keys(node, band, err);
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
             " TRUNCATE " NODE_BULK_NAME,
             MAINTENANCE_KB, "meta", band->originator, band->start);
    return result == MIG_OK ? mig_pg_exec(node->pg, sql, err) : result;
}

/* Rows that come into the table of blobs are committed part by part, and are of no worth before the
 * band is: the commit that attaches it makes them durable with itself. */
int node_bulk_begin_blobs(struct mig_node *node, struct mig_error *err)
{
    return mig_pg_exec(node->pg,
                       "SET session_replication_role = replica; SET synchronous_commit = off", err);
}

/* A message that nobody reads: its commit waits for all of the WAL before it. Whoever may not write
 * one waits in the commit that attaches. */
void node_bulk_flush(struct mig_node *node)
{
    mig_pg_exec(node->pg,
                "SET synchronous_commit = local; SELECT pg_logical_emit_message(true,"
                " 'xmtp_migrate', '')",
                NULL);
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

/* What others must wait for, from the first lock to the commit, in one message: neither we nor the
 * way between us and the server may keep them waiting. */
static int attach_once(struct mig_node *node, const struct node_bulk_band *band, int64_t time_ms,
                       const char *more, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    char block[NODE_SQL_SIZE], clear[LOOP_SIZE], put[LOOP_SIZE];
    int result;

    snprintf(block, sizeof block,
             "EXECUTE format('ALTER TABLE xmtp_migrate.%%I RESET (autovacuum_enabled)', ours);"
             " EXECUTE format('ALTER TABLE xmtp_migrate.%%I RENAME TO %%I', ours, leaf);"
             " EXECUTE format('ALTER TABLE xmtp_migrate.%%I SET SCHEMA public', leaf);"
             " EXECUTE format('ALTER TABLE public.%%I ATTACH PARTITION public.%%I FOR VALUES FROM"
             " (%" PRId64 ") TO (%" PRId64 ")', parent, leaf);"
             " EXECUTE format('ALTER TABLE public.%%I DROP CONSTRAINT xmtp_migrate_band', leaf);",
             band->start, band->start + MIG_BAND_WIDTH);
    put_loop(clear, band, BLOB ", " META, make_way);
    put_loop(put, band, META ", " BLOB, block);
    result = mig_buffer_print(&sql, err,
                              "SAVEPOINT mig_attach; " NODE_LOCK_BANDS
                              "; DO $do$ BEGIN %s %s END $do$; %s; COMMIT%c",
                              NODE_LOCK_MS, time_ms, clear, put, more, '\0');
    return result == MIG_OK ? mig_pg_exec(node->pg, (const char *) sql.data, err) : result;
}

/* Looks at the leaf inside the savepoint: no lock of it stays. One that can't be seen in time may
 * have rows or not. */
static int look_at_leaf(struct mig_node *node, const struct node_bulk_band *band,
                        enum node_band_state *ret_state, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql, "ROLLBACK TO SAVEPOINT mig_attach; SET LOCAL lock_timeout = %d",
             NODE_LOCK_MS);
    if ((result = mig_pg_exec(node->pg, sql, err)) != MIG_OK)
        return result;
    result = node_band_state(node, band->originator, band->start, ret_state, err);
    if (result == MIG_E_TEMPORARY && mig_pg_alive(node->pg))
        result = MIG_OK;
    return result == MIG_OK
               ? mig_pg_exec(node->pg, "ROLLBACK TO SAVEPOINT mig_attach; RELEASE mig_attach", err)
               : result;
}

/* Why it could not be attached: MIG_OK when that may come about yet. */
static int ask_why(struct mig_node *node, const struct node_bulk_band *band,
                   const struct mig_error *failed, struct mig_error *err)
{
    enum node_band_state state = NODE_BAND_ABSENT;
    int result;

    if (mig_pg_alive(node->pg)) {
        if ((result = look_at_leaf(node, band, &state, err)) != MIG_OK)
            return result;
        if (state != NODE_BAND_HAS_ROWS && failed->code == MIG_E_TEMPORARY)
            return MIG_OK;
    }
    if (state != NODE_BAND_HAS_ROWS) {
        if (err)
            *err = *failed;
        return failed->code;
    }
    mig_fail(err, MIG_E_TEMPORARY,
             "node '%s': somebody else put rows of originator %" PRIu32
             " into the band from %" PRId64 " while it was filled",
             node->entry->name, band->originator, band->start);
    return mig_hint(err, "run it again: it will be compared with them row by row");
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

int node_bulk_attach(struct mig_node *node, const struct node_bulk_band *band, const char *more,
                     struct mig_error *err)
{
    const int64_t until = mig_time_monotonic_ns() + ATTACH_SECONDS * MIG_NS_PER_SECOND;
    struct mig_error failed = MIG_ERROR_INIT;
    int result = wait_for_no_standby(node, err);

    for (unsigned i = 0; result == MIG_OK; i++) {
        const int failure = attach_once(node, band, node_time_for(i), more, &failed);

        if (failure == MIG_OK)
            return MIG_OK;
        if ((result = ask_why(node, band, &failed, err)) != MIG_OK)
            return result;
        if (mig_time_monotonic_ns() > until) {
            if (err)
                *err = failed;
            return mig_hint(err, "see who holds locks on gateway_envelopes_meta or payers for so"
                                 " long (pg_locks), then run it again");
        }
        result = node_pause_after(node, i, err);
    }
    return result;
}

/* ---- left behind ---------------------------------------------------------------------------- */

int node_bulk_clean(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result left = {0};
    char sql[NODE_SQL_SIZE];
    int result =
        mig_pg_query(node->pg,
                     "SELECT format('xmtp_migrate.%I', relname) FROM pg_class WHERE relnamespace ="
                     " to_regnamespace('xmtp_migrate') AND relkind = 'r' AND relname ~ "
                     "'^(meta|blob)_o\\d+_s\\d+$'",
                     NULL, 0, &left, err);

    for (int row = 0; row < left.rows && result == MIG_OK; row++) {
        snprintf(sql, sizeof sql, "DROP TABLE %s", mig_pg_text(&left, row, 0));
        result = node_change_bands(node, sql, MAKE_SECONDS, err);
        if (result == MIG_OK)
            mig_log(node->hooks, MIG_LOG_INFO,
                    "node '%s': %s, of a band that a stopped run had not finished, is dropped",
                    node->entry->name, mig_pg_text(&left, row, 0));
    }
    return result;
}
