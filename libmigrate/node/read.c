/* Reading a node's envelopes back, in the order of their ids and in short transactions. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A page's meta rows are held while its envelopes come beside them: the server orders each table by
 * its index, and joins nothing. */
#define PAGE_ROWS 16384
enum { META_ID, META_TOPIC, META_EXPIRY, META_TIME, META_PAYER_ID, META_PAYER, META_FIELDS };
enum { BLOB_ID, BLOB_ENVELOPE, BLOB_FIELDS };

void node_reading_release(struct node_reading *reading)
{
    mig_arena_release(&reading->arena);
    free(reading->rows);
}

int mig_node_read_begin(struct mig_node *node, uint32_t originator, int64_t first_id,
                        int64_t last_id, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;

    if (reading->in_page)
        mig_pg_rollback(node->pg);
    *reading = (struct node_reading){.originator = originator,
                                     .next_id = first_id,
                                     .last_id = last_id,
                                     .ended = first_id > last_id,
                                     .arena = reading->arena,
                                     .rows = reading->rows,
                                     .payer = reading->payer};
    if (!reading->rows && !(reading->rows = calloc(PAGE_ROWS, sizeof *reading->rows)))
        return mig_fail(err, MIG_E_NOMEM, "node '%s': cannot hold %d rows: out of memory",
                        node->entry->name, PAGE_ROWS);
    return mig_stop_check(node->stop, err);
}

/* ---- a page's rows of one table ------------------------------------------------------------- */

/* Merging relies on the order. */
static int take_id(const struct mig_node *node, const struct mig_pg_field *field, int64_t page_last,
                   const int64_t *before, int64_t *ret_id, struct mig_error *err)
{
    int64_t id;
    int result = mig_pg_read_int(field, 8, &id, err);

    if (result != MIG_OK)
        return mig_error_within(err, "node '%s'", node->entry->name);
    if (id < node->reading.next_id || id > page_last || (before && id <= *before))
        return mig_fail(err, MIG_E_CORRUPT, "node '%s': id %" PRId64 " came out of order",
                        node->entry->name, id);
    *ret_id = id;
    return MIG_OK;
}

static int check_sent(const struct mig_node *node, uint64_t arrived, uint64_t sent,
                      struct mig_error *err)
{
    return arrived == sent
               ? MIG_OK
               : mig_fail(err, MIG_E_CORRUPT,
                          "node '%s': %" PRIu64 " rows arrived of %" PRIu64 " that the server sent",
                          node->entry->name, arrived, sent);
}

/* One payer stands in nearly all rows: whose address is known is not looked up for each of them. */
static int take_payer(const struct mig_pg_field *fields, struct node_payer *last,
                      const struct node_payer *known, char ret_address[MIG_ADDRESS_TEXT_SIZE],
                      struct mig_error *err)
{
    const struct mig_bytes address = fields[META_PAYER].bytes;
    struct node_payer payer = {.known = true};
    int result;

    if (fields[META_PAYER_ID].is_null)
        return MIG_OK;
    if ((result = mig_pg_read_int(&fields[META_PAYER_ID], 4, &payer.id, err)) != MIG_OK)
        return result;
    if (known->known && known->id == payer.id)
        payer = *known;
    else if (!fields[META_PAYER].is_null && address.size < sizeof payer.address)
        memcpy(payer.address, address.data, address.size);
    memcpy(ret_address, payer.address, sizeof payer.address);
    *last = payer;
    return MIG_OK;
}

static int take_meta(struct mig_node *node, const struct mig_pg_field *fields, int64_t page_last,
                     struct node_payer *last_payer, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    struct mig_node_row row = {0};
    int64_t pg_time;
    int result = take_id(node, &fields[META_ID], page_last,
                         reading->count > 0 ? &reading->rows[reading->count - 1].sequence_id : NULL,
                         &row.sequence_id, err);

    if (result != MIG_OK)
        return result;
    if ((result = mig_pg_read_int(&fields[META_EXPIRY], 8, &row.expiry, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[META_TIME], 8, &pg_time, err)) != MIG_OK ||
        (result = take_payer(fields, last_payer, &reading->payer, row.payer, err)) != MIG_OK ||
        (result = mig_arena_copy(&reading->arena, fields[META_TOPIC].bytes, &row.topic, err)) !=
            MIG_OK)
        return mig_error_within(err, "node '%s'", node->entry->name);
    if (__builtin_add_overflow(pg_time, MIG_PG_EPOCH_US, &row.gateway_time_us))
        row.gateway_time_us = pg_time;
    reading->rows[reading->count++] = row;
    return MIG_OK;
}

static int read_meta(struct mig_node *node, int64_t page_last, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    struct node_payer last_payer = reading->payer;
    struct mig_pg_field fields[META_FIELDS];
    char sql[NODE_SQL_SIZE], payer[NODE_NUMBER_SIZE];
    uint64_t sent = 0;
    bool more = true;
    int result;

    snprintf(sql, sizeof sql,
             "COPY (SELECT originator_sequence_id, topic, expiry, gateway_time, payer_id, CASE WHEN"
             " payer_id IS DISTINCT FROM %s THEN (SELECT address FROM payers p WHERE p.id ="
             " m.payer_id) END FROM gateway_envelopes_meta m WHERE " NODE_IN_SPAN
             " ORDER BY originator_sequence_id LIMIT %d) TO STDOUT (FORMAT binary)",
             reading->payer.known ? node_number(reading->payer.id, payer) : "NULL",
             reading->originator, reading->next_id, page_last, PAGE_ROWS);
    mig_arena_reset(&reading->arena);
    reading->count = reading->next = 0;
    if ((result = mig_pg_copy_out(node->pg, sql, err)) != MIG_OK)
        return result;
    while (more) {
        if ((result = mig_pg_copy_next(node->pg, fields, META_FIELDS, &more, &sent, err)) != MIG_OK)
            return result;
        if (more && reading->count == PAGE_ROWS)
            return mig_fail(err, MIG_E_CORRUPT, "node '%s': more than %d rows came for a page",
                            node->entry->name, PAGE_ROWS);
        if (more && (result = take_meta(node, fields, page_last, &last_payer, err)) != MIG_OK)
            return result;
    }
    reading->payer = last_payer;
    return check_sent(node, reading->count, sent, err);
}

static int begin_blobs(struct mig_node *node, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "COPY (SELECT originator_sequence_id, originator_envelope FROM gateway_envelopes_blob"
             " WHERE " NODE_IN_SPAN " ORDER BY originator_sequence_id) TO STDOUT (FORMAT binary)",
             reading->originator, reading->next_id, reading->page_last);
    result = mig_pg_copy_out(node->pg, sql, err);
    reading->wants_blob = result == MIG_OK;
    reading->has_blob = false;
    reading->blobs = 0;
    return result;
}

static int next_blob(struct mig_node *node, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    struct mig_pg_field fields[BLOB_FIELDS];
    uint64_t sent = 0;
    int result = mig_pg_copy_next(node->pg, fields, BLOB_FIELDS, &reading->has_blob, &sent, err);

    if (result != MIG_OK)
        return result;
    reading->wants_blob = false;
    if (!reading->has_blob)
        return check_sent(node, reading->blobs, sent, err);
    reading->envelope = fields[BLOB_ENVELOPE].bytes;
    return take_id(node, &fields[BLOB_ID], reading->page_last,
                   reading->blobs++ > 0 ? &reading->blob_id : NULL, &reading->blob_id, err);
}

/* ---- pages -------------------------------------------------------------------------------- */

/* While rows lie close together no more than their own band is named: a statement locks and plans
 * all that it may look into, of the hundreds that a node may have. */
static int64_t page_limit(const struct node_reading *reading)
{
    int64_t end;

    if (!reading->close || reading->next_id < 0 ||
        __builtin_add_overflow(node_band_start(reading->next_id), MIG_BAND_WIDTH - 1, &end))
        return reading->last_id;
    return end < reading->last_id ? end : reading->last_id;
}

/* Both tables as of one moment: what is deleted in between must not pass for half a row. And read
 * off their indexes: of leaves that are not yet analyzed the planner would rather read and sort all
 * that is left, for every page. */
static int begin_page(struct mig_node *node, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    const int64_t limit = page_limit(reading);
    int result = mig_pg_exec(node->pg,
                             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                             "SET LOCAL enable_sort = off",
                             err);

    reading->in_page = true;
    if (result != MIG_OK || (result = read_meta(node, limit, err)) != MIG_OK)
        return result;
    reading->close = reading->count == PAGE_ROWS;
    reading->page_last = reading->close ? reading->rows[PAGE_ROWS - 1].sequence_id : limit;
    return begin_blobs(node, err);
}

static int end_page(struct mig_node *node, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;

    reading->in_page = false;
    reading->ended = reading->page_last == reading->last_id;
    if (!reading->ended)
        reading->next_id = reading->page_last + 1;
    return mig_pg_commit(node->pg, err);
}

/* The lower of what both tables have next, or both when it is the same id. */
static void give_row(struct node_reading *reading, struct mig_node_row *ret_row)
{
    struct mig_node_row row = {.sequence_id = reading->blob_id, .lacks_meta = true};

    if (reading->next < reading->count &&
        (!reading->has_blob || reading->rows[reading->next].sequence_id <= reading->blob_id))
        row = reading->rows[reading->next++];

    row.has_envelope = reading->has_blob && reading->blob_id == row.sequence_id;
    if (row.has_envelope)
        row.originator_envelope = reading->envelope;
    reading->wants_blob = row.has_envelope;
    *ret_row = row;
}

int mig_node_read(struct mig_node *node, bool *ret_more, struct mig_node_row *ret_row,
                  struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    int result = MIG_OK;

    while (result == MIG_OK && (reading->in_page || !reading->ended)) {
        if (!reading->in_page)
            result = begin_page(node, err);
        if (result == MIG_OK && reading->wants_blob)
            result = next_blob(node, err);
        if (result != MIG_OK)
            return result;
        if (reading->next < reading->count || reading->has_blob) {
            give_row(reading, ret_row);
            *ret_more = true;
            return MIG_OK;
        }
        result = end_page(node, err);
    }
    *ret_more = false;
    return result;
}

int mig_node_clock(struct mig_node *node, uint32_t originator, bool *ret_has_clock,
                   int64_t *ret_clock, bool *ret_has_rows, int64_t *ret_highest,
                   struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char number[NODE_NUMBER_SIZE];
    int result =
        mig_pg_query(node->pg,
                     "SELECT (SELECT originator_sequence_id FROM gateway_envelopes_latest WHERE"
                     " originator_node_id = $1::int), (SELECT max(originator_sequence_id) FROM"
                     " gateway_envelopes_meta WHERE originator_node_id = $1::int)",
                     (const char *const[]){node_number(originator, number)}, 1, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_has_clock = mig_pg_text(&answer, 0, 0) != NULL;
    *ret_clock = *ret_has_clock ? mig_pg_int64(&answer, 0, 0) : 0;
    *ret_has_rows = mig_pg_text(&answer, 0, 1) != NULL;
    *ret_highest = *ret_has_rows ? mig_pg_int64(&answer, 0, 1) : 0;
    return MIG_OK;
}

static int list_topics(const struct mig_bytes *topics, size_t count, struct mig_buffer *list,
                       struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < count && result == MIG_OK; i++) {
        if ((result = mig_buffer_print(list, err, "%s\"\\\\x", i ? "," : "")) != MIG_OK ||
            (result = mig_buffer_reserve(list, 2 * topics[i].size + 1, err)) != MIG_OK)
            return result;
        mig_hex_encode(topics[i], (char *) list->data + list->size);
        list->size += 2 * topics[i].size;
        result = mig_buffer_print(list, err, "\"");
    }
    return result;
}

/* The envelopes by a subquery: as a join, every envelope there is might be read for a few. And who
 * shares the time is counted only where the second newest does. */
int mig_node_newest_ask(struct mig_node *node, const struct mig_bytes *topics, size_t count,
                        uint32_t envelopes_from, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result;

    if ((result = mig_buffer_print(
             &sql, err,
             "COPY (SELECT t.place - 1, n.originator_node_id, n.originator_sequence_id,"
             " CASE WHEN n.gateway_time = n.next_time THEN (SELECT count(*) FROM"
             " gateway_envelopes_meta e WHERE e.topic = t.topic AND e.gateway_time ="
             " n.gateway_time) ELSE 1 END, CASE WHEN n.originator_node_id >= %" PRIu32
             " THEN (SELECT b.originator_envelope FROM gateway_envelopes_blob b WHERE"
             " b.originator_node_id = n.originator_node_id AND b.originator_sequence_id ="
             " n.originator_sequence_id) END FROM unnest('{",
             envelopes_from)) != MIG_OK ||
        (result = list_topics(topics, count, &sql, err)) != MIG_OK ||
        (result = mig_buffer_print(
             &sql, err,
             "}'::bytea[]) WITH ORDINALITY AS t (topic, place) CROSS JOIN LATERAL (SELECT *,"
             " lead(gateway_time) OVER (ORDER BY gateway_time DESC) AS next_time FROM (SELECT"
             " originator_node_id, originator_sequence_id, gateway_time FROM"
             " gateway_envelopes_meta m WHERE m.topic = t.topic ORDER BY m.gateway_time DESC"
             " LIMIT 2) AS two ORDER BY gateway_time DESC LIMIT 1) AS n)"
             " TO STDOUT (FORMAT binary)")) != MIG_OK)
        return result;
    return mig_pg_copy_out(node->pg, (const char *) sql.data, err);
}

static int take_newest(const struct mig_pg_field *fields, size_t count, struct mig_arena *arena,
                       struct mig_newest *newest, struct mig_error *err)
{
    int64_t place, originator;
    struct mig_newest one = {0};
    int result;

    if ((result = mig_pg_read_int(&fields[0], 8, &place, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[1], 4, &originator, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[2], 8, &one.sequence_id, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[3], 8, &one.ties, err)) != MIG_OK)
        return result;
    one.originator = (uint32_t) originator;
    if (!fields[4].is_null)
        result = mig_arena_copy(arena, fields[4].bytes, &one.envelope, err);
    if (result == MIG_OK && place >= 0 && (uint64_t) place < count)
        newest[place] = one;
    return result;
}

int mig_node_newest_take(struct mig_node *node, size_t count, struct mig_arena *arena,
                         struct mig_newest *ret_newest, struct mig_error *err)
{
    struct mig_pg_field fields[5];
    bool more = true;
    uint64_t sent;
    int result = MIG_OK;

    memset(ret_newest, 0, count * sizeof *ret_newest);
    while (result == MIG_OK &&
           (result = mig_pg_copy_next(node->pg, fields, mig_count_of(fields), &more, &sent, err)) ==
               MIG_OK &&
           more)
        result = take_newest(fields, count, arena, ret_newest, err);
    return result;
}
