/* What would make a reading of V3 refuse: told before anything is begun, and all at once. */
#include "libmigrate/source/source_private.h"

/* What makes it unreadable, a row each: which table, and why. installations is only joined where it
 * has the columns for it. */
static const char *const unreadable_sql =
    "SELECT name, CASE WHEN NOT has_any_column_privilege('public.' || name, 'SELECT') THEN"
    " 'no right to SELECT' WHEN row_security_active('public.' || name) THEN"
    " 'row-level security hides rows' END, current_user"
    " FROM unnest(ARRAY['group_messages', 'welcome_messages', 'key_packages', 'inbox_log',"
    " 'installations']) AS name WHERE to_regclass('public.' || name) IS NOT NULL";

static int refuse_unreadable(struct mig_source *source, struct mig_errors *refusals,
                             struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = source_query(source, unreadable_sql, NULL, 0, &answer, err);

    for (int row = 0; row < answer.rows && result == MIG_OK; row++) {
        struct mig_error one = MIG_ERROR_INIT;

        if (!mig_pg_text(&answer, row, 1))
            continue;
        mig_fail(&one, MIG_E_REFUSED, "source (%s): %s can't be read by the role %.60s: %s",
                 mig_pg_place(source->pg), mig_pg_text(&answer, row, 0),
                 mig_pg_text(&answer, row, 2), mig_pg_text(&answer, row, 1));
        mig_hint(&one, "schemas/sql/source_role.sql lists the rights that are needed");
        result = mig_errors_add(refusals, &one, err);
    }
    return result;
}

int mig_source_examine(struct mig_source *source, struct mig_errors *refusals,
                       struct mig_error *err)
{
    int result = refuse_unreadable(source, refusals, err);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        struct mig_error one = MIG_ERROR_INIT;
        int64_t last;

        result = mig_source_last_id(source, (enum mig_table) table, &last, &one);
        if (result != MIG_OK && result != MIG_E_CANCELLED)
            result = mig_errors_add(refusals, &one, err);
        else if (result != MIG_OK && err)
            *err = one;
    }
    return result;
}
