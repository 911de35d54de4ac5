/* What no single member of a manifest tells: names given twice, rates out of order or out of
 * bounds, rows that users can read today and would lose. */
#include "libmigrate/manifest/manifest_private.h"

#include <inttypes.h>
#include <string.h>

static bool same_name(const struct mig_manifest_node *a, const struct mig_manifest_node *b)
{
    return a->name && b->name && strcmp(a->name, b->name) == 0;
}

static bool same_id(const struct mig_manifest_node *a, const struct mig_manifest_node *b)
{
    return a->node_id != 0 && a->node_id == b->node_id;
}

/* Complains when a node shares a member with one before it. */
static void check_unlike(struct mig_reader *reader, const struct mig_manifest *manifest, size_t i,
                         const char *member,
                         bool (*same)(const struct mig_manifest_node *a,
                                      const struct mig_manifest_node *b))
{
    const struct mig_place nodes = {.name = "nodes"};
    const struct mig_place node = {.parent = &nodes, .index = i};
    const struct mig_place here = {.parent = &node, .name = member};

    for (size_t j = 0; j < i; j++) {
        if (same(&manifest->nodes[i], &manifest->nodes[j])) {
            mig_complain(reader, &here, "the same as that of /nodes/%zu", j);
            return;
        }
    }
}

static void check_fee(struct mig_reader *reader, const struct mig_place *rate, const char *name,
                      uint64_t fee, int64_t bound)
{
    const struct mig_place here = {.parent = rate, .name = name};

    if (fee > (uint64_t) bound)
        mig_complain(reader, &here,
                     "%" PRIu64 " picodollars are above /rate_bounds/%s, %" PRId64
                     "; a Unix timestamp once stood in such a place: check the rate, or raise the "
                     "bound if it is right",
                     fee, name, bound);
}

static void check_rates(struct mig_reader *reader, const struct mig_manifest *manifest,
                        const int64_t rate_bounds[2])
{
    const struct mig_place rates = {.name = "rates"};
    int64_t latest = INT64_MIN;

    for (size_t i = 0; i < manifest->rate_count; i++) {
        const struct mig_rate *rate = &manifest->rates[i];
        const struct mig_place here = {.parent = &rates, .index = i};
        const struct mig_place start = {.parent = &here, .name = "start"};

        check_fee(reader, &here, "message_fee", rate->message_fee, rate_bounds[0]);
        check_fee(reader, &here, "storage_fee", rate->storage_fee, rate_bounds[1]);
        if (rate->start_ns == INT64_MIN)
            continue;
        if (rate->start_ns <= latest)
            mig_complain(reader, &start, "must be later than the start of the rate before it");
        latest = rate->start_ns;
    }
}

static void check_retention(struct mig_reader *reader, const struct mig_policy *policy)
{
    const struct mig_place root = {.name = "policy"};
    const struct mig_place days = {.parent = &root, .name = "retention_days"};

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        const char *name = mig_kind_info((enum mig_kind) kind)->name;
        const struct mig_place here = {.parent = &days, .name = name};

        if (policy->retention_days[kind] < policy->source_retention_days[kind] &&
            !policy->shorter_allowed[kind])
            mig_complain(reader, &here,
                         "%" PRIu32 " days are fewer than the source's %" PRIu32
                         ": rows that users can still read would be dropped; if that is meant, "
                         "list '%s' in /policy/allow_shorter_than_source",
                         policy->retention_days[kind], policy->source_retention_days[kind], name);
    }
}

void mig_manifest_check(struct mig_reader *reader, const struct mig_manifest *manifest,
                        const int64_t rate_bounds[2])
{
    for (size_t i = 0; i < manifest->node_count; i++) {
        check_unlike(reader, manifest, i, "name", same_name);
        check_unlike(reader, manifest, i, "node_id", same_id);
    }
    check_rates(reader, manifest, rate_bounds);
    check_retention(reader, &manifest->policy);
}
