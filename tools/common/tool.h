/*
 * What all tools share: a table of verbs with tables of options, one way to end, one way to tell a
 * person what happened, progress. Results go to stdout, everything else to stderr.
 */
#ifndef TOOL_H
#define TOOL_H

#include "libmigrate/base/base.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/pipeline/pipeline.h"

#include <json-c/json.h>

/* TOOL_COUNT is a TOOL_UNSIGNED of 1 or more. */
enum tool_value {
    TOOL_FLAG,
    TOOL_TEXT,
    TOOL_TEXTS,
    TOOL_UNSIGNED,
    TOOL_COUNT,
    TOOL_INT64,
    TOOL_SIZE
};

/* What an option that may be given more than once has been given. */
#define TOOL_TEXTS_MAX 64
struct tool_texts {
    const char *items[TOOL_TEXTS_MAX];
    size_t count;
};

/* One option of a verb. target is a bool *, const char **, struct tool_texts *, unsigned *,
 * int64_t * or size_t *, by type; it keeps its value when the option is not given. A table ends
 * with
 * {.name = NULL}. */
struct tool_option {
    const char *name;     /* without the dashes */
    const char *argument; /* "FILE" in the help; NULL for a flag */
    const char *help;     /* one line */
    enum tool_value type;
    void *target;
};

/* What every verb can rely on: the options that all tools have, and how to talk. */
struct tool {
    const char *name;
    const char *manifest_path; /* --manifest, else XMTP_MANIFEST, else NULL */
    bool has_as_of;
    int64_t as_of_ns;
    bool json;
    struct mig_resources resources;
    enum mig_log_level log_level;
    struct mig_hooks hooks; /* log lines and progress on stderr */
    struct mig_stop *stop;  /* set by SIGINT and SIGTERM; a second one ends the process with 130 */
};

struct tool_verb {
    const char *name;      /* "" for the one verb of a tool that has no verbs */
    const char *arguments; /* "v3|node --dsn DSN", for the usage line */
    const char *summary;   /* one line for --help */
    const char *example;   /* a command line that works as it stands, without the tool's name */
    const struct tool_option *options; /* its own; NULL when it has only the common ones */
    /* arguments are what is left after the options; the verb's own name is not among them */
    int (*run)(struct tool *tool, int argc, char **argv, struct mig_error *err);
};

/* Finds the verb, reads its options and the common ones, runs it, reports a failure with its hint;
 * returns the process's exit status. A name of two words ("rejected list") is matched as two. A
 * verb named "" takes what no other verb matches. */
int tool_main(const char *name, const struct tool_verb *verbs, size_t count, int argc, char **argv);

/* Loads the manifest of --manifest; on failure all its problems have been listed on stderr, and err
 * tells their number. */
int tool_manifest(struct tool *tool, struct mig_manifest **ret_manifest, struct mig_error *err);

/* Prints text or a JSON document to stdout, with a newline, and checks that it arrived.
 * Errors: MIG_E_IO (closed pipe, full disk). tool_print_json borrows the document. */
int tool_print(struct mig_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int tool_print_json(struct json_object *document, struct mig_error *err);

/* The same for one of very many lines: buffered, so that a failure may be told by a later call or
 * by the end of tool_main(). */
int tool_print_line(struct mig_bytes line, struct mig_error *err);

/* Ends the progress line, so that what follows starts on a line of its own. */
void tool_progress_end(struct tool *tool);

#endif
