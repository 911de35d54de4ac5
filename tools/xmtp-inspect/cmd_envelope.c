/* xmtp-inspect envelope: hex in, the layers out. */
#include "tools/xmtp-inspect/inspect.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX (64u << 20)

/* Waits by poll(), which a signal interrupts: who typed no hex can leave with one ^C. */
static int read_input(const struct tool *tool, struct mig_buffer *text, struct mig_error *err)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t got;
    int code;

    do {
        if (mig_buffer_reserve(text, 1, NULL) != MIG_OK)
            return mig_fail(err, MIG_E_USAGE, "standard input holds more than %u MiB: no envelope",
                            INPUT_MAX >> 20);
        poll(&input, 1, -1);
        if ((code = mig_stop_check(tool->stop, err)))
            return code;
        got = read(STDIN_FILENO, text->data + text->size, text->capacity - text->size);
        if (got < 0 && errno != EINTR)
            return mig_fail(err, MIG_E_IO, "cannot read standard input: %s", strerror(errno));
        text->size += got > 0 ? (size_t) got : 0;
    } while (got != 0);
    return MIG_OK;
}

/* Hex as people copy it: with 0x in front, in lines, with blanks. Reads in place. */
static int decode(struct mig_buffer *text, struct mig_error *err)
{
    char *digits = (char *) text->data;
    size_t count = 0, start, size;
    int code;

    for (size_t i = 0; i < text->size; i++)
        if (!isspace((unsigned char) digits[i]))
            digits[count++] = digits[i];
    start = count >= 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 2 : 0;
    if (count == start)
        return mig_fail(err, MIG_E_USAGE, "no hex given");
    code = mig_hex_decode(digits + start, count - start, text->data, text->capacity, &size, err);
    if (code != MIG_OK) {
        err->code = MIG_E_USAGE;
        return mig_error_within(err, "the envelope given");
    }
    text->size = size;
    return MIG_OK;
}

int cmd_envelope(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(INPUT_MAX);
    mig_cleanup(inspect_put) struct json_object *document = NULL;
    int code;

    if (argc != 1) {
        mig_fail(err, MIG_E_USAGE, "expected one envelope, got %d arguments", argc);
        return mig_hint(err, "give its bytes in hex, or - to read them from standard input");
    }
    code = strcmp(argv[0], "-") == 0 ? read_input(tool, &text, err)
                                     : mig_buffer_append(&text, argv[0], strlen(argv[0]), err);
    if (code || (code = decode(&text, err)) ||
        (code = inspect_describe_envelope(mig_buffer_bytes(&text), &document, err)))
        return code;
    return tool->json ? tool_print_json(document, err) : inspect_print_text(document, err);
}
