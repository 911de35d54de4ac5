/* The hosts of a DSN that names several. libpq goes on to the next when one refuses; when one is
 * silent it does so only where it blocks, which we never let it. */
#include "libmigrate/pg/pg_private.h"

#include <stdlib.h>
#include <string.h>

static size_t count_of(const char *list)
{
    size_t count = list && *list ? 1 : 0;

    for (; count > 0 && (list = strchr(list, ',')) != NULL; list++)
        count++;
    return count;
}

/* The place of an element and its length; of a list of one that one, whichever was asked for. */
static const char *element_of(const char *list, size_t at, size_t *ret_length)
{
    for (size_t count = count_of(list); at > 0 && count > 1; at--, count--)
        list = strchr(list, ',') + 1;
    *ret_length = list ? strcspn(list, ",") : 0;
    return list;
}

static bool element_is(const char *list, size_t at, const char *text)
{
    size_t length;
    const char *element = element_of(list, at, &length);

    return length == 0 || (text && strlen(text) == length && strncmp(element, text, length) == 0);
}

/* Copies a list without one of its elements; a list of one is for all hosts, and stays. */
static int drop(const char *list, size_t at, char **ret_list, struct mig_error *err)
{
    char *copy = strdup(list ? list : "");
    size_t length;

    if (!copy)
        return mig_fail(err, MIG_E_NOMEM, "cannot try the next host: out of memory");
    if (count_of(copy) > 1) {
        char *element = copy + (element_of(copy, at, &length) - copy);
        const bool last = element[length] == '\0';

        memmove(last && element > copy ? element - 1 : element, element + length + !last,
                strlen(element + length + !last) + 1);
    }
    free(*ret_list);
    *ret_list = copy;
    return MIG_OK;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    while (options && options->keyword && strcmp(options->keyword, keyword) != 0)
        options++;
    return options && options->keyword ? options->val : NULL;
}

int pg_hosts_drop(PGconn *connection, struct pg_hosts *hosts, bool *ret_left, struct mig_error *err)
{
    PQconninfoOption *options = PQconninfo(connection);
    const char *host = value_of(options, "host"), *address = value_of(options, "hostaddr"),
               *port = value_of(options, "port");
    const size_t count = count_of(count_of(host) ? host : address);
    size_t at = 0;
    int result = MIG_OK;

    while (at < count && !(element_is(count_of(host) ? host : address, at, PQhost(connection)) &&
                           element_is(port, at, PQport(connection))))
        at++;
    *ret_left = count > 1 && at < count;
    if (*ret_left && (result = drop(host, at, &hosts->host, err)) == MIG_OK &&
        (result = drop(address, at, &hosts->address, err)) == MIG_OK)
        result = drop(port, at, &hosts->port, err);
    PQconninfoFree(options);
    return result;
}

void pg_hosts_release(struct pg_hosts *hosts)
{
    free(hosts->host);
    free(hosts->address);
    free(hosts->port);
}
