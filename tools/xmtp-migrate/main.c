/* xmtp-migrate: the main job in one process, its account, and the rows that were rejected. */
#include "tools/xmtp-migrate/migrate.h"

/* How a run is to be done; a plan of it takes the same. */
#define HOW_TO_RUN                                                                                 \
    {"chain-out", "P", "where the chain-bound envelopes go (default: beside the manifest)",        \
     TOOL_TEXT, &run_words.chain_out},                                                             \
        {"source-connections", "N", "tables read at once (default: 2)", TOOL_COUNT,                \
         &run_words.source_connections},                                                           \
        {"new-run", NULL, "begin a new run even if one is unfinished", TOOL_FLAG,                  \
         &run_words.new_run},                                                                      \
        {"retry-for", "SECONDS",                                                                   \
         "try again for so long what fails and may pass; 0: not (default: 300)", TOOL_UNSIGNED,    \
         &run_words.retry_s},                                                                      \
        {"source-moved", NULL, "V3 is another database now, with the same rows and ids",           \
         TOOL_FLAG, &run_words.source_moved},                                                      \
    {                                                                                              \
        "max-rate", "N", "rows read from the source a second at most (default: no limit)",         \
            TOOL_COUNT, &run_words.max_rate                                                        \
    }

static const struct tool_option run_options[] = {
    HOW_TO_RUN,
    TOOL_WATCH_OPTIONS,
    {"dry-run", NULL, "write nothing: say which way each band of the nodes would be loaded",
     TOOL_FLAG, &run_words.dry_run},
    {.name = NULL},
};

static const struct tool_option follow_options[] = {HOW_TO_RUN, TOOL_WATCH_OPTIONS, {.name = NULL}};

static const struct tool_option plan_options[] = {
    HOW_TO_RUN,
    {"exact", NULL, "read every row, instead of estimates and samples", TOOL_FLAG,
     &plan_words.exact},
    {"probe", "SECONDS", "how long to try how fast this machine signs; 0: not (default: 2)",
     TOOL_UNSIGNED, &plan_words.probe_seconds},
    {.name = NULL},
};

static const struct tool_option status_options[] = {
    {"watch", NULL, "again and again until stopped (exit 0); with --json a document a line",
     TOOL_FLAG, &status_words.watch},
    {"interval", "SECONDS", "between looks (default: 2)", TOOL_COUNT, &status_words.interval_s},
    {.name = NULL},
};

#define WHICH_LETTERS                                                                              \
    {"kind", "KIND", "only rows of this kind", TOOL_TEXT, &rejected_words.kind},                   \
        {"id", "N", "only the row with this id", TOOL_INT64, &rejected_words.id},                  \
    {                                                                                              \
        "reject-reason", "NAME", "only rows rejected for this reason", TOOL_TEXT,                  \
            &rejected_words.reason                                                                 \
    }

#define WHICH_NODE                                                                                 \
    {                                                                                              \
        "node", "NAME", "ask this node only (default: all of the manifest)", TOOL_TEXT,            \
            &rejected_words.node                                                                   \
    }

static const struct tool_option list_options[] = {
    WHICH_LETTERS,
    WHICH_NODE,
    {"limit", "N", "list at most N (default: 1000)", TOOL_UNSIGNED, &rejected_words.limit},
    {.name = NULL},
};

static const struct tool_option show_options[] = {WHICH_LETTERS, WHICH_NODE, {.name = NULL}};

static const struct tool_option retry_options[] = {
    WHICH_LETTERS,
    {"replace-conflicts", "LIST",
     "KIND:ID[,ID...] or @FILE: put what would be loaded in the place of what the node holds",
     TOOL_TEXTS, &rejected_words.replace},
    {"reason", "TEXT", "why these rows may be replaced; kept with who and when", TOOL_TEXT,
     &rejected_words.why},
    {"node", "NAME", "replace them on this node only", TOOL_TEXT, &rejected_words.node},
    {.name = NULL},
};

static const struct tool_option waive_options[] = {
    {"kind", "KIND", "the row's kind", TOOL_TEXT, &rejected_words.kind},
    {"id", "N", "the row's id; without it, all rows that --kind and --reject-reason name",
     TOOL_INT64, &rejected_words.id},
    {"reject-reason", "NAME", "only rows rejected for this reason", TOOL_TEXT,
     &rejected_words.reason},
    {"node", "NAME", "on this node only (default: on all of the manifest)", TOOL_TEXT,
     &rejected_words.node},
    {"reason", "TEXT", "why the row may be left behind; stored with who and when", TOOL_TEXT,
     &rejected_words.why},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {
        .name = "plan",
        .arguments = "[--exact]",
        .summary = "What a run would take and what would refuse it; writes nothing anywhere.",
        .example = "plan --manifest local.json",
        .options = plan_options,
        .run = cmd_plan,
    },
    {
        .name = "run",
        .arguments = "[--as-of T]",
        .summary =
            "Exports, transforms and loads into every node; ends with the account.\n"
            "Run again, it goes on with the run that was stopped, up to the word of its end.",
        .example = "run --manifest local.json",
        .options = run_options,
        .run = cmd_run,
    },
    {
        .name = "follow",
        .arguments = "",
        .summary = "Goes on from a run with what arrives, until stopped by SIGTERM; ends with the "
                   "account.",
        .example = "follow --manifest local.json",
        .options = follow_options,
        .run = cmd_follow,
    },
    {
        .name = "status",
        .arguments = "[--watch]",
        .summary = "The account of what has been done so far, from the nodes' own books.",
        .example = "status --manifest local.json --json",
        .options = status_options,
        .run = cmd_status,
    },
    {
        .name = "rejected list",
        .arguments = "",
        .summary = "The rows that no node can have, with their reasons.",
        .example = "rejected list --manifest local.json --kind group_messages",
        .options = list_options,
        .run = cmd_rejected_list,
    },
    {
        .name = "rejected show",
        .arguments = "KIND ID",
        .summary = "One rejected row whole, as JSON, as it was kept.",
        .example = "rejected show group_messages 17 --manifest local.json",
        .options = show_options,
        .run = cmd_rejected_show,
    },
    {
        .name = "rejected retry",
        .arguments = "[KIND ID]",
        .summary = "Transforms rejected rows anew, after a repair, and loads those that pass.",
        .example = "rejected retry --manifest local.json --reject-reason mls_unparsable",
        .options = retry_options,
        .run = cmd_rejected_retry,
    },
    {
        .name = "rejected history",
        .arguments = "[KIND [ID]]",
        .summary = "Letters that have left the box, and what became of their rows.",
        .example = "rejected history --manifest local.json --kind group_messages",
        .options = list_options,
        .run = cmd_rejected_history,
    },
    {
        .name = "rejected waive",
        .arguments = "KIND ID --reason TEXT",
        .summary = "Leaves a rejected row behind, by name and for good reason.",
        .example = "rejected waive group_messages 17 --reason 'a test row of 2023' --manifest "
                   "local.json",
        .options = waive_options,
        .run = cmd_rejected_waive,
    },
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-migrate", verbs, mig_count_of(verbs), argc, argv);
}
