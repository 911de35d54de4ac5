/* Results on stdout. A result that did not arrive is a failure, so every write is checked: a closed
 * pipe and a full disk end the tool with a message instead of a short file. */
#include "tools/common/tool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* A result file of ours must never become descriptor 1 or 2. Read-only on purpose: printing to a
 * stdout that was closed then still fails. */
void output_start(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void) !open("/dev/null", O_RDONLY);
}

static int failed(int error, struct mig_error *err)
{
    if (error == EPIPE)
        return mig_fail(err, MIG_E_IO, "cannot write to standard output: its reader went away");
    mig_fail(err, MIG_E_IO, "cannot write to standard output: %s", strerror(error));
    return error == ENOSPC ? mig_hint(err, "make room and run it again") : MIG_E_IO;
}

static int flush(struct mig_error *err)
{
    if (fflush(stdout) == EOF)
        return failed(errno, err);
    /* A write that failed earlier has dropped what it held; its errno is gone. */
    return ferror(stdout) ? failed(EIO, err) : MIG_OK;
}

int output_finish(struct mig_error *err)
{
    return flush(err);
}

int tool_print(struct mig_error *err, const char *format, ...)
{
    va_list args;
    int code;

    progress_hold();
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    code = flush(err);
    progress_release();
    return code;
}

int tool_print_line(struct mig_bytes line, struct mig_error *err)
{
    int code = MIG_OK;

    progress_hold();
    if (fwrite(line.data, 1, line.size, stdout) < line.size || putchar('\n') == EOF)
        code = failed(errno, err);
    progress_release();
    return code;
}

int tool_print_json(struct json_object *document, struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *text = json_to_text(document, JSON_C_TO_STRING_PRETTY);

    if (!text)
        return mig_fail(err, MIG_E_NOMEM, "cannot print a JSON document: out of memory");
    return tool_print(err, "%s", text);
}
