/* Reading a bundle that is a tar. Names and kinds of entries are refused before a byte of them is
 * read; what a tar's header says beyond name, kind and size decides nothing. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/io/io.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What tar pads its end with, generously. */
#define TAIL_LIMIT ((size_t) 1 << 20)
/* Read at once; and what a pipe is asked to hold, so that both its ends can be busy. */
#define BLOCK_SIZE (256 << 10)

struct tar {
    struct archive *archive;
    uint8_t *block;
    int fd;
    int spool; /* gets all that is read, to be read again from; -1: none */
    char *spool_name;
    struct mig_error failure; /* of the spool */
};

static void close_tar(void *state)
{
    struct tar *tar = state;

    if (tar->archive)
        archive_read_free(tar->archive);
    mig_fd_close(&tar->fd);
    mig_fd_close(&tar->spool);
    free(tar->spool_name);
    free(tar->block);
    free(tar);
}

static void free_tar(struct tar **tar)
{
    if (*tar)
        close_tar(*tar);
}

static int fail_archive(const struct tar *tar, const char *name, struct mig_error *err)
{
    const int reason = archive_errno(tar->archive);

    if (tar->failure.code != MIG_OK) {
        if (err)
            *err = tar->failure;
        return tar->failure.code;
    }
    if (reason == EIO)
        return mig_fail(err, MIG_E_IO, "cannot read %s: %s", name, strerror(reason));
    return mig_fail(err, MIG_E_CORRUPT, "%s: the tar is damaged or cut off: %s", name,
                    archive_error_string(tar->archive));
}

static la_ssize_t read_block(struct archive *archive, void *state, const void **ret_bytes)
{
    struct tar *tar = state;
    ssize_t got;

    do
        got = read(tar->fd, tar->block, BLOCK_SIZE);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        archive_set_error(archive, errno, "%s", strerror(errno));
    if (got > 0 && tar->spool >= 0 &&
        mig_fd_write(tar->spool, tar->spool_name, (struct mig_bytes){tar->block, (size_t) got},
                     &tar->failure) != MIG_OK) {
        mig_hint(&tar->failure, "name a folder with more room in TMPDIR");
        got = -1;
    }
    *ret_bytes = tar->block;
    return got;
}

static int begin_archive(struct tar *tar, struct mig_error *err)
{
    tar->archive = archive_read_new();
    if (!tar->archive)
        return mig_fail(err, MIG_E_NOMEM, "cannot read a tar: out of memory");
    if (archive_read_support_format_tar(tar->archive) != ARCHIVE_OK ||
        archive_read_open(tar->archive, tar, NULL, read_block, NULL) != ARCHIVE_OK)
        return fail_archive(tar, "its beginning", err);
    return MIG_OK;
}

static int open_spool(struct tar *tar, struct mig_error *err)
{
    const char *folder = secure_getenv("TMPDIR");

    return mig_file_open_unlinked(folder && *folder ? folder : P_tmpdir, &tar->spool,
                                  &tar->spool_name, err);
}

static int open_tar(int fd, bool spooled, void **ret_state, struct mig_error *err)
{
    mig_cleanup(free_tar) struct tar *tar = calloc(1, sizeof *tar);
    int result = MIG_OK;

    if (!tar) {
        mig_fd_close(&fd);
        return mig_fail(err, MIG_E_NOMEM, "cannot read a tar: out of memory");
    }
    tar->fd = fd;
    tar->spool = -1;
    tar->block = malloc(BLOCK_SIZE);
    if (!tar->block)
        return mig_fail(err, MIG_E_NOMEM, "cannot read a tar: out of memory");
    (void) fcntl(fd, F_SETPIPE_SZ, BLOCK_SIZE);
    if (spooled)
        result = open_spool(tar, err);
    if (result == MIG_OK)
        result = begin_archive(tar, err);
    if (result == MIG_OK)
        *ret_state = mig_take(tar);
    return result;
}

int bundle_open_tar(int fd, void **ret_state, struct mig_error *err)
{
    return open_tar(fd, false, ret_state, err);
}

int bundle_open_spooled(int fd, void **ret_state, struct mig_error *err)
{
    return open_tar(fd, true, ret_state, err);
}

/* A hostile name must not reach a terminal as it is. */
static void print_name(const char *name, char ret_text[BUNDLE_NAME_SIZE])
{
    snprintf(ret_text, BUNDLE_NAME_SIZE, "%s", name ? name : "");
    for (char *c = ret_text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static int check_entry(struct archive_entry *entry, char ret_name[], struct mig_error *err)
{
    const char *name = archive_entry_pathname(entry);
    char printable[BUNDLE_NAME_SIZE];
    enum bundle_file file;

    print_name(name, printable);
    file = name ? bundle_file_of(name) : BUNDLE_FILE_OTHER;
    if (file == BUNDLE_FILE_OTHER)
        return mig_fail(err, MIG_E_CORRUPT, "'%s' is no file of a bundle", printable);
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return mig_fail(err, MIG_E_CORRUPT, "'%s' is not a regular file", printable);
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0 ||
        (uint64_t) archive_entry_size(entry) > bundle_file_limit(file))
        return mig_fail(err, MIG_E_CORRUPT, "'%s': %jd bytes are more than it may have", printable,
                        (intmax_t) archive_entry_size(entry));
    snprintf(ret_name, BUNDLE_NAME_SIZE, "%s", name);
    return MIG_OK;
}

static int read_entry(struct tar *tar, const char *name, size_t size, struct mig_buffer *content,
                      struct mig_error *err)
{
    int result = mig_buffer_reserve(content, size, err);

    while (result == MIG_OK && content->size < size) {
        const la_ssize_t got =
            archive_read_data(tar->archive, content->data + content->size, size - content->size);

        if (got < 0)
            return fail_archive(tar, name, err);
        if (got == 0)
            return mig_fail(err, MIG_E_CORRUPT, "%s: cut off after %zu of %zu bytes", name,
                            content->size, size);
        content->size += (size_t) got;
    }
    return result;
}

/* Whoever writes into the other end of a pipe is let finish. */
static int drain(struct tar *tar, struct mig_error *err)
{
    uint8_t bytes[4096];
    size_t drained = 0;

    while (drained <= TAIL_LIMIT) {
        const ssize_t got = read(tar->fd, bytes, sizeof bytes);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mig_fail(err, MIG_E_IO, "cannot read its end: %s", strerror(errno));
        if (got == 0)
            return MIG_OK;
        drained += (size_t) got;
    }
    return mig_fail(err, MIG_E_CORRUPT, "goes on after its end");
}

static int next(void *state, char ret_name[], struct mig_buffer *content, struct mig_error *err)
{
    struct tar *tar = state;
    struct archive_entry *entry;
    char name[BUNDLE_NAME_SIZE], quoted[BUNDLE_NAME_SIZE + 2];
    int result;

    content->size = 0;
    switch (archive_read_next_header(tar->archive, &entry)) {
    case ARCHIVE_OK:
        break;
    case ARCHIVE_EOF:
        ret_name[0] = '\0';
        return drain(tar, err);
    default:
        return fail_archive(tar, "the header of a file", err);
    }
    result = check_entry(entry, name, err);
    if (result != MIG_OK)
        return result;
    snprintf(quoted, sizeof quoted, "'%s'", name);
    result = read_entry(tar, quoted, (size_t) archive_entry_size(entry), content, err);
    if (result == MIG_OK)
        memcpy(ret_name, name, sizeof name);
    return result;
}

static int rewind_tar(void *state, struct mig_error *err)
{
    struct tar *tar = state;

    archive_read_free(tar->archive);
    tar->archive = NULL;
    if (tar->spool >= 0) {
        mig_fd_close(&tar->fd);
        tar->fd = tar->spool;
        tar->spool = -1;
    }
    if (lseek(tar->fd, 0, SEEK_SET) != 0)
        return mig_fail(err, MIG_E_IO, "cannot read it again: %s", strerror(errno));
    return begin_archive(tar, err);
}

const struct bundle_input bundle_input_file = {false, next, rewind_tar, close_tar};
const struct bundle_input bundle_input_spooled = {true, next, rewind_tar, close_tar};
const struct bundle_input bundle_input_stream = {true, next, NULL, close_tar};
