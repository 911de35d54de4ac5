/*
 * What a run would take, and all that would refuse it. Every session is read-only; whatever goes
 * wrong is written into the plan, in the order in which a run would meet it, and the rest goes on.
 */
#include "libmigrate/pipeline/plan_private.h"

#include <stdlib.h>
#include <string.h>

static void plan_job_release(struct plan_job *job)
{
    mig_part_free(&job->sample);
    mig_pool_free(&job->pool);
    mig_transform_free(&job->transform);
    mig_nodes_close(&job->nodes);
    mig_source_close(&job->source);
    throttle_close(&job->throttle);
    pipeline_keys_release(&job->keys);
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        plan_sums_release(&job->sums[table]);
    free(job->places);
    mig_plan_free(&job->plan);
}

int plan_note(struct plan_job *job, int result, const struct mig_error *one, bool *ret_went_well,
              struct mig_error *err)
{
    if (ret_went_well)
        *ret_went_well = result == MIG_OK;
    if (result == MIG_OK)
        return MIG_OK;
    if (result != MIG_E_CANCELLED && result != MIG_E_NOMEM)
        return mig_errors_add(&job->plan->refusals, one, err);
    if (err)
        *err = *one;
    return result;
}

/* ---- what would refuse --------------------------------------------------------------------- */

static int examine_here(struct plan_job *job, struct mig_error *err)
{
    struct mig_error one = MIG_ERROR_INIT;
    int result = plan_note(
        job, pipeline_check_chain_folder(job->manifest, &job->options->run, &one), &one, NULL, err);

    if (result == MIG_OK)
        result = plan_note(job,
                           mig_manifest_signers(job->manifest, job->hooks, &job->keys.payer,
                                                &job->keys.originator, &one),
                           &one, NULL, err);
    return result == MIG_OK ? mig_pool_open(job->options->run.resources.threads, &job->pool, err)
                            : result;
}

static int examine_source(struct plan_job *job, struct mig_error *err)
{
    const size_t before = job->plan->refusals.count;
    struct mig_error one = MIG_ERROR_INIT;
    bool open;
    int result =
        plan_note(job, mig_source_open(job->manifest, job->hooks, job->stop, &job->source, &one),
                  &one, &open, err);

    if (result == MIG_OK && open)
        result = plan_note(job, mig_source_examine(job->source, &job->plan->refusals, &one), &one,
                           NULL, err);
    job->plan->source_known = job->plan->refusals.count == before;
    return result;
}

static int examine_nodes(struct plan_job *job, struct mig_error *err)
{
    const size_t count = job->manifest->node_count;
    int result = MIG_OK;

    job->nodes.items = calloc(count + 1, sizeof(struct mig_node *));
    job->places = calloc(count + 1, sizeof *job->places);
    job->plan->nodes = calloc(count + 1, sizeof *job->plan->nodes);
    if (!job->nodes.items || !job->places || !job->plan->nodes)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count && result == MIG_OK; i++) {
        struct mig_node *node = NULL;

        if (!(job->plan->nodes[i].name = strdup(job->manifest->nodes[i].name)))
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        job->plan->node_count++;
        result = mig_node_examine(job->manifest, i, job->hooks, job->stop, &job->plan->refusals,
                                  &node, err);
        if (node) {
            job->places[job->nodes.count] = i;
            job->nodes.items[job->nodes.count++] = node;
        }
    }
    return result;
}

/* Which limits are kept depends on who could be reached: the others are refused already. A sample
 * is too small to be held to a rate. */
static int examine_limits(struct plan_job *job, struct mig_error *err)
{
    const bool all = job->nodes.count == job->manifest->node_count;
    const struct throttle_options kept = {
        .max_rate = job->options->exact ? job->options->run.resources.max_rate : 0,
        .source = job->source != NULL,
        .nodes = all,
        .stage = "plan"};
    struct mig_error one = MIG_ERROR_INIT;
    bool open;
    int result = plan_note(
        job, throttle_open(job->manifest, &kept, job->hooks, job->stop, &job->throttle, &one), &one,
        &open, err);

    if (!open || !job->source)
        return result;
    job->gate = *throttle_gate(job->throttle);
    if (!job->options->exact)
        job->gate.statement_rows = PLAN_SAMPLE_ROWS;
    mig_source_set_gate(job->source, &job->gate);
    return result;
}

static int examine_run(struct plan_job *job, struct mig_error *err)
{
    const bool has_keys = job->keys.payer && job->keys.originator;
    struct pipeline_found found = {.as_of_ns = job->plan->as_of_ns};
    struct mig_error one = MIG_ERROR_INIT;
    int result =
        plan_note(job,
                  pipeline_find_run(job->manifest, &job->options->run, has_keys ? &job->keys : NULL,
                                    &job->nodes, job->hooks, &found, &one),
                  &one, NULL, err);

    job->plan->as_of_ns = found.as_of_ns;
    if (found.unfinished)
        memcpy(job->plan->takes_up, found.run.facts.run, sizeof job->plan->takes_up);
    if (result == MIG_OK && found.by_clock && !found.unfinished && job->source) {
        one = MIG_ERROR_INIT;
        result =
            plan_note(job, pipeline_check_clock(job->source, job->hooks, &one), &one, NULL, err);
    }
    if (result == MIG_OK && found.known && job->source && !job->options->run.new_run) {
        one = MIG_ERROR_INIT;
        result = plan_note(
            job,
            pipeline_check_source(job->source, &found.run, job->options->run.source_moved, &one),
            &one, NULL, err);
    }
    if (result != MIG_OK)
        return result;
    one = MIG_ERROR_INIT;
    return plan_note(
        job, mig_transform_open(job->manifest, found.as_of_ns, NULL, NULL, &job->transform, &one),
        &one, NULL, err);
}

/* ---- the whole ------------------------------------------------------------------------------ */

int mig_pipeline_plan(const struct mig_manifest *manifest, const struct mig_plan_options *options,
                      const struct mig_hooks *hooks, const struct mig_stop *stop,
                      struct mig_plan **ret_plan, struct mig_error *err)
{
    mig_cleanup(plan_job_release) struct plan_job job = {.manifest = manifest,
                                                         .options = options,
                                                         .hooks = hooks,
                                                         .stop = stop,
                                                         .plan = calloc(1, sizeof *job.plan)};
    int result;

    if (!job.plan || !(job.plan->network = strdup(manifest->network)))
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    job.plan->exact = options->exact;
    job.plan->as_of_ns = options->run.has_as_of ? options->run.as_of_ns : mig_time_now_ns();
    if ((result = examine_here(&job, err)) != MIG_OK ||
        (result = examine_source(&job, err)) != MIG_OK ||
        (result = examine_nodes(&job, err)) != MIG_OK ||
        (result = examine_limits(&job, err)) != MIG_OK ||
        (result = examine_run(&job, err)) != MIG_OK ||
        (result = plan_measure_source(&job, err)) != MIG_OK ||
        (result = plan_measure_speed(&job, err)) != MIG_OK ||
        (result = plan_measure_nodes(&job, err)) != MIG_OK)
        return result;
    *ret_plan = mig_take(job.plan);
    return MIG_OK;
}

void mig_plan_free(struct mig_plan **plan)
{
    struct mig_plan *p = mig_take(*plan);

    if (!p)
        return;
    for (size_t i = 0; i < p->node_count; i++)
        free(p->nodes[i].name);
    free(p->nodes);
    free(p->network);
    mig_errors_release(&p->refusals);
    free(p);
}

int mig_plan_outcome(const struct mig_plan *plan, struct mig_error *err)
{
    const struct mig_errors *refusals = &plan->refusals;

    if (refusals->count == 0)
        return MIG_OK;
    if (err)
        *err = refusals->items[0];
    return refusals->items[0].code;
}
