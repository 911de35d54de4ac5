/* One row's way: standing, faults, client envelope, and for nodes the two signed layers. */
#include "libmigrate/transform/transform_private.h"

#include "libmigrate/source/source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_US 1000

static const struct kind_rules *const rules[MIG_KIND_COUNT] = {
    [MIG_KIND_GROUP_MESSAGES] = &transform_group_message_rules,
    [MIG_KIND_COMMIT_MESSAGES] = &transform_group_message_rules,
    [MIG_KIND_WELCOME_MESSAGES] = &transform_welcome_rules,
    [MIG_KIND_KEY_PACKAGES] = &transform_key_package_rules,
    [MIG_KIND_INBOX_LOG] = &transform_identity_update_rules,
};

static bool clock_is_the_rows(const struct mig_transform *transform)
{
    const struct mig_policy *policy = &transform->manifest->policy;

    return policy->profile == MIG_PROFILE_CORRECT && policy->clock == MIG_CLOCK_CREATED;
}

int mig_transform_open(const struct mig_manifest *manifest, int64_t as_of_ns,
                       const struct mig_signer *payer, const struct mig_signer *originator,
                       struct mig_transform **ret_transform, struct mig_error *err)
{
    struct mig_transform *transform = calloc(1, sizeof *transform);

    if (!transform)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    *transform = (struct mig_transform){manifest, payer, originator, as_of_ns};
    if (!clock_is_the_rows(transform) && !mig_manifest_rate(manifest, as_of_ns)) {
        char instant[MIG_TIME_TEXT_SIZE];

        mig_transform_free(&transform);
        mig_time_format(as_of_ns, instant);
        mig_fail(err, MIG_E_USAGE, "no rate is in force at %s, the run's clock", instant);
        return mig_hint(err, "add the rate of that time to the manifest's rates");
    }
    *ret_transform = transform;
    return MIG_OK;
}

void mig_transform_free(struct mig_transform **transform)
{
    free(*transform);
    *transform = NULL;
}

static int64_t floor_divide(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

/* A node that syncs an envelope from before the first rate would retry it for ever. */
static int64_t originator_clock(const struct mig_transform *transform,
                                const struct mig_standing *standing)
{
    const int64_t first_rate_ns = transform->manifest->rates[0].start_ns;
    const int64_t ns = clock_is_the_rows(transform) ? standing->since_ns : transform->as_of_ns;

    return ns < first_rate_ns ? first_rate_ns : ns;
}

/* Faults that every kind can have, around those of the kind; in the order of enum mig_reason. */
static enum mig_reason judge(const struct mig_transform *transform, const struct mig_row *row,
                             const struct mig_standing *standing)
{
    enum mig_reason reason;

    if (row->id < 1 || row->id > MIG_SEQUENCE_ID_MAX)
        return MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE;
    reason = rules[standing->kind]->judge(transform->manifest->policy.profile, row);
    if (reason == MIG_REASON_NONE && !standing->kind_told)
        reason = MIG_REASON_MLS_UNPARSABLE;
    return reason;
}

static int build_topic(const struct mig_row *row, enum mig_kind kind, struct mig_arena *arena,
                       struct mig_bytes *ret_topic, struct mig_error *err)
{
    const struct mig_kind_info *info = mig_kind_info(kind);
    const struct mig_bytes identifier = row->values[info->identifier_column].bytes;
    void *memory;
    int result = mig_arena_alloc(arena, identifier.size + 1, &memory, err);

    if (result != MIG_OK)
        return result;
    *(uint8_t *) memory = info->topic_kind;
    memcpy((uint8_t *) memory + 1, identifier.data, identifier.size);
    *ret_topic = (struct mig_bytes){memory, identifier.size + 1};
    return MIG_OK;
}

static int build_client(const struct mig_transform *transform, const struct mig_row *row,
                        struct mig_arena *arena, struct mig_envelope *envelope,
                        struct mig_error *err)
{
    const struct kind_rules *rule = rules[envelope->kind];
    struct mig_bytes payload;
    int result;

    if ((result = build_topic(row, envelope->kind, arena, &envelope->topic, err)) != MIG_OK ||
        (result = rule->build(transform->manifest->policy.profile, row, arena, &payload, err)) !=
            MIG_OK)
        return result;
    return mig_client_envelope_build(envelope->topic, rule->payload_field, payload, arena,
                                     &envelope->client_envelope, err);
}

static int sign_or_zero(const struct mig_signer *signer, const uint8_t digest[MIG_DIGEST_SIZE],
                        uint8_t signature[MIG_SIGNATURE_SIZE], struct mig_error *err)
{
    if (signer)
        return mig_sign(signer, digest, signature, err);
    memset(signature, 0, MIG_SIGNATURE_SIZE);
    return MIG_OK;
}

static int build_payer(const struct mig_transform *transform, struct mig_arena *arena,
                       struct mig_envelope *envelope, struct mig_error *err)
{
    uint8_t digest[MIG_DIGEST_SIZE], signature[MIG_SIGNATURE_SIZE];
    const struct mig_payer_layer layer = {
        .client_envelope = envelope->client_envelope,
        .signature = {signature, sizeof signature},
        .target_originator = mig_kind_info(envelope->kind)->signed_originator,
        .retention_days = transform->manifest->policy.retention_days[envelope->kind],
    };
    int result;

    if (transform->payer)
        mig_payer_digest(layer.target_originator, layer.client_envelope, digest);
    if ((result = sign_or_zero(transform->payer, digest, signature, err)) != MIG_OK)
        return result;
    return mig_payer_envelope_build(&layer, arena, &envelope->payer_envelope, err);
}

static int build_originator(const struct mig_transform *transform, struct mig_arena *arena,
                            struct mig_envelope *envelope, struct mig_error *err)
{
    uint8_t digest[MIG_DIGEST_SIZE], signature[MIG_SIGNATURE_SIZE];
    const struct mig_unsigned_layer layer = {
        .originator = mig_kind_info(envelope->kind)->signed_originator,
        .sequence_id = (uint64_t) envelope->sequence_id,
        .originator_ns = envelope->originator_ns,
        .payer_envelope = envelope->payer_envelope,
        .base_fee_picodollars = envelope->base_fee_picodollars,
        .expiry_unixtime = (uint64_t) envelope->expiry_unixtime,
    };
    struct mig_bytes unsigned_envelope;
    int result = mig_unsigned_envelope_build(&layer, arena, &unsigned_envelope, err);

    if (result != MIG_OK)
        return result;
    if (transform->originator)
        mig_originator_digest(unsigned_envelope, digest);
    if ((result = sign_or_zero(transform->originator, digest, signature, err)) != MIG_OK)
        return result;
    return mig_originator_envelope_build(unsigned_envelope,
                                         (struct mig_bytes){signature, sizeof signature}, arena,
                                         &envelope->originator_envelope, err);
}

/*
 * Nodes choose the newest key package by this time. Under a clock that is the same for many, the
 * run's or the first rate's start, the upload order of an installation would be lost (the Go
 * migrator loses it); and the current package comes out alone in front, whatever the others' times.
 */
static int64_t gateway_time_us(const struct mig_transform *transform, const struct mig_row *row,
                               const struct mig_standing *standing,
                               const struct mig_envelope *envelope)
{
    const struct mig_value *rival = &row->values[MIG_KP_RIVAL_CREATED_NS];
    int64_t own_us, rival_us;

    if (envelope->kind != MIG_KIND_KEY_PACKAGES ||
        transform->manifest->policy.profile != MIG_PROFILE_CORRECT)
        return floor_divide(envelope->originator_ns, NS_PER_US);
    own_us = floor_divide(standing->since_ns, NS_PER_US);
    rival_us = rival->is_null ? INT64_MIN : floor_divide(rival->number, NS_PER_US);
    return rival_us < own_us ? own_us : rival_us + 1;
}

static int build_for_nodes(const struct mig_transform *transform, const struct mig_row *row,
                           const struct mig_standing *standing, struct mig_arena *arena,
                           struct mig_envelope *envelope, struct mig_error *err)
{
    const uint32_t days = transform->manifest->policy.retention_days[envelope->kind];
    const struct mig_rate *rate = mig_manifest_rate(transform->manifest, envelope->originator_ns);
    int result;

    envelope->gateway_time_us = gateway_time_us(transform, row, standing, envelope);
    envelope->expiry_unixtime =
        floor_divide(standing->since_ns, MIG_NS_PER_SECOND) + (int64_t) days * 86400;
    if (!rate)
        return mig_fail(err, MIG_E_USAGE, "no rate is in force at the envelope's clock");
    if ((result = build_payer(transform, arena, envelope, err)) != MIG_OK ||
        (result = mig_base_fee(rate, envelope->payer_envelope.size, days,
                               &envelope->base_fee_picodollars, err)) != MIG_OK)
        return result;
    return build_originator(transform, arena, envelope, err);
}

static void reject(struct mig_envelope *envelope, enum mig_reason reason)
{
    envelope->route = MIG_ROUTE_REJECTED;
    envelope->reason = reason;
    envelope->findings = 0; /* a finding is a fact about a row that was migrated */
    envelope->topic = envelope->client_envelope = (struct mig_bytes){0};
}

static bool is_too_large(const struct mig_envelope *envelope)
{
    if (envelope->route == MIG_ROUTE_CHAIN)
        return envelope->client_envelope.size > MIG_CHAIN_PAYLOAD_MAX;
    return envelope->client_envelope.size > MIG_NODE_PAYLOAD_MAX ||
           envelope->topic.size > MIG_NODE_TOPIC_MAX;
}

/* clock_ns is NULL for the policy's own. */
static int transform_row(const struct mig_transform *transform, const struct mig_row *row,
                         const int64_t *clock_ns, struct mig_arena *arena,
                         struct mig_envelope *ret_envelope, struct mig_error *err)
{
    struct mig_envelope envelope = {.row = row, .sequence_id = row->id};
    struct mig_standing standing;
    enum mig_reason reason;
    int result = MIG_OK;

    mig_source_standing(&transform->manifest->policy, transform->as_of_ns, row, &standing);
    envelope.kind = standing.kind;
    envelope.findings = standing.findings;
    envelope.route = standing.expired ? MIG_ROUTE_EXPIRED : mig_kind_info(envelope.kind)->route;
    if (envelope.route == MIG_ROUTE_EXPIRED) {
        envelope.findings = 0;
        envelope.expired_early = standing.expired_early;
        *ret_envelope = envelope;
        return MIG_OK;
    }
    reason = judge(transform, row, &standing);
    if (reason == MIG_REASON_NONE)
        result = build_client(transform, row, arena, &envelope, err);
    if (result != MIG_OK)
        return mig_error_within(err, "%s %" PRId64, mig_kind_info(envelope.kind)->name, row->id);
    if (reason == MIG_REASON_NONE && is_too_large(&envelope))
        reason = MIG_REASON_PAYLOAD_TOO_LARGE;
    if (reason == MIG_REASON_NONE && envelope.route == MIG_ROUTE_NODE && !standing.since_known)
        reason = MIG_REASON_TIME_OUT_OF_RANGE;
    if (reason != MIG_REASON_NONE) {
        reject(&envelope, reason);
    } else if (envelope.route == MIG_ROUTE_NODE) {
        envelope.originator_ns = clock_ns ? *clock_ns : originator_clock(transform, &standing);
        result = build_for_nodes(transform, row, &standing, arena, &envelope, err);
    }
    if (result != MIG_OK)
        return mig_error_within(err, "%s %" PRId64, mig_kind_info(envelope.kind)->name, row->id);
    *ret_envelope = envelope;
    return MIG_OK;
}

int mig_transform_row(const struct mig_transform *transform, const struct mig_row *row,
                      struct mig_arena *arena, struct mig_envelope *ret_envelope,
                      struct mig_error *err)
{
    return transform_row(transform, row, NULL, arena, ret_envelope, err);
}

int mig_transform_row_at(const struct mig_transform *transform, const struct mig_row *row,
                         int64_t originator_ns, struct mig_arena *arena,
                         struct mig_envelope *ret_envelope, struct mig_error *err)
{
    return transform_row(transform, row, &originator_ns, arena, ret_envelope, err);
}

/* ---- parts -------------------------------------------------------------------------------- */

static int make_envelopes(struct mig_part *part, struct mig_error *err)
{
    free(part->envelopes);
    part->envelopes = calloc(part->row_count ? part->row_count : 1, sizeof *part->envelopes);
    return part->envelopes ? MIG_OK
                           : mig_fail(err, MIG_E_NOMEM, "cannot transform %zu rows: out of memory",
                                      part->row_count);
}

static void count_envelopes(struct mig_part *part)
{
    part->tally = (struct mig_tally){0};
    for (size_t i = 0; i < part->row_count; i++)
        mig_tally_envelope(&part->tally, &part->envelopes[i]);
}

static int keep(struct mig_arena *arena, struct mig_bytes *bytes, struct mig_error *err)
{
    return bytes->size > 0 ? mig_arena_copy(arena, *bytes, bytes, err) : MIG_OK;
}

static int keep_what_is_loaded(struct mig_arena *arena, struct mig_envelope *envelope,
                               struct mig_error *err)
{
    int result;

    envelope->payer_envelope = (struct mig_bytes){0};
    if (envelope->route != MIG_ROUTE_CHAIN)
        envelope->client_envelope = (struct mig_bytes){0};
    if ((result = keep(arena, &envelope->topic, err)) != MIG_OK ||
        (result = keep(arena, &envelope->client_envelope, err)) != MIG_OK)
        return result;
    return keep(arena, &envelope->originator_envelope, err);
}

int mig_transform_part(const struct mig_transform *transform, struct mig_arena *scratch,
                       struct mig_part *part, struct mig_error *err)
{
    int result = make_envelopes(part, err);

    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++) {
        mig_arena_reset(scratch);
        result = mig_transform_row(transform, &part->rows[i], scratch, &part->envelopes[i], err);
        if (result == MIG_OK)
            result = keep_what_is_loaded(&part->arena, &part->envelopes[i], err);
    }
    if (result == MIG_OK)
        count_envelopes(part);
    return result;
}
