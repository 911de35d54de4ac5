/* follow: what arrives at a live source, until somebody asks for an end. */
#include "tools/xmtp-migrate/migrate.h"

#include <inttypes.h>

/* Rejected rows are no reason to end otherwise: whoever follows goes on with them all the time. */
int cmd_follow(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_watch_close) struct mig_watch *watch = NULL;
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    const struct mig_run_options options = run_options_of(tool);
    struct mig_follow_summary summary;
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "follow takes no argument: '%s'", argv[0]);
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = tool_watch_open(tool, manifest, &watch, err)) != MIG_OK ||
        (result = mig_pipeline_follow(manifest, &options, tool_watch_hooks(tool, watch), tool->stop,
                                      &summary, &account, err)) != MIG_OK)
        return result;
    mig_log(&tool->hooks, MIG_LOG_INFO,
            "followed %" PRIu64 " rows, which took from being made to being there: p50 %" PRId64
            " ms, p99 %" PRId64 " ms, at most %" PRId64 " ms",
            summary.rows, summary.lag_p50_ms, summary.lag_p99_ms, summary.lag_max_ms);
    result = tool_account(tool, account, err);
    if (result == MIG_E_PARTIAL || (result == MIG_E_TEMPORARY && account->unfinished))
        return MIG_OK;
    return result;
}
