/* A plan as the document "xmtp-migrate/plan/1". */
#include "libmigrate/pipeline/pipeline_private.h"

#include <json-c/json.h>

static void add(struct json_object *object, const char *name, struct json_object *value)
{
    json_object_object_add(object, name, value);
}

static void add_text(struct json_object *object, const char *name, const char *text)
{
    add(object, name, json_object_new_string(text));
}

/* null for what can't be known */
static void add_number(struct json_object *object, const char *name, int64_t number)
{
    add(object, name, number == MIG_PLAN_UNKNOWN ? NULL : json_object_new_int64(number));
}

static struct json_object *tables_to_json(const struct mig_plan *plan)
{
    struct json_object *tables = json_object_new_object();

    for (int i = 0; i < MIG_TABLE_COUNT; i++) {
        const struct mig_plan_table *table = &plan->tables[i];
        struct json_object *object = json_object_new_object();

        add_number(object, "rows", table->rows);
        add_number(object, "bytes", table->bytes);
        add_number(object, "parts", table->parts);
        add_number(object, "disk_bytes", table->disk_bytes);
        add_number(object, "bands", (int64_t) table->bands);
        add(tables, mig_table_info((enum mig_table) i)->name, object);
    }
    return tables;
}

static struct json_object *kinds_to_json(const struct mig_plan *plan)
{
    struct json_object *kinds = json_object_new_object();

    for (int i = 0; i < MIG_KIND_COUNT; i++) {
        const struct mig_plan_kind *kind = &plan->kinds[i];
        const struct mig_kind_info *info = mig_kind_info((enum mig_kind) i);
        struct json_object *object = json_object_new_object();

        add_number(object, "rows", kind->rows);
        add_number(object, "expired", kind->expired);
        add_number(object, "rejected", kind->rejected);
        add_number(object, info->route == MIG_ROUTE_CHAIN ? "for_chain" : "for_nodes", kind->to_go);
        add(kinds, info->name, object);
    }
    return kinds;
}

static struct json_object *settings_to_json(const struct mig_settings *settings)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < settings->count; i++) {
        struct json_object *object = json_object_new_object();

        add_text(object, "name", settings->items[i].name);
        add_text(object, "value", settings->items[i].value);
        add_text(object, "better", settings->items[i].better);
        add_text(object, "why", settings->items[i].why);
        json_object_array_add(list, object);
    }
    return list;
}

static struct json_object *nodes_to_json(const struct mig_plan *plan)
{
    struct json_object *nodes = json_object_new_object();

    for (size_t i = 0; i < plan->node_count; i++) {
        const struct mig_plan_node *node = &plan->nodes[i];
        const bool sized = node->known && plan->source_known;
        struct json_object *object = json_object_new_object();

        add(object, "known", json_object_new_boolean(node->known));
        add_number(object, "bands_bulk", sized ? (int64_t) node->empty : MIG_PLAN_UNKNOWN);
        add_number(object, "bands_staged", sized ? (int64_t) node->filled : MIG_PLAN_UNKNOWN);
        add_number(object, "disk_bytes", sized ? node->disk_bytes : MIG_PLAN_UNKNOWN);
        add_number(object, "wal_bytes", sized ? node->wal_bytes : MIG_PLAN_UNKNOWN);
        add_number(object, "free_bytes", node->known ? node->free_bytes : MIG_PLAN_UNKNOWN);
        add_number(object, "wal_free_bytes", node->known ? node->wal_free_bytes : MIG_PLAN_UNKNOWN);
        add(object, "settings", settings_to_json(&node->settings));
        add(nodes, node->name, object);
    }
    return nodes;
}

static struct json_object *refusals_to_json(const struct mig_plan *plan)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < plan->refusals.count; i++) {
        const struct mig_error *refusal = &plan->refusals.items[i];
        struct json_object *object = json_object_new_object();

        add_text(object, "code", mig_code_info(refusal->code)->name);
        add_text(object, "message", refusal->message);
        add_text(object, "hint", refusal->hint);
        json_object_array_add(list, object);
    }
    return list;
}

struct json_object *mig_plan_to_json(const struct mig_plan *plan)
{
    struct json_object *document = json_object_new_object();
    char as_of[MIG_TIME_TEXT_SIZE];

    if (!document)
        return NULL;
    mig_time_format(plan->as_of_ns, as_of);
    add_text(document, "schema", "xmtp-migrate/plan/1");
    add_text(document, "network", plan->network);
    add_text(document, "as_of", as_of);
    add(document, "exact", json_object_new_boolean(plan->exact));
    add(document, "takes_up", plan->takes_up[0] ? json_object_new_string(plan->takes_up) : NULL);
    add(document, "tables", plan->source_known ? tables_to_json(plan) : NULL);
    add(document, "kinds", plan->source_known ? kinds_to_json(plan) : NULL);
    add(document, "at_most", json_object_new_boolean(plan->at_most));
    add_number(document, "threads", plan->threads);
    add_number(document, "rows_per_second", plan->rows_per_second);
    add_number(document, "seconds", plan->seconds);
    add(document, "nodes", nodes_to_json(plan));
    add(document, "refusals", refusals_to_json(plan));
    add(document, "would_run", json_object_new_boolean(plan->refusals.count == 0));
    return document;
}
