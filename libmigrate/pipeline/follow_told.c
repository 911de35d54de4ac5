/* What follow tells: progress, figures, and the writer that holds others up. */
#include "libmigrate/pipeline/follow.h"

#include <inttypes.h>
#include <stdio.h>

#define HELD_UP_S 5 /* a writer that holds others up for longer is told of */

/* How old the rows were that have just reached the last node. */
void follow_note_lags(struct follow *follow, enum mig_table table, const struct growth_lags *lags)
{
    const char *name = mig_table_info(table)->name;
    const int64_t now_ns = mig_time_now_ns();
    int64_t oldest_ms = 0;

    for (size_t i = 0; i < lags->count; i++) {
        int64_t ms = (now_ns - lags->created_ns[i]) / 1000000;

        ms = ms < 0 ? 0 : ms;
        follow->lags[ms < FOLLOW_LAG_MS ? ms : FOLLOW_LAG_MS]++;
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

/* How many ids of a table the node that is farthest behind has before it; V3 counts from 1. */
static int64_t ids_behind(const struct follow *follow, int table)
{
    int64_t rear = follow->fronts[table];

    for (size_t i = 0; i < follow->job.nodes.count; i++)
        if (follow_place(follow, i)->positions[table] < rear)
            rear = follow_place(follow, i)->positions[table];
    if (rear < 0)
        rear = 0;
    return follow->state.bounds[table] > rear ? follow->state.bounds[table] - rear : 0;
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
        const int64_t lag = ids_behind(follow, i);

        mig_report_measure(hooks, MIG_MEASURE_SETTLED_BOUND, table, NULL,
                           (double) state->bounds[i]);
        mig_report_measure(hooks, MIG_MEASURE_LAG_ROWS, table, NULL, (double) lag);
        mig_report_measure(hooks, MIG_MEASURE_LAG_SECONDS, table, NULL,
                           lag_of_table(follow, i, lag));
        mig_report_measure(hooks, MIG_MEASURE_OLDEST_WRITER_SECONDS, table, NULL,
                           held_up && state->writer_age_s > 0 ? (double) state->writer_age_s : 0);
    }
}

void follow_tell(struct follow *follow)
{
    char waiting[192];

    measure(follow);
    mig_settling_describe(&follow->state, waiting, sizeof waiting);
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

int64_t follow_lag(const struct follow *follow, uint64_t share, uint64_t of)
{
    uint64_t left = (follow->lag_count * share + of - 1) / of;

    for (int64_t ms = 0; ms <= FOLLOW_LAG_MS; ms++) {
        if (follow->lags[ms] >= left)
            return ms;
        left -= follow->lags[ms];
    }
    return FOLLOW_LAG_MS;
}
