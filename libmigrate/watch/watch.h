/*
 * watch: a job as others see it: figures in Prometheus' text format, health and readiness over
 * HTTP, and what systemd is told. It listens to the hooks of whoever works; the work knows nothing
 * of it.
 */
#ifndef MIG_WATCH_H
#define MIG_WATCH_H

#include "libmigrate/base/base.h"

struct mig_watch_options {
    const char *address; /* HOST:PORT, [V6]:PORT, or :PORT for all interfaces; port 0 is one that
                            is free. NULL: no HTTP */
    const char *version, *network; /* told as labels */
    const char *const *tables;     /* the labels that can be: other names are not counted */
    size_t table_count;
    const char *const *nodes;
    size_t node_count;
    unsigned stall_after_s;        /* without progress; 0: 60 */
    const struct mig_hooks *hooks; /* who else listens; outlives the watch */
    const struct mig_stop *stop;   /* systemd is told when it is wished; may be NULL */
};

/*
 * Opens the registry, the server and the line to systemd (where NOTIFY_SOCKET is set). All texts
 * but the names of tables and nodes are copied; those are borrowed until it is closed.
 * Errors: MIG_E_USAGE (an address that is none), MIG_E_IO (cannot listen there), MIG_E_NOMEM,
 * MIG_E_TEMPORARY (no thread).
 */
struct mig_watch;
int mig_watch_open(const struct mig_watch_options *options, struct mig_watch **ret_watch,
                   struct mig_error *err);
/* Tells systemd that we stop, and closes the port. */
void mig_watch_close(struct mig_watch **watch);

/* To be given to the work in place of the caller's own, which hear everything as well. */
const struct mig_hooks *mig_watch_hooks(const struct mig_watch *watch);

/* Whether there is somebody to watch without an address: systemd. */
bool mig_watch_is_wanted(void);

#endif
