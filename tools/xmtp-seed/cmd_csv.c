/* The verb `csv`: files named after the tables, their header naming the columns, loaded by the
 * server's own CSV reader in one transaction. */
#include "tools/xmtp-seed/seed.h"
#include "tools/xmtp-seed/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t) 64 << 10)

static const char *dsn;

const struct tool_option csv_options[] = {
    {"dsn", "DSN", "the V3 database: a libpq string, or env:NAME", TOOL_TEXT, &dsn},
    {.name = NULL},
};

struct file {
    char path[PATH_MAX];
    int descriptor; /* -1: there is no such file */
    uint8_t chunk[CHUNK_BYTES];
    size_t size; /* of what is in chunk */
};

static int open_file(const char *folder, const char *table, struct file *ret_file,
                     struct mig_error *err)
{
    if (snprintf(ret_file->path, sizeof ret_file->path, "%s/%s.csv", folder, table) >=
        (int) sizeof ret_file->path)
        return mig_fail(err, MIG_E_USAGE, "the path of the folder is too long");
    ret_file->descriptor = open(ret_file->path, O_RDONLY | O_CLOEXEC);
    if (ret_file->descriptor < 0 && errno != ENOENT)
        return mig_fail(err, MIG_E_IO, "cannot open '%s': %s", ret_file->path, strerror(errno));
    return MIG_OK;
}

static int read_chunk(struct file *file, struct mig_error *err)
{
    ssize_t size;

    do
        size = read(file->descriptor, file->chunk, sizeof file->chunk);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return mig_fail(err, MIG_E_IO, "cannot read '%s': %s", file->path, strerror(errno));
    file->size = (size_t) size;
    return MIG_OK;
}

/* ---- the header --------------------------------------------------------------------------- */

/* A sample of key packages calls the installation's id just id. */
static const char *column_of(enum mig_table table, const char *name)
{
    return table == MIG_TABLE_KEY_PACKAGES && strcmp(name, "id") == 0 ? "installation_id" : name;
}

static int check_column(struct mig_pg *pg, const struct file *file, const char *table,
                        const char *column, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result found = {0};
    const char *params[] = {table, column};
    int result = mig_pg_query(pg,
                              "SELECT FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
                              " AND attrelid = ('public.' || quote_ident($1))::regclass"
                              " AND attname = $2",
                              params, mig_count_of(params), &found, err);

    if (result != MIG_OK || found.rows == 1)
        return result;
    mig_fail(err, MIG_E_USAGE, "'%s': the table '%s' has no column '%s'", file->path, table,
             column);
    return mig_hint(err, "the first line must name columns of the table, split by commas");
}

/* Cuts the next name out of the header; quotes around it don't belong to it. */
static char *next_name(char **rest)
{
    char *name = strsep(rest, ",");
    size_t length = name ? strlen(name) : 0;

    if (length >= 2 && name[0] == '"' && name[length - 1] == '"') {
        name[length - 1] = '\0';
        name++;
    }
    return name;
}

/* Builds the COPY for the columns that the file's first line names. */
static int read_header(struct mig_pg *pg, struct file *file, enum mig_table table,
                       struct mig_buffer *sql, struct mig_error *err)
{
    const char *name = mig_table_info(table)->name;
    const uint8_t *newline = memchr(file->chunk, '\n', file->size);
    char header[2048], *rest = header, *word;
    const char *between = "";
    size_t length;
    int result;

    length = newline ? (size_t) (newline - file->chunk) : file->size;
    if (length > 0 && file->chunk[length - 1] == '\r')
        length--;
    if (length == 0 || length >= sizeof header || memchr(file->chunk, '\0', length))
        return mig_fail(err, MIG_E_USAGE, "'%s': the first line does not name columns", file->path);
    memcpy(header, file->chunk, length);
    header[length] = '\0';
    result = mig_buffer_print(sql, err, "COPY public.%s (", name);
    while (result == MIG_OK && (word = next_name(&rest))) {
        const char *column = column_of(table, word);

        result = check_column(pg, file, name, column, err);
        if (result == MIG_OK)
            result = mig_buffer_print(sql, err, "%s%s", between, column);
        between = ", ";
    }
    return result == MIG_OK ? mig_buffer_print(sql, err, ") FROM STDIN (FORMAT csv, HEADER true)")
                            : result;
}

/* ---- the rows ----------------------------------------------------------------------------- */

static int put_file(struct tool *tool, struct mig_pg *pg, struct file *file, const char *sql,
                    uint64_t *ret_rows, struct mig_error *err)
{
    int result = mig_pg_copy_in_text(pg, sql, err);

    while (result == MIG_OK && file->size > 0) {
        result = mig_pg_put_raw(pg, (struct mig_bytes){file->chunk, file->size}, err);
        if (result == MIG_OK)
            result = mig_stop_check(tool->stop, err);
        if (result == MIG_OK)
            result = read_chunk(file, err);
    }
    if (result == MIG_OK)
        result = mig_pg_copy_in_end(pg, ret_rows, err);
    if (result != MIG_OK)
        mig_error_within(err, "'%s'", file->path);
    return result;
}

/* The next id drawn must be above those that the file brought. */
static int raise_sequence(struct mig_pg *pg, enum mig_table table, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(mig_pg_result_release) struct mig_pg_result found = {0};
    char sql[160];
    int64_t last;
    int result = seed_sequence_last(pg, table, &last, err);

    snprintf(sql, sizeof sql, "SELECT coalesce(max(%s), 0) FROM public.%s", info->id_column,
             info->name);
    if (result == MIG_OK)
        result = mig_pg_query(pg, sql, NULL, 0, &found, err);
    if (result != MIG_OK || mig_pg_int64(&found, 0, 0) <= last)
        return result;
    return seed_sequence_set(pg, table, mig_pg_int64(&found, 0, 0), err);
}

static int load(struct tool *tool, struct mig_pg *pg, struct file *file, enum mig_table table,
                uint64_t *ret_rows, struct mig_error *err)
{
    struct mig_buffer sql = MIG_BUFFER_INIT(8192);
    int result = read_chunk(file, err);

    if (result == MIG_OK)
        result = read_header(pg, file, table, &sql, err);
    if (result == MIG_OK)
        result = put_file(tool, pg, file, (const char *) sql.data, ret_rows, err);
    if (result == MIG_OK)
        result = raise_sequence(pg, table, err);
    mig_buffer_release(&sql);
    return result;
}

static int load_folder(struct tool *tool, struct mig_pg *pg, const char *folder,
                       int64_t loaded[MIG_TABLE_COUNT], struct mig_error *err)
{
    struct file file = {0};
    int result = MIG_OK;

    for (enum mig_table table = 0; result == MIG_OK && table < MIG_TABLE_COUNT; table++) {
        uint64_t rows = 0;

        result = open_file(folder, mig_table_info(table)->name, &file, err);
        if (result != MIG_OK)
            return result;
        loaded[table] = -1;
        if (file.descriptor < 0) {
            mig_log(&tool->hooks, MIG_LOG_WARN, "there is no '%s': the table stays as it is",
                    file.path);
            continue;
        }
        result = load(tool, pg, &file, table, &rows, err);
        loaded[table] = (int64_t) rows;
        close(file.descriptor);
    }
    return result;
}

static int report(struct tool *tool, const int64_t loaded[MIG_TABLE_COUNT], struct mig_error *err)
{
    struct json_object *document, *counts;
    int result = MIG_OK;

    if (!tool->json) {
        for (enum mig_table table = 0; result == MIG_OK && table < MIG_TABLE_COUNT; table++)
            if (loaded[table] >= 0)
                result = tool_print(err, "%-18s %10" PRId64 " rows", mig_table_info(table)->name,
                                    loaded[table]);
        return result;
    }
    document = json_object_new_object();
    counts = json_object_new_object();
    for (enum mig_table table = 0; table < MIG_TABLE_COUNT; table++)
        if (loaded[table] >= 0)
            json_object_object_add(counts, mig_table_info(table)->name,
                                   json_object_new_int64(loaded[table]));
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/seed-csv/1"));
    json_object_object_add(document, "rows", counts);
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

int cmd_csv(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_pg_close) struct mig_pg *pg = NULL;
    int64_t loaded[MIG_TABLE_COUNT];
    int result;

    if (argc != 1)
        return mig_fail(err, MIG_E_USAGE, "csv takes one folder, not %d", argc);
    if (access(argv[0], X_OK) != 0)
        return mig_fail(err, MIG_E_USAGE, "cannot open the folder '%s': %s", argv[0],
                        strerror(errno));
    result = seed_connect(dsn, tool->stop, &pg, err);
    if (result == MIG_OK)
        result = mig_pg_begin(pg, err);
    if (result == MIG_OK)
        result = load_folder(tool, pg, argv[0], loaded, err);
    if (result == MIG_OK)
        result = mig_pg_commit(pg, err);
    return result == MIG_OK ? report(tool, loaded, err) : result;
}
