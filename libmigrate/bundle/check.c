/* Records against what their entry says: the same checks before a part is written and after it was
 * read, so that nothing is written that would be refused later. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>

int bundle_check_row(struct bundle_check *check, const struct mig_row *row, struct mig_error *err)
{
    const struct mig_bundle_entry *entry = check->entry;

    if (row->table != entry->table)
        return mig_fail(err, MIG_E_CORRUPT, "a row of %s in a part of %s",
                        mig_table_info(row->table)->name, mig_table_info(entry->table)->name);
    if (row->id < entry->first_id || row->id > entry->last_id)
        return mig_fail(err, MIG_E_CORRUPT, "id %" PRId64 " lies outside %" PRId64 " to %" PRId64,
                        row->id, entry->first_id, entry->last_id);
    if (check->rows > 0 && row->id <= check->last_id)
        return mig_fail(err, MIG_E_CORRUPT, "id %" PRId64 " comes after id %" PRId64, row->id,
                        check->last_id);
    check->last_id = row->id;
    check->rows++;
    return MIG_OK;
}

int bundle_check_envelope(struct bundle_check *check, const struct mig_envelope *envelope,
                          struct mig_error *err)
{
    const bool chain = envelope->route == MIG_ROUTE_CHAIN;
    int result = bundle_check_row(check, envelope->row, err);

    if (result != MIG_OK)
        return result;
    if (chain != check->entry->chain || envelope->route == MIG_ROUTE_EXPIRED ||
        mig_kind_info(envelope->kind)->table != check->entry->table)
        return mig_fail(err, MIG_E_CORRUPT, "id %" PRId64 " does not belong into this part",
                        envelope->row->id);
    mig_tally_envelope(&check->tally, envelope);
    return MIG_OK;
}

static int differ(const char *what, uint64_t records, uint64_t tally, struct mig_error *err)
{
    return mig_fail(err, MIG_E_CORRUPT,
                    "%s: %" PRIu64 " by its records, but %" PRIu64 " by its tally", what, records,
                    tally);
}

/* Expired rows have no records and those for the chain are elsewhere: only the rest can be counted
 * again, and of findings no more than the tally has. */
static int check_tally(const struct bundle_check *check, struct mig_error *err)
{
    const struct mig_tally *counted = &check->tally, *stated = &check->entry->tally;

    for (int i = 0; i < MIG_KIND_COUNT; i++) {
        const struct mig_kind_tally *one = &counted->kinds[i], *other = &stated->kinds[i];
        const char *name = mig_kind_info((enum mig_kind) i)->name;

        if (one->for_nodes != other->for_nodes)
            return differ(name, one->for_nodes, other->for_nodes, err);
        if (one->rejected != other->rejected)
            return differ(name, one->rejected, other->rejected, err);
    }
    for (int i = 0; i < MIG_REASON_COUNT; i++)
        if (counted->rejects[i] != stated->rejects[i])
            return differ(mig_reason_info((enum mig_reason) i)->name, counted->rejects[i],
                          stated->rejects[i], err);
    for (int i = 0; i < MIG_FINDING_COUNT; i++)
        if (counted->findings[i] > stated->findings[i])
            return differ(mig_finding_name((enum mig_finding) i), counted->findings[i],
                          stated->findings[i], err);
    return MIG_OK;
}

int bundle_check_end(const struct bundle_check *check, struct mig_error *err)
{
    if (check->rows != check->entry->rows)
        return mig_fail(err, MIG_E_CORRUPT, "%" PRIu64 " records, but %" PRIu64 " were declared",
                        check->rows, check->entry->rows);
    return check->stage == MIG_STAGE_ENVELOPES && !check->entry->chain ? check_tally(check, err)
                                                                       : MIG_OK;
}
