/* status: the account so far, once or again and again. */
#include "tools/xmtp-migrate/migrate.h"

#include <time.h>
#include <unistd.h>

#define STEP_MS 50

struct status_words status_words = {.interval_s = 2};

static int open_nodes(struct tool *tool, const struct mig_manifest *manifest,
                      struct mig_nodes *ret_nodes, struct mig_error *err)
{
    return mig_nodes_open_present(manifest, NULL, MIG_NODE_READ, &tool->hooks, tool->stop,
                                  ret_nodes, err);
}

/* ---- again and again ----------------------------------------------------------------------- */

static int show(struct tool *tool, const struct mig_account *account, struct mig_error *err)
{
    const bool redraw = isatty(STDOUT_FILENO);
    char now[MIG_TIME_TEXT_SIZE];
    int result = MIG_OK;

    if (!account->started) {
        mig_log(&tool->hooks, MIG_LOG_INFO, "no node knows a run yet");
        return MIG_OK;
    }
    if (tool->json)
        return tool_account_line(account, err);
    mig_time_format(mig_time_now_ns() / MIG_NS_PER_SECOND * MIG_NS_PER_SECOND, now);
    result = tool_print(err, "%s%s, every %u s", redraw ? "\033[H\033[2J" : "", now,
                        status_words.interval_s);
    if (result == MIG_OK)
        result = tool_print_account(tool, account, err);
    return result == MIG_OK && !redraw ? tool_print(err, "%s", "") : result;
}

/* Connections are kept from look to look as long as all is well with them. */
static int look(struct tool *tool, const struct mig_manifest *manifest, struct mig_nodes *nodes,
                struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    int result = nodes->count > 0 ? MIG_OK : open_nodes(tool, manifest, nodes, err);

    if (result == MIG_OK)
        result = mig_account_read(nodes, NULL, &account, err);
    if (result != MIG_OK || nodes->away_count > 0)
        mig_nodes_close(nodes);
    return result == MIG_OK ? show(tool, account, err) : result;
}

static bool await_next(const struct tool *tool)
{
    const int64_t end_ns =
        mig_time_monotonic_ns() + (int64_t) status_words.interval_s * MIG_NS_PER_SECOND;

    while (mig_time_monotonic_ns() < end_ns && mig_stop_check(tool->stop, NULL) == MIG_OK)
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    return mig_stop_check(tool->stop, NULL) == MIG_OK;
}

/* Being stopped is how it ends: no failure. Nodes come and go meanwhile. */
static int keep_looking(struct tool *tool, const struct mig_manifest *manifest,
                        struct mig_error *err)
{
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};

    do {
        struct mig_error failure = MIG_ERROR_INIT;
        int result = look(tool, manifest, &nodes, &failure);

        if (result == MIG_E_CANCELLED)
            return MIG_OK;
        if (result != MIG_OK && !mig_code_info((enum mig_code) result)->retryable) {
            *err = failure;
            return result;
        }
        if (result != MIG_OK)
            mig_log(&tool->hooks, MIG_LOG_WARN, "%s: looking again in %u s", failure.message,
                    status_words.interval_s);
    } while (await_next(tool));
    return MIG_OK;
}

/* ---- the verb ------------------------------------------------------------------------------ */

int cmd_status(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "status takes no argument: '%s'", argv[0]);
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK)
        return result;
    if (status_words.watch)
        return keep_looking(tool, manifest, err);
    if ((result = open_nodes(tool, manifest, &nodes, err)) != MIG_OK ||
        (result = mig_account_read(&nodes, NULL, &account, err)) != MIG_OK)
        return result;
    return tool_account(tool, account, err);
}
