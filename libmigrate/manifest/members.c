/* Reading a JSON object by the table of the members it can have: types, ranges, choices, texts. */
#include "libmigrate/manifest/manifest_private.h"

#include <inttypes.h>
#include <string.h>

#define NAME_LENGTH_MAX 64
#define LIST_TEXT_SIZE 512

static const char *type_in_words(enum json_type type)
{
    switch (type) {
    case json_type_null:
        return "null";
    case json_type_boolean:
        return "true or false";
    case json_type_double:
        return "a number with a fraction or an exponent";
    case json_type_int:
        return "a whole number";
    case json_type_object:
        return "an object";
    case json_type_array:
        return "a list";
    case json_type_string:
        return "a text";
    }
    return "something else";
}

static bool has_type(struct mig_reader *reader, const struct mig_place *place,
                     struct json_object *value, enum json_type type)
{
    if (json_object_get_type(value) == type)
        return true;
    mig_complain(reader, place, "must be %s, not %s", type_in_words(type),
                 type_in_words(json_object_get_type(value)));
    return false;
}

/* The text as a C string, or NULL after complaining. */
static const char *text_of(struct mig_reader *reader, const struct mig_place *place,
                           struct json_object *value)
{
    const char *text = json_object_get_string(value);

    if (strlen(text) == (size_t) json_object_get_string_len(value))
        return text;
    mig_complain(reader, place, "holds a NUL character");
    return NULL;
}

static void print_list(char *list, const char *name, const char *quote)
{
    const size_t used = strlen(list);
    const size_t needed = strlen(name) + 2 * strlen(quote) + 2;

    if (used + needed >= LIST_TEXT_SIZE)
        return;
    if (used > 0)
        strcat(list, ", ");
    strcat(strcat(strcat(list, quote), name), quote);
}

/* ---- one value ---------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
    const size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return length > 0 && length <= NAME_LENGTH_MAX && text[length] == '\0';
}

void mig_read_name(struct mig_reader *reader, const struct mig_place *place,
                   struct json_object *value, const struct mig_member *member, void *target)
{
    const char *text = text_of(reader, place, value);

    (void) member;
    if (text && is_name(text))
        *(char **) target = mig_reader_keep(reader, text);
    else if (text)
        mig_complain(reader, place, "must be 1 to %d lower-case letters, digits and '-', not '%s'",
                     NAME_LENGTH_MAX, mig_quote_of(text).text);
}

/* False after complaining. */
static bool choose(struct mig_reader *reader, const struct mig_place *place,
                   struct json_object *value, const char *const *choices, unsigned *ret_choice)
{
    const char *text = text_of(reader, place, value);
    char list[LIST_TEXT_SIZE] = "";

    if (!text)
        return false;
    for (unsigned i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *ret_choice = i;
            return true;
        }
        print_list(list, choices[i], "'");
    }
    mig_complain(reader, place, "must be %s%s, not '%s'", choices[1] ? "one of " : "", list,
                 mig_quote_of(text).text);
    return false;
}

void mig_read_choice(struct mig_reader *reader, const struct mig_place *place,
                     struct json_object *value, const struct mig_member *member, void *target)
{
    choose(reader, place, value, member->choices, target);
}

void mig_read_choices(struct mig_reader *reader, const struct mig_place *place,
                      struct json_object *value, const struct mig_member *member, void *target)
{
    unsigned *chosen = target;

    for (size_t i = 0; i < json_object_array_length(value); i++) {
        struct json_object *element = json_object_array_get_idx(value, i);
        const struct mig_place here = {.parent = place, .index = i};
        unsigned choice;

        if (!has_type(reader, &here, element, json_type_string) ||
            !choose(reader, &here, element, member->choices, &choice))
            continue;
        if (*chosen & 1u << choice)
            mig_complain(reader, &here, "'%s' is listed twice", member->choices[choice]);
        *chosen |= 1u << choice;
    }
}

void mig_read_integer(struct mig_reader *reader, const struct mig_place *place,
                      struct json_object *value, const struct mig_member *member, void *target)
{
    /* json-c saturates at the ends of 64 bits, which no range here reaches. */
    const int64_t number = json_object_get_int64(value);

    if (number >= member->least && number <= member->most)
        *(int64_t *) target = number;
    else
        mig_complain(reader, place, "must be %" PRId64 " to %" PRId64 ", not %s%s%s%s",
                     member->least, member->most, mig_quote_of(json_object_get_string(value)).text,
                     member->why ? " (" : "", member->why ? member->why : "",
                     member->why ? ")" : "");
}

void mig_read_time(struct mig_reader *reader, const struct mig_place *place,
                   struct json_object *value, const struct mig_member *member, void *target)
{
    const char *text = text_of(reader, place, value);
    struct mig_error unsaid = MIG_ERROR_INIT;
    int64_t unix_ns;

    (void) member;
    if (text && mig_time_parse(text, &unix_ns, &unsaid) == MIG_OK)
        *(int64_t *) target = unix_ns;
    else if (text)
        mig_complain(reader, place,
                     "must be an instant like 2025-01-01T00:00:00Z (RFC 3339), not '%s'",
                     mig_quote_of(text).text);
}

static void read_reference(struct mig_reader *reader, const struct mig_place *place,
                           struct json_object *value, bool plain_allowed, void *target)
{
    const char *text = text_of(reader, place, value);
    const char *fault = text ? mig_reference_fault(text, plain_allowed) : NULL;
    struct mig_reference *reference = target;

    if (fault)
        mig_complain(reader, place, "%s", fault);
    if (!text || fault)
        return;
    reference->text = mig_reader_keep(reader, text);
    reference->folder = mig_reader_keep(reader, reader->folder);
}

void mig_read_dsn(struct mig_reader *reader, const struct mig_place *place,
                  struct json_object *value, const struct mig_member *member, void *target)
{
    (void) member;
    read_reference(reader, place, value, true, target);
}

void mig_read_key(struct mig_reader *reader, const struct mig_place *place,
                  struct json_object *value, const struct mig_member *member, void *target)
{
    (void) member;
    read_reference(reader, place, value, false, target);
}

void mig_read_nothing(struct mig_reader *reader, const struct mig_place *place,
                      struct json_object *value, const struct mig_member *member, void *target)
{
    (void) reader, (void) place, (void) value, (void) member, (void) target;
}

/* ---- objects and lists -------------------------------------------------------------------- */

static const struct mig_member *find_member(const struct mig_member *members, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static void complain_unknown(struct mig_reader *reader, const struct mig_place *parent,
                             const char *name, const struct mig_member *members, size_t count)
{
    const struct mig_place place = {.parent = parent, .name = name};
    char list[LIST_TEXT_SIZE] = "";

    for (size_t i = 0; i < count; i++)
        print_list(list, members[i].name, "");
    mig_complain(reader, &place, "unknown member '%s'; known here: %s", mig_quote_of(name).text,
                 list);
}

/* In the order of the table, so that the first problem told does not hang on the hand that wrote
 * the document. */
static void read_members(struct mig_reader *reader, const struct mig_place *place,
                         struct json_object *object, const struct mig_member *members, size_t count,
                         void *target)
{
    for (size_t i = 0; i < count; i++) {
        const struct mig_place here = {.parent = place, .name = members[i].name};
        struct json_object *value;

        if (!json_object_object_get_ex(object, members[i].name, &value)) {
            if (members[i].required)
                mig_complain(reader, place, "member '%s' is missing", members[i].name);
        } else if (has_type(reader, &here, value, members[i].type)) {
            members[i].read(reader, &here, value, &members[i], (char *) target + members[i].offset);
        }
    }
    json_object_object_foreach(object, name, unread)
    {
        (void) unread;
        if (!find_member(members, count, name))
            complain_unknown(reader, place, name, members, count);
    }
}

void mig_read_object(struct mig_reader *reader, const struct mig_place *place,
                     struct json_object *value, const struct mig_member *member, void *target)
{
    read_members(reader, place, value, member->members, member->member_count, target);
}

void mig_read_list(struct mig_reader *reader, const struct mig_place *place,
                   struct json_object *value, const struct mig_member *member, void *target)
{
    const size_t count = json_object_array_length(value);
    struct mig_list *list = target;
    char *elements;

    if ((int64_t) count < member->least || (int64_t) count > member->most) {
        mig_complain(reader, place, "must have %" PRId64 " to %" PRId64 " elements, not %zu",
                     member->least, member->most, count);
        return;
    }
    elements = mig_reader_keep_zeros(reader, count, member->element_size);
    if (!elements)
        return;
    for (size_t i = 0; i < count; i++) {
        struct json_object *element = json_object_array_get_idx(value, i);
        const struct mig_place here = {.parent = place, .index = i};
        char *into = elements + i * member->element_size;

        memcpy(into, member->element, member->element_size);
        if (has_type(reader, &here, element, json_type_object))
            read_members(reader, &here, element, member->members, member->member_count, into);
    }
    *list = (struct mig_list){elements, count};
}

void mig_read_document(struct mig_reader *reader, struct json_object *document,
                       const struct mig_member *members, size_t count, void *target)
{
    read_members(reader, NULL, document, members, count, target);
}
