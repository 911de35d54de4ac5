/* What a pair comes to: whether a row should be there at all, and what explains it if not. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>

#define SECONDS_PER_DAY INT64_C(86400)

static int64_t floor_divide(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

/* A node's own pruner may have removed it. */
static bool has_expired_since(const struct parity_terms *terms, const struct mig_envelope *planned)
{
    return !terms->manifest->policy.keep_expired && mig_kind_info(planned->kind)->expires &&
           planned->expiry_unixtime <= floor_divide(terms->now_ns, MIG_NS_PER_SECOND);
}

static int judge_absent(const struct parity_terms *terms, const struct mig_envelope *planned,
                        bool required, struct parity_notes *notes, enum parity_outcome *ret_outcome,
                        struct mig_error *err)
{
    char side[PARITY_SIDE_SIZE];
    int result;

    if (!required || planned->route != MIG_ROUTE_NODE) {
        *ret_outcome = PARITY_NOTHING;
        return MIG_OK;
    }
    if ((result = parity_show_digest(planned->client_envelope, side, err)) != MIG_OK)
        return result;
    *ret_outcome = PARITY_MISSING;
    return parity_note(notes, "missing", "", side,
                       has_expired_since(terms, planned)
                           ? "nothing, but it has expired since: judge with a later --as-of"
                           : "nothing",
                       err);
}

static int note_extra(const struct mig_envelope *planned, const struct parity_held *held,
                      struct parity_notes *notes, struct mig_error *err)
{
    char expected[PARITY_SIDE_SIZE] = "nothing", found[PARITY_SIDE_SIZE];
    int result;

    if (planned && planned->route == MIG_ROUTE_REJECTED)
        snprintf(expected, sizeof expected, "nothing: the row is rejected, %s",
                 mig_reason_info(planned->reason)->name);
    else if (planned)
        snprintf(expected, sizeof expected, "nothing: the row is for the chain");
    snprintf(found, sizeof found, "a row without an envelope");
    if (held->row->has_envelope &&
        (result = parity_show_digest(held->row->originator_envelope, found, err)) != MIG_OK)
        return result;
    return parity_note(notes, "extra", "", expected, found, err);
}

/* A key package's is the time of its upload, whatever the clock: of this its expiry tells the
 * second. It is later where the package had to come out before another one, which the source has
 * pruned too. */
static int64_t gateway_time_of_itself(const struct parity_terms *terms, enum mig_kind kind,
                                      const struct parity_held *held)
{
    const struct mig_policy *policy = &terms->manifest->policy;
    const int64_t lasts_s = (int64_t) policy->retention_days[kind] * SECONDS_PER_DAY;
    const int64_t stored_us = held->row->gateway_time_us;
    int64_t expiry_s;

    return kind == MIG_KIND_KEY_PACKAGES && policy->profile == MIG_PROFILE_CORRECT &&
                   !__builtin_add_overflow(floor_divide(stored_us, 1000000), lasts_s, &expiry_s) &&
                   expiry_s >= held->row->expiry && stored_us <= floor_divide(terms->now_ns, 1000)
               ? stored_us
               : floor_divide(held->layers.unsigned_layer.originator_ns, 1000);
}

/* What the envelope says of itself, made into what it must be: all that follows from other members
 * is derived anew. False when no such envelope can be. */
static bool expect_of_itself(const struct parity_terms *terms, enum mig_kind kind,
                             const struct parity_held *held, struct mig_envelope *ret_envelope)
{
    const struct mig_unsigned_layer *layer = &held->layers.unsigned_layer;
    const struct mig_rate *rate = mig_manifest_rate(terms->manifest, layer->originator_ns);
    struct mig_envelope envelope = {
        .kind = kind,
        .route = MIG_ROUTE_NODE,
        .sequence_id = held->row->sequence_id,
        .topic = held->layers.topic,
        .client_envelope = held->layers.payer_layer.client_envelope,
        .originator_ns = layer->originator_ns,
        .gateway_time_us = gateway_time_of_itself(terms, kind, held),
        .expiry_unixtime = (int64_t) layer->expiry_unixtime,
    };

    if (!rate || layer->expiry_unixtime > INT64_MAX ||
        mig_base_fee(rate, layer->payer_envelope.size, terms->manifest->policy.retention_days[kind],
                     &envelope.base_fee_picodollars, NULL) != MIG_OK)
        return false;
    *ret_envelope = envelope;
    return true;
}

bool parity_gone_s(const struct parity_terms *terms, enum mig_kind kind, int64_t expiry_s,
                   int64_t *ret_gone_s)
{
    const struct mig_policy *policy = &terms->manifest->policy;
    const int64_t longer_days =
        (int64_t) policy->retention_days[kind] - (int64_t) policy->source_retention_days[kind];

    return !__builtin_sub_overflow(expiry_s, longer_days * SECONDS_PER_DAY, ret_gone_s);
}

/* V3 deletes what has expired by its own rule, also while a run goes on: a row that is in itself
 * all right, and old enough for that, was there once. */
static int judge_sourceless(const struct parity_terms *terms, enum mig_kind kind,
                            const struct parity_held *held, struct mig_arena *scratch,
                            bool *ret_pruned, struct mig_error *err)
{
    struct parity_notes faults = {.arena = scratch, .last = &faults.first};
    struct mig_envelope itself;
    int64_t gone_s;
    int result;

    *ret_pruned = false;
    if (!held->readable || !mig_kind_info(kind)->expires ||
        !expect_of_itself(terms, kind, held, &itself))
        return MIG_OK;
    if ((result = parity_compare(terms, &itself, held, &faults, err)) != MIG_OK)
        return result;
    *ret_pruned = !faults.first && parity_gone_s(terms, kind, itself.expiry_unixtime, &gone_s) &&
                  gone_s <= floor_divide(terms->now_ns, MIG_NS_PER_SECOND);
    return MIG_OK;
}

/* What must be held when the clock was the run's: all follows from the time that the node's
 * envelope gives, except that this time is no earlier than the first rate. */
static int expect_at_held_time(const struct parity_terms *terms, const struct parity_held *held,
                               struct mig_arena *scratch, struct mig_envelope *expected,
                               struct mig_error *err)
{
    const int64_t first_ns = terms->manifest->rates[0].start_ns;
    const int64_t held_ns = held->layers.unsigned_layer.originator_ns;

    return mig_transform_row_at(terms->keeping_transform, expected->row,
                                held_ns < first_ns ? first_ns : held_ns, scratch, expected, err);
}

static int judge_held(const struct parity_terms *terms, enum mig_kind kind, bool required,
                      struct mig_arena *scratch, struct parity_notes *notes,
                      struct parity_pair *pair, struct mig_error *err)
{
    const bool expired = pair->planned && pair->planned->route == MIG_ROUTE_EXPIRED;
    struct mig_envelope expected = {0};
    struct parity_held held;
    bool pruned = false;
    /* Who signed is all that vouches for a row that the source has no more. */
    int result = parity_held_read(terms, pair->held, pair->twin,
                                  !pair->planned ||
                                      parity_sample_takes(terms, kind, pair->held->sequence_id),
                                  scratch, &held, err);

    if (result == MIG_OK && pair->twin)
        *pair->twin = held;
    if (result == MIG_OK) {
        pair->signatures = held.signatures;
        pair->signatures_checked = held.signatures_checked;
    }
    if (result == MIG_OK && pair->planned)
        expected = *pair->planned;
    if (result == MIG_OK && expired)
        result = mig_transform_row(terms->keeping_transform, pair->planned->row, scratch, &expected,
                                   err);
    if (result == MIG_OK && !pair->planned)
        result = judge_sourceless(terms, kind, &held, scratch, &pruned, err);
    if (result != MIG_OK)
        return result;
    if (!pair->planned || expected.route != MIG_ROUTE_NODE) {
        pair->outcome = pruned ? PARITY_PRUNED : PARITY_EXTRA;
        return pruned ? MIG_OK : note_extra(pair->planned ? &expected : NULL, &held, notes, err);
    }
    pair->outcome = expired ? PARITY_EXPIRED_PRESENT : required ? PARITY_HELD : PARITY_NOTHING;
    if (!terms->clock_is_the_rows && held.readable)
        result = expect_at_held_time(terms, &held, scratch, &expected, err);
    return result == MIG_OK ? parity_compare(terms, &expected, &held, notes, err) : result;
}

int parity_judge(const struct parity_terms *terms, enum mig_kind kind, bool required,
                 struct mig_arena *scratch, struct mig_arena *notes_arena, struct parity_pair *pair,
                 struct mig_error *err)
{
    struct parity_notes notes = {.arena = notes_arena, .last = &notes.first};
    int result = pair->held
                     ? judge_held(terms, kind, required, scratch, &notes, pair, err)
                     : judge_absent(terms, pair->planned, required, &notes, &pair->outcome, err);

    pair->notes = notes.first;
    return result;
}
