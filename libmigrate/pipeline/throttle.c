/*
 * Being a good guest: no more rows a second than asked for, and a pause while a server has enough
 * to do. Servers are asked on small connections of their own, once a second at most, and only
 * between our statements.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include "libmigrate/pg/pg.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_NS MIG_NS_PER_SECOND
#define STEP_NS (MIG_NS_PER_SECOND / 20)
#define LOOK_TIMEOUT_S 10
#define REASON_SIZE 200
/* What a bucket that nobody used may save up, and so the rows of one statement. */
#define BURSTS_A_SECOND 4

/* ---- the bucket ---------------------------------------------------------------------------- */

/* Kept as the moment up to which the rate is used up: no rounding adds up over the hours. */
void token_bucket_take(struct token_bucket *bucket, uint64_t rows, int64_t now_ns)
{
    const int64_t earliest_ns = now_ns - MIG_NS_PER_SECOND / BURSTS_A_SECOND;
    __extension__ typedef unsigned __int128 wide;

    if (bucket->rate == 0 || rows == 0)
        return;
    if (bucket->free_at_ns < earliest_ns)
        bucket->free_at_ns = earliest_ns;
    bucket->free_at_ns += (int64_t) ((wide) rows * (wide) MIG_NS_PER_SECOND / bucket->rate);
}

int64_t token_bucket_wait_ns(const struct token_bucket *bucket, int64_t now_ns)
{
    return bucket->rate > 0 && bucket->free_at_ns > now_ns ? bucket->free_at_ns - now_ns : 0;
}

/* ---- what is watched ----------------------------------------------------------------------- */

/* A server with limits, and how it was when it was last looked at. */
struct watched {
    char subject[96];
    const char *node; /* its name; NULL for the source */
    const struct mig_limits *limits;
    struct mig_pg *pg; /* NULL: it has no limits to pause for */
    pthread_mutex_t lock;
    int64_t looked_ns;
    char busy[REASON_SIZE];   /* why nobody should work with it, or "" */
    char reason[REASON_SIZE]; /* why whoever works with it waits, or "" */
};

struct throttle {
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    const char *stage;
    struct token_bucket bucket; /* under the source's lock */
    struct watched *watched;    /* the source, then each node */
    size_t count;
    struct mig_source_gate gate;
    struct mig_stop leaving;
};

static bool has_pauses(const struct mig_limits *limits)
{
    return limits->replication_lag_s > 0 || limits->active_sessions > 0;
}

/* Without the right the columns are NULL, and a server would look idle for ever. */
static int check_right(struct watched *watched, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(watched->pg,
                              "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),"
                              " current_user",
                              NULL, 0, &answer, err);

    if (result != MIG_OK || mig_pg_bool(&answer, 0, 0))
        return result;
    mig_fail(err, MIG_E_REFUSED,
             "%s: the manifest sets a limit of replication lag or sessions, but the role %.60s may "
             "not see them",
             watched->subject, mig_pg_text(&answer, 0, 1));
    return mig_hint(err, "GRANT pg_read_all_stats to it (schemas/sql/*_role.sql), or take "
                         "replication_lag_s and active_sessions out of the manifest");
}

static int open_watched(struct watched *watched, const struct mig_reference *dsn, const char *what,
                        const struct mig_stop *stop, struct mig_error *err)
{
    mig_cleanup(mig_secret_release) struct mig_secret secret = {0};
    const struct mig_pg_options options = {.subject = watched->subject,
                                           .read_only = true,
                                           .stop = stop,
                                           .statement_timeout_s = LOOK_TIMEOUT_S};
    int result;

    if (!has_pauses(watched->limits))
        return MIG_OK;
    if ((result = mig_reference_resolve(dsn, what, NULL, &secret, err)) != MIG_OK ||
        (result = mig_pg_open(secret.text, &options, &watched->pg, err)) != MIG_OK)
        return result;
    return check_right(watched, err);
}

/* Those of other users that are running something now; tools of ours are known by their name. */
static const char *const look_sql =
    "SELECT (SELECT coalesce(floor(extract(epoch FROM max(greatest(write_lag, flush_lag,"
    " replay_lag)))), 0)::bigint FROM pg_stat_replication), (SELECT count(*) FROM pg_stat_activity"
    " WHERE state = 'active' AND backend_type = 'client backend' AND application_name NOT LIKE"
    " 'xmtp-migrate%' AND application_name <> current_setting('application_name'))";

static int look(struct watched *watched, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    const struct mig_limits *limits = watched->limits;
    int64_t lag_s, sessions;
    int result = mig_pg_query(watched->pg, look_sql, NULL, 0, &answer, err);

    if (result != MIG_OK)
        return result;
    watched->looked_ns = mig_time_monotonic_ns();
    lag_s = mig_pg_int64(&answer, 0, 0);
    sessions = mig_pg_int64(&answer, 0, 1);
    watched->busy[0] = '\0';
    if (limits->replication_lag_s > 0 && lag_s >= limits->replication_lag_s)
        snprintf(watched->busy, sizeof watched->busy,
                 "%.90s: replication lag %" PRId64 " s, limit %" PRId64 " s", watched->subject,
                 lag_s, limits->replication_lag_s);
    else if (limits->active_sessions > 0 && sessions > limits->active_sessions)
        snprintf(watched->busy, sizeof watched->busy,
                 "%.90s: %" PRId64 " active sessions, limit %" PRId64, watched->subject, sessions,
                 limits->active_sessions);
    return MIG_OK;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static int enter_source(void *context, uint64_t rows, struct mig_error *err);

void throttle_close(struct throttle **throttle)
{
    struct throttle *t = mig_take(*throttle);

    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        mig_pg_close(&t->watched[i].pg);
        pthread_mutex_destroy(&t->watched[i].lock);
    }
    free(t->watched);
    free(t);
}

static struct watched *add_watched(struct throttle *throttle, const struct mig_limits *limits)
{
    struct watched *watched = &throttle->watched[throttle->count++];

    watched->limits = limits;
    watched->looked_ns = INT64_MIN;
    pthread_mutex_init(&watched->lock, NULL);
    return watched;
}

static int watch_source(struct throttle *throttle, const struct mig_manifest *manifest, bool really,
                        struct mig_error *err)
{
    static const struct mig_limits none;
    struct watched *watched = add_watched(throttle, really ? &manifest->source_limits : &none);

    snprintf(watched->subject, sizeof watched->subject, "source");
    return open_watched(watched, &manifest->source_dsn, "source.dsn", throttle->stop, err);
}

static int watch_node(struct throttle *throttle, const struct mig_manifest_node *node,
                      struct mig_error *err)
{
    struct watched *watched = add_watched(throttle, &node->limits);
    int result;

    watched->node = node->name;
    snprintf(watched->subject, sizeof watched->subject, "node '%s'", node->name);
    result = open_watched(watched, &node->dsn, "nodes[].dsn", throttle->stop, err);
    /* Who is away is not loaded either; the others go on. */
    return result == MIG_E_TEMPORARY ? MIG_OK : result;
}

int throttle_open(const struct mig_manifest *manifest, const struct throttle_options *options,
                  const struct mig_hooks *hooks, const struct mig_stop *stop,
                  struct throttle **ret_throttle, struct mig_error *err)
{
    mig_cleanup(throttle_close) struct throttle *throttle = calloc(1, sizeof *throttle);
    int result;

    if (!throttle ||
        !(throttle->watched = calloc(manifest->node_count + 1, sizeof *throttle->watched)))
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    throttle->hooks = hooks;
    throttle->stop = stop;
    throttle->stage = options->stage;
    throttle->bucket.rate = options->max_rate;
    throttle->gate = (struct mig_source_gate){.enter = enter_source, .context = throttle};
    if (options->max_rate > 0)
        throttle->gate.statement_rows = options->max_rate / BURSTS_A_SECOND + 1;
    result = watch_source(throttle, manifest, options->source, err);
    for (size_t i = 0; options->nodes && i < manifest->node_count && result == MIG_OK; i++)
        if (!options->node || strcmp(options->node, manifest->nodes[i].name) == 0)
            result = watch_node(throttle, &manifest->nodes[i], err);
    if (result == MIG_OK)
        *ret_throttle = mig_take(throttle);
    return result;
}

const struct mig_source_gate *throttle_gate(const struct throttle *throttle)
{
    return &throttle->gate;
}

void throttle_leave(struct throttle *throttle)
{
    if (throttle)
        atomic_store(&throttle->leaving.requested, true);
}

/* ---- waiting ------------------------------------------------------------------------------- */

/* Why nobody should go on, or "", and for how long that is so at least. A reason stays for as long
 * as every step has to wait, not only in the moments of waiting. */
static int find_reason(struct throttle *throttle, struct watched *watched, bool first,
                       int64_t *ret_wait_ns, struct mig_error *err)
{
    const int64_t now_ns = mig_time_monotonic_ns();
    const int64_t rate_ns = watched->node ? 0 : token_bucket_wait_ns(&throttle->bucket, now_ns);
    int result = MIG_OK;

    if (watched->pg && (watched->looked_ns == INT64_MIN || now_ns - watched->looked_ns >= LOOK_NS))
        result = look(watched, err);
    if (result != MIG_OK)
        return result;
    *ret_wait_ns = watched->busy[0] ? STEP_NS : rate_ns;
    if (watched->busy[0])
        memcpy(watched->reason, watched->busy, sizeof watched->reason);
    else if (rate_ns > 0)
        snprintf(watched->reason, sizeof watched->reason, "--max-rate %" PRIu32,
                 throttle->bucket.rate);
    else if (first)
        watched->reason[0] = '\0';
    return MIG_OK;
}

static int wait_a_step(struct throttle *throttle, int64_t wait_ns, struct mig_error *err)
{
    const int64_t step_ns = wait_ns < STEP_NS ? wait_ns : STEP_NS;
    int result;

    if ((result = mig_stop_check(throttle->stop, err)) != MIG_OK ||
        (result = mig_stop_check(&throttle->leaving, err)) != MIG_OK)
        return result;
    nanosleep(&(struct timespec){.tv_nsec = (long) step_ns}, NULL);
    return MIG_OK;
}

static void tell(struct throttle *throttle, const char *waiting)
{
    mig_report_progress(
        throttle->hooks,
        &(struct mig_progress){.stage = throttle->stage, .waiting = waiting, .only_waiting = true});
}

static void measure_wait(const struct throttle *throttle, const struct watched *watched,
                         int64_t since_ns)
{
    mig_report_measure(throttle->hooks, MIG_MEASURE_THROTTLED_SECONDS, NULL, watched->node,
                       (double) (mig_time_monotonic_ns() - since_ns) / (double) MIG_NS_PER_SECOND);
}

static int enter(struct throttle *throttle, struct watched *watched, struct mig_error *err)
{
    bool waited = false;

    for (;;) {
        const int64_t since_ns = mig_time_monotonic_ns();
        char reason[REASON_SIZE];
        int64_t wait_ns = 0;
        int result;

        pthread_mutex_lock(&watched->lock);
        result = find_reason(throttle, watched, !waited, &wait_ns, err);
        memcpy(reason, watched->reason, sizeof reason);
        pthread_mutex_unlock(&watched->lock);
        if (result != MIG_OK)
            return result;
        if (wait_ns == 0) {
            if (waited)
                tell(throttle, reason);
            return MIG_OK;
        }
        tell(throttle, reason);
        waited = true;
        if ((result = wait_a_step(throttle, wait_ns, err)) != MIG_OK)
            return result;
        measure_wait(throttle, watched, since_ns);
    }
}

static int enter_source(void *context, uint64_t rows, struct mig_error *err)
{
    struct throttle *throttle = context;
    struct watched *source = &throttle->watched[0];

    pthread_mutex_lock(&source->lock);
    token_bucket_take(&throttle->bucket, rows, mig_time_monotonic_ns());
    pthread_mutex_unlock(&source->lock);
    return enter(throttle, source, err);
}

int throttle_node(struct throttle *throttle, const char *node, struct mig_error *err)
{
    for (size_t i = 1; throttle && i < throttle->count; i++)
        if (throttle->watched[i].pg && strcmp(throttle->watched[i].node, node) == 0)
            return enter(throttle, &throttle->watched[i], err);
    return MIG_OK;
}

void throttle_reason(struct throttle *throttle, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    for (size_t i = 0; throttle && i < throttle->count && !ret_text[0]; i++) {
        pthread_mutex_lock(&throttle->watched[i].lock);
        snprintf(ret_text, size, "%s", throttle->watched[i].reason);
        pthread_mutex_unlock(&throttle->watched[i].lock);
    }
}
