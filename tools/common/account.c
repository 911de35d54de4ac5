/* Accounts and summaries for people: aligned tables on stdout, or the JSON document. */
#include "tools/common/account.h"
#include "tools/common/tool_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LIMIT ((size_t) 8 << 20)
#define BLOCKERS_SHOWN 20

static int print_json(const struct mig_account *account, struct mig_error *err)
{
    struct json_object *document = mig_account_to_json(account);
    int result =
        document ? tool_print_json(document, err) : mig_fail(err, MIG_E_NOMEM, "out of memory");

    json_object_put(document);
    return result;
}

static int add_kind(struct mig_buffer *text, const struct mig_account *account, enum mig_kind kind,
                    struct mig_error *err)
{
    const struct mig_kind_info *info = mig_kind_info(kind);
    const struct mig_kind_tally *tally = &account->tally.kinds[kind];
    int result = mig_buffer_print(
        text, err,
        "%-17s %10" PRIu64 " %10" PRIu64 " %9" PRIu64 " %7" PRIu64 " %10" PRIu64 "  %s\n",
        info->name, tally->counted, tally->expired, tally->rejected, account->waived[kind],
        tally->for_nodes + tally->for_chain,
        info->route == MIG_ROUTE_CHAIN && tally->for_chain ? "waiting for the chain" : "");

    for (size_t i = 0; info->route == MIG_ROUTE_NODE && i < account->node_count; i++) {
        const struct mig_account_node *node = &account->nodes[i];

        if (result == MIG_OK)
            result =
                mig_buffer_print(text, err, "  %-15.15s loaded %" PRIu64 ", already there %" PRIu64,
                                 node->name, node->loaded[kind], node->already_there[kind]);
        if (result == MIG_OK && node->holes[kind] > 0)
            result =
                mig_buffer_print(text, err, "; %" PRIu64 " holes filled below the node's tracker",
                                 node->holes[kind]);
        if (result == MIG_OK)
            result = mig_buffer_print(text, err, "\n");
    }
    return result;
}

static int add_early(struct mig_buffer *text, const struct mig_account *account,
                     struct mig_error *err)
{
    int result = MIG_OK;

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (account->tally.kinds[kind].expired_early > 0)
            result = mig_buffer_print(
                text, err, "expired early: %s %" PRIu64 " (users can still read them on V3)\n",
                mig_kind_info((enum mig_kind) kind)->name,
                account->tally.kinds[kind].expired_early);
    return result;
}

static int add_names(struct mig_buffer *text, const struct mig_account *account,
                     struct mig_error *err)
{
    int result = MIG_OK;

    for (int reason = 1; reason < MIG_REASON_COUNT && result == MIG_OK; reason++)
        if (account->tally.rejects[reason] > 0)
            result = mig_buffer_print(text, err, "rejected: %s %" PRIu64 "\n",
                                      mig_reason_info((enum mig_reason) reason)->name,
                                      account->tally.rejects[reason]);
    for (int finding = 0; finding < MIG_FINDING_COUNT && result == MIG_OK; finding++)
        if (account->tally.findings[finding] > 0)
            result = mig_buffer_print(text, err, "finding: %s %" PRIu64 "\n",
                                      mig_finding_name((enum mig_finding) finding),
                                      account->tally.findings[finding]);
    return result;
}

static int add_blockers(struct mig_buffer *text, const struct mig_blockers *blockers,
                        struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < blockers->count && i < BLOCKERS_SHOWN && result == MIG_OK; i++)
        result = mig_buffer_print(text, err, "blocker: %s: %s; %s\n", blockers->items[i].subject,
                                  blockers->items[i].what, blockers->items[i].remedy);
    if (result == MIG_OK && blockers->count > BLOCKERS_SHOWN)
        result = mig_buffer_print(text, err, "blocker: and %zu more (--json lists them)\n",
                                  blockers->count - BLOCKERS_SHOWN);
    return result;
}

static int describe(struct mig_buffer *text, const struct mig_account *account,
                    struct mig_error *err)
{
    char as_of[MIG_TIME_TEXT_SIZE];
    int result;

    mig_time_format(account->facts.as_of_ns, as_of);
    result =
        mig_buffer_print(text, err,
                         "run %s of network %s, as of %s, profile %s\n\n"
                         "kind                 counted    expired  rejected  waived   to go to\n",
                         account->facts.run, account->facts.network, as_of, account->facts.profile);
    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        result = add_kind(text, account, (enum mig_kind) kind, err);
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, "\n");
    if (result == MIG_OK)
        result = add_early(text, account, err);
    if (result == MIG_OK)
        result = add_names(text, account, err);
    if (result == MIG_OK)
        result = add_blockers(text, &account->blockers, err);
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++)
        if (account->nodes[i].other_letters > 0)
            result = mig_buffer_print(text, err,
                                      "%s: %" PRIu64 " dead letters of other tools ended or written"
                                      " anew (rejected history tells what they said)\n",
                                      account->nodes[i].name, account->nodes[i].other_letters);
    for (size_t i = 0; i < account->problem_count && result == MIG_OK; i++)
        result = mig_buffer_print(text, err, "problem: %s\n", account->problems[i]);
    return result == MIG_OK
               ? mig_buffer_print(text, err, "verdict: %s", mig_verdict_name(account->verdict))
               : result;
}

int tool_account_line(const struct mig_account *account, struct mig_error *err)
{
    struct json_object *document = mig_account_to_json(account);
    mig_cleanup(mig_free_text) char *text =
        document ? json_to_text(document, JSON_C_TO_STRING_PLAIN) : NULL;
    int result = text ? tool_print(err, "%s", text) : mig_fail(err, MIG_E_NOMEM, "out of memory");

    json_object_put(document);
    return result;
}

int tool_print_account(void *context, const struct mig_account *account, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TEXT_LIMIT);
    struct tool *tool = context;
    int result;

    tool_progress_end(tool);
    if (!account->started)
        return MIG_OK;
    if (tool->json)
        return print_json(account, err);
    result = describe(&text, account, err);
    return result == MIG_OK ? tool_print(err, "%s", (const char *) text.data) : result;
}

int tool_account(struct tool *tool, const struct mig_account *account, struct mig_error *err)
{
    int result = tool_print_account(tool, account, err);

    return result == MIG_OK ? mig_account_outcome(account, err) : result;
}

static int print_stage_json(const char *stage, const char *out,
                            const struct mig_stage_summary *summary, uint64_t expired,
                            uint64_t rejected, struct mig_error *err)
{
    struct json_object *document = json_object_new_object();
    int result;

    json_object_object_add(document, "schema", json_object_new_string("xmtp-migrate/stage/1"));
    json_object_object_add(document, "stage", json_object_new_string(stage));
    json_object_object_add(document, "out", json_object_new_string(out));
    json_object_object_add(document, "run", json_object_new_string(summary->facts.run));
    json_object_object_add(document, "rows", json_object_new_uint64(summary->rows));
    json_object_object_add(document, "parts", json_object_new_uint64(summary->parts));
    json_object_object_add(document, "expired", json_object_new_uint64(expired));
    json_object_object_add(document, "rejected", json_object_new_uint64(rejected));
    json_object_object_add(document, "blockers", json_object_new_uint64(summary->blockers.count));
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

int tool_stage(struct tool *tool, const char *stage, const char *out,
               const struct mig_stage_summary *summary, struct mig_error *err)
{
    uint64_t expired = 0, rejected = 0;

    tool_progress_end(tool);
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        expired += summary->tally.kinds[kind].expired;
        rejected += summary->tally.kinds[kind].rejected;
    }
    mig_log(&tool->hooks, MIG_LOG_INFO,
            "%s: %" PRIu64 " rows in %" PRIu64 " parts, %" PRIu64 " expired, %" PRIu64
            " rejected, %zu blockers, run %s",
            stage, summary->rows, summary->parts, expired, rejected, summary->blockers.count,
            summary->facts.run);
    if (strcmp(out, "-") == 0)
        return MIG_OK;
    if (!tool->json)
        return tool_print(err,
                          "%s: %" PRIu64 " rows in %" PRIu64 " parts to %s; %" PRIu64
                          " expired, %" PRIu64 " rejected, %zu blockers; run %s",
                          stage, summary->rows, summary->parts, out, expired, rejected,
                          summary->blockers.count, summary->facts.run);
    return print_stage_json(stage, out, summary, expired, rejected, err);
}
