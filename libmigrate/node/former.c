/* Letters that leave the dead letter box, or that another takes the place of: kept as they stood.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000

void node_former_release(struct node_former *former)
{
    mig_buffer_release(&former->kinds);
    mig_buffer_release(&former->ids);
    mig_buffer_release(&former->outcomes);
    mig_buffer_release(&former->foreign);
    mig_buffer_release(&former->leaves);
}

int node_former_add(struct node_former *former, const struct node_former_letter *letter,
                    struct mig_error *err)
{
    const char between = former->kinds.size ? ',' : '{';
    int result;

    if ((result = mig_buffer_print(&former->kinds, err, "%c%s", between, letter->kind)) != MIG_OK ||
        (result = mig_buffer_print(&former->ids, err, "%c%" PRId64, between, letter->id)) !=
            MIG_OK ||
        (result = mig_buffer_print(&former->outcomes, err, "%c%s", between, letter->outcome)) !=
            MIG_OK ||
        (result = mig_buffer_print(&former->foreign, err, "%c%c", between,
                                   letter->foreign ? 't' : 'f')) != MIG_OK ||
        (result = mig_buffer_print(&former->leaves, err, "%c%c", between,
                                   letter->leaves ? 't' : 'f')) != MIG_OK)
        return result;
    if (letter->foreign)
        (*(strcmp(letter->outcome, "rewritten") == 0 ? &former->rewritten_foreign
                                                     : &former->ended_foreign))++;
    return MIG_OK;
}

static int end_lists(struct node_former *former, struct mig_error *err)
{
    struct mig_buffer *const lists[] = {&former->kinds, &former->ids, &former->outcomes,
                                        &former->foreign, &former->leaves};
    int result = MIG_OK;

    for (size_t i = 0; i < mig_count_of(lists) && result == MIG_OK; i++)
        result = mig_buffer_append(lists[i], "}", 2, err);
    return result;
}

static int write_down(struct mig_node *node, const struct node_former *former,
                      const struct mig_run *run, bool retried, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};

    return mig_pg_query(
        node->pg,
        "INSERT INTO xmtp_migrate.former_letters (kind, sequence_id, outcome, run, retried,"
        " foreign_tool, reason, retryable, added_at, retried_at, payload, held, given, differs)"
        " SELECT l.source_table, l.sequence_id, g.outcome, $5, $6::bool, g.is_foreign, l.reason,"
        " l.retryable, l.added_at, l.retried_at, l.payload, coalesce(c.held, ''),"
        " coalesce(c.given, ''), coalesce(c.differs, '') FROM unnest($1::text[], $2::bigint[], "
        "$3::text[], $4::bool[])"
        " AS g (kind, id, outcome, is_foreign) JOIN migration_dead_letter_box l ON l.source_table ="
        " g.kind AND l.sequence_id = g.id LEFT JOIN mig_stage_letters s ON s.kind = g.kind AND"
        " s.seq = g.id LEFT JOIN xmtp_migrate.conflicts c ON l.reason = 'conflict' AND c.kind ="
        " g.kind AND c.sequence_id = g.id WHERE s.seq IS NULL OR s.reason <> l.reason OR s.payload "
        "<> l.payload"
        " ORDER BY l.sequence_id",
        (const char *const[]){(const char *) former->kinds.data, (const char *) former->ids.data,
                              (const char *) former->outcomes.data,
                              (const char *) former->foreign.data, run->facts.run,
                              retried ? "t" : "f"},
        6, &answer, err);
}

static int take_out(struct mig_node *node, const struct node_former *former, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};

    return mig_pg_query(
        node->pg,
        "WITH gone AS (SELECT kind, id FROM unnest($1::text[], $2::bigint[], $3::bool[])"
        " AS g (kind, id, leaves) WHERE leaves), settled AS (DELETE FROM xmtp_migrate.conflicts c"
        " USING gone g WHERE c.kind = g.kind AND c.sequence_id = g.id)"
        " SELECT count(delete_migration_dead_letter_box(kind, id)) FROM gone",
        (const char *const[]){(const char *) former->kinds.data, (const char *) former->ids.data,
                              (const char *) former->leaves.data},
        3, &answer, err);
}

int node_former_end(struct mig_node *node, struct node_former *former, const struct mig_run *run,
                    const struct mig_part *part, bool retried, struct mig_error *err)
{
    int result;

    if (former->kinds.size == 0)
        return MIG_OK;
    if ((result = end_lists(former, err)) != MIG_OK ||
        (result = write_down(node, former, run, retried, err)) != MIG_OK ||
        (result = take_out(node, former, err)) != MIG_OK)
        return result;
    if (former->rewritten_foreign + former->ended_foreign > 0)
        mig_log(node->hooks, MIG_LOG_INFO,
                "node '%s': of another tool's dead letters about %s from %" PRId64 " to %" PRId64
                " %" PRIu64 " now hold the whole record, %" PRIu64
                " are done with; xmtp-migrate rejected history tells what they said",
                node->entry->name, mig_table_info(part->table)->name, part->first_id, part->last_id,
                former->rewritten_foreign, former->ended_foreign);
    return MIG_OK;
}

/* ---- asked for by people ------------------------------------------------------------------ */

/* A text of the answer that outlives it. */
static int keep_text(const struct mig_pg_result *answer, int row, int column,
                     struct mig_arena *arena, const char **ret_text, struct mig_error *err)
{
    const char *text = mig_pg_text(answer, row, column);
    struct mig_bytes copy;
    int result;

    *ret_text = NULL;
    if (!text)
        return MIG_OK;
    result = mig_arena_copy(arena, (struct mig_bytes){(const uint8_t *) text, strlen(text) + 1},
                            &copy, err);
    if (result == MIG_OK)
        *ret_text = (const char *) copy.data;
    return result;
}

static int take_former(const struct mig_pg_result *answer, int row, struct mig_arena *arena,
                       struct mig_former_letter *letter, struct mig_error *err)
{
    const struct {
        char *place;
        size_t size;
    } texts[] = {
        {letter->outcome, sizeof letter->outcome},
        {letter->run, sizeof letter->run},
        {letter->reason, sizeof letter->reason},
        {letter->added_at, sizeof letter->added_at},
        {letter->retried_at, sizeof letter->retried_at},
        {letter->ended_at, sizeof letter->ended_at},
        {letter->conflict.held, sizeof letter->conflict.held},
        {letter->conflict.given, sizeof letter->conflict.given},
        {letter->conflict.differs, sizeof letter->conflict.differs},
    };
    int result = mig_kind_parse(mig_pg_text(answer, row, 0), &letter->kind, err);

    if (result != MIG_OK)
        return result;
    letter->id = mig_pg_int64(answer, row, 1);
    letter->retried = mig_pg_bool(answer, row, 2);
    letter->foreign_tool = mig_pg_bool(answer, row, 3);
    letter->retryable = mig_pg_bool(answer, row, 4);
    letter->payload_size = (size_t) mig_pg_int64(answer, row, 5);
    for (size_t i = 0; i < mig_count_of(texts); i++)
        snprintf(texts[i].place, texts[i].size, "%s", mig_pg_text(answer, row, 6 + (int) i));
    if ((result = keep_text(answer, row, 15, arena, &letter->repair_who, err)) != MIG_OK ||
        (result = keep_text(answer, row, 16, arena, &letter->repair_reason, err)) != MIG_OK)
        return result;
    letter->payload = (struct mig_bytes){NULL, 0};
    return mig_pg_text(answer, row, 17)
               ? mig_pg_bytea(answer, row, 17, arena, &letter->payload, err)
               : MIG_OK;
}

#define ADDED NODE_UTC_TEXT("f.added_at")
#define RETRIED NODE_UTC_TEXT("f.retried_at")
#define ENDED NODE_UTC_TEXT("f.ended_at AT TIME ZONE 'UTC'")
/* A repair is of the transaction in which its letter ended, and so of the same instant. */
static const char former_sql[] =
    "SELECT f.kind, f.sequence_id, f.retried, f.foreign_tool, f.retryable, octet_length(f.payload),"
    " f.outcome, f.run, f.reason, " ADDED ", " RETRIED ", " ENDED ", f.held, f.given, f.differs,"
    " r.who, r.reason, CASE WHEN $2::bigint IS NOT NULL THEN f.payload END FROM"
    " xmtp_migrate.former_letters f LEFT JOIN xmtp_migrate.replaced r ON r.kind = f.kind AND"
    " r.sequence_id = f.sequence_id AND r.replaced_at = f.ended_at WHERE ($1::text IS NULL OR"
    " f.kind = $1) AND ($2::bigint IS NULL OR f.sequence_id = $2) AND ($3::text IS NULL OR f.reason"
    " = $3) AND ($4::text IS NULL OR f.run = $4) ORDER BY f.kind, f.sequence_id, f.place LIMIT $5";

int mig_node_former_letters(struct mig_node *node, const struct mig_letter_filter *filter,
                            struct mig_arena *arena, struct mig_former_letter **ret_letters,
                            size_t *ret_count, bool *ret_more, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const unsigned limit = filter->limit ? filter->limit : PAGE;
    char id[NODE_NUMBER_SIZE], rows[NODE_NUMBER_SIZE];
    const char *const params[] = {
        filter->has_kind ? mig_kind_info(filter->kind)->name : NULL,
        filter->has_id ? node_number(filter->id, id) : NULL,
        filter->reason,
        filter->run,
        node_number((int64_t) limit + 1, rows),
    };
    struct mig_former_letter *letters;
    void *memory;
    size_t count;
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(node->pg, former_sql, params, mig_count_of(params), &answer, err);
    count = (size_t) answer.rows < limit ? (size_t) answer.rows : limit;
    if (result != MIG_OK ||
        (result = mig_arena_alloc(arena, (count + 1) * sizeof *letters, &memory, err)) != MIG_OK)
        return result;
    letters = memory;
    for (size_t row = 0; row < count && result == MIG_OK; row++)
        result = take_former(&answer, (int) row, arena, &letters[row], err);
    if (result != MIG_OK)
        return result;
    *ret_letters = letters;
    *ret_count = count;
    *ret_more = (size_t) answer.rows > count;
    return MIG_OK;
}
