/* One envelope as it must be against one row as it is. Each side is a list of facts; the table says
 * how each fact is called, where it stands, and how it is shown. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TOPIC_SHOWN 48 /* a topic of so many bytes is shown in clear, all else as a digest */

struct facts {
    struct mig_bytes topic, client_envelope, envelope;
    int64_t expiry, gateway_time_us, originator_ns;
    uint64_t envelope_expiry, base_fee, congestion_fee, sequence_id;
    uint64_t originator, target_originator, retention_days;
    const char *payer, *payer_signer, *originator_signer;
};

enum fact_type { FACT_TOPIC, FACT_BYTES, FACT_SIGNED, FACT_UNSIGNED, FACT_TEXT };

enum {
    NEEDS_ENVELOPE = 1,
    NEEDS_CLOCK = 2, /* an envelope gives it */
    NEEDS_REWRITTEN = 4,
    NEEDS_PAYER_SIGNER = 8,
    NEEDS_ORIGINATOR_SIGNER = 16,
};

#define FACT(member) offsetof(struct facts, member)

static const struct check {
    const char *what, *where;
    enum fact_type type;
    size_t offset;
    unsigned needs;
} checks[] = {
    {"topic", "meta", FACT_TOPIC, FACT(topic), 0},
    {"expiry", "meta", FACT_SIGNED, FACT(expiry), 0},
    {"time", "meta", FACT_SIGNED, FACT(gateway_time_us), NEEDS_CLOCK},
    {"payer", "meta", FACT_TEXT, FACT(payer), 0},
    {"originator", "envelope", FACT_UNSIGNED, FACT(originator), NEEDS_ENVELOPE},
    {"sequence_id", "envelope", FACT_UNSIGNED, FACT(sequence_id), NEEDS_ENVELOPE},
    {"time", "envelope", FACT_SIGNED, FACT(originator_ns), NEEDS_ENVELOPE},
    {"fee", "envelope", FACT_UNSIGNED, FACT(base_fee), NEEDS_ENVELOPE},
    {"fee", "envelope, congestion", FACT_UNSIGNED, FACT(congestion_fee), NEEDS_ENVELOPE},
    {"expiry", "envelope", FACT_UNSIGNED, FACT(envelope_expiry), NEEDS_ENVELOPE},
    {"target_originator", "envelope", FACT_UNSIGNED, FACT(target_originator), NEEDS_ENVELOPE},
    {"retention", "envelope", FACT_UNSIGNED, FACT(retention_days), NEEDS_ENVELOPE},
    {"client_envelope", "envelope", FACT_BYTES, FACT(client_envelope), NEEDS_ENVELOPE},
    {"payer_signer", "envelope", FACT_TEXT, FACT(payer_signer),
     NEEDS_ENVELOPE | NEEDS_PAYER_SIGNER},
    {"originator_signer", "envelope", FACT_TEXT, FACT(originator_signer),
     NEEDS_ENVELOPE | NEEDS_ORIGINATOR_SIGNER},
    {"encoding", "envelope", FACT_BYTES, FACT(envelope), NEEDS_ENVELOPE | NEEDS_REWRITTEN},
};

static struct facts expect(const struct parity_terms *terms, const struct mig_envelope *expected,
                           const struct parity_held *held)
{
    const struct mig_kind_info *info = mig_kind_info(expected->kind);

    return (struct facts){
        .topic = expected->topic,
        .client_envelope = expected->client_envelope,
        .envelope = held->rewritten,
        .expiry = expected->expiry_unixtime,
        .gateway_time_us = expected->gateway_time_us,
        .originator_ns = expected->originator_ns,
        .envelope_expiry = (uint64_t) expected->expiry_unixtime,
        .base_fee = expected->base_fee_picodollars,
        .sequence_id = (uint64_t) expected->sequence_id,
        .originator = info->signed_originator,
        .target_originator = info->signed_originator,
        .retention_days = terms->manifest->policy.retention_days[expected->kind],
        .payer = terms->payer.text,
        .payer_signer = terms->payer.text,
        .originator_signer = terms->originator.text,
    };
}

static struct facts find(const struct parity_held *held)
{
    const struct mig_node_row *row = held->row;
    const struct mig_unsigned_layer *outer = &held->layers.unsigned_layer;
    const struct mig_payer_layer *inner = &held->layers.payer_layer;

    return (struct facts){
        .topic = row->topic,
        .client_envelope = inner->client_envelope,
        .envelope = row->originator_envelope,
        .expiry = row->expiry,
        .gateway_time_us = row->gateway_time_us,
        .originator_ns = outer->originator_ns,
        .envelope_expiry = outer->expiry_unixtime,
        .base_fee = outer->base_fee_picodollars,
        .congestion_fee = outer->congestion_fee_picodollars,
        .sequence_id = outer->sequence_id,
        .originator = outer->originator,
        .target_originator = inner->target_originator,
        .retention_days = inner->retention_days,
        .payer = row->payer[0] ? row->payer : "nobody",
        .payer_signer = held->signers.payer,
        .originator_signer = held->signers.originator,
    };
}

/* ---- values ------------------------------------------------------------------------------- */

static const void *value_of(const struct facts *facts, const struct check *check)
{
    return (const uint8_t *) facts + check->offset;
}

static bool same(const struct check *check, const void *a, const void *b)
{
    switch (check->type) {
    case FACT_TOPIC:
    case FACT_BYTES:
        return mig_bytes_equal(*(const struct mig_bytes *) a, *(const struct mig_bytes *) b);
    case FACT_TEXT:
        return strcmp(*(const char *const *) a, *(const char *const *) b) == 0;
    case FACT_SIGNED:
    case FACT_UNSIGNED:
        break;
    }
    return memcmp(a, b, sizeof(uint64_t)) == 0;
}

int parity_show_digest(struct mig_bytes bytes, char text[PARITY_SIDE_SIZE], struct mig_error *err)
{
    uint8_t digest[MIG_SHA256_SIZE];
    char hex[MIG_SHA256_TEXT_SIZE];
    int result = mig_sha256(&bytes, 1, digest, err);

    if (result != MIG_OK)
        return result;
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, hex);
    snprintf(text, PARITY_SIDE_SIZE, "sha256:%s", hex);
    return MIG_OK;
}

static int show(const struct check *check, const void *value, char text[PARITY_SIDE_SIZE],
                struct mig_error *err)
{
    const struct mig_bytes *bytes = value;

    switch (check->type) {
    case FACT_TOPIC:
        if (bytes->size > TOPIC_SHOWN)
            return parity_show_digest(*bytes, text, err);
        mig_hex_encode(*bytes, text);
        break;
    case FACT_BYTES:
        return parity_show_digest(*bytes, text, err);
    case FACT_TEXT:
        snprintf(text, PARITY_SIDE_SIZE, "%s", *(const char *const *) value);
        break;
    case FACT_SIGNED:
        snprintf(text, PARITY_SIDE_SIZE, "%" PRId64, *(const int64_t *) value);
        break;
    case FACT_UNSIGNED:
        snprintf(text, PARITY_SIDE_SIZE, "%" PRIu64, *(const uint64_t *) value);
        break;
    }
    return MIG_OK;
}

/* ---- comparing ---------------------------------------------------------------------------- */

/* Some of it was read from a node: it must not steer a terminal, nor spoil a document. */
static void copy_harmless(char *to, const char *text)
{
    size_t i = 0;

    for (; text[i] && i + 1 < PARITY_SIDE_SIZE; i++)
        to[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    to[i] = '\0';
}

int parity_note(struct parity_notes *notes, const char *what, const char *where,
                const char *expected, const char *found, struct mig_error *err)
{
    struct parity_note *note;
    void *memory;
    int result = mig_arena_alloc(notes->arena, sizeof *note, &memory, err);

    if (result != MIG_OK)
        return result;
    note = memory;
    *note = (struct parity_note){.what = what, .where = where};
    copy_harmless(note->expected, expected);
    copy_harmless(note->found, found);
    *notes->last = note;
    notes->last = &note->next;
    return MIG_OK;
}

static int note_check(const struct check *check, const struct facts *expected,
                      const struct facts *found, struct parity_notes *notes, struct mig_error *err)
{
    char sides[2][PARITY_SIDE_SIZE];
    int result;

    if ((result = show(check, value_of(expected, check), sides[0], err)) != MIG_OK ||
        (result = show(check, value_of(found, check), sides[1], err)) != MIG_OK)
        return result;
    return parity_note(notes, check->what, check->where, sides[0], sides[1], err);
}

static int note_envelope(const struct mig_envelope *expected, const struct parity_held *held,
                         struct parity_notes *notes, struct mig_error *err)
{
    char side[PARITY_SIDE_SIZE];
    int result;

    if (held->readable)
        return MIG_OK;
    if ((result = parity_show_digest(expected->client_envelope, side, err)) != MIG_OK)
        return result;
    if (!held->row->has_envelope)
        return parity_note(notes, "blob_missing", "envelope", side, "nothing", err);
    return parity_note(notes, "unreadable", "envelope", side, held->trouble, err);
}

int parity_compare(const struct parity_terms *terms, const struct mig_envelope *expected,
                   const struct parity_held *held, struct parity_notes *notes,
                   struct mig_error *err)
{
    const struct facts must_be = expect(terms, expected, held), is = find(held);
    const unsigned given = (held->readable ? NEEDS_ENVELOPE : 0u) |
                           (terms->clock_is_the_rows || held->readable ? NEEDS_CLOCK : 0u) |
                           (held->rewritten.size > 0 ? NEEDS_REWRITTEN : 0u) |
                           (held->signers.payer[0] ? NEEDS_PAYER_SIGNER : 0u) |
                           (held->signers.originator[0] ? NEEDS_ORIGINATOR_SIGNER : 0u);
    int result = note_envelope(expected, held, notes, err);

    for (size_t i = 0; i < mig_count_of(checks) && result == MIG_OK; i++)
        if ((checks[i].needs & ~given) == 0 &&
            !same(&checks[i], value_of(&must_be, &checks[i]), value_of(&is, &checks[i])))
            result = note_check(&checks[i], &must_be, &is, notes, err);
    return result;
}
