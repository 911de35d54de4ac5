/* A connection to a node's database. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *node_number(int64_t number, char text[NODE_NUMBER_SIZE])
{
    snprintf(text, NODE_NUMBER_SIZE, "%" PRId64, number);
    return text;
}

/* Connected, and nothing looked at yet. */
static int connect_node(const struct mig_manifest *manifest, size_t index,
                        enum mig_node_access access, const struct mig_hooks *hooks,
                        const struct mig_stop *stop, struct mig_node **ret_node,
                        struct mig_error *err)
{
    mig_cleanup(mig_node_close) struct mig_node *node = calloc(1, sizeof *node);
    mig_cleanup(mig_secret_release) struct mig_secret dsn = {0};
    char subject[96], what[96];
    const struct mig_limits *limits = &manifest->nodes[index].limits;
    const bool writes = access == MIG_NODE_WRITE;
    /* Whoever audits reads at the pace of what it compares with. */
    const struct mig_pg_options options = {.subject = subject,
                                           .read_only = !writes,
                                           .stop = stop,
                                           .statement_timeout_s =
                                               writes ? limits->statement_timeout_s : 0,
                                           .lock_timeout_s = limits->lock_timeout_s};
    int result;

    if (!node)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    node->manifest = manifest;
    node->entry = &manifest->nodes[index];
    node->hooks = hooks;
    node->stop = stop;
    snprintf(subject, sizeof subject, "node '%s'", node->entry->name);
    snprintf(what, sizeof what, "nodes[%zu].dsn", index);
    if ((result = mig_reference_resolve(&node->entry->dsn, what, hooks, &dsn, err)) != MIG_OK ||
        (result = mig_pg_open(dsn.text, &options, &node->pg, err)) != MIG_OK ||
        (result = node_say_who(node, err)) != MIG_OK)
        return result;
    *ret_node = mig_take(node);
    return MIG_OK;
}

int mig_node_open(const struct mig_manifest *manifest, size_t index, enum mig_node_access access,
                  const struct mig_hooks *hooks, const struct mig_stop *stop,
                  struct mig_node **ret_node, struct mig_error *err)
{
    mig_cleanup(mig_node_close) struct mig_node *node = NULL;
    int result = connect_node(manifest, index, access, hooks, stop, &node, err);

    if (result != MIG_OK || (result = node_check(node, access == MIG_NODE_WRITE, err)) != MIG_OK ||
        (result = node_find_books(node, err)) != MIG_OK)
        return result;
    mig_report_measure(hooks, MIG_MEASURE_UP, NULL, mig_node_name(node), 1);
    *ret_node = mig_take(node);
    return MIG_OK;
}

int mig_node_examine(const struct mig_manifest *manifest, size_t index,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_errors *refusals, struct mig_node **ret_node, struct mig_error *err)
{
    mig_cleanup(mig_node_close) struct mig_node *node = NULL;
    struct mig_error one = MIG_ERROR_INIT;
    bool usable = false;
    int result = connect_node(manifest, index, MIG_NODE_READ, hooks, stop, &node, &one);

    *ret_node = NULL;
    if (result == MIG_OK)
        result = node_check_all(node, refusals, &usable, &one);
    if (result == MIG_OK && usable)
        result = node_find_books(node, &one);
    if (result == MIG_OK && usable)
        result = node_check_rights(node, refusals, &one);
    if (result == MIG_OK && usable)
        result = node_check_unclaimed(node, &one);
    if (node && usable && (result == MIG_OK || mig_pg_alive(node->pg)))
        *ret_node = mig_take(node);
    if (result == MIG_OK || result == MIG_E_CANCELLED || result == MIG_E_NOMEM) {
        if (err && result != MIG_OK)
            *err = one;
        return result;
    }
    return mig_errors_add(refusals, &one, err);
}

void mig_node_close(struct mig_node **node)
{
    struct mig_node *n = mig_take(*node);

    if (!n)
        return;
    node_bulk_abandon(n);
    node_reading_release(&n->reading);
    mig_pg_close(&n->pg);
    free(n);
}

const char *mig_node_name(const struct mig_node *node)
{
    return node->entry->name;
}

size_t mig_node_index(const struct mig_node *node)
{
    return (size_t) (node->entry - node->manifest->nodes);
}

void mig_node_set_patience(struct mig_node *node, struct mig_patience patience)
{
    mig_pg_set_patience(node->pg, patience);
}

bool mig_node_alive(const struct mig_node *node)
{
    return mig_pg_alive(node->pg);
}
