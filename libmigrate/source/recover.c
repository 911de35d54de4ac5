/* A source that was lost and comes back: a server restarted, a standby promoted, a connection cut.
 * Everything here reads, so whatever failed may be asked again. */
#include "libmigrate/source/source_private.h"

/* Whoever answers in the place of a server that was lost is asked for the ids that it gave out. */
static int check_identity(struct mig_source *source, struct mig_error *err)
{
    int result = source->identified ? mig_source_check_same(source, &source->identity, err)
                                    : mig_source_identify(source, &source->identity, err);

    source->identified = source->identified || result == MIG_OK;
    return result;
}

int source_connect(struct mig_source *source, struct mig_error *err)
{
    const struct mig_manifest *manifest = source->manifest;
    mig_cleanup(mig_secret_release) struct mig_secret dsn = {0};
    const struct mig_pg_options options = {
        .subject = "source",
        .read_only = true,
        .stop = source->stop,
        .statement_timeout_s = manifest->source_limits.statement_timeout_s,
        .lock_timeout_s = manifest->source_limits.lock_timeout_s};
    struct mig_pg *pg = NULL;
    int result;

    if ((result = mig_reference_resolve(&manifest->source_dsn, "source.dsn", source->hooks, &dsn,
                                        err)) != MIG_OK ||
        (result = mig_pg_open(dsn.text, &options, &pg, err)) != MIG_OK)
        return result;
    mig_pg_close(&source->pg);
    source->pg = pg;
    source->connections++;
    result = source_probe(source, err);
    if (result == MIG_OK)
        result = check_identity(source, err);
    source->probed = result == MIG_OK;
    if (result == MIG_OK)
        mig_report_measure(source->hooks, MIG_MEASURE_UP, NULL, NULL, 1);
    return result;
}

int source_recover(struct mig_source *source, struct mig_retry *retry, const struct mig_error *why,
                   struct mig_error *err)
{
    struct mig_error failure = *why;

    retry->for_s = source->retry_for_s;
    if (!source->probed || !mig_pg_alive(source->pg))
        mig_report_measure(source->hooks, MIG_MEASURE_UP, NULL, NULL, 0);
    for (;;) {
        int result = mig_retry_wait(retry, &failure, source->hooks, &source->leaving, err);

        if (result != MIG_OK || (source->probed && mig_pg_idle(source->pg)))
            return result;
        result = source_connect(source, &failure);
        if (result == MIG_OK) {
            mig_log(source->hooks, MIG_LOG_INFO, "source (%s): connected again",
                    mig_pg_place(source->pg));
            return MIG_OK;
        }
        if (result != MIG_E_TEMPORARY) {
            if (err)
                *err = failure;
            return result;
        }
    }
}

int source_query(struct mig_source *source, const char *sql, const char *const *params,
                 size_t param_count, struct mig_pg_result *ret_result, struct mig_error *err)
{
    struct mig_retry retry = {0};

    for (;;) {
        struct mig_error failure = MIG_ERROR_INIT;
        int result = source_reach_floor(source, &failure);

        if (result == MIG_OK)
            result = mig_pg_query(source->pg, sql, params, param_count, ret_result, &failure);
        if (result == MIG_OK)
            return MIG_OK;
        if (result != MIG_E_TEMPORARY) {
            if (err)
                *err = failure;
            return result;
        }
        if ((result = source_recover(source, &retry, &failure, err)) != MIG_OK)
            return result;
    }
}

void mig_source_set_retry(struct mig_source *source, unsigned seconds)
{
    source->retry_for_s = seconds;
}

void mig_source_leave(struct mig_source *source, bool leave)
{
    atomic_store(&source->leaving.requested, leave);
}
