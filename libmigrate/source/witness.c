/*
 * Rows by which a source is known again. One that was set back gives out ids anew: once it has come
 * farther than before, nothing but the rows themselves tells.
 */
#include "libmigrate/io/io.h"
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SQL_SIZE 1024

static bool is_witness(const struct mig_column *column)
{
    return column->type == MIG_COLUMN_BYTES && !column->nullable;
}

static int digest_row(const struct mig_row *row, char ret_digest[MIG_SHA256_TEXT_SIZE],
                      struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    struct mig_bytes pieces[MIG_COLUMNS_MAX];
    uint8_t digest[MIG_SHA256_SIZE];
    size_t count = 0;
    int result;

    for (size_t i = 0; i < info->column_count; i++)
        if (is_witness(&info->columns[i]))
            pieces[count++] = row->values[i].bytes;
    result = mig_sha256(pieces, count, digest, err);
    for (size_t i = 0; i < sizeof digest && result == MIG_OK; i++)
        snprintf(ret_digest + 2 * i, 3, "%02x", digest[i]);
    return result;
}

int source_note_witness(struct mig_source *source, struct mig_part *part, struct mig_error *err)
{
    const struct mig_row *last;
    int result;

    if (part->row_count == 0 || !part->settled)
        return MIG_OK;
    last = &part->rows[part->row_count - 1];
    if ((result = digest_row(last, part->witness.digest, err)) != MIG_OK)
        return result;
    part->witness.id = last->id;
    mig_source_add_witness(source, part->table, &part->witness);
    return MIG_OK;
}

void mig_source_add_witness(struct mig_source *source, enum mig_table table,
                            const struct mig_witness *witness)
{
    struct mig_witness *known = &source->past->witnesses[table];

    pthread_mutex_lock(&source->past->lock);
    if (!known->digest[0] || known->id < witness->id)
        *known = *witness;
    pthread_mutex_unlock(&source->past->lock);
}

void mig_source_share_past(struct mig_source *source, struct mig_source *other)
{
    if (source == other)
        return;
    mig_source_raise_floor(other, mig_source_floor(source));
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        if (source->past->witnesses[table].digest[0])
            mig_source_add_witness(other, (enum mig_table) table, &source->past->witnesses[table]);
    source->past = other->past;
}

static int check_row(struct mig_source *source, enum mig_table table,
                     const struct mig_witness *witness, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_table_info *info = mig_table_info(table);
    char sql[SQL_SIZE];
    size_t used;
    int result;

    used = (size_t) snprintf(sql, sizeof sql, "SELECT encode(sha256(''::bytea");
    for (size_t i = 0; i < info->column_count; i++)
        if (is_witness(&info->columns[i]))
            used +=
                (size_t) snprintf(sql + used, sizeof sql - used, " || %s", info->columns[i].name);
    snprintf(sql + used, sizeof sql - used, "), 'hex') FROM %s WHERE %s = '%" PRId64 "'::bigint",
             info->name, info->id_column, witness->id);
    result = mig_pg_query(source->pg, sql, NULL, 0, &answer, err);
    if (result != MIG_OK || answer.rows == 0 ||
        strcmp(mig_pg_text(&answer, 0, 0), witness->digest) == 0)
        return result;
    mig_fail(err, MIG_E_REFUSED,
             "source (%s) was set back: %s %" PRId64 " is another row than was read before",
             mig_pg_place(source->pg), info->name, witness->id);
    return mig_hint(err,
                    "it has given out ids anew that nodes hold already: see what it lost, then "
                    "--new-run judges every row anew");
}

int source_check_witness(struct mig_source *source, enum mig_table table, struct mig_error *err)
{
    struct mig_witness witness;
    int result;

    if (source->witnessed[table] == source->connections)
        return MIG_OK;
    pthread_mutex_lock(&source->past->lock);
    witness = source->past->witnesses[table];
    pthread_mutex_unlock(&source->past->lock);
    if (witness.digest[0] && (result = check_row(source, table, &witness, err)) != MIG_OK)
        return result;
    source->witnessed[table] = source->connections;
    return MIG_OK;
}
