/* Fetching what a reference stands for. The text is in memory once, belongs to the caller, and is
 * wiped when released; messages name the place it comes from, never what is there. */
#include "libmigrate/io/io.h"
#include "libmigrate/manifest/manifest_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void mig_secret_release(struct mig_secret *secret)
{
    mig_wipe(secret->text, secret->size);
    free(secret->text);
    *secret = (struct mig_secret){0};
}

static int out_of_memory(struct mig_error *err)
{
    return mig_fail(err, MIG_E_NOMEM, "out of memory");
}

static int copy_secret(const char *text, size_t size, struct mig_secret *ret_secret,
                       struct mig_error *err)
{
    char *copy = malloc(size + 1);

    if (!copy)
        return out_of_memory(err);
    memcpy(copy, text, size);
    copy[size] = '\0';
    ret_secret->text = copy;
    ret_secret->size = size;
    return MIG_OK;
}

static int from_environment(const char *name, struct mig_secret *ret_secret, struct mig_error *err)
{
    const char *value = getenv(name);

    if (!value) {
        mig_fail(err, MIG_E_USAGE, "the environment variable %s is not set", name);
        mig_hint(err, "export %s, or name another reference in the manifest", name);
        return MIG_E_USAGE;
    }
    if (strlen(value) > MIG_SECRET_SIZE_MAX)
        return mig_fail(err, MIG_E_USAGE, "the environment variable %s holds more than %zu bytes",
                        name, MIG_SECRET_SIZE_MAX);
    return copy_secret(value, strlen(value), ret_secret, err);
}

static int from_file(const struct mig_reference *reference, const char *name, const char *what,
                     const struct mig_hooks *hooks, struct mig_secret *ret_secret,
                     struct mig_error *err)
{
    const bool relative = name[0] != '/' && reference->folder;
    mig_cleanup(mig_free_text) char *path = NULL;
    uint8_t *data;
    size_t size;
    unsigned mode;
    int result;

    if (asprintf(&path, "%s%s%s", relative ? reference->folder : "", relative ? "/" : "", name) <
        0) {
        path = NULL;
        return out_of_memory(err);
    }
    if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return mig_fail(err, MIG_E_USAGE, "there is no file '%s'", path);
    result = mig_file_read(path, MIG_SECRET_SIZE_MAX, &data, &size, &mode, err);
    if (result != MIG_OK)
        return result;
    if (mode & S_IROTH)
        mig_log(hooks, MIG_LOG_WARN, "%s: '%s' can be read by every user of this machine", what,
                path);
    *ret_secret = (struct mig_secret){(char *) data, size};
    return MIG_OK;
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* A pipe gives its bytes once, but a run may ask for a secret again (the second signer, a
 * reconnect): what came from a descriptor is kept for as long as the process lives. */
struct kept {
    struct kept *next;
    int fd;
    struct mig_secret secret;
};

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *first_kept;

__attribute__((destructor)) static void wipe_kept(void)
{
    while (first_kept) {
        struct kept *kept = first_kept;

        first_kept = kept->next;
        mig_secret_release(&kept->secret);
        free(kept);
    }
}

static int read_descriptor(int fd, struct mig_secret *secret, struct mig_error *err)
{
    /* One byte more than allowed tells a text that is too long. */
    const size_t capacity = MIG_SECRET_SIZE_MAX + 1;
    size_t size = 0;

    secret->text = calloc(1, capacity + 1);
    if (!secret->text)
        return out_of_memory(err);
    secret->size = capacity;
    while (size < capacity) {
        const ssize_t got = read(fd, secret->text + size, capacity - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mig_fail(err, errno == EBADF ? MIG_E_USAGE : MIG_E_IO,
                            "cannot read descriptor %d: %s", fd, strerror(errno));
        if (got == 0)
            break;
        size += (size_t) got;
    }
    if (size == capacity)
        return mig_fail(err, MIG_E_USAGE, "descriptor %d gives more than %zu bytes", fd,
                        MIG_SECRET_SIZE_MAX);
    secret->size = size;
    return MIG_OK;
}

static void unlock(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

static int from_descriptor(const char *number, struct mig_secret *ret_secret, struct mig_error *err)
{
    const int fd = (int) strtol(number, NULL, 10);
    mig_cleanup(mig_secret_release) struct mig_secret secret = {0};
    mig_cleanup(unlock) pthread_mutex_t *held = &kept_lock;
    struct kept *kept;
    int result;

    pthread_mutex_lock(held);
    for (kept = first_kept; kept; kept = kept->next)
        if (kept->fd == fd)
            return copy_secret(kept->secret.text, kept->secret.size, ret_secret, err);

    result = read_descriptor(fd, &secret, err);
    if (result != MIG_OK)
        return result;
    kept = calloc(1, sizeof *kept);
    if (!kept)
        return out_of_memory(err);
    kept->fd = fd;
    result = copy_secret(secret.text, secret.size, &kept->secret, err);
    if (result != MIG_OK) {
        free(kept);
        return result;
    }
    kept->next = first_kept;
    first_kept = kept;
    *ret_secret = secret;
    secret = (struct mig_secret){0};
    return MIG_OK;
}

/* ---- any reference ------------------------------------------------------------------------ */

static void remove_newline(struct mig_secret *secret)
{
    if (secret->size > 0 && secret->text[secret->size - 1] == '\n')
        secret->text[--secret->size] = '\0';
    if (secret->size > 0 && secret->text[secret->size - 1] == '\r')
        secret->text[--secret->size] = '\0';
}

static int fetch(const struct mig_reference *reference, const char *what,
                 const struct mig_hooks *hooks, struct mig_secret *ret_secret,
                 struct mig_error *err)
{
    const char *rest;

    switch (mig_reference_scheme(reference->text, &rest)) {
    case MIG_SCHEME_ENV:
        return from_environment(rest, ret_secret, err);
    case MIG_SCHEME_FILE:
        return from_file(reference, rest, what, hooks, ret_secret, err);
    case MIG_SCHEME_FD:
        return from_descriptor(rest, ret_secret, err);
    case MIG_SCHEME_PLAIN:
        break;
    }
    return copy_secret(rest, strlen(rest), ret_secret, err);
}

int mig_reference_resolve(const struct mig_reference *reference, const char *what,
                          const struct mig_hooks *hooks, struct mig_secret *ret_secret,
                          struct mig_error *err)
{
    mig_cleanup(mig_secret_release) struct mig_secret secret = {0};
    int result = fetch(reference, what, hooks, &secret, err);

    if (result != MIG_OK) {
        mig_error_within(err, "%s", what);
        return result;
    }
    remove_newline(&secret);
    if (secret.size == 0)
        return mig_fail(err, MIG_E_USAGE, "%s: nothing is there", what);
    if (memchr(secret.text, '\0', secret.size))
        return mig_fail(err, MIG_E_USAGE, "%s: holds a NUL character", what);
    *ret_secret = secret;
    secret = (struct mig_secret){0};
    return MIG_OK;
}

static int open_signer(const struct mig_reference *reference, const char *what,
                       const struct mig_hooks *hooks, struct mig_signer **ret_signer,
                       struct mig_error *err)
{
    mig_cleanup(mig_secret_release) struct mig_secret secret = {0};
    int result = mig_reference_resolve(reference, what, hooks, &secret, err);

    if (result != MIG_OK)
        return result;
    result = mig_signer_open(secret.text, secret.size, ret_signer, err);
    if (result != MIG_OK)
        mig_error_within(err, "%s", what);
    return result;
}

int mig_manifest_signers(const struct mig_manifest *manifest, const struct mig_hooks *hooks,
                         struct mig_signer **ret_payer, struct mig_signer **ret_originator,
                         struct mig_error *err)
{
    mig_cleanup(mig_signer_free) struct mig_signer *payer = NULL;
    mig_cleanup(mig_signer_free) struct mig_signer *originator = NULL;
    int result = MIG_OK;

    if (ret_payer)
        result = open_signer(&manifest->payer_key, "keys.payer", hooks, &payer, err);
    if (result == MIG_OK && ret_originator)
        result = open_signer(&manifest->originator_key, "keys.originator", hooks, &originator, err);
    if (result != MIG_OK)
        return result;
    if (ret_payer)
        *ret_payer = mig_take(payer);
    if (ret_originator)
        *ret_originator = mig_take(originator);
    return MIG_OK;
}
