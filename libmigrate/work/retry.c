/* Faults that pass by themselves: how long to wait before trying again, and when to give up. */
#include "libmigrate/work/work.h"

#include <time.h>

#define FIRST_DELAY_MS 200
#define MOST_DELAY_MS 15000
#define STEP_MS 50

void mig_retry_succeeded(struct mig_retry *retry)
{
    retry->attempts = 0;
}

/* Twice as long each time; a quarter more or less, so that many who failed together don't come back
 * together. */
static int64_t delay_ms(const struct mig_retry *retry)
{
    int64_t delay = FIRST_DELAY_MS;
    const int64_t share = (int64_t) ((uint64_t) mig_time_monotonic_ns() / 1000 % 512);

    for (unsigned i = 0; i < retry->attempts && delay < MOST_DELAY_MS; i++)
        delay *= 2;
    if (delay > MOST_DELAY_MS)
        delay = MOST_DELAY_MS;
    return delay * (768 + share) / 1024;
}

static int give_up(const struct mig_retry *retry, const struct mig_error *why,
                   struct mig_error *err)
{
    if (!err)
        return why->code;
    *err = *why;
    if (retry->attempts > 0)
        mig_error_within(
            err, "given up after %u tries in %lld s", retry->attempts,
            (long long) ((mig_time_monotonic_ns() - retry->since_ns) / MIG_NS_PER_SECOND));
    return why->code;
}

int mig_retry_wait(struct mig_retry *retry, const struct mig_error *why,
                   const struct mig_hooks *hooks, const struct mig_stop *stop,
                   struct mig_error *err)
{
    const int64_t now_ns = mig_time_monotonic_ns();
    int64_t until_ns, left_ns;
    int result;

    if (retry->attempts == 0)
        retry->since_ns = now_ns;
    until_ns = now_ns + delay_ms(retry) * 1000000;
    left_ns = retry->since_ns + (int64_t) retry->for_s * MIG_NS_PER_SECOND - until_ns;
    if (left_ns < 0) {
        if (retry->attempts > 0)
            mig_report_measure(hooks, MIG_MEASURE_GIVEN_UP, NULL, retry->node, 1);
        return give_up(retry, why, err);
    }
    retry->attempts++;
    mig_report_measure(hooks, MIG_MEASURE_RETRIES, NULL, retry->node, 1);
    mig_log(hooks, MIG_LOG_WARN, "%s: trying again in %.1f s (try %u, for %lld s more)",
            why->message, (double) (until_ns - now_ns) / 1e9, retry->attempts,
            (long long) (left_ns / MIG_NS_PER_SECOND));
    while (mig_time_monotonic_ns() < until_ns) {
        if ((result = mig_stop_check(stop, err)) != MIG_OK)
            return result;
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    return MIG_OK;
}
