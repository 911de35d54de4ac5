/* Dead letters: rows that no node can have, kept whole where the Go migrator keeps its own. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <string.h>

#define RECORD_LIMIT ((size_t) 1 << 30)

static int put_letter(struct mig_node *node, const struct mig_envelope *envelope,
                      enum mig_reason reason, struct mig_buffer *record, struct mig_error *err)
{
    const struct mig_reason_info *info = mig_reason_info(reason);
    int result;

    record->size = 0;
    if ((result = mig_row_encode(envelope->row, record, err)) != MIG_OK ||
        (result = mig_pg_put_row(node->pg, 5, err)) != MIG_OK ||
        (result = mig_pg_put_bytes(node->pg, mig_bytes_of_text(mig_kind_info(envelope->kind)->name),
                                   err)) != MIG_OK ||
        (result = mig_pg_put_int64(node->pg, envelope->row->id, err)) != MIG_OK ||
        (result = mig_pg_put_bytes(node->pg, mig_buffer_bytes(record), err)) != MIG_OK ||
        (result = mig_pg_put_bytes(node->pg, mig_bytes_of_text(info->name), err)) != MIG_OK)
        return result;
    return mig_pg_put_bool(node->pg, info->retryable, err);
}

static bool is_letter(const struct mig_part *part, const bool *conflicts, size_t i)
{
    return conflicts[i] || part->envelopes[i].route == MIG_ROUTE_REJECTED;
}

/* Into the staging table, where the books look for them as well. */
static int stage_rejected(struct mig_node *node, const struct mig_part *part, const bool *conflicts,
                          uint64_t *ret_letters, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);
    uint64_t letters = 0, arrived;
    int result = MIG_OK;

    *ret_letters = 0;
    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++) {
        if (!is_letter(part, conflicts, i))
            continue;
        if (letters++ == 0)
            result =
                mig_pg_copy_in(node->pg, "COPY mig_stage_letters FROM STDIN (FORMAT binary)", err);
        if (result == MIG_OK)
            result = put_letter(node, &part->envelopes[i],
                                conflicts[i] ? MIG_REASON_CONFLICT : part->envelopes[i].reason,
                                &record, err);
    }
    if (result != MIG_OK || letters == 0)
        return result;
    if ((result = mig_pg_copy_in_end(node->pg, &arrived, err)) != MIG_OK)
        return result;
    if (arrived != letters)
        return mig_fail(err, MIG_E_CORRUPT,
                        "node '%s': %" PRIu64 " dead letters arrived of %" PRIu64,
                        node->entry->name, arrived, letters);
    *ret_letters = letters;
    return MIG_OK;
}

/* What becomes of a letter whose row is in the part; NULL when it stays as it is. Rows that the
 * source no longer has keep theirs: nothing else is left of them. So do rows that have expired, if
 * nobody asked for this row: a part from a bundle does not tell them from those. */
static const char *outcome_of(const struct mig_part *part, const bool *conflicts, size_t i,
                              bool retried)
{
    if (i == part->row_count || (part->envelopes[i].route == MIG_ROUTE_EXPIRED && !retried))
        return NULL;
    if (is_letter(part, conflicts, i))
        return "rewritten";
    switch (part->envelopes[i].route) {
    case MIG_ROUTE_EXPIRED:
        return "expired";
    case MIG_ROUTE_CHAIN:
        return "for_chain";
    default:
        return "on_node";
    }
}

/* Letters of an earlier run, or of another tool, about rows of the part: they are replaced by what
 * is staged or, where their row has another state now, removed; as they stood they are kept. */
static int end_former(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                      const bool *conflicts, bool retried, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_former_release) struct node_former former = NODE_FORMER_INIT;
    char first[NODE_NUMBER_SIZE], last[NODE_NUMBER_SIZE];
    const char *table = mig_table_info(part->table)->name;
    int result = mig_pg_query(
        node->pg,
        "SELECT source_table, sequence_id, reason FROM migration_dead_letter_box WHERE sequence_id"
        " BETWEEN $1 AND $2 AND source_table IN ($3, CASE $3 WHEN 'group_messages' THEN"
        " 'commit_messages' ELSE $3 END)",
        (const char *const[]){node_number(part->first_id, first), node_number(part->last_id, last),
                              table},
        3, &answer, err);

    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        const char *kind = mig_pg_text(&answer, row, 0);
        const int64_t id = mig_pg_int64(&answer, row, 1);
        const size_t i = node_row_of(part, id);
        const char *outcome = outcome_of(part, conflicts, i, retried);

        if (outcome)
            result = node_former_add(
                &former,
                &(struct node_former_letter){
                    .kind = kind,
                    .id = id,
                    .outcome = outcome,
                    .foreign = mig_reason_parse(mig_pg_text(&answer, row, 2)) == MIG_REASON_NONE,
                    .leaves = !is_letter(part, conflicts, i) ||
                              strcmp(mig_kind_info(part->envelopes[i].kind)->name, kind) != 0},
                err);
    }
    return result == MIG_OK ? node_former_end(node, &former, run, part, retried, err) : result;
}

int node_lock_letters(struct mig_node *node, const struct mig_dead_letter *letters, size_t count,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_ids_release) struct node_ids ids = NODE_IDS_INIT;
    const char *kind = mig_kind_info(letters[0].kind)->name;
    int result = MIG_OK;

    for (size_t i = 0; i < count && result == MIG_OK; i++)
        result = node_add_id(&ids, letters[i].id, err);
    if (result != MIG_OK || (result = node_end_ids(&ids, err)) != MIG_OK)
        return result;
    result =
        mig_pg_query(node->pg,
                     "SELECT FROM migration_dead_letter_box WHERE source_table = $1 AND"
                     " sequence_id = ANY ($2::bigint[]) ORDER BY sequence_id FOR UPDATE",
                     (const char *const[]){kind, (const char *) ids.text.data}, 2, &answer, err);
    if (result != MIG_OK || (size_t) answer.rows == count)
        return result;
    mig_fail(err, MIG_E_CONFLICT, "node '%s': the dead letter of %s %" PRId64 "%s is gone",
             node->entry->name, kind, letters[0].id, count > 1 ? " or of one behind it" : "");
    return mig_hint(err, "somebody else was at it: list the rejected rows anew");
}

int node_store_letters(struct mig_node *node, const struct mig_run *run,
                       const struct mig_part *part, const bool *conflicts, bool retried,
                       struct mig_error *err)
{
    uint64_t letters;
    int result;

    if ((result = stage_rejected(node, part, conflicts, &letters, err)) != MIG_OK ||
        (result = end_former(node, run, part, conflicts, retried, err)) != MIG_OK || letters == 0)
        return result;
    return mig_pg_exec(node->pg,
                       "SELECT count(*) FROM mig_stage_letters s, insert_migration_dead_letter_box("
                       "s.kind, s.seq, s.payload, s.reason, s.retryable)",
                       err);
}
