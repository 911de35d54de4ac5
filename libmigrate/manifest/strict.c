/*
 * What json-c accepts and a manifest must not hold. Of members that stand twice in one object it
 * keeps the last, and a person who reads the first believes something else; single quotes and NaN
 * are JSON to it. This walks over the text of a document that json-c has accepted, so that only
 * quotes, brackets, commas and single characters matter; names are decoded by json-c.
 */
#include "libmigrate/manifest/manifest_private.h"

#include <string.h>

#define NAME_SIZE_MAX 256

/* An object or a list that is open where the walk has come to. */
struct level {
    struct json_object *names; /* the object's members so far; NULL for a list */
    bool at_name;              /* the next string is a member's name */
    struct json_object *name;  /* the text of the member in hand */
    struct mig_place place;    /* of what the walk is in: a member or an element */
};

struct walk {
    struct mig_reader *reader;
    const char *text;
    size_t size;
    struct level levels[MIG_MANIFEST_DEPTH_MAX + 1];
    size_t depth;
};

static void close_level(struct walk *walk)
{
    struct level *level = &walk->levels[--walk->depth];

    json_object_put(level->names);
    json_object_put(level->name);
}

static void close_walk(struct walk *walk)
{
    while (walk->depth > 0)
        close_level(walk);
}

static const struct mig_place *place_of_parent(const struct walk *walk)
{
    return walk->depth > 1 ? &walk->levels[walk->depth - 2].place : NULL;
}

/* False when the walk cannot go on. */
static bool open_level(struct walk *walk, bool is_object)
{
    struct level *level = &walk->levels[walk->depth];

    if (walk->depth == mig_count_of(walk->levels))
        return false;
    *level = (struct level){.at_name = is_object};
    if (is_object && !(level->names = json_object_new_object())) {
        walk->reader->out_of_memory = true;
        return false;
    }
    walk->depth++;
    level->place.parent = place_of_parent(walk);
    return true;
}

/* The offset behind the string that starts at offset. */
static size_t end_of_string(const struct walk *walk, size_t offset)
{
    for (offset++; offset < walk->size && walk->text[offset] != '"'; offset++)
        if (walk->text[offset] == '\\')
            offset++;
    return offset + 1;
}

static struct json_object *decode_name(const struct walk *walk, size_t start, size_t end)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *name = NULL;

    if (tokener)
        name = json_tokener_parse_ex(tokener, walk->text + start, (int) (end - start));
    if (tokener)
        json_tokener_free(tokener);
    return name;
}

/* A name that can be shown on a terminal and lead a person to its place. */
static bool is_showable(struct json_object *name)
{
    const char *text = json_object_get_string(name);
    const int length = json_object_get_string_len(name);

    if (length > NAME_SIZE_MAX)
        return false;
    for (int i = 0; i < length; i++)
        if ((unsigned char) text[i] < ' ' || text[i] == 0x7F)
            return false;
    return true;
}

/* False when the walk cannot go on. */
static bool enter_member(struct walk *walk, size_t start, size_t end)
{
    struct level *level = &walk->levels[walk->depth - 1];
    const char *text;

    json_object_put(level->name);
    level->name = decode_name(walk, start, end);
    level->at_name = false;
    if (!level->name) {
        walk->reader->out_of_memory = true;
        return false;
    }
    if (!is_showable(level->name)) {
        mig_complain(walk->reader, level->place.parent,
                     "a member's name is longer than %d bytes or holds a control character",
                     NAME_SIZE_MAX);
        return false;
    }
    text = json_object_get_string(level->name);
    level->place.name = text;
    if (json_object_object_get_ex(level->names, text, NULL))
        mig_complain(walk->reader, &level->place, "this member stands here twice");
    else if (json_object_object_add(level->names, text, NULL) != 0)
        walk->reader->out_of_memory = true;
    return !walk->reader->out_of_memory;
}

static void next_in_level(struct level *level)
{
    level->at_name = level->names != NULL;
    level->place.index++;
}

/* Outside strings. The letters are those of true, false, null and exponents. */
static bool is_json_character(char c)
{
    return c != '\0' && strchr(" \t\r\n{}[]:,\"0123456789+-.eEtrufalsn", c);
}

/* Goes on behind what stands at *offset. False when the walk cannot go on. */
static bool step(struct walk *walk, size_t *offset)
{
    const size_t start = *offset;
    const char c = walk->text[start];

    *offset = c == '"' ? end_of_string(walk, start) : start + 1;
    if (!is_json_character(c)) {
        mig_document_complain(walk->reader,
                              (struct mig_bytes){(const uint8_t *) walk->text, walk->size}, start,
                              "unexpected character");
        return false;
    }
    if (c == '{' || c == '[')
        return open_level(walk, c == '{');
    if (c == '}' || c == ']')
        close_level(walk);
    else if (c == ',')
        next_in_level(&walk->levels[walk->depth - 1]);
    else if (c == '"' && walk->depth > 0 && walk->levels[walk->depth - 1].at_name)
        return enter_member(walk, start, *offset);
    return true;
}

bool mig_document_is_strict(struct mig_reader *reader, struct mig_bytes text)
{
    mig_cleanup(close_walk) struct walk walk = {
        .reader = reader, .text = (const char *) text.data, .size = text.size};
    bool going_on = true;

    for (size_t offset = 0; going_on && offset < walk.size;)
        going_on = step(&walk, &offset);
    return going_on;
}
