/* Generated messages into and out of arenas: the one place that talks to protobuf-c's runtime. */
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

struct unpack_memory {
    struct mig_arena *arena;
    bool exhausted;
};

static void *unpack_alloc(void *context, size_t size)
{
    struct unpack_memory *memory = context;
    void *piece = NULL;

    if (mig_arena_alloc(memory->arena, size, &piece, NULL) != MIG_OK)
        memory->exhausted = true;
    return piece;
}

static void unpack_free(void *context, void *piece)
{
    (void) context;
    (void) piece;
}

int wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes,
                const char *what, struct mig_arena *arena, ProtobufCMessage **ret_message,
                struct mig_error *err)
{
    struct unpack_memory memory = {arena, false};
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &memory};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, &allocator, bytes.size, bytes.data);

    if (memory.exhausted)
        return mig_fail(err, MIG_E_NOMEM, "cannot read %s of %zu bytes: out of memory", what,
                        bytes.size);
    if (!message)
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes are not %s", bytes.size, what);
    *ret_message = message;
    return MIG_OK;
}
