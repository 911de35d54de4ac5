/* Tells every problem of one manifest, a line each as `pointer: message`. What the schema's test
 * holds schemas/manifest.schema.json against. Exit: 0 good, 2 problems, 1 anything else. */
#include "libmigrate/manifest/manifest.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_problems_release) struct mig_problems problems = {0};
    struct mig_error err = MIG_ERROR_INIT;

    if (argc != 2) {
        fprintf(stderr, "usage: manifest_check FILE\n");
        return 1;
    }
    if (mig_manifest_load(argv[1], &manifest, &problems, &err) == MIG_OK)
        return 0;
    for (size_t i = 0; i < problems.count; i++)
        printf("%s: %s\n", problems.items[i].pointer, problems.items[i].message);
    fprintf(stderr, "%s\n", err.message);
    return err.code == MIG_E_USAGE ? 2 : 1;
}
