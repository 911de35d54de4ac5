/*
 * Parts to all nodes: each node has a thread and a bounded queue, and gets the same parts in the
 * same order. A part is shared, not copied.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct flow;

struct lane {
    struct flow *flow;
    struct mig_node *node;
    struct mig_queue *queue;
    pthread_t thread;
    bool running;
    uint64_t rows, rejected; /* done by this lane */
};

struct flow {
    const struct flow_options *options;
    struct lane *lanes;
    size_t lane_count;
    pthread_mutex_t lock; /* over failure and the lanes' counts */
    struct mig_error failure;
};

static void drop(struct flow_part **part)
{
    struct flow_part *p = mig_take(*part);

    if (!p || atomic_fetch_sub(&p->holders, 1) != 1)
        return;
    mig_part_free(&p->part);
    free(p);
}

static void discard(void *item)
{
    struct flow_part *part = item;

    drop(&part);
}

/* The first failure stops everybody; later ones are its echoes. */
static void fail_flow(struct flow *flow, const struct mig_error *err)
{
    pthread_mutex_lock(&flow->lock);
    if (flow->failure.code == MIG_OK)
        flow->failure = *err;
    pthread_mutex_unlock(&flow->lock);
    for (size_t i = 0; i < flow->lane_count; i++)
        mig_queue_cancel(flow->lanes[i].queue);
}

static uint64_t rejected_in(const struct mig_part *part)
{
    uint64_t rejected = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        rejected += part->tally.kinds[kind].rejected;
    return rejected;
}

static uint64_t counted_in(const struct mig_part *part)
{
    uint64_t counted = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        counted += part->tally.kinds[kind].counted;
    return counted;
}

/* The slowest node is how far we are. */
static void say_progress(struct flow *flow, struct lane *lane, const struct mig_part *part,
                         const struct mig_load_result *loaded)
{
    struct mig_progress progress = {.stage = flow->options->stage,
                                    .subject = mig_table_info(part->table)->name,
                                    .total = flow->options->total_rows,
                                    .waiting = ""};

    pthread_mutex_lock(&flow->lock);
    lane->rows += counted_in(part);
    lane->rejected += rejected_in(part) + loaded->conflicts;
    progress.done = UINT64_MAX;
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].rows < progress.done) {
            progress.done = flow->lanes[i].rows;
            progress.rejected = flow->lanes[i].rejected;
        }
    pthread_mutex_unlock(&flow->lock);
    mig_report_progress(flow->options->hooks, &progress);
}

static void *load_lane(void *context)
{
    struct lane *lane = context;
    struct mig_error err = MIG_ERROR_INIT;
    void *item = NULL;
    int result;

    while ((result = mig_queue_pop(lane->queue, &item, &err)) == MIG_OK && item) {
        mig_cleanup(drop) struct flow_part *part = mig_take(item);
        struct mig_load_result loaded;

        result = mig_node_load(lane->node, lane->flow->options->run, part->part, &part->digests,
                               &loaded, &err);
        if (result != MIG_OK)
            break;
        say_progress(lane->flow, lane, part->part, &loaded);
    }
    if (result != MIG_OK)
        fail_flow(lane->flow, &err);
    return NULL;
}

static int open_lanes(struct flow *flow, struct mig_nodes *nodes, struct mig_error *err)
{
    flow->lanes = calloc(nodes->count, sizeof *flow->lanes);
    if (!flow->lanes)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < nodes->count; i++) {
        struct lane *lane = &flow->lanes[i];
        int result = mig_queue_open(PIPELINE_QUEUE_BYTES, discard, &lane->queue, err);

        if (result != MIG_OK)
            return result;
        lane->flow = flow;
        lane->node = nodes->items[i];
        flow->lane_count++;
    }
    /* Threads only once all lanes are there: a failing one cancels them all. */
    for (size_t i = 0; i < flow->lane_count; i++) {
        int failure = pthread_create(&flow->lanes[i].thread, NULL, load_lane, &flow->lanes[i]);

        if (failure != 0)
            return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
        flow->lanes[i].running = true;
    }
    return MIG_OK;
}

/* Gives one part to all lanes; takes it. */
static int hand_out(struct flow *flow, struct mig_part **part, struct mig_error *err)
{
    mig_cleanup(drop) struct flow_part *shared = calloc(1, sizeof *shared);
    int result;

    if (!shared)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    atomic_init(&shared->holders, 1);
    shared->part = mig_take(*part);
    result = pipeline_digest(shared->part, MIG_ROUTE_NODE, shared->digests.nodes, err);
    if (result == MIG_OK)
        result = pipeline_digest(shared->part, MIG_ROUTE_CHAIN, shared->digests.chain, err);
    for (size_t i = 0; i < flow->lane_count && result == MIG_OK; i++) {
        void *item = shared;

        atomic_fetch_add(&shared->holders, 1);
        result = mig_queue_push(flow->lanes[i].queue, &item, mig_part_bytes(shared->part), err);
        if (result != MIG_OK)
            atomic_fetch_sub(&shared->holders, 1);
    }
    return result;
}

static int feed(struct flow *flow, flow_next_fn *next, void *context, struct mig_error *err)
{
    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        int result = next(context, &part, err);

        if (result != MIG_OK || !part)
            return result;
        if ((result = hand_out(flow, &part, err)) != MIG_OK)
            return result;
    }
}

static void close_lanes(struct flow *flow)
{
    for (size_t i = 0; i < flow->lane_count; i++)
        mig_queue_close(flow->lanes[i].queue);
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].running)
            pthread_join(flow->lanes[i].thread, NULL);
    for (size_t i = 0; i < flow->lane_count; i++)
        mig_queue_free(&flow->lanes[i].queue);
    free(flow->lanes);
}

int flow_to_nodes(struct mig_nodes *nodes, const struct flow_options *options, flow_next_fn *next,
                  void *context, struct mig_error *err)
{
    struct flow flow = {.options = options, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct mig_error failure = MIG_ERROR_INIT;
    int result = open_lanes(&flow, nodes, &failure);

    if (result == MIG_OK)
        result = feed(&flow, next, context, &failure);
    if (result != MIG_OK)
        fail_flow(&flow, &failure);
    close_lanes(&flow);
    pthread_mutex_destroy(&flow.lock);
    if (flow.failure.code != MIG_OK && err)
        *err = flow.failure;
    return flow.failure.code;
}
