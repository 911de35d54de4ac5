/* Dead letters that somebody decided to leave behind. A waiver of a conflict is of the bytes that
 * the node held when it was given: other bytes in their place are another conflict. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <string.h>

/* SQL for a digest of what the node holds in the place of letter l, if that is a conflict, else
 * ''. */
static int print_held(struct mig_buffer *sql, struct mig_error *err)
{
    int result = mig_buffer_print(sql, err,
                                  "CASE l.reason WHEN '%s' THEN (SELECT " NODE_ROW_DIGEST
                                  " FROM (SELECT CASE l.source_table",
                                  mig_reason_info(MIG_REASON_CONFLICT)->name);

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        result = mig_buffer_print(sql, err, " WHEN '%s' THEN %" PRIu32,
                                  mig_kind_info((enum mig_kind) kind)->name,
                                  mig_kind_info((enum mig_kind) kind)->stored_originator);
    return result == MIG_OK
               ? mig_buffer_print(
                     sql, err,
                     " END AS originator) o LEFT JOIN gateway_envelopes_meta m ON"
                     " m.originator_node_id = o.originator AND m.originator_sequence_id ="
                     " l.sequence_id LEFT JOIN gateway_envelopes_blob b ON b.originator_node_id ="
                     " o.originator AND b.originator_sequence_id = l.sequence_id) ELSE '' END")
               : result;
}

/* Whether any of them is a waived conflict: only then are the node's rows looked at, which somebody
 * else may have locked. */
static bool has_waived_conflict(const struct mig_dead_letters *letters)
{
    for (size_t i = 0; i < letters->count; i++)
        if (letters->items[i].waived &&
            strcmp(letters->items[i].reason, mig_reason_info(MIG_REASON_CONFLICT)->name) == 0)
            return true;
    return false;
}

static void drop_waiver(struct mig_dead_letters *letters, const char *kind, int64_t id)
{
    for (size_t i = 0; i < letters->count; i++) {
        struct mig_dead_letter *letter = &letters->items[i];

        if (letter->id != id || strcmp(mig_kind_info(letter->kind)->name, kind) != 0)
            continue;
        letter->waived = false;
        mig_free_text(&letter->waiver_reason);
        mig_free_text(&letter->waiver_who);
    }
}

/* Asks for those of the page, in the page's order, whose waiver is of other bytes. */
static int find_outdated(struct mig_node *node, const struct mig_dead_letter *first,
                         const struct mig_dead_letter *last, struct mig_pg_result *ret_answer,
                         struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_SQL_SIZE);
    char from[NODE_NUMBER_SIZE], to[NODE_NUMBER_SIZE];
    int result = mig_buffer_print(
        &sql, err,
        "SELECT l.source_table, l.sequence_id FROM migration_dead_letter_box l JOIN"
        " xmtp_migrate.waivers w ON w.kind = l.source_table AND w.sequence_id = l.sequence_id AND"
        " w.rejected_for = l.reason WHERE (l.source_table, l.sequence_id) >= ($1, $2::bigint) AND"
        " (l.source_table, l.sequence_id) <= ($3, $4::bigint) AND w.held <> ");

    if (result != MIG_OK || (result = print_held(&sql, err)) != MIG_OK ||
        (result = mig_buffer_append(&sql, "", 1, err)) != MIG_OK)
        return result;
    return mig_pg_query(
        node->pg, (const char *) sql.data,
        (const char *const[]){mig_kind_info(first->kind)->name, node_number(first->id, from),
                              mig_kind_info(last->kind)->name, node_number(last->id, to)},
        4, ret_answer, err);
}

int node_drop_waivers(struct mig_node *node, struct mig_dead_letters *letters,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result;

    if (!has_waived_conflict(letters))
        return MIG_OK;
    result =
        find_outdated(node, &letters->items[0], &letters->items[letters->count - 1], &answer, err);
    for (int row = 0; row < answer.rows && result == MIG_OK; row++)
        drop_waiver(letters, mig_pg_text(&answer, row, 0), mig_pg_int64(&answer, row, 1));
    return result;
}

int mig_node_waive(struct mig_node *node, enum mig_kind kind, int64_t id, const char *reason,
                   const char *who, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_SQL_SIZE);
    char number[NODE_NUMBER_SIZE];
    int result = node->has_books ? MIG_OK : mig_node_claim(node, err);

    if (result != MIG_OK ||
        (result = mig_buffer_print(&sql, err,
                                   "INSERT INTO xmtp_migrate.waivers (kind, sequence_id,"
                                   " rejected_for, reason, who, held) SELECT source_table,"
                                   " sequence_id, l.reason, $3, $4, ")) != MIG_OK ||
        (result = print_held(&sql, err)) != MIG_OK ||
        (result = mig_buffer_print(
             &sql, err,
             " FROM migration_dead_letter_box l WHERE source_table = $1 AND sequence_id = $2"
             " ON CONFLICT (kind, sequence_id, rejected_for) DO UPDATE SET reason ="
             " excluded.reason, who = excluded.who, waived_at = now(), held = excluded.held%c",
             '\0')) != MIG_OK)
        return result;
    result = mig_pg_query(
        node->pg, (const char *) sql.data,
        (const char *const[]){mig_kind_info(kind)->name, node_number(id, number), reason, who}, 4,
        &answer, err);

    if (result != MIG_OK || answer.affected == 1)
        return result;
    mig_fail(err, MIG_E_USAGE, "node '%s' has no dead letter for %s %" PRId64, node->entry->name,
             mig_kind_info(kind)->name, id);
    return mig_hint(err, "xmtp-migrate rejected list shows them");
}
