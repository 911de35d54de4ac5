/* Rejected rows: each must lie whole in every node's dead letter box, under its reason. The box is
 * read in the order of ids, page by page, beside the rows. */
#include "libmigrate/parity/parity_private.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_LETTERS 1000
#define PAYLOAD_BYTES ((size_t) 1 << 20)
#define RECORD_LIMIT ((size_t) 2 << 30)

void parity_letters_release(struct parity_letters *letters)
{
    mig_dead_letters_release(&letters->page);
    mig_arena_release(&letters->arena);
    free(letters->payloads);
    letters->payloads = NULL;
}

static int next_page(struct mig_node *node, enum mig_kind kind, struct parity_letters *letters,
                     struct mig_error *err)
{
    const struct mig_letter_filter filter = {
        .has_kind = true,
        .kind = kind,
        .has_after = letters->begun,
        .after_kind = kind,
        .after_id = letters->after_id,
        .limit = PAGE_LETTERS,
    };
    int result;

    mig_dead_letters_release(&letters->page);
    letters->page = (struct mig_dead_letters){0};
    letters->next = letters->payload_count = 0;
    if ((result = mig_node_letters(node, &filter, &letters->page, err)) != MIG_OK)
        return result;
    letters->ended = letters->page.count == 0;
    letters->begun = true;
    if (!letters->ended)
        letters->after_id = letters->page.items[letters->page.count - 1].id;
    return MIG_OK;
}

/* The letter of an id, or NULL; ids are asked for in rising order. */
static int find_letter(struct mig_node *node, enum mig_kind kind, int64_t id,
                       struct parity_letters *letters, const struct mig_dead_letter **ret_letter,
                       struct mig_error *err)
{
    int result;

    *ret_letter = NULL;
    while (!letters->ended) {
        for (; letters->next < letters->page.count; letters->next++) {
            const struct mig_dead_letter *letter = &letters->page.items[letters->next];

            if (letter->id < id)
                continue;
            if (letter->id == id)
                *ret_letter = letter;
            return MIG_OK;
        }
        if ((result = next_page(node, kind, letters, err)) != MIG_OK)
            return result;
    }
    return MIG_OK;
}

/* Reads on from a letter of the page: as many as are of some bytes together, or that one. */
static int read_payloads(struct mig_node *node, struct parity_letters *letters, size_t first,
                         struct mig_error *err)
{
    const struct mig_dead_letter *items = letters->page.items;
    size_t end = first + 1, bytes = items[first].payload_size;
    int result;

    if (!letters->payloads &&
        !(letters->payloads = calloc(PAGE_LETTERS, sizeof *letters->payloads)))
        return mig_fail(err, MIG_E_NOMEM, "cannot read dead letters: out of memory");
    for (; end < letters->page.count && bytes + items[end].payload_size <= PAYLOAD_BYTES; end++)
        bytes += items[end].payload_size;
    letters->payload_count = 0;
    mig_arena_reset(&letters->arena);
    if ((result = mig_node_letter_payloads(node, items + first, end - first, &letters->arena,
                                           letters->payloads, err)) != MIG_OK)
        return result;
    letters->first_payload = first;
    letters->payload_count = end - first;
    return MIG_OK;
}

/* What a letter of the page keeps; {NULL, 0} when it is gone meanwhile. */
static int find_payload(struct mig_node *node, struct parity_letters *letters,
                        const struct mig_dead_letter *letter, struct mig_bytes *ret_payload,
                        struct mig_error *err)
{
    const size_t at = (size_t) (letter - letters->page.items);
    int result = MIG_OK;

    if (at < letters->first_payload || at - letters->first_payload >= letters->payload_count)
        result = read_payloads(node, letters, at, err);
    if (result == MIG_OK)
        *ret_payload = letters->payloads[at - letters->first_payload];
    return result;
}

static bool same_value(const struct mig_column *column, const struct mig_value *kept,
                       const struct mig_value *now)
{
    if (kept->is_null || now->is_null)
        return kept->is_null == now->is_null;
    return column->type == MIG_COLUMN_BYTES ? mig_bytes_equal(kept->bytes, now->bytes)
                                            : kept->number == now->number;
}

/* V3 never changes a row, but fills is_commit in; and what another table adds to a row may change
 * at any time. */
static bool same_row(const struct mig_row *kept, const struct mig_row *now)
{
    const struct mig_table_info *info = mig_table_info(now->table);

    if (kept->table != now->table || kept->id != now->id)
        return false;
    for (size_t i = 0; i < info->column_count; i++) {
        const bool filled_in = now->table == MIG_TABLE_GROUP_MESSAGES && i == MIG_GM_IS_COMMIT &&
                               kept->values[i].is_null;

        if (!info->columns[i].derived && !filled_in &&
            !same_value(&info->columns[i], &kept->values[i], &now->values[i]))
            return false;
    }
    return true;
}

static int show_row(const struct mig_row *row, char text[PARITY_SIDE_SIZE], struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);
    int result = mig_row_encode(row, &record, err);

    return result == MIG_OK ? parity_show_digest(mig_buffer_bytes(&record), text, err) : result;
}

static int compare_payload(struct mig_bytes payload, const struct mig_envelope *rejected,
                           struct mig_arena *arena, struct parity_notes *notes,
                           struct mig_error *err)
{
    char sides[2][PARITY_SIDE_SIZE] = {"", "nothing"};
    const bool found = payload.data;
    struct mig_row kept;
    int result;

    if (found) {
        result = mig_row_decode(payload, arena, &kept, NULL);
        if (result == MIG_E_NOMEM)
            return mig_fail(err, MIG_E_NOMEM, "cannot read a dead letter: out of memory");
        if (result == MIG_OK && same_row(&kept, rejected->row))
            return MIG_OK;
    }
    if ((result = show_row(rejected->row, sides[0], err)) != MIG_OK ||
        (found && (result = parity_show_digest(payload, sides[1], err)) != MIG_OK))
        return result;
    return parity_note(notes, "dead_letter_altered", "payload", sides[0], sides[1], err);
}

static int compare_letter(struct mig_node *node, struct parity_letters *letters,
                          const struct mig_envelope *rejected, const struct mig_dead_letter *letter,
                          struct mig_arena *arena, struct parity_notes *notes,
                          struct mig_error *err)
{
    struct mig_bytes payload;
    const char *reason = mig_reason_info(rejected->reason)->name;
    int result = MIG_OK;

    if (!letter)
        return parity_note(notes, "dead_letter_missing", "", reason, "nothing", err);
    if (strcmp(letter->reason, reason) != 0)
        result = parity_note(notes, "dead_letter_altered", "reason", reason, letter->reason, err);
    if (result != MIG_OK || (result = find_payload(node, letters, letter, &payload, err)) != MIG_OK)
        return result;
    return compare_payload(payload, rejected, arena, notes, err);
}

static int check_row(struct parity_check *check, const struct mig_envelope *rejected,
                     struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    bool waived = true;
    int result;

    for (size_t i = 0; i < check->node_count; i++) {
        struct parity_node *node = &check->nodes[i];
        struct parity_notes notes = {.arena = &arena, .last = &notes.first};
        struct parity_letters *letters = &node->letters[rejected->kind];
        const struct mig_dead_letter *letter;

        if ((result = find_letter(node->asker, rejected->kind, rejected->row->id, letters, &letter,
                                  err)) != MIG_OK ||
            (result = compare_letter(node->asker, letters, rejected, letter, &arena, &notes,
                                     err)) != MIG_OK)
            return result;
        waived = waived && letter && letter->waived;
        for (const struct parity_note *note = notes.first; note; note = note->next)
            if ((result = parity_report_add(check, rejected->kind, rejected->row->id, i, note,
                                            err)) != MIG_OK)
                return result;
    }
    check->report.waived[rejected->kind] += waived;
    return MIG_OK;
}

int parity_check_letters(struct parity_check *check, const struct parity_job *job,
                         struct mig_error *err)
{
    int result = MIG_OK;

    for (const struct parity_subject *subject = job->rejected.first; subject && result == MIG_OK;
         subject = subject->next)
        result = check_row(check, &subject->envelope, err);
    return result;
}
