/*
 * sign: keccak-256, secp256k1 signatures that give their signer away, addresses, and keys that are
 * wiped after use.
 *
 * keccak256 is the original Keccak (padding 0x01), not SHA3-256. Signatures are made with the
 * deterministic nonce of RFC 6979 and a low s: the same key and digest give the same 65 bytes
 * everywhere.
 */
#ifndef MIG_SIGN_H
#define MIG_SIGN_H

#include "libmigrate/base/base.h"

#define MIG_KEY_SIZE 32
#define MIG_DIGEST_SIZE 32
#define MIG_SIGNATURE_SIZE 65 /* r || s || v, v in {0,1} */
#define MIG_ADDRESS_SIZE 20
#define MIG_ADDRESS_TEXT_SIZE 43 /* "0x", 40 digits, NUL */

/* Overwrites memory in a way that no compiler leaves out. */
void mig_wipe(void *memory, size_t size);

/* keccak256 of the pieces one after another. */
void mig_keccak256(const struct mig_bytes *pieces, size_t count,
                   uint8_t ret_digest[MIG_DIGEST_SIZE]);

/* A message of which the keccak256 is wanted: head, then body. */
struct mig_message {
    struct mig_bytes head, body;
    uint8_t digest[MIG_DIGEST_SIZE];
};

/* Fills in the digest of each. Many together take a fraction of the time where the processor has
 * vector registers for it. */
void mig_keccak256_many(struct mig_message *messages, size_t count);

struct mig_address {
    uint8_t bytes[MIG_ADDRESS_SIZE];
};

/* "0x" and the EIP-55 checksummed digits. */
void mig_address_format(const struct mig_address *address, char ret_text[MIG_ADDRESS_TEXT_SIZE]);
bool mig_address_equal(const struct mig_address *a, const struct mig_address *b);

/* A private key ready to sign. Any number of threads may sign with one at the same time. */
struct mig_signer;

/* Takes 32 bytes in hex, with or without 0x, white space around it allowed. The caller wipes text.
 * Errors: MIG_E_USAGE (not 64 digits, zero, or not below the group order; never quotes the text),
 * MIG_E_NOMEM, MIG_E_IO (the system has no random bytes to blind the key with). */
int mig_signer_open(const char *text, size_t length, struct mig_signer **ret_signer,
                    struct mig_error *err);

/* Wipes and frees *signer, sets it to NULL; NULL is fine. */
void mig_signer_free(struct mig_signer **signer);

const struct mig_address *mig_signer_address(const struct mig_signer *signer);

/* Errors: MIG_E_CORRUPT when the curve library refuses (it does not for a valid key). */
int mig_sign(const struct mig_signer *signer, const uint8_t digest[MIG_DIGEST_SIZE],
             uint8_t ret_signature[MIG_SIGNATURE_SIZE], struct mig_error *err);

/* Whose signature this is. Any thread. Errors: MIG_E_CORRUPT (r, s or v out of range, high s, no
 * such point). */
int mig_recover(const uint8_t digest[MIG_DIGEST_SIZE], const uint8_t signature[MIG_SIGNATURE_SIZE],
                struct mig_address *ret_address, struct mig_error *err);

#endif
