/* What the files of wire share: generated messages packed into and unpacked from an arena. */
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

/* Reads a message of the type described; it and all it points to lie in arena and are not to be
 * freed. what names it in messages. Errors: MIG_E_CORRUPT, MIG_E_NOMEM. */
int wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct mig_bytes bytes,
                const char *what, struct mig_arena *arena, ProtobufCMessage **ret_message,
                struct mig_error *err);

/* A row as its record's message, which borrows the row's bytes, and back. */
void wire_row_to_message(const struct mig_row *row, XmtpMigrate__SourceRow *ret_message);
int wire_row_from_message(const XmtpMigrate__SourceRow *message, struct mig_row *ret_row,
                          struct mig_error *err);

#endif
