/*
 * The bulk path: a band that the node has no row of is filled beside its tables and attached when
 * all of it is there. One transaction, on a connection of its own, holds the attaching, the dead
 * letters and the books of all parts of the band, so that they come together or not at all.
 *
 * The lane fills a band; a thread of its own then builds the indexes and attaches it, while the
 * lane goes on with the next. Of each table one band is filled and one finished at a time, so that
 * the books grow in the order of ids.
 */
#include "libmigrate/node/bulk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_SECOND 1000000

static void bulk_free(struct node_bulk **bulk)
{
    struct node_bulk *b = mig_take(*bulk);

    if (!b)
        return;
    mig_node_close(&b->side);
    mig_node_close(&b->blob);
    free(b);
}

/* ---- finished -------------------------------------------------------------------------------- */

/* Nobody deletes payers; but no foreign key has looked. Not sooner than with the rest: two bands
 * that each hold a lock on payers would keep each other from being attached. */
#define CHECK_PAYER                                                                                \
    "DO $do$ BEGIN PERFORM FROM payers WHERE id = %" PRId32 " FOR KEY SHARE; IF NOT FOUND THEN"    \
    " RAISE EXCEPTION 'the payer %s was deleted meanwhile'; END IF; END $do$"

/* With what the node's trigger would do, which rows that are attached do not fire. */
static void put_raising(const struct node_bulk *bulk, char *sql, size_t size)
{
    char instant[MIG_TIME_TEXT_SIZE], tracker[NODE_SQL_SIZE] = "";
    const int64_t us = bulk->clock_us % US_PER_SECOND;
    const int64_t fraction = us < 0 ? us + US_PER_SECOND : us;

    mig_time_format_us((bulk->clock_us - fraction) / US_PER_SECOND, (int32_t) fraction, instant);
    if (bulk->has_tracked)
        node_tracker_sql(bulk->table, bulk->tracked_id, tracker, sizeof tracker);
    snprintf(
        sql, size,
        "INSERT INTO gateway_envelopes_latest AS l (originator_node_id, originator_sequence_id,"
        " gateway_time) VALUES (%" PRIu32 ", %" PRId64 ", '%s') ON CONFLICT"
        " (originator_node_id) DO UPDATE SET originator_sequence_id ="
        " excluded.originator_sequence_id, gateway_time = excluded.gateway_time"
        " WHERE l.originator_sequence_id < excluded.originator_sequence_id; %s",
        bulk->band.originator, bulk->clock_id, instant, tracker);
}

static int attach(struct node_bulk *bulk, struct mig_error *err)
{
    char raising[2 * NODE_SQL_SIZE];
    int result = node_bulk_index(bulk->side, &bulk->band, err);

    if (result != MIG_OK)
        return result;
    node_bulk_flush(bulk->blob);
    put_raising(bulk, raising, sizeof raising);
    return node_bulk_attach(bulk->side, &bulk->band, raising, err);
}

static void *finish(void *context)
{
    struct node_bulk *bulk = context;

    bulk->result = attach(bulk, &bulk->err);
    if (bulk->result != MIG_OK)
        mig_error_within(&bulk->err, "the band of originator %" PRIu32 " from %" PRId64,
                         bulk->band.originator, bulk->band.start);
    else
        mig_log(bulk->side->hooks, MIG_LOG_DEBUG,
                "node '%s': the band of originator %" PRIu32 " from %" PRId64
                " is attached with %" PRIu64 " rows",
                bulk->side->entry->name, bulk->band.originator, bulk->band.start, bulk->rows);
    atomic_store(&bulk->ended, true);
    return NULL;
}

/* What was lost once may be lost again: the next time it is staged, so that some of it stays. */
static void lose(struct node_bulks *bulks, int64_t start)
{
    bulks->has_slow = true;
    bulks->slow_start = start;
}

bool mig_node_lost_band(const struct mig_node *node, enum mig_table table, int64_t *ret_start)
{
    const struct node_bulks *bulks = &node->bulks[table];
    const struct node_bulk *open = bulks->finishing ? bulks->finishing : bulks->filling;

    *ret_start = open ? open->band.start : bulks->slow_start;
    return open || bulks->has_slow;
}

void mig_node_stage_band(struct mig_node *node, enum mig_table table, int64_t start)
{
    lose(&node->bulks[table], start);
}

/* Waits for the band that is being finished, if there is one. */
static int join_finishing(struct node_bulks *bulks, struct mig_error *err)
{
    mig_cleanup(bulk_free) struct node_bulk *bulk = mig_take(bulks->finishing);

    if (!bulk)
        return MIG_OK;
    pthread_join(bulk->thread, NULL);
    if (bulk->result != MIG_OK)
        lose(bulks, bulk->band.start);
    if (bulk->result != MIG_OK && err)
        *err = bulk->err;
    return bulk->result;
}

static int start_finishing(struct node_bulks *bulks, struct mig_error *err)
{
    int result = join_finishing(bulks, err), failure;

    if (result != MIG_OK || !bulks->filling)
        return result;
    failure = pthread_create(&bulks->filling->thread, NULL, finish, bulks->filling);
    if (failure != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    bulks->finishing = mig_take(bulks->filling);
    return MIG_OK;
}

int mig_node_flush(struct mig_node *node, struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = start_finishing(&node->bulks[table], err);
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = join_finishing(&node->bulks[table], err);
    if (result != MIG_OK || !node->left_band)
        return result;
    node->left_band = false;
    result = node_bulk_clean(node, err);
    /* Whoever holds them now, the next run finds them again. */
    return result == MIG_E_TEMPORARY && mig_pg_alive(node->pg) ? MIG_OK : result;
}

static void ask_to_stop(struct node_bulk *bulk)
{
    if (bulk)
        atomic_store(&bulk->stop.requested, true);
}

void node_bulk_abandon(struct mig_node *node)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        ask_to_stop(node->bulks[table].filling);
        ask_to_stop(node->bulks[table].finishing);
    }
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        join_finishing(&node->bulks[table], NULL);
        bulk_free(&node->bulks[table].filling);
    }
}

/* ---- opened ---------------------------------------------------------------------------------- */

static int open_session(const struct mig_node *node, const struct node_bulk *bulk,
                        struct mig_node **ret_session, struct mig_error *err)
{
    const size_t index = (size_t) (node->entry - node->manifest->nodes);
    int result = mig_node_open(node->manifest, index, MIG_NODE_WRITE, node->hooks, &bulk->stop,
                               ret_session, err);

    return result == MIG_OK ? node_claim_side(*ret_session, err) : result;
}

static int bulk_open(struct mig_node *node, const struct node_load_job *job, int64_t start,
                     struct node_bulk **ret_bulk, struct mig_error *err)
{
    mig_cleanup(bulk_free) struct node_bulk *bulk = calloc(1, sizeof *bulk);
    int result;

    if (!bulk)
        return mig_fail(err, MIG_E_NOMEM, "node '%s': out of memory", node->entry->name);
    bulk->stop.also = node->stop;
    bulk->table = job->part->table;
    bulk->band = (struct node_bulk_band){node_originator_of(job->part), start};
    bulk->err = MIG_ERROR_INIT;
    if ((result = open_session(node, bulk, &bulk->side, err)) != MIG_OK ||
        (result = open_session(node, bulk, &bulk->blob, err)) != MIG_OK)
        return result;
    snprintf(bulk->side->payer, sizeof bulk->side->payer, "%s", job->run->facts.payer);
    if ((result = node_bulk_begin_blobs(bulk->blob, err)) != MIG_OK ||
        (result = node_stage_prepare(bulk->side, err)) != MIG_OK ||
        (result = node_find_payer(bulk->side, bulk->side->payer, err)) != MIG_OK ||
        (result = node_bulk_make(bulk->side, &bulk->band, err)) != MIG_OK ||
        (result = node_bulk_begin(bulk->side, &bulk->band, err)) != MIG_OK)
        return result;
    *ret_bulk = mig_take(bulk);
    return MIG_OK;
}

/* The band that all rows for nodes of a part lie in. */
enum place { NO_ROWS, ONE_BAND, SEVERAL_BANDS };

static enum place place_of(const struct mig_part *part, int64_t *ret_start)
{
    enum place place = NO_ROWS;

    for (size_t i = 0; i < part->row_count; i++) {
        const int64_t start = node_band_start(part->envelopes[i].sequence_id);

        if (part->envelopes[i].route != MIG_ROUTE_NODE ||
            (place == ONE_BAND && start == *ret_start))
            continue;
        if (place == ONE_BAND)
            return SEVERAL_BANDS;
        place = ONE_BAND;
        *ret_start = start;
    }
    return place;
}

static bool ends_band(const struct node_load_job *job, int64_t start)
{
    return job->part->last_id - start >= MIG_BAND_WIDTH - 1 ||
           job->part->last_id >= job->run->bounds[job->part->table];
}

/* Opens the band if it is one for the bulk path. Its tables, indexes and locks cost as much as some
 * thousand rows: a band that ends with its first part is not worth them. */
static int open_band(struct mig_node *node, const struct node_load_job *job, int64_t start,
                     struct mig_error *err)
{
    struct node_bulks *bulks = &node->bulks[job->part->table];
    enum mig_way way;
    int result;

    if (ends_band(job, start) || (bulks->has_slow && bulks->slow_start == start))
        return MIG_OK;
    if ((result = mig_node_way(node, job->part->table, start, &way, err)) != MIG_OK)
        return result;
    if (way == MIG_WAY_BULK) {
        result = bulk_open(node, job, start, &bulks->filling, err);
        if (result != MIG_E_TEMPORARY || !mig_pg_alive(node->pg))
            return result;
        mig_log(node->hooks, MIG_LOG_INFO,
                "node '%s': the band of originator %" PRIu32 " from %" PRId64
                " takes the slower way: %s",
                node->entry->name, node_originator_of(job->part), start,
                err ? err->message : "no locks in time");
        node->left_band = true;
    }
    bulks->has_slow = true;
    bulks->slow_start = start;
    return MIG_OK;
}

int node_bulk_take(struct mig_node *node, struct node_load_job *job, bool *ret_taken,
                   struct mig_error *err)
{
    struct node_bulks *bulks = &node->bulks[job->part->table];
    int64_t start = 0;
    const enum place place =
        job->part->settled && !job->part->followed ? place_of(job->part, &start) : SEVERAL_BANDS;
    int result = MIG_OK;

    *ret_taken = false;
    if (bulks->finishing && atomic_load(&bulks->finishing->ended))
        result = join_finishing(bulks, err);
    if (result == MIG_OK && bulks->filling && place != NO_ROWS &&
        (place == SEVERAL_BANDS || start != bulks->filling->band.start))
        result = start_finishing(bulks, err);
    if (result == MIG_OK && !bulks->filling && place == ONE_BAND)
        result = open_band(node, job, start, err);
    if (result != MIG_OK)
        return result;
    if (!bulks->filling)
        return join_finishing(bulks, err);
    if ((result = node_bulk_fill(bulks->filling, job, err)) != MIG_OK) {
        lose(bulks, bulks->filling->band.start);
        bulk_free(&bulks->filling);
        return result;
    }
    *ret_taken = true;
    return ends_band(job, bulks->filling->band.start) ? start_finishing(bulks, err) : MIG_OK;
}
