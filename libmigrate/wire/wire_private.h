/* What the files of wire share: generated messages into bytes and out of them. */
#ifndef MIG_WIRE_PRIVATE_H
#define MIG_WIRE_PRIVATE_H

#include "libmigrate/wire/wire.h"

#include "record.pb-c.h"

#include <protobuf-c/protobuf-c.h>

ProtobufCBinaryData wire_binary(struct mig_bytes bytes);
struct mig_bytes wire_bytes(ProtobufCBinaryData binary);

/* Serializes message into arena. Errors: MIG_E_NOMEM. */
int wire_pack(const ProtobufCMessage *message, struct mig_arena *arena, struct mig_bytes *ret_bytes,
              struct mig_error *err);

/* Serializes message behind what buffer holds. Errors: MIG_E_NOMEM. */
int wire_append(const ProtobufCMessage *message, struct mig_buffer *buffer, struct mig_error *err);

/* Reads a message of the type described. It lies in arena; its bytes stay where they are, texts are
 * copied. what names it in messages. Errors: MIG_E_CORRUPT, MIG_E_NOMEM. */
int wire_read(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes,
              const char *what, struct mig_arena *arena, ProtobufCMessage **ret_message,
              struct mig_error *err);

enum wire_type {
    WIRE_VARINT,
    WIRE_FIXED64,
    WIRE_LENGTH,
    WIRE_GROUP_START,
    WIRE_GROUP_END,
    WIRE_FIXED32
};

/* Take something off the beginning of *rest; false when it isn't there, or not as it must be. */
bool wire_take_varint(struct mig_bytes *rest, uint64_t *ret_number);
bool wire_take_bytes(struct mig_bytes *rest, uint64_t size, struct mig_bytes *ret_taken);
bool wire_take_tag(struct mig_bytes *rest, uint32_t *ret_field, enum wire_type *ret_type);

/* A row as its record's message, which borrows the row's bytes, and back. */
void wire_row_to_message(const struct mig_row *row, XmtpMigrate__SourceRow *ret_message);
int wire_row_from_message(const XmtpMigrate__SourceRow *message, struct mig_row *ret_row,
                          struct mig_error *err);

#endif
