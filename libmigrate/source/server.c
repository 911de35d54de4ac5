/*
 * What kind of server answers. A standby is told of everything later, and of sessions and locks not
 * at all: what was settled elsewhere, or before, it may not have yet.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>

/* Whose locks and sessions the role may see; views ask for both rights. */
static const char *const kind_sql =
    "SELECT pg_is_in_recovery(), has_table_privilege('pg_catalog.pg_locks', 'SELECT') AND"
    " has_function_privilege('pg_catalog.pg_lock_status()', 'EXECUTE'),"
    " has_table_privilege('pg_catalog.pg_stat_activity', 'SELECT') AND"
    " has_function_privilege('pg_catalog.pg_stat_get_activity(integer)', 'EXECUTE') AND"
    " has_table_privilege('pg_catalog.pg_prepared_xacts', 'SELECT') AND"
    " has_function_privilege('pg_catalog.pg_prepared_xact()', 'EXECUTE'),"
    " has_function_privilege('pg_catalog.pg_stat_get_wal_receiver()', 'EXECUTE')";

static enum settle_method choose(const struct mig_source *source, bool sees_locks)
{
    if (source->is_standby || !sees_locks)
        return SETTLE_BY_TIME;
    if (source->manifest->settle == MIG_SETTLE_WRITERS)
        return SETTLE_BY_WRITERS;
    return source->sees_sessions ? SETTLE_BY_EVERYBODY : SETTLE_BY_TIME;
}

int source_choose_method(struct mig_source *source, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(source->pg, kind_sql, NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    source->is_standby = mig_pg_bool(&answer, 0, 0);
    source->reached = source->is_standby ? 0 : INT64_MAX;
    source->sees_sessions = mig_pg_bool(&answer, 0, 2);
    source->sees_receiver = mig_pg_bool(&answer, 0, 3);
    source->method = choose(source, mig_pg_bool(&answer, 0, 1));
    return MIG_OK;
}

void source_tell_method(const struct mig_source *source)
{
    if (source->method == SETTLE_BY_TIME)
        mig_log(
            source->hooks, MIG_LOG_WARN,
            "source (%s): %s, so ids count as settled by time: %" PRId64
            " s after they are seen, and once every transaction that is known by then has ended",
            mig_pg_place(source->pg),
            source->is_standby ? "a standby does not see who writes"
                               : "the role may not see who writes (pg_locks, pg_stat_activity)",
            source->manifest->settle_hold_s);
}

int mig_source_is_locked(struct mig_source *source, const char *table, bool *ret_is,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result;

    *ret_is = false;
    if (source->method == SETTLE_BY_TIME)
        return MIG_OK;
    result = source_query(source,
                          "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND"
                          " mode = 'AccessExclusiveLock' AND relation = to_regclass($1)"
                          " AND database = (SELECT oid FROM pg_database WHERE datname ="
                          " current_database()) AND pid IS DISTINCT FROM pg_backend_pid())",
                          &table, 1, &answer, err);
    if (result == MIG_OK)
        *ret_is = mig_pg_bool(&answer, 0, 0);
    return result;
}

bool mig_source_settles_by_time(const struct mig_source *source)
{
    return source->method == SETTLE_BY_TIME;
}

/* ---- how much of the WAL it must have ------------------------------------------------------- */

int64_t mig_source_floor(const struct mig_source *source)
{
    return atomic_load(&source->past->floor);
}

void mig_source_raise_floor(struct mig_source *source, int64_t wal)
{
    int64_t before = atomic_load(&source->past->floor);

    while (before < wal && !atomic_compare_exchange_weak(&source->past->floor, &before, wal))
        ;
}

int source_note_wal(struct mig_source *source, int64_t *ret_end, int64_t *ret_written,
                    struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = source_query(
        source,
        "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE"
        " pg_current_wal_insert_lsn() END - '0/0')::bigint, (CASE WHEN pg_is_in_recovery() THEN"
        " pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint",
        NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_end = mig_pg_int64(&answer, 0, 0);
    *ret_written = mig_pg_int64(&answer, 0, 1);
    mig_source_raise_floor(source, *ret_end);
    return MIG_OK;
}

int mig_source_note_wal(struct mig_source *source, struct mig_error *err)
{
    int64_t end, written;

    return source_note_wal(source, &end, &written, err);
}

/* What it has lost in becoming a primary is for a connection that looks at it as one. */
static int note_promotion(struct mig_source *source, struct mig_error *err)
{
    source->probed = false;
    return mig_fail(err, MIG_E_TEMPORARY, "source (%s): the standby was promoted",
                    mig_pg_place(source->pg));
}

int source_leave_promoted(struct mig_source *source, struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    struct mig_retry retry = {0};

    note_promotion(source, &why);
    return source_recover(source, &retry, &why, err);
}

int source_reach_floor(struct mig_source *source, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const int64_t floor = mig_source_floor(source);
    int result;

    if (source->reached >= floor)
        return MIG_OK;
    result = mig_pg_query(source->pg,
                          "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() -"
                          " '0/0')::bigint ELSE 9223372036854775807 END",
                          NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    source->reached = mig_pg_text(&answer, 0, 0) ? mig_pg_int64(&answer, 0, 0) : 0;
    if (source->reached == INT64_MAX)
        return note_promotion(source, err);
    if (source->reached >= floor)
        return MIG_OK;
    mig_fail(err, MIG_E_TEMPORARY,
             "source (%s): the standby has replayed the WAL up to %" PRIX64 "/%08" PRIX64
             ", and rows that are settled reach up to %" PRIX64 "/%08" PRIX64,
             mig_pg_place(source->pg), source->reached >> 32, source->reached & UINT32_MAX,
             floor >> 32, floor & UINT32_MAX);
    return mig_hint(err, "wait until it has caught up, and run it again, or name the primary");
}
