/* A watch over a job on a manifest's nodes. */
#include "tools/common/watch.h"

#include <stdlib.h>

struct watch_words watch_words;

static const char **names_of_nodes(const struct mig_manifest *manifest, struct mig_error *err)
{
    const char **names = calloc(manifest->node_count + 1, sizeof *names);

    if (!names)
        mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; names && i < manifest->node_count; i++)
        names[i] = manifest->nodes[i].name;
    return names;
}

int tool_watch_open(struct tool *tool, const struct mig_manifest *manifest,
                    struct mig_watch **ret_watch, struct mig_error *err)
{
    static const char *tables[MIG_TABLE_COUNT];
    static const char **nodes; /* borrowed by the watch; the process's one */
    struct mig_watch_options options = {.address = watch_words.address,
                                        .version = TOOL_VERSION,
                                        .network = manifest->network,
                                        .tables = tables,
                                        .table_count = MIG_TABLE_COUNT,
                                        .node_count = manifest->node_count,
                                        .stall_after_s = watch_words.stall_after_s,
                                        .hooks = &tool->hooks,
                                        .stop = tool->stop};

    if (!watch_words.address && !mig_watch_is_wanted())
        return MIG_OK;
    for (int table = 0; table < MIG_TABLE_COUNT; table++)
        tables[table] = mig_table_info((enum mig_table) table)->name;
    free(nodes);
    if (!(nodes = names_of_nodes(manifest, err)))
        return MIG_E_NOMEM;
    options.nodes = nodes;
    return mig_watch_open(&options, ret_watch, err);
}

const struct mig_hooks *tool_watch_hooks(const struct tool *tool, const struct mig_watch *watch)
{
    return watch ? mig_watch_hooks(watch) : &tool->hooks;
}
