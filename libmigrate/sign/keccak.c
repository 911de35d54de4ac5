/*
 * keccak-256, as Ethereum uses it: Keccak-f[1600] with a rate of 136 bytes and the padding 0x01 of
 * the original submission, which no library of the distribution offers (SHA3-256 pads with 0x06).
 */
#include "libmigrate/sign/sign.h"

#include <endian.h>
#include <string.h>

typedef uint64_t keccak_word;
#define KECCAK_ROUND_INLINING __attribute__((noinline))

#include "libmigrate/sign/keccak_round.h"

struct sponge {
    uint64_t lanes[KECCAK_LANES];
    size_t filled_bytes; /* of the block in hand, always below KECCAK_RATE_BYTES between calls */
};

static void absorb_byte(struct sponge *sponge, uint8_t byte)
{
    sponge->lanes[sponge->filled_bytes / 8] ^= (uint64_t) byte << (8 * (sponge->filled_bytes % 8));
    sponge->filled_bytes++;
}

static void absorb_lane(struct sponge *sponge, const uint8_t *data)
{
    uint64_t lane;

    memcpy(&lane, data, sizeof lane);
    sponge->lanes[sponge->filled_bytes / 8] ^= le64toh(lane);
    sponge->filled_bytes += sizeof lane;
}

static void absorb(struct sponge *sponge, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const size_t step = sponge->filled_bytes % 8 == 0 && size >= 8 ? 8 : 1;

        if (step == 8)
            absorb_lane(sponge, data);
        else
            absorb_byte(sponge, *data);
        data += step;
        size -= step;
        if (sponge->filled_bytes == KECCAK_RATE_BYTES) {
            keccak_permute(sponge->lanes);
            sponge->filled_bytes = 0;
        }
    }
}

void mig_keccak256(const struct mig_bytes *pieces, size_t count,
                   uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    struct sponge sponge = {0};

    for (size_t i = 0; i < count; i++)
        absorb(&sponge, pieces[i].data, pieces[i].size);
    absorb_byte(&sponge, 0x01);
    sponge.lanes[KECCAK_RATE_BYTES / 8 - 1] ^= UINT64_C(0x80) << 56;
    keccak_permute(sponge.lanes);
    for (size_t i = 0; i < MIG_DIGEST_SIZE / 8; i++) {
        const uint64_t lane = htole64(sponge.lanes[i]);

        memcpy(ret_digest + 8 * i, &lane, sizeof lane);
    }
}
