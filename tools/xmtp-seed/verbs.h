/* The verbs of xmtp-seed and their options, for the table in main.c. */
#ifndef SEED_VERBS_H
#define SEED_VERBS_H

#include "tools/common/tool.h"

extern const struct tool_option schema_options[], rows_options[], live_options[], csv_options[];

int cmd_schema(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_rows(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_live(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_csv(struct tool *tool, int argc, char **argv, struct mig_error *err);

#endif
