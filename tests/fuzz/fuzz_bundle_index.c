/* Any bytes as header.json or index.json, and any bytes under a right digest: refused with a story,
 * or taken because printing the values gives the same bytes again. */
#include "libmigrate/bundle/bundle_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_index(struct mig_bytes text)
{
    mig_cleanup(bundle_index_release) struct bundle_index index = {0};
    struct mig_error err = MIG_ERROR_INIT;
    int result = bundle_parse_index(text, &index, &err);

    if (err.code != result || (result != MIG_OK && (index.count || index.blockers.count)))
        abort();
    for (size_t i = 0; i < index.count; i++)
        if (bundle_file_of(index.entries[i].name) != BUNDLE_FILE_PART)
            abort();
}

static void try_header(struct mig_bytes text)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer again = MIG_BUFFER_INIT(BUNDLE_LINE_LIMIT);
    struct mig_bundle_facts facts;
    struct mig_error err = MIG_ERROR_INIT;
    int result = bundle_parse_header(text, &facts, &err);

    if (err.code != result)
        abort();
    if (result == MIG_OK && (bundle_print_header(&facts, &again, NULL) != MIG_OK ||
                             !mig_bytes_equal(text, mig_buffer_bytes(&again))))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer sealed = MIG_BUFFER_INIT(size + 1000);
    const struct mig_bytes text = {data, size};
    char digest[65];

    try_index(text);
    try_header(text);
    /* No fuzzer guesses a digest: without this it would never come past it. */
    if (bundle_digest(text, digest, NULL) != MIG_OK ||
        mig_buffer_append(&sealed, data, size, NULL) != MIG_OK ||
        mig_buffer_print(&sealed, NULL, "\"sha256\":\"%s\"}\n", digest) != MIG_OK)
        abort();
    try_index(mig_buffer_bytes(&sealed));
    try_header(mig_buffer_bytes(&sealed));
    return 0;
}
