/* What can be asked about a node's rows without reading them. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

int mig_node_reach(struct mig_node *node, enum mig_table table, struct mig_reach *ret_reach,
                   struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_reach reach = {INT64_MIN, INT64_MAX, INT64_MIN};
    int result = MIG_OK;

    /* The first run may have made them since the node was opened. */
    if (!node->has_books && (result = node_find_books(node, err)) != MIG_OK)
        return result;
    if (node->has_books)
        result = mig_pg_query(node->pg,
                              "SELECT (SELECT max(greatest(least((bounds->>$1)::numeric,"
                              " 9223372036854775807), -9223372036854775808))::bigint"
                              " FROM xmtp_migrate.runs WHERE bounds->>$1 ~"
                              " '^-?[0-9]{1,19}$'),"
                              " (SELECT min(first_id) FROM xmtp_migrate.parts"
                              " WHERE source_table = $1 AND NOT settled),"
                              " (SELECT last_migrated_id FROM migration_tracker"
                              " WHERE source_table = $1)",
                              (const char *const[]){mig_table_info(table)->name}, 1, &answer, err);
    if (result != MIG_OK)
        return result;
    if (node->has_books && mig_pg_text(&answer, 0, 0))
        reach.settled = mig_pg_int64(&answer, 0, 0);
    if (node->has_books && mig_pg_text(&answer, 0, 1))
        reach.unsettled = mig_pg_int64(&answer, 0, 1);
    if (node->has_books && mig_pg_text(&answer, 0, 2))
        reach.tracker = mig_pg_int64(&answer, 0, 2);
    *ret_reach = reach;
    return MIG_OK;
}

/* A run may be taken up for a node long after its instant: what counts is the later of the two. */
int mig_node_brought(struct mig_node *node, enum mig_table table, int64_t id,
                     struct mig_brought *ret_brought, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_brought brought = {INT64_MIN, INT64_MAX, INT64_MAX, false};
    char number[NODE_NUMBER_SIZE], originator[NODE_NUMBER_SIZE];
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(
            node->pg,
            "SELECT coalesce(max(p.first_id), $2::bigint), least(min(p.last_id),"
            " (SELECT min(first_id) - 1 FROM xmtp_migrate.parts WHERE source_table = $1"
            " AND first_id > $2::bigint), 9223372036854775807), min(greatest(r.as_of_ns,"
            " (extract(epoch FROM p.loaded_at) * 1000000000)::bigint)),"
            " coalesce(bool_or((SELECT coalesce(sum(rows), 0) FROM xmtp_migrate.counts c WHERE"
            " c.run = p.run AND c.source_table = p.source_table AND c.first_id = p.first_id AND"
            " c.state IN ('loaded', 'already_there', 'conflicts')) > (SELECT count(*) FROM"
            " gateway_envelopes_meta WHERE originator_node_id = $3::int AND originator_sequence_id"
            " BETWEEN p.first_id AND p.last_id)), false) FROM xmtp_migrate.parts p"
            " JOIN xmtp_migrate.runs r USING (run) WHERE p.source_table = $1"
            " AND $2::bigint BETWEEN p.first_id AND p.last_id",
            (const char *const[]){
                mig_table_info(table)->name, node_number(id, number),
                node_number(mig_kind_info(mig_node_kind(table))->stored_originator, originator)},
            3, &answer, err);
    if (result != MIG_OK)
        return result;
    if (node->has_books) {
        brought.first_id = mig_pg_int64(&answer, 0, 0);
        brought.last_id = mig_pg_int64(&answer, 0, 1);
        brought.lacks = mig_pg_bool(&answer, 0, 3);
    }
    if (node->has_books && mig_pg_text(&answer, 0, 2))
        brought.since_ns = mig_pg_int64(&answer, 0, 2);
    *ret_brought = brought;
    return MIG_OK;
}

int mig_node_count(struct mig_node *node, uint32_t originator, int64_t first_id, int64_t last_id,
                   uint64_t *ret_rows, int64_t *ret_lowest, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE], first[NODE_NUMBER_SIZE], last[NODE_NUMBER_SIZE];
    int result = mig_pg_query(node->pg,
                              "SELECT count(*), coalesce(min(originator_sequence_id), 0)"
                              " FROM gateway_envelopes_meta WHERE originator_node_id = $1::int"
                              " AND originator_sequence_id BETWEEN $2::bigint AND $3::bigint",
                              (const char *const[]){node_number(originator, number),
                                                    node_number(first_id, first),
                                                    node_number(last_id, last)},
                              3, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_rows = (uint64_t) mig_pg_int64(&answer, 0, 0);
    *ret_lowest = mig_pg_int64(&answer, 0, 1);
    return MIG_OK;
}
