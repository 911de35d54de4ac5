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
    return lane << by | lane >> (64 - by) % 64;
}

static inline void chi(uint64_t row[5], uint64_t b0, uint64_t b1, uint64_t b2, uint64_t b3,
                       uint64_t b4)
{
    row[0] = b0 ^ (~b1 & b2);
    row[1] = b1 ^ (~b2 & b3);
    row[2] = b2 ^ (~b3 & b4);
    row[3] = b3 ^ (~b4 & b0);
    row[4] = b4 ^ (~b0 & b1);
}

/* Theta's column parities; and a lane with theta's part and rho's rotation, on its way to the place
 * that pi gives it. */
#define PARITY(x) (a[x] ^ a[(x) + 5] ^ a[(x) + 10] ^ a[(x) + 15] ^ a[(x) + 20])
#define LANE(from, by) rotate(a[from] ^ d[(from) % 5], by)

/* One round, written out and from one state into another: only so does the compiler hold a row in
 * registers and turn constants into plain rotations. */
static inline void step(const uint64_t a[LANES], uint64_t e[LANES], uint64_t constant)
{
    const uint64_t c[5] = {PARITY(0), PARITY(1), PARITY(2), PARITY(3), PARITY(4)};
    const uint64_t d[5] = {c[4] ^ rotate(c[1], 1), c[0] ^ rotate(c[2], 1), c[1] ^ rotate(c[3], 1),
                           c[2] ^ rotate(c[4], 1), c[3] ^ rotate(c[0], 1)};

    chi(&e[0], LANE(0, 0), LANE(6, 44), LANE(12, 43), LANE(18, 21), LANE(24, 14));
    chi(&e[5], LANE(3, 28), LANE(9, 20), LANE(10, 3), LANE(16, 45), LANE(22, 61));
    chi(&e[10], LANE(1, 1), LANE(7, 6), LANE(13, 25), LANE(19, 8), LANE(20, 18));
    chi(&e[15], LANE(4, 27), LANE(5, 36), LANE(11, 10), LANE(17, 15), LANE(23, 56));
    chi(&e[20], LANE(2, 62), LANE(8, 55), LANE(14, 39), LANE(15, 41), LANE(21, 2));
    e[0] ^= constant;
}

static void permute(uint64_t a[LANES])
{
    uint64_t e[LANES];

    for (unsigned round = 0; round < ROUNDS; round += 2) {
        step(a, e, round_constants[round]);
        step(e, a, round_constants[round + 1]);
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
