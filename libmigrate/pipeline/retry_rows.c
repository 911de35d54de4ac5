/* The rows of dead letters, for trying them again. */
#include "libmigrate/pipeline/pipeline_private.h"

int retry_find_row(struct mig_source *source, struct mig_node *node,
                   const struct mig_dead_letter *letter, struct mig_part **ret_part,
                   struct mig_error *err)
{
    const enum mig_table table = mig_kind_info(letter->kind)->table;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_bytes payload = {0};
    struct mig_row *row;
    bool found = false;
    int result;

    if ((result = mig_source_read_begin(source, table, letter->id, letter->id, false, err)) !=
            MIG_OK ||
        (result = mig_source_read_part(source, MIG_PART_LIMITS, &part, err)) != MIG_OK)
        return result;
    if (part->row_count == 0) {
        if ((result = mig_node_letter_payload(node, letter->kind, letter->id, &part->arena, &found,
                                              &payload, err)) != MIG_OK)
            return result;
        if (!found)
            return mig_fail(err, MIG_E_CORRUPT, "its letter is gone");
        if ((result = mig_part_add_row(part, &row, err)) != MIG_OK ||
            (result = mig_row_decode(payload, &part->arena, row, err)) != MIG_OK)
            return result;
        if (row->table != table || row->id != letter->id)
            return mig_fail(err, MIG_E_CORRUPT, "the kept record is of another row");
    }
    *ret_part = mig_take(part);
    return MIG_OK;
}

/* Takes those rows of a part that are read which letters ask for next. */
static int take_rows(struct mig_part *read, const struct mig_dead_letter *letters, size_t count,
                     struct mig_part *part, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < read->row_count && part->row_count < count && result == MIG_OK; i++) {
        struct mig_row *row;

        if (read->rows[i].id == letters[part->row_count].id &&
            (result = mig_part_add_row(part, &row, err)) == MIG_OK)
            *row = read->rows[i];
    }
    mig_arena_join(&part->arena, &read->arena);
    return result;
}

int retry_find_rows(struct mig_source *source, const struct mig_dead_letter *letters, size_t count,
                    struct mig_part **ret_part, struct mig_error *err)
{
    const enum mig_table table = mig_kind_info(letters[0].kind)->table;
    const int64_t first_id = letters[0].id, last_id = letters[count - 1].id;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int64_t reached = INT64_MIN;
    int result;

    *ret_part = NULL;
    if ((result = mig_part_new(table, first_id, &part, err)) != MIG_OK ||
        (result = mig_source_read_begin(source, table, first_id, last_id, false, err)) != MIG_OK)
        return result;
    part->last_id = last_id;
    while (reached < last_id && result == MIG_OK) {
        mig_cleanup(mig_part_free) struct mig_part *read = NULL;

        result = mig_source_read_part(source, MIG_PART_LIMITS, &read, err);
        if (result != MIG_OK || !read)
            break;
        reached = read->last_id;
        result = take_rows(read, letters, count, part, err);
    }
    if (result == MIG_OK && part->row_count == count)
        *ret_part = mig_take(part);
    return result;
}
