/*
 * Settled bounds that rise while others write, without waiting for anybody. Each look notes what
 * the sequences had given out, and who might still hold an id of that: once all of those have
 * ended, that much is settled. A transaction that is held open holds up what was drawn since it
 * came to a table, and of that table alone.
 */
#include "libmigrate/source/looks.h"
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_LIMIT ((size_t) 16 << 10)

/* What is settled, but that a source that crashes might not know of: until its WAL is written as
 * far as it was then, and no longer than the server takes for that at most. */
struct settled_in_memory {
    bool any;
    int64_t bound, wal_end, since_ns;
};
#define WAL_PATIENCE_NS MIG_NS_PER_SECOND

struct mig_settling {
    struct mig_source *source;
    unsigned connections; /* of the source, when it was asked last */
    enum settle_method method;
    int64_t replayed; /* WAL, at the last look at a standby */
    struct source_looks tables[MIG_TABLE_COUNT];
    int64_t bounds[MIG_TABLE_COUNT]; /* nobody can write below */
    struct settled_in_memory in_memory[MIG_TABLE_COUNT];
    int64_t durable[MIG_TABLE_COUNT];
    struct mig_buffer latest_sql, holders_sql, caches_sql;
};

static void forget_looks(struct mig_settling *settling)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        source_looks_release(&settling->tables[table]);
}

void mig_settling_free(struct mig_settling **settling)
{
    struct mig_settling *s = mig_take(*settling);

    if (!s)
        return;
    forget_looks(s);
    mig_buffer_release(&s->latest_sql);
    mig_buffer_release(&s->holders_sql);
    mig_buffer_release(&s->caches_sql);
    free(s);
}

/* What was waited for at another server is unknown here, and one that crashed may give out once
 * more what was not on its disk yet. */
static void begin_anew(struct mig_settling *settling)
{
    forget_looks(settling);
    memcpy(settling->bounds, settling->durable, sizeof settling->bounds);
    memset(settling->in_memory, 0, sizeof settling->in_memory);
    settling->replayed = 0;
}

/* Another connection may be one to another server, of which other things are to be asked. */
static int meet_source(struct mig_settling *settling, struct mig_error *err)
{
    struct mig_source *source = settling->source;
    int result = MIG_OK;

    while (settling->connections != source->connections && result == MIG_OK) {
        settling->connections = source->connections;
        if (settling->method != source->method)
            source_tell_method(source);
        begin_anew(settling);
        settling->method = source->method;
        result = source_settle_sql(source, &settling->latest_sql, &settling->holders_sql,
                                   &settling->caches_sql, err);
    }
    return result;
}

int mig_settling_open(struct mig_source *source, const int64_t *bounds,
                      struct mig_settling **ret_settling, struct mig_error *err)
{
    mig_cleanup(mig_settling_free) struct mig_settling *settling = calloc(1, sizeof *settling);
    int result;

    if (!settling)
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    settling->source = source;
    settling->method = SETTLE_BY_WRITERS;
    settling->latest_sql = MIG_BUFFER_INIT(SQL_LIMIT);
    settling->holders_sql = MIG_BUFFER_INIT(SQL_LIMIT);
    settling->caches_sql = MIG_BUFFER_INIT(SQL_LIMIT);
    memcpy(settling->bounds, bounds, sizeof settling->bounds);
    memcpy(settling->durable, bounds, sizeof settling->durable);
    if ((result = meet_source(settling, err)) != MIG_OK)
        return result;
    *ret_settling = mig_take(settling);
    return MIG_OK;
}

/* ---- a look ---------------------------------------------------------------------------------- */

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
    const unsigned connections = settling->connections;
    const bool any = memcmp(settling->bounds, settling->durable, sizeof settling->bounds) != 0;
    int64_t wal_end = 0, wal_written = 0;
    int result = any ? source_note_wal(settling->source, &wal_end, &wal_written, err) : MIG_OK;

    if (settling->source->connections != connections)
        begin_anew(settling);
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        if (any)
            note_durable(settling, (enum mig_table) table, wal_end, wal_written);
        state->settled[table] = settling->bounds[table];
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
        const struct source_looks *looks = &settling->tables[table];
        const int64_t age_s = mig_pg_text(answer, row, 3) ? mig_pg_int64(answer, row, 3) : -1;

        if (looks->count == 0 ||
            !source_holds(&looks->items[0].writers, mig_pg_text(answer, row, 1)) ||
            (state->is_held_up && age_s <= state->writer_age_s))
            continue;
        state->is_held_up = true;
        state->held_up = table;
        state->writer_pid = mig_pg_text(answer, row, 2) ? mig_pg_int64(answer, row, 2) : 0;
        state->writer_age_s = age_s;
    }
}

static void note_oldest_by_time(const struct mig_settling *settling, struct source_numbers numbers,
                                struct mig_settling_state *state)
{
    const int64_t now_ns = mig_time_monotonic_ns();

    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct source_looks *looks = &settling->tables[table];
        int64_t age_s;

        if (looks->count == 0 || looks->items[0].next_number == 0)
            continue;
        age_s = (now_ns - looks->items[0].numbered_ns) / MIG_NS_PER_SECOND;
        if (state->is_held_up && age_s <= state->writer_age_s)
            continue;
        state->is_held_up = true;
        state->held_up = (enum mig_table) table;
        state->writer_number = numbers.oldest;
        state->writer_age_s = age_s;
    }
}

void mig_settling_describe(const struct mig_settling_state *state, char *text, size_t size)
{
    char writer[64] = "a prepared transaction", age[64] = "";

    text[0] = '\0';
    if (!state->is_held_up)
        return;
    if (state->writer_pid > 0)
        snprintf(writer, sizeof writer, "pid %" PRId64, state->writer_pid);
    else if (state->writer_number > 0)
        snprintf(writer, sizeof writer, "transaction %" PRId64, state->writer_number);
    if (state->writer_age_s >= 0)
        snprintf(age, sizeof age,
                 state->writer_number > 0 ? ", in progress for at least %" PRId64 " s"
                                          : ", in a transaction for %" PRId64 " s",
                 state->writer_age_s);
    snprintf(text, size, "writers of %s: %s%s", mig_table_info(state->held_up)->name, writer, age);
}

static int note_writers(struct mig_settling *settling, enum mig_table table, int64_t latest,
                        const struct mig_pg_result *answer, struct mig_error *err)
{
    mig_cleanup(source_writers_release) struct source_writers now = {0};
    int result = MIG_OK;

    if (latest < settling->bounds[table] && settling->method == SETTLE_BY_WRITERS)
        return refuse_backwards(settling, table, latest, err);
    for (int row = 0; row < answer->rows && result == MIG_OK; row++)
        if (mig_pg_int64(answer, row, 0) == (int) table &&
            !source_holds(&now, mig_pg_text(answer, row, 1)))
            result = source_add_writer(&now, mig_pg_text(answer, row, 1), err);
    return result == MIG_OK
               ? source_look(&settling->tables[table], latest, &now, &settling->bounds[table], err)
               : result;
}

static struct source_numbers take_numbers(struct mig_settling *settling,
                                          const struct mig_pg_result *answer)
{
    const int64_t oldest = mig_pg_int64(answer, 0, 0);
    const uint32_t ahead = (uint32_t) mig_pg_int64(answer, 0, 1) - (uint32_t) oldest;
    const bool streams =
        mig_pg_bool(answer, 0, 2) && mig_pg_text(answer, 0, 3) && mig_pg_text(answer, 0, 4);
    const int64_t replayed = streams ? mig_pg_int64(answer, 0, 3) : 0;
    const bool stalled = streams && replayed == settling->replayed &&
                         (replayed < mig_pg_int64(answer, 0, 4) || !mig_pg_bool(answer, 0, 5));

    settling->replayed = replayed;
    return (struct source_numbers){oldest, oldest + ahead, stalled};
}

static int look_at_tables(struct mig_settling *settling, const struct mig_pg_result *latest,
                          const struct mig_pg_result *answer, struct mig_settling_state *state,
                          struct mig_error *err)
{
    const bool by_time = settling->method == SETTLE_BY_TIME;
    const struct source_numbers numbers =
        by_time ? take_numbers(settling, answer) : (struct source_numbers){0};
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        state->latest[table] = mig_pg_int64(latest, 0, table);
        if (by_time)
            source_look_by_time(&settling->tables[table], state->latest[table], numbers,
                                mig_time_monotonic_ns(),
                                settling->source->manifest->settle_hold_s * MIG_NS_PER_SECOND,
                                &settling->bounds[table]);
        else
            result =
                note_writers(settling, (enum mig_table) table, state->latest[table], answer, err);
    }
    if (by_time)
        note_oldest_by_time(settling, numbers, state);
    else if (result == MIG_OK)
        note_oldest(settling, answer, state);
    return result;
}

/* A session that has cached ids needs no lock to keep them. Asked behind the others: what they tell
 * of such a sequence is not to be taken. */
static int check_caches(struct mig_settling *settling, const struct mig_pg_result *latest,
                        struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    bool moved = false;
    int result;

    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        moved = moved || mig_pg_int64(latest, 0, table) > settling->bounds[table];
    if (!moved || settling->caches_sql.size == 0)
        return MIG_OK;
    result = source_query(settling->source, (const char *) settling->caches_sql.data, NULL, 0,
                          &answer, err);
    /* Made anew, they are refused by name. */
    return result == MIG_OK && answer.rows > 0
               ? source_settle_sql(settling->source, &settling->latest_sql, &settling->holders_sql,
                                   &settling->caches_sql, err)
               : result;
}

/* In this order: whoever comes to write after the first can't draw what it tells. And both of one
 * server. */
static int ask(struct mig_settling *settling, struct mig_pg_result *latest,
               struct mig_pg_result *holders, struct mig_error *err)
{
    struct mig_source *source = settling->source;
    int result;

    do {
        mig_pg_result_release(latest);
        mig_pg_result_release(holders);
        if ((result = meet_source(settling, err)) != MIG_OK ||
            (result = source_query(source, (const char *) settling->latest_sql.data, NULL, 0,
                                   latest, err)) != MIG_OK)
            return result;
        result =
            source_query(source, (const char *) settling->holders_sql.data, NULL, 0, holders, err);
        if (result == MIG_OK && settling->method == SETTLE_BY_TIME && source->is_standby &&
            !mig_pg_bool(holders, 0, 2))
            result = source_leave_promoted(source, err);
    } while (result == MIG_OK && settling->connections != source->connections);
    return result;
}

int mig_settling_look(struct mig_settling *settling, struct mig_settling_state *ret_state,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result latest = {0}, answer = {0};
    struct mig_settling_state state = {0};
    int result;

    if ((result = ask(settling, &latest, &answer, err)) != MIG_OK ||
        (result = check_caches(settling, &latest, err)) != MIG_OK ||
        (result = look_at_tables(settling, &latest, &answer, &state, err)) != MIG_OK ||
        (result = find_durable(settling, &state, err)) != MIG_OK)
        return result;
    *ret_state = state;
    return MIG_OK;
}
