/* The verb `live`: writers side by side, each at its share of the rate, until the time is up. */
#include "tools/xmtp-seed/live.h"
#include "tools/xmtp-seed/verbs.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define WRITERS_MAX 64
#define NAP_NS INT64_C(100000000) /* the longest sleep between two looks at the wish to stop */

static const char *dsn;
static unsigned rate, seconds, writers = 4, hold_ms = 50, rollback_percent = 5;
static int64_t seed = 1;

const struct tool_option live_options[] = {
    {"dsn", "DSN", "the V3 database: a libpq string, or env:NAME", TOOL_TEXT, &dsn},
    {"rate", "R", "transactions a second, of all writers together", TOOL_UNSIGNED, &rate},
    {"for", "SECONDS", "how long", TOOL_UNSIGNED, &seconds},
    {"writers", "W", "connections that write side by side (default 4)", TOOL_UNSIGNED, &writers},
    {"seed", "S", "which kinds, holds and rollbacks there are (default 1)", TOOL_INT64, &seed},
    {"hold-ms", "M", "the longest time between drawing an id and its commit (default 50)",
     TOOL_UNSIGNED, &hold_ms},
    {"rollback-percent", "P", "transactions that are rolled back (default 5)", TOOL_UNSIGNED,
     &rollback_percent},
    {.name = NULL},
};

struct share {
    pthread_t thread;
    struct live_writer writer;
    struct seed_network network;
    unsigned number;
    int64_t start_ns;
    struct mig_stop *asked; /* from outside */
    struct mig_stop *ended; /* one of the writers failed */
    int result;
    struct mig_error err;
};

static int wait_until(struct share *share, int64_t when_ns)
{
    int64_t left;

    while ((left = when_ns - mig_time_monotonic_ns()) > 0) {
        const struct timespec nap = {0, (long) (left < NAP_NS ? left : NAP_NS)};

        if (mig_stop_check(share->asked, NULL) != MIG_OK ||
            mig_stop_check(share->ended, NULL) != MIG_OK)
            return MIG_E_CANCELLED;
        nanosleep(&nap, NULL);
    }
    return mig_stop_check(share->asked, NULL);
}

static void *write_share(void *context)
{
    struct share *share = context;
    const int64_t end_ns = share->start_ns + (int64_t) seconds * MIG_NS_PER_SECOND;

    for (int64_t turn = share->number;; turn += writers) {
        const int64_t due_ns = share->start_ns + turn * MIG_NS_PER_SECOND / rate;

        if (due_ns >= end_ns || mig_time_monotonic_ns() >= end_ns ||
            wait_until(share, due_ns) != MIG_OK)
            break;
        share->result = live_write(&share->writer, &share->err);
        if (share->result == MIG_OK)
            continue;
        atomic_store(&share->ended->requested, true);
        break;
    }
    return NULL;
}

static int open_share(struct tool *tool, struct share *share, unsigned number,
                      struct live_totals *totals, struct mig_error *err)
{
    *share = (struct share){.number = number, .asked = tool->stop};
    share->network.seed = (uint64_t) seed;
    share->network.groups = 200;
    for (enum mig_table table = 0; table < MIG_TABLE_COUNT; table++)
        share->network.rows[table] = 1;
    seed_maker_init(&share->writer.maker, &share->network);
    share->writer.choices = seed_random_of((uint64_t) seed, number, 0);
    share->writer.contents = seed_random_of((uint64_t) seed, number, (uint64_t) mig_time_now_ns());
    share->writer.stop = tool->stop;
    share->network.inbox_base = seed_random_next(&share->writer.contents) >> 8;
    share->writer.totals = totals;
    share->writer.hold_ms = hold_ms;
    share->writer.rollback_percent = rollback_percent;
    /* A wish to stop is met between transactions: the totals must tell exactly what was committed.
     */
    return seed_connect(dsn, NULL, &share->writer.pg, err);
}

static void close_share(struct share *share)
{
    mig_pg_close(&share->writer.pg);
    seed_maker_release(&share->writer.maker);
    seed_network_release(&share->network);
    mig_arena_release(&share->writer.kept);
}

/* Runs what was opened; gives the first failure. Being asked to stop is none: what was written by
 * then is told as usual. */
static int run_shares(struct share *shares, struct mig_stop *ended, struct mig_error *err)
{
    const int64_t start_ns = mig_time_monotonic_ns();
    unsigned started = 0;
    int result = MIG_OK;

    for (; started < writers && result == MIG_OK; started++) {
        shares[started].ended = ended;
        shares[started].start_ns = start_ns;
        if (pthread_create(&shares[started].thread, NULL, write_share, &shares[started]) != 0) {
            atomic_store(&ended->requested, true);
            result = mig_fail(err, MIG_E_TEMPORARY, "the system gives no thread for writer %u",
                              started + 1);
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(shares[i].thread, NULL);
        if (result == MIG_OK && shares[i].result != MIG_OK && shares[i].result != MIG_E_CANCELLED) {
            result = shares[i].result;
            *err = shares[i].err;
        }
    }
    return result;
}

static int report(struct tool *tool, const struct live_totals *totals, struct mig_error *err)
{
    struct json_object *document, *committed, *highest;
    int result = MIG_OK;

    if (!tool->json) {
        for (enum mig_table table = 0; result == MIG_OK && table < MIG_TABLE_COUNT; table++)
            result = tool_print(err, "%-18s %8" PRId64 " committed, highest id %" PRId64,
                                mig_table_info(table)->name, totals->committed[table],
                                totals->highest[table]);
        if (result == MIG_OK)
            result = tool_print(err,
                                "%" PRId64 " rolled back, %" PRId64 " committed after a higher id, "
                                "%" PRId64 " older packages uploaded again",
                                totals->rolled_back, totals->out_of_order, totals->uploaded_again);
        return result;
    }
    document = json_object_new_object();
    committed = json_object_new_object();
    highest = json_object_new_object();
    for (enum mig_table table = 0; table < MIG_TABLE_COUNT; table++) {
        const char *name = mig_table_info(table)->name;

        json_object_object_add(committed, name, json_object_new_int64(totals->committed[table]));
        json_object_object_add(highest, name, json_object_new_int64(totals->highest[table]));
    }
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/seed-live/1"));
    json_object_object_add(document, "committed", committed);
    json_object_object_add(document, "highest", highest);
    json_object_object_add(document, "rolled_back", json_object_new_int64(totals->rolled_back));
    json_object_object_add(document, "out_of_order", json_object_new_int64(totals->out_of_order));
    json_object_object_add(document, "uploaded_again",
                           json_object_new_int64(totals->uploaded_again));
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

static int check_options(struct mig_error *err)
{
    if (rate < 1 || seconds < 1)
        return mig_fail(err, MIG_E_USAGE, "--rate and --for must both be 1 or more");
    if (writers < 1 || writers > WRITERS_MAX)
        return mig_fail(err, MIG_E_USAGE, "--writers must be 1 to %d, not %u", WRITERS_MAX,
                        writers);
    if (rollback_percent > 100)
        return mig_fail(err, MIG_E_USAGE, "--rollback-percent must be 0 to 100, not %u",
                        rollback_percent);
    return MIG_OK;
}

int cmd_live(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    static struct share shares[WRITERS_MAX];
    struct live_totals totals = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct mig_stop ended = {false};
    unsigned opened = 0;
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "live takes options only, not '%s'", argv[0]);
    result = check_options(err);
    while (result == MIG_OK && opened < writers) {
        result = open_share(tool, &shares[opened], opened, &totals, err);
        opened++;
    }
    if (result == MIG_OK)
        result = run_shares(shares, &ended, err);
    for (unsigned i = 0; i < opened; i++)
        close_share(&shares[i]);
    return result == MIG_OK ? report(tool, &totals, err) : result;
}
