/*
 * Parts that grow: what is followed comes a few rows at a time, and the books would have a part for
 * each handful. A part goes on till its bucket of ids is full, and its digests are those of all its
 * rows, however they came.
 */
#ifndef MIG_GROWTH_H
#define MIG_GROWTH_H

#include "libmigrate/pipeline/pipeline_private.h"

/* No part that is followed has rows of two buckets, nor of two bands. */
#define GROWTH_BUCKET INT64_C(4096)
/* Whether a new part begins with this id. */
bool growth_begins(int64_t id);
/* The first and the last id of the bucket that id is in. */
int64_t growth_bucket_first(int64_t id);
int64_t growth_bucket_end(int64_t id);

/* A table's last part in the books of some nodes that are equally far. */
struct growth_part {
    int64_t first_id, last_id;
    struct mig_buffer nodes, chain; /* what stands for its rows */
    int64_t *starts;                /* ids at which a pass begins new parts, rising */
    size_t start_count, start_room;
};

/* How old rows were when they had reached the last node. */
#define GROWTH_LAGS 4096
struct growth_lags {
    int64_t created_ns[GROWTH_LAGS];
    size_t count, seen;
};

struct growth {
    struct growth_part parts[MIG_TABLE_COUNT];
    const struct mig_bundle_facts *facts;
    bool follows;                             /* behind what the run had settled */
    int64_t loose_from[MIG_TABLE_COUNT];      /* from here on every parcel begins a part */
    int64_t fresh_from[MIG_TABLE_COUNT];      /* rows below were there before this pass */
    uint64_t rows;                            /* that are fresh, of this pass */
    struct growth_lags lags[MIG_TABLE_COUNT]; /* of this pass */
};
void growth_release(struct growth *growth);
/* Before a pass: no starts, no rows. */
void growth_begin_pass(struct growth *growth);
int growth_add_start(struct growth *growth, enum mig_table table, int64_t id,
                     struct mig_error *err);

/* For struct run_job's see: gives each parcel its place in the books. */
int growth_see(void *context, struct parcel *parcel, struct mig_error *err);

#endif
