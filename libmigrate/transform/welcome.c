/*
 * Rows of welcome_messages: welcomes and welcome pointers. V3 numbers wrapper algorithms its own
 * way; what a number means on the wire is a table, never a cast, except where the Go migrator's
 * bytes are asked for: it casts, and knows no pointers.
 */
#include "libmigrate/transform/transform_private.h"

enum { WELCOME = 0, WELCOME_POINTER = 1 };
enum { V3_CURVE25519, V3_XWING, V3_SYMMETRIC_KEY };
enum { WIRE_CURVE25519 = 1, WIRE_XWING = 2, WIRE_SYMMETRIC_KEY = 3 };
enum { WIRE_POINTER_XWING = 2 };

static const struct {
    int64_t message_type, v3;
    int32_t wire;
} algorithms[] = {
    {WELCOME, V3_CURVE25519, WIRE_CURVE25519},
    {WELCOME, V3_XWING, WIRE_XWING},
    {WELCOME, V3_SYMMETRIC_KEY, WIRE_SYMMETRIC_KEY},
    {WELCOME_POINTER, V3_XWING, WIRE_POINTER_XWING},
};

/* 0 when there is no such algorithm for this type of message. */
static int32_t wire_algorithm(int64_t message_type, int64_t v3)
{
    for (size_t i = 0; i < mig_count_of(algorithms); i++)
        if (algorithms[i].message_type == message_type && algorithms[i].v3 == v3)
            return algorithms[i].wire;
    return 0;
}

static bool known_type(int64_t message_type)
{
    return message_type == WELCOME || message_type == WELCOME_POINTER;
}

static enum mig_reason judge(enum mig_profile profile, const struct mig_row *row)
{
    const int64_t type = row->values[MIG_WM_MESSAGE_TYPE].number;
    const int64_t algorithm = row->values[MIG_WM_WRAPPER_ALGORITHM].number;
    const bool correct = profile == MIG_PROFILE_CORRECT;

    if (correct && row->values[MIG_WM_DATA].bytes.size == 0)
        return MIG_REASON_DATA_EMPTY;
    if (row->values[MIG_WM_INSTALLATION_KEY].bytes.size == 0)
        return MIG_REASON_IDENTIFIER_EMPTY;
    /* Of an unknown type, a number is wrong only if no type knows it. */
    if (correct && wire_algorithm(known_type(type) ? type : WELCOME, algorithm) == 0)
        return MIG_REASON_WRAPPER_ALGORITHM_UNKNOWN;
    if (correct && !known_type(type))
        return MIG_REASON_MESSAGE_TYPE_UNKNOWN;
    return MIG_REASON_NONE;
}

static int build(enum mig_profile profile, const struct mig_row *row, struct mig_arena *arena,
                 struct mig_bytes *ret_payload, struct mig_error *err)
{
    const int64_t type = row->values[MIG_WM_MESSAGE_TYPE].number;
    const int64_t algorithm = row->values[MIG_WM_WRAPPER_ALGORITHM].number;
    const bool correct = profile == MIG_PROFILE_CORRECT;
    const struct mig_welcome welcome = {
        .pointer = correct && type == WELCOME_POINTER,
        .installation_key = row->values[MIG_WM_INSTALLATION_KEY].bytes,
        .data = row->values[MIG_WM_DATA].bytes,
        .hpke_public_key = row->values[MIG_WM_HPKE_PUBLIC_KEY].bytes,
        .metadata = row->values[MIG_WM_METADATA].bytes,
        .wrapper_algorithm = correct ? wire_algorithm(type, algorithm) : (int32_t) algorithm,
    };

    return mig_welcome_build(&welcome, arena, ret_payload, err);
}

const struct kind_rules transform_welcome_rules = {3, judge, build};
