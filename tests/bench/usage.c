/* What a command uses: time, processor time and the most memory of any of its processes. */
#include "tests/bench/loops.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static double seconds_of(struct timeval time)
{
    return (double) time.tv_sec + (double) time.tv_usec * 1e-6;
}

int bench_usage(const char *report, char **command)
{
    const double begun = bench_now(CLOCK_MONOTONIC);
    struct rusage usage;
    pid_t child;
    int status, failure = posix_spawnp(&child, command[0], NULL, NULL, command, environ);
    FILE *file;

    if (failure != 0)
        bench_die(command[0], strerror(failure));
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR)
            bench_die(command[0], strerror(errno));
    file = fopen(report, "we");
    if (!file)
        bench_die(report, strerror(errno));
    fprintf(file, "{\"seconds\": %.6f, \"cpu\": %.6f, \"peak_bytes\": %ld}\n",
            bench_now(CLOCK_MONOTONIC) - begun,
            seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), usage.ru_maxrss * 1024);
    if (fclose(file) != 0)
        bench_die(report, strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
