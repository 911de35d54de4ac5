/* Any bytes as the file of a part, and any bytes as its records in a frame that is right: refused
 * with a story, or a part that holds what its entry says. */
#include "libmigrate/bundle/bundle_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_file(struct bundle_codec *codec, struct mig_bytes file, enum mig_stage stage)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_bundle_entry entry;
    struct mig_error err = MIG_ERROR_INIT;
    int result = bundle_decode_part(codec, file, stage, &part, &entry, &err);

    if ((result == MIG_OK) != (part != NULL) || err.code != result)
        abort();
    if (!part)
        return;
    if (part->row_count != entry.rows ||
        (stage == MIG_STAGE_ENVELOPES) != (part->envelopes != NULL))
        abort();
    for (size_t i = 0; i < part->row_count; i++)
        if (part->rows[i].table != part->table || part->rows[i].id < part->first_id ||
            part->rows[i].id > part->last_id || (i > 0 && part->rows[i].id <= part->rows[i - 1].id))
            abort();
}

/* The bytes as records: what fuzzing a compressed frame would hardly ever reach. The first byte
 * says whose, the second how many. */
static void try_records(struct bundle_codec *codec, struct mig_bytes bytes)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer file =
        MIG_BUFFER_INIT(1000 + ZSTD_compressBound(bytes.size));
    struct mig_bundle_entry entry = {.first_id = INT64_MIN, .last_id = INT64_MAX};
    uint32_t words[2] = {ZSTD_MAGIC_SKIPPABLE_START, 0};
    enum mig_stage stage;
    size_t frame;

    if (bytes.size < 2)
        return;
    stage = bytes.data[0] & 1 ? MIG_STAGE_ENVELOPES : MIG_STAGE_ROWS;
    entry.chain = bytes.data[0] & 2;
    entry.table = (enum mig_table)(bytes.data[0] >> 2 & 3);
    entry.rows = bytes.data[1];
    entry.bytes = bytes.size - 2;
    if (mig_buffer_append(&file, words, sizeof words, NULL) != MIG_OK ||
        bundle_print_members(bundle_contents_members, &entry, &file, NULL) != MIG_OK)
        abort();
    words[1] = (uint32_t) (file.size - sizeof words);
    memcpy(file.data, words, sizeof words);
    if (mig_buffer_reserve(&file, ZSTD_compressBound(bytes.size), NULL) != MIG_OK)
        abort();
    frame = ZSTD_compress(file.data + file.size, file.capacity - file.size, bytes.data + 2,
                          bytes.size - 2, 1);
    if (ZSTD_isError(frame))
        abort();
    file.size += frame;
    try_file(codec, mig_buffer_bytes(&file), stage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mig_cleanup(bundle_codec_release) struct bundle_codec codec = BUNDLE_CODEC_INIT;
    const struct mig_bytes bytes = {data, size};

    try_file(&codec, bytes, MIG_STAGE_ROWS);
    try_file(&codec, bytes, MIG_STAGE_ENVELOPES);
    try_records(&codec, bytes);
    return 0;
}
