/* A table's rows as a run would make them, without a signature: all of them, or a sample from all
 * over the range of ids. */
#include "libmigrate/pipeline/plan_private.h"

#include <stdlib.h>

#define SAMPLE_PLACES 16

void plan_sums_release(struct plan_sums *sums)
{
    free(sums->bands);
    *sums = (struct plan_sums){0};
}

static int add_band(struct plan_sums *sums, int64_t id, struct mig_error *err)
{
    const int64_t start = id / MIG_BAND_WIDTH * MIG_BAND_WIDTH;

    if (sums->band_count > 0 && sums->bands[sums->band_count - 1] == start)
        return MIG_OK;
    if (sums->band_count == sums->band_capacity) {
        const size_t capacity = sums->band_capacity * 2 + 16;
        int64_t *bands = reallocarray(sums->bands, capacity, sizeof *bands);

        if (!bands)
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        sums->bands = bands;
        sums->band_capacity = capacity;
    }
    sums->bands[sums->band_count++] = start;
    return MIG_OK;
}

static int add_part(struct plan_sums *sums, const struct mig_part *part, struct mig_error *err)
{
    int result = MIG_OK;

    sums->rows += part->row_count;
    sums->parts++;
    mig_tally_add(&sums->tally, &part->tally);
    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++) {
        const struct mig_envelope *envelope = &part->envelopes[i];

        if (envelope->route != MIG_ROUTE_NODE)
            continue;
        plan_cost_add(&sums->cost, envelope->topic.size, envelope->originator_envelope.size);
        result = add_band(sums, envelope->sequence_id, err);
    }
    return result;
}

/* The reading's place; the rows of a part are counted before the transform adds its own bytes. */
struct plan_reading {
    struct mig_source *source;
    const struct mig_transform *transform;
    struct mig_arena scratch;
    struct plan_sums *sums;
};

static int read_part(struct plan_reading *reading, struct mig_part_limits limits,
                     struct mig_part **ret_part, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = mig_source_read_part(reading->source, limits, &part, err);

    if (result != MIG_OK || !part) {
        *ret_part = NULL;
        return result;
    }
    reading->sums->bytes += part->arena.used_bytes;
    for (size_t i = 0; i < part->row_count; i++) {
        int64_t created_ns;

        if (mig_row_created_ns(&part->rows[i], &created_ns) &&
            created_ns <= reading->sums->cutoff_ns)
            reading->sums->past++;
    }
    if ((result = mig_transform_part(reading->transform, &reading->scratch, part, err)) == MIG_OK &&
        (result = add_part(reading->sums, part, err)) == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}

static int read_range(struct plan_reading *reading, enum mig_table table, int64_t first_id,
                      int64_t last_id, bool settled, struct mig_error *err)
{
    bool more = true;
    int result = mig_source_read_begin(reading->source, table, first_id, last_id, settled, err);

    while (more && result == MIG_OK) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;

        result = read_part(reading, MIG_PART_LIMITS, &part, err);
        more = part != NULL;
    }
    return result;
}

/* Cut as a run cuts it. */
static int read_whole(struct plan_reading *reading, enum mig_table table,
                      const struct mig_source_measure *measure, struct mig_error *err)
{
    int64_t last;
    int result = mig_source_last_id(reading->source, table, &last, err);

    if (result == MIG_OK)
        result = read_range(reading, table, INT64_MIN, last, true, err);
    return result == MIG_OK && measure->has_rows && measure->highest > last
               ? read_range(reading, table, last + 1, INT64_MAX, false, err)
               : result;
}

static int read_sample(struct plan_reading *reading, enum mig_table table,
                       const struct mig_source_measure *measure, struct mig_part **sample,
                       struct mig_error *err)
{
    const uint64_t width =
        ((uint64_t) measure->highest - (uint64_t) measure->lowest) / SAMPLE_PLACES;
    const struct mig_part_limits limits = {PLAN_SAMPLE_ROWS, MIG_PART_LIMITS.bytes};
    int64_t next = measure->lowest;
    int result = MIG_OK;

    for (uint64_t i = 0; i < SAMPLE_PLACES && result == MIG_OK; i++) {
        const int64_t place = (int64_t) ((uint64_t) measure->lowest + i * width);
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;

        if (place > next)
            next = place;
        if ((result = mig_source_read_begin(reading->source, table, next, INT64_MAX, true, err)) !=
                MIG_OK ||
            (result = read_part(reading, limits, &part, err)) != MIG_OK || !part ||
            part->last_id == INT64_MAX)
            return result;
        next = part->last_id + 1;
        if (!*sample && part->tally.kinds[MIG_KIND_GROUP_MESSAGES].for_nodes > 0)
            *sample = mig_take(part);
    }
    return result;
}

int plan_read(struct mig_source *source, const struct mig_transform *transform,
              enum mig_table table, const struct mig_source_measure *measure, bool whole,
              struct plan_sums *sums, struct mig_part **ret_sample, struct mig_error *err)
{
    struct plan_reading reading = {source, transform, MIG_ARENA_INIT, sums};
    int result = whole ? read_whole(&reading, table, measure, err)
                       : read_sample(&reading, table, measure, ret_sample, err);

    mig_arena_release(&reading.scratch);
    /* A sample leaves its statement in the middle; the next may be any. */
    return result == MIG_OK ? mig_source_read_begin(source, table, 1, 0, true, err) : result;
}
