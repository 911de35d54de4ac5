/* The figures as text: https://prometheus.io/docs/instrumenting/exposition_formats/, 0.0.4. */
#include "libmigrate/watch/watch_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABELS_SIZE 512
#define EXACT 9007199254740992.0 /* doubles up to here are every whole number */

static void format_value(double value, char *text, size_t size)
{
    if (isnan(value) || isinf(value))
        snprintf(text, size, "%s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) <= EXACT)
        snprintf(text, size, "%.0f", value);
    else
        snprintf(text, size, "%.9g", value);
}

/* Adds name="value" to labels, in braces once there is one. */
static void add_label(char labels[LABELS_SIZE], const char *name, const char *value)
{
    size_t used = strlen(labels);

    if (used > 0)
        used--;
    used +=
        (size_t) snprintf(labels + used, LABELS_SIZE - used, "%s%s=\"", used > 0 ? "," : "{", name);
    for (; *value && used < LABELS_SIZE - 8; value++) {
        if (*value == '\n' || *value == '"' || *value == '\\')
            labels[used++] = '\\';
        labels[used++] = *value;
        if (*value == '\n')
            labels[used - 1] = 'n';
    }
    memcpy(labels + used, "\"}", sizeof "\"}");
}

static int print_value(struct mig_buffer *text, const char *name, const char *suffix,
                       const char *labels, double value, struct mig_error *err)
{
    char number[40];

    format_value(value, number, sizeof number);
    return mig_buffer_print(text, err, "%s%s%s %s\n", name, suffix, labels, number);
}

static int print_histogram(struct mig_buffer *text, const char *name, const char *labels,
                           const struct cell *cell, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i <= BUCKETS_MAX && result == MIG_OK; i++) {
        char bound[40], within[LABELS_SIZE];

        format_value(i < BUCKETS_MAX ? bucket_bounds[i] : INFINITY, bound, sizeof bound);
        snprintf(within, sizeof within, "%s", labels);
        add_label(within, "le", bound);
        result = print_value(text, name, "_bucket", within,
                             (double) (i < BUCKETS_MAX ? cell->buckets[i] : cell->count), err);
    }
    if (result == MIG_OK)
        result = print_value(text, name, "_sum", labels, cell->value, err);
    return result == MIG_OK ? print_value(text, name, "_count", labels, (double) cell->count, err)
                            : result;
}

static int print_head(struct mig_buffer *text, const char *name, const char *help,
                      enum metric_type type, struct mig_error *err)
{
    static const char *const types[] = {
        [GAUGE] = "gauge", [COUNTER] = "counter", [HISTOGRAM] = "histogram"};

    return mig_buffer_print(text, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                            types[type]);
}

/* Of the nodes that told something. */
static struct cell fold_nodes(const struct registry *registry, const struct metric *metric,
                              size_t table)
{
    struct cell folded = {.known = false};

    for (size_t node = 0; node < registry->node_count; node++) {
        const struct cell *cell = registry_cell(registry, metric->measure, table, node);

        if (cell->known &&
            (!folded.known || (metric->fold == FOLD_LEAST ? cell->value < folded.value
                                                          : cell->value > folded.value)))
            folded = *cell;
    }
    return folded;
}

/* One sample; *begun: the head of its family is printed. */
static int expose_cell(const struct registry *registry, const struct metric *metric, size_t table,
                       size_t node, bool *begun, struct mig_buffer *text, struct mig_error *err)
{
    const struct cell cell = metric->fold == FOLD_NONE
                                 ? *registry_cell(registry, metric->measure, table, node)
                                 : fold_nodes(registry, metric, table);
    char labels[LABELS_SIZE] = "";
    int result = MIG_OK;

    if (!cell.known && metric->type == GAUGE && !metric->known_from_the_start)
        return MIG_OK;
    if (!*begun)
        result = print_head(text, metric->name, metric->help, metric->type, err);
    *begun = true;
    if (metric->labels & LABEL_TABLE)
        add_label(labels, "table", registry->tables[table]);
    if (metric->labels & LABEL_DESTINATION)
        add_label(labels, "destination", "database");
    if (metric->labels & LABEL_NODE)
        add_label(labels, "node", registry->nodes[node]);
    if (result != MIG_OK)
        return result;
    return metric->type == HISTOGRAM ? print_histogram(text, metric->name, labels, &cell, err)
                                     : print_value(text, metric->name, "", labels, cell.value, err);
}

static int expose_metric(const struct registry *registry, const struct metric *metric,
                         struct mig_buffer *text, struct mig_error *err)
{
    const bool tables = metric->labels & LABEL_TABLE, nodes = metric->labels & LABEL_NODE;
    const size_t t_end = registry->table_count + !tables, n_end = registry->node_count + !nodes;
    bool begun = false;
    int result = MIG_OK;

    for (size_t t = tables ? 0 : registry->table_count; t < t_end && result == MIG_OK; t++)
        for (size_t n = nodes ? 0 : registry->node_count; n < n_end && result == MIG_OK; n++)
            result = expose_cell(registry, metric, t, n, &begun, text, err);
    return result;
}

/* What is no measure of the work, but of ourselves. */
static int expose_ourselves(const struct registry *registry, const struct health *health,
                            int64_t now_ns, struct mig_buffer *text, struct mig_error *err)
{
    char reason[REASON_SIZE], build[LABELS_SIZE] = "", run[LABELS_SIZE] = "";
    const double still_s = (double) (now_ns - health->moved_ns) / (double) MIG_NS_PER_SECOND;
    const struct {
        const char *name, *help, *labels;
        double value;
    } rows[] = {
        {"xmtp_migrate_build_info", "The version at work", build, 1},
        {"xmtp_migrate_start_time_seconds", "When the process began, since 1970", "",
         (double) registry->began_ns / (double) MIG_NS_PER_SECOND},
        {"xmtp_migrate_ready", "Whether the source and all nodes are connected and rows move", "",
         health_is_ready(health, registry, reason)},
        {"xmtp_migrate_stalled", "Whether there was no progress for too long", "",
         !health_is_well(health, now_ns, reason)},
        {"xmtp_migrate_seconds_since_progress", "Time since something moved", "", still_s},
        {"xmtp_migrate_run_info", "The run that is worked on", run, 1},
    };
    int result = MIG_OK;

    add_label(build, "version", registry->version);
    add_label(run, "run", registry->run);
    add_label(run, "network", registry->network);
    for (size_t i = 0; i < mig_count_of(rows) && result == MIG_OK; i++) {
        if (rows[i].labels == run && !registry->run[0])
            continue;
        result = print_head(text, rows[i].name, rows[i].help, GAUGE, err);
        if (result == MIG_OK)
            result = print_value(text, rows[i].name, "", rows[i].labels, rows[i].value, err);
    }
    return result;
}

int expose(const struct registry *registry, const struct health *health, int64_t now_ns,
           struct mig_buffer *text, struct mig_error *err)
{
    int result = expose_ourselves(registry, health, now_ns, text, err);

    for (size_t i = 0; i < metric_count && result == MIG_OK; i++)
        result = expose_metric(registry, &metrics[i], text, err);
    return result;
}
