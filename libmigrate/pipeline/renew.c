/*
 * The pass over key packages that changed their standing after they were read: source, transform,
 * and every node, on one thread; there are few of them.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PASS_EVERY_NS (60 * MIG_NS_PER_SECOND)
#define SHARE_OF_TIME                                                                              \
    20 /* what looking may take where all installations are read for it: 1 / 20                    \
        */
#define LONG_NS (10 * MIG_NS_PER_SECOND)

struct renew {
    struct renew_options with;
    struct mig_manifest keeping; /* with nothing expired: what a node holds is held against that */
    struct mig_transform *transform;
    struct mig_arena scratch;
    int64_t since_ns;   /* where the next look begins */
    int64_t due_ns;     /* monotonic */
    char activity[128]; /* at the source, as of the last look */
    bool told_of_cost;
    /* The look under way: */
    bool looking, by_index;
    struct mig_look_mark mark;
    int64_t spent_ns;
};

void pipeline_renew_close(struct renew **renew)
{
    struct renew *r = mig_take(*renew);

    if (!r)
        return;
    mig_transform_free(&r->transform);
    mig_arena_release(&r->scratch);
    free(r);
}

/* The node's own clock may have told it. */
static int find_since(struct renew *renew, struct mig_error *err)
{
    int result = MIG_OK;

    renew->since_ns = INT64_MAX;
    for (size_t i = 0; i < renew->with.nodes->count && result == MIG_OK; i++) {
        int64_t since_ns;

        result = mig_node_renewed_since(renew->with.nodes->items[i], &since_ns, err);
        if (result == MIG_OK && since_ns < renew->since_ns)
            renew->since_ns = since_ns;
    }
    if (result == MIG_OK &&
        __builtin_sub_overflow(renew->since_ns, MIG_RENEW_MARGIN_NS, &renew->since_ns))
        renew->since_ns = INT64_MIN;
    return result;
}

int pipeline_renew_open(const struct renew_options *options, struct renew **ret_renew,
                        struct mig_error *err)
{
    mig_cleanup(pipeline_renew_close) struct renew *renew = calloc(1, sizeof *renew);
    int result;

    if (!renew)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    renew->with = *options;
    renew->scratch = MIG_ARENA_INIT;
    renew->keeping = *options->manifest;
    renew->keeping.policy.keep_expired = true;
    if ((result =
             mig_transform_open(&renew->keeping, options->run->facts.as_of_ns, options->keys->payer,
                                options->keys->originator, &renew->transform, err)) != MIG_OK ||
        (result = find_since(renew, err)) != MIG_OK)
        return result;
    *ret_renew = mig_take(renew);
    return MIG_OK;
}

int64_t pipeline_renew_due_ns(const struct renew *renew)
{
    return renew->due_ns;
}

/* To all nodes that there are. */
static int bring(struct renew *renew, struct mig_part *part, size_t *ret_node,
                 struct mig_error *err)
{
    int result = mig_transform_part(renew->transform, &renew->scratch, part, err);

    for (size_t i = 0; i < renew->with.nodes->count && result == MIG_OK; i++) {
        struct mig_node *node = renew->with.nodes->items[i];
        struct mig_renew_result counts;

        result = throttle_node(renew->with.throttle, mig_node_name(node), err);
        if (result == MIG_OK)
            result = mig_node_renew(node, renew->with.run, part, &counts, err);
        if (result != MIG_OK)
            *ret_node = i;
    }
    return result;
}

/* For a while, at least one part. */
static int look(struct renew *renew, int64_t until_ns, size_t *ret_node, struct mig_error *err)
{
    int result = MIG_OK;

    do {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;

        if ((result = mig_stop_check(renew->with.stop, err)) == MIG_OK)
            result = mig_source_look_part(renew->with.source, &part, err);
        renew->looking = result == MIG_OK && part != NULL;
        if (renew->looking)
            result = bring(renew, part, ret_node, err);
    } while (result == MIG_OK && renew->looking && mig_time_monotonic_ns() < until_ns);
    if (result != MIG_OK)
        renew->looking = false;
    return result;
}

static int write_down(struct renew *renew, size_t *ret_node, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < renew->with.nodes->count && result == MIG_OK; i++) {
        result = mig_node_set_renewed(renew->with.nodes->items[i], renew->with.run, renew->since_ns,
                                      err);
        if (result != MIG_OK)
            *ret_node = i;
    }
    return result;
}

static void plan_next(struct renew *renew)
{
    const int64_t now_ns = mig_time_monotonic_ns(), took_ns = renew->spent_ns;
    const int64_t rest_ns = renew->by_index ? 0 : (SHARE_OF_TIME - 1) * took_ns;

    renew->due_ns = rest_ns > PASS_EVERY_NS ? now_ns + rest_ns : now_ns + PASS_EVERY_NS;
    if (renew->by_index || took_ns < LONG_NS || renew->told_of_cost)
        return;
    renew->told_of_cost = true;
    mig_log(renew->with.hooks, MIG_LOG_WARN,
            "looking for key packages that changed their standing took %" PRId64
            " s: the source has no index on installations (updated_at), so all of it is read",
            took_ns / MIG_NS_PER_SECOND);
}

/* *ret_needed is false when there is nothing to look for. */
static int begin_look(struct renew *renew, bool thorough, bool *ret_needed, struct mig_error *err)
{
    int result;

    *ret_needed = false;
    renew->spent_ns = 0;
    renew->by_index = true;
    plan_next(renew);
    /* The Go migrator's bytes know of no standing. */
    if (renew->with.manifest->policy.profile == MIG_PROFILE_XMTPD)
        return MIG_OK;
    renew->mark = (struct mig_look_mark){.activity = ""};
    if ((result = mig_source_look_mark(renew->with.source, renew->since_ns, &renew->mark, err)) !=
        MIG_OK)
        return result;
    if (!thorough && renew->mark.activity[0] && strcmp(renew->mark.activity, renew->activity) == 0)
        return MIG_OK;
    *ret_needed = true;
    return mig_source_look_begin(renew->with.source, renew->since_ns, &renew->by_index, err);
}

static int end_look(struct renew *renew, size_t *ret_node, struct mig_error *err)
{
    renew->since_ns = renew->mark.next_since_ns;
    memcpy(renew->activity, renew->mark.activity, sizeof renew->activity);
    plan_next(renew);
    return write_down(renew, ret_node, err);
}

int pipeline_renew_some(struct renew *renew, bool thorough, int64_t for_ns, bool *ret_done,
                        size_t *ret_node, struct mig_error *err)
{
    const int64_t began_ns = mig_time_monotonic_ns();
    bool needed = true;
    int result = MIG_OK;

    *ret_node = SIZE_MAX;
    *ret_done = true;
    if (!renew->looking)
        result = begin_look(renew, thorough, &needed, err);
    if (result != MIG_OK || !needed)
        return result;
    result = look(renew, began_ns + for_ns, ret_node, err);
    renew->spent_ns += mig_time_monotonic_ns() - began_ns;
    *ret_done = !renew->looking;
    return result == MIG_OK && *ret_done ? end_look(renew, ret_node, err) : result;
}

int pipeline_renew_packages(struct renew *renew, bool thorough, size_t *ret_node,
                            struct mig_error *err)
{
    const int64_t long_ns = INT64_C(3600) * MIG_NS_PER_SECOND;
    bool done = false;
    int result = MIG_OK;

    while (result == MIG_OK && !done)
        result = pipeline_renew_some(renew, thorough, long_ns, &done, ret_node, err);
    return result;
}

bool pipeline_renew_looks(const struct renew *renew)
{
    return renew->looking;
}
