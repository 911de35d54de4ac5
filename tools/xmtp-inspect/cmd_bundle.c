/* xmtp-inspect P: what a bundle says of itself, after all of it was checked. */
#include "tools/xmtp-inspect/inspect.h"

#include <inttypes.h>
#include <string.h>

#define TALLY_TEXT_MAX (64u << 10)

bool inspect_rows;

/* ---- as JSON ------------------------------------------------------------------------------ */

static int add_tally(struct json_object *object, const char *name, const struct mig_tally *tally,
                     struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TALLY_TEXT_MAX);
    struct json_object *parsed;
    int code;

    if ((code = mig_tally_print_json(tally, &text, err)) ||
        (code = mig_buffer_append(&text, "", 1, err)))
        return code;
    parsed = json_tokener_parse((const char *) text.data);
    if (!parsed)
        return mig_fail(err, MIG_E_NOMEM, "cannot show a tally: out of memory");
    json_object_object_add(object, name, parsed);
    return MIG_OK;
}

static void add_facts(struct json_object *document, const struct mig_bundle_facts *facts)
{
    char as_of[MIG_TIME_TEXT_SIZE];

    mig_time_format(facts->as_of_ns, as_of);
    inspect_add_text(document, "schema", "xmtp-migrate/bundle-summary/1");
    inspect_add_text(document, "stage", facts->stage == MIG_STAGE_ROWS ? "rows" : "envelopes");
    inspect_add_text(document, "run", facts->run);
    inspect_add_text(document, "network", facts->network);
    inspect_add_text(document, "as_of", as_of);
    inspect_add_text(document, "profile", facts->profile);
    inspect_add_text(document, "policy_digest", facts->policy_digest);
    if (facts->stage == MIG_STAGE_ENVELOPES) {
        inspect_add_text(document, "payer", facts->payer);
        inspect_add_text(document, "originator", facts->originator);
    }
}

static int add_part(struct json_object *parts, const struct mig_bundle_entry *entry,
                    struct mig_error *err)
{
    struct json_object *part = json_object_new_object();

    json_object_array_add(parts, part);
    inspect_add_text(part, "name", entry->name);
    inspect_add_text(part, "table", mig_table_info(entry->table)->name);
    json_object_object_add(part, "chain", json_object_new_boolean(entry->chain));
    json_object_object_add(part, "settled", json_object_new_boolean(entry->settled));
    inspect_add_signed(part, "first_id", entry->first_id);
    inspect_add_signed(part, "last_id", entry->last_id);
    inspect_add_number(part, "rows", entry->rows);
    inspect_add_number(part, "bytes", entry->bytes);
    inspect_add_number(part, "file_bytes", entry->file_bytes);
    inspect_add_text(part, "sha256", entry->sha256);
    return add_tally(part, "tally", &entry->tally, err);
}

struct totals {
    uint64_t rows, bytes, file_bytes;
    struct mig_tally tally;
};

static struct totals add_up(const struct mig_bundle_entry *entries, size_t count)
{
    struct totals totals = {0};

    for (size_t i = 0; i < count; i++) {
        totals.rows += entries[i].rows;
        totals.bytes += entries[i].bytes;
        totals.file_bytes += entries[i].file_bytes;
        mig_tally_add(&totals.tally, &entries[i].tally);
    }
    return totals;
}

static int print_json(const struct mig_bundle_reader *reader, struct mig_error *err)
{
    mig_cleanup(inspect_put) struct json_object *document = json_object_new_object();
    const struct mig_blockers *blockers = mig_bundle_blockers(reader);
    struct json_object *parts = json_object_new_array(), *sums, *list = json_object_new_array();
    size_t count;
    const struct mig_bundle_entry *entries = mig_bundle_entries(reader, &count);
    const struct totals totals = add_up(entries, count);
    int code;

    add_facts(document, mig_bundle_facts(reader));
    json_object_object_add(document, "parts", parts);
    for (size_t i = 0; i < count; i++)
        if ((code = add_part(parts, &entries[i], err)))
            return code;
    sums = inspect_add_object(document, "totals");
    inspect_add_number(sums, "rows", totals.rows);
    inspect_add_number(sums, "bytes", totals.bytes);
    inspect_add_number(sums, "file_bytes", totals.file_bytes);
    if ((code = add_tally(sums, "tally", &totals.tally, err)))
        return code;
    json_object_object_add(document, "blockers", list);
    for (size_t i = 0; i < blockers->count; i++) {
        struct json_object *blocker = json_object_new_object();

        json_object_array_add(list, blocker);
        inspect_add_text(blocker, "subject", blockers->items[i].subject);
        inspect_add_text(blocker, "what", blockers->items[i].what);
        inspect_add_text(blocker, "remedy", blockers->items[i].remedy);
    }
    return tool_print_json(document, err);
}

/* ---- for people --------------------------------------------------------------------------- */

static int print_parts(const struct mig_bundle_entry *entries, size_t count,
                       const struct totals *totals, struct mig_error *err)
{
    int code = tool_print(err, "\n%-44s %20s %20s %10s %14s %14s", "part", "first id", "last id",
                          "records", "bytes", "file bytes");

    for (size_t i = 0; i < count && code == MIG_OK; i++)
        code = tool_print(
            err, "%-44s %20" PRId64 " %20" PRId64 " %10" PRIu64 " %14" PRIu64 " %14" PRIu64 "%s",
            entries[i].name, entries[i].first_id, entries[i].last_id, entries[i].rows,
            entries[i].bytes, entries[i].file_bytes, entries[i].settled ? "" : "  not settled");
    if (code != MIG_OK)
        return code;
    return tool_print(err, "%-44s %20s %20s %10" PRIu64 " %14" PRIu64 " %14" PRIu64, "all", "", "",
                      totals->rows, totals->bytes, totals->file_bytes);
}

static int print_tally(const struct mig_tally *tally, struct mig_error *err)
{
    int code = tool_print(err, "\n%-20s %12s %12s %12s %12s %12s", "kind", "counted", "expired",
                          "rejected", "for nodes", "for chain");

    for (unsigned kind = 0; kind < MIG_KIND_COUNT && code == MIG_OK; kind++) {
        const struct mig_kind_tally *sums = &tally->kinds[kind];

        code = tool_print(
            err, "%-20s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64,
            mig_kind_info((enum mig_kind) kind)->name, sums->counted, sums->expired, sums->rejected,
            sums->for_nodes, sums->for_chain);
    }
    for (unsigned reason = 1; reason < MIG_REASON_COUNT && code == MIG_OK; reason++)
        if (tally->rejects[reason] > 0)
            code =
                tool_print(err, "rejected: %s %" PRIu64,
                           mig_reason_info((enum mig_reason) reason)->name, tally->rejects[reason]);
    for (unsigned finding = 0; finding < MIG_FINDING_COUNT && code == MIG_OK; finding++)
        if (tally->findings[finding] > 0)
            code =
                tool_print(err, "finding: %s %" PRIu64,
                           mig_finding_name((enum mig_finding) finding), tally->findings[finding]);
    return code;
}

static int print_text(const struct mig_bundle_reader *reader, struct mig_error *err)
{
    mig_cleanup(inspect_put) struct json_object *facts = json_object_new_object();
    const struct mig_blockers *blockers = mig_bundle_blockers(reader);
    size_t count;
    const struct mig_bundle_entry *entries = mig_bundle_entries(reader, &count);
    const struct totals totals = add_up(entries, count);
    int code;

    add_facts(facts, mig_bundle_facts(reader));
    if ((code = inspect_print_text(facts, err)) ||
        (code = print_parts(entries, count, &totals, err)))
        return code;
    if (mig_bundle_facts(reader)->stage == MIG_STAGE_ENVELOPES &&
        (code = print_tally(&totals.tally, err)))
        return code;
    for (size_t i = 0; i < blockers->count; i++)
        if ((code = tool_print(err, "%sblocker: %s: %s; %s", i == 0 ? "\n" : "",
                               blockers->items[i].subject, blockers->items[i].what,
                               blockers->items[i].remedy)))
            return code;
    return MIG_OK;
}

int cmd_bundle(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    int code;

    if (argc != 1) {
        mig_fail(err, MIG_E_USAGE, "expected one bundle, got %d arguments", argc);
        return mig_hint(err, "name a folder, a .tar file, or - for a tar stream; "
                             "xmtp-inspect --help tells more");
    }
    if ((code = mig_bundle_open_judged(argv[0], NULL, tool->resources.threads, &reader, err)))
        return code;
    if (inspect_rows)
        return inspect_print_rows(tool, reader, err);
    return tool->json ? print_json(reader, err) : print_text(reader, err);
}
