/* All nodes of a manifest at once; those that are away set aside. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>
#include <string.h>

static int note_away(struct mig_nodes *nodes, const char *name, const struct mig_error *why,
                     struct mig_error *err)
{
    struct mig_away *away = &nodes->away[nodes->away_count];

    away->name = strdup(name);
    if (!away->name)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    away->why = *why;
    nodes->away_count++;
    return MIG_OK;
}

static int open_nodes(const struct mig_manifest *manifest, const char *name,
                      enum mig_node_access access, const struct mig_hooks *hooks,
                      const struct mig_stop *stop, bool set_aside, struct mig_nodes *nodes,
                      struct mig_error *err)
{
    nodes->items = calloc(manifest->node_count + 1, sizeof(struct mig_node *));
    nodes->away = calloc(manifest->node_count + 1, sizeof *nodes->away);
    if (!nodes->items || !nodes->away)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < manifest->node_count; i++) {
        struct mig_error why = MIG_ERROR_INIT;
        int result;

        if (name && strcmp(manifest->nodes[i].name, name) != 0)
            continue;
        result = mig_node_open(manifest, i, access, hooks, stop, &nodes->items[nodes->count], &why);
        if (result == MIG_OK) {
            nodes->count++;
            continue;
        }
        if (result != MIG_E_TEMPORARY || !set_aside) {
            if (err)
                *err = why;
            return result;
        }
        if ((result = note_away(nodes, manifest->nodes[i].name, &why, err)) != MIG_OK)
            return result;
    }
    if (nodes->count + nodes->away_count > 0)
        return MIG_OK;
    mig_fail(err, MIG_E_USAGE, "the manifest has no node '%.60s'", name ? name : "");
    return mig_hint(err, "nodes[].name lists them");
}

int mig_nodes_open(const struct mig_manifest *manifest, const char *name,
                   enum mig_node_access access, const struct mig_hooks *hooks,
                   const struct mig_stop *stop, struct mig_nodes *ret_nodes, struct mig_error *err)
{
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    int result = open_nodes(manifest, name, access, hooks, stop, false, &nodes, err);

    if (result != MIG_OK)
        return result;
    *ret_nodes = nodes;
    nodes = (struct mig_nodes){0};
    return MIG_OK;
}

int mig_nodes_open_present(const struct mig_manifest *manifest, const char *name,
                           enum mig_node_access access, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_nodes *ret_nodes,
                           struct mig_error *err)
{
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    int result = open_nodes(manifest, name, access, hooks, stop, true, &nodes, err);

    if (result != MIG_OK)
        return result;
    if (nodes.count == 0) {
        if (err)
            *err = nodes.away[0].why;
        return nodes.away[0].why.code;
    }
    for (size_t i = 0; i < nodes.away_count; i++)
        mig_log(hooks, MIG_LOG_WARN, "%s: the other nodes go on without it",
                nodes.away[i].why.message);
    *ret_nodes = nodes;
    nodes = (struct mig_nodes){0};
    return MIG_OK;
}

int mig_nodes_set_aside(struct mig_nodes *nodes, size_t index, const struct mig_error *why,
                        struct mig_error *err)
{
    int result = note_away(nodes, mig_node_name(nodes->items[index]), why, err);

    if (result != MIG_OK)
        return result;
    mig_node_close(&nodes->items[index]);
    nodes->count--;
    memmove(&nodes->items[index], &nodes->items[index + 1],
            (nodes->count - index) * sizeof(struct mig_node *));
    return MIG_OK;
}

int nodes_set_failed_aside(struct mig_nodes *nodes, const struct flow_end *ends,
                           struct mig_error *err)
{
    const struct mig_error *lasting = NULL;
    int result = MIG_OK;

    for (size_t i = nodes->count; i > 0 && result == MIG_OK; i--) {
        const struct flow_end *end = &ends[i - 1];

        if (end->end != LANE_FAILED)
            continue;
        if (end->failure.code != MIG_E_TEMPORARY)
            lasting = &end->failure;
        result = mig_nodes_set_aside(nodes, i - 1, &end->failure, err);
    }
    if (result != MIG_OK || !lasting)
        return result;
    if (err)
        *err = *lasting;
    return lasting->code;
}

void mig_nodes_close(struct mig_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        mig_node_close(&nodes->items[i]);
    for (size_t i = 0; i < nodes->away_count; i++)
        free(nodes->away[i].name);
    free(nodes->items);
    free(nodes->away);
    *nodes = (struct mig_nodes){0};
}
