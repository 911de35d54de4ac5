/*
 * What the source is asked to know which ids are final: what has been given out, and who might
 * still hold an id of that. V3 draws an id inside INSERT, which holds ROW EXCLUSIVE on the table
 * and on the sequence from before the draw until its transaction is visible or gone.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>

/* The highest id given out, a column a table. Where transactions are known by their numbers alone,
 * an id that is seen is all that is sure to have been given out: a standby is told of ids by the
 * dozen, before they are. Ids drawn by hand lie above the sequence, and hold for nothing. */
static int add_latest(struct mig_source *source, enum mig_table table,
                      const struct source_sequence *sequence, struct mig_buffer *sql,
                      struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    const char *const begin = sql->size > 0 ? ", " : "SELECT ";
    const bool by_sequence = source->manifest->settle == MIG_SETTLE_WRITERS;

    if (by_sequence && source->method == SETTLE_BY_WRITERS)
        return mig_buffer_print(sql, err, "%s(SELECT last_value - (NOT is_called)::int FROM %s)",
                                begin, sequence->name);
    if (by_sequence)
        return mig_buffer_print(sql, err,
                                "%s(SELECT coalesce(max(%s), 0)::bigint FROM %s WHERE %s <="
                                " (SELECT last_value FROM %s))",
                                begin, info->id_column, info->name, info->id_column,
                                sequence->name);
    return mig_buffer_print(sql, err, "%s(SELECT coalesce(max(%s), 0)::bigint FROM %s)", begin,
                            info->id_column, info->name);
}

/* A row for each writer of each table: a row may be written straight into a partition or a child,
 * and who draws an id holds its lock on the sequence wherever the row will go. */
static int add_relations(enum mig_table table, const struct source_sequence *sequence,
                         struct mig_buffer *sql, struct mig_error *err)
{
    const char *const begin =
        sql->size > 0 ? ", " : "WITH RECURSIVE family (place, relation) AS (SELECT * FROM (VALUES ";

    return mig_buffer_print(sql, err, "%s(%d, '%s'::regclass::oid), (%d, %" PRId64 "::oid)", begin,
                            (int) table, mig_table_info(table)->name, (int) table, sequence->oid);
}

/* Behind the relations; %s: the sessions, as far as they may be seen. */
static const char *const writers =
    ") v (place, relation) UNION SELECT f.place, i.inhrelid FROM pg_inherits i JOIN family f ON"
    " f.relation = i.inhparent) SELECT DISTINCT f.place, l.virtualtransaction, l.pid,"
    " extract(epoch FROM clock_timestamp() - a.xact_start)::bigint FROM pg_locks l"
    " JOIN family f ON f.relation = l.relation LEFT JOIN %s ON a.pid = l.pid"
    " WHERE l.locktype = 'relation' AND l.granted AND l.database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
    " 'AccessExclusiveLock') AND l.pid IS DISTINCT FROM pg_backend_pid()";

/* Everybody in a transaction, for each table. */
static const char *const everybody =
    "SELECT p.place, w.* FROM generate_series(0, %d) p (place), (SELECT l.virtualtransaction,"
    " l.pid, extract(epoch FROM clock_timestamp() - a.xact_start)::bigint FROM pg_locks l"
    " JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'virtualxid' AND l.granted"
    " AND a.datname = current_database() AND l.pid <> pg_backend_pid() UNION"
    " SELECT '-1/' || transaction, NULL, extract(epoch FROM clock_timestamp() - prepared)::bigint"
    " FROM pg_prepared_xacts WHERE database = current_database()) w";

/* The oldest transaction in progress, and the number that the next one will have (32 bits of it):
 * all numbers below that have been taken. And of a standby how much WAL it has replayed, of how
 * much that it has, and whether (%s) it is being told more. */
static const char *const numbers =
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
    " (age('3'::xid)::bigint + 3) & 4294967295, pg_is_in_recovery(),"
    " (pg_last_wal_replay_lsn() - '0/0')::bigint, (pg_last_wal_receive_lsn() - '0/0')::bigint,"
    " %s";

static int add_holders(struct mig_source *source, struct mig_buffer *sql, struct mig_error *err)
{
    switch (source->method) {
    case SETTLE_BY_WRITERS:
        return mig_buffer_print(sql, err, writers,
                                source->sees_sessions
                                    ? "pg_stat_activity a"
                                    : "(VALUES (0, NULL::timestamptz)) a (pid, xact_start)");
    case SETTLE_BY_EVERYBODY:
        return mig_buffer_print(sql, err, everybody, MIG_TABLE_COUNT - 1);
    case SETTLE_BY_TIME:
        break;
    }
    return mig_buffer_print(sql, err, numbers,
                            source->sees_receiver
                                ? "(SELECT pid IS NOT NULL FROM pg_stat_get_wal_receiver())"
                                : "true");
}

/* Whether any sequence has been told to cache ids. */
static int add_cache(const struct source_sequence *sequence, struct mig_buffer *sql,
                     struct mig_error *err)
{
    return mig_buffer_print(sql, err, "%s%" PRId64,
                            sql->size > 0 ? ", " : "SELECT 1 FROM pg_sequence WHERE seqrelid IN (",
                            sequence->oid);
}

int source_settle_sql(struct mig_source *source, struct mig_buffer *latest,
                      struct mig_buffer *holders, struct mig_buffer *caches, struct mig_error *err)
{
    int result = MIG_OK;

    latest->size = holders->size = caches->size = 0;
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};

        if ((result = source_sequence(source, (enum mig_table) table, &sequence, err)) == MIG_OK &&
            (result = add_latest(source, (enum mig_table) table, &sequence, latest, err)) ==
                MIG_OK &&
            source->method == SETTLE_BY_WRITERS &&
            (result = add_relations((enum mig_table) table, &sequence, holders, err)) == MIG_OK)
            result = add_cache(&sequence, caches, err);
    }
    if (result == MIG_OK && caches->size > 0)
        result = mig_buffer_print(caches, err, ") AND seqcache > 1 LIMIT 1");
    return result == MIG_OK ? add_holders(source, holders, err) : result;
}
