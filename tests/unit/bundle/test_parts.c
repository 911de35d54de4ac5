/* Part files by themselves: what they declare against what they hold. */
#include "tests/unit/bundle/sample.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bundle_codec codec;

static void start(void)
{
    codec = BUNDLE_CODEC_INIT;
}

static void stop(void)
{
    bundle_codec_release(&codec);
}

TestSuite(parts, .init = start, .fini = stop);

/* The length-delimited records of a part. */
static struct mig_buffer make_records(const struct mig_part *part)
{
    struct mig_buffer records = MIG_BUFFER_INIT(1 << 20);

    for (size_t i = 0; i < part->row_count; i++) {
        mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(1 << 20);
        uint8_t length[2];

        cr_assert_eq(mig_row_encode(&part->rows[i], &record, NULL), MIG_OK);
        cr_assert_lt(record.size, 1 << 14);
        length[0] = (uint8_t) (record.size | (record.size < 0x80 ? 0 : 0x80));
        length[1] = (uint8_t) (record.size >> 7);
        mig_buffer_append(&records, length, record.size < 0x80 ? 1 : 2, NULL);
        mig_buffer_append(&records, record.data, record.size, NULL);
    }
    return records;
}

/* A part file with these words in front. */
static struct mig_buffer make_file(const char *json, struct mig_bytes frame)
{
    struct mig_buffer file = MIG_BUFFER_INIT((size_t) 1 << 30);
    const uint32_t words[] = {ZSTD_MAGIC_SKIPPABLE_START, (uint32_t) strlen(json)};

    mig_buffer_append(&file, words, sizeof words, NULL);
    mig_buffer_append(&file, json, strlen(json), NULL);
    mig_buffer_append(&file, frame.data, frame.size, NULL);
    return file;
}

static struct mig_buffer compress(struct mig_bytes bytes)
{
    struct mig_buffer frame = MIG_BUFFER_INIT((size_t) 1 << 30);

    cr_assert_eq(mig_buffer_reserve(&frame, ZSTD_compressBound(bytes.size), NULL), MIG_OK);
    frame.size = ZSTD_compress(frame.data, frame.capacity, bytes.data, bytes.size, 1);
    cr_assert(!ZSTD_isError(frame.size));
    return frame;
}

static void describe(char text[400], unsigned long rows, unsigned long bytes)
{
    snprintf(text, 400,
             "{\"table\":\"welcome_messages\",\"chain\":false,\"settled\":true,\"first_id\":1,"
             "\"last_id\":30,\"rows\":%lu,\"bytes\":%lu,"
             "\"tally\":{\"kinds\":{},\"rejects\":{},\"findings\":{}}}",
             rows, bytes);
}

static void expect_refusal(struct mig_bytes file, const char *words)
{
    struct mig_bundle_entry entry = {.rows = 77};
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_part *part = NULL;

    cr_assert_eq(bundle_decode_part(&codec, file, MIG_STAGE_ROWS, &part, &entry, &err),
                 MIG_E_CORRUPT, "%s", words);
    cr_assert_not_null(strstr(err.message, words), "no \"%s\" in: %s", words, err.message);
    cr_assert_null(part);
    cr_assert_eq(entry.rows, 77);
}

static void expect_frame_refused(struct mig_bytes frame, unsigned long rows, unsigned long bytes,
                                 const char *words)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer file = MIG_BUFFER_INIT(0);
    char json[400];

    describe(json, rows, bytes);
    file = make_file(json, frame);
    expect_refusal(mig_buffer_bytes(&file), words);
}

static void expect_records_refused(struct mig_bytes records, unsigned long rows, const char *words)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer frame = compress(records);

    expect_frame_refused(mig_buffer_bytes(&frame), rows, records.size, words);
}

Test(parts, a_file_made_by_hand_is_read)
{
    mig_cleanup(mig_part_free) struct mig_part *part =
        sample_rows(MIG_TABLE_WELCOME_MESSAGES, 1, 30);
    mig_cleanup(mig_buffer_release) struct mig_buffer records = make_records(part);
    mig_cleanup(mig_buffer_release) struct mig_buffer frame = compress(mig_buffer_bytes(&records));
    mig_cleanup(mig_buffer_release) struct mig_buffer file = MIG_BUFFER_INIT(0);
    mig_cleanup(mig_part_free) struct mig_part *read = NULL;
    struct mig_bundle_entry entry;
    char json[400];

    describe(json, part->row_count, records.size);
    file = make_file(json, mig_buffer_bytes(&frame));
    cr_assert_eq(
        bundle_decode_part(&codec, mig_buffer_bytes(&file), MIG_STAGE_ROWS, &read, &entry, NULL),
        MIG_OK, "or else the refusals below are for another reason");
    cr_assert_eq(read->row_count, 10);
}

Test(parts, carry_records_of_every_length)
{
    static const size_t sizes[] = {0, 1, 60, 90, 200, 16300, 16384, 3 << 20};
    mig_cleanup(mig_part_free) struct mig_part *part = NULL, *read = NULL;
    uint8_t *bytes = calloc(3, 1 << 20);
    struct mig_bundle_entry entry;

    cr_assert_eq(mig_part_new(MIG_TABLE_INBOX_LOG, 1, &part, NULL), MIG_OK);
    part->last_id = mig_count_of(sizes);
    for (size_t i = 0; i < mig_count_of(sizes); i++) {
        struct mig_row *row;

        cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
        row->id = (int64_t) i + 1;
        row->values[MIG_IL_INBOX_ID].bytes = (struct mig_bytes){bytes, 0};
        row->values[MIG_IL_UPDATE].bytes = (struct mig_bytes){bytes, sizes[i]};
    }
    cr_assert_eq(bundle_encode_part(&codec, part, MIG_STAGE_ROWS, false, &entry, NULL), MIG_OK);
    cr_assert_eq(bundle_decode_part(&codec, mig_buffer_bytes(&codec.file), MIG_STAGE_ROWS, &read,
                                    &entry, NULL),
                 MIG_OK);
    cr_assert_eq(read->row_count, mig_count_of(sizes));
    for (size_t i = 0; i < read->row_count; i++)
        cr_expect(mig_bytes_equal(read->rows[i].values[MIG_IL_UPDATE].bytes,
                                  (struct mig_bytes){bytes, sizes[i]}));
    free(bytes);
}

Test(parts, the_number_of_records_must_be_the_one_declared)
{
    mig_cleanup(mig_part_free) struct mig_part *part =
        sample_rows(MIG_TABLE_WELCOME_MESSAGES, 1, 30);
    mig_cleanup(mig_buffer_release) struct mig_buffer records = make_records(part);
    const struct mig_bytes all = mig_buffer_bytes(&records);

    expect_records_refused(all, 9, "are left over behind its 9 records");
    expect_records_refused(all, 11, "10 records, but 11 were declared");
    expect_records_refused((struct mig_bytes){0}, 1, "0 records, but 1 were declared");
    expect_records_refused((struct mig_bytes){all.data, all.size - 1}, 10, "record 10: ");
    expect_records_refused((struct mig_bytes){all.data, 1}, 10, "record 1: ");
}

Test(parts, lengths_are_bounded)
{
    static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const uint8_t large[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    static const uint8_t padded[] = {0x80, 0x00};

    expect_records_refused((struct mig_bytes){endless, sizeof endless}, 1, "does not end");
    expect_records_refused((struct mig_bytes){large, sizeof large}, 1, "4294967295 bytes long");
    expect_records_refused((struct mig_bytes){padded, sizeof padded}, 1, "longer than it need be");
}

Test(parts, ids_rise_and_stay_in_their_range)
{
    static const struct {
        enum mig_table table;
        int64_t ids[2];
        const char *words;
    } wrong[] = {
        {MIG_TABLE_WELCOME_MESSAGES, {5, 5}, "record 2: id 5 comes after id 5"},
        {MIG_TABLE_WELCOME_MESSAGES, {5, 4}, "record 2: id 4 comes after id 5"},
        {MIG_TABLE_WELCOME_MESSAGES, {0, 4}, "record 1: id 0 lies outside 1 to 30"},
        {MIG_TABLE_WELCOME_MESSAGES, {4, 31}, "record 2: id 31 lies outside 1 to 30"},
        {MIG_TABLE_GROUP_MESSAGES, {1, 2}, "a row of group_messages in a part of welcome_messages"},
    };

    for (size_t i = 0; i < mig_count_of(wrong); i++) {
        mig_cleanup(mig_part_free) struct mig_part *part = sample_rows(wrong[i].table, 1, 4);
        mig_cleanup(mig_buffer_release) struct mig_buffer records = MIG_BUFFER_INIT(0);

        part->rows[0].id = wrong[i].ids[0];
        part->rows[1].id = wrong[i].ids[1];
        records = make_records(part);
        expect_records_refused(mig_buffer_bytes(&records), 2, wrong[i].words);
    }
}

Test(parts, a_frame_may_not_hold_more_than_it_declares)
{
    const size_t size = (size_t) 100 << 20;
    void *zeros = calloc(1, size);
    mig_cleanup(mig_buffer_release) struct mig_buffer bomb =
        compress((struct mig_bytes){zeros, size});

    expect_frame_refused(mig_buffer_bytes(&bomb), 1, 1000, "not of the 1000 bytes declared");
    /* The size in the frame's own header, four bytes behind magic and descriptor, lies as well. */
    cr_assert_eq(ZSTD_getFrameContentSize(bomb.data, bomb.size), size);
    cr_assert_eq(bomb.data[4] >> 6, 2, "a content size of four bytes");
    memcpy(bomb.data + ((bomb.data[4] & 0x20) ? 5 : 6), &(uint32_t){1000}, 4);
    cr_assert_eq(ZSTD_getFrameContentSize(bomb.data, bomb.size), 1000);
    expect_frame_refused(mig_buffer_bytes(&bomb), 1, 1000, "its zstd frame is");
    free(zeros);
}

Test(parts, a_frame_without_its_size_is_refused)
{
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    uint8_t frame[200];
    size_t size;

    ZSTD_CCtx_setParameter(compressor, ZSTD_c_contentSizeFlag, 0);
    size = ZSTD_compress2(compressor, frame, sizeof frame, "hello", 5);
    cr_assert(!ZSTD_isError(size));
    expect_frame_refused((struct mig_bytes){frame, size}, 1, 5, "not of the 5 bytes declared");
    ZSTD_freeCCtx(compressor);
}

Test(parts, declared_sizes_are_bounded)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer frame = compress(mig_bytes_of_text("x"));

    expect_frame_refused(mig_buffer_bytes(&frame), 1, BUNDLE_PART_LIMIT + 1,
                         "more than a part has");
    expect_frame_refused(mig_buffer_bytes(&frame), BUNDLE_ROWS_LIMIT + 1, 1,
                         "more than a part has");
    expect_frame_refused(mig_buffer_bytes(&frame), 1, ULONG_MAX, "more than");
}

Test(parts, there_is_one_frame_and_nothing_else)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer frame = compress(mig_bytes_of_text("x"));
    mig_cleanup(mig_buffer_release) struct mig_buffer two = MIG_BUFFER_INIT(1000);
    const struct mig_bytes one = mig_buffer_bytes(&frame);
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0};

    mig_buffer_append(&two, one.data, one.size, NULL);
    mig_buffer_append(&two, one.data, one.size, NULL);
    expect_frame_refused(mig_buffer_bytes(&two), 1, 1, "bytes lie behind its zstd frame");
    expect_frame_refused((struct mig_bytes){one.data, one.size - 1}, 1, 1, "cut off or damaged");
    expect_frame_refused((struct mig_bytes){one.data, 3}, 1, 1, "no zstd frame");
    expect_frame_refused((struct mig_bytes){0}, 0, 0, "no zstd frame");
    expect_frame_refused((struct mig_bytes){skippable, sizeof skippable}, 0, 0, "no zstd frame");
}

Test(parts, what_stands_in_front_is_read_strictly)
{
    static const char *const wrong[] = {
        "", "{}", "null", "[1]", "{\"table\":\"welcome_messages\"}", "{\"table\":",
    };
    mig_cleanup(mig_buffer_release) struct mig_buffer frame = compress(mig_bytes_of_text(""));
    static const uint8_t beyond[] = {0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, '{', '}'};

    for (size_t i = 0; i < mig_count_of(wrong); i++) {
        mig_cleanup(mig_buffer_release) struct mig_buffer file =
            make_file(wrong[i], mig_buffer_bytes(&frame));

        expect_refusal(mig_buffer_bytes(&file), "");
    }
    expect_refusal((struct mig_bytes){beyond, sizeof beyond}, "does not begin like a part");
    expect_refusal((struct mig_bytes){beyond, 7}, "does not begin like a part");
}

/* ---- what writers refuse -------------------------------------------------------------------- */

static int encode(const struct mig_part *part, enum mig_stage stage, struct mig_error *err)
{
    struct mig_bundle_entry entry;

    return bundle_encode_part(&codec, part, stage, false, &entry, err);
}

Test(parts, a_part_that_disagrees_with_itself_is_not_written)
{
    mig_cleanup(mig_part_free) struct mig_part *part =
        sample_envelopes(MIG_TABLE_GROUP_MESSAGES, 1, 60);
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(encode(part, MIG_STAGE_ENVELOPES, &err), MIG_OK, "%s", err.message);
    part->tally.kinds[MIG_KIND_GROUP_MESSAGES].for_nodes++;
    cr_assert_eq(encode(part, MIG_STAGE_ENVELOPES, &err), MIG_E_CORRUPT);
    cr_assert_not_null(strstr(err.message, "group_messages: 5 by its records, but 6 by its tally"),
                       "%s", err.message);
    part->tally.kinds[MIG_KIND_GROUP_MESSAGES].for_nodes--;
    part->last_id = 50;
    cr_assert_eq(encode(part, MIG_STAGE_ENVELOPES, &err), MIG_E_CORRUPT);
    cr_assert_not_null(strstr(err.message, "id 55 lies outside 1 to 50"), "%s", err.message);
}

Test(parts, rows_do_not_go_into_a_bundle_of_envelopes)
{
    mig_cleanup(mig_part_free) struct mig_part *part = sample_rows(MIG_TABLE_INBOX_LOG, 1, 9);
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(encode(part, MIG_STAGE_ENVELOPES, &err), MIG_E_USAGE);
}

Test(parts, bytes_of_a_part_are_counted_for_queues)
{
    struct mig_part *part = NULL;
    struct mig_row *row;
    size_t before;

    cr_assert_eq(mig_part_new(MIG_TABLE_INBOX_LOG, 7, &part, NULL), MIG_OK);
    cr_assert_eq(part->first_id, 7);
    before = mig_part_bytes(part);
    cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
    cr_assert_eq(row->table, MIG_TABLE_INBOX_LOG);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
    cr_assert_geq(mig_part_bytes(part), before + 1001 * sizeof *row);
    mig_part_free(&part);
    cr_assert_null(part);
    mig_part_free(&part);
}
