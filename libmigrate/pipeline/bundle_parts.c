/* Parts out of a bundle of envelopes, as a run would have them: what goes to nodes and what goes to
 * the chain in one, in the order of their ids. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdlib.h>

static bool has_chain_rows(const struct mig_part *part)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (part->tally.kinds[kind].for_chain > 0)
            return true;
    return false;
}

/* Whether the next row in order is the sibling's. */
static bool is_siblings(const struct mig_part *part, size_t a, const struct mig_part *sibling,
                        size_t b)
{
    return b < sibling->row_count &&
           (a == part->row_count || sibling->rows[b].id < part->rows[a].id);
}

/* Takes the sibling's rows into part, where nothing is left of them to tell the two apart. */
static int join(struct mig_part *part, struct mig_part *sibling, struct mig_error *err)
{
    const size_t count = part->row_count + sibling->row_count;
    struct mig_row *rows = calloc(count + 1, sizeof *rows);
    struct mig_envelope *envelopes = calloc(count + 1, sizeof *envelopes);
    int result = rows && envelopes ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");

    for (size_t at = 0, a = 0, b = 0; at < count && result == MIG_OK; at++) {
        const bool siblings = is_siblings(part, a, sibling, b);
        const struct mig_part *from = siblings ? sibling : part;
        const size_t place = siblings ? b++ : a++;

        rows[at] = from->rows[place];
        envelopes[at] = from->envelopes[place];
        envelopes[at].row = &rows[at];
        if (at > 0 && rows[at - 1].id == rows[at].id)
            result = mig_fail(err, MIG_E_CORRUPT, "%s %" PRId64 " is both for nodes and the chain",
                              mig_table_info(part->table)->name, rows[at].id);
    }
    if (result != MIG_OK) {
        free(rows);
        free(envelopes);
        return result;
    }
    free(part->rows);
    free(part->envelopes);
    part->rows = rows;
    part->envelopes = envelopes;
    part->row_count = part->row_capacity = count;
    mig_arena_join(&part->arena, &sibling->arena);
    return MIG_OK;
}

int bundle_parts_next(void *context, struct mig_part **ret_part, struct mig_error *err)
{
    struct mig_bundle_reader *reader = context;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    mig_cleanup(mig_part_free) struct mig_part *chain = NULL;
    const struct mig_bundle_entry *entry;
    int result = mig_bundle_next(reader, &part, NULL, err);

    if (result == MIG_OK && part && has_chain_rows(part)) {
        result = mig_bundle_next(reader, &chain, &entry, err);
        if (result == MIG_OK && (!chain || !entry->chain || chain->first_id != part->first_id))
            result = mig_fail(err, MIG_E_CORRUPT, "a part's chain-bound rows do not follow it");
        if (result == MIG_OK)
            result = join(part, chain, err);
    }
    if (result == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}
