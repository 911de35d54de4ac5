/* The way of a group of nodes from where it is to where it shall be. */
#include "libmigrate/pipeline/follow.h"

#include <stdlib.h>
#include <string.h>

#define SLICE_IDS INT64_C(16384) /* of a table in one pass */

/* ---- where nodes are ------------------------------------------------------------------------- */

struct run_place *follow_place(const struct follow *follow, size_t index)
{
    return &follow->job.places[mig_node_index(follow->job.nodes.items[index])];
}

bool follow_equally_far(const int64_t *a, const int64_t *b)
{
    return memcmp(a, b, MIG_TABLE_COUNT * sizeof *a) == 0;
}

static void find_fronts(struct follow *follow)
{
    for (size_t i = 0; i < follow->job.nodes.count; i++)
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (follow_place(follow, i)->positions[table] > follow->fronts[table])
                follow->fronts[table] = follow_place(follow, i)->positions[table];
    memcpy(follow->job.run.bounds, follow->fronts, sizeof follow->fronts);
}

void follow_fall_back(struct follow *follow)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        follow->fronts[table] = INT64_MIN;
    find_fronts(follow);
    follow->ahead.valid = follow->behind.valid = false;
}

int follow_ask_positions(struct follow *follow, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < follow->job.nodes.count && result == MIG_OK; i++)
        for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
            result = mig_node_position(follow->job.nodes.items[i], follow->job.run.facts.run,
                                       (enum mig_table) table,
                                       &follow_place(follow, i)->positions[table], err);
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
    int64_t empty_to[MIG_TABLE_COUNT]; /* up to here it is known to meet no row */
    const bool *wanted;
    struct read_range *ranges;
    size_t count, room;
};

/* The first id behind a place; of a node that has nothing, the first that there is. */
static int64_t behind_of(int64_t position)
{
    return position == INT64_MIN ? INT64_MIN : position + 1;
}

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

/* Whether a node that is farther has a part that ends where this leg begins. */
static int others_end_here(const struct leg *leg, enum mig_table table, bool *ret_end,
                           struct mig_error *err)
{
    const struct run_job *job = &leg->follow->job;
    const int64_t from = leg->from[table];
    int result = MIG_OK;

    *ret_end = false;
    for (size_t i = 0; i < job->nodes.count && from > INT64_MIN && result == MIG_OK; i++) {
        int64_t *ends = NULL;
        size_t count = 0;

        if (!leg->wanted[i])
            result = mig_node_part_ends(job->nodes.items[i], job->run.facts.run, table, from - 1,
                                        &ends, &count, err);
        *ret_end = *ret_end || (count > 1 && ends[0] == from);
        free(ends);
    }
    return result;
}

/* A part that is gone on with after a pause has digests of rows that are read once more; nodes that
 * have them leave them alone. Otherwise a new part begins. */
static int take_up_part(struct leg *leg, enum mig_table table, struct mig_error *err)
{
    const int64_t next = behind_of(leg->from[table]);
    struct growth *growth = &leg->group->growth;
    int64_t first_id = 0;
    bool same, others_end;
    int result = find_last_part(leg, table, &same, &first_id, err);

    if (result != MIG_OK || (result = others_end_here(leg, table, &others_end, err)) != MIG_OK)
        return result;
    if (!same || others_end || growth_begins(next) ||
        growth_bucket_end(first_id) != growth_bucket_end(next))
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
        /* From nothing on, all that is below the first bucket goes with it. */
        int64_t end =
            cut ? cuts->ids[i] : growth_bucket_end(position == INT64_MIN ? 0 : behind_of(position));

        if (!cut && leg->empty_to[table] > end && growth_begins(position + 1))
            end = leg->empty_to[table];
        if (end > leg->to[table])
            end = leg->to[table];
        result = add_range(leg, table, behind_of(position), end, err);
        position = end;
        if (result == MIG_OK && position < leg->to[table] && (cut || growth_begins(position + 1)))
            result = growth_add_start(growth, table, position + 1, err);
        i += cut;
    }
    return result;
}

/* What is one part of the others is not left in the middle. */
static void end_with_part(struct leg *leg, enum mig_table table, const struct pipeline_cuts *cuts)
{
    size_t i = 0;

    while (i < cuts->count && cuts->ids[i] < leg->to[table])
        i++;
    if (i < cuts->count)
        leg->to[table] = cuts->ids[i];
}

static int ranges_of_table(struct leg *leg, enum mig_table table, struct mig_error *err)
{
    const struct run_job *job = &leg->follow->job;
    struct growth *growth = &leg->group->growth;
    const struct growth_part *part = &growth->parts[table];
    mig_cleanup(pipeline_cuts_release) struct pipeline_cuts cuts = {0};
    const int64_t next = behind_of(leg->from[table]);
    int result = MIG_OK;

    if (leg->to[table] <= leg->from[table])
        return MIG_OK;
    growth->fresh_from[table] = next;
    if (leg->group == &leg->follow->behind &&
        (result = pipeline_find_cuts(&job->nodes, leg->wanted, &job->run, table, &cuts, err)) !=
            MIG_OK)
        return result;
    end_with_part(leg, table, &cuts);
    if (!leg->group->valid || part->last_id != leg->from[table] ||
        leg->group == &leg->follow->behind)
        result = take_up_part(leg, table, err);
    else if (growth_begins(next))
        result = growth_add_start(growth, table, next, err);
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
        follow_place(follow, i)->lacks =
            follow_equally_far(follow_place(follow, i)->positions, leg->from);
    for (size_t i = 0; i < job->manifest->node_count; i++) {
        group->valid = group->valid && group->members[i] == job->places[i].lacks;
        group->members[i] = job->places[i].lacks;
    }
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
        struct run_place *place = follow_place(follow, i);

        if (!leg->group->members[mig_node_index(job->nodes.items[i])])
            continue;
        if (place->lacks || follow_asked_to_end(follow))
            return follow_ask_positions(follow, err);
        memcpy(place->positions, leg->to, sizeof leg->to);
        place->setbacks = 0;
    }
    find_fronts(follow);
    if (leg->group == &follow->ahead) {
        follow->summary.rows += leg->group->growth.rows;
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            follow_note_lags(follow, (enum mig_table) table, &leg->group->growth.lags[table]);
    }
    return MIG_OK;
}

/* A slice of the way. */
static int64_t at_most(int64_t from, int64_t to)
{
    const int64_t far = (from > 0 ? from : 0) + SLICE_IDS;

    return to < from ? from : to < far ? to : far;
}

/* How far the buckets behind those at the front have no row. A sequence may be set ahead by
 * millions, and slices of nothing take as long as others. */
static int find_empty(struct leg *leg, enum mig_table table, struct mig_error *err)
{
    struct follow *follow = leg->follow;
    const int64_t from = leg->from[table], to = follow->state.bounds[table];
    int64_t id = to;
    bool found;
    int result;

    leg->empty_to[table] = from;
    if (at_most(from, to) == to)
        return MIG_OK;
    result = mig_source_next_id(follow->job.sources.items[0], table, behind_of(from), to, &found,
                                &id, err);
    if (result == MIG_OK && growth_bucket_first(id) > behind_of(from))
        leg->empty_to[table] = growth_bucket_first(id) - 1;
    return result;
}

/* Those at the front go on to what is settled. *ret_moved is false when there was nothing. */
int follow_lead_on(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    struct leg leg = {.follow = follow, .group = &follow->ahead};
    bool there = false;
    int result;

    *ret_moved = false;
    for (size_t i = 0; i < follow->job.nodes.count; i++)
        there = there || follow_equally_far(follow_place(follow, i)->positions, follow->fronts);
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        leg.from[table] = follow->fronts[table];
        if ((result = find_empty(&leg, (enum mig_table) table, err)) != MIG_OK)
            return result;
        leg.to[table] = at_most(leg.empty_to[table], follow->state.bounds[table]);
        *ret_moved = *ret_moved || leg.to[table] > leg.from[table];
    }
    *ret_moved = *ret_moved && there;
    return *ret_moved ? walk(&leg, err) : MIG_OK;
}

/* Some of those behind get a slice nearer. */
int follow_catch_up(struct follow *follow, bool *ret_moved, struct mig_error *err)
{
    struct leg leg = {.follow = follow, .group = &follow->behind};
    size_t i = 0;

    while (i < follow->job.nodes.count &&
           follow_equally_far(follow_place(follow, i)->positions, follow->fronts))
        i++;
    *ret_moved = i < follow->job.nodes.count;
    if (!*ret_moved)
        return MIG_OK;
    memcpy(leg.from, follow_place(follow, i)->positions, sizeof leg.from);
    memcpy(leg.empty_to, leg.from, sizeof leg.empty_to);
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        leg.to[table] = at_most(leg.from[table], follow->fronts[table]);
    follow->untidy = true;
    return walk(&leg, err);
}
