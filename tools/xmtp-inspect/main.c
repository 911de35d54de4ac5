/* xmtp-inspect: what is in a bundle, or in one envelope of any layer. Reads, changes nothing. */
#include "tools/xmtp-inspect/inspect.h"

static const struct tool_option bundle_options[] = {
    {"rows", NULL, "each record as a JSON line instead", TOOL_FLAG, &inspect_rows},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "",
        .arguments = "P",
        .summary = "show what is in a bundle: a folder, a .tar file, or - for a tar stream",
        .example = "envelopes.tar",
        .options = bundle_options,
        .run = cmd_bundle,
    },
    {
        .name = "envelope",
        .arguments = "HEX|-",
        .summary = "decode one originator, payer or client envelope; - reads the hex from stdin",
        .example = "envelope 0a13121100000102030405060708090a0b0c0d0e0f12060a040a026869",
        .run = cmd_envelope,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-inspect", verbs, mig_count_of(verbs), argc, argv);
}
