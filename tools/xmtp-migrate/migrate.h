/* The verbs of xmtp-migrate and the words they are given. */
#ifndef MIGRATE_H
#define MIGRATE_H

#include "tools/common/account.h"
#include "tools/common/watch.h"

struct run_words {
    const char *chain_out;
    unsigned source_connections;
    bool new_run, dry_run;
    bool source_moved;
    unsigned max_rate, retry_s;
};
extern struct run_words run_words;
/* What they and the common options ask for. */
struct mig_run_options run_options_of(const struct tool *tool);

struct plan_words {
    bool exact;
    unsigned probe_seconds;
};
extern struct plan_words plan_words;

struct status_words {
    bool watch;
    unsigned interval_s;
};
extern struct status_words status_words;

/* Which dead letters a verb is about; kind and id may also be given as arguments. */
struct rejected_words {
    const char *kind, *reason, *node;
    int64_t id; /* INT64_MIN: not given */
    unsigned limit;
    const char *why;           /* of a waiver or a repair */
    struct tool_texts replace; /* conflicts, by name */
};
extern struct rejected_words rejected_words;

/* KIND and ID may stand as arguments or as options. Errors: MIG_E_USAGE. */
int rejected_filter(int argc, char **argv, struct mig_letter_filter *filter, struct mig_error *err);
int rejected_read_id(const char *text, int64_t *ret_id, struct mig_error *err);
/* That --reason is given, and can stand in a line. Errors: MIG_E_USAGE, naming what needs it. */
int rejected_need_why(const char *what, struct mig_error *err);
/* The user of the system and its host. */
void rejected_who(char *who, size_t capacity);
/* A letter as JSON, without its record; a json-c object that the caller puts. */
struct json_object *rejected_letter_json(const struct mig_dead_letter *letter);
struct json_object *rejected_conflict_json(const struct mig_conflict *conflict);

/* What run would do; prints a table or a document. */
int print_dry_run(struct tool *tool, const struct mig_manifest *manifest,
                  const struct mig_run_options *options, struct mig_error *err);

int cmd_run(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_follow(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_plan(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_status(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rejected_list(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rejected_show(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rejected_retry(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rejected_history(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rejected_waive(struct tool *tool, int argc, char **argv, struct mig_error *err);

#endif
