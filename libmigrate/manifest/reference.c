/* How a secret or a DSN is written in a manifest, and what must not be: keys and passwords. */
#include "libmigrate/manifest/manifest_private.h"

#include <stdlib.h>
#include <string.h>

#define FD_DIGITS_MAX 6

static const struct {
    const char *prefix;
    enum mig_scheme scheme;
} schemes[] = {
    {"env:", MIG_SCHEME_ENV},
    {"file:", MIG_SCHEME_FILE},
    {"fd:", MIG_SCHEME_FD},
};

enum mig_scheme mig_reference_scheme(const char *text, const char **ret_rest)
{
    for (size_t i = 0; i < mig_count_of(schemes); i++) {
        const size_t length = strlen(schemes[i].prefix);

        if (strncmp(text, schemes[i].prefix, length) == 0) {
            *ret_rest = text + length;
            return schemes[i].scheme;
        }
    }
    *ret_rest = text;
    return MIG_SCHEME_PLAIN;
}

static bool is_variable(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return *name && !(*name >= '0' && *name <= '9') && name[strspn(name, letters)] == '\0';
}

static bool is_descriptor(const char *number)
{
    const size_t digits = strspn(number, "0123456789");

    return digits > 0 && digits <= FD_DIGITS_MAX && number[digits] == '\0';
}

/* Where the authority of a PostgreSQL URI starts, or NULL when text is none. */
static const char *authority_of(const char *text)
{
    static const char *const prefixes[] = {"postgresql://", "postgres://"};

    for (size_t i = 0; i < mig_count_of(prefixes); i++)
        if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
            return text + strlen(prefixes[i]);
    return NULL;
}

/* The character at *text, which moves behind it. A URI can write any as %XX. */
static char next_character(const char **text, bool is_uri)
{
    char digits[3] = {0};

    if (is_uri && **text == '%' && strspn(*text + 1, "0123456789abcdefABCDEF") >= 2) {
        memcpy(digits, *text + 1, 2);
        *text += 3;
        return (char) strtol(digits, NULL, 16);
    }
    return *(*text)++;
}

/* Whether text goes on with the keyword `password` and its value. Longer keywords that end so
 * (sslpassword) are secrets too, so that it may stand anywhere. */
static bool goes_on_with_password(const char *text, bool is_uri)
{
    for (const char *expected = "password"; *expected; expected++)
        if (!*text || next_character(&text, is_uri) != *expected)
            return false;
    text += strspn(text, " \t\r\n\f\v");
    return *text == '=';
}

static bool holds_password(const char *text)
{
    const char *authority = authority_of(text);

    if (authority) {
        /* As libpq reads it: user and password end at the first '@' before any '/'. */
        const char *end = authority + strcspn(authority, "@/");

        if (*end == '@' && memchr(authority, ':', (size_t) (end - authority)))
            return true;
    }
    for (; *text; text++)
        if (goes_on_with_password(text, authority != NULL))
            return true;
    return false;
}

const char *mig_reference_fault(const char *text, bool plain_allowed)
{
    const char *rest;

    switch (mig_reference_scheme(text, &rest)) {
    case MIG_SCHEME_ENV:
        return is_variable(rest)
                   ? NULL
                   : "env: needs a variable's name: letters, digits and '_', no digit "
                     "first";
    case MIG_SCHEME_FILE:
        return *rest ? NULL : "file: needs a path";
    case MIG_SCHEME_FD:
        return is_descriptor(rest) ? NULL : "fd: needs the number of a descriptor";
    case MIG_SCHEME_PLAIN:
        break;
    }
    if (!plain_allowed)
        return "must be a reference (env:NAME, file:PATH or fd:N), never the key itself";
    if (holds_password(text))
        return "holds a password, which has no place in a manifest: use env:NAME, file:PATH or "
               "fd:N";
    if (!authority_of(text) && !strchr(text, '='))
        return "is neither a reference (env:NAME, file:PATH, fd:N) nor a libpq connection string";
    return NULL;
}
