/* The framing of MLS messages: any bytes. A content type that was read stays when bytes follow. */
#include "libmigrate/wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum mig_mls_content content, longer_content;
    uint8_t *longer;

    if (mig_mls_content_type((struct mig_bytes){data, size}, &content, NULL) != MIG_OK)
        return 0;
    longer = malloc(size + 1);
    if (!longer)
        return 0;
    memcpy(longer, data, size);
    longer[size] = 0xff;
    if (mig_mls_content_type((struct mig_bytes){longer, size + 1}, &longer_content, NULL) !=
            MIG_OK ||
        content != longer_content || content < MIG_MLS_APPLICATION || content > MIG_MLS_COMMIT)
        abort();
    free(longer);
    return 0;
}
