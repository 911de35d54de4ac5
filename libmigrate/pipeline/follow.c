/*
 * What arrives at a live source, brought to every node as soon as it is settled. A run is gone on
 * with: its instant and facts stay, its ranges grow. Nodes that are equally far are one group;
 * those behind are caught up a slice at a time between the steps of the others.
 */
#include "libmigrate/pipeline/growth.h"
#include "libmigrate/pipeline/run_job.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_IDS INT64_C(16384) /* of a table in one pass */
#define STEP_MS 50               /* between looks while somebody writes */
#define IDLE_MS 400              /* while nobody does */
#define EAGER_NS (2 * MIG_NS_PER_SECOND)
#define TIDY_NS (60 * MIG_NS_PER_SECOND)
#define COMEBACK_NS (5 * MIG_NS_PER_SECOND) /* between tries to reach a node */
#define HELD_UP_S 5                       /* a writer that holds others up for longer is told of */
#define FINISH_NS (8 * MIG_NS_PER_SECOND) /* for what is in hand once a stop is asked for */
#define RENEW_NS                                                                                   \
    (MIG_NS_PER_SECOND / 10) /* of key packages at a time: rows don't wait for them                \
                              */
#define LAG_MS 20000         /* what is told apart */

/* Nodes that are equally far, and the parts that they are in the middle of. */
struct group {
    struct growth growth;
    bool *members; /* by the manifest's order */
    bool valid;    /* growth is where they are */
};

struct follow {
    struct run_job job;
    struct mig_run_options options; /* once there is a run, it is gone on with */
    const struct mig_stop *ease;
    struct mig_stop hard; /* what the job hears */
    pthread_t keeper;
    _Atomic bool keeper_ends;
    bool keeper_runs;
    struct mig_settling *settling;
    struct mig_settling_state state;
    struct mig_source *packages; /* a connection for the pass over key packages */
    struct renew *renew;
    int64_t fronts[MIG_TABLE_COUNT]; /* where the nodes are that are farthest */
    struct group ahead, behind;
    int64_t moved_ns, tidy_ns, comeback_ns; /* when it moved last; when the others are due */
    int64_t lacking_ns[MIG_TABLE_COUNT];    /* since when rows are settled that a node lacks */
    int64_t told_pid;                       /* the writer that was told of */
    bool untidy;                            /* a node came back */
    struct mig_follow_summary summary;
    uint32_t lags[LAG_MS + 1];
    uint64_t lag_count;
};

static bool asked_to_end(const struct follow *follow)
{
    return mig_stop_check(follow->ease, NULL) != MIG_OK;
}

static void wait_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long) ms * 1000000L}, NULL);
}

/* ---- ending in time -------------------------------------------------------------------------- */

/* Who asks for an end gets it: what is in hand has a while, then it is rolled back. */
static void *keep_time(void *context)
{
    struct follow *follow = context;
    int64_t asked_ns = 0;

    while (!atomic_load(&follow->keeper_ends)) {
        if (asked_ns == 0 && asked_to_end(follow))
            asked_ns = mig_time_monotonic_ns();
        if (asked_ns != 0 && mig_time_monotonic_ns() - asked_ns > FINISH_NS)
            atomic_store(&follow->hard.requested, true);
        wait_ms(STEP_MS);
    }
    return NULL;
}

static void follow_release(struct follow *follow)
{
    atomic_store(&follow->keeper_ends, true);
    if (follow->keeper_runs)
        pthread_join(follow->keeper, NULL);
    mig_settling_free(&follow->settling);
    pipeline_renew_close(&follow->renew);
    mig_source_close(&follow->packages);
    growth_release(&follow->ahead.growth);
    growth_release(&follow->behind.growth);
    free(follow->ahead.members);
    free(follow->behind.members);
    run_job_release(&follow->job);
}

/* ---- where nodes are ------------------------------------------------------------------------- */

static struct run_place *place_of(const struct follow *follow, size_t index)
{
    return &follow->job.places[mig_node_index(follow->job.nodes.items[index])];
}

static bool equally_far(const int64_t *a, const int64_t *b)
{
    return memcmp(a, b, MIG_TABLE_COUNT * sizeof *a) == 0;
}

static void find_fronts(struct follow *follow)
{
    for (size_t i = 0; i < follow->job.nodes.count; i++)
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (place_of(follow, i)->positions[table] > follow->fronts[table])
                follow->fronts[table] = place_of(follow, i)->positions[table];
    memcpy(follow->job.run.bounds, follow->fronts, sizeof follow->fronts);
}

static int ask_positions(struct follow *follow, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < follow->job.nodes.count && result == MIG_OK; i++)
        for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
            result = mig_node_position(follow->job.nodes.items[i], follow->job.run.facts.run,
                                       (enum mig_table) table,
                                       &place_of(follow, i)->positions[table], err);
    if (result == MIG_OK)
        find_fronts(follow);
    follow->ahead.valid = follow->behind.valid = false;
    return result;
}

/* ---- one leg: a group from where it is to where it shall be -----------------------------------
 */

struct leg {
    struct follow *follow;
    struct group *group;
    int64_t from[MIG_TABLE_COUNT], to[MIG_TABLE_COUNT];
    const bool *wanted;
    struct read_range *ranges;
    size_t count, room;
};

static int add_range(struct leg *leg, enum mig_table table, int64_t first_id, int64_t last_id,
                     struct mig_error *err)
{
    if (leg->count == leg->room) {
        const size_t room = leg->room > 0 ? 2 * leg->room : 32;
        struct read_range *larger = reallocarray(leg->ranges, room, sizeof *larger);

        if (!larger)
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        leg->ranges = larger;
        leg->room = room;
    }
    leg->ranges[leg->count++] = (struct read_range){table, first_id, last_id, true};
    return MIG_OK;
}

/* Where the last part of a table begins, when all of the group have the same. */
static int find_last_part(struct leg *leg, enum mig_table table, bool *ret_same,
                          int64_t *ret_first_id, struct mig_error *err)
{
    const struct run_job *job = &leg->follow->job;
    bool any = false;

    *ret_same = true;
    for (size_t i = 0; i < job->nodes.count; i++) {
        int64_t first_id = 0, last_id = 0;
        bool found = false;
        int result;

        if (!leg->wanted[i])
            continue;
        result = mig_node_last_part(job->nodes.items[i], job->run.facts.run, table, &found,
                                    &first_id, &last_id, err);
        if (result != MIG_OK)
            return result;
        if (!found || last_id != leg->from[table] || (any && first_id != *ret_first_id))
            *ret_same = false;
        *ret_first_id = first_id;
        any = true;
    }
    return MIG_OK;
}

/* A part that is gone on with after a pause has digests of rows that are read once more; nodes that
 * have them leave them alone. Otherwise a new part begins. */
static int take_up_part(struct leg *leg, enum mig_table table, struct mig_error *err)
{
    const int64_t next = leg->from[table] + 1;
    struct growth *growth = &leg->group->growth;
    int64_t first_id = 0;
    bool same;
    int result = find_last_part(leg, table, &same, &first_id, err);

    if (result != MIG_OK)
        return result;
    if (!same || growth_begins(next) || growth_bucket_end(first_id) != growth_bucket_end(next))
        return growth_add_start(growth, table, next, err);
    result = growth_add_start(growth, table, first_id, err);
    return result == MIG_OK ? add_range(leg, table, first_id, leg->from[table], err) : result;
}

/* Behind, parts end where those of the others do; at the front, with their buckets. */
static int add_ranges(struct leg *leg, enum mig_table table, const struct pipeline_cuts *cuts,
                      struct mig_error *err)
{
    struct growth *growth = &leg->group->growth;
    int64_t position = leg->from[table];
    int result = MIG_OK;

    for (size_t i = 0; position < leg->to[table] && result == MIG_OK;) {
        const bool cut = i < cuts->count && cuts->ids[i] <= leg->to[table];
        int64_t end = cut ? cuts->ids[i] : growth_bucket_end(position + 1);

        if (end > leg->to[table])
            end = leg->to[table];
        result = add_range(leg, table, position + 1, end, err);
        position = end;
        if (result == MIG_OK && position < leg->to[table] && (cut || growth_begins(position + 1)))
            result = growth_add_start(growth, table, position + 1, err);
        i += cut;
    }
    return result;
}

static int ranges_of_table(struct leg *leg, enum mig_table table, struct mig_error *err)
{
    const struct run_job *job = &leg->follow->job;
    struct growth *growth = &leg->group->growth;
    const struct growth_part *part = &growth->parts[table];
    mig_cleanup(pipeline_cuts_release) struct pipeline_cuts cuts = {0};
    const int64_t next = leg->from[table] + 1;
    int result = MIG_OK;

    if (leg->to[table] <= leg->from[table])
        return MIG_OK;
    growth->fresh_from[table] = next;
    if (!leg->group->valid || part->last_id != leg->from[table])
        result = take_up_part(leg, table, err);
    else if (growth_begins(next))
        result = growth_add_start(growth, table, next, err);
    if (result == MIG_OK && leg->group == &leg->follow->behind)
        result = pipeline_find_cuts(&job->nodes, leg->wanted, &job->run, table, &cuts, err);
    return result == MIG_OK ? add_ranges(leg, table, &cuts, err) : result;
}

static int find_ranges(void *context, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct leg *leg = context;
    int result = MIG_OK;

    leg->wanted = wanted;
    growth_begin_pass(&leg->group->growth);
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = ranges_of_table(leg, (enum mig_table) table, err);
    if (result != MIG_OK) {
        free(leg->ranges);
        return result;
    }
    *ret_ranges = leg->ranges;
    *ret_count = leg->count;
    return MIG_OK;
}

/* Who takes part; a group of others than before knows nothing of where these are. */
static void choose_members(struct follow *follow, struct leg *leg)
{
    const struct run_job *job = &follow->job;
    struct group *group = leg->group;

    for (size_t i = 0; i < job->manifest->node_count; i++)
        job->places[i].lacks = false;
    for (size_t i = 0; i < job->nodes.count; i++)
        place_of(follow, i)->lacks = equally_far(place_of(follow, i)->positions, leg->from);
    for (size_t i = 0; i < job->manifest->node_count; i++) {
        group->valid = group->valid && group->members[i] == job->places[i].lacks;
        group->members[i] = job->places[i].lacks;
    }
}

/* How old the rows were that have just reached the last node. */
static void note_lags(struct follow *follow, enum mig_table table, const struct growth_lags *lags)
{
    const char *name = mig_table_info(table)->name;
    const int64_t now_ns = mig_time_now_ns();
    int64_t oldest_ms = 0;

    for (size_t i = 0; i < lags->count; i++) {
        int64_t ms = (now_ns - lags->created_ns[i]) / 1000000;

        ms = ms < 0 ? 0 : ms;
        follow->lags[ms < LAG_MS ? ms : LAG_MS]++;
        follow->lag_count++;
        if (ms > oldest_ms)
            oldest_ms = ms;
    }
    if (oldest_ms > follow->summary.lag_max_ms)
        follow->summary.lag_max_ms = oldest_ms;
    if (lags->count > 0)
        mig_report_measure(follow->job.hooks, MIG_MEASURE_LATENCY_SECONDS, name, NULL,
                           (double) oldest_ms / 1000);
}

/* Which writer holds others up, for whoever looks at progress. */
static void describe_wait(const struct follow *follow, char *text, size_t size)
{
    const struct mig_settling_state *state = &follow->state;
    char writer[64] = "a prepared transaction", age[64] = "";

    text[0] = '\0';
    if (!state->is_held_up)
        return;
    if (state->writer_pid > 0)
        snprintf(writer, sizeof writer, "pid %" PRId64, state->writer_pid);
    if (state->writer_age_s >= 0)
        snprintf(age, sizeof age, ", in a transaction for %" PRId64 " s", state->writer_age_s);
    snprintf(text, size, "writers of %s: %s%s", mig_table_info(state->held_up)->name, writer, age);
}

/* Where the node is of a table that is farthest behind. */
static int64_t rear_of(const struct follow *follow, int table)
{
    int64_t rear = follow->fronts[table];

    for (size_t i = 0; i < follow->job.nodes.count; i++)
        if (place_of(follow, i)->positions[table] < rear)
            rear = place_of(follow, i)->positions[table];
    return rear;
}

/* For how long some node has lacked rows of a table that are settled. */
static double lag_of_table(struct follow *follow, int table, int64_t rows)
{
    const int64_t now_ns = mig_time_monotonic_ns();

    if (rows == 0)
        follow->lacking_ns[table] = now_ns;
    return (double) (now_ns - follow->lacking_ns[table]) / (double) MIG_NS_PER_SECOND;
}

static void measure(struct follow *follow)
{
    const struct mig_settling_state *state = &follow->state;
    const struct mig_hooks *hooks = follow->job.hooks;

    for (int i = 0; i < MIG_TABLE_COUNT; i++) {
        const char *table = mig_table_info((enum mig_table) i)->name;
        const bool held_up = state->is_held_up && (int) state->held_up == i;
        const int64_t rear = rear_of(follow, i);
        const int64_t lag = state->bounds[i] > rear ? state->bounds[i] - rear : 0;

        mig_report_measure(hooks, MIG_MEASURE_SETTLED_BOUND, table, NULL,
                           (double) state->bounds[i]);
        mig_report_measure(hooks, MIG_MEASURE_LAG_ROWS, table, NULL, (double) lag);
        mig_report_measure(hooks, MIG_MEASURE_LAG_SECONDS, table, NULL,
                           lag_of_table(follow, i, lag));
        mig_report_measure(hooks, MIG_MEASURE_OLDEST_WRITER_SECONDS, table, NULL,
                           held_up && state->writer_age_s > 0 ? (double) state->writer_age_s : 0);
    }
}

static void tell(struct follow *follow)
{
    char waiting[192];

    measure(follow);
    describe_wait(follow, waiting, sizeof waiting);
    mig_report_progress(follow->job.hooks, &(struct mig_progress){.stage = "follow",
                                                                  .subject = "",
                                                                  .done = follow->summary.rows,
                                                                  .waiting = waiting});
    if (!follow->state.is_held_up || follow->state.writer_age_s < HELD_UP_S ||
        follow->state.writer_pid == follow->told_pid)
        return;
    follow->told_pid = follow->state.writer_pid;
    mig_log(follow->job.hooks, MIG_LOG_WARN, "%s: rows drawn since then wait for its end", waiting);
}

static int walk(struct leg *leg, struct mig_error *err)
{
    struct follow *follow = leg->follow;
    struct run_job *job = &follow->job;
    int result;

    choose_members(follow, leg);
    job->see = growth_see;
    job->see_context = &leg->group->growth;
    result = run_job_pass(job, "follow", 0, find_ranges, leg, err);
    if (result != MIG_OK)
        return result;
    leg->group->valid = true;
    for (size_t i = 0; i < job->nodes.count; i++) {
        struct run_place *place = place_of(follow, i);

        if (!leg->group->members[mig_node_index(job->nodes.items[i])])
            continue;
        if (place->lacks || asked_to_end(follow))
            return ask_positions(follow, err);
        memcpy(place->positions, leg->to, sizeof leg->to);
    }
    find_fronts(follow);
    if (leg->group == &follow->ahead) {
        follow->summary.rows += leg->group->growth.rows;
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            note_lags(follow, (enum mig_table) table, &leg->group->growth.lags[table]);
    }
    return MIG_OK;
}

/* A slice of the way. */
static int64_t at_most(int64_t from, int64_t to)
{
    const int64_t far = (from > 0 ? from : 0) + SLICE_IDS;

    return to < from ? from : to < far ? to : far;
}

/* Those at the front go on to what is settled. *ret_moved is false when there was nothing. */
static int lead_on(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    struct leg leg = {.follow = follow, .group = &follow->ahead};
    bool there = false;

    *ret_moved = false;
    for (size_t i = 0; i < follow->job.nodes.count; i++)
        there = there || equally_far(place_of(follow, i)->positions, follow->fronts);
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        leg.from[table] = follow->fronts[table];
        leg.to[table] = at_most(follow->fronts[table], follow->state.bounds[table]);
        *ret_moved = *ret_moved || leg.to[table] > leg.from[table];
    }
    *ret_moved = *ret_moved && there;
    return *ret_moved ? walk(&leg, err) : MIG_OK;
}

/* Some of those behind get a slice nearer. */
static int catch_up(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    struct leg leg = {.follow = follow, .group = &follow->behind};
    size_t i = 0;

    while (i < follow->job.nodes.count &&
           equally_far(place_of(follow, i)->positions, follow->fronts))
        i++;
    *ret_moved = i < follow->job.nodes.count;
    if (!*ret_moved)
        return MIG_OK;
    memcpy(leg.from, place_of(follow, i)->positions, sizeof leg.from);
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        leg.to[table] = at_most(leg.from[table], follow->fronts[table]);
    follow->untidy = true;
    return walk(&leg, err);
}

/* ---- what is due now and then -----------------------------------------------------------------
 */

static int find_strays(void *context, const bool *wanted, struct read_range **ret_ranges,
                       size_t *ret_count, struct mig_error *err)
{
    struct follow *follow = context;
    struct read_range *ranges = calloc(MIG_TABLE_COUNT, sizeof *ranges);
    size_t count = 0;

    (void) wanted;
    if (!ranges)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        struct mig_settled settled;
        int result = mig_source_strays(follow->job.sources.items[0], (enum mig_table) table,
                                       follow->fronts[table], &settled, err);

        if (result != MIG_OK) {
            free(ranges);
            return result;
        }
        if (settled.has_strays)
            ranges[count++] =
                (struct read_range){(enum mig_table) table, settled.stray_first, INT64_MAX, false};
    }
    *ret_ranges = ranges;
    *ret_count = count;
    return MIG_OK;
}

/* Rows above the sequence, for all who are at the front, whose books are whole then. */
static int tidy(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result;

    follow->tidy_ns = mig_time_monotonic_ns() + TIDY_NS;
    follow->untidy = false;
    for (size_t i = 0; i < job->nodes.count; i++) {
        place_of(follow, i)->lacks = equally_far(place_of(follow, i)->positions, follow->fronts);
        follow->untidy = follow->untidy || !place_of(follow, i)->lacks;
    }
    job->see = NULL;
    result = run_job_pass(job, "follow", 0, find_strays, follow, err);
    for (size_t i = 0; i < job->nodes.count && result == MIG_OK; i++)
        if (equally_far(place_of(follow, i)->positions, follow->fronts))
            result = mig_node_run_finish(job->nodes.items[i], &job->run, NULL, NULL, 0, err);
    return result;
}

static int open_renew(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    const struct renew_options options = {.manifest = job->manifest,
                                          .keys = &job->keys,
                                          .source = follow->packages,
                                          .nodes = &job->nodes,
                                          .run = &job->run,
                                          .hooks = job->hooks,
                                          .stop = job->stop};

    pipeline_renew_close(&follow->renew);
    return pipeline_renew_open(&options, &follow->renew, err);
}

static int open_packages(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result = mig_source_open(job->manifest, job->hooks, job->stop, &follow->packages, err);

    if (result != MIG_OK ||
        (result = pipeline_check_source(follow->packages, &job->run, false, err)) != MIG_OK)
        return result;
    mig_source_set_retry(follow->packages, job->options->resources.retry_s);
    return open_renew(follow, err);
}

/* Key packages that have another standing than when their rows came. */
static int renew_packages(struct follow *follow, struct mig_error *err)
{
    size_t node;
    bool done;

    if (!pipeline_renew_looks(follow->renew) &&
        mig_time_monotonic_ns() < pipeline_renew_due_ns(follow->renew))
        return MIG_OK;
    return pipeline_renew_some(follow->renew, false, RENEW_NS, &done, &node, err);
}

/* A node away is tried now and then; the others don't wait for it. */
static int look_for_nodes(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    const int64_t now_ns = mig_time_monotonic_ns();
    struct mig_error failure = MIG_ERROR_INIT;
    size_t back = 0;
    int result;

    if (job->nodes.away_count == 0 || (job->nodes.count > 0 && now_ns < follow->comeback_ns))
        return MIG_OK;
    follow->comeback_ns = now_ns + COMEBACK_NS;
    if (job->nodes.count == 0 && (result = mig_retry_wait(&job->retry, &job->nodes.away[0].why,
                                                          job->hooks, job->stop, err)) != MIG_OK)
        return result;
    result = run_job_bring_back(job, &back, &failure);
    if (result != MIG_OK && err)
        *err = failure;
    if (result != MIG_OK || back == 0)
        return result;
    mig_retry_succeeded(&job->retry);
    follow->untidy = true;
    result = ask_positions(follow, err);
    return result == MIG_OK ? open_renew(follow, err) : result;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static int64_t pause_ms(const struct follow *follow)
{
    const int64_t still_ns = mig_time_monotonic_ns() - follow->moved_ns;

    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        if (follow->state.latest[table] > follow->fronts[table] && still_ns < EAGER_NS)
            return STEP_MS;
    return IDLE_MS;
}

/* A node that is lost in a step is set aside there, or here when it is asked something; whatever
 * else fails ends it. */
static int survive(struct follow *follow, int result, struct mig_error *failure,
                   struct mig_error *err)
{
    struct run_job *job = &follow->job;
    bool lost = false;

    for (size_t i = job->nodes.count; i > 0 && result == MIG_E_TEMPORARY; i--) {
        if (mig_node_alive(job->nodes.items[i - 1]))
            continue;
        if ((result = mig_nodes_set_aside(&job->nodes, i - 1, failure, err)) != MIG_OK)
            return result;
        result = MIG_E_TEMPORARY;
        lost = true;
    }
    follow->ahead.valid = follow->behind.valid = false;
    if (lost)
        return MIG_OK;
    if (result != MIG_OK && err)
        *err = *failure;
    return result;
}

static int step(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    bool led = false, caught_up = false;
    int result;

    if ((result = look_for_nodes(follow, err)) != MIG_OK || follow->job.nodes.count == 0)
        return result;
    if ((result = mig_settling_look(follow->settling, &follow->state, err)) != MIG_OK)
        return result;
    tell(follow);
    if ((result = lead_on(follow, &led, err)) != MIG_OK ||
        (result = catch_up(follow, &caught_up, err)) != MIG_OK)
        return result;
    *ret_moved = led || caught_up;
    if (mig_time_monotonic_ns() >= follow->tidy_ns || (follow->untidy && !caught_up))
        result = tidy(follow, err);
    return result == MIG_OK ? renew_packages(follow, err) : result;
}

static int go_on(struct follow *follow, struct mig_error *err)
{
    int result = MIG_OK;

    while (result == MIG_OK && !asked_to_end(follow)) {
        struct mig_error failure = MIG_ERROR_INIT;
        bool moved = false;

        result = step(follow, &moved, &failure);
        if (result != MIG_OK)
            result = survive(follow, result, &failure, err);
        if (moved)
            follow->moved_ns = mig_time_monotonic_ns();
        else if (result == MIG_OK)
            mig_report_measure(follow->job.hooks, MIG_MEASURE_IDLE, NULL, NULL, 1);
        for (int64_t left = moved || pipeline_renew_looks(follow->renew) ? 0 : pause_ms(follow);
             left > 0 && result == MIG_OK && !asked_to_end(follow); left -= STEP_MS)
            wait_ms(left < STEP_MS ? left : STEP_MS);
    }
    return result;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static int find_run(struct follow *follow, const struct mig_manifest *manifest,
                    const struct mig_hooks *hooks, bool *ret_there, struct mig_error *err)
{
    const struct mig_run_options *options = &follow->options;
    struct run_job *job = &follow->job;
    int result = run_job_open(job, manifest, options, hooks, &follow->hard, err);

    return result == MIG_OK
               ? pipeline_choose_followed(manifest, options, &job->keys, job->sources.items[0],
                                          &job->nodes, hooks, ret_there, &job->run, err)
               : result;
}

/* Runs where no run is finished yet. */
static int run_first(struct follow *follow, const struct mig_manifest *manifest,
                     const struct mig_run_options *options, const struct mig_hooks *hooks,
                     struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    int result;

    run_job_release(&follow->job);
    follow->job = (struct run_job){0};
    result = mig_pipeline_run(manifest, options, hooks, &follow->hard, &account, err);
    if (result == MIG_OK && account->verdict == MIG_VERDICT_RED)
        result = mig_account_outcome(account, err);
    return result;
}

static int open_run(struct follow *follow, const struct mig_manifest *manifest,
                    const struct mig_run_options *options, const struct mig_hooks *hooks,
                    struct mig_error *err)
{
    struct run_job *job = &follow->job;
    bool there = false;
    int result;

    follow->options = *options;
    result = find_run(follow, manifest, hooks, &there, err);
    if (result == MIG_OK && !there) {
        follow->options.new_run = follow->options.has_as_of = false;
        if ((result = run_first(follow, manifest, options, hooks, err)) != MIG_OK ||
            (result = find_run(follow, manifest, hooks, &there, err)) != MIG_OK)
            return result;
        if (!there)
            return mig_fail(err, MIG_E_TEMPORARY, "the run is not finished on every node");
    }
    for (size_t i = 0; i < job->nodes.away_count; i++)
        job->nodes.away[i].awaited = true;
    job->run.followed = true;
    return result == MIG_OK ? run_job_begin(job, err) : result;
}

static int begin(struct follow *follow, struct mig_error *err)
{
    struct run_job *job = &follow->job;
    int result;

    follow->ahead.members = calloc(job->manifest->node_count, sizeof(bool));
    follow->behind.members = calloc(job->manifest->node_count, sizeof(bool));
    if (!follow->ahead.members || !follow->behind.members)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    memcpy(follow->fronts, job->run.bounds, sizeof follow->fronts);
    follow->ahead.growth.facts = follow->behind.growth.facts = &job->run.facts;
    follow->ahead.growth.follows = follow->behind.growth.follows = true;
    job->ease = follow->ease;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        follow->lacking_ns[table] = mig_time_monotonic_ns();
    follow->untidy = true;
    follow->tidy_ns = mig_time_monotonic_ns() + TIDY_NS;
    if ((result = ask_positions(follow, err)) != MIG_OK)
        return result;
    if ((result = open_packages(follow, err)) != MIG_OK)
        return result;
    mig_log(job->hooks, MIG_LOG_INFO, "following run %s", job->run.facts.run);
    return mig_settling_open(job->sources.items[0], follow->fronts, &follow->settling, err);
}

static int64_t lag_of(const struct follow *follow, uint64_t share, uint64_t of)
{
    uint64_t left = (follow->lag_count * share + of - 1) / of;

    for (int64_t ms = 0; ms <= LAG_MS; ms++) {
        if (follow->lags[ms] >= left)
            return ms;
        left -= follow->lags[ms];
    }
    return LAG_MS;
}

/* What is in hand is done; the books are made whole for as long as that takes no time. */
static int end(struct follow *follow, struct mig_follow_summary *ret_summary,
               struct mig_account **ret_account, struct mig_error *err)
{
    const bool costly = pipeline_renew_due_ns(follow->renew) - mig_time_monotonic_ns() > TIDY_NS;
    size_t node;
    int result;

    follow->job.ease = NULL;
    if ((result = ask_positions(follow, err)) != MIG_OK ||
        (!costly &&
         (result = pipeline_renew_packages(follow->renew, true, &node, err)) != MIG_OK) ||
        (result = tidy(follow, err)) != MIG_OK ||
        (result = mig_account_read(&follow->job.nodes, follow->job.run.facts.run, ret_account,
                                   err)) != MIG_OK)
        return result;
    follow->summary.lag_p50_ms = lag_of(follow, 50, 100);
    follow->summary.lag_p99_ms = lag_of(follow, 99, 100);
    *ret_summary = follow->summary;
    return MIG_OK;
}

int mig_pipeline_follow(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_follow_summary *ret_summary, struct mig_account **ret_account,
                        struct mig_error *err)
{
    struct follow *follow = calloc(1, sizeof *follow);
    int result, failure;

    if (!follow)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    follow->ease = stop;
    failure = pthread_create(&follow->keeper, NULL, keep_time, follow);
    follow->keeper_runs = failure == 0;
    result = failure == 0
                 ? MIG_OK
                 : mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    if (result == MIG_OK)
        result = open_run(follow, manifest, options, hooks, err);
    if (result == MIG_OK)
        result = begin(follow, err);
    if (result == MIG_OK)
        result = go_on(follow, err);
    if (result == MIG_OK)
        result = end(follow, ret_summary, ret_account, err);
    follow_release(follow);
    free(follow);
    return result;
}
