/* Records as bundles and dead letters hold them, and every layer of an envelope: any bytes. */
#include "libmigrate/wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read must come out again as it went in, by meaning: writing and reading once more gives
 * the same bytes. */
static void check_row(const struct mig_row *row)
{
    struct mig_buffer once = MIG_BUFFER_INIT((size_t) 64 << 20), twice = once, text = once;
    struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_row again;

    if (mig_row_encode(row, &once, NULL) != MIG_OK ||
        mig_row_decode(mig_buffer_bytes(&once), &arena, &again, NULL) != MIG_OK ||
        mig_row_encode(&again, &twice, NULL) != MIG_OK ||
        !mig_bytes_equal(mig_buffer_bytes(&once), mig_buffer_bytes(&twice)) ||
        mig_row_print_json(row, &text, NULL) != MIG_OK)
        abort();
    mig_arena_release(&arena);
    mig_buffer_release(&once);
    mig_buffer_release(&twice);
    mig_buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct mig_bytes bytes = {data, size};
    struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_envelope envelope;
    struct mig_layers layers;
    struct mig_row row;

    if (mig_row_decode(bytes, &arena, &row, NULL) == MIG_OK)
        check_row(&row);
    if (mig_envelope_decode(bytes, &arena, &envelope, NULL) == MIG_OK)
        check_row(envelope.row);
    mig_originator_envelope_parse(bytes, &arena, &layers, NULL);
    mig_payer_envelope_parse(bytes, &arena, &layers, NULL);
    mig_client_envelope_parse(bytes, &arena, &layers, NULL);
    mig_identity_update_valid(bytes);
    mig_arena_release(&arena);
    return 0;
}
