/* Lines on stderr as objects, for machines: --log-format json and --progress json. */
#include "tools/common/tool_private.h"

#include <string.h>

/* Paths, words of a command line and what others say may be no UTF-8, which readers of JSON give up
 * at. */
char *json_to_text(struct json_object *object, int flags)
{
    const char *text =
        json_object_to_json_string_ext(object, flags | JSON_C_TO_STRING_NOSLASHESCAPE);
    char *copy = text ? strdup(text) : NULL;
    size_t left = copy ? strlen(copy) : 0, size;

    for (char *at = copy; left > 0; at += size, left -= size) {
        size = mig_utf8_size((struct mig_bytes){(const uint8_t *) at, left});
        if (size > 0)
            continue;
        *at = '?';
        size = 1;
    }
    return copy;
}

void json_line_add(struct json_object *line, const char *name, const char *text)
{
    json_object_object_add(line, name, json_object_new_string(text));
}

/* RFC 3339, to the millisecond. */
static void add_time(struct json_object *line)
{
    const int64_t now_ns = mig_time_now_ns();
    char text[MIG_TIME_TEXT_SIZE], *point;

    mig_time_format_us(now_ns / MIG_NS_PER_SECOND, (int32_t) (now_ns % MIG_NS_PER_SECOND / 1000),
                       text);
    point = strrchr(text, '.');
    memcpy(point + 4, "Z", 2);
    json_line_add(line, "time", text);
}

struct json_object *json_line_begin(const char *event, const char *level)
{
    struct json_object *line = json_object_new_object();

    add_time(line);
    json_line_add(line, "level", level);
    json_line_add(line, "event", event);
    return line;
}

void json_line_write(struct json_object *line)
{
    mig_cleanup(mig_free_text) char *text = json_to_text(line, JSON_C_TO_STRING_PLAIN);

    if (text)
        fprintf(stderr, "%s\n", text);
    json_object_put(line);
}

/* What our messages begin with where a node is the subject: it becomes a member of its own. */
static void add_node(struct json_object *line, const char *message)
{
    static const char prefix[] = "node '";
    const size_t size = sizeof prefix - 1;
    const char *end;

    if (strncmp(message, prefix, size) == 0 && (end = strchr(message + size, '\'')))
        json_object_object_add(
            line, "node",
            json_object_new_string_len(message + size, (int) (end - message - (ptrdiff_t) size)));
}

void json_line_say(const char *event, const char *message)
{
    struct json_object *line = json_line_begin(event, strcmp(event, "hint") == 0 ? "info" : event);

    json_line_add(line, "message", message);
    add_node(line, message);
    json_line_write(line);
}
