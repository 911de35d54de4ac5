/*
 * One part, one transaction: envelopes, clock, tracker, dead letters and books are there together
 * or not at all. (On the bulk path, one band: bulk.c.)
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often a part is begun anew when the node's pruner or another writer was in the way. */
#define ATTEMPTS 4

/* What has expired is left out: a part from a bundle does not have it, and both must come to the
 * same. */
bool node_last_row_of(const struct mig_part *part, int64_t *ret_id)
{
    const enum mig_kind kind = mig_node_kind(part->table);

    for (size_t i = part->row_count; i > 0; i--) {
        const struct mig_envelope *envelope = &part->envelopes[i - 1];

        if (envelope->kind == kind && envelope->route != MIG_ROUTE_EXPIRED) {
            *ret_id = envelope->sequence_id;
            return true;
        }
    }
    return false;
}

/* The Go migrator resumes from here, so it never goes down, and never over what is not settled. */
void node_tracker_sql(enum mig_table table, int64_t id, char *sql, size_t size)
{
    snprintf(sql, size,
             "INSERT INTO migration_tracker AS t (source_table, last_migrated_id)"
             " VALUES ('%s', %" PRId64 ") ON CONFLICT (source_table) DO UPDATE SET"
             " last_migrated_id = excluded.last_migrated_id, updated_at = now()"
             " WHERE t.last_migrated_id < excluded.last_migrated_id",
             mig_kind_info(mig_node_kind(table))->name, id);
}

static int raise_tracker(struct mig_node *node, const struct mig_part *part, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int64_t id;

    if (mig_node_kind(part->table) == MIG_KIND_COUNT || !part->settled ||
        !node_last_row_of(part, &id))
        return MIG_OK;
    node_tracker_sql(part->table, id, sql, sizeof sql);
    return mig_pg_exec(node->pg, sql, err);
}

static int store_rows(struct mig_node *node, struct node_load_job *job, uint64_t staged,
                      struct mig_error *err)
{
    int result;

    if ((result = node_store_envelopes(node, job, staged, err)) != MIG_OK ||
        (job->letters &&
         (result = node_lock_letters(node, job->letters, job->part->row_count, err)) != MIG_OK) ||
        (result = node_store_letters(node, job->run, job->part, job->conflicts,
                                     job->letters != NULL, err)) != MIG_OK)
        return result;
    if (job->letters)
        return node_book_retry(node, job->run, job->part, job->conflicts, &job->counts, err);
    if ((result = raise_tracker(node, job->part, err)) != MIG_OK)
        return result;
    return node_book_part(node, job->run, job->part, job->conflicts, job->digests, &job->counts,
                          err);
}

/* One transaction. *ret_stored is false when leaves had gone: they are to be made again. */
static int attempt(struct mig_node *node, struct node_load_job *job, bool *ret_stored,
                   struct mig_error *err)
{
    uint64_t staged;
    int result;

    *ret_stored = false;
    memset(job->conflicts, 0, job->part->row_count * sizeof *job->conflicts);
    job->counts = (struct mig_load_result){0};
    if ((result = node_make_bands(node, job->part, err)) != MIG_OK ||
        (result = mig_pg_begin(node->pg, err)) != MIG_OK)
        return result;
    if ((result = node_stage_envelopes(node, job->part, &staged, err)) == MIG_OK &&
        (result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock_shared(5)", err)) == MIG_OK &&
        (result = node_bands_there(node, job->part, ret_stored, err)) == MIG_OK && *ret_stored &&
        (result = store_rows(node, job, staged, err)) == MIG_OK)
        result = mig_pg_commit(node->pg, err);
    if (result == MIG_OK && *ret_stored) {
        node->keeps_payer = node->payer_id != 0;
        return MIG_OK;
    }
    mig_pg_rollback(node->pg);
    node_forget_bands(node);
    return result;
}

/* Again when the node's pruner or another writer was in the way, a few times. */
static int store_in_transaction(struct mig_node *node, struct node_load_job *job,
                                struct mig_error *err)
{
    bool stored = false;
    int result = node_stage_prepare(node, err);

    node->run = job->run;
    snprintf(node->payer, sizeof node->payer, "%s", job->run->facts.payer);
    for (int i = 0; i < ATTEMPTS && !stored && result == MIG_OK; i++) {
        result = attempt(node, job, &stored, err);
        if ((result == MIG_E_TEMPORARY ||
             (result == MIG_E_DATABASE && mig_pg_met_duplicate(node->pg))) &&
            i + 1 < ATTEMPTS && mig_pg_alive(node->pg)) {
            stored = false;
            result = MIG_OK;
        }
    }
    if (result != MIG_OK || stored)
        return result;
    mig_fail(err, MIG_E_TEMPORARY, "node '%s': its bands are dropped as fast as they are made",
             node->entry->name);
    return mig_hint(err, "see what drops the node's partitions, then run it again");
}

void node_free_flags(bool **flags)
{
    free(*flags);
}

int mig_node_load(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                  const struct mig_part_digests *digests, struct mig_load_result *ret_result,
                  struct mig_error *err)
{
    mig_cleanup(node_free_flags) bool *conflicts = calloc(part->row_count + 1, sizeof *conflicts);
    struct node_load_job job = {
        .run = run, .part = part, .digests = digests, .conflicts = conflicts};
    bool booked = false, taken = false;
    int result;

    if (!conflicts)
        return mig_fail(err, MIG_E_NOMEM, "node '%s': out of memory", node->entry->name);
    if ((result = mig_stop_check(node->stop, err)) != MIG_OK ||
        (result = node_booked(node, run->facts.run, part, &booked, err)) != MIG_OK ||
        (result = node_tracker_at_begin(node, run->facts.run, part->table, &job.tracker, err)) !=
            MIG_OK)
        return result;
    if (!booked && (result = node_bulk_take(node, &job, &taken, err)) == MIG_OK && !taken)
        result = store_in_transaction(node, &job, err);
    if (result != MIG_OK)
        return mig_error_within(err, "%s from %" PRId64 " to %" PRId64,
                                mig_table_info(part->table)->name, part->first_id, part->last_id);
    *ret_result = job.counts;
    return MIG_OK;
}

int mig_node_retry(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const struct mig_dead_letter *letters, const struct mig_repair *repair,
                   struct mig_load_result *ret_result, struct mig_error *err)
{
    mig_cleanup(node_free_flags) bool *conflicts = calloc(part->row_count + 1, sizeof *conflicts);
    struct node_load_job job = {.run = run,
                                .part = part,
                                .letters = letters,
                                .repair = repair,
                                .conflicts = conflicts,
                                .tracker = INT64_MIN};
    int result;

    if (!conflicts)
        return mig_fail(err, MIG_E_NOMEM, "node '%s': out of memory", node->entry->name);
    result = mig_node_claim(node, err);
    if (result == MIG_OK && (result = store_in_transaction(node, &job, err)) != MIG_OK)
        mig_error_within(err, "%s %" PRId64, mig_kind_info(letters[0].kind)->name, letters[0].id);
    if (result == MIG_OK)
        *ret_result = job.counts;
    return result;
}
