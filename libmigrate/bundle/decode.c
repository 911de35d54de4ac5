/* The bytes of a part's file into the part. The bytes are hostile: nothing is held that was not
 * declared, nothing declared is believed, nothing may be left over. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_KEPT ((size_t) 8 << 20)
#define LENGTH_BITS_MAX 35 /* five bytes of a varint: more than a record may be long */

static uint32_t read_word(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof word);
    return le32toh(word);
}

/* The JSON in front, taken off *file; only what printing it again would give. */
static int take_contents(struct mig_bytes *file, struct mig_bundle_entry *entry,
                         struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer reprint = MIG_BUFFER_INIT(BUNDLE_LINE_LIMIT);
    mig_cleanup(bundle_put_json) json_object *json = NULL;
    struct mig_bytes text;
    int result;

    if (file->size < 8 || read_word(file->data) != ZSTD_MAGIC_SKIPPABLE_START ||
        read_word(file->data + 4) > file->size - 8)
        return mig_fail(err, MIG_E_CORRUPT, "does not begin like a part: cut off, or another file");
    text = (struct mig_bytes){file->data + 8, read_word(file->data + 4)};
    result = bundle_parse_json(text, &json, err);
    if (result == MIG_OK)
        result = bundle_parse_members(bundle_contents_members, json, entry, err);
    if (result == MIG_OK)
        result = bundle_print_members(bundle_contents_members, entry, &reprint, err);
    if (result != MIG_OK)
        return result;
    if (!mig_bytes_equal(mig_buffer_bytes(&reprint), text))
        return mig_fail(err, MIG_E_CORRUPT, "not written as its own values would be");
    file->data += 8 + text.size;
    file->size -= 8 + text.size;
    return MIG_OK;
}

/* Before any memory is taken for it: is it one frame, whole, of the size declared? */
static int check_frame(struct mig_bytes frame, const struct mig_bundle_entry *entry,
                       struct mig_error *err)
{
    size_t size;

    if (entry->bytes > BUNDLE_PART_LIMIT || entry->rows > BUNDLE_ROWS_LIMIT)
        return mig_fail(err, MIG_E_CORRUPT,
                        "declares %" PRIu64 " bytes in %" PRIu64 " records, more than a part has",
                        entry->bytes, entry->rows);
    if (frame.size < 4 || read_word(frame.data) != ZSTD_MAGICNUMBER)
        return mig_fail(err, MIG_E_CORRUPT, "holds no zstd frame");
    size = ZSTD_findFrameCompressedSize(frame.data, frame.size);
    if (ZSTD_isError(size))
        return mig_fail(err, MIG_E_CORRUPT, "its zstd frame is cut off or damaged");
    if (size != frame.size)
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes lie behind its zstd frame",
                        frame.size - size);
    if (ZSTD_getFrameContentSize(frame.data, frame.size) != entry->bytes)
        return mig_fail(err, MIG_E_CORRUPT,
                        "its zstd frame is not of the %" PRIu64 " bytes declared", entry->bytes);
    return MIG_OK;
}

static int decompress(struct bundle_codec *codec, struct mig_bytes frame, size_t size,
                      struct mig_bytes *ret_records, struct mig_error *err)
{
    size_t done;
    int result;

    codec->records.size = 0;
    if ((result = mig_buffer_reserve(&codec->records, size, err)) != MIG_OK)
        return result;
    done = ZSTD_decompress(codec->records.data, size, frame.data, frame.size);
    if (ZSTD_isError(done))
        return mig_fail(err, MIG_E_CORRUPT, "its zstd frame is damaged: %s",
                        ZSTD_getErrorName(done));
    if (done != size)
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes where %zu were declared", done, size);
    *ret_records = (struct mig_bytes){codec->records.data, size};
    return MIG_OK;
}

static int take_record(struct mig_bytes *records, struct mig_bytes *ret_record,
                       struct mig_error *err)
{
    uint64_t length = 0;
    size_t used = 0;
    uint8_t byte;

    do {
        if (used == records->size || used * 7 == LENGTH_BITS_MAX)
            return mig_fail(err, MIG_E_CORRUPT, "a length that does not end");
        byte = records->data[used];
        length |= (uint64_t) (byte & 0x7F) << (7 * used++);
    } while (byte & 0x80);
    if (used > 1 && byte == 0)
        return mig_fail(err, MIG_E_CORRUPT, "a length that is longer than it need be");
    if (length > BUNDLE_RECORD_LIMIT || length > records->size - used)
        return mig_fail(err, MIG_E_CORRUPT, "%" PRIu64 " bytes long, but %zu are left", length,
                        records->size - used);
    *ret_record = (struct mig_bytes){records->data + used, (size_t) length};
    records->data += used + length;
    records->size -= used + length;
    return MIG_OK;
}

/* A record is taken apart in scratch, layers and all; what is kept of it is copied from there. */
static int decode_record(struct mig_arena *scratch, struct mig_bytes record, struct mig_part *part,
                         struct bundle_check *check, struct mig_error *err)
{
    struct mig_row *row = &part->rows[part->row_count];
    struct mig_envelope *envelope = part->envelopes ? &part->envelopes[part->row_count] : NULL;
    int result;

    mig_arena_reset(scratch);
    result = envelope ? mig_envelope_decode(record, scratch, envelope, err)
                      : mig_row_decode(record, scratch, row, err);
    if (result == MIG_OK && envelope) {
        *row = *envelope->row;
        envelope->row = row;
        result = mig_envelope_keep(envelope, &part->arena, err);
    }
    if (result == MIG_OK)
        result = mig_row_keep(row, &part->arena, err);
    if (result == MIG_OK)
        result = envelope ? bundle_check_envelope(check, envelope, err)
                          : bundle_check_row(check, row, err);
    if (result == MIG_OK)
        part->row_count++;
    return result;
}

/* Untouched pages of what calloc gives cost nothing: a part that declares more rows than it has
 * makes us hold no more than it has. */
static int make_room(struct mig_part *part, enum mig_stage stage, size_t rows,
                     struct mig_error *err)
{
    const size_t count = rows ? rows : 1;

    part->rows = calloc(count, sizeof *part->rows);
    if (stage == MIG_STAGE_ENVELOPES)
        part->envelopes = calloc(count, sizeof *part->envelopes);
    if (!part->rows || (stage == MIG_STAGE_ENVELOPES && !part->envelopes))
        return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu rows: out of memory", rows);
    part->row_capacity = count;
    return MIG_OK;
}

int bundle_decode_records(struct bundle_codec *codec, struct mig_bytes records,
                          enum mig_stage stage, const struct mig_bundle_entry *entry,
                          struct mig_part *part, struct mig_error *err)
{
    struct bundle_check check = {.entry = entry, .stage = stage};
    int result = make_room(part, stage, (size_t) entry->rows, err);

    while (result == MIG_OK && records.size > 0) {
        struct mig_bytes record = {0};

        if (check.rows == entry->rows)
            return mig_fail(err, MIG_E_CORRUPT,
                            "%zu bytes are left over behind its %" PRIu64 " records", records.size,
                            check.rows);
        result = take_record(&records, &record, err);
        if (result == MIG_OK)
            result = decode_record(&codec->scratch, record, part, &check, err);
        if (result != MIG_OK) {
            mig_error_within(err, "record %" PRIu64, check.rows + 1);
            return result;
        }
    }
    if (result == MIG_OK)
        result = bundle_check_end(&check, err);
    if (result != MIG_OK)
        return result;
    part->last_id = entry->last_id;
    part->settled = entry->settled;
    part->rows_sent = entry->rows;
    part->tally = entry->tally;
    return MIG_OK;
}

static int decode_frame(struct bundle_codec *codec, struct mig_bytes frame, enum mig_stage stage,
                        const struct mig_bundle_entry *entry, struct mig_part *part,
                        struct mig_error *err)
{
    struct mig_bytes records = {0};
    int result = decompress(codec, frame, (size_t) entry->bytes, &records, err);

    return result == MIG_OK ? bundle_decode_records(codec, records, stage, entry, part, err)
                            : result;
}

/* What a part of large rows needed is not kept for those to come. */
static void trim(struct bundle_codec *codec)
{
    mig_arena_reset(&codec->scratch);
    if (codec->records.capacity > RECORDS_KEPT)
        mig_buffer_release(&codec->records);
}

int bundle_decode_part(struct bundle_codec *codec, struct mig_bytes file, enum mig_stage stage,
                       struct mig_part **ret_part, struct mig_bundle_entry *ret_entry,
                       struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_bundle_entry entry = {.file_bytes = file.size};
    int result = bundle_digest(file, entry.sha256, err);

    if (result == MIG_OK)
        result = take_contents(&file, &entry, err);
    if (result == MIG_OK)
        result = check_frame(file, &entry, err);
    if (result == MIG_OK)
        result = mig_part_new(entry.table, entry.first_id, &part, err);
    if (result == MIG_OK)
        result = decode_frame(codec, file, stage, &entry, part, err);
    trim(codec);
    if (result != MIG_OK)
        return result;
    *ret_part = mig_take(part);
    *ret_entry = entry;
    return MIG_OK;
}
