/* Any bytes as a manifest: refused with a story or taken whole, never a crash, a leak or a hang. */
#include "libmigrate/manifest/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a caller may rely on, whichever way it ended. */
static void check(int result, const struct mig_manifest *manifest,
                  const struct mig_problems *problems, const struct mig_error *err)
{
    char digest[65];

    if ((result == MIG_OK) != (manifest != NULL) || err->code != result)
        abort();
    if ((result == MIG_E_USAGE) != (problems->count > 0))
        abort();
    if (manifest && (manifest->node_count == 0 || manifest->rate_count == 0 ||
                     mig_manifest_rate(manifest, INT64_MAX) == NULL ||
                     mig_manifest_facts(manifest, digest, NULL) != MIG_OK))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
    struct mig_error err = MIG_ERROR_INIT;
    int result = mig_manifest_parse((struct mig_bytes){data, size}, "fuzz/manifest.json", &manifest,
                                    &problems, &err);

    check(result, manifest, &problems, &err);
    return 0;
}
