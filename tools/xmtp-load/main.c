/* xmtp-load: a bundle of envelopes into the databases of nodes. */
#include "tools/common/account.h"

static const char *in, *node;

static int load_envelopes(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_account_free) struct mig_account *account = NULL;
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "there is no argument: '%s'", argv[0]);
    if (!in) {
        mig_fail(err, MIG_E_USAGE, "--in is missing");
        return mig_hint(err, "--in takes a folder, a .tar file, or - for a tar stream");
    }
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_pipeline_load(manifest, in, node, &tool->resources, &tool->hooks, tool->stop,
                                    &account, err)) != MIG_OK)
        return result;
    return tool_account(tool, account, err);
}

static const struct tool_option options[] = {
    {"in", "P", "a bundle of envelopes: a folder, a .tar file, or - for a tar stream", TOOL_TEXT,
     &in},
    {"node", "NAME", "load this node only, not all of the manifest", TOOL_TEXT, &node},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "",
        .arguments = "--in P [--node NAME]",
        .summary = "Loads a bundle of envelopes into every node of the manifest, or one.\n"
                   "Run again, it goes on where it was stopped.",
        .example = "--manifest local.json --in envelopes.tar",
        .options = options,
        .run = load_envelopes,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-load", verbs, mig_count_of(verbs), argc, argv);
}
