/* What a table's ids are drawn from, how far that has come, and rows that are above it. */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SIZE 2048

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
