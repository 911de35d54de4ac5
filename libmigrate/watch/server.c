/*
 * HTTP by libmicrohttpd, on one thread: few pages, few connections, small requests, no patience. In
 * a crowd whoever came first goes first, so that a scrape gets in however many hold half a request.
 */
#include "libmigrate/watch/watch_private.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 128
#define CROWD 96
#define CONNECTION_MEMORY ((size_t) 8 << 10) /* a request's head is at most that */
#define IDLE_SECONDS 5U
#define TEXT_LIMIT ((size_t) 8 << 20)

struct server {
    struct MHD_Daemon *daemon;
    const struct page *pages;
    void *context;
    int open[CONNECTIONS]; /* in the order in which they came; the daemon's thread alone */
    size_t open_count;
};

static enum MHD_Result send_text(struct MHD_Connection *connection, struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->text.size, answer->text.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static int write_answer(const struct server *server, const char *url, const char *method,
                        struct answer *answer, struct mig_error *err)
{
    const struct page *page = server->pages;

    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        answer->status = MHD_HTTP_METHOD_NOT_ALLOWED;
        return mig_buffer_print(&answer->text, err, "only GET and HEAD\n");
    }
    while (page->path && strcmp(page->path, url) != 0)
        page++;
    return page->answer(server->context, answer, err);
}

static void release_answer(struct answer *answer)
{
    mig_buffer_release(&answer->text);
}

/* Answered at the first call: a body that may follow is never read, and the connection ends. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    mig_cleanup(release_answer) struct answer answer = {.status = MHD_HTTP_OK,
                                                        .type = "text/plain; charset=utf-8",
                                                        .text = MIG_BUFFER_INIT(TEXT_LIMIT)};
    struct mig_error err = MIG_ERROR_INIT;

    (void) version;
    (void) upload;
    *upload_size = 0;
    (void) state;
    return write_answer(context, url, method, &answer, &err) == MIG_OK
               ? send_text(connection, &answer)
               : MHD_NO;
}

static void forget(struct server *server, int fd)
{
    size_t place = 0;

    while (place < server->open_count && server->open[place] != fd)
        place++;
    if (place == server->open_count)
        return;
    server->open_count--;
    memmove(&server->open[place], &server->open[place + 1],
            (server->open_count - place) * sizeof server->open[0]);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    struct server *server = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    (void) state;
    if (!info)
        return;
    forget(server, info->connect_fd);
    if (what != MHD_CONNECTION_NOTIFY_STARTED)
        return;
    if (server->open_count == CROWD) {
        shutdown(server->open[0], SHUT_RDWR);
        forget(server, server->open[0]);
    }
    server->open[server->open_count++] = info->connect_fd;
}

/* What is wrong with a request is the asker's to know; it says nothing about our work. */
static void on_complaint(void *context, const char *format, va_list args)
{
    (void) context;
    (void) format;
    (void) args;
}

int server_open(int fd, const struct page *pages, void *context, struct server **ret_server,
                struct mig_error *err)
{
    mig_cleanup(server_close) struct server *server = calloc(1, sizeof *server);

    if (!server) {
        close(fd);
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    }
    server->pages = pages;
    server->context = context;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_complaint, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
    if (!server->daemon) {
        close(fd);
        return mig_fail(err, MIG_E_TEMPORARY, "cannot start the HTTP server");
    }
    *ret_server = mig_take(server);
    return MIG_OK;
}

void server_close(struct server **server)
{
    struct server *s = mig_take(*server);

    if (!s)
        return;
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    free(s);
}
