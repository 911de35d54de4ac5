/*
 * The pass over key packages that changed their standing: those that the node has are written anew,
 * those that the run took for expired, and that are current again, are brought.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

#define PATIENCE_S 10

/* ---- what had expired ----------------------------------------------------------------------- */

static bool has_passed(int64_t since_ns, uint32_t days, const struct mig_run *run)
{
    __extension__ typedef __int128 wide;

    return (wide) since_ns + (wide) days * MIG_NS_PER_DAY <= run->facts.as_of_ns;
}

/* Had expired, were it not for its standing now: what the node lacks of those the run may have left
 * out. Whatever else it lacks was lost, which is not for us to hide. */
static bool may_revive(const struct mig_node *node, const struct mig_envelope *envelope)
{
    const struct mig_policy *policy = &node->manifest->policy;
    const uint32_t days = policy->retention_days[MIG_KIND_KEY_PACKAGES];
    const struct mig_value *current = &envelope->row->values[MIG_KP_CURRENT_SINCE_NS];
    int64_t created_ns;

    return envelope->route == MIG_ROUTE_NODE && !policy->keep_expired && !current->is_null &&
           mig_row_created_ns(envelope->row, &created_ns) &&
           has_passed(created_ns, days, node->run) && !has_passed(current->number, days, node->run);
}

static int list_rows(const struct mig_node *node, const struct mig_part *part, bool revivable,
                     struct node_ids *ids, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++)
        if (part->envelopes[i].route == MIG_ROUTE_NODE &&
            (!revivable || may_revive(node, &part->envelopes[i])))
            result = node_add_id(ids, part->envelopes[i].sequence_id, err);
    return result == MIG_OK ? node_end_ids(ids, err) : result;
}

static int find_absent(struct mig_node *node, const struct mig_part *part,
                       const struct node_ids *ids, struct mig_pg_result *ret_answer,
                       struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];

    snprintf(sql, sizeof sql,
             "SELECT s.id FROM unnest($1::bigint[]) AS s (id) WHERE NOT EXISTS (SELECT FROM"
             " gateway_envelopes_meta m WHERE m.originator_node_id = %" PRIu32
             " AND m.originator_sequence_id = s.id) AND NOT EXISTS (SELECT FROM"
             " gateway_envelopes_blob b WHERE b.originator_node_id = %" PRIu32
             " AND b.originator_sequence_id = s.id)",
             node_originator_of(part), node_originator_of(part));
    return mig_pg_query(node->pg, sql, (const char *const[]){(const char *) ids->text.data}, 1,
                        ret_answer, err);
}

/* Those that the run has counted as expired. */
static int book_absent(struct mig_node *node, const struct mig_part *part,
                       const struct mig_pg_result *answer, struct node_ids *ids,
                       struct mig_error *err)
{
    int result = MIG_OK;

    for (int row = 0; row < answer->rows && result == MIG_OK; row++) {
        const int64_t id = mig_pg_int64(answer, row, 0);
        bool booked;

        result = node_book_standing(node, node->run, part->envelopes[node_row_of(part, id)].row,
                                    false, &booked, err);
        if (result == MIG_OK && booked)
            result = node_add_id(ids, id, err);
    }
    return result == MIG_OK ? node_end_ids(ids, err) : result;
}

static int revive(struct mig_node *node, const struct mig_part *part,
                  const struct node_ids *revivable, struct mig_renew_result *counts,
                  struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0}, unstaged = {0};
    mig_cleanup(node_ids_release) struct node_ids absent = NODE_IDS_INIT;
    int result;

    if (revivable->count == 0)
        return MIG_OK;
    if ((result = find_absent(node, part, revivable, &answer, err)) != MIG_OK ||
        (result = book_absent(node, part, &answer, &absent, err)) != MIG_OK || absent.count == 0)
        return result;
    if ((result = node_write_renewed_down(node, &absent, err)) != MIG_OK ||
        (result = mig_pg_query(node->pg, "DELETE FROM mig_stage WHERE NOT seq = ANY ($1::bigint[])",
                               (const char *const[]){(const char *) absent.text.data}, 1, &unstaged,
                               err)) != MIG_OK)
        return result;
    counts->added = absent.count;
    return node_insert_staged(node, node_originator_of(part), absent.count, err);
}

/* ---- a part --------------------------------------------------------------------------------- */

struct renew_job {
    const struct mig_part *part;
    struct node_ids staged, revivable;
    struct mig_renew_result counts;
};

static void job_release(struct renew_job *job)
{
    node_ids_release(&job->staged);
    node_ids_release(&job->revivable);
}

static int in_transaction(struct mig_node *node, struct renew_job *job, struct mig_error *err)
{
    mig_cleanup(node_ids_release) struct node_ids renewed = NODE_IDS_INIT;
    uint64_t staged;
    bool there = true;
    int result;

    if ((result = node_stage_envelopes(node, job->part, &staged, err)) != MIG_OK ||
        (result = mig_pg_exec(node->pg, "SELECT pg_advisory_xact_lock_shared(5)", err)) != MIG_OK ||
        (job->revivable.count > 0 &&
         (result = node_bands_there(node, job->part, &there, err)) != MIG_OK))
        return result;
    if (!there) {
        node_forget_bands(node);
        return mig_fail(err, MIG_E_TEMPORARY, "node '%s': a band was dropped meanwhile",
                        node->entry->name);
    }
    if ((result = node_renew_ids(node, job->part, &job->staged, true, &renewed, &job->counts,
                                 err)) != MIG_OK ||
        (result = revive(node, job->part, &job->revivable, &job->counts, err)) != MIG_OK ||
        (result = node_renew_clock(node, &renewed, err)) != MIG_OK)
        return result;
    return mig_pg_commit(node->pg, err);
}

static int attempt(struct mig_node *node, const void *context, unsigned number,
                   struct mig_error *err)
{
    struct renew_job *job = *(struct renew_job *const *) context;
    int result;

    (void) number;
    job->counts = (struct mig_renew_result){0};
    if ((job->revivable.count > 0 && (result = node_make_bands(node, job->part, err)) != MIG_OK) ||
        (result = mig_pg_begin(node->pg, err)) != MIG_OK)
        return result;
    if ((result = in_transaction(node, job, err)) != MIG_OK)
        mig_pg_rollback(node->pg);
    return result;
}

int mig_node_renew(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   struct mig_renew_result *ret_result, struct mig_error *err)
{
    mig_cleanup(job_release) struct renew_job job = {
        .part = part, .staged = NODE_IDS_INIT, .revivable = NODE_IDS_INIT};
    const struct renew_job *const context = &job;
    int result = MIG_OK;

    *ret_result = (struct mig_renew_result){0};
    node->run = run;
    snprintf(node->payer, sizeof node->payer, "%s", run->facts.payer);
    if (!node_has_standing(node, part) ||
        (result = list_rows(node, part, false, &job.staged, err)) != MIG_OK ||
        (result = list_rows(node, part, true, &job.revivable, err)) != MIG_OK ||
        job.staged.count == 0)
        return result;
    if ((result = mig_node_flush(node, err)) != MIG_OK ||
        (result = node_stage_prepare(node, err)) != MIG_OK ||
        (result = node_try_for(node, PATIENCE_S, attempt, &context, err)) != MIG_OK)
        return mig_error_within(err, "key packages that changed their standing");
    node->keeps_payer = node->keeps_payer || job.counts.added > 0;
    node_tell_renewed(node, &job.counts);
    if (job.counts.refused > 0)
        mig_log(node->hooks, MIG_LOG_WARN,
                "node '%s': %" PRIu64 " key packages changed their standing, but what is there is"
                " not what was migrated: kept as it is",
                node->entry->name, job.counts.refused);
    *ret_result = job.counts;
    return MIG_OK;
}

/* ---- how far the node has been told --------------------------------------------------------- */

/* What the last look before left, and the runs that were begun since: rows of a bundle were read
 * before it was loaded, those of a run after it was begun. */
int mig_node_renewed_since(struct mig_node *node, int64_t *ret_since_ns, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = MIG_OK;

    if (node->has_books)
        result = mig_pg_query(
            node->pg,
            "WITH known AS (SELECT started_at, renewed_since_ns, least((extract(epoch FROM"
            " started_at) * 1000000000)::bigint, CASE WHEN NOT fresh THEN as_of_ns END) AS read_ns"
            " FROM xmtp_migrate.runs WHERE network = $1), last AS (SELECT * FROM known WHERE"
            " renewed_since_ns IS NOT NULL ORDER BY renewed_since_ns DESC LIMIT 1) SELECT least("
            "(SELECT renewed_since_ns FROM last), (SELECT min(read_ns) FROM known k WHERE"
            " k.renewed_since_ns IS NULL AND NOT EXISTS (SELECT FROM last l WHERE"
            " l.started_at >= k.started_at)))",
            (const char *const[]){node->manifest->network}, 1, &answer, err);
    if (result == MIG_OK)
        *ret_since_ns = answer.rows == 1 && mig_pg_text(&answer, 0, 0) ? mig_pg_int64(&answer, 0, 0)
                                                                       : INT64_MIN;
    return result;
}

int mig_node_set_renewed(struct mig_node *node, const struct mig_run *run, int64_t since_ns,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char since[NODE_NUMBER_SIZE];

    return mig_pg_query(
        node->pg, "UPDATE xmtp_migrate.runs SET renewed_since_ns = $2::bigint WHERE run = $1",
        (const char *const[]){run->facts.run, node_number(since_ns, since)}, 2, &answer, err);
}
