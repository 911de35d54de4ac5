/*
 * Whether bytes are a well-formed identity update. protobuf-c drops nothing but it neither checks
 * UTF-8 nor lets a known number pass in another wire type, both of which the network's own reader
 * does; so the bytes are walked here, by the generated description of the messages.
 */
#include "libmigrate/wire/wire_private.h"

#include "identity.pb-c.h"

#define GROUP_DEPTH_MAX 10000 /* as far as the network's own reader goes */

/* Takes a field's value. Of a length-delimited one *ret_value is the content; of others it is
 * empty. Groups are obsolete but legal, as unknown fields. */
static bool take_value(struct mig_bytes *rest, uint32_t field, enum wire_type type, unsigned depth,
                       struct mig_bytes *ret_value)
{
    uint64_t number;

    *ret_value = (struct mig_bytes){0};
    switch (type) {
    case WIRE_VARINT:
        return wire_take_varint(rest, &number);
    case WIRE_FIXED64:
        return wire_take_bytes(rest, 8, &(struct mig_bytes){0});
    case WIRE_FIXED32:
        return wire_take_bytes(rest, 4, &(struct mig_bytes){0});
    case WIRE_LENGTH:
        return wire_take_varint(rest, &number) && wire_take_bytes(rest, number, ret_value);
    case WIRE_GROUP_START:
        while (depth < GROUP_DEPTH_MAX) {
            uint32_t inner_field;
            enum wire_type inner_type;
            struct mig_bytes inner;

            if (!wire_take_tag(rest, &inner_field, &inner_type))
                return false;
            if (inner_type == WIRE_GROUP_END)
                return inner_field == field;
            if (!take_value(rest, inner_field, inner_type, depth + 1, &inner))
                return false;
        }
        return false;
    case WIRE_GROUP_END:
        break;
    }
    return false;
}

/* How many bytes the character at the start takes, 0 if it is none (RFC 3629). */
static size_t character_size(struct mig_bytes text)
{
    static const struct {
        uint8_t first_low, first_high, second_low, second_high, size;
    } forms[] = {
        {0x00, 0x7f, 0x80, 0xbf, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < mig_count_of(forms); i++) {
        if (text.data[0] < forms[i].first_low || text.data[0] > forms[i].first_high)
            continue;
        if (text.size < forms[i].size)
            return 0;
        for (size_t k = 1; k < forms[i].size; k++)
            if (text.data[k] < (k == 1 ? forms[i].second_low : 0x80) ||
                text.data[k] > (k == 1 ? forms[i].second_high : 0xbf))
                return 0;
        return forms[i].size;
    }
    return 0;
}

static bool is_utf8(struct mig_bytes text)
{
    while (text.size > 0) {
        const size_t size = character_size(text);

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
    if (!field || type != WIRE_LENGTH)
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

        if (!wire_take_tag(&bytes, &field, &type) || !take_value(&bytes, field, type, 0, &value) ||
            !field_valid(protobuf_c_message_descriptor_get_field(descriptor, field), type, value))
            return false;
    }
    return true;
}

bool mig_identity_update_valid(struct mig_bytes update)
{
    return message_valid(&xmtp__identity__associations__identity_update__descriptor, update);
}
