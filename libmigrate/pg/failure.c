/* What a failure of the server or the connection means to us: SQLSTATEs as a table. */
#include "libmigrate/pg/pg_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The first row whose letters begin the SQLSTATE decides; where one state stands for several
 * things, the server's function that raised it tells (its text may be in any language). */
static const struct {
    const char *state;
    enum mig_code code;
    const char *hint, *raised_by;
} meanings[] = {
    {"57014", MIG_E_TEMPORARY, "a statement was cancelled at the server: run it again"},
    {"57P01", MIG_E_TEMPORARY, "the server is shutting down: run it again later"},
    {"57P02", MIG_E_TEMPORARY, "the server is restarting: run it again later"},
    {"57P03", MIG_E_TEMPORARY, "the server is starting up: run it again in a moment"},
    {"57P", MIG_E_TEMPORARY, "run it again"},
    {"53300", MIG_E_TEMPORARY, "too many connections: free some, or raise max_connections"},
    {"53100", MIG_E_DATABASE, "the server's disk is full: make room, then run it again"},
    {"53", MIG_E_DATABASE, "the server lacks a resource: see its log"},
    {"08", MIG_E_TEMPORARY, "the connection was lost: run it again"},
    {"40", MIG_E_TEMPORARY, "another transaction was in the way: run it again"},
    {"23505", MIG_E_DATABASE,
     "the table holds this id already: seed an empty database; at a node, see who else writes"},
    {"55P03", MIG_E_TEMPORARY, "a lock was not to be had in time: run it again"},
    {"28", MIG_E_DATABASE, "check user and password of the DSN, and pg_hba.conf"},
    {"3D000", MIG_E_DATABASE, "check the database's name in the DSN"},
    {"42501", MIG_E_REFUSED,
     "row-level security hides rows of this table from the role: give the role BYPASSRLS, or name"
     " one that owns the tables",
     "check_enable_rls"},
    {"42501", MIG_E_REFUSED, "the role lacks a right: schemas/sql/*_role.sql list what it needs"},
    {"42P01", MIG_E_REFUSED, "a table is missing: is this the right database?"},
    {"42703", MIG_E_REFUSED,
     "a column is missing: is this the right database, at the right level?"},
    {"42883", MIG_E_REFUSED, "a function is missing: is this the right database?"},
    {"25006", MIG_E_REFUSED,
     "the database takes no writes: is this a standby or a read-only role?"},
};

/* A limit of our own that was reached: which it is, and its seconds. NULL for none. */
static const char *limit_reached(struct mig_pg *pg, const char *state, int64_t *ret_seconds)
{
    const int64_t took_ns = mig_time_monotonic_ns() - pg->asked_ns;

    pg->timed_out = strcmp(state, "57014") == 0 && pg->statement_timeout_s > 0 &&
                    took_ns >= pg->statement_timeout_s * MIG_NS_PER_SECOND;
    *ret_seconds = pg->timed_out ? pg->statement_timeout_s : pg->lock_timeout_s;
    if (pg->timed_out)
        return "statement_timeout_s";
    return strcmp(state, "55P03") == 0 && pg->lock_timeout_s > 0 ? "lock_timeout_s" : NULL;
}

static int fail_by_limit(struct mig_pg *pg, const char *limit, int64_t seconds,
                         struct mig_error *err)
{
    mig_fail(err, MIG_E_TEMPORARY, "%s (%s): %s: the manifest's %s of %" PRId64 " s was reached",
             pg->subject, pg->place,
             pg->timed_out ? "a statement was ended" : "a lock was not to be had", limit, seconds);
    return mig_hint(err, "run it again when less is going on there, or raise the limit");
}

static int fail_by_state(struct mig_pg *pg, const char *state, const char *raised_by,
                         const char *text, struct mig_error *err)
{
    for (size_t i = 0; i < mig_count_of(meanings); i++)
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0 &&
            (!meanings[i].raised_by ||
             (raised_by && strcmp(raised_by, meanings[i].raised_by) == 0))) {
            mig_fail(err, meanings[i].code, "%s (%s): %s [%s]", pg->subject, pg->place, text,
                     state);
            return mig_hint(err, "%s", meanings[i].hint);
        }
    return mig_fail(err, MIG_E_DATABASE, "%s (%s): %s [%s]", pg->subject, pg->place, text, state);
}

/* libpq's texts end in line ends and may have several lines. */
static void take_line(char *line, size_t capacity, const char *text)
{
    size_t length = 0;

    if (strncmp(text, "ERROR:  ", 8) == 0)
        text += 8;
    for (; *text && length + 1 < capacity; text++) {
        if (*text == '\n' && text[1] == '\0')
            break;
        line[length++] = *text == '\n' || *text == '\t' ? ' ' : *text;
    }
    line[length] = '\0';
}

bool mig_pg_met_duplicate(const struct mig_pg *pg)
{
    return strcmp(pg->state, "23505") == 0;
}

bool mig_pg_timed_out(const struct mig_pg *pg)
{
    return pg->timed_out;
}

int pg_fail(struct mig_pg *pg, const PGresult *result, struct mig_error *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *raised_by = result ? PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION) : NULL;
    const char *limit;
    char line[400];
    int64_t seconds;

    pg->timed_out = false;
    pg->lost = pg->lost || !result;
    snprintf(pg->state, sizeof pg->state, "%s", state ? state : "");
    if (pg_check_stop(pg, err) != MIG_OK)
        return MIG_E_CANCELLED;
    if (state && (limit = limit_reached(pg, state, &seconds)))
        return fail_by_limit(pg, limit, seconds, err);
    if (state && primary) {
        take_line(line, sizeof line, primary);
        return fail_by_state(pg, state, raised_by, line, err);
    }
    take_line(line, sizeof line,
              result ? PQresultErrorMessage(result) : PQerrorMessage(pg->connection));
    mig_fail(err, MIG_E_TEMPORARY, "%s (%s): %s", pg->subject, pg->place,
             line[0] ? line : "the connection was lost");
    return mig_hint(err, "see that the server is up and can be reached, then run it again");
}
