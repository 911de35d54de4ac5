/* xmtp-transform: a bundle of rows becomes a bundle of signed envelopes. Touches no database. */
#include "tools/common/account.h"

static const char *in, *out;

static int transform_rows(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_stage_summary_release) struct mig_stage_summary summary = {0};
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "there is no argument: '%s'", argv[0]);
    if (!in || !out) {
        mig_fail(err, MIG_E_USAGE, "--%s is missing", in ? "out" : "in");
        return mig_hint(err, "--in and --out take a folder, a .tar file, or - for a stream");
    }
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_pipeline_transform(manifest, in, out, &tool->resources, &tool->hooks,
                                         tool->stop, &summary, err)) != MIG_OK)
        return result;
    return tool_stage(tool, "transform", out, &summary, err);
}

static const struct tool_option options[] = {
    {"in", "P", "a bundle of rows: a folder, a .tar file, or - for a tar stream", TOOL_TEXT, &in},
    {"out", "P", "where the envelopes go, likewise", TOOL_TEXT, &out},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "",
        .arguments = "--in P --out P",
        .summary = "Turns every row of a bundle into a signed envelope, or a rejected row.\n"
                   "Run again, it begins anew, or finds the bundle that it finished.",
        .example = "--manifest local.json --in rows.tar --out envelopes.tar",
        .options = options,
        .run = transform_rows,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-transform", verbs, mig_count_of(verbs), argc, argv);
}
