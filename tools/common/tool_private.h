/*
 * What the files of tools/common know of each other. A tool is one process with one terminal, so
 * progress and signals are the process's own; everything else is passed around.
 */
#ifndef TOOL_PRIVATE_H
#define TOOL_PRIVATE_H

#include "tools/common/tool.h"

#include <stdio.h>

/* ---- options ------------------------------------------------------------------------------ */

enum progress_mode { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_NONE };

struct settings {
    bool help, version;
    enum progress_mode progress;
    bool json_log;
};

/* Reads the options of verb and the common ones into their targets, tool and settings, and moves
 * what is left to the end of argv, where it starts at *ret_first. Errors: MIG_E_USAGE. */
int options_read(struct tool *tool, const struct tool_verb *verb, int argc, char **argv,
                 struct settings *ret_settings, int *ret_first, struct mig_error *err);

/* Whether --log-format json stands somewhere: for what is wrong with the words beside it. */
bool options_want_json_log(int argc, char **argv);

/* How many of argv are common options with their values: where the verb may start. argv[0] is the
 * first candidate. */
int options_leading(int argc, char **argv);

/* One line an option. print_common lists what all verbs take. */
void options_print(FILE *out, const struct tool_option *options);
void options_print_common(FILE *out);

/* ---- progress ----------------------------------------------------------------------------- */

/* Sets up the hooks of tool. name is borrowed for the rest of the process. json_log: every line on
 * stderr is an object, also those of progress. */
void progress_start(struct tool *tool, enum progress_mode mode, bool json_log);

/* Ends the progress line and the thread that draws it. */
void progress_stop(void);

/* Writes one line of the tool's own to stderr, above the progress line; control characters in it
 * are made harmless. event is "error", "hint" or a log level. */
void progress_say(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line as an object: time, level and event, then what is added; writing it frees it. */
/* In UTF-8, whatever the object's texts are. To be freed; NULL: out of memory. */
char *json_to_text(struct json_object *object, int flags);
struct json_object *json_line_begin(const char *event, const char *level);
void json_line_add(struct json_object *line, const char *name, const char *text);
void json_line_write(struct json_object *line);
void json_line_say(const char *event, const char *message);

/* Keeps the progress line away while results are printed to the same terminal. */
void progress_hold(void);
void progress_release(void);

/* ---- signals and output ------------------------------------------------------------------- */

/* Makes SIGINT and SIGTERM set *stop, and a second one end the process; ignores SIGPIPE. */
void signals_start(struct mig_stop *stop);

/* Keeps 0, 1 and 2 from being given to files of ours when the caller closed them. */
void output_start(void);

/* Sends what is still buffered. Errors: MIG_E_IO. */
int output_finish(struct mig_error *err);

#endif
