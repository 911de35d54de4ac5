/* Which of V3's columns this database has: databases of several ages look different. */
#include "libmigrate/source/source_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LIMIT ((size_t) 64 << 10)

static bool has_column(const struct mig_pg_result *catalogue, const char *table, const char *column)
{
    for (int row = 0; row < catalogue->rows; row++)
        if (strcmp(mig_pg_text(catalogue, row, 0), table) == 0 &&
            strcmp(mig_pg_text(catalogue, row, 1), column) == 0)
            return true;
    return false;
}

static bool has_table(const struct mig_pg_result *catalogue, const char *table)
{
    for (int row = 0; row < catalogue->rows; row++)
        if (strcmp(mig_pg_text(catalogue, row, 0), table) == 0)
            return true;
    return false;
}

static const char *cast_of(enum mig_column_type type)
{
    static const char *const casts[] = {
        [MIG_COLUMN_BYTES] = "bytea",         [MIG_COLUMN_BOOL] = "boolean",
        [MIG_COLUMN_INT16] = "smallint",      [MIG_COLUMN_INT64] = "bigint",
        [MIG_COLUMN_TIMESTAMP] = "timestamp",
    };

    return casts[type];
}

static int add_column(const struct mig_source *source, const struct mig_pg_result *catalogue,
                      const struct mig_table_info *info, const struct mig_column *column,
                      struct mig_buffer *list, struct mig_buffer *missing, struct mig_error *err)
{
    const bool there = column->derived ? source->can_join_installations
                                       : has_column(catalogue, info->name, column->name);

    if (there && column->derived)
        return mig_buffer_print(list, err, ", %s", column->derived);
    if (there)
        return mig_buffer_print(list, err, ", t.%s::%s", column->name, cast_of(column->type));
    if (column->optional)
        return mig_buffer_print(list, err, ", %s", column->otherwise);
    return mig_buffer_print(missing, err, "%s%s.%s", missing->size ? ", " : "", info->name,
                            column->name);
}

static int list_columns(struct mig_source *source, const struct mig_pg_result *catalogue,
                        const struct mig_table_info *info, char **ret_list,
                        struct mig_buffer *missing, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer list = MIG_BUFFER_INIT(LIST_LIMIT);
    int result = mig_buffer_print(&list, err, "t.%s::bigint", info->id_column);

    if (result == MIG_OK && !has_table(catalogue, info->name))
        return mig_buffer_print(missing, err, "%s%s", missing->size ? ", " : "", info->name);
    if (result == MIG_OK && !has_column(catalogue, info->name, info->id_column))
        result = mig_buffer_print(missing, err, "%s%s.%s", missing->size ? ", " : "", info->name,
                                  info->id_column);
    for (size_t i = 0; i < info->column_count && result == MIG_OK; i++)
        result = add_column(source, catalogue, info, &info->columns[i], &list, missing, err);
    if (result == MIG_OK)
        *ret_list = (char *) mig_take(list.data);
    return result;
}

/* A source that is connected to again must be as it was: a row has one form for all of a job. */
static int list_table(struct mig_source *source, const struct mig_pg_result *catalogue,
                      enum mig_table table, struct mig_buffer *missing, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *before = mig_take(source->columns[table]);
    int result = list_columns(source, catalogue, mig_table_info(table), &source->columns[table],
                              missing, err);

    if (result != MIG_OK || !before || !source->columns[table] ||
        strcmp(before, source->columns[table]) == 0)
        return result;
    mig_fail(err, MIG_E_REFUSED, "source (%s): the columns of %s are others than before",
             mig_pg_place(source->pg), mig_table_info(table)->name);
    return mig_hint(err, "see what changed V3's schema, then run it again");
}

int source_probe(struct mig_source *source, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result catalogue = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer missing = MIG_BUFFER_INIT(LIST_LIMIT);
    int result = source_choose_method(source, err);

    if (result != MIG_OK)
        return result;
    result = mig_pg_query(source->pg,
                          "SELECT c.relname, a.attname FROM pg_class c"
                          " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'"
                          " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
                          " AND NOT a.attisdropped"
                          " WHERE c.relkind IN ('r', 'p', 'v') AND c.relname IN ('group_messages',"
                          " 'welcome_messages', 'key_packages', 'inbox_log', 'installations')",
                          NULL, 0, &catalogue, err);
    if (result != MIG_OK)
        return result;
    source->can_join_installations = has_column(&catalogue, "installations", "id") &&
                                     has_column(&catalogue, "installations", "key_package") &&
                                     has_column(&catalogue, "installations", "updated_at");
    source->has_is_appended = has_column(&catalogue, "installations", "is_appended");
    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++)
        result = list_table(source, &catalogue, (enum mig_table) table, &missing, err);
    if (result != MIG_OK)
        return result;
    if (missing.size > 0) {
        mig_fail(err, MIG_E_REFUSED, "source (%s) is not a V3 database: it lacks %.500s",
                 mig_pg_place(source->pg), (const char *) missing.data);
        return mig_hint(err, "check source.dsn, and that its role may see these tables");
    }
    if (!source->can_join_installations)
        mig_log(source->hooks, MIG_LOG_WARN,
                "source: installations lacks key_package or updated_at: key packages count from "
                "their upload alone");
    return MIG_OK;
}
