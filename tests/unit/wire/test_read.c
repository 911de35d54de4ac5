/* Messages read without copying: as protobuf-c reads them, whatever the bytes are. */
#include "hostile.h"
#include "libmigrate/wire/wire_private.h"

#include "envelopes.pb-c.h"
#include "identity.pb-c.h"
#include "mls.pb-c.h"

#include <criterion/criterion.h>

#define BYTES(literal) ((struct mig_bytes){(const uint8_t *) (literal), sizeof(literal) - 1})

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &xmtp_migrate__source_row__descriptor,
    &xmtp_migrate__envelope_record__descriptor,
    &xmtp__xmtpv4__envelopes__originator_envelope__descriptor,
    &xmtp__xmtpv4__envelopes__unsigned_originator_envelope__descriptor,
    &xmtp__xmtpv4__envelopes__payer_envelope__descriptor,
    &xmtp__xmtpv4__envelopes__client_envelope__descriptor,
    &xmtp__mls__api__v1__group_message_input__descriptor,
    &xmtp__mls__api__v1__welcome_message_input__descriptor,
    &xmtp__mls__api__v1__upload_key_package_request__descriptor,
    &xmtp__identity__associations__identity_update__descriptor,
};

static int read_bytes(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes,
                      struct mig_arena *arena, ProtobufCMessage **ret_message)
{
    return wire_read(descriptor, bytes, "a message", arena, ret_message, NULL);
}

/* Of what it doesn't know, protobuf-c keeps a copy. */
static void forget_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        uint8_t *base = (uint8_t *) message;
        const bool one = field->label != PROTOBUF_C_LABEL_REPEATED;
        void *place = base + field->offset;
        size_t count = 1;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE ||
            (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
             *(uint32_t *) (void *) (base + field->quantifier_offset) != field->id))
            continue;
        if (!one) {
            count = *(size_t *) (void *) (base + field->quantifier_offset);
            place = *(void **) place;
        }
        for (size_t k = 0; k < count; k++)
            if (((ProtobufCMessage **) place)[k])
                forget_unknown(((ProtobufCMessage **) place)[k]);
    }
}

/* Whether both read it; then both must have read the same. */
static bool agree(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    const struct mig_bytes copy = hostile_copy(bytes);
    ProtobufCMessage *message, *known;
    struct mig_bytes packed[2];
    bool read = read_bytes(descriptor, copy, &arena, &message) == MIG_OK;

    if (read) {
        known = protobuf_c_message_unpack(descriptor, NULL, bytes.size, bytes.data);
        cr_assert_not_null(known, "%s", descriptor->name);
        cr_assert_eq(wire_pack(message, &arena, &packed[0], NULL), MIG_OK);
        for (size_t i = 0; i < message->n_unknown_fields; i++)
            cr_assert_fail();
        forget_unknown(known);
        cr_assert_eq(wire_pack(known, &arena, &packed[1], NULL), MIG_OK);
        cr_assert(mig_bytes_equal(packed[0], packed[1]), "%s", descriptor->name);
        protobuf_c_message_free_unpacked(known, NULL);
    }
    hostile_free(copy);
    return read;
}

/* Fields of any type that the description has, or has not; nested ones in turn, but once: of a
 * later one protobuf-c overlooks what is empty or 0. */
static size_t make_fields(const ProtobufCMessageDescriptor *descriptor, unsigned depth,
                          uint64_t *state, uint8_t *bytes, size_t room)
{
    size_t size = 0;
    uint32_t nested = 0;

    while (room - size > 24 && hostile_random(state) % 4) {
        const unsigned pick = (unsigned) (hostile_random(state) % (descriptor->n_fields + 1));
        const ProtobufCFieldDescriptor *field =
            pick < descriptor->n_fields ? &descriptor->fields[pick] : NULL;
        const uint32_t number = field ? field->id : 31;
        const bool text = field && (field->type == PROTOBUF_C_TYPE_BYTES ||
                                    field->type == PROTOBUF_C_TYPE_STRING);
        const bool inner = field && field->type == PROTOBUF_C_TYPE_MESSAGE;

        if (inner && nested & 1u << pick)
            continue;
        nested |= inner ? 1u << pick : 0;
        if (number >= 16) {
            bytes[size++] = (uint8_t) (0x80 | (number << 3 & 0x78) | (text || inner ? 2 : 0));
            bytes[size++] = (uint8_t) (number >> 4);
        } else {
            bytes[size++] = (uint8_t) (number << 3 | (text || inner ? 2 : 0));
        }
        if (inner || text) {
            size_t length = hostile_random(state) % 6;

            if (inner && depth < 4) {
                size_t most = room - size - 1;

                length = make_fields(field->descriptor, depth + 1, state, bytes + size + 1,
                                     most < 100 ? most : 100);
            } else if (inner) {
                length = 0;
            } else {
                memset(bytes + size + 1, 'a' + (int) length, length);
            }
            bytes[size++] = (uint8_t) length;
            size += length;
        } else {
            uint64_t value = hostile_random(state) >> hostile_random(state) % 64;

            for (; value >= 0x80; value >>= 7)
                bytes[size++] = (uint8_t) (value | 0x80);
            bytes[size++] = (uint8_t) value;
        }
    }
    return size;
}

Test(read, agrees_with_protobuf_c)
{
    uint64_t state = 20260301;

    for (size_t i = 0; i < mig_count_of(descriptors); i++) {
        for (int round = 0; round < 3000; round++) {
            uint8_t bytes[400];
            const size_t size = make_fields(descriptors[i], 0, &state, bytes, 128);

            cr_assert(agree(descriptors[i], (struct mig_bytes){bytes, size}), "%s",
                      descriptors[i]->name);
            if (size == 0)
                continue;
            bytes[hostile_random(&state) % size] = (uint8_t) hostile_random(&state);
            agree(descriptors[i], (struct mig_bytes){bytes, size});
            agree(descriptors[i], (struct mig_bytes){bytes, hostile_random(&state) % size});
        }
    }
}

Test(read, copies_no_bytes)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    const struct mig_bytes bytes = BYTES("\x0a\x06inside");
    ProtobufCMessage *message;
    const Xmtp__Xmtpv4__Envelopes__OriginatorEnvelope *envelope;

    cr_assert_eq(read_bytes(descriptors[2], bytes, &arena, &message), MIG_OK);
    envelope = (const void *) message;
    cr_expect_eq(envelope->unsigned_originator_envelope.data, bytes.data + 2);
}

Test(read, takes_a_message_that_comes_twice_for_one)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    ProtobufCMessage *message;
    const XmtpMigrate__EnvelopeRecord *record;

    cr_assert_eq(read_bytes(&xmtp_migrate__envelope_record__descriptor,
                            BYTES("\x52\4\x0a\2xy\x52\2\x10\6"), &arena, &message),
                 MIG_OK);
    record = (const void *) message;
    cr_expect_str_eq(record->row->table, "xy");
    cr_expect_eq(record->row->id, 3);
}

Test(read, refuses_what_is_not_of_its_type)
{
    static const struct mig_bytes cases[] = {
        BYTES("\x08\1"),                                         /* a number for bytes */
        BYTES("\x12\1x"),                                        /* bytes for a number */
        BYTES("\x0b\x0c"),                                       /* a group */
        BYTES("\x07\1"),                                         /* no wire type */
        BYTES("\x0a\2x"),                                        /* cut off */
        BYTES("\x0a"),                                           /* before its length */
        BYTES("\x2d\1\2\3"),                                     /* a fixed number cut off */
        BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), /* a number without end */
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        ProtobufCMessage *message = NULL;

        cr_expect_eq(read_bytes(&xmtp_migrate__source_row__descriptor, cases[i], &arena, &message),
                     MIG_E_CORRUPT, "case %zu", i);
        cr_expect_null(message);
    }
}
