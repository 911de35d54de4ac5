/* Which rows' signatures are checked. Whoever wants to hide a forged one must not be able to tell
 * which rows will be looked at: a keyed digest of the id decides, under a key drawn anew. */
#include "libmigrate/parity/parity_private.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

const char *mig_parity_signatures_name(enum mig_parity_signatures which)
{
    static const char *const names[] = {
        [MIG_PARITY_SIGNATURES_ALL] = "all",
        [MIG_PARITY_SIGNATURES_SAMPLE] = "sample",
        [MIG_PARITY_SIGNATURES_NONE] = "none",
    };

    return names[which];
}

int parity_sample_pin(struct parity_terms *terms, const struct mig_parity_sampling *sampling,
                      struct mig_error *err)
{
    terms->sampling = *sampling;
    if (sampling->which != MIG_PARITY_SIGNATURES_SAMPLE || sampling->has_seed)
        return MIG_OK;
    if (getrandom(terms->sampling.seed, MIG_PARITY_SEED_SIZE, 0) != MIG_PARITY_SEED_SIZE)
        return mig_fail(err, MIG_E_IO, "cannot draw a sample: the system gives no random bytes");
    terms->sampling.has_seed = true;
    return MIG_OK;
}

bool parity_sample_takes(const struct parity_terms *terms, enum mig_kind kind, int64_t id)
{
    const struct mig_parity_sampling *sampling = &terms->sampling;
    const uint32_t originator = mig_kind_info(kind)->stored_originator;
    uint8_t place[12], digest[MIG_DIGEST_SIZE];
    const struct mig_bytes pieces[] = {{sampling->seed, sizeof sampling->seed},
                                       {place, sizeof place}};
    uint64_t drawn = 0;

    if (sampling->which != MIG_PARITY_SIGNATURES_SAMPLE)
        return sampling->which == MIG_PARITY_SIGNATURES_ALL;
    for (size_t i = 0; i < 4; i++)
        place[i] = (uint8_t) (originator >> (8 * i));
    for (size_t i = 0; i < 8; i++)
        place[4 + i] = (uint8_t) ((uint64_t) id >> (8 * i));
    mig_keccak256(pieces, mig_count_of(pieces), digest);
    memcpy(&drawn, digest, 6); /* a double tells 48 bits exactly */
    return (double) le64toh(drawn) * 100 < sampling->percent * (double) (UINT64_C(1) << 48);
}
