/* The payer and originator layers: digests, fees, signatures. */
#include "libmigrate/transform/transform_private.h"

#include <endian.h>
#include <inttypes.h>

void mig_payer_digest(uint32_t target_originator, struct mig_bytes client_envelope,
                      uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    const uint32_t target = htobe32(target_originator);
    const struct mig_bytes pieces[] = {
        mig_bytes_of_text("target|"),
        {(const uint8_t *) &target, sizeof target},
        mig_bytes_of_text("payer|"),
        client_envelope,
    };

    mig_keccak256(pieces, mig_count_of(pieces), ret_digest);
}

void mig_originator_digest(struct mig_bytes unsigned_envelope, uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    const struct mig_bytes pieces[] = {mig_bytes_of_text("originator|"), unsigned_envelope};

    mig_keccak256(pieces, mig_count_of(pieces), ret_digest);
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
