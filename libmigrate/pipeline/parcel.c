/* A part on its way through the stages, shared by the nodes it goes to, and what it takes of the
 * memory that all stages share. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>

/* What a part can come to: its rows, the envelopes around their bytes, both lists. */
#define RESERVE_BYTES (2 * MIG_PART_LIMITS.bytes + ((size_t) 3 << 20))
/* Payload, client, payer, unsigned and originator envelope. */
#define LAYERS 5

int parcel_reserve(struct mig_budget *budget, struct parcel **ret_parcel, struct mig_error *err)
{
    struct parcel *parcel = calloc(1, sizeof *parcel);
    int result;

    if (!parcel)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if ((result = mig_budget_take(budget, RESERVE_BYTES, err)) != MIG_OK) {
        free(parcel);
        return result;
    }
    atomic_init(&parcel->holders, 1);
    parcel->budget = budget;
    parcel->charged = RESERVE_BYTES;
    *ret_parcel = parcel;
    return MIG_OK;
}

static void charge(struct parcel *parcel, size_t bytes)
{
    mig_budget_correct(parcel->budget, parcel->charged, bytes);
    parcel->charged = bytes;
}

/* The layers around the largest row while it is worked on; those of most rows are nothing. */
static size_t scratch_bytes(const struct mig_part *part)
{
    const struct mig_table_info *info = mig_table_info(part->table);
    size_t largest = 0;

    for (size_t i = 0; i < part->row_count; i++) {
        size_t bytes = 0;

        for (size_t j = 0; j < info->column_count; j++)
            bytes += part->rows[i].values[j].bytes.size;
        if (bytes > largest)
            largest = bytes;
    }
    return LAYERS * largest;
}

void parcel_fill(struct parcel *parcel, struct mig_part *part)
{
    const size_t lists = part->row_count * (sizeof *part->rows + sizeof *part->envelopes);

    parcel->part = part;
    charge(parcel, part->envelopes
                       ? mig_part_bytes(part)
                       : sizeof *part + 2 * part->arena.used_bytes + lists + scratch_bytes(part));
}

int parcel_seal(struct parcel *parcel, const struct mig_bundle_facts *facts, struct mig_error *err)
{
    int result = pipeline_digest(parcel->part, MIG_ROUTE_NODE, facts, parcel->digests.nodes, err);

    if (result == MIG_OK)
        result = pipeline_digest(parcel->part, MIG_ROUTE_CHAIN, facts, parcel->digests.chain, err);
    charge(parcel, mig_part_bytes(parcel->part));
    return result;
}

struct parcel *parcel_share(struct parcel *parcel)
{
    atomic_fetch_add(&parcel->holders, 1);
    return parcel;
}

void parcel_drop(struct parcel **parcel)
{
    struct parcel *p = mig_take(*parcel);

    if (!p || atomic_fetch_sub(&p->holders, 1) != 1)
        return;
    mig_part_free(&p->part);
    charge(p, 0);
    free(p);
}

void parcel_discard(void *item)
{
    struct parcel *parcel = item;

    parcel_drop(&parcel);
}
