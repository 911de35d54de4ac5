/* One row against one row: every kind of difference is found, named, and nothing else is. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#define YOUNG 3
#define EXPIRED 61
#define GONE_FROM_V3 31 /* past the source's 30 days, within the destination's 60 */

static struct fixture f;

static void open_young(void)
{
    fixture_open(&f, CREATED, YOUNG);
}

static void close_it(void)
{
    fixture_close(&f);
}

#define assert_notes(expected)                                                                     \
    cr_assert_str_eq(fixture_notes(&f), expected, "found: %s", fixture_notes(&f))

TestSuite(judge, .init = open_young, .fini = close_it);

Test(judge, finds_nothing_in_a_row_as_it_must_be)
{
    fixture_judge(&f);
    assert_notes("");
    cr_assert_eq(f.pair.outcome, PARITY_HELD);
}

Test(judge, finds_a_topic_that_meta_has_otherwise)
{
    static const uint8_t topic[17] = {0, 1, 2};

    f.held.topic = (struct mig_bytes){topic, sizeof topic};
    fixture_judge(&f);
    assert_notes("topic/meta");
    cr_assert_str_eq(f.pair.notes->expected, "00aabb0000000000000000000000000000");
    cr_assert_str_eq(f.pair.notes->found, "0001020000000000000000000000000000");
}

Test(judge, finds_each_member_of_meta_by_itself)
{
    f.held.expiry++;
    fixture_judge(&f);
    assert_notes("expiry/meta");
    cr_assert_str_eq(f.pair.notes->expected, "1772150400");
    cr_assert_str_eq(f.pair.notes->found, "1772150401");
    f.held.expiry--;

    f.held.gateway_time_us--;
    fixture_judge(&f);
    assert_notes("time/meta");
    f.held.gateway_time_us++;

    f.held.payer[0] = '\0';
    fixture_judge(&f);
    assert_notes("payer/meta");
    cr_assert_str_eq(f.pair.notes->found, "nobody");
}

Test(judge, finds_each_member_of_the_envelope_though_it_is_signed_anew)
{
    const struct mig_layers right = fixture_layers(&f);
    struct mig_layers wrong;

#define TRY(member, note)                                                                          \
    wrong = right;                                                                                 \
    wrong.member++;                                                                                \
    fixture_rebuild(&f, &wrong, f.payer, f.originator);                                            \
    fixture_judge(&f);                                                                             \
    assert_notes(note)

    TRY(unsigned_layer.originator, "originator/envelope");
    TRY(unsigned_layer.sequence_id, "sequence_id/envelope");
    TRY(unsigned_layer.originator_ns, "time/envelope");
    TRY(unsigned_layer.base_fee_picodollars, "fee/envelope");
    TRY(unsigned_layer.congestion_fee_picodollars, "fee/envelope, congestion");
    TRY(unsigned_layer.expiry_unixtime, "expiry/envelope");
    TRY(payer_layer.target_originator, "target_originator/envelope");
    TRY(payer_layer.retention_days, "retention/envelope");
#undef TRY
}

Test(judge, finds_other_client_bytes_though_they_are_signed_anew)
{
    struct mig_layers layers = fixture_layers(&f);
    struct mig_bytes bytes;

    mig_arena_copy(&f.arena, layers.payer_layer.client_envelope, &bytes, NULL);
    ((uint8_t *) (uintptr_t) bytes.data)[bytes.size - 1] ^= 1;
    layers.payer_layer.client_envelope = bytes;
    fixture_rebuild(&f, &layers, f.payer, f.originator);
    fixture_judge(&f);
    assert_notes("client_envelope/envelope");
    cr_assert_eq(strncmp(f.pair.notes->expected, "sha256:", 7), 0);
    cr_assert_str_neq(f.pair.notes->expected, f.pair.notes->found);
}

Test(judge, finds_a_forged_signature_of_either_kind)
{
    const struct mig_layers layers = fixture_layers(&f);
    char forger[MIG_ADDRESS_TEXT_SIZE];

    mig_address_format(mig_signer_address(f.other), forger);
    fixture_rebuild(&f, &layers, f.payer, f.other);
    fixture_judge(&f);
    assert_notes("originator_signer/envelope");
    cr_assert_str_eq(f.pair.notes->found, forger);
    cr_assert_str_eq(f.pair.notes->expected, f.terms.originator.text);

    fixture_rebuild(&f, &layers, f.other, f.originator);
    fixture_judge(&f);
    assert_notes("payer_signer/envelope");
}

Test(judge, finds_signatures_that_are_none)
{
    static const uint8_t nonsense[MIG_SIGNATURE_SIZE] = {0};
    struct mig_layers layers = fixture_layers(&f);

    layers.originator_signature = (struct mig_bytes){0};
    fixture_rebuild(&f, &layers, NULL, NULL);
    fixture_judge(&f);
    assert_notes("originator_signer/envelope");
    cr_assert_str_eq(f.pair.notes->found, "no signature");

    layers.originator_signature = (struct mig_bytes){nonsense, sizeof nonsense};
    fixture_rebuild(&f, &layers, NULL, NULL);
    fixture_judge(&f);
    assert_notes("originator_signer/envelope");
    cr_assert_str_eq(f.pair.notes->found, "an invalid signature");
}

Test(judge, finds_a_change_wherever_a_byte_is_flipped)
{
    const struct mig_bytes right = f.held.originator_envelope;

    for (size_t i = 0; i < right.size; i++) {
        struct mig_bytes wrong;

        mig_arena_copy(&f.arena, right, &wrong, NULL);
        ((uint8_t *) (uintptr_t) wrong.data)[i] ^= 0x10;
        f.held.originator_envelope = wrong;
        fixture_judge(&f);
        cr_assert_not_null(f.pair.notes, "byte %zu of %zu", i, right.size);
        mig_arena_release(&f.notes);
    }
}

Test(judge, finds_bytes_that_no_layer_knows)
{
    static const uint8_t unknown_field[] = {0x78, 0x01};
    const struct mig_bytes right = f.held.originator_envelope;
    uint8_t longer[4096];

    memcpy(longer, right.data, right.size);
    memcpy(longer + right.size, unknown_field, sizeof unknown_field);
    f.held.originator_envelope = (struct mig_bytes){longer, right.size + sizeof unknown_field};
    fixture_judge(&f);
    assert_notes("encoding/envelope");
}

Test(judge, believes_what_is_known_of_a_twin_for_the_same_bytes_only)
{
    struct parity_held twin = {0};
    struct mig_layers layers;

    f.twin = &twin;
    fixture_judge(&f);
    assert_notes("");
    cr_assert_eq(twin.row, &f.held);
    strcpy(twin.signers.payer, "somebody");
    fixture_judge(&f);
    assert_notes("payer_signer/envelope");

    layers = fixture_layers(&f);
    fixture_rebuild(&f, &layers, f.payer, f.other);
    twin.row = &(struct mig_node_row){.has_envelope = true};
    fixture_judge(&f);
    assert_notes("originator_signer/envelope");
}

Test(judge, does_not_take_a_missing_envelope_for_a_twin)
{
    struct parity_held twin = {0};

    f.twin = &twin;
    f.held.has_envelope = false;
    f.held.originator_envelope = (struct mig_bytes){0};
    fixture_judge(&f);
    assert_notes("blob_missing/envelope");
    fixture_judge(&f);
    assert_notes("blob_missing/envelope");
}

Test(judge, finds_meta_without_blob_and_still_compares_meta)
{
    f.held.has_envelope = false;
    f.held.originator_envelope = (struct mig_bytes){0};
    f.held.expiry = 0;
    fixture_judge(&f);
    assert_notes("blob_missing/envelope expiry/meta");
}

Test(judge, finds_an_envelope_that_cannot_be_read)
{
    f.held.originator_envelope = mig_bytes_of_text("garbage");
    fixture_judge(&f);
    assert_notes("unreadable/envelope");
}

Test(judge, misses_what_is_required_and_only_that)
{
    fixture_judge_absent(&f, true);
    assert_notes("missing/");
    cr_assert_eq(f.pair.outcome, PARITY_MISSING);
    fixture_judge_absent(&f, false);
    assert_notes("");
    cr_assert_eq(f.pair.outcome, PARITY_NOTHING);
}

Test(judge, calls_a_row_extra_that_the_source_rejects)
{
    f.row.values[MIG_GM_GROUP_ID].bytes.size = 15;
    fixture_judge(&f);
    assert_notes("extra/");
    cr_assert_eq(f.pair.outcome, PARITY_EXTRA);
    cr_assert_str_eq(f.pair.notes->expected, "nothing: the row is rejected, group_id_length");
}

Test(judge, calls_a_row_extra_that_the_source_never_had)
{
    fixture_judge_sourceless(&f);
    assert_notes("extra/");
}

Test(judge, shows_what_a_node_says_without_its_control_characters)
{
    strcpy(f.held.payer, "\x1b[2J\n\xff");
    fixture_judge(&f);
    cr_assert_str_eq(f.pair.notes->found, "?[2J??");
}

/* ---- rows that time has overtaken --------------------------------------------------------- */

TestSuite(aged, .fini = close_it);

Test(aged, row_that_v3_deleted_by_its_own_rule_is_no_difference)
{
    fixture_open(&f, CREATED, GONE_FROM_V3);
    fixture_judge_sourceless(&f);
    assert_notes("");
    cr_assert_eq(f.pair.outcome, PARITY_PRUNED);
}

Test(aged, row_is_pruned_from_the_very_second_on)
{
    fixture_open(&f, CREATED, GONE_FROM_V3 - 1);
    fixture_judge_sourceless(&f);
    cr_assert_eq(f.pair.outcome, PARITY_PRUNED);
    f.terms.now_ns--;
    fixture_judge_sourceless(&f);
    cr_assert_eq(f.pair.outcome, PARITY_EXTRA);
}

Test(aged, row_that_is_forged_or_altered_is_not_taken_for_pruned)
{
    struct mig_layers layers;

    fixture_open(&f, CREATED, GONE_FROM_V3);
    f.held.expiry += DAY_S;
    fixture_judge_sourceless(&f);
    assert_notes("extra/");
    f.held.expiry -= DAY_S;

    layers = fixture_layers(&f);
    fixture_rebuild(&f, &layers, f.payer, f.other);
    fixture_judge_sourceless(&f);
    assert_notes("extra/");

    layers.unsigned_layer.expiry_unixtime = UINT64_MAX; /* as a signed number: -1 */
    f.held.expiry = -1;
    fixture_rebuild(&f, &layers, f.payer, f.originator);
    fixture_judge_sourceless(&f);
    assert_notes("extra/");
}

Test(aged, expired_row_may_be_held_or_not)
{
    fixture_open(&f, CREATED, EXPIRED);
    fixture_judge(&f);
    assert_notes("");
    cr_assert_eq(f.pair.outcome, PARITY_EXPIRED_PRESENT);
    fixture_judge_absent(&f, true);
    assert_notes("");
    cr_assert_eq(f.pair.outcome, PARITY_NOTHING);
}

Test(aged, expired_row_that_is_held_must_be_right_all_the_same)
{
    fixture_open(&f, CREATED, EXPIRED);
    f.held.expiry++;
    fixture_judge(&f);
    assert_notes("expiry/meta");
}

Test(aged, row_that_expired_since_the_run_is_missing_with_a_word_of_that)
{
    fixture_open(&f, CREATED, EXPIRED - 2);
    f.terms.now_ns += DAY_S * MIG_NS_PER_SECOND - 1;
    fixture_judge_absent(&f, true);
    cr_assert_str_eq(f.pair.notes->found, "nothing");
    mig_arena_release(&f.notes);
    f.terms.now_ns++;
    fixture_judge_absent(&f, true);
    cr_assert_eq(f.pair.outcome, PARITY_MISSING);
    cr_assert(strstr(f.pair.notes->found, "expired since"));
}

/* ---- another clock ------------------------------------------------------------------------ */

TestSuite(migrated, .fini = close_it);

Test(migrated, time_is_the_nodes_and_all_else_is_recomputed)
{
    struct mig_layers layers;

    fixture_open(&f, MIGRATED, YOUNG);
    layers = fixture_layers(&f);
    layers.unsigned_layer.originator_ns += 12000;
    fixture_rebuild(&f, &layers, f.payer, f.originator);
    f.held.gateway_time_us += 12;
    fixture_judge(&f);
    assert_notes("");

    f.held.gateway_time_us++;
    fixture_judge(&f);
    assert_notes("time/meta");
    f.held.gateway_time_us--;

    layers.unsigned_layer.base_fee_picodollars++;
    fixture_rebuild(&f, &layers, f.payer, f.originator);
    fixture_judge(&f);
    assert_notes("fee/envelope");
}

Test(migrated, time_before_the_first_rate_is_a_difference)
{
    struct mig_layers layers;

    fixture_open(&f, MIGRATED, YOUNG);
    layers = fixture_layers(&f);
    layers.unsigned_layer.originator_ns = 5000;
    fixture_rebuild(&f, &layers, f.payer, f.originator);
    f.held.gateway_time_us = 5;
    fixture_judge(&f);
    assert_notes("time/meta time/envelope");
}
