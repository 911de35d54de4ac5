/* sign, inside: what its files share. */
#ifndef MIG_SIGN_PRIVATE_H
#define MIG_SIGN_PRIVATE_H

#include "libmigrate/sign/sign.h"

#include <secp256k1.h>

/* The address of a valid public key. context may be any. */
void mig_address_of_key(const secp256k1_context *context, const secp256k1_pubkey *key,
                        struct mig_address *ret_address);

/* The ways to hash many messages, the fastest first; the last is there on every processor. */
struct keccak_way {
    bool (*is_there)(void);
    void (*hash)(struct mig_message *messages, size_t count);
};
extern const struct keccak_way keccak_ways[];
extern const size_t keccak_way_count;

#endif
