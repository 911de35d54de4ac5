/* The verb `rows`: a whole made-up network's rows, in one transaction. */
#include "tools/xmtp-seed/seed.h"
#include "tools/xmtp-seed/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAYS 100 /* the rows' times are spread over these */
#define ROWS_PER_GROUP 25
#define ROWS_AT_A_TIME 256

static const char *dsn, *shape = "testnet", *until;
static int64_t rows, seed = 1;

const struct tool_option rows_options[] = {
    {"dsn", "DSN", "the V3 database: a libpq string, or env:NAME", TOOL_TEXT, &dsn},
    {"rows", "N", "how many, over all tables", TOOL_INT64, &rows},
    {"seed", "S", "the same seed gives the same rows (default 1)", TOOL_INT64, &seed},
    {"shape", "SHAPE", "testnet (default), or hostile: with every reject and finding", TOOL_TEXT,
     &shape},
    {"until", "TIME", "when the newest row was made, RFC 3339 (default: the last midnight, UTC)",
     TOOL_TEXT, &until},
    {.name = NULL},
};

/* Packages first: welcomes go to the installations that they make known. */
static const struct {
    enum mig_table table;
    unsigned percent;
} portions[] = {
    {MIG_TABLE_KEY_PACKAGES, 15},
    {MIG_TABLE_GROUP_MESSAGES, 50},
    {MIG_TABLE_WELCOME_MESSAGES, 25},
    {MIG_TABLE_INBOX_LOG, 10},
};

/* ---- the plan ----------------------------------------------------------------------------- */

static int plan_shape(struct seed_network *network, struct mig_error *err)
{
    int64_t least = 0;

    network->hostile = strcmp(shape, "hostile") == 0;
    if (!network->hostile && strcmp(shape, "testnet") != 0)
        return mig_fail(err, MIG_E_USAGE, "no shape '%s': there are testnet and hostile", shape);
    for (size_t i = 0; i < mig_count_of(portions); i++) {
        const int64_t wanted = seed_fault_rows(portions[i].table) * 100 / portions[i].percent + 100;

        if (wanted > least)
            least = wanted;
    }
    if (!network->hostile || rows >= least)
        return MIG_OK;
    mig_fail(err, MIG_E_USAGE, "%" PRId64 " rows have no room for every fault", rows);
    return mig_hint(err, "--rows %" PRId64 " is enough", least);
}

static int plan(struct seed_network *network, struct mig_error *err)
{
    int64_t left = rows;
    int result;

    if (rows < 1)
        return mig_fail(err, MIG_E_USAGE, "--rows must be 1 or more");
    network->seed = (uint64_t) seed;
    /* A default that moved with every call would give other rows every time. */
    network->until_ns = mig_time_now_ns() / MIG_NS_PER_DAY * MIG_NS_PER_DAY;
    result = until ? mig_time_parse(until, &network->until_ns, err) : MIG_OK;
    if (result != MIG_OK)
        return result;
    if (network->until_ns < DAYS * MIG_NS_PER_DAY)
        return mig_fail(err, MIG_E_USAGE, "--until %s is too early: no network is that old", until);
    network->from_ns = network->until_ns - DAYS * MIG_NS_PER_DAY;
    for (size_t i = 0; i < mig_count_of(portions); i++) {
        network->rows[portions[i].table] =
            rows / 100 * portions[i].percent + rows % 100 * portions[i].percent / 100;
        left -= network->rows[portions[i].table];
    }
    network->rows[MIG_TABLE_GROUP_MESSAGES] += left;
    network->groups = (uint64_t) network->rows[MIG_TABLE_GROUP_MESSAGES] / ROWS_PER_GROUP + 1;
    return plan_shape(network, err);
}

/* Ids are drawn by hand below: until that is committed, nobody else may draw any. */
static int take_ids(struct mig_pg *pg, struct seed_network *network, struct mig_error *err)
{
    int result = mig_pg_exec(pg,
                             "LOCK TABLE public.group_messages, public.welcome_messages,"
                             " public.key_packages, public.inbox_log, public.installations"
                             " IN SHARE ROW EXCLUSIVE MODE",
                             err);

    for (enum mig_table table = 0; result == MIG_OK && table < MIG_TABLE_COUNT; table++)
        result = seed_sequence_last(pg, table, &network->last_id[table], err);
    network->installation_base = (uint64_t) network->last_id[MIG_TABLE_KEY_PACKAGES];
    network->inbox_base = (uint64_t) network->last_id[MIG_TABLE_INBOX_LOG];
    return result;
}

/* ---- rows --------------------------------------------------------------------------------- */

/* Transactions that were rolled back left holes. */
static int64_t next_id(struct seed_random *gaps, int64_t id)
{
    const uint64_t chance = seed_random_between(gaps, 0, 999);

    if (chance == 0)
        return id + (int64_t) seed_random_between(gaps, 10, 60);
    return chance < 30 ? id + (int64_t) seed_random_between(gaps, 2, 4) : id + 1;
}

static int put_rows(struct tool *tool, struct mig_pg *pg, struct seed_maker *maker,
                    enum mig_table table, struct mig_error *err)
{
    struct seed_network *network = maker->network;
    struct mig_progress progress = {.stage = "rows",
                                    .subject = mig_table_info(table)->name,
                                    .total = (uint64_t) network->rows[table],
                                    .waiting = ""};
    struct seed_random gaps = seed_random_of(network->seed, MIG_TABLE_COUNT + 2 + table,
                                             (uint64_t) network->last_id[table]);
    struct mig_row row;
    int result = MIG_OK;

    for (int64_t place = 0; result == MIG_OK && place < network->rows[table]; place++) {
        network->last_id[table] = next_id(&gaps, network->last_id[table]);
        result = seed_make_row(maker, table, place, network->last_id[table], &row, err);
        if (result == MIG_OK)
            result = seed_copy_row(pg, &row, err);
        if (result != MIG_OK || place % ROWS_AT_A_TIME != 0)
            continue;
        mig_arena_release(&maker->arena);
        progress.done = (uint64_t) place;
        mig_report_progress(&tool->hooks, &progress);
        result = mig_stop_check(tool->stop, err);
    }
    network->last_id[table] = next_id(&gaps, network->last_id[table]);
    return result;
}

/* Ids that no sequence gives: below the first, past the last band, and far ahead. Only where there
 * are none yet, for they are always the same. */
static const int64_t strange_ids[] = {
    INT64_C(-9000000000),         -1,        0, INT64_C(5000000000000), MIG_SEQUENCE_ID_MAX,
    INT64_C(9223372036854000000), INT64_MAX,
};

static int put_strange_ids(struct mig_pg *pg, struct seed_maker *maker, enum mig_table table,
                           struct mig_error *err)
{
    const struct seed_network *network = maker->network;
    struct mig_row row;
    int result = MIG_OK;

    for (size_t i = 0; result == MIG_OK && i < mig_count_of(strange_ids); i++) {
        result = seed_make_row(maker, table, network->rows[table], strange_ids[i], &row, err);
        if (result == MIG_OK)
            result = seed_copy_row(pg, &row, err);
    }
    return result;
}

static int has_strange_ids(struct mig_pg *pg, enum mig_table table, bool *ret_has,
                           struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(mig_pg_result_release) struct mig_pg_result found = {0};
    char sql[160];
    int result;

    snprintf(sql, sizeof sql, "SELECT EXISTS (SELECT FROM public.%s WHERE %s <= 0)", info->name,
             info->id_column);
    result = mig_pg_query(pg, sql, NULL, 0, &found, err);
    if (result == MIG_OK)
        *ret_has = mig_pg_bool(&found, 0, 0);
    return result;
}

static int fill_table(struct tool *tool, struct mig_pg *pg, struct seed_maker *maker,
                      enum mig_table table, uint64_t *ret_rows, struct mig_error *err)
{
    bool strange_there = true;
    int result = MIG_OK;

    if (maker->network->hostile)
        result = has_strange_ids(pg, table, &strange_there, err);
    if (!strange_there)
        maker->network->rows[table] -= (int64_t) mig_count_of(strange_ids);
    if (result == MIG_OK)
        result = seed_copy_begin(pg, table, err);
    if (result == MIG_OK)
        result = put_rows(tool, pg, maker, table, err);
    if (result == MIG_OK && !strange_there)
        result = put_strange_ids(pg, maker, table, err);
    if (result == MIG_OK)
        result = mig_pg_copy_in_end(pg, ret_rows, err);
    mig_arena_release(&maker->arena);
    return result == MIG_OK ? seed_sequence_set(pg, table, maker->network->last_id[table], err)
                            : result;
}

static int fill(struct tool *tool, struct mig_pg *pg, struct seed_network *network,
                uint64_t made[MIG_TABLE_COUNT], struct mig_error *err)
{
    struct seed_maker maker;
    int result = MIG_OK;

    seed_maker_init(&maker, network);
    for (size_t i = 0; result == MIG_OK && i < mig_count_of(portions); i++)
        result = fill_table(tool, pg, &maker, portions[i].table, &made[portions[i].table], err);
    if (result == MIG_OK)
        result = seed_copy_installations(pg, &maker, err);
    seed_maker_release(&maker);
    return result;
}

/* ---- the account -------------------------------------------------------------------------- */

static struct json_object *count_faults(const struct seed_network *network)
{
    struct json_object *counts = json_object_new_object();
    const struct seed_fault *fault;

    for (enum mig_table table = 0; table < MIG_TABLE_COUNT; table++)
        for (int64_t place = 0; network->hostile && place < network->rows[table]; place++) {
            fault = seed_fault_at(network, table, place);
            if (!fault)
                continue;
            json_object_object_add(
                counts, fault->name,
                json_object_new_int64(
                    json_object_get_int64(json_object_object_get(counts, fault->name)) + 1));
        }
    return counts;
}

static int report(struct tool *tool, const struct seed_network *network,
                  const uint64_t made[MIG_TABLE_COUNT], struct mig_error *err)
{
    struct json_object *document, *counts;
    char time[MIG_TIME_TEXT_SIZE];
    int result = MIG_OK;

    mig_time_format(network->until_ns, time);
    if (!tool->json) {
        for (enum mig_table table = 0; result == MIG_OK && table < MIG_TABLE_COUNT; table++)
            result = tool_print(err, "%-18s %10" PRIu64 " rows", mig_table_info(table)->name,
                                made[table]);
        if (result == MIG_OK)
            result = tool_print(err, "%-18s %10zu", "installations", network->installation_count);
        return result == MIG_OK ? tool_print(err, "seed %" PRId64 ", until %s", seed, time)
                                : result;
    }
    document = json_object_new_object();
    counts = json_object_new_object();
    for (enum mig_table table = 0; table < MIG_TABLE_COUNT; table++)
        json_object_object_add(counts, mig_table_info(table)->name,
                               json_object_new_int64((int64_t) made[table]));
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/seed-rows/1"));
    json_object_object_add(document, "seed", json_object_new_int64(seed));
    json_object_object_add(document, "until", json_object_new_string(time));
    json_object_object_add(document, "rows", counts);
    json_object_object_add(document, "faults", count_faults(network));
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

int cmd_rows(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(seed_network_release) struct seed_network network = {0};
    mig_cleanup(mig_pg_close) struct mig_pg *pg = NULL;
    uint64_t made[MIG_TABLE_COUNT] = {0};
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "rows takes options only, not '%s'", argv[0]);
    result = plan(&network, err);
    if (result == MIG_OK)
        result = seed_connect(dsn, tool->stop, &pg, err);
    if (result == MIG_OK)
        result = mig_pg_begin(pg, err);
    if (result == MIG_OK)
        result = take_ids(pg, &network, err);
    if (result == MIG_OK)
        result = fill(tool, pg, &network, made, err);
    if (result == MIG_OK)
        result = mig_pg_commit(pg, err);
    tool_progress_end(tool);
    return result == MIG_OK ? report(tool, &network, made, err) : result;
}
