/* The crew of a check under many jobs: a plain program, so that ThreadSanitizer can watch it. */
#include "libmigrate/parity/parity_private.h"
#include "tests/thread/expect.h"

#include <stdlib.h>

#define THREADS 4
#define JOBS 2000

/* Job number n has n rows: a few take much longer than others. */
static int sum_up(const void *context, struct parity_job *job, struct mig_arena *scratch,
                  struct mig_error *err)
{
    const size_t refused = *(const size_t *) context;
    void *memory;

    for (size_t i = 0; i < job->row_count; i++) {
        expect(mig_arena_alloc(scratch, 100, &memory, NULL) == MIG_OK, "scratch");
        *(size_t *) memory = i;
        job->next_row += *(size_t *) memory;
        mig_arena_reset(scratch);
    }
    return job->row_count == refused ? mig_fail(err, MIG_E_CORRUPT, "job %zu", refused) : MIG_OK;
}

static struct parity_job *new_jobs(void)
{
    struct parity_job *jobs = calloc(JOBS, sizeof *jobs);

    expect(jobs, "memory");
    for (size_t i = 0; i < JOBS; i++)
        jobs[i].row_count = i;
    return jobs;
}

static void jobs_are_done_once_and_awaited_in_their_order(void)
{
    const size_t refused = 77;
    struct parity_job *jobs = new_jobs();
    struct parity_crew *crew = NULL;

    expect(parity_crew_open(THREADS, sum_up, &refused, &crew, NULL) == MIG_OK, "open");
    expect(parity_crew_size(crew) == THREADS, "size");
    for (size_t i = 0; i < JOBS; i++)
        expect(parity_crew_begin(crew, &jobs[i], NULL) == MIG_OK, "begin");
    for (size_t i = 0; i < JOBS; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        const int result = parity_crew_await(crew, &jobs[i], &err);

        expect(result == (i == refused ? MIG_E_CORRUPT : MIG_OK), "only the job's own failure");
        expect(jobs[i].next_row == i * (i - (i > 0)) / 2, "done once");
    }
    parity_crew_close(&crew);
    expect(!crew, "closed");
    free(jobs);
}

static void a_crew_can_be_left_in_the_middle(void)
{
    const size_t refused = SIZE_MAX;
    struct parity_job *jobs = new_jobs();
    struct parity_crew *crew = NULL;

    expect(parity_crew_open(THREADS, sum_up, &refused, &crew, NULL) == MIG_OK, "open");
    for (size_t i = JOBS; i-- > 0;)
        expect(parity_crew_begin(crew, &jobs[i], NULL) == MIG_OK, "begin");
    expect(parity_crew_await(crew, &jobs[JOBS - 1], NULL) == MIG_OK, "await");
    parity_crew_close(&crew);
    parity_crew_close(&crew);
    free(jobs);
}

int main(void)
{
    jobs_are_done_once_and_awaited_in_their_order();
    a_crew_can_be_left_in_the_middle();
    return 0;
}
