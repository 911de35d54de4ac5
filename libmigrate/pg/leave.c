/*
 * Leaving what is under way. A server that answers is left tidily: its statement cancelled, the
 * transaction rolled back. One that does not is given LEAVE_SECONDS from the moment a wish to stop
 * is heard; then the connection is only closed, and the server rolls back when it notices.
 */
#include "libmigrate/pg/pg_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define LEAVE_SECONDS 2

int pg_check_stop(struct mig_pg *pg, struct mig_error *err)
{
    if (pg->leaving && mig_stop_check(pg->stop, NULL) != MIG_OK) {
        const int64_t now = mig_time_monotonic_ns();

        if (pg->leave_by_ns == 0)
            pg->leave_by_ns = now + LEAVE_SECONDS * MIG_NS_PER_SECOND;
        if (now < pg->leave_by_ns)
            return MIG_OK;
    }
    return mig_stop_check(pg->stop, err);
}

bool pg_leave(struct mig_pg *pg)
{
    const bool before = pg->leaving;

    pg->leaving = true;
    return before;
}

/* ---- cancelling --------------------------------------------------------------------------- */

/* PQcancel() blocks until the server has answered, so it has a thread of its own, which may outlive
 * the connection: whoever of the two is last frees this. */
struct cancelling {
    PGcancel *request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, left_alone;
};

static void cancelling_free(struct cancelling *cancelling)
{
    PQfreeCancel(cancelling->request);
    pthread_cond_destroy(&cancelling->changed);
    pthread_mutex_destroy(&cancelling->lock);
    free(cancelling);
}

static void *run_cancel(void *argument)
{
    struct cancelling *cancelling = argument;
    char ignored[256];
    bool last;

    PQcancel(cancelling->request, ignored, sizeof ignored);
    pthread_mutex_lock(&cancelling->lock);
    cancelling->done = true;
    last = cancelling->left_alone;
    pthread_cond_signal(&cancelling->changed);
    pthread_mutex_unlock(&cancelling->lock);
    if (last)
        cancelling_free(cancelling);
    return NULL;
}

static struct cancelling *cancelling_start(struct mig_pg *pg)
{
    struct cancelling *cancelling = calloc(1, sizeof *cancelling);
    pthread_t thread;

    if (!cancelling)
        return NULL;
    pthread_mutex_init(&cancelling->lock, NULL);
    pthread_cond_init(&cancelling->changed, NULL);
    cancelling->request = PQgetCancel(pg->connection);
    if (!cancelling->request || pthread_create(&thread, NULL, run_cancel, cancelling) != 0) {
        cancelling_free(cancelling);
        return NULL;
    }
    pthread_detach(thread);
    return cancelling;
}

static void wait_for_cancel(struct mig_pg *pg, struct cancelling *cancelling)
{
    bool done;

    pthread_mutex_lock(&cancelling->lock);
    while (!cancelling->done && pg_check_stop(pg, NULL) == MIG_OK) {
        const int64_t until = mig_time_monotonic_ns() + PG_WAIT_STEP_MS * 1000000LL;
        const struct timespec wake = {until / MIG_NS_PER_SECOND, until % MIG_NS_PER_SECOND};

        pthread_cond_clockwait(&cancelling->changed, &cancelling->lock, CLOCK_MONOTONIC, &wake);
    }
    done = cancelling->done;
    cancelling->left_alone = true;
    pthread_mutex_unlock(&cancelling->lock);
    if (done)
        cancelling_free(cancelling);
}

void pg_cancel(struct mig_pg *pg)
{
    const bool leaving = pg_leave(pg);
    struct cancelling *cancelling = pg_check_stop(pg, NULL) == MIG_OK ? cancelling_start(pg) : NULL;

    if (cancelling)
        wait_for_cancel(pg, cancelling);
    pg->leaving = leaving;
}

/* ---- the transaction ---------------------------------------------------------------------- */

void mig_pg_rollback(struct mig_pg *pg)
{
    const bool leaving = pg_leave(pg);

    if (pg->copy != PG_COPY_NONE)
        mig_pg_copy_abandon(pg);
    /* Of a connection that is lost the server rolls back what it had. */
    if (mig_pg_alive(pg) && PQtransactionStatus(pg->connection) == PQTRANS_ACTIVE)
        pg_drain(pg, NULL);
    if (mig_pg_alive(pg) && PQtransactionStatus(pg->connection) != PQTRANS_IDLE)
        mig_pg_exec(pg, "ROLLBACK", NULL);
    pg->leaving = leaving;
}
