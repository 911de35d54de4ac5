/* A program outside of the project, which knows nothing but what make install gives. */
#include <libmigrate/manifest/manifest.h>
#include <stdio.h>

int main(void)
{
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    if (mig_manifest_load("/nonexistent", &manifest, NULL, &err) != MIG_E_USAGE)
        return 1;
    printf("libmigrate says: %s\n", err.message);
    return 0;
}
