/* What can be known of a table without reading it: the planner's own estimates, and where ids lie.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SIZE 1024
#define BANDS_MAX 100000

/* The planner knows how the table has grown since it was analysed, and what lies in which of its
 * histograms: how many rows it expects is the best that can be said without reading. */
static int ask_planner(struct mig_source *source, const struct mig_table_info *info,
                       const char *condition, uint64_t *ret_rows, struct mig_error *err)
{
    static const char member[] = "\"Plan Rows\": ";
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    const char *found;
    int result;

    snprintf(sql, sizeof sql, "EXPLAIN (FORMAT JSON) SELECT FROM %s WHERE %s", info->name,
             condition);
    if ((result = source_query(source, sql, NULL, 0, &answer, err)) != MIG_OK)
        return result;
    found = strstr(mig_pg_text(&answer, 0, 0), member);
    if (!found)
        return mig_fail(err, MIG_E_DATABASE, "source: %s: the planner has no estimate", info->name);
    *ret_rows = strtoull(found + sizeof member - 1, NULL, 10);
    return MIG_OK;
}

static int look_at_table(struct mig_source *source, const struct mig_table_info *info,
                         struct mig_source_measure *measure, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int result;

    snprintf(sql, sizeof sql,
             "SELECT pg_total_relation_size($1::text::regclass), EXISTS (SELECT FROM pg_stats WHERE"
             " schemaname = 'public' AND tablename = $1::text AND attname = $2), min(%s), max(%s)"
             " FROM %s",
             info->id_column, info->id_column, info->name);
    result = source_query(
        source, sql, (const char *const[]){info->name, info->columns[info->created_column].name}, 2,
        &answer, err);
    if (result != MIG_OK)
        return result;
    measure->disk_bytes = (uint64_t) mig_pg_int64(&answer, 0, 0);
    measure->analysed = mig_pg_bool(&answer, 0, 1);
    measure->has_rows = mig_pg_text(&answer, 0, 2) != NULL;
    measure->lowest = measure->has_rows ? mig_pg_int64(&answer, 0, 2) : 0;
    measure->highest = measure->has_rows ? mig_pg_int64(&answer, 0, 3) : 0;
    return MIG_OK;
}

int mig_source_measure(struct mig_source *source, enum mig_table table, int64_t instant_ns,
                       struct mig_source_measure *ret_measure, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    const struct mig_column *created = &info->columns[info->created_column];
    struct mig_source_measure measure = {0};
    char condition[200], instant[MIG_TIME_TEXT_SIZE];
    int result = look_at_table(source, info, &measure, err);

    mig_time_format(instant_ns, instant);
    if (created->type == MIG_COLUMN_TIMESTAMP)
        snprintf(condition, sizeof condition, "%s <= '%s'::timestamp", created->name, instant);
    else
        snprintf(condition, sizeof condition, "%s <= '%" PRId64 "'::bigint", created->name,
                 instant_ns);
    if (result == MIG_OK && measure.has_rows && !measure.analysed)
        result = mig_source_count(source, table, INT64_MIN, INT64_MAX, &measure.rows, err);
    if (result == MIG_OK && measure.has_rows && measure.analysed &&
        (result = ask_planner(source, info, "true", &measure.rows, err)) == MIG_OK)
        result = ask_planner(source, info, condition, &measure.past, err);
    if (result == MIG_OK)
        *ret_measure = measure;
    return result;
}

/* From band to band by the index: where ids are sparse, most hold nothing. */
int mig_source_bands(struct mig_source *source, enum mig_table table, int64_t **ret_starts,
                     size_t *ret_count, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char sql[SQL_SIZE];
    int64_t *starts;
    int result;

    snprintf(sql, sizeof sql,
             "WITH RECURSIVE band (start) AS (SELECT min(%s) / %" PRId64 " * %" PRId64
             " FROM %s WHERE %s > 0 UNION ALL SELECT (SELECT min(%s) / %" PRId64 " * %" PRId64
             " FROM %s WHERE %s >= band.start + %" PRId64 ") FROM band WHERE band.start < %" PRId64
             ") SELECT start FROM band WHERE start IS NOT NULL LIMIT %d",
             info->id_column, MIG_BAND_WIDTH, MIG_BAND_WIDTH, info->name, info->id_column,
             info->id_column, MIG_BAND_WIDTH, MIG_BAND_WIDTH, info->name, info->id_column,
             MIG_BAND_WIDTH, MIG_SEQUENCE_ID_MAX / MIG_BAND_WIDTH * MIG_BAND_WIDTH, BANDS_MAX);
    if ((result = source_query(source, sql, NULL, 0, &answer, err)) != MIG_OK)
        return result;
    starts = calloc((size_t) answer.rows + 1, sizeof *starts);
    if (!starts)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows; row++)
        starts[row] = mig_pg_int64(&answer, row, 0);
    *ret_starts = starts;
    *ret_count = (size_t) answer.rows;
    return MIG_OK;
}
