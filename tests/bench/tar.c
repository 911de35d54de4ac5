/* The carriers of a bundle alone: what libarchive costs beside cat. */
#include "tests/bench/loops.h"

#include "libmigrate/bundle/bundle_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void check(int result, const struct mig_error *err)
{
    if (result != MIG_OK)
        bench_die("tar", err->message);
}

void bench_copy_tar(const char *in, const char *out)
{
    const double begun = bench_now(CLOCK_MONOTONIC), cpu = bench_now(CLOCK_PROCESS_CPUTIME_ID);
    mig_cleanup(mig_buffer_release) struct mig_buffer content =
        MIG_BUFFER_INIT(bundle_file_limit(BUNDLE_FILE_PART));
    struct mig_error err = MIG_ERROR_INIT;
    const int fd = open(in, O_RDONLY | O_CLOEXEC);
    char name[BUNDLE_NAME_SIZE];
    void *input, *output;
    size_t removed;

    if (fd < 0)
        bench_die(in, strerror(errno));
    check(bundle_open_tar(fd, &input, &err), &err);
    check(bundle_output_file.open(out, &output, &removed, &err), &err);
    for (;;) {
        check(bundle_input_file.next(input, name, &content, &err), &err);
        if (!*name)
            break;
        check(bundle_output_file.put(output, name, mig_buffer_bytes(&content), &err), &err);
    }
    check(bundle_output_file.commit(output, &err), &err);
    bundle_output_file.discard(output);
    bundle_input_file.close(input);
    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", bench_now(CLOCK_MONOTONIC) - begun,
           bench_now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}
