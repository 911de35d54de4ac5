/*
 * Whether a source is still the database that a run was begun with. Ids only mean the same rows in
 * the same database: in another, or in one that was set back, they name others.
 */
#include "libmigrate/source/source_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX (2 + 2 * MIG_TABLE_COUNT)

struct member {
    char name[64];
    int64_t *value;
};

/* All members, in the order in which they are printed. */
static size_t list_members(struct mig_source_identity *identity, struct member members[MEMBERS_MAX])
{
    size_t count = 0;

    members[count++] = (struct member){"system identifier", &identity->system};
    members[count++] = (struct member){"database oid", &identity->database};
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const char *const name = mig_table_info((enum mig_table) table)->name;

        members[count].value = &identity->tables[table];
        snprintf(members[count++].name, sizeof members->name, "oid of %s", name);
        members[count].value = &identity->sequences[table];
        snprintf(members[count++].name, sizeof members->name, "oid of the sequence of %s", name);
    }
    return count;
}

/* ---- as text --------------------------------------------------------------------------------- */

void mig_source_identity_print(const struct mig_source_identity *identity,
                               char ret_text[MIG_SOURCE_IDENTITY_SIZE])
{
    struct mig_source_identity copy = *identity;
    struct member members[MEMBERS_MAX];
    const size_t count = list_members(&copy, members);
    size_t used = 0;

    for (size_t i = 0; i < count; i++)
        used += (size_t) snprintf(ret_text + used, MIG_SOURCE_IDENTITY_SIZE - used, "%s%s=%" PRId64,
                                  i > 0 ? "; " : "", members[i].name, *members[i].value);
}

int mig_source_identity_parse(const char *text, struct mig_source_identity *ret_identity,
                              struct mig_error *err)
{
    struct mig_source_identity identity = {0};
    struct member members[MEMBERS_MAX];
    const size_t count = list_members(&identity, members);
    char again[MIG_SOURCE_IDENTITY_SIZE];

    for (size_t i = 0; i < count; i++) {
        char key[sizeof members->name + 1];
        const char *found;

        snprintf(key, sizeof key, "%.63s=", members[i].name);
        found = strstr(text, key);
        if (found)
            *members[i].value = strtoll(found + strlen(key), NULL, 10);
    }
    mig_source_identity_print(&identity, again);
    if (strcmp(again, text) != 0)
        return mig_fail(err, MIG_E_CORRUPT, "the identity of a source can't be read: '%.200s'",
                        text);
    *ret_identity = identity;
    return MIG_OK;
}

/* ---- asked for ------------------------------------------------------------------------------- */

static int ask(struct mig_source *source, const char *sql, const char *const params[], size_t count,
               int64_t *ret_first, int64_t *ret_second, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(source->pg, sql, params, count, &answer, err);

    if (result != MIG_OK)
        return result;
    *ret_first = mig_pg_text(&answer, 0, 0) ? mig_pg_int64(&answer, 0, 0) : 0;
    *ret_second = mig_pg_text(&answer, 0, 1) ? mig_pg_int64(&answer, 0, 1) : 0;
    return MIG_OK;
}

/* A right to the function may have been taken away; then the oids must do. */
static int ask_system(struct mig_source *source, struct mig_source_identity *identity,
                      struct mig_error *err)
{
    int64_t may = 0, none;
    int result = ask(source,
                     "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')::int,"
                     " oid::bigint FROM pg_database WHERE datname = current_database()",
                     NULL, 0, &may, &identity->database, err);

    if (result != MIG_OK || may == 0)
        return result;
    return ask(source, "SELECT system_identifier, NULL FROM pg_control_system()", NULL, 0,
               &identity->system, &none, err);
}

int mig_source_identify(struct mig_source *source, struct mig_source_identity *ret_identity,
                        struct mig_error *err)
{
    struct mig_source_identity identity = {0};
    int result = ask_system(source, &identity, err);

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);

        result = ask(source,
                     "SELECT $1::regclass::oid::bigint, (SELECT min(s.seqrelid::bigint) FROM"
                     " pg_sequence s JOIN pg_depend d ON (d.refclassid = 'pg_class'::regclass AND"
                     " d.refobjid = s.seqrelid AND d.classid = 'pg_attrdef'::regclass) JOIN"
                     " pg_attrdef f ON f.oid = d.objid JOIN pg_attribute a ON a.attrelid ="
                     " f.adrelid AND a.attnum = f.adnum WHERE f.adrelid = $1::regclass AND"
                     " a.attname = $2)",
                     (const char *const[]){info->name, info->id_column}, 2, &identity.tables[table],
                     &identity.sequences[table], err);
    }
    if (result == MIG_OK)
        *ret_identity = identity;
    return result;
}

/* ---- compared -------------------------------------------------------------------------------- */

/* What either side does not know is no difference. */
static void tell_differences(const struct mig_source_identity *pinned,
                             const struct mig_source_identity *found, char *text, size_t size)
{
    struct mig_source_identity then = *pinned, now = *found;
    struct member thens[MEMBERS_MAX], nows[MEMBERS_MAX];
    const size_t count = list_members(&then, thens);
    size_t used = 0;

    list_members(&now, nows);
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++)
        if (*thens[i].value != 0 && *nows[i].value != 0 && *thens[i].value != *nows[i].value)
            used += (size_t) snprintf(text + used, size - used, "%s%s is %" PRId64 ", was %" PRId64,
                                      used > 0 ? "; " : "", thens[i].name, *nows[i].value,
                                      *thens[i].value);
}

int mig_source_check_same(struct mig_source *source, const struct mig_source_identity *pinned,
                          struct mig_error *err)
{
    struct mig_source_identity found;
    char differences[480];
    int result = mig_source_identify(source, &found, err);

    if (result != MIG_OK)
        return result;
    tell_differences(pinned, &found, differences, sizeof differences);
    if (!*differences)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "source (%s) is another database than the run was begun with: %s",
             mig_pg_place(source->pg), differences);
    return mig_hint(err, "check source.dsn; --source-moved if V3 was moved with all its rows and "
                         "ids, --new-run to judge every row anew");
}

int mig_source_check_reach(struct mig_source *source, const int64_t bounds[MIG_TABLE_COUNT],
                           struct mig_error *err)
{
    int result = MIG_OK;

    for (int table = 0; table < MIG_TABLE_COUNT && result == MIG_OK; table++) {
        const char *const name = mig_table_info((enum mig_table) table)->name;
        int64_t last;

        result = mig_source_last_id(source, (enum mig_table) table, &last, err);
        if (result != MIG_OK || last >= bounds[table])
            continue;
        if (source->is_standby)
            return mig_fail(err, MIG_E_TEMPORARY,
                            "source (%s): the standby's sequence of %s has come to %" PRId64
                            ", and nodes are at %" PRId64 ": wait until it has caught up",
                            mig_pg_place(source->pg), name, last, bounds[table]);
        mig_fail(err, MIG_E_REFUSED,
                 "source (%s) was set back: the sequence of %s has come to %" PRId64
                 ", and had been at %" PRId64 " when the run was begun",
                 mig_pg_place(source->pg), name, last, bounds[table]);
        return mig_hint(err, "it may be restored from a backup, and give out ids that nodes hold "
                             "already: see what it lost, then --new-run judges every row anew");
    }
    return result;
}
