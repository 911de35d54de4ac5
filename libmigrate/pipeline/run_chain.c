/* The chain's share of a run: where it goes, how it is set aside, its bundle. */
#include "libmigrate/io/io.h"
#include "libmigrate/pipeline/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void run_leave_spool(struct run *run, const struct mig_error *why)
{
    mig_log(run->job.hooks, MIG_LOG_WARN,
            "%s: rows for the chain will be read from the source once more", why->message);
    mig_spool_free(&run->spool);
}

int run_open_spool(struct run *run, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(run->chain_out);
    struct mig_error failure = MIG_ERROR_INIT;

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (mig_spool_open(folder, &run->spool, &failure) != MIG_OK)
        run_leave_spool(run, &failure);
    return MIG_OK;
}

int run_set_chain_aside(struct run *run, const struct mig_part *part, struct mig_error *err)
{
    struct mig_error failure = MIG_ERROR_INIT;
    int result = run->spool ? mig_spool_add(run->spool, part, &failure) : MIG_OK;

    if (result == MIG_E_IO) {
        run_leave_spool(run, &failure);
        return MIG_OK;
    }
    if (result != MIG_OK && err)
        *err = failure;
    return result;
}

int pipeline_check_chain_folder(const struct mig_manifest *manifest,
                                const struct mig_run_options *options, struct mig_error *err)
{
    const char *path = options->chain_out ? options->chain_out : manifest->path;
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(path);

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (!*path || strcmp(path, "-") == 0) {
        mig_fail(err, MIG_E_USAGE, "the chain-bound envelopes can't be written to '%s'", path);
        return mig_hint(err, "name a folder or a .tar file with --chain-out");
    }
    if (strlen(path) >= RUN_PATH_SIZE)
        return mig_fail(err, MIG_E_USAGE, "the path '%.60s...' is too long", path);
    if (access(folder, W_OK | X_OK) == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_IO, "cannot write the chain-bound envelopes to '%s': %s", folder,
             strerror(errno));
    return mig_hint(err, "say where with --chain-out");
}

int run_choose_chain_out(struct run *run, const struct mig_run_options *options,
                         struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *folder = mig_folder_of(run->job.manifest->path);

    if (!folder)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    snprintf(run->chain_out, sizeof run->chain_out, "%.*s", RUN_PATH_SIZE - 1,
             options->chain_out ? options->chain_out : folder);
    if (!options->chain_out)
        snprintf(run->chain_out + strlen(run->chain_out), RUN_NAME_ROOM, "/%.64s-chain-%s",
                 run->job.manifest->network, run->job.run.facts.run);
    return MIG_OK;
}

/* What was set aside and its bundle may be more than the disk holds: then one without the other. */
int run_bundle_chain(struct run *run, bool *ret_there, struct mig_error *err)
{
    const struct run_job *job = &run->job;
    struct pipeline_chain chain = {.manifest = job->manifest,
                                   .run = &job->run,
                                   .source = job->sources.items[0],
                                   .spool = run->spool,
                                   .node = job->nodes.items[0],
                                   .out = run->chain_out,
                                   .blockers = &run->blockers,
                                   .hooks = job->hooks,
                                   .stop = job->stop};
    struct mig_error failure = MIG_ERROR_INIT;
    int result = pipeline_bundle_chain(&chain, ret_there, &failure);

    if (result == MIG_E_IO && run->spool) {
        run_leave_spool(run, &failure);
        chain.spool = NULL;
        return pipeline_bundle_chain(&chain, ret_there, err);
    }
    if (result != MIG_OK && err)
        *err = failure;
    return result;
}
