/* The parts of a band that goes the bulk path: rows into its two tables at the same time, letters
 * and books beside them. */
#include "libmigrate/node/bulk.h"

#include <inttypes.h>
#include <stdio.h>

static int put_meta(const struct node_bulk *bulk, const struct mig_envelope *envelope,
                    struct mig_error *err)
{
    struct mig_pg *pg = bulk->side->pg;
    int result;

    if ((result = mig_pg_put_row(pg, 6, err)) != MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->gateway_time_us - MIG_PG_EPOCH_US, err)) !=
            MIG_OK ||
        (result = mig_pg_put_int32(pg, (int32_t) bulk->band.originator, err)) != MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->sequence_id, err)) != MIG_OK ||
        (result = mig_pg_put_bytes(pg, envelope->topic, err)) != MIG_OK ||
        (result = mig_pg_put_int32(pg, bulk->side->payer_id, err)) != MIG_OK)
        return result;
    return mig_pg_put_int64(pg, envelope->expiry_unixtime, err);
}

static int put_blob(const struct node_bulk *bulk, const struct mig_envelope *envelope,
                    struct mig_error *err)
{
    struct mig_pg *pg = bulk->blob->pg;
    int result;

    if ((result = mig_pg_put_row(pg, 3, err)) != MIG_OK ||
        (result = mig_pg_put_int32(pg, (int32_t) bulk->band.originator, err)) != MIG_OK ||
        (result = mig_pg_put_int64(pg, envelope->sequence_id, err)) != MIG_OK)
        return result;
    return mig_pg_put_bytes(pg, envelope->originator_envelope, err);
}

/* What differs between the tables. */
struct copy_into {
    struct mig_pg *pg;
    const char *name, *columns, *options;
    int (*put)(const struct node_bulk *, const struct mig_envelope *, struct mig_error *);
};

static int begin_copy(const struct node_bulk *bulk, const struct copy_into *into,
                      struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql, "COPY " NODE_BULK_NAME " (%s) FROM STDIN (FORMAT binary%s)",
             into->name, bulk->band.originator, bulk->band.start, into->columns, into->options);
    return mig_pg_copy_in(into->pg, sql, err);
}

static int end_copy(const struct node_bulk *bulk, const struct copy_into *into, uint64_t sent,
                    struct mig_error *err)
{
    uint64_t arrived = 0;
    int result = mig_pg_copy_in_end(into->pg, &arrived, err);

    if (result == MIG_OK && arrived != sent)
        result =
            mig_fail(err, MIG_E_CORRUPT, "node '%s': %" PRIu64 " rows arrived in %s of %" PRIu64,
                     bulk->side->entry->name, arrived, into->name, sent);
    return result;
}

/* Row by row into both, so that both sessions' processes are at work at the same time. */
static int copy_part(const struct node_bulk *bulk, const struct mig_part *part, uint64_t *ret_rows,
                     struct mig_error *err)
{
    const struct copy_into tables[] = {
        {bulk->blob->pg, "blob", "originator_node_id, originator_sequence_id, originator_envelope",
         "", put_blob},
        {bulk->side->pg, "meta",
         "gateway_time, originator_node_id, originator_sequence_id, topic, payer_id, expiry",
         ", FREEZE", put_meta},
    };
    int result = MIG_OK;

    *ret_rows = 0;
    for (size_t i = 0; i < mig_count_of(tables) && result == MIG_OK; i++)
        result = begin_copy(bulk, &tables[i], err);
    for (size_t row = 0; row < part->row_count && result == MIG_OK; row++) {
        if (part->envelopes[row].route != MIG_ROUTE_NODE)
            continue;
        for (size_t i = 0; i < mig_count_of(tables) && result == MIG_OK; i++)
            result = tables[i].put(bulk, &part->envelopes[row], err);
        (*ret_rows)++;
    }
    for (size_t i = 0; i < mig_count_of(tables) && result == MIG_OK; i++)
        result = end_copy(bulk, &tables[i], *ret_rows, err);
    return result;
}

/* What the clock will show: the highest id, and the latest time of the rows that came with it. */
static void note_clock(struct node_bulk *bulk, const struct mig_part *part)
{
    bool first = true;

    for (size_t i = 0; i < part->row_count; i++) {
        const struct mig_envelope *envelope = &part->envelopes[i];

        if (envelope->route != MIG_ROUTE_NODE)
            continue;
        bulk->clock_id = envelope->sequence_id;
        if (first || envelope->gateway_time_us > bulk->clock_us)
            bulk->clock_us = envelope->gateway_time_us;
        first = false;
    }
}

int node_bulk_fill(struct node_bulk *bulk, struct node_load_job *job, struct mig_error *err)
{
    uint64_t rows = 0;
    int64_t tracked;
    int result = copy_part(bulk, job->part, &rows, err);

    job->counts.loaded = rows;
    job->counts.holes = node_rows_up_to(job->part, job->tracker);
    /* The letters of the part before are still there: they go with the transaction. */
    if (result != MIG_OK ||
        (result = mig_pg_exec(bulk->side->pg, "DELETE FROM mig_stage_letters", err)) != MIG_OK ||
        (result = node_store_letters(bulk->side, job->run, job->part, job->conflicts, false,
                                     err)) != MIG_OK ||
        (result = node_book_part(bulk->side, job->run, job->part, job->conflicts, job->digests,
                                 &job->counts, err)) != MIG_OK)
        return result;
    bulk->rows += rows;
    note_clock(bulk, job->part);
    if (node_last_row_of(job->part, &tracked)) {
        bulk->has_tracked = true;
        bulk->tracked_id = tracked;
    }
    return MIG_OK;
}
