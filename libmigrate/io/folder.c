/* Folders: made with their parents, and made durable. */
#include "libmigrate/base/fault.h"
#include "libmigrate/io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_one(const char *path, struct mig_error *err)
{
    struct stat status;

    if (mkdir(path, 0777) == 0)
        return mig_folder_sync(path, err);
    if (errno != EEXIST)
        return mig_fail(err, MIG_E_IO, "cannot make folder '%s': %s", path, strerror(errno));
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return mig_fail(err, MIG_E_IO, "cannot make folder '%s': something else is there", path);
    return MIG_OK;
}

int mig_folder_make(const char *path, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *partial = strdup(path);

    if (!partial)
        return mig_fail(err, MIG_E_NOMEM, "cannot make folder '%s': out of memory", path);
    for (char *slash = strchr(partial + (*partial == '/'), '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const int result = make_one(partial, err);

        if (result != MIG_OK)
            return result;
        *slash = '/';
    }
    return make_one(partial, err);
}

char *mig_folder_of(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length ? strndup(path, length) : strdup(".");
}

int mig_folder_sync(const char *path, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(path);
    mig_cleanup(mig_fd_close) int fd = -1;

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "cannot write '%s': out of memory", path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems can't sync a folder and say EINVAL; there is nothing more to do on them. */
    if (fd < 0 || MIG_FAULT(FSYNC) || (fsync(fd) != 0 && errno != EINVAL))
        return mig_fail(err, MIG_E_IO, "cannot make '%s' durable: folder '%s': %s", path, folder,
                        strerror(errno));
    return MIG_OK;
}
