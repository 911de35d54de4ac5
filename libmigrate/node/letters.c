/* Dead letters: rows that no node can have, kept whole where the Go migrator keeps its own. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_LIMIT ((size_t) 1 << 30)
#define PAGE 1000

/* ---- those of a part ---------------------------------------------------------------------- */

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

/* ---- asked for by people ------------------------------------------------------------------ */

void mig_dead_letters_release(struct mig_dead_letters *letters)
{
    for (size_t i = 0; i < letters->count; i++) {
        free(letters->items[i].waiver_reason);
        free(letters->items[i].waiver_who);
    }
    free(letters->items);
    *letters = (struct mig_dead_letters){0};
}

/* An array, not a pointer: it is a format, which the compiler then checks in every build. */
/* The columns and the joins of waivers and conflicts, and the condition on the run, stand only
 * where our books do. */
static const char letters_sql[] = "SELECT l.source_table, l.sequence_id, l.reason, "
                                  "l.retryable, " NODE_UTC_TEXT("l.added_at") ", " NODE_UTC_TEXT(
                                      "l.retried_at") ", octet_length(l.payload), %s FROM "
                                                      "migration_dead_letter_box l %s"
                                                      " WHERE l.source_table = ANY ($7::text[])"
                                                      " AND ($1::text IS NULL OR l.source_table = "
                                                      "$1)"
                                                      " AND ($2::bigint IS NULL OR l.sequence_id = "
                                                      "$2)"
                                                      " AND ($3::text IS NULL OR l.reason = $3)"
                                                      " AND ($4::text IS NULL OR (l.source_table, "
                                                      "l.sequence_id) > ($4, $5::bigint))"
                                                      " AND ($8::text IS NULL OR %s)"
                                                      " ORDER BY l.source_table, l.sequence_id "
                                                      "LIMIT "
                                                      "$6";

/* Times that no calendar has (infinity) are nothing that a migrator writes. */
static int take_time(const struct mig_node *node, const struct mig_pg_result *answer, int row,
                     int column, const char *name, char ret_text[MIG_TIME_TEXT_SIZE],
                     struct mig_error *err)
{
    const char *text = mig_pg_text(answer, row, column);
    int64_t ns;

    if (!text || mig_time_parse(text, &ns, NULL) != MIG_OK)
        return mig_fail(err, MIG_E_CORRUPT,
                        "node '%s': the dead letter of %s %s: its %s is no time that can be told",
                        node->entry->name, mig_pg_text(answer, row, 0), mig_pg_text(answer, row, 1),
                        name);
    snprintf(ret_text, MIG_TIME_TEXT_SIZE, "%s", text);
    return MIG_OK;
}

static void take_conflict(const struct mig_pg_result *answer, int row, int column,
                          struct mig_conflict *conflict)
{
    const struct {
        char *place;
        size_t size;
    } texts[] = {{conflict->held, sizeof conflict->held},
                 {conflict->given, sizeof conflict->given},
                 {conflict->differs, sizeof conflict->differs}};

    for (size_t i = 0; i < mig_count_of(texts); i++) {
        const char *text = mig_pg_text(answer, row, column + (int) i);

        snprintf(texts[i].place, texts[i].size, "%s", text ? text : "");
    }
}

static int take_letter(const struct mig_node *node, const struct mig_pg_result *answer, int row,
                       struct mig_dead_letter *letter, struct mig_error *err)
{
    int result;

    if (mig_kind_parse(mig_pg_text(answer, row, 0), &letter->kind, NULL) != MIG_OK)
        return mig_fail(err, MIG_E_CORRUPT, "a dead letter of '%.60s', which is no kind we know",
                        mig_pg_text(answer, row, 0));
    letter->id = mig_pg_int64(answer, row, 1);
    snprintf(letter->reason, sizeof letter->reason, "%.60s", mig_pg_text(answer, row, 2));
    letter->retryable = mig_pg_bool(answer, row, 3);
    if ((result = take_time(node, answer, row, 4, "added_at", letter->added_at, err)) != MIG_OK ||
        (result = take_time(node, answer, row, 5, "retried_at", letter->retried_at, err)) != MIG_OK)
        return result;
    letter->payload_size = (size_t) mig_pg_int64(answer, row, 6);
    take_conflict(answer, row, 10, &letter->conflict);
    letter->waived = mig_pg_text(answer, row, 7) != NULL;
    if (!letter->waived)
        return MIG_OK;
    letter->waiver_reason = strdup(mig_pg_text(answer, row, 7));
    letter->waiver_who = strdup(mig_pg_text(answer, row, 8));
    return letter->waiver_reason && letter->waiver_who
               ? take_time(node, answer, row, 9, "waived_at", letter->waiver_when, err)
               : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

/* As an array literal. Whoever else puts letters into the box may have kinds of their own. */
static void list_kinds(char *text, size_t capacity)
{
    size_t used = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT && used < capacity; kind++)
        used += (size_t) snprintf(text + used, capacity - used, "%s%s", kind > 0 ? "," : "{",
                                  mig_kind_info((enum mig_kind) kind)->name);
    if (used < capacity)
        snprintf(text + used, capacity - used, "}");
}

int mig_node_letters(struct mig_node *node, const struct mig_letter_filter *filter,
                     struct mig_dead_letters *ret_letters, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
    char sql[NODE_SQL_SIZE], id[NODE_NUMBER_SIZE], after[NODE_NUMBER_SIZE], limit[NODE_NUMBER_SIZE];
    char kinds[NODE_SQL_SIZE];
    const char *const params[] = {
        filter->has_kind ? mig_kind_info(filter->kind)->name : NULL,
        filter->has_id ? node_number(filter->id, id) : NULL,
        filter->reason,
        filter->has_after ? mig_kind_info(filter->after_kind)->name : NULL,
        filter->has_after ? node_number(filter->after_id, after) : NULL,
        node_number(filter->limit ? filter->limit : PAGE, limit),
        kinds,
        filter->run,
    };
    int result;

    list_kinds(kinds, sizeof kinds);
    snprintf(sql, sizeof sql, letters_sql,
             node->has_books ? "w.reason, w.who, " NODE_UTC_TEXT(
                                   "w.waived_at AT TIME ZONE 'UTC'") ", c.held, c.given, c.differs"
                             : "NULL, NULL, NULL, NULL, NULL, NULL",
             node->has_books ? "LEFT JOIN xmtp_migrate.waivers w ON w.kind = l.source_table AND"
                               " w.sequence_id = l.sequence_id AND w.rejected_for = l.reason"
                               " LEFT JOIN xmtp_migrate.conflicts c ON l.reason = 'conflict' AND"
                               " c.kind = l.source_table AND c.sequence_id = l.sequence_id"
                             : "",
             node->has_books ? "EXISTS (SELECT FROM xmtp_migrate.rejected r WHERE r.run = $8 AND"
                               " r.kind = l.source_table AND r.sequence_id = l.sequence_id AND"
                               " r.reason = l.reason)"
                             : "false");
    result = mig_pg_query(node->pg, sql, params, mig_count_of(params), &answer, err);
    if (result != MIG_OK)
        return result;
    letters.items = calloc((size_t) answer.rows + 1, sizeof *letters.items);
    if (!letters.items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        letters.count++;
        result = take_letter(node, &answer, row, &letters.items[row], err);
    }
    if (result != MIG_OK || (result = node_drop_waivers(node, &letters, err)) != MIG_OK)
        return result;
    *ret_letters = letters;
    letters = (struct mig_dead_letters){0};
    return MIG_OK;
}

int mig_node_letter_payload(struct mig_node *node, enum mig_kind kind, int64_t id,
                            struct mig_arena *arena, bool *ret_found, struct mig_bytes *ret_payload,
                            struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE];
    int result = mig_pg_query(
        node->pg,
        "SELECT payload FROM migration_dead_letter_box WHERE source_table = $1 AND sequence_id = "
        "$2",
        (const char *const[]){mig_kind_info(kind)->name, node_number(id, number)}, 2, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_found = answer.rows == 1;
    return answer.rows == 1 ? mig_pg_bytea(&answer, 0, 0, arena, ret_payload, err) : MIG_OK;
}

/* Letters may have come in between meanwhile: only those asked for are taken. */
static int take_payload(const struct mig_pg_field *fields, const struct mig_dead_letter *letters,
                        size_t count, size_t *next, struct mig_arena *arena,
                        struct mig_bytes *payloads, struct mig_error *err)
{
    int64_t id;
    int result = mig_pg_read_int(&fields[0], 8, &id, err);

    while (result == MIG_OK && *next < count && letters[*next].id < id)
        ++*next;
    if (result != MIG_OK || *next == count || letters[*next].id != id)
        return result;
    return mig_arena_copy(arena, fields[1].bytes, &payloads[*next], err);
}

int mig_node_letter_payloads(struct mig_node *node, const struct mig_dead_letter *letters,
                             size_t count, struct mig_arena *arena, struct mig_bytes *ret_payloads,
                             struct mig_error *err)
{
    struct mig_pg_field fields[2];
    char sql[NODE_SQL_SIZE];
    uint64_t sent;
    size_t next = 0;
    bool more = true;
    int result;

    memset(ret_payloads, 0, count * sizeof *ret_payloads);
    if (count == 0)
        return MIG_OK;
    snprintf(sql, sizeof sql,
             "COPY (SELECT sequence_id, payload FROM migration_dead_letter_box WHERE source_table ="
             " '%s' AND sequence_id BETWEEN '%" PRId64 "'::bigint AND '%" PRId64 "'::bigint"
             " ORDER BY sequence_id) TO STDOUT (FORMAT binary)",
             mig_kind_info(letters[0].kind)->name, letters[0].id, letters[count - 1].id);
    if ((result = mig_pg_copy_out(node->pg, sql, err)) != MIG_OK)
        return result;
    while (more) {
        result = mig_pg_copy_next(node->pg, fields, mig_count_of(fields), &more, &sent, err);
        if (result == MIG_OK && more)
            result = take_payload(fields, letters, count, &next, arena, ret_payloads, err);
        if (result != MIG_OK) {
            mig_pg_copy_abandon(node->pg);
            return mig_error_within(err, "node '%s'", node->entry->name);
        }
    }
    return MIG_OK;
}
