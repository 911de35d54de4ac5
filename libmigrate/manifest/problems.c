/* Collecting what is wrong with a manifest, each with its JSON pointer (RFC 6901), so that a person
 * can mend everything in one go. */
#include "libmigrate/manifest/manifest_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whoever sends nonsense gets enough to see that it is nonsense. */
#define PROBLEMS_MAX 200
#define POINTER_SIZE_MAX ((size_t) 64 << 10)
#define MESSAGE_SIZE_MAX 1024

void mig_problems_release(struct mig_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        free(problems->items[i].pointer);
        free(problems->items[i].message);
    }
    free(problems->items);
    *problems = (struct mig_problems){0};
}

void mig_reader_release(struct mig_reader *reader)
{
    mig_problems_release(&reader->problems);
}

static int print_name(struct mig_buffer *pointer, const char *name)
{
    int result = mig_buffer_append(pointer, "/", 1, NULL);

    for (; result == MIG_OK && *name; name++) {
        if (*name == '~')
            result = mig_buffer_append(pointer, "~0", 2, NULL);
        else if (*name == '/')
            result = mig_buffer_append(pointer, "~1", 2, NULL);
        else
            result = mig_buffer_append(pointer, name, 1, NULL);
    }
    return result;
}

static int print_place(struct mig_buffer *pointer, const struct mig_place *place)
{
    int result;

    if (!place)
        return MIG_OK;
    result = print_place(pointer, place->parent);
    if (result != MIG_OK)
        return result;
    return place->name ? print_name(pointer, place->name)
                       : mig_buffer_print(pointer, NULL, "/%zu", place->index);
}

/* The pointer as a C string of the caller's, or NULL when memory is out. */
static char *pointer_of(const struct mig_place *place)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer pointer = MIG_BUFFER_INIT(POINTER_SIZE_MAX);

    if (print_place(&pointer, place) != MIG_OK ||
        mig_buffer_append(&pointer, "", 1, NULL) != MIG_OK)
        return NULL;
    return (char *) mig_take(pointer.data);
}

static void add_problem(struct mig_reader *reader, const struct mig_place *place,
                        const char *message)
{
    struct mig_problems *problems = &reader->problems;
    const struct mig_problem problem = {pointer_of(place), strdup(message)};
    struct mig_problem *items =
        reallocarray(problems->items, problems->count + 1, sizeof *problems->items);

    if (items)
        problems->items = items;
    if (!items || !problem.pointer || !problem.message) {
        free(problem.pointer);
        free(problem.message);
        reader->out_of_memory = true;
        return;
    }
    items[problems->count++] = problem;
}

void mig_complain(struct mig_reader *reader, const struct mig_place *place, const char *format, ...)
{
    char message[MESSAGE_SIZE_MAX];
    va_list args;

    if (reader->problems.count > PROBLEMS_MAX)
        return;
    if (reader->problems.count == PROBLEMS_MAX) {
        add_problem(reader, NULL, "there are more problems than are worth listing");
        return;
    }
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    add_problem(reader, place, message);
}

void *mig_reader_keep_zeros(struct mig_reader *reader, size_t count, size_t size)
{
    void *memory = NULL;
    size_t total;

    if (__builtin_mul_overflow(count, size, &total) ||
        mig_arena_alloc(reader->arena, total, &memory, NULL) != MIG_OK) {
        reader->out_of_memory = true;
        return NULL;
    }
    memset(memory, 0, total);
    return memory;
}

char *mig_reader_keep(struct mig_reader *reader, const char *text)
{
    static char nothing[] = "";
    char *copy = mig_reader_keep_zeros(reader, strlen(text) + 1, 1);

    if (!copy)
        return nothing;
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

int mig_reader_verdict(const struct mig_reader *reader, const char *path, struct mig_error *err)
{
    const struct mig_problems *problems = &reader->problems;
    const struct mig_problem *first;

    if (reader->out_of_memory)
        return mig_fail(err, MIG_E_NOMEM, "cannot read manifest '%s': out of memory", path);
    if (problems->count == 0)
        return MIG_OK;
    first = &problems->items[0];
    mig_fail(err, MIG_E_USAGE, "manifest '%s'%s%s: %s", path, *first->pointer ? ", " : "",
             first->pointer, first->message);
    if (problems->count > 1)
        mig_hint(err, "%zu more problem%s in this manifest", problems->count - 1,
                 problems->count == 2 ? "" : "s");
    return MIG_E_USAGE;
}

struct mig_quote mig_quote_of(const char *text)
{
    struct mig_quote quote;
    const size_t most = sizeof quote.text - sizeof "...";
    size_t length = strlen(text);
    const bool cut = length > most;

    if (cut)
        length = most;
    while (cut && length > 0 && ((unsigned char) text[length] & 0xC0) == 0x80)
        length--;
    memcpy(quote.text, text, length);
    strcpy(quote.text + length, cut ? "..." : "");
    for (char *c = quote.text; *c; c++)
        if ((unsigned char) *c < ' ' || *c == 0x7F)
            *c = '?';
    return quote;
}
