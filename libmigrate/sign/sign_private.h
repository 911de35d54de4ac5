/* sign, inside: what its files share. */
#ifndef MIG_SIGN_PRIVATE_H
#define MIG_SIGN_PRIVATE_H

#include "libmigrate/sign/sign.h"

#include <secp256k1.h>

/* The address of a valid public key. context may be any. */
void mig_address_of_key(const secp256k1_context *context, const secp256k1_pubkey *key,
                        struct mig_address *ret_address);

#endif
