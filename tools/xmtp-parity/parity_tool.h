/* What the files of xmtp-parity share. */
#ifndef PARITY_TOOL_H
#define PARITY_TOOL_H

#include "libmigrate/parity/parity.h"
#include "tools/common/tool.h"

/* What the options of `check` were given. */
struct check_words {
    struct tool_texts nodes;
    const char *payer, *originator;
    const char *signatures, *seed;
    unsigned list;
};
extern struct check_words check_words;

/* Understands --signatures and --seed; NULL when not given. Errors: MIG_E_USAGE. */
int parity_read_sampling(const char *signatures, const char *seed,
                         struct mig_parity_sampling *ret_sampling, struct mig_error *err);

int cmd_check(struct tool *tool, int argc, char **argv, struct mig_error *err);

/* The report for people. Errors: MIG_E_IO. */
int parity_print(const struct mig_parity_report *report, struct mig_error *err);

#endif
