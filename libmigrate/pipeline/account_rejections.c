/*
 * The rejected rows in an account: each node keeps dead letters of its own, and a row counts once
 * however many nodes rejected it.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A row that at least one node rejected: waived only if it is wherever it was rejected, a conflict
 * if it is one anywhere. letter is the first node's that has it. */
struct rejection {
    int64_t id;
    size_t order; /* in which nodes were asked */
    bool waived, conflict;
    struct mig_dead_letter letter;
};

struct rejections {
    struct rejection *items;
    size_t count;
};

static void rejections_release(struct rejections *rejections)
{
    for (size_t i = 0; i < rejections->count; i++) {
        free(rejections->items[i].letter.waiver_reason);
        free(rejections->items[i].letter.waiver_who);
    }
    free(rejections->items);
}

/* Takes the letters' texts. */
static int add_rejections(struct rejections *rejections, struct mig_dead_letters *letters,
                          struct mig_error *err)
{
    struct rejection *items =
        realloc(rejections->items, (rejections->count + letters->count + 1) * sizeof *items);

    if (!items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    rejections->items = items;
    for (size_t i = 0; i < letters->count; i++) {
        struct mig_dead_letter *letter = &letters->items[i];

        items[rejections->count] = (struct rejection){
            letter->id, rejections->count, letter->waived,
            strcmp(letter->reason, mig_reason_info(MIG_REASON_CONFLICT)->name) == 0, *letter};
        rejections->count++;
        letter->waiver_reason = letter->waiver_who = NULL;
    }
    return MIG_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct rejection *one = a, *other = b;

    if (one->id != other->id)
        return one->id > other->id ? 1 : -1;
    return (one->order > other->order) - (one->order < other->order);
}

/* Makes one of those that several nodes told of. */
static void unite(struct rejections *rejections)
{
    size_t kept = 0;

    if (rejections->count > 0)
        qsort(rejections->items, rejections->count, sizeof *rejections->items, compare_ids);
    for (size_t i = 0; i < rejections->count; i++) {
        struct rejection *item = &rejections->items[i];

        if (kept == 0 || rejections->items[kept - 1].id != item->id) {
            rejections->items[kept++] = *item;
            continue;
        }
        rejections->items[kept - 1].waived &= item->waived;
        rejections->items[kept - 1].conflict |= item->conflict;
        free(item->letter.waiver_reason);
        free(item->letter.waiver_who);
    }
    rejections->count = kept;
}

/* What this run rejected on one node: the box keeps letters of others too. */
static int collect(struct mig_node *node, const char *run, enum mig_kind kind,
                   struct rejections *rejections, struct mig_error *err)
{
    struct mig_letter_filter filter = {.has_kind = true, .kind = kind, .run = run};

    for (;;) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
        int result = mig_node_letters(node, &filter, &letters, err);

        if (result != MIG_OK || letters.count == 0)
            return result;
        filter.has_after = true;
        filter.after_kind = kind;
        filter.after_id = letters.items[letters.count - 1].id;
        if ((result = add_rejections(rejections, &letters, err)) != MIG_OK)
            return result;
    }
}

/* A row is kept whole on each node that rejected it, or it is lost there: the letters of another
 * node are no excuse. */
static int collect_all(struct mig_account *account, struct mig_node **nodes,
                       const struct mig_node_sums *sums, enum mig_kind kind,
                       struct rejections *rejections, bool *ret_whole, struct mig_error *err)
{
    int result = MIG_OK;

    *ret_whole = true;
    for (size_t i = 0; i < account->node_count && result == MIG_OK; i++) {
        const size_t before = rejections->count;
        const uint64_t rejected = sums[i].tally.kinds[kind].rejected;
        uint64_t conflicts = 0;

        result = collect(nodes[i], account->facts.run, kind, rejections, err);
        for (size_t k = before; k < rejections->count; k++)
            conflicts += rejections->items[k].conflict;
        if (result != MIG_OK ||
            (rejections->count - before == rejected && conflicts == sums[i].conflicts[kind]))
            continue;
        *ret_whole = false;
        result = mig_account_add_problem(
            account, err,
            "%s: node '%s' rejected %" PRIu64 " rows (%" PRIu64 " conflicts), but keeps %zu dead "
            "letters of them (%" PRIu64 "): begin a new run (xmtp-migrate run --new-run)",
            mig_kind_info(kind)->name, account->nodes[i].name, rejected, sums[i].conflicts[kind],
            rejections->count - before, conflicts);
    }
    return result;
}

static int add_waiver(struct mig_account *account, enum mig_kind kind, struct rejection *rejection,
                      struct mig_error *err)
{
    struct mig_account_waiver *waivers =
        realloc(account->waivers, (account->waiver_count + 1) * sizeof *waivers);
    struct mig_account_waiver *waiver;

    if (!waivers)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    account->waivers = waivers;
    waiver = &waivers[account->waiver_count++];
    *waiver = (struct mig_account_waiver){.kind = kind, .id = rejection->id};
    waiver->reason = mig_take(rejection->letter.waiver_reason);
    waiver->who = mig_take(rejection->letter.waiver_who);
    memcpy(waiver->rejected_for, rejection->letter.reason, sizeof waiver->rejected_for);
    memcpy(waiver->when, rejection->letter.waiver_when, sizeof waiver->when);
    account->waived[kind]++;
    return MIG_OK;
}

/*
 * A row that is a conflict anywhere is rejected as a whole. Nodes that hold it rightly have one row
 * more than the account's for_nodes, which is set apart, so that the sums close for every node.
 */
static void set_conflicts_apart(const struct mig_node_sums *sums, uint64_t conflicts,
                                enum mig_kind kind, struct mig_account *account)
{
    const uint64_t elsewhere = conflicts - sums[0].conflicts[kind];

    account->tally.kinds[kind].rejected += elsewhere;
    account->tally.kinds[kind].for_nodes -= elsewhere;
    account->tally.rejects[MIG_REASON_CONFLICT] += elsewhere;
    for (size_t i = 0; i < account->node_count; i++) {
        uint64_t beside = conflicts - sums[i].conflicts[kind];
        uint64_t *places[] = {&account->nodes[i].loaded[kind],
                              &account->nodes[i].already_there[kind]};

        account->nodes[i].beside_conflicts[kind] = beside;
        for (size_t k = 0; k < mig_count_of(places) && beside > 0; k++) {
            const uint64_t taken = *places[k] < beside ? *places[k] : beside;

            *places[k] -= taken;
            beside -= taken;
        }
    }
}

int account_judge_rejections(struct mig_account *account, struct mig_node **nodes,
                             const struct mig_node_sums *sums, enum mig_kind kind,
                             struct mig_error *err)
{
    mig_cleanup(rejections_release) struct rejections all = {0};
    uint64_t conflicts = 0;
    bool whole = true;
    int result = collect_all(account, nodes, sums, kind, &all, &whole, err);

    /* What is not whole is red already; no waiver counts on it. */
    if (result != MIG_OK || !whole)
        return result;
    unite(&all);
    for (size_t i = 0; i < all.count && result == MIG_OK; i++) {
        conflicts += all.items[i].conflict;
        if (all.items[i].waived)
            result = add_waiver(account, kind, &all.items[i], err);
    }
    if (result != MIG_OK)
        return result;
    if (conflicts - sums[0].conflicts[kind] > account->tally.kinds[kind].for_nodes)
        return mig_account_add_problem(
            account, err, "%s: %" PRIu64 " rows are conflicts, but only %" PRIu64 " were for nodes",
            mig_kind_info(kind)->name, conflicts,
            account->tally.kinds[kind].for_nodes + sums[0].conflicts[kind]);
    set_conflicts_apart(sums, conflicts, kind, account);
    return MIG_OK;
}
