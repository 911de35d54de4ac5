/* Tallies: what became of rows, kind by kind, counted, summed, and as JSON by name. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The counts of a kind, in the order they are printed. */
static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    {"counted", offsetof(struct mig_kind_tally, counted)},
    {"expired", offsetof(struct mig_kind_tally, expired)},
    {"rejected", offsetof(struct mig_kind_tally, rejected)},
    {"for_nodes", offsetof(struct mig_kind_tally, for_nodes)},
    {"for_chain", offsetof(struct mig_kind_tally, for_chain)},
    {"expired_early", offsetof(struct mig_kind_tally, expired_early)},
};

static const char *kind_name(size_t kind)
{
    return mig_kind_info((enum mig_kind) kind)->name;
}

static const char *reason_name(size_t reason)
{
    return mig_reason_info((enum mig_reason) reason)->name;
}

static const char *finding_name(size_t finding)
{
    return mig_finding_name((enum mig_finding) finding);
}

/* The runs of numbers in a tally; each group has its names from the wire area's tables. */
static const struct group {
    const char *name;
    const char *(*name_of)(size_t index);
    size_t offset, first, end;
} groups[] = {
    {"rejects", reason_name, offsetof(struct mig_tally, rejects), MIG_REASON_NONE + 1,
     MIG_REASON_COUNT},
    {"findings", finding_name, offsetof(struct mig_tally, findings), 0, MIG_FINDING_COUNT},
};

static uint64_t *group_of(const struct mig_tally *tally, const struct group *group)
{
    return (uint64_t *) ((uintptr_t) tally + group->offset);
}

static uint64_t *count_of(const struct mig_kind_tally *kind, size_t count)
{
    return (uint64_t *) ((uintptr_t) kind + counts[count].offset);
}

void mig_tally_add(struct mig_tally *sum, const struct mig_tally *more)
{
    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
        for (size_t i = 0; i < mig_count_of(counts); i++)
            *count_of(&sum->kinds[kind], i) += *count_of(&more->kinds[kind], i);
    for (size_t i = 0; i < MIG_REASON_COUNT; i++)
        sum->rejects[i] += more->rejects[i];
    for (size_t i = 0; i < MIG_FINDING_COUNT; i++)
        sum->findings[i] += more->findings[i];
}

void mig_tally_envelope(struct mig_tally *tally, const struct mig_envelope *envelope)
{
    struct mig_kind_tally *kind = &tally->kinds[envelope->kind];

    kind->counted++;
    kind->expired += envelope->route == MIG_ROUTE_EXPIRED;
    kind->expired_early += envelope->route == MIG_ROUTE_EXPIRED && envelope->expired_early;
    kind->for_nodes += envelope->route == MIG_ROUTE_NODE;
    kind->for_chain += envelope->route == MIG_ROUTE_CHAIN;
    if (envelope->route == MIG_ROUTE_REJECTED) {
        kind->rejected++;
        tally->rejects[envelope->reason]++;
    }
    for (size_t i = 0; i < MIG_FINDING_COUNT; i++)
        tally->findings[i] += envelope->findings >> i & 1u;
}

/* ---- printing ----------------------------------------------------------------------------- */

static int print_number(struct mig_buffer *text, const char **separator, const char *name,
                        uint64_t number, struct mig_error *err)
{
    const int result =
        number == 0 ? MIG_OK
                    : mig_buffer_print(text, err, "%s\"%s\":%" PRIu64, *separator, name, number);

    if (number != 0)
        *separator = ",";
    return result;
}

static bool is_zero(const struct mig_kind_tally *kind)
{
    for (size_t i = 0; i < mig_count_of(counts); i++)
        if (*count_of(kind, i) != 0)
            return false;
    return true;
}

static int print_kinds(const struct mig_tally *tally, struct mig_buffer *text,
                       struct mig_error *err)
{
    const char *separator = "";
    int result = MIG_OK;

    for (size_t kind = 0; result == MIG_OK && kind < MIG_KIND_COUNT; kind++) {
        const char *inner = "";

        if (is_zero(&tally->kinds[kind]))
            continue;
        result = mig_buffer_print(text, err, "%s\"%s\":{", separator, kind_name(kind));
        separator = ",";
        for (size_t i = 0; result == MIG_OK && i < mig_count_of(counts); i++)
            result =
                print_number(text, &inner, counts[i].name, *count_of(&tally->kinds[kind], i), err);
        if (result == MIG_OK)
            result = mig_buffer_append(text, "}", 1, err);
    }
    return result;
}

static int print_group(const struct group *group, const struct mig_tally *tally,
                       struct mig_buffer *text, struct mig_error *err)
{
    const char *separator = "";
    int result = mig_buffer_print(text, err, "},\"%s\":{", group->name);

    for (size_t i = group->first; result == MIG_OK && i < group->end; i++)
        result = print_number(text, &separator, group->name_of(i), group_of(tally, group)[i], err);
    return result;
}

int mig_tally_print_json(const struct mig_tally *tally, struct mig_buffer *text,
                         struct mig_error *err)
{
    int result = mig_buffer_print(text, err, "{\"kinds\":{");

    if (result == MIG_OK)
        result = print_kinds(tally, text, err);
    for (size_t i = 0; result == MIG_OK && i < mig_count_of(groups); i++)
        result = print_group(&groups[i], tally, text, err);
    return result == MIG_OK ? mig_buffer_print(text, err, "}}") : result;
}

/* ---- reading ------------------------------------------------------------------------------ */

static int parse_number(const char *name, json_object *json, uint64_t *ret_number,
                        struct mig_error *err)
{
    if (!json_object_is_type(json, json_type_int) || json_object_get_int64(json) < 0)
        return mig_fail(err, MIG_E_CORRUPT, "tally: '%.40s' is not a count", name);
    *ret_number = json_object_get_uint64(json);
    return MIG_OK;
}

static int expect_object(const char *name, json_object *json, struct mig_error *err)
{
    if (!json_object_is_type(json, json_type_object))
        return mig_fail(err, MIG_E_CORRUPT, "tally: '%.40s' is not an object", name);
    return MIG_OK;
}

static int parse_kind(const char *name, json_object *json, struct mig_kind_tally *ret_kind,
                      struct mig_error *err)
{
    int result = expect_object(name, json, err);

    if (result != MIG_OK)
        return result;
    json_object_object_foreach(json, member, value)
    {
        size_t i = 0;

        while (i < mig_count_of(counts) && strcmp(counts[i].name, member) != 0)
            i++;
        if (i == mig_count_of(counts))
            return mig_fail(err, MIG_E_CORRUPT, "tally: '%s' has no '%.40s'", name, member);
        result = parse_number(member, value, count_of(ret_kind, i), err);
        if (result != MIG_OK)
            return result;
    }
    return MIG_OK;
}

static int parse_kinds(json_object *json, struct mig_tally *tally, struct mig_error *err)
{
    int result = expect_object("kinds", json, err);

    if (result != MIG_OK)
        return result;
    json_object_object_foreach(json, name, value)
    {
        struct mig_error unknown = MIG_ERROR_INIT;
        enum mig_kind kind = MIG_KIND_GROUP_MESSAGES;

        if (mig_kind_parse(name, &kind, &unknown) != MIG_OK)
            return mig_fail(err, MIG_E_CORRUPT, "tally: unknown kind '%.40s'", name);
        result = parse_kind(name, value, &tally->kinds[kind], err);
        if (result != MIG_OK)
            return result;
    }
    return MIG_OK;
}

static int parse_group(const struct group *group, json_object *json, struct mig_tally *tally,
                       struct mig_error *err)
{
    int result = expect_object(group->name, json, err);

    if (result != MIG_OK)
        return result;
    json_object_object_foreach(json, name, value)
    {
        size_t i = group->first;

        while (i < group->end && strcmp(group->name_of(i), name) != 0)
            i++;
        if (i == group->end)
            return mig_fail(err, MIG_E_CORRUPT, "tally: unknown name '%.40s' in %s", name,
                            group->name);
        result = parse_number(name, value, &group_of(tally, group)[i], err);
        if (result != MIG_OK)
            return result;
    }
    return MIG_OK;
}

static bool kind_closes(const struct mig_kind_tally *kind, enum mig_route route)
{
    uint64_t sum;

    if ((route == MIG_ROUTE_NODE ? kind->for_chain : kind->for_nodes) != 0 ||
        kind->expired_early > kind->expired)
        return false;
    return !__builtin_add_overflow(kind->expired, kind->rejected, &sum) &&
           !__builtin_add_overflow(sum, kind->for_nodes, &sum) &&
           !__builtin_add_overflow(sum, kind->for_chain, &sum) && sum == kind->counted;
}

/* Every rejected row has one reason, and every row ends in one state. */
static int check_sums(const struct mig_tally *tally, struct mig_error *err)
{
    uint64_t rejected = 0, reasons = 0;

    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++) {
        if (!kind_closes(&tally->kinds[kind], mig_kind_info((enum mig_kind) kind)->route) ||
            __builtin_add_overflow(rejected, tally->kinds[kind].rejected, &rejected))
            return mig_fail(err, MIG_E_CORRUPT, "tally: the sums of %s don't close",
                            kind_name(kind));
    }
    for (size_t i = 0; i < MIG_REASON_COUNT; i++)
        if (__builtin_add_overflow(reasons, tally->rejects[i], &reasons))
            return mig_fail(err, MIG_E_CORRUPT, "tally: the sum of rejects is too large");
    if (rejected != reasons)
        return mig_fail(err, MIG_E_CORRUPT,
                        "tally: %" PRIu64 " rejected rows have %" PRIu64 " reasons", rejected,
                        reasons);
    return MIG_OK;
}

int bundle_parse_tally(json_object *json, struct mig_tally *ret_tally, struct mig_error *err)
{
    struct mig_tally tally = {0};
    int result = expect_object("tally", json, err);

    if (result != MIG_OK)
        return result;
    json_object_object_foreach(json, name, value)
    {
        size_t i = 0;

        while (i < mig_count_of(groups) && strcmp(groups[i].name, name) != 0)
            i++;
        if (strcmp(name, "kinds") == 0)
            result = parse_kinds(value, &tally, err);
        else if (i < mig_count_of(groups))
            result = parse_group(&groups[i], value, &tally, err);
        else
            result = mig_fail(err, MIG_E_CORRUPT, "tally: unknown member '%.40s'", name);
        if (result != MIG_OK)
            return result;
    }
    result = check_sums(&tally, err);
    if (result == MIG_OK)
        *ret_tally = tally;
    return result;
}

int mig_tally_parse_json(const char *text, struct mig_tally *ret_tally, struct mig_error *err)
{
    mig_cleanup(bundle_put_json) json_object *json = NULL;
    int result = bundle_parse_json(mig_bytes_of_text(text), &json, err);

    return result == MIG_OK ? bundle_parse_tally(json, ret_tally, err) : result;
}
