/* What a node's own books say of a run, added up; and whether its parts leave a gap. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t *kind_state(struct mig_node_sums *sums, enum mig_kind kind, const char *state)
{
    struct mig_kind_tally *tally = &sums->tally.kinds[kind];
    const struct {
        const char *state;
        uint64_t *place;
    } places[] = {
        {"counted", &tally->counted},
        {"expired", &tally->expired},
        {"rejected", &tally->rejected},
        {"for_nodes", &tally->for_nodes},
        {"expired_early", &tally->expired_early},
        {"for_chain", &tally->for_chain},
        {"loaded", &sums->loaded[kind]},
        {"already_there", &sums->already_there[kind]},
        {"conflicts", &sums->conflicts[kind]},
        {"holes", &sums->holes[kind]},
    };

    for (size_t i = 0; i < mig_count_of(places); i++)
        if (strcmp(places[i].state, state) == 0)
            return places[i].place;
    return NULL;
}

static uint64_t *part_state(struct mig_node_sums *sums, const char *state)
{
    if (strncmp(state, "reject:", 7) == 0) {
        const enum mig_reason reason = mig_reason_parse(state + 7);

        return reason != MIG_REASON_NONE ? &sums->tally.rejects[reason] : NULL;
    }
    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        if (strncmp(state, "finding:", 8) == 0 &&
            strcmp(state + 8, mig_finding_name((enum mig_finding) finding)) == 0)
            return &sums->tally.findings[finding];
    return NULL;
}

static int add_up(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                  struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT kind, state, sum(rows)::bigint FROM xmtp_migrate.counts"
                              " WHERE run = $1 GROUP BY kind, state",
                              (const char *const[]){run}, 1, &answer, err);

    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        const char *state = mig_pg_text(&answer, row, 1);
        const int64_t rows = mig_pg_int64(&answer, row, 2);
        enum mig_kind kind;
        uint64_t *place = mig_kind_parse(mig_pg_text(&answer, row, 0), &kind, NULL) == MIG_OK
                              ? kind_state(sums, kind, state)
                              : part_state(sums, state);

        if (place && rows >= 0)
            *place = (uint64_t) rows;
        else if (!sums->odd && asprintf(&sums->odd, "%" PRId64 " rows of '%s' are '%s'", rows,
                                        mig_pg_text(&answer, row, 0), state) < 0) {
            sums->odd = NULL;
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        }
    }
    return result;
}

static int find_gap(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                    struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(
        node->pg,
        "WITH part AS (SELECT source_table, first_id, last_id, lag(last_id) OVER (PARTITION BY"
        " source_table ORDER BY first_id) AS before FROM xmtp_migrate.parts WHERE run = $1 AND"
        " settled) SELECT format('%s from %s', source_table, first_id) FROM part WHERE first_id <>"
        " coalesce(before + 1, '-9223372036854775808'::bigint) UNION ALL"
        " SELECT format('%s up to %s', key, value) FROM xmtp_migrate.runs r,"
        " jsonb_each_text(r.bounds) WHERE r.run = $1 AND r.finished_at IS NOT NULL AND"
        " value::bigint IS DISTINCT FROM (SELECT max(last_id) FROM part WHERE source_table = key)"
        " ORDER BY 1 LIMIT 1",
        (const char *const[]){run}, 1, &answer, err);

    if (result != MIG_OK || answer.rows == 0)
        return result;
    sums->gap = strdup(mig_pg_text(&answer, 0, 0));
    return sums->gap ? MIG_OK : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

static int count_settled(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                         struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT source_table, sum(c.rows)::bigint FROM xmtp_migrate.counts c"
                              " JOIN xmtp_migrate.parts p USING (run, source_table, first_id)"
                              " WHERE run = $1 AND p.settled AND c.state = 'counted' GROUP BY 1",
                              (const char *const[]){run}, 1, &answer, err);

    for (int row = 0; row < answer.rows; row++) {
        enum mig_table table;

        if (mig_table_find(mig_pg_text(&answer, row, 0), &table))
            sums->settled[table] = (uint64_t) mig_pg_int64(&answer, row, 1);
    }
    return result;
}

static int find_bounds(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                       struct mig_error *err)
{
    struct mig_run known;
    bool found;
    int result = mig_node_find_run(node, run, &found, &known, err);

    if (result == MIG_OK && found)
        memcpy(sums->bounds, known.bounds, sizeof sums->bounds);
    return result;
}

static int count_other_letters(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                               struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT count(*) FROM xmtp_migrate.former_letters WHERE run = $1"
                              " AND foreign_tool",
                              (const char *const[]){run}, 1, &answer, err);

    if (result == MIG_OK)
        sums->other_letters = (uint64_t) mig_pg_int64(&answer, 0, 0);
    return result;
}

int mig_node_sums(struct mig_node *node, const char *run, struct mig_node_sums *ret_sums,
                  struct mig_error *err)
{
    mig_cleanup(mig_node_sums_release) struct mig_node_sums sums = {0};
    int result;

    if (!node->has_books) {
        *ret_sums = sums;
        return MIG_OK;
    }
    if ((result = add_up(node, run, &sums, err)) != MIG_OK ||
        (result = find_gap(node, run, &sums, err)) != MIG_OK ||
        (result = count_settled(node, run, &sums, err)) != MIG_OK ||
        (result = find_bounds(node, run, &sums, err)) != MIG_OK ||
        (result = count_other_letters(node, run, &sums, err)) != MIG_OK ||
        (result = node_run_outcome(node, run, &sums, err)) != MIG_OK)
        return result;
    *ret_sums = sums;
    sums = (struct mig_node_sums){0};
    return MIG_OK;
}

void mig_node_sums_release(struct mig_node_sums *sums)
{
    free(sums->gap);
    free(sums->odd);
    for (size_t i = 0; i < sums->problem_count; i++)
        free(sums->problems[i]);
    free(sums->problems);
    mig_blockers_release(&sums->blockers);
    *sums = (struct mig_node_sums){0};
}
