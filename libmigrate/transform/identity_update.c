/* Rows of inbox_log. The stored bytes are the payload, as they are: they are only checked. */
#include "libmigrate/transform/transform_private.h"

#define INBOX_ID_SIZE 32

static enum mig_reason judge(enum mig_profile profile, const struct mig_row *row)
{
    const struct mig_bytes update = row->values[MIG_IL_UPDATE].bytes;

    (void) profile;
    if (row->values[MIG_IL_INBOX_ID].bytes.size == 0)
        return MIG_REASON_IDENTIFIER_EMPTY;
    if (row->values[MIG_IL_INBOX_ID].bytes.size != INBOX_ID_SIZE)
        return MIG_REASON_INBOX_ID_LENGTH;
    if (update.size == 0)
        return MIG_REASON_IDENTITY_UPDATE_EMPTY;
    if (!mig_identity_update_valid(update))
        return MIG_REASON_IDENTITY_UPDATE_UNPARSABLE;
    return MIG_REASON_NONE;
}

static int build(enum mig_profile profile, const struct mig_row *row, struct mig_arena *arena,
                 struct mig_bytes *ret_payload, struct mig_error *err)
{
    (void) profile;
    (void) arena;
    (void) err;
    *ret_payload = row->values[MIG_IL_UPDATE].bytes;
    return MIG_OK;
}

const struct kind_rules transform_identity_update_rules = {5, judge, build};
