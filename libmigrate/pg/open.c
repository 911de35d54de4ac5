/* Opening a connection: what a DSN may not be, connecting with a limit, the session's settings. */
#include "libmigrate/base/fault.h"
#include "libmigrate/pg/pg_private.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_SECONDS 10
#define PENDING_LIMIT ((size_t) 1 << 30)

static void describe_place(struct mig_pg *pg)
{
    const char *host = PQhost(pg->connection), *port = PQport(pg->connection);
    const char *database = PQdb(pg->connection);

    snprintf(pg->place, sizeof pg->place, "%s:%s/%s", host ? host : "", port ? port : "",
             database ? database : "");
}

/* libpq knows no SQLSTATE for a failed connection: its own words must do. */
static int connect_failure(struct mig_pg *pg, struct mig_error *err)
{
    static const char *const lasting[] = {"password",
                                          "authentication",
                                          "does not exist",
                                          "pg_hba.conf",
                                          "no password supplied",
                                          "certificate",
                                          "invalid",
                                          "permission denied",
                                          "not permitted",
                                          "does not support SSL"};
    const char *text = PQerrorMessage(pg->connection);

    describe_place(pg);
    pg_fail(pg, NULL, err);
    for (size_t i = 0; i < mig_count_of(lasting); i++)
        if (strstr(text, lasting[i]) && err && err->code == MIG_E_TEMPORARY) {
            err->code = MIG_E_DATABASE;
            return mig_hint(err, "check host, database, user and password of the DSN");
        }
    return err ? err->code : MIG_E_TEMPORARY;
}

/* What the DSN, the environment or a service file says of connect_timeout, with libpq's meaning: 0
 * and less is for ever. libpq itself only heeds it where it blocks. */
static int connect_seconds(PGconn *connection)
{
    PQconninfoOption *options = PQconninfo(connection);
    int seconds = CONNECT_SECONDS;

    for (PQconninfoOption *o = options; o && o->keyword; o++) {
        const bool said = strcmp(o->keyword, "connect_timeout") == 0 && o->val && o->val[0];
        char *end = NULL;
        const long number = said ? strtol(o->val, &end, 10) : 0;

        if (said && *end == '\0' && number >= INT32_MIN && number <= INT32_MAX)
            seconds = (int) number;
    }
    PQconninfoFree(options);
    return seconds;
}

static int fail_silent(struct mig_pg *pg, struct mig_error *err)
{
    mig_fail(err, MIG_E_TEMPORARY, "%s (%s): no answer within %d s", pg->subject, pg->place,
             connect_seconds(pg->connection));
    return mig_hint(err, "see that the server is up and can be reached, then run it again");
}

/* The time is one host's: when libpq goes on to another, it begins anew. *ret_silent: it is over,
 * and the failure is yet to be told. */
static int finish_connecting(struct mig_pg *pg, bool *ret_silent, struct mig_error *err)
{
    const int seconds = connect_seconds(pg->connection);
    int64_t deadline = mig_time_monotonic_ns() + seconds * MIG_NS_PER_SECOND;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    char place[sizeof pg->place];

    describe_place(pg);
    while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        struct pollfd socket = {.fd = PQsocket(pg->connection),
                                .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};

        if (mig_stop_check(pg->stop, err) != MIG_OK)
            return MIG_E_CANCELLED;
        if (seconds > 0 && mig_time_monotonic_ns() > deadline) {
            *ret_silent = true;
            return MIG_E_TEMPORARY;
        }
        if (socket.fd >= 0 && poll(&socket, 1, PG_WAIT_STEP_MS) == 0)
            continue;
        status = PQconnectPoll(pg->connection);
        memcpy(place, pg->place, sizeof place);
        describe_place(pg);
        if (strcmp(place, pg->place) != 0)
            deadline = mig_time_monotonic_ns() + seconds * MIG_NS_PER_SECOND;
    }
    return status == PGRES_POLLING_OK ? MIG_OK : connect_failure(pg, err);
}

static int try_hosts(struct mig_pg *pg, const char *dsn, const struct pg_hosts *hosts,
                     bool *ret_silent, struct mig_error *err)
{
    /* What stands in front of dbname, the DSN may say otherwise; what stands behind, not. A network
     * that swallows everything ends the connection after a minute or two. */
    static const char *const keywords[] = {"keepalives_idle",
                                           "keepalives_interval",
                                           "keepalives_count",
                                           "tcp_user_timeout",
                                           "fallback_application_name",
                                           "dbname",
                                           "client_encoding",
                                           "host",
                                           "hostaddr",
                                           "port",
                                           NULL};
    const char *const values[] = {"30",           "10",        "6",    "60000",
                                  "xmtp-migrate", dsn,         "UTF8", hosts->host,
                                  hosts->address, hosts->port, NULL};

    PQfinish(pg->connection);
    pg->lost = false;
    pg->connection = PQconnectStartParams(keywords, values, 1);
    if (!pg->connection)
        return mig_fail(err, MIG_E_NOMEM, "%s: out of memory", pg->subject);
    return MIG_FAULT_CUT(CONNECT, PQsocket(pg->connection)) ||
                   PQstatus(pg->connection) == CONNECTION_BAD
               ? connect_failure(pg, err)
               : finish_connecting(pg, ret_silent, err);
}

static int connect_somewhere(struct mig_pg *pg, const char *dsn, struct mig_error *err)
{
    mig_cleanup(pg_hosts_release) struct pg_hosts hosts = {0};
    bool silent, left;
    int result;

    do {
        silent = left = false;
        result = try_hosts(pg, dsn, &hosts, &silent, err);
        if (silent && pg_hosts_drop(pg->connection, &hosts, &left, err) != MIG_OK)
            return MIG_E_NOMEM;
    } while (left);
    return silent ? fail_silent(pg, err) : result;
}

/* Notices of the server are for its log. */
static void ignore_notice(void *context, const PGresult *notice)
{
    (void) context;
    (void) notice;
}

/* An @ or / in a password that is not escaped makes libpq take the password's pieces for host, port
 * or database, which every message would then show. (A host may begin with @: a Unix socket.) */
static bool password_is_spilt(const PQconninfoOption *options)
{
    for (; options && options->keyword; options++) {
        const char *value = options->val ? options->val : "";

        if ((strcmp(options->keyword, "port") == 0 && value[strspn(value, "0123456789,")]) ||
            ((strcmp(options->keyword, "host") == 0 || strcmp(options->keyword, "dbname") == 0) &&
             strchr(value + (value[0] == '@'), '@')))
            return true;
    }
    return false;
}

/* libpq's own words about a DSN would quote it, and with it a password. */
static int check_dsn(const char *dsn, const char *subject, struct mig_error *err)
{
    char *problem = NULL;
    PQconninfoOption *options = PQconninfoParse(dsn, &problem);
    const bool readable = options != NULL, spilt = password_is_spilt(options);

    PQconninfoFree(options);
    PQfreemem(problem);
    if (readable && !spilt)
        return MIG_OK;
    if (spilt) {
        mig_fail(err, MIG_E_USAGE, "%s: a piece of the DSN stands where it does not belong",
                 subject);
        return mig_hint(err, "in a URI, write @ / : of user and password as %%40 %%2F %%3A");
    }
    mig_fail(err, MIG_E_USAGE, "%s: the DSN is not one that libpq can read", subject);
    return mig_hint(err, "write it like 'host=... dbname=... user=...' or 'postgresql://...'");
}

/* No limit of the server's or the role's holds: this is a job of hours, like a backup, and limits
 * meant for an application's sessions would end it at the same place every time. What the manifest
 * says does. */
static int set_limits(struct mig_pg *pg, struct mig_error *err)
{
    char sql[512];

    snprintf(sql, sizeof sql,
             "SELECT set_config(name, CASE name WHEN 'statement_timeout' THEN '%" PRId64 "s'"
             " WHEN 'lock_timeout' THEN '%" PRId64 "s' ELSE '0' END, false) FROM pg_settings"
             " WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',"
             " 'idle_in_transaction_session_timeout', 'idle_session_timeout')",
             pg->statement_timeout_s, pg->lock_timeout_s);
    return mig_pg_exec(pg, sql, err);
}

int mig_pg_open(const char *dsn, const struct mig_pg_options *options, struct mig_pg **ret_pg,
                struct mig_error *err)
{
    mig_cleanup(mig_pg_close) struct mig_pg *pg = calloc(1, sizeof *pg);
    int result = check_dsn(dsn, options->subject, err);

    if (result != MIG_OK)
        return result;
    if (!pg)
        return mig_fail(err, MIG_E_NOMEM, "%s: out of memory", options->subject);
    pg->stop = options->stop;
    pg->statement_timeout_s = options->statement_timeout_s;
    pg->lock_timeout_s = options->lock_timeout_s;
    pg->pending = MIG_BUFFER_INIT(PENDING_LIMIT);
    snprintf(pg->subject, sizeof pg->subject, "%s", options->subject);
    if ((result = connect_somewhere(pg, dsn, err)) != MIG_OK)
        return result;
    describe_place(pg);
    PQsetnonblocking(pg->connection, 1);
    PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
    result =
        mig_pg_exec(pg,
                    "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex';"
                    "SET standard_conforming_strings = on; SET search_path = public;"
                    /* A policy that hides rows is to be an error, never a smaller table. */
                    "SET row_security = off;"
                    /* What is asked over hundreds of partitions looks dear and is not:
                     * compiling it would take far longer than doing it. */
                    "SET jit = off;"
                    /* One process a session, as a guest; rows in order cost more by several. */
                    "SET max_parallel_workers_per_gather = 0",
                    err);
    if (result == MIG_OK)
        result = set_limits(pg, err);
    if (result == MIG_OK && options->read_only)
        result = mig_pg_exec(pg, "SET default_transaction_read_only = on", err);
    if (result == MIG_OK)
        *ret_pg = mig_take(pg);
    return result;
}

void mig_pg_close(struct mig_pg **pg)
{
    struct mig_pg *p = mig_take(*pg);

    if (!p)
        return;
    PQfreemem(p->copy_row);
    PQfinish(p->connection);
    mig_buffer_release(&p->pending);
    free(p);
}
