/* A row's way up to the two layers that are signed: standing, faults, client envelope, clocks. */
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

static void set_clocks(const struct mig_transform *transform, const struct mig_row *row,
                       const struct mig_standing *standing, const int64_t *clock_ns,
                       struct mig_envelope *envelope)
{
    const uint32_t days = transform->manifest->policy.retention_days[envelope->kind];

    envelope->originator_ns = clock_ns ? *clock_ns : originator_clock(transform, standing);
    envelope->gateway_time_us = gateway_time_us(transform, row, standing, envelope);
    envelope->expiry_unixtime =
        floor_divide(standing->since_ns, MIG_NS_PER_SECOND) + (int64_t) days * 86400;
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

/* All but the layers. clock_ns is NULL for the policy's own. */
static int begin_row(const struct mig_transform *transform, const struct mig_row *row,
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
    if (reason != MIG_REASON_NONE)
        reject(&envelope, reason);
    else if (envelope.route == MIG_ROUTE_NODE)
        set_clocks(transform, row, &standing, clock_ns, &envelope);
    *ret_envelope = envelope;
    return MIG_OK;
}

int transform_batch(const struct mig_transform *transform, const struct mig_row *rows, size_t count,
                    const int64_t *clock_ns, struct mig_arena *arena,
                    struct mig_envelope *ret_envelopes, size_t *ret_taken, struct mig_error *err)
{
    const size_t used_before = arena->used_bytes;
    struct mig_envelope *for_nodes[TRANSFORM_BATCH_ROWS];
    size_t taken = 0, for_nodes_count = 0;
    int result = MIG_OK;

    while (taken < count && taken < TRANSFORM_BATCH_ROWS && result == MIG_OK &&
           arena->used_bytes - used_before < TRANSFORM_BATCH_BYTES) {
        struct mig_envelope *envelope = &ret_envelopes[taken];

        result = begin_row(transform, &rows[taken], clock_ns, arena, envelope, err);
        if (result == MIG_OK && envelope->route == MIG_ROUTE_NODE)
            for_nodes[for_nodes_count++] = envelope;
        taken++;
    }
    if (result == MIG_OK)
        result = transform_add_layers(transform, for_nodes, for_nodes_count, arena, err);
    if (result == MIG_OK)
        *ret_taken = taken;
    return result;
}

static int transform_row(const struct mig_transform *transform, const struct mig_row *row,
                         const int64_t *clock_ns, struct mig_arena *arena,
                         struct mig_envelope *ret_envelope, struct mig_error *err)
{
    struct mig_envelope envelope;
    size_t taken;
    int result = transform_batch(transform, row, 1, clock_ns, arena, &envelope, &taken, err);

    if (result == MIG_OK)
        *ret_envelope = envelope;
    return result;
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
