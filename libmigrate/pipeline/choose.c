/*
 * Which run to work on. A run's facts are pinned on every node; whatever is unfinished is taken up
 * before anything new is begun.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the nodes know, taken together. */
struct known {
    bool any;      /* run is the newest one */
    bool complete; /* every node has it, finished */
    bool told;     /* and knows that its account was given out */
    struct mig_run run;
};

static int look_at_node(struct mig_node *node, struct known *known, size_t index,
                        struct mig_error *err)
{
    struct mig_run run;
    bool found;
    int result = mig_node_last_run(node, &found, &run, err);

    if (result != MIG_OK)
        return result;
    if (!found) {
        known->complete = false;
        return MIG_OK;
    }
    if (!known->any) {
        *known = (struct known){true, index == 0 && run.finished, run.told, run};
        return MIG_OK;
    }
    if (strcmp(known->run.facts.run, run.facts.run) == 0) {
        known->complete = known->complete && run.finished;
        known->told = known->told && run.told;
        /* Where it is followed, each node is as far as it came. */
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (run.bounds[table] < known->run.bounds[table])
                known->run.bounds[table] = run.bounds[table];
        if (run.source_wal > known->run.source_wal)
            known->run.source_wal = run.source_wal;
        known->run.by_time = known->run.by_time || run.by_time;
        return MIG_OK;
    }
    /* Begun on some nodes and stopped before the others: nothing was loaded, so it is the newer.
     * Where that is so of both, either will do. */
    if (!known->run.finished && !run.finished && !(known->run.has_parts && run.has_parts)) {
        if (known->run.has_parts)
            known->run = run;
        return MIG_OK;
    }
    if (!known->run.finished && !run.finished) {
        mig_fail(err, MIG_E_REFUSED, "the nodes are in the middle of two runs, %s and %s ('%s')",
                 known->run.facts.run, run.facts.run, mig_node_name(node));
        return mig_hint(err, "--new-run begins one that judges every row anew on all nodes");
    }
    /* Two finished runs: both are history. One unfinished: it is the one to take up. */
    if (!run.finished)
        *known = (struct known){true, false, false, run};
    else if (known->run.finished)
        known->complete = known->told = true;
    return MIG_OK;
}

static bool clock_is_pinned(const struct mig_manifest *manifest)
{
    return manifest->policy.profile == MIG_PROFILE_XMTPD ||
           manifest->policy.clock == MIG_CLOCK_MIGRATED;
}

/* The facts of a run as any of the nodes keeps them. */
static int find_pinned(const struct mig_nodes *nodes, const char *run, char **ret_pinned,
                       struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < nodes->count && !*ret_pinned && result == MIG_OK; i++)
        result = mig_node_run_pinned(nodes->items[i], run, ret_pinned, err);
    return result;
}

static int take_up(const struct mig_manifest *manifest, const struct mig_run_options *options,
                   const struct pipeline_keys *keys, const struct mig_nodes *nodes,
                   const struct mig_run *run, const struct mig_hooks *hooks, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *pinned = NULL;
    char instant[MIG_TIME_TEXT_SIZE], subject[80];
    int result;

    mig_time_format(run->facts.as_of_ns, instant);
    snprintf(subject, sizeof subject, "the %srun %s", run->finished ? "" : "unfinished ",
             run->facts.run);
    if (options->has_as_of && options->as_of_ns != run->facts.as_of_ns) {
        mig_fail(err, MIG_E_REFUSED, "%s is pinned at %s, not at the --as-of given", subject,
                 instant);
        return mig_hint(err, "finish it without --as-of, or begin another with --new-run");
    }
    if ((result = find_pinned(nodes, run->facts.run, &pinned, err)) != MIG_OK)
        return result;
    if (pipeline_check_facts(manifest, keys, &run->facts, pinned, subject, err) != MIG_OK)
        return mig_hint(err, "put the manifest back to finish it, or begin another with --new-run");
    mig_log(hooks, MIG_LOG_INFO, "taking up run %s, pinned at %s", run->facts.run, instant);
    return MIG_OK;
}

static int settle_all(struct mig_source *source, struct mig_run *run, struct mig_error *err)
{
    struct mig_settled settled[MIG_TABLE_COUNT];
    int result = mig_source_settle_all(source, settled, err);

    if (result != MIG_OK || (result = mig_source_await_durable(source, err)) != MIG_OK)
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        run->bounds[table] = settled[table].bound;
    run->source_wal = mig_source_floor(source);
    run->by_time = mig_source_settles_by_time(source);
    return MIG_OK;
}

int pipeline_check_source(struct mig_source *source, const struct mig_run *run, bool moved,
                          struct mig_error *err)
{
    struct mig_source_identity pinned;
    int result = MIG_OK;

    if (run->source[0] && !moved &&
        ((result = mig_source_identity_parse(run->source, &pinned, err)) != MIG_OK ||
         (result = mig_source_check_same(source, &pinned, err)) != MIG_OK))
        return result;
    if (!moved)
        mig_source_raise_floor(source, run->source_wal);
    return mig_source_check_reach(source, run->bounds, err);
}

/* WAL of another database is none of this one's. */
static int pin_source(struct mig_source *source, bool moved, struct mig_run *run,
                      struct mig_error *err)
{
    struct mig_source_identity identity;
    int result = mig_source_identify(source, &identity, err);

    static_assert(sizeof run->source == MIG_SOURCE_IDENTITY_SIZE, "an identity has its place");
    if (result != MIG_OK)
        return result;
    mig_source_identity_print(&identity, run->source);
    if (moved)
        run->source_wal = mig_source_floor(source);
    return MIG_OK;
}

#define CLOCKS_DIFFER_S 60
#define CLOCKS_APART_S 3600

int pipeline_compare_clocks(int64_t ours_ns, int64_t theirs_ns, const struct mig_hooks *hooks,
                            struct mig_error *err)
{
    const int64_t ahead_s = (ours_ns - theirs_ns) / MIG_NS_PER_SECOND;
    const int64_t apart_s = ahead_s < 0 ? -ahead_s : ahead_s;
    const char *const how = ahead_s < 0 ? "behind" : "ahead of";

    if (apart_s <= CLOCKS_DIFFER_S)
        return MIG_OK;
    if (apart_s < CLOCKS_APART_S) {
        mig_log(hooks, MIG_LOG_WARN,
                "the clock here is %" PRId64 " s %s the source's: rows expire by as much too %s",
                apart_s, how, ahead_s < 0 ? "late" : "early");
        return MIG_OK;
    }
    mig_fail(err, MIG_E_REFUSED,
             "the clock here is %" PRId64 " s %s the source's: by which of them rows have expired "
             "is not to be guessed",
             apart_s, how);
    return mig_hint(err, "set the clock that is wrong, or say the instant with --as-of");
}

int pipeline_check_clock(struct mig_source *source, const struct mig_hooks *hooks,
                         struct mig_error *err)
{
    int64_t theirs_ns;
    int result = mig_source_now(source, &theirs_ns, err);

    return result == MIG_OK ? pipeline_compare_clocks(mig_time_now_ns(), theirs_ns, hooks, err)
                            : result;
}

static int64_t pick_instant(const struct mig_manifest *manifest,
                            const struct mig_run_options *options, const struct known *known,
                            bool *ret_by_clock)
{
    *ret_by_clock = false;
    if (options->has_as_of)
        return options->as_of_ns;
    /* Envelopes carry the run's clock: another instant would make other bytes for the same rows. */
    if (known->any && clock_is_pinned(manifest))
        return known->run.facts.as_of_ns;
    *ret_by_clock = true;
    return mig_time_now_ns();
}

/* Whether the command that was given could be the one that the run was begun by. */
static bool is_asked_for(const struct mig_manifest *manifest, const struct mig_run_options *options,
                         const struct pipeline_keys *keys, const struct mig_run *run)
{
    return (!options->has_as_of || options->as_of_ns == run->facts.as_of_ns) &&
           pipeline_check_facts(manifest, keys, &run->facts, NULL, "", NULL) == MIG_OK;
}

int pipeline_find_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                      const struct pipeline_keys *keys, struct mig_nodes *nodes,
                      const struct mig_hooks *hooks, struct pipeline_found *ret_found,
                      struct mig_error *err)
{
    struct known known = {0};
    bool untold;
    int result = MIG_OK;

    for (size_t i = 0; i < nodes->count && result == MIG_OK; i++)
        if (!options->new_run || clock_is_pinned(manifest))
            result = look_at_node(nodes->items[i], &known, i, options->new_run ? NULL : err);
    if (result != MIG_OK && !options->new_run)
        return result;
    /* Whoever finished it did not come to say so, and may well be who asks again. */
    untold = known.complete && !known.told && is_asked_for(manifest, options, keys, &known.run);
    *ret_found = (struct pipeline_found){
        .known = known.any,
        .unfinished = known.any && !options->new_run && (!known.complete || untold),
        .run = known.run,
    };
    ret_found->as_of_ns = pick_instant(manifest, options, &known, &ret_found->by_clock);
    if (!ret_found->unfinished)
        return MIG_OK;
    ret_found->as_of_ns = known.run.facts.as_of_ns;
    return take_up(manifest, options, keys, nodes, &known.run, hooks, err);
}

int pipeline_choose_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct pipeline_keys *keys, struct mig_source *source,
                        struct mig_nodes *nodes, const struct mig_hooks *hooks,
                        struct mig_run *ret_run, struct mig_error *err)
{
    struct pipeline_found found;
    int result = pipeline_find_run(manifest, options, keys, nodes, hooks, &found, err);

    if (result == MIG_OK && found.known && !options->new_run)
        result = pipeline_check_source(source, &found.run, options->source_moved, err);
    if (result == MIG_OK && !found.unfinished) {
        found.run = (struct mig_run){0};
        if ((!found.by_clock || (result = pipeline_check_clock(source, hooks, err)) == MIG_OK) &&
            (result = pipeline_facts(manifest, found.as_of_ns, keys, hooks, &found.run.facts,
                                     err)) == MIG_OK)
            result = settle_all(source, &found.run, err);
    }
    if (result == MIG_OK &&
        (result = pin_source(source, options->source_moved, &found.run, err)) == MIG_OK)
        *ret_run = found.run;
    if (result == MIG_OK)
        measure_run(hooks, ret_run);
    return result;
}

int pipeline_choose_followed(const struct mig_manifest *manifest,
                             const struct mig_run_options *options,
                             const struct pipeline_keys *keys, struct mig_source *source,
                             struct mig_nodes *nodes, const struct mig_hooks *hooks,
                             bool *ret_there, struct mig_run *ret_run, struct mig_error *err)
{
    struct pipeline_found found;
    int result = pipeline_find_run(manifest, options, keys, nodes, hooks, &found, err);

    if (result != MIG_OK)
        return result;
    *ret_there = found.known && !found.unfinished && !options->new_run;
    if (!*ret_there)
        return MIG_OK;
    if ((result = take_up(manifest, options, keys, nodes, &found.run, hooks, err)) != MIG_OK ||
        (result = pipeline_check_source(source, &found.run, options->source_moved, err)) !=
            MIG_OK ||
        (result = pin_source(source, options->source_moved, &found.run, err)) != MIG_OK)
        return result;
    *ret_run = found.run;
    measure_run(hooks, ret_run);
    return MIG_OK;
}
