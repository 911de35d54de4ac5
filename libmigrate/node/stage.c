/*
 * Envelopes into the node's tables: COPY into a staging table of the session, look which ids the
 * node has already (held.c), insert the others. The transaction is the caller's.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

#define STAGE_FIELDS 7
#define NS_PER_MINUTE (INT64_C(60) * MIG_NS_PER_SECOND)

int node_stage_prepare(struct mig_node *node, struct mig_error *err)
{
    int result;

    if (node->staged)
        return MIG_OK;
    result = mig_pg_exec(
        node->pg,
        "CREATE TEMPORARY TABLE IF NOT EXISTS mig_stage (seq bigint NOT NULL, topic bytea NOT NULL,"
        " gateway_time timestamp NOT NULL, expiry bigint NOT NULL, envelope bytea NOT NULL,"
        " minute integer NOT NULL, spend bigint NOT NULL) ON COMMIT DELETE ROWS;"
        "CREATE TEMPORARY TABLE IF NOT EXISTS mig_stage_letters (kind text NOT NULL,"
        " seq bigint NOT NULL, payload bytea NOT NULL, reason text NOT NULL,"
        " retryable boolean NOT NULL) ON COMMIT DELETE ROWS",
        err);
    node->staged = result == MIG_OK;
    return result;
}

static int put_envelope(struct mig_pg *pg, const struct mig_envelope *envelope,
                        struct mig_error *err)
{
    int result;

    if ((result = mig_pg_put_row(pg, STAGE_FIELDS, err)) != MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->sequence_id, err)) != MIG_OK ||
        (result = mig_pg_put_bytes(pg, envelope->topic, err)) != MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->gateway_time_us - MIG_PG_EPOCH_US, err)) !=
            MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->expiry_unixtime, err)) != MIG_OK ||
        (result = mig_pg_put_bytes(pg, envelope->originator_envelope, err)) != MIG_OK ||
        (result = mig_pg_put_int32(pg, (int32_t) (envelope->originator_ns / NS_PER_MINUTE), err)) !=
            MIG_OK)
        return result;
    return mig_pg_put_int64(pg, (int64_t) envelope->base_fee_picodollars, err);
}

static int copy_to_stage(struct mig_node *node, const struct mig_part *part, uint64_t *ret_staged,
                         struct mig_error *err)
{
    uint64_t staged = 0, arrived;
    int result = mig_pg_copy_in(node->pg, "COPY mig_stage FROM STDIN (FORMAT binary)", err);

    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++) {
        if (part->envelopes[i].route != MIG_ROUTE_NODE)
            continue;
        result = put_envelope(node->pg, &part->envelopes[i], err);
        staged++;
    }
    if (result == MIG_OK)
        result = mig_pg_copy_in_end(node->pg, &arrived, err);
    if (result == MIG_OK && arrived != staged)
        result = mig_fail(err, MIG_E_CORRUPT,
                          "node '%s': %" PRIu64 " rows arrived in the staging table of %" PRIu64,
                          node->entry->name, arrived, staged);
    *ret_staged = staged;
    return result;
}

/* ---- rows that it lacks ------------------------------------------------------------------- */

int node_find_payer(struct mig_node *node, const char *address, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result made = {0}, answer = {0};
    const char *const params[] = {address};
    int result;

    if (node->keeps_payer)
        return MIG_OK;
    if ((result = mig_pg_query(node->pg,
                               "INSERT INTO payers (address) VALUES ($1) ON CONFLICT DO NOTHING",
                               params, 1, &made, err)) != MIG_OK ||
        (result = mig_pg_query(node->pg, "SELECT id FROM payers WHERE address = $1", params, 1,
                               &answer, err)) != MIG_OK)
        return result;
    if (answer.rows != 1)
        return mig_fail(err, MIG_E_DATABASE, "node '%s': the payer %s can't be written down",
                        node->entry->name, address);
    node->payer_id = (int32_t) mig_pg_int64(&answer, 0, 0);
    return MIG_OK;
}

/* Of what is staged, the rows that ids names; all with NULL. */
static int insert_into(struct mig_node *node, const char *sql, const char *ids, uint64_t expected,
                       struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = expected > 0 ? mig_pg_query(node->pg, sql, &ids, 1, &answer, err) : MIG_OK;

    if (result == MIG_OK && expected > 0 && (uint64_t) answer.affected != expected)
        result = mig_fail(err, MIG_E_CORRUPT,
                          "node '%s': %" PRId64 " rows were stored of %" PRIu64 " staged",
                          node->entry->name, answer.affected, expected);
    return result;
}

static int insert_meta(struct mig_node *node, uint32_t originator, const char *ids,
                       uint64_t expected, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql,
             "INSERT INTO gateway_envelopes_meta (gateway_time, originator_node_id,"
             " originator_sequence_id, topic, payer_id, expiry) SELECT gateway_time, %" PRIu32
             ", seq, topic, %" PRId32 ", expiry FROM mig_stage"
             " WHERE $1::bigint[] IS NULL OR seq = ANY ($1)",
             originator, node->payer_id);
    return insert_into(node, sql, ids, expected, err);
}

static int insert_blobs(struct mig_node *node, uint32_t originator, const char *ids,
                        uint64_t expected, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql,
             "INSERT INTO gateway_envelopes_blob (originator_node_id, originator_sequence_id,"
             " originator_envelope) SELECT %" PRIu32 ", seq, envelope FROM mig_stage"
             " WHERE $1::bigint[] IS NULL OR seq = ANY ($1)",
             originator);
    return insert_into(node, sql, ids, expected, err);
}

static int complete_halves(struct mig_node *node, uint32_t originator, const struct node_held *held,
                           struct mig_error *err)
{
    const struct node_ids *lack_blob = &held->bare_meta, *lack_meta = &held->bare_blobs;
    int result =
        insert_blobs(node, originator, (const char *) lack_blob->text.data, lack_blob->count, err);

    return result == MIG_OK ? insert_meta(node, originator, (const char *) lack_meta->text.data,
                                          lack_meta->count, err)
                            : result;
}

/* Where the role has the right to it. */
static int set_replication_role(struct mig_node *node, const char *role, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql,
             "SELECT set_config('session_replication_role', '%s', true) WHERE"
             " has_parameter_privilege('session_replication_role', 'SET')",
             role);
    return mig_pg_exec(node->pg, sql, err);
}

/* As the node's own insert has it: in one statement, so that usage is counted behind the rows and
 * before the clock, which the trigger raises. Whoever took these locks in another order, or in no
 * order, would wait for a node that waits for him. */
static int insert_meta_counting(struct mig_node *node, uint32_t originator, uint64_t expected,
                                struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "WITH meta AS (INSERT INTO gateway_envelopes_meta (gateway_time, originator_node_id,"
             " originator_sequence_id, topic, payer_id, expiry) SELECT gateway_time, %" PRIu32
             ", seq, topic, %" PRId32 ", expiry FROM mig_stage ORDER BY seq RETURNING 1),"
             " counted AS (INSERT INTO unsettled_usage AS u (payer_id, originator_id,"
             " minutes_since_epoch, spend_picodollars, last_sequence_id, message_count)"
             " SELECT %" PRId32 ", %" PRIu32 ", minute, sum(spend), max(seq), count(*)"
             " FROM mig_stage GROUP BY minute ORDER BY minute"
             " ON CONFLICT (payer_id, originator_id, minutes_since_epoch) DO UPDATE SET"
             " spend_picodollars = u.spend_picodollars + excluded.spend_picodollars,"
             " last_sequence_id = greatest(u.last_sequence_id, excluded.last_sequence_id),"
             " message_count = u.message_count + excluded.message_count)"
             " SELECT count(*) FROM meta",
             originator, node->payer_id, node->payer_id, originator);
    result = mig_pg_query(node->pg, sql, NULL, 0, &answer, err);
    if (result == MIG_OK && (uint64_t) mig_pg_int64(&answer, 0, 0) != expected)
        result = mig_fail(err, MIG_E_CORRUPT,
                          "node '%s': %" PRId64 " rows were stored of %" PRIu64 " staged",
                          node->entry->name, mig_pg_int64(&answer, 0, 0), expected);
    return result;
}

/* The foreign key of blobs is not looked up row by row: the rows that it asks for are those just
 * inserted, which nobody else can see, let alone delete. The node's makers of bands wait meanwhile,
 * and its writers behind them. */
static int insert_missing(struct mig_node *node, uint32_t originator, uint64_t count,
                          struct mig_error *err)
{
    int result;

    if (count == 0)
        return MIG_OK;
    result = node->manifest->policy.count_usage ? insert_meta_counting(node, originator, count, err)
                                                : insert_meta(node, originator, NULL, count, err);
    if (result != MIG_OK || (result = set_replication_role(node, "replica", err)) != MIG_OK ||
        (result = insert_blobs(node, originator, NULL, count, err)) != MIG_OK)
        return result;
    return set_replication_role(node, "origin", err);
}

/* The node's trigger has done this for rows just inserted; not for rows that somebody else put into
 * a leaf. Behind the rows, as the node takes these locks. */
static int raise_clock(struct mig_node *node, uint32_t originator,
                       const struct mig_pg_result *clock, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE];

    if (clock->rows == 0)
        return MIG_OK;
    return mig_pg_query(
        node->pg,
        "INSERT INTO gateway_envelopes_latest AS l (originator_node_id, originator_sequence_id,"
        " gateway_time) VALUES ($1::int, $2::bigint, $3::timestamp)"
        " ON CONFLICT (originator_node_id) DO UPDATE SET originator_sequence_id ="
        " excluded.originator_sequence_id, gateway_time = excluded.gateway_time"
        " WHERE l.originator_sequence_id < excluded.originator_sequence_id",
        (const char *const[]){node_number(originator, number), mig_pg_text(clock, 0, 0),
                              mig_pg_text(clock, 0, 1)},
        3, &answer, err);
}

int node_stage_envelopes(struct mig_node *node, const struct mig_part *part, uint64_t *ret_staged,
                         struct mig_error *err)
{
    *ret_staged = 0;
    return mig_node_kind(part->table) == MIG_KIND_COUNT
               ? MIG_OK
               : copy_to_stage(node, part, ret_staged, err);
}

int node_insert_staged(struct mig_node *node, uint32_t originator, uint64_t count,
                       struct mig_error *err)
{
    int result = node_find_payer(node, node->payer, err);

    return result == MIG_OK ? insert_missing(node, originator, count, err) : result;
}

/* Rows that the node holds with other bytes stay as they are, or make room if somebody said so. */
static int judge_differing(struct mig_node *node, struct node_load_job *job, uint32_t originator,
                           const struct node_held *held, struct mig_error *err)
{
    const char *ids = (const char *) held->differing.text.data;

    if (held->differing.count == 0)
        return MIG_OK;
    return job->repair
               ? node_replace_conflicts(node, job, originator, ids, held->differing.count, err)
               : node_note_conflicts(node, job, originator, ids, held->differing.count, err);
}

int node_store_envelopes(struct mig_node *node, struct node_load_job *job, uint64_t staged,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result clock = {0};
    mig_cleanup(node_held_release) struct node_held held = NODE_HELD_INIT;
    mig_cleanup(node_ids_release) struct node_ids renewed = NODE_IDS_INIT;
    uint32_t originator;
    int result;

    if (staged == 0)
        return MIG_OK;
    originator = node_originator_of(job->part);
    if ((result = node_find_held(node, job, originator, &held, &renewed, err)) != MIG_OK ||
        (result = node_find_payer(node, node->payer, err)) != MIG_OK ||
        (result = judge_differing(node, job, originator, &held, err)) != MIG_OK ||
        (result = complete_halves(node, originator, &held, err)) != MIG_OK ||
        (result = node_unstage_held(node, &held, &clock, err)) != MIG_OK ||
        (result = node_insert_staged(node, originator, staged - held.all.count, err)) != MIG_OK ||
        (result = raise_clock(node, originator, &clock, err)) != MIG_OK ||
        (result = node_renew_clock(node, &renewed, err)) != MIG_OK)
        return result;
    job->counts.conflicts = held.differing.count - job->counts.replaced;
    job->counts.loaded = staged - held.all.count + held.halves + job->counts.replaced;
    job->counts.holes = node_rows_up_to(job->part, job->tracker) - held.up_to_tracker;
    job->counts.already_there = held.all.count - held.halves - held.differing.count;
    return MIG_OK;
}
