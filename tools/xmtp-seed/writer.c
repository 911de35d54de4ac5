/* Bytes put together by hand, MLS framing and protobuf alike: the seeder also has to write what no
 * encoder would. */
#include "tools/xmtp-seed/seed.h"

#include <string.h>

/* Room for size bytes more, or NULL once something has failed. */
static uint8_t *extend(struct seed_writer *writer, size_t size)
{
    uint8_t *room;

    if (writer->result != MIG_OK)
        return NULL;
    writer->result = mig_buffer_reserve(&writer->buffer, size, &writer->err);
    if (writer->result != MIG_OK)
        return NULL;
    room = writer->buffer.data + writer->buffer.size;
    writer->buffer.size += size;
    return room;
}

void seed_put(struct seed_writer *writer, const void *data, size_t size)
{
    uint8_t *room = extend(writer, size);

    if (room && size > 0)
        memcpy(room, data, size);
}

void seed_put_random(struct seed_writer *writer, struct seed_random *random, size_t size)
{
    uint8_t *room = extend(writer, size);

    if (room)
        seed_random_fill(random, room, size);
}

void seed_put_number(struct seed_writer *writer, uint64_t value, size_t size)
{
    uint8_t *room = extend(writer, size);

    for (size_t i = 0; room && i < size; i++)
        room[i] = (uint8_t) (value >> (8 * (size - 1 - i)));
}

void seed_put_length(struct seed_writer *writer, size_t size, bool wide)
{
    unsigned exponent = size < (1u << 6) ? 0 : size < (1u << 14) ? 1 : 2;

    if (wide)
        exponent++;
    seed_put_number(writer, ((uint64_t) exponent << (8u * (1u << exponent) - 2)) | size,
                    1u << exponent);
}

static size_t encode_varint(uint64_t value, uint8_t bytes[10])
{
    size_t size = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[size++] = (uint8_t) (value | 0x80);
    bytes[size++] = (uint8_t) value;
    return size;
}

static void put_varint(struct seed_writer *writer, uint64_t value)
{
    uint8_t bytes[10];

    seed_put(writer, bytes, encode_varint(value, bytes));
}

void seed_put_integer(struct seed_writer *writer, uint32_t field, uint64_t value)
{
    put_varint(writer, (uint64_t) field << 3);
    put_varint(writer, value);
}

static void put_delimited(struct seed_writer *writer, uint32_t field, size_t size)
{
    put_varint(writer, ((uint64_t) field << 3) | 2);
    put_varint(writer, size);
}

void seed_put_bytes(struct seed_writer *writer, uint32_t field, const void *data, size_t size)
{
    put_delimited(writer, field, size);
    seed_put(writer, data, size);
}

void seed_put_random_bytes(struct seed_writer *writer, uint32_t field, struct seed_random *random,
                           size_t size)
{
    put_delimited(writer, field, size);
    seed_put_random(writer, random, size);
}

void seed_put_message(struct seed_writer *writer, uint32_t field, size_t mark)
{
    uint8_t head[20];
    size_t head_size, body_size;

    if (writer->result != MIG_OK)
        return;
    body_size = writer->buffer.size - mark;
    head_size = encode_varint(((uint64_t) field << 3) | 2, head);
    head_size += encode_varint(body_size, head + head_size);
    if (!extend(writer, head_size))
        return;
    memmove(writer->buffer.data + mark + head_size, writer->buffer.data + mark, body_size);
    memcpy(writer->buffer.data + mark, head, head_size);
}

int seed_finish(struct seed_writer *writer, struct mig_arena *arena, struct mig_bytes *ret_bytes,
                struct mig_error *err)
{
    int result = writer->result;

    if (result == MIG_OK)
        result = mig_arena_copy(arena, mig_buffer_bytes(&writer->buffer), ret_bytes, err);
    else if (err)
        *err = writer->err;
    writer->buffer.size = 0;
    writer->result = MIG_OK;
    return result;
}
