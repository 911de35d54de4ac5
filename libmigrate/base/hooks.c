/* How the library talks to its caller, and how the caller asks it to stop. */
#include "libmigrate/base/base.h"

#include <stdarg.h>
#include <stdio.h>

void mig_log(const struct mig_hooks *hooks, enum mig_log_level level, const char *format, ...)
{
    char message[1024];
    va_list args;

    if (!hooks || !hooks->log)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    hooks->log(hooks->context, level, message);
}

void mig_report_progress(const struct mig_hooks *hooks, const struct mig_progress *progress)
{
    if (hooks && hooks->progress)
        hooks->progress(hooks->context, progress);
}

void mig_report_measure(const struct mig_hooks *hooks, enum mig_measure measure, const char *table,
                        const char *node, double value)
{
    if (hooks && hooks->measure)
        hooks->measure(hooks->context, measure, table, node, value);
}

int mig_stop_check(const struct mig_stop *stop, struct mig_error *err)
{
    for (; stop; stop = stop->also)
        if (atomic_load_explicit(&stop->requested, memory_order_relaxed))
            return mig_fail(err, MIG_E_CANCELLED, "stopped on request");
    return MIG_OK;
}
