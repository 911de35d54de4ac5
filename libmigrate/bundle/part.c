/* Parts in memory, and the list of what blocks a migration. */
#include "libmigrate/bundle/bundle.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS 256

int mig_part_new(enum mig_table table, int64_t first_id, struct mig_part **ret_part,
                 struct mig_error *err)
{
    struct mig_part *part = calloc(1, sizeof *part);

    if (!part)
        return mig_fail(err, MIG_E_NOMEM, "cannot make a part of %s: out of memory",
                        mig_table_info(table)->name);
    part->table = table;
    part->first_id = part->last_id = part->books_first_id = first_id;
    part->arena = MIG_ARENA_INIT;
    *ret_part = part;
    return MIG_OK;
}

void mig_part_free(struct mig_part **part)
{
    struct mig_part *p = mig_take(*part);

    if (!p)
        return;
    mig_arena_release(&p->arena);
    free(p->rows);
    free(p->envelopes);
    free(p);
}

int mig_part_add_row(struct mig_part *part, struct mig_row **ret_row, struct mig_error *err)
{
    if (part->row_count == part->row_capacity) {
        const size_t capacity = part->row_capacity ? part->row_capacity * 2 : FIRST_ROWS;
        struct mig_row *rows = reallocarray(part->rows, capacity, sizeof *rows);

        if (!rows)
            return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu rows of %s: out of memory", capacity,
                            mig_table_info(part->table)->name);
        part->rows = rows;
        part->row_capacity = capacity;
    }
    *ret_row = &part->rows[part->row_count++];
    **ret_row = (struct mig_row){.table = part->table};
    return MIG_OK;
}

size_t mig_part_bytes(const struct mig_part *part)
{
    const size_t envelopes = part->envelopes ? part->row_count : 0;

    return sizeof *part + part->arena.used_bytes + part->row_capacity * sizeof *part->rows +
           envelopes * sizeof *part->envelopes;
}
