/* plan: what a run would take and what would refuse it, before anything is written. */
#include "tools/xmtp-migrate/migrate.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT_LIMIT ((size_t) 1 << 20)
#define FIGURE_SIZE 32

struct plan_words plan_words = {.probe_seconds = 2};

/* ---- figures ------------------------------------------------------------------------------- */

struct figure {
    char text[FIGURE_SIZE];
};

static struct figure number(int64_t value)
{
    struct figure figure;

    snprintf(figure.text, sizeof figure.text, "%" PRId64, value);
    if (value == MIG_PLAN_UNKNOWN)
        snprintf(figure.text, sizeof figure.text, "unknown");
    return figure;
}

static struct figure size(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double) bytes;
    struct figure figure;
    size_t unit = 0;

    if (bytes == MIG_PLAN_UNKNOWN)
        return number(bytes);
    for (; value >= 1024 && unit + 1 < mig_count_of(units); unit++)
        value /= 1024;
    snprintf(figure.text, sizeof figure.text, "%.*f %s", unit > 0 && value < 100, value,
             units[unit]);
    return figure;
}

static struct figure duration(int64_t seconds)
{
    struct figure figure;

    if (seconds == MIG_PLAN_UNKNOWN)
        return number(seconds);
    snprintf(figure.text, sizeof figure.text, "%" PRId64 ":%02d:%02d", seconds / 3600,
             (int) (seconds / 60 % 60), (int) (seconds % 60));
    return figure;
}

/* ---- the table ----------------------------------------------------------------------------- */

static int add_tables(struct mig_buffer *text, const struct mig_plan *plan, struct mig_error *err)
{
    int result = mig_buffer_print(text, err, "\n%-17s %12s %10s %12s %8s %6s\n", "table", "rows",
                                  "to read", "on disk", "parts", "bands");

    for (int i = 0; i < MIG_TABLE_COUNT && result == MIG_OK; i++) {
        const struct mig_plan_table *table = &plan->tables[i];

        result = mig_buffer_print(
            text, err, "%-17s %12s %10s %12s %8s %6s\n", mig_table_info((enum mig_table) i)->name,
            number(table->rows).text, size(table->bytes).text, size(table->disk_bytes).text,
            number(table->parts).text, table->bands > 0 ? number((int64_t) table->bands).text : "");
    }
    return result;
}

static int add_kinds(struct mig_buffer *text, const struct mig_plan *plan, struct mig_error *err)
{
    int result = mig_buffer_print(text, err, "\n%-17s %12s %10s %12s %12s\n", "kind", "rows",
                                  "expired", "rejected", "to go to");

    for (int i = 0; i < MIG_KIND_COUNT && result == MIG_OK; i++) {
        const struct mig_plan_kind *kind = &plan->kinds[i];
        const struct mig_kind_info *info = mig_kind_info((enum mig_kind) i);

        result = mig_buffer_print(text, err, "%-17s %12s %10s %12s %12s  %s\n", info->name,
                                  number(kind->rows).text, number(kind->expired).text,
                                  number(kind->rejected).text, number(kind->to_go).text,
                                  info->route == MIG_ROUTE_CHAIN ? "the chain" : "every node");
    }
    return result;
}

static int add_node(struct mig_buffer *text, const struct mig_plan *plan,
                    const struct mig_plan_node *node, struct mig_error *err)
{
    int result;

    if (!node->known)
        return mig_buffer_print(text, err, "\nnode %s: unknown\n", node->name);
    result = mig_buffer_print(text, err, "\nnode %s: ", node->name);
    if (result == MIG_OK && plan->source_known)
        result = mig_buffer_print(text, err,
                                  "%zu bands to be seeded in bulk, %zu staged beside their rows\n"
                                  "  disk %s%s, WAL %s; ",
                                  node->empty, node->filled, plan->at_most ? "at most " : "",
                                  size(node->disk_bytes).text, size(node->wal_bytes).text);
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, "free %s, for WAL %s%s\n", size(node->free_bytes).text,
                                  size(node->wal_free_bytes).text,
                                  plan->source_known && node->free_bytes >= 0 &&
                                          node->disk_bytes > node->free_bytes
                                      ? "  TOO LITTLE"
                                      : "");
    for (size_t i = 0; i < node->settings.count && result == MIG_OK; i++) {
        const struct mig_setting *setting = &node->settings.items[i];

        result = mig_buffer_print(text, err, "  %-26s %-8s %s; better: %s\n", setting->name,
                                  setting->value, setting->why, setting->better);
    }
    return result;
}

static int add_refusals(struct mig_buffer *text, const struct mig_plan *plan, struct mig_error *err)
{
    int result = mig_buffer_print(text, err, "\n");

    for (size_t i = 0; i < plan->refusals.count && result == MIG_OK; i++) {
        const struct mig_error *refusal = &plan->refusals.items[i];

        result = mig_buffer_print(text, err, "refused: %s\n%s%s%s", refusal->message,
                                  refusal->hint[0] ? "  hint: " : "", refusal->hint,
                                  refusal->hint[0] ? "\n" : "");
    }
    return result == MIG_OK
               ? mig_buffer_print(text, err, "%s",
                                  plan->refusals.count == 0 ? "it would run" : "it would not run")
               : result;
}

static int add_speed(struct mig_buffer *text, const struct mig_plan *plan, struct mig_error *err)
{
    int result = MIG_OK;

    if (plan->rows_per_second == MIG_PLAN_UNKNOWN)
        return MIG_OK;
    result = mig_buffer_print(text, err, "\nsigning: %s rows/s here on %u threads",
                              number(plan->rows_per_second).text, plan->threads);
    if (result == MIG_OK && plan->seconds != MIG_PLAN_UNKNOWN)
        result = mig_buffer_print(text, err, ": %s%s for all of it",
                                  plan->at_most ? "at most " : "", duration(plan->seconds).text);
    return result == MIG_OK ? mig_buffer_print(text, err, "\n") : result;
}

static int describe(struct mig_buffer *text, const struct mig_plan *plan, struct mig_error *err)
{
    char as_of[MIG_TIME_TEXT_SIZE];
    int result;

    mig_time_format(plan->as_of_ns, as_of);
    result = mig_buffer_print(text, err, "plan for network %s, as of %s: %s%s%s\n", plan->network,
                              as_of, plan->exact ? "every row was read" : "figures are estimates",
                              plan->takes_up[0] ? ", takes up run " : "", plan->takes_up);
    if (result == MIG_OK && plan->source_known && (result = add_tables(text, plan, err)) == MIG_OK)
        result = add_kinds(text, plan, err);
    if (result == MIG_OK && plan->at_most)
        result = mig_buffer_print(text, err,
                                  "(ANALYZE the tables at the source, or use --exact, to know what "
                                  "has expired)\n");
    if (result == MIG_OK)
        result = add_speed(text, plan, err);
    for (size_t i = 0; i < plan->node_count && result == MIG_OK; i++)
        result = add_node(text, plan, &plan->nodes[i], err);
    return result == MIG_OK ? add_refusals(text, plan, err) : result;
}

static int print_plan(struct tool *tool, const struct mig_plan *plan, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TEXT_LIMIT);
    int result;

    tool_progress_end(tool);
    if (tool->json) {
        struct json_object *document = mig_plan_to_json(plan);

        result =
            document ? tool_print_json(document, err) : mig_fail(err, MIG_E_NOMEM, "out of memory");
        json_object_put(document);
        return result;
    }
    result = describe(&text, plan, err);
    return result == MIG_OK ? tool_print(err, "%s", (const char *) text.data) : result;
}

int cmd_plan(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_plan_free) struct mig_plan *plan = NULL;
    const struct mig_plan_options options = {
        .run = run_options_of(tool),
        .exact = plan_words.exact,
        .probe_seconds = plan_words.probe_seconds,
    };
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "plan takes no argument: '%s'", argv[0]);
    if (plan_words.probe_seconds > 3600)
        return mig_fail(err, MIG_E_USAGE, "--probe %u: expected 0 to 3600 seconds",
                        plan_words.probe_seconds);
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_pipeline_plan(manifest, &options, &tool->hooks, tool->stop, &plan, err)) !=
            MIG_OK ||
        (result = print_plan(tool, plan, err)) != MIG_OK)
        return result;
    return mig_plan_outcome(plan, err);
}
