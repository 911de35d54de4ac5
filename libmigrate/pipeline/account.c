/*
 * The account of a run: the nodes' own books added up, and everything that must hold of them
 * checked. What does not hold is a problem, in a sentence, and turns the verdict red.
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

/* ---- what must hold ------------------------------------------------------------------------ */

static int check_kind(struct mig_account *account, enum mig_kind kind, struct mig_error *err)
{
    const struct mig_kind_tally *tally = &account->tally.kinds[kind];
    const char *name = mig_kind_info(kind)->name;
    const uint64_t states = tally->expired + tally->rejected + tally->for_nodes + tally->for_chain;
    int result = MIG_OK;

    if (states != tally->counted)
        result = mig_account_add_problem(
            account, err, "%s: %" PRIu64 " rows were counted, %" PRIu64 " have a state", name,
            tally->counted, states);
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++) {
        const struct mig_account_node *node = &account->nodes[i];
        const uint64_t held = node->loaded[kind] + node->already_there[kind];

        if (held != tally->for_nodes)
            result = mig_account_add_problem(
                account, err, "%s: node '%s' has %" PRIu64 " of %" PRIu64 " rows for nodes", name,
                node->name, held, tally->for_nodes);
    }
    return result;
}

static uint64_t total_rejected(const struct mig_account *account, uint64_t *ret_by_reason)
{
    uint64_t rejected = 0;

    *ret_by_reason = 0;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        rejected += account->tally.kinds[kind].rejected;
    for (int reason = 0; reason < MIG_REASON_COUNT; reason++)
        *ret_by_reason += account->tally.rejects[reason];
    return rejected;
}

static int check_sums(struct mig_account *account, struct mig_error *err)
{
    uint64_t by_reason;
    const uint64_t rejected = total_rejected(account, &by_reason);
    int result = MIG_OK;

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        result = check_kind(account, (enum mig_kind) kind, err);
    if (result == MIG_OK && rejected != by_reason)
        result = mig_account_add_problem(account, err,
                                         "%" PRIu64 " rows are rejected, %" PRIu64 " have a reason",
                                         rejected, by_reason);
    return result;
}

/* What every node's books must say alike, whatever became of the rows on it. Expired rows V3 may
 * have pruned before a node's turn came. */
static bool same_rows(const struct mig_node_sums *a, const struct mig_node_sums *b, int kind)
{
    const struct mig_kind_tally *one = &a->tally.kinds[kind], *other = &b->tally.kinds[kind];

    return one->counted - one->expired == other->counted - other->expired &&
           one->for_chain == other->for_chain &&
           one->for_nodes + a->conflicts[kind] == other->for_nodes + b->conflicts[kind] &&
           one->rejected - a->conflicts[kind] == other->rejected - b->conflicts[kind];
}

static bool same_reasons(const struct mig_node_sums *a, const struct mig_node_sums *b)
{
    for (int reason = 0; reason < MIG_REASON_COUNT; reason++)
        if (reason != MIG_REASON_CONFLICT && a->tally.rejects[reason] != b->tally.rejects[reason])
            return false;
    return true;
}

/* Of a run that is followed each node has as much as it has come to. */
static int check_reach(struct mig_account *account, const struct mig_account_node *node,
                       const struct mig_node_sums *sums, const int64_t *farthest,
                       struct mig_error *err)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        if (!sums->finished || sums->bounds[table] >= farthest[table])
            continue;
        account->unfinished = true;
        return mig_account_add_problem(
            account, err, "node '%s' is behind: it has %s up to %" PRId64 ", others up to %" PRId64,
            node->name, mig_table_info((enum mig_table) table)->name, sums->bounds[table],
            farthest[table]);
    }
    return MIG_OK;
}

/* Of a kind whose rows are not the same: whether they only differ in what became of them. */
static const char *why_not_same(const struct mig_node_sums *a, const struct mig_node_sums *b,
                                int kind)
{
    const struct mig_kind_tally *one = &a->tally.kinds[kind], *other = &b->tally.kinds[kind];

    return one->counted - one->expired == other->counted - other->expired &&
                   one->for_chain == other->for_chain
               ? "has other rows rejected than the first node: xmtp-migrate rejected retry tries "
                 "them again"
               : "counted other rows than the first node, some changed or were pruned at the source"
                 " meanwhile: begin a new run (xmtp-migrate run --new-run)";
}

static int check_node(struct mig_account *account, const struct mig_account_node *node,
                      const struct mig_node_sums *sums, const struct mig_node_sums *first,
                      struct mig_error *err)
{
    const bool as_far = memcmp(sums->bounds, first->bounds, sizeof sums->bounds) == 0;
    int result = MIG_OK;

    if (sums->gap)
        result = mig_account_add_problem(account, err, "node '%s': parts leave a gap: %s",
                                         node->name, sums->gap);
    if (result == MIG_OK && sums->odd)
        result = mig_account_add_problem(account, err, "node '%s': its books say that %s",
                                         node->name, sums->odd);
    for (size_t i = 0; i < sums->problem_count && sums == first && result == MIG_OK; i++)
        result = mig_account_add_problem(account, err, "%s", sums->problems[i]);
    if (result == MIG_OK && !sums->finished) {
        account->unfinished = true;
        result = mig_account_add_problem(account, err,
                                         "node '%s' does not have all of the run yet: run "
                                         "xmtp-migrate run again",
                                         node->name);
    }
    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (as_far && !same_rows(sums, first, kind))
            result = mig_account_add_problem(account, err, "%s: node '%s' %s",
                                             mig_kind_info((enum mig_kind) kind)->name, node->name,
                                             why_not_same(sums, first, kind));
    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (sums->holes[kind] > sums->loaded[kind])
            result = mig_account_add_problem(
                account, err, "%s: node '%s' filled %" PRIu64 " holes with %" PRIu64 " rows loaded",
                mig_kind_info((enum mig_kind) kind)->name, node->name, sums->holes[kind],
                sums->loaded[kind]);
    if (result == MIG_OK && as_far && !same_reasons(sums, first))
        result = mig_account_add_problem(
            account, err, "node '%s' rejected rows for other reasons than the first node",
            node->name);
    return result;
}

static int judge(struct mig_account *account, const struct mig_node_sums *sums,
                 struct mig_error *err)
{
    int64_t farthest[MIG_TABLE_COUNT];
    int result = MIG_OK;

    memcpy(farthest, sums[0].bounds, sizeof farthest);
    for (size_t i = 1; i < account->node_count; i++)
        for (int table = 0; table < MIG_TABLE_COUNT; table++)
            if (sums[i].bounds[table] > farthest[table])
                farthest[table] = sums[i].bounds[table];
    account->verdict = account->problem_count ? MIG_VERDICT_RED : MIG_VERDICT_GREEN;
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++)
        result = check_reach(account, &account->nodes[i], &sums[i], farthest, err);
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++)
        result = check_node(account, &account->nodes[i], &sums[i], &sums[0], err);
    /* What running it again would not mend is told before what it would. */
    for (size_t i = 0; i < account->node_count; i++)
        if (sums[i].gap || sums[i].odd || sums[i].problem_count > 0)
            account->unfinished = false;
    if (result == MIG_OK)
        result = check_sums(account, err);
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (account->verdict == MIG_VERDICT_GREEN &&
            account->tally.kinds[kind].rejected > account->waived[kind])
            account->verdict = MIG_VERDICT_PARTIAL;
    return result;
}

/* ---- reading ------------------------------------------------------------------------------- */

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
    struct mig_letter_filter filter = {
        .reason = mig_reason_info(MIG_REASON_PAYLOAD_TOO_LARGE)->name, .run = account->facts.run};
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
                                  mig_reason_info(MIG_REASON_PAYLOAD_TOO_LARGE)->remedy, err);
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
    return result == MIG_OK ? judge(account, sums, err) : result;
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
