/* SHA-256 by OpenSSL: the one digest that files, parts and parity are known by. */
#include "libmigrate/io/io.h"

#include <openssl/evp.h>

static void free_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

int mig_sha256(const struct mig_bytes *pieces, size_t count, uint8_t ret_digest[MIG_SHA256_SIZE],
               struct mig_error *err)
{
    mig_cleanup(free_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; done && i < count; i++)
        if (pieces[i].size)
            done = EVP_DigestUpdate(context, pieces[i].data, pieces[i].size) == 1;
    if (!done || EVP_DigestFinal_ex(context, ret_digest, NULL) != 1)
        return mig_fail(err, MIG_E_NOMEM, "cannot compute a SHA-256 digest: out of memory");
    return MIG_OK;
}
