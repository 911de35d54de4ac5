/*
 * One connection: waiting, statements, transactions. libpq is used without blocking, so that a wish
 * to stop is heard while a server thinks.
 */
#include "libmigrate/base/fault.h"
#include "libmigrate/pg/pg_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

void pg_clear(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

void mig_pg_set_patience(struct mig_pg *pg, struct mig_patience patience)
{
    pg->patience = patience;
}

static bool is_too_long(const struct mig_pg *pg, int64_t since_ns)
{
    const struct mig_patience *patience = &pg->patience;
    const bool hurries = mig_stop_check(patience->hurry, NULL) != MIG_OK;
    const unsigned seconds = hurries ? patience->hurried_s : patience->seconds;

    return seconds > 0 && mig_time_monotonic_ns() - since_ns > seconds * MIG_NS_PER_SECOND;
}

int pg_wait(struct mig_pg *pg, bool for_write, struct mig_error *err)
{
    const int64_t since_ns = mig_time_monotonic_ns();

    for (;;) {
        struct pollfd socket = {.fd = PQsocket(pg->connection),
                                .events = (short) (POLLIN | (for_write ? POLLOUT : 0))};
        int ready;

        if (pg_check_stop(pg, err) != MIG_OK) {
            pg_cancel(pg);
            return MIG_E_CANCELLED;
        }
        if (socket.fd < 0)
            return pg_fail(pg, NULL, err);
        ready = poll(&socket, 1, PG_WAIT_STEP_MS);
        if (ready > 0)
            return MIG_OK;
        if (ready < 0 && errno != EINTR) {
            pg->lost = true;
            return mig_fail(err, MIG_E_TEMPORARY, "%s: cannot wait for the server: %s", pg->subject,
                            strerror(errno));
        }
        if (is_too_long(pg, since_ns)) {
            pg->lost = true;
            mig_fail(err, MIG_E_TEMPORARY, "%s (%s): no answer for %" PRId64 " s", pg->subject,
                     pg->place, (mig_time_monotonic_ns() - since_ns) / MIG_NS_PER_SECOND);
            return mig_hint(err, "see whether the server hangs, or somebody holds a lock there");
        }
    }
}

bool pg_take_in(struct mig_pg *pg)
{
    return !MIG_FAULT_CUT(RECEIVED, PQsocket(pg->connection)) && PQconsumeInput(pg->connection);
}

int pg_flush(struct mig_pg *pg, struct mig_error *err)
{
    int left, result;

    while ((left = PQflush(pg->connection)) > 0) {
        if ((result = pg_wait(pg, true, err)) != MIG_OK)
            return result;
        if (!pg_take_in(pg))
            return pg_fail(pg, NULL, err);
    }
    return left == 0 ? MIG_OK : pg_fail(pg, NULL, err);
}

void pg_ask(struct mig_pg *pg)
{
    pg->asked_ns = mig_time_monotonic_ns();
}

int pg_next_result(struct mig_pg *pg, PGresult **ret_result, struct mig_error *err)
{
    mig_cleanup(pg_clear) PGresult *answer = NULL;
    int result = pg_flush(pg, err);

    while (result == MIG_OK && PQisBusy(pg->connection)) {
        if ((result = pg_wait(pg, false, err)) != MIG_OK)
            break;
        if (!pg_take_in(pg))
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
        if (result == MIG_E_CANCELLED || !mig_pg_alive(pg))
            return first;
        if (result == MIG_OK && !answer)
            return first;
    }
}

int mig_pg_server_version(const struct mig_pg *pg)
{
    return PQserverVersion(pg->connection);
}

bool mig_pg_alive(const struct mig_pg *pg)
{
    return !pg->lost && PQstatus(pg->connection) == CONNECTION_OK;
}

bool mig_pg_idle(const struct mig_pg *pg)
{
    return mig_pg_alive(pg) && PQtransactionStatus(pg->connection) == PQTRANS_IDLE;
}

const char *mig_pg_place(const struct mig_pg *pg)
{
    return pg->place;
}

/* ---- statements --------------------------------------------------------------------------- */

/* Commits come alone or as the last of several commands. */
static bool ends_in_commit(const char *sql)
{
    const char *last = strrchr(sql, 'C');

    return last && strcmp(last, "COMMIT") == 0;
}

int mig_pg_exec(struct mig_pg *pg, const char *sql, struct mig_error *err)
{
    int result;

    pg_ask(pg);
    if (pg->lost || MIG_FAULT_CUT(QUERY, PQsocket(pg->connection)) ||
        !PQsendQuery(pg->connection, sql))
        return pg_fail(pg, NULL, err);
    if (ends_in_commit(sql) && MIG_FAULT_CUT(COMMIT_SENT, PQsocket(pg->connection)))
        return pg_fail(pg, NULL, err);
    result = pg_drain(pg, err);
    if (result == MIG_OK && ends_in_commit(sql))
        (void) MIG_FAULT_CUT(COMMIT_ANSWERED, PQsocket(pg->connection));
    return result;
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

    pg_ask(pg);
    if (pg->lost || MIG_FAULT_CUT(QUERY, PQsocket(pg->connection)) ||
        !PQsendQueryParams(pg->connection, sql, parameters->count, NULL, parameters->values,
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
