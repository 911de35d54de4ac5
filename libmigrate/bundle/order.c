/* Names of files, and the order that parts must stand in: what makes a missing, doubled, moved or
 * additional part visible as it comes by. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PART_SUFFIX ".zst"

enum bundle_file bundle_file_of(const char *name)
{
    const size_t folder = strlen(BUNDLE_PARTS_FOLDER "/"), suffix = strlen(PART_SUFFIX);
    const size_t length = strlen(name);

    if (strcmp(name, BUNDLE_HEADER_NAME) == 0)
        return BUNDLE_FILE_HEADER;
    if (strcmp(name, BUNDLE_INDEX_NAME) == 0)
        return BUNDLE_FILE_INDEX;
    if (length >= BUNDLE_NAME_SIZE || length <= folder + suffix ||
        strncmp(name, BUNDLE_PARTS_FOLDER "/", folder) != 0 ||
        strcmp(name + length - suffix, PART_SUFFIX) != 0)
        return BUNDLE_FILE_OTHER;
    /* No dot and no slash: the name can lead nowhere else. */
    if (strspn(name + folder, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length - folder - suffix)
        return BUNDLE_FILE_OTHER;
    return BUNDLE_FILE_PART;
}

size_t bundle_file_limit(enum bundle_file file)
{
    switch (file) {
    case BUNDLE_FILE_HEADER:
        return BUNDLE_LINE_LIMIT;
    case BUNDLE_FILE_INDEX:
        return BUNDLE_INDEX_LIMIT;
    case BUNDLE_FILE_PART:
        return BUNDLE_LINE_LIMIT + ZSTD_COMPRESSBOUND(BUNDLE_PART_LIMIT);
    case BUNDLE_FILE_OTHER:
        break;
    }
    return 0;
}

void bundle_name_part(char ret_name[], size_t number, enum mig_stage stage, enum mig_table table,
                      bool chain)
{
    const char *contents = stage == MIG_STAGE_ROWS ? "rows" : chain ? "chain" : "nodes";

    snprintf(ret_name, BUNDLE_NAME_SIZE, BUNDLE_PARTS_FOLDER "/%06zu-%s-%s" PART_SUFFIX, number,
             mig_table_info(table)->name, contents);
}

static uint64_t chain_rows(const struct mig_tally *tally)
{
    uint64_t rows = 0;

    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
        rows += tally->kinds[kind].for_chain;
    return rows;
}

/* Only kinds that this table's rows become, and as many of them as there are records. */
static int check_tally(const struct mig_bundle_entry *entry, struct mig_error *err)
{
    uint64_t rows = 0;

    for (int i = 0; i < MIG_KIND_COUNT; i++) {
        const struct mig_kind_tally *kind = &entry->tally.kinds[i];

        if (kind->counted != 0 && mig_kind_info((enum mig_kind) i)->table != entry->table)
            return mig_fail(err, MIG_E_CORRUPT, "'%s': its tally counts %s", entry->name,
                            mig_kind_info((enum mig_kind) i)->name);
        rows += kind->for_nodes + kind->rejected;
    }
    if (rows != entry->rows)
        return mig_fail(err, MIG_E_CORRUPT,
                        "'%s': %" PRIu64 " records, but its tally counts %" PRIu64, entry->name,
                        entry->rows, rows);
    return MIG_OK;
}

static int check_sibling(const struct bundle_order *order, const struct mig_bundle_entry *entry,
                         struct mig_error *err)
{
    static const struct mig_tally none;

    if (entry->first_id != order->nodes.first_id || entry->last_id != order->nodes.last_id ||
        entry->settled != order->nodes.settled)
        return mig_fail(err, MIG_E_CORRUPT, "'%s': another range than '%s'", entry->name,
                        order->nodes.name);
    if (entry->rows != order->chain_due)
        return mig_fail(err, MIG_E_CORRUPT,
                        "'%s': %" PRIu64 " records, but '%s' counts %" PRIu64 " for the chain",
                        entry->name, entry->rows, order->nodes.name, order->chain_due);
    if (memcmp(&entry->tally, &none, sizeof none) != 0)
        return mig_fail(err, MIG_E_CORRUPT, "'%s': a tally where none belongs", entry->name);
    return MIG_OK;
}

static int check_range(const struct bundle_order *order, const struct mig_bundle_entry *entry,
                       struct mig_error *err)
{
    const int64_t before = order->last_ids[entry->table];
    /* Between the settled range and rows above the sequence lie ids that are still being given out:
     * those belong to a later export. */
    const bool may_skip = order->settled[entry->table] && !entry->settled;

    /* An empty range, [1, 0], is how a table that never had a row may be told. */
    if (entry->first_id > entry->last_id && entry->first_id - 1 != entry->last_id)
        return mig_fail(err, MIG_E_CORRUPT, "'%s': a range from %" PRId64 " to %" PRId64,
                        entry->name, entry->first_id, entry->last_id);
    if (order->seen[entry->table] &&
        (before == INT64_MAX ||
         (may_skip ? entry->first_id <= before : entry->first_id != before + 1)))
        return mig_fail(err, MIG_E_CORRUPT,
                        "'%s': begins at id %" PRId64 ", but the part before it ended at %" PRId64,
                        entry->name, entry->first_id, before);
    return MIG_OK;
}

static int check_name(const struct mig_bundle_entry *entry, const char *expected, size_t number,
                      bool sibling, struct mig_error *err)
{
    char digits[32];

    snprintf(digits, sizeof digits, BUNDLE_PARTS_FOLDER "/%06zu-", number);
    if (strcmp(entry->name, expected) == 0)
        return MIG_OK;
    if (!sibling && strncmp(entry->name, digits, strlen(digits)) != 0)
        return mig_fail(err, MIG_E_CORRUPT,
                        "'%s' stands where part %06zu belongs: one is missing, additional or moved",
                        entry->name, number);
    return mig_fail(err, MIG_E_CORRUPT, "'%s' stands where '%s' belongs", entry->name, expected);
}

int bundle_order_take(struct bundle_order *order, const struct mig_bundle_entry *entry,
                      struct mig_error *err)
{
    const bool sibling = order->chain_due > 0;
    const size_t number = order->parts + !sibling;
    const enum mig_table table = sibling ? order->nodes.table : entry->table;
    char expected[BUNDLE_NAME_SIZE];
    int result;

    bundle_name_part(expected, number, order->stage, table, sibling);
    result = check_name(entry, expected, number, sibling, err);
    if (result == MIG_OK && (entry->table != table || entry->chain != sibling))
        result = mig_fail(err, MIG_E_CORRUPT, "'%s': its contents are not what its name says",
                          entry->name);
    if (result != MIG_OK)
        return result;
    if (sibling) {
        result = check_sibling(order, entry, err);
        if (result == MIG_OK)
            order->chain_due = 0;
        return result;
    }
    result = check_range(order, entry, err);
    if (result == MIG_OK && order->stage == MIG_STAGE_ENVELOPES)
        result = check_tally(entry, err);
    if (result != MIG_OK)
        return result;
    order->parts = number;
    order->seen[entry->table] = true;
    order->settled[entry->table] = entry->settled;
    order->last_ids[entry->table] = entry->last_id;
    order->nodes = *entry;
    order->chain_due = order->stage == MIG_STAGE_ENVELOPES ? chain_rows(&entry->tally) : 0;
    mig_tally_add(&order->total, &entry->tally);
    return MIG_OK;
}

int bundle_order_end(const struct bundle_order *order, struct mig_error *err)
{
    if (order->chain_due > 0)
        return mig_fail(err, MIG_E_CORRUPT,
                        "'%s' counts %" PRIu64 " records for the chain, but their part is missing",
                        order->nodes.name, order->chain_due);
    return MIG_OK;
}
