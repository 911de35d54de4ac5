/*
 * keccak-256 of many messages side by side: lane i of one state stands beside lane i of the others
 * in a vector register. A state whose message has ended takes up the next one, so that all work to
 * the end whatever the messages' lengths.
 */
#include "libmigrate/sign/sign_private.h"

#include <endian.h>
#include <string.h>

#define STATES 4 /* as many as AVX2 has room for; AVX-512 adds registers and rotations */

typedef uint64_t keccak_word __attribute__((vector_size(8 * STATES)));
#define KECCAK_ROUND_INLINING inline __attribute__((always_inline))

#include "libmigrate/sign/keccak_round.h"

#define BLOCK_LANES (KECCAK_RATE_BYTES / 8)

struct place {
    struct mig_message *message; /* NULL when there are no more */
    size_t absorbed;             /* bytes of head and body; beyond them once the padding went in */
};

static size_t copy_from(struct mig_bytes piece, size_t offset, uint8_t *to, size_t room)
{
    const size_t left = piece.size > offset ? piece.size - offset : 0;
    const size_t size = left < room ? left : room;

    if (size > 0)
        memcpy(to, piece.data + offset, size);
    return size;
}

/* The next block: where it lies in the body, or put together in memory. */
static const uint8_t *next_block(const struct place *place, uint8_t memory[KECCAK_RATE_BYTES])
{
    const struct mig_bytes head = place->message->head, body = place->message->body;
    const size_t into_body = place->absorbed > head.size ? place->absorbed - head.size : 0;
    size_t filled;

    if (place->absorbed >= head.size && body.size - into_body >= KECCAK_RATE_BYTES)
        return body.data + into_body;
    filled = copy_from(head, place->absorbed, memory, KECCAK_RATE_BYTES);
    filled += copy_from(body, into_body, memory + filled, KECCAK_RATE_BYTES - filled);
    if (filled == KECCAK_RATE_BYTES)
        return memory;
    memset(memory + filled, 0, KECCAK_RATE_BYTES - filled);
    memory[filled] = 0x01;
    memory[KECCAK_RATE_BYTES - 1] |= 0x80;
    return memory;
}

static void absorb(struct place *place, unsigned state, uint64_t block[BLOCK_LANES][STATES])
{
    uint8_t memory[KECCAK_RATE_BYTES];
    const uint8_t *bytes = next_block(place, memory);

    for (unsigned lane = 0; lane < BLOCK_LANES; lane++) {
        uint64_t value;

        memcpy(&value, bytes + 8 * (size_t) lane, sizeof value);
        block[lane][state] = le64toh(value);
    }
    place->absorbed += KECCAK_RATE_BYTES;
}

static bool has_ended(const struct place *place)
{
    return place->absorbed > place->message->head.size + place->message->body.size;
}

static inline __attribute__((always_inline)) void
give_digest(const keccak_word state[KECCAK_LANES], unsigned which, struct mig_message *message)
{
    for (unsigned lane = 0; lane < MIG_DIGEST_SIZE / 8; lane++) {
        const uint64_t value = htole64(state[lane][which]);

        memcpy(message->digest + 8 * (size_t) lane, &value, sizeof value);
    }
}

static inline __attribute__((always_inline)) void hash_all(struct mig_message *messages,
                                                           size_t count)
{
    keccak_word state[KECCAK_LANES] = {0}, added;
    _Alignas(8 * STATES) uint64_t block[BLOCK_LANES][STATES] = {0};
    struct place places[STATES] = {0};
    size_t next = 0, ended = 0;

    for (; next < STATES && next < count; next++)
        places[next].message = &messages[next];
    while (ended < count) {
        for (unsigned i = 0; i < STATES; i++)
            if (places[i].message)
                absorb(&places[i], i, block);
        for (unsigned lane = 0; lane < BLOCK_LANES; lane++) {
            memcpy(&added, block[lane], sizeof added);
            state[lane] ^= added;
        }
        keccak_permute(state);
        for (unsigned i = 0; i < STATES; i++) {
            if (!places[i].message || !has_ended(&places[i]))
                continue;
            give_digest(state, i, places[i].message);
            for (unsigned lane = 0; lane < KECCAK_LANES; lane++)
                state[lane][i] = 0;
            places[i] = (struct place){next < count ? &messages[next] : NULL, 0};
            next++;
            ended++;
        }
    }
}

static bool always_there(void)
{
    return true;
}

static void hash_one_by_one(struct mig_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mig_keccak256((struct mig_bytes[]){messages[i].head, messages[i].body}, 2,
                      messages[i].digest);
}

#ifdef __x86_64__

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512vl");
}

__attribute__((target("avx512f,avx512vl"))) static void
hash_with_avx512(struct mig_message *messages, size_t count)
{
    hash_all(messages, count);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static void hash_with_avx2(struct mig_message *messages,
                                                           size_t count)
{
    hash_all(messages, count);
}

#endif

const struct keccak_way keccak_ways[] = {
#ifdef __x86_64__
    {has_avx512, hash_with_avx512},
    {has_avx2, hash_with_avx2},
#endif
    {always_there, hash_one_by_one},
};
const size_t keccak_way_count = mig_count_of(keccak_ways);

void mig_keccak256_many(struct mig_message *messages, size_t count)
{
    const struct keccak_way *way = keccak_ways;

    if (count == 1)
        way = &keccak_ways[keccak_way_count - 1];
    while (!way->is_there())
        way++;
    way->hash(messages, count);
}
