/* Rows of key_packages. */
#include "libmigrate/transform/transform_private.h"

static enum mig_reason judge(enum mig_profile profile, const struct mig_row *row)
{
    (void) profile;
    if (row->values[MIG_KP_INSTALLATION_ID].bytes.size == 0)
        return MIG_REASON_IDENTIFIER_EMPTY;
    if (row->values[MIG_KP_KEY_PACKAGE].bytes.size == 0)
        return MIG_REASON_KEY_PACKAGE_EMPTY;
    return MIG_REASON_NONE;
}

static int build(enum mig_profile profile, const struct mig_row *row, struct mig_arena *arena,
                 struct mig_bytes *ret_payload, struct mig_error *err)
{
    (void) profile;
    return mig_key_package_build(row->values[MIG_KP_KEY_PACKAGE].bytes, arena, ret_payload, err);
}

const struct kind_rules transform_key_package_rules = {4, judge, build};
