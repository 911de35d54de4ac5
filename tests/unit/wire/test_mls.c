/* MLS framing: the vectors, every truncation of them, and lengths written in every form. */
#include "hostile.h"
#include "libmigrate/wire/wire.h"
#include "support/golden.h"

#include <criterion/criterion.h>

static int content_of(struct mig_bytes message)
{
    const struct mig_bytes copy = hostile_copy(message);
    enum mig_mls_content content = 0;
    const int result = mig_mls_content_type(copy, &content, NULL);

    hostile_free(copy);
    cr_assert(result == MIG_OK ? content >= MIG_MLS_APPLICATION && content <= MIG_MLS_COMMIT
                               : result == MIG_E_CORRUPT && content == 0);
    return result == MIG_OK ? (int) content : result;
}

static bool found(const struct golden_vector *vector, const char *finding)
{
    struct json_object *findings = NULL;

    json_object_object_get_ex(vector->expect, "findings", &findings);
    for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(findings, i)), finding) == 0)
            return true;
    return false;
}

Test(mls, tells_the_vectors_apart)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");
    size_t commits = 0, others = 0, unreadable = 0;

    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const char *route = golden_text(vector.expect, "route");
        int content;

        if (vector.row.table != MIG_TABLE_GROUP_MESSAGES)
            continue;
        content = content_of(vector.row.values[MIG_GM_DATA].bytes);
        if (strcmp(route, "rejected") == 0) {
            if (strcmp(golden_text(vector.expect, "reason"), "mls_unparsable") == 0)
                cr_expect_lt(content, 0, "%s", vector.name);
        } else if (found(&vector, "mls_unparsable")) {
            unreadable++;
            cr_expect_lt(content, 0, "%s", vector.name);
        } else if (strcmp(route, "chain") == 0) {
            commits++;
            cr_expect_eq(content, MIG_MLS_COMMIT, "%s", vector.name);
        } else {
            others++;
            cr_expect(content == MIG_MLS_APPLICATION || content == MIG_MLS_PROPOSAL, "%s",
                      vector.name);
        }
    }
    cr_expect(commits && others && unreadable);
}

Test(mls, reads_no_byte_beyond_the_end_wherever_that_is)
{
    mig_cleanup(golden_release) struct golden golden = golden_load("correct");

    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_vector vector = golden_vector(&golden, i);
        const struct mig_bytes message = vector.row.values[MIG_GM_DATA].bytes;
        bool readable = false;

        if (vector.row.table != MIG_TABLE_GROUP_MESSAGES)
            continue;
        for (size_t size = 0; size <= message.size && size < 2000; size++) {
            const int content = content_of((struct mig_bytes){message.data, size});

            cr_assert(!readable || content == content_of(message), "%s cut at %zu", vector.name,
                      size);
            cr_assert(!readable || content > 0);
            readable = content > 0;
            cr_assert(!readable || size > 13);
        }
    }
}

/* "opaque group_id<V>" of count bytes, its length written as given. */
static int with_length(const char *length, size_t length_size, size_t count)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer message = MIG_BUFFER_INIT(1 << 22);

    cr_assert_eq(mig_buffer_append(&message, "\0\1\0\2", 4, NULL), MIG_OK);
    cr_assert_eq(mig_buffer_append(&message, length, length_size, NULL), MIG_OK);
    cr_assert_eq(mig_buffer_reserve(&message, count + 9, NULL), MIG_OK);
    memset(message.data + message.size, 0, count + 8);
    message.data[message.size + count + 8] = MIG_MLS_PROPOSAL;
    message.size += count + 9;
    return content_of(mig_buffer_bytes(&message));
}

Test(mls, takes_lengths_in_their_shortest_form_only)
{
    static const struct {
        const char *length;
        size_t size, count;
        bool good;
    } cases[] = {
        {"\x00", 1, 0, true},
        {"\x3f", 1, 63, true},
        {"\x40\x3f", 2, 63, false},
        {"\x40\x40", 2, 64, true},
        {"\x7f\xff", 2, 16383, true},
        {"\x80\x00\x3f\xff", 4, 16383, false},
        {"\x80\x00\x40\x00", 4, 16384, true},
        {"\x80\x00\x00\x00", 4, 0, false},
        {"\x80\x00\x00\x10", 4, 16, false},
        {"\x80\x10\x00\x00", 4, 1048576, true},
        {"\xc0\x00\x00\x00\x00\x00\x00\x10", 8, 16, false},
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, 16, false},
        {"\xbf\xff\xff\xff", 4, 16, false}, /* a length beyond the end */
        {"\x11", 1, 7, false},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++)
        cr_expect_eq(with_length(cases[i].length, cases[i].size, cases[i].count),
                     cases[i].good ? MIG_MLS_PROPOSAL : MIG_E_CORRUPT, "case %zu", i);
}

#define PUBLIC "\0\1\0\1\1G\0\0\0\0\0\0\0\0"
#define PRIVATE "\0\1\0\2\1G\0\0\0\0\0\0\0\0"

Test(mls, knows_each_sender_each_content_and_nothing_else)
{
    static const struct {
        const char *message;
        size_t size;
        int content;
    } cases[] = {
        {PRIVATE "\1", 15, MIG_MLS_APPLICATION},
        {PRIVATE "\2", 15, MIG_MLS_PROPOSAL},
        {PRIVATE "\3", 15, MIG_MLS_COMMIT},
        {PRIVATE "\0", 15, MIG_E_CORRUPT},
        {PRIVATE "\4", 15, MIG_E_CORRUPT},
        {PRIVATE "\xff", 15, MIG_E_CORRUPT},
        {PUBLIC "\1\0\0\0\0\0\3", 21, MIG_MLS_COMMIT},
        {PUBLIC "\2\0\0\0\0\0\2", 21, MIG_MLS_PROPOSAL},
        {PUBLIC "\3\0\2", 17, MIG_MLS_PROPOSAL},
        {PUBLIC "\4\0\3", 17, MIG_MLS_COMMIT},
        {PUBLIC "\0\0\3", 17, MIG_E_CORRUPT},
        {PUBLIC "\5\0\3", 17, MIG_E_CORRUPT},
        {PUBLIC "\4\2ab\3", 19, MIG_MLS_COMMIT},
        {PUBLIC "\4\2ab", 18, MIG_E_CORRUPT},
        {"\0\2\0\2\1G\0\0\0\0\0\0\0\0\1", 15, MIG_E_CORRUPT}, /* another version */
        {"\0\0\0\2\1G\0\0\0\0\0\0\0\0\1", 15, MIG_E_CORRUPT},
        {"\0\1\0\3\1G\0\0\0\0\0\0\0\0\1", 15, MIG_E_CORRUPT}, /* a welcome */
        {"\0\1\0\0\1G\0\0\0\0\0\0\0\0\1", 15, MIG_E_CORRUPT},
        {"\0\1\1\2\1G\0\0\0\0\0\0\0\0\1", 15, MIG_E_CORRUPT},
        {"\0\1\0\2\xc0\0\0\0\0\0\0\0\0\1", 14, MIG_E_CORRUPT}, /* a length of the fourth form */
        {"\0\1\0\2\0\0\0\0\0\0\0\0\0\1", 14, MIG_MLS_APPLICATION},
        {"", 0, MIG_E_CORRUPT},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++)
        cr_expect_eq(
            content_of((struct mig_bytes){(const uint8_t *) cases[i].message, cases[i].size}),
            cases[i].content, "case %zu", i);
}
