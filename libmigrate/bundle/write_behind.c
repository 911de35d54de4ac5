/* The second half of writing a part, on a thread of its own: its records are compressed, hashed and
 * written while the caller encodes the next one's. Two buffers of records go to and fro, so that
 * never more than one part waits. */
#include "libmigrate/base/fault.h"
#include "libmigrate/bundle/bundle_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct bundle_behind {
    const struct bundle_output *output;
    void *state;
    struct bundle_index *index;
    struct bundle_codec codec;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock; codec.records and entry are the thread's while busy. */
    bool busy, ending;
    struct mig_bundle_entry entry;
    struct mig_error failure;
};

static int write_part(struct bundle_behind *behind, struct mig_error *err)
{
    struct mig_bundle_entry *entry = &behind->entry;
    int result = bundle_encode_file(&behind->codec, entry, err);

    if (result != MIG_OK)
        return mig_error_within(err, "'%s'", entry->name);
    result =
        behind->output->put(behind->state, entry->name, mig_buffer_bytes(&behind->codec.file), err);
    return result == MIG_OK ? bundle_index_add(behind->index, entry, err) : result;
}

static void *write_parts(void *context)
{
    struct bundle_behind *behind = context;

    pthread_mutex_lock(&behind->lock);
    for (;;) {
        struct mig_error err = MIG_ERROR_INIT;

        while (!behind->busy && !behind->ending)
            pthread_cond_wait(&behind->changed, &behind->lock);
        if (!behind->busy)
            break;
        pthread_mutex_unlock(&behind->lock);
        (void) write_part(behind, &err);
        pthread_mutex_lock(&behind->lock);
        behind->failure = err;
        behind->busy = false;
        pthread_cond_broadcast(&behind->changed);
    }
    pthread_mutex_unlock(&behind->lock);
    return NULL;
}

int bundle_behind_open(const struct bundle_output *output, void *state, struct bundle_index *index,
                       struct bundle_behind **ret_behind, struct mig_error *err)
{
    mig_cleanup(bundle_behind_free) struct bundle_behind *behind = calloc(1, sizeof *behind);
    int failure;

    if (!behind)
        return mig_fail(err, MIG_E_NOMEM, "cannot write a bundle: out of memory");
    behind->output = output;
    behind->state = state;
    behind->index = index;
    behind->codec = BUNDLE_CODEC_INIT;
    pthread_mutex_init(&behind->lock, NULL);
    pthread_cond_init(&behind->changed, NULL);
    failure = pthread_create(&behind->thread, NULL, write_parts, behind);
    if (failure != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    behind->running = true;
    *ret_behind = mig_take(behind);
    return MIG_OK;
}

/* Waits until the thread has nothing in hand; a failure stays for every later call. */
static int wait_idle(struct bundle_behind *behind, struct mig_error *err)
{
    while (behind->busy)
        pthread_cond_wait(&behind->changed, &behind->lock);
    if (behind->failure.code != MIG_OK && err)
        *err = behind->failure;
    return behind->failure.code;
}

int bundle_behind_put(struct bundle_behind *behind, const struct mig_bundle_entry *entry,
                      struct mig_buffer *records, struct mig_error *err)
{
    const struct mig_buffer filled = *records;
    int result;

    pthread_mutex_lock(&behind->lock);
    result = wait_idle(behind, err);
    if (result == MIG_OK) {
        (void) MIG_FAULT(HANDOVER);
        *records = behind->codec.records;
        behind->codec.records = filled;
        behind->entry = *entry;
        behind->busy = true;
        pthread_cond_broadcast(&behind->changed);
    }
    pthread_mutex_unlock(&behind->lock);
    return result;
}

int bundle_behind_end(struct bundle_behind *behind, struct mig_error *err)
{
    int result;

    pthread_mutex_lock(&behind->lock);
    result = wait_idle(behind, err);
    pthread_mutex_unlock(&behind->lock);
    return result;
}

void bundle_behind_free(struct bundle_behind **behind)
{
    struct bundle_behind *b = mig_take(*behind);

    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->ending = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    if (b->running)
        pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    bundle_codec_release(&b->codec);
    free(b);
}
