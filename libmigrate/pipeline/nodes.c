/* All nodes of a manifest at once. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>
#include <string.h>

int mig_nodes_open(const struct mig_manifest *manifest, const char *name,
                   enum mig_node_access access, const struct mig_hooks *hooks,
                   const struct mig_stop *stop, struct mig_nodes *ret_nodes, struct mig_error *err)
{
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};

    nodes.items = calloc(manifest->node_count + 1, sizeof(struct mig_node *));
    if (!nodes.items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < manifest->node_count; i++) {
        int result;

        if (name && strcmp(manifest->nodes[i].name, name) != 0)
            continue;
        result = mig_node_open(manifest, i, access, hooks, stop, &nodes.items[nodes.count], err);
        if (result != MIG_OK)
            return result;
        nodes.count++;
    }
    if (nodes.count == 0) {
        mig_fail(err, MIG_E_USAGE, "the manifest has no node '%.60s'", name ? name : "");
        return mig_hint(err, "nodes[].name lists them");
    }
    *ret_nodes = nodes;
    nodes = (struct mig_nodes){0};
    return MIG_OK;
}

void mig_nodes_close(struct mig_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        mig_node_close(&nodes->items[i]);
    free(nodes->items);
    *nodes = (struct mig_nodes){0};
}
