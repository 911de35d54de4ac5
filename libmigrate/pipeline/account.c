/*
 * The account of a run: the nodes' own books added up, and everything that must hold of them
 * checked (account_judge.c). What does not hold is a problem, in a sentence, and turns the verdict
 * red.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_BLOCKERS_LISTED 100000

const char *mig_verdict_name(enum mig_verdict verdict)
{
    static const char *const names[] = {"green", "partial", "red"};

    return names[verdict];
}

void mig_account_free(struct mig_account **account)
{
    struct mig_account *a = mig_take(*account);

    if (!a)
        return;
    for (size_t i = 0; i < a->node_count; i++)
        free(a->nodes[i].name);
    for (size_t i = 0; i < a->problem_count; i++)
        free(a->problems[i]);
    for (size_t i = 0; i < a->waiver_count; i++) {
        free(a->waivers[i].reason);
        free(a->waivers[i].who);
    }
    free(a->waivers);
    free(a->nodes);
    free(a->problems);
    mig_blockers_release(&a->blockers);
    free(a);
}

int mig_account_add_problem(struct mig_account *account, struct mig_error *err, const char *format,
                            ...)
{
    char **problems = realloc(account->problems, (account->problem_count + 1) * sizeof *problems);
    char *text = NULL;
    va_list args;
    int length;

    if (!problems)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    account->problems = problems;
    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    problems[account->problem_count++] = text;
    account->verdict = MIG_VERDICT_RED;
    return MIG_OK;
}

static int add_node(struct mig_account *account, struct mig_node *node,
                    const struct mig_node_sums *sums, struct mig_error *err)
{
    struct mig_account_node *entry = &account->nodes[account->node_count];

    entry->name = strdup(mig_node_name(node));
    if (!entry->name)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    memcpy(entry->loaded, sums->loaded, sizeof entry->loaded);
    memcpy(entry->already_there, sums->already_there, sizeof entry->already_there);
    memcpy(entry->holes, sums->holes, sizeof entry->holes);
    entry->other_letters = sums->other_letters;
    account->node_count++;
    return MIG_OK;
}

/* A chain-bound row that the chain can't carry breaks its group or inbox from there on. */
static int add_chain_blockers(struct mig_account *account, struct mig_node *node,
                              struct mig_error *err)
{
    const struct mig_reason_info *too_large = mig_reason_info(MIG_REASON_PAYLOAD_TOO_LARGE);
    const struct mig_letter_filter filter = {
        .reason = too_large->name, .run = account->facts.run, .limit = CHAIN_BLOCKERS_LISTED};
    mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
    int result = mig_node_letters(node, &filter, &letters, err);

    for (size_t i = 0; i < letters.count && result == MIG_OK; i++) {
        const struct mig_kind_info *kind = mig_kind_info(letters.items[i].kind);
        char subject[96];

        if (kind->route != MIG_ROUTE_CHAIN)
            continue;
        snprintf(subject, sizeof subject, "%s %" PRId64, kind->name, letters.items[i].id);
        result = mig_blockers_add(&account->blockers, subject,
                                  "its payload is larger than a transaction can carry: its group "
                                  "or inbox breaks from there on",
                                  too_large->remedy, err);
    }
    return result;
}

static int read_sums(struct mig_node **nodes, size_t count, struct mig_account *account,
                     struct mig_node_sums *sums, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < count && result == MIG_OK; i++) {
        result = mig_node_sums(nodes[i], account->facts.run, &sums[i], err);
        if (result == MIG_OK)
            result = add_node(account, nodes[i], &sums[i], err);
    }
    if (result != MIG_OK)
        return result;
    account->tally = sums[0].tally;
    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        result = account_judge_rejections(account, nodes, sums, (enum mig_kind) kind, err);
    if (result == MIG_OK)
        result = account_compare_parts(account, nodes, err);
    if (result == MIG_OK)
        result = mig_blockers_append(&account->blockers, &sums[0].blockers, err);
    if (result == MIG_OK && account->tally.rejects[MIG_REASON_PAYLOAD_TOO_LARGE] > 0)
        result = add_chain_blockers(account, nodes[0], err);
    return result == MIG_OK ? account_judge(account, sums, err) : result;
}

/* The run to tell of: the one named, else the newest that any node knows, an unfinished one before
 * a finished one. */
static int find_run(struct mig_node **nodes, size_t count, const char *wanted,
                    struct mig_account *account, struct mig_error *err)
{
    bool chosen_finished = true;

    for (size_t i = 0; i < count; i++) {
        struct mig_run run;
        bool found;
        int result = mig_node_find_run(nodes[i], wanted, &found, &run, err);

        if (result != MIG_OK)
            return result;
        if (!found || (account->started && (!chosen_finished || run.finished)))
            continue;
        account->facts = run.facts;
        account->started = true;
        chosen_finished = run.finished;
    }
    return MIG_OK;
}

/* Told before all else: it is why the rest is not there yet. */
static int add_away(struct mig_account *account, const struct mig_nodes *nodes,
                    struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < nodes->away_count && result == MIG_OK; i++) {
        account->unfinished = true;
        result = mig_account_add_problem(account, err, "node '%s' is away: %s", nodes->away[i].name,
                                         nodes->away[i].why.message);
    }
    return result;
}

int mig_account_read(const struct mig_nodes *nodes, const char *run,
                     struct mig_account **ret_account, struct mig_error *err)
{
    const size_t node_count = nodes->count;
    mig_cleanup(mig_account_free) struct mig_account *account = calloc(1, sizeof *account);
    struct mig_node_sums *sums = calloc(node_count + 1, sizeof *sums);
    int result = MIG_OK;

    if (account)
        account->nodes = calloc(node_count + 1, sizeof *account->nodes);
    if (!account || !sums || !account->nodes)
        result = mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (result == MIG_OK)
        result = find_run(nodes->items, node_count, run, account, err);
    if (result == MIG_OK && account->started)
        result = add_away(account, nodes, err);
    if (result == MIG_OK && account->started)
        result = read_sums(nodes->items, node_count, account, sums, err);
    for (size_t i = 0; sums && i < node_count; i++)
        mig_node_sums_release(&sums[i]);
    free(sums);
    if (result == MIG_OK)
        *ret_account = mig_take(account);
    return result;
}

int mig_account_outcome(const struct mig_account *account, struct mig_error *err)
{
    if (!account->started) {
        mig_fail(err, MIG_E_REFUSED, "no node knows of a run yet");
        return mig_hint(err, "xmtp-migrate run begins one");
    }
    if (account->verdict == MIG_VERDICT_RED && account->unfinished) {
        mig_fail(err, MIG_E_TEMPORARY, "run %s is not at its end: %s", account->facts.run,
                 account->problem_count ? account->problems[0] : "");
        return mig_hint(err, "xmtp-migrate run goes on with it");
    }
    if (account->verdict == MIG_VERDICT_RED) {
        mig_fail(err, MIG_E_DIFFERENT, "the account is red: %s%s",
                 account->problem_count ? account->problems[0] : "",
                 account->problem_count > 1 ? ", and more" : "");
        return mig_hint(err, "xmtp-parity check tells row by row what the nodes hold");
    }
    if (account->verdict == MIG_VERDICT_PARTIAL) {
        mig_fail(err, MIG_E_PARTIAL, "rows were rejected that nobody has waived");
        return mig_hint(err, "xmtp-migrate rejected list shows them; retry or waive each");
    }
    return MIG_OK;
}
