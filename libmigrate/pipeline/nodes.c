/* All nodes of a manifest at once; those that are away set aside. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <stdlib.h>
#include <string.h>

static int note_away(struct mig_nodes *nodes, const char *name, size_t index,
                     const struct mig_error *why, struct mig_error *err)
{
    struct mig_away *away = &nodes->away[nodes->away_count];

    *away = (struct mig_away){.name = strdup(name), .index = index};
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
    nodes->hooks = hooks;
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
        if ((result = note_away(nodes, manifest->nodes[i].name, i, &why, err)) != MIG_OK)
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
    struct mig_node *node = nodes->items[index];
    struct mig_away *away = &nodes->away[nodes->away_count];
    int result = note_away(nodes, mig_node_name(node), mig_node_index(node), why, err);

    if (result != MIG_OK)
        return result;
    mig_report_measure(nodes->hooks, MIG_MEASURE_UP, NULL, away->name, 0);
    away->awaited = true;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        away->has_lost[table] =
            mig_node_lost_band(node, (enum mig_table) table, &away->lost[table]);
    mig_node_close(&nodes->items[index]);
    nodes->count--;
    memmove(&nodes->items[index], &nodes->items[index + 1],
            (nodes->count - index) * sizeof(struct mig_node *));
    return MIG_OK;
}

static void forget_away(struct mig_nodes *nodes, size_t index)
{
    free(nodes->away[index].name);
    nodes->away_count--;
    memmove(&nodes->away[index], &nodes->away[index + 1],
            (nodes->away_count - index) * sizeof *nodes->away);
}

int mig_nodes_bring_back(struct mig_nodes *nodes, const struct mig_manifest *manifest,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         size_t *ret_back, struct mig_error *err)
{
    *ret_back = 0;
    for (size_t i = nodes->away_count; i > 0; i--) {
        struct mig_away *away = &nodes->away[i - 1];
        struct mig_node *node = NULL;
        struct mig_error why = MIG_ERROR_INIT;
        int result = away->awaited ? mig_node_open(manifest, away->index, MIG_NODE_WRITE, hooks,
                                                   stop, &node, &why)
                                   : MIG_E_TEMPORARY;

        if (result == MIG_E_TEMPORARY) {
            away->why = why.code == MIG_OK ? away->why : why;
            continue;
        }
        if (result != MIG_OK) {
            if (err)
                *err = why;
            return result;
        }
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (away->has_lost[table])
                mig_node_stage_band(node, (enum mig_table) table, away->lost[table]);
        mig_log(hooks, MIG_LOG_INFO, "node '%s' is back", away->name);
        nodes->items[nodes->count++] = node;
        forget_away(nodes, i - 1);
        ++*ret_back;
    }
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
