/* rejected history: letters that have left the dead letter box, as they stood, and why they left.
 */
#include "tools/xmtp-migrate/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LIMIT ((size_t) 1 << 31)

/* The record as it was kept: a row, or the bytes of another tool. */
static int add_record(struct json_object *item, const struct mig_former_letter *letter,
                      struct mig_arena *arena, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TEXT_LIMIT);
    const size_t size = letter->payload.size;
    struct mig_row row;
    int result;

    if (mig_row_decode(letter->payload, arena, &row, NULL) == MIG_OK &&
        row.table == mig_kind_info(letter->kind)->table && row.id == letter->id) {
        if ((result = mig_row_print_json(&row, &text, err)) == MIG_OK &&
            (result = mig_buffer_append(&text, "", 1, err)) == MIG_OK)
            json_object_object_add(item, "row", json_tokener_parse((const char *) text.data));
        return result;
    }
    if ((result = mig_buffer_reserve(&text, 2 * size + 1, err)) != MIG_OK)
        return result;
    mig_hex_encode(letter->payload, (char *) text.data);
    json_object_object_add(item, "payload", json_object_new_string((const char *) text.data));
    return MIG_OK;
}

static struct json_object *letter_to_json(const char *node, const struct mig_former_letter *letter)
{
    const struct {
        const char *name, *value;
    } texts[] = {
        {"kind", mig_kind_info(letter->kind)->name},
        {"node", node},
        {"outcome", letter->outcome},
        {"by", letter->retried ? "retry" : "run"},
        {"run", letter->run},
        {"ended_at", letter->ended_at},
        {"reason", letter->reason},
        {"added_at", letter->added_at},
        {"retried_at", letter->retried_at},
    };
    struct json_object *item = json_object_new_object();

    json_object_object_add(item, "id", json_object_new_int64(letter->id));
    for (size_t i = 0; i < mig_count_of(texts); i++)
        json_object_object_add(item, texts[i].name, json_object_new_string(texts[i].value));
    json_object_object_add(item, "retryable", json_object_new_boolean(letter->retryable));
    json_object_object_add(item, "of_another_tool", json_object_new_boolean(letter->foreign_tool));
    json_object_object_add(item, "bytes", json_object_new_uint64(letter->payload_size));
    if (letter->conflict.given[0])
        json_object_object_add(item, "conflict", rejected_conflict_json(&letter->conflict));
    if (letter->repair_who) {
        struct json_object *repair = json_object_new_object();

        json_object_object_add(repair, "who", json_object_new_string(letter->repair_who));
        json_object_object_add(repair, "reason", json_object_new_string(letter->repair_reason));
        json_object_object_add(item, "replaced", repair);
    }
    return item;
}

static int print_letter(const char *node, const struct mig_former_letter *letter,
                        struct mig_error *err)
{
    return tool_print(
        err, "%-17s %20" PRId64 "  %-27s %9zu bytes  %s  %s: %s by a %s%s%s%s%s%s",
        mig_kind_info(letter->kind)->name, letter->id, letter->reason, letter->payload_size,
        letter->ended_at, node, letter->outcome, letter->retried ? "retry" : "run",
        letter->foreign_tool ? ", of another tool" : "", letter->repair_who ? ", replaced by " : "",
        letter->repair_who ? letter->repair_who : "", letter->repair_who ? ": " : "",
        letter->repair_who ? letter->repair_reason : "");
}

/* list is NULL where lines are printed. */
static int tell_node(struct mig_node *node, const struct mig_letter_filter *filter,
                     struct json_object *list, bool *more, struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_former_letter *letters;
    size_t count = 0;
    bool has_more = false;
    int result = mig_node_former_letters(node, filter, &arena, &letters, &count, &has_more, err);

    for (size_t i = 0; i < count && result == MIG_OK; i++) {
        struct json_object *item;

        if (!list) {
            result = print_letter(mig_node_name(node), &letters[i], err);
            continue;
        }
        item = letter_to_json(mig_node_name(node), &letters[i]);
        json_object_array_add(list, item);
        if (filter->has_id)
            result = add_record(item, &letters[i], &arena, err);
    }
    *more |= has_more;
    return result;
}

int cmd_rejected_history(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    struct mig_letter_filter filter;
    struct json_object *document, *list;
    bool more = false;
    int result;

    if ((result = rejected_filter(argc, argv, &filter, err)) != MIG_OK ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, rejected_words.node, MIG_NODE_READ, &tool->hooks,
                                 tool->stop, &nodes, err)) != MIG_OK)
        return result;
    document = json_object_new_object();
    list = json_object_new_array();
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/history/1"));
    json_object_object_add(document, "letters", list);
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++)
        result = tell_node(nodes.items[i], &filter, tool->json ? list : NULL, &more, err);
    if (more)
        json_object_object_add(document, "more", json_object_new_boolean(true));
    if (result == MIG_OK && tool->json)
        result = tool_print_json(document, err);
    if (result == MIG_OK && more && !tool->json)
        result = tool_print(err, "there are more: --limit lists more of them");
    json_object_put(document);
    return result;
}
