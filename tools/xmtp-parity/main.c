/* xmtp-parity: proves by recomputation that nodes hold what they must. Reads, changes nothing. */
#include "tools/xmtp-parity/parity_tool.h"

static const struct tool_option check_options[] = {
    {"node", "NAME", "look at this node only; may be given more than once", TOOL_TEXTS,
     &check_words.nodes},
    {"list", "N", "list at most N differences (default: 1000); all are counted", TOOL_UNSIGNED,
     &check_words.list},
    {"payer", "ADDRESS", "the payer's address, for auditors without the key", TOOL_TEXT,
     &check_words.payer},
    {"originator", "ADDRESS", "the originator's address, likewise", TOOL_TEXT,
     &check_words.originator},
    {"signatures", "WHICH",
     "all, sample:P (percent of the rows) or none (default: all); who signed the rest is not "
     "proved",
     TOOL_TEXT, &check_words.signatures},
    {"seed", "HEX", "take the sample that an earlier report names", TOOL_TEXT, &check_words.seed},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "check",
        .arguments = "",
        .summary = "Derives anew from the source what each node must hold, and compares.",
        .example = "check --manifest local.json --node alpha",
        .options = check_options,
        .run = cmd_check,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-parity", verbs, mig_count_of(verbs), argc, argv);
}
