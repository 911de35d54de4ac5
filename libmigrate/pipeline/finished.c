/*
 * A bundle that the same command has written before: whoever was stopped just behind its commit
 * marker asks again, and finds the work done.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <string.h>
#include <unistd.h>

/* But for the instant. An export draws the id of its run: it can't be told beforehand. */
static bool same_facts(const struct mig_bundle_facts *there, const struct mig_bundle_facts *wanted)
{
    return there->stage == wanted->stage &&
           (wanted->stage == MIG_STAGE_ROWS || strcmp(there->run, wanted->run) == 0) &&
           strcmp(there->network, wanted->network) == 0 &&
           strcmp(there->profile, wanted->profile) == 0 &&
           strcmp(there->policy_digest, wanted->policy_digest) == 0 &&
           strcmp(there->payer, wanted->payer) == 0 &&
           strcmp(there->originator, wanted->originator) == 0;
}

static int sum_up(const struct mig_bundle_reader *reader, struct mig_stage_summary *ret_summary,
                  struct mig_error *err)
{
    struct mig_stage_summary summary = {.facts = *mig_bundle_facts(reader)};
    size_t count;
    const struct mig_bundle_entry *entries = mig_bundle_entries(reader, &count);
    int result = mig_blockers_append(&summary.blockers, mig_bundle_blockers(reader), err);

    for (size_t i = 0; i < count; i++) {
        mig_tally_add(&summary.tally, &entries[i].tally);
        summary.rows += entries[i].rows;
        summary.parts += !entries[i].chain;
    }
    if (result == MIG_OK)
        *ret_summary = summary;
    else
        mig_stage_summary_release(&summary);
    return result;
}

void pipeline_tell_removed(const struct mig_hooks *hooks, const char *out, size_t removed)
{
    if (removed > 0)
        mig_log(hooks, MIG_LOG_INFO,
                "bundle '%s' was begun and never finished: %zu of its files removed", out, removed);
}

int pipeline_find_finished(const char *out, const struct mig_bundle_facts *wanted,
                           const struct mig_hooks *hooks, bool *ret_found,
                           struct mig_stage_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    char instant[MIG_TIME_TEXT_SIZE];
    int result;

    *ret_found = false;
    if (strcmp(out, "-") == 0 || access(out, F_OK) != 0 ||
        mig_bundle_open(out, false, &reader, NULL) != MIG_OK ||
        !same_facts(mig_bundle_facts(reader), wanted))
        return MIG_OK;
    if (mig_bundle_facts(reader)->as_of_ns != wanted->as_of_ns) {
        mig_time_format(mig_bundle_facts(reader)->as_of_ns, instant);
        mig_log(hooks, MIG_LOG_INFO, "bundle '%s' is there, whole, as of %s: --as-of asks for it",
                out, instant);
        return MIG_OK;
    }
    if ((result = sum_up(reader, ret_summary, err)) != MIG_OK)
        return result;
    mig_log(hooks, MIG_LOG_INFO, "bundle '%s' is there, whole, and what was asked for: run %s", out,
            mig_bundle_facts(reader)->run);
    *ret_found = true;
    return MIG_OK;
}
