/*
 * keccak-256, as Ethereum uses it: Keccak-f[1600] with a rate of 136 bytes and the padding 0x01 of
 * the original submission, which no library of the distribution offers (SHA3-256 pads with 0x06).
 * Names and tables follow the Keccak reference, section 1.2.
 */
#include "libmigrate/sign/sign.h"

#include <endian.h>
#include <string.h>

#define RATE_BYTES 136
#define LANES 25
#define ROUNDS 24

static const uint64_t round_constants[ROUNDS] = {
    UINT64_C(0x0000000000000001), UINT64_C(0x0000000000008082), UINT64_C(0x800000000000808a),
    UINT64_C(0x8000000080008000), UINT64_C(0x000000000000808b), UINT64_C(0x0000000080000001),
    UINT64_C(0x8000000080008081), UINT64_C(0x8000000000008009), UINT64_C(0x000000000000008a),
    UINT64_C(0x0000000000000088), UINT64_C(0x0000000080008009), UINT64_C(0x000000008000000a),
    UINT64_C(0x000000008000808b), UINT64_C(0x800000000000008b), UINT64_C(0x8000000000008089),
    UINT64_C(0x8000000000008003), UINT64_C(0x8000000000008002), UINT64_C(0x8000000000000080),
    UINT64_C(0x000000000000800a), UINT64_C(0x800000008000000a), UINT64_C(0x8000000080008081),
    UINT64_C(0x8000000000008080), UINT64_C(0x0000000080000001), UINT64_C(0x8000000080008008),
};

static inline uint64_t rotate(uint64_t lane, unsigned by)
{
    return lane << by | lane >> (64 - by);
}

/* Theta's column parity, rho's rotation and pi's new place in one step: lane `from`, rotated,
 * stands at place `to`. Written out, because the compiler turns constants into plain rotations only
 * then. */
#define MOVE(to, from, by) b[to] = rotate(a[from] ^ d[(from) % 5], by)

static void theta_rho_pi(const uint64_t a[LANES], uint64_t b[LANES])
{
    uint64_t c[5];
    uint64_t d[5];

    for (unsigned x = 0; x < 5; x++)
        c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
    for (unsigned x = 0; x < 5; x++)
        d[x] = c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1);

    b[0] = a[0] ^ d[0];
    MOVE(1, 6, 44), MOVE(2, 12, 43), MOVE(3, 18, 21), MOVE(4, 24, 14);
    MOVE(5, 3, 28), MOVE(6, 9, 20), MOVE(7, 10, 3), MOVE(8, 16, 45), MOVE(9, 22, 61);
    MOVE(10, 1, 1), MOVE(11, 7, 6), MOVE(12, 13, 25), MOVE(13, 19, 8), MOVE(14, 20, 18);
    MOVE(15, 4, 27), MOVE(16, 5, 36), MOVE(17, 11, 10), MOVE(18, 17, 15), MOVE(19, 23, 56);
    MOVE(20, 2, 62), MOVE(21, 8, 55), MOVE(22, 14, 39), MOVE(23, 15, 41), MOVE(24, 21, 2);
}

static void chi(const uint64_t b[LANES], uint64_t a[LANES])
{
    for (unsigned y = 0; y < LANES; y += 5) {
        a[y] = b[y] ^ (~b[y + 1] & b[y + 2]);
        a[y + 1] = b[y + 1] ^ (~b[y + 2] & b[y + 3]);
        a[y + 2] = b[y + 2] ^ (~b[y + 3] & b[y + 4]);
        a[y + 3] = b[y + 3] ^ (~b[y + 4] & b[y]);
        a[y + 4] = b[y + 4] ^ (~b[y] & b[y + 1]);
    }
}

static void permute(uint64_t a[LANES])
{
    uint64_t b[LANES];

    for (unsigned round = 0; round < ROUNDS; round++) {
        theta_rho_pi(a, b);
        chi(b, a);
        a[0] ^= round_constants[round];
    }
}

struct sponge {
    uint64_t lanes[LANES];
    size_t filled_bytes; /* of the block in hand, always below RATE_BYTES between calls */
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
        if (sponge->filled_bytes == RATE_BYTES) {
            permute(sponge->lanes);
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
    sponge.lanes[RATE_BYTES / 8 - 1] ^= UINT64_C(0x80) << 56;
    permute(sponge.lanes);
    for (size_t i = 0; i < MIG_DIGEST_SIZE / 8; i++) {
        const uint64_t lane = htole64(sponge.lanes[i]);

        memcpy(ret_digest + 8 * i, &lane, sizeof lane);
    }
}
