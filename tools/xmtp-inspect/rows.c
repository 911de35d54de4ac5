/* A bundle's records as JSON lines, members named as in the golden vectors. Written by hand into
 * one buffer: a bundle holds millions. */
#include "tools/xmtp-inspect/inspect.h"

#include <inttypes.h>

#define LINE_MAX_BYTES (256u << 20)

static int add_hex(struct mig_buffer *line, const char *name, struct mig_bytes bytes,
                   struct mig_error *err)
{
    int code;

    if ((code = mig_buffer_print(line, err, ",\"%s\":\"", name)) ||
        (code = mig_buffer_reserve(line, 2 * bytes.size + 1, err)))
        return code;
    mig_hex_encode(bytes, (char *) line->data + line->size);
    line->size += 2 * bytes.size;
    return mig_buffer_append(line, "\"", 1, err);
}

static int add_findings(struct mig_buffer *line, uint32_t findings, struct mig_error *err)
{
    const char *separator = "";
    int code;

    if (findings == 0)
        return MIG_OK;
    if ((code = mig_buffer_print(line, err, ",\"findings\":[")))
        return code;
    for (unsigned finding = 0; finding < MIG_FINDING_COUNT; finding++)
        if (findings & 1u << finding) {
            code = mig_buffer_print(line, err, "%s\"%s\"", separator,
                                    mig_finding_name((enum mig_finding) finding));
            if (code != MIG_OK)
                return code;
            separator = ",";
        }
    return mig_buffer_append(line, "]", 1, err);
}

static int add_row(struct mig_buffer *line, const struct mig_row *row, struct mig_error *err)
{
    int code;

    if ((code = mig_buffer_print(line, err, "\"row\":")))
        return code;
    return mig_row_print_json(row, line, err);
}

/* A bundle's reader keeps the outermost layer alone. */
static int add_layers(struct mig_buffer *line, struct mig_bytes originator_envelope,
                      struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_layers layers;
    int code = mig_originator_envelope_parse(originator_envelope, &arena, &layers, err);

    if (code ||
        (code = add_hex(line, "client_envelope", layers.payer_layer.client_envelope, err)) ||
        (code = add_hex(line, "payer_envelope", layers.unsigned_layer.payer_envelope, err)))
        return code;
    return add_hex(line, "originator_envelope", originator_envelope, err);
}

static int add_sent(struct mig_buffer *line, const struct mig_envelope *envelope,
                    struct mig_error *err)
{
    int code;

    if ((code = mig_buffer_print(line, err, ",\"originator\":%" PRIu32 ",\"sequence_id\":%" PRId64,
                                 mig_kind_info(envelope->kind)->stored_originator,
                                 envelope->sequence_id)) ||
        (code = add_hex(line, "topic", envelope->topic, err)))
        return code;
    if (envelope->route != MIG_ROUTE_NODE)
        return add_hex(line, "client_envelope", envelope->client_envelope, err);
    if ((code = add_layers(line, envelope->originator_envelope, err)))
        return code;
    return mig_buffer_print(line, err,
                            ",\"originator_ns\":%" PRId64 ",\"base_fee_picodollars\":%" PRIu64
                            ",\"expiry_unixtime\":%" PRId64,
                            envelope->originator_ns, envelope->base_fee_picodollars,
                            envelope->expiry_unixtime);
}

static int add_envelope(struct mig_buffer *line, const struct mig_envelope *envelope,
                        struct mig_error *err)
{
    static const char *const routes[] = {[MIG_ROUTE_NODE] = "node",
                                         [MIG_ROUTE_CHAIN] = "chain",
                                         [MIG_ROUTE_EXPIRED] = "expired",
                                         [MIG_ROUTE_REJECTED] = "rejected"};
    int code;

    if ((code = mig_buffer_print(line, err, "\"route\":\"%s\",\"kind\":\"%s\"",
                                 routes[envelope->route], mig_kind_info(envelope->kind)->name)))
        return code;
    if (envelope->route == MIG_ROUTE_REJECTED) {
        if ((code = mig_buffer_print(line, err, ",\"reason\":\"%s\",",
                                     mig_reason_info(envelope->reason)->name)) ||
            (code = add_row(line, envelope->row, err)))
            return code;
    } else if (envelope->route != MIG_ROUTE_EXPIRED) {
        if ((code = add_sent(line, envelope, err)))
            return code;
    }
    return add_findings(line, envelope->findings, err);
}

static int print_part(const struct mig_part *part, struct mig_buffer *line, struct mig_error *err)
{
    for (size_t i = 0; i < part->row_count; i++) {
        int code;

        line->size = 0;
        if ((code = mig_buffer_append(line, "{", 1, err)) ||
            (code = part->envelopes ? add_envelope(line, &part->envelopes[i], err)
                                    : add_row(line, &part->rows[i], err)) ||
            (code = mig_buffer_append(line, "}", 1, err)) ||
            (code = tool_print_line(mig_buffer_bytes(line), err)))
            return code;
    }
    return MIG_OK;
}

int inspect_print_rows(struct tool *tool, struct mig_bundle_reader *reader, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer line = MIG_BUFFER_INIT(LINE_MAX_BYTES);

    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        int code;

        if ((code = mig_stop_check(tool->stop, err)) ||
            (code = mig_bundle_next(reader, &part, NULL, err)))
            return code;
        if (!part)
            return MIG_OK;
        if ((code = print_part(part, &line, err)))
            return code;
    }
}
