/* The report as a document, under the names that scripts rely on. */
#include "libmigrate/parity/parity_private.h"

#include <json-c/json.h>
#include <stdio.h>

/* json-c gives NULL when memory is out: noted once, and told at the end. */
struct writer {
    bool out_of_memory;
};

static void put(struct writer *writer, struct json_object *parent, const char *name,
                struct json_object *value)
{
    if (value && parent && json_object_object_add(parent, name, value) == 0)
        return;
    writer->out_of_memory = true;
    json_object_put(value);
}

static void put_text(struct writer *writer, struct json_object *parent, const char *name,
                     const char *text)
{
    put(writer, parent, name, json_object_new_string(text));
}

static void put_number(struct writer *writer, struct json_object *parent, const char *name,
                       uint64_t number)
{
    put(writer, parent, name, json_object_new_uint64(number));
}

static struct json_object *put_object(struct writer *writer, struct json_object *parent,
                                      const char *name)
{
    struct json_object *object = json_object_new_object();

    put(writer, parent, name, object);
    return writer->out_of_memory ? NULL : object;
}

static void put_sums(struct writer *writer, struct json_object *nodes,
                     const struct mig_parity_node *node, enum mig_kind kind)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        {"held", offsetof(struct mig_parity_sums, held)},
        {"missing", offsetof(struct mig_parity_sums, missing)},
        {"altered", offsetof(struct mig_parity_sums, altered)},
        {"extra", offsetof(struct mig_parity_sums, extra)},
        {"pruned_at_source", offsetof(struct mig_parity_sums, pruned_at_source)},
        {"expired_present", offsetof(struct mig_parity_sums, expired_present)},
    };
    struct json_object *object = put_object(writer, nodes, node->name);

    for (size_t i = 0; i < mig_count_of(members); i++)
        put_number(writer, object, members[i].name,
                   *(const uint64_t *) ((const uint8_t *) &node->kinds[kind] + members[i].offset));
    if (node->kinds[kind].pruned_elsewhere > 0)
        put_number(writer, object, "pruned_elsewhere", node->kinds[kind].pruned_elsewhere);
}

static void put_kind(struct writer *writer, struct json_object *kinds,
                     const struct mig_parity_report *report, enum mig_kind kind)
{
    const struct mig_kind_info *info = mig_kind_info(kind);
    const struct mig_kind_tally *tally = &report->tally.kinds[kind];
    struct json_object *object = put_object(writer, kinds, info->name);

    put_number(writer, object, "judged", tally->counted);
    put_number(writer, object, "expired", tally->expired);
    put_number(writer, object, "rejected", tally->rejected);
    put_number(writer, object, "waived", report->waived[kind]);
    put_number(writer, object, "for_nodes", tally->for_nodes);
    put_number(writer, object, "for_chain", tally->for_chain);
    put_number(writer, object, "above_bound", report->above_bound[kind]);
    if (info->route == MIG_ROUTE_NODE) {
        struct json_object *nodes = put_object(writer, object, "nodes");

        for (size_t i = 0; i < report->node_count; i++)
            put_sums(writer, nodes, &report->nodes[i], kind);
    }
}

static void put_counts(struct writer *writer, struct json_object *document,
                       const struct mig_parity_report *report)
{
    struct json_object *rejects = put_object(writer, document, "rejects");
    struct json_object *findings = put_object(writer, document, "findings");

    for (int reason = 1; reason < MIG_REASON_COUNT; reason++)
        if (report->tally.rejects[reason] > 0)
            put_number(writer, rejects, mig_reason_info((enum mig_reason) reason)->name,
                       report->tally.rejects[reason]);
    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        if (report->tally.findings[finding] > 0)
            put_number(writer, findings, mig_finding_name((enum mig_finding) finding),
                       report->tally.findings[finding]);
}

static void put_signatures(struct writer *writer, struct json_object *document,
                           const struct mig_parity_report *report)
{
    const struct mig_parity_sampling *sampling = &report->sampling;
    struct json_object *object = put_object(writer, document, "signatures");
    char seed[2 * MIG_PARITY_SEED_SIZE + 1], percent[32];

    put_text(writer, object, "which", mig_parity_signatures_name(sampling->which));
    put_number(writer, object, "held", report->signatures);
    put_number(writer, object, "checked", report->signatures_checked);
    if (sampling->which != MIG_PARITY_SIGNATURES_SAMPLE)
        return;
    snprintf(percent, sizeof percent, "%.15g", sampling->percent);
    put(writer, object, "percent", json_object_new_double_s(sampling->percent, percent));
    mig_hex_encode((struct mig_bytes){sampling->seed, sizeof sampling->seed}, seed);
    put_text(writer, object, "seed", seed);
}

static void put_differences(struct writer *writer, struct json_object *document,
                            const struct mig_parity_report *report)
{
    struct json_object *list = json_object_new_array();

    put(writer, document, "differences", list);
    for (size_t i = 0; i < report->listed && !writer->out_of_memory; i++) {
        const struct mig_parity_difference *difference = &report->differences[i];
        struct json_object *object = json_object_new_object();

        if (!object || json_object_array_add(list, object) != 0) {
            json_object_put(object);
            writer->out_of_memory = true;
            return;
        }
        put_text(writer, object, "table", mig_kind_info(difference->kind)->name);
        put(writer, object, "id", json_object_new_int64(difference->id));
        put_number(writer, object, "originator", difference->originator);
        put_text(writer, object, "node", report->nodes[difference->node].name);
        put_text(writer, object, "what", difference->what);
        if (difference->where[0])
            put_text(writer, object, "where", difference->where);
        put_text(writer, object, "expected", difference->expected);
        put_text(writer, object, "found", difference->found);
    }
}

int mig_parity_report_json(const struct mig_parity_report *report, struct json_object **ret_json,
                           struct mig_error *err)
{
    struct json_object *document = json_object_new_object(), *kinds;
    struct writer writer = {.out_of_memory = !document};
    char as_of[MIG_TIME_TEXT_SIZE];

    mig_time_format(report->as_of_ns, as_of);
    put_text(&writer, document, "schema", "xmtp-migrate/parity/1");
    put_text(&writer, document, "network", report->network);
    put_text(&writer, document, "as_of", as_of);
    put_text(&writer, document, "profile", report->profile);
    if (report->run[0])
        put_text(&writer, document, "run", report->run);
    else if (document)
        json_object_object_add(document, "run", NULL);
    kinds = put_object(&writer, document, "kinds");
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        put_kind(&writer, kinds, report, (enum mig_kind) kind);
    put_counts(&writer, document, report);
    put_signatures(&writer, document, report);
    put_differences(&writer, document, report);
    put_number(&writer, document, "difference_count", report->difference_count);
    put_text(&writer, document, "verdict", mig_parity_verdict_name(report->verdict));
    if (writer.out_of_memory) {
        json_object_put(document);
        return mig_fail(err, MIG_E_NOMEM, "cannot write the report: out of memory");
    }
    *ret_json = document;
    return MIG_OK;
}
