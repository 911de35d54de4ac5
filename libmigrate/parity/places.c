/* Places of a node that nothing of the source leads to: originators that only sign what goes to the
 * chain. */
#include "libmigrate/parity/parity_private.h"

#include <inttypes.h>
#include <stdio.h>

/* The Go migrator makes originator envelopes of these kinds too, under originators of their own,
 * but sends the client envelope within them to the chain: no node ever gets one. */
static const struct {
    enum mig_kind kind;
    uint32_t originator;
} never_kept[] = {
    {MIG_KIND_COMMIT_MESSAGES, 14},
    {MIG_KIND_INBOX_LOG, 12},
};

const struct parity_note parity_meta_missing = {
    .what = "meta_missing",
    .where = "meta",
    .expected = "a meta row",
    .found = "an envelope alone",
};

static int report_row(struct parity_check *check, size_t node, enum mig_kind kind,
                      uint32_t originator, const struct mig_node_row *row, struct mig_error *err)
{
    struct parity_note note =
        row->lacks_meta ? parity_meta_missing : (struct parity_note){.what = "extra", .where = ""};
    int result;

    note.originator = originator;
    if (row->lacks_meta)
        return parity_report_add(check, kind, row->sequence_id, node, &note, err);
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

int parity_check_places(struct parity_check *check, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t node = 0; node < check->node_count; node++)
        for (size_t i = 0; i < mig_count_of(never_kept) && result == MIG_OK; i++)
            result = check_empty(check, node, never_kept[i].kind, never_kept[i].originator, err);
    return result;
}
