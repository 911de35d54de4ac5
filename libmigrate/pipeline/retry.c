/* Dead letters tried once more, node by node: those that lie close together in one transaction, the
 * others each in one of its own; and conflicts that somebody named, replaced the same way. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Letters that are tried in one transaction. */
#define GROUP_LETTERS 256
#define GROUP_BYTES ((size_t) 4 << 20)
#define GROUP_GAP 8

struct retry_job {
    const struct mig_hooks *hooks;
    struct pipeline_keys keys;
    struct mig_source *source;
    struct mig_nodes nodes;
    struct mig_transform *transform;
    struct mig_arena scratch;
    const struct mig_repair *repair; /* NULL: conflicts stay conflicts */
};

static void retry_job_release(struct retry_job *job)
{
    mig_arena_release(&job->scratch);
    mig_transform_free(&job->transform);
    mig_nodes_close(&job->nodes);
    mig_source_close(&job->source);
    pipeline_keys_release(&job->keys);
}

static void leave(struct retry_job *job, struct mig_node *node,
                  const struct mig_dead_letter *letter, const char *why,
                  struct mig_retry_summary *summary)
{
    mig_log(job->hooks, MIG_LOG_WARN, "node '%s': %s %" PRId64 " is left as it is: %s",
            mig_node_name(node), mig_kind_info(letter->kind)->name, letter->id, why);
    summary->tried++;
    summary->left++;
}

/* Why the row, as it is now, is nothing to try; NULL when it may be tried. */
static const char *why_not(const struct retry_job *job, const struct mig_envelope *envelope)
{
    if (envelope->route == MIG_ROUTE_CHAIN)
        return "it is bound for the chain now; begin a new run (xmtp-migrate run --new-run), which "
               "puts it into its place";
    if (job->repair && envelope->route != MIG_ROUTE_NODE)
        return "as the source has it now it is expired or rejected: there is nothing to put into "
               "the node's row's place";
    return NULL;
}

static void count_outcomes(const struct mig_part *part, const struct mig_load_result *loaded,
                           struct mig_retry_summary *summary)
{
    for (size_t i = 0; i < part->row_count; i++) {
        summary->expired += part->envelopes[i].route == MIG_ROUTE_EXPIRED;
        summary->rejected_again += part->envelopes[i].route == MIG_ROUTE_REJECTED;
    }
    summary->rejected_again += loaded->conflicts;
    summary->loaded += loaded->loaded + loaded->already_there;
    summary->replaced += loaded->replaced;
    summary->tried += part->row_count;
}

static void log_replaced(const struct retry_job *job, const struct mig_node *node,
                         const struct mig_dead_letter *letter)
{
    mig_log(job->hooks, MIG_LOG_WARN,
            "node '%s': %s %" PRId64 " is replaced: it held an envelope with SHA-256 %s, and holds "
            "%s now; by %s: %s",
            mig_node_name(node), mig_kind_info(letter->kind)->name, letter->id,
            letter->conflict.held[0] ? letter->conflict.held : "none", letter->conflict.given,
            job->repair->who, job->repair->reason);
}

static int retry_one(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                     const struct mig_dead_letter *letter, struct mig_retry_summary *summary,
                     struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_error reading = MIG_ERROR_INIT, trying = MIG_ERROR_INIT;
    struct mig_load_result loaded;
    const char *why;
    int result = retry_find_row(job->source, node, letter, &part, &reading);

    if (result == MIG_E_CORRUPT) {
        /* Other tools keep letters without a record: nothing can be made of those. */
        leave(job, node, letter, reading.message, summary);
        return MIG_OK;
    }
    if (result != MIG_OK) {
        *err = reading;
        return result;
    }
    if ((result = mig_transform_part(job->transform, &job->scratch, part, err)) != MIG_OK)
        return result;
    if ((why = why_not(job, &part->envelopes[0]))) {
        leave(job, node, letter, why, summary);
        return MIG_OK;
    }
    result = mig_node_retry(node, run, part, letter, job->repair, &loaded, &trying);
    if (result == MIG_E_CONFLICT) {
        leave(job, node, letter, trying.message, summary);
        return MIG_OK;
    }
    if (result != MIG_OK) {
        *err = trying;
        return result;
    }
    count_outcomes(part, &loaded, summary);
    if (loaded.replaced > 0)
        log_replaced(job, node, letter);
    return MIG_OK;
}

/* *ret_done is false when they are to be tried in smaller groups. */
static int retry_together(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                          const struct mig_dead_letter *letters, size_t count, bool *ret_done,
                          struct mig_retry_summary *summary, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_error trying = MIG_ERROR_INIT;
    struct mig_load_result loaded;
    int result = retry_find_rows(job->source, letters, count, &part, err);

    *ret_done = false;
    if (result != MIG_OK || !part ||
        (result = mig_transform_part(job->transform, &job->scratch, part, err)) != MIG_OK)
        return result;
    for (size_t i = 0; i < part->row_count; i++)
        if (why_not(job, &part->envelopes[i]))
            return MIG_OK;
    result = mig_node_retry(node, run, part, letters, NULL, &loaded, &trying);
    if (result == MIG_E_CONFLICT)
        return MIG_OK;
    if (result != MIG_OK) {
        *err = trying;
        return result;
    }
    count_outcomes(part, &loaded, summary);
    *ret_done = true;
    return MIG_OK;
}

static int retry_group(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                       const struct mig_dead_letter *letters, size_t count,
                       struct mig_retry_summary *summary, struct mig_error *err)
{
    const size_t half = count / 2;
    bool done;
    int result;

    if (count == 1)
        return retry_one(job, node, run, letters, summary, err);
    result = retry_together(job, node, run, letters, count, &done, summary, err);
    if (result != MIG_OK || done)
        return result;
    result = retry_group(job, node, run, letters, half, summary, err);
    return result == MIG_OK
               ? retry_group(job, node, run, letters + half, count - half, summary, err)
               : result;
}

/* How many of the first letters are of one kind and lie close together, so that reading what is
 * between them costs nothing. */
static size_t count_close(const struct mig_dead_letter *letters, size_t count)
{
    size_t close = 1, bytes = letters[0].payload_size;

    while (close < count && close < GROUP_LETTERS && letters[close].kind == letters[0].kind &&
           (uint64_t) letters[close].id - (uint64_t) letters[close - 1].id <= GROUP_GAP &&
           (bytes += letters[close].payload_size) <= GROUP_BYTES)
        close++;
    return close;
}

static int retry_on_node(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                         struct mig_letter_filter filter, struct mig_retry_summary *summary,
                         struct mig_error *err)
{
    for (;;) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
        int result = mig_node_letters(node, &filter, &letters, err);
        size_t close;

        for (size_t i = 0; i < letters.count && result == MIG_OK; i += close) {
            close = count_close(&letters.items[i], letters.count - i);
            result = retry_group(job, node, run, &letters.items[i], close, summary, err);
        }
        if (result != MIG_OK || letters.count == 0)
            return result;
        filter.has_after = true;
        filter.after_kind = letters.items[letters.count - 1].kind;
        filter.after_id = letters.items[letters.count - 1].id;
    }
}

/* The run whose account is corrected. Its policy may have changed since: that is one way to mend a
 * rejected row. Its keys may not. */
static int find_run(struct retry_job *job, struct mig_node *node, struct mig_run *ret_run,
                    struct mig_error *err)
{
    char payer[MIG_ADDRESS_TEXT_SIZE], originator[MIG_ADDRESS_TEXT_SIZE];
    bool found;
    int result = mig_node_last_run(node, &found, ret_run, err);

    if (result != MIG_OK)
        return result;
    if (!found) {
        mig_fail(err, MIG_E_REFUSED, "node '%s' knows of no run", mig_node_name(node));
        return mig_hint(err, "xmtp-migrate run begins one");
    }
    mig_address_format(mig_signer_address(job->keys.payer), payer);
    mig_address_format(mig_signer_address(job->keys.originator), originator);
    if (strcmp(payer, ret_run->facts.payer) == 0 &&
        strcmp(originator, ret_run->facts.originator) == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "node '%s': run %s was made with other keys than the manifest's",
             mig_node_name(node), ret_run->facts.run);
    return mig_hint(err, "put the run's keys (payer %s, originator %s) back", ret_run->facts.payer,
                    ret_run->facts.originator);
}

static int open_job(struct retry_job *job, const struct mig_manifest *manifest, const char *node,
                    const struct mig_stop *stop, struct mig_error *err)
{
    int result;

    if ((result = mig_manifest_signers(manifest, job->hooks, &job->keys.payer,
                                       &job->keys.originator, err)) != MIG_OK ||
        (result = mig_source_open(manifest, job->hooks, stop, &job->source, err)) != MIG_OK)
        return result;
    return mig_nodes_open_present(manifest, node, MIG_NODE_WRITE, job->hooks, stop, &job->nodes,
                                  err);
}

/* Readies a node and what rows are transformed by for it. */
static int begin_node(struct retry_job *job, const struct mig_manifest *manifest,
                      struct mig_node *node, struct mig_run *ret_run, struct mig_error *err)
{
    int result;

    mig_transform_free(&job->transform);
    if ((result = mig_node_claim(node, err)) != MIG_OK ||
        (result = find_run(job, node, ret_run, err)) != MIG_OK ||
        (result = pipeline_check_source(job->source, ret_run, false, err)) != MIG_OK)
        return result;
    return mig_transform_open(manifest, ret_run->facts.as_of_ns, job->keys.payer,
                              job->keys.originator, &job->transform, err);
}

int mig_pipeline_retry(const struct mig_manifest *manifest, const struct mig_letter_filter *filter,
                       const struct mig_hooks *hooks, const struct mig_stop *stop,
                       struct mig_retry_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(retry_job_release) struct retry_job job = {.hooks = hooks};
    struct mig_retry_summary summary = {0};
    int result = open_job(&job, manifest, NULL, stop, err);

    for (size_t i = 0; i < job.nodes.count && result == MIG_OK; i++) {
        struct mig_run run;

        if ((result = begin_node(&job, manifest, job.nodes.items[i], &run, err)) == MIG_OK)
            result = retry_on_node(&job, job.nodes.items[i], &run, *filter, &summary, err);
    }
    summary.nodes_away = job.nodes.away_count;
    if (result == MIG_OK)
        *ret_summary = summary;
    return result;
}

/* ---- conflicts that somebody named ---------------------------------------------------------- */

static int find_conflict(struct mig_node *node, const struct mig_row_name *row,
                         struct mig_dead_letters *ret_letters, struct mig_error *err)
{
    return mig_node_letters(
        node,
        &(struct mig_letter_filter){.has_kind = true,
                                    .kind = row->kind,
                                    .has_id = true,
                                    .id = row->id,
                                    .reason = mig_reason_info(MIG_REASON_CONFLICT)->name},
        ret_letters, err);
}

/* Before anything is changed: one name mistyped may mean that others are as well. What has been
 * replaced already was no mistake: the same command was stopped before it came to the others. */
static int check_names(struct retry_job *job, const struct mig_replacing *replacing,
                       struct mig_error *err)
{
    for (size_t i = 0; i < replacing->count; i++) {
        const struct mig_row_name *row = &replacing->rows[i];
        bool found = false;

        for (size_t k = 0; k < job->nodes.count && !found; k++) {
            mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
            int result = find_conflict(job->nodes.items[k], row, &letters, err);

            if (result != MIG_OK ||
                (result = mig_node_was_replaced(job->nodes.items[k], row->kind, row->id, &found,
                                                err)) != MIG_OK)
                return result;
            found = found || letters.count > 0;
        }
        if (!found) {
            mig_fail(
                err, MIG_E_USAGE, "%s %" PRId64 " is no conflict on %s%s%s: nothing was changed",
                mig_kind_info(row->kind)->name, row->id, replacing->node ? "node '" : "any node",
                replacing->node ? replacing->node : "", replacing->node ? "'" : "");
            return mig_hint(err, "xmtp-migrate rejected list --reject-reason conflict lists them");
        }
    }
    return MIG_OK;
}

static int replace_on_node(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                           const struct mig_replacing *replacing, struct mig_retry_summary *summary,
                           struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < replacing->count && result == MIG_OK; i++) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};

        result = find_conflict(node, &replacing->rows[i], &letters, err);
        if (result == MIG_OK && letters.count > 0)
            result = retry_one(job, node, run, &letters.items[0], summary, err);
    }
    return result;
}

int mig_pipeline_replace(const struct mig_manifest *manifest, const struct mig_replacing *replacing,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         struct mig_retry_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(retry_job_release) struct retry_job job = {.hooks = hooks,
                                                           .repair = &replacing->repair};
    struct mig_retry_summary summary = {0};
    int result = open_job(&job, manifest, replacing->node, stop, err);

    if (result == MIG_OK)
        result = check_names(&job, replacing, err);
    for (size_t i = 0; i < job.nodes.count && result == MIG_OK; i++) {
        struct mig_run run;

        if ((result = begin_node(&job, manifest, job.nodes.items[i], &run, err)) == MIG_OK)
            result = replace_on_node(&job, job.nodes.items[i], &run, replacing, &summary, err);
    }
    summary.nodes_away = job.nodes.away_count;
    if (result == MIG_OK)
        *ret_summary = summary;
    return result;
}
