/* Rows on their way into a database, by binary COPY, as the tables' description says. */
#include "tools/xmtp-seed/seed.h"

int seed_copy_begin(struct mig_pg *pg, enum mig_table table, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    struct mig_buffer sql = MIG_BUFFER_INIT(4096);
    int result = mig_buffer_print(&sql, err, "COPY public.%s (%s", info->name, info->id_column);

    for (size_t i = 0; result == MIG_OK && i < info->column_count; i++)
        if (!info->columns[i].derived)
            result = mig_buffer_print(&sql, err, ", %s", info->columns[i].name);
    if (result == MIG_OK)
        result = mig_buffer_print(&sql, err, ") FROM STDIN (FORMAT binary)");
    if (result == MIG_OK)
        result = mig_pg_copy_in(pg, (const char *) sql.data, err);
    mig_buffer_release(&sql);
    return result;
}

static int put_value(struct mig_pg *pg, enum mig_column_type type, const struct mig_value *value,
                     struct mig_error *err)
{
    if (value->is_null)
        return mig_pg_put_null(pg, err);
    switch (type) {
    case MIG_COLUMN_BYTES:
        return mig_pg_put_bytes(pg, value->bytes, err);
    case MIG_COLUMN_BOOL:
        return mig_pg_put_bool(pg, value->number != 0, err);
    case MIG_COLUMN_INT16:
        return mig_pg_put_int16(pg, (int16_t) value->number, err);
    case MIG_COLUMN_INT64:
    case MIG_COLUMN_TIMESTAMP:
        break;
    }
    return mig_pg_put_int64(pg, value->number, err);
}

int seed_copy_row(struct mig_pg *pg, const struct mig_row *row, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    uint16_t fields = 1;
    int result;

    for (size_t i = 0; i < info->column_count; i++)
        fields = (uint16_t) (fields + !info->columns[i].derived);
    result = mig_pg_put_row(pg, fields, err);
    if (result == MIG_OK)
        result = mig_pg_put_int64(pg, row->id, err);
    for (size_t i = 0; result == MIG_OK && i < info->column_count; i++)
        if (!info->columns[i].derived)
            result = put_value(pg, info->columns[i].type, &row->values[i], err);
    return result;
}
