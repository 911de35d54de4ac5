/*
 * Which ids are final. V3 draws an id inside INSERT, which holds ROW EXCLUSIVE on the table and on
 * the sequence from before the draw until its transaction is visible or gone. So: read what the
 * sequence has given out, then wait for everybody who holds such a lock now; later comers can only
 * draw higher ids.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SQL_SIZE 2048
#define POLL_MS 50
#define WAIT_MAX_S 600

void source_sequence_release(struct source_sequence *sequence)
{
    free(sequence->name);
}

static int find_sequence(struct mig_source *source, const struct mig_table_info *info,
                         struct source_sequence *ret_sequence, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const char *const params[] = {info->name, info->id_column};
    int result = source_query(
        source,
        "SELECT s.seqrelid::regclass::text, s.seqcache, s.seqrelid FROM pg_sequence s JOIN "
        "pg_depend d"
        " ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.seqrelid"
        " AND d.classid = 'pg_attrdef'::regclass JOIN pg_attrdef f ON f.oid = d.objid"
        " JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum"
        " WHERE f.adrelid = $1::regclass AND a.attname = $2"
        " UNION SELECT s.seqrelid::regclass::text, s.seqcache, s.seqrelid FROM pg_sequence s"
        " JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid"
        " AND d.deptype = 'i' JOIN pg_attribute a ON a.attrelid = d.refobjid"
        " AND a.attnum = d.refobjsubid WHERE d.refobjid = $1::regclass AND a.attname = $2",
        params, 2, &answer, err);

    if (result != MIG_OK)
        return result;
    if (answer.rows == 0)
        return MIG_OK;
    ret_sequence->name = strdup(mig_pg_text(&answer, 0, 0));
    ret_sequence->cache = mig_pg_int64(&answer, 0, 1);
    ret_sequence->oid = mig_pg_int64(&answer, 0, 2);
    return ret_sequence->name ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "source: out of memory");
}

static int check_sequence(struct mig_source *source, const struct mig_table_info *info,
                          const struct source_sequence *sequence, struct mig_error *err)
{
    if (source->manifest->settle == MIG_SETTLE_ALL_TRANSACTIONS)
        return MIG_OK;
    if (!sequence->name)
        mig_fail(
            err, MIG_E_REFUSED,
            "source: %s.%s draws its values from no sequence, so no range of ids is ever known "
            "to be final",
            info->name, info->id_column);
    else if (sequence->cache > 1)
        mig_fail(err, MIG_E_REFUSED,
                 "source: sequence %s caches %" PRId64 " ids a session, so ids far below the last "
                 "one can still appear",
                 sequence->name, sequence->cache);
    else
        return MIG_OK;
    return mig_hint(err,
                    "set \"settle\": \"all-transactions\" in the manifest's source to wait for "
                    "every transaction of the database instead");
}

int source_sequence(struct mig_source *source, enum mig_table table,
                    struct source_sequence *ret_sequence, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};
    int result = find_sequence(source, info, &sequence, err);

    if (result == MIG_OK)
        result = check_sequence(source, info, &sequence, err);
    if (result != MIG_OK)
        return result;
    *ret_sequence = sequence;
    sequence = (struct source_sequence){0};
    return MIG_OK;
}

/* Highest id the sequence has given out. */
static int read_sequence(struct mig_source *source, const struct source_sequence *sequence,
                         int64_t *ret_last, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql, "SELECT last_value, is_called FROM %s", sequence->name);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result == MIG_OK)
        *ret_last = mig_pg_int64(&answer, 0, 0) - (mig_pg_bool(&answer, 0, 1) ? 0 : 1);
    return result;
}

int mig_source_last_id(struct mig_source *source, enum mig_table table, int64_t *ret_last,
                       struct mig_error *err)
{
    mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};
    int64_t last = INT64_MAX;
    int result;

    if ((result = source_sequence(source, table, &sequence, err)) != MIG_OK)
        return result;
    if (sequence.name && source->manifest->settle == MIG_SETTLE_WRITERS &&
        (result = read_sequence(source, &sequence, &last, err)) != MIG_OK)
        return result;
    *ret_last = last;
    return MIG_OK;
}

/* The transactions to wait for, as a list of texts that a later look can be compared with. A row
 * may be written straight into a partition or a child, with no lock on the table that we read; and
 * who draws an id holds ROW EXCLUSIVE on the sequence until the end, wherever the row will go, be
 * it a partition that nobody else can see yet. */
static const char *const writers_sql =
    "WITH RECURSIVE family AS (SELECT $1::regclass::oid AS relation UNION"
    " SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.relation = i.inhparent)"
    " SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (relation = $3::regclass OR relation IN (SELECT f.relation FROM family f))"
    " AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
    " 'AccessExclusiveLock') AND pid IS DISTINCT FROM pg_backend_pid()";

/* Everybody in a transaction, whatever it does; $1 and $3 are there to keep both texts alike. */
static const char *const everybody_sql =
    "SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = current_database()"
    " AND l.pid <> pg_backend_pid() AND coalesce($1::text, $3::text) IS NOT NULL UNION"
    " SELECT '-1/' || transaction FROM pg_prepared_xacts WHERE database = current_database()";

/* Whose ends are waited for: the statement that lists them, and its parameters. */
struct watch {
    const char *sql, *table, *sequence;
};

/* A transaction that is prepared while we wait gets a new name (-1/...): whoever is prepared counts
 * as long as we wait. The oldest one is described for a person. */
static int look(struct mig_source *source, const struct watch *watch, const char *waited,
                char **ret_list, char *ret_oldest, size_t oldest_size, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const char *const params[] = {watch->table, waited, watch->sequence};
    char query[SQL_SIZE];
    int result;

    snprintf(query, sizeof query,
             "WITH holders AS (SELECT DISTINCT virtualtransaction AS v FROM (%s) h), kept AS"
             " (SELECT v FROM holders WHERE $2::text[] IS NULL OR v = ANY ($2::text[])"
             " OR v LIKE '-1/%%') SELECT (SELECT array_agg(v)::text FROM kept),"
             " (SELECT format('pid %%s, in a transaction for %%s s', a.pid,"
             " floor(extract(epoch FROM clock_timestamp() - a.xact_start))) FROM kept"
             " JOIN pg_locks l ON l.virtualtransaction = v AND l.locktype = 'virtualxid'"
             " JOIN pg_stat_activity a ON a.pid = l.pid ORDER BY a.xact_start NULLS LAST LIMIT 1)",
             watch->sql);
    result = source_query(source, query, params, mig_count_of(params), &answer, err);
    if (result != MIG_OK)
        return result;
    snprintf(ret_oldest, oldest_size, "%s",
             mig_pg_text(&answer, 0, 1) ? mig_pg_text(&answer, 0, 1) : "a prepared transaction");
    *ret_list = NULL;
    if (!mig_pg_text(&answer, 0, 0))
        return MIG_OK;
    *ret_list = strdup(mig_pg_text(&answer, 0, 0));
    return *ret_list ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "source: out of memory");
}

static void say_whom(struct mig_source *source, const char *table, const char *oldest)
{
    char waiting[256];

    snprintf(waiting, sizeof waiting, "writers of %s: %s", table, oldest);
    mig_report_progress(
        source->hooks,
        &(struct mig_progress){.stage = "settle", .subject = table, .waiting = waiting});
}

static int wait_for_writers(struct mig_source *source, const struct watch *watch,
                            struct mig_error *err)
{
    const int64_t deadline = mig_time_monotonic_ns() + WAIT_MAX_S * MIG_NS_PER_SECOND;
    mig_cleanup(mig_free_text) char *waited = NULL;
    char oldest[160];
    int result = look(source, watch, NULL, &waited, oldest, sizeof oldest, err);

    while (result == MIG_OK && waited) {
        mig_cleanup(mig_free_text) char *left = NULL;

        if ((result = mig_stop_check(source->stop, err)) != MIG_OK)
            return result;
        if (mig_time_monotonic_ns() > deadline) {
            mig_fail(err, MIG_E_TEMPORARY, "source: %s is still being written to after %d s: %s",
                     watch->table, WAIT_MAX_S, oldest);
            return mig_hint(err, "end that transaction, or wait for it, and run it again");
        }
        say_whom(source, watch->table, oldest);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
        result = look(source, watch, waited, &left, oldest, sizeof oldest, err);
        if (result == MIG_OK && !left)
            mig_free_text(&waited);
    }
    return result;
}

static int read_highest(struct mig_source *source, const struct mig_table_info *info,
                        int64_t *bound, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql, "SELECT max(%s)::bigint FROM %s", info->id_column, info->name);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result == MIG_OK && mig_pg_text(&answer, 0, 0) && mig_pg_int64(&answer, 0, 0) > *bound)
        *bound = mig_pg_int64(&answer, 0, 0);
    return result;
}

/* The first row above all that the sequence has given out. A statement reads the sequence as it is
 * then, after it chose what rows it sees: those drawn meanwhile are no strays. */
static int find_strays(struct mig_source *source, const struct mig_table_info *info,
                       const struct source_sequence *sequence, struct mig_settled *settled,
                       struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT min(%s)::bigint FROM %s WHERE %s > (SELECT greatest('%" PRId64 "'::bigint,"
             " last_value - (NOT is_called)::int) FROM %s)",
             info->id_column, info->name, info->id_column, settled->bound, sequence->name);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    settled->has_strays = mig_pg_text(&answer, 0, 0) != NULL;
    settled->stray_first = settled->has_strays ? mig_pg_int64(&answer, 0, 0) : 0;
    return MIG_OK;
}

int mig_source_settle(struct mig_source *source, enum mig_table table,
                      struct mig_settled *ret_settled, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};
    struct mig_settled settled = {0};
    struct watch watch = {.table = info->name};
    int result;

    if ((result = source_sequence(source, table, &sequence, err)) != MIG_OK)
        return result;
    if (sequence.name && (result = read_sequence(source, &sequence, &settled.bound, err)) != MIG_OK)
        return result;
    watch.sequence = sequence.name;
    watch.sql = source->manifest->settle == MIG_SETTLE_WRITERS ? writers_sql : everybody_sql;
    if ((result = wait_for_writers(source, &watch, err)) != MIG_OK)
        return result;
    /* Ids may be drawn by hand: when everybody has ended, what is visible is final. */
    result = source->manifest->settle == MIG_SETTLE_WRITERS
                 ? find_strays(source, info, &sequence, &settled, err)
                 : read_highest(source, info, &settled.bound, err);
    if (result == MIG_OK)
        *ret_settled = settled;
    return result;
}

int mig_source_strays(struct mig_source *source, enum mig_table table, int64_t bound,
                      struct mig_settled *ret_settled, struct mig_error *err)
{
    mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};
    struct mig_settled settled = {.bound = bound};
    int result = source_sequence(source, table, &sequence, err);

    if (result == MIG_OK && source->manifest->settle == MIG_SETTLE_WRITERS)
        result = find_strays(source, mig_table_info(table), &sequence, &settled, err);
    if (result == MIG_OK)
        *ret_settled = settled;
    return result;
}
