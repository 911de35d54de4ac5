/*
 * One connection: opening, waiting, statements, transactions. libpq is used without blocking, so
 * that a wish to stop is heard while a server thinks.
 */
#include "libmigrate/pg/pg_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_STEP_MS 100
#define CONNECT_SECONDS 10
#define PENDING_LIMIT ((size_t) 1 << 30)

void pg_clear(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

static void cancel_statement(struct mig_pg *pg)
{
    PGcancel *cancel = PQgetCancel(pg->connection);
    char ignored[256];

    if (cancel)
        PQcancel(cancel, ignored, sizeof ignored);
    PQfreeCancel(cancel);
}

int pg_wait(struct mig_pg *pg, bool for_write, struct mig_error *err)
{
    for (;;) {
        struct pollfd socket = {.fd = PQsocket(pg->connection),
                                .events = (short) (POLLIN | (for_write ? POLLOUT : 0))};
        int ready;

        if (mig_stop_check(pg->stop, err) != MIG_OK) {
            cancel_statement(pg);
            return MIG_E_CANCELLED;
        }
        if (socket.fd < 0)
            return pg_fail(pg, NULL, err);
        ready = poll(&socket, 1, WAIT_STEP_MS);
        if (ready > 0)
            return MIG_OK;
        if (ready < 0 && errno != EINTR)
            return mig_fail(err, MIG_E_TEMPORARY, "%s: cannot wait for the server: %s", pg->subject,
                            strerror(errno));
    }
}

int pg_flush(struct mig_pg *pg, struct mig_error *err)
{
    int left, result;

    while ((left = PQflush(pg->connection)) > 0) {
        if ((result = pg_wait(pg, true, err)) != MIG_OK)
            return result;
        if (!PQconsumeInput(pg->connection))
            return pg_fail(pg, NULL, err);
    }
    return left == 0 ? MIG_OK : pg_fail(pg, NULL, err);
}

int pg_next_result(struct mig_pg *pg, PGresult **ret_result, struct mig_error *err)
{
    mig_cleanup(pg_clear) PGresult *answer = NULL;
    int result = pg_flush(pg, err);

    while (result == MIG_OK && PQisBusy(pg->connection)) {
        if ((result = pg_wait(pg, false, err)) != MIG_OK)
            break;
        if (!PQconsumeInput(pg->connection))
            return pg_fail(pg, NULL, err);
    }
    if (result != MIG_OK)
        return result;
    answer = PQgetResult(pg->connection);
    if (answer && (PQresultStatus(answer) == PGRES_FATAL_ERROR ||
                   PQresultStatus(answer) == PGRES_BAD_RESPONSE))
        return pg_fail(pg, answer, err);
    *ret_result = mig_take(answer);
    return MIG_OK;
}

int pg_drain(struct mig_pg *pg, struct mig_error *err)
{
    int first = MIG_OK;

    for (;;) {
        mig_cleanup(pg_clear) PGresult *answer = NULL;
        int result = pg_next_result(pg, &answer, first == MIG_OK ? err : NULL);

        if (first == MIG_OK)
            first = result;
        if (result == MIG_E_CANCELLED || PQstatus(pg->connection) != CONNECTION_OK)
            return first;
        if (result == MIG_OK && !answer)
            return first;
    }
}

/* ---- opening ------------------------------------------------------------------------------ */

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

static int finish_connecting(struct mig_pg *pg, struct mig_error *err)
{
    const int64_t deadline = mig_time_monotonic_ns() + CONNECT_SECONDS * MIG_NS_PER_SECOND;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        struct pollfd socket = {.fd = PQsocket(pg->connection),
                                .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};

        if (mig_stop_check(pg->stop, err) != MIG_OK)
            return MIG_E_CANCELLED;
        if (mig_time_monotonic_ns() > deadline) {
            describe_place(pg);
            mig_fail(err, MIG_E_TEMPORARY, "%s (%s): no answer within %d s", pg->subject, pg->place,
                     CONNECT_SECONDS);
            return mig_hint(err, "see that the server is up and can be reached, then run it again");
        }
        if (socket.fd >= 0 && poll(&socket, 1, WAIT_STEP_MS) == 0)
            continue;
        status = PQconnectPoll(pg->connection);
    }
    return status == PGRES_POLLING_OK ? MIG_OK : connect_failure(pg, err);
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

int mig_pg_open(const char *dsn, const struct mig_pg_options *options, struct mig_pg **ret_pg,
                struct mig_error *err)
{
    /* What stands in front of dbname, the DSN may say otherwise. A network that swallows everything
     * ends the connection after a minute or two. */
    static const char *const keywords[] = {"keepalives_idle",           "keepalives_interval",
                                           "keepalives_count",          "tcp_user_timeout",
                                           "fallback_application_name", "dbname",
                                           "client_encoding",           NULL};
    const char *const values[] = {"30", "10", "6", "60000", "xmtp-migrate", dsn, "UTF8", NULL};
    mig_cleanup(mig_pg_close) struct mig_pg *pg = calloc(1, sizeof *pg);
    int result = check_dsn(dsn, options->subject, err);

    if (result != MIG_OK)
        return result;
    if (!pg)
        return mig_fail(err, MIG_E_NOMEM, "%s: out of memory", options->subject);
    pg->stop = options->stop;
    pg->pending = MIG_BUFFER_INIT(PENDING_LIMIT);
    snprintf(pg->subject, sizeof pg->subject, "%s", options->subject);
    pg->connection = PQconnectStartParams(keywords, values, 1);
    if (!pg->connection)
        return mig_fail(err, MIG_E_NOMEM, "%s: out of memory", options->subject);
    if (PQstatus(pg->connection) == CONNECTION_BAD)
        return connect_failure(pg, err);
    if ((result = finish_connecting(pg, err)) != MIG_OK)
        return result;
    describe_place(pg);
    PQsetnonblocking(pg->connection, 1);
    PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
    result = mig_pg_exec(pg,
                         "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex';"
                         "SET standard_conforming_strings = on; SET search_path = public;"
                         /* A policy that hides rows is to be an error, never a smaller table. */
                         "SET row_security = off;"
                         /* A job of hours, like a backup: limits meant for an application's
                          * sessions would end it at the same place every time. */
                         "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN"
                         " ('statement_timeout', 'lock_timeout', 'transaction_timeout',"
                         " 'idle_in_transaction_session_timeout', 'idle_session_timeout')",
                         err);
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

int mig_pg_server_version(const struct mig_pg *pg)
{
    return PQserverVersion(pg->connection);
}

bool mig_pg_alive(const struct mig_pg *pg)
{
    return PQstatus(pg->connection) == CONNECTION_OK;
}

const char *mig_pg_place(const struct mig_pg *pg)
{
    return pg->place;
}

/* ---- statements --------------------------------------------------------------------------- */

int mig_pg_exec(struct mig_pg *pg, const char *sql, struct mig_error *err)
{
    if (!PQsendQuery(pg->connection, sql))
        return pg_fail(pg, NULL, err);
    return pg_drain(pg, err);
}

/* What may be sent in one statement: V3 has no use for more. */
#define PARAMS_MAX 16

struct parameters {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    int count;
};

static int run_query(struct mig_pg *pg, const char *sql, const struct parameters *parameters,
                     struct mig_pg_result *ret_result, struct mig_error *err)
{
    mig_cleanup(pg_clear) PGresult *answer = NULL;
    int result;

    if (!PQsendQueryParams(pg->connection, sql, parameters->count, NULL, parameters->values,
                           parameters->lengths, parameters->formats, 0))
        return pg_fail(pg, NULL, err);
    result = pg_next_result(pg, &answer, err);
    if (result != MIG_OK) {
        if (result != MIG_E_CANCELLED)
            pg_drain(pg, NULL);
        return result;
    }
    if ((result = pg_drain(pg, err)) != MIG_OK)
        return result;
    ret_result->rows = PQntuples(answer);
    ret_result->columns = PQnfields(answer);
    ret_result->affected = strtoll(PQcmdTuples(answer), NULL, 10);
    ret_result->handle = mig_take(answer);
    return MIG_OK;
}

int mig_pg_query(struct mig_pg *pg, const char *sql, const char *const *params, size_t param_count,
                 struct mig_pg_result *ret_result, struct mig_error *err)
{
    struct parameters parameters = {.count = (int) param_count};

    if (param_count > PARAMS_MAX)
        return mig_fail(err, MIG_E_USAGE, "%zu parameters in one statement", param_count);
    for (size_t i = 0; i < param_count; i++)
        parameters.values[i] = params[i];
    return run_query(pg, sql, &parameters, ret_result, err);
}

int mig_pg_query_bytes(struct mig_pg *pg, const char *sql, struct mig_bytes bytes,
                       const char *const *params, size_t param_count,
                       struct mig_pg_result *ret_result, struct mig_error *err)
{
    struct parameters parameters = {.count = (int) param_count + 1};

    if (param_count + 1 > PARAMS_MAX || bytes.size > INT32_MAX)
        return mig_fail(err, MIG_E_USAGE, "too much for one statement");
    parameters.values[0] = bytes.size > 0 ? (const char *) bytes.data : "";
    parameters.lengths[0] = (int) bytes.size;
    parameters.formats[0] = 1;
    for (size_t i = 0; i < param_count; i++)
        parameters.values[i + 1] = params[i];
    return run_query(pg, sql, &parameters, ret_result, err);
}

const char *mig_pg_text(const struct mig_pg_result *result, int row, int column)
{
    return PQgetisnull(result->handle, row, column) ? NULL
                                                    : PQgetvalue(result->handle, row, column);
}

int64_t mig_pg_int64(const struct mig_pg_result *result, int row, int column)
{
    return strtoll(PQgetvalue(result->handle, row, column), NULL, 10);
}

bool mig_pg_bool(const struct mig_pg_result *result, int row, int column)
{
    return PQgetvalue(result->handle, row, column)[0] == 't';
}

int mig_pg_bytea(const struct mig_pg_result *result, int row, int column, struct mig_arena *arena,
                 struct mig_bytes *ret_bytes, struct mig_error *err)
{
    const char *text = PQgetvalue(result->handle, row, column);
    const size_t length = (size_t) PQgetlength(result->handle, row, column);
    void *memory;
    size_t size;
    int code;

    if (length < 2 || text[0] != '\\' || text[1] != 'x')
        return mig_fail(err, MIG_E_CORRUPT, "a bytea that is not written in hex");
    if ((code = mig_arena_alloc(arena, length / 2, &memory, err)) != MIG_OK ||
        (code = mig_hex_decode(text + 2, length - 2, memory, length / 2, &size, err)) != MIG_OK)
        return code;
    *ret_bytes = (struct mig_bytes){memory, size};
    return MIG_OK;
}

void mig_pg_result_release(struct mig_pg_result *result)
{
    PQclear(result->handle);
    *result = (struct mig_pg_result){0};
}

int mig_pg_begin(struct mig_pg *pg, struct mig_error *err)
{
    return mig_pg_exec(pg, "BEGIN", err);
}

int mig_pg_commit(struct mig_pg *pg, struct mig_error *err)
{
    /* The server answers COMMIT of a failed transaction with a rollback, and no error. */
    if (PQtransactionStatus(pg->connection) != PQTRANS_INTRANS)
        return mig_fail(err, MIG_E_TEMPORARY, "%s (%s): there is no transaction to commit",
                        pg->subject, pg->place);
    return mig_pg_exec(pg, "COMMIT", err);
}

void mig_pg_rollback(struct mig_pg *pg)
{
    const struct mig_stop *stop = mig_take(pg->stop);

    if (pg->copy != PG_COPY_NONE)
        mig_pg_copy_abandon(pg);
    if (PQtransactionStatus(pg->connection) == PQTRANS_ACTIVE)
        pg_drain(pg, NULL);
    if (PQtransactionStatus(pg->connection) != PQTRANS_IDLE)
        mig_pg_exec(pg, "ROLLBACK", NULL);
    pg->stop = stop;
}
