/* run --dry-run: which way each band would be loaded, and why. */
#include "tools/xmtp-migrate/migrate.h"

#include <inttypes.h>
#include <stdio.h>

static const char *way_name(enum mig_way way)
{
    return way == MIG_WAY_BULK ? "bulk" : "staging";
}

static int print_band(void *context, const struct mig_band *band, struct mig_error *err)
{
    char line[256];

    (void) context;
    snprintf(line, sizeof line, "%-15.15s  %-16s  %19" PRId64 "  %-7s  %s", band->node,
             mig_table_info(band->table)->name, band->start, way_name(band->way),
             mig_way_text(band->way));
    return tool_print_line(mig_bytes_of_text(line), err);
}

static int add_band(void *context, const struct mig_band *band, struct mig_error *err)
{
    struct json_object *bands = context, *item = json_object_new_object();

    if (!item || json_object_array_add(bands, item) != 0) {
        json_object_put(item);
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    }
    json_object_object_add(item, "node", json_object_new_string(band->node));
    json_object_object_add(item, "table",
                           json_object_new_string(mig_table_info(band->table)->name));
    json_object_object_add(item, "first_id", json_object_new_int64(band->start));
    json_object_object_add(item, "way", json_object_new_string(way_name(band->way)));
    json_object_object_add(item, "because", json_object_new_string(mig_way_text(band->way)));
    return MIG_OK;
}

static int print_document(struct tool *tool, const struct mig_manifest *manifest,
                          const struct mig_run_options *options, struct mig_error *err)
{
    struct json_object *document = json_object_new_object(), *bands = json_object_new_array();
    int result = document && bands ? mig_pipeline_dry_run(manifest, options, &tool->hooks,
                                                          tool->stop, add_band, bands, err)
                                   : mig_fail(err, MIG_E_NOMEM, "out of memory");

    if (result != MIG_OK) {
        json_object_put(bands);
        json_object_put(document);
        return result;
    }
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/dry-run/1"));
    json_object_object_add(document, "bands", bands);
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

int print_dry_run(struct tool *tool, const struct mig_manifest *manifest,
                  const struct mig_run_options *options, struct mig_error *err)
{
    int result;

    if (tool->json)
        return print_document(tool, manifest, options, err);
    result = tool_print(err, "%-15s  %-16s  %19s  %-7s  %s", "node", "table", "band from", "way",
                        "because");
    return result == MIG_OK ? mig_pipeline_dry_run(manifest, options, &tool->hooks, tool->stop,
                                                   print_band, NULL, err)
                            : result;
}
