/* The parts of a run as the books have them, and which of them have rows for the chain. */
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

static int refuse_table(const struct mig_node *node, const struct mig_pg_result *answer, int row,
                        struct mig_error *err)
{
    return mig_fail(err, MIG_E_CORRUPT,
                    "node '%s': the books have a part of '%.60s', which is no table of V3",
                    node->entry->name, mig_pg_text(answer, row, 0));
}

static int take_part(const struct mig_node *node, const struct mig_pg_result *answer, int row,
                     struct mig_chain_part *part, struct mig_error *err)
{
    if (!mig_table_find(mig_pg_text(answer, row, 0), &part->table))
        return refuse_table(node, answer, row, err);
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
        result = take_part(node, &answer, row, &parts[row], err);
    if (result != MIG_OK) {
        mig_chain_parts_release(parts, (size_t) answer.rows);
        return result;
    }
    *ret_parts = parts;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}

int mig_node_parts(struct mig_node *node, const char *run, struct mig_booked_part **ret_parts,
                   size_t *ret_count, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_booked_part *parts;
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(
            node->pg,
            "SELECT source_table, first_id, last_id, nodes_digest FROM"
            " xmtp_migrate.parts WHERE run = $1 ORDER BY source_table COLLATE \"C\", first_id",
            (const char *const[]){run}, 1, &answer, err);
    if (result != MIG_OK)
        return result;
    parts = calloc((size_t) answer.rows + 1, sizeof *parts);
    if (!parts)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        if (!mig_table_find(mig_pg_text(&answer, row, 0), &parts[row].table))
            result = refuse_table(node, &answer, row, err);
        parts[row].first_id = mig_pg_int64(&answer, row, 1);
        parts[row].last_id = mig_pg_int64(&answer, row, 2);
        snprintf(parts[row].digest, sizeof parts[row].digest, "%s", mig_pg_text(&answer, row, 3));
    }
    if (result != MIG_OK) {
        free(parts);
        return result;
    }
    *ret_parts = parts;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}

int mig_node_part_ends(struct mig_node *node, const char *run, enum mig_table table,
                       int64_t after_id, int64_t **ret_ends, size_t *ret_count,
                       struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char after[NODE_NUMBER_SIZE];
    int64_t *ends;
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(
            node->pg,
            "SELECT last_id FROM xmtp_migrate.parts WHERE run = $1 AND"
            " source_table = $2 AND settled AND last_id > $3::bigint ORDER BY last_id",
            (const char *const[]){run, mig_table_info(table)->name, node_number(after_id, after)},
            3, &answer, err);
    if (result != MIG_OK)
        return result;
    ends = calloc((size_t) answer.rows + 1, sizeof *ends);
    if (!ends)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows; row++)
        ends[row] = mig_pg_int64(&answer, row, 0);
    *ret_ends = ends;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}

int mig_node_witness(struct mig_node *node, const char *run, enum mig_table table,
                     struct mig_witness *ret_witness, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result =
        mig_pg_query(node->pg,
                     "SELECT witness_id, witness FROM xmtp_migrate.parts WHERE run = $1"
                     " AND source_table = $2 AND settled AND witness IS NOT NULL"
                     " ORDER BY first_id DESC LIMIT 1",
                     (const char *const[]){run, mig_table_info(table)->name}, 2, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_witness = (struct mig_witness){0};
    if (answer.rows == 0)
        return MIG_OK;
    ret_witness->id = mig_pg_int64(&answer, 0, 0);
    snprintf(ret_witness->digest, sizeof ret_witness->digest, "%s", mig_pg_text(&answer, 0, 1));
    return MIG_OK;
}
