/*
 * Rows above what the sequence gave out are read by every sitting of a run anew, and counted as the
 * last reading finds them. Those that an earlier reading of the run loaded are found there by the
 * next, and are rows that the run loaded all the same.
 */
#include "libmigrate/node/node_private.h"

#include <stdio.h>

int node_forget_strays(struct mig_node *node, const char *run, const struct mig_part *within,
                       struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char first[NODE_NUMBER_SIZE], last[NODE_NUMBER_SIZE];
    const char *const params[] = {run, within ? mig_table_info(within->table)->name : NULL,
                                  within ? node_number(within->first_id, first) : NULL,
                                  within ? node_number(within->last_id, last) : NULL};

    return mig_pg_query(
        node->pg,
        "WITH old AS (SELECT run, source_table, first_id FROM xmtp_migrate.parts WHERE run = $1 AND"
        " NOT settled AND ($2::text IS NULL OR source_table = $2 AND first_id <= $4::bigint AND"
        " last_id >= $3::bigint)), loaded AS (SELECT source_table, sum(rows) AS rows FROM"
        " xmtp_migrate.counts JOIN old USING (run, source_table, first_id) WHERE state = 'loaded'"
        " GROUP BY 1), kept AS (INSERT INTO xmtp_migrate.strays AS s (run, source_table, loaded)"
        " SELECT $1, source_table, rows FROM loaded ON CONFLICT (run, source_table) DO UPDATE SET"
        " loaded = s.loaded + excluded.loaded), gone AS (DELETE FROM xmtp_migrate.parts p USING old"
        " WHERE p.run = old.run AND p.source_table = old.source_table AND p.first_id ="
        " old.first_id RETURNING p.run) UPDATE xmtp_migrate.runs SET finished_at = NULL WHERE run"
        " IN (SELECT run FROM gone) AND finished_at IS NOT NULL AND $2::text IS NULL",
        params, mig_count_of(params), &answer, err);
}

int node_find_strays(struct mig_node *node, const char *run, enum mig_table table,
                     struct mig_load_result *counts, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char there[NODE_NUMBER_SIZE];
    uint64_t ours;
    int result;

    if (counts->already_there == 0)
        return MIG_OK;
    result = mig_pg_query(
        node->pg,
        "UPDATE xmtp_migrate.strays s SET loaded = s.loaded - ours FROM (SELECT run, source_table,"
        " least(loaded, $3::bigint) AS ours FROM xmtp_migrate.strays WHERE run = $1 AND"
        " source_table = $2) AS o WHERE s.run = o.run AND s.source_table = o.source_table"
        " RETURNING ours",
        (const char *const[]){run, mig_table_info(table)->name,
                              node_number((int64_t) counts->already_there, there)},
        3, &answer, err);
    if (result != MIG_OK || answer.rows == 0)
        return result;
    ours = (uint64_t) mig_pg_int64(&answer, 0, 0);
    counts->loaded += ours;
    counts->already_there -= ours;
    return MIG_OK;
}
