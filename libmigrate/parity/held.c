/* A node's row taken apart: layers, whose signatures they are, and how they ought to be written. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <string.h>

/* digest is NULL when nobody looks. */
static void name_signer(const uint8_t *digest, struct mig_bytes signature,
                        const struct parity_signer *expected, char ret_text[MIG_ADDRESS_TEXT_SIZE])
{
    struct mig_address address;

    if (signature.size == 0)
        strcpy(ret_text, "no signature");
    else if (signature.size == MIG_SIGNATURE_SIZE && !digest)
        ret_text[0] = '\0';
    else if (signature.size != MIG_SIGNATURE_SIZE ||
             mig_recover(digest, signature.data, &address, NULL) != MIG_OK)
        strcpy(ret_text, "an invalid signature");
    else if (mig_address_equal(&address, &expected->address))
        strcpy(ret_text, expected->text);
    else
        mig_address_format(&address, ret_text);
}

/* Nearly all that a comparison costs. */
static void name_signers(const struct parity_terms *terms, bool recover, struct parity_held *held)
{
    const struct mig_layers *layers = &held->layers;
    const struct mig_bytes *const signatures[] = {&layers->payer_layer.signature,
                                                  &layers->originator_signature};
    uint8_t payer[MIG_DIGEST_SIZE], originator[MIG_DIGEST_SIZE];

    if (recover) {
        mig_payer_digest(layers->payer_layer.target_originator, layers->payer_layer.client_envelope,
                         payer);
        mig_originator_digest(layers->unsigned_envelope, originator);
    }
    name_signer(recover ? payer : NULL, *signatures[0], &terms->payer, held->signers.payer);
    name_signer(recover ? originator : NULL, *signatures[1], &terms->originator,
                held->signers.originator);
    for (size_t i = 0; i < mig_count_of(signatures); i++)
        held->signatures += signatures[i]->size > 0;
    held->signatures_checked = recover ? held->signatures : 0;
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

static bool same_envelope(const struct mig_node_row *row, const struct parity_held *twin)
{
    return twin && twin->row && row->has_envelope && twin->row->has_envelope &&
           mig_bytes_equal(row->originator_envelope, twin->row->originator_envelope);
}

int parity_held_read(const struct parity_terms *terms, const struct mig_node_row *row,
                     const struct parity_held *twin, bool recover, struct mig_arena *arena,
                     struct parity_held *ret_held, struct mig_error *err)
{
    struct parity_held held = {.row = row};
    struct mig_error trouble = MIG_ERROR_INIT;
    int result = MIG_OK;

    if (same_envelope(row, twin)) {
        *ret_held = *twin;
        ret_held->row = row;
        return MIG_OK;
    }
    if (row->has_envelope)
        result =
            mig_originator_envelope_parse(row->originator_envelope, arena, &held.layers, &trouble);
    if (result == MIG_E_NOMEM)
        return mig_fail(err, MIG_E_NOMEM, "%s", trouble.message);
    held.readable = row->has_envelope && result == MIG_OK;
    snprintf(held.trouble, sizeof held.trouble, "%.*s", (int) sizeof held.trouble - 1,
             trouble.message);
    if (held.readable) {
        name_signers(terms, recover, &held);
        if ((result = rewrite(&held, arena, err)) != MIG_OK)
            return result;
    }
    *ret_held = held;
    return MIG_OK;
}
