/* A node's row taken apart: layers, whose signatures they are, and how they ought to be written. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <string.h>

static void name_signer(const uint8_t digest[MIG_DIGEST_SIZE], struct mig_bytes signature,
                        char ret_text[MIG_ADDRESS_TEXT_SIZE])
{
    struct mig_address address;

    if (signature.size == 0)
        strcpy(ret_text, "no signature");
    else if (signature.size != MIG_SIGNATURE_SIZE ||
             mig_recover(digest, signature.data, &address, NULL) != MIG_OK)
        strcpy(ret_text, "an invalid signature");
    else
        mig_address_format(&address, ret_text);
}

static void recover_signers(const struct mig_layers *layers, struct parity_signers *ret_signers)
{
    uint8_t digest[MIG_DIGEST_SIZE];

    mig_payer_digest(layers->payer_layer.target_originator, layers->payer_layer.client_envelope,
                     digest);
    name_signer(digest, layers->payer_layer.signature, ret_signers->payer);
    mig_originator_digest(layers->unsigned_envelope, digest);
    name_signer(digest, layers->originator_signature, ret_signers->originator);
}

/* Recovering is nearly all that a comparison costs; the same bytes have the same signers. */
static int name_signers(struct parity_held *held, struct parity_known *known, struct mig_error *err)
{
    uint8_t digest[MIG_SHA256_SIZE];
    int result;

    if (!known) {
        recover_signers(&held->layers, &held->signers);
        return MIG_OK;
    }
    if ((result = mig_sha256(&held->row->originator_envelope, 1, digest, err)) != MIG_OK)
        return result;
    if (!known->set || memcmp(known->digest, digest, sizeof digest) != 0) {
        recover_signers(&held->layers, &known->signers);
        memcpy(known->digest, digest, sizeof digest);
        known->set = true;
    }
    held->signers = known->signers;
    return MIG_OK;
}

/* Protobuf lets the same values be written in many ways, and lets unknown fields pass: only what
 * comes out the same when written anew holds nothing else. */
static int rewrite(struct parity_held *held, struct mig_arena *arena, struct mig_error *err)
{
    struct mig_unsigned_layer layer = held->layers.unsigned_layer;
    struct mig_bytes unsigned_envelope;
    int result;

    if (held->layers.payer_layer.signature.size == 0 || held->layers.originator_signature.size == 0)
        return MIG_OK;
    if ((result = mig_payer_envelope_build(&held->layers.payer_layer, arena, &layer.payer_envelope,
                                           err)) != MIG_OK ||
        (result = mig_unsigned_envelope_build(&layer, arena, &unsigned_envelope, err)) != MIG_OK)
        return result;
    return mig_originator_envelope_build(unsigned_envelope, held->layers.originator_signature,
                                         arena, &held->rewritten, err);
}

int parity_held_read(const struct mig_node_row *row, struct parity_known *known,
                     struct mig_arena *arena, struct parity_held *ret_held, struct mig_error *err)
{
    struct parity_held held = {.row = row};
    struct mig_error trouble = MIG_ERROR_INIT;
    int result = MIG_OK;

    if (row->has_envelope)
        result =
            mig_originator_envelope_parse(row->originator_envelope, arena, &held.layers, &trouble);
    if (result == MIG_E_NOMEM)
        return mig_fail(err, MIG_E_NOMEM, "%s", trouble.message);
    held.readable = row->has_envelope && result == MIG_OK;
    snprintf(held.trouble, sizeof held.trouble, "%.*s", (int) sizeof held.trouble - 1,
             trouble.message);
    if (held.readable && ((result = name_signers(&held, known, err)) != MIG_OK ||
                          (result = rewrite(&held, arena, err)) != MIG_OK))
        return result;
    *ret_held = held;
    return MIG_OK;
}
