/*
 * What the node holds already of what is staged: whole or half, with the same bytes or with others.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>

void node_held_release(struct node_held *held)
{
    node_ids_release(&held->all);
    node_ids_release(&held->differing);
    node_ids_release(&held->bare_meta);
    node_ids_release(&held->bare_blobs);
}

static int end_lists(struct node_held *held, struct mig_error *err)
{
    struct node_ids *const lists[] = {&held->all, &held->differing, &held->bare_meta,
                                      &held->bare_blobs};
    int result = MIG_OK;

    for (size_t i = 0; i < mig_count_of(lists) && result == MIG_OK; i++)
        result = node_end_ids(lists[i], err);
    return result;
}

static int sort_held(const struct node_load_job *job, const struct mig_pg_result *answer,
                     struct node_held *held, struct mig_error *err)
{
    int result = MIG_OK;

    for (int row = 0; row < answer->rows && result == MIG_OK; row++) {
        const int64_t id = mig_pg_int64(answer, row, 0);
        const bool same = mig_pg_bool(answer, row, 1), has_meta = mig_pg_bool(answer, row, 2),
                   has_blob = mig_pg_bool(answer, row, 3);

        result = node_add_id(&held->all, id, err);
        if (result == MIG_OK && !same)
            result = node_add_id(&held->differing, id, err);
        if (!same && !job->repair)
            job->conflicts[node_row_of(job->part, id)] = true;
        else if (result == MIG_OK && !(has_meta && has_blob))
            result = node_add_id(has_meta ? &held->bare_meta : &held->bare_blobs, id, err);
        held->halves += same && !(has_meta && has_blob);
        held->up_to_tracker += (!same || (has_meta && has_blob)) && id <= job->tracker;
    }
    return result == MIG_OK ? end_lists(held, err) : result;
}

/* The lowest and the highest of the ids that are staged, of which there are some. */
static void staged_span(const struct mig_part *part, int64_t *ret_first, int64_t *ret_last)
{
    size_t first = 0, last = part->row_count - 1;

    while (part->envelopes[first].route != MIG_ROUTE_NODE)
        first++;
    while (part->envelopes[last].route != MIG_ROUTE_NODE)
        last--;
    *ret_first = part->envelopes[first].sequence_id;
    *ret_last = part->envelopes[last].sequence_id;
}

static int find_held(struct mig_node *node, const struct mig_part *part, uint32_t originator,
                     struct mig_pg_result *ret_answer, struct mig_error *err)
{
    char sql[NODE_SQL_SIZE];
    int64_t first, last;
    int result;

    staged_span(part, &first, &last);
    /* Most parts meet nothing: ask for one row of their span before comparing each. */
    snprintf(sql, sizeof sql,
             "SELECT EXISTS (SELECT FROM gateway_envelopes_meta WHERE " NODE_IN_SPAN
             ") OR EXISTS (SELECT FROM gateway_envelopes_blob WHERE " NODE_IN_SPAN ")",
             originator, first, last, originator, first, last);
    result = mig_pg_query(node->pg, sql, NULL, 0, ret_answer, err);
    if (result != MIG_OK || !mig_pg_bool(ret_answer, 0, 0)) {
        ret_answer->rows = 0;
        return result;
    }
    mig_pg_result_release(ret_answer);
    /* Neither the staging table nor a young leaf has statistics: taken for a handful of rows, they
     * would be read against each other in full. */
    if ((result = mig_pg_exec(node->pg, "SET LOCAL enable_nestloop = off", err)) != MIG_OK)
        return result;
    snprintf(sql, sizeof sql,
             "SELECT s.seq, coalesce(m.topic = s.topic AND m.expiry = s.expiry, true) AND"
             " coalesce(b.originator_envelope = s.envelope, true),"
             " m.originator_sequence_id IS NOT NULL, b.originator_sequence_id IS NOT NULL"
             " FROM mig_stage s LEFT JOIN (SELECT * FROM gateway_envelopes_meta WHERE " NODE_IN_SPAN
             ") m ON m.originator_sequence_id = s.seq LEFT JOIN (SELECT * FROM"
             " gateway_envelopes_blob WHERE " NODE_IN_SPAN ") b ON b.originator_sequence_id = s.seq"
             " WHERE m.originator_sequence_id IS NOT NULL OR b.originator_sequence_id IS NOT NULL",
             originator, first, last, originator, first, last);
    return mig_pg_query(node->pg, sql, NULL, 0, ret_answer, err);
}

/* Key packages may have changed their standing since an earlier run brought them: those are made
 * what they are now before anything is called a conflict. What somebody named is replaced, and
 * kept, whatever it is. */
static int find_held_as_it_stands(struct mig_node *node, const struct node_load_job *job,
                                  uint32_t originator, struct mig_pg_result *answer,
                                  struct node_ids *renewed, struct mig_error *err)
{
    int result = find_held(node, job->part, originator, answer, err);

    if (result != MIG_OK || job->repair ||
        (result = node_renew_held(node, job->part, answer, renewed, err)) != MIG_OK ||
        renewed->count == 0)
        return result;
    mig_pg_result_release(answer);
    return find_held(node, job->part, originator, answer, err);
}

int node_find_held(struct mig_node *node, const struct node_load_job *job, uint32_t originator,
                   struct node_held *held, struct node_ids *renewed, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = find_held_as_it_stands(node, job, originator, &answer, renewed, err);

    return result == MIG_OK ? sort_held(job, &answer, held, err) : result;
}

int node_unstage_held(struct mig_node *node, const struct node_held *held,
                      struct mig_pg_result *ret_clock, struct mig_error *err)
{
    const char *const params[] = {(const char *) held->all.text.data};

    if (held->all.count == 0)
        return MIG_OK;
    return mig_pg_query(
        node->pg,
        "WITH gone AS (DELETE FROM mig_stage WHERE seq = ANY ($1::bigint[])"
        " RETURNING seq, gateway_time) SELECT max(seq), max(gateway_time) FROM gone",
        params, 1, ret_clock, err);
}
