/*
 * Private keys that sign, and finding out who signed. libsecp256k1 does the curve; here are the
 * rules around it: how a key is written, who owns which context, that no secret stays in memory.
 */
#include "libmigrate/sign/sign_private.h"

#include <pthread.h>
#include <secp256k1_preallocated.h>
#include <secp256k1_recovery.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SEED_SIZE 32

/* Signing only reads the context, so that threads can share it. */
struct mig_signer {
    secp256k1_context *context; /* in memory of our own */
    size_t context_size;
    struct mig_address address;
    uint8_t key[MIG_KEY_SIZE];
};

void mig_wipe(void *memory, size_t size)
{
    if (memory)
        explicit_bzero(memory, size);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int decode_key(const char *text, size_t length, uint8_t ret_key[MIG_KEY_SIZE],
                      struct mig_error *err)
{
    size_t size = 0;

    while (length > 0 && is_space(*text))
        text++, length--;
    while (length > 0 && is_space(text[length - 1]))
        length--;
    if (length >= 2 && text[0] == '0' && text[1] == 'x')
        text += 2, length -= 2;
    if (length != 2 * MIG_KEY_SIZE)
        return mig_fail(err, MIG_E_USAGE, "a key is %d hexadecimal digits, not %zu characters",
                        2 * MIG_KEY_SIZE, length);
    if (mig_hex_decode(text, length, ret_key, MIG_KEY_SIZE, &size, NULL) != MIG_OK)
        return mig_fail(err, MIG_E_USAGE, "a key is %d hexadecimal digits; this one has others",
                        2 * MIG_KEY_SIZE);
    return MIG_OK;
}

/* libsecp256k1 would end the process when memory is out: it gets ours instead. NULL without. */
static secp256k1_context *new_context(const uint8_t seed[SEED_SIZE], size_t *ret_size)
{
    const size_t size = secp256k1_context_preallocated_size(SECP256K1_CONTEXT_NONE);
    void *memory = malloc(size);
    secp256k1_context *context;

    if (!memory)
        return NULL;
    context = secp256k1_context_preallocated_create(memory, SECP256K1_CONTEXT_NONE);
    /* Blinding, against whoever measures us while we sign. It cannot fail for such a context. */
    (void) !secp256k1_context_randomize(context, seed);
    *ret_size = size;
    return context;
}

static int fill_signer(struct mig_signer *signer, const char *text, size_t length,
                       struct mig_error *err)
{
    secp256k1_pubkey public_key;
    uint8_t seed[SEED_SIZE];
    int result = decode_key(text, length, signer->key, err);

    if (result != MIG_OK)
        return result;
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return mig_fail(err, MIG_E_IO, "cannot open a key: the system gives no random bytes");
    signer->context = new_context(seed, &signer->context_size);
    mig_wipe(seed, sizeof seed);
    if (!signer->context)
        return mig_fail(err, MIG_E_NOMEM, "cannot open a key: out of memory");
    if (!secp256k1_ec_pubkey_create(signer->context, &public_key, signer->key))
        return mig_fail(err, MIG_E_USAGE,
                        "a key is a number above zero and below the order of secp256k1; this one "
                        "is not");
    mig_address_of_key(signer->context, &public_key, &signer->address);
    return MIG_OK;
}

int mig_signer_open(const char *text, size_t length, struct mig_signer **ret_signer,
                    struct mig_error *err)
{
    struct mig_signer *signer = calloc(1, sizeof *signer);
    int result;

    if (!signer)
        return mig_fail(err, MIG_E_NOMEM, "cannot open a key: out of memory");
    result = fill_signer(signer, text, length, err);
    if (result == MIG_OK)
        *ret_signer = signer;
    else
        mig_signer_free(&signer);
    return result;
}

void mig_signer_free(struct mig_signer **signer)
{
    struct mig_signer *s = mig_take(*signer);

    if (!s)
        return;
    if (s->context) {
        secp256k1_context_preallocated_destroy(s->context);
        mig_wipe(s->context, s->context_size);
        free(s->context);
    }
    mig_wipe(s, sizeof *s);
    free(s);
}

const struct mig_address *mig_signer_address(const struct mig_signer *signer)
{
    return &signer->address;
}

int mig_sign(const struct mig_signer *signer, const uint8_t digest[MIG_DIGEST_SIZE],
             uint8_t ret_signature[MIG_SIGNATURE_SIZE], struct mig_error *err)
{
    secp256k1_ecdsa_recoverable_signature signature;
    int recovery_id;

    if (!secp256k1_ecdsa_sign_recoverable(signer->context, &signature, digest, signer->key, NULL,
                                          NULL))
        return mig_fail(err, MIG_E_CORRUPT, "libsecp256k1 refuses to sign");
    secp256k1_ecdsa_recoverable_signature_serialize_compact(signer->context, ret_signature,
                                                            &recovery_id, &signature);
    ret_signature[MIG_SIGNATURE_SIZE - 1] = (uint8_t) recovery_id;
    return MIG_OK;
}

/* The static context is not covered by the self-test that made ones get. */
static void test_library_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, secp256k1_selftest);
}

int mig_recover(const uint8_t digest[MIG_DIGEST_SIZE], const uint8_t signature[MIG_SIGNATURE_SIZE],
                struct mig_address *ret_address, struct mig_error *err)
{
    const secp256k1_context *const context = secp256k1_context_static;
    const uint8_t recovery_id = signature[MIG_SIGNATURE_SIZE - 1];
    secp256k1_ecdsa_recoverable_signature recoverable;
    secp256k1_ecdsa_signature plain;
    secp256k1_pubkey key;

    test_library_once();
    if (recovery_id > 1)
        return mig_fail(err, MIG_E_CORRUPT, "a signature's recovery id is %u, neither 0 nor 1",
                        recovery_id);
    if (!secp256k1_ecdsa_recoverable_signature_parse_compact(context, &recoverable, signature,
                                                             recovery_id))
        return mig_fail(err, MIG_E_CORRUPT, "a signature's r or s is not below the group order");
    secp256k1_ecdsa_recoverable_signature_convert(context, &plain, &recoverable);
    if (secp256k1_ecdsa_signature_normalize(context, NULL, &plain))
        return mig_fail(err, MIG_E_CORRUPT, "a signature's s is in the upper half");
    if (!secp256k1_ecdsa_recover(context, &key, &recoverable, digest))
        return mig_fail(err, MIG_E_CORRUPT, "a signature belongs to no public key");
    mig_address_of_key(context, &key, ret_address);
    return MIG_OK;
}
