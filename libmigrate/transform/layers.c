/* The payer and originator layers: digests, fees, signatures. */
#include "libmigrate/transform/transform_private.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <string.h>

#define PAYER_HEAD_SIZE 17 /* "target|", four bytes, "payer|" */

static struct mig_message payer_message(uint32_t target_originator,
                                        struct mig_bytes client_envelope,
                                        uint8_t head[PAYER_HEAD_SIZE])
{
    const uint32_t target = htobe32(target_originator);

    memcpy(head, "target|", 7);
    memcpy(head + 7, &target, sizeof target);
    memcpy(head + 11, "payer|", 6);
    return (struct mig_message){.head = {head, PAYER_HEAD_SIZE}, .body = client_envelope};
}

static struct mig_message originator_message(struct mig_bytes unsigned_envelope)
{
    return (struct mig_message){.head = mig_bytes_of_text("originator|"),
                                .body = unsigned_envelope};
}

static void digest_one(struct mig_message message, uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    mig_keccak256_many(&message, 1);
    memcpy(ret_digest, message.digest, MIG_DIGEST_SIZE);
}

void mig_payer_digest(uint32_t target_originator, struct mig_bytes client_envelope,
                      uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    uint8_t head[PAYER_HEAD_SIZE];

    digest_one(payer_message(target_originator, client_envelope, head), ret_digest);
}

void mig_originator_digest(struct mig_bytes unsigned_envelope, uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    digest_one(originator_message(unsigned_envelope), ret_digest);
}

int mig_base_fee(const struct mig_rate *rate, size_t payer_envelope_size, uint32_t retention_days,
                 uint64_t *ret_picodollars, struct mig_error *err)
{
    uint64_t storage, fee;

    if (__builtin_mul_overflow(rate->storage_fee, payer_envelope_size, &storage) ||
        __builtin_mul_overflow(storage, retention_days, &storage) ||
        __builtin_add_overflow(rate->message_fee, storage, &fee))
        return mig_fail(err, MIG_E_CORRUPT,
                        "the fee of %zu bytes for %" PRIu32 " days at %" PRIu64
                        " picodollars does not fit 64 bits",
                        payer_envelope_size, retention_days, rate->storage_fee);
    *ret_picodollars = fee;
    return MIG_OK;
}

static int sign_or_zero(const struct mig_signer *signer, const uint8_t digest[MIG_DIGEST_SIZE],
                        uint8_t signature[MIG_SIGNATURE_SIZE], struct mig_error *err)
{
    if (signer)
        return mig_sign(signer, digest, signature, err);
    memset(signature, 0, MIG_SIGNATURE_SIZE);
    return MIG_OK;
}

static int add_payer(const struct mig_transform *transform, const struct mig_message *message,
                     struct mig_arena *arena, struct mig_envelope *envelope, struct mig_error *err)
{
    const uint32_t days = transform->manifest->policy.retention_days[envelope->kind];
    const struct mig_rate *rate = mig_manifest_rate(transform->manifest, envelope->originator_ns);
    uint8_t signature[MIG_SIGNATURE_SIZE];
    const struct mig_payer_layer layer = {
        .client_envelope = envelope->client_envelope,
        .signature = {signature, sizeof signature},
        .target_originator = mig_kind_info(envelope->kind)->signed_originator,
        .retention_days = days,
    };
    int result;

    if (!rate)
        return mig_fail(err, MIG_E_USAGE, "no rate is in force at the envelope's clock");
    if ((result = sign_or_zero(transform->payer, message->digest, signature, err)) != MIG_OK ||
        (result = mig_payer_envelope_build(&layer, arena, &envelope->payer_envelope, err)) !=
            MIG_OK)
        return result;
    return mig_base_fee(rate, envelope->payer_envelope.size, days, &envelope->base_fee_picodollars,
                        err);
}

static int build_unsigned(struct mig_arena *arena, const struct mig_envelope *envelope,
                          struct mig_bytes *ret_unsigned, struct mig_error *err)
{
    const struct mig_unsigned_layer layer = {
        .originator = mig_kind_info(envelope->kind)->signed_originator,
        .sequence_id = (uint64_t) envelope->sequence_id,
        .originator_ns = envelope->originator_ns,
        .payer_envelope = envelope->payer_envelope,
        .base_fee_picodollars = envelope->base_fee_picodollars,
        .expiry_unixtime = (uint64_t) envelope->expiry_unixtime,
    };

    return mig_unsigned_envelope_build(&layer, arena, ret_unsigned, err);
}

static int add_originator(const struct mig_transform *transform, const struct mig_message *message,
                          struct mig_arena *arena, struct mig_envelope *envelope,
                          struct mig_error *err)
{
    uint8_t signature[MIG_SIGNATURE_SIZE];
    int result = sign_or_zero(transform->originator, message->digest, signature, err);

    if (result != MIG_OK)
        return result;
    return mig_originator_envelope_build(message->body,
                                         (struct mig_bytes){signature, sizeof signature}, arena,
                                         &envelope->originator_envelope, err);
}

static int in_row(const struct mig_envelope *envelope, struct mig_error *err)
{
    return mig_error_within(err, "%s %" PRId64, mig_kind_info(envelope->kind)->name,
                            envelope->sequence_id);
}

int transform_add_layers(const struct mig_transform *transform,
                         struct mig_envelope *const *envelopes, size_t count,
                         struct mig_arena *arena, struct mig_error *err)
{
    struct mig_message messages[TRANSFORM_BATCH_ROWS];
    uint8_t heads[TRANSFORM_BATCH_ROWS][PAYER_HEAD_SIZE];

    assert(count <= TRANSFORM_BATCH_ROWS);
    for (size_t i = 0; i < count; i++)
        messages[i] = payer_message(mig_kind_info(envelopes[i]->kind)->signed_originator,
                                    envelopes[i]->client_envelope, heads[i]);
    if (transform->payer)
        mig_keccak256_many(messages, count);
    for (size_t i = 0; i < count; i++) {
        struct mig_bytes unsigned_envelope;

        if (add_payer(transform, &messages[i], arena, envelopes[i], err) != MIG_OK ||
            build_unsigned(arena, envelopes[i], &unsigned_envelope, err) != MIG_OK)
            return in_row(envelopes[i], err);
        messages[i] = originator_message(unsigned_envelope);
    }
    if (transform->originator)
        mig_keccak256_many(messages, count);
    for (size_t i = 0; i < count; i++)
        if (add_originator(transform, &messages[i], arena, envelopes[i], err) != MIG_OK)
            return in_row(envelopes[i], err);
    return MIG_OK;
}
