/* What had been given out of a table's ids at some moments, and who might still write below. */
#ifndef MIG_SOURCE_LOOKS_H
#define MIG_SOURCE_LOOKS_H

#include "libmigrate/base/base.h"

/* Looks that are open at a time for a table; more would tell the same a little earlier. */
#define LOOKS_MAX 64

/* Virtual transactions, by name. */
struct source_writers {
    char **names;
    size_t count;
};
void source_writers_release(struct source_writers *writers);
bool source_holds(const struct source_writers *writers, const char *name);
int source_add_writer(struct source_writers *writers, const char *name, struct mig_error *err);

/* What had been given out at a look, and who of those that wrote then has not ended. By time: from
 * a while after it on, whichever transaction had a number by then. */
struct source_look_at_ids {
    int64_t bound;
    struct source_writers writers;
    int64_t since_ns, numbered_ns;
    int64_t next_number; /* 0: it is too early */
};

struct source_looks {
    struct source_look_at_ids items[LOOKS_MAX];
    size_t count;
};
void source_looks_release(struct source_looks *looks);

/* One more look, by who writes now, which it takes over: raises the bound as far as is settled. */
int source_look(struct source_looks *looks, int64_t latest, struct source_writers *now,
                int64_t *bound, struct mig_error *err);

/* Of the transactions' numbers: the oldest in progress, and the first that was not given out. */
struct source_numbers {
    int64_t oldest, next;
    bool stalled; /* a standby that does not replay what it has: no time passes on it */
};
/* now_ns: monotonic; hold_ns: how long an id has to have been seen before the numbers count. */
void source_look_by_time(struct source_looks *looks, int64_t latest, struct source_numbers numbers,
                         int64_t now_ns, int64_t hold_ns, int64_t *bound);

#endif
