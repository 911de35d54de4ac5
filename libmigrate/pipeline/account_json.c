/* The account as the document that scripts read. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <json-c/json.h>

static void add_number(struct json_object *object, const char *name, uint64_t number)
{
    json_object_object_add(object, name, json_object_new_uint64(number));
}

static struct json_object *nodes_to_json(const struct mig_account *account, int kind)
{
    struct json_object *nodes = json_object_new_object();

    for (size_t i = 0; i < account->node_count; i++) {
        const struct mig_account_node *node = &account->nodes[i];
        struct json_object *counts = json_object_new_object();

        add_number(counts, "loaded", node->loaded[kind]);
        add_number(counts, "already_there", node->already_there[kind]);
        if (node->beside_conflicts[kind] > 0)
            add_number(counts, "beside_conflicts", node->beside_conflicts[kind]);
        json_object_object_add(nodes, node->name, counts);
    }
    return nodes;
}

/* NULL when there were none. */
static struct json_object *holes_to_json(const struct mig_account *account, int kind)
{
    struct json_object *holes = NULL;

    for (size_t i = 0; i < account->node_count; i++) {
        if (account->nodes[i].holes[kind] == 0)
            continue;
        holes = holes ? holes : json_object_new_object();
        add_number(holes, account->nodes[i].name, account->nodes[i].holes[kind]);
    }
    return holes;
}

static struct json_object *kind_to_json(const struct mig_account *account, int kind)
{
    const struct mig_kind_info *info = mig_kind_info((enum mig_kind) kind);
    const struct mig_kind_tally *tally = &account->tally.kinds[kind];
    struct json_object *object = json_object_new_object(), *holes = holes_to_json(account, kind);

    add_number(object, "counted", tally->counted);
    if (info->expires)
        add_number(object, "expired", tally->expired);
    if (tally->expired_early > 0)
        add_number(object, "expired_early", tally->expired_early);
    add_number(object, "rejected", tally->rejected);
    add_number(object, "waived", account->waived[kind]);
    if (info->route == MIG_ROUTE_NODE) {
        add_number(object, "for_nodes", tally->for_nodes);
        json_object_object_add(object, "nodes", nodes_to_json(account, kind));
        if (holes)
            json_object_object_add(object, "holes", holes);
    } else {
        add_number(object, "for_chain", tally->for_chain);
        add_number(object, "waiting_for_chain", tally->for_chain);
        add_number(object, "on_chain", 0);
    }
    return object;
}

static struct json_object *reasons_to_json(const struct mig_tally *tally)
{
    struct json_object *object = json_object_new_object();

    for (int reason = 1; reason < MIG_REASON_COUNT; reason++)
        if (tally->rejects[reason] > 0)
            add_number(object, mig_reason_info((enum mig_reason) reason)->name,
                       tally->rejects[reason]);
    return object;
}

static struct json_object *findings_to_json(const struct mig_tally *tally)
{
    struct json_object *object = json_object_new_object();

    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        if (tally->findings[finding] > 0)
            add_number(object, mig_finding_name((enum mig_finding) finding),
                       tally->findings[finding]);
    return object;
}

static struct json_object *waivers_to_json(const struct mig_account *account)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < account->waiver_count; i++) {
        const struct mig_account_waiver *waiver = &account->waivers[i];
        struct json_object *item = json_object_new_object();

        json_object_object_add(item, "kind",
                               json_object_new_string(mig_kind_info(waiver->kind)->name));
        json_object_object_add(item, "id", json_object_new_int64(waiver->id));
        json_object_object_add(item, "rejected_for", json_object_new_string(waiver->rejected_for));
        json_object_object_add(item, "reason", json_object_new_string(waiver->reason));
        json_object_object_add(item, "who", json_object_new_string(waiver->who));
        json_object_object_add(item, "when", json_object_new_string(waiver->when));
        json_object_array_add(list, item);
    }
    return list;
}

/* NULL when there is nothing to say. */
static struct json_object *other_letters_to_json(const struct mig_account *account)
{
    struct json_object *object = NULL;

    for (size_t i = 0; i < account->node_count; i++) {
        if (account->nodes[i].other_letters == 0)
            continue;
        object = object ? object : json_object_new_object();
        add_number(object, account->nodes[i].name, account->nodes[i].other_letters);
    }
    return object;
}

static struct json_object *problems_to_json(const struct mig_account *account)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < account->problem_count; i++)
        json_object_array_add(list, json_object_new_string(account->problems[i]));
    return list;
}

struct json_object *mig_account_to_json(const struct mig_account *account)
{
    struct json_object *document = json_object_new_object();
    struct json_object *kinds = json_object_new_object(),
                       *other_letters = other_letters_to_json(account);
    char as_of[MIG_TIME_TEXT_SIZE];

    mig_time_format(account->facts.as_of_ns, as_of);
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/account/1"));
    json_object_object_add(document, "run", json_object_new_string(account->facts.run));
    json_object_object_add(document, "network", json_object_new_string(account->facts.network));
    json_object_object_add(document, "as_of", json_object_new_string(as_of));
    json_object_object_add(document, "profile", json_object_new_string(account->facts.profile));
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        json_object_object_add(kinds, mig_kind_info((enum mig_kind) kind)->name,
                               kind_to_json(account, kind));
    json_object_object_add(document, "kinds", kinds);
    json_object_object_add(document, "findings", findings_to_json(&account->tally));
    json_object_object_add(document, "rejects", reasons_to_json(&account->tally));
    json_object_object_add(document, "blockers", mig_blockers_to_json(&account->blockers));
    if (account->waiver_count > 0)
        json_object_object_add(document, "waivers", waivers_to_json(account));
    if (other_letters)
        json_object_object_add(document, "letters_of_other_tools", other_letters);
    if (account->problem_count > 0)
        json_object_object_add(document, "problems", problems_to_json(account));
    json_object_object_add(document, "verdict",
                           json_object_new_string(mig_verdict_name(account->verdict)));
    return document;
}
