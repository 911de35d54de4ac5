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

/* ---- conflicts: rows that some nodes hold otherwise ---------------------------------------- */

/* Rows that are a conflict on at least one node; waived only if they are wherever they are one. */
struct conflict {
    int64_t id;
    bool waived;
};

struct conflicts {
    struct conflict *items;
    size_t count;
};

static void conflicts_release(struct conflicts *conflicts)
{
    free(conflicts->items);
}

static int add_conflicts(struct conflicts *conflicts, const struct mig_dead_letters *letters,
                         struct mig_error *err)
{
    struct conflict *items =
        realloc(conflicts->items, (conflicts->count + letters->count + 1) * sizeof *items);

    if (!items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    conflicts->items = items;
    for (size_t i = 0; i < letters->count; i++)
        items[conflicts->count++] =
            (struct conflict){letters->items[i].id, letters->items[i].waived};
    return MIG_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct conflict *one = a, *other = b;

    return (one->id > other->id) - (one->id < other->id);
}

/* Makes one of those that several nodes told of. */
static void unite(struct conflicts *conflicts)
{
    size_t kept = 0;

    if (conflicts->count > 0)
        qsort(conflicts->items, conflicts->count, sizeof *conflicts->items, compare_ids);
    for (size_t i = 0; i < conflicts->count; i++) {
        if (kept == 0 || conflicts->items[kept - 1].id != conflicts->items[i].id)
            conflicts->items[kept++] = conflicts->items[i];
        else if (!conflicts->items[i].waived)
            conflicts->items[kept - 1].waived = false;
    }
    conflicts->count = kept;
}

static uint64_t count_waived(const struct conflicts *conflicts)
{
    uint64_t waived = 0;

    for (size_t i = 0; i < conflicts->count; i++)
        waived += conflicts->items[i].waived;
    return waived;
}

static int collect_conflicts(struct mig_node *node, enum mig_kind kind, struct conflicts *set,
                             struct mig_error *err)
{
    struct mig_letter_filter filter = {
        .has_kind = true, .kind = kind, .reason = mig_reason_info(MIG_REASON_CONFLICT)->name};
    int result = MIG_OK;

    for (;;) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};

        result = mig_node_letters(node, &filter, &letters, err);
        if (result != MIG_OK || letters.count == 0 ||
            (result = add_conflicts(set, &letters, err)) != MIG_OK)
            return result;
        filter.has_after = true;
        filter.after_kind = kind;
        filter.after_id = letters.items[letters.count - 1].id;
    }
}

/*
 * A row that is a conflict anywhere is rejected as a whole. Nodes that hold it rightly have one row
 * more than the account's for_nodes, which is set apart, so that the sums close for every node.
 */
static int settle_conflicts(struct mig_node **nodes, const struct mig_node_sums *sums, size_t count,
                            enum mig_kind kind, struct mig_account *account, struct mig_error *err)
{
    mig_cleanup(conflicts_release) struct conflicts set = {0};
    struct mig_kind_tally *tally = &account->tally.kinds[kind];
    uint64_t most = 0;
    int result = MIG_OK;

    for (size_t i = 0; i < count; i++)
        most = sums[i].conflicts[kind] > most ? sums[i].conflicts[kind] : most;
    for (size_t i = 0; i < count && most > 0 && result == MIG_OK; i++)
        result = collect_conflicts(nodes[i], kind, &set, err);
    if (result != MIG_OK || most == 0)
        return result;
    unite(&set);
    if (set.count < most)
        return mig_account_add_problem(account, err,
                                       "%s: %" PRIu64 " conflicts were met but %zu dead letters "
                                       "are kept",
                                       mig_kind_info(kind)->name, most, set.count);
    account->waived[kind] += count_waived(&set);
    tally->rejected += set.count - sums[0].conflicts[kind];
    tally->for_nodes -= set.count - sums[0].conflicts[kind];
    account->tally.rejects[MIG_REASON_CONFLICT] += set.count - sums[0].conflicts[kind];
    for (size_t i = 0; i < count; i++) {
        uint64_t beside = set.count - sums[i].conflicts[kind];
        uint64_t *places[] = {&account->nodes[i].loaded[kind],
                              &account->nodes[i].already_there[kind]};

        account->nodes[i].beside_conflicts[kind] = beside;
        for (size_t k = 0; k < mig_count_of(places) && beside > 0; k++) {
            const uint64_t taken = *places[k] < beside ? *places[k] : beside;

            *places[k] -= taken;
            beside -= taken;
        }
    }
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

/* What every node's books must say alike, whatever became of the rows on it. */
static bool same_rows(const struct mig_node_sums *a, const struct mig_node_sums *b, int kind)
{
    const struct mig_kind_tally *one = &a->tally.kinds[kind], *other = &b->tally.kinds[kind];

    return one->counted == other->counted && one->expired == other->expired &&
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

static int check_node(struct mig_account *account, const struct mig_account_node *node,
                      const struct mig_node_sums *sums, const struct mig_node_sums *first,
                      struct mig_error *err)
{
    int result = MIG_OK;

    if (sums->gap)
        result = mig_account_add_problem(account, err, "node '%s': parts leave a gap: %s",
                                         node->name, sums->gap);
    if (result == MIG_OK && sums->odd)
        result = mig_account_add_problem(account, err, "node '%s': its books say that %s",
                                         node->name, sums->odd);
    if (result == MIG_OK && !sums->finished)
        result = mig_account_add_problem(account, err,
                                         "node '%s' does not have all of the run yet: run "
                                         "xmtp-migrate run again",
                                         node->name);
    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (!same_rows(sums, first, kind))
            result = mig_account_add_problem(account, err,
                                             "%s: node '%s' counted other rows than the first node",
                                             mig_kind_info((enum mig_kind) kind)->name, node->name);
    if (result == MIG_OK && !same_reasons(sums, first))
        result = mig_account_add_problem(
            account, err, "node '%s' rejected rows for other reasons than the first node",
            node->name);
    return result;
}

static int judge(struct mig_account *account, const struct mig_node_sums *sums,
                 struct mig_error *err)
{
    uint64_t waived = 0, by_reason;
    int result = MIG_OK;

    account->verdict = account->problem_count ? MIG_VERDICT_RED : MIG_VERDICT_GREEN;
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++)
        result = check_node(account, &account->nodes[i], &sums[i], &sums[0], err);
    if (result == MIG_OK)
        result = check_sums(account, err);
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        waived += account->waived[kind];
    if (account->verdict == MIG_VERDICT_GREEN && total_rejected(account, &by_reason) > waived)
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
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (account->node_count == 0 || sums->waived[kind] < account->waived[kind])
            account->waived[kind] = sums->waived[kind];
    account->node_count++;
    return MIG_OK;
}

/* A chain-bound row that the chain can't carry breaks its group or inbox from there on. */
static int add_chain_blockers(struct mig_account *account, struct mig_node *node,
                              struct mig_error *err)
{
    struct mig_letter_filter filter = {.reason =
                                           mig_reason_info(MIG_REASON_PAYLOAD_TOO_LARGE)->name};
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
        result = settle_conflicts(nodes, sums, count, (enum mig_kind) kind, account, err);
    if (result == MIG_OK)
        result = mig_blockers_append(&account->blockers, &sums[0].blockers, err);
    if (result == MIG_OK && account->tally.rejects[MIG_REASON_PAYLOAD_TOO_LARGE] > 0)
        result = add_chain_blockers(account, nodes[0], err);
    return result == MIG_OK ? judge(account, sums, err) : result;
}

/* The run to tell of: the newest that any node knows, an unfinished one before a finished one. */
static int find_run(struct mig_node **nodes, size_t count, struct mig_account *account,
                    struct mig_error *err)
{
    bool chosen_finished = true;

    for (size_t i = 0; i < count; i++) {
        struct mig_run run;
        bool found;
        int result = mig_node_last_run(nodes[i], &found, &run, err);

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

int mig_account_read(struct mig_node **nodes, size_t node_count, struct mig_account **ret_account,
                     struct mig_error *err)
{
    mig_cleanup(mig_account_free) struct mig_account *account = calloc(1, sizeof *account);
    struct mig_node_sums *sums = calloc(node_count + 1, sizeof *sums);
    int result = MIG_OK;

    if (account)
        account->nodes = calloc(node_count + 1, sizeof *account->nodes);
    if (!account || !sums || !account->nodes)
        result = mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (result == MIG_OK)
        result = find_run(nodes, node_count, account, err);
    if (result == MIG_OK && account->started)
        result = read_sums(nodes, node_count, account, sums, err);
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
