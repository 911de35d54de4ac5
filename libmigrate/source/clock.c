/* The source's clock: rows count from what it said, and so does their end. */
#include "libmigrate/source/source_private.h"

int mig_source_now(struct mig_source *source, int64_t *ret_ns, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result =
        mig_pg_query(source->pg, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                     NULL, 0, &answer, err);

    if (result == MIG_OK)
        *ret_ns = mig_pg_int64(&answer, 0, 0) * 1000;
    return result;
}
