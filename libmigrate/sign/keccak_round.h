/*
 * Keccak-f[1600] over whatever `keccak_word` is where this is included: a lane of one state, or the
 * same lane of several states side by side. Names follow the Keccak reference. Vectors must be
 * inlined into a function for their processor; of one state a round by itself fits its registers
 * better: KECCAK_ROUND_INLINING says which.
 */
#ifndef MIG_KECCAK_ROUND_H
#define MIG_KECCAK_ROUND_H

#include <stdint.h>

#define KECCAK_RATE_BYTES 136
#define KECCAK_LANES 25
#define KECCAK_ROUNDS 24

static const uint64_t keccak_constants[KECCAK_ROUNDS] = {
    UINT64_C(0x0000000000000001), UINT64_C(0x0000000000008082), UINT64_C(0x800000000000808a),
    UINT64_C(0x8000000080008000), UINT64_C(0x000000000000808b), UINT64_C(0x0000000080000001),
    UINT64_C(0x8000000080008081), UINT64_C(0x8000000000008009), UINT64_C(0x000000000000008a),
    UINT64_C(0x0000000000000088), UINT64_C(0x0000000080008009), UINT64_C(0x000000008000000a),
    UINT64_C(0x000000008000808b), UINT64_C(0x800000000000008b), UINT64_C(0x8000000000008089),
    UINT64_C(0x8000000000008003), UINT64_C(0x8000000000008002), UINT64_C(0x8000000000000080),
    UINT64_C(0x000000000000800a), UINT64_C(0x800000008000000a), UINT64_C(0x8000000080008081),
    UINT64_C(0x8000000000008080), UINT64_C(0x0000000080000001), UINT64_C(0x8000000080008008),
};

/* Macros, because a vector may not be passed by value to a function for any processor. */
#define ROTATE(lane, by) ((lane) << (by) | (lane) >> (64 - (by)) % 64)

/* Theta's column parities; and a lane with theta's part and rho's rotation, on its way to the place
 * that pi gives it. */
#define PARITY(x) (a[x] ^ a[(x) + 5] ^ a[(x) + 10] ^ a[(x) + 15] ^ a[(x) + 20])
#define LANE(from, by) ROTATE(a[from] ^ d[(from) % 5], by)

#define CHI(row, l0, l1, l2, l3, l4)                                                               \
    do {                                                                                           \
        const keccak_word b[5] = {l0, l1, l2, l3, l4};                                             \
                                                                                                   \
        e[row] = b[0] ^ (~b[1] & b[2]);                                                            \
        e[(row) + 1] = b[1] ^ (~b[2] & b[3]);                                                      \
        e[(row) + 2] = b[2] ^ (~b[3] & b[4]);                                                      \
        e[(row) + 3] = b[3] ^ (~b[4] & b[0]);                                                      \
        e[(row) + 4] = b[4] ^ (~b[0] & b[1]);                                                      \
    } while (0)

/* Written out and from one state into another: only so does the compiler hold a row in registers
 * and turn constants into plain rotations. */
static KECCAK_ROUND_INLINING void keccak_round(const keccak_word a[KECCAK_LANES],
                                               keccak_word e[KECCAK_LANES], uint64_t constant)
{
    const keccak_word c[5] = {PARITY(0), PARITY(1), PARITY(2), PARITY(3), PARITY(4)};
    const keccak_word d[5] = {c[4] ^ ROTATE(c[1], 1), c[0] ^ ROTATE(c[2], 1),
                              c[1] ^ ROTATE(c[3], 1), c[2] ^ ROTATE(c[4], 1),
                              c[3] ^ ROTATE(c[0], 1)};

    CHI(0, LANE(0, 0), LANE(6, 44), LANE(12, 43), LANE(18, 21), LANE(24, 14));
    CHI(5, LANE(3, 28), LANE(9, 20), LANE(10, 3), LANE(16, 45), LANE(22, 61));
    CHI(10, LANE(1, 1), LANE(7, 6), LANE(13, 25), LANE(19, 8), LANE(20, 18));
    CHI(15, LANE(4, 27), LANE(5, 36), LANE(11, 10), LANE(17, 15), LANE(23, 56));
    CHI(20, LANE(2, 62), LANE(8, 55), LANE(14, 39), LANE(15, 41), LANE(21, 2));
    e[0] ^= constant;
}

static inline __attribute__((always_inline)) void keccak_permute(keccak_word a[KECCAK_LANES])
{
    keccak_word e[KECCAK_LANES];

    for (unsigned round = 0; round < KECCAK_ROUNDS; round += 2) {
        keccak_round(a, e, keccak_constants[round]);
        keccak_round(e, a, keccak_constants[round + 1]);
    }
}

#endif
