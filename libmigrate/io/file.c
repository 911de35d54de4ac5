/* Files that are whole or absent: reading with a bound, and the write that a crash can't halve. */
#include "libmigrate/base/fault.h"
#include "libmigrate/io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_NAMES_MAX 1000

void mig_fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What was read may be a key: nothing of it stays behind in freed memory. */
struct content {
    uint8_t *data;
    size_t capacity;
};

static void wipe_content(struct content *content)
{
    if (content->data)
        explicit_bzero(content->data, content->capacity);
    free(content->data);
    *content = (struct content){0};
}

static int grow_content(struct content *content, size_t capacity, const char *path,
                        struct mig_error *err)
{
    struct content larger = {.data = malloc(capacity), .capacity = capacity};

    if (!larger.data)
        return mig_fail(err, MIG_E_NOMEM, "cannot read '%s': out of memory", path);
    if (content->capacity)
        memcpy(larger.data, content->data, content->capacity);
    wipe_content(content);
    *content = larger;
    return MIG_OK;
}

/* The size a file system states is a first guess only: it is 0 in /proc, and files grow. */
static int read_content(int fd, const char *path, size_t limit, struct content *content,
                        size_t *ret_size, struct mig_error *err)
{
    size_t size = 0;

    for (;;) {
        if (size > limit)
            return mig_fail(err, MIG_E_NOMEM, "cannot read '%s': larger than %zu bytes", path,
                            limit);
        if (content->capacity - size < 2) {
            const size_t wanted =
                content->capacity > limit / 2 ? limit + 2 : content->capacity * 2 + 64;
            const int result = grow_content(content, wanted, path, err);

            if (result != MIG_OK)
                return result;
        }
        const ssize_t got = read(fd, content->data + size, content->capacity - size - 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mig_fail(err, MIG_E_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        size += (size_t) got;
    }
    content->data[size] = '\0';
    *ret_size = size;
    return MIG_OK;
}

int mig_file_read(const char *path, size_t limit, uint8_t **ret_data, size_t *ret_size,
                  unsigned *ret_mode, struct mig_error *err)
{
    /* Not blocking: a FIFO in the place of a file must not hang us before it can be refused. */
    mig_cleanup(mig_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    mig_cleanup(wipe_content) struct content content = {0};
    struct stat status;
    size_t size = 0, guess;
    int result;

    if (fd < 0 || fstat(fd, &status) != 0)
        return mig_fail(err, MIG_E_IO, "cannot open '%s': %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return mig_fail(err, MIG_E_IO, "cannot read '%s': not a regular file", path);
    if (limit > SIZE_MAX / 2 - 2)
        limit = SIZE_MAX / 2 - 2;
    guess = status.st_size > 0 ? (size_t) status.st_size : 0;
    if (guess > limit)
        return mig_fail(err, MIG_E_NOMEM, "cannot read '%s': larger than %zu bytes", path, limit);
    result = grow_content(&content, guess + 64, path, err);
    if (result == MIG_OK)
        result = read_content(fd, path, limit, &content, &size, err);
    if (result != MIG_OK)
        return result;
    *ret_data = mig_take(content.data);
    *ret_size = size;
    if (ret_mode)
        *ret_mode = status.st_mode;
    return MIG_OK;
}

int mig_fd_write(int fd, const char *name, struct mig_bytes bytes, struct mig_error *err)
{
    while (bytes.size > 0) {
        const ssize_t written = MIG_WRITE(fd, bytes.data, bytes.size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return mig_fail(err, MIG_E_IO, "cannot write '%s': %s", name, strerror(errno));
        bytes.data += written;
        bytes.size -= (size_t) written;
    }
    return MIG_OK;
}

int mig_fd_read_at(int fd, const char *name, uint64_t offset, void *memory, size_t size,
                   struct mig_error *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t got =
            pread(fd, (uint8_t *) memory + done, size - done, (off_t) (offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return mig_fail(err, MIG_E_IO, "cannot read '%s': %s", name,
                            got < 0 ? strerror(errno) : "it ends too early");
        done += (size_t) got;
    }
    return MIG_OK;
}

/* A file that is not yet in its place; removed unless it gets there. */
struct temporary {
    char *path;
    int fd;
};

static void drop_temporary(struct temporary *temporary)
{
    mig_fd_close(&temporary->fd);
    if (temporary->path)
        unlink(temporary->path);
    mig_free_text(&temporary->path);
}

/* Not mkstemp(): its files can be read by their owner only, whatever the umask says. */
static int open_temporary(const char *path, struct temporary *ret_temporary, struct mig_error *err)
{
    for (unsigned i = 0; i < TEMPORARY_NAMES_MAX; i++) {
        struct temporary temporary = {.fd = -1};

        if (asprintf(&temporary.path, "%s.%ld-%u.tmp", path, (long) getpid(), i) < 0)
            return mig_fail(err, MIG_E_NOMEM, "cannot write '%s': out of memory", path);
        temporary.fd = open(temporary.path,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0666);
        if (temporary.fd >= 0) {
            *ret_temporary = temporary;
            return MIG_OK;
        }
        mig_free_text(&temporary.path);
        if (errno != EEXIST)
            break;
    }
    return mig_fail(err, MIG_E_IO, "cannot write '%s': %s", path, strerror(errno));
}

int mig_file_write(const char *path, struct mig_bytes bytes, struct mig_error *err)
{
    mig_cleanup(drop_temporary) struct temporary temporary = {.fd = -1};
    int result = open_temporary(path, &temporary, err);

    if (result == MIG_OK)
        result = mig_fd_write(temporary.fd, path, bytes, err);
    if (result != MIG_OK)
        return result;
    if (MIG_FAULT(FSYNC) || fsync(temporary.fd) != 0 || MIG_FAULT(RENAME) ||
        rename(temporary.path, path) != 0)
        return mig_fail(err, MIG_E_IO, "cannot write '%s': %s", path, strerror(errno));
    mig_free_text(&temporary.path);
    return mig_folder_sync(path, err);
}

int mig_file_open_unlinked(const char *folder, int *ret_fd, char **ret_name, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *path = NULL;
    int fd;

    if (asprintf(&path, "%s/xmtp-migrate-XXXXXX", folder) < 0) {
        path = NULL;
        return mig_fail(err, MIG_E_NOMEM, "cannot set anything aside: out of memory");
    }
    /* Where a file can't be without a name from the beginning, a crash may leave one behind. */
    fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0 && ((fd = mkostemp(path, O_CLOEXEC)) < 0 || unlink(path) != 0)) {
        mig_fail(err, MIG_E_IO, "cannot set anything aside in '%s': %s", folder, strerror(errno));
        mig_fd_close(&fd);
        return MIG_E_IO;
    }
    *ret_fd = fd;
    *ret_name = mig_take(path);
    return MIG_OK;
}
