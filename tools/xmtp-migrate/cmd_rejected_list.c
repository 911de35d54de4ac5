/* rejected list: the rows that no node can have, of all nodes together. */
#include "tools/xmtp-migrate/migrate.h"

#include <inttypes.h>
#include <stdlib.h>

#define LIST_LIMIT 1000

/* A letter is listed once, under the first node that has it: most stand on every node. */
struct listing {
    struct mig_dead_letters *letters; /* one a node */
    struct mig_nodes nodes;
    size_t count;
    bool more;
};

static void listing_release(struct listing *listing)
{
    for (size_t i = 0; i < listing->nodes.count && listing->letters; i++)
        mig_dead_letters_release(&listing->letters[i]);
    free(listing->letters);
    mig_nodes_close(&listing->nodes);
}

static const struct mig_dead_letter *find_letter(const struct mig_dead_letters *letters,
                                                 const struct mig_dead_letter *letter)
{
    for (size_t i = 0; i < letters->count; i++)
        if (letters->items[i].id == letter->id && letters->items[i].kind == letter->kind)
            return &letters->items[i];
    return NULL;
}

static bool is_first(const struct listing *listing, size_t node,
                     const struct mig_dead_letter *letter)
{
    for (size_t i = 0; i < node; i++)
        if (find_letter(&listing->letters[i], letter))
            return false;
    return true;
}

static int read_listing(struct listing *listing, struct mig_letter_filter filter,
                        struct mig_error *err)
{
    int result = MIG_OK;

    filter.limit = filter.limit ? filter.limit : LIST_LIMIT;
    listing->letters = calloc(listing->nodes.count + 1, sizeof *listing->letters);
    if (!listing->letters)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < listing->nodes.count && result == MIG_OK; i++) {
        result = mig_node_letters(listing->nodes.items[i], &filter, &listing->letters[i], err);
        listing->more |= listing->letters[i].count == filter.limit;
        for (size_t k = 0; k < listing->letters[i].count; k++)
            listing->count += is_first(listing, i, &listing->letters[i].items[k]);
    }
    return result;
}

typedef int show_fn(const struct listing *listing, const char *node,
                    const struct mig_dead_letter *letter, void *context, struct mig_error *err);

static int for_each(const struct listing *listing, show_fn *show, void *context,
                    struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < listing->nodes.count; i++)
        for (size_t k = 0; k < listing->letters[i].count && result == MIG_OK; k++)
            if (is_first(listing, i, &listing->letters[i].items[k]))
                result = show(listing, mig_node_name(listing->nodes.items[i]),
                              &listing->letters[i].items[k], context, err);
    return result;
}

/* What each node holds is its own. */
static void add_conflicts(struct json_object *item, const struct listing *listing,
                          const struct mig_dead_letter *letter)
{
    struct json_object *conflicts = json_object_new_object();

    for (size_t i = 0; i < listing->nodes.count; i++) {
        const struct mig_dead_letter *one = find_letter(&listing->letters[i], letter);

        if (one && one->conflict.given[0])
            json_object_object_add(conflicts, mig_node_name(listing->nodes.items[i]),
                                   rejected_conflict_json(&one->conflict));
    }
    if (json_object_object_length(conflicts) > 0)
        json_object_object_add(item, "conflicts", conflicts);
    else
        json_object_put(conflicts);
}

static int add_to_json(const struct listing *listing, const char *node,
                       const struct mig_dead_letter *letter, void *context, struct mig_error *err)
{
    struct json_object *item = rejected_letter_json(letter);

    (void) err;
    json_object_object_add(item, "node", json_object_new_string(node));
    add_conflicts(item, listing, letter);
    json_object_array_add(context, item);
    return MIG_OK;
}

static int print_json(const struct listing *listing, struct mig_error *err)
{
    struct json_object *document = json_object_new_object(), *list = json_object_new_array();
    int result = for_each(listing, add_to_json, list, err);

    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/rejected/1"));
    json_object_object_add(document, "rejected", list);
    if (listing->more)
        json_object_object_add(document, "more", json_object_new_boolean(true));
    if (result == MIG_OK)
        result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

/* Under the letter, for each node that holds something else. */
static int print_conflicts(const struct listing *listing, const struct mig_dead_letter *letter,
                           struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < listing->nodes.count && result == MIG_OK; i++) {
        const struct mig_dead_letter *one = find_letter(&listing->letters[i], letter);

        if (one && one->conflict.given[0])
            result = tool_print(err, "  %s differs in %s: holds %s, would load %s",
                                mig_node_name(listing->nodes.items[i]), one->conflict.differs,
                                one->conflict.held[0] ? one->conflict.held : "no envelope",
                                one->conflict.given);
    }
    return result;
}

static int print_letter(const struct listing *listing, const char *node,
                        const struct mig_dead_letter *letter, void *context, struct mig_error *err)
{
    int result =
        tool_print(err, "%-17s %20" PRId64 "  %-27s %9zu bytes  %s  %s%s%s%s%s",
                   mig_kind_info(letter->kind)->name, letter->id, letter->reason,
                   letter->payload_size, letter->added_at, node,
                   letter->waived ? "  waived by " : "", letter->waived ? letter->waiver_who : "",
                   letter->waived ? ": " : "", letter->waived ? letter->waiver_reason : "");

    (void) context;
    return result == MIG_OK ? print_conflicts(listing, letter, err) : result;
}

static int print_plain(const struct listing *listing, struct mig_error *err)
{
    int result = for_each(listing, print_letter, NULL, err);

    if (result == MIG_OK && listing->count == 0)
        result = tool_print(err, "no node has a rejected row that matches");
    if (result == MIG_OK && listing->more)
        result = tool_print(err, "there are more: --limit lists more of them");
    return result;
}

int cmd_rejected_list(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(listing_release) struct listing listing = {0};
    struct mig_letter_filter filter;
    int result;

    if ((result = rejected_filter(argc, argv, &filter, err)) != MIG_OK ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, rejected_words.node, MIG_NODE_READ, &tool->hooks,
                                 tool->stop, &listing.nodes, err)) != MIG_OK ||
        (result = read_listing(&listing, filter, err)) != MIG_OK)
        return result;
    return tool->json ? print_json(&listing, err) : print_plain(&listing, err);
}
