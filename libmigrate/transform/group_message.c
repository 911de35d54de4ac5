/* Rows of group_messages: application messages, proposals and commits look alike here. */
#include "libmigrate/transform/transform_private.h"

#define GROUP_ID_SIZE 16

static enum mig_reason judge(enum mig_profile profile, const struct mig_row *row)
{
    (void) profile;
    if (row->values[MIG_GM_DATA].bytes.size == 0)
        return MIG_REASON_DATA_EMPTY;
    if (row->values[MIG_GM_GROUP_ID].bytes.size != GROUP_ID_SIZE)
        return MIG_REASON_GROUP_ID_LENGTH;
    return MIG_REASON_NONE;
}

static int build(enum mig_profile profile, const struct mig_row *row, struct mig_arena *arena,
                 struct mig_bytes *ret_payload, struct mig_error *err)
{
    const struct mig_value *push = &row->values[MIG_GM_SHOULD_PUSH];

    (void) profile;
    return mig_group_message_build(row->values[MIG_GM_DATA].bytes,
                                   row->values[MIG_GM_SENDER_HMAC].bytes,
                                   !push->is_null && push->number != 0, arena, ret_payload, err);
}

const struct kind_rules transform_group_message_rules = {2, judge, build};
