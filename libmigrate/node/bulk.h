/* What the files of the bulk path share: bulk.c, bulk_fill.c, bulk_tables.c. */
#ifndef MIG_NODE_BULK_H
#define MIG_NODE_BULK_H

#include "libmigrate/node/node_private.h"

#include <pthread.h>

/* bulk_tables.c: a band's two tables in our schema, and what is done with them. Each statement of
 * the node's own has to wait for us for a moment at most. */
struct node_bulk_band {
    uint32_t originator;
    int64_t start;
};
/* Makes them, empty; commits. MIG_E_TEMPORARY when locks were not to be had. */
int node_bulk_make(struct mig_node *node, const struct node_bulk_band *band, struct mig_error *err);
/* Begins the transaction that fills that of meta. */
int node_bulk_begin(struct mig_node *node, const struct node_bulk_band *band,
                    struct mig_error *err);
/* Readies the session that fills that of the blobs. */
int node_bulk_begin_blobs(struct mig_node *node, struct mig_error *err);
int node_bulk_index(struct mig_node *node, const struct node_bulk_band *band,
                    struct mig_error *err);
/* Has the session of the blobs make durable what is there, so that the commit that attaches has
 * little left to write while others wait for it. */
void node_bulk_flush(struct mig_node *node);
/* Puts them in the band's place, with more statements in the same breath, and commits. */
int node_bulk_attach(struct mig_node *node, const struct node_bulk_band *band, const char *more,
                     struct mig_error *err);
/* Their names, for printf with originator and start of the band. */
#define NODE_BULK_NAME "xmtp_migrate.%s_o%" PRIu32 "_s%" PRId64

/* A band on its way. */
struct node_bulk {
    struct mig_node *side; /* the session of the transaction */
    struct mig_node *blob; /* and one for the blobs: see bulk_tables.c */
    struct mig_stop stop;  /* ends it alone, or with everything */
    enum mig_table table;
    struct node_bulk_band band;
    uint64_t rows;
    int64_t clock_id, clock_us; /* of the last part that had rows */
    bool has_tracked;
    int64_t tracked_id;
    pthread_t thread;
    atomic_bool ended;
    int result;
    struct mig_error err;
};

/* bulk_fill.c: a part more of it, with its letters and its books. */
int node_bulk_fill(struct node_bulk *bulk, struct node_load_job *job, struct mig_error *err);

#endif
