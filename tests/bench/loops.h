/* What the files of bench_loops share. */
#ifndef TESTS_BENCH_LOOPS_H
#define TESTS_BENCH_LOOPS_H

#include <time.h>

double bench_now(clockid_t clock);
_Noreturn void bench_die(const char *what, const char *why);

/* Reads the tar of a bundle file by file and writes it again, as our carriers do. */
void bench_copy_tar(const char *in, const char *out);

/* Loads a bundle's envelopes, read into memory before the clock starts, into a manifest's nodes. */
void bench_load(const char *manifest_path, const char *bundle, unsigned threads);

/* Runs a command and writes what it used to the file report, as JSON; gives its exit status.
 * Linux carries the parent's peak of memory over into the child: so this parent is small. */
int bench_usage(const char *report, char **command);

#endif
