/* Signing and finding the signer: published and golden vectors, hostile keys and signatures. */
#include "golden_signatures.h"
#include "libmigrate/sign/sign.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ONE "0000000000000000000000000000000000000000000000000000000000000001"
#define ADDRESS_OF_ONE "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
/* The order of the group, and half of it: the highest s that is low. */
#define ORDER "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

static struct mig_signer *open_signer(const char *text)
{
    struct mig_signer *signer = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_signer_open(text, strlen(text), &signer, &err), MIG_OK, "%s", err.message);
    return signer;
}

static void decode(const char *hex, uint8_t *ret_bytes, size_t size)
{
    size_t got;

    cr_assert_eq(mig_hex_decode(hex, strlen(hex), ret_bytes, size, &got, NULL), MIG_OK);
    cr_assert_eq(got, size);
}

static void assert_hex(const uint8_t *bytes, size_t size, const char *expected)
{
    char text[2 * MIG_SIGNATURE_SIZE + 1];

    cr_assert_leq(size, MIG_SIGNATURE_SIZE);
    mig_hex_encode((struct mig_bytes){bytes, size}, text);
    cr_assert_str_eq(text, expected);
}

static void assert_address(const struct mig_address *address, const char *expected)
{
    char text[MIG_ADDRESS_TEXT_SIZE];

    mig_address_format(address, text);
    cr_assert_str_eq(text, expected);
}

Test(signer, knows_its_address_however_the_key_is_written)
{
    static const char *const ways[] = {KEY_ONE, "0x" KEY_ONE, "  0x" KEY_ONE "\r\n", KEY_ONE "\n"};

    for (size_t i = 0; i < mig_count_of(ways); i++) {
        mig_cleanup(mig_signer_free) struct mig_signer *signer = open_signer(ways[i]);

        assert_address(mig_signer_address(signer), ADDRESS_OF_ONE);
    }
}

Test(signer, refuses_what_is_no_key_without_quoting_it)
{
    static const char *const bad[] = {
        "",
        "0x",
        "   ",
        "5ec7e700000000000000000000000000000000000000000000000000005ec7e",
        "5ec7e700000000000000000000000000000000000000000000000000005ec7e700",
        "5ec7e7gg000000000000000000000000000000000000000000000000005ec7e7",
        "0x0x5ec7e700000000000000000000000000000000000000000000000005ec7e7",
        "0000000000000000000000000000000000000000000000000000000000000000",
        ORDER,
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };

    for (size_t i = 0; i < mig_count_of(bad); i++) {
        struct mig_signer *signer = NULL;
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(mig_signer_open(bad[i], strlen(bad[i]), &signer, &err), MIG_E_USAGE,
                     "case %zu", i);
        cr_assert_null(signer);
        cr_assert_null(strstr(err.message, "5ec7e7"), "%s", err.message);
        cr_assert_null(strstr(err.message, "baaedce6"), "%s", err.message);
    }
}

Test(signer, signs_with_the_nonce_of_rfc_6979)
{
    /* A vector that wallets publish: key 1, SHA-256 of "Satoshi Nakamoto". */
    static const char digest_hex[] =
        "a0dc65ffca799873cbea0ac274015b9526505daaaed385155425f7337704883e";
    static const char expected[] =
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5";
    uint8_t digest[MIG_DIGEST_SIZE];
    uint8_t signature[MIG_SIGNATURE_SIZE];

    decode(digest_hex, digest, sizeof digest);
    /* Each signer blinds itself with other random bytes; that must not show. */
    for (int i = 0; i < 3; i++) {
        mig_cleanup(mig_signer_free) struct mig_signer *signer = open_signer(KEY_ONE);

        cr_assert_eq(mig_sign(signer, digest, signature, NULL), MIG_OK);
        assert_hex(signature, MIG_SIGNATURE_SIZE - 1, expected);
        cr_assert_leq(signature[MIG_SIGNATURE_SIZE - 1], 1);
    }
}

/* The digests as the protocol has them: what is signed, behind words that keep one layer's
 * signature from being passed off as the other's. */
static void payer_digest(uint32_t target, struct mig_bytes client_envelope,
                         uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    const uint8_t number[] = {0, 0, 0, (uint8_t) target};
    const struct mig_bytes pieces[] = {mig_bytes_of_text("target|"),
                                       {number, sizeof number},
                                       mig_bytes_of_text("payer|"),
                                       client_envelope};

    mig_keccak256(pieces, mig_count_of(pieces), ret_digest);
}

static void originator_digest(struct mig_bytes unsigned_envelope,
                              uint8_t ret_digest[MIG_DIGEST_SIZE])
{
    const struct mig_bytes pieces[] = {mig_bytes_of_text("originator|"), unsigned_envelope};

    mig_keccak256(pieces, mig_count_of(pieces), ret_digest);
}

static struct mig_bytes decode_all(const char *hex)
{
    const size_t size = strlen(hex) / 2;
    uint8_t *bytes = malloc(size);

    decode(hex, bytes, size);
    return (struct mig_bytes){bytes, size};
}

static void assert_signs_and_recovers(const struct mig_signer *signer,
                                      const uint8_t digest[MIG_DIGEST_SIZE], const char *expected)
{
    uint8_t signature[MIG_SIGNATURE_SIZE];
    struct mig_address address;

    cr_assert_eq(mig_sign(signer, digest, signature, NULL), MIG_OK);
    assert_hex(signature, sizeof signature, expected);
    cr_assert_eq(mig_recover(digest, signature, &address, NULL), MIG_OK);
    cr_assert(mig_address_equal(&address, mig_signer_address(signer)));
}

Test(signer, reproduces_the_signatures_of_the_golden_vectors)
{
    mig_cleanup(mig_signer_free) struct mig_signer *payer = open_signer(GOLDEN_PAYER_KEY);
    mig_cleanup(mig_signer_free) struct mig_signer *node = open_signer(GOLDEN_NODE_KEY);
    uint8_t digest[MIG_DIGEST_SIZE];

    for (size_t i = 0; i < mig_count_of(golden_signatures); i++) {
        const struct golden_signature *golden = &golden_signatures[i];
        struct mig_bytes client = decode_all(golden->client_envelope);
        struct mig_bytes unsigned_envelope = decode_all(golden->unsigned_envelope);

        payer_digest(golden->target, client, digest);
        assert_signs_and_recovers(payer, digest, golden->payer_signature);
        originator_digest(unsigned_envelope, digest);
        assert_signs_and_recovers(node, digest, golden->originator_signature);
        free((void *) (uintptr_t) client.data);
        free((void *) (uintptr_t) unsigned_envelope.data);
    }
}

static void assert_not_recovered(const uint8_t signature[MIG_SIGNATURE_SIZE], const char *said)
{
    const uint8_t digest[MIG_DIGEST_SIZE] = {1};
    struct mig_address address = {{0x77}};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_recover(digest, signature, &address, &err), MIG_E_CORRUPT);
    cr_assert_not_null(strstr(err.message, said), "%s", err.message);
    cr_assert_eq(address.bytes[0], 0x77, "a failure must leave the output alone");
}

static void sign_something(uint8_t ret_signature[MIG_SIGNATURE_SIZE])
{
    mig_cleanup(mig_signer_free) struct mig_signer *signer = open_signer(KEY_ONE);
    const uint8_t digest[MIG_DIGEST_SIZE] = {1};

    cr_assert_eq(mig_sign(signer, digest, ret_signature, NULL), MIG_OK);
}

Test(recover, refuses_a_recovery_id_above_one)
{
    static const uint8_t bad[] = {2, 3, 4, 27, 28, 255};
    uint8_t signature[MIG_SIGNATURE_SIZE];

    sign_something(signature);
    for (size_t i = 0; i < sizeof bad; i++) {
        signature[MIG_SIGNATURE_SIZE - 1] = bad[i];
        assert_not_recovered(signature, "recovery id");
    }
}

/* order - s, which with the other recovery id is the same signature to the curve. */
static void raise_s(uint8_t signature[MIG_SIGNATURE_SIZE])
{
    uint8_t order[32];
    int borrow = 0;

    decode(ORDER, order, sizeof order);
    for (int i = 31; i >= 0; i--) {
        const int difference = order[i] - signature[32 + i] - borrow;

        borrow = difference < 0;
        signature[32 + i] = (uint8_t) (difference + (borrow ? 256 : 0));
    }
    signature[MIG_SIGNATURE_SIZE - 1] ^= 1;
}

Test(recover, refuses_a_high_s)
{
    uint8_t signature[MIG_SIGNATURE_SIZE];

    sign_something(signature);
    raise_s(signature);
    assert_not_recovered(signature, "upper half");
}

Test(recover, refuses_r_and_s_that_are_zero_or_too_large)
{
    uint8_t signature[MIG_SIGNATURE_SIZE];

    for (size_t half = 0; half < 2; half++) {
        sign_something(signature);
        memset(signature + 32 * half, 0, 32);
        assert_not_recovered(signature, "no public key");
        decode(ORDER, signature + 32 * half, 32);
        assert_not_recovered(signature, "group order");
        memset(signature + 32 * half, 0xFF, 32);
        assert_not_recovered(signature, "group order");
    }
}

Test(recover, gives_another_address_when_the_digest_differs)
{
    uint8_t signature[MIG_SIGNATURE_SIZE];
    const uint8_t digest[MIG_DIGEST_SIZE] = {2};
    struct mig_address address;
    char text[MIG_ADDRESS_TEXT_SIZE];

    sign_something(signature);
    cr_assert_eq(mig_recover(digest, signature, &address, NULL), MIG_OK);
    mig_address_format(&address, text);
    cr_assert_str_neq(text, ADDRESS_OF_ONE);
}

Test(wipe, overwrites_every_byte)
{
    uint8_t secret[40];
    const uint8_t zeros[sizeof secret] = {0};

    memset(secret, 0x5E, sizeof secret);
    mig_wipe(secret, sizeof secret);
    cr_assert_arr_eq(secret, zeros, sizeof secret);
    mig_wipe(NULL, 0);
}

Test(signer, free_takes_null_and_leaves_null)
{
    struct mig_signer *signer = NULL;

    mig_signer_free(&signer);
    signer = open_signer(KEY_ONE);
    mig_signer_free(&signer);
    cr_assert_null(signer);
}
