/* rejected show, waive: one row that no node can have, or some. */
#include "tools/xmtp-migrate/migrate.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_LIMIT ((size_t) 1 << 31)

struct rejected_words rejected_words = {.id = INT64_MIN};

/* ---- which rows --------------------------------------------------------------------------- */

int rejected_read_id(const char *text, int64_t *ret_id, struct mig_error *err)
{
    char *end;
    long long id;

    errno = 0;
    id = strtoll(text, &end, 10);
    if (end == text || *end || errno != 0)
        return mig_fail(err, MIG_E_USAGE, "'%.40s' is no id", text);
    *ret_id = id;
    return MIG_OK;
}

/* KIND and ID may stand as arguments or as options. */
int rejected_filter(int argc, char **argv, struct mig_letter_filter *filter, struct mig_error *err)
{
    const char *kind = argc > 0 ? argv[0] : rejected_words.kind;
    int result = MIG_OK;

    if (argc > 2)
        return mig_fail(err, MIG_E_USAGE, "too many arguments: '%s'", argv[2]);
    *filter = (struct mig_letter_filter){.reason = rejected_words.reason,
                                         .limit = rejected_words.limit,
                                         .id = rejected_words.id,
                                         .has_id = rejected_words.id != INT64_MIN};
    if (kind) {
        filter->has_kind = true;
        result = mig_kind_parse(kind, &filter->kind, err);
    }
    if (result == MIG_OK && argc == 2) {
        filter->has_id = true;
        result = rejected_read_id(argv[1], &filter->id, err);
    }
    if (result == MIG_OK && filter->reason && mig_reason_parse(filter->reason) == MIG_REASON_NONE)
        result = mig_fail(err, MIG_E_USAGE, "'%.40s' is no reason that rows are rejected for",
                          filter->reason);
    return result;
}

/* It will stand in a line of lists and accounts. */
static bool is_one_line(const char *text)
{
    while (*text && !iscntrl((unsigned char) *text))
        text++;
    return !*text;
}

int rejected_need_why(const char *what, struct mig_error *err)
{
    if (!rejected_words.why || !rejected_words.why[0]) {
        mig_fail(err, MIG_E_USAGE, "%s needs --reason", what);
        return mig_hint(err, "it is kept with who and when, and shown wherever this is");
    }
    return is_one_line(rejected_words.why)
               ? MIG_OK
               : mig_fail(err, MIG_E_USAGE, "--reason must be one line of text");
}

static int need_one(const struct mig_letter_filter *filter, const char *verb, struct mig_error *err)
{
    if (filter->has_kind && filter->has_id)
        return MIG_OK;
    mig_fail(err, MIG_E_USAGE, "%s needs the kind and the id of a row", verb);
    return mig_hint(err, "xmtp-migrate rejected list shows both");
}

struct json_object *rejected_conflict_json(const struct mig_conflict *conflict)
{
    struct json_object *object = json_object_new_object(), *differs = json_object_new_array();
    char names[sizeof conflict->differs], *rest = names, *name;

    memcpy(names, conflict->differs, sizeof names);
    while ((name = strsep(&rest, ",")))
        if (name[0])
            json_object_array_add(differs, json_object_new_string(name));
    json_object_object_add(object, "held_sha256",
                           conflict->held[0] ? json_object_new_string(conflict->held) : NULL);
    json_object_object_add(object, "given_sha256", json_object_new_string(conflict->given));
    json_object_object_add(object, "differs", differs);
    return object;
}

struct json_object *rejected_letter_json(const struct mig_dead_letter *letter)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "kind",
                           json_object_new_string(mig_kind_info(letter->kind)->name));
    json_object_object_add(object, "id", json_object_new_int64(letter->id));
    json_object_object_add(object, "reason", json_object_new_string(letter->reason));
    json_object_object_add(object, "retryable", json_object_new_boolean(letter->retryable));
    json_object_object_add(object, "added_at", json_object_new_string(letter->added_at));
    json_object_object_add(object, "bytes", json_object_new_uint64(letter->payload_size));
    if (letter->conflict.given[0])
        json_object_object_add(object, "conflict", rejected_conflict_json(&letter->conflict));
    if (letter->waived) {
        struct json_object *waiver = json_object_new_object();

        json_object_object_add(waiver, "reason", json_object_new_string(letter->waiver_reason));
        json_object_object_add(waiver, "who", json_object_new_string(letter->waiver_who));
        json_object_object_add(waiver, "when", json_object_new_string(letter->waiver_when));
        json_object_object_add(object, "waiver", waiver);
    }
    return object;
}

/* ---- show --------------------------------------------------------------------------------- */

static int print_letter(const struct mig_dead_letter *letter, struct mig_bytes payload,
                        struct mig_arena *arena, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TEXT_LIMIT);
    struct json_object *document, *row_object;
    struct mig_row row;
    int result;

    if ((result = mig_row_decode(payload, arena, &row, err)) != MIG_OK) {
        mig_error_within(err, "%s %" PRId64 ": another tool kept no whole record",
                         mig_kind_info(letter->kind)->name, letter->id);
        return mig_hint(err, "xmtp-migrate run --new-run judges the row anew and keeps it whole");
    }
    if ((result = mig_row_print_json(&row, &text, err)) != MIG_OK ||
        (result = mig_buffer_append(&text, "", 1, err)) != MIG_OK)
        return result;
    row_object = json_tokener_parse((const char *) text.data);
    document = rejected_letter_json(letter);
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/rejected/1"));
    json_object_object_add(
        document, "remedy",
        json_object_new_string(mig_reason_info(mig_reason_parse(letter->reason))->remedy));
    json_object_object_add(document, "row", row_object);
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

/* On the first node that has the letter: a conflict may be on one alone. */
static int show_from(struct mig_node *node, const struct mig_letter_filter *filter, bool *ret_found,
                     struct mig_error *err)
{
    mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_bytes payload = {0};
    int result = mig_node_letters(node, filter, &letters, err);

    *ret_found = false;
    if (result == MIG_OK && letters.count > 0)
        result = mig_node_letter_payload(node, filter->kind, filter->id, &arena, ret_found,
                                         &payload, err);
    return result == MIG_OK && *ret_found ? print_letter(&letters.items[0], payload, &arena, err)
                                          : result;
}

int cmd_rejected_show(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    struct mig_letter_filter filter;
    bool found = false;
    int result;

    if ((result = rejected_filter(argc, argv, &filter, err)) != MIG_OK ||
        (result = need_one(&filter, "rejected show", err)) != MIG_OK ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, rejected_words.node, MIG_NODE_READ, &tool->hooks,
                                 tool->stop, &nodes, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < nodes.count && !found && result == MIG_OK; i++)
        result = show_from(nodes.items[i], &filter, &found, err);
    if (result != MIG_OK || found)
        return result;
    mig_fail(err, MIG_E_USAGE, "there is no rejected row %s %" PRId64,
             mig_kind_info(filter.kind)->name, filter.id);
    return mig_hint(err, "xmtp-migrate rejected list shows them");
}

/* ---- waive -------------------------------------------------------------------------------- */

void rejected_who(char *who, size_t capacity)
{
    const struct passwd *user = getpwuid(getuid());
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    snprintf(who, capacity, "%.100s@%.100s", user ? user->pw_name : "unknown", host);
}

static int waive_on_node(struct mig_node *node, struct mig_letter_filter filter, const char *why,
                         const char *who, uint64_t *ret_waived, struct mig_error *err)
{
    *ret_waived = 0;
    for (;;) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
        int result = mig_node_letters(node, &filter, &letters, err);

        for (size_t i = 0; i < letters.count && result == MIG_OK; i++)
            result =
                mig_node_waive(node, letters.items[i].kind, letters.items[i].id, why, who, err);
        if (result != MIG_OK || letters.count == 0)
            return result;
        *ret_waived += letters.count;
        filter.has_after = true;
        filter.after_kind = letters.items[letters.count - 1].kind;
        filter.after_id = letters.items[letters.count - 1].id;
    }
}

int cmd_rejected_waive(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_nodes_close) struct mig_nodes nodes = {0};
    struct json_object *document, *counts;
    struct mig_letter_filter filter;
    const char *why = rejected_words.why;
    uint64_t waived, total = 0;
    char who[256];
    int result;

    if ((result = rejected_need_why("a waiver", err)) != MIG_OK ||
        (result = rejected_filter(argc, argv, &filter, err)) != MIG_OK)
        return result;
    if ((filter.has_id || !filter.reason) && (result = need_one(&filter, "waive", err)) != MIG_OK)
        return result;
    rejected_who(who, sizeof who);
    if ((result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, rejected_words.node, MIG_NODE_WRITE, &tool->hooks,
                                 tool->stop, &nodes, err)) != MIG_OK)
        return result;
    document = json_object_new_object();
    counts = json_object_new_object();
    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/waive/1"));
    json_object_object_add(document, "who", json_object_new_string(who));
    json_object_object_add(document, "reason", json_object_new_string(why));
    json_object_object_add(document, "nodes", counts);
    for (size_t i = 0; i < nodes.count && result == MIG_OK; i++) {
        const char *name = mig_node_name(nodes.items[i]);

        result = waive_on_node(nodes.items[i], filter, why, who, &waived, err);
        total += result == MIG_OK ? waived : 0;
        json_object_object_add(counts, name, json_object_new_uint64(waived));
        if (result == MIG_OK && waived > 0 && !tool->json)
            result =
                tool_print(err, "node '%s': waived %" PRIu64 " by %s: %s", name, waived, who, why);
    }
    if (result == MIG_OK && total > 0 && tool->json)
        result = tool_print_json(document, err);
    json_object_put(document);
    if (result != MIG_OK || total > 0)
        return result;
    /* Not every node has each letter, a conflict for one: what can't be is that none has it. */
    mig_fail(err, MIG_E_USAGE, "no node has a rejected row that matches");
    return mig_hint(err, "xmtp-migrate rejected list shows them");
}
