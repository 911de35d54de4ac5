/*
 * The watch: everything that is heard goes into the registry and on to who listened before; HTTP
 * asks for it, and a thread tells systemd.
 */
#include "libmigrate/watch/watch_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STALL_AFTER_S 60
#define TICK_MS 200
#define STATUS_NS MIG_NS_PER_SECOND

struct mig_watch {
    struct mig_hooks hooks; /* ours */
    const struct mig_hooks *listener;
    const struct mig_stop *stop;
    struct server *server;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t wake;
    struct registry registry;
    struct health health;
    uint64_t total, rejected;
    bool closing;
    pthread_t notifier;
    bool notifies;
};

/* ---- hearing ------------------------------------------------------------------------------- */

static void on_log(void *context, enum mig_log_level level, const char *message)
{
    const struct mig_watch *watch = context;

    if (watch->listener->log)
        watch->listener->log(watch->listener->context, level, message);
}

static void on_progress(void *context, const struct mig_progress *progress)
{
    struct mig_watch *watch = context;

    pthread_mutex_lock(&watch->lock);
    health_take_progress(&watch->health, progress, mig_time_monotonic_ns());
    if (!progress->only_waiting) {
        watch->total = progress->total;
        watch->rejected = progress->rejected;
    }
    pthread_mutex_unlock(&watch->lock);
    mig_report_progress(watch->listener, progress);
}

static void on_measure(void *context, enum mig_measure measure, const char *table, const char *node,
                       double value)
{
    struct mig_watch *watch = context;

    pthread_mutex_lock(&watch->lock);
    registry_report(&watch->registry, measure, table, node, value);
    if (measure_infos[measure].moves && value > 0)
        health_move(&watch->health, mig_time_monotonic_ns());
    pthread_mutex_unlock(&watch->lock);
    mig_report_measure(watch->listener, measure, table, node, value);
}

const struct mig_hooks *mig_watch_hooks(const struct mig_watch *watch)
{
    return &watch->hooks;
}

/* ---- telling over HTTP --------------------------------------------------------------------- */

static int answer_metrics(void *context, struct answer *answer, struct mig_error *err)
{
    struct mig_watch *watch = context;
    int result;

    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    pthread_mutex_lock(&watch->lock);
    result = expose(&watch->registry, &watch->health, mig_time_monotonic_ns(), &answer->text, err);
    pthread_mutex_unlock(&watch->lock);
    return result;
}

static int answer_health(void *context, struct answer *answer, struct mig_error *err)
{
    struct mig_watch *watch = context;
    char reason[REASON_SIZE];
    bool well;

    pthread_mutex_lock(&watch->lock);
    well = health_is_well(&watch->health, mig_time_monotonic_ns(), reason);
    pthread_mutex_unlock(&watch->lock);
    answer->status = well ? 200 : 503;
    return mig_buffer_print(&answer->text, err, "%s\n", well ? "ok" : reason);
}

static int answer_ready(void *context, struct answer *answer, struct mig_error *err)
{
    struct mig_watch *watch = context;
    char reason[REASON_SIZE];
    bool ready;

    pthread_mutex_lock(&watch->lock);
    ready = health_is_ready(&watch->health, &watch->registry, reason);
    pthread_mutex_unlock(&watch->lock);
    answer->status = ready ? 200 : 503;
    return mig_buffer_print(&answer->text, err, "%s\n", ready ? "ok" : reason);
}

static int answer_nothing(void *context, struct answer *answer, struct mig_error *err)
{
    (void) context;
    answer->status = 404;
    return mig_buffer_print(&answer->text, err, "there are /metrics, /healthz and /readyz\n");
}

static const struct page pages[] = {
    {"/metrics", answer_metrics},
    {"/healthz", answer_health},
    {"/readyz", answer_ready},
    {NULL, answer_nothing},
};

static int open_server(struct mig_watch *watch, const char *address, struct mig_error *err)
{
    char where[ADDRESS_TEXT_SIZE];
    int fd, result;

    if (!address)
        return MIG_OK;
    if ((result = address_listen(address, &fd, where, err)) != MIG_OK ||
        (result = server_open(fd, pages, watch, &watch->server, err)) != MIG_OK)
        return result;
    mig_log(watch->listener, MIG_LOG_INFO, "metrics at http://%s/metrics", where);
    return MIG_OK;
}

/* ---- telling systemd ----------------------------------------------------------------------- */

/* What was said to systemd so far. */
struct told {
    bool ready, stopping;
    int64_t status_ns, ping_ns;
};

static void tell_status(const struct mig_watch *watch)
{
    const struct health *health = &watch->health;
    char total[32] = "";

    if (!health->stage[0])
        return;
    if (watch->total > 0)
        snprintf(total, sizeof total, " of %" PRIu64, watch->total);
    sd_notifyf(0, "STATUS=%s%s%s: %" PRIu64 "%s rows, %" PRIu64 " rejected%s%s", health->stage,
               health->subject[0] ? " " : "", health->subject, health->done, total, watch->rejected,
               health->waiting[0] ? "; waiting: " : "", health->waiting);
}

/* Ready is who has begun: a node that is away must not keep the service from starting. */
static void tell_systemd(const struct mig_watch *watch, int64_t ping_every_ns, struct told *told)
{
    const int64_t now_ns = mig_time_monotonic_ns();
    char reason[REASON_SIZE];

    if (!told->ready && watch->health.working) {
        sd_notify(0, "READY=1");
        told->ready = true;
    }
    if (!told->stopping && (watch->closing || mig_stop_check(watch->stop, NULL) != MIG_OK)) {
        sd_notify(0, "STOPPING=1");
        told->stopping = true;
    }
    if (now_ns - told->status_ns >= STATUS_NS || watch->closing) {
        tell_status(watch);
        told->status_ns = now_ns;
    }
    if (ping_every_ns > 0 && now_ns - told->ping_ns >= ping_every_ns &&
        health_is_well(&watch->health, now_ns, reason)) {
        sd_notify(0, "WATCHDOG=1");
        told->ping_ns = now_ns;
    }
}

static void *keep_telling(void *context)
{
    struct mig_watch *watch = context;
    struct told told = {.status_ns = INT64_MIN / 2, .ping_ns = INT64_MIN / 2};
    uint64_t patience_us = 0;
    struct timespec until;
    int64_t ping_every_ns = 0;

    if (sd_watchdog_enabled(0, &patience_us) > 0)
        ping_every_ns = (int64_t) (patience_us / 3 * 1000);
    pthread_mutex_lock(&watch->lock);
    for (;;) {
        tell_systemd(watch, ping_every_ns, &told);
        if (watch->closing)
            break;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / (long) MIG_NS_PER_SECOND;
        until.tv_nsec %= (long) MIG_NS_PER_SECOND;
        pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

bool mig_watch_is_wanted(void)
{
    const char *line = getenv("NOTIFY_SOCKET");

    return line && line[0];
}

static int open_line(struct mig_watch *watch, struct mig_error *err)
{
    int failure;

    if (!mig_watch_is_wanted())
        return MIG_OK;
    failure = pthread_create(&watch->notifier, NULL, keep_telling, watch);
    if (failure != 0)
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start a thread: %s", strerror(failure));
    watch->notifies = true;
    return MIG_OK;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void init_lock(struct mig_watch *watch)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int mig_watch_open(const struct mig_watch_options *options, struct mig_watch **ret_watch,
                   struct mig_error *err)
{
    static const struct mig_hooks nobody;
    const unsigned stall_after_s =
        options->stall_after_s > 0 ? options->stall_after_s : STALL_AFTER_S;
    mig_cleanup(mig_watch_close) struct mig_watch *watch = calloc(1, sizeof *watch);
    int result;

    if (!watch)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    init_lock(watch);
    watch->listener = options->hooks ? options->hooks : &nobody;
    watch->stop = options->stop;
    watch->hooks = (struct mig_hooks){on_log, on_progress, on_measure, watch};
    watch->health = (struct health){.stall_after_ns = stall_after_s * MIG_NS_PER_SECOND,
                                    .moved_ns = mig_time_monotonic_ns()};
    if ((result = registry_open(&watch->registry, options, err)) != MIG_OK ||
        (result = open_server(watch, options->address, err)) != MIG_OK ||
        (result = open_line(watch, err)) != MIG_OK)
        return result;
    *ret_watch = mig_take(watch);
    return MIG_OK;
}

void mig_watch_close(struct mig_watch **watch)
{
    struct mig_watch *w = mig_take(*watch);

    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->notifies)
        pthread_join(w->notifier, NULL);
    server_close(&w->server);
    registry_release(&w->registry);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
