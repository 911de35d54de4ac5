/*
 * Settled bounds that rise while others write, without waiting for anybody. Each look notes what
 * the sequences had given out, and who might still hold an id of that: once all of those have
 * ended, that much is settled. A transaction that is held open holds up what was drawn since it
 * came to a table, and of that table alone.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Looks that are open at a time for a table; more would tell the same a little earlier. */
#define LOOKS_MAX 64
#define SQL_LIMIT ((size_t) 16 << 10)

struct writers {
    char **names; /* virtual transactions */
    size_t count;
};

/* What had been given out at a look, and who of those that wrote then has not ended. */
struct look {
    int64_t bound;
    struct writers writers;
};

struct table_looks {
    struct look items[LOOKS_MAX];
    size_t count;
};

/* What is settled, but that a source that crashes might not know of: until its WAL is written as
 * far as it was then, and no longer than the server takes for that at most. */
struct settled_in_memory {
    bool any;
    int64_t bound, wal_end, since_ns;
};
#define WAL_PATIENCE_NS MIG_NS_PER_SECOND

struct mig_settling {
    struct mig_source *source;
    struct table_looks tables[MIG_TABLE_COUNT];
    int64_t bounds[MIG_TABLE_COUNT]; /* nobody can write below */
    struct settled_in_memory in_memory[MIG_TABLE_COUNT];
    int64_t durable[MIG_TABLE_COUNT];
    struct mig_buffer latest_sql, writers_sql;
};

static void writers_release(struct writers *writers)
{
    for (size_t i = 0; i < writers->count; i++)
        free(writers->names[i]);
    free(writers->names);
    *writers = (struct writers){0};
}

void mig_settling_free(struct mig_settling **settling)
{
    struct mig_settling *s = mig_take(*settling);

    if (!s)
        return;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        for (size_t i = 0; i < s->tables[table].count; i++)
            writers_release(&s->tables[table].items[i].writers);
    mig_buffer_release(&s->latest_sql);
    mig_buffer_release(&s->writers_sql);
    free(s);
}

/* ---- what is asked -------------------------------------------------------------------------- */

/* One row: the highest id given out, a column a table. */
static int add_latest(struct mig_settling *settling, enum mig_table table, const char *sequence,
                      struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    const char *begin = settling->latest_sql.size > 0 ? ", " : "SELECT ";

    if (settling->source->manifest->settle == MIG_SETTLE_WRITERS)
        return mig_buffer_print(&settling->latest_sql, err,
                                "%s(SELECT last_value - (NOT is_called)::int FROM %s)", begin,
                                sequence);
    return mig_buffer_print(&settling->latest_sql, err,
                            "%s(SELECT coalesce(max(%s), -9223372036854775808)::bigint FROM %s)",
                            begin, info->id_column, info->name);
}

/* A row for each writer of each table: a row may be written straight into a partition or a child,
 * and who draws an id holds its lock on the sequence wherever the row will go. */
static int add_writers(struct mig_settling *settling, enum mig_table table, int64_t sequence,
                       struct mig_error *err)
{
    const char *begin = settling->writers_sql.size > 0
                            ? ", "
                            : "WITH RECURSIVE family (place, relation) AS (SELECT * FROM (VALUES ";

    return mig_buffer_print(&settling->writers_sql, err,
                            "%s(%d, '%s'::regclass::oid), (%d, %" PRId64 "::oid)", begin,
                            (int) table, mig_table_info(table)->name, (int) table, sequence);
}

static const char *const end_of_writers =
    ") v (place, relation) UNION SELECT f.place, i.inhrelid FROM pg_inherits i JOIN family f ON"
    " f.relation = i.inhparent) SELECT DISTINCT f.place, l.virtualtransaction, l.pid,"
    " extract(epoch FROM clock_timestamp() - a.xact_start)::bigint FROM pg_locks l"
    " JOIN family f ON f.relation = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
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

static int write_queries(struct mig_settling *settling, struct mig_error *err)
{
    const bool by_writers = settling->source->manifest->settle == MIG_SETTLE_WRITERS;
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        mig_cleanup(source_sequence_release) struct source_sequence sequence = {0};

        if ((result = source_sequence(settling->source, (enum mig_table) table, &sequence, err)) ==
                MIG_OK &&
            (result = add_latest(settling, (enum mig_table) table, sequence.name, err)) == MIG_OK &&
            by_writers)
            result = add_writers(settling, (enum mig_table) table, sequence.oid, err);
    }
    if (result != MIG_OK)
        return result;
    return by_writers
               ? mig_buffer_print(&settling->writers_sql, err, "%s", end_of_writers)
               : mig_buffer_print(&settling->writers_sql, err, everybody, MIG_TABLE_COUNT - 1);
}

int mig_settling_open(struct mig_source *source, const int64_t *bounds,
                      struct mig_settling **ret_settling, struct mig_error *err)
{
    mig_cleanup(mig_settling_free) struct mig_settling *settling = calloc(1, sizeof *settling);
    int result;

    if (!settling)
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    settling->source = source;
    settling->latest_sql = MIG_BUFFER_INIT(SQL_LIMIT);
    settling->writers_sql = MIG_BUFFER_INIT(SQL_LIMIT);
    memcpy(settling->bounds, bounds, sizeof settling->bounds);
    memcpy(settling->durable, bounds, sizeof settling->durable);
    if ((result = write_queries(settling, err)) != MIG_OK)
        return result;
    *ret_settling = mig_take(settling);
    return MIG_OK;
}

/* ---- a look ---------------------------------------------------------------------------------- */

static bool is_prepared(const char *name)
{
    return strncmp(name, "-1/", 3) == 0;
}

static bool holds(const struct writers *writers, const char *name)
{
    for (size_t i = 0; i < writers->count; i++)
        if (strcmp(writers->names[i], name) == 0)
            return true;
    return false;
}

static int add_writer(struct writers *writers, const char *name, struct mig_error *err)
{
    char **larger = reallocarray(writers->names, writers->count + 1, sizeof *larger);

    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    writers->names = larger;
    writers->names[writers->count] = strdup(name);
    if (!writers->names[writers->count])
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    writers->count++;
    return MIG_OK;
}

/* Of those who wrote at the time of a look, the ones who still do. A transaction that is prepared
 * meanwhile gets another name: whoever is prepared counts. */
static int keep_those_left(struct look *look, const struct writers *now, struct mig_error *err)
{
    mig_cleanup(writers_release) struct writers left = {0};
    struct writers before = look->writers;
    int result = MIG_OK;

    for (size_t i = 0; i < now->count && result == MIG_OK; i++)
        if (is_prepared(now->names[i]) || holds(&before, now->names[i]))
            result = add_writer(&left, now->names[i], err);
    if (result != MIG_OK)
        return result;
    look->writers = left;
    left = before;
    return MIG_OK;
}

static void drop_first(struct table_looks *looks)
{
    writers_release(&looks->items[0].writers);
    looks->count--;
    memmove(&looks->items[0], &looks->items[1], looks->count * sizeof looks->items[0]);
}

/* Takes now over. */
static int note_look(struct mig_settling *settling, enum mig_table table, int64_t latest,
                     struct writers *now, struct mig_error *err)
{
    struct table_looks *looks = &settling->tables[table];
    int64_t newest = settling->bounds[table];
    int result = MIG_OK;

    for (size_t i = 0; i < looks->count && result == MIG_OK; i++)
        result = keep_those_left(&looks->items[i], now, err);
    if (result != MIG_OK)
        return result;
    while (looks->count > 0 && looks->items[0].writers.count == 0) {
        settling->bounds[table] = looks->items[0].bound;
        drop_first(looks);
    }
    if (looks->count > 0)
        newest = looks->items[looks->count - 1].bound;
    if (latest <= newest || looks->count == LOOKS_MAX)
        return MIG_OK;
    if (now->count == 0) {
        settling->bounds[table] = latest;
        return MIG_OK;
    }
    looks->items[looks->count++] = (struct look){latest, *now};
    *now = (struct writers){0};
    return MIG_OK;
}

static bool outlives_crash(const struct settled_in_memory *waits, int64_t wal_written)
{
    return wal_written >= waits->wal_end ||
           mig_time_monotonic_ns() - waits->since_ns > WAL_PATIENCE_NS;
}

static void note_durable(struct mig_settling *settling, enum mig_table table, int64_t wal_end,
                         int64_t wal_written)
{
    struct settled_in_memory *waits = &settling->in_memory[table];

    for (int i = 0; i < 2; i++) {
        if (waits->any && outlives_crash(waits, wal_written)) {
            settling->durable[table] = waits->bound;
            waits->any = false;
        }
        if (!waits->any && settling->bounds[table] > settling->durable[table])
            *waits = (struct settled_in_memory){true, settling->bounds[table], wal_end,
                                                mig_time_monotonic_ns()};
    }
}

/* Of what is settled, as much as is sure to outlive a crash of the source. How far the WAL goes is
 * asked once all that is settled is in it. */
static int find_durable(struct mig_settling *settling, struct mig_settling_state *state,
                        struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = MIG_OK;

    if (memcmp(settling->bounds, settling->durable, sizeof settling->bounds) != 0)
        result = source_query(
            settling->source,
            "SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE"
            " (pg_current_wal_insert_lsn() - '0/0')::bigint END, CASE WHEN pg_is_in_recovery()"
            " THEN 0 ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END",
            NULL, 0, &answer, err);
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        if (answer.rows > 0)
            note_durable(settling, (enum mig_table) table, mig_pg_int64(&answer, 0, 0),
                         mig_pg_int64(&answer, 0, 1));
        state->bounds[table] = settling->durable[table];
    }
    return result;
}

static int refuse_backwards(const struct mig_settling *settling, enum mig_table table,
                            int64_t latest, struct mig_error *err)
{
    mig_fail(err, MIG_E_REFUSED,
             "source: the last id of %s is %" PRId64 ", below %" PRId64
             ", up to which it was settled before: it was restored from a backup, or is another "
             "database",
             mig_table_info(table)->name, latest, settling->bounds[table]);
    return mig_hint(err, "what nodes hold may not be in it: see xmtp-parity check, and begin anew "
                         "with xmtp-migrate run --new-run");
}

/* The writer whose transaction is the oldest of those that hold something up. */
static void note_oldest(const struct mig_settling *settling, const struct mig_pg_result *answer,
                        struct mig_settling_state *state)
{
    for (int row = 0; row < answer->rows; row++) {
        const enum mig_table table = (enum mig_table) mig_pg_int64(answer, row, 0);
        const struct table_looks *looks = &settling->tables[table];
        const int64_t age_s = mig_pg_text(answer, row, 3) ? mig_pg_int64(answer, row, 3) : -1;

        if (looks->count == 0 || !holds(&looks->items[0].writers, mig_pg_text(answer, row, 1)) ||
            (state->is_held_up && age_s <= state->writer_age_s))
            continue;
        state->is_held_up = true;
        state->held_up = table;
        state->writer_pid = mig_pg_text(answer, row, 2) ? mig_pg_int64(answer, row, 2) : 0;
        state->writer_age_s = age_s;
    }
}

static int look_at_tables(struct mig_settling *settling, const struct mig_pg_result *latest,
                          const struct mig_pg_result *answer, struct mig_settling_state *state,
                          struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        mig_cleanup(writers_release) struct writers now = {0};

        state->latest[table] = mig_pg_int64(latest, 0, table);
        if (state->latest[table] < settling->bounds[table] &&
            settling->source->manifest->settle == MIG_SETTLE_WRITERS)
            return refuse_backwards(settling, (enum mig_table) table, state->latest[table], err);
        for (int row = 0; row < answer->rows && result == MIG_OK; row++)
            if (mig_pg_int64(answer, row, 0) == table && !holds(&now, mig_pg_text(answer, row, 1)))
                result = add_writer(&now, mig_pg_text(answer, row, 1), err);
        if (result == MIG_OK)
            result = note_look(settling, (enum mig_table) table, state->latest[table], &now, err);
    }
    return result;
}

int mig_settling_look(struct mig_settling *settling, struct mig_settling_state *ret_state,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result latest = {0}, answer = {0};
    struct mig_source *source = settling->source;
    struct mig_settling_state state = {0};
    int result;

    /* In this order: whoever comes to write after the first can't draw what it tells. */
    if ((result = source_query(source, (const char *) settling->latest_sql.data, NULL, 0, &latest,
                               err)) != MIG_OK ||
        (result = source_query(source, (const char *) settling->writers_sql.data, NULL, 0, &answer,
                               err)) != MIG_OK ||
        (result = look_at_tables(settling, &latest, &answer, &state, err)) != MIG_OK ||
        (result = find_durable(settling, &state, err)) != MIG_OK)
        return result;
    note_oldest(settling, &answer, &state);
    *ret_state = state;
    return MIG_OK;
}
