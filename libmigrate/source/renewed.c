/*
 * Installations whose key package changed, and their rows: V3 makes no row when a package that it
 * has is uploaded again, so nothing that follows ids would see it.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SIZE 2048
#define FOUND_AT_ONCE 1000        /* installations of a page by index */
#define PAGES_AT_ONCE 4096        /* of the heap, in a statement */
#define INSTALLATIONS_AT_ONCE 250 /* whose rows one statement reads */
#define FIRST_VERSION_WITH_TID_RANGES 140000

void source_look_release(struct source_look *look)
{
    mig_pg_result_release(&look->found);
    mig_free_text(&look->after_id);
    *look = (struct source_look){.ended = true};
}

/* ---- from when to look ---------------------------------------------------------------------- */

/* Whoever has changed an installation holds ROW EXCLUSIVE on it until that can be seen. When their
 * transactions began not every role is told: NULL. */
static const char *const mark_sql =
    "WITH holders AS (SELECT DISTINCT virtualtransaction AS v, pid FROM pg_locks WHERE"
    " locktype = 'relation' AND granted AND pid IS DISTINCT FROM pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation IN (SELECT 'installations'::regclass UNION SELECT inhrelid FROM pg_inherits"
    " WHERE inhparent = 'installations'::regclass) AND mode IN ('RowExclusiveLock',"
    " 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')), begun AS (SELECT"
    " coalesce(a.xact_start, p.prepared - interval '10 minutes') AS at FROM holders h"
    " LEFT JOIN pg_stat_activity a ON a.pid = h.pid"
    " LEFT JOIN pg_prepared_xacts p ON h.v = '-1/' || p.transaction)"
    " SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint,"
    " (SELECT (extract(epoch FROM min(at)) * 1000000000)::bigint FROM begun),"
    " EXISTS (SELECT FROM begun WHERE at IS NULL),"
    " (SELECT concat_ws(' ', s.n_tup_ins, s.n_tup_upd, s.n_tup_del, extract(epoch FROM"
    " pg_postmaster_start_time())) FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid"
    " WHERE s.relid = 'installations'::regclass AND c.relkind = 'r' AND NOT c.relhassubclass"
    " AND current_setting('track_counts') = 'on')";

/* Where neither who writes nor how much was written can be seen: changes are expected to be told
 * within an hour. */
#define BLIND_MARGIN_NS (3600 * MIG_NS_PER_SECOND)
static const char *const blind_mark_sql =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint, NULL, false, NULL";

int mig_source_look_mark(struct mig_source *source, int64_t since_ns,
                         struct mig_look_mark *ret_mark, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const bool blind = source->method == SETTLE_BY_TIME || !source->sees_sessions;
    struct mig_look_mark mark = {.next_since_ns = since_ns};
    int64_t safe_ns;
    int result;

    if (!source->can_join_installations) {
        *ret_mark = mark;
        return MIG_OK;
    }
    if ((result = source_query(source, blind ? blind_mark_sql : mark_sql, NULL, 0, &answer, err)) !=
        MIG_OK)
        return result;
    safe_ns = mig_pg_int64(&answer, 0, 0) - (blind ? BLIND_MARGIN_NS : MIG_RENEW_MARGIN_NS);
    if (mig_pg_text(&answer, 0, 1) && mig_pg_int64(&answer, 0, 1) < safe_ns)
        safe_ns = mig_pg_int64(&answer, 0, 1);
    if (!mig_pg_bool(&answer, 0, 2) && safe_ns > since_ns)
        mark.next_since_ns = safe_ns;
    if (mig_pg_text(&answer, 0, 3))
        snprintf(mark.activity, sizeof mark.activity, "%s", mig_pg_text(&answer, 0, 3));
    *ret_mark = mark;
    return MIG_OK;
}

/* ---- which installations -------------------------------------------------------------------- */

/* Where the heap can't be walked by pages (a view, a family of tables, an old server), all of it is
 * one page. */
static int choose_way(struct mig_source *source, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct source_look *look = &source->look;
    int result = source_query(
        source,
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND"
        " a.attnum = i.indkey[0] JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON"
        " m.oid = x.relam WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND"
        " a.attname = 'updated_at' AND m.amname = 'btree'), relkind = 'r' AND NOT relhassubclass,"
        " pg_relation_size(oid) / current_setting('block_size')::bigint FROM pg_class c"
        " WHERE oid = 'installations'::regclass",
        NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    look->by_index = mig_pg_bool(&answer, 0, 0);
    look->page_count = mig_pg_bool(&answer, 0, 1) &&
                               mig_pg_server_version(source->pg) >= FIRST_VERSION_WITH_TID_RANGES
                           ? mig_pg_int64(&answer, 0, 2)
                           : -1;
    return MIG_OK;
}

int mig_source_look_begin(struct mig_source *source, int64_t since_ns, bool *ret_by_index,
                          struct mig_error *err)
{
    int result = MIG_OK;

    source_look_release(&source->look);
    if (source->can_join_installations) {
        source->look = (struct source_look){.since_ns = since_ns};
        result = choose_way(source, err);
    }
    if (result == MIG_OK && ret_by_index)
        *ret_by_index = source->look.by_index;
    return result;
}

/* One that changes again while we look moves behind the place where we are, and is found again. */
static int find_by_index(struct mig_source *source, struct mig_error *err)
{
    struct source_look *look = &source->look;
    char sql[SQL_SIZE];
    const char *const params[] = {look->after_id};
    int result;

    snprintf(sql, sizeof sql,
             "SELECT encode(id, 'hex'), updated_at FROM installations WHERE updated_at >= '%" PRId64
             "'::bigint AND ($1::text IS NULL OR (updated_at, id) > ('%" PRId64
             "'::bigint, decode($1, 'hex'))) ORDER BY updated_at, id LIMIT %d",
             look->after_id ? look->after_ns : look->since_ns, look->after_ns, FOUND_AT_ONCE);
    if ((result = source_query(source, sql, params, 1, &look->found, err)) != MIG_OK)
        return result;
    look->ended = look->found.rows < FOUND_AT_ONCE;
    if (look->ended)
        return MIG_OK;
    mig_free_text(&look->after_id);
    look->after_id = strdup(mig_pg_text(&look->found, FOUND_AT_ONCE - 1, 0));
    look->after_ns = mig_pg_int64(&look->found, FOUND_AT_ONCE - 1, 1);
    return look->after_id ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "source: out of memory");
}

/* A row may move to another page between two statements: then it has just changed, and is the next
 * look's. */
static int find_by_page(struct mig_source *source, struct mig_error *err)
{
    struct source_look *look = &source->look;
    char sql[SQL_SIZE], pages[128] = "";
    const int64_t first = look->next_page;

    if (look->page_count > PAGES_AT_ONCE)
        mig_report_progress(source->hooks,
                            &(struct mig_progress){.stage = "look",
                                                   .subject = "pages of installations",
                                                   .done = (uint64_t) first,
                                                   .total = (uint64_t) look->page_count});
    look->next_page = first + PAGES_AT_ONCE;
    look->ended = look->next_page >= look->page_count;
    /* The last statement also has what the table has grown by. */
    if (look->page_count >= 0 && look->ended)
        snprintf(pages, sizeof pages, " AND ctid >= '(%" PRId64 ",0)'::tid", first);
    else if (look->page_count >= 0)
        snprintf(pages, sizeof pages,
                 " AND ctid >= '(%" PRId64 ",0)'::tid AND ctid < '(%" PRId64 ",0)'::tid", first,
                 look->next_page);
    snprintf(sql, sizeof sql,
             "SELECT encode(id, 'hex') FROM installations WHERE updated_at >= '%" PRId64
             "'::bigint%s",
             look->since_ns, pages);
    return source_query(source, sql, NULL, 0, &look->found, err);
}

static int find_more(struct mig_source *source, struct mig_error *err)
{
    struct source_look *look = &source->look;
    int result = source_pass_gate(source, err);

    mig_pg_result_release(&look->found);
    look->next_found = 0;
    if (result == MIG_OK && (result = mig_stop_check(source->stop, err)) == MIG_OK)
        result = look->by_index ? find_by_index(source, err) : find_by_page(source, err);
    return result;
}

/* ---- their rows ----------------------------------------------------------------------------- */

/* Chosen before they are put in order and joined: else the planner may walk the ids of all. */
static int begin_rows(struct mig_source *source, struct mig_error *err)
{
    struct source_look *look = &source->look;
    struct mig_buffer *among = &source->among;
    int result =
        mig_source_read_begin(source, MIG_TABLE_KEY_PACKAGES, INT64_MIN, INT64_MAX, false, err);

    if (result == MIG_OK)
        result = mig_buffer_print(among, err,
                                  "(SELECT * FROM key_packages WHERE installation_id = ANY ('{");
    for (int i = 0;
         i < INSTALLATIONS_AT_ONCE && look->next_found < look->found.rows && result == MIG_OK; i++)
        result = mig_buffer_print(among, err, "%s\"\\\\x%s\"", i ? "," : "",
                                  mig_pg_text(&look->found, look->next_found++, 0));
    if (result == MIG_OK)
        result = mig_buffer_print(among, err, "}'::bytea[]) OFFSET 0)%c", '\0');
    look->reading = result == MIG_OK;
    return result;
}

int mig_source_look_part(struct mig_source *source, struct mig_part **ret_part,
                         struct mig_error *err)
{
    struct source_look *look = &source->look;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = MIG_OK;

    while (result == MIG_OK && (!part || part->row_count == 0)) {
        mig_part_free(&part);
        if (look->reading) {
            result = mig_source_read_part(source, MIG_PART_LIMITS, &part, err);
            look->reading = result == MIG_OK && part;
        } else if (look->next_found < look->found.rows) {
            result = begin_rows(source, err);
        } else if (look->ended) {
            break;
        } else {
            result = find_more(source, err);
        }
    }
    if (result == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}
