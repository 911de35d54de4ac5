/*
 * Parcels to all nodes: the rows of several parts are transformed side by side and given on in
 * order; each node has a thread and a bounded queue. A parcel is shared, not copied.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* For how long others may wait in all while a node's queue is full, before it is left behind. */
#define PATIENCE_MS 2000
#define LOOK_MS 100

struct flow;

struct lane {
    struct flow *flow;
    struct mig_node *node;
    struct mig_queue *queue; /* NULL: not wanted */
    pthread_t thread;
    bool running;
    _Atomic bool open;   /* takes more parcels */
    unsigned held_up_ms; /* others waited for it; the giving thread's */
    uint64_t rows, rejected;
    struct flow_end *ret_end;
};

struct flow {
    const struct flow_options *options;
    const struct flow_source *source;
    struct lane *lanes;
    size_t lane_count;
    pthread_mutex_t lock;     /* over what follows, and the lanes' counts and ends */
    struct mig_error failure; /* of everything */
};

/* What ends all lanes, whichever it came from. */
static void stop_flow(void *context)
{
    struct flow *flow = context;

    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].queue)
            mig_queue_cancel(flow->lanes[i].queue);
    throttle_leave(flow->options->throttle);
    flow->source->stop(flow->source->context);
}

static void fail_flow(struct flow *flow, const struct mig_error *err)
{
    pthread_mutex_lock(&flow->lock);
    if (flow->failure.code == MIG_OK)
        flow->failure = *err;
    pthread_mutex_unlock(&flow->lock);
    stop_flow(flow);
}

static size_t count_open(const struct flow *flow)
{
    size_t count = 0;

    for (size_t i = 0; i < flow->lane_count; i++)
        count += flow->lanes[i].open;
    return count;
}

/* What still waits for a lane that has ended keeps no memory from the others. */
static void drain(struct lane *lane)
{
    void *item = NULL;

    while (mig_queue_pop(lane->queue, &item, NULL) == MIG_OK && item)
        parcel_discard(item);
}

/* A node's own failure leaves the others going; ours, and a wish to stop, do not. */
static void fail_lane(struct lane *lane, const struct mig_error *err)
{
    struct flow *flow = lane->flow;
    const bool ours = err->code == MIG_E_CANCELLED || err->code == MIG_E_NOMEM;
    bool last;

    pthread_mutex_lock(&flow->lock);
    lane->open = false;
    *lane->ret_end = (struct flow_end){LANE_FAILED, *err};
    last = count_open(flow) == 0;
    pthread_mutex_unlock(&flow->lock);
    if (!ours)
        mig_report_measure(flow->options->hooks, MIG_MEASURE_UP, NULL, mig_node_name(lane->node),
                           0);
    if (ours || last)
        fail_flow(flow, err);
    else
        mig_log(flow->options->hooks, MIG_LOG_WARN, "%s: the other nodes go on without it",
                err->message);
    drain(lane);
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
    char waiting[256];
    struct mig_progress progress = {.stage = flow->options->stage,
                                    .subject = mig_table_info(part->table)->name,
                                    .total = flow->options->total_rows,
                                    .waiting = waiting};

    throttle_reason(flow->options->throttle, waiting, sizeof waiting);
    pthread_mutex_lock(&flow->lock);
    lane->rows += counted_in(part);
    lane->rejected += rejected_in(part) + loaded->conflicts;
    progress.done = lane->rows;
    progress.rejected = lane->rejected;
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].open && flow->lanes[i].rows < progress.done) {
            progress.done = flow->lanes[i].rows;
            progress.rejected = flow->lanes[i].rejected;
        }
    pthread_mutex_unlock(&flow->lock);
    mig_report_progress(flow->options->hooks, &progress);
}

static int load_parcel(struct lane *lane, struct parcel *parcel, struct mig_error *err)
{
    const struct flow_options *options = lane->flow->options;
    struct mig_load_result loaded;
    int64_t began_ns;
    int result;

    if ((result = throttle_node(options->throttle, mig_node_name(lane->node), err)) != MIG_OK)
        return result;
    began_ns = mig_time_monotonic_ns();
    if ((result = mig_node_load(lane->node, options->run, parcel->part, &parcel->digests, &loaded,
                                err)) != MIG_OK)
        return result;
    measure_loaded(options->hooks, mig_node_name(lane->node), parcel->part, &loaded,
                   mig_time_monotonic_ns() - began_ns);
    say_progress(lane->flow, lane, parcel->part, &loaded);
    return MIG_OK;
}

static void *load_lane(void *context)
{
    struct lane *lane = context;
    struct mig_error err = MIG_ERROR_INIT;
    int result = MIG_OK;

    while (result == MIG_OK) {
        mig_cleanup(parcel_drop) struct parcel *parcel = NULL;
        void *item;

        /* A queue that was cancelled is an echo of a failure that is known. */
        if (mig_queue_pop(lane->queue, &item, NULL) != MIG_OK)
            return NULL;
        parcel = item;
        if (!parcel) {
            result = mig_node_flush(lane->node, &err);
            break;
        }
        result = load_parcel(lane, parcel, &err);
    }
    if (result != MIG_OK)
        fail_lane(lane, &err);
    return NULL;
}

/* ---- giving ------------------------------------------------------------------------------- */

static bool others_wait(const struct flow *flow, const struct lane *lane)
{
    for (size_t i = 0; i < flow->lane_count; i++)
        if (&flow->lanes[i] != lane && flow->lanes[i].open &&
            mig_queue_is_starved(flow->lanes[i].queue))
            return true;
    return false;
}

static void leave_behind(struct lane *lane)
{
    struct flow *flow = lane->flow;

    pthread_mutex_lock(&flow->lock);
    lane->open = false;
    lane->ret_end->end = LANE_BEHIND;
    pthread_mutex_unlock(&flow->lock);
    mig_queue_close(lane->queue);
    mig_log(flow->options->hooks, MIG_LOG_WARN,
            "node '%s' holds up the others: it is left behind, and caught up afterwards",
            mig_node_name(lane->node));
}

/* Waits until the lane has room, or is no longer open. */
static void await_room(struct lane *lane, size_t bytes)
{
    struct flow *flow = lane->flow;
    bool room = false;

    if (mig_queue_is_low(lane->queue))
        lane->held_up_ms = 0;
    while (lane->open && !room) {
        if (mig_queue_await_room(lane->queue, bytes, LOOK_MS, &room, NULL) != MIG_OK)
            return;
        if (room || !flow->options->may_leave_behind || !others_wait(flow, lane))
            continue;
        lane->held_up_ms += LOOK_MS;
        if (lane->held_up_ms >= PATIENCE_MS)
            leave_behind(lane);
    }
}

/* A lane that fails meanwhile is none of the giver's failures; memory that is out is. */
static int give_to_lane(struct lane *lane, struct parcel *parcel, struct mig_error *err)
{
    void *item = parcel_share(parcel);
    int result = MIG_E_CANCELLED;

    await_room(lane, parcel->charged);
    if (lane->open)
        result = mig_queue_push(lane->queue, &item, parcel->charged, err);
    if (result != MIG_OK)
        parcel_discard(item);
    return result == MIG_E_CANCELLED ? MIG_OK : result;
}

static int give(void *context, void **item, struct mig_error *err)
{
    struct flow *flow = context;
    mig_cleanup(parcel_drop) struct parcel *parcel = mig_take(*item);
    int result = flow->source->see ? flow->source->see(flow->source->context, parcel, err) : MIG_OK;

    if (result != MIG_OK)
        return result;
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].open && (result = give_to_lane(&flow->lanes[i], parcel, err)) != MIG_OK)
            return result;
    if (count_open(flow) > 0)
        return MIG_OK;
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < flow->lane_count && flow->failure.code == MIG_OK; i++)
        if (flow->lanes[i].queue && flow->lanes[i].ret_end->end == LANE_FAILED)
            flow->failure = flow->lanes[i].ret_end->failure;
    if (flow->failure.code == MIG_OK)
        mig_fail(&flow->failure, MIG_E_TEMPORARY, "all nodes were left behind");
    *err = flow->failure;
    pthread_mutex_unlock(&flow->lock);
    return err->code;
}

static int take(void *context, void **ret_item, struct mig_error *err)
{
    struct flow *flow = context;
    struct parcel *parcel = NULL;
    int result = flow->source->take(flow->source->context, &parcel, err);

    if (parcel)
        measure_read(flow->options->hooks, parcel->part);
    *ret_item = parcel;
    return result;
}

static int transform(void *context, unsigned worker, void *item, struct mig_error *err)
{
    const struct flow *flow = context;
    struct parcel *parcel = item;
    int result = flow->source->transform
                     ? flow->source->transform(flow->source->context, worker, parcel->part, err)
                     : MIG_OK;

    return result == MIG_OK ? parcel_seal(parcel, &flow->options->run->facts, err) : result;
}

/* ---- lanes -------------------------------------------------------------------------------- */

static int open_lanes(struct flow *flow, const struct mig_nodes *nodes, const bool *wanted,
                      struct flow_end *ret_ends, struct mig_error *err)
{
    flow->lanes = calloc(nodes->count, sizeof *flow->lanes);
    if (!flow->lanes)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    flow->lane_count = nodes->count;
    for (size_t i = 0; i < nodes->count; i++) {
        struct lane *lane = &flow->lanes[i];
        int result;

        ret_ends[i] = (struct flow_end){LANE_DONE, MIG_ERROR_INIT};
        *lane = (struct lane){.flow = flow, .node = nodes->items[i], .ret_end = &ret_ends[i]};
        if (wanted && !wanted[i])
            continue;
        if ((result = mig_queue_open(flow->options->lane_bytes, parcel_discard, &lane->queue,
                                     err)) != MIG_OK)
            return result;
        lane->open = true;
    }
    /* Threads only once all lanes are there: a failing one looks at them all. */
    for (size_t i = 0; i < flow->lane_count; i++) {
        struct lane *lane = &flow->lanes[i];
        int failure = lane->queue ? pthread_create(&lane->thread, NULL, load_lane, lane) : 0;

        if (failure != 0)
            return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
        lane->running = lane->queue != NULL;
    }
    return MIG_OK;
}

static void close_lanes(struct flow *flow)
{
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].queue)
            mig_queue_close(flow->lanes[i].queue);
    for (size_t i = 0; i < flow->lane_count; i++)
        if (flow->lanes[i].running)
            pthread_join(flow->lanes[i].thread, NULL);
    for (size_t i = 0; i < flow->lane_count; i++)
        mig_queue_free(&flow->lanes[i].queue);
    free(flow->lanes);
}

int flow_to_nodes(struct mig_nodes *nodes, const bool *wanted, const struct flow_options *options,
                  const struct flow_source *source, struct flow_end *ret_ends,
                  struct mig_error *err)
{
    static const struct mig_line line = {.take = take,
                                         .work = transform,
                                         .give = give,
                                         .discard = parcel_discard,
                                         .stop = stop_flow};
    struct flow flow = {.options = options, .source = source, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct mig_error failure = MIG_ERROR_INIT;
    int result = open_lanes(&flow, nodes, wanted, ret_ends, &failure);

    if (result == MIG_OK)
        result = mig_line_run(&line, options->threads, &flow, &failure);
    if (result != MIG_OK)
        fail_flow(&flow, &failure);
    close_lanes(&flow);
    pthread_mutex_destroy(&flow.lock);
    if (flow.failure.code != MIG_OK && err)
        *err = flow.failure;
    return flow.failure.code;
}
