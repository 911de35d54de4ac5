/* A bundle as a folder: each file whole or absent, the index last. What an interrupted writer left
 * is cleaned away first, but nothing that is not a bundle's. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct folder {
    char *path;
    int fd; /* its lock keeps a second writer out */
    size_t removed;
};

static void discard_folder(void *state)
{
    struct folder *folder = state;

    mig_fd_close(&folder->fd);
    free(folder->path);
    free(folder);
}

static void free_folder(struct folder **folder)
{
    if (*folder)
        discard_folder(*folder);
}

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

/* Takes fd; NULL with errno set. */
static DIR *open_directory(int fd)
{
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);

    if (!directory && fd >= 0)
        close(fd);
    return directory;
}

/* A file of a bundle, or what an interrupted write of one left beside it: NAME.PID-N.tmp */
static bool is_ours(const char *name)
{
    static const char mark[] = ".tmp";
    char plain[BUNDLE_NAME_SIZE], *dot;
    const size_t length = strlen(name);

    if (bundle_file_of(name) != BUNDLE_FILE_OTHER)
        return true;
    if (length < sizeof mark || length >= sizeof plain ||
        strcmp(name + length - strlen(mark), mark) != 0)
        return false;
    snprintf(plain, sizeof plain, "%.*s", (int) (length - strlen(mark)), name);
    dot = strrchr(plain, '.');
    if (dot)
        *dot = '\0';
    return bundle_file_of(plain) != BUNDLE_FILE_OTHER;
}

/* Removes a folder's files of ours, or with check_only looks whether there are others. prefix is
 * what stands before their names in a bundle. */
static int sweep(struct folder *folder, const char *prefix, bool check_only, struct mig_error *err)
{
    const char *const subfolder = *prefix ? BUNDLE_PARTS_FOLDER : ".", *const path = folder->path;
    mig_cleanup(close_directory) DIR *directory = open_directory(
        openat(folder->fd, subfolder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));

    if (!directory)
        return mig_fail(err, MIG_E_IO, "cannot read folder '%s/%s': %s", path, subfolder,
                        strerror(errno));
    for (struct dirent *entry; (errno = 0, entry = readdir(directory)) != NULL;) {
        char name[BUNDLE_NAME_SIZE + NAME_MAX];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (!*prefix && strcmp(entry->d_name, BUNDLE_PARTS_FOLDER) == 0))
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
        if (!is_ours(name)) {
            mig_fail(err, MIG_E_USAGE, "folder '%s' holds '%s', which is no file of a bundle", path,
                     name);
            mig_hint(err, "name a new or an empty folder");
            return MIG_E_USAGE;
        }
        if (!check_only && unlinkat(dirfd(directory), entry->d_name, 0) != 0)
            return mig_fail(err, MIG_E_IO, "cannot remove '%s/%s': %s", path, name,
                            strerror(errno));
        folder->removed += !check_only;
    }
    return errno == 0
               ? MIG_OK
               : mig_fail(err, MIG_E_IO, "cannot read folder '%s': %s", path, strerror(errno));
}

static int sweep_all(struct folder *folder, struct mig_error *err)
{
    const bool has_parts =
        faccessat(folder->fd, BUNDLE_PARTS_FOLDER, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

    for (int check_only = 1; check_only >= 0; check_only--) {
        int result = sweep(folder, "", check_only, err);

        if (result == MIG_OK && has_parts)
            result = sweep(folder, BUNDLE_PARTS_FOLDER "/", check_only, err);
        if (result != MIG_OK)
            return result;
    }
    if (has_parts && unlinkat(folder->fd, BUNDLE_PARTS_FOLDER, AT_REMOVEDIR) != 0)
        return mig_fail(err, MIG_E_IO, "cannot remove '%s/" BUNDLE_PARTS_FOLDER "': %s",
                        folder->path, strerror(errno));
    return MIG_OK;
}

static int claim(struct folder *folder, struct mig_error *err)
{
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return mig_fail(err, MIG_E_IO, "cannot open folder '%s': %s", folder->path,
                        strerror(errno));
    if (flock(folder->fd, LOCK_EX | LOCK_NB) != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "another process writes bundle '%s'", folder->path);
    if (faccessat(folder->fd, BUNDLE_INDEX_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        mig_fail(err, MIG_E_USAGE, "bundle '%s' exists", folder->path);
        mig_hint(err, "name another folder, or remove this one");
        return MIG_E_USAGE;
    }
    return sweep_all(folder, err);
}

static bool matches(const char *path)
{
    return path[0] != '\0';
}

static int open_folder(const char *path, void **ret_state, size_t *ret_removed,
                       struct mig_error *err)
{
    mig_cleanup(free_folder) struct folder *folder = calloc(1, sizeof *folder);
    int result;

    if (folder)
        folder->fd = -1;
    if (!folder || !(folder->path = strdup(path)))
        return mig_fail(err, MIG_E_NOMEM, "cannot write bundle '%s': out of memory", path);
    result = mig_folder_make(path, err);
    if (result == MIG_OK)
        result = claim(folder, err);
    if (result != MIG_OK)
        return result;
    *ret_removed = folder->removed;
    *ret_state = mig_take(folder);
    return result;
}

static int put(void *state, const char *name, struct mig_bytes bytes, struct mig_error *err)
{
    const struct folder *folder = state;
    const bool first = bundle_file_of(name) == BUNDLE_FILE_HEADER;
    mig_cleanup(mig_free_text) char *path = NULL;
    mig_cleanup(mig_free_text) char *parts = NULL;
    int result = MIG_OK;

    if (asprintf(&path, "%s/%s", folder->path, name) < 0 ||
        asprintf(&parts, "%s/" BUNDLE_PARTS_FOLDER, folder->path) < 0)
        return mig_fail(err, MIG_E_NOMEM, "cannot write '%s': out of memory", name);
    if (first)
        result = mig_folder_make(parts, err);
    return result == MIG_OK ? mig_file_write(path, bytes, err) : result;
}

static int commit(void *state, struct mig_error *err)
{
    (void) state;
    (void) err;
    return MIG_OK; /* every file was durable before the next was begun */
}

const struct bundle_output bundle_output_folder = {matches, open_folder, put, commit,
                                                   discard_folder};
