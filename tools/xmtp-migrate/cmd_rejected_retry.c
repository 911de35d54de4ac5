/* rejected retry: rows tried once more after a repair, and conflicts that are repaired by name. */
#include "tools/xmtp-migrate/migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_retry(struct tool *tool, const struct mig_retry_summary *summary,
                       struct mig_error *err)
{
    const struct {
        const char *name;
        uint64_t rows;
    } counts[] = {
        {"tried", summary->tried},       {"loaded", summary->loaded},
        {"replaced", summary->replaced}, {"rejected_again", summary->rejected_again},
        {"expired", summary->expired},   {"left", summary->left},
    };
    struct json_object *document = json_object_new_object();
    int result;

    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/retry/1"));
    for (size_t i = 0; i < mig_count_of(counts); i++)
        json_object_object_add(document, counts[i].name, json_object_new_uint64(counts[i].rows));
    result = tool->json
                 ? tool_print_json(document, err)
                 : tool_print(err,
                              "tried %" PRIu64 ", counted on every node: loaded %" PRIu64
                              " (%" PRIu64 " in the place of other bytes), rejected again %" PRIu64
                              ", expired %" PRIu64 ", left as they are %" PRIu64,
                              summary->tried, summary->loaded, summary->replaced,
                              summary->rejected_again, summary->expired, summary->left);
    json_object_put(document);
    return result;
}

/* ---- conflicts to be replaced --------------------------------------------------------------- */

struct names {
    struct mig_row_name *items;
    size_t count;
};

static void names_release(struct names *names)
{
    free(names->items);
}

/* Naming a row twice is naming it. */
static int add_name(struct names *names, enum mig_kind kind, int64_t id, struct mig_error *err)
{
    struct mig_row_name *items;

    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].kind == kind && names->items[i].id == id)
            return MIG_OK;
    items = realloc(names->items, (names->count + 1) * sizeof *items);
    if (!items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    names->items = items;
    items[names->count++] = (struct mig_row_name){kind, id};
    return MIG_OK;
}

/* KIND:ID[,ID...] */
static int add_names(struct names *names, char *text, struct mig_error *err)
{
    char *ids = strchr(text, ':'), *id_text;
    enum mig_kind kind;
    int result;

    if (!ids) {
        mig_fail(err, MIG_E_USAGE, "--replace-conflicts '%.60s': expected KIND:ID[,ID...]", text);
        return mig_hint(err, "group_messages:17,23 names two rows; @FILE has a line for each kind");
    }
    *ids++ = '\0';
    result = mig_kind_parse(text, &kind, err);
    while (result == MIG_OK && (id_text = strsep(&ids, ","))) {
        int64_t id;

        if ((result = rejected_read_id(id_text, &id, err)) == MIG_OK)
            result = add_name(names, kind, id, err);
    }
    return result;
}

static int add_file(struct names *names, const char *path, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *line = NULL;
    FILE *file = fopen(path, "re");
    size_t capacity = 0;
    ssize_t size;
    int result = MIG_OK;

    if (!file)
        return mig_fail(err, MIG_E_USAGE, "--replace-conflicts @%s: %s", path, strerror(errno));
    while (result == MIG_OK && (size = getline(&line, &capacity, file)) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            result = add_names(names, line, err);
    }
    if (result == MIG_OK && ferror(file))
        result = mig_fail(err, MIG_E_IO, "%s: %s", path, strerror(errno));
    fclose(file);
    return result;
}

static int read_names(struct names *names, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < rejected_words.replace.count && result == MIG_OK; i++) {
        const char *given = rejected_words.replace.items[i];
        mig_cleanup(mig_free_text) char *text = strdup(given);

        if (!text)
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        result = given[0] == '@' ? add_file(names, given + 1, err) : add_names(names, text, err);
    }
    if (result == MIG_OK && names->count == 0)
        result = mig_fail(err, MIG_E_USAGE, "--replace-conflicts names no row");
    return result;
}

static int replace(struct tool *tool, int argc, struct mig_retry_summary *ret_summary,
                   struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(names_release) struct names names = {0};
    char who[256];
    int result;

    if (argc > 0 || rejected_words.kind || rejected_words.reason || rejected_words.id != INT64_MIN)
        return mig_fail(err, MIG_E_USAGE,
                        "--replace-conflicts names its rows itself: give no others");
    rejected_who(who, sizeof who);
    if ((result = rejected_need_why("--replace-conflicts", err)) != MIG_OK ||
        (result = read_names(&names, err)) != MIG_OK ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK)
        return result;
    return mig_pipeline_replace(manifest,
                                &(struct mig_replacing){.rows = names.items,
                                                        .count = names.count,
                                                        .node = rejected_words.node,
                                                        .repair = {who, rejected_words.why}},
                                &tool->hooks, tool->stop, ret_summary, err);
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int retry(struct tool *tool, int argc, char **argv, struct mig_retry_summary *ret_summary,
                 struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    struct mig_letter_filter filter;
    int result;

    if (rejected_words.why || rejected_words.node)
        return mig_fail(err, MIG_E_USAGE, "--%s is for --replace-conflicts",
                        rejected_words.why ? "reason" : "node");
    if ((result = rejected_filter(argc, argv, &filter, err)) != MIG_OK ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK)
        return result;
    return mig_pipeline_retry(manifest, &filter, &tool->hooks, tool->stop, ret_summary, err);
}

int cmd_rejected_retry(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    struct mig_retry_summary summary;
    int result = rejected_words.replace.count > 0 ? replace(tool, argc, &summary, err)
                                                  : retry(tool, argc, argv, &summary, err);

    if (result != MIG_OK || (result = print_retry(tool, &summary, err)) != MIG_OK)
        return result;
    if (summary.nodes_away > 0) {
        mig_fail(err, MIG_E_TEMPORARY, "nodes that are away: %zu; their letters were not tried",
                 summary.nodes_away);
        return mig_hint(err, "run it again when they are back");
    }
    if (summary.rejected_again + summary.left == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_PARTIAL, "%" PRIu64 " letters remain",
             summary.rejected_again + summary.left);
    return mig_hint(err, "xmtp-migrate rejected show tells each one's remedy");
}
