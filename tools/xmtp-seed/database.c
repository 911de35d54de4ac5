/* The way into a database: the DSN of the command line, and the sequences that give out ids. */
#include "tools/xmtp-seed/seed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int seed_connect(const char *dsn, const struct mig_stop *stop, struct mig_pg **ret_pg,
                 struct mig_error *err)
{
    const struct mig_pg_options options = {.subject = "database", .stop = stop};
    const char *text = dsn;

    if (!dsn) {
        mig_fail(err, MIG_E_USAGE, "--dsn is missing");
        return mig_hint(err, "--dsn env:NAME, or --dsn 'host=... dbname=...'");
    }
    if (strncmp(dsn, "env:", 4) == 0) {
        text = getenv(dsn + 4);
        if (!text || !*text)
            return mig_fail(err, MIG_E_USAGE, "--dsn: the variable '%s' is not set", dsn + 4);
    }
    return mig_pg_open(text, &options, ret_pg, err);
}

int seed_sequence_last(struct mig_pg *pg, enum mig_table table, int64_t *ret_id,
                       struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(mig_pg_result_release) struct mig_pg_result found = {0};
    char sql[160];
    int result;

    snprintf(
        sql, sizeof sql,
        "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM public.%s_%s_seq",
        info->name, info->id_column);
    result = mig_pg_query(pg, sql, NULL, 0, &found, err);
    if (result == MIG_OK)
        *ret_id = mig_pg_int64(&found, 0, 0);
    return result;
}

int seed_sequence_set(struct mig_pg *pg, enum mig_table table, int64_t id, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(table);
    mig_cleanup(mig_pg_result_release) struct mig_pg_result ignored = {0};
    char sql[160];

    if (id < 1)
        return MIG_OK; /* nothing was given out */
    snprintf(sql, sizeof sql, "SELECT setval('public.%s_%s_seq', %" PRId64 ")", info->name,
             info->id_column, id);
    return mig_pg_query(pg, sql, NULL, 0, &ignored, err);
}
