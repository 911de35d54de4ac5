/*
 * Parts in our books: how many rows of each ended in which state. The states are texts, so that a
 * new one needs no new column.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF_THE_PART "*" /* stands for the kind of counts that are not told apart by kind */
#define LIST_LIMIT ((size_t) 1 << 20)

/* A run reads ranges that are cut where any node's books end, so a settled part lies below that
 * place or above it. Where parts were cut before does not matter: V3's pruner moves the cuts. */
int node_booked(struct mig_node *node, const char *run, const struct mig_part *part,
                bool *ret_booked, struct mig_error *err)
{
    int64_t position;
    int result;

    *ret_booked = false;
    if (!part->settled)
        return MIG_OK;
    result = mig_node_position(node, run, part->table, &position, err);
    if (result != MIG_OK || position == INT64_MIN || position < part->first_id)
        return result;
    if (position < part->last_id) {
        mig_fail(err, MIG_E_REFUSED,
                 "node '%s': the run has %s up to %" PRId64
                 ", which is inside the part from %" PRId64 " to %" PRId64,
                 node->entry->name, mig_table_info(part->table)->name, position, part->first_id,
                 part->last_id);
        return mig_hint(err, "load the bundle that the run was begun with, or begin a new run");
    }
    *ret_booked = true;
    return MIG_OK;
}

/* Counts as rows of (kind, state, rows), in three array literals. */
struct counts {
    struct mig_buffer kinds, states, rows;
};
#define COUNTS_INIT                                                                                \
    ((struct counts){MIG_BUFFER_INIT(LIST_LIMIT), MIG_BUFFER_INIT(LIST_LIMIT),                     \
                     MIG_BUFFER_INIT(LIST_LIMIT)})

static void counts_release(struct counts *counts)
{
    mig_buffer_release(&counts->kinds);
    mig_buffer_release(&counts->states);
    mig_buffer_release(&counts->rows);
}

static int add(struct counts *counts, const char *kind, const char *prefix, const char *state,
               int64_t rows, struct mig_error *err)
{
    const char *separator = counts->kinds.size ? "," : "{";
    int result;

    if (rows == 0)
        return MIG_OK;
    if ((result = mig_buffer_print(&counts->kinds, err, "%s\"%s\"", separator, kind)) != MIG_OK ||
        (result = mig_buffer_print(&counts->states, err, "%s%s%s", separator, prefix, state)) !=
            MIG_OK)
        return result;
    return mig_buffer_print(&counts->rows, err, "%s%" PRId64, separator, rows);
}

/* Adds to what the books say of the part that begins at first_id. */
static int write_counts(struct mig_node *node, const struct mig_run *run, enum mig_table table,
                        const char *first_id, struct counts *counts, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result;

    if (counts->kinds.size == 0)
        return MIG_OK;
    if ((result = mig_buffer_append(&counts->kinds, "}", 2, err)) != MIG_OK ||
        (result = mig_buffer_append(&counts->states, "}", 2, err)) != MIG_OK ||
        (result = mig_buffer_append(&counts->rows, "}", 2, err)) != MIG_OK)
        return result;
    return mig_pg_query(
        node->pg,
        "INSERT INTO xmtp_migrate.counts AS c SELECT $1, $2, $3::bigint, k, s, sum(r) FROM"
        " unnest($4::text[], $5::text[], $6::bigint[]) AS u (k, s, r) GROUP BY k, s"
        " ON CONFLICT (run, source_table, first_id, kind, state) DO UPDATE SET"
        " rows = c.rows + excluded.rows",
        (const char *const[]){run->facts.run, mig_table_info(table)->name, first_id,
                              (const char *) counts->kinds.data, (const char *) counts->states.data,
                              (const char *) counts->rows.data},
        6, &answer, err);
}

/* ---- a part that was loaded --------------------------------------------------------------- */

/* Moves the rows that turned out to be conflicts from for_nodes to rejected. */
static void judge_conflicts(const struct mig_part *part, const bool *conflicts,
                            struct mig_tally *tally)
{
    for (size_t i = 0; i < part->row_count; i++) {
        const struct mig_envelope *envelope = &part->envelopes[i];

        if (!conflicts[i])
            continue;
        tally->kinds[envelope->kind].for_nodes--;
        tally->kinds[envelope->kind].rejected++;
        tally->rejects[MIG_REASON_CONFLICT]++;
        for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
            if (envelope->findings & 1u << finding)
                tally->findings[finding]--;
    }
}

static int add_kind(struct counts *counts, enum mig_kind kind, const struct mig_kind_tally *tally,
                    struct mig_error *err)
{
    const struct {
        const char *state;
        uint64_t rows;
    } states[] = {
        {"counted", tally->counted},     {"expired", tally->expired},
        {"rejected", tally->rejected},   {"for_nodes", tally->for_nodes},
        {"for_chain", tally->for_chain}, {"expired_early", tally->expired_early},
    };
    int result = MIG_OK;

    for (size_t i = 0; i < mig_count_of(states) && result == MIG_OK; i++)
        result = add(counts, mig_kind_info(kind)->name, "", states[i].state,
                     (int64_t) states[i].rows, err);
    return result;
}

static int add_tally(struct counts *counts, const struct mig_tally *tally, struct mig_error *err)
{
    int result = MIG_OK;

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        result = add_kind(counts, (enum mig_kind) kind, &tally->kinds[kind], err);
    for (int reason = 1; reason < MIG_REASON_COUNT && result == MIG_OK; reason++)
        result =
            add(counts, OF_THE_PART, "reject:", mig_reason_info((enum mig_reason) reason)->name,
                (int64_t) tally->rejects[reason], err);
    for (int finding = 0; finding < MIG_FINDING_COUNT && result == MIG_OK; finding++)
        result = add(counts, OF_THE_PART, "finding:", mig_finding_name((enum mig_finding) finding),
                     (int64_t) tally->findings[finding], err);
    return result;
}

static int add_load(struct counts *counts, enum mig_table table,
                    const struct mig_load_result *result_counts, struct mig_error *err)
{
    const enum mig_kind kind = mig_node_kind(table);
    const char *name;
    int result;

    if (kind == MIG_KIND_COUNT)
        return MIG_OK;
    name = mig_kind_info(kind)->name;
    if ((result = add(counts, name, "", "loaded", (int64_t) result_counts->loaded, err)) !=
            MIG_OK ||
        (result = add(counts, name, "", "already_there", (int64_t) result_counts->already_there,
                      err)) != MIG_OK ||
        (result = add(counts, name, "", "holes", (int64_t) result_counts->holes, err)) != MIG_OK)
        return result;
    return add(counts, name, "", "conflicts", (int64_t) result_counts->conflicts, err);
}

/* The ids of chain-bound rows, where a second reading might take others for such: as an array
 * literal, empty when they need not be kept. */
static int list_chain_ids(const struct mig_part *part, struct mig_buffer *ids,
                          struct mig_error *err)
{
    int result = MIG_OK;

    if (part->settled && part->table != MIG_TABLE_GROUP_MESSAGES)
        return MIG_OK;
    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++)
        if (part->envelopes[i].route == MIG_ROUTE_CHAIN)
            result = mig_buffer_print(ids, err, "%s%" PRId64, ids->size ? "," : "{",
                                      part->envelopes[i].sequence_id);
    return result == MIG_OK && ids->size > 0 ? mig_buffer_append(ids, "}", 2, err) : result;
}

/* A part that is followed goes on with the one before it, as if both had been read at once: the
 * digests are those of both. */
static int write_part(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                      const struct mig_part_digests *digests, const struct mig_tally *tally,
                      struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer ids = MIG_BUFFER_INIT(LIST_LIMIT);
    char books_first[NODE_NUMBER_SIZE], first[NODE_NUMBER_SIZE], last[NODE_NUMBER_SIZE],
        chain[NODE_NUMBER_SIZE], witness[NODE_NUMBER_SIZE];
    const bool grows = part->books_first_id < part->first_id;
    uint64_t for_chain = 0;
    int result = list_chain_ids(part, &ids, err);

    if (result != MIG_OK)
        return result;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        for_chain += tally->kinds[kind].for_chain;
    result = mig_pg_query(
        node->pg,
        grows ? "UPDATE xmtp_migrate.parts SET last_id = $4, chain_rows = chain_rows + $6::bigint,"
                " chain_digest = nullif($7, ''), chain_ids = chain_ids || $8::bigint[],"
                " nodes_digest = $9, witness_id = CASE WHEN $12 = '' THEN witness_id ELSE"
                " $11::bigint END, witness = CASE WHEN $12 = '' THEN witness ELSE $12 END,"
                " loaded_at = now() WHERE run = $1 AND source_table = $2"
                " AND first_id = $3 AND last_id = $10::bigint - 1 AND settled = $5"
              : "INSERT INTO xmtp_migrate.parts (run, source_table, first_id, last_id,"
                " settled, chain_rows, chain_digest, chain_ids, nodes_digest, witness_id, witness)"
                " SELECT $1, $2, $3, $4, $5, $6, nullif($7, ''), $8, $9, CASE WHEN $12 <> '' THEN"
                " $11::bigint END, nullif($12, '') WHERE $10::bigint IS NOT NULL",
        (const char *const[]){
            run->facts.run, mig_table_info(part->table)->name,
            node_number(part->books_first_id, books_first), node_number(part->last_id, last),
            part->settled ? "t" : "f", node_number((int64_t) for_chain, chain), digests->chain,
            (const char *) ids.data, digests->nodes, node_number(part->first_id, first),
            node_number(part->witness.id, witness), part->witness.digest},
        12, &answer, err);
    if (result == MIG_OK && answer.affected != 1)
        return mig_fail(err, MIG_E_CORRUPT,
                        "node '%s': the books have no part of %s from %" PRId64
                        " up to where this one goes on, %" PRId64,
                        node->entry->name, mig_table_info(part->table)->name, part->books_first_id,
                        part->first_id);
    return result;
}

/* What is followed ends where the books end. */
static int raise_bound(struct mig_node *node, const struct mig_run *run,
                       const struct mig_part *part, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char last[NODE_NUMBER_SIZE], wal[NODE_NUMBER_SIZE];

    if (!part->followed)
        return MIG_OK;
    return mig_pg_query(node->pg,
                        "UPDATE xmtp_migrate.runs SET bounds = jsonb_set(bounds, ARRAY[$2],"
                        " to_jsonb($3::text)), source_wal = $4, by_time = by_time OR $5 WHERE run"
                        " = $1 AND"
                        " (bounds->>$2)::bigint < $3::bigint",
                        (const char *const[]){run->facts.run, mig_table_info(part->table)->name,
                                              node_number(part->last_id, last),
                                              node_number(run->source_wal, wal),
                                              run->by_time ? "t" : "f"},
                        5, &answer, err);
}

/* Which rows the run rejected: those whose letters are staged in this transaction. */
static int book_rejected(struct mig_node *node, const struct mig_run *run, enum mig_table table,
                         const char *first_id, const struct mig_tally *tally, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    uint64_t rejected = 0;
    int result;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        rejected += tally->kinds[kind].rejected;
    if (rejected == 0)
        return MIG_OK;
    result = mig_pg_query(
        node->pg,
        "INSERT INTO xmtp_migrate.rejected (run, source_table, first_id, kind, sequence_id, reason)"
        " SELECT $1, $2, $3, kind, seq, reason FROM mig_stage_letters",
        (const char *const[]){run->facts.run, mig_table_info(table)->name, first_id}, 3, &answer,
        err);
    if (result == MIG_OK && (uint64_t) answer.affected != rejected)
        result = mig_fail(err, MIG_E_CORRUPT,
                          "node '%s': %" PRIu64 " rows are rejected, %" PRId64 " are written down",
                          node->entry->name, rejected, answer.affected);
    return result;
}

int node_book_part(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                   const bool *conflicts, const struct mig_part_digests *digests,
                   const struct mig_load_result *result_counts, struct mig_error *err)
{
    mig_cleanup(counts_release) struct counts counts = COUNTS_INIT;
    struct mig_load_result loaded = *result_counts;
    struct mig_tally tally = part->tally;
    char first[NODE_NUMBER_SIZE];
    int result = MIG_OK;

    judge_conflicts(part, conflicts, &tally);
    /* What the sequence has passed since is settled. */
    if ((!part->settled || part->followed) &&
        (result = node_forget_strays(node, run->facts.run, part, err)) != MIG_OK)
        return result;
    if ((result = node_find_strays(node, run->facts.run, part->table, &loaded, err)) != MIG_OK ||
        (result = write_part(node, run, part, digests, &tally, err)) != MIG_OK ||
        (result = raise_bound(node, run, part, err)) != MIG_OK ||
        (result = book_rejected(node, run, part->table, node_number(part->books_first_id, first),
                                &tally, err)) != MIG_OK ||
        (result = add_tally(&counts, &tally, err)) != MIG_OK ||
        (result = add_load(&counts, part->table, &loaded, err)) != MIG_OK)
        return result;
    return write_counts(node, run, part->table, first, &counts, err);
}

/* ---- a row that was tried again ----------------------------------------------------------- */

/* Takes the rows, under whichever kind, out of what the run rejected, and out of the counts. */
static int unbook_rejected(struct mig_node *node, const struct mig_run *run,
                           const struct mig_part *part, struct counts *counts,
                           char ret_first_id[NODE_NUMBER_SIZE], struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer ids = MIG_BUFFER_INIT(LIST_LIMIT);
    int result = MIG_OK;

    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++)
        result = mig_buffer_print(&ids, err, "%s%" PRId64, i > 0 ? "," : "{", part->rows[i].id);
    if (result != MIG_OK || (result = mig_buffer_append(&ids, "}", 2, err)) != MIG_OK)
        return result;
    result = mig_pg_query(node->pg,
                          "DELETE FROM xmtp_migrate.rejected WHERE run = $1 AND source_table = $2"
                          " AND sequence_id = ANY ($3::bigint[]) RETURNING first_id, kind, reason",
                          (const char *const[]){run->facts.run, mig_table_info(part->table)->name,
                                                (const char *) ids.data},
                          3, &answer, err);
    ret_first_id[0] = '\0';
    if (result != MIG_OK || answer.rows == 0)
        return result;
    snprintf(ret_first_id, NODE_NUMBER_SIZE, "%s", mig_pg_text(&answer, 0, 0));
    if ((size_t) answer.rows != part->row_count)
        return mig_fail(err, MIG_E_CONFLICT, "the run has not rejected all of these rows");
    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        const char *kind = mig_pg_text(&answer, row, 1), *reason = mig_pg_text(&answer, row, 2);

        if (strcmp(mig_pg_text(&answer, row, 0), ret_first_id) != 0)
            return mig_fail(err, MIG_E_CONFLICT, "the rows are of several parts");
        if ((result = add(counts, kind, "", "counted", -1, err)) == MIG_OK &&
            (result = add(counts, kind, "", "rejected", -1, err)) == MIG_OK &&
            (result = add(counts, OF_THE_PART, "reject:", reason, -1, err)) == MIG_OK &&
            mig_reason_parse(reason) == MIG_REASON_CONFLICT)
            result = add(counts, kind, "", "conflicts", -1, err);
    }
    return result;
}

int node_book_retry(struct mig_node *node, const struct mig_run *run, const struct mig_part *part,
                    const bool *conflicts, const struct mig_load_result *result_counts,
                    struct mig_error *err)
{
    mig_cleanup(counts_release) struct counts counts = COUNTS_INIT;
    struct mig_tally tally = part->tally;
    char first_id[NODE_NUMBER_SIZE];
    int result = unbook_rejected(node, run, part, &counts, first_id, err);

    if (result != MIG_OK || !first_id[0])
        return result;
    judge_conflicts(part, conflicts, &tally);
    if ((result = add_tally(&counts, &tally, err)) != MIG_OK ||
        (result = add_load(&counts, part->table, result_counts, err)) != MIG_OK ||
        (result = book_rejected(node, run, part->table, first_id, &tally, err)) != MIG_OK)
        return result;
    return write_counts(node, run, part->table, first_id, &counts, err);
}
