/* Generated messages into bytes. */
#include "libmigrate/wire/wire_private.h"

ProtobufCBinaryData wire_binary(struct mig_bytes bytes)
{
    /* protobuf-c only reads what it packs. */
    return (ProtobufCBinaryData){bytes.size, (uint8_t *) (uintptr_t) bytes.data};
}

struct mig_bytes wire_bytes(ProtobufCBinaryData binary)
{
    return (struct mig_bytes){binary.data, binary.len};
}

int wire_pack(const ProtobufCMessage *message, struct mig_arena *arena, struct mig_bytes *ret_bytes,
              struct mig_error *err)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    void *memory;
    int result = mig_arena_alloc(arena, size, &memory, err);

    if (result != MIG_OK)
        return result;
    protobuf_c_message_pack(message, memory);
    *ret_bytes = (struct mig_bytes){memory, size};
    return MIG_OK;
}

int wire_append(const ProtobufCMessage *message, struct mig_buffer *buffer, struct mig_error *err)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    int result = mig_buffer_reserve(buffer, size, err);

    if (result != MIG_OK)
        return result;
    protobuf_c_message_pack(message, buffer->data + buffer->size);
    buffer->size += size;
    return MIG_OK;
}
