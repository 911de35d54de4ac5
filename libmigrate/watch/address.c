/* Where to listen: words to a socket that is bound there and nowhere else. */
#include "libmigrate/watch/watch_private.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64
#define HOST_SIZE 256

struct place {
    char host[HOST_SIZE]; /* "" for all interfaces */
    char port[8];
};

static int complain(const char *address, struct mig_error *err)
{
    mig_fail(err, MIG_E_USAGE, "'%.100s' is no address to listen at", address);
    return mig_hint(err,
                    "HOST:PORT, [IPV6]:PORT, or :PORT for all interfaces; 127.0.0.1:9464, say");
}

static bool read_place(const char *address, struct place *ret_place)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t) (colon - address) : 0;
    const char *host = address;
    unsigned long port;
    char *end;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    port = strtoul(colon + 1, &end, 10);
    if (*end || end - colon > 6 || port > UINT16_MAX)
        return false;
    if (size > 0 && host[0] == '[') {
        if (size < 3 || host[size - 1] != ']')
            return false;
        host++;
        size -= 2;
    } else if (memchr(host, ':', size)) {
        return false;
    }
    if (size >= sizeof ret_place->host)
        return false;
    memcpy(ret_place->host, host, size);
    ret_place->host[size] = '\0';
    snprintf(ret_place->port, sizeof ret_place->port, "%lu", port);
    return true;
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static bool listen_at(const struct addrinfo *at, bool everywhere, int *ret_fd)
{
    const int on = 1, only_v6 = !everywhere;
    mig_cleanup(close_fd) int fd =
        socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (at->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6) != 0) ||
        bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        const int failure = errno;

        close_fd(&fd);
        fd = -1;
        errno = failure;
        return false;
    }
    *ret_fd = fd;
    fd = -1;
    return true;
}

static void describe(int fd, char ret_text[ADDRESS_TEXT_SIZE])
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    char host[64] = "?", port[8] = "?";

    if (getsockname(fd, (struct sockaddr *) &name, &size) == 0)
        getnameinfo((struct sockaddr *) &name, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(ret_text, ADDRESS_TEXT_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* One socket takes both families where there are both: IPv6 first. */
static void free_found(struct addrinfo **found)
{
    if (*found)
        freeaddrinfo(*found);
}

static int find_places(const char *address, const struct place *place, int family,
                       struct addrinfo **ret_found, struct mig_error *err)
{
    const struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    const int failure =
        getaddrinfo(place->host[0] ? place->host : NULL, place->port, &hints, ret_found);

    if (failure == 0)
        return MIG_OK;
    mig_fail(err, MIG_E_USAGE, "cannot listen at '%.100s': %s", address, gai_strerror(failure));
    return mig_hint(err, "the host is to be one of this machine's names or addresses");
}

int address_listen(const char *address, int *ret_fd, char ret_text[ADDRESS_TEXT_SIZE],
                   struct mig_error *err)
{
    static const int everywhere[] = {AF_INET6, AF_INET}, somewhere[] = {AF_UNSPEC};
    struct place place;
    const int *families;
    size_t count;
    int failure = 0;

    if (!read_place(address, &place))
        return complain(address, err);
    families = place.host[0] ? somewhere : everywhere;
    count = place.host[0] ? mig_count_of(somewhere) : mig_count_of(everywhere);
    for (size_t i = 0; i < count; i++) {
        mig_cleanup(free_found) struct addrinfo *found = NULL;
        int result = find_places(address, &place, families[i], &found, err);

        if (result != MIG_OK)
            return result;
        for (const struct addrinfo *at = found; at; at = at->ai_next) {
            if (listen_at(at, !place.host[0], ret_fd)) {
                describe(*ret_fd, ret_text);
                return MIG_OK;
            }
            failure = errno;
            /* A machine without IPv6 still has the other; a port that somebody has is told. */
            if (failure == EADDRINUSE || failure == EACCES)
                break;
        }
        if (failure == EADDRINUSE || failure == EACCES)
            break;
    }
    mig_fail(err, MIG_E_IO, "cannot listen at '%.100s': %s", address, strerror(failure));
    return failure == EADDRINUSE ? mig_hint(err, "name a port that nobody has, or :0 for any")
                                 : MIG_E_IO;
}
