/* Errors as values: the one table of what each kind means, and the building of their stories. */
#include "libmigrate/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct mig_code_info codes[] = {
    [-MIG_OK] = {"ok", false, 0},
    [-MIG_E_USAGE] = {"usage", false, 2},
    [-MIG_E_NOMEM] = {"out-of-memory", false, 1},
    [-MIG_E_IO] = {"io", false, 1},
    [-MIG_E_CORRUPT] = {"corrupt", false, 1},
    [-MIG_E_TEMPORARY] = {"temporary", true, 5},
    [-MIG_E_CONFLICT] = {"conflict", false, 3},
    [-MIG_E_CANCELLED] = {"cancelled", true, 130},
    [-MIG_E_REFUSED] = {"refused", false, 1},
    [-MIG_E_DATABASE] = {"database", false, 1},
    [-MIG_E_DIFFERENT] = {"different", false, 3},
    [-MIG_E_PARTIAL] = {"partial", false, 4},
};

static const struct mig_code_info unknown = {"unknown", false, 1};

const struct mig_code_info *mig_code_info(enum mig_code code)
{
    const int index = -(int) code;

    return index >= 0 && (size_t) index < sizeof codes / sizeof codes[0] ? &codes[index] : &unknown;
}

/* A text that fills its buffer may end inside a UTF-8 character: step back to where that one
 * starts. */
static void trim_partial_character(char *text, size_t capacity)
{
    size_t end = strnlen(text, capacity);

    if (end + 1 < capacity)
        return;
    while (end > 0 && ((unsigned char) text[end - 1] & 0xC0) == 0x80)
        end--;
    if (end > 0 && ((unsigned char) text[end - 1] & 0xC0) == 0xC0)
        end--;
    text[end] = '\0';
}

__attribute__((format(printf, 3, 0))) static void write_text(char *text, size_t capacity,
                                                             const char *format, va_list args)
{
    vsnprintf(text, capacity, format, args);
    trim_partial_character(text, capacity);
}

/* What mig_hint() and mig_error_within() return when the caller wants no story: they follow a
 * mig_fail() in the same breath. */
static _Thread_local enum mig_code last_failure = MIG_E_CORRUPT;

int mig_fail(struct mig_error *err, enum mig_code code, const char *format, ...)
{
    va_list args;

    last_failure = code;
    if (!err)
        return code;
    *err = (struct mig_error){.code = code};
    va_start(args, format);
    write_text(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

int mig_hint(struct mig_error *err, const char *format, ...)
{
    va_list args;

    if (!err)
        return last_failure;
    va_start(args, format);
    write_text(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return err->code;
}

int mig_error_within(struct mig_error *err, const char *format, ...)
{
    char place[MIG_MESSAGE_SIZE];
    char story[MIG_MESSAGE_SIZE];
    va_list args;

    if (!err)
        return last_failure;
    va_start(args, format);
    write_text(place, sizeof place, format, args);
    va_end(args);
    memcpy(story, err->message, sizeof story);
    if (snprintf(err->message, sizeof err->message, "%s: %s", place, story) >=
        (int) sizeof err->message)
        trim_partial_character(err->message, sizeof err->message);
    return err->code;
}

int mig_errors_add(struct mig_errors *errors, const struct mig_error *one, struct mig_error *err)
{
    struct mig_error *items = reallocarray(errors->items, errors->count + 1, sizeof *items);

    if (!items)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    errors->items = items;
    items[errors->count++] = *one;
    return MIG_OK;
}

void mig_errors_release(struct mig_errors *errors)
{
    free(errors->items);
    *errors = (struct mig_errors){0};
}
