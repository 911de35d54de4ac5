/* Buffers that stop at their limit, arenas that hand out and release, hex both ways. */
#include "libmigrate/base/base.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(literal) ((struct mig_bytes){(const uint8_t *) (literal), sizeof(literal) - 1})

/* ---- buffers -------------------------------------------------------------------------------- */

Test(buffer, fills_to_its_limit_and_not_beyond)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer buffer = MIG_BUFFER_INIT(100);
    struct mig_error err = MIG_ERROR_INIT;

    for (int i = 0; i < 100; i++)
        cr_assert_eq(mig_buffer_append(&buffer, "x", 1, &err), MIG_OK);
    cr_expect_eq(mig_buffer_append(&buffer, "x", 1, &err), MIG_E_NOMEM);
    cr_expect_eq(mig_buffer_append(&buffer, "", 0, &err), MIG_OK);
    cr_expect_eq(buffer.size, 100, "what did not fit left nothing behind");
    cr_expect_leq(buffer.capacity, 100);
    cr_expect(strstr(err.message, "100"), "%s", err.message);
}

Test(buffer, refuses_sizes_that_would_wrap_around)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer buffer = MIG_BUFFER_INIT(SIZE_MAX);

    cr_assert_eq(mig_buffer_append(&buffer, "abc", 3, NULL), MIG_OK);
    cr_expect_eq(mig_buffer_reserve(&buffer, SIZE_MAX, NULL), MIG_E_NOMEM);
    cr_expect_eq(mig_buffer_reserve(&buffer, SIZE_MAX - 2, NULL), MIG_E_NOMEM);
    cr_expect(mig_bytes_equal(mig_buffer_bytes(&buffer), BYTES("abc")));
}

Test(buffer, reserves_memory_even_for_nothing)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer buffer = MIG_BUFFER_INIT(100);

    cr_assert_eq(mig_buffer_reserve(&buffer, 0, NULL), MIG_OK);
    cr_expect_not_null(buffer.data);
}

Test(buffer, prints_with_room_for_the_end_of_text_and_does_not_count_it)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer buffer = MIG_BUFFER_INIT(8);

    cr_assert_eq(mig_buffer_print(&buffer, NULL, "%d-%s", 12, "ab"), MIG_OK);
    cr_expect_eq(buffer.size, 5);
    cr_expect_str_eq((char *) buffer.data, "12-ab");
    cr_expect_eq(mig_buffer_print(&buffer, NULL, "xyz"), MIG_E_NOMEM, "no room for its NUL");
    cr_expect_eq(mig_buffer_print(&buffer, NULL, "xy"), MIG_OK);
    cr_expect_str_eq((char *) buffer.data, "12-abxy");
}

Test(buffer, can_be_used_again_after_release)
{
    struct mig_buffer buffer = MIG_BUFFER_INIT(10);

    for (int round = 0; round < 3; round++) {
        cr_assert_eq(mig_buffer_append(&buffer, "0123456789", 10, NULL), MIG_OK);
        mig_buffer_release(&buffer);
        cr_expect_null(buffer.data);
        cr_expect_eq(buffer.size, 0);
        cr_expect_eq(buffer.limit, 10);
    }
}

Test(buffer, holds_what_was_appended_in_order_however_large)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer buffer = MIG_BUFFER_INIT(1 << 20);

    for (uint32_t i = 0; i < 100000; i++)
        cr_assert_eq(mig_buffer_append(&buffer, &i, sizeof i, NULL), MIG_OK);
    for (uint32_t i = 0; i < 100000; i++)
        cr_assert_eq(memcmp(buffer.data + i * sizeof i, &i, sizeof i), 0);
}

Test(bytes, are_equal_by_content_and_length)
{
    cr_expect(mig_bytes_equal((struct mig_bytes){0}, BYTES("")));
    cr_expect(mig_bytes_equal(BYTES("a\0b"), BYTES("a\0b")));
    cr_expect_not(mig_bytes_equal(BYTES("a\0b"), BYTES("a\0c")));
    cr_expect_not(mig_bytes_equal(BYTES("ab"), BYTES("abc")));
    cr_expect(mig_bytes_equal(mig_bytes_of_text("text"), BYTES("text")));
    cr_expect_eq(mig_bytes_of_text("").size, 0);
}

Test(bytes, taken_over_leave_nothing_behind)
{
    mig_cleanup(mig_free_text) char *text = strdup("mine");
    mig_cleanup(mig_free_text) char *taken = mig_take(text);

    cr_expect_null(text);
    cr_expect_str_eq(taken, "mine");
}

/* ---- arenas --------------------------------------------------------------------------------- */

static void fill(struct mig_arena *arena, uint8_t **pieces, size_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *memory = NULL;

        sizes[i] = i % 50 == 49 ? 100000 + i : i * 37 % 3000;
        cr_assert_eq(mig_arena_alloc(arena, sizes[i], &memory, NULL), MIG_OK);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t) memory % alignof(max_align_t), 0);
        pieces[i] = memory;
        memset(memory, (int) i, sizes[i]);
    }
}

static void expect_filled(uint8_t *const *pieces, const size_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(pieces[i][k], (uint8_t) i, "piece %zu was overwritten", i);
}

Test(arena, keeps_every_piece_apart_and_aligned)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    uint8_t *pieces[1000];
    size_t sizes[1000], total = 0;

    fill(&arena, pieces, sizes, 1000);
    expect_filled(pieces, sizes, 1000);
    for (size_t i = 0; i < 1000; i++)
        total += sizes[i];
    cr_expect_geq(arena.used_bytes, total);
    mig_arena_release(&arena);
    cr_expect_eq(arena.used_bytes, 0);
    fill(&arena, pieces, sizes, 10);
    expect_filled(pieces, sizes, 10);
}

Test(arena, takes_the_pieces_of_another_over)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT, from = MIG_ARENA_INIT;
    uint8_t *pieces[300];
    size_t sizes[300];
    size_t used;

    fill(&arena, pieces, sizes, 100);
    fill(&from, pieces + 100, sizes + 100, 100);
    used = arena.used_bytes + from.used_bytes;
    mig_arena_join(&arena, &from);
    cr_expect_eq(arena.used_bytes, used);
    cr_expect_eq(from.used_bytes, 0);
    fill(&from, pieces + 200, sizes + 200, 100);
    mig_arena_release(&from);
    for (size_t i = 100; i < 200; i++) /* fill() numbered them from 0 */
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(pieces[i][k], (uint8_t) (i - 100));
    expect_filled(pieces, sizes, 100);
    mig_arena_join(&from, &arena);
    cr_expect_eq(from.used_bytes, used);
    mig_arena_join(&from, &arena);
    cr_expect_eq(from.used_bytes, used, "joining an empty one adds nothing");
}

Test(arena, copies_bytes_even_when_there_are_none)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    char text[] = "before";
    struct mig_bytes copy;

    cr_assert_eq(mig_arena_copy(&arena, mig_bytes_of_text(text), &copy, NULL), MIG_OK);
    memcpy(text, "after!", 6);
    cr_expect(mig_bytes_equal(copy, BYTES("before")));
    cr_assert_eq(mig_arena_copy(&arena, (struct mig_bytes){0}, &copy, NULL), MIG_OK);
    cr_expect_not_null(copy.data);
    cr_expect_eq(copy.size, 0);
}

Test(arena, refuses_what_no_memory_can_hold)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    void *memory = &arena;

    cr_expect_eq(mig_arena_alloc(&arena, SIZE_MAX, &memory, NULL), MIG_E_NOMEM);
    cr_expect_eq(mig_arena_alloc(&arena, SIZE_MAX / 2 + 1, &memory, NULL), MIG_E_NOMEM);
    cr_expect_eq(memory, &arena, "an output is untouched on failure");
    cr_expect_eq(arena.used_bytes, 0);
}

Test(arena, is_as_good_as_new_after_a_reset_and_keeps_a_block)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    void *first, *again, *large;

    mig_arena_reset(&arena);
    cr_assert_eq(mig_arena_alloc(&arena, 100, &first, NULL), MIG_OK);
    mig_arena_reset(&arena);
    cr_expect_eq(arena.used_bytes, 0);
    cr_assert_eq(mig_arena_alloc(&arena, 100, &again, NULL), MIG_OK);
    cr_expect_eq(first, again);

    cr_assert_eq(mig_arena_alloc(&arena, 1 << 20, &large, NULL), MIG_OK);
    memset(large, 1, 1 << 20);
    for (size_t i = 0; i < 3000; i++)
        cr_assert_eq(mig_arena_alloc(&arena, 100, &again, NULL), MIG_OK);
    mig_arena_reset(&arena);
    cr_expect_eq(arena.used_bytes, 0);
    for (size_t i = 0; i < 3000; i++) {
        cr_assert_eq(mig_arena_alloc(&arena, 100, &again, NULL), MIG_OK);
        memset(again, 2, 100);
    }
}

/* ---- hex ------------------------------------------------------------------------------------ */

Test(hex, goes_there_and_back_for_every_byte)
{
    uint8_t bytes[256], back[256];
    char text[513];
    size_t size = 0;

    for (size_t i = 0; i < 256; i++)
        bytes[i] = (uint8_t) i;
    mig_hex_encode((struct mig_bytes){bytes, 256}, text);
    cr_expect_eq(strlen(text), 512);
    cr_expect_eq(strspn(text, "0123456789abcdef"), 512, "lower case only");
    cr_assert_eq(mig_hex_decode(text, 512, back, 256, &size, NULL), MIG_OK);
    cr_expect_eq(size, 256);
    cr_expect_arr_eq(bytes, back, 256);
    mig_hex_encode((struct mig_bytes){0}, text);
    cr_expect_str_eq(text, "");
}

Test(hex, reads_both_cases_and_fewer_than_fit)
{
    uint8_t bytes[4] = {0};
    size_t size = 9;

    cr_assert_eq(mig_hex_decode("aBCdEf", 6, bytes, 4, &size, NULL), MIG_OK);
    cr_expect_eq(size, 3);
    cr_expect_arr_eq(bytes, "\xab\xcd\xef", 3);
    cr_assert_eq(mig_hex_decode("", 0, bytes, 0, &size, NULL), MIG_OK);
    cr_expect_eq(size, 0);
}

Test(hex, refuses_what_it_cannot_read_without_quoting_it)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"5ec2e7a", 7},     {"5ec2e7zz", 8},  {"0x5ec2e7", 8},    {"5ec2 e7a", 8}, {"5ec2e7a\n", 8},
        {"5ec2e7aabb", 10}, {"5e\0c2e7a", 8}, {"5ec2e7a\xff", 8}, {"5ec2e7/0", 8}, {"5ec2e7:0", 8},
        {"5ec2e7@0", 8},    {"5ec2e7G0", 8},  {"5ec2e7`0", 8},    {"5ec2e7g0", 8},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        uint8_t bytes[4];
        size_t size = 9;
        struct mig_error err = MIG_ERROR_INIT;

        cr_expect_eq(mig_hex_decode(cases[i].text, cases[i].length, bytes, 4, &size, &err),
                     MIG_E_CORRUPT, "case %zu", i);
        cr_expect_eq(size, 9);
        cr_expect_null(strstr(err.message, "5ec2e7"), "it may be a secret: %s", err.message);
    }
}

Test(utf8, a_character_is_as_long_as_its_first_byte_says_or_none)
{
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac", 3},
        {"\xed\x9f\xbf", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\x80", 0},
        {"\xc0\x80", 0},
        {"\xc3", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xed\xa0\x80", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xff", 0},
        {"\xe2\x82", 0},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        const struct mig_bytes text = {(const uint8_t *) cases[i].text, strlen(cases[i].text)};

        cr_assert_eq(mig_utf8_size(text), cases[i].size, "case %zu", i);
    }
}
