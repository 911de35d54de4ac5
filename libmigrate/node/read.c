/* Reading a node's envelopes back, in the order of their ids and in short transactions. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COPY_ROWS 16384
enum { AT_ID, AT_TOPIC, AT_EXPIRY, AT_TIME, AT_PAYER, AT_ENVELOPE, FIELDS };

int mig_node_read_begin(struct mig_node *node, uint32_t originator, int64_t first_id,
                        int64_t last_id, struct mig_error *err)
{
    if (node->reading.copying)
        mig_pg_copy_abandon(node->pg);
    node->reading = (struct node_reading){.originator = originator,
                                          .next_id = first_id,
                                          .last_id = last_id,
                                          .ended = first_id > last_id};
    return mig_stop_check(node->stop, err);
}

/* Both tables are held to one page: whatever the planner takes the leaves for, no more than that is
 * read; and compared with each other by no loop. */
static int begin_copy(struct mig_node *node, struct mig_error *err)
{
    struct node_reading *reading = &node->reading;
    char sql[NODE_SQL_SIZE];
    int result =
        node_page_end(node, "gateway_envelopes_meta", reading->originator, reading->next_id,
                      reading->last_id, COPY_ROWS, &reading->page_last, &reading->more_pages, err);

    if (result != MIG_OK ||
        (result = mig_pg_exec(node->pg, "SET enable_nestloop = off", err)) != MIG_OK)
        return result;
    snprintf(sql, sizeof sql,
             "COPY (SELECT m.originator_sequence_id, m.topic, m.expiry, m.gateway_time, (SELECT"
             " address FROM payers p WHERE p.id = m.payer_id), b.originator_envelope"
             " FROM (SELECT * FROM gateway_envelopes_meta WHERE " NODE_IN_SPAN
             ") m LEFT JOIN (SELECT * FROM gateway_envelopes_blob WHERE " NODE_IN_SPAN
             ") b ON b.originator_sequence_id = m.originator_sequence_id"
             " ORDER BY m.originator_sequence_id) TO STDOUT (FORMAT binary)",
             reading->originator, reading->next_id, reading->page_last, reading->originator,
             reading->next_id, reading->page_last);
    result = mig_pg_copy_out(node->pg, sql, err);
    reading->copying = result == MIG_OK;
    reading->copied = 0;
    return result;
}

static int take_row(struct mig_node *node, const struct mig_pg_field *fields,
                    struct mig_node_row *ret_row, struct mig_error *err)
{
    struct mig_node_row row = {0};
    const struct mig_bytes payer = fields[AT_PAYER].bytes;
    int64_t pg_time;
    int result;

    if ((result = mig_pg_read_int(&fields[AT_ID], 8, &row.sequence_id, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[AT_EXPIRY], 8, &row.expiry, err)) != MIG_OK ||
        (result = mig_pg_read_int(&fields[AT_TIME], 8, &pg_time, err)) != MIG_OK)
        return mig_error_within(err, "node '%s'", node->entry->name);
    if (__builtin_add_overflow(pg_time, MIG_PG_EPOCH_US, &row.gateway_time_us))
        row.gateway_time_us = pg_time;
    row.topic = fields[AT_TOPIC].bytes;
    if (!fields[AT_PAYER].is_null && payer.size < sizeof row.payer)
        memcpy(row.payer, payer.data, payer.size);
    row.has_envelope = !fields[AT_ENVELOPE].is_null;
    row.originator_envelope = fields[AT_ENVELOPE].bytes;
    if (row.sequence_id < node->reading.next_id || row.sequence_id > node->reading.last_id)
        return mig_fail(err, MIG_E_CORRUPT, "node '%s': id %" PRId64 " came out of order",
                        node->entry->name, row.sequence_id);
    node->reading.copied++;
    *ret_row = row;
    return MIG_OK;
}

/* What is read next lies behind id; INT64_MAX has nothing behind it. */
static void move_on(struct node_reading *reading, int64_t id)
{
    if (id == INT64_MAX)
        reading->ended = true;
    else
        reading->next_id = id + 1;
}

static int end_copy(struct mig_node *node, uint64_t sent, struct mig_error *err)
{
    node->reading.copying = false;
    if (sent != node->reading.copied)
        return mig_fail(err, MIG_E_CORRUPT,
                        "node '%s': %" PRIu64 " rows arrived of %" PRIu64 " that the server sent",
                        node->entry->name, node->reading.copied, sent);
    move_on(&node->reading, node->reading.page_last);
    if (!node->reading.more_pages || node->reading.page_last == node->reading.last_id)
        node->reading.ended = true;
    return mig_pg_exec(node->pg, "RESET enable_nestloop", err);
}

int mig_node_read(struct mig_node *node, bool *ret_more, struct mig_node_row *ret_row,
                  struct mig_error *err)
{
    struct mig_pg_field fields[FIELDS];
    uint64_t sent;
    bool more;
    int result = MIG_OK;

    while (result == MIG_OK && (node->reading.copying || !node->reading.ended)) {
        if (!node->reading.copying && (result = begin_copy(node, err)) != MIG_OK)
            return result;
        if ((result = mig_pg_copy_next(node->pg, fields, FIELDS, &more, &sent, err)) != MIG_OK)
            return result;
        if (more) {
            if ((result = take_row(node, fields, ret_row, err)) == MIG_OK)
                move_on(&node->reading, ret_row->sequence_id);
            *ret_more = true;
            return result;
        }
        result = end_copy(node, sent, err);
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

/* The envelopes by a subquery: as a join, every envelope there is might be read for a few. */
static int ask_newest(struct mig_node *node, const struct mig_bytes *topics, size_t count,
                      uint32_t envelopes_from, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result;

    if ((result = mig_buffer_print(
             &sql, err,
             "COPY (SELECT t.place - 1, n.originator_node_id, n.originator_sequence_id, (SELECT"
             " count(*) FROM gateway_envelopes_meta e WHERE e.topic = t.topic AND e.gateway_time ="
             " n.gateway_time), CASE WHEN n.originator_node_id >= %" PRIu32 " THEN (SELECT"
             " b.originator_envelope FROM gateway_envelopes_blob b WHERE b.originator_node_id ="
             " n.originator_node_id AND b.originator_sequence_id = n.originator_sequence_id) END"
             " FROM unnest('{",
             envelopes_from)) != MIG_OK ||
        (result = list_topics(topics, count, &sql, err)) != MIG_OK ||
        (result = mig_buffer_print(
             &sql, err,
             "}'::bytea[]) WITH ORDINALITY AS t (topic, place) CROSS JOIN LATERAL (SELECT *"
             " FROM gateway_envelopes_meta m WHERE m.topic = t.topic ORDER BY m.gateway_time DESC"
             " LIMIT 1) AS n) TO STDOUT (FORMAT binary)")) != MIG_OK)
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

int mig_node_newest(struct mig_node *node, const struct mig_bytes *topics, size_t count,
                    uint32_t envelopes_from, struct mig_arena *arena, struct mig_newest *ret_newest,
                    struct mig_error *err)
{
    struct mig_pg_field fields[5];
    bool more = true;
    uint64_t sent;
    int result = ask_newest(node, topics, count, envelopes_from, err);

    memset(ret_newest, 0, count * sizeof *ret_newest);
    while (result == MIG_OK &&
           (result = mig_pg_copy_next(node->pg, fields, mig_count_of(fields), &more, &sent, err)) ==
               MIG_OK &&
           more)
        result = take_newest(fields, count, arena, ret_newest, err);
    return result;
}
