/* The layers of an envelope: built as the vectors have them, taken apart, refused layer by layer.
 */
#include "hostile.h"
#include "libmigrate/wire/wire.h"
#include "support/golden.h"

#include <criterion/criterion.h>

#define BYTES(literal) ((struct mig_bytes){(const uint8_t *) (literal), sizeof(literal) - 1})

static void release_arena(struct mig_arena *arena)
{
    mig_arena_release(arena);
}

static struct mig_bytes rebuild(const struct mig_layers *layers, struct mig_arena *arena)
{
    struct mig_payer_layer payer = layers->payer_layer;
    struct mig_unsigned_layer inner = layers->unsigned_layer;
    struct mig_bytes bytes;

    cr_assert_eq(mig_client_envelope_build(layers->topic, layers->payload_field, layers->payload,
                                           arena, &payer.client_envelope, NULL),
                 MIG_OK);
    cr_assert_eq(mig_payer_envelope_build(&payer, arena, &inner.payer_envelope, NULL), MIG_OK);
    cr_assert_eq(mig_unsigned_envelope_build(&inner, arena, &bytes, NULL), MIG_OK);
    cr_assert(mig_bytes_equal(bytes, layers->unsigned_envelope));
    cr_assert_eq(
        mig_originator_envelope_build(bytes, layers->originator_signature, arena, &bytes, NULL),
        MIG_OK);
    return bytes;
}

Test(layers, of_every_vector_come_apart_and_together_again)
{
    static const char *const profiles[] = {"correct", "xmtpd"};
    size_t envelopes = 0;

    for (size_t p = 0; p < mig_count_of(profiles); p++) {
        mig_cleanup(golden_release) struct golden golden = golden_load(profiles[p]);

        for (size_t i = 0; i < golden.count; i++) {
            mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
            const struct golden_vector vector = golden_vector(&golden, i);
            struct mig_layers layers;
            struct mig_bytes envelope;

            if (strcmp(golden_text(vector.expect, "route"), "node") != 0)
                continue;
            envelope = golden_bytes(&golden, vector.expect, "originator_envelope");
            cr_assert_eq(mig_originator_envelope_parse(envelope, &arena, &layers, NULL), MIG_OK);
            cr_expect(mig_bytes_equal(rebuild(&layers, &arena), envelope), "%s", vector.name);
            cr_expect_eq(layers.transaction_hash.size, 0);
            cr_expect_eq(layers.originator_signature.size, 65);
            cr_expect_eq(layers.payer_layer.signature.size, 65);
            cr_expect_eq(layers.payer_layer.retention_days, 60);
            cr_expect_eq(layers.payer_layer.target_originator, layers.unsigned_layer.originator);
            envelopes++;
        }
    }
    cr_expect_gt(envelopes, 100);
}

static void expect_client_bytes(struct golden *golden, const struct golden_vector *vector,
                                struct mig_arena *arena)
{
    const struct mig_bytes bytes = golden_bytes(golden, vector->expect, "client_envelope");
    struct mig_bytes again = {0};
    struct mig_group_message message;
    struct mig_welcome welcome;
    struct mig_layers layers;

    cr_assert_eq(mig_client_envelope_parse(bytes, arena, &layers, NULL), MIG_OK);
    switch (layers.payload_field) {
    case 2:
        cr_assert_eq(mig_group_message_parse(layers.payload, arena, &message, NULL), MIG_OK);
        cr_assert_eq(mig_group_message_build(message.data, message.sender_hmac, message.should_push,
                                             arena, &again, NULL),
                     MIG_OK);
        cr_expect(mig_bytes_equal(message.data, vector->row.values[MIG_GM_DATA].bytes));
        break;
    case 3:
        cr_assert_eq(mig_welcome_parse(layers.payload, arena, &welcome, NULL), MIG_OK);
        cr_assert_eq(mig_welcome_build(&welcome, arena, &again, NULL), MIG_OK);
        cr_expect(mig_bytes_equal(welcome.data, vector->row.values[MIG_WM_DATA].bytes));
        cr_expect_eq(welcome.pointer, vector->row.values[MIG_WM_MESSAGE_TYPE].number == 1);
        break;
    case 4:
        cr_assert_eq(mig_key_package_parse(layers.payload, arena, &again, NULL), MIG_OK);
        cr_expect(mig_bytes_equal(again, vector->row.values[MIG_KP_KEY_PACKAGE].bytes));
        cr_assert_eq(mig_key_package_build(again, arena, &again, NULL), MIG_OK);
        break;
    default:
        cr_expect_eq(layers.payload_field, 5);
        again = vector->row.values[MIG_IL_UPDATE].bytes;
    }
    cr_expect(mig_bytes_equal(again, layers.payload), "%s", vector->name);
}

Test(layers, payloads_of_every_vector_come_apart_and_together_again)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");

    for (size_t i = 0; i < golden.count; i++) {
        mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
        const struct golden_vector vector = golden_vector(&golden, i);

        if (strcmp(golden_text(vector.expect, "route"), "rejected") != 0)
            expect_client_bytes(&golden, &vector, &arena);
    }
}

Test(layers, leave_out_what_is_empty_or_zero)
{
    mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_bytes bytes;

    cr_assert_eq(mig_group_message_build(BYTES(""), BYTES(""), false, &arena, &bytes, NULL),
                 MIG_OK);
    cr_expect(mig_bytes_equal(bytes, BYTES("\x0a\0")));
    cr_assert_eq(mig_group_message_build(BYTES("d"), BYTES("h"), true, &arena, &bytes, NULL),
                 MIG_OK);
    cr_expect(mig_bytes_equal(bytes, BYTES("\x0a\x08\x0a\1d\x12\1h\x18\1")));
    cr_assert_eq(mig_unsigned_envelope_build(&(struct mig_unsigned_layer){.originator = 10}, &arena,
                                             &bytes, NULL),
                 MIG_OK);
    cr_expect(mig_bytes_equal(bytes, BYTES("\x08\x0a")));
    cr_assert_eq(mig_client_envelope_build(BYTES("t"), 5, BYTES(""), &arena, &bytes, NULL), MIG_OK);
    cr_expect(mig_bytes_equal(bytes, BYTES("\x0a\3\x12\1t\x2a\0")),
              "an empty member of a oneof is still a member");
}

Test(layers, carry_numbers_at_the_ends_of_their_types)
{
    mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_payer_layer payer = {
        .signature = BYTES("p"), .target_originator = UINT32_MAX, .retention_days = UINT32_MAX};
    struct mig_unsigned_layer inner = {.originator = UINT32_MAX,
                                       .sequence_id = UINT64_MAX,
                                       .originator_ns = INT64_MIN,
                                       .base_fee_picodollars = UINT64_MAX,
                                       .congestion_fee_picodollars = UINT64_MAX - 1,
                                       .expiry_unixtime = UINT64_MAX - 2};
    struct mig_layers layers;
    struct mig_bytes bytes;

    cr_assert_eq(
        mig_client_envelope_build(BYTES("t"), 7, BYTES("x"), &arena, &payer.client_envelope, NULL),
        MIG_OK);
    cr_assert_eq(mig_payer_envelope_build(&payer, &arena, &inner.payer_envelope, NULL), MIG_OK);
    cr_assert_eq(mig_unsigned_envelope_build(&inner, &arena, &bytes, NULL), MIG_OK);
    cr_assert_eq(mig_originator_envelope_build(bytes, BYTES("o"), &arena, &bytes, NULL), MIG_OK);
    cr_assert_eq(mig_originator_envelope_parse(bytes, &arena, &layers, NULL), MIG_OK);
    cr_expect_eq(layers.unsigned_layer.originator, UINT32_MAX);
    cr_expect_eq(layers.unsigned_layer.sequence_id, UINT64_MAX);
    cr_expect_eq(layers.unsigned_layer.originator_ns, INT64_MIN);
    cr_expect_eq(layers.unsigned_layer.base_fee_picodollars, UINT64_MAX);
    cr_expect_eq(layers.unsigned_layer.congestion_fee_picodollars, UINT64_MAX - 1);
    cr_expect_eq(layers.unsigned_layer.expiry_unixtime, UINT64_MAX - 2);
    cr_expect_eq(layers.payer_layer.target_originator, UINT32_MAX);
    cr_expect_eq(layers.payer_layer.retention_days, UINT32_MAX);
    cr_expect_eq(layers.payload_field, 7);
    cr_expect(mig_bytes_equal(layers.payload, BYTES("x")));
    cr_expect(mig_bytes_equal(layers.originator_signature, BYTES("o")));
}

/* ---- refusals, each naming its layer -------------------------------------------------------- */

#define CLIENT "\x0a\3\x12\1t\x12\1x" /* 8 bytes */
#define PAYER "\x0a\x08" CLIENT       /* 10 */
#define UNSIGNED "\x22\x0a" PAYER     /* 12 */
#define PROOF "\x1a\4\x0a\2hh"

Test(layers, without_a_signature_or_with_a_proof_are_well_formed)
{
    mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_layers layers;

    cr_assert_eq(
        mig_originator_envelope_parse(BYTES("\x0a\x0c" UNSIGNED PROOF), &arena, &layers, NULL),
        MIG_OK);
    cr_expect(mig_bytes_equal(layers.transaction_hash, BYTES("hh")));
    cr_expect_eq(layers.originator_signature.size, 0);
    cr_expect_eq(layers.payload_field, 2);
    cr_assert_eq(mig_originator_envelope_parse(BYTES("\x0a\x0c" UNSIGNED), &arena, &layers, NULL),
                 MIG_OK);
    cr_expect_eq(layers.transaction_hash.size, 0);
    cr_assert_eq(mig_payer_envelope_parse(BYTES(PAYER), &arena, &layers, NULL), MIG_OK);
    cr_expect_eq(layers.unsigned_envelope.size, 0, "layers above are zero");
    cr_assert_eq(mig_client_envelope_parse(BYTES("\x0a\3\x12\1t"), &arena, &layers, NULL), MIG_OK);
    cr_expect_eq(layers.payload_field, 0);
    cr_assert_eq(mig_client_envelope_parse(BYTES("\x0a\3\x12\1t\x5a\1x"), &arena, &layers, NULL),
                 MIG_OK);
    cr_expect_eq(layers.payload_field, 0, "a payload that we don't know");
}

Test(layers, that_miss_something_are_refused_by_name)
{
    static const struct {
        struct mig_bytes bytes;
        const char *layer;
    } cases[] = {
        {BYTES(""), "originator envelope with nothing"},
        {BYTES("\xff"), "an originator envelope"},
        {BYTES("\x0a\1\xff"), "an unsigned originator envelope"},
        {BYTES("\x0a\2\x08\x0a"), "without a payer envelope"},
        {BYTES("\x0a\3\x22\1\xff"), "a payer envelope"},
        {BYTES("\x0a\4\x22\2\x18\1"), "without a client envelope"},
        {BYTES("\x0a\5\x22\3\x0a\1\xff"), "a client envelope"},
        {BYTES("\x0a\7\x22\5\x0a\3\x12\1x"), "without a topic"},
        {BYTES("\x0a\x09\x22\7\x0a\5\x0a\0\x12\1x"), "without a topic"},
        {BYTES("\x0a\x0c" UNSIGNED "\x12\1\xff"), "an originator envelope"},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
        const struct mig_bytes copy = hostile_copy(cases[i].bytes);
        struct mig_layers layers = {.payload_field = 99};
        struct mig_error err = MIG_ERROR_INIT;

        cr_expect_eq(mig_originator_envelope_parse(copy, &arena, &layers, &err), MIG_E_CORRUPT);
        cr_expect(strstr(err.message, cases[i].layer), "%s where '%s' was to be", err.message,
                  cases[i].layer);
        cr_expect_eq(layers.payload_field, 99, "an output is untouched on failure");
        hostile_free(copy);
    }
}

Test(layers, payloads_of_no_known_version_are_refused)
{
    mig_cleanup(release_arena) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_group_message message;
    struct mig_welcome welcome;
    struct mig_bytes key_package;

    cr_expect_eq(mig_group_message_parse(BYTES(""), &arena, &message, NULL), MIG_E_CORRUPT);
    cr_expect_eq(mig_group_message_parse(BYTES("\x12\1x"), &arena, &message, NULL), MIG_E_CORRUPT);
    cr_expect_eq(mig_welcome_parse(BYTES(""), &arena, &welcome, NULL), MIG_E_CORRUPT);
    cr_expect_eq(mig_welcome_parse(BYTES("\x1a\0"), &arena, &welcome, NULL), MIG_E_CORRUPT);
    cr_expect_eq(mig_key_package_parse(BYTES("\x10\1"), &arena, &key_package, NULL), MIG_E_CORRUPT);
}
