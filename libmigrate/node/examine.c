/* What can be asked of a node before anything is written: rights, bands, settings, room. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define LIST_LIMIT ((size_t) 8 << 20)

/* What schemas/sql/node_role.sql gives, as questions. */
static const char *const rights_sql =
    "SELECT current_user, string_agg(lacked, ', ') FROM ("
    " SELECT string_agg(privilege, '/') || ' on ' || name AS lacked FROM unnest(ARRAY["
    " 'gateway_envelopes_meta', 'gateway_envelopes_blob', 'gateway_envelopes_latest', 'payers',"
    " 'unsettled_usage', 'migration_tracker', 'migration_dead_letter_box']) AS name,"
    " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
    " WHERE NOT has_table_privilege('public.' || name, privilege) GROUP BY name"
    " UNION ALL SELECT 'USAGE on the sequence of payers' WHERE NOT"
    " has_sequence_privilege(pg_get_serial_sequence('public.payers', 'id'), 'USAGE')"
    " UNION ALL SELECT 'EXECUTE on ' || p.proname || '()' FROM pg_proc p WHERE p.proname IN"
    " ('ensure_gateway_parts_v3', 'insert_migration_dead_letter_box',"
    " 'delete_migration_dead_letter_box') AND NOT has_function_privilege(p.oid, 'EXECUTE')"
    " UNION ALL SELECT 'membership in ' || pg_get_userbyid(relowner) || ', which owns the tables'"
    " FROM pg_class WHERE oid = 'public.gateway_envelopes_meta'::regclass"
    " AND NOT pg_has_role(relowner, 'MEMBER')"
    " UNION ALL SELECT 'TEMPORARY on the database' WHERE NOT"
    " has_database_privilege(current_database(), 'TEMPORARY')"
    " UNION ALL SELECT 'CREATE on the database, or a schema xmtp_migrate of its own' WHERE NOT"
    " coalesce(has_schema_privilege(to_regnamespace('xmtp_migrate'), 'CREATE'),"
    " has_database_privilege(current_database(), 'CREATE'))) AS rights";

int node_check_rights(struct mig_node *node, struct mig_errors *refusals, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_error one = MIG_ERROR_INIT;
    int result = mig_pg_query(node->pg, rights_sql, NULL, 0, &answer, err);

    if (result != MIG_OK || !mig_pg_text(&answer, 0, 1))
        return result;
    mig_fail(&one, MIG_E_REFUSED, "node '%s' (%s): the role %.60s lacks %.560s", node->entry->name,
             mig_pg_place(node->pg), mig_pg_text(&answer, 0, 0), mig_pg_text(&answer, 0, 1));
    mig_hint(&one, "schemas/sql/node_role.sql gives a role what it needs");
    return mig_errors_add(refusals, &one, err);
}

int mig_node_filled_bands(struct mig_node *node, uint32_t originator, const int64_t *starts,
                          size_t count, size_t *ret_filled, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer list = MIG_BUFFER_INIT(LIST_LIMIT);
    char number[NODE_NUMBER_SIZE], width[NODE_NUMBER_SIZE];
    int result = mig_buffer_print(&list, err, "{");

    for (size_t i = 0; i < count && result == MIG_OK; i++)
        result = mig_buffer_print(&list, err, "%s%" PRId64, i > 0 ? "," : "", starts[i]);
    if (result == MIG_OK)
        result = mig_buffer_print(&list, err, "}");
    if (result == MIG_OK)
        result = mig_pg_query(
            node->pg,
            "SELECT count(*) FROM unnest($1::bigint[]) AS start WHERE EXISTS (SELECT FROM"
            " gateway_envelopes_meta WHERE originator_node_id = $2::int AND originator_sequence_id"
            " >= start AND originator_sequence_id < start + $3::bigint) OR EXISTS (SELECT FROM"
            " gateway_envelopes_blob WHERE originator_node_id = $2::int AND originator_sequence_id"
            " >= start AND originator_sequence_id < start + $3::bigint)",
            (const char *const[]){(const char *) list.data, node_number(originator, number),
                                  node_number(MIG_BAND_WIDTH, width)},
            3, &answer, err);
    if (result == MIG_OK)
        *ret_filled = (size_t) mig_pg_int64(&answer, 0, 0);
    return result;
}

/* ---- settings ------------------------------------------------------------------------------ */

/* Numbers below which, and words at which, a setting hurts. Numbers are in pg_settings' own unit.
 * Timeouts are not among them: our sessions set their own. */
static const char *const settings_sql =
    "SELECT name, current_setting(name), better, why FROM (VALUES"
    " ('max_wal_size', 8192, '16GB', 'a checkpoint every few seconds of loading'),"
    " ('checkpoint_timeout', 900, '30min', 'pages are written, and logged whole, more often'),"
    " ('maintenance_work_mem', 524288, '1GB', 'indexes of a band are sorted on disk'),"
    " ('shared_buffers', 131072, '1GB or a quarter of the memory',"
    "  'indexes of a band do not fit')) AS low (name, least, better, why)"
    " JOIN pg_settings USING (name) WHERE setting::bigint < least"
    " UNION ALL SELECT name, current_setting(name), better, why FROM (VALUES"
    " ('synchronous_standby_names', '.', '(empty)', 'every part waits for the standby'),"
    " ('archive_mode', '^(on|always)$', 'off, or room in the archive',"
    "  'all WAL of the loading is archived'),"
    " ('temp_file_limit', '^[0-9]', '-1', 'sorting the indexes of a band may be refused'),"
    " ('fsync', '^off$', 'on', 'a crash of the server loses what was loaded'),"
    " ('full_page_writes', '^off$', 'on', 'a crash of the server damages what was loaded'))"
    " AS words (name, hurts, better, why) JOIN pg_settings USING (name) WHERE setting ~ hurts"
    " ORDER BY name";

static void take_text(char *into, size_t size, const struct mig_pg_result *answer, int row,
                      int column)
{
    snprintf(into, size, "%s", mig_pg_text(answer, row, column));
}

int mig_node_settings(struct mig_node *node, struct mig_settings *ret_settings,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg, settings_sql, NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    ret_settings->count = 0;
    for (int row = 0; row < answer.rows && row < (int) mig_count_of(ret_settings->items); row++) {
        struct mig_setting *setting = &ret_settings->items[ret_settings->count++];

        take_text(setting->name, sizeof setting->name, &answer, row, 0);
        take_text(setting->value, sizeof setting->value, &answer, row, 1);
        take_text(setting->better, sizeof setting->better, &answer, row, 2);
        take_text(setting->why, sizeof setting->why, &answer, row, 3);
    }
    return MIG_OK;
}

/* ---- room ---------------------------------------------------------------------------------- */

/* A loopback address proves nothing: it may be a tunnel. The server is here when the process that
 * serves us is, and names the port that we come from. */
static bool is_here(int64_t pid, const char *port)
{
    char path[64], title[512], from[32];
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "/proc/%" PRId64 "/cmdline", pid);
    snprintf(from, sizeof from, port ? "(%s)" : "[local]", port);
    if (!(file = fopen(path, "re")))
        return false;
    size = fread(title, 1, sizeof title - 1, file);
    fclose(file);
    title[size] = '\0';
    return strncmp(title, "postgres:", 9) == 0 && strstr(title, from) != NULL;
}

static int64_t free_at(const char *folder, const char *below)
{
    struct statvfs room;
    char path[1024];

    if (!folder || snprintf(path, sizeof path, "%s%s", folder, below) >= (int) sizeof path ||
        statvfs(path, &room) != 0)
        return -1;
    return (int64_t) (room.f_bavail * room.f_frsize);
}

int mig_node_room(struct mig_node *node, struct mig_node_room *ret_room, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_node_room room = {.free_bytes = -1, .wal_free_bytes = -1};
    int result = mig_pg_query(
        node->pg,
        "SELECT pg_backend_pid(), inet_client_port(),"
        " (SELECT setting FROM pg_settings WHERE name = 'data_directory'),"
        " nullif((SELECT pg_tablespace_location(CASE c.reltablespace WHEN 0 THEN d.dattablespace"
        " ELSE c.reltablespace END) FROM pg_class c, pg_database d WHERE"
        " c.oid = 'public.gateway_envelopes_blob'::regclass AND d.datname = current_database()),"
        " ''), current_setting('wal_level') = 'minimal', current_setting('full_page_writes') = "
        "'on'",
        NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    room.wal_minimal = mig_pg_bool(&answer, 0, 4);
    room.wal_full_pages = mig_pg_bool(&answer, 0, 5);
    if (is_here(mig_pg_int64(&answer, 0, 0), mig_pg_text(&answer, 0, 1))) {
        const char *data = mig_pg_text(&answer, 0, 2), *space = mig_pg_text(&answer, 0, 3);

        room.free_bytes = free_at(space ? space : data, "");
        room.wal_free_bytes = free_at(data, "/pg_wal");
    }
    *ret_room = room;
    return MIG_OK;
}
