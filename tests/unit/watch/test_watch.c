/* The watch whole: over HTTP as a scraper and as somebody hostile sees it, and as systemd does. */
#include "libmigrate/watch/watch_private.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *const tables[] = {"inbox_log"};
static const char *const nodes[] = {"alpha"};
static struct mig_watch_options options = {.version = "1",
                                           .network = "local",
                                           .tables = tables,
                                           .table_count = 1,
                                           .nodes = nodes,
                                           .node_count = 1,
                                           .stall_after_s = 2};
static struct mig_watch *watch;
static char logged[256];
static double measured;
static uint64_t progressed;

static void hear_log(void *context, enum mig_log_level level, const char *message)
{
    (void) context;
    (void) level;
    snprintf(logged, sizeof logged, "%s", message);
}

static void hear_progress(void *context, const struct mig_progress *progress)
{
    (void) context;
    progressed = progress->done;
}

static void hear_measure(void *context, enum mig_measure measure, const char *table,
                         const char *node, double value)
{
    (void) context;
    (void) measure;
    (void) table;
    (void) node;
    measured += value;
}

static const struct mig_hooks listener = {hear_log, hear_progress, hear_measure, NULL};

static void open_at(const char *address)
{
    struct mig_error err = MIG_ERROR_INIT;

    options.address = address;
    options.hooks = &listener;
    cr_assert_eq(mig_watch_open(&options, &watch, &err), MIG_OK, "%s", err.message);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* The port that the log told. */
static in_port_t port(void)
{
    unsigned number = 0;

    cr_assert_eq(sscanf(logged, "metrics at http://127.0.0.1:%u/metrics", &number), 1, "%s",
                 logged);
    return (in_port_t) number;
}

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port()),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *) &at, sizeof at), 0);
    return fd;
}

/* Sends a request and gives all that comes until the other side closes, or a second passed. */
static const char *ask_raw(const char *request, size_t size)
{
    static char answer[65536];
    const int fd = dial();
    size_t used = 0;
    ssize_t got;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1}, sizeof(struct timeval));
    (void) !send(fd, request, size, MSG_NOSIGNAL);
    while (used < sizeof answer - 1 &&
           (got = recv(fd, answer + used, sizeof answer - 1 - used, 0)) > 0)
        used += (size_t) got;
    answer[used] = '\0';
    close(fd);
    return answer;
}

static const char *ask(const char *method, const char *path)
{
    char request[256];

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             method, path);
    return ask_raw(request, strlen(request));
}

static void expect_status(const char *answer, int status)
{
    char line[32];

    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    cr_expect(strncmp(answer, line, strlen(line)) == 0, "not %d: %.80s", status, answer);
}

static void close_watch(void)
{
    mig_watch_close(&watch);
}

TestSuite(watch, .fini = close_watch, .timeout = 30);

Test(watch, passes_on_what_it_hears_and_tells_it)
{
    const struct mig_hooks *hooks;

    open_at("127.0.0.1:0");
    hooks = mig_watch_hooks(watch);
    mig_report_measure(hooks, MIG_MEASURE_ROWS_LOADED, "inbox_log", "alpha", 17);
    mig_report_measure(hooks, MIG_MEASURE_ROWS_LOADED, "other", "alpha", 1);
    mig_report_progress(hooks, &(struct mig_progress){.stage = "run", .done = 17});
    cr_expect_eq(measured, 18);
    cr_expect_eq(progressed, 17);
    expect_status(ask("GET", "/metrics"), 200);
    cr_expect(strstr(ask("GET", "/metrics"), "Content-Type: text/plain; version=0.0.4"));
    cr_expect(
        strstr(ask("GET", "/metrics"),
               "\nxmtp_migrate_node_rows_loaded_total{table=\"inbox_log\",node=\"alpha\"} 17\n"));
    mig_log(hooks, MIG_LOG_INFO, "heard");
    cr_expect_str_eq(logged, "heard");
}

Test(watch, tells_health_and_readiness)
{
    const struct mig_hooks *hooks;

    open_at("127.0.0.1:0");
    hooks = mig_watch_hooks(watch);
    expect_status(ask("GET", "/healthz"), 200);
    expect_status(ask("GET", "/readyz"), 503);
    cr_expect(strstr(ask("GET", "/readyz"), "awaiting: the source\n"));
    mig_report_measure(hooks, MIG_MEASURE_UP, NULL, NULL, 1);
    mig_report_measure(hooks, MIG_MEASURE_UP, NULL, "alpha", 1);
    mig_report_measure(hooks, MIG_MEASURE_IDLE, NULL, NULL, 1);
    expect_status(ask("GET", "/readyz"), 200);
    sleep_ms(2100);
    expect_status(ask("GET", "/healthz"), 503);
    cr_expect(strstr(ask("GET", "/healthz"), "\r\n\r\nstalled: no progress for "));
    cr_expect(strstr(ask("GET", "/metrics"), "\nxmtp_migrate_stalled 1\n"));
    mig_report_measure(hooks, MIG_MEASURE_ROWS_LOADED, "inbox_log", "alpha", 1);
    expect_status(ask("GET", "/healthz"), 200);
}

Test(watch, answers_get_and_head_of_its_pages_only)
{
    const char *answer;

    open_at("127.0.0.1:0");
    answer = ask("HEAD", "/healthz");
    expect_status(answer, 200);
    cr_expect_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    expect_status(ask("GET", "/"), 404);
    expect_status(ask("GET", "/metrics/../etc/passwd"), 404);
    answer = ask("POST", "/metrics");
    expect_status(answer, 405);
    cr_expect(strstr(answer, "Allow: GET, HEAD"));
    expect_status(ask("DELETE", "/metrics"), 405);
    answer =
        ask_raw("PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nxxx", 66);
    expect_status(answer, 405);
}

Test(watch, too_long_a_request_is_refused)
{
    static char request[1 << 16];
    const char *answer;

    open_at("127.0.0.1:0");
    memset(request, 'x', sizeof request);
    memcpy(request, "GET /", 5);
    answer = ask_raw(request, sizeof request);
    cr_expect(!answer[0] || strncmp(answer, "HTTP/1.1 4", 10) == 0, "%.80s", answer);
    answer = ask_raw("\0\0\0 \r\n\r\n", 8);
    cr_expect(!answer[0] || strncmp(answer, "HTTP/1.1 4", 10) == 0, "%.80s", answer);
    expect_status(ask("GET", "/metrics"), 200);
}

Test(watch, half_a_request_keeps_nobody_out_and_does_not_last)
{
    int fds[400];
    char byte;

    open_at("127.0.0.1:0");
    for (size_t i = 0; i < mig_count_of(fds); i++) {
        fds[i] = dial();
        (void) !send(fds[i], "GET /met", 8, MSG_NOSIGNAL);
    }
    expect_status(ask("GET", "/metrics"), 200);
    setsockopt(fds[399], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 10},
               sizeof(struct timeval));
    do
        errno = 0;
    while (recv(fds[399], &byte, 1, 0) > 0);
    cr_expect_neq(errno, EAGAIN, "closed after a while");
    for (size_t i = 0; i < mig_count_of(fds); i++)
        close(fds[i]);
}

Test(watch, a_crowd_is_served_once_it_thins_out)
{
    int fds[200];

    open_at("127.0.0.1:0");
    for (size_t i = 0; i < mig_count_of(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void) !connect(
            fds[i],
            (struct sockaddr *) &(struct sockaddr_in){.sin_family = AF_INET,
                                                      .sin_port = htons(port()),
                                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
            sizeof(struct sockaddr_in));
    }
    sleep_ms(100);
    for (size_t i = 0; i < mig_count_of(fds); i++)
        close(fds[i]);
    sleep_ms(300);
    expect_status(ask("GET", "/metrics"), 200);
}

/* ---- addresses ----------------------------------------------------------------------------- */

Test(address, what_is_none_is_a_matter_of_usage)
{
    static const char *const wrong[] = {
        "",          "9464",         "localhost", "127.0.0.1:", ":x",
        ":65536",    "127.0.0.1:-1", "::1:9464",  "[::1:946",   "[]:9464",
        "[::1]9464", ":9464x",       ": 9464",    ":1000000",   "no.such.invalid.:1"};

    for (size_t i = 0; i < mig_count_of(wrong); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        char where[ADDRESS_TEXT_SIZE];
        int fd;

        cr_expect_eq(address_listen(wrong[i], &fd, where, &err), MIG_E_USAGE, "%s", wrong[i]);
        cr_expect(strstr(err.message, wrong[i]), "%s", err.message);
        cr_expect(err.hint[0]);
    }
}

Test(address, a_port_in_use_is_told_with_its_address)
{
    struct mig_error err = MIG_ERROR_INIT;
    char where[ADDRESS_TEXT_SIZE], other[ADDRESS_TEXT_SIZE], everywhere[32];
    int fd, none;

    cr_assert_eq(address_listen("127.0.0.1:0", &fd, where, &err), MIG_OK);
    cr_expect_eq(address_listen(where, &none, other, &err), MIG_E_IO);
    cr_expect(strstr(err.message, where) && strstr(err.message, "Address already in use"), "%s",
              err.message);
    cr_expect(err.hint[0]);
    snprintf(everywhere, sizeof everywhere, "%s", strrchr(where, ':'));
    cr_expect_eq(address_listen(everywhere, &none, other, &err), MIG_E_IO);
    close(fd);
    cr_expect_eq(address_listen("192.0.2.1:1", &none, other, &err), MIG_E_IO);
    cr_expect(strstr(err.message, "Cannot assign"), "%s", err.message);
}

/* ---- systemd ------------------------------------------------------------------------------- */

static int open_line_of_ours(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "xmtp-migrate-test-%d", (int) getpid());
    cr_assert_eq(bind(fd, (struct sockaddr *) &at,
                      (socklen_t) (sizeof(sa_family_t) + 1 + strlen(at.sun_path + 1))),
                 0);
    at.sun_path[0] = '@';
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 1},
               sizeof(struct timeval));
    return fd;
}

/* How many lines that begin so have come. */
static unsigned count_told(int fd, const char *line)
{
    char told[1024];
    unsigned count = 0;
    ssize_t size;

    while ((size = recv(fd, told, sizeof told - 1, 0)) > 0) {
        told[size] = '\0';
        count += strncmp(told, line, strlen(line)) == 0;
    }
    return count;
}

static void await_told(int fd, const char *line)
{
    unsigned count = 0;

    for (int tries = 0; count == 0 && tries < 200; tries++) {
        sleep_ms(50);
        count = count_told(fd, line);
    }
    cr_expect_gt(count, 0, "no %s", line);
}

Test(systemd, hears_ready_status_and_pings_while_it_is_well)
{
    static struct mig_stop stop;
    const int fd = open_line_of_ours();
    const struct mig_hooks *hooks;

    setenv("WATCHDOG_USEC", "900000", 1);
    options.stop = &stop;
    open_at(NULL);
    hooks = mig_watch_hooks(watch);
    sleep_ms(300);
    cr_expect_eq(count_told(fd, "READY=1"), 0, "nothing has moved");
    mig_report_measure(hooks, MIG_MEASURE_ROWS_READ, "inbox_log", NULL, 9);
    await_told(fd, "READY=1");
    mig_report_progress(hooks, &(struct mig_progress){.stage = "run", .done = 7, .total = 9});
    await_told(fd, "STATUS=run: 7 of 9 rows, 0 rejected");
    sleep_ms(2500);
    count_told(fd, "");
    sleep_ms(800);
    cr_expect_eq(count_told(fd, "WATCHDOG=1"), 0, "stalled for long");
    mig_report_measure(hooks, MIG_MEASURE_ROWS_READ, "inbox_log", NULL, 9);
    await_told(fd, "WATCHDOG=1");
    atomic_store(&stop.requested, true);
    await_told(fd, "STOPPING=1");
    mig_watch_close(&watch);
    cr_expect_eq(count_told(fd, "STOPPING=1"), 0, "once");
    close(fd);
}

Test(systemd, is_not_looked_for_without_its_socket)
{
    unsetenv("NOTIFY_SOCKET");
    cr_expect_not(mig_watch_is_wanted());
    open_at(NULL);
    mig_report_measure(mig_watch_hooks(watch), MIG_MEASURE_IDLE, NULL, NULL, 1);
    mig_watch_close(&watch);
    cr_expect_null(watch);
}
