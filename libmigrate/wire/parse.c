/* Taking an envelope apart, outermost layer first. The bytes may come from anywhere. */
#include "libmigrate/wire/wire_private.h"

#include "envelopes.pb-c.h"

static int parse_client(struct mig_bytes bytes, struct mig_arena *arena, struct mig_layers *layers,
                        struct mig_error *err)
{
    const Xmtp__Xmtpv4__Envelopes__ClientEnvelope *client;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__xmtpv4__envelopes__client_envelope__descriptor, bytes,
                             "a client envelope", arena, &message, err);

    if (result != MIG_OK)
        return result;
    client = (const void *) message;
    if (!client->aad || client->aad->target_topic.len == 0)
        return mig_fail(err, MIG_E_CORRUPT, "a client envelope without a topic");
    layers->topic = wire_bytes(client->aad->target_topic);
    layers->payload_field = (uint32_t) client->payload_case;
    if (layers->payload_field != 0)
        layers->payload = wire_bytes(client->group_message);
    return MIG_OK;
}

static int parse_payer(struct mig_bytes bytes, struct mig_arena *arena, struct mig_layers *layers,
                       struct mig_error *err)
{
    const Xmtp__Xmtpv4__Envelopes__PayerEnvelope *payer;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__xmtpv4__envelopes__payer_envelope__descriptor, bytes,
                             "a payer envelope", arena, &message, err);

    if (result != MIG_OK)
        return result;
    payer = (const void *) message;
    if (payer->unsigned_client_envelope.len == 0)
        return mig_fail(err, MIG_E_CORRUPT, "a payer envelope without a client envelope");
    layers->payer_layer = (struct mig_payer_layer){
        .client_envelope = wire_bytes(payer->unsigned_client_envelope),
        .target_originator = payer->target_originator,
        .retention_days = payer->message_retention_days,
    };
    if (payer->payer_signature)
        layers->payer_layer.signature = wire_bytes(payer->payer_signature->bytes);
    return parse_client(layers->payer_layer.client_envelope, arena, layers, err);
}

static int parse_unsigned(struct mig_bytes bytes, struct mig_arena *arena,
                          struct mig_layers *layers, struct mig_error *err)
{
    const Xmtp__Xmtpv4__Envelopes__UnsignedOriginatorEnvelope *envelope;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__xmtpv4__envelopes__unsigned_originator_envelope__descriptor,
                             bytes, "an unsigned originator envelope", arena, &message, err);

    if (result != MIG_OK)
        return result;
    envelope = (const void *) message;
    if (envelope->payer_envelope_bytes.len == 0)
        return mig_fail(err, MIG_E_CORRUPT, "an originator envelope without a payer envelope");
    layers->unsigned_layer = (struct mig_unsigned_layer){
        .originator = envelope->originator_node_id,
        .sequence_id = envelope->originator_sequence_id,
        .originator_ns = envelope->originator_ns,
        .payer_envelope = wire_bytes(envelope->payer_envelope_bytes),
        .base_fee_picodollars = envelope->base_fee_picodollars,
        .congestion_fee_picodollars = envelope->congestion_fee_picodollars,
        .expiry_unixtime = envelope->expiry_unixtime,
    };
    return parse_payer(layers->unsigned_layer.payer_envelope, arena, layers, err);
}

static int parse_originator(struct mig_bytes bytes, struct mig_arena *arena,
                            struct mig_layers *layers, struct mig_error *err)
{
    const Xmtp__Xmtpv4__Envelopes__OriginatorEnvelope *envelope;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__xmtpv4__envelopes__originator_envelope__descriptor, bytes,
                             "an originator envelope", arena, &message, err);

    if (result != MIG_OK)
        return result;
    envelope = (const void *) message;
    if (envelope->unsigned_originator_envelope.len == 0)
        return mig_fail(err, MIG_E_CORRUPT, "an originator envelope with nothing inside");
    layers->unsigned_envelope = wire_bytes(envelope->unsigned_originator_envelope);
    if (envelope->proof_case ==
        XMTP__XMTPV4__ENVELOPES__ORIGINATOR_ENVELOPE__PROOF_ORIGINATOR_SIGNATURE)
        layers->originator_signature = wire_bytes(envelope->originator_signature->bytes);
    else if (envelope->proof_case ==
             XMTP__XMTPV4__ENVELOPES__ORIGINATOR_ENVELOPE__PROOF_BLOCKCHAIN_PROOF)
        layers->transaction_hash = wire_bytes(envelope->blockchain_proof->transaction_hash);
    return parse_unsigned(layers->unsigned_envelope, arena, layers, err);
}

typedef int parse_fn(struct mig_bytes bytes, struct mig_arena *arena, struct mig_layers *layers,
                     struct mig_error *err);

static int parse_from(parse_fn *parse, struct mig_bytes envelope, struct mig_arena *arena,
                      struct mig_layers *ret_layers, struct mig_error *err)
{
    struct mig_layers layers = {0};
    int result = parse(envelope, arena, &layers, err);

    if (result == MIG_OK)
        *ret_layers = layers;
    return result;
}

int mig_originator_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                                  struct mig_layers *ret_layers, struct mig_error *err)
{
    return parse_from(parse_originator, envelope, arena, ret_layers, err);
}

int mig_payer_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                             struct mig_layers *ret_layers, struct mig_error *err)
{
    return parse_from(parse_payer, envelope, arena, ret_layers, err);
}

int mig_client_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                              struct mig_layers *ret_layers, struct mig_error *err)
{
    return parse_from(parse_client, envelope, arena, ret_layers, err);
}
