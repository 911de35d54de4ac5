/* What the files of a plan share. */
#ifndef MIG_PLAN_PRIVATE_H
#define MIG_PLAN_PRIVATE_H

#include "libmigrate/pipeline/pipeline_private.h"

/* What a row costs a node's server, its envelope having this size: see plan_disk.c. */
struct plan_cost {
    double bulk_bytes, staged_bytes;         /* of tables and indexes */
    double bulk_wal_bytes, staged_wal_bytes; /* without pages that are logged whole */
};
void plan_cost_add(struct plan_cost *cost, size_t topic_size, size_t envelope_size);

/* Rows of one table as they were read and transformed: all of them, or a sample. */
struct plan_sums {
    struct mig_tally tally;
    uint64_t rows, bytes, parts;
    int64_t cutoff_ns;     /* when a row was created that has just expired by creation */
    uint64_t past;         /* rows created by then */
    struct plan_cost cost; /* of the rows for nodes */
    int64_t *bands;        /* starts of those that the rows for nodes lie in */
    size_t band_count, band_capacity;
};
void plan_sums_release(struct plan_sums *sums);

/* Rows signed a second on all threads of the pool in so many seconds. rows is a transformed part
 * whose rows for nodes are signed; NULL, or one without any: made-up ones are. */
int plan_probe(const struct mig_manifest *manifest, int64_t as_of_ns, const struct mig_part *rows,
               struct mig_pool *pool, unsigned seconds, const struct mig_stop *stop,
               uint64_t *ret_rows_per_second, struct mig_error *err);

/* The most rows of a statement that plan_read() needs for a sample. */
#define PLAN_SAMPLE_ROWS 64

/* Reads a table whole, or a sample of it, without signing. *ret_sample, when it is NULL, may get a
 * part with rows for nodes. */
int plan_read(struct mig_source *source, const struct mig_transform *transform,
              enum mig_table table, const struct mig_source_measure *measure, bool whole,
              struct plan_sums *sums, struct mig_part **ret_sample, struct mig_error *err);

struct plan_job {
    const struct mig_manifest *manifest;
    const struct mig_plan_options *options;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct pipeline_keys keys;
    struct throttle *throttle;
    struct mig_source_gate gate;
    struct mig_source *source;
    struct mig_nodes nodes;
    size_t *places; /* of each node in the manifest */
    struct mig_transform *transform;
    struct mig_pool *pool;
    struct mig_part *sample;
    struct plan_sums sums[MIG_TABLE_COUNT];
    struct mig_plan *plan;
};

/* What goes wrong is the plan's to tell; only what ends us is an error. *ret_went_well may be NULL.
 */
int plan_note(struct plan_job *job, int result, const struct mig_error *one, bool *ret_went_well,
              struct mig_error *err);

/* Each fills its figures of job->plan, as far as they can be known. */
int plan_measure_source(struct plan_job *job, struct mig_error *err);
int plan_measure_speed(struct plan_job *job, struct mig_error *err);
int plan_measure_nodes(struct plan_job *job, struct mig_error *err);

#endif
