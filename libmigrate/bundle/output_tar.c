/* A bundle as a tar: to a file, which gets its name only when it is complete, or to standard
 * output. The same bundle gives the same bytes: no clock, no owner, no mode of the day. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/base/fault.h"
#include "libmigrate/io/io.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Written at once, and what a pipe is asked to hold; and what a tar's end is filled up to, as
 * everybody's is. */
#define BLOCK_SIZE (256 << 10)
#define RECORD_SIZE 10240

struct tar {
    struct archive *archive;
    char *path, *unfinished; /* unfinished: NULL in a stream */
    int fd;
    int failure; /* errno of the first write that failed: from then on nothing is written */
    bool complete;
};

/* libarchive 3.6 loses memory when it is told of a failed write, and ends a tar that is given up as
 * if it were whole: so it is told nothing, and what it writes afterwards goes nowhere. */
static la_ssize_t write_bytes(struct archive *archive, void *state, const void *data, size_t size)
{
    struct tar *tar = state;
    const uint8_t *next = data;

    (void) archive;
    for (size_t left = size; left > 0 && tar->failure == 0;) {
        const ssize_t written = MIG_WRITE(tar->fd, next, left);

        if (written < 0 && errno != EINTR)
            tar->failure = errno;
        next += written > 0 ? written : 0;
        left -= written > 0 ? (size_t) written : 0;
    }
    return (la_ssize_t) size;
}

static void discard_tar(void *state)
{
    struct tar *tar = state;

    if (!tar->complete)
        tar->failure = ECANCELED;
    if (tar->archive)
        archive_write_free(tar->archive);
    if (tar->unfinished && tar->fd >= 0 && !tar->complete)
        unlink(tar->unfinished);
    if (tar->unfinished)
        mig_fd_close(&tar->fd);
    free(tar->path);
    free(tar->unfinished);
    free(tar);
}

static void free_tar(struct tar **tar)
{
    if (*tar)
        discard_tar(*tar);
}

static int fail_archive(const struct tar *tar, const char *name, struct mig_error *err)
{
    return mig_fail(err, MIG_E_IO, "cannot write '%s' to bundle '%s': %s", name, tar->path,
                    tar->failure ? strerror(tar->failure) : archive_error_string(tar->archive));
}

/* NULL when memory is out. */
static struct tar *new_tar(const char *path)
{
    mig_cleanup(free_tar) struct tar *tar = calloc(1, sizeof *tar);

    if (!tar)
        return NULL;
    tar->fd = -1;
    tar->path = strdup(path);
    tar->archive = archive_write_new();
    return tar->path && tar->archive ? mig_take(tar) : NULL;
}

static int fail_memory(const char *path, struct mig_error *err)
{
    return mig_fail(err, MIG_E_NOMEM, "cannot write bundle '%s': out of memory", path);
}

static int begin_archive(struct tar *tar, struct mig_error *err)
{
    if (archive_write_set_format_ustar(tar->archive) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(tar->archive, BLOCK_SIZE) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(tar->archive, RECORD_SIZE) != ARCHIVE_OK ||
        archive_write_open(tar->archive, tar, NULL, write_bytes, NULL) != ARCHIVE_OK)
        return fail_archive(tar, BUNDLE_HEADER_NAME, err);
    return MIG_OK;
}

static bool matches_stream(const char *path)
{
    return strcmp(path, "-") == 0;
}

static int open_stream(const char *path, void **ret_state, size_t *ret_removed,
                       struct mig_error *err)
{
    mig_cleanup(free_tar) struct tar *tar = new_tar(path);
    int result;

    if (!tar)
        return fail_memory(path, err);
    *ret_removed = 0;
    tar->fd = STDOUT_FILENO;
    (void) fcntl(tar->fd, F_SETPIPE_SZ, BLOCK_SIZE);
    result = begin_archive(tar, err);
    if (result == MIG_OK)
        *ret_state = mig_take(tar);
    return result;
}

static bool matches_file(const char *path)
{
    const size_t length = strlen(path);

    return length > 4 && strcmp(path + length - 4, ".tar") == 0;
}

static bool same_file(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

static int refuse_existing(const struct tar *tar, struct mig_error *err)
{
    struct stat status;

    if (lstat(tar->path, &status) != 0)
        return errno == ENOENT ? MIG_OK
                               : mig_fail(err, MIG_E_IO, "cannot write bundle '%s': %s", tar->path,
                                          strerror(errno));
    mig_fail(err, MIG_E_USAGE, "bundle '%s' exists", tar->path);
    mig_hint(err, "name another file, or remove this one");
    return MIG_E_USAGE;
}

/* The name beside the bundle is always the same, so that what a killed process left is written
 * over; the lock, on the file that still has this name, keeps a second writer out. */
static int open_unfinished(struct tar *tar, size_t *ret_removed, struct mig_error *err)
{
    mig_cleanup(mig_fd_close) int fd =
        open(tar->unfinished, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0666);
    struct stat status;
    int result;

    if (fd < 0)
        return mig_fail(err, MIG_E_IO, "cannot write '%s': %s", tar->unfinished, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !same_file(fd, tar->unfinished))
        return mig_fail(err, MIG_E_TEMPORARY, "another process writes bundle '%s'", tar->path);
    result = refuse_existing(tar, err);
    if (result != MIG_OK)
        return result;
    if (fstat(fd, &status) != 0 || ftruncate(fd, 0) != 0)
        return mig_fail(err, MIG_E_IO, "cannot write '%s': %s", tar->unfinished, strerror(errno));
    *ret_removed = status.st_size > 0;
    tar->fd = fd;
    fd = -1;
    return MIG_OK;
}

static int open_file(const char *path, void **ret_state, size_t *ret_removed, struct mig_error *err)
{
    mig_cleanup(free_tar) struct tar *tar = new_tar(path);
    int result;

    if (!tar)
        return fail_memory(path, err);
    if (asprintf(&tar->unfinished, "%s.unfinished", path) < 0) {
        tar->unfinished = NULL;
        return fail_memory(path, err);
    }
    result = refuse_existing(tar, err);
    if (result == MIG_OK)
        result = open_unfinished(tar, ret_removed, err);
    if (result == MIG_OK)
        result = begin_archive(tar, err);
    if (result == MIG_OK)
        *ret_state = mig_take(tar);
    return result;
}

static void free_entry(struct archive_entry **entry)
{
    archive_entry_free(*entry);
}

static int put(void *state, const char *name, struct mig_bytes bytes, struct mig_error *err)
{
    struct tar *tar = state;
    mig_cleanup(free_entry) struct archive_entry *entry = archive_entry_new();

    if (!entry)
        return mig_fail(err, MIG_E_NOMEM, "cannot write '%s': out of memory", name);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_size(entry, (la_int64_t) bytes.size);
    if (archive_write_header(tar->archive, entry) != ARCHIVE_OK || tar->failure)
        return fail_archive(tar, name, err);
    while (bytes.size > 0) {
        const la_ssize_t written = archive_write_data(tar->archive, bytes.data, bytes.size);

        if (written <= 0 || tar->failure)
            return fail_archive(tar, name, err);
        bytes.data += written;
        bytes.size -= (size_t) written;
    }
    if (archive_write_finish_entry(tar->archive) != ARCHIVE_OK || tar->failure)
        return fail_archive(tar, name, err);
    return MIG_OK;
}

static int commit_stream(void *state, struct mig_error *err)
{
    struct tar *tar = state;

    if (archive_write_close(tar->archive) != ARCHIVE_OK || tar->failure)
        return fail_archive(tar, BUNDLE_INDEX_NAME, err);
    tar->complete = true;
    return MIG_OK;
}

static int commit_file(void *state, struct mig_error *err)
{
    struct tar *tar = state;
    int result;

    if (archive_write_close(tar->archive) != ARCHIVE_OK || tar->failure)
        return fail_archive(tar, BUNDLE_INDEX_NAME, err);
    result = refuse_existing(tar, err);
    if (result != MIG_OK)
        return result;
    if (MIG_FAULT(FSYNC) || fsync(tar->fd) != 0 || MIG_FAULT(RENAME) ||
        rename(tar->unfinished, tar->path) != 0)
        return mig_fail(err, MIG_E_IO, "cannot write bundle '%s': %s", tar->path, strerror(errno));
    tar->complete = true;
    return mig_folder_sync(tar->path, err);
}

const struct bundle_output bundle_output_stream = {matches_stream, open_stream, put, commit_stream,
                                                   discard_tar};
const struct bundle_output bundle_output_file = {matches_file, open_file, put, commit_file,
                                                 discard_tar};
