/* Queues and pools under many threads: a plain program, so that ThreadSanitizer can watch it. */
#include "libmigrate/work/work.h"
#include "tests/thread/expect.h"

#include <pthread.h>
#include <stdlib.h>

#define PEOPLE 4
#define ITEMS 5000
#define SHARES 10000

static void *produce(void *context)
{
    struct mig_queue *queue = context;

    for (size_t i = 0; i < ITEMS; i++) {
        void *item = malloc(1);

        expect(item && mig_queue_push(queue, &item, 1 + i % 40, NULL) == MIG_OK, "push");
    }
    return NULL;
}

static void *consume(void *context)
{
    size_t *count = calloc(1, sizeof *count);
    void *item = NULL;

    while (mig_queue_pop(context, &item, NULL) == MIG_OK && item) {
        free(item);
        ++*count;
    }
    return count;
}

static void many_producers_and_consumers_share_a_queue(void)
{
    mig_cleanup(mig_queue_free) struct mig_queue *queue = NULL;
    pthread_t producers[PEOPLE], consumers[PEOPLE];
    size_t sum = 0;

    expect(mig_queue_open(100, free, &queue, NULL) == MIG_OK, "open");
    for (size_t i = 0; i < PEOPLE; i++) {
        pthread_create(&producers[i], NULL, produce, queue);
        pthread_create(&consumers[i], NULL, consume, queue);
    }
    for (size_t i = 0; i < PEOPLE; i++)
        pthread_join(producers[i], NULL);
    mig_queue_close(queue);
    for (size_t i = 0; i < PEOPLE; i++) {
        void *count;

        pthread_join(consumers[i], &count);
        sum += *(size_t *) count;
        free(count);
    }
    expect(sum == PEOPLE * ITEMS, "every item comes out once");
    expect(mig_queue_peak_bytes(queue) <= 100, "the bound");
}

static void cancelling_frees_everybody(void)
{
    mig_cleanup(mig_queue_free) struct mig_queue *queue = NULL;
    pthread_t consumers[PEOPLE];

    expect(mig_queue_open(100, free, &queue, NULL) == MIG_OK, "open");
    for (size_t i = 0; i < PEOPLE; i++)
        pthread_create(&consumers[i], NULL, consume, queue);
    mig_queue_cancel(queue);
    for (size_t i = 0; i < PEOPLE; i++) {
        void *count;

        pthread_join(consumers[i], &count);
        free(count);
    }
}

static int mark(void *context, unsigned worker, size_t first, size_t end, struct mig_error *err)
{
    unsigned char *marks = context;

    (void) worker;
    for (size_t i = first; i < end; i++)
        if (marks[i]++)
            return mig_fail(err, MIG_E_CONFLICT, "index %zu twice", i);
    return MIG_OK;
}

static void a_pool_visits_every_index_once(void)
{
    mig_cleanup(mig_pool_free) struct mig_pool *pool = NULL;

    expect(mig_pool_open(PEOPLE, &pool, NULL) == MIG_OK, "open");
    for (int job = 0; job < 20; job++) {
        unsigned char marks[SHARES] = {0};

        expect(mig_pool_run(pool, SHARES, 7, mark, marks, NULL) == MIG_OK, "run");
        for (size_t i = 0; i < SHARES; i++)
            expect(marks[i] == 1, "every index");
    }
}

struct count {
    size_t taken, given;
};

static int take_number(void *context, void **ret_item, struct mig_error *err)
{
    struct count *count = context;

    (void) err;
    if (count->taken == ITEMS)
        return MIG_OK;
    *ret_item = malloc(sizeof(size_t));
    expect(*ret_item != NULL, "memory");
    *(size_t *) *ret_item = count->taken++;
    return MIG_OK;
}

static int double_number(void *context, unsigned worker, void *item, struct mig_error *err)
{
    (void) context, (void) worker, (void) err;
    *(size_t *) item *= 2;
    return MIG_OK;
}

static int give_number(void *context, void **item, struct mig_error *err)
{
    struct count *count = context;

    (void) err;
    expect(*(size_t *) *item == 2 * count->given++, "order");
    free(mig_take(*item));
    return MIG_OK;
}

static void a_line_keeps_the_order(void)
{
    static const struct mig_line line = {take_number, double_number, give_number, free, NULL};
    struct count count = {0, 0};

    expect(mig_line_run(&line, PEOPLE, &count, NULL) == MIG_OK, "run");
    expect(count.given == ITEMS, "every item");
}

int main(void)
{
    many_producers_and_consumers_share_a_queue();
    cancelling_frees_everybody();
    a_pool_visits_every_index_once();
    a_line_keeps_the_order();
    return 0;
}
