/* The life of a manifest: from a file or from memory to a model that owns all its parts, and the
 * end of both; and the one question about it that takes a search. */
#include "libmigrate/io/io.h"
#include "libmigrate/manifest/manifest_private.h"

#include <stdlib.h>
#include <string.h>

/* Far above any document we parse: being told its size serves better than a failed read. */
#define FILE_SIZE_MAX ((size_t) 16 << 20)

/* A manifest and the memory of all its parts. */
struct owned {
    struct mig_manifest manifest;
    struct mig_arena arena;
};

void mig_manifest_free(struct mig_manifest **manifest)
{
    struct owned *owned = (struct owned *) mig_take(*manifest);

    if (!owned)
        return;
    mig_arena_release(&owned->arena);
    free(owned);
}

/* The folder of path, as something that "/name" can follow. */
static char *keep_folder(struct mig_reader *reader, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder;

    if (!slash)
        return mig_reader_keep(reader, ".");
    folder = mig_reader_keep(reader, path);
    folder[reader->out_of_memory ? 0 : slash - path] = '\0';
    return folder;
}

int mig_manifest_parse(struct mig_bytes text, const char *path, struct mig_manifest **ret_manifest,
                       struct mig_problems *problems, struct mig_error *err)
{
    mig_cleanup(mig_reader_release) struct mig_reader reader = {0};
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    struct owned *owned = calloc(1, sizeof *owned);
    int result;

    if (!owned)
        return mig_fail(err, MIG_E_NOMEM, "cannot read manifest '%s': out of memory", path);
    manifest = &owned->manifest;
    reader.arena = &owned->arena;
    reader.folder = keep_folder(&reader, path);
    manifest->path = mig_reader_keep(&reader, path);
    mig_manifest_read(&reader, text, manifest);
    result = mig_reader_verdict(&reader, path, err);
    if (result == MIG_OK)
        *ret_manifest = mig_take(manifest);
    if (result == MIG_E_USAGE && problems) {
        *problems = reader.problems;
        reader.problems = (struct mig_problems){0};
    }
    return result;
}

static void free_data(uint8_t **data)
{
    free(*data);
}

int mig_manifest_load(const char *path, struct mig_manifest **ret_manifest,
                      struct mig_problems *problems, struct mig_error *err)
{
    mig_cleanup(free_data) uint8_t *data = NULL;
    size_t size;
    int result = mig_file_read(path, FILE_SIZE_MAX, &data, &size, NULL, err);

    if (result != MIG_OK) {
        /* Whatever keeps it from being read, the words on the command line are to be mended. */
        if (err && result == MIG_E_IO)
            err->code = MIG_E_USAGE;
        mig_error_within(err, "manifest");
        mig_hint(err, "name it with --manifest FILE or in XMTP_MANIFEST");
        return result == MIG_E_IO ? MIG_E_USAGE : result;
    }
    return mig_manifest_parse((struct mig_bytes){data, size}, path, ret_manifest, problems, err);
}

const struct mig_rate *mig_manifest_rate(const struct mig_manifest *manifest, int64_t unix_ns)
{
    const struct mig_rate *found = NULL;
    size_t low = 0;
    size_t high = manifest->rate_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (manifest->rates[middle].start_ns <= unix_ns) {
            found = &manifest->rates[middle];
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return found;
}
