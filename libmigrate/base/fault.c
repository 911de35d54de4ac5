/* Fault points: counting events, and dying or failing at the one that the environment names. */
#include "libmigrate/base/fault.h"

#ifdef MIG_FAULT_POINTS

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXIT_BAD_FAULT 99

static const char *const names[] = {
    [MIG_FAULT_CONNECT] = "connect",
    [MIG_FAULT_QUERY] = "query",
    [MIG_FAULT_RECEIVED] = "received",
    [MIG_FAULT_COPY_SENT] = "copy_sent",
    [MIG_FAULT_COPY_RECEIVED] = "copy_received",
    [MIG_FAULT_COMMIT_SENT] = "commit_sent",
    [MIG_FAULT_COMMIT_ANSWERED] = "commit_answered",
    [MIG_FAULT_WRITE] = "write",
    [MIG_FAULT_FSYNC] = "fsync",
    [MIG_FAULT_RENAME] = "rename",
    [MIG_FAULT_HANDOVER] = "handover",
    [MIG_FAULT_ALLOC] = "alloc",
};

enum action { NOTHING, KILL, FAIL, REFUSE, ENOSPACE, SHORT };

static const char *const actions[] = {[KILL] = "kill",
                                      [FAIL] = "fail",
                                      [REFUSE] = "refuse",
                                      [ENOSPACE] = "enospc",
                                      [SHORT] = "short"};

static struct {
    enum mig_fault event;
    unsigned long number;
    bool and_later;
    enum action action;
} wanted;

static atomic_ulong counts[MIG_FAULT_COUNT];

/* The name's number in a table; ends the process when it is none: a test that asks for what does
 * not exist would prove nothing. */
static size_t number_of(const char *name, const char *const *table, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (table[i] && strcmp(table[i], name) == 0)
            return i;
    fprintf(stderr, "MIG_FAULT: '%s' is unknown\n", name);
    _exit(EXIT_BAD_FAULT);
}

__attribute__((constructor)) static void read_wish(void)
{
    const char *wish = getenv("MIG_FAULT");
    char event[32], action[32], later = '\0';

    if (!wish || !*wish)
        return;
    if (sscanf(wish, "%31[a-z_]:%lu:%31[a-z]", event, &wanted.number, action) != 3 &&
        sscanf(wish, "%31[a-z_]:%lu%c:%31[a-z]", event, &wanted.number, &later, action) != 4)
        number_of(wish, NULL, 0);
    wanted.and_later = later == '+';
    wanted.event = (enum mig_fault) number_of(event, names, MIG_FAULT_COUNT);
    wanted.action = (enum action) number_of(action, actions, sizeof actions / sizeof actions[0]);
}

__attribute__((destructor)) static void write_counts(void)
{
    const char *path = getenv("MIG_FAULT_COUNTS");
    FILE *file = path ? fopen(path, "we") : NULL;

    for (int event = 0; file && event < MIG_FAULT_COUNT; event++)
        fprintf(file, "%s %lu\n", names[event], atomic_load(&counts[event]));
    if (file)
        fclose(file);
}

static enum action meet(enum mig_fault event)
{
    const unsigned long number = atomic_fetch_add(&counts[event], 1) + 1;

    if (wanted.action == NOTHING || wanted.event != event ||
        (number != wanted.number && !(wanted.and_later && number > wanted.number)))
        return NOTHING;
    return wanted.action;
}

static void end_here(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static enum action pass(enum mig_fault event)
{
    const enum action action = meet(event);

    if (action == KILL)
        end_here();
    if (action != NOTHING)
        errno = event == MIG_FAULT_ALLOC ? ENOMEM : action == ENOSPACE ? ENOSPC : EIO;
    return action;
}

bool mig_fault_met(enum mig_fault event)
{
    return pass(event) != NOTHING;
}

bool mig_fault_cut(enum mig_fault event, int socket)
{
    const enum action action = pass(event);

    if (action == FAIL)
        shutdown(socket, SHUT_RDWR);
    return action != NOTHING;
}

ssize_t mig_fault_write(int fd, const void *bytes, size_t size)
{
    const enum action action = meet(MIG_FAULT_WRITE);
    ssize_t written;

    if (action == NOTHING)
        return write(fd, bytes, size);
    if (action != KILL && action != SHORT) {
        errno = action == ENOSPACE ? ENOSPC : EIO;
        return -1;
    }
    written = write(fd, bytes, (size + 1) / 2);
    if (action == KILL)
        end_here();
    return written;
}

/* ---- memory ------------------------------------------------------------------------------- */

/* The linker leads our own calls here (--wrap); those of libraries go where they always go. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __real_vasprintf(char **ret_text, const char *format, va_list args);
int __wrap_vasprintf(char **ret_text, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t size)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return MIG_FAULT(ALLOC) ? NULL : __real_strndup(text, size);
}

int __wrap_vasprintf(char **ret_text, const char *format, va_list args)
{
    *ret_text = NULL;
    return MIG_FAULT(ALLOC) ? -1 : __real_vasprintf(ret_text, format, args);
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = __wrap_vasprintf(ret_text, format, args);
    va_end(args);
    return size;
}

#endif
