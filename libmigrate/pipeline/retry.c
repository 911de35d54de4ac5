/* Dead letters tried once more, node by node, each in a transaction of its own. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct retry_job {
    const struct mig_hooks *hooks;
    struct pipeline_keys keys;
    struct mig_source *source;
    struct mig_nodes nodes;
    struct mig_transform *transform;
    struct mig_arena scratch;
};

static void retry_job_release(struct retry_job *job)
{
    mig_arena_release(&job->scratch);
    mig_transform_free(&job->transform);
    mig_nodes_close(&job->nodes);
    mig_source_close(&job->source);
    pipeline_keys_release(&job->keys);
}

/* The row as the source has it now, or as it was kept. */
static int find_row(struct retry_job *job, struct mig_node *node,
                    const struct mig_dead_letter *letter, struct mig_part **ret_part,
                    struct mig_error *err)
{
    const enum mig_table table = mig_kind_info(letter->kind)->table;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_bytes payload = {0};
    struct mig_row *row;
    bool found = false;
    int result;

    if ((result = mig_source_read_begin(job->source, table, letter->id, letter->id, false, err)) !=
            MIG_OK ||
        (result = mig_source_read_part(job->source, MIG_PART_LIMITS, &part, err)) != MIG_OK)
        return result;
    if (part->row_count == 0) {
        if ((result = mig_node_letter_payload(node, letter->kind, letter->id, &part->arena, &found,
                                              &payload, err)) != MIG_OK)
            return result;
        if (!found)
            return mig_fail(err, MIG_E_CORRUPT, "its letter is gone");
        if ((result = mig_part_add_row(part, &row, err)) != MIG_OK ||
            (result = mig_row_decode(payload, &part->arena, row, err)) != MIG_OK)
            return result;
        if (row->table != table || row->id != letter->id)
            return mig_fail(err, MIG_E_CORRUPT, "the kept record is of another row");
    }
    *ret_part = mig_take(part);
    return MIG_OK;
}

static void leave(struct retry_job *job, struct mig_node *node,
                  const struct mig_dead_letter *letter, const char *why,
                  struct mig_retry_summary *summary)
{
    mig_log(job->hooks, MIG_LOG_WARN, "node '%s': %s %" PRId64 " is left as it is: %s",
            mig_node_name(node), mig_kind_info(letter->kind)->name, letter->id, why);
    summary->left++;
}

static int retry_one(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                     const struct mig_dead_letter *letter, struct mig_retry_summary *summary,
                     struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_error reading = MIG_ERROR_INIT, trying = MIG_ERROR_INIT;
    struct mig_load_result loaded;
    int result = find_row(job, node, letter, &part, &reading);

    summary->tried++;
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
    if (part->envelopes[0].route == MIG_ROUTE_CHAIN) {
        leave(job, node, letter,
              "it is bound for the chain now; begin a new run (xmtp-migrate run --new-run), which "
              "puts it into its place",
              summary);
        return MIG_OK;
    }
    result = mig_node_retry(node, run, part, letter, &loaded, &trying);
    if (result == MIG_E_CONFLICT) {
        leave(job, node, letter, trying.message, summary);
        return MIG_OK;
    }
    if (result != MIG_OK) {
        *err = trying;
        return result;
    }
    if (part->envelopes[0].route == MIG_ROUTE_NODE && loaded.conflicts == 0)
        summary->loaded++;
    else if (part->envelopes[0].route == MIG_ROUTE_EXPIRED)
        summary->expired++;
    else
        summary->rejected_again++;
    return MIG_OK;
}

static int retry_on_node(struct retry_job *job, struct mig_node *node, const struct mig_run *run,
                         struct mig_letter_filter filter, struct mig_retry_summary *summary,
                         struct mig_error *err)
{
    for (;;) {
        mig_cleanup(mig_dead_letters_release) struct mig_dead_letters letters = {0};
        int result = mig_node_letters(node, &filter, &letters, err);

        for (size_t i = 0; i < letters.count && result == MIG_OK; i++)
            result = retry_one(job, node, run, &letters.items[i], summary, err);
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

int mig_pipeline_retry(const struct mig_manifest *manifest, const struct mig_letter_filter *filter,
                       const struct mig_hooks *hooks, const struct mig_stop *stop,
                       struct mig_retry_summary *ret_summary, struct mig_error *err)
{
    mig_cleanup(retry_job_release) struct retry_job job = {.hooks = hooks};
    struct mig_retry_summary summary = {0};
    int result;

    if ((result = mig_manifest_signers(manifest, hooks, &job.keys.payer, &job.keys.originator,
                                       err)) != MIG_OK ||
        (result = mig_source_open(manifest, hooks, stop, &job.source, err)) != MIG_OK ||
        (result = mig_nodes_open(manifest, NULL, MIG_NODE_WRITE, hooks, stop, &job.nodes, err)) !=
            MIG_OK)
        return result;
    for (size_t i = 0; i < job.nodes.count && result == MIG_OK; i++) {
        struct mig_node *node = job.nodes.items[i];
        struct mig_run run;

        mig_transform_free(&job.transform);
        if ((result = mig_node_claim(node, err)) != MIG_OK ||
            (result = find_run(&job, node, &run, err)) != MIG_OK ||
            (result = pipeline_check_source(job.source, &run, false, err)) != MIG_OK ||
            (result = mig_transform_open(manifest, run.facts.as_of_ns, job.keys.payer,
                                         job.keys.originator, &job.transform, err)) != MIG_OK)
            return result;
        result = retry_on_node(&job, node, &run, *filter, &summary, err);
    }
    if (result == MIG_OK)
        *ret_summary = summary;
    return result;
}
