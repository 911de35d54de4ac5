/* One writer of the verb `live`: a connection of its own, and what all writers count together. */
#ifndef SEED_LIVE_H
#define SEED_LIVE_H

#include "tools/xmtp-seed/seed.h"

#include <pthread.h>

struct live_totals {
    pthread_mutex_t lock;
    int64_t committed[MIG_TABLE_COUNT];
    int64_t rolled_back;
    int64_t out_of_order;   /* committed after a higher id of the same table */
    int64_t uploaded_again; /* older packages that became the current ones */
    int64_t highest[MIG_TABLE_COUNT];
};

struct live_writer {
    struct seed_maker maker;
    struct seed_random choices;  /* kinds, holds, rollbacks: follow from the seed */
    struct seed_random contents; /* never the same in two runs */
    struct mig_pg *pg;
    struct live_totals *totals;
    const struct mig_stop *stop; /* ends a hold early */
    uint64_t hold_ms;
    unsigned rollback_percent;
    struct mig_bytes installations[64]; /* that it uploaded packages for; in kept */
    size_t installation_count;
    struct mig_arena kept;
};

/* One transaction: draws an id, holds it for a while, commits or rolls back. */
int live_write(struct live_writer *writer, struct mig_error *err);

#endif
