/* One transaction of a live V3 network: the id is drawn by INSERT, and held before the commit, so
 * that ids become visible out of order and some never do. */
#include "tools/xmtp-seed/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Which table the next row goes to, out of 100. */
static enum mig_table pick_table(struct seed_random *choices)
{
    const uint64_t point = seed_random_between(choices, 0, 99);

    return point < 50   ? MIG_TABLE_GROUP_MESSAGES
           : point < 75 ? MIG_TABLE_WELCOME_MESSAGES
           : point < 90 ? MIG_TABLE_KEY_PACKAGES
                        : MIG_TABLE_INBOX_LOG;
}

/* ---- one row as text parameters ----------------------------------------------------------- */

struct parameters {
    const char *texts[MIG_COLUMNS_MAX];
    size_t count;
};

static int print_value(struct mig_arena *arena, enum mig_column_type type,
                       const struct mig_value *value, const char **ret_text, struct mig_error *err)
{
    const size_t size = type == MIG_COLUMN_BYTES ? 2 * value->bytes.size + 3 : 24;
    void *memory;
    char *text;
    int result = mig_arena_alloc(arena, size, &memory, err);

    if (result != MIG_OK)
        return result;
    text = memory;
    if (type == MIG_COLUMN_BYTES) {
        memcpy(text, "\\x", 2);
        mig_hex_encode(value->bytes, text + 2);
    } else if (type == MIG_COLUMN_BOOL) {
        snprintf(text, size, "%s", value->number ? "t" : "f");
    } else {
        snprintf(text, size, "%" PRId64, value->number);
    }
    *ret_text = text;
    return MIG_OK;
}

/* INSERT with every column but the id and a timestamp, which are the database's to give. */
static int print_insert(struct live_writer *writer, const struct mig_row *row,
                        struct mig_buffer *sql, struct parameters *ret_params,
                        struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    struct parameters params = {0};
    int result = mig_buffer_print(sql, err, "INSERT INTO public.%s (", info->name);

    for (size_t i = 0; result == MIG_OK && i < info->column_count; i++) {
        const struct mig_column *column = &info->columns[i];

        if (column->derived || column->type == MIG_COLUMN_TIMESTAMP)
            continue;
        result = mig_buffer_print(sql, err, "%s%s", params.count ? ", " : "", column->name);
        if (result == MIG_OK && !row->values[i].is_null)
            result = print_value(&writer->maker.arena, column->type, &row->values[i],
                                 &params.texts[params.count], err);
        params.count++;
    }
    for (size_t i = 0; result == MIG_OK && i < params.count; i++)
        result = mig_buffer_print(sql, err, "%s$%zu", i ? ", " : ") VALUES (", i + 1);
    if (result == MIG_OK)
        result = mig_buffer_print(sql, err, ") RETURNING %s", info->id_column);
    *ret_params = params;
    return result;
}

static int insert_row(struct live_writer *writer, const struct mig_row *row, int64_t *ret_id,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result given = {0};
    struct mig_buffer sql = MIG_BUFFER_INIT(4096);
    struct parameters params;
    int result = print_insert(writer, row, &sql, &params, err);

    if (result == MIG_OK)
        result = mig_pg_query(writer->pg, (const char *) sql.data, params.texts, params.count,
                              &given, err);
    if (result == MIG_OK)
        *ret_id = mig_pg_int64(&given, 0, 0);
    mig_buffer_release(&sql);
    return result;
}

/* ---- installations ------------------------------------------------------------------------ */

/* V3 keeps the current package beside the row, in the same transaction. */
static int upsert_installation(struct live_writer *writer, const struct mig_row *row,
                               struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result ignored = {0};
    const struct mig_column *columns = mig_table_info(row->table)->columns;
    static const int places[] = {MIG_KP_CREATED_NS, MIG_KP_INSTALLATION_ID, MIG_KP_KEY_PACKAGE};
    const char *params[mig_count_of(places)];
    int result = MIG_OK;

    for (size_t i = 0; result == MIG_OK && i < mig_count_of(places); i++)
        result = print_value(&writer->maker.arena, columns[places[i]].type, &row->values[places[i]],
                             &params[i], err);
    if (result != MIG_OK)
        return result;
    return mig_pg_query(writer->pg,
                        "INSERT INTO public.installations (created_at, updated_at, id, key_package,"
                        " is_appended) VALUES ($1, $1, $2, $3, true) ON CONFLICT (id) DO UPDATE SET"
                        " updated_at = excluded.updated_at, key_package = excluded.key_package",
                        params, mig_count_of(params), &ignored, err);
}

static struct mig_bytes *pick_installation(struct live_writer *writer)
{
    if (writer->installation_count == 0)
        return NULL;
    return &writer->installations[seed_random_between(&writer->choices, 0,
                                                      writer->installation_count - 1)];
}

/* An older package once more: no row, only the installation changes. Another writer's upload for
 * the same installation can't get in between, for each has its own. */
static int upload_again(struct live_writer *writer, struct mig_bytes installation, bool *ret_done,
                        struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result changed = {0};
    char now[24];
    const char *params[] = {now};
    int result;

    snprintf(now, sizeof now, "%" PRId64, mig_time_now_ns());
    result = mig_pg_query_bytes(
        writer->pg,
        "UPDATE public.installations i SET key_package = k.key_package, updated_at = $2"
        " FROM (SELECT key_package FROM public.key_packages WHERE installation_id = $1"
        "       ORDER BY sequence_id LIMIT 1) k"
        " WHERE i.id = $1 AND i.key_package <> k.key_package",
        installation, params, mig_count_of(params), &changed, err);
    if (result == MIG_OK)
        *ret_done = changed.affected > 0;
    return result;
}

static int remember_installation(struct live_writer *writer, const struct mig_row *row,
                                 struct mig_error *err)
{
    if (writer->installation_count == mig_count_of(writer->installations))
        return MIG_OK;
    for (size_t i = 0; i < writer->installation_count; i++)
        if (mig_bytes_equal(writer->installations[i], row->values[MIG_KP_INSTALLATION_ID].bytes))
            return MIG_OK;
    return mig_arena_copy(&writer->kept, row->values[MIG_KP_INSTALLATION_ID].bytes,
                          &writer->installations[writer->installation_count++], err);
}

/* ---- one transaction ---------------------------------------------------------------------- */

/* Ordinary rows as `rows` makes them, but made now, and never the same twice. */
static int make_row(struct live_writer *writer, enum mig_table table, struct mig_row *ret_row,
                    struct mig_error *err)
{
    struct seed_network *network = writer->maker.network;
    const int64_t number = (int64_t) (seed_random_next(&writer->contents) >> 1);
    const struct mig_bytes *known = pick_installation(writer);
    int result;

    network->until_ns = mig_time_now_ns();
    result = seed_make_row(&writer->maker, table, network->rows[table], number, ret_row, err);
    if (result != MIG_OK || table != MIG_TABLE_KEY_PACKAGES || !known ||
        seed_random_percent(&writer->choices, 40))
        return result;
    ret_row->values[MIG_KP_INSTALLATION_ID].bytes = *known;
    return MIG_OK;
}

static void hold(struct live_writer *writer)
{
    const uint64_t slice_ms = 20;

    for (uint64_t left_ms = seed_random_between(&writer->choices, 0, writer->hold_ms), nap_ms;
         left_ms > 0 && mig_stop_check(writer->stop, NULL) == MIG_OK; left_ms -= nap_ms) {
        nap_ms = left_ms < slice_ms ? left_ms : slice_ms;
        nanosleep(&(struct timespec){.tv_nsec = (long) nap_ms * 1000000}, NULL);
    }
}

static int end_transaction(struct live_writer *writer, bool keep, struct mig_error *err)
{
    hold(writer);
    if (keep)
        return mig_pg_commit(writer->pg, err);
    mig_pg_rollback(writer->pg);
    return MIG_OK;
}

static void count_commit(struct live_totals *totals, enum mig_table table, int64_t id)
{
    pthread_mutex_lock(&totals->lock);
    totals->committed[table]++;
    if (id < totals->highest[table])
        totals->out_of_order++;
    else
        totals->highest[table] = id;
    pthread_mutex_unlock(&totals->lock);
}

static void count_one(struct live_totals *totals, int64_t *counter)
{
    pthread_mutex_lock(&totals->lock);
    ++*counter;
    pthread_mutex_unlock(&totals->lock);
}

static int write_row(struct live_writer *writer, bool keep, struct mig_error *err)
{
    const enum mig_table table = pick_table(&writer->choices);
    struct mig_row row;
    int64_t id = 0;
    int result = make_row(writer, table, &row, err);

    if (result == MIG_OK)
        result = insert_row(writer, &row, &id, err);
    if (result == MIG_OK && table == MIG_TABLE_KEY_PACKAGES)
        result = upsert_installation(writer, &row, err);
    if (result == MIG_OK)
        result = end_transaction(writer, keep, err);
    if (result != MIG_OK || !keep)
        return result;
    count_commit(writer->totals, table, id);
    return table == MIG_TABLE_KEY_PACKAGES ? remember_installation(writer, &row, err) : MIG_OK;
}

int live_write(struct live_writer *writer, struct mig_error *err)
{
    const bool keep = !seed_random_percent(&writer->choices, writer->rollback_percent);
    const struct mig_bytes *known = pick_installation(writer);
    bool again = false;
    int result = mig_pg_begin(writer->pg, err);

    if (result == MIG_OK && known && seed_random_percent(&writer->choices, 5)) {
        result = upload_again(writer, *known, &again, err);
        if (result == MIG_OK)
            result = end_transaction(writer, keep, err);
        if (result == MIG_OK && keep && again)
            count_one(writer->totals, &writer->totals->uploaded_again);
    } else if (result == MIG_OK) {
        result = write_row(writer, keep, err);
    }
    mig_arena_release(&writer->maker.arena);
    if (result == MIG_OK && !keep)
        count_one(writer->totals, &writer->totals->rolled_back);
    return result;
}
