/*
 * Rows that the node holds with other bytes: written down with what both are, or replaced because
 * somebody named them. The staging table holds what would be loaded; the transaction is the
 * caller's.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

#define LOGGED_EACH 3

/* Staged rows s among the ids of $1 with what the node holds of them, m and b; for printf with the
 * span of the part twice. */
#define STAGED_AND_HELD                                                                            \
    " FROM mig_stage s LEFT JOIN (SELECT * FROM gateway_envelopes_meta WHERE " NODE_IN_SPAN        \
    ") m ON m.originator_sequence_id = s.seq LEFT JOIN (SELECT * FROM gateway_envelopes_blob"      \
    " WHERE " NODE_IN_SPAN ") b ON b.originator_sequence_id = s.seq"                               \
    " WHERE s.seq = ANY ($1::bigint[])"
#define HELD_DIGEST "coalesce(encode(sha256(b.originator_envelope), 'hex'), '')"
#define GIVEN_DIGEST "encode(sha256(s.envelope), 'hex')"

static const char *kind_of(const struct node_load_job *job)
{
    return mig_kind_info(mig_node_kind(job->part->table))->name;
}

static void log_conflict(const struct mig_node *node, const struct node_load_job *job,
                         const struct mig_pg_result *answer, int row)
{
    const char *held = mig_pg_text(answer, row, 1);

    mig_log(
        node->hooks, MIG_LOG_WARN,
        "node '%s': %s %s is a conflict (%s): the node holds an envelope with SHA-256 %s, would "
        "be loaded: %s",
        node->entry->name, kind_of(job), mig_pg_text(answer, row, 0), mig_pg_text(answer, row, 3),
        held[0] ? held : "none", mig_pg_text(answer, row, 2));
}

int node_note_conflicts(struct mig_node *node, const struct node_load_job *job, uint32_t originator,
                        const char *ids, uint64_t count, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_part *part = job->part;
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(
        sql, sizeof sql,
        "WITH noted AS (INSERT INTO xmtp_migrate.conflicts AS c (kind, sequence_id, run,"
        " differs, held, given, held_row) SELECT $2, s.seq, $3, concat_ws(',', CASE WHEN"
        " m.topic <> s.topic THEN 'topic' END, CASE WHEN m.expiry <> s.expiry THEN 'expiry'"
        " END, CASE WHEN b.originator_envelope <> s.envelope THEN 'envelope' END), " HELD_DIGEST
        ", " GIVEN_DIGEST ", " NODE_ROW_DIGEST STAGED_AND_HELD
        " ON CONFLICT (kind, sequence_id) DO UPDATE SET run = excluded.run, found_at = now(),"
        " differs = excluded.differs, held = excluded.held, given = excluded.given,"
        " held_row = excluded.held_row RETURNING c.sequence_id, c.held, c.given, c.differs)"
        " SELECT * FROM noted ORDER BY sequence_id LIMIT %d",
        originator, part->first_id, part->last_id, originator, part->first_id, part->last_id,
        LOGGED_EACH);
    result =
        mig_pg_query(node->pg, sql, (const char *const[]){ids, kind_of(job), job->run->facts.run},
                     3, &answer, err);
    if (result != MIG_OK)
        return result;
    for (int row = 0; row < answer.rows; row++)
        log_conflict(node, job, &answer, row);
    mig_log(node->hooks, MIG_LOG_WARN,
            "node '%s': %" PRIu64 " rows of %s from %" PRId64 " to %" PRId64
            " are there with other bytes: kept as they are, see xmtp-migrate rejected list",
            node->entry->name, count, kind_of(job), part->first_id, part->last_id);
    return MIG_OK;
}

/* ---- replaced ------------------------------------------------------------------------------- */

/* Does something with the node's rows that ids names. */
static int change(struct mig_node *node, const struct node_load_job *job, uint32_t originator,
                  const char *what, const char *how, const char *ids, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql,
             "%s WHERE " NODE_IN_SPAN " AND originator_sequence_id = ANY ($1::bigint[])%s", what,
             originator, job->part->first_id, job->part->last_id, how);
    return mig_pg_query(node->pg, sql, (const char *const[]){ids}, 1, &answer, err);
}

/* What the node holds, if it is what was noted when the conflict was found: whoever named the row
 * has seen that, and nothing else. */
static int keep_replaced(struct mig_node *node, const struct node_load_job *job,
                         uint32_t originator, const char *ids, uint64_t count,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_part *part = job->part;
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "INSERT INTO xmtp_migrate.replaced (kind, sequence_id, run, who, reason, held, given,"
             " gateway_time, topic, payer_id, expiry, originator_envelope) SELECT $2, s.seq, $3,"
             " $4, $5, " HELD_DIGEST ", " GIVEN_DIGEST ", m.gateway_time, m.topic, m.payer_id,"
             " m.expiry, b.originator_envelope" STAGED_AND_HELD
             " AND EXISTS (SELECT FROM xmtp_migrate.conflicts c WHERE c.kind = $2 AND"
             " c.sequence_id = s.seq AND c.held_row = " NODE_ROW_DIGEST ")",
             originator, part->first_id, part->last_id, originator, part->first_id, part->last_id);
    result = mig_pg_query(node->pg, sql,
                          (const char *const[]){ids, kind_of(job), job->run->facts.run,
                                                job->repair->who, job->repair->reason},
                          5, &answer, err);
    if (result != MIG_OK || (uint64_t) answer.affected == count)
        return result;
    mig_fail(err, MIG_E_REFUSED,
             "node '%s' holds something else by now than when the conflict was found",
             node->entry->name);
    return mig_hint(err, "xmtp-migrate rejected retry looks again; then compare, and name it anew");
}

int node_replace_conflicts(struct mig_node *node, struct node_load_job *job, uint32_t originator,
                           const char *ids, uint64_t count, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "UPDATE gateway_envelopes_meta SET gateway_time = s.gateway_time, topic = s.topic,"
             " payer_id = %" PRId32 ", expiry = s.expiry FROM mig_stage s",
             node->payer_id);
    if ((result = change(node, job, originator, "SELECT FROM gateway_envelopes_meta", " FOR UPDATE",
                         ids, err)) != MIG_OK ||
        (result = change(node, job, originator, "SELECT FROM gateway_envelopes_blob", " FOR UPDATE",
                         ids, err)) != MIG_OK ||
        (result = keep_replaced(node, job, originator, ids, count, err)) != MIG_OK ||
        (result = change(node, job, originator, sql, " AND originator_sequence_id = s.seq", ids,
                         err)) != MIG_OK ||
        (result = change(node, job, originator,
                         "UPDATE gateway_envelopes_blob SET originator_envelope = s.envelope"
                         " FROM mig_stage s",
                         " AND originator_sequence_id = s.seq", ids, err)) != MIG_OK)
        return result;
    job->counts.replaced = count;
    return MIG_OK;
}

int mig_node_was_replaced(struct mig_node *node, enum mig_kind kind, int64_t id, bool *ret_replaced,
                          struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE];
    const char *const params[] = {mig_kind_info(kind)->name, node_number(id, number)};
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(node->pg,
                              "SELECT FROM xmtp_migrate.replaced WHERE kind = $1 AND"
                              " sequence_id = $2 LIMIT 1",
                              params, mig_count_of(params), &answer, err);
    if (result == MIG_OK)
        *ret_replaced = answer.rows > 0;
    return result;
}
