/*
 * Key packages that changed their standing after they were migrated: under the same id, for the
 * same message, other times and so other bytes. What the node holds is rewritten in place, if it is
 * ours and differs in nothing else.
 */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Rows that stand in the statement itself, for printf: their bands alone are planned for. */
#define AMONG_IDS                                                                                  \
    "originator_node_id = %" PRIu32 " AND originator_sequence_id = ANY ('%s'::bigint[])"
static uint32_t own_originator(void)
{
    return mig_kind_info(MIG_KIND_KEY_PACKAGES)->stored_originator;
}

/* ---- what may be rewritten ------------------------------------------------------------------ */

enum verdict { SAME_STANDING, OTHER_STANDING, OTHER_ROW };

/* A row as the node has it, and whether its two times are what they ought to be now. */
struct held_row {
    bool same_topic, same_times;
    int64_t expiry, gateway_time_us;
    struct mig_bytes envelope;
};

static bool signed_by(const struct mig_layers *layers, const char *originator)
{
    const struct mig_bytes pieces[] = {mig_bytes_of_text("originator|"), layers->unsigned_envelope};
    uint8_t digest[MIG_DIGEST_SIZE];
    char text[MIG_ADDRESS_TEXT_SIZE];
    struct mig_address address;

    mig_keccak256(pieces, mig_count_of(pieces), digest);
    if (layers->originator_signature.size != MIG_SIGNATURE_SIZE ||
        mig_recover(digest, layers->originator_signature.data, &address, NULL) != MIG_OK)
        return false;
    mig_address_format(&address, text);
    return strcmp(text, originator) == 0;
}

static bool same_message(const struct mig_layers *a, const struct mig_layers *b)
{
    return a->unsigned_layer.originator == b->unsigned_layer.originator &&
           a->unsigned_layer.sequence_id == b->unsigned_layer.sequence_id &&
           a->unsigned_layer.congestion_fee_picodollars ==
               b->unsigned_layer.congestion_fee_picodollars &&
           a->payer_layer.target_originator == b->payer_layer.target_originator &&
           a->payer_layer.retention_days == b->payer_layer.retention_days &&
           mig_bytes_equal(a->payer_layer.client_envelope, b->payer_layer.client_envelope);
}

static int64_t whole_seconds(int64_t count, int64_t of_a_second)
{
    return count / of_a_second - (count % of_a_second < 0);
}

/* Of the times that an envelope of ours has, each follows from the others; the Go migrator's, under
 * the same keys, are all its run's, but for the expiry. */
static bool has_our_times(const struct mig_node *node, const struct mig_layers *layers,
                          const struct held_row *held)
{
    const struct mig_policy *policy = &node->manifest->policy;
    const int64_t first_ns = node->manifest->rates[0].start_ns;
    const int64_t lasts_s = INT64_C(86400) * policy->retention_days[MIG_KIND_KEY_PACKAGES];
    const int64_t clock_ns = layers->unsigned_layer.originator_ns;
    const int64_t gateway_s = whole_seconds(held->gateway_time_us, 1000000);
    int64_t since_s;

    if (__builtin_sub_overflow(held->expiry, lasts_s, &since_s))
        return false;
    if (policy->clock == MIG_CLOCK_CREATED)
        return whole_seconds(clock_ns, MIG_NS_PER_SECOND) == since_s ||
               (clock_ns == first_ns && since_s <= whole_seconds(first_ns, MIG_NS_PER_SECOND));
    return gateway_s == since_s ||
           (gateway_s > since_s && held->gateway_time_us != whole_seconds(clock_ns, 1000));
}

/* Under the run's clock, rows of an earlier run have another originator_ns, whatever their
 * standing: that is no reason to write them anew, nor to call them the same. */
static int judge(const struct mig_node *node, const struct mig_envelope *envelope,
                 const struct held_row *held, enum verdict *ret_verdict, struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_layers is, ought;
    int result = mig_originator_envelope_parse(envelope->originator_envelope, &arena, &ought, err);
    int parsed;

    if (result != MIG_OK)
        return result;
    parsed = mig_originator_envelope_parse(held->envelope, &arena, &is, NULL);
    if (parsed == MIG_E_NOMEM)
        return mig_fail(err, MIG_E_NOMEM, "node '%s': out of memory", node->entry->name);
    *ret_verdict = OTHER_ROW;
    if (parsed == MIG_OK && held->same_topic && same_message(&is, &ought) &&
        held->expiry == (int64_t) is.unsigned_layer.expiry_unixtime &&
        has_our_times(node, &is, held) && signed_by(&is, node->run->facts.originator))
        *ret_verdict = held->same_times && node->manifest->policy.clock != MIG_CLOCK_CREATED
                           ? SAME_STANDING
                           : OTHER_STANDING;
    return MIG_OK;
}

/* ---- rewriting ------------------------------------------------------------------------------ */

/* Of the rows that ids names, those that the node holds otherwise than they are staged. */
static int find_differing(struct mig_node *node, const char *ids, struct mig_pg_result *ret_answer,
                          struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result = mig_buffer_print(
        &sql, err,
        "SELECT s.seq, m.topic = s.topic, m.expiry = s.expiry AND m.gateway_time = s.gateway_time,"
        " m.expiry, CASE WHEN isfinite(m.gateway_time) THEN"
        " (extract(epoch FROM m.gateway_time) * 1000000)::bigint ELSE 0 END,"
        " b.originator_envelope FROM mig_stage s JOIN (SELECT * FROM"
        " gateway_envelopes_meta WHERE " AMONG_IDS ") m ON m.originator_sequence_id = s.seq"
        " JOIN (SELECT * FROM gateway_envelopes_blob WHERE " AMONG_IDS
        ") b ON b.originator_sequence_id = s.seq WHERE NOT (m.topic = s.topic AND"
        " m.expiry = s.expiry AND m.gateway_time = s.gateway_time AND"
        " b.originator_envelope = s.envelope)%c",
        own_originator(), ids, own_originator(), ids, '\0');

    return result == MIG_OK
               ? mig_pg_query(node->pg, (const char *) sql.data, NULL, 0, ret_answer, err)
               : result;
}

static bool expired_at(const struct mig_node *node, int64_t expiry_s)
{
    return !node->manifest->policy.keep_expired &&
           expiry_s <= node->run->facts.as_of_ns / MIG_NS_PER_SECOND;
}

/* A row to be rewritten, which may expire with its standing, or live by it again. */
static int take(struct mig_node *node, const struct mig_envelope *envelope,
                const struct held_row *held, bool booked, struct node_ids *renewed,
                struct mig_error *err)
{
    const bool expires = expired_at(node, envelope->expiry_unixtime);
    int result = node_add_id(renewed, envelope->sequence_id, err);

    return result == MIG_OK && booked && expires != expired_at(node, held->expiry)
               ? node_book_standing(node, node->run, envelope->row, expires, &booked, err)
               : result;
}

/* Which of them are to be rewritten. */
static int sort_differing(struct mig_node *node, const struct mig_part *part,
                          const struct mig_pg_result *answer, bool booked, struct node_ids *renewed,
                          struct mig_renew_result *counts, struct mig_error *err)
{
    int result = MIG_OK;

    for (int row = 0; row < answer->rows && result == MIG_OK; row++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        const struct mig_envelope *envelope =
            &part->envelopes[node_row_of(part, mig_pg_int64(answer, row, 0))];
        struct held_row held = {.same_topic = mig_pg_bool(answer, row, 1),
                                .same_times = mig_pg_bool(answer, row, 2),
                                .expiry = mig_pg_int64(answer, row, 3),
                                .gateway_time_us = mig_pg_int64(answer, row, 4)};
        enum verdict verdict = OTHER_ROW;

        if ((result = mig_pg_bytea(answer, row, 5, &arena, &held.envelope, err)) != MIG_OK ||
            (result = judge(node, envelope, &held, &verdict, err)) != MIG_OK)
            return result;
        if (verdict == OTHER_STANDING)
            result = take(node, envelope, &held, booked, renewed, err);
        counts->refused += verdict == OTHER_ROW;
    }
    return result == MIG_OK ? node_end_ids(renewed, err) : result;
}

/* What stands here and what will, before it is changed. */
int node_write_renewed_down(struct mig_node *node, const struct node_ids *ids,
                            struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result = mig_buffer_print(
        &sql, err,
        "INSERT INTO xmtp_migrate.renewed (run, kind, sequence_id, held, held_time, stored,"
        " stored_time) SELECT $1, $2, s.seq, coalesce(encode(sha256(b.originator_envelope),"
        " 'hex'), ''), m.gateway_time, encode(sha256(s.envelope), 'hex'), s.gateway_time FROM"
        " mig_stage s LEFT JOIN (SELECT * FROM gateway_envelopes_meta WHERE " AMONG_IDS
        ") m ON m.originator_sequence_id = s.seq LEFT JOIN (SELECT * FROM gateway_envelopes_blob"
        " WHERE " AMONG_IDS ") b ON b.originator_sequence_id = s.seq"
        " WHERE s.seq = ANY ('%s'::bigint[])%c",
        own_originator(), (const char *) ids->text.data, own_originator(),
        (const char *) ids->text.data, (const char *) ids->text.data, '\0');

    return result == MIG_OK
               ? mig_pg_query(node->pg, (const char *) sql.data,
                              (const char *const[]){node->run->facts.run,
                                                    mig_kind_info(MIG_KIND_KEY_PACKAGES)->name},
                              2, &answer, err)
               : result;
}

static const char *const changes[] = {
    "UPDATE gateway_envelopes_meta t SET gateway_time = s.gateway_time, expiry = s.expiry",
    "UPDATE gateway_envelopes_blob t SET originator_envelope = s.envelope",
};

static int change(struct mig_node *node, const struct node_ids *ids, const char *what,
                  int64_t *ret_affected, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    int result = mig_buffer_print(&sql, err,
                                  "%s FROM mig_stage s WHERE s.seq = t.originator_sequence_id"
                                  " AND t." AMONG_IDS "%c",
                                  what, own_originator(), (const char *) ids->text.data, '\0');

    if (result == MIG_OK)
        result = mig_pg_query(node->pg, (const char *) sql.data, NULL, 0, &answer, err);
    *ret_affected = answer.affected;
    return result;
}

static int rewrite(struct mig_node *node, const struct node_ids *ids, struct mig_error *err)
{
    int result = node_write_renewed_down(node, ids, err);

    for (size_t i = 0; i < mig_count_of(changes) && result == MIG_OK; i++) {
        int64_t affected;

        result = change(node, ids, changes[i], &affected, err);
        /* The node's pruner was here: again, when it is done. */
        if (result == MIG_OK && (uint64_t) affected != ids->count)
            result = mig_fail(err, MIG_E_TEMPORARY,
                              "node '%s': of %" PRIu64 " key packages to be written anew %" PRId64
                              " are there still",
                              node->entry->name, ids->count, affected);
    }
    return result;
}

int node_renew_clock(struct mig_node *node, const struct node_ids *renewed, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(mig_buffer_release) struct mig_buffer sql = MIG_BUFFER_INIT(NODE_TEXT_LIMIT);
    const char *ids = (const char *) renewed->text.data;
    int result;

    if (renewed->count == 0)
        return MIG_OK;
    result = mig_buffer_print(&sql, err,
                              "UPDATE gateway_envelopes_latest t SET gateway_time = m.time FROM"
                              " (SELECT originator_sequence_id AS seq, gateway_time AS time FROM"
                              " gateway_envelopes_meta WHERE " AMONG_IDS
                              ") m WHERE m.seq = t.originator_sequence_id AND t." AMONG_IDS "%c",
                              own_originator(), ids, own_originator(), ids, '\0');
    return result == MIG_OK ? mig_pg_query(node->pg, (const char *) sql.data, NULL, 0, &answer, err)
                            : result;
}

int node_renew_ids(struct mig_node *node, const struct mig_part *part, const struct node_ids *ids,
                   bool booked, struct node_ids *renewed, struct mig_renew_result *counts,
                   struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result;

    if ((result = find_differing(node, (const char *) ids->text.data, &answer, err)) != MIG_OK ||
        (result = sort_differing(node, part, &answer, booked, renewed, counts, err)) != MIG_OK ||
        (renewed->count > 0 && (result = rewrite(node, renewed, err)) != MIG_OK))
        return result;
    counts->renewed = renewed->count;
    return MIG_OK;
}

/* The Go migrator's bytes know of no standing. */
bool node_has_standing(const struct mig_node *node, const struct mig_part *part)
{
    return part->table == MIG_TABLE_KEY_PACKAGES &&
           node->manifest->policy.profile == MIG_PROFILE_CORRECT;
}

void node_tell_renewed(const struct mig_node *node, const struct mig_renew_result *counts)
{
    if (counts->renewed + counts->added > 0)
        mig_log(node->hooks, MIG_LOG_INFO,
                "node '%s': %" PRIu64 " key packages changed their standing since they were"
                " migrated: written anew",
                node->entry->name, counts->renewed + counts->added);
}

int node_renew_held(struct mig_node *node, const struct mig_part *part,
                    const struct mig_pg_result *held, struct node_ids *renewed,
                    struct mig_error *err)
{
    mig_cleanup(node_ids_release) struct node_ids ids = NODE_IDS_INIT;
    struct mig_renew_result counts = {0};
    int result = MIG_OK;

    if (!node_has_standing(node, part) || !node->run->fresh)
        return MIG_OK;
    for (int row = 0; row < held->rows && result == MIG_OK; row++)
        if (!mig_pg_bool(held, row, 1) && mig_pg_bool(held, row, 2) && mig_pg_bool(held, row, 3))
            result = node_add_id(&ids, mig_pg_int64(held, row, 0), err);
    if (result != MIG_OK || ids.count == 0 || (result = node_end_ids(&ids, err)) != MIG_OK ||
        (result = node_renew_ids(node, part, &ids, false, renewed, &counts, err)) != MIG_OK)
        return result;
    node_tell_renewed(node, &counts);
    return MIG_OK;
}

/* ---- in the books ------------------------------------------------------------------------- */

/* Where some of the part's rows were there before, one that expires now may have been among them
 * and counted as expired from the beginning. So may one that the tracker had passed, unless it was
 * a hole. */
static const char *const standing_sql =
    "WITH booked AS (SELECT p.first_id, coalesce(sum(c.rows) FILTER (WHERE state = 'loaded'), 0) AS"
    " loaded, coalesce(sum(c.rows) FILTER (WHERE state = 'already_there'), 0) AS before,"
    " coalesce(sum(c.rows) FILTER (WHERE state = 'expired'), 0) AS expired,"
    " coalesce(sum(c.rows) FILTER (WHERE state = 'holes'), 0) AS holes"
    " FROM xmtp_migrate.parts p JOIN xmtp_migrate.counts c ON c.run = p.run AND c.source_table ="
    " p.source_table AND c.first_id = p.first_id AND c.kind = $3 WHERE p.run = $1 AND"
    " p.source_table = $2 AND $4::bigint BETWEEN p.first_id AND p.last_id GROUP BY p.first_id),"
    " passed AS (SELECT count(*) AS holes FROM xmtp_migrate.trackers WHERE run = $1 AND"
    " source_table = $2 AND last_migrated_id >= $4::bigint)"
    " INSERT INTO xmtp_migrate.counts AS c SELECT $1, $2, b.first_id, $3, s, r * $5::bigint FROM"
    " booked b, passed t, LATERAL (VALUES ('expired', 1), ('expired_early', $6::bigint),"
    " ('for_nodes', -1), ('loaded', -1), ('holes', -t.holes)) AS u (s, r) WHERE r <> 0 AND"
    " CASE WHEN $5::bigint > 0 THEN b.loaded > 0 AND b.before = 0 AND (t.holes = 0 OR b.holes > 0)"
    " ELSE b.expired > 0 END"
    " ON CONFLICT (run, source_table, first_id, kind, state) DO UPDATE SET"
    " rows = c.rows + excluded.rows";

int node_book_standing(struct mig_node *node, const struct mig_run *run, const struct mig_row *row,
                       bool expires, bool *ret_booked, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const enum mig_kind kind = mig_node_kind(row->table);
    const int64_t days = node->manifest->policy.source_retention_days[kind];
    char id[NODE_NUMBER_SIZE];
    int64_t created_ns = INT64_MIN;
    bool early;
    int result;

    mig_row_created_ns(row, &created_ns);
    early = created_ns > run->facts.as_of_ns - days * MIG_NS_PER_DAY;
    result = mig_pg_query(node->pg, standing_sql,
                          (const char *const[]){run->facts.run, mig_table_info(row->table)->name,
                                                mig_kind_info(kind)->name, node_number(row->id, id),
                                                expires ? "1" : "-1", early ? "1" : "0"},
                          6, &answer, err);
    *ret_booked = result == MIG_OK && answer.affected > 0;
    return result;
}
