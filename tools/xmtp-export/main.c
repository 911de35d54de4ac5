/* xmtp-export: the rows of V3 that have not expired, as a bundle. Changes nothing in the source. */
#include "tools/common/account.h"

static const char *out;
static unsigned source_connections, max_rate, retry_s = MIG_RETRY_S_DEFAULT;

static int export_rows(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_stage_summary_release) struct mig_stage_summary summary = {0};
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "there is no argument: '%s'", argv[0]);
    if (!out) {
        mig_fail(err, MIG_E_USAGE, "--out is missing");
        return mig_hint(err, "--out takes a folder, a file that ends in .tar, or - for a stream");
    }
    tool->resources.source_connections = source_connections;
    tool->resources.max_rate = max_rate;
    tool->resources.retry_s = retry_s;
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_pipeline_export(manifest, tool->has_as_of, tool->as_of_ns, out,
                                      &tool->resources, &tool->hooks, tool->stop, &summary, err)) !=
            MIG_OK)
        return result;
    return tool_stage(tool, "export", out, &summary, err);
}

static const struct tool_option options[] = {
    {"out", "P", "where to: a folder, a .tar file, or - for a tar stream", TOOL_TEXT, &out},
    {"source-connections", "N", "tables read at once (default: 1)", TOOL_COUNT,
     &source_connections},
    {"retry-for", "SECONDS", "try again for so long what fails and may pass; 0: not (default: 300)",
     TOOL_UNSIGNED, &retry_s},
    {"max-rate", "N", "rows read a second at most (default: no limit)", TOOL_COUNT, &max_rate},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "",
        .arguments = "--out P",
        .summary = "Reads what has not expired out of the V3 database into a bundle of rows.\n"
                   "Run again, it begins anew; with --as-of it finds a bundle that it finished.",
        .example = "--manifest local.json --out rows.tar",
        .options = options,
        .run = export_rows,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-export", verbs, mig_count_of(verbs), argc, argv);
}
