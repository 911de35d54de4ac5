/* What must hold of the nodes' books added up, and the verdict that follows. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <string.h>

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

int account_judge(struct mig_account *account, const struct mig_node_sums *sums,
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
