/* Addresses: the last 20 bytes of the keccak-256 of a public key, shown with the checksum of EIP-55
 * (a letter is a capital where the digest of the lower-case digits has a nibble of 8 or more). */
#include "libmigrate/sign/sign_private.h"

#include <assert.h>
#include <string.h>

#define PUBLIC_KEY_SIZE 65 /* 0x04 || x || y */

void mig_address_of_key(const secp256k1_context *context, const secp256k1_pubkey *key,
                        struct mig_address *ret_address)
{
    uint8_t point[PUBLIC_KEY_SIZE];
    uint8_t digest[MIG_DIGEST_SIZE];
    size_t size = sizeof point;

    secp256k1_ec_pubkey_serialize(context, point, &size, key, SECP256K1_EC_UNCOMPRESSED);
    assert(size == sizeof point);
    mig_keccak256(&(struct mig_bytes){point + 1, sizeof point - 1}, 1, digest);
    memcpy(ret_address->bytes, digest + MIG_DIGEST_SIZE - MIG_ADDRESS_SIZE, MIG_ADDRESS_SIZE);
}

void mig_address_format(const struct mig_address *address, char ret_text[MIG_ADDRESS_TEXT_SIZE])
{
    char *digits = ret_text + 2;
    uint8_t digest[MIG_DIGEST_SIZE];

    memcpy(ret_text, "0x", 2);
    mig_hex_encode((struct mig_bytes){address->bytes, MIG_ADDRESS_SIZE}, digits);
    mig_keccak256(&(struct mig_bytes){(const uint8_t *) digits, 2 * MIG_ADDRESS_SIZE}, 1, digest);
    for (size_t i = 0; i < 2 * (size_t) MIG_ADDRESS_SIZE; i++) {
        const unsigned nibble = i % 2 == 0 ? digest[i / 2] >> 4 : digest[i / 2] & 0x0F;

        if (nibble >= 8 && digits[i] >= 'a')
            digits[i] = (char) (digits[i] - 'a' + 'A');
    }
}

bool mig_address_equal(const struct mig_address *a, const struct mig_address *b)
{
    return memcmp(a->bytes, b->bytes, MIG_ADDRESS_SIZE) == 0;
}
