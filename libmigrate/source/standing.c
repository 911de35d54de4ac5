/* Kind and expiry of a row: the rules of who goes where, before any envelope is built. */
#include "libmigrate/source/source.h"

static void judge_group_message(const struct mig_policy *policy, const struct mig_row *row,
                                struct mig_standing *standing)
{
    const struct mig_value *column = &row->values[MIG_GM_IS_COMMIT];
    enum mig_mls_content content;
    const bool readable =
        mig_mls_content_type(row->values[MIG_GM_DATA].bytes, &content, NULL) == MIG_OK;
    const bool by_bytes = readable && content == MIG_MLS_COMMIT;
    const bool by_column = !column->is_null && column->number != 0;
    const bool column_decides =
        !column->is_null && (!readable || policy->profile == MIG_PROFILE_XMTPD);

    standing->kind_told = readable || !column->is_null;
    standing->kind = (column_decides ? by_column : by_bytes) ? MIG_KIND_COMMIT_MESSAGES
                                                             : MIG_KIND_GROUP_MESSAGES;
    if (column->is_null)
        standing->findings |= 1u << MIG_FINDING_IS_COMMIT_NULL;
    else if (readable && by_bytes != by_column)
        standing->findings |= 1u << MIG_FINDING_IS_COMMIT_DISAGREES;
    if (!readable)
        standing->findings |= 1u << MIG_FINDING_MLS_UNPARSABLE;
}

static enum mig_kind kind_of_table(enum mig_table table)
{
    int kind = 0;

    while (mig_kind_info((enum mig_kind) kind)->table != table)
        kind++;
    return (enum mig_kind) kind;
}

/* The current key package of an installation counts from when it became that. The Go migrator knows
 * no such rule. */
static void judge_time(const struct mig_policy *policy, const struct mig_row *row,
                       struct mig_standing *standing)
{
    const struct mig_value *current = &row->values[MIG_KP_CURRENT_SINCE_NS];

    standing->since_known = mig_row_created_ns(row, &standing->since_ns);
    if (row->table == MIG_TABLE_KEY_PACKAGES && policy->profile == MIG_PROFILE_CORRECT &&
        !current->is_null && current->number > standing->since_ns)
        standing->since_ns = current->number;
}

/* Whether days after the row's time as_of has come. Of a time that 64 bits can't hold, the sign
 * tells. */
static bool has_passed(uint32_t days, int64_t as_of_ns, const struct mig_row *row,
                       const struct mig_standing *standing)
{
    __extension__ typedef __int128 wide;

    if (!standing->since_known)
        return row->values[mig_table_info(row->table)->created_column].number < 0;
    return (wide) standing->since_ns + (wide) days * MIG_NS_PER_DAY <= as_of_ns;
}

void mig_source_standing(const struct mig_policy *policy, int64_t as_of_ns,
                         const struct mig_row *row, struct mig_standing *ret_standing)
{
    struct mig_standing standing = {.kind = kind_of_table(row->table), .kind_told = true};

    if (row->table == MIG_TABLE_GROUP_MESSAGES)
        judge_group_message(policy, row, &standing);
    judge_time(policy, row, &standing);
    standing.expired = !policy->keep_expired && mig_kind_info(standing.kind)->expires &&
                       has_passed(policy->retention_days[standing.kind], as_of_ns, row, &standing);
    standing.expired_early =
        standing.expired &&
        !has_passed(policy->source_retention_days[standing.kind], as_of_ns, row, &standing);
    *ret_standing = standing;
}
