/* Ids of rows: listed for a statement, and looked up in a part. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>

void node_ids_release(struct node_ids *ids)
{
    mig_buffer_release(&ids->text);
}

int node_add_id(struct node_ids *ids, int64_t id, struct mig_error *err)
{
    return mig_buffer_print(&ids->text, err, "%s%" PRId64, ids->count++ ? "," : "{", id);
}

int node_end_ids(struct node_ids *ids, struct mig_error *err)
{
    return ids->count > 0 ? mig_buffer_append(&ids->text, "}", 2, err) : MIG_OK;
}

size_t node_row_of(const struct mig_part *part, int64_t id)
{
    size_t low = 0, high = part->row_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (part->envelopes[middle].sequence_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < part->row_count && part->envelopes[low].sequence_id == id ? low : part->row_count;
}
