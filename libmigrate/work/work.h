/*
 * work: threads, and moving items between them with a bound on memory.
 *
 * A queue joins two stages of the pipeline. It is bounded by bytes, because rows differ in size by
 * four orders of magnitude: a bound on their number would bound nothing.
 */
#ifndef MIG_WORK_H
#define MIG_WORK_H

#include "libmigrate/base/base.h"

/*
 * A first-in, first-out queue of pointers for any number of producers and consumers.
 *
 * Life: open -> (push | pop)* -> close (no more pushes; what is in it can still be popped) -> free.
 * Cancelling instead wakes everybody at once with MIG_E_CANCELLED and leaves the items for free.
 */
struct mig_queue;

/*
 * Opens a queue that holds at most byte_limit bytes. A single item larger than that is let in when
 * the queue is empty, so that no row is too large to pass.
 *
 * discard is called with every item that is still inside when the queue is freed; NULL if the
 * items own nothing.
 *
 * Errors: MIG_E_NOMEM. On failure *ret_queue is untouched. Free with mig_queue_free().
 */
int mig_queue_open(size_t byte_limit, void (*discard)(void *item), struct mig_queue **ret_queue,
                   struct mig_error *err);

/* Frees *queue and sets it to NULL; NULL is fine. No other thread may be inside. */
void mig_queue_free(struct mig_queue **queue);

/*
 * Appends *item, which counts as size_bytes, waiting while there is no room.
 * Takes the item on success (*item becomes NULL); on failure it stays the caller's.
 *
 * Errors: MIG_E_CANCELLED, MIG_E_NOMEM. Any thread, before mig_queue_close().
 */
int mig_queue_push(struct mig_queue *queue, void **item, size_t size_bytes, struct mig_error *err);

/*
 * Takes out the oldest item, waiting for one while the queue is open.
 * Gives NULL, and succeeds, when the queue is closed and empty. The caller owns the item.
 *
 * Errors: MIG_E_CANCELLED. Any thread.
 */
int mig_queue_pop(struct mig_queue *queue, void **ret_item, struct mig_error *err);

/* Says that nothing more will be pushed. May be called more than once. */
void mig_queue_close(struct mig_queue *queue);

/* Waits until there is room for size_bytes, at most timeout_ms. Another producer may take it first.
 * Errors: MIG_E_CANCELLED. Any thread. */
int mig_queue_await_room(struct mig_queue *queue, size_t size_bytes, unsigned timeout_ms,
                         bool *ret_room, struct mig_error *err);

/* Whether somebody waits for an item and there is none. */
bool mig_queue_is_starved(struct mig_queue *queue);

/* Whether less than half of the limit is inside. */
bool mig_queue_is_low(struct mig_queue *queue);

/* Makes every waiting and every later call end with MIG_E_CANCELLED. */
void mig_queue_cancel(struct mig_queue *queue);

/* The most bytes that were ever inside at once: what the memory bound is judged by. */
size_t mig_queue_peak_bytes(struct mig_queue *queue);

/*
 * A budget of bytes that several stages share: what is read may only be as much as what is done
 * with sets free.
 */
struct mig_budget;

/* Errors: MIG_E_NOMEM. Free with mig_budget_free(), when no thread is inside. */
int mig_budget_open(size_t limit_bytes, struct mig_budget **ret_budget, struct mig_error *err);
void mig_budget_free(struct mig_budget **budget);

/* Takes bytes out of the budget, waiting while they aren't there. Who finds the budget untouched
 * gets any amount: no row is too large to pass. Errors: MIG_E_CANCELLED. Any thread. */
int mig_budget_take(struct mig_budget *budget, size_t bytes, struct mig_error *err);

/* What was taken as from is to bytes by now; never waits. to 0 gives all of it back. */
void mig_budget_correct(struct mig_budget *budget, size_t from, size_t to);

/* Makes every waiting and every later mig_budget_take() end with MIG_E_CANCELLED. */
void mig_budget_cancel(struct mig_budget *budget);

/*
 * A line: items are taken one after another, worked on side by side, and given on in the order in
 * which they were taken.
 */
struct mig_line {
    /* Takes the next item, NULL at the end. Not by two threads at once. */
    int (*take)(void *context, void **ret_item, struct mig_error *err);
    /* Works on an item; worker tells the threads apart. */
    int (*work)(void *context, unsigned worker, void *item, struct mig_error *err);
    /* Gives *item on: it is no longer the line's when *item is NULL. Not by two threads at once. */
    int (*give)(void *context, void **item, struct mig_error *err);
    /* Frees what was never given on. */
    void (*discard)(void *item);
    /* Called once, at the first failure: wakes whoever waits in take or give. */
    void (*stop)(void *context);
};

/* Runs the line until take has nothing more, on the given number of threads, the calling one
 * included. The first failure ends it, and its story is given. Errors: of the three; MIG_E_NOMEM,
 * MIG_E_TEMPORARY (the system gives no more threads). */
int mig_line_run(const struct mig_line *line, unsigned threads, void *context,
                 struct mig_error *err);

/* How many threads are meant: 0 is one a core. */
unsigned mig_thread_count(unsigned threads);

/*
 * Trying again what a fault that passes has ended: waits that double up to a quarter of a minute,
 * with jitter, for a bounded time since the last success. for_s is the owner's to set, 0: never.
 */
struct mig_retry {
    unsigned for_s;
    const char *node;  /* whom to measure it of; NULL: the source */
    unsigned attempts; /* since the last success */
    int64_t since_ns;  /* when the first of them failed; monotonic */
};
/* Says what failed and waits before the next try. Errors: why, once for_s is over; MIG_E_CANCELLED.
 */
int mig_retry_wait(struct mig_retry *retry, const struct mig_error *why,
                   const struct mig_hooks *hooks, const struct mig_stop *stop,
                   struct mig_error *err);
void mig_retry_succeeded(struct mig_retry *retry);

/*
 * A pool of threads that share out the indexes of one job after another.
 */
struct mig_pool;

/* Opens a pool of the given number of threads, the calling one included; 0 means one per core.
 * Errors: MIG_E_NOMEM, MIG_E_TEMPORARY (the system gives no more threads). */
int mig_pool_open(unsigned threads, struct mig_pool **ret_pool, struct mig_error *err);

/* Ends the threads, frees *pool and sets it to NULL; NULL is fine. */
void mig_pool_free(struct mig_pool **pool);

unsigned mig_pool_threads(const struct mig_pool *pool);

/* One share of a job: the indexes from first up to, not including, end. worker is below
 * mig_pool_threads() and belongs to one share at a time. */
typedef int mig_share_fn(void *context, unsigned worker, size_t first, size_t end,
                         struct mig_error *err);

/*
 * Calls share() for all of [0, count) in shares of at most grain indexes, on all threads, and
 * returns when every share has ended. After a failure no further share is begun; the first
 * failure's story is given.
 *
 * One job at a time: not to be called by two threads, nor from within a share.
 */
int mig_pool_run(struct mig_pool *pool, size_t count, size_t grain, mig_share_fn *share,
                 void *context, struct mig_error *err);

#endif
