/* How tools show an account and a stage's summary to people and scripts. */
#ifndef TOOL_ACCOUNT_H
#define TOOL_ACCOUNT_H

#include "libmigrate/pipeline/pipeline.h"
#include "tools/common/tool.h"

/* Prints the account, as a table or (--json) as its document. context is a struct tool:
 * for mig_run_options.tell. */
int tool_print_account(void *context, const struct mig_account *account, struct mig_error *err);
/* The same, and returns what it comes to: see mig_account_outcome(). */
int tool_account(struct tool *tool, const struct mig_account *account, struct mig_error *err);

/* Prints its document in one line. */
int tool_account_line(const struct mig_account *account, struct mig_error *err);

/* Prints what a stage did: rows, parts, expired. On stderr when results go to a stream on stdout.
 */
int tool_stage(struct tool *tool, const char *stage, const char *out,
               const struct mig_stage_summary *summary, struct mig_error *err);

#endif
