/* The newest key package of each installation as the node would choose it: that decides whether a
 * user can be invited. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>

/* Originators from here on are nodes that take live uploads. */
#define FIRST_LIVE_ORIGINATOR 100

/* Nothing is known here of what was uploaded live, nor of who may sign it; but it must be readable,
 * and be what it lies there for. */
static int is_upload(const struct mig_newest *newest, struct mig_bytes topic, bool *ret_is,
                     struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_layers layers;
    const int parsed = mig_originator_envelope_parse(newest->envelope, &arena, &layers, NULL);

    if (parsed == MIG_E_NOMEM)
        return mig_fail(err, MIG_E_NOMEM, "cannot read an envelope: out of memory");
    *ret_is = parsed == MIG_OK && layers.unsigned_layer.originator == newest->originator &&
              layers.unsigned_layer.sequence_id == (uint64_t) newest->sequence_id &&
              mig_bytes_equal(layers.topic, topic);
    return MIG_OK;
}

static int judge_newest(struct parity_check *check, size_t node, const struct mig_envelope *current,
                        const struct mig_newest *newest, struct mig_error *err)
{
    struct parity_note note = {.what = "newest_key_package", .where = "meta"};
    const bool alone = newest->ties <= 1;
    const bool live = alone && newest->originator >= FIRST_LIVE_ORIGINATOR;
    bool is = false;
    int result = MIG_OK;

    if (live)
        result = is_upload(newest, current->topic, &is, err);
    if (result != MIG_OK || is)
        return result;
    if (alone && newest->originator == mig_kind_info(current->kind)->stored_originator &&
        newest->sequence_id == current->sequence_id)
        return MIG_OK;
    snprintf(note.expected, sizeof note.expected, "%" PRId64 " alone", current->sequence_id);
    if (newest->originator == 0)
        snprintf(note.found, sizeof note.found, "none");
    else if (live)
        snprintf(note.found, sizeof note.found,
                 "%" PRId64 " of originator %" PRIu32 ", which holds no envelope of this topic",
                 newest->sequence_id, newest->originator);
    else if (alone)
        snprintf(note.found, sizeof note.found, "%" PRId64, newest->sequence_id);
    else
        snprintf(note.found, sizeof note.found,
                 "%" PRId64 " of originator %" PRIu32 ", one of %" PRId64
                 " with the same gateway_time",
                 newest->sequence_id, newest->originator, newest->ties);
    return parity_report_add(check, current->kind, current->sequence_id, node, &note, err);
}

/* All nodes think about it at the same time. */
static int ask_all(struct parity_check *check, struct mig_error *err)
{
    const struct parity_currents *currents = &check->currents;
    struct mig_bytes topics[PARITY_CURRENTS_MAX];
    int result = MIG_OK;

    for (size_t i = 0; i < currents->count; i++)
        topics[i] = currents->items[i].topic;
    for (size_t node = 0; node < check->node_count && result == MIG_OK; node++)
        result = mig_node_newest_ask(check->nodes[node].asker, topics, currents->count,
                                     FIRST_LIVE_ORIGINATOR, err);
    return result;
}

static int judge_answer(struct parity_check *check, size_t node, struct mig_error *err)
{
    const struct parity_currents *currents = &check->currents;
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_newest newest[PARITY_CURRENTS_MAX];
    int result =
        mig_node_newest_take(check->nodes[node].asker, currents->count, &arena, newest, err);

    for (size_t i = 0; i < currents->count && result == MIG_OK; i++)
        result = judge_newest(check, node, &currents->items[i], &newest[i], err);
    return result;
}

int parity_flush_newest(struct parity_check *check, struct mig_error *err)
{
    int result;

    if (check->currents.count == 0)
        return MIG_OK;
    result = ask_all(check, err);
    for (size_t node = 0; node < check->node_count && result == MIG_OK; node++)
        result = judge_answer(check, node, err);
    check->currents.count = 0;
    mig_arena_reset(&check->currents.arena);
    return result;
}

int parity_check_newest(struct parity_check *check, const struct parity_job *job,
                        struct mig_error *err)
{
    int result = MIG_OK;

    /* The Go migrator's gateway_time follows the run, and tells nothing of what is current. */
    if (check->terms.manifest->policy.profile == MIG_PROFILE_XMTPD)
        return MIG_OK;
    for (const struct parity_subject *subject = job->currents.first; subject && result == MIG_OK;
         subject = subject->next) {
        struct mig_envelope *current = &check->currents.items[check->currents.count];

        *current = subject->envelope;
        current->row = NULL;
        if ((result = mig_arena_copy(&check->currents.arena, subject->envelope.topic,
                                     &current->topic, err)) != MIG_OK)
            return result;
        if (++check->currents.count == PARITY_CURRENTS_MAX)
            result = parity_flush_newest(check, err);
    }
    return result;
}
