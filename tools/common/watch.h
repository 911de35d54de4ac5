/* Being watched: the options that long jobs share, and what they open. */
#ifndef TOOL_WATCH_H
#define TOOL_WATCH_H

#include "libmigrate/watch/watch.h"
#include "tools/common/tool.h"

struct watch_words {
    const char *address;
    unsigned stall_after_s;
};
extern struct watch_words watch_words;

/* Rows of a verb's table of options. */
#define TOOL_WATCH_OPTIONS                                                                         \
    {"metrics", "ADDR",                                                                            \
     "serve /metrics, /healthz and /readyz at HOST:PORT, or at :PORT for all interfaces",          \
     TOOL_TEXT, &watch_words.address},                                                             \
    {                                                                                              \
        "stall-after", "SECONDS", "without progress /healthz says stalled (default: 60)",          \
            TOOL_COUNT, &watch_words.stall_after_s                                                 \
    }

/* Opens a watch where --metrics or systemd asks for one; else *ret_watch stays NULL.
 * Errors: as mig_watch_open(). */
int tool_watch_open(struct tool *tool, const struct mig_manifest *manifest,
                    struct mig_watch **ret_watch, struct mig_error *err);
/* What the job is to be given: the watch's hooks, or the tool's when there is none. */
const struct mig_hooks *tool_watch_hooks(const struct tool *tool, const struct mig_watch *watch);

#endif
