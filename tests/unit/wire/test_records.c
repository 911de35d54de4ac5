/* Records of what became of rows: every vector there and back, and everything that a record may not
 * be. */
#include "hostile.h"
#include "libmigrate/wire/wire.h"
#include "support/golden.h"

#include <criterion/criterion.h>

#define RECORD_LIMIT ((size_t) 1 << 20)

static enum mig_kind kind_of(const struct mig_row *row, enum mig_route route)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (mig_kind_info((enum mig_kind) kind)->table == row->table &&
            (route == MIG_ROUTE_REJECTED || mig_kind_info((enum mig_kind) kind)->route == route))
            return (enum mig_kind) kind;
    return MIG_KIND_COUNT;
}

static uint32_t findings_of(struct json_object *expect)
{
    struct json_object *named = NULL;
    uint32_t findings = 0;

    json_object_object_get_ex(expect, "findings", &named);
    for (size_t i = 0; named && i < json_object_array_length(named); i++)
        for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
            if (strcmp(mig_finding_name((enum mig_finding) finding),
                       json_object_get_string(json_object_array_get_idx(named, i))) == 0)
                findings |= 1u << finding;
    return findings;
}

/* What a vector says that its row becomes. */
static struct mig_envelope envelope_of(struct golden *golden, const struct golden_vector *vector)
{
    struct json_object *expect = vector->expect;
    const char *route = golden_text(expect, "route");
    struct mig_envelope envelope = {.row = &vector->row,
                                    .sequence_id = vector->row.id,
                                    .findings = findings_of(expect),
                                    .route = strcmp(route, "node") == 0    ? MIG_ROUTE_NODE
                                             : strcmp(route, "chain") == 0 ? MIG_ROUTE_CHAIN
                                                                           : MIG_ROUTE_REJECTED};

    envelope.kind = kind_of(&vector->row, envelope.route);
    if (envelope.route == MIG_ROUTE_REJECTED) {
        envelope.reason = mig_reason_parse(golden_text(expect, "reason"));
        return envelope;
    }
    envelope.topic = golden_bytes(golden, expect, "topic");
    envelope.client_envelope = golden_bytes(golden, expect, "client_envelope");
    if (envelope.route == MIG_ROUTE_CHAIN)
        return envelope;
    envelope.payer_envelope = golden_bytes(golden, expect, "payer_envelope");
    envelope.originator_envelope = golden_bytes(golden, expect, "originator_envelope");
    envelope.originator_ns = golden_number(expect, "originator_ns");
    envelope.gateway_time_us = envelope.originator_ns / 1000;
    envelope.base_fee_picodollars = (uint64_t) golden_number(expect, "base_fee_picodollars");
    envelope.expiry_unixtime = golden_number(expect, "expiry_unixtime");
    return envelope;
}

static void expect_same(const struct mig_envelope *envelope, const struct mig_envelope *expected,
                        const char *name)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer row = MIG_BUFFER_INIT(RECORD_LIMIT);
    mig_cleanup(mig_buffer_release) struct mig_buffer wanted = MIG_BUFFER_INIT(RECORD_LIMIT);

    cr_assert_eq(mig_row_encode(envelope->row, &row, NULL), MIG_OK);
    cr_assert_eq(mig_row_encode(expected->row, &wanted, NULL), MIG_OK);
    cr_expect(mig_bytes_equal(mig_buffer_bytes(&row), mig_buffer_bytes(&wanted)), "%s", name);
    cr_expect_eq(envelope->kind, expected->kind, "%s", name);
    cr_expect_eq(envelope->route, expected->route, "%s", name);
    cr_expect_eq(envelope->reason, expected->reason, "%s", name);
    cr_expect_eq(envelope->findings, expected->findings, "%s", name);
    cr_expect_eq(envelope->sequence_id, expected->sequence_id, "%s", name);
    cr_expect(mig_bytes_equal(envelope->topic, expected->topic), "%s", name);
    cr_expect(mig_bytes_equal(envelope->client_envelope, expected->client_envelope), "%s", name);
    cr_expect(mig_bytes_equal(envelope->payer_envelope, expected->payer_envelope), "%s", name);
    cr_expect(mig_bytes_equal(envelope->originator_envelope, expected->originator_envelope), "%s",
              name);
    cr_expect_eq(envelope->originator_ns, expected->originator_ns, "%s", name);
    cr_expect_eq(envelope->gateway_time_us, expected->gateway_time_us, "%s", name);
    cr_expect_eq(envelope->base_fee_picodollars, expected->base_fee_picodollars, "%s", name);
    cr_expect_eq(envelope->expiry_unixtime, expected->expiry_unixtime, "%s", name);
}

Test(records, carry_every_vector_there_and_back)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");

    for (size_t i = 0; i < golden.count; i++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_envelope envelope = envelope_of(&golden, &vector);
        struct mig_error err = MIG_ERROR_INIT;
        struct mig_envelope back;

        cr_assert_eq(mig_envelope_encode(&envelope, &record, NULL), MIG_OK);
        cr_assert_eq(mig_envelope_decode(mig_buffer_bytes(&record), &arena, &back, &err), MIG_OK,
                     "%s: %s", vector.name, err.message);
        mig_buffer_release(&record); /* what came back must not lean on it */
        expect_same(&back, &envelope, vector.name);
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

/* Vectors that the refusals start from. */
struct cast {
    struct golden golden;
    struct golden_vector vectors[4];
    struct mig_envelope node, other_node, chain, rejected;
};

static struct mig_envelope find(struct cast *cast, size_t place, enum mig_kind kind,
                                enum mig_route route, size_t skip)
{
    for (size_t i = 0; i < cast->golden.count; i++) {
        struct mig_envelope envelope;

        cast->vectors[place] = golden_vector(&cast->golden, i);
        envelope = envelope_of(&cast->golden, &cast->vectors[place]);
        if (envelope.kind == kind && envelope.route == route && skip-- == 0)
            return envelope;
    }
    cr_assert_fail("no such vector");
    return (struct mig_envelope){0};
}

static void cast_fill(struct cast *cast)
{
    cast->golden = golden_load("correct");
    cast->node = find(cast, 0, MIG_KIND_WELCOME_MESSAGES, MIG_ROUTE_NODE, 0);
    cast->other_node = find(cast, 1, MIG_KIND_WELCOME_MESSAGES, MIG_ROUTE_NODE, 1);
    cast->chain = find(cast, 2, MIG_KIND_INBOX_LOG, MIG_ROUTE_CHAIN, 0);
    cast->rejected = find(cast, 3, MIG_KIND_KEY_PACKAGES, MIG_ROUTE_REJECTED, 0);
}

static void cast_release(struct cast *cast)
{
    golden_release(&cast->golden);
}

static int decode_bytes(struct mig_bytes record)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    const struct mig_bytes copy = hostile_copy(record);
    struct mig_envelope back = {.sequence_id = 4711};
    const int result = mig_envelope_decode(copy, &arena, &back, NULL);

    hostile_free(copy);
    cr_assert(result == MIG_OK || back.sequence_id == 4711);
    return result;
}

static int decode_encoded(const struct mig_envelope *envelope)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);

    cr_assert_eq(mig_envelope_encode(envelope, &record, NULL), MIG_OK);
    return decode_bytes(mig_buffer_bytes(&record));
}

Test(records, are_refused_when_they_say_two_things)
{
    mig_cleanup(cast_release) struct cast cast = {0};
    struct mig_envelope envelope;

    cast_fill(&cast);
    cr_assert_eq(decode_encoded(&cast.node), MIG_OK);
    cr_assert_eq(decode_encoded(&cast.chain), MIG_OK);
    cr_assert_eq(decode_encoded(&cast.rejected), MIG_OK);

    envelope = cast.node;
    envelope.originator_envelope = cast.other_node.originator_envelope;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "another row's envelope");
    envelope = cast.node;
    envelope.topic = cast.chain.topic;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "another topic");
    envelope = cast.node;
    envelope.topic.size = 0;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "no topic");
    envelope = cast.node;
    envelope.row = cast.other_node.row;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "another row");
    envelope = cast.node;
    envelope.sequence_id++;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "another id");
    envelope = cast.node;
    envelope.kind = MIG_KIND_KEY_PACKAGES;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "a kind of another table");
    envelope = cast.node;
    envelope.route = MIG_ROUTE_CHAIN;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "a welcome for the chain");
    envelope = cast.chain;
    envelope.route = MIG_ROUTE_NODE;
    envelope.originator_envelope = cast.node.originator_envelope;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "an identity update for nodes");
    envelope = cast.chain;
    envelope.topic = cast.node.topic;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "another topic for the chain");
    envelope = cast.node;
    envelope.route = MIG_ROUTE_EXPIRED;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "expired rows have no records");
    envelope = cast.rejected;
    envelope.reason = MIG_REASON_NONE;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "rejected for nothing");
}

Test(records, are_refused_with_an_envelope_missing_or_broken)
{
    mig_cleanup(cast_release) struct cast cast = {0};
    struct mig_envelope envelope;
    size_t unsigned_end; /* cut there it is one without a signature, which is well-formed */

    cast_fill(&cast);
    unsigned_end = cast.node.originator_envelope.size - (2 + 2 + 65);
    for (size_t size = 0; size < cast.node.originator_envelope.size; size++) {
        envelope = cast.node;
        envelope.originator_envelope.size = size;
        if (size != unsigned_end)
            cr_assert_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "cut at %zu", size);
    }
    for (size_t size = 0; size < cast.chain.client_envelope.size; size++) {
        envelope = cast.chain;
        envelope.client_envelope.size = size;
        decode_encoded(&envelope); /* cut behind the topic it may still be one; it must not crash */
    }
    envelope = cast.node;
    envelope.originator_envelope = envelope.payer_envelope;
    cr_expect_eq(decode_encoded(&envelope), MIG_E_CORRUPT, "an inner layer as the outer one");
}

/* The record with one letter of a name in it changed. */
static int decode_misspelt(const struct mig_envelope *envelope, const char *name)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);
    uint8_t *at;

    cr_assert_eq(mig_envelope_encode(envelope, &record, NULL), MIG_OK);
    at = memmem(record.data, record.size, name, strlen(name));
    cr_assert_not_null(at, "no '%s' in the record", name);
    at[strlen(name) - 1] = '~';
    return decode_bytes(mig_buffer_bytes(&record));
}

Test(records, are_refused_with_a_name_that_is_none_of_ours)
{
    mig_cleanup(cast_release) struct cast cast = {0};
    struct mig_envelope found;

    cast_fill(&cast);
    found = cast.node;
    found.findings = (1u << MIG_FINDING_COUNT) - 1;
    cr_assert_eq(decode_encoded(&found), MIG_OK);
    cr_expect_eq(decode_misspelt(&cast.node, "welcome_messages"), MIG_E_CORRUPT);
    cr_expect_eq(decode_misspelt(&cast.node, "nodes"), MIG_E_CORRUPT);
    cr_expect_eq(decode_misspelt(&cast.chain, "chain"), MIG_E_CORRUPT);
    cr_expect_eq(decode_misspelt(&cast.rejected, "rejected"), MIG_E_CORRUPT);
    cr_expect_eq(decode_misspelt(&cast.rejected, mig_reason_info(cast.rejected.reason)->name),
                 MIG_E_CORRUPT);
    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        cr_expect_eq(decode_misspelt(&found, mig_finding_name((enum mig_finding) finding)),
                     MIG_E_CORRUPT);
}

Test(records, are_refused_wherever_they_are_cut)
{
    mig_cleanup(cast_release) struct cast cast = {0};

    cast_fill(&cast);
    for (size_t i = 0; i < 3; i++) {
        const struct mig_envelope *const whole[] = {&cast.node, &cast.chain, &cast.rejected};
        mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);

        cr_assert_eq(mig_envelope_encode(whole[i], &record, NULL), MIG_OK);
        for (size_t size = 0; size < record.size; size++)
            cr_assert_eq(decode_bytes((struct mig_bytes){record.data, size}), MIG_E_CORRUPT,
                         "record %zu cut at %zu", i, size);
    }
}

/* ---- hostile bytes -------------------------------------------------------------------------- */

static void decode_all(struct mig_bytes bytes)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    const struct mig_bytes copy = hostile_copy(bytes);
    struct mig_row row;
    struct mig_envelope envelope;
    struct mig_layers layers;
    struct mig_group_message message;
    struct mig_welcome welcome;
    struct mig_bytes key_package;
    struct mig_identity_update update;
    enum mig_mls_content content;

    mig_row_decode(copy, &arena, &row, NULL);
    mig_envelope_decode(copy, &arena, &envelope, NULL);
    mig_originator_envelope_parse(copy, &arena, &layers, NULL);
    mig_payer_envelope_parse(copy, &arena, &layers, NULL);
    mig_client_envelope_parse(copy, &arena, &layers, NULL);
    mig_group_message_parse(copy, &arena, &message, NULL);
    mig_welcome_parse(copy, &arena, &welcome, NULL);
    mig_key_package_parse(copy, &arena, &key_package, NULL);
    mig_identity_update_parse(copy, &arena, &update, NULL);
    mig_mls_content_type(copy, &content, NULL);
    hostile_free(copy);
}

Test(decoders, survive_random_bytes)
{
    uint64_t state = 20260101;

    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[160];
        const size_t size = hostile_random(&state) % sizeof bytes;

        for (size_t i = 0; i < size; i++) {
            const uint64_t random = hostile_random(&state);

            /* Small tags and lengths get deeper in than plain noise. */
            bytes[i] = (uint8_t) (random & 0x300 ? random % 64 : random);
        }
        decode_all((struct mig_bytes){bytes, size});
    }
}

static void decode_changed(const struct mig_envelope *envelope, uint64_t *state)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(RECORD_LIMIT);
    const struct mig_bytes starts[] = {envelope->originator_envelope, envelope->payer_envelope,
                                       envelope->client_envelope};

    cr_assert_eq(mig_envelope_encode(envelope, &record, NULL), MIG_OK);
    for (size_t i = 0; i <= mig_count_of(starts); i++) {
        const struct mig_bytes start = i ? starts[i - 1] : mig_buffer_bytes(&record);
        mig_cleanup(mig_buffer_release) struct mig_buffer bytes = MIG_BUFFER_INIT(RECORD_LIMIT);

        if (start.size == 0 || start.size > 3000)
            continue;
        cr_assert_eq(mig_buffer_append(&bytes, start.data, start.size, NULL), MIG_OK);
        for (int round = 0; round < 60; round++) {
            const size_t place = hostile_random(state) % (round % 2 ? 40 : bytes.size) % bytes.size;

            bytes.data[place] = (uint8_t) hostile_random(state);
            decode_all(mig_buffer_bytes(&bytes));
        }
    }
}

Test(decoders, survive_good_bytes_gone_bad)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    uint64_t state = 20260102;

    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_envelope envelope = envelope_of(&golden, &vector);

        decode_changed(&envelope, &state);
    }
}
