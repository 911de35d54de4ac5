/* Which parts of a run have rows for the chain, as the books have it. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mig_chain_parts_release(struct mig_chain_part *parts, size_t count)
{
    for (size_t i = 0; parts && i < count; i++)
        free(parts[i].ids);
    free(parts);
}

/* "{1,2,3}" of as many ids as there are rows; anything else is not what we wrote. */
static int take_ids(const char *text, struct mig_chain_part *part, struct mig_error *err)
{
    const char *at = text ? text + 1 : NULL;

    if (!text || strcmp(text, "{}") == 0)
        return MIG_OK;
    part->ids = calloc(part->rows + 1, sizeof *part->ids);
    if (!part->ids)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (uint64_t i = 0; i < part->rows; i++) {
        char *end;

        part->ids[i] = strtoll(at, &end, 10);
        if (end == at || *end != (i + 1 < part->rows ? ',' : '}'))
            return mig_fail(err, MIG_E_CORRUPT,
                            "the books have %" PRIu64 " chain-bound rows of %s from %" PRId64
                            ", but other ids",
                            part->rows, mig_table_info(part->table)->name, part->first_id);
        at = end + 1;
    }
    return MIG_OK;
}

static int take_part(const struct mig_pg_result *answer, int row, struct mig_chain_part *part,
                     struct mig_error *err)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        if (strcmp(mig_table_info((enum mig_table) table)->name, mig_pg_text(answer, row, 0)) == 0)
            part->table = (enum mig_table) table;
    part->first_id = mig_pg_int64(answer, row, 1);
    part->last_id = mig_pg_int64(answer, row, 2);
    part->settled = mig_pg_bool(answer, row, 3);
    part->rows = (uint64_t) mig_pg_int64(answer, row, 4);
    snprintf(part->digest, sizeof part->digest, "%s", mig_pg_text(answer, row, 5));
    return take_ids(mig_pg_text(answer, row, 6), part, err);
}

int mig_node_chain_parts(struct mig_node *node, const char *run, struct mig_chain_part **ret_parts,
                         size_t *ret_count, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_chain_part *parts;
    int result = mig_pg_query(node->pg,
                              "SELECT source_table, first_id, last_id, settled, chain_rows,"
                              " coalesce(chain_digest, ''), chain_ids FROM xmtp_migrate.parts"
                              " WHERE run = $1 AND chain_rows > 0 ORDER BY source_table, first_id",
                              (const char *const[]){run}, 1, &answer, err);

    if (result != MIG_OK)
        return result;
    parts = calloc((size_t) answer.rows + 1, sizeof *parts);
    if (!parts)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows && result == MIG_OK; row++)
        result = take_part(&answer, row, &parts[row], err);
    if (result != MIG_OK) {
        mig_chain_parts_release(parts, (size_t) answer.rows);
        return result;
    }
    *ret_parts = parts;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}
