/* Building the layers of an envelope, innermost first: each is serialized once, into an arena. */
#include "libmigrate/wire/wire_private.h"

#include "envelopes.pb-c.h"
#include "mls.pb-c.h"

int mig_group_message_build(struct mig_bytes data, struct mig_bytes sender_hmac, bool should_push,
                            struct mig_arena *arena, struct mig_bytes *ret_payload,
                            struct mig_error *err)
{
    Xmtp__Mls__Api__V1__GroupMessageInput__V1 v1 =
        XMTP__MLS__API__V1__GROUP_MESSAGE_INPUT__V1__INIT;
    Xmtp__Mls__Api__V1__GroupMessageInput input = XMTP__MLS__API__V1__GROUP_MESSAGE_INPUT__INIT;

    v1.data = wire_binary(data);
    v1.sender_hmac = wire_binary(sender_hmac);
    v1.should_push = should_push;
    input.version_case = XMTP__MLS__API__V1__GROUP_MESSAGE_INPUT__VERSION_V1;
    input.v1 = &v1;
    return wire_pack(&input.base, arena, ret_payload, err);
}

static int welcome_pointer_build(const struct mig_welcome *welcome, struct mig_arena *arena,
                                 struct mig_bytes *ret_payload, struct mig_error *err)
{
    Xmtp__Mls__Api__V1__WelcomeMessageInput__WelcomePointer pointer =
        XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__WELCOME_POINTER__INIT;
    Xmtp__Mls__Api__V1__WelcomeMessageInput input = XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__INIT;

    pointer.installation_key = wire_binary(welcome->installation_key);
    pointer.welcome_pointer = wire_binary(welcome->data);
    pointer.hpke_public_key = wire_binary(welcome->hpke_public_key);
    pointer.wrapper_algorithm =
        (Xmtp__Mls__Api__V1__WelcomePointerWrapperAlgorithm) welcome->wrapper_algorithm;
    input.version_case = XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__VERSION_WELCOME_POINTER;
    input.welcome_pointer = &pointer;
    return wire_pack(&input.base, arena, ret_payload, err);
}

int mig_welcome_build(const struct mig_welcome *welcome, struct mig_arena *arena,
                      struct mig_bytes *ret_payload, struct mig_error *err)
{
    Xmtp__Mls__Api__V1__WelcomeMessageInput__V1 v1 =
        XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__V1__INIT;
    Xmtp__Mls__Api__V1__WelcomeMessageInput input = XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__INIT;

    if (welcome->pointer)
        return welcome_pointer_build(welcome, arena, ret_payload, err);
    v1.installation_key = wire_binary(welcome->installation_key);
    v1.data = wire_binary(welcome->data);
    v1.hpke_public_key = wire_binary(welcome->hpke_public_key);
    v1.wrapper_algorithm = (Xmtp__Mls__Api__V1__WelcomeWrapperAlgorithm) welcome->wrapper_algorithm;
    v1.welcome_metadata = wire_binary(welcome->metadata);
    input.version_case = XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__VERSION_V1;
    input.v1 = &v1;
    return wire_pack(&input.base, arena, ret_payload, err);
}

int mig_key_package_build(struct mig_bytes key_package, struct mig_arena *arena,
                          struct mig_bytes *ret_payload, struct mig_error *err)
{
    Xmtp__Mls__Api__V1__KeyPackageUpload upload = XMTP__MLS__API__V1__KEY_PACKAGE_UPLOAD__INIT;
    Xmtp__Mls__Api__V1__UploadKeyPackageRequest request =
        XMTP__MLS__API__V1__UPLOAD_KEY_PACKAGE_REQUEST__INIT;

    upload.key_package_tls_serialized = wire_binary(key_package);
    request.key_package = &upload;
    return wire_pack(&request.base, arena, ret_payload, err);
}

int mig_client_envelope_build(struct mig_bytes topic, uint32_t payload_field,
                              struct mig_bytes payload, struct mig_arena *arena,
                              struct mig_bytes *ret_envelope, struct mig_error *err)
{
    Xmtp__Xmtpv4__Envelopes__AuthenticatedData aad =
        XMTP__XMTPV4__ENVELOPES__AUTHENTICATED_DATA__INIT;
    Xmtp__Xmtpv4__Envelopes__ClientEnvelope client;

    aad.target_topic = wire_binary(topic);
    xmtp__xmtpv4__envelopes__client_envelope__init(&client);
    client.aad = &aad;
    /* All members of the oneof are bytes: they share one place, told apart by the case, which is
     * the field's number. */
    client.payload_case = (Xmtp__Xmtpv4__Envelopes__ClientEnvelope__PayloadCase) payload_field;
    client.group_message = wire_binary(payload);
    return wire_pack(&client.base, arena, ret_envelope, err);
}

int mig_payer_envelope_build(const struct mig_payer_layer *layer, struct mig_arena *arena,
                             struct mig_bytes *ret_envelope, struct mig_error *err)
{
    Xmtp__Identity__Associations__RecoverableEcdsaSignature signature =
        XMTP__IDENTITY__ASSOCIATIONS__RECOVERABLE_ECDSA_SIGNATURE__INIT;
    Xmtp__Xmtpv4__Envelopes__PayerEnvelope payer = XMTP__XMTPV4__ENVELOPES__PAYER_ENVELOPE__INIT;

    signature.bytes = wire_binary(layer->signature);
    payer.unsigned_client_envelope = wire_binary(layer->client_envelope);
    payer.payer_signature = &signature;
    payer.target_originator = layer->target_originator;
    payer.message_retention_days = layer->retention_days;
    return wire_pack(&payer.base, arena, ret_envelope, err);
}

int mig_unsigned_envelope_build(const struct mig_unsigned_layer *layer, struct mig_arena *arena,
                                struct mig_bytes *ret_envelope, struct mig_error *err)
{
    Xmtp__Xmtpv4__Envelopes__UnsignedOriginatorEnvelope envelope =
        XMTP__XMTPV4__ENVELOPES__UNSIGNED_ORIGINATOR_ENVELOPE__INIT;

    envelope.originator_node_id = layer->originator;
    envelope.originator_sequence_id = layer->sequence_id;
    envelope.originator_ns = layer->originator_ns;
    envelope.payer_envelope_bytes = wire_binary(layer->payer_envelope);
    envelope.base_fee_picodollars = layer->base_fee_picodollars;
    envelope.congestion_fee_picodollars = layer->congestion_fee_picodollars;
    envelope.expiry_unixtime = layer->expiry_unixtime;
    return wire_pack(&envelope.base, arena, ret_envelope, err);
}

int mig_originator_envelope_build(struct mig_bytes unsigned_envelope, struct mig_bytes signature,
                                  struct mig_arena *arena, struct mig_bytes *ret_envelope,
                                  struct mig_error *err)
{
    Xmtp__Identity__Associations__RecoverableEcdsaSignature proof =
        XMTP__IDENTITY__ASSOCIATIONS__RECOVERABLE_ECDSA_SIGNATURE__INIT;
    Xmtp__Xmtpv4__Envelopes__OriginatorEnvelope envelope =
        XMTP__XMTPV4__ENVELOPES__ORIGINATOR_ENVELOPE__INIT;

    proof.bytes = wire_binary(signature);
    envelope.unsigned_originator_envelope = wire_binary(unsigned_envelope);
    envelope.proof_case = XMTP__XMTPV4__ENVELOPES__ORIGINATOR_ENVELOPE__PROOF_ORIGINATOR_SIGNATURE;
    envelope.originator_signature = &proof;
    return wire_pack(&envelope.base, arena, ret_envelope, err);
}
