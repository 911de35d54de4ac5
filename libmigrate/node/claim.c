/*
 * One run at a time on a node: session locks of the server, which end with their connections, so
 * that nothing is left of a run that crashed. But a server may notice late that a process is gone.
 * Every session says which process it is of; what holds the locks and is of none any more, here on
 * this machine, is ended by whoever comes next.
 */
#include "libmigrate/io/io.h"
#include "libmigrate/node/node_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* "xmtpmigr" and the number behind it, far from the node's own 5. The run holds the first. Sessions
 * that write for it share the second: what they were asked to commit may come long after the
 * connection that holds the first is gone. */
#define RUN_KEY INT64_C(0x786d74706d696772)
#define SIDE_KEY (RUN_KEY + 1)

#define STEP_MS 20
#define GONE_SECONDS 20 /* a backend comes to an end when it is told to */
#define ELSEWHERE_SECONDS                                                                          \
    5 /* whether a process of another machine is gone only the server knows                        \
       */

/* ---- processes ------------------------------------------------------------------------------- */

/* Names a process of one machine for good: pids come again, and containers have their own. */
struct process {
    char host[26];
    long pid;
    uint32_t place; /* of the running kernel and of who is told apart by pid on it; 0: not known */
    uint32_t start; /* when it began, as far as told */
};
/* The most that an application_name may have; the host's name gets what is left. */
#define PROCESS_FORMAT "xmtp-migrate %.25s pid %ld %08" PRIx32 "%04" PRIx32
#define PROCESS_TEXT_SIZE 64

static size_t read_text(const char *path, char *text, size_t size)
{
    mig_cleanup(mig_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t) got : 0;
}

static uint32_t mix(uint32_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT32_C(16777619);
    return hash;
}

static uint32_t find_place(void)
{
    char boot[64];
    struct stat pids;
    const size_t length = read_text("/proc/sys/kernel/random/boot_id", boot, sizeof boot);

    if (length == 0 || stat("/proc/self/ns/pid", &pids) != 0)
        return 0;
    return mix(mix(UINT32_C(2166136261), boot, length), &pids.st_ino, sizeof pids.st_ino) | 1;
}

#define FIELDS_TO_START 19 /* behind that of the state; proc(5) */

/* False when nothing can be said of it. A process that only waits to be reaped has ended. */
static bool look_at_process(long pid, bool *ret_ended, uint32_t *ret_start)
{
    char path[64], text[1024];
    const char *field;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (read_text(path, text, sizeof text) == 0 || !(field = strrchr(text, ')')) ||
        strncmp(field, ") ", 2) != 0)
        return false;
    field += 2;
    *ret_ended = *field == 'Z' || *field == 'X';
    for (int i = 0; i < FIELDS_TO_START && field; i++)
        field = (field = strchr(field, ' ')) ? field + 1 : NULL;
    if (!field)
        return false;
    *ret_start = (uint32_t) (strtoull(field, NULL, 10) & 0xffff);
    return true;
}

static struct process this_process(void)
{
    struct process self = {.pid = (long) getpid(), .place = find_place()};
    char host[HOST_NAME_MAX + 1] = "";
    bool ended;

    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '\'' || *c == '\\' || (unsigned char) *c <= ' ')
            *c = '_';
    snprintf(self.host, sizeof self.host, "%.25s", *host ? host : "_");
    if (!look_at_process(self.pid, &ended, &self.start))
        self.place = 0;
    return self;
}

static void print_process(const struct process *process, char text[PROCESS_TEXT_SIZE])
{
    snprintf(text, PROCESS_TEXT_SIZE, PROCESS_FORMAT, process->host, process->pid, process->place,
             process->start);
}

/* Nothing but what printing gives again. */
static bool parse_process(const char *text, struct process *ret_process)
{
    const char *const host = strchr(text, ' '), *const pid = host ? strstr(host, " pid ") : NULL;
    struct process process = {0};
    char again[PROCESS_TEXT_SIZE], *mark = NULL;
    unsigned long long number;

    if (!pid)
        return false;
    snprintf(process.host, sizeof process.host, "%.*s", (int) (pid - host - 1), host + 1);
    process.pid = strtol(pid + strlen(" pid "), &mark, 10);
    number = strtoull(mark, NULL, 16);
    process.place = (uint32_t) (number >> 16);
    process.start = (uint32_t) (number & 0xffff);
    print_process(&process, again);
    if (process.pid <= 0 || strcmp(again, text) != 0)
        return false;
    *ret_process = process;
    return true;
}

static bool same_process(const struct process *a, const struct process *b)
{
    return a->place == b->place && a->pid == b->pid && a->start == b->start &&
           strcmp(a->host, b->host) == 0;
}

enum fate { FATE_ALIVE, FATE_GONE, FATE_UNKNOWN };

static enum fate fate_of(const struct process *process, const struct process *self)
{
    uint32_t start;
    bool ended;

    if (self->place == 0 || process->place != self->place || strcmp(process->host, self->host) != 0)
        return FATE_UNKNOWN;
    if (kill((pid_t) process->pid, 0) != 0 && errno == ESRCH)
        return FATE_GONE;
    if (!look_at_process(process->pid, &ended, &start))
        return FATE_UNKNOWN;
    return ended || start != process->start ? FATE_GONE : FATE_ALIVE;
}

/* So that whoever comes later can be told who is at work, and see whether that is still true. */
int node_say_who(struct mig_node *node, struct mig_error *err)
{
    const struct process self = this_process();
    char name[PROCESS_TEXT_SIZE], sql[NODE_SQL_SIZE];
    int result;

    print_process(&self, name);
    snprintf(sql, sizeof sql, "SET application_name = '%s'", name);
    if ((result = mig_pg_exec(node->pg, sql, err)) != MIG_OK)
        return result;
    /* Where a server can see that we are gone, it shall look: not every one can. */
    mig_pg_exec(node->pg, "SET client_connection_check_interval = 1000", NULL);
    mig_pg_exec(node->pg,
                "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;"
                " SET tcp_keepalives_count = 3; SET tcp_user_timeout = 30000",
                NULL);
    return mig_pg_alive(node->pg) ? MIG_OK : mig_pg_exec(node->pg, sql, err);
}

/* ---- who holds the locks --------------------------------------------------------------------- */

static int ask_who(struct mig_node *node, struct mig_pg_result *answer, struct mig_error *err)
{
    char run[NODE_NUMBER_SIZE], side[NODE_NUMBER_SIZE];
    const char *const params[] = {node_number(RUN_KEY, run), node_number(SIDE_KEY, side)};

    return mig_pg_query(
        node->pg,
        "SELECT DISTINCT coalesce(a.application_name, ''), coalesce(to_char(a.backend_start AT TIME"
        " ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'an unknown time'), l.pid FROM pg_locks l"
        " LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
        " AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) IN ($1, $2)"
        " AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE"
        " datname = current_database()) ORDER BY 2, 3",
        params, 2, answer, err);
}

static int refuse_second(struct mig_node *node, const struct mig_pg_result *answer, int row,
                         struct mig_error *err)
{
    const char *const name = row < answer->rows ? mig_pg_text(answer, row, 0) : "";
    char who[PROCESS_TEXT_SIZE + 16];
    struct process process;

    snprintf(who, sizeof who, "%.63s", *name ? name : "somebody");
    if (parse_process(name, &process))
        snprintf(who, sizeof who, "%s, pid %ld", process.host, process.pid);
    mig_fail(err, MIG_E_TEMPORARY, "node '%s': another run is at work here: %s, since %s",
             node->entry->name, who, row < answer->rows ? mig_pg_text(answer, row, 1) : "just now");
    return mig_hint(err, "wait until it has ended, or stop it, then run this again");
}

/* What is to be done about those who hold the locks. */
struct holders {
    int gone, unknown; /* how many sessions */
    int alive_row;     /* a session that is at work, or -1 */
};

/* A connection of this very process that was lost may still be there for the server. */
static void judge_holders(const struct mig_pg_result *answer, struct holders *holders,
                          bool *ret_gone)
{
    const struct process self = this_process();

    *holders = (struct holders){.alive_row = -1};
    for (int row = 0; row < answer->rows; row++) {
        const char *const name = mig_pg_text(answer, row, 0);
        struct process process;
        enum fate fate = *name ? FATE_ALIVE : FATE_UNKNOWN;

        if (parse_process(name, &process))
            fate = same_process(&process, &self) ? FATE_GONE : fate_of(&process, &self);
        ret_gone[row] = fate == FATE_GONE;
        holders->gone += fate == FATE_GONE;
        holders->unknown += fate == FATE_UNKNOWN;
        if (fate == FATE_ALIVE)
            holders->alive_row = row;
    }
}

/* ret_gone: a flag for each row of the answer. */
static int find_holders(struct mig_node *node, struct mig_pg_result *answer,
                        struct holders *holders, bool **ret_gone, struct mig_error *err)
{
    bool *gone;
    int result = ask_who(node, answer, err);

    if (result != MIG_OK)
        return result;
    gone = calloc((size_t) answer->rows + 1, sizeof *gone);
    if (!gone)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    judge_holders(answer, holders, gone);
    *ret_gone = gone;
    return MIG_OK;
}

int node_check_unclaimed(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_free_flags) bool *gone = NULL;
    struct holders holders;
    int result = find_holders(node, &answer, &holders, &gone, err);

    if (result != MIG_OK)
        return result;
    if (holders.alive_row < 0 && holders.unknown == 0)
        return MIG_OK;
    return refuse_second(node, &answer, holders.alive_row < 0 ? 0 : holders.alive_row, err);
}

/* ---- claiming -------------------------------------------------------------------------------- */

static void end_session(struct mig_node *node, const struct mig_pg_result *answer, int row)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result told = {0};
    struct mig_error failure = MIG_ERROR_INIT;
    struct process process;

    if (parse_process(mig_pg_text(answer, row, 0), &process))
        mig_log(node->hooks, MIG_LOG_INFO,
                "node '%s': %s, pid %ld, which was at work here since %s, has ended without a word:"
                " its session is ended",
                node->entry->name, process.host, process.pid, mig_pg_text(answer, row, 1));
    if (mig_pg_query(node->pg, "SELECT pg_terminate_backend($1::int)",
                     (const char *const[]){mig_pg_text(answer, row, 2)}, 1, &told,
                     &failure) != MIG_OK)
        mig_log(node->hooks, MIG_LOG_WARN, "%s", failure.message);
}

/* Holders that are gone are told to end once. MIG_OK: it is worth to try again. */
static int deal_with_holders(struct mig_node *node, int64_t since_ns, bool *told,
                             struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_free_flags) bool *gone = NULL;
    struct holders holders;
    int64_t patience_s;
    int result = find_holders(node, &answer, &holders, &gone, err);

    if (result != MIG_OK)
        return result;
    patience_s = holders.unknown > 0 ? ELSEWHERE_SECONDS : GONE_SECONDS;
    if (holders.alive_row >= 0 ||
        mig_time_monotonic_ns() - since_ns > patience_s * MIG_NS_PER_SECOND)
        return refuse_second(node, &answer, holders.alive_row < 0 ? 0 : holders.alive_row, err);
    for (int row = 0; row < answer.rows && !*told; row++)
        if (gone[row])
            end_session(node, &answer, row);
    *told = *told || holders.gone > 0;
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    return mig_stop_check(node->stop, err);
}

/* Taking the first lock again only counts it. The second is let go at once: it is there to be
 * waited for. */
static int try_locks(struct mig_node *node, bool *ret_locked, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char run[NODE_NUMBER_SIZE], side[NODE_NUMBER_SIZE];
    const char *const params[] = {node_number(RUN_KEY, run), node_number(SIDE_KEY, side)};
    int result =
        mig_pg_query(node->pg,
                     "SELECT CASE WHEN pg_try_advisory_lock($1) THEN CASE WHEN"
                     " pg_try_advisory_lock($2) THEN pg_advisory_unlock($2) END END IS NOT NULL",
                     params, 2, &answer, err);

    if (result == MIG_OK)
        *ret_locked = mig_pg_bool(&answer, 0, 0);
    return result;
}

/* Our schema is made under the lock: not before a run really begins, and by one at a time. */
int mig_node_claim(struct mig_node *node, struct mig_error *err)
{
    const int64_t since_ns = mig_time_monotonic_ns();
    bool told = false;
    int result;

    if (node->locked)
        return MIG_OK;
    while ((result = try_locks(node, &node->locked, err)) == MIG_OK && !node->locked)
        if ((result = deal_with_holders(node, since_ns, &told, err)) != MIG_OK)
            return result;
    return result == MIG_OK ? node_make_books(node, err) : result;
}

int node_claim_side(struct mig_node *node, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    char side[NODE_NUMBER_SIZE];

    return mig_pg_query(node->pg, "SELECT pg_advisory_lock_shared($1)",
                        (const char *const[]){node_number(SIDE_KEY, side)}, 1, &answer, err);
}
