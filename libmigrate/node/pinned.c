/* What the books keep of a run beside its facts: what these were made from, where its rows come
 * from, and whether its end was told. */
#include "libmigrate/node/node_private.h"

#include <string.h>

/* The source may have been moved, or not have been known before. */
int node_note_source(struct mig_node *node, const struct mig_run *run, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char wal[NODE_NUMBER_SIZE];

    return mig_pg_query(
        node->pg,
        "UPDATE xmtp_migrate.runs SET source = $2, source_wal = $3 WHERE run = $1"
        " AND $2 NOT IN ('', source)",
        (const char *const[]){run->facts.run, run->source, node_number(run->source_wal, wal)}, 3,
        &answer, err);
}

int mig_node_run_pinned(struct mig_node *node, const char *run, char **ret_pinned,
                        struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = MIG_OK;

    *ret_pinned = NULL;
    if (node->has_books)
        result = mig_pg_query(node->pg, "SELECT pinned::text FROM xmtp_migrate.runs WHERE run = $1",
                              (const char *const[]){run}, 1, &answer, err);
    if (result != MIG_OK || answer.rows == 0)
        return result;
    *ret_pinned = strdup(mig_pg_text(&answer, 0, 0));
    return *ret_pinned ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

int mig_node_run_told(struct mig_node *node, const char *run, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};

    return mig_pg_query(node->pg,
                        "UPDATE xmtp_migrate.runs SET told_at = now() WHERE run = $1 AND told_at IS"
                        " NULL",
                        (const char *const[]){run}, 1, &answer, err);
}
