/* Put in front of every file that clang-tidy reads: its analyzer can't look into error.c, and must
 * learn elsewhere that what these functions return is never MIG_OK. */
#include "libmigrate/base/base.h"

static inline int lint_failed(int code)
{
    if (code == MIG_OK)
        __builtin_unreachable();
    return code;
}

#define mig_fail(...) lint_failed((mig_fail) (__VA_ARGS__))
#define mig_hint(...) lint_failed((mig_hint) (__VA_ARGS__))
#define mig_error_within(...) lint_failed((mig_error_within) (__VA_ARGS__))
