/* Members of our structs as JSON: one table a struct, by which it is printed, read and compared. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>
#include <string.h>

/* Facts, tallies and blockers nest less deep; hostile text must not nest deeper. */
#define JSON_DEPTH 8

static const char *const stages[] = {
    [MIG_STAGE_ROWS] = "rows",
    [MIG_STAGE_ENVELOPES] = "envelopes",
};

#define MEMBER(owner, json_name, type, member)                                                     \
    {                                                                                              \
        json_name, type, offsetof(struct owner, member), sizeof(((struct owner *) 0)->member)      \
    }
#define FACT(name, type, member) MEMBER(mig_bundle_facts, name, type, member)
#define ENTRY(name, type, member) MEMBER(mig_bundle_entry, name, type, member)

static const struct bundle_member facts_items[] = {
    FACT("stage", BUNDLE_MEMBER_STAGE, stage),
    FACT("run", BUNDLE_MEMBER_TEXT, run),
    FACT("network", BUNDLE_MEMBER_TEXT, network),
    FACT("as_of", BUNDLE_MEMBER_TIME, as_of_ns),
    FACT("profile", BUNDLE_MEMBER_TEXT, profile),
    FACT("policy_digest", BUNDLE_MEMBER_TEXT, policy_digest),
    FACT("payer", BUNDLE_MEMBER_TEXT, payer),
    FACT("originator", BUNDLE_MEMBER_TEXT, originator),
};

/* The first three are about the file, the others about what is in it. */
#define FILE_MEMBERS 3
static const struct bundle_member entry_items[] = {
    ENTRY("name", BUNDLE_MEMBER_TEXT, name),
    ENTRY("file_bytes", BUNDLE_MEMBER_UINT64, file_bytes),
    ENTRY("sha256", BUNDLE_MEMBER_TEXT, sha256),
    ENTRY("table", BUNDLE_MEMBER_TABLE, table),
    ENTRY("chain", BUNDLE_MEMBER_BOOL, chain),
    ENTRY("settled", BUNDLE_MEMBER_BOOL, settled),
    ENTRY("first_id", BUNDLE_MEMBER_INT64, first_id),
    ENTRY("last_id", BUNDLE_MEMBER_INT64, last_id),
    ENTRY("rows", BUNDLE_MEMBER_UINT64, rows),
    ENTRY("bytes", BUNDLE_MEMBER_UINT64, bytes),
    ENTRY("tally", BUNDLE_MEMBER_TALLY, tally),
};

const struct bundle_members bundle_facts_members = {facts_items, mig_count_of(facts_items)};
const struct bundle_members bundle_entry_members = {entry_items, mig_count_of(entry_items)};
const struct bundle_members bundle_contents_members = {entry_items + FILE_MEMBERS,
                                                       mig_count_of(entry_items) - FILE_MEMBERS};

void bundle_put_json(json_object **json)
{
    json_object_put(*json);
    *json = NULL;
}

/* ---- printing ----------------------------------------------------------------------------- */

int bundle_print_text(const char *value, struct mig_buffer *text, struct mig_error *err)
{
    mig_cleanup(bundle_put_json) json_object *json = json_object_new_string(value);
    const char *quoted = json ? json_object_to_json_string_ext(
                                    json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
                              : NULL;

    if (!quoted)
        return mig_fail(err, MIG_E_NOMEM, "cannot write JSON: out of memory");
    return mig_buffer_append(text, quoted, strlen(quoted), err);
}

static int print_time(int64_t unix_ns, struct mig_buffer *text, struct mig_error *err)
{
    char instant[MIG_TIME_TEXT_SIZE];

    mig_time_format(unix_ns, instant);
    return bundle_print_text(instant, text, err);
}

static int print_member(const struct bundle_member *member, const void *value,
                        struct mig_buffer *text, struct mig_error *err)
{
    switch (member->type) {
    case BUNDLE_MEMBER_TEXT:
        return bundle_print_text(value, text, err);
    case BUNDLE_MEMBER_BOOL:
        return mig_buffer_print(text, err, "%s", *(const bool *) value ? "true" : "false");
    case BUNDLE_MEMBER_INT64:
        return mig_buffer_print(text, err, "%" PRId64, *(const int64_t *) value);
    case BUNDLE_MEMBER_UINT64:
        return mig_buffer_print(text, err, "%" PRIu64, *(const uint64_t *) value);
    case BUNDLE_MEMBER_TIME:
        return print_time(*(const int64_t *) value, text, err);
    case BUNDLE_MEMBER_STAGE:
        return bundle_print_text(stages[*(const enum mig_stage *) value], text, err);
    case BUNDLE_MEMBER_TABLE:
        return bundle_print_text(mig_table_info(*(const enum mig_table *) value)->name, text, err);
    case BUNDLE_MEMBER_TALLY:
        return mig_tally_print_json(value, text, err);
    }
    return MIG_OK;
}

int bundle_print_members(struct bundle_members members, const void *object, struct mig_buffer *text,
                         struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; result == MIG_OK && i < members.count; i++) {
        const struct bundle_member *member = &members.items[i];

        result = mig_buffer_print(text, err, "%s\"%s\":", i == 0 ? "{" : ",", member->name);
        if (result == MIG_OK)
            result = print_member(member, (const char *) object + member->offset, text, err);
    }
    return result == MIG_OK ? mig_buffer_append(text, "}", 1, err) : result;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void free_tokener(json_tokener **tokener)
{
    if (*tokener)
        json_tokener_free(*tokener);
}

int bundle_parse_json(struct mig_bytes text, json_object **ret_json, struct mig_error *err)
{
    mig_cleanup(free_tokener) json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
    mig_cleanup(bundle_put_json) json_object *json = NULL;

    if (!tokener)
        return mig_fail(err, MIG_E_NOMEM, "cannot read JSON: out of memory");
    if (text.size > BUNDLE_LINE_LIMIT)
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes of JSON are too many", text.size);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    json = json_tokener_parse_ex(tokener, (const char *) text.data, (int) text.size);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) != text.size ||
        !json_object_is_type(json, json_type_object))
        return mig_fail(err, MIG_E_CORRUPT, "not a JSON object");
    *ret_json = mig_take(json);
    return MIG_OK;
}

static bool parse_stage(const char *name, enum mig_stage *ret_stage)
{
    for (size_t i = 0; name && i < mig_count_of(stages); i++)
        if (strcmp(stages[i], name) == 0) {
            *ret_stage = (enum mig_stage) i;
            return true;
        }
    return false;
}

static bool parse_text(json_object *json, char *ret_text, size_t capacity)
{
    const size_t length = (size_t) json_object_get_string_len(json);

    if (length >= capacity)
        return false;
    memset(ret_text, 0, capacity);
    memcpy(ret_text, json_object_get_string(json), length);
    return true;
}

static bool parse_time(const char *text, int64_t *ret_ns)
{
    struct mig_error unreadable = MIG_ERROR_INIT;

    return mig_time_parse(text, ret_ns, &unreadable) == MIG_OK;
}

static const json_type json_types[] = {
    [BUNDLE_MEMBER_TEXT] = json_type_string,  [BUNDLE_MEMBER_BOOL] = json_type_boolean,
    [BUNDLE_MEMBER_INT64] = json_type_int,    [BUNDLE_MEMBER_UINT64] = json_type_int,
    [BUNDLE_MEMBER_TIME] = json_type_string,  [BUNDLE_MEMBER_STAGE] = json_type_string,
    [BUNDLE_MEMBER_TABLE] = json_type_string, [BUNDLE_MEMBER_TALLY] = json_type_object,
};

/* What json-c bends to fit (numbers out of range) is found by printing it again. */
static bool parse_member(const struct bundle_member *member, json_object *json, void *value)
{
    switch (member->type) {
    case BUNDLE_MEMBER_TEXT:
        return parse_text(json, value, member->size);
    case BUNDLE_MEMBER_BOOL:
        *(bool *) value = json_object_get_boolean(json);
        return true;
    case BUNDLE_MEMBER_INT64:
        *(int64_t *) value = json_object_get_int64(json);
        return true;
    case BUNDLE_MEMBER_UINT64:
        *(uint64_t *) value = json_object_get_uint64(json);
        return json_object_get_int64(json) >= 0;
    case BUNDLE_MEMBER_TIME:
        return parse_time(json_object_get_string(json), value);
    case BUNDLE_MEMBER_STAGE:
        return parse_stage(json_object_get_string(json), value);
    case BUNDLE_MEMBER_TABLE:
        return mig_table_find(json_object_get_string(json), value);
    case BUNDLE_MEMBER_TALLY:
        break;
    }
    return false;
}

int bundle_parse_members(struct bundle_members members, json_object *json, void *object,
                         struct mig_error *err)
{
    for (size_t i = 0; i < members.count; i++) {
        const struct bundle_member *member = &members.items[i];
        void *value = (char *) object + member->offset;
        json_object *item = NULL;

        if (!json_object_object_get_ex(json, member->name, &item))
            return mig_fail(err, MIG_E_CORRUPT, "'%s' is missing", member->name);
        if (!json_object_is_type(item, json_types[member->type]))
            return mig_fail(err, MIG_E_CORRUPT, "'%s' is of another type", member->name);
        if (member->type == BUNDLE_MEMBER_TALLY) {
            const int result = bundle_parse_tally(item, value, err);

            if (result != MIG_OK)
                return result;
        } else if (!parse_member(member, item, value)) {
            return mig_fail(err, MIG_E_CORRUPT, "'%s' has a value that may not be", member->name);
        }
    }
    return MIG_OK;
}

const char *bundle_find_difference(struct bundle_members members, const void *a, const void *b)
{
    for (size_t i = 0; i < members.count; i++) {
        const struct bundle_member *member = &members.items[i];
        const char *one = (const char *) a + member->offset;
        const char *other = (const char *) b + member->offset;

        if (member->type == BUNDLE_MEMBER_TEXT ? strcmp(one, other) != 0
                                               : memcmp(one, other, member->size) != 0)
            return member->name;
    }
    return NULL;
}
