/* Waiting until what has been given out is final. */
#include "libmigrate/source/source_private.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 50
#define WAIT_MAX_S 600

struct waiting {
    struct mig_source *source;
    bool wanted[MIG_TABLE_COUNT];
    int64_t targets[MIG_TABLE_COUNT], bounds[MIG_TABLE_COUNT];
    int64_t deadline_ns;
};

static bool is_over(const struct waiting *waiting)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        if (waiting->wanted[table] && waiting->bounds[table] < waiting->targets[table])
            return false;
    return true;
}

static void say_whom(const struct waiting *waiting, const struct mig_settling_state *state,
                     char *text, size_t size)
{
    mig_settling_describe(state, text, size);
    if (!*text)
        snprintf(text, size, "rows that may still come");
    mig_report_progress(waiting->source->hooks,
                        &(struct mig_progress){.stage = "settle",
                                               .subject = state->is_held_up
                                                              ? mig_table_info(state->held_up)->name
                                                              : "",
                                               .waiting = text});
}

static int wait(struct waiting *waiting, struct mig_settling *settling, struct mig_error *err)
{
    for (bool first = true;; first = false) {
        struct mig_settling_state state;
        char text[192];
        int result = mig_settling_look(settling, &state, err);

        if (result != MIG_OK)
            return result;
        if (first)
            memcpy(waiting->targets, state.latest, sizeof waiting->targets);
        /* A server that crashed may have forgotten some of what it gave out. */
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (state.latest[table] < waiting->targets[table])
                waiting->targets[table] = state.latest[table];
        memcpy(waiting->bounds, state.settled, sizeof waiting->bounds);
        if (is_over(waiting))
            return MIG_OK;
        if ((result = mig_stop_check(waiting->source->stop, err)) != MIG_OK)
            return result;
        say_whom(waiting, &state, text, sizeof text);
        if (mig_time_monotonic_ns() > waiting->deadline_ns) {
            mig_fail(err, MIG_E_TEMPORARY, "source: its tables are not settled after %d s: %s",
                     WAIT_MAX_S, text);
            return mig_hint(err, "end that transaction, or wait for it, and run it again");
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

/* Where ids may be drawn by hand, whoever was in a transaction may have drawn one above all that
 * was visible: what is visible once they have ended is waited for as well. */
static int settle(struct waiting *waiting, struct mig_settled *ret_settled, struct mig_error *err)
{
    mig_cleanup(mig_settling_free) struct mig_settling *settling = NULL;
    struct mig_source *source = waiting->source;
    const int64_t nowhere[MIG_TABLE_COUNT] = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
    int result;

    waiting->deadline_ns = mig_time_monotonic_ns() + WAIT_MAX_S * MIG_NS_PER_SECOND;
    if ((result = mig_settling_open(source, nowhere, &settling, err)) != MIG_OK ||
        (result = wait(waiting, settling, err)) != MIG_OK ||
        (source->manifest->settle == MIG_SETTLE_ALL_TRANSACTIONS &&
         (result = wait(waiting, settling, err)) != MIG_OK))
        return result;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        if (waiting->wanted[table])
            result = mig_source_strays(source, (enum mig_table) table, waiting->bounds[table],
                                       &ret_settled[table], err);
    return result;
}

int mig_source_settle(struct mig_source *source, enum mig_table table,
                      struct mig_settled *ret_settled, struct mig_error *err)
{
    struct waiting waiting = {.source = source};
    struct mig_settled settled[MIG_TABLE_COUNT];
    int result;

    waiting.wanted[table] = true;
    if ((result = settle(&waiting, settled, err)) == MIG_OK)
        *ret_settled = settled[table];
    return result;
}

int mig_source_settle_all(struct mig_source *source, struct mig_settled *ret_settled,
                          struct mig_error *err)
{
    struct waiting waiting = {.source = source, .wanted = {true, true, true, true}};
    struct mig_settled settled[MIG_TABLE_COUNT];
    int result = settle(&waiting, settled, err);

    if (result == MIG_OK)
        memcpy(ret_settled, settled, sizeof settled);
    return result;
}
