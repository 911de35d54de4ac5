/* keccak-256 against published digests, around the edges of its block, and fed in pieces. */
#include "libmigrate/sign/sign_private.h"

#include <criterion/criterion.h>
#include <string.h>

static void assert_digest(const struct mig_bytes *pieces, size_t count, const char *expected)
{
    uint8_t digest[MIG_DIGEST_SIZE];
    char text[2 * MIG_DIGEST_SIZE + 1];

    mig_keccak256(pieces, count, digest);
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, text);
    cr_assert_str_eq(text, expected);
}

static void assert_text_digest(const char *text, const char *expected)
{
    assert_digest(&(struct mig_bytes){(const uint8_t *) text, strlen(text)}, 1, expected);
}

Test(keccak, gives_the_published_digests)
{
    assert_text_digest("", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    assert_text_digest("abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    assert_text_digest("The quick brown fox jumps over the lazy dog",
                       "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15");
    /* An event's topic, as every block explorer shows it. */
    assert_text_digest("Transfer(address,address,uint256)",
                       "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
}

/* The block has 136 bytes: the padding fits in one byte, takes a block of its own, or two bytes
 * more. */
static const struct {
    size_t size;
    const char *digest;
} runs_of_a[] = {
    {135, "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"},
    {136, "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e"},
    {137, "d869f639c7046b4929fc92a4d988a8b22c55fbadb802c0c66ebcd484f1915f39"},
    {272, "cf7fcd4f705ee749930d19ca84561a9bf62516bd90a471545fa2f49fdc7e63c8"},
    {1000, "b6a4ac1f51884d71f30fa397a5e155de3099e11fc0edef5d08b646e621e19de9"},
};

Test(keccak, holds_at_the_edges_of_a_block)
{
    uint8_t run[1000];

    memset(run, 'a', sizeof run);
    for (size_t i = 0; i < mig_count_of(runs_of_a); i++)
        assert_digest(&(struct mig_bytes){run, runs_of_a[i].size}, 1, runs_of_a[i].digest);
}

Test(keccak, gives_the_same_digest_however_the_bytes_are_cut)
{
    static const char expected[] =
        "5902e53903be0d0f9656bdbd5b9f0d8c2d815f865645d629eef77f5185f6cd7f";
    uint8_t bytes[1024];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) i;
    for (size_t first = 0; first <= 300; first++) {
        const size_t second = (first * 7) % (sizeof bytes - first);
        const struct mig_bytes pieces[] = {
            {bytes, first},
            {NULL, 0},
            {bytes + first, second},
            {bytes + first + second, sizeof bytes - first - second},
        };

        assert_digest(pieces, mig_count_of(pieces), expected);
    }
}

Test(keccak, of_no_pieces_is_that_of_the_empty_text)
{
    assert_digest(NULL, 0, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
}

#define MANY 150

/* Lengths around each edge, in an order in which none stands beside its like; and the last is long,
 * so that it is alone for a while. */
static void lay_out(const uint8_t *bytes, size_t size, struct mig_message messages[MANY])
{
    for (size_t i = 0; i < MANY; i++) {
        const size_t head = i % 3 == 0 ? 0 : (i * 31) % 140, body = (i * 89) % 420;

        messages[i] =
            (struct mig_message){.head = {bytes + i, head}, .body = {bytes + 2 * i, body}};
    }
    messages[MANY - 1].body = (struct mig_bytes){bytes, size};
}

Test(keccak, of_many_is_that_of_each)
{
    static uint8_t bytes[5000];
    struct mig_message messages[MANY];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) (i * i >> 3);
    for (size_t way = 0; way < keccak_way_count; way++) {
        if (!keccak_ways[way].is_there())
            continue;
        for (size_t count = 0; count <= MANY; count += count < 20 ? 1 : 43) {
            lay_out(bytes, sizeof bytes, messages);
            keccak_ways[way].hash(&messages[MANY - count], count);
            for (size_t i = MANY - count; i < MANY; i++) {
                uint8_t digest[MIG_DIGEST_SIZE];

                mig_keccak256((struct mig_bytes[]){messages[i].head, messages[i].body}, 2, digest);
                cr_assert_arr_eq(messages[i].digest, digest, sizeof digest,
                                 "way %zu, %zu messages, number %zu", way, count, i);
            }
        }
    }
}
