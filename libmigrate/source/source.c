/* Opening the V3 database, and what is asked of it besides rows. */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SIZE 1024
#define BLOCKERS_LISTED 1000
#define COUNTED_AT_ONCE 1000000
#define INSTALLATIONS_AT_ONCE 10000

int mig_source_open(const struct mig_manifest *manifest, const struct mig_hooks *hooks,
                    const struct mig_stop *stop, struct mig_source **ret_source,
                    struct mig_error *err)
{
    mig_cleanup(mig_source_close) struct mig_source *source = calloc(1, sizeof *source);
    int result;

    if (!source)
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    source->among = MIG_BUFFER_INIT(SOURCE_SQL_LIMIT);
    source->manifest = manifest;
    source->hooks = hooks;
    source->stop = stop;
    source->leaving.also = stop;
    source->past = &source->own_past;
    source->own_past.lock = (pthread_mutex_t) PTHREAD_MUTEX_INITIALIZER;
    if ((result = source_connect(source, err)) != MIG_OK)
        return result;
    *ret_source = mig_take(source);
    return MIG_OK;
}

void mig_source_close(struct mig_source **source)
{
    struct mig_source *s = mig_take(*source);

    if (!s)
        return;
    mig_pg_close(&s->pg);
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        free(s->columns[table]);
    source_look_release(&s->look);
    mig_buffer_release(&s->among);
    free(s);
}

static int ask_number(struct mig_source *source, const char *sql, int64_t *ret_number,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = source_query(source, sql, NULL, 0, &answer, err);

    if (result == MIG_OK)
        *ret_number = mig_pg_int64(&answer, 0, 0);
    return result;
}

int mig_source_estimate(struct mig_source *source, enum mig_table table, uint64_t *ret_rows,
                        struct mig_error *err)
{
    char sql[SQL_SIZE];
    int64_t rows;
    int result;

    snprintf(sql, sizeof sql, "SELECT reltuples::bigint FROM pg_class WHERE oid = '%s'::regclass",
             mig_table_info(table)->name);
    result = ask_number(source, sql, &rows, err);
    if (result == MIG_OK && rows <= 0)
        return mig_source_count(source, table, INT64_MIN, INT64_MAX, ret_rows, err);
    if (result == MIG_OK)
        *ret_rows = (uint64_t) rows;
    return result;
}

/* A million rows a statement: a count of a large table would hold its snapshot for minutes. */
static int count_some(struct mig_source *source, const struct mig_table_info *info,
                      int64_t first_id, int64_t last_id, uint64_t *ret_rows, int64_t *ret_highest,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT count(*), coalesce(max(id), 0) FROM (SELECT %s::bigint AS id FROM %s WHERE %s"
             " BETWEEN '%" PRId64 "'::bigint AND '%" PRId64 "'::bigint ORDER BY %s LIMIT %d) AS c",
             info->id_column, info->name, info->id_column, first_id, last_id, info->id_column,
             COUNTED_AT_ONCE);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result == MIG_OK) {
        *ret_rows = (uint64_t) mig_pg_int64(&answer, 0, 0);
        *ret_highest = mig_pg_int64(&answer, 0, 1);
    }
    return result;
}

int mig_source_count(struct mig_source *source, enum mig_table table, int64_t first_id,
                     int64_t last_id, uint64_t *ret_rows, struct mig_error *err)
{
    uint64_t total = 0, rows = COUNTED_AT_ONCE;
    int64_t highest;

    while (rows == COUNTED_AT_ONCE) {
        int result =
            count_some(source, mig_table_info(table), first_id, last_id, &rows, &highest, err);

        if (result != MIG_OK)
            return result;
        total += rows;
        mig_report_measure(source->hooks, MIG_MEASURE_ROWS_COUNTED, mig_table_info(table)->name,
                           NULL, (double) rows);
        if (rows == COUNTED_AT_ONCE && highest == INT64_MAX)
            break;
        first_id = highest + (rows == COUNTED_AT_ONCE);
    }
    *ret_rows = total;
    return MIG_OK;
}

int mig_source_next_id(struct mig_source *source, enum mig_table table, int64_t first_id,
                       int64_t last_id, bool *ret_found, int64_t *ret_id, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_table_info *info = mig_table_info(table);
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT min(%s)::bigint FROM %s WHERE %s BETWEEN '%" PRId64 "'::bigint AND '%" PRId64
             "'::bigint",
             info->id_column, info->name, info->id_column, first_id, last_id);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_found = mig_pg_text(&answer, 0, 0) != NULL;
    if (*ret_found)
        *ret_id = mig_pg_int64(&answer, 0, 0);
    return MIG_OK;
}

#define RANGES_AT_ONCE 256

static int count_some_ranges(struct mig_source *source, const struct mig_table_info *info,
                             struct mig_source_range *ranges, size_t count, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(SOURCE_SQL_LIMIT);
    int result = mig_buffer_print(&sql, err,
                                  "SELECT (SELECT count(*) FROM %s WHERE %s BETWEEN first AND last)"
                                  " FROM (VALUES",
                                  info->name, info->id_column);

    for (size_t i = 0; i < count && result == MIG_OK; i++)
        result =
            mig_buffer_print(&sql, err, "%s (%zu, '%" PRId64 "'::bigint, '%" PRId64 "'::bigint)",
                             i > 0 ? "," : "", i, ranges[i].first_id, ranges[i].last_id);
    if (result == MIG_OK)
        result = mig_buffer_print(&sql, err, ") AS r (place, first, last) ORDER BY place%c", 0);
    if (result != MIG_OK ||
        (result = source_query(source, (const char *) sql.data, NULL, 0, &answer, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < count; i++)
        ranges[i].rows = (uint64_t) mig_pg_int64(&answer, (int) i, 0);
    return MIG_OK;
}

int mig_source_count_ranges(struct mig_source *source, enum mig_table table,
                            struct mig_source_range *ranges, size_t count, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < count && result == MIG_OK; i += RANGES_AT_ONCE) {
        const size_t some = count - i < RANGES_AT_ONCE ? count - i : RANGES_AT_ONCE;

        if ((result = mig_stop_check(source->stop, err)) == MIG_OK)
            result = count_some_ranges(source, mig_table_info(table), &ranges[i], some, err);
    }
    return result;
}

int mig_source_next_band(struct mig_source *source, enum mig_table table, int64_t first_id,
                         int64_t last_id, uint64_t limit, bool *ret_found, int64_t *ret_start,
                         uint64_t *ret_rows, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_table_info *info = mig_table_info(table);
    char sql[1024];
    int result;

    snprintf(sql, sizeof sql,
             "WITH first AS MATERIALIZED (SELECT id, id / %" PRId64 " * %" PRId64 " AS start FROM"
             " (SELECT min(%s) AS id FROM %s WHERE %s BETWEEN '%" PRId64 "'::bigint AND"
             " '%" PRId64 "'::bigint) m) SELECT start, (SELECT count(*) FROM (SELECT FROM %s t"
             " WHERE t.%s BETWEEN first.id AND start + least('%" PRId64 "'::bigint - start,"
             " %" PRId64 ") LIMIT %" PRIu64 ") rows) FROM first WHERE id IS NOT NULL",
             MIG_BAND_WIDTH, MIG_BAND_WIDTH, info->id_column, info->name, info->id_column, first_id,
             last_id, info->name, info->id_column, last_id, MIG_BAND_WIDTH - 1, limit);
    result = source_query(source, sql, NULL, 0, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_found = answer.rows == 1;
    if (*ret_found) {
        *ret_start = mig_pg_int64(&answer, 0, 0);
        *ret_rows = (uint64_t) mig_pg_int64(&answer, 0, 1);
    }
    return MIG_OK;
}

static int add_blocker(const struct mig_pg_result *answer, int row, struct mig_blockers *blockers,
                       struct mig_error *err)
{
    char subject[600];

    snprintf(subject, sizeof subject, "installation %.512s", mig_pg_text(answer, row, 0));
    return mig_blockers_add(blockers, subject,
                            "its current key package is in no row of key_packages, so it has no "
                            "sequence id and no envelope can carry it",
                            "let the backfill of V3 finish (is_appended), then run again", err);
}

/* Where a page of installations behind the one named ends; NULL when it is not full. */
static int find_page_end(struct mig_source *source, const char *after, char **ret_end,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT encode(id, 'hex') FROM installations WHERE $1::text IS NULL"
             " OR id > decode($1::text, 'hex') ORDER BY id OFFSET %d LIMIT 1",
             INSTALLATIONS_AT_ONCE - 1);
    result = source_query(source, sql, &after, 1, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_end = answer.rows > 0 ? strdup(mig_pg_text(&answer, 0, 0)) : NULL;
    return answer.rows == 0 || *ret_end ? MIG_OK
                                        : mig_fail(err, MIG_E_NOMEM, "source: out of memory");
}

/* A page a statement: all installations in one would hold its snapshot for minutes. */
static int add_page_of_blockers(struct mig_source *source, const char *after, const char *end,
                                struct mig_blockers *blockers, uint64_t *found,
                                struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = source_query(
        source,
        "SELECT encode(i.id, 'hex') FROM installations i"
        " WHERE ($1::text IS NULL OR i.id > decode($1::text, 'hex'))"
        " AND ($2::text IS NULL OR i.id <= decode($2::text, 'hex'))"
        " AND i.is_appended IS NOT TRUE AND NOT EXISTS (SELECT FROM key_packages k"
        " WHERE k.installation_id = i.id AND k.key_package = i.key_package) ORDER BY i.id",
        (const char *const[]){after, end}, 2, &answer, err);

    for (int row = 0; row < answer.rows && result == MIG_OK; row++)
        if ((*found)++ < BLOCKERS_LISTED)
            result = add_blocker(&answer, row, blockers, err);
    return result;
}

int mig_source_blockers(struct mig_source *source, struct mig_blockers *blockers,
                        struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *after = NULL;
    uint64_t found = 0;
    bool more = source->can_join_installations && source->has_is_appended;
    int result = MIG_OK;

    while (more && result == MIG_OK) {
        mig_cleanup(mig_free_text) char *end = NULL;

        if ((result = find_page_end(source, after, &end, err)) == MIG_OK)
            result = add_page_of_blockers(source, after, end, blockers, &found, err);
        more = end != NULL;
        mig_free_text(&after);
        after = mig_take(end);
    }
    if (result == MIG_OK && found > BLOCKERS_LISTED) {
        char subject[64];

        snprintf(subject, sizeof subject, "%" PRIu64 " installations more",
                 found - BLOCKERS_LISTED);
        result = mig_blockers_add(blockers, subject, "as the ones listed",
                                  "let the backfill of V3 finish (is_appended)", err);
    }
    return result;
}
