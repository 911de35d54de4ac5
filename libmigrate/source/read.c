/* Rows out of V3: COPY statements of bounded length, each its own short transaction, cut to parts.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>

/* One COPY: enough that a statement's cost is nothing, little enough that its snapshot is short.
 * How many rows that is tells the COPY before. */
#define COPY_BYTES ((size_t) 16 << 20)
#define FIRST_COPY_ROWS 4096
#define LEAST_COPY_ROWS ((size_t) 64)
#define MOST_COPY_ROWS ((size_t) 32768)

/* Rows above the sequence may lie in a band each, and a transaction locks every band it writes to.
 */
#define STRAY_ROWS 64

int mig_source_read_begin(struct mig_source *source, enum mig_table table, int64_t first_id,
                          int64_t last_id, bool settled, struct mig_error *err)
{
    if (source->reading.copying)
        mig_pg_copy_abandon(source->pg);
    source->reading = (struct source_reading){
        .table = table, .next_id = first_id, .last_id = last_id, .settled = settled};
    source->reading.copy_rows = FIRST_COPY_ROWS;
    source->reading.ended = first_id > last_id;
    mig_buffer_release(&source->among);
    return mig_stop_check(source->stop, err);
}

void mig_source_set_gate(struct mig_source *source, const struct mig_source_gate *gate)
{
    source->gate = gate;
}

int source_pass_gate(struct mig_source *source, struct mig_error *err)
{
    const struct mig_source_gate *gate = source->gate;
    const uint64_t rows = source->ungated_rows;

    if (gate && gate->statement_rows > 0 && gate->statement_rows < source->reading.copy_rows)
        source->reading.copy_rows = gate->statement_rows;
    source->ungated_rows = 0;
    return gate ? gate->enter(gate->context, rows, err) : MIG_OK;
}

static int begin_copy(struct mig_source *source, int64_t from_id, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;
    const struct mig_table_info *info = mig_table_info(reading->table);
    const char *join = info->joins_installations && source->can_join_installations
                           ? " LEFT JOIN installations i ON i.id = t.installation_id"
                           : "";
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(SOURCE_SQL_LIMIT);
    int result = source_pass_gate(source, err);

    if (result != MIG_OK)
        return result;
    result = mig_buffer_print(
        &sql, err,
        "COPY (SELECT %s FROM %s t%s WHERE t.%s BETWEEN '%" PRId64 "'::bigint AND '%" PRId64
        "'::bigint ORDER BY t.%s LIMIT %zu) TO STDOUT (FORMAT binary)%c",
        source->columns[reading->table],
        source->among.size > 0 ? (const char *) source->among.data : info->name, join,
        info->id_column, from_id, reading->last_id, info->id_column, reading->copy_rows, '\0');
    if (result == MIG_OK && (result = source_reach_floor(source, err)) == MIG_OK &&
        (result = source_check_witness(source, reading->table, err)) == MIG_OK)
        result = mig_pg_copy_out(source->pg, (const char *) sql.data, err);
    reading->copying = result == MIG_OK;
    reading->copied = 0;
    reading->copied_bytes = 0;
    return result;
}

static int take_value(const struct mig_column *column, const struct mig_pg_field *field,
                      struct mig_arena *arena, struct mig_value *ret_value, struct mig_error *err)
{
    static const size_t sizes[] = {[MIG_COLUMN_BOOL] = 1,
                                   [MIG_COLUMN_INT16] = 2,
                                   [MIG_COLUMN_INT64] = 8,
                                   [MIG_COLUMN_TIMESTAMP] = 8};

    ret_value->is_null = field->is_null;
    if (field->is_null && !column->nullable)
        return mig_fail(err, MIG_E_CORRUPT, "%s is NULL", column->name);
    if (column->type == MIG_COLUMN_BYTES)
        return field->is_null ? MIG_OK
                              : mig_arena_copy(arena, field->bytes, &ret_value->bytes, err);
    return field->is_null ? MIG_OK
                          : mig_pg_read_int(field, sizes[column->type], &ret_value->number, err);
}

static int take_row(struct mig_source *source, const struct mig_pg_field *fields,
                    struct mig_part *part, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;
    const struct mig_table_info *info = mig_table_info(reading->table);
    const size_t held = part->arena.used_bytes;
    struct mig_row *row;
    int64_t id;
    int result;

    if ((result = mig_pg_read_int(&fields[0], 8, &id, err)) != MIG_OK ||
        (result = mig_part_add_row(part, &row, err)) != MIG_OK)
        return result;
    row->table = reading->table;
    row->id = id;
    for (size_t i = 0; i < info->column_count; i++)
        if ((result = take_value(&info->columns[i], &fields[i + 1], &part->arena, &row->values[i],
                                 err)) != MIG_OK)
            return mig_error_within(err, "source: %s %" PRId64, info->name, id);
    if (id < part->first_id || id > reading->last_id ||
        (reading->has_row && id <= reading->last_row_id))
        return mig_fail(err, MIG_E_CORRUPT, "source: %s %" PRId64 " came out of order", info->name,
                        id);
    reading->last_row_id = id;
    reading->has_row = true;
    reading->copied++;
    source->ungated_rows++;
    reading->copied_bytes += part->arena.used_bytes - held;
    return MIG_OK;
}

static size_t rows_of_copy(size_t row_bytes)
{
    const size_t rows = COPY_BYTES / (row_bytes + 1);

    if (rows < LEAST_COPY_ROWS)
        return LEAST_COPY_ROWS;
    return rows > MOST_COPY_ROWS ? MOST_COPY_ROWS : rows;
}

/* A COPY has ended: its rows must be as many as the server says it sent. */
static int end_copy(struct mig_source *source, uint64_t sent, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;

    reading->copying = false;
    if (sent != reading->copied)
        return mig_fail(err, MIG_E_CORRUPT,
                        "source: %s: %" PRIu64 " rows arrived of %" PRIu64 " that the server sent",
                        mig_table_info(reading->table)->name, reading->copied, sent);
    reading->ended = sent < reading->copy_rows || reading->last_row_id == reading->last_id;
    if (sent > 0)
        reading->copy_rows = rows_of_copy(reading->copied_bytes / sent);
    return MIG_OK;
}

/* How long a COPY takes hangs on who waits for its rows as well: one that gave some and was ended
 * by the manifest's limit is gone on with behind them, at once. Other failures that pass, later. */
static int go_on(struct mig_source *source, const struct mig_error *failure, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;
    const bool moved = reading->copied > 0;

    reading->copying = false;
    reading->copied = 0;
    if (failure->code == MIG_E_TEMPORARY && mig_pg_timed_out(source->pg) && moved)
        return MIG_OK;
    if (failure->code == MIG_E_TEMPORARY)
        return source_recover(source, &source->retry, failure, err);
    if (err)
        *err = *failure;
    return failure->code;
}

/* The last possible row ends no part by itself: the server's count behind it is still to come. */
static bool is_full(const struct source_reading *reading, const struct mig_part *part,
                    struct mig_part_limits limits)
{
    const size_t rows = reading->settled || limits.rows < STRAY_ROWS ? limits.rows : STRAY_ROWS;

    return (part->row_count >= rows || part->arena.used_bytes >= limits.bytes) &&
           reading->last_row_id < reading->last_id;
}

/* Nodes keep bands of ids in tables of their own: a part whose rows lie in one of them alone can be
 * loaded with that band. Rows above the sequence may lie in a band each: no part for every one. */
static int keep_row_of_next_band(struct source_reading *reading, const struct mig_part *part,
                                 struct mig_error *err)
{
    int64_t id;
    int result = mig_pg_read_int(&reading->kept[0], 8, &id, err);

    reading->has_kept = result == MIG_OK && reading->settled && part->row_count > 0 && id >= 0 &&
                        id > reading->last_row_id && id <= reading->last_id &&
                        reading->last_row_id < id / MIG_BAND_WIDTH * MIG_BAND_WIDTH;
    reading->kept_id = id;
    return result;
}

/* Rows that were asked for by name lie anywhere. */
static int note_witness(struct mig_source *source, struct mig_part *part, struct mig_error *err)
{
    return source->among.size == 0 ? source_note_witness(source, part, err) : MIG_OK;
}

static int fill_part(struct mig_source *source, struct mig_part_limits limits,
                     struct mig_part *part, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;
    const size_t count = mig_table_info(reading->table)->column_count + 1;
    uint64_t sent;
    bool more;
    int result = MIG_OK;

    if (reading->has_kept) {
        reading->has_kept = false;
        result = take_row(source, reading->kept, part, err);
    }
    while (result == MIG_OK && !reading->ended && !is_full(reading, part, limits)) {
        struct mig_error failure = MIG_ERROR_INIT;

        /* A COPY that broke off behind the last possible row is not gone on with: behind the
         * highest of all ids there is none to begin with. */
        if (!reading->copying && reading->has_row && reading->last_row_id == reading->last_id) {
            reading->ended = true;
            break;
        }
        if (!reading->copying)
            result = begin_copy(
                source, reading->has_row ? reading->last_row_id + 1 : reading->next_id, &failure);
        if (result == MIG_OK)
            result = mig_pg_copy_next(source->pg, reading->kept, count, &more, &sent, &failure);
        /* Whoever answers next must have what was read of the part so far. */
        if (result != MIG_OK && (result = note_witness(source, part, err)) == MIG_OK) {
            result = go_on(source, &failure, err);
            continue;
        }
        if (result != MIG_OK)
            return result;
        mig_retry_succeeded(&source->retry);
        if (more && (result = keep_row_of_next_band(reading, part, err)) == MIG_OK &&
            reading->has_kept)
            return MIG_OK;
        if (result == MIG_OK)
            result =
                more ? take_row(source, reading->kept, part, err) : end_copy(source, sent, err);
    }
    return result;
}

int mig_source_read_part(struct mig_source *source, struct mig_part_limits limits,
                         struct mig_part **ret_part, struct mig_error *err)
{
    struct source_reading *reading = &source->reading;
    const int64_t began_ns = mig_time_monotonic_ns();
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result;

    if (reading->ended && reading->next_id > reading->last_id) {
        *ret_part = NULL;
        return MIG_OK;
    }
    result = mig_part_new(reading->table, reading->next_id, &part, err);
    if (result != MIG_OK)
        return result;
    part->settled = reading->settled;
    if ((result = fill_part(source, limits, part, err)) != MIG_OK)
        return result;
    part->last_id = reading->has_kept ? reading->kept_id / MIG_BAND_WIDTH * MIG_BAND_WIDTH - 1
                    : reading->ended  ? reading->last_id
                                      : reading->last_row_id;
    /* Behind the last possible id there is no next one: an empty range says so. */
    if (part->last_id == reading->last_id) {
        reading->ended = true;
        reading->next_id = INT64_MAX;
        reading->last_id = INT64_MIN;
    } else {
        reading->next_id = part->last_id + 1;
    }
    mig_report_measure(source->hooks, MIG_MEASURE_READ_SECONDS, mig_table_info(part->table)->name,
                       NULL,
                       (double) (mig_time_monotonic_ns() - began_ns) / (double) MIG_NS_PER_SECOND);
    if ((result = note_witness(source, part, err)) != MIG_OK)
        return result;
    *ret_part = mig_take(part);
    return MIG_OK;
}
