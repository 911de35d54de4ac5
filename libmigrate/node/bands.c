/*
 * The leaves that rows need: bands of a million ids. A live node's own inserts hold the shared
 * advisory lock, so leaves are made in a transaction of their own under the exclusive one. The
 * node's pruner drops empty leaves: what was there a moment ago may have to be made again.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define PATIENCE_S 600
#define PAUSE_MS 25 /* after the first attempt; longer after each, up to: */
#define PAUSE_MS_MAX 1000
#define WAIT_STEP_MS 50
#define TIME_MS 150
#define TIME_MS_MAX 2000
#define ATTEMPTS_UNTIL_SLOWER 10 /* and a slow server gets twice the time */
#define NS_PER_MS INT64_C(1000000)

int64_t node_band_start(int64_t id)
{
    return id / MIG_BAND_WIDTH * MIG_BAND_WIDTH;
}

static bool is_known(const struct mig_node *node, uint32_t originator, int64_t start)
{
    const size_t count = node->band_count < NODE_BANDS_MAX ? node->band_count : NODE_BANDS_MAX;

    for (size_t i = 0; i < count; i++)
        if (node->bands[i].originator == originator && node->bands[i].start == start)
            return true;
    return false;
}

void node_forget_bands(struct mig_node *node)
{
    node->band_count = 0;
}

/* Sleeps, looking at the wish to stop. Not all of a time that others may sleep as well. */
int node_pause_after(const struct mig_node *node, unsigned attempt, struct mig_error *err)
{
    const unsigned doublings = attempt < 6 ? attempt : 6;
    const int64_t longest =
        PAUSE_MS << doublings < PAUSE_MS_MAX ? PAUSE_MS << doublings : PAUSE_MS_MAX;
    int64_t left = longest / 2 + mig_time_monotonic_ns() % (longest / 2 + 1);

    for (; left > 0; left -= WAIT_STEP_MS) {
        const int64_t step = left < WAIT_STEP_MS ? left : WAIT_STEP_MS;

        if (mig_stop_check(node->stop, err) != MIG_OK)
            return MIG_E_CANCELLED;
        nanosleep(&(struct timespec){.tv_nsec = step * NS_PER_MS}, NULL);
    }
    return mig_stop_check(node->stop, err);
}

int64_t node_time_for(unsigned attempt)
{
    const unsigned doublings =
        attempt / ATTEMPTS_UNTIL_SLOWER < 4 ? attempt / ATTEMPTS_UNTIL_SLOWER : 4;

    return TIME_MS << doublings < TIME_MS_MAX ? TIME_MS << doublings : TIME_MS_MAX;
}

/* In one breath: from the first lock to the commit nobody waits for our side of the connection. */
static int change_once(struct mig_node *node, const void *sql, unsigned attempt,
                       struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result = mig_buffer_print(&text, err,
                                  "BEGIN; " NODE_BECOME_OWNER "; " NODE_LOCK_BANDS "; %s; COMMIT%c",
                                  NODE_LOCK_MS, node_time_for(attempt), (const char *) sql, '\0');

    if (result == MIG_OK &&
        (result = mig_pg_exec(node->pg, (const char *) text.data, err)) != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

int node_try_for(struct mig_node *node, int patience_s, node_attempt *attempt, const void *context,
                 struct mig_error *err)
{
    const int64_t until = mig_time_monotonic_ns() + patience_s * MIG_NS_PER_SECOND;
    int result = attempt(node, context, 0, err);

    for (unsigned i = 0;
         result == MIG_E_TEMPORARY && mig_pg_alive(node->pg) && mig_time_monotonic_ns() < until;
         i++)
        if ((result = node_pause_after(node, i, err)) == MIG_OK)
            result = attempt(node, context, i + 1, err);
    return result;
}

int node_change_bands(struct mig_node *node, const char *sql, int patience_s, struct mig_error *err)
{
    return node_try_for(node, patience_s, change_once, sql, err);
}

static int make_band(struct mig_node *node, uint32_t originator, int64_t start,
                     struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT ensure_gateway_parts_v3(%" PRIu32 ", %" PRId64 ", %" PRId64 ")", originator,
             start, MIG_BAND_WIDTH);
    if ((result = node_change_bands(node, sql, PATIENCE_S, err)) != MIG_OK)
        return mig_error_within(err, "cannot make the band of originator %" PRIu32 " from %" PRId64,
                                originator, start);
    node->bands[node->band_count % NODE_BANDS_MAX] = (struct node_band){originator, start};
    node->band_count++;
    return MIG_OK;
}

/* Goes from one band of the part's envelopes to the next: begin with *at 0 and *start -1. */
static bool next_band(const struct mig_part *part, size_t *at, int64_t *start)
{
    for (; *at < part->row_count; (*at)++) {
        const struct mig_envelope *envelope = &part->envelopes[*at];

        if (envelope->route == MIG_ROUTE_NODE && node_band_start(envelope->sequence_id) != *start) {
            *start = node_band_start(envelope->sequence_id);
            return true;
        }
    }
    return false;
}

uint32_t node_originator_of(const struct mig_part *part)
{
    return mig_kind_info(mig_node_kind(part->table))->stored_originator;
}

int node_make_bands(struct mig_node *node, const struct mig_part *part, struct mig_error *err)
{
    int64_t start = -1;
    size_t at = 0;
    int result = MIG_OK;

    while (result == MIG_OK && next_band(part, &at, &start))
        if (!is_known(node, node_originator_of(part), start))
            result = make_band(node, node_originator_of(part), start, err);
    return result;
}

/* A leaf that is there by name but detached takes no rows, and keeps the band from being made. */
static int refuse_detached(const struct mig_node *node, const char *leaf, struct mig_error *err)
{
    mig_fail(err, MIG_E_REFUSED, "node '%s': the table %s is there, but is no partition",
             node->entry->name, leaf);
    return mig_hint(err, "attach it to its parent again (ALTER TABLE ... ATTACH PARTITION), or "
                         "rename it, then run it again");
}

static int look_for_leaf(struct mig_node *node, const char *table, uint32_t originator,
                         int64_t start, bool *ret_there, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char leaf[128];
    int result;

    snprintf(leaf, sizeof leaf, "%s_o%" PRIu32 "_s%" PRId64 "_%" PRId64, table, originator, start,
             start + MIG_BAND_WIDTH);
    result = mig_pg_query(node->pg,
                          "SELECT to_regclass('public.' || $2) IS NOT NULL, coalesce("
                          "pg_partition_root(to_regclass('public.' || $2)) ="
                          " to_regclass('public.' || $1), false)",
                          (const char *const[]){table, leaf}, 2, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_there = mig_pg_bool(&answer, 0, 0);
    return *ret_there && !mig_pg_bool(&answer, 0, 1) ? refuse_detached(node, leaf, err) : MIG_OK;
}

static int look_for_band(struct mig_node *node, uint32_t originator, int64_t start, bool *ret_there,
                         struct mig_error *err)
{
    int result = look_for_leaf(node, "gateway_envelopes_meta", originator, start, ret_there, err);

    return result == MIG_OK && *ret_there
               ? look_for_leaf(node, "gateway_envelopes_blob", originator, start, ret_there, err)
               : result;
}

int node_bands_there(struct mig_node *node, const struct mig_part *part, bool *ret_there,
                     struct mig_error *err)
{
    int64_t start = -1;
    size_t at = 0;
    bool there = true;
    int result = MIG_OK;

    while (result == MIG_OK && there && next_band(part, &at, &start))
        result = look_for_band(node, node_originator_of(part), start, &there, err);
    if (result == MIG_OK)
        *ret_there = there;
    return result;
}

static int look_for_rows(struct mig_node *node, const char *table, uint32_t originator,
                         int64_t start, bool *ret_has_rows, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[NODE_SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT EXISTS (SELECT FROM public.%s_o%" PRIu32 "_s%" PRId64 "_%" PRId64 ")", table,
             originator, start, start + MIG_BAND_WIDTH);
    result = mig_pg_query(node->pg, sql, NULL, 0, &answer, err);
    if (result == MIG_OK)
        *ret_has_rows = mig_pg_bool(&answer, 0, 0);
    return result;
}

int node_band_state(struct mig_node *node, uint32_t originator, int64_t start,
                    enum node_band_state *ret_state, struct mig_error *err)
{
    static const char *const tables[] = {"gateway_envelopes_meta", "gateway_envelopes_blob"};
    enum node_band_state state = NODE_BAND_ABSENT;

    for (size_t i = 0; i < mig_count_of(tables); i++) {
        bool there, has_rows = false;
        int result = look_for_leaf(node, tables[i], originator, start, &there, err);

        if (result == MIG_OK && there)
            result = look_for_rows(node, tables[i], originator, start, &has_rows, err);
        if (result != MIG_OK)
            return result;
        if (there && state != NODE_BAND_HAS_ROWS)
            state = has_rows ? NODE_BAND_HAS_ROWS : NODE_BAND_EMPTY;
    }
    *ret_state = state;
    return MIG_OK;
}
