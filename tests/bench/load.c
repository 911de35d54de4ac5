/* Envelopes that lie ready in memory into the nodes of a manifest, as xmtp-load and xmtp-migrate
 * run load them: what a bundle's reading and verifying cost is not part of it. */
#include "tests/bench/loops.h"

#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct ready {
    struct mig_part **parts;
    size_t count, taken;
    uint64_t rows;
    struct mig_budget *budget;
};

static void check(int result, const struct mig_error *err)
{
    if (result != MIG_OK)
        bench_die("load", err->message);
}

static void read_parts(const char *bundle, struct ready *ready, struct mig_run *run)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    check(mig_bundle_open(bundle, false, &reader, &err), &err);
    run->facts = *mig_bundle_facts(reader);
    for (;;) {
        struct mig_part *part = NULL;

        check(bundle_parts_next(reader, &part, &err), &err);
        if (!part)
            return;
        if (part->settled && part->last_id > run->bounds[part->table])
            run->bounds[part->table] = part->last_id;
        for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
            ready->rows += part->tally.kinds[kind].for_nodes;
        ready->parts = reallocarray(ready->parts, ready->count + 1, sizeof(struct mig_part *));
        if (!ready->parts)
            bench_die("load", "out of memory");
        ready->parts[ready->count++] = part;
    }
}

static int take_ready(void *context, struct parcel **ret_parcel, struct mig_error *err)
{
    struct ready *ready = context;
    mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
    int result;

    if (ready->taken == ready->count) {
        *ret_parcel = NULL;
        return MIG_OK;
    }
    if ((result = parcel_reserve(ready->budget, &parcel, err)) != MIG_OK)
        return result;
    parcel_fill(parcel, ready->parts[ready->taken++]);
    *ret_parcel = mig_take(parcel);
    return MIG_OK;
}

static void stop_taking(void *context)
{
    const struct ready *ready = context;

    mig_budget_cancel(ready->budget);
}

static void load(struct mig_nodes *nodes, struct mig_run *run, struct ready *ready,
                 unsigned threads)
{
    static const struct mig_blockers none;
    const struct flow_source source = {.take = take_ready, .stop = stop_taking, .context = ready};
    struct flow_options options = {.run = run, .stage = "load", .threads = threads};
    struct flow_end *ends = calloc(nodes->count, sizeof *ends);
    struct mig_error err = MIG_ERROR_INIT;
    struct shares shares;

    if (!ends)
        bench_die("load", "out of memory");
    check(pipeline_open_budget(0, threads, &ready->budget, &shares, &err), &err);
    options.lane_bytes = shares.lane_bytes;
    for (size_t i = 0; i < nodes->count; i++)
        check(mig_node_run_begin(nodes->items[i], run, &err), &err);
    check(flow_to_nodes(nodes, NULL, &options, &source, ends, &err), &err);
    check(nodes_set_failed_aside(nodes, ends, &err), &err);
    for (size_t i = 0; i < nodes->count; i++)
        check(mig_node_run_finish(nodes->items[i], run, &none, NULL, 0, &err), &err);
    mig_budget_free(&ready->budget);
    free(ends);
}

void bench_load(const char *manifest_path, const char *bundle, unsigned threads)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    struct mig_error err = MIG_ERROR_INIT;
    struct ready ready = {0};
    struct mig_run run = {0};
    double seconds;

    check(mig_manifest_load(manifest_path, &manifest, NULL, &err), &err);
    read_parts(bundle, &ready, &run);
    seconds = bench_now(CLOCK_MONOTONIC);
    check(mig_nodes_open_present(manifest, NULL, MIG_NODE_WRITE, NULL, NULL, &nodes, &err), &err);
    load(&nodes, &run, &ready, threads);
    seconds = bench_now(CLOCK_MONOTONIC) - seconds;
    printf("{\"seconds\": %.6f, \"rows\": %" PRIu64 "}\n", seconds, ready.rows);
    free(ready.parts);
}
