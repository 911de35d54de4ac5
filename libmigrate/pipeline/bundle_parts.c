/*
 * Parts out of a bundle of envelopes, as a run would have them: what goes to nodes and what goes to
 * the chain in one, in the order of their ids. The digests in a bundle tell damage, not who made
 * it: that is told by the signatures.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool has_chain_rows(const struct mig_part *part)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (part->tally.kinds[kind].for_chain > 0)
            return true;
    return false;
}

/* Whether the next row in order is the sibling's. */
static bool is_siblings(const struct mig_part *part, size_t a, const struct mig_part *sibling,
                        size_t b)
{
    return b < sibling->row_count &&
           (a == part->row_count || sibling->rows[b].id < part->rows[a].id);
}

/* Takes the sibling's rows into part, where nothing is left of them to tell the two apart. */
static int join(struct mig_part *part, struct mig_part *sibling, struct mig_error *err)
{
    const size_t count = part->row_count + sibling->row_count;
    struct mig_row *rows = calloc(count + 1, sizeof *rows);
    struct mig_envelope *envelopes = calloc(count + 1, sizeof *envelopes);
    int result = rows && envelopes ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");

    for (size_t at = 0, a = 0, b = 0; at < count && result == MIG_OK; at++) {
        const bool siblings = is_siblings(part, a, sibling, b);
        const struct mig_part *from = siblings ? sibling : part;
        const size_t place = siblings ? b++ : a++;

        rows[at] = from->rows[place];
        envelopes[at] = from->envelopes[place];
        envelopes[at].row = &rows[at];
        if (at > 0 && rows[at - 1].id == rows[at].id)
            result = mig_fail(err, MIG_E_CORRUPT, "%s %" PRId64 " is both for nodes and the chain",
                              mig_table_info(part->table)->name, rows[at].id);
    }
    if (result != MIG_OK) {
        free(rows);
        free(envelopes);
        return result;
    }
    free(part->rows);
    free(part->envelopes);
    part->rows = rows;
    part->envelopes = envelopes;
    part->row_count = part->row_capacity = count;
    mig_arena_join(&part->arena, &sibling->arena);
    return MIG_OK;
}

static int expect_signer(const uint8_t digest[MIG_DIGEST_SIZE], struct mig_bytes signature,
                         const char *who, const char *expected, const struct mig_envelope *envelope,
                         struct mig_error *err)
{
    struct mig_address address;
    char text[MIG_ADDRESS_TEXT_SIZE] = "";

    if (signature.size == MIG_SIGNATURE_SIZE &&
        mig_recover(digest, signature.data, &address, NULL) == MIG_OK)
        mig_address_format(&address, text);
    if (strcmp(text, expected) == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_CORRUPT,
             "it says that it is signed by %s %s, but %s %" PRId64 " in it is not", who, expected,
             mig_kind_info(envelope->kind)->name, envelope->sequence_id);
    return mig_hint(err, "somebody changed it: make the envelopes anew with xmtp-transform");
}

/* Of the first envelope for nodes: who can forge one of a part can forge all, who can't is found
 * by parity in any. */
int bundle_parts_judge(const struct mig_bundle_facts *facts, const struct mig_part *part,
                       struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    const struct mig_envelope *envelope = NULL;
    struct mig_layers layers;
    uint8_t digest[MIG_DIGEST_SIZE];
    int result;

    for (size_t i = 0; i < part->row_count && part->envelopes && !envelope; i++)
        if (part->envelopes[i].route == MIG_ROUTE_NODE)
            envelope = &part->envelopes[i];
    if (!envelope)
        return MIG_OK;
    if ((result = mig_originator_envelope_parse(envelope->originator_envelope, &arena, &layers,
                                                err)) != MIG_OK)
        return result;
    mig_payer_digest(layers.payer_layer.target_originator, layers.payer_layer.client_envelope,
                     digest);
    if ((result = expect_signer(digest, layers.payer_layer.signature, "payer", facts->payer,
                                envelope, err)) != MIG_OK)
        return result;
    mig_originator_digest(layers.unsigned_envelope, digest);
    return expect_signer(digest, layers.originator_signature, "originator", facts->originator,
                         envelope, err);
}

int bundle_parts_next(struct mig_bundle_reader *reader, struct mig_part **ret_part,
                      struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    mig_cleanup(mig_part_free) struct mig_part *chain = NULL;
    const struct mig_bundle_entry *entry;
    int result = mig_bundle_next(reader, &part, NULL, err);

    if (result == MIG_OK && part && has_chain_rows(part)) {
        result = mig_bundle_next(reader, &chain, &entry, err);
        if (result == MIG_OK && (!chain || !entry->chain || chain->first_id != part->first_id))
            result = mig_fail(err, MIG_E_CORRUPT, "a part's chain-bound rows do not follow it");
        if (result == MIG_OK)
            result = join(part, chain, err);
    }
    if (result == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}
