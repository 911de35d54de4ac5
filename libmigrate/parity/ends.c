/* Both ends of a check: the source, the nodes that were asked for, and what works between them. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_BYTES ((size_t) 6 << 20)
#define IN_HAND_BYTES ((size_t) 24 << 20)

struct parity_memory parity_share_memory(size_t max_memory, size_t nodes)
{
    const size_t quarter = max_memory > 0 ? max_memory / 4 : SIZE_MAX;
    const size_t ahead = quarter / (nodes + 1);

    return (struct parity_memory){
        .ahead_bytes = ahead < AHEAD_BYTES ? ahead : AHEAD_BYTES,
        .in_hand_bytes = quarter < IN_HAND_BYTES ? quarter : IN_HAND_BYTES,
    };
}

void parity_check_end(struct parity_check *check)
{
    parity_crew_close(&check->crew);
    for (struct parity_job *job = check->jobs, *next; job; job = next) {
        next = job->next;
        parity_job_free(check, &job);
    }
    for (size_t i = 0; i < check->node_count; i++) {
        parity_stream_end(&check->nodes[i].stream);
        parity_batch_leave(check, &check->nodes[i].batch);
        for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
            parity_letters_release(&check->nodes[i].letters[kind]);
        mig_node_close(&check->nodes[i].reader);
        mig_node_close(&check->nodes[i].asker);
    }
    free(check->nodes);
    mig_source_close(&check->source);
    mig_source_close(&check->source_asker);
    mig_arena_release(&check->currents.arena);
    free(check->sourceless.rows);
    parity_terms_release(&check->terms);
    mig_parity_report_release(&check->report);
}

static int no_such_node(const struct mig_manifest *manifest, const char *name,
                        struct mig_error *err)
{
    char list[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < manifest->node_count && used < sizeof list; i++)
        used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                  manifest->nodes[i].name);
    mig_fail(err, MIG_E_USAGE, "the manifest has no node '%s'", name);
    return mig_hint(err, "its nodes: %s", list);
}

/* Marks the nodes to look at; the same name twice is one node. */
static int select_nodes(const struct mig_manifest *manifest,
                        const struct mig_parity_options *options, bool *selected,
                        struct mig_error *err)
{
    for (size_t i = 0; i < manifest->node_count; i++)
        selected[i] = options->node_count == 0;
    for (size_t wanted = 0; wanted < options->node_count; wanted++) {
        size_t i = 0;

        while (i < manifest->node_count &&
               strcmp(manifest->nodes[i].name, options->nodes[wanted]) != 0)
            i++;
        if (i == manifest->node_count)
            return no_such_node(manifest, options->nodes[wanted], err);
        selected[i] = true;
    }
    return MIG_OK;
}

struct ends {
    struct mig_node **readers, **askers;
    size_t count;
};

static void ends_release(struct ends *ends)
{
    for (size_t i = 0; i < ends->count; i++) {
        mig_node_close(&ends->readers[i]);
        mig_node_close(&ends->askers[i]);
    }
    free(ends->readers);
    free(ends->askers);
}

static int open_nodes(const struct mig_manifest *manifest, const bool *selected,
                      const struct mig_hooks *hooks, const struct mig_stop *stop, struct ends *ends,
                      struct mig_error *err)
{
    int result = MIG_OK;

    ends->readers = calloc(manifest->node_count, sizeof *ends->readers);
    ends->askers = calloc(manifest->node_count, sizeof *ends->askers);
    if (!ends->readers || !ends->askers)
        return mig_fail(err, MIG_E_NOMEM, "cannot open the nodes: out of memory");
    for (size_t i = 0; i < manifest->node_count && result == MIG_OK; i++) {
        if (!selected[i])
            continue;
        result = mig_node_open(manifest, i, MIG_NODE_READ, hooks, stop, &ends->readers[ends->count],
                               err);
        /* What there was to say has been said by the first. */
        if (result == MIG_OK)
            result = mig_node_open(manifest, i, MIG_NODE_READ, NULL, stop,
                                   &ends->askers[ends->count++], err);
    }
    return result;
}

static void free_flags(bool **flags)
{
    free(*flags);
}

#define STANDBY_PATIENCE_S 30

/* A standby that is behind what was brought shows too little. WAL of another database is none of
 * this one's. */
static int reach_run(struct parity_check *check, struct mig_error *err)
{
    struct mig_source_identity pinned;
    int result;

    if (!check->terms.source[0] ||
        mig_source_identity_parse(check->terms.source, &pinned, NULL) != MIG_OK ||
        mig_source_check_same(check->source, &pinned, NULL) == MIG_E_REFUSED)
        return MIG_OK;
    mig_source_raise_floor(check->source, check->terms.source_wal);
    mig_source_set_retry(check->source, STANDBY_PATIENCE_S);
    result = mig_source_note_wal(check->source, err);
    mig_source_set_retry(check->source, 0);
    return result;
}

static int open_ends(struct parity_check *check, const struct mig_manifest *manifest,
                     const struct mig_parity_options *options, struct mig_error *err)
{
    mig_cleanup(free_flags) bool *selected = calloc(manifest->node_count, sizeof *selected);
    mig_cleanup(ends_release) struct ends ends = {0};
    int result;

    if (!selected)
        return mig_fail(err, MIG_E_NOMEM, "cannot open the nodes: out of memory");
    if ((result = select_nodes(manifest, options, selected, err)) != MIG_OK ||
        (result = mig_source_open(manifest, check->hooks, check->stop, &check->source, err)) !=
            MIG_OK ||
        (result = open_nodes(manifest, selected, check->hooks, check->stop, &ends, err)) !=
            MIG_OK ||
        (result = parity_terms_pin(&check->terms, manifest, options, ends.askers, ends.count,
                                   check->hooks, err)) != MIG_OK ||
        (result = reach_run(check, err)) != MIG_OK)
        return result;
    check->nodes = calloc(manifest->node_count, sizeof *check->nodes);
    if (!check->nodes)
        return mig_fail(err, MIG_E_NOMEM, "cannot open the nodes: out of memory");
    if ((result = parity_report_begin(&check->report, &check->terms, ends.askers, ends.count,
                                      err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < ends.count; i++) {
        check->nodes[i].reader = mig_take(ends.readers[i]);
        check->nodes[i].asker = mig_take(ends.askers[i]);
    }
    check->node_count = ends.count;
    return MIG_OK;
}

static int do_job(const void *context, struct parity_job *job, struct mig_arena *scratch,
                  struct mig_error *err)
{
    return parity_job_run(context, job, scratch, err);
}

static int make_ready(struct parity_check *check, unsigned threads, struct mig_error *err)
{
    int result = parity_crew_open(threads, do_job, &check->terms, &check->crew, err);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        uint64_t rows = 0;

        result = mig_source_estimate(check->source, (enum mig_table) table, &rows, err);
        check->rows_total += rows;
    }
    return result;
}

int parity_check_begin(struct parity_check *check, const struct mig_manifest *manifest,
                       const struct mig_parity_options *options, struct mig_error *err)
{
    int result = open_ends(check, manifest, options, err);

    check->memory = parity_share_memory(options->max_memory, check->node_count);
    return result == MIG_OK ? make_ready(check, options->threads, err) : result;
}
