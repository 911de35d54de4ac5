/* Chain-bound envelopes set aside while rows move: their records behind one another in a file
 * without a name, and in memory where each part's begin. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/io/io.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct extent {
    enum mig_table table;
    bool settled;
    int64_t first_id, last_id;
    uint64_t rows, offset, bytes;
};

struct mig_spool {
    char *name;
    int fd;
    uint64_t end; /* of what is whole */
    struct bundle_codec codec;
    struct extent *extents;
    size_t count, capacity, next; /* next: where the one after the last taken is looked for */
};

int mig_spool_open(const char *folder, struct mig_spool **ret_spool, struct mig_error *err)
{
    mig_cleanup(mig_spool_free) struct mig_spool *spool = calloc(1, sizeof *spool);
    int result;

    if (!spool)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    spool->fd = -1;
    spool->codec = BUNDLE_CODEC_INIT;
    result = mig_file_open_unlinked(folder, &spool->fd, &spool->name, err);
    if (result == MIG_OK)
        *ret_spool = mig_take(spool);
    return result;
}

void mig_spool_free(struct mig_spool **spool)
{
    struct mig_spool *s = mig_take(*spool);

    if (!s)
        return;
    mig_fd_close(&s->fd);
    bundle_codec_release(&s->codec);
    free(s->extents);
    free(s->name);
    free(s);
}

static int make_room(struct mig_spool *spool, struct mig_error *err)
{
    const size_t capacity = spool->capacity ? 2 * spool->capacity : 256;
    struct extent *larger;

    if (spool->count < spool->capacity)
        return MIG_OK;
    larger = reallocarray(spool->extents, capacity, sizeof *larger);
    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    spool->extents = larger;
    spool->capacity = capacity;
    return MIG_OK;
}

int mig_spool_add(struct mig_spool *spool, const struct mig_part *part, struct mig_error *err)
{
    struct mig_bundle_entry entry;
    int result = bundle_encode_records(&spool->codec, part, MIG_STAGE_ENVELOPES, true, &entry, err);

    if (result != MIG_OK || entry.rows == 0)
        return result;
    if ((result = make_room(spool, err)) != MIG_OK)
        return result;
    result = mig_fd_write(spool->fd, spool->name, mig_buffer_bytes(&spool->codec.records), err);
    if (result != MIG_OK) {
        (void) !lseek(spool->fd, (off_t) spool->end, SEEK_SET);
        return result;
    }
    spool->extents[spool->count++] = (struct extent){.table = part->table,
                                                     .settled = part->settled,
                                                     .first_id = part->first_id,
                                                     .last_id = part->last_id,
                                                     .rows = entry.rows,
                                                     .offset = spool->end,
                                                     .bytes = entry.bytes};
    spool->end += entry.bytes;
    return MIG_OK;
}

/* They are mostly asked for in the order in which they came. */
static const struct extent *find(struct mig_spool *spool, enum mig_table table, int64_t first_id,
                                 int64_t last_id)
{
    for (size_t i = 0; i < spool->count; i++) {
        const size_t place = (spool->next + i) % spool->count;
        const struct extent *extent = &spool->extents[place];

        if (extent->table == table && extent->first_id == first_id && extent->last_id == last_id) {
            spool->next = place + 1;
            return extent;
        }
    }
    return NULL;
}

int mig_spool_take(struct mig_spool *spool, enum mig_table table, int64_t first_id, int64_t last_id,
                   struct mig_part **ret_part, struct mig_error *err)
{
    const struct extent *extent = find(spool, table, first_id, last_id);
    struct mig_buffer *records = &spool->codec.records;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result;

    if (!extent) {
        *ret_part = NULL;
        return MIG_OK;
    }
    records->size = 0;
    if ((result = mig_buffer_reserve(records, extent->bytes, err)) != MIG_OK ||
        (result = mig_fd_read_at(spool->fd, spool->name, extent->offset, records->data,
                                 extent->bytes, err)) != MIG_OK ||
        (result = mig_part_new(table, first_id, &part, err)) != MIG_OK)
        return result;
    records->size = extent->bytes;
    result = bundle_decode_records(&spool->codec, mig_buffer_bytes(records), MIG_STAGE_ENVELOPES,
                                   &(struct mig_bundle_entry){.table = table,
                                                              .chain = true,
                                                              .settled = extent->settled,
                                                              .first_id = first_id,
                                                              .last_id = last_id,
                                                              .rows = extent->rows,
                                                              .bytes = extent->bytes},
                                   part, err);
    if (result == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}
