/* Binary COPY: rows out of a server field by field, and into one. */
#include "libmigrate/base/fault.h"
#include "libmigrate/pg/pg_private.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static const char signature[11] = "PGCOPY\n\377\r\n";
#define HEAD_SIZE 19 /* signature, flags, length of the extension */
#define SEND_SIZE ((size_t) 128 << 10)

static int start(struct mig_pg *pg, const char *sql, ExecStatusType expected, enum pg_copy copy,
                 struct mig_error *err)
{
    mig_cleanup(pg_clear) PGresult *answer = NULL;
    int result;

    pg_ask(pg);
    if (pg->lost || MIG_FAULT_CUT(QUERY, PQsocket(pg->connection)) ||
        !PQsendQuery(pg->connection, sql))
        return pg_fail(pg, NULL, err);
    result = pg_next_result(pg, &answer, err);
    if (result != MIG_OK) {
        if (result != MIG_E_CANCELLED)
            pg_drain(pg, NULL);
        return result;
    }
    if (!answer || PQresultStatus(answer) != expected)
        return mig_fail(err, MIG_E_DATABASE, "%s: COPY did not begin", pg->subject);
    pg->copy = copy;
    pg->copy_started = false;
    pg->pending.size = 0;
    return MIG_OK;
}

/* ---- out ---------------------------------------------------------------------------------- */

int mig_pg_copy_out(struct mig_pg *pg, const char *sql, struct mig_error *err)
{
    return start(pg, sql, PGRES_COPY_OUT, PG_COPY_OUT, err);
}

static int stream_broken(struct mig_pg *pg, struct mig_error *err)
{
    return mig_fail(err, MIG_E_CORRUPT, "%s (%s): the COPY stream is not what its format says",
                    pg->subject, pg->place);
}

/* The next message of the stream; *ret_size is 0 at its end. */
static int next_message(struct mig_pg *pg, size_t *ret_size, struct mig_error *err)
{
    int result;

    PQfreemem(pg->copy_row);
    pg->copy_row = NULL;
    for (;;) {
        const int size = PQgetCopyData(pg->connection, &pg->copy_row, 1);

        if (size > 0) {
            if (MIG_FAULT_CUT(COPY_RECEIVED, PQsocket(pg->connection)))
                return pg_fail(pg, NULL, err);
            *ret_size = (size_t) size;
            return MIG_OK;
        }
        if (size == -1) {
            *ret_size = 0;
            return MIG_OK;
        }
        if (size == -2)
            return pg_fail(pg, NULL, err);
        if ((result = pg_wait(pg, false, err)) != MIG_OK)
            return result;
        if (!pg_take_in(pg))
            return pg_fail(pg, NULL, err);
    }
}

/* The end of the stream: the server's verdict on the statement, with its own count. */
static int finish(struct mig_pg *pg, uint64_t *ret_rows, struct mig_error *err)
{
    mig_cleanup(pg_clear) PGresult *answer = NULL;
    int result;

    pg->copy = PG_COPY_NONE;
    result = pg_next_result(pg, &answer, err);
    if (result != MIG_OK) {
        if (result != MIG_E_CANCELLED)
            pg_drain(pg, NULL);
        return result;
    }
    *ret_rows = strtoull(answer ? PQcmdTuples(answer) : "0", NULL, 10);
    return pg_drain(pg, err);
}

static uint16_t read_uint16(const char *bytes)
{
    uint16_t number;

    memcpy(&number, bytes, sizeof number);
    return be16toh(number);
}

static uint32_t read_uint32(const char *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof number);
    return be32toh(number);
}

static bool read_fields(const char *at, size_t left, struct mig_pg_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t size;

        if (left < 4)
            return false;
        size = read_uint32(at);
        at += 4;
        left -= 4;
        fields[i] = (struct mig_pg_field){.is_null = size == UINT32_MAX};
        if (fields[i].is_null)
            continue;
        if (size > left)
            return false;
        fields[i].bytes = (struct mig_bytes){(const uint8_t *) at, size};
        at += size;
        left -= size;
    }
    return left == 0;
}

/* Without its trailer the stream has no end of its own: the server says why. */
static int end_early(struct mig_pg *pg, struct mig_error *err)
{
    uint64_t rows;
    int result = finish(pg, &rows, err);

    return result == MIG_OK ? stream_broken(pg, err) : result;
}

int mig_pg_copy_next(struct mig_pg *pg, struct mig_pg_field *fields, size_t count, bool *ret_more,
                     uint64_t *ret_rows, struct mig_error *err)
{
    const char *at;
    size_t size;
    int result = next_message(pg, &size, err);

    if (result != MIG_OK)
        return result;
    at = pg->copy_row;
    if (!pg->copy_started && size > 0) {
        if (size < HEAD_SIZE || memcmp(at, signature, sizeof signature) != 0 ||
            read_uint32(at + HEAD_SIZE - 4) != 0)
            return stream_broken(pg, err);
        pg->copy_started = true;
        at += HEAD_SIZE;
        size -= HEAD_SIZE;
        /* Servers send the head alone or in front of the first row. */
        if (size == 0)
            return mig_pg_copy_next(pg, fields, count, ret_more, ret_rows, err);
    }
    if (size == 0)
        return end_early(pg, err);
    if (size == 2 && read_uint16(at) == UINT16_MAX) {
        if ((result = next_message(pg, &size, err)) != MIG_OK)
            return result;
        if (size != 0)
            return stream_broken(pg, err);
        *ret_more = false;
        return finish(pg, ret_rows, err);
    }
    if (size < 2 || read_uint16(at) != count || !read_fields(at + 2, size - 2, fields, count))
        return stream_broken(pg, err);
    *ret_more = true;
    return MIG_OK;
}

void mig_pg_copy_abandon(struct mig_pg *pg)
{
    const bool leaving = pg_leave(pg);
    size_t size = 1;

    if (!mig_pg_alive(pg)) {
        pg->copy = PG_COPY_NONE;
    } else if (pg->copy == PG_COPY_OUT) {
        pg_cancel(pg);
        while (next_message(pg, &size, NULL) == MIG_OK && size > 0)
            continue;
    } else if (pg->copy == PG_COPY_IN) {
        PQputCopyEnd(pg->connection, "given up");
    }
    if (pg->copy != PG_COPY_NONE)
        pg_drain(pg, NULL);
    pg->copy = PG_COPY_NONE;
    pg->leaving = leaving;
}

int mig_pg_read_int(const struct mig_pg_field *field, size_t size, int64_t *ret_value,
                    struct mig_error *err)
{
    uint64_t number = 0;

    if (field->is_null || field->bytes.size != size || size == 0 || size > 8)
        return mig_fail(err, MIG_E_CORRUPT, "a number of %zu bytes where %zu belong",
                        field->bytes.size, size);
    /* Start from the sign, so that shorter numbers keep theirs. */
    number = field->bytes.data[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | field->bytes.data[i];
    *ret_value = (int64_t) number;
    return MIG_OK;
}

/* ---- in ----------------------------------------------------------------------------------- */

int mig_pg_copy_in(struct mig_pg *pg, const char *sql, struct mig_error *err)
{
    static const char nothing[8] = {0};
    int result = start(pg, sql, PGRES_COPY_IN, PG_COPY_IN, err);

    pg->copy_binary = true;
    if (result == MIG_OK)
        result = mig_buffer_append(&pg->pending, signature, sizeof signature, err);
    return result == MIG_OK ? mig_buffer_append(&pg->pending, nothing, sizeof nothing, err)
                            : result;
}

int mig_pg_copy_in_text(struct mig_pg *pg, const char *sql, struct mig_error *err)
{
    pg->copy_binary = false;
    return start(pg, sql, PGRES_COPY_IN, PG_COPY_IN, err);
}

static int send_bytes(struct mig_pg *pg, const char *bytes, size_t size, struct mig_error *err)
{
    int result = MIG_OK;

    while (size > 0 && result == MIG_OK) {
        const int piece = size > SEND_SIZE ? (int) SEND_SIZE : (int) size;
        int sent;

        if (MIG_FAULT_CUT(COPY_SENT, PQsocket(pg->connection)) ||
            (sent = PQputCopyData(pg->connection, bytes, piece)) < 0)
            return pg_fail(pg, NULL, err);
        if (sent > 0) {
            bytes += piece;
            size -= (size_t) piece;
        }
        result = pg_flush(pg, err);
    }
    return result;
}

static int send_pending(struct mig_pg *pg, struct mig_error *err)
{
    int result = send_bytes(pg, (const char *) pg->pending.data, pg->pending.size, err);

    pg->pending.size = 0;
    return result;
}

int mig_pg_put_raw(struct mig_pg *pg, struct mig_bytes bytes, struct mig_error *err)
{
    int result;

    if (bytes.size >= SEND_SIZE) {
        result = send_pending(pg, err);
        return result == MIG_OK ? send_bytes(pg, (const char *) bytes.data, bytes.size, err)
                                : result;
    }
    result = mig_buffer_append(&pg->pending, bytes.data, bytes.size, err);
    if (result == MIG_OK && pg->pending.size >= SEND_SIZE)
        result = send_pending(pg, err);
    return result;
}

static int put_number(struct mig_pg *pg, uint64_t number, size_t size, struct mig_error *err)
{
    const uint64_t big_endian = htobe64(number << (64 - 8 * size));

    return mig_buffer_append(&pg->pending, &big_endian, size, err);
}

static int put_sized_number(struct mig_pg *pg, uint64_t number, size_t size, struct mig_error *err)
{
    int result = put_number(pg, size, 4, err);

    return result == MIG_OK ? put_number(pg, number, size, err) : result;
}

int mig_pg_put_row(struct mig_pg *pg, uint16_t fields, struct mig_error *err)
{
    int result = pg->pending.size >= SEND_SIZE ? send_pending(pg, err) : MIG_OK;

    return result == MIG_OK ? put_number(pg, fields, 2, err) : result;
}

int mig_pg_put_null(struct mig_pg *pg, struct mig_error *err)
{
    return put_number(pg, UINT32_MAX, 4, err);
}

int mig_pg_put_int16(struct mig_pg *pg, int16_t value, struct mig_error *err)
{
    return put_sized_number(pg, (uint16_t) value, 2, err);
}

int mig_pg_put_int32(struct mig_pg *pg, int32_t value, struct mig_error *err)
{
    return put_sized_number(pg, (uint32_t) value, 4, err);
}

int mig_pg_put_int64(struct mig_pg *pg, int64_t value, struct mig_error *err)
{
    return put_sized_number(pg, (uint64_t) value, 8, err);
}

int mig_pg_put_bool(struct mig_pg *pg, bool value, struct mig_error *err)
{
    return put_sized_number(pg, value, 1, err);
}

int mig_pg_put_bytes(struct mig_pg *pg, struct mig_bytes bytes, struct mig_error *err)
{
    int result;

    if (bytes.size > INT32_MAX)
        return mig_fail(err, MIG_E_CORRUPT,
                        "%s: a value of %zu bytes is more than a database holds", pg->subject,
                        bytes.size);
    result = put_number(pg, bytes.size, 4, err);
    return result == MIG_OK ? mig_pg_put_raw(pg, bytes, err) : result;
}

int mig_pg_copy_in_end(struct mig_pg *pg, uint64_t *ret_rows, struct mig_error *err)
{
    int result = MIG_OK, ended;

    if (pg->copy_binary)
        result = put_number(pg, UINT16_MAX, 2, err);
    if (result == MIG_OK)
        result = send_pending(pg, err);
    if (result == MIG_OK && MIG_FAULT_CUT(COPY_SENT, PQsocket(pg->connection)))
        return pg_fail(pg, NULL, err);
    while (result == MIG_OK && (ended = PQputCopyEnd(pg->connection, NULL)) != 1) {
        if (ended < 0)
            return pg_fail(pg, NULL, err);
        result = pg_wait(pg, true, err);
    }
    if (result != MIG_OK)
        return result;
    return finish(pg, ret_rows, err);
}
