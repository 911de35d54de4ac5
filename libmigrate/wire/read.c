/*
 * Messages out of bytes, by their generated description: what protobuf-c reads, but nothing is
 * copied, because an envelope has five layers of bytes in bytes and each would be a copy of all
 * within. A known number in another wire type, and groups, are refused as protobuf-c does.
 */
#include "libmigrate/wire/wire_private.h"

#include <string.h>

#define FIELD_NUMBER_MAX ((UINT32_C(1) << 29) - 1)

struct reading {
    struct mig_arena *arena;
    bool exhausted;
};

bool wire_take_varint(struct mig_bytes *rest, uint64_t *ret_number)
{
    uint64_t number = 0;

    /* Nearly all tags, and most lengths. */
    if (rest->size > 0 && rest->data[0] < 0x80) {
        *ret_number = *rest->data++;
        rest->size--;
        return true;
    }
    for (unsigned i = 0; i < 10 && i < rest->size; i++) {
        const uint8_t byte = rest->data[i];

        if (i == 9 && byte > 1)
            return false;
        number |= (uint64_t) (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            rest->data += i + 1;
            rest->size -= i + 1;
            *ret_number = number;
            return true;
        }
    }
    return false;
}

bool wire_take_bytes(struct mig_bytes *rest, uint64_t size, struct mig_bytes *ret_taken)
{
    if (size > rest->size)
        return false;
    *ret_taken = (struct mig_bytes){rest->data, (size_t) size};
    rest->data += size;
    rest->size -= (size_t) size;
    return true;
}

bool wire_take_tag(struct mig_bytes *rest, uint32_t *ret_field, enum wire_type *ret_type)
{
    uint64_t tag;

    if (!wire_take_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX ||
        (tag & 7) > WIRE_FIXED32)
        return false;
    *ret_field = (uint32_t) (tag >> 3);
    *ret_type = (enum wire_type)(tag & 7);
    return true;
}

static void *take_memory(struct reading *reading, size_t size)
{
    void *memory = NULL;

    if (mig_arena_alloc(reading->arena, size, &memory, NULL) != MIG_OK)
        reading->exhausted = true;
    return memory;
}

static bool read_fields(struct reading *reading, const ProtobufCMessageDescriptor *descriptor,
                        struct mig_bytes bytes, ProtobufCMessage *message);

/* One that is there already takes what comes on top: so messages that come twice are merged. */
static bool read_inner(struct reading *reading, const ProtobufCMessageDescriptor *descriptor,
                       struct mig_bytes bytes, ProtobufCMessage **inner)
{
    if (!*inner) {
        *inner = take_memory(reading, descriptor->sizeof_message);
        if (!*inner)
            return false;
        protobuf_c_message_init(descriptor, *inner);
    }
    return read_fields(reading, descriptor, bytes, *inner);
}

static bool read_text(struct reading *reading, struct mig_bytes bytes, char **ret_text)
{
    char *text = take_memory(reading, bytes.size + 1);

    if (!text)
        return false;
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    *ret_text = text;
    return true;
}

static bool read_content(struct reading *reading, const ProtobufCFieldDescriptor *field,
                         struct mig_bytes content, void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *) member = wire_binary(content);
        return true;
    case PROTOBUF_C_TYPE_STRING:
        return read_text(reading, content, member);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_inner(reading, field->descriptor, content, member);
    default:
        return false;
    }
}

static bool read_number(const ProtobufCFieldDescriptor *field, uint64_t number, void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *) member = (uint32_t) number;
        return true;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        *(uint64_t *) member = number;
        return true;
    case PROTOBUF_C_TYPE_SINT64:
        *(uint64_t *) member = (number >> 1) ^ (0 - (number & 1));
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *) member = number != 0;
        return true;
    default:
        return false;
    }
}

/* The place for one more of a repeated field, zeroed. Only pointers are repeated in our messages;
 * the list doubles whenever their number is a power of two. */
static void *add_place(struct reading *reading, const ProtobufCFieldDescriptor *field,
                       uint8_t *message)
{
    size_t *count = (size_t *) (void *) (message + field->quantifier_offset);
    void ***list = (void ***) (void *) (message + field->offset);

    if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING)
        return NULL;
    if ((*count & (*count - 1)) == 0) {
        void **longer = take_memory(reading, 2 * (*count + 1) * sizeof *longer);

        if (!longer)
            return NULL;
        if (*count > 0)
            memcpy(longer, *list, *count * sizeof *longer);
        *list = longer;
    }
    (*list)[*count] = NULL;
    return &(*list)[(*count)++];
}

/* Where the value goes. Another member of a oneof, or an earlier value of this one, is gone. */
static void *find_place(struct reading *reading, const ProtobufCFieldDescriptor *field,
                        uint8_t *message)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return add_place(reading, field, message);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        *(uint32_t *) (void *) (message + field->quantifier_offset) = field->id;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            *(void **) (void *) (message + field->offset) = NULL;
    } else if (field->quantifier_offset) {
        *(protobuf_c_boolean *) (void *) (message + field->quantifier_offset) = 1;
    }
    return message + field->offset;
}

static bool read_field(struct reading *reading, const ProtobufCFieldDescriptor *field,
                       enum wire_type type, struct mig_bytes *rest, ProtobufCMessage *message)
{
    struct mig_bytes content = {0};
    uint64_t number = 0;
    void *place;

    if ((type == WIRE_VARINT || type == WIRE_LENGTH) && !wire_take_varint(rest, &number))
        return false;
    if (type == WIRE_LENGTH && !wire_take_bytes(rest, number, &content))
        return false;
    if ((type == WIRE_FIXED64 && !wire_take_bytes(rest, 8, &content)) ||
        (type == WIRE_FIXED32 && !wire_take_bytes(rest, 4, &content)) || type == WIRE_GROUP_START ||
        type == WIRE_GROUP_END)
        return false;
    if (!field)
        return true;
    place = find_place(reading, field, (uint8_t *) message);
    if (!place)
        return false;
    return type == WIRE_LENGTH   ? read_content(reading, field, content, place)
           : type == WIRE_VARINT ? read_number(field, number, place)
                                 : false;
}

/* Fields mostly come in their order: the next one is looked for where it is then. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  uint32_t number, size_t *next)
{
    const ProtobufCFieldDescriptor *field = &descriptor->fields[*next];

    if (*next >= descriptor->n_fields || field->id != number)
        field = protobuf_c_message_descriptor_get_field(descriptor, number);
    if (field)
        *next = (size_t) (field - descriptor->fields) + 1;
    return field;
}

static bool read_fields(struct reading *reading, const ProtobufCMessageDescriptor *descriptor,
                        struct mig_bytes bytes, ProtobufCMessage *message)
{
    size_t next = 0;

    while (bytes.size > 0) {
        uint32_t number;
        enum wire_type type;

        if (!wire_take_tag(&bytes, &number, &type) ||
            !read_field(reading, find_field(descriptor, number, &next), type, &bytes, message))
            return false;
    }
    return true;
}

int wire_read(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes,
              const char *what, struct mig_arena *arena, ProtobufCMessage **ret_message,
              struct mig_error *err)
{
    struct reading reading = {arena, false};
    ProtobufCMessage *message = NULL;
    const bool read = read_inner(&reading, descriptor, bytes, &message);

    if (reading.exhausted)
        return mig_fail(err, MIG_E_NOMEM, "cannot read %s of %zu bytes: out of memory", what,
                        bytes.size);
    if (!read)
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes are not %s", bytes.size, what);
    *ret_message = message;
    return MIG_OK;
}
