/* Reading a bundle that is a folder: its files in the order in which a tar would bring them.
 * Nothing is followed and nothing overlooked: a file that no bundle has makes it another folder. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_name {
    char text[BUNDLE_NAME_SIZE];
};

struct folder {
    int fd;
    struct file_name *names; /* in order */
    size_t count, capacity, next;
};

static void close_folder(void *state)
{
    struct folder *folder = state;

    mig_fd_close(&folder->fd);
    free(folder->names);
    free(folder);
}

static void free_folder(struct folder **folder)
{
    if (*folder)
        close_folder(*folder);
}

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

static int add_name(struct folder *folder, const char *name, struct mig_error *err)
{
    if (folder->count == folder->capacity) {
        const size_t capacity = folder->capacity ? folder->capacity * 2 : 64;
        struct file_name *names = reallocarray(folder->names, capacity, sizeof *names);

        if (!names)
            return mig_fail(err, MIG_E_NOMEM, "cannot list %zu files: out of memory", capacity);
        folder->names = names;
        folder->capacity = capacity;
    }
    /* Short enough: longer names are not those of a bundle. */
    memcpy(folder->names[folder->count++].text, name, strlen(name) + 1);
    return MIG_OK;
}

/* Numbers may outgrow their six digits, and nodes come before chain. */
static int compare_names(const void *a, const void *b)
{
    const char *one = ((const struct file_name *) a)->text;
    const char *other = ((const struct file_name *) b)->text;
    const enum bundle_file kinds[] = {bundle_file_of(one), bundle_file_of(other)};
    const size_t digits[] = {strcspn(one, "-"), strcspn(other, "-")};

    if (kinds[0] != kinds[1])
        return kinds[0] < kinds[1] ? -1 : 1;
    if (digits[0] != digits[1])
        return digits[0] < digits[1] ? -1 : 1;
    if (strncmp(one, other, digits[0]) != 0)
        return strcmp(one, other);
    return strcmp(other, one);
}

/* What stands in the folder itself (prefix "") or in the one with the parts. */
static int list(struct folder *folder, const char *subfolder, const char *prefix,
                struct mig_error *err)
{
    mig_cleanup(close_directory) DIR *directory = NULL;
    int fd = openat(folder->fd, subfolder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && !(directory = fdopendir(fd)))
        mig_fd_close(&fd);
    if (!directory)
        return mig_fail(err, MIG_E_CORRUPT, "cannot read its folder '%s': %s", subfolder,
                        strerror(errno));
    for (struct dirent *entry; (errno = 0, entry = readdir(directory)) != NULL;) {
        char name[sizeof BUNDLE_PARTS_FOLDER + 1 + NAME_MAX];
        int result;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (!*prefix && strcmp(entry->d_name, BUNDLE_PARTS_FOLDER) == 0))
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
        if (bundle_file_of(name) == BUNDLE_FILE_OTHER)
            return mig_fail(err, MIG_E_CORRUPT, "'%s' is no file of a bundle", name);
        result = add_name(folder, name, err);
        if (result != MIG_OK)
            return result;
    }
    return errno == 0 ? MIG_OK
                      : mig_fail(err, MIG_E_IO, "cannot read its folder '%s': %s", subfolder,
                                 strerror(errno));
}

int bundle_open_folder(const char *path, void **ret_state, struct mig_error *err)
{
    mig_cleanup(free_folder) struct folder *folder = calloc(1, sizeof *folder);
    int result;

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "cannot open it: out of memory");
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return mig_fail(err, MIG_E_IO, "cannot open it: %s", strerror(errno));
    if (faccessat(folder->fd, BUNDLE_INDEX_NAME, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
        mig_fail(err, MIG_E_CORRUPT, "no '" BUNDLE_INDEX_NAME "': it was never finished");
        mig_hint(err, "run the tool that wrote it again");
        return MIG_E_CORRUPT;
    }
    result = list(folder, ".", "", err);
    if (result == MIG_OK)
        result = list(folder, BUNDLE_PARTS_FOLDER, BUNDLE_PARTS_FOLDER "/", err);
    if (result != MIG_OK)
        return result;
    if (folder->count > 0)
        qsort(folder->names, folder->count, sizeof *folder->names, compare_names);
    *ret_state = mig_take(folder);
    return MIG_OK;
}

static int read_all(int fd, const char *name, struct mig_buffer *content, struct mig_error *err)
{
    const size_t limit = bundle_file_limit(bundle_file_of(name));
    struct stat status;

    if (fstat(fd, &status) != 0)
        return mig_fail(err, MIG_E_IO, "cannot read '%s': %s", name, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return mig_fail(err, MIG_E_CORRUPT, "'%s' is not a regular file", name);
    if ((uintmax_t) status.st_size > limit)
        return mig_fail(err, MIG_E_CORRUPT, "'%s': %jd bytes are more than it may have", name,
                        (intmax_t) status.st_size);
    for (const size_t size = (size_t) status.st_size; content->size < size;) {
        int result = mig_buffer_reserve(content, size - content->size, err);
        ssize_t got;

        if (result != MIG_OK)
            return result;
        got = read(fd, content->data + content->size, size - content->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mig_fail(err, MIG_E_IO, "cannot read '%s': %s", name, strerror(errno));
        if (got == 0)
            return mig_fail(err, MIG_E_CORRUPT, "'%s': became shorter while it was read", name);
        content->size += (size_t) got;
    }
    return MIG_OK;
}

static int next(void *state, char ret_name[], struct mig_buffer *content, struct mig_error *err)
{
    struct folder *folder = state;
    mig_cleanup(mig_fd_close) int fd = -1;
    mig_cleanup(mig_fd_close) int parts = -1;
    const char *name, *slash;
    int result;

    content->size = 0;
    if (folder->next == folder->count) {
        ret_name[0] = '\0';
        return MIG_OK;
    }
    name = folder->names[folder->next].text;
    slash = strchr(name, '/');
    /* O_NOFOLLOW looks at the last step only, so each is a last step. */
    if (slash)
        parts = openat(folder->fd, BUNDLE_PARTS_FOLDER,
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fd = openat(slash ? parts : folder->fd, slash ? slash + 1 : name,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ELOOP)
        return mig_fail(err, MIG_E_CORRUPT, "'%s' is a symbolic link", name);
    if (fd < 0)
        return mig_fail(err, MIG_E_IO, "cannot open '%s': %s", name, strerror(errno));
    result = read_all(fd, name, content, err);
    if (result != MIG_OK)
        return result;
    folder->next++;
    memcpy(ret_name, name, BUNDLE_NAME_SIZE);
    return MIG_OK;
}

static int rewind_folder(void *state, struct mig_error *err)
{
    struct folder *folder = state;

    (void) err;
    folder->next = 0;
    return MIG_OK;
}

const struct bundle_input bundle_input_folder = {false, next, rewind_folder, close_folder};
