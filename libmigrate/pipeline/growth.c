/* Places and digests of parts that grow. */
#include "libmigrate/pipeline/growth.h"

#include <stdlib.h>

#define ROWS_LIMIT ((size_t) 64 << 20)

/* The first part of a run has no first id: INT64_MIN stands for that. */
static int64_t floor_to(int64_t id, int64_t width)
{
    const int64_t rest = id % width, above = rest < 0 ? rest + width : rest;

    return id < INT64_MIN + above ? INT64_MIN : id - above;
}

bool growth_begins(int64_t id)
{
    return floor_to(id, GROWTH_BUCKET) == id || floor_to(id, MIG_BAND_WIDTH) == id;
}

int64_t growth_bucket_first(int64_t id)
{
    const int64_t bucket = floor_to(id, GROWTH_BUCKET), band = floor_to(id, MIG_BAND_WIDTH);

    return bucket > band ? bucket : band;
}

int64_t growth_bucket_end(int64_t id)
{
    const int64_t bucket = floor_to(id, GROWTH_BUCKET) + GROWTH_BUCKET - 1;
    const int64_t band = floor_to(id, MIG_BAND_WIDTH);

    return band <= INT64_MAX - MIG_BAND_WIDTH && band + MIG_BAND_WIDTH - 1 < bucket
               ? band + MIG_BAND_WIDTH - 1
               : bucket;
}

void growth_release(struct growth *growth)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        mig_buffer_release(&growth->parts[table].nodes);
        mig_buffer_release(&growth->parts[table].chain);
        free(growth->parts[table].starts);
    }
}

void growth_begin_pass(struct growth *growth)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        growth->parts[table].start_count = 0;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        growth->lags[table].count = growth->lags[table].seen = 0;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        growth->loose_from[table] = INT64_MAX;
    growth->rows = 0;
}

int growth_add_start(struct growth *growth, enum mig_table table, int64_t id, struct mig_error *err)
{
    struct growth_part *part = &growth->parts[table];

    if (part->start_count == part->start_room) {
        const size_t room = part->start_room > 0 ? 2 * part->start_room : 16;
        int64_t *larger = reallocarray(part->starts, room, sizeof *larger);

        if (!larger)
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        part->starts = larger;
        part->start_room = room;
    }
    part->starts[part->start_count++] = id;
    return MIG_OK;
}

static int by_id(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

static bool is_start(const struct growth_part *part, int64_t id)
{
    return part->start_count > 0 &&
           bsearch(&id, part->starts, part->start_count, sizeof id, by_id) != NULL;
}

/* Some of very many are as good as all. */
static void note_lag(struct growth_lags *lags, int64_t created_ns)
{
    if (lags->count < GROWTH_LAGS)
        lags->created_ns[lags->count++] = created_ns;
    else
        lags->created_ns[lags->seen % GROWTH_LAGS] = created_ns;
    lags->seen++;
}

static void note_rows(struct growth *growth, const struct mig_part *part)
{
    for (size_t i = 0; i < part->row_count; i++) {
        int64_t created_ns;

        if (part->rows[i].id < growth->fresh_from[part->table])
            continue;
        growth->rows++;
        if (mig_row_created_ns(&part->rows[i], &created_ns))
            note_lag(&growth->lags[part->table], created_ns);
    }
}

int growth_see(void *context, struct parcel *parcel, struct mig_error *err)
{
    struct growth *growth = context;
    struct mig_part *part = parcel->part;
    struct growth_part *grown = &growth->parts[part->table];
    int result;

    if (!part->settled || part->first_id >= growth->loose_from[part->table])
        return MIG_OK;
    grown->nodes.limit = grown->chain.limit = ROWS_LIMIT;
    if (is_start(grown, part->first_id)) {
        grown->first_id = part->first_id;
        grown->nodes.size = grown->chain.size = 0;
    }
    part->followed = growth->follows;
    part->books_first_id = grown->first_id;
    note_rows(growth, part);
    if ((result = pipeline_add_rows(part, MIG_ROUTE_NODE, growth->facts, &grown->nodes, err)) !=
            MIG_OK ||
        (result = pipeline_add_rows(part, MIG_ROUTE_CHAIN, growth->facts, &grown->chain, err)) !=
            MIG_OK ||
        (result = pipeline_digest_rows(&grown->nodes, parcel->digests.nodes, err)) != MIG_OK ||
        (result = pipeline_digest_rows(&grown->chain, parcel->digests.chain, err)) != MIG_OK)
        return result;
    grown->last_id = part->last_id;
    return MIG_OK;
}
