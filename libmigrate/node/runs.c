/* Runs in our books: what is pinned for each, and how far it is. */
#include "libmigrate/node/node_private.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void node_put_json(struct json_object **object)
{
    json_object_put(*object);
}

/* The ids as text: not every reader of JSON keeps 64 bits. */
static struct json_object *bounds_to_json(const struct mig_run *run)
{
    struct json_object *bounds = json_object_new_object();
    char number[NODE_NUMBER_SIZE];

    for (int table = 0; bounds && table < MIG_TABLE_COUNT; table++)
        json_object_object_add(bounds, mig_table_info((enum mig_table) table)->name,
                               json_object_new_string(node_number(run->bounds[table], number)));
    return bounds;
}

int node_refuse_member(const struct mig_node *node, const char *run, const char *member,
                       struct mig_error *err)
{
    mig_fail(err, MIG_E_CORRUPT, "node '%s': run %s: its %s can't be read", node->entry->name, run,
             member);
    return mig_hint(err, "see who changed the tables of schema xmtp_migrate, or begin another with "
                         "xmtp-migrate run --new-run");
}

/* All of a text that is one number. */
static bool parse_id(struct json_object *value, int64_t *ret_id)
{
    const char *text =
        json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
    char number[NODE_NUMBER_SIZE];

    *ret_id = strtoll(text, NULL, 10);
    return strcmp(text, node_number(*ret_id, number)) == 0;
}

static int bounds_from_json(const struct mig_node *node, const char *text, struct mig_run *run,
                            struct mig_error *err)
{
    mig_cleanup(node_put_json) struct json_object *bounds = json_tokener_parse(text);

    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        struct json_object *bound;

        if (!json_object_object_get_ex(bounds, mig_table_info((enum mig_table) table)->name,
                                       &bound) ||
            !parse_id(bound, &run->bounds[table]))
            return node_refuse_member(node, run->facts.run, "bounds", err);
    }
    return MIG_OK;
}

static void take_text(char *to, size_t capacity, const struct mig_pg_result *answer, int row,
                      int column)
{
    snprintf(to, capacity, "%s",
             mig_pg_text(answer, row, column) ? mig_pg_text(answer, row, column) : "");
}

static int take_run(const struct mig_node *node, const struct mig_pg_result *answer, int row,
                    struct mig_run *ret_run, struct mig_error *err)
{
    struct mig_run run = {.facts.stage = MIG_STAGE_ENVELOPES};
    int result;

    take_text(run.facts.run, sizeof run.facts.run, answer, row, 0);
    take_text(run.facts.network, sizeof run.facts.network, answer, row, 1);
    run.facts.as_of_ns = mig_pg_int64(answer, row, 2);
    take_text(run.facts.profile, sizeof run.facts.profile, answer, row, 3);
    take_text(run.facts.policy_digest, sizeof run.facts.policy_digest, answer, row, 4);
    take_text(run.facts.payer, sizeof run.facts.payer, answer, row, 5);
    take_text(run.facts.originator, sizeof run.facts.originator, answer, row, 6);
    run.finished = mig_pg_bool(answer, row, 8);
    run.has_parts = mig_pg_bool(answer, row, 9);
    take_text(run.source, sizeof run.source, answer, row, 10);
    run.told = mig_pg_bool(answer, row, 11);
    run.source_wal = mig_pg_int64(answer, row, 12);
    run.by_time = mig_pg_bool(answer, row, 13);
    if ((result = bounds_from_json(node, mig_pg_text(answer, row, 7), &run, err)) == MIG_OK)
        *ret_run = run;
    return result;
}

#define RUN_COLUMNS                                                                                \
    "run, network, as_of_ns, profile, policy_digest, payer, originator, bounds::text,"             \
    " finished_at IS NOT NULL,"                                                                    \
    " EXISTS (SELECT FROM xmtp_migrate.parts p WHERE p.run = runs.run), source, told_at IS NOT "   \
    "NULL, source_wal, by_time"

int mig_node_find_run(struct mig_node *node, const char *run, bool *ret_found,
                      struct mig_run *ret_run, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result;

    *ret_found = false;
    if (!node->has_books)
        return MIG_OK;
    result = mig_pg_query(node->pg,
                          "SELECT " RUN_COLUMNS " FROM xmtp_migrate.runs WHERE network = $1"
                          " AND ($2::text IS NULL OR run = $2) ORDER BY number DESC LIMIT 1",
                          (const char *const[]){node->manifest->network, run}, 2, &answer, err);
    if (result != MIG_OK || answer.rows == 0)
        return result;
    result = take_run(node, &answer, 0, ret_run, err);
    *ret_found = result == MIG_OK;
    return result;
}

int mig_node_last_run(struct mig_node *node, bool *ret_found, struct mig_run *ret_run,
                      struct mig_error *err)
{
    return mig_node_find_run(node, NULL, ret_found, ret_run, err);
}

void mig_runs_release(struct mig_runs *runs)
{
    free(runs->items);
    *runs = (struct mig_runs){0};
}

int mig_node_runs(struct mig_node *node, struct mig_runs *ret_runs, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_runs_release) struct mig_runs runs = {.unreadable = MIG_ERROR_INIT};
    bool superseded = true;
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(node->pg,
                              "SELECT " RUN_COLUMNS " FROM xmtp_migrate.runs WHERE network = $1"
                              " ORDER BY number",
                              (const char *const[]){node->manifest->network}, 1, &answer, err);
    if (result != MIG_OK)
        return result;
    runs.items = calloc((size_t) answer.rows + 1, sizeof *runs.items);
    if (!runs.items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (int row = 0; row < answer.rows; row++) {
        struct mig_run *run = &runs.items[runs.count];
        const bool readable = take_run(node, &answer, row, run, &runs.unreadable) == MIG_OK;

        runs.count += readable;
        superseded = readable && (superseded || run->finished);
    }
    if (!superseded) {
        if (err)
            *err = runs.unreadable;
        return runs.unreadable.code;
    }
    *ret_runs = runs;
    runs = (struct mig_runs){0};
    return MIG_OK;
}

/* What two descriptions of one run disagree about, or NULL. */
static const char *difference(const struct mig_run *a, const struct mig_run *b)
{
    if (strcmp(a->facts.network, b->facts.network) != 0)
        return "the network";
    if (a->facts.as_of_ns != b->facts.as_of_ns)
        return "as_of";
    if (strcmp(a->facts.profile, b->facts.profile) != 0)
        return "the profile";
    if (strcmp(a->facts.policy_digest, b->facts.policy_digest) != 0)
        return "policy or rates of the manifest";
    if (strcmp(a->facts.payer, b->facts.payer) != 0)
        return "the payer key";
    if (strcmp(a->facts.originator, b->facts.originator) != 0)
        return "the originator key";
    return NULL;
}

static int insert_run(struct mig_node *node, const struct mig_run *run, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_put_json) struct json_object *bounds = bounds_to_json(run);
    mig_cleanup(mig_buffer_release) struct mig_buffer pinned = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    char as_of[NODE_NUMBER_SIZE], wal[NODE_NUMBER_SIZE];
    const char *const text = bounds ? json_object_to_json_string(bounds) : NULL;
    int result = text ? mig_manifest_print_pinned(node->manifest, &pinned, err)
                      : mig_fail(err, MIG_E_NOMEM, "out of memory");
    const char *const params[] = {run->facts.run,
                                  run->facts.network,
                                  node_number(run->facts.as_of_ns, as_of),
                                  run->facts.profile,
                                  run->facts.policy_digest,
                                  run->facts.payer,
                                  run->facts.originator,
                                  text,
                                  (const char *) pinned.data,
                                  run->source,
                                  run->fresh ? "t" : "f",
                                  node_number(run->source_wal, wal),
                                  run->by_time ? "t" : "f"};

    if (result != MIG_OK)
        return result;
    return mig_pg_query(node->pg,
                        "WITH begun AS (INSERT INTO xmtp_migrate.runs (run, network, as_of_ns,"
                        " profile, policy_digest, payer, originator, bounds, pinned, source, fresh,"
                        " source_wal, by_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb,"
                        " $9::jsonb, $10, $11, $12, $13)"
                        " RETURNING run) INSERT INTO xmtp_migrate.trackers (run, source_table,"
                        " last_migrated_id) SELECT run, source_table, last_migrated_id FROM begun,"
                        " migration_tracker",
                        params, mig_count_of(params), &answer, err);
}

int mig_node_run_begin(struct mig_node *node, const struct mig_run *run, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    struct mig_run known;
    const char *what;
    int result;

    if ((result = mig_node_claim(node, err)) != MIG_OK ||
        (result = node_bulk_clean(node, err)) != MIG_OK)
        return result;
    result = mig_pg_query(node->pg, "SELECT " RUN_COLUMNS " FROM xmtp_migrate.runs WHERE run = $1",
                          (const char *const[]){run->facts.run}, 1, &answer, err);
    if (result != MIG_OK)
        return result;
    if (answer.rows == 0)
        return insert_run(node, run, err);
    if ((result = take_run(node, &answer, 0, &known, err)) != MIG_OK)
        return result;
    what = difference(&known, run);
    /* The sequence may have passed some of the unsettled rows; without them it is not at its end.
     */
    if (!what && (result = node_note_source(node, run, err)) == MIG_OK && !run->followed)
        return node_forget_strays(node, run->facts.run, NULL, err);
    if (!what)
        return result;
    mig_fail(err, MIG_E_REFUSED, "node '%s': run %s was begun with another value for %s",
             node->entry->name, run->facts.run, what);
    return mig_hint(err, "put it back as it was, or begin a new run");
}

int mig_node_last_part(struct mig_node *node, const char *run, enum mig_table table,
                       bool *ret_found, int64_t *ret_first_id, int64_t *ret_last_id,
                       struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = MIG_OK;

    if (node->has_books)
        result =
            mig_pg_query(node->pg,
                         "SELECT first_id, last_id FROM xmtp_migrate.parts WHERE run = $1 AND"
                         " source_table = $2 AND settled ORDER BY first_id DESC LIMIT 1",
                         (const char *const[]){run, mig_table_info(table)->name}, 2, &answer, err);
    if (result != MIG_OK)
        return result;
    *ret_found = answer.rows == 1;
    if (*ret_found) {
        *ret_first_id = mig_pg_int64(&answer, 0, 0);
        *ret_last_id = mig_pg_int64(&answer, 0, 1);
    }
    return MIG_OK;
}

int mig_node_position(struct mig_node *node, const char *run, enum mig_table table,
                      int64_t *ret_last_id, struct mig_error *err)
{
    int64_t first_id, last_id;
    bool found;
    int result = mig_node_last_part(node, run, table, &found, &first_id, &last_id, err);

    if (result == MIG_OK)
        *ret_last_id = found ? last_id : INT64_MIN;
    return result;
}
