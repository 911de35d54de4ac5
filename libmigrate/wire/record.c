/* What became of a row, as the record that bundles hold. */
#include "libmigrate/wire/wire_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const routes[] = {
    [MIG_ROUTE_NODE] = "nodes",
    [MIG_ROUTE_CHAIN] = "chain",
    [MIG_ROUTE_EXPIRED] = "expired",
    [MIG_ROUTE_REJECTED] = "rejected",
};

static char *borrow_text(const char *text)
{
    return (char *) (uintptr_t) text; /* protobuf-c only reads what it packs */
}

int mig_envelope_encode(const struct mig_envelope *envelope, struct mig_buffer *record,
                        struct mig_error *err)
{
    XmtpMigrate__EnvelopeRecord message = XMTP_MIGRATE__ENVELOPE_RECORD__INIT;
    XmtpMigrate__SourceRow row;
    char *findings[MIG_FINDING_COUNT];

    wire_row_to_message(envelope->row, &row);
    message.row = &row;
    message.kind = borrow_text(mig_kind_info(envelope->kind)->name);
    message.route = borrow_text(routes[envelope->route]);
    message.findings = findings;
    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        if (envelope->findings & 1u << finding)
            findings[message.n_findings++] =
                borrow_text(mig_finding_name((enum mig_finding) finding));
    message.has_sequence_id = 1;
    message.sequence_id = envelope->sequence_id;
    message.has_topic = envelope->topic.size > 0;
    message.topic = wire_binary(envelope->topic);
    if (envelope->route == MIG_ROUTE_REJECTED) {
        message.reason = borrow_text(mig_reason_info(envelope->reason)->name);
    } else if (envelope->route == MIG_ROUTE_CHAIN) {
        message.has_client_envelope = 1;
        message.client_envelope = wire_binary(envelope->client_envelope);
    } else if (envelope->route == MIG_ROUTE_NODE) {
        message.has_originator_envelope = 1;
        message.originator_envelope = wire_binary(envelope->originator_envelope);
        message.has_gateway_time_us = 1;
        message.gateway_time_us = envelope->gateway_time_us;
    }
    return wire_append(&message.base, record, err);
}

static int read_route(const char *name, enum mig_route *ret_route, struct mig_error *err)
{
    for (size_t route = 0; name && route < mig_count_of(routes); route++)
        if (route != MIG_ROUTE_EXPIRED && strcmp(routes[route], name) == 0) {
            *ret_route = (enum mig_route) route;
            return MIG_OK;
        }
    return mig_fail(err, MIG_E_CORRUPT, "a record that goes nowhere we know");
}

static int read_findings(const XmtpMigrate__EnvelopeRecord *message, uint32_t *ret_findings,
                         struct mig_error *err)
{
    uint32_t findings = 0;

    for (size_t i = 0; i < message->n_findings; i++) {
        int finding = 0;

        while (finding < MIG_FINDING_COUNT &&
               strcmp(mig_finding_name((enum mig_finding) finding), message->findings[i]) != 0)
            finding++;
        if (finding == MIG_FINDING_COUNT)
            return mig_fail(err, MIG_E_CORRUPT, "a record with an unknown finding");
        findings |= 1u << finding;
    }
    *ret_findings = findings;
    return MIG_OK;
}

/* The members that stand inside the originator envelope, and that it belongs to this record. */
static int read_originator_envelope(struct mig_envelope *envelope, struct mig_arena *arena,
                                    struct mig_error *err)
{
    const struct mig_kind_info *kind = mig_kind_info(envelope->kind);
    struct mig_layers layers;
    int result = mig_originator_envelope_parse(envelope->originator_envelope, arena, &layers, err);

    if (result != MIG_OK)
        return result;
    if (layers.unsigned_layer.originator != kind->signed_originator ||
        layers.unsigned_layer.sequence_id != (uint64_t) envelope->sequence_id ||
        !mig_bytes_equal(layers.topic, envelope->topic))
        return mig_fail(err, MIG_E_CORRUPT, "a record holds the envelope of another row");
    envelope->payer_envelope = layers.unsigned_layer.payer_envelope;
    envelope->client_envelope = layers.payer_layer.client_envelope;
    envelope->originator_ns = layers.unsigned_layer.originator_ns;
    envelope->base_fee_picodollars = layers.unsigned_layer.base_fee_picodollars;
    envelope->expiry_unixtime = (int64_t) layers.unsigned_layer.expiry_unixtime;
    return MIG_OK;
}

static int read_client_envelope(const struct mig_envelope *envelope, struct mig_arena *arena,
                                struct mig_error *err)
{
    struct mig_layers layers;
    int result = mig_client_envelope_parse(envelope->client_envelope, arena, &layers, err);

    if (result == MIG_OK && !mig_bytes_equal(layers.topic, envelope->topic))
        result = mig_fail(err, MIG_E_CORRUPT, "a record holds the envelope of another topic");
    return result;
}

static int read_message(const XmtpMigrate__EnvelopeRecord *message, struct mig_arena *arena,
                        struct mig_row *row, struct mig_envelope *ret_envelope,
                        struct mig_error *err)
{
    struct mig_envelope envelope = {.row = row};
    int result;

    if (!message->kind || !message->has_sequence_id || !message->row)
        return mig_fail(err, MIG_E_CORRUPT, "a record without kind, id or row");
    if ((result = mig_kind_parse(message->kind, &envelope.kind, NULL)) != MIG_OK)
        return mig_fail(err, MIG_E_CORRUPT, "a record of an unknown kind");
    if ((result = read_route(message->route, &envelope.route, err)) != MIG_OK ||
        (result = read_findings(message, &envelope.findings, err)) != MIG_OK ||
        (result = wire_row_from_message(message->row, row, err)) != MIG_OK)
        return result;
    if (row->id != message->sequence_id || row->table != mig_kind_info(envelope.kind)->table)
        return mig_fail(err, MIG_E_CORRUPT, "a record holds another row than it says");
    envelope.sequence_id = message->sequence_id;
    envelope.topic = wire_bytes(message->topic);
    envelope.client_envelope = wire_bytes(message->client_envelope);
    envelope.originator_envelope = wire_bytes(message->originator_envelope);
    envelope.gateway_time_us = message->gateway_time_us;
    if (envelope.route == MIG_ROUTE_REJECTED)
        envelope.reason = mig_reason_parse(message->reason ? message->reason : "");
    if (envelope.route == MIG_ROUTE_REJECTED && envelope.reason == MIG_REASON_NONE)
        return mig_fail(err, MIG_E_CORRUPT, "a rejected row without a reason we know");
    if (envelope.route != MIG_ROUTE_REJECTED &&
        envelope.route != mig_kind_info(envelope.kind)->route)
        return mig_fail(err, MIG_E_CORRUPT, "a record of %s goes elsewhere", message->kind);
    if (envelope.route == MIG_ROUTE_NODE)
        result = read_originator_envelope(&envelope, arena, err);
    else if (envelope.route == MIG_ROUTE_CHAIN)
        result = read_client_envelope(&envelope, arena, err);
    if (result == MIG_OK)
        *ret_envelope = envelope;
    return result;
}

int mig_envelope_decode(struct mig_bytes record, struct mig_arena *arena,
                        struct mig_envelope *ret_envelope, struct mig_error *err)
{
    ProtobufCMessage *message;
    void *row;
    int result = mig_arena_alloc(arena, sizeof(struct mig_row), &row, err);

    if (result != MIG_OK)
        return result;
    result = wire_unpack(&xmtp_migrate__envelope_record__descriptor, record, "a record", arena,
                         &message, err);
    if (result != MIG_OK)
        return result;
    return read_message((const void *) message, arena, row, ret_envelope, err);
}

static int keep(struct mig_arena *arena, struct mig_bytes *bytes, struct mig_error *err)
{
    return bytes->size > 0 ? mig_arena_copy(arena, *bytes, bytes, err) : MIG_OK;
}

int mig_envelope_keep(struct mig_envelope *envelope, struct mig_arena *arena, struct mig_error *err)
{
    int result;

    envelope->payer_envelope = (struct mig_bytes){0};
    if (envelope->route != MIG_ROUTE_CHAIN)
        envelope->client_envelope = (struct mig_bytes){0};
    if ((result = keep(arena, &envelope->topic, err)) != MIG_OK ||
        (result = keep(arena, &envelope->client_envelope, err)) != MIG_OK)
        return result;
    return keep(arena, &envelope->originator_envelope, err);
}

int mig_row_keep(struct mig_row *row, struct mig_arena *arena, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    int result = MIG_OK;

    for (size_t i = 0; i < info->column_count && result == MIG_OK; i++)
        if (info->columns[i].type == MIG_COLUMN_BYTES)
            result = keep(arena, &row->values[i].bytes, err);
    return result;
}
