/* What nodes lack of a run, and the passes that bring it. */
#include "libmigrate/pipeline/run.h"

#include <assert.h>
#include <stdlib.h>

static int see(void *context, struct parcel *parcel, struct mig_error *err)
{
    struct run *run = context;
    int result = growth_see(&run->growth, parcel, err);

    return result == MIG_OK && run->aside ? run_set_chain_aside(run, parcel->part, err) : result;
}

/* The ranges of one table that at least one of the nodes wanted lacks, cut where any node's own
 * parts end, so that every part is either wholly there or wholly missing. What is one part
 * elsewhere, though it has grown beyond what a part can hold at once, is one part here. */
static int ranges_of_table(struct run *run, const bool *wanted, enum mig_table table,
                           struct read_range **ranges, size_t *count, struct mig_error *err)
{
    struct run_job *job = &run->job;
    const int64_t bound = job->run.bounds[table];
    mig_cleanup(pipeline_cuts_release) struct pipeline_cuts cuts = {0};
    struct read_range *larger;
    int64_t position;
    int result = pipeline_find_cuts(&job->nodes, wanted, &job->run, table, &cuts, err);

    if (result != MIG_OK)
        return result;
    /* The last one of the table's own, and one for strays. */
    larger = reallocarray(*ranges, *count + cuts.count + 2, sizeof *larger);
    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    *ranges = larger;
    position = cuts.position;
    for (size_t i = 0; position < bound; i++) {
        const bool cut = i < cuts.count && cuts.ids[i] <= bound;
        const int64_t first = position == INT64_MIN ? INT64_MIN : position + 1;

        position = cut ? cuts.ids[i] : bound;
        larger[(*count)++] = (struct read_range){table, first, position, true};
        if (cut && (result = growth_add_start(&run->growth, table, first, err)) != MIG_OK)
            return result;
        if (!cut)
            run->growth.loose_from[table] = first;
    }
    return MIG_OK;
}

static int find_ranges(void *context, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct run *run = context;
    struct run_job *job = &run->job;
    struct read_range *ranges = NULL;
    size_t count = 0;
    int result = MIG_OK;

    growth_begin_pass(&run->growth);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        struct mig_settled settled;

        result = ranges_of_table(run, wanted, (enum mig_table) table, &ranges, &count, err);
        if (result == MIG_OK)
            result = mig_source_strays(job->sources.items[0], (enum mig_table) table,
                                       job->run.bounds[table], &settled, err);
        assert(result != MIG_OK || ranges); /* with a place for strays */
        if (result == MIG_OK && settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    if (result != MIG_OK) {
        free(ranges);
        return result;
    }
    *ret_ranges = ranges;
    *ret_count = count;
    return MIG_OK;
}

static int estimate(struct run_job *job, uint64_t *ret_total, struct mig_error *err)
{
    int result = MIG_OK;

    *ret_total = 0;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        uint64_t rows;

        result = mig_source_estimate(job->sources.items[0], (enum mig_table) table, &rows, err);
        if (result == MIG_OK)
            *ret_total += rows;
    }
    return result;
}

int run_await_nodes(struct run_job *job, bool *ret_back, struct mig_error *err)
{
    size_t back = 0;

    while (back == 0) {
        struct mig_error failure = MIG_ERROR_INIT;
        size_t i = 0;
        int result;

        while (i < job->nodes.away_count && !job->nodes.away[i].awaited)
            i++;
        if (i == job->nodes.away_count)
            break;
        job->retry.node = job->nodes.away[i].name;
        result =
            mig_retry_wait(&job->retry, &job->nodes.away[i].why, job->hooks, job->stop, &failure);
        if (result == MIG_E_TEMPORARY && job->nodes.count > 0)
            break;
        if (result != MIG_OK) {
            if (err)
                *err = failure;
            return result;
        }
        if ((result = run_job_bring_back(job, &back, err)) != MIG_OK)
            return result;
    }
    *ret_back = back > 0;
    return MIG_OK;
}

int run_move_rows(struct run *run, struct mig_error *err)
{
    struct run_job *job = &run->job;
    const char *stage = "run";
    bool back = true;
    uint64_t total;
    int result = estimate(job, &total, err);

    run_job_want_all(job);
    run->growth.facts = &job->run.facts;
    run->aside = true;
    job->see = see;
    job->see_context = run;
    while (result == MIG_OK && back && !run_job_eases(job)) {
        while (result == MIG_OK && run_job_lacks(job) && !run_job_eases(job)) {
            result = run_job_pass(job, stage, total, find_ranges, run, err);
            /* Who has all of it has it from a pass that saw everything. */
            if (job->nodes.count > 0 && !job->places[mig_node_index(job->nodes.items[0])].lacks)
                run->aside = false;
            stage = "catching up";
        }
        if (result == MIG_OK && !run_job_eases(job))
            result = run_await_nodes(job, &back, err);
    }
    return result;
}
