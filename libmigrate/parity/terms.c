/* What is pinned before anything is compared: whose signatures, which run, which instant. */
#include "libmigrate/parity/parity_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_signer(struct mig_signer **signer)
{
    mig_signer_free(signer);
}

static int pin_addresses(struct parity_terms *terms, const struct mig_parity_options *options,
                         const struct mig_hooks *hooks, struct mig_error *err)
{
    mig_cleanup(free_signer) struct mig_signer *payer = NULL;
    mig_cleanup(free_signer) struct mig_signer *originator = NULL;
    int result = MIG_OK;

    if (!options->payer || !options->originator)
        result = mig_manifest_signers(terms->manifest, hooks, options->payer ? NULL : &payer,
                                      options->originator ? NULL : &originator, err);
    if (result != MIG_OK) {
        if (!err || !err->hint[0])
            mig_hint(err, "without the keys, give their addresses: --payer and --originator");
        return result;
    }
    terms->payer.address = *(options->payer ? options->payer : mig_signer_address(payer));
    terms->originator.address =
        *(options->originator ? options->originator : mig_signer_address(originator));
    mig_address_format(&terms->payer.address, terms->payer.text);
    mig_address_format(&terms->originator.address, terms->originator.text);
    return MIG_OK;
}

static int refuse_two_instants(const char *name, int64_t as_of_ns, const char *other_name,
                               int64_t other_as_of_ns, struct mig_error *err)
{
    char instant[MIG_TIME_TEXT_SIZE], other[MIG_TIME_TEXT_SIZE];

    mig_time_format(as_of_ns, instant);
    mig_time_format(other_as_of_ns, other);
    mig_fail(err, MIG_E_REFUSED,
             "the nodes know runs of different instants: '%s' one of %s, '%s' one of %s", name,
             instant, other_name, other);
    return mig_hint(err, "say which one to judge by: --as-of %s", other);
}

static int refuse_to_come(const struct mig_run *run, const char *name, struct mig_error *err)
{
    char instant[MIG_TIME_TEXT_SIZE];

    mig_time_format(run->facts.as_of_ns, instant);
    mig_fail(
        err, MIG_E_REFUSED,
        "node '%s' knows no run but %s, pinned at %s, which is still to come: rows that expire "
        "until then would not be missed",
        name, run->facts.run, instant);
    return mig_hint(err, "begin one that is pinned at now, xmtp-migrate run --new-run --as-of T, "
                         "or say which instant to judge by: --as-of T");
}

/* What explains many differences at once, or rows that are not asked for, is worth a word. */
static void warn_of_run(const struct parity_terms *terms, const struct mig_run *run,
                        const char *name, const struct mig_hooks *hooks)
{
    char digest[sizeof run->facts.policy_digest], instant[MIG_TIME_TEXT_SIZE];

    mig_time_format(run->facts.as_of_ns, instant);
    if (mig_manifest_facts(terms->manifest, digest, NULL) == MIG_OK &&
        strcmp(digest, run->facts.policy_digest) != 0)
        mig_log(hooks, MIG_LOG_WARN,
                "node '%s': run %s was made under another manifest (profile, retention, rates or "
                "network differ): expect differences",
                name, run->facts.run);
    if (!run->finished)
        mig_log(hooks, MIG_LOG_WARN, "node '%s': run %s has not finished there", name,
                run->facts.run);
    if (parity_is_to_come(run, terms->now_ns))
        mig_log(hooks, MIG_LOG_WARN,
                "node '%s': run %s is pinned at %s, which is still to come: rows that expire until "
                "then need not be there",
                name, run->facts.run, instant);
}

static void warn_of_later_runs(const struct parity_terms *terms, const struct mig_runs *runs,
                               const struct mig_run *judged, const char *name,
                               const struct mig_hooks *hooks)
{
    for (size_t i = 0; i < runs->count; i++)
        if (runs->items[i].facts.as_of_ns > judged->facts.as_of_ns)
            mig_log(hooks, MIG_LOG_WARN, "node '%s': run %s %s: judged by run %s before it", name,
                    runs->items[i].facts.run,
                    parity_is_to_come(&runs->items[i], terms->now_ns)
                        ? "is pinned at an instant that is still to come"
                        : "has not finished there",
                    judged->facts.run);
}

static int take_run(struct parity_terms *terms, const struct mig_run *run, const char *name,
                    const char **first_name, bool as_of_given, struct mig_error *err)
{
    if (run->source_wal > terms->source_wal) {
        terms->source_wal = run->source_wal;
        memcpy(terms->source, run->source, sizeof terms->source);
    }
    if (!terms->has_run) {
        terms->has_run = true;
        *first_name = name;
        memcpy(terms->run, run->facts.run, sizeof terms->run);
        memcpy(terms->bounds, run->bounds, sizeof terms->bounds);
        if (!as_of_given)
            terms->as_of_ns = run->facts.as_of_ns;
        return MIG_OK;
    }
    if (!as_of_given && run->facts.as_of_ns != terms->as_of_ns)
        return refuse_two_instants(*first_name, terms->as_of_ns, name, run->facts.as_of_ns, err);
    if (strcmp(terms->run, run->facts.run) != 0)
        terms->run[0] = '\0';
    for (size_t table = 0; table < MIG_TABLE_COUNT; table++)
        if (run->bounds[table] < terms->bounds[table])
            terms->bounds[table] = run->bounds[table];
    return MIG_OK;
}

static int take_node(struct parity_terms *terms, const struct mig_runs *runs, const char *name,
                     const char **first_name, bool as_of_given, const struct mig_hooks *hooks,
                     struct mig_error *err)
{
    struct mig_run run;
    int result;

    if (runs->unreadable.code != MIG_OK)
        mig_log(hooks, MIG_LOG_WARN, "%s: left out of the judgement", runs->unreadable.message);
    if (!parity_choose_run(runs, terms->now_ns, &run)) {
        mig_log(hooks, MIG_LOG_INFO, "node '%s' knows no run of network '%s'", name,
                terms->manifest->network);
        return MIG_OK;
    }
    if (!as_of_given && parity_is_to_come(&run, terms->now_ns))
        return refuse_to_come(&run, name, err);
    if ((result = take_run(terms, &run, name, first_name, as_of_given, err)) != MIG_OK)
        return result;
    warn_of_run(terms, &run, name, hooks);
    warn_of_later_runs(terms, runs, &run, name, hooks);
    return MIG_OK;
}

struct known_runs {
    struct mig_runs *nodes;
    size_t count;
};

static void known_runs_release(struct known_runs *known)
{
    for (size_t i = 0; i < known->count; i++)
        mig_runs_release(&known->nodes[i]);
    free(known->nodes);
}

static int pin_run(struct parity_terms *terms, const struct mig_parity_options *options,
                   struct mig_node *const *nodes, size_t node_count, const struct mig_hooks *hooks,
                   struct mig_error *err)
{
    mig_cleanup(known_runs_release) struct known_runs known = {
        .nodes = calloc(node_count, sizeof *known.nodes),
    };
    const char *first_name = "";
    int result = MIG_OK;

    terms->as_of_ns = options->has_as_of ? options->as_of_ns : terms->now_ns;
    if (!known.nodes)
        return mig_fail(err, MIG_E_NOMEM, "cannot read the runs of the nodes: out of memory");
    while (known.count < node_count && result == MIG_OK) {
        result = mig_node_runs(nodes[known.count], &known.nodes[known.count], err);
        known.count++;
    }
    if (result != MIG_OK)
        return result;
    parity_share_ends(known.nodes, known.count);
    for (size_t i = 0; i < node_count && result == MIG_OK; i++)
        result = take_node(terms, &known.nodes[i], mig_node_name(nodes[i]), &first_name,
                           options->has_as_of, hooks, err);
    return result;
}

int parity_terms_pin(struct parity_terms *terms, const struct mig_manifest *manifest,
                     const struct mig_parity_options *options, struct mig_node *const *nodes,
                     size_t node_count, const struct mig_hooks *hooks, struct mig_error *err)
{
    const struct mig_policy *policy = &manifest->policy;
    int result;

    *terms = (struct parity_terms){.manifest = manifest, .keeping = *manifest};
    terms->keeping.policy.keep_expired = true;
    terms->clock_is_the_rows =
        policy->profile == MIG_PROFILE_CORRECT && policy->clock == MIG_CLOCK_CREATED;
    terms->now_ns = mig_time_now_ns();
    if ((result = parity_sample_pin(terms, &options->sampling, err)) != MIG_OK ||
        (result = pin_addresses(terms, options, hooks, err)) != MIG_OK ||
        (result = pin_run(terms, options, nodes, node_count, hooks, err)) != MIG_OK ||
        (result = mig_transform_open(manifest, terms->as_of_ns, NULL, NULL, &terms->transform,
                                     err)) != MIG_OK)
        return result;
    return mig_transform_open(&terms->keeping, terms->as_of_ns, NULL, NULL,
                              &terms->keeping_transform, err);
}

void parity_terms_release(struct parity_terms *terms)
{
    if (terms->transform)
        mig_transform_free(&terms->transform);
    if (terms->keeping_transform)
        mig_transform_free(&terms->keeping_transform);
}
