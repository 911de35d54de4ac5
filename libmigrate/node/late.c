/*
 * Parts that were taken for whole too early: where ranges are settled by time alone, a row may come
 * to the source after its part was read. Books are reopened from such a part on, and what follows
 * is read once more; rows that the run loaded are found there, and count as loaded all the same.
 */
#include "libmigrate/node/node_private.h"

#include <stdlib.h>

/* What was changed by hand is not for us to put right: it does not close. */
static const char *const part_counts_sql =
    "SELECT p.first_id, p.last_id, coalesce(sum(c.rows) FILTER (WHERE c.state = 'counted'),"
    " 0)::bigint, (p.nodes_digest = '' OR count(c.rows) > 0) AND coalesce(sum(c.rows) FILTER (WHERE"
    " c.state = 'counted'), 0) = coalesce(sum(c.rows) FILTER (WHERE c.state IN ('expired',"
    " 'rejected', 'for_nodes', 'for_chain')), 0) AND coalesce(sum(c.rows) FILTER (WHERE c.state ="
    " 'for_nodes'), 0) = coalesce(sum(c.rows) FILTER (WHERE c.state IN ('loaded',"
    " 'already_there')), 0) FROM (SELECT * FROM xmtp_migrate.parts WHERE run = $1 AND source_table"
    " = $2 AND settled ORDER BY first_id DESC LIMIT nullif($3::bigint, 0)) AS p LEFT JOIN"
    " xmtp_migrate.counts c USING (run, source_table, first_id) GROUP BY 1, 2, p.nodes_digest"
    " ORDER BY 1";

int mig_node_part_counts(struct mig_node *node, const char *run, enum mig_table table, size_t last,
                         struct mig_part_count **ret_parts, size_t *ret_count,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_part_count *parts;
    char number[NODE_NUMBER_SIZE];
    int result = mig_pg_query(node->pg, part_counts_sql,
                              (const char *const[]){run, mig_table_info(table)->name,
                                                    node_number((int64_t) last, number)},
                              3, &answer, err);

    if (result != MIG_OK)
        return result;
    parts = calloc((size_t) answer.rows + 1, sizeof *parts);
    if (!parts)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows; row++)
        parts[row] =
            (struct mig_part_count){mig_pg_int64(&answer, row, 0), mig_pg_int64(&answer, row, 1),
                                    mig_pg_int64(&answer, row, 2), mig_pg_bool(&answer, row, 3)};
    *ret_parts = parts;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}

int mig_node_reopen(struct mig_node *node, const struct mig_run *run, enum mig_table table,
                    int64_t first_id, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char first[NODE_NUMBER_SIZE], before[NODE_NUMBER_SIZE], wal[NODE_NUMBER_SIZE];

    return mig_pg_query(
        node->pg,
        "WITH old AS (SELECT run, source_table, first_id FROM xmtp_migrate.parts WHERE run = $1 AND"
        " source_table = $2 AND settled AND first_id >= $3::bigint), loaded AS (SELECT sum(rows) AS"
        " rows FROM xmtp_migrate.counts JOIN old USING (run, source_table, first_id) WHERE state ="
        " 'loaded'), kept AS (INSERT INTO xmtp_migrate.strays AS s (run, source_table, loaded)"
        " SELECT $1, $2, rows FROM loaded WHERE rows > 0 ON CONFLICT (run, source_table) DO UPDATE"
        " SET loaded = s.loaded + excluded.loaded), gone AS (DELETE FROM xmtp_migrate.parts p USING"
        " old WHERE p.run = old.run AND p.source_table = old.source_table AND p.first_id ="
        " old.first_id) UPDATE xmtp_migrate.runs SET bounds = CASE WHEN $5 THEN jsonb_set(bounds,"
        " ARRAY[$2], to_jsonb($4::text)) ELSE bounds END, finished_at = CASE WHEN $5 THEN"
        " finished_at END, source_wal = greatest(source_wal, $6::bigint) WHERE run = $1",
        (const char *const[]){run->facts.run, mig_table_info(table)->name,
                              node_number(first_id, first),
                              node_number(first_id == INT64_MIN ? first_id : first_id - 1, before),
                              run->followed ? "t" : "f", node_number(run->source_wal, wal)},
        6, &answer, err);
}
