/*
 * Whether what was read would outlive a crash of the source. Rows that are visible may not be on
 * disk yet (synchronous_commit off), nor the ids of transactions that were rolled back: a server
 * that crashes then gives out these ids again, below a bound that was taken for final.
 */
#include "libmigrate/source/source_private.h"

#include <time.h>

#define STEP_MS 5
/* What a transaction has written the server writes out in three rounds at most; what else it writes
 * by the way may take longer, and is waited for in vain. */
#define ROUNDS 3

static int read_end(struct mig_source *source, int64_t *ret_end, int64_t *ret_patience_ms,
                    struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = source_query(
        source,
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() - '0/0' END,"
        " setting FROM pg_settings WHERE name = 'wal_writer_delay'",
        NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_end = answer.rows && mig_pg_text(&answer, 0, 0) ? mig_pg_int64(&answer, 0, 0) : 0;
    *ret_patience_ms = answer.rows ? ROUNDS * mig_pg_int64(&answer, 0, 1) : 0;
    return MIG_OK;
}

static int is_flushed(struct mig_source *source, int64_t end, bool *ret_is, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result =
        source_query(source, "SELECT pg_current_wal_flush_lsn() - '0/0'", NULL, 0, &answer, err);

    if (result == MIG_OK)
        *ret_is = mig_pg_int64(&answer, 0, 0) >= end;
    return result;
}

int mig_source_await_durable(struct mig_source *source, struct mig_error *err)
{
    const int64_t since_ns = mig_time_monotonic_ns();
    int64_t end, patience_ms;
    bool flushed = false;
    int result = read_end(source, &end, &patience_ms, err);

    while (result == MIG_OK && end > 0 &&
           (result = is_flushed(source, end, &flushed, err)) == MIG_OK && !flushed &&
           mig_time_monotonic_ns() - since_ns < patience_ms * (MIG_NS_PER_SECOND / 1000)) {
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
        result = mig_stop_check(source->stop, err);
    }
    return result;
}
