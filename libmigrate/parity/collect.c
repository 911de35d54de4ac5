/* What a job has found goes into the report, in the order of ids; what it leaves open is asked. */
#include "libmigrate/parity/parity_private.h"

static int count_at_source(struct parity_check *check, enum mig_kind kind, int64_t first_id,
                           int64_t last_id, uint64_t *ret_rows, struct mig_error *err)
{
    int result = MIG_OK;

    if (!check->source_asker) {
        result =
            mig_source_open(check->terms.manifest, NULL, check->stop, &check->source_asker, err);
        if (result == MIG_OK)
            mig_source_share_past(check->source_asker, check->source);
    }
    return result == MIG_OK ? mig_source_count(check->source_asker, mig_kind_info(kind)->table,
                                               first_id, last_id, ret_rows, err)
                            : result;
}

static bool may_have_come(const struct parity_job *job, const struct parity_finding *finding)
{
    return finding->sourceless && finding->outcome == PARITY_EXTRA && !job->segment.settled;
}

/* Above what is settled a row may have come to the source after it was read, and to the node before
 * that was: only the source can tell. *ret_any: one may have, of all of the job's. */
static int any_came_meanwhile(struct parity_check *check, const struct parity_job *job,
                              bool *ret_any, struct mig_error *err)
{
    int64_t first_id = INT64_MAX, last_id = INT64_MIN;
    uint64_t rows = 0;
    int result = MIG_OK;

    for (const struct parity_finding *finding = job->findings; finding; finding = finding->next)
        if (may_have_come(job, finding)) {
            first_id = finding->id < first_id ? finding->id : first_id;
            last_id = finding->id;
        }
    if (first_id <= last_id)
        result = count_at_source(check, job->kind, first_id, last_id, &rows, err);
    *ret_any = rows > 0;
    return result;
}

static void count_outcome(struct mig_parity_sums *sums, const struct parity_finding *finding)
{
    const bool altered = finding->held && finding->notes && finding->outcome != PARITY_EXTRA;

    sums->held += finding->outcome == PARITY_HELD;
    sums->missing += finding->outcome == PARITY_MISSING;
    sums->extra += finding->outcome == PARITY_EXTRA;
    sums->pruned_at_source += finding->outcome == PARITY_PRUNED;
    sums->expired_present += finding->outcome == PARITY_EXPIRED_PRESENT && !altered;
    sums->altered += altered;
}

static int collect_finding(struct parity_check *check, const struct parity_job *job,
                           const struct parity_finding *finding, bool any_came,
                           struct mig_error *err)
{
    uint64_t came = 0;
    int result = MIG_OK;

    if (finding->sourceless && job->segment.judged && check->node_count > 1)
        result = parity_sourceless_add(&check->sourceless, finding->node, finding->held,
                                       finding->outcome, err);
    if (result == MIG_OK && any_came && may_have_come(job, finding))
        result = count_at_source(check, job->kind, finding->id, finding->id, &came, err);
    if (result != MIG_OK || came > 0)
        return result;
    count_outcome(&check->report.nodes[finding->node].kinds[job->kind], finding);
    for (const struct parity_note *note = finding->notes; note && result == MIG_OK;
         note = note->next)
        result = parity_report_add(check, job->kind, finding->id, finding->node, note, err);
    return result;
}

static int collect_findings(struct parity_check *check, const struct parity_job *job,
                            struct mig_error *err)
{
    bool any_came;
    int result = any_came_meanwhile(check, job, &any_came, err);

    for (const struct parity_finding *finding = job->findings; finding && result == MIG_OK;
         finding = finding->next)
        result = collect_finding(check, job, finding, any_came, err);
    return result == MIG_OK ? parity_check_sourceless(check, job->kind, err) : result;
}

static void add_sums(struct mig_parity_sums *sums, const struct mig_parity_sums *more)
{
    sums->held += more->held;
    sums->expired_present += more->expired_present;
}

static void report_progress(const struct parity_check *check, enum mig_table table)
{
    struct mig_progress progress = {
        .stage = "parity",
        .subject = mig_table_info(table)->name,
        .done = check->rows_done,
        .total = check->rows_total,
        .waiting = "",
    };

    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++)
        progress.rejected += check->report.tally.kinds[kind].rejected;
    mig_report_progress(check->hooks, &progress);
}

int parity_collect(struct parity_check *check, struct parity_job *job, struct mig_error *err)
{
    int result = MIG_OK;

    if (job->segment.judged) {
        mig_tally_add(&check->report.tally, &job->tally);
        if ((result = parity_check_letters(check, job, err)) != MIG_OK ||
            (result = parity_check_newest(check, job, err)) != MIG_OK)
            return result;
    }
    for (size_t k = 0; k < MIG_KIND_COUNT && !job->segment.judged; k++)
        check->report.above_bound[k] += job->tally.kinds[k].counted;
    for (size_t i = 0; i < job->slice_count; i++)
        add_sums(&check->report.nodes[i].kinds[job->kind], &job->slices[i].sums);
    if (job->slice_count > 0)
        result = collect_findings(check, job, err);
    check->report.signatures += job->signatures;
    check->report.signatures_checked += job->signatures_checked;
    check->rows_done += job->row_count;
    report_progress(check, job->part->part->table);
    return result;
}
