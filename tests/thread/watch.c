/* Figures told by many threads while they are asked for: a plain program, so that ThreadSanitizer
 * can watch it. */
#include "libmigrate/watch/watch.h"
#include "tests/thread/expect.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEOPLE 4
#define REPORTS 5000
#define SCRAPES 20

static unsigned port;

static void hear_log(void *context, enum mig_log_level level, const char *message)
{
    (void) context;
    (void) level;
    expect(sscanf(message, "metrics at http://127.0.0.1:%u/metrics", &port) == 1, "the port");
}

static void *report(void *context)
{
    const struct mig_hooks *hooks = context;

    for (unsigned i = 0; i < REPORTS; i++) {
        mig_report_measure(hooks, MIG_MEASURE_ROWS_LOADED, "inbox_log", "alpha", 1);
        mig_report_progress(hooks, &(struct mig_progress){.stage = "run", .done = i});
    }
    return NULL;
}

/* Appends what comes to answer, which has room for it. */
static void scrape(char *answer, size_t size)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons((in_port_t) port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t used = 0;
    ssize_t got;

    expect(connect(fd, (const struct sockaddr *) &at, sizeof at) == 0, "connecting");
    expect(send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1, "asking");
    while (used < size - 1 && (got = recv(fd, answer + used, size - 1 - used, 0)) > 0)
        used += (size_t) got;
    answer[used] = '\0';
    close(fd);
}

int main(void)
{
    static char answer[1 << 18];
    static const char *const tables[] = {"inbox_log"}, *const nodes[] = {"alpha"};
    const struct mig_hooks listener = {.log = hear_log};
    const struct mig_watch_options options = {.address = "127.0.0.1:0",
                                              .version = "1",
                                              .network = "local",
                                              .tables = tables,
                                              .table_count = 1,
                                              .nodes = nodes,
                                              .node_count = 1,
                                              .hooks = &listener};
    struct mig_watch *watch = NULL;
    pthread_t people[PEOPLE];
    char line[128];

    expect(mig_watch_open(&options, &watch, NULL) == MIG_OK, "opening");
    for (size_t i = 0; i < PEOPLE; i++)
        pthread_create(&people[i], NULL, report, (void *) (uintptr_t) mig_watch_hooks(watch));
    for (size_t i = 0; i < SCRAPES; i++)
        scrape(answer, sizeof answer);
    for (size_t i = 0; i < PEOPLE; i++)
        pthread_join(people[i], NULL);
    scrape(answer, sizeof answer);
    snprintf(line, sizeof line,
             "\nxmtp_migrate_node_rows_loaded_total{table=\"inbox_log\",node=\"alpha\"} %d\n",
             PEOPLE * REPORTS);
    expect(strstr(answer, line) != NULL, "every report counts");
    mig_watch_close(&watch);
    return 0;
}
