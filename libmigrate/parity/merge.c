/* Two rising lists side by side: what has the same id is a pair, what stands alone too. */
#include "libmigrate/parity/parity_private.h"

int64_t parity_batch_reach(const struct parity_batch *batch)
{
    if (batch->ended)
        return INT64_MAX;
    return batch->count > 0 ? batch->rows[batch->count - 1].sequence_id : INT64_MIN;
}

size_t parity_pair_up(struct parity_plan *plan, struct parity_batch *batch, int64_t up_to,
                      struct parity_pair *pairs)
{
    size_t count = 0;

    for (;;) {
        const struct mig_envelope *planned =
            plan->next < plan->count ? &plan->envelopes[plan->next] : NULL;
        const struct mig_node_row *held =
            batch->next < batch->count ? &batch->rows[batch->next] : NULL;

        if (planned && planned->sequence_id > up_to)
            planned = NULL;
        if (held && held->sequence_id > up_to)
            held = NULL;
        if (!planned && !held)
            return count;
        if (planned && held && planned->sequence_id < held->sequence_id)
            held = NULL;
        else if (planned && held && planned->sequence_id > held->sequence_id)
            planned = NULL;
        plan->next += planned != NULL;
        batch->next += held != NULL;
        pairs[count++] = (struct parity_pair){
            .planned = planned,
            .held = held,
            .known = planned && plan->known ? &plan->known[planned - plan->envelopes] : NULL,
        };
    }
}
