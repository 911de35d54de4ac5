/* run: the main job. */
#include "tools/xmtp-migrate/migrate.h"

struct run_words run_words = {.retry_s = MIG_RETRY_S_DEFAULT};

struct mig_run_options run_options_of(const struct tool *tool)
{
    struct mig_run_options options = {
        .has_as_of = tool->has_as_of,
        .as_of_ns = tool->as_of_ns,
        .new_run = run_words.new_run,
        .source_moved = run_words.source_moved,
        .resources = tool->resources,
        .chain_out = run_words.chain_out,
    };

    options.resources.source_connections = run_words.source_connections;
    options.resources.max_rate = run_words.max_rate;
    options.resources.retry_s = run_words.retry_s;
    return options;
}

int cmd_run(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_watch_close) struct mig_watch *watch = NULL;
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    struct mig_run_options options = run_options_of(tool);
    int result;

    options.tell = tool_print_account;
    options.context = tool;
    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "run takes no argument: '%s'", argv[0]);
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK)
        return result;
    if (run_words.dry_run)
        return print_dry_run(tool, manifest, &options, err);
    if ((result = tool_watch_open(tool, manifest, &watch, err)) != MIG_OK ||
        (result = mig_pipeline_run(manifest, &options, tool_watch_hooks(tool, watch), tool->stop,
                                   &account, err)) != MIG_OK)
        return result;
    return mig_account_outcome(account, err);
}
