/* Dead letters as they are asked for: listed a page at a time, and the rows that they keep. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000

void mig_dead_letters_release(struct mig_dead_letters *letters)
{
    for (size_t i = 0; i < letters->count; i++) {
        free(letters->items[i].waiver_reason);
        free(letters->items[i].waiver_who);
    }
    free(letters->items);
    *letters = (struct mig_dead_letters){0};
}

#define ADDED NODE_UTC_TEXT("l.added_at")
#define RETRIED NODE_UTC_TEXT("l.retried_at")
/* The columns and the joins of waivers and conflicts, and the condition on the run, stand only
 * where our books do. An array, not a pointer: it is a format, which the compiler then checks in
 * every build. */
static const char letters_sql[] =
    "SELECT l.source_table, l.sequence_id, l.reason, l.retryable, " ADDED ", " RETRIED ","
    " octet_length(l.payload), %s FROM migration_dead_letter_box l %s WHERE l.source_table = ANY"
    " ($7::text[]) AND ($1::text IS NULL OR l.source_table = $1) AND ($2::bigint IS NULL OR"
    " l.sequence_id = $2) AND ($3::text IS NULL OR l.reason = $3) AND ($4::text IS NULL OR"
    " (l.source_table, l.sequence_id) > ($4, $5::bigint)) AND ($8::text IS NULL OR %s) ORDER BY"
    " l.source_table, l.sequence_id LIMIT $6";

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
