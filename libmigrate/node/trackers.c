/* Where a node's migration_tracker was when a run began: what another tool says that it brought. */
#include "libmigrate/node/node_private.h"

#include <stdio.h>
#include <string.h>

static int read_trackers(struct mig_node *node, const char *run, struct node_trackers *ret_trackers,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT source_table, last_migrated_id FROM xmtp_migrate.trackers"
                              " WHERE run = $1",
                              (const char *const[]){run}, 1, &answer, err);

    if (result != MIG_OK)
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        ret_trackers->ids[table] = INT64_MIN;
    for (int row = 0; row < answer.rows; row++) {
        enum mig_table table;

        if (mig_table_find(mig_pg_text(&answer, row, 0), &table))
            ret_trackers->ids[table] = mig_pg_int64(&answer, row, 1);
    }
    snprintf(ret_trackers->run, sizeof ret_trackers->run, "%s", run);
    return MIG_OK;
}

int node_tracker_at_begin(struct mig_node *node, const char *run, enum mig_table table,
                          int64_t *ret_id, struct mig_error *err)
{
    int result = strcmp(node->trackers.run, run) == 0
                     ? MIG_OK
                     : read_trackers(node, run, &node->trackers, err);

    if (result == MIG_OK)
        *ret_id = node->trackers.ids[table];
    return result;
}

uint64_t node_rows_up_to(const struct mig_part *part, int64_t id)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < part->row_count && part->envelopes[i].sequence_id <= id; i++)
        rows += part->envelopes[i].route == MIG_ROUTE_NODE;
    return rows;
}
