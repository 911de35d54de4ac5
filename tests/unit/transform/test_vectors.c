/* Every golden vector, through the library: what a row becomes is compared byte for byte. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

static void expect_bytes(struct golden *golden, const struct golden_vector *vector,
                         const char *member, struct mig_bytes bytes)
{
    cr_expect(mig_bytes_equal(golden_bytes(golden, vector->expect, member), bytes), "%s: %s",
              vector->name, member);
}

static void expect_number(const struct golden_vector *vector, const char *member, int64_t number)
{
    cr_expect_eq(golden_number(vector->expect, member), number, "%s: %s is %" PRId64, vector->name,
                 member, number);
}

static void expect_findings(const struct golden_vector *vector, uint32_t findings)
{
    struct json_object *named = NULL;
    uint32_t expected = 0;

    json_object_object_get_ex(vector->expect, "findings", &named);
    for (size_t i = 0; named && i < json_object_array_length(named); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(named, i));
        int finding = 0;

        while (finding < MIG_FINDING_COUNT &&
               strcmp(mig_finding_name((enum mig_finding) finding), name) != 0)
            finding++;
        cr_assert_lt(finding, MIG_FINDING_COUNT, "no finding is called %s", name);
        expected |= 1u << finding;
    }
    cr_expect_eq(findings, expected, "%s: findings", vector->name);
}

static void expect_rejected(const struct golden_vector *vector, bool by_name,
                            const struct mig_envelope *envelope)
{
    cr_expect_eq(envelope->route, MIG_ROUTE_REJECTED, "%s", vector->name);
    cr_expect_neq(envelope->reason, MIG_REASON_NONE, "%s", vector->name);
    cr_expect_eq(envelope->findings, 0, "%s", vector->name);
    if (by_name)
        cr_expect_str_eq(mig_reason_info(envelope->reason)->name,
                         golden_text(vector->expect, "reason"), "%s", vector->name);
}

static void expect_chain(struct golden *golden, const struct golden_vector *vector,
                         const struct mig_envelope *envelope)
{
    cr_expect_eq(envelope->route, MIG_ROUTE_CHAIN, "%s", vector->name);
    expect_number(vector, "sequence_id", envelope->sequence_id);
    expect_bytes(golden, vector, "topic", envelope->topic);
    expect_bytes(golden, vector, "client_envelope", envelope->client_envelope);
    cr_expect_eq(envelope->payer_envelope.size, 0, "%s", vector->name);
    cr_expect_eq(envelope->originator_envelope.size, 0, "%s", vector->name);
    if (json_object_object_get_ex(vector->expect, "originator", NULL))
        expect_number(vector, "originator", mig_kind_info(envelope->kind)->stored_originator);
}

static void expect_node(struct golden *golden, const struct golden_vector *vector,
                        const struct mig_envelope *envelope)
{
    cr_expect_eq(envelope->route, MIG_ROUTE_NODE, "%s", vector->name);
    expect_number(vector, "originator", mig_kind_info(envelope->kind)->signed_originator);
    expect_number(vector, "sequence_id", envelope->sequence_id);
    expect_bytes(golden, vector, "topic", envelope->topic);
    expect_bytes(golden, vector, "client_envelope", envelope->client_envelope);
    expect_bytes(golden, vector, "payer_envelope", envelope->payer_envelope);
    expect_bytes(golden, vector, "originator_envelope", envelope->originator_envelope);
    expect_number(vector, "originator_ns", envelope->originator_ns);
    expect_number(vector, "base_fee_picodollars", (int64_t) envelope->base_fee_picodollars);
    expect_number(vector, "expiry_unixtime", envelope->expiry_unixtime);
    cr_expect_leq(envelope->gateway_time_us * 1000, envelope->originator_ns, "%s", vector->name);
    cr_expect_gt(envelope->gateway_time_us * 1000, envelope->originator_ns - 1000, "%s",
                 vector->name);
}

static void expect_vector(struct golden *golden, const struct golden_vector *vector, bool correct,
                          const struct mig_envelope *envelope)
{
    const char *route = golden_text(vector->expect, "route");

    cr_expect_eq(mig_kind_info(envelope->kind)->table, vector->row.table, "%s", vector->name);
    if (strcmp(route, "rejected") == 0) {
        expect_rejected(vector, correct, envelope);
        return;
    }
    cr_expect_eq(envelope->reason, MIG_REASON_NONE, "%s: %s", vector->name,
                 mig_reason_info(envelope->reason)->name);
    if (correct)
        expect_findings(vector, envelope->findings);
    if (strcmp(route, "chain") == 0)
        expect_chain(golden, vector, envelope);
    else if (strcmp(route, "node") == 0)
        expect_node(golden, vector, envelope);
    else
        cr_assert_fail("%s: a route '%s'", vector->name, route);
}

static void expect_profile(const char *profile)
{
    mig_cleanup(golden_release) struct golden golden = golden_load(profile);
    mig_cleanup(fixture_release) struct fixture fixture = fixture_load(&golden, profile);

    fixture_open(&fixture, golden_number(golden.context, "now_ns"));
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_envelope envelope = fixture_transform(&fixture, &vector.row);

        expect_vector(&golden, &vector, strcmp(profile, "correct") == 0, &envelope);
    }
}

Test(vectors, of_profile_correct_come_out_byte_for_byte)
{
    expect_profile("correct");
}

Test(vectors, of_profile_xmtpd_come_out_as_the_go_migrator_makes_them)
{
    expect_profile("xmtpd");
}

/* Of what a part keeps. */
static void expect_kept(struct golden *golden, const struct golden_vector *vector,
                        const struct mig_envelope *envelope)
{
    const char *route = golden_text(vector->expect, "route");

    if (strcmp(route, "node") != 0) {
        expect_vector(golden, vector, true, envelope);
        return;
    }
    cr_expect_eq(envelope->route, MIG_ROUTE_NODE, "%s", vector->name);
    expect_bytes(golden, vector, "topic", envelope->topic);
    expect_bytes(golden, vector, "originator_envelope", envelope->originator_envelope);
    expect_number(vector, "expiry_unixtime", envelope->expiry_unixtime);
    cr_expect_eq(envelope->client_envelope.size + envelope->payer_envelope.size, 0, "%s",
                 vector->name);
}

Test(vectors, are_the_same_in_parts)
{
    static const enum mig_route routes[] = {MIG_ROUTE_NODE, MIG_ROUTE_CHAIN, MIG_ROUTE_REJECTED};
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    mig_cleanup(fixture_release) struct fixture fixture = fixture_load(&golden, "correct");
    mig_cleanup(mig_arena_release) struct mig_arena scratch = MIG_ARENA_INIT;
    uint64_t seen[mig_count_of(routes)] = {0};

    fixture_open(&fixture, golden_number(golden.context, "now_ns"));
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        size_t place = 0;

        cr_assert_eq(mig_part_new((enum mig_table) table, 1, &part, NULL), MIG_OK);
        for (size_t i = 0; i < golden.count; i++) {
            const struct golden_vector vector = golden_vector(&golden, i);
            struct mig_row *row;

            if (vector.row.table != part->table)
                continue;
            cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
            *row = vector.row;
        }
        cr_assert_eq(mig_transform_part(fixture.transform, &scratch, part, NULL), MIG_OK);
        for (size_t i = 0; i < golden.count; i++) {
            const struct golden_vector vector = golden_vector(&golden, i);

            if (vector.row.table == part->table)
                expect_kept(&golden, &vector, &part->envelopes[place++]);
        }
        for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++) {
            const struct mig_kind_tally *tally = &part->tally.kinds[kind];

            cr_expect_eq(tally->counted, tally->rejected + tally->for_nodes + tally->for_chain);
            seen[0] += tally->for_nodes;
            seen[1] += tally->for_chain;
            seen[2] += tally->rejected;
        }
    }
    cr_expect_eq(seen[0] + seen[1] + seen[2], golden.count);
    cr_expect(seen[0] && seen[1] && seen[2]);
}

/* Parts go through in batches, ended by a number of rows or by their bytes. */
Test(parts, hold_what_each_row_by_itself_becomes)
{
    static uint8_t bytes[600 << 10];
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    mig_cleanup(fixture_release) struct fixture fixture = fixture_load(&golden, "correct");
    mig_cleanup(mig_arena_release) struct mig_arena scratch = MIG_ARENA_INIT;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    uint64_t rejected = 0;

    fixture_open(&fixture, golden_number(golden.context, "now_ns"));
    cr_assert_eq(mig_part_new(MIG_TABLE_WELCOME_MESSAGES, 1, &part, NULL), MIG_OK);
    for (size_t i = 0; i < 400; i++) {
        struct mig_row *row;

        cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
        *row = fixture_row(MIG_TABLE_WELCOME_MESSAGES);
        row->id = (int64_t) i + 1;
        row->values[MIG_WM_DATA].bytes = (struct mig_bytes){bytes, i % 7 == 0 ? 0
                                                                   : i == 100 ? sizeof bytes
                                                                              : i * i % 5000 + 1};
    }
    cr_assert_eq(mig_transform_part(fixture.transform, &scratch, part, NULL), MIG_OK);
    for (size_t i = 0; i < part->row_count; i++) {
        const struct mig_envelope alone = fixture_transform(&fixture, &part->rows[i]);
        const struct mig_envelope *envelope = &part->envelopes[i];

        cr_assert_eq(envelope->row, &part->rows[i]);
        cr_assert_eq(envelope->route, alone.route);
        cr_assert_eq(envelope->reason, alone.reason);
        cr_assert_eq(envelope->base_fee_picodollars, alone.base_fee_picodollars);
        cr_assert(mig_bytes_equal(envelope->topic, alone.topic));
        cr_assert(mig_bytes_equal(envelope->originator_envelope, alone.originator_envelope));
        rejected += alone.route == MIG_ROUTE_REJECTED;
    }
    cr_expect_eq(rejected, 58);
}

Test(vectors, need_no_signers_for_anything_but_the_signatures)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    mig_cleanup(fixture_release) struct fixture fixture = fixture_load(&golden, "correct");

    mig_signer_free(&fixture.payer);
    mig_signer_free(&fixture.originator);
    fixture_open(&fixture, golden_number(golden.context, "now_ns"));
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_envelope envelope = fixture_transform(&fixture, &vector.row);

        if (envelope.route != MIG_ROUTE_NODE)
            continue;
        expect_bytes(&golden, &vector, "topic", envelope.topic);
        expect_bytes(&golden, &vector, "client_envelope", envelope.client_envelope);
        expect_number(&vector, "originator_ns", envelope.originator_ns);
        expect_number(&vector, "base_fee_picodollars", (int64_t) envelope.base_fee_picodollars);
        expect_number(&vector, "expiry_unixtime", envelope.expiry_unixtime);
        cr_expect_eq(envelope.originator_envelope.size,
                     golden_bytes(&golden, vector.expect, "originator_envelope").size, "%s",
                     vector.name);
        cr_expect(!mig_bytes_equal(envelope.originator_envelope,
                                   golden_bytes(&golden, vector.expect, "originator_envelope")),
                  "%s: signed without a signer", vector.name);
    }
}

Test(vectors, can_be_made_again_at_the_clock_of_another_envelope)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("xmtpd");
    mig_cleanup(fixture_release) struct fixture fixture = fixture_load(&golden, "xmtpd");
    const int64_t now_ns = golden_number(golden.context, "now_ns");

    fixture_open(&fixture, now_ns + MIG_NS_PER_DAY);
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        struct mig_envelope envelope;

        cr_assert_eq(mig_transform_row_at(fixture.transform, &vector.row, now_ns, &fixture.arena,
                                          &envelope, NULL),
                     MIG_OK);
        expect_vector(&golden, &vector, false, &envelope);
    }
}
