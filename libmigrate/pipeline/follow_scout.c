/* Whether nodes that are away can be reached again, found out beside the loop: a host that is
 * silent takes all the time that a connection may take, and the other nodes don't wait for it. */
#include "libmigrate/pipeline/follow.h"

#include <stdlib.h>

struct scout {
    pthread_t thread;
    _Atomic bool done;
    struct mig_stop stop;
    const struct mig_manifest *manifest;
    const struct mig_hooks *hooks;
    size_t count;
    struct {
        size_t index; /* among the manifest's */
        bool there;
    } nodes[];
};

/* What is wrong and doesn't pass is for the loop to meet. */
static void *look(void *context)
{
    struct scout *scout = context;

    for (size_t i = 0; i < scout->count; i++) {
        mig_cleanup(mig_node_close) struct mig_node *node = NULL;
        struct mig_error why = MIG_ERROR_INIT;

        scout->nodes[i].there =
            mig_node_open(scout->manifest, scout->nodes[i].index, MIG_NODE_WRITE, scout->hooks,
                          &scout->stop, &node, &why) != MIG_E_TEMPORARY;
    }
    atomic_store(&scout->done, true);
    return NULL;
}

int follow_scout_send(struct follow *follow, struct mig_error *err)
{
    const struct mig_nodes *nodes = &follow->job.nodes;
    struct scout *scout = calloc(1, sizeof *scout + nodes->away_count * sizeof scout->nodes[0]);

    if (!scout)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    scout->manifest = follow->job.manifest;
    scout->hooks = nodes->hooks;
    for (; scout->count < nodes->away_count; scout->count++)
        scout->nodes[scout->count].index = nodes->away[scout->count].index;
    if (pthread_create(&scout->thread, NULL, look, scout) != 0) {
        free(scout);
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread");
    }
    follow->scout = scout;
    return MIG_OK;
}

bool follow_scout_is_back(struct follow *follow)
{
    const struct scout *scout = follow->scout;
    struct mig_nodes *nodes = &follow->job.nodes;
    bool any = false;

    if (!scout || !atomic_load(&scout->done))
        return false;
    for (size_t i = 0; i < nodes->away_count; i++) {
        struct mig_away *away = &nodes->away[i];

        away->awaited = false;
        for (size_t k = 0; k < scout->count; k++)
            away->awaited |= scout->nodes[k].index == away->index && scout->nodes[k].there;
        any = any || away->awaited;
    }
    follow_scout_recall(follow);
    return any;
}

void follow_scout_recall(struct follow *follow)
{
    struct scout *scout = mig_take(follow->scout);

    if (!scout)
        return;
    atomic_store(&scout->stop.requested, true);
    pthread_join(scout->thread, NULL);
    free(scout);
}
