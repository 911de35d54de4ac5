/* Places of a node that nothing of the source leads to: originators that only sign what goes to the
 * chain, and envelopes whose meta row is gone. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The Go migrator makes originator envelopes of these kinds too, under originators of their own,
 * but sends the client envelope within them to the chain: no node ever gets one. */
static const struct {
    enum mig_kind kind;
    uint32_t originator;
} never_kept[] = {
    {MIG_KIND_COMMIT_MESSAGES, 14},
    {MIG_KIND_INBOX_LOG, 12},
};

static int report_row(struct parity_check *check, size_t node, enum mig_kind kind,
                      uint32_t originator, const struct mig_node_row *row, struct mig_error *err)
{
    struct parity_note note = {.what = "extra", .where = "", .originator = originator};
    int result;

    snprintf(note.expected, sizeof note.expected,
             "nothing: no node keeps rows of originator %" PRIu32, originator);
    snprintf(note.found, sizeof note.found, "a row without an envelope");
    if (row->has_envelope &&
        (result = parity_show_digest(row->originator_envelope, note.found, err)) != MIG_OK)
        return result;
    check->report.nodes[node].kinds[kind].extra++;
    return parity_report_add(check, kind, row->sequence_id, node, &note, err);
}

static int check_empty(struct parity_check *check, size_t node, enum mig_kind kind,
                       uint32_t originator, struct mig_error *err)
{
    struct mig_node *reader = check->nodes[node].reader;
    struct mig_node_row row;
    bool more = true;
    int result = mig_node_read_begin(reader, originator, INT64_MIN, INT64_MAX, err);

    while (result == MIG_OK && (result = mig_node_read(reader, &more, &row, err)) == MIG_OK && more)
        result = report_row(check, node, kind, originator, &row, err);
    return result;
}

static void free_blobs(struct mig_lone_blobs **blobs)
{
    free(*blobs);
}

static int check_blobs(struct parity_check *check, size_t node, enum mig_kind kind,
                       uint32_t originator, struct mig_error *err)
{
    mig_cleanup(free_blobs) struct mig_lone_blobs *blobs = calloc(1, sizeof *blobs);
    const struct parity_note note = {
        .what = "meta_missing",
        .where = "meta",
        .originator = originator,
        .expected = "a meta row",
        .found = "an envelope alone",
    };
    int64_t first_id = INT64_MIN;
    int result = MIG_OK;

    if (!blobs)
        return mig_fail(err, MIG_E_NOMEM, "cannot look for envelopes alone: out of memory");
    while (result == MIG_OK && !blobs->ended) {
        result = mig_node_lone_blobs(check->nodes[node].asker, originator, first_id, blobs, err);
        for (size_t i = 0; result == MIG_OK && i < blobs->count; i++)
            result = parity_report_add(check, kind, blobs->ids[i], node, &note, err);
        first_id = blobs->ended ? first_id : blobs->last_id + 1;
    }
    return result;
}

static int check_node(struct parity_check *check, size_t node, struct mig_error *err)
{
    int result = MIG_OK;

    for (int kind = 0; kind < MIG_KIND_COUNT && result == MIG_OK; kind++)
        if (mig_kind_info((enum mig_kind) kind)->route == MIG_ROUTE_NODE)
            result = check_blobs(check, node, (enum mig_kind) kind,
                                 mig_kind_info((enum mig_kind) kind)->stored_originator, err);
    for (size_t i = 0; i < mig_count_of(never_kept) && result == MIG_OK; i++) {
        result = check_empty(check, node, never_kept[i].kind, never_kept[i].originator, err);
        if (result == MIG_OK)
            result = check_blobs(check, node, never_kept[i].kind, never_kept[i].originator, err);
    }
    return result;
}

int parity_check_places(struct parity_check *check, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < check->node_count && result == MIG_OK; i++)
        result = check_node(check, i, err);
    return result;
}
