/* What is a well-formed identity update: strings, nesting, unknown fields, and where it ends. */
#include "hostile.h"
#include "libmigrate/wire/wire.h"
#include "support/golden.h"

#include <criterion/criterion.h>

#define BYTES(literal) ((struct mig_bytes){(const uint8_t *) (literal), sizeof(literal) - 1})
#define LIMIT ((size_t) 1 << 20)

static bool valid(struct mig_bytes update)
{
    const struct mig_bytes copy = hostile_copy(update);
    const bool result = mig_identity_update_valid(copy);

    hostile_free(copy);
    return result;
}

/* Wraps what buffer holds as the content of a length-delimited field. */
static void wrap(struct mig_buffer *buffer, unsigned field)
{
    struct mig_buffer outer = MIG_BUFFER_INIT(LIMIT);
    size_t length = buffer->size;
    uint8_t head[12];
    size_t size = 0;

    cr_assert_lt(field, 16);
    head[size++] = (uint8_t) (field << 3 | 2);
    for (; length >= 0x80; length >>= 7)
        head[size++] = (uint8_t) (length | 0x80);
    head[size++] = (uint8_t) length;
    cr_assert_eq(mig_buffer_append(&outer, head, size, NULL), MIG_OK);
    cr_assert_eq(mig_buffer_append(&outer, buffer->data, buffer->size, NULL), MIG_OK);
    mig_buffer_release(buffer);
    *buffer = outer;
}

/* An update that has content in the place that the field numbers lead to. */
static bool valid_at(const unsigned *path, struct mig_bytes content)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer update = MIG_BUFFER_INIT(LIMIT);
    size_t depth = 0;

    while (path[depth] != 0)
        depth++;
    cr_assert_eq(mig_buffer_append(&update, content.data, content.size, NULL), MIG_OK);
    while (depth-- > 0)
        wrap(&update, path[depth]);
    return valid(mig_buffer_bytes(&update));
}

#define PATH_MAX_DEPTH 7
static const unsigned strings[][PATH_MAX_DEPTH] = {
    {3},             /* inbox_id */
    {1, 1, 1},       /* create_inbox: initial_identifier */
    {1, 1, 5},       /* relying_party */
    {1, 1, 3, 2, 1}, /* erc_6492.account_id of its signature */
    {1, 2, 1, 1},    /* add: ethereum_address */
    {1, 2, 1, 3, 2}, /* passkey.relying_party */
    {1, 2, 2, 2, 1}, /* both signatures */
    {1, 2, 3, 2, 1},
    {1, 2, 4},    /* relying_party */
    {1, 3, 1, 1}, /* revoke */
    {1, 3, 1, 3, 2},
    {1, 3, 2, 2, 1},
    {1, 4, 1}, /* change_recovery_address */
    {1, 4, 2, 2, 1},
    {1, 4, 4},
};

static const unsigned byte_fields[][PATH_MAX_DEPTH] = {
    {1, 2, 1, 2},    /* installation_public_key */
    {1, 2, 1, 3, 1}, /* passkey.key */
    {1, 1, 3, 1, 1}, /* erc_191 */
    {1, 1, 3, 2, 3}, {1, 1, 3, 3, 1}, {1, 1, 3, 3, 2}, {1, 1, 3, 4},
    {1, 1, 3, 5, 1}, {1, 1, 3, 5, 2}, {1, 1, 3, 5, 3}, {1, 1, 3, 5, 4},
};

Test(identity, strings_must_be_utf8_wherever_they_stand)
{
    static const struct mig_bytes good[] = {
        BYTES(""),
        BYTES("plain"),
        BYTES("a\0b"),
        BYTES("\x7f"),
        BYTES("\xc2\x80"),
        BYTES("\xdf\xbf"),
        BYTES("\xe0\xa0\x80"),
        BYTES("\xed\x9f\xbf"),
        BYTES("\xee\x80\x80"),
        BYTES("\xef\xbf\xbf"),
        BYTES("\xf0\x90\x80\x80"),
        BYTES("\xf4\x8f\xbf\xbf"),
    };
    static const struct mig_bytes bad[] = {
        BYTES("\x80"), /* a continuation alone */
        BYTES("\xbf"),
        BYTES("\xc0\x80"), /* overlong */
        BYTES("\xc1\xbf"),
        BYTES("\xe0\x9f\xbf"),
        BYTES("\xf0\x8f\xbf\xbf"),
        BYTES("\xed\xa0\x80"), /* surrogates */
        BYTES("\xed\xbf\xbf"),
        BYTES("\xf4\x90\x80\x80"), /* beyond U+10FFFF */
        BYTES("\xf5\x80\x80\x80"),
        BYTES("\xff"),
        BYTES("ok\xc3"), /* cut short */
        BYTES("\xe2\x82"),
        BYTES("\xf0\x9f\x98"),
        BYTES("\xc3x"), /* interrupted */
        BYTES("\xe2\x82x"),
        BYTES("\xf0\x9f\x98x"),
    };

    for (size_t i = 0; i < mig_count_of(strings); i++) {
        for (size_t k = 0; k < mig_count_of(good); k++)
            cr_expect(valid_at(strings[i], good[k]), "field %zu, text %zu", i, k);
        for (size_t k = 0; k < mig_count_of(bad); k++)
            cr_expect_not(valid_at(strings[i], bad[k]), "field %zu, text %zu", i, k);
    }
    for (size_t i = 0; i < mig_count_of(byte_fields); i++)
        for (size_t k = 0; k < mig_count_of(bad); k++)
            cr_expect(valid_at(byte_fields[i], bad[k]), "bytes %zu are not text", i);
}

Test(identity, a_message_inside_must_be_one)
{
    static const unsigned messages[][PATH_MAX_DEPTH] = {
        {1},          {1, 1},       {1, 2},       {1, 3},       {1, 4},    {1, 1, 3},
        {1, 1, 3, 1}, {1, 1, 3, 2}, {1, 1, 3, 3}, {1, 1, 3, 5}, {1, 2, 1}, {1, 2, 1, 3},
        {1, 2, 2},    {1, 2, 3},    {1, 3, 1},    {1, 3, 2},    {1, 4, 2},
    };

    for (size_t i = 0; i < mig_count_of(messages); i++) {
        cr_expect(valid_at(messages[i], BYTES("")), "message %zu", i);
        cr_expect(valid_at(messages[i], BYTES("\xa0\x06\x01")), "message %zu", i);
        cr_expect_not(valid_at(messages[i], BYTES("\xff")), "message %zu", i);
        cr_expect_not(valid_at(messages[i], BYTES("\x0a\x05xx")), "message %zu", i);
    }
}

Test(identity, unknown_fields_are_legal_in_every_wire_type)
{
    cr_expect(valid(BYTES("\xa0\x06\x01")), "varint");
    cr_expect(valid(BYTES("\xa1\x06"
                          "12345678")),
              "64 bits");
    cr_expect(valid(BYTES("\xa2\x06\x02\xff\xff")), "bytes, not text");
    cr_expect(valid(BYTES("\xa5\x06"
                          "1234")),
              "32 bits");
    cr_expect(valid(BYTES("\xa3\x06\xa4\x06")), "an empty group");
    cr_expect(valid(BYTES("\xa3\x06\x08\x01\x1a\x01\xff\xa3\x06\xa4\x06\xa4\x06")),
              "a group, in which no number is ours");
    cr_expect(valid(BYTES("\xf8\xff\xff\xff\x0f\x01")), "the highest field number");
    cr_expect(valid(BYTES("")), "nothing at all is an update without anything");
}

Test(identity, a_known_number_in_another_wire_type_is_an_unknown_field)
{
    static const struct mig_bytes cases[] = {
        BYTES("\x18\x07"), /* inbox_id as a varint */
        BYTES("\x1d"
              "1234"), /* as 32 bits */
        BYTES("\x19"
              "12345678"),         /* as 64 bits */
        BYTES("\x1b\x1c"),         /* as a group */
        BYTES("\x08\x07"),         /* an action as a varint */
        BYTES("\x12\x02\xff\xff"), /* the timestamp as bytes */
        BYTES("\x0a\x02\x08\x01"), /* create_inbox as a varint */
    };

    for (size_t i = 0; i < mig_count_of(cases); i++)
        cr_expect(valid(cases[i]), "case %zu", i);
}

Test(identity, broken_wire_format_is_refused)
{
    static const struct mig_bytes cases[] = {
        BYTES("\x00"), /* field number 0 */
        BYTES("\x02\x00"),
        BYTES("\x0e"), /* wire types 6 and 7 */
        BYTES("\x0f"),
        BYTES("\xa6\x06"),
        BYTES("\x80\x80\x80\x80\x10\x01"), /* a field number beyond the highest */
        BYTES("\x10"),                     /* no value */
        BYTES("\x10\x80"),                 /* half a value */
        BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), /* more than 64 bits */
        BYTES("\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        BYTES("\x1a\x05xxxx"),                                 /* cut short */
        BYTES("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* a length of 2^64 - 1 */
        BYTES("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        BYTES("\xa1\x06"
              "1234567"),
        BYTES("\xa5\x06"
              "123"),
        BYTES("\xa4\x06"),                         /* a group ends that never began */
        BYTES("\xa3\x06"),                         /* one that never ends */
        BYTES("\xa3\x06\xac\x06"),                 /* one that ends as another */
        BYTES("\xa3\x06\xab\x06\xa4\x06\xac\x06"), /* two that cross */
    };

    cr_expect(valid(BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), "2^64 - 1");
    for (size_t i = 0; i < mig_count_of(cases); i++)
        cr_expect_not(valid(cases[i]), "case %zu", i);
}

Test(identity, groups_nest_without_end_only_to_be_refused)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer update = MIG_BUFFER_INIT(LIMIT);

    for (int depth = 0; depth < 300000; depth++)
        cr_assert_eq(mig_buffer_append(&update, "\x7b", 1, NULL), MIG_OK);
    cr_expect_not(valid(mig_buffer_bytes(&update)));
    cr_expect(valid(BYTES("\x7b\x7b\x7b\x7b\x7b\x7b\x7b\x7b\x7c\x7c\x7c\x7c\x7c\x7c\x7c\x7c")));
}

Test(identity, the_vectors_are_judged_as_they_say)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    size_t good = 0, bad = 0;

    for (size_t i = 0; i < golden.count; i++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_bytes bytes = vector.row.values[MIG_IL_UPDATE].bytes;
        struct mig_identity_update update;
        bool rejected;

        if (vector.row.table != MIG_TABLE_INBOX_LOG)
            continue;
        rejected = strcmp(golden_text(vector.expect, "route"), "rejected") == 0;
        if (rejected &&
            strcmp(golden_text(vector.expect, "reason"), "identity_update_unparsable") != 0)
            continue;
        *(rejected ? &bad : &good) += 1;
        cr_expect_eq(valid(bytes), !rejected, "%s", vector.name);
        cr_expect_eq(mig_identity_update_parse(bytes, &arena, &update, NULL),
                     rejected ? MIG_E_CORRUPT : MIG_OK, "%s", vector.name);
    }
    cr_expect(good > 10 && bad > 0);
}

Test(identity, an_update_may_be_cut_anywhere_without_harm)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");

    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_bytes update = vector.row.values[MIG_IL_UPDATE].bytes;
        size_t refused = 0;

        if (vector.row.table != MIG_TABLE_INBOX_LOG || !mig_identity_update_valid(update))
            continue;
        for (size_t size = 0; size < update.size; size++) {
            mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
            const struct mig_bytes copy = hostile_copy((struct mig_bytes){update.data, size});
            struct mig_identity_update parsed;

            refused += !mig_identity_update_valid(copy);
            mig_identity_update_parse(copy, &arena, &parsed, NULL);
            hostile_free(copy);
        }
        cr_expect_geq(refused + 4, update.size, "%s: only between fields is a cut no fault",
                      vector.name);
    }
}

Test(identity, actions_are_counted_by_kind)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_identity_update update;

    cr_assert_eq(mig_identity_update_parse(
                     BYTES("\x0a\2\x0a\0\x0a\2\x12\0\x0a\2\x12\0\x0a\2\x1a\0\x0a\2\x22\0\x0a\0"
                           "\x10\x2a\x1a\4inbx"),
                     &arena, &update, NULL),
                 MIG_OK);
    cr_expect_eq(update.created, 1);
    cr_expect_eq(update.added, 2);
    cr_expect_eq(update.revoked, 1);
    cr_expect_eq(update.recovery_changed, 1);
    cr_expect_eq(update.client_timestamp_ns, 42);
    cr_expect(mig_bytes_equal(update.inbox_id, BYTES("inbx")));
}
