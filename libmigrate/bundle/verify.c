/* The first pass over a bundle, in which nobody gets to see it: files are read one after another,
 * decoded side by side, and judged in their order, so that the same bundle is always refused for
 * the same reason. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/work/work.h"

#include <stdlib.h>
#include <string.h>

/* Each has a part in hand, decoded. */
#define THREADS_MOST 4
/* A file, its records, what is kept of them, and the layers around a row that may be most of it:
 * parts of large rows wait for one another. */
#define TIMES_ITS_FILE 5
#define IN_HAND_MOST ((size_t) 64 << 20)

struct job {
    const struct bundle_pass *pass;
    struct bundle_codec codecs[THREADS_MOST];
    struct mig_budget *budget;
    bool at_end; /* the taking thread's */
};

struct file {
    char name[BUNDLE_NAME_SIZE];
    struct mig_buffer bytes;
    struct mig_budget *budget;
    size_t charged;
    struct mig_bundle_entry entry;
    struct mig_error failure;
};

static void put_down(struct file *file)
{
    mig_buffer_release(&file->bytes);
    mig_budget_correct(file->budget, file->charged, 0);
    file->charged = 0;
}

static void discard(void *item)
{
    struct file *file = item;

    put_down(file);
    free(file);
}

static void free_file(struct file **file)
{
    if (*file)
        discard(*file);
}

static bool is_part(const struct file *file)
{
    return file->failure.code == MIG_OK && bundle_file_of(file->name) == BUNDLE_FILE_PART;
}

/* A file that can't be read is the last: what came before it is judged first. */
static int take(void *context, void **ret_item, struct mig_error *err)
{
    struct job *job = context;
    const struct bundle_pass *pass = job->pass;
    mig_cleanup(free_file) struct file *file = NULL;
    int result;

    *ret_item = NULL;
    if (job->at_end)
        return MIG_OK;
    file = calloc(1, sizeof *file);
    if (!file)
        return mig_fail(err, MIG_E_NOMEM, "cannot verify it: out of memory");
    file->bytes = MIG_BUFFER_INIT(bundle_file_limit(BUNDLE_FILE_PART));
    file->budget = job->budget;
    (void) !pass->input->next(pass->state, file->name, &file->bytes, &file->failure);
    job->at_end = !is_part(file);
    if (is_part(file)) {
        const size_t bytes = TIMES_ITS_FILE * file->bytes.size;

        if ((result = mig_budget_take(job->budget, bytes, err)) != MIG_OK)
            return result;
        file->charged = bytes;
    }
    *ret_item = mig_take(file);
    return MIG_OK;
}

static int decode(struct job *job, unsigned worker, struct file *file, struct mig_error *err)
{
    const struct bundle_pass *pass = job->pass;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = bundle_decode_part(&job->codecs[worker], mig_buffer_bytes(&file->bytes),
                                    pass->facts->stage, &part, &file->entry, err);

    if (result != MIG_OK)
        return mig_error_within(err, "'%s'", file->name);
    memcpy(file->entry.name, file->name, sizeof file->name);
    return pass->judge ? pass->judge(pass->facts, part, err) : MIG_OK;
}

/* A failure is the file's own: the first in the bundle's order is told, not the first in time. */
static int work(void *context, unsigned worker, void *item, struct mig_error *err)
{
    struct file *file = item;

    (void) err;
    if (!is_part(file))
        return MIG_OK;
    (void) !decode(context, worker, file, &file->failure);
    put_down(file);
    return MIG_OK;
}

static int give(void *context, void **item, struct mig_error *err)
{
    const struct bundle_pass *pass = ((struct job *) context)->pass;
    mig_cleanup(free_file) struct file *file = mig_take(*item);

    if (file->failure.code == MIG_OK)
        return bundle_file_of(file->name) == BUNDLE_FILE_PART
                   ? pass->settle(pass->reader, &file->entry, err)
                   : pass->end(pass->reader, file->name, &file->bytes, err);
    if (err)
        *err = file->failure;
    return file->failure.code;
}

int bundle_pass_run(const struct bundle_pass *pass, unsigned threads, struct mig_error *err)
{
    static const struct mig_line line = {
        .take = take, .work = work, .give = give, .discard = discard};
    struct job job = {.pass = pass};
    /* A file of a stream is judged before the next is waited for. */
    const unsigned count = pass->input->comes_in ? 1 : mig_thread_count(threads);
    int result = mig_budget_open(IN_HAND_MOST, &job.budget, err);

    if (result != MIG_OK)
        return result;
    for (size_t i = 0; i < THREADS_MOST; i++)
        job.codecs[i] = BUNDLE_CODEC_INIT;
    result = mig_line_run(&line, count < THREADS_MOST ? count : THREADS_MOST, &job, err);
    for (size_t i = 0; i < THREADS_MOST; i++)
        bundle_codec_release(&job.codecs[i]);
    mig_budget_free(&job.budget);
    return result;
}
