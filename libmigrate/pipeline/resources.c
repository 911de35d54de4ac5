/* What a job may use: memory shared out among its stages, connections to the source. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>

#define CONNECTIONS_DEFAULT 2

/* A bundle is read faster than rows are signed or loaded: what is read further ahead only gets old.
 * A thread has a part in hand and another waiting for it, which take some 12 MiB each. */
#define BUNDLE_AHEAD_LEAST ((size_t) 128 << 20)
#define BUNDLE_AHEAD_A_THREAD ((size_t) 24 << 20)
/* For what isn't rows under way but grows with the largest row: buffers of files and connections,
 * the layers around a row that is being worked on. Of little memory half. */
#define ASIDE_MOST ((size_t) 64 << 20)

static size_t bundle_ahead(unsigned threads)
{
    const size_t bytes = threads * BUNDLE_AHEAD_A_THREAD;

    return bytes > BUNDLE_AHEAD_LEAST ? bytes : BUNDLE_AHEAD_LEAST;
}

int pipeline_open_budget(size_t max_memory, unsigned bundle_threads, struct mig_budget **ret_budget,
                         struct shares *ret_shares, struct mig_error *err)
{
    size_t bytes = max_memory > 0 ? max_memory : MIG_MAX_MEMORY_DEFAULT;

    if (bytes < MIG_MAX_MEMORY_LEAST)
        return mig_fail(err, MIG_E_USAGE, "%zu bytes of memory are too few: %zu MiB at least",
                        bytes, MIG_MAX_MEMORY_LEAST >> 20);
    bytes -= bytes / 2 < ASIDE_MOST ? bytes / 2 : ASIDE_MOST;
    if (bundle_threads > 0 && bytes > bundle_ahead(bundle_threads))
        bytes = bundle_ahead(bundle_threads);
    *ret_shares = (struct shares){.read_ahead_bytes = bytes / 8, .lane_bytes = bytes / 2};
    return mig_budget_open(bytes, ret_budget, err);
}

int source_set_open(const struct mig_manifest *manifest, unsigned connections, unsigned retry_s,
                    const struct mig_hooks *hooks, const struct mig_stop *stop,
                    struct source_set *ret_sources, struct mig_error *err)
{
    mig_cleanup(source_set_close) struct source_set sources = {0};
    size_t wanted = connections > 0 ? connections : CONNECTIONS_DEFAULT;
    int result = MIG_OK;

    if (wanted > MIG_TABLE_COUNT)
        wanted = MIG_TABLE_COUNT;
    sources.items = calloc(wanted, sizeof(struct mig_source *));
    if (!sources.items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (; sources.count < wanted && result == MIG_OK; sources.count += result == MIG_OK)
        result = mig_source_open(manifest, hooks, stop, &sources.items[sources.count], err);
    if (result != MIG_OK)
        return result;
    for (size_t i = 0; i < sources.count; i++) {
        mig_source_set_retry(sources.items[i], retry_s);
        mig_source_share_past(sources.items[i], sources.items[0]);
    }
    *ret_sources = sources;
    sources = (struct source_set){0};
    return MIG_OK;
}

void source_set_gate(const struct source_set *sources, const struct mig_source_gate *gate)
{
    for (size_t i = 0; i < sources->count; i++)
        mig_source_set_gate(sources->items[i], gate);
}

void source_set_close(struct source_set *sources)
{
    for (size_t i = 0; i < sources->count; i++)
        mig_source_close(&sources->items[i]);
    free(sources->items);
    *sources = (struct source_set){0};
}
