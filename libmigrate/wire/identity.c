/*
 * Whether bytes are a well-formed identity update. protobuf-c drops nothing but it neither checks
 * UTF-8 nor lets a known number pass in another wire type, both of which the network's own reader
 * does; so the bytes are walked here, by the generated description of the messages.
 */
#include "libmigrate/wire/wire.h"

#include "identity.pb-c.h"

#include <protobuf-c/protobuf-c.h>

enum wire_type { VARINT, FIXED64, LENGTH, GROUP_START, GROUP_END, FIXED32 };

#define FIELD_NUMBER_MAX ((UINT32_C(1) << 29) - 1)
#define GROUP_DEPTH_MAX 10000 /* as far as the network's own reader goes */

static bool take_varint(struct mig_bytes *rest, uint64_t *ret_number)
{
    uint64_t number = 0;

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

static bool take_bytes(struct mig_bytes *rest, uint64_t size, struct mig_bytes *ret_taken)
{
    if (size > rest->size)
        return false;
    *ret_taken = (struct mig_bytes){rest->data, (size_t) size};
    rest->data += size;
    rest->size -= (size_t) size;
    return true;
}

static bool take_tag(struct mig_bytes *rest, uint32_t *ret_field, enum wire_type *ret_type)
{
    uint64_t tag;

    if (!take_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX ||
        (tag & 7) > FIXED32)
        return false;
    *ret_field = (uint32_t) (tag >> 3);
    *ret_type = (enum wire_type)(tag & 7);
    return true;
}

/* Takes a field's value. Of a length-delimited one *ret_value is the content; of others it is
 * empty. Groups are obsolete but legal, as unknown fields. */
static bool take_value(struct mig_bytes *rest, uint32_t field, enum wire_type type, unsigned depth,
                       struct mig_bytes *ret_value)
{
    uint64_t number;

    *ret_value = (struct mig_bytes){0};
    switch (type) {
    case VARINT:
        return take_varint(rest, &number);
    case FIXED64:
        return take_bytes(rest, 8, &(struct mig_bytes){0});
    case FIXED32:
        return take_bytes(rest, 4, &(struct mig_bytes){0});
    case LENGTH:
        return take_varint(rest, &number) && take_bytes(rest, number, ret_value);
    case GROUP_START:
        while (depth < GROUP_DEPTH_MAX) {
            uint32_t inner_field;
            enum wire_type inner_type;
            struct mig_bytes inner;

            if (!take_tag(rest, &inner_field, &inner_type))
                return false;
            if (inner_type == GROUP_END)
                return inner_field == field;
            if (!take_value(rest, inner_field, inner_type, depth + 1, &inner))
                return false;
        }
        return false;
    case GROUP_END:
        break;
    }
    return false;
}

static bool is_utf8(struct mig_bytes text)
{
    while (text.size > 0) {
        const size_t size = mig_utf8_size(text);

        if (size == 0)
            return false;
        text.data += size;
        text.size -= size;
    }
    return true;
}

static bool message_valid(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes);

/* A known number in a wire type that is not its own is an unknown field, and legal. */
static bool field_valid(const ProtobufCFieldDescriptor *field, enum wire_type type,
                        struct mig_bytes value)
{
    if (!field || type != LENGTH)
        return true;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return is_utf8(value);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return message_valid(field->descriptor, value);
    return true;
}

/* The messages of identity.proto don't nest in themselves: the depth is theirs. */
static bool message_valid(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes)
{
    while (bytes.size > 0) {
        uint32_t field;
        enum wire_type type;
        struct mig_bytes value;

        if (!take_tag(&bytes, &field, &type) || !take_value(&bytes, field, type, 0, &value) ||
            !field_valid(protobuf_c_message_descriptor_get_field(descriptor, field), type, value))
            return false;
    }
    return true;
}

bool mig_identity_update_valid(struct mig_bytes update)
{
    return message_valid(&xmtp__identity__associations__identity_update__descriptor, update);
}
