/*
 * One part, one transaction: envelopes, clock, tracker, dead letters and books are there together
 * or not at all.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often a part is begun anew when the node's pruner or another writer was in the way. */
#define ATTEMPTS 4

/* The last id that this part brought of a kind, among those that the sequence gave out. */
static bool last_settled_id(const struct mig_part *part, enum mig_kind kind, int64_t *ret_id)
{
    for (size_t i = part->row_count; part->settled && i > 0; i--)
        if (part->envelopes[i - 1].kind == kind) {
            *ret_id = part->envelopes[i - 1].sequence_id;
            return true;
        }
    return false;
}

/* The Go migrator resumes from here, so it never goes down, and never over what is not settled. */
static int raise_tracker(struct mig_node *node, const struct mig_part *part, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const enum mig_kind kind = node_kind_of(part->table);
    char number[NODE_NUMBER_SIZE];
    int64_t id;

    if (kind == MIG_KIND_COUNT || !last_settled_id(part, kind, &id))
        return MIG_OK;
    return mig_pg_query(node->pg,
                        "INSERT INTO migration_tracker AS t (source_table, last_migrated_id)"
                        " VALUES ($1, $2) ON CONFLICT (source_table) DO UPDATE SET"
                        " last_migrated_id = excluded.last_migrated_id, updated_at = now()"
                        " WHERE t.last_migrated_id < excluded.last_migrated_id",
                        (const char *const[]){mig_kind_info(kind)->name, node_number(id, number)},
                        2, &answer, err);
}

/* Everything that belongs into the rows' transaction. *ret_again: leaves were gone, make them. */
static int store(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                 const char *chain_digest, bool *conflicts, bool *ret_again,
                 struct mig_load_result *counts, struct mig_error *err)
{
    bool there;
    int result;

    if ((result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock_shared(5)", err)) != MIG_OK ||
        (result = node_bands_there(node, part, &there, err)) != MIG_OK)
        return result;
    *ret_again = !there;
    if (!there)
        return MIG_OK;
    if ((result = node_store_envelopes(node, part, conflicts, counts, err)) != MIG_OK ||
        (result = node_store_letters(node, part, conflicts, err)) != MIG_OK ||
        (result = raise_tracker(node, part, err)) != MIG_OK)
        return result;
    return node_book_part(node, run, part, conflicts, chain_digest, counts, err);
}

static int attempt(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const char *chain_digest, bool *conflicts, bool *ret_again,
                   struct mig_load_result *counts, struct mig_error *err)
{
    int result;

    if ((result = node_make_bands(node, part, err)) != MIG_OK ||
        (result = mig_pg_begin(node->pg, err)) != MIG_OK)
        return result;
    result = store(node, run, part, chain_digest, conflicts, ret_again, counts, err);
    if (result == MIG_OK && !*ret_again)
        result = mig_pg_commit(node->pg, err);
    if (result != MIG_OK || *ret_again) {
        mig_pg_rollback(node->pg);
        node_forget_bands(node);
        return result;
    }
    node->keeps_payer = node->payer_id != 0;
    return MIG_OK;
}

static void free_flags(bool **flags)
{
    free(*flags);
}

int mig_node_load(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                  const char *chain_digest, struct mig_load_result *ret_result,
                  struct mig_error *err)
{
    mig_cleanup(free_flags) bool *conflicts = NULL;
    struct mig_load_result counts = {0};
    bool booked = false, again = true;
    int result;

    if ((result = mig_stop_check(node->stop, err)) != MIG_OK ||
        (result = node_booked(node, run->facts.run, part, &booked, &counts, err)) != MIG_OK)
        return result;
    if (booked) {
        *ret_result = counts;
        return MIG_OK;
    }
    snprintf(node->payer, sizeof node->payer, "%s", run->facts.payer);
    if ((result = node_stage_prepare(node, err)) != MIG_OK)
        return result;
    for (int i = 0; i < ATTEMPTS && again; i++) {
        free(conflicts);
        conflicts = calloc(part->row_count + 1, sizeof *conflicts);
        if (!conflicts)
            return mig_fail(err, MIG_E_NOMEM, "node '%s': out of memory", node->entry->name);
        counts = (struct mig_load_result){0};
        result = attempt(node, run, part, chain_digest, conflicts, &again, &counts, err);
        if (result == MIG_E_TEMPORARY && i + 1 < ATTEMPTS && mig_pg_alive(node->pg))
            again = true;
        else if (result != MIG_OK)
            return mig_error_within(err, "%s from %" PRId64 " to %" PRId64,
                                    mig_table_info(part->table)->name, part->first_id,
                                    part->last_id);
    }
    if (again) {
        mig_fail(err, MIG_E_TEMPORARY, "node '%s': its bands are dropped as fast as they are made",
                 node->entry->name);
        return mig_hint(err, "see what drops the node's partitions, then run it again");
    }
    *ret_result = counts;
    return MIG_OK;
}

/* ---- once more ---------------------------------------------------------------------------- */

static int forget_letter(struct mig_node *node, const struct mig_dead_letter *letter,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE];

    return mig_pg_query(
        node->pg, "SELECT delete_migration_dead_letter_box($1, $2)",
        (const char *const[]){mig_kind_info(letter->kind)->name, node_number(letter->id, number)},
        2, &answer, err);
}

static int retry_in_transaction(struct mig_node *node, const struct mig_run *run,
                                const struct mig_part *part, const struct mig_dead_letter *letter,
                                bool *conflicts, bool *ret_again, struct mig_error *err)
{
    struct mig_load_result counts = {0};
    bool there;
    int result;

    if ((result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock_shared(5)", err)) != MIG_OK ||
        (result = node_bands_there(node, part, &there, err)) != MIG_OK)
        return result;
    *ret_again = !there;
    if (!there)
        return MIG_OK;
    if ((result = node_store_envelopes(node, part, conflicts, &counts, err)) != MIG_OK ||
        (result = forget_letter(node, letter, err)) != MIG_OK ||
        (result = node_store_letters(node, part, conflicts, err)) != MIG_OK)
        return result;
    return node_book_retry(node, run, part, conflicts, letter, &counts, err);
}

int mig_node_retry(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const struct mig_dead_letter *letter, struct mig_error *err)
{
    bool conflicts[1] = {false}, again = true;
    int result;

    snprintf(node->payer, sizeof node->payer, "%s", run->facts.payer);
    if ((result = node_lock(node, err)) != MIG_OK ||
        (result = node_stage_prepare(node, err)) != MIG_OK)
        return result;
    for (int i = 0; i < ATTEMPTS && again; i++) {
        conflicts[0] = false;
        if ((result = node_make_bands(node, part, err)) != MIG_OK ||
            (result = mig_pg_begin(node->pg, err)) != MIG_OK)
            return result;
        result = retry_in_transaction(node, run, part, letter, conflicts, &again, err);
        if (result == MIG_OK && !again)
            result = mig_pg_commit(node->pg, err);
        if (result != MIG_OK || again) {
            mig_pg_rollback(node->pg);
            node_forget_bands(node);
        }
        if (result != MIG_OK)
            return mig_error_within(err, "%s %" PRId64, mig_kind_info(letter->kind)->name,
                                    letter->id);
    }
    node->keeps_payer = node->payer_id != 0;
    return again ? mig_fail(err, MIG_E_TEMPORARY,
                            "node '%s': its bands are dropped as fast as they "
                            "are made",
                            node->entry->name)
                 : MIG_OK;
}
