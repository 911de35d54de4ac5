/* JSON objects built member by member, and shown to people: one document, two forms. */
#include "tools/xmtp-inspect/inspect.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_SHOWN 130 /* a whole signature */

void inspect_put(struct json_object **object)
{
    json_object_put(mig_take(*object));
}

void inspect_add_text(struct json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, json_object_new_string(text));
}

void inspect_add_number(struct json_object *object, const char *name, uint64_t number)
{
    json_object_object_add(object, name, json_object_new_uint64(number));
}

void inspect_add_signed(struct json_object *object, const char *name, int64_t number)
{
    json_object_object_add(object, name, json_object_new_int64(number));
}

int inspect_add_bytes(struct json_object *object, const char *name, struct mig_bytes bytes,
                      struct mig_error *err)
{
    mig_cleanup(mig_free_text) char *text = malloc(2 * bytes.size + 1);

    if (!text)
        return mig_fail(err, MIG_E_NOMEM, "cannot show %zu bytes: out of memory", bytes.size);
    mig_hex_encode(bytes, text);
    inspect_add_text(object, name, text);
    return MIG_OK;
}

struct json_object *inspect_add_object(struct json_object *object, const char *name)
{
    struct json_object *inner = json_object_new_object();

    json_object_object_add(object, name, inner);
    return inner;
}

static int print_member(int depth, const char *name, struct json_object *value,
                        struct mig_error *err)
{
    const bool is_text = json_object_is_type(value, json_type_string);
    const char *text = value ? json_object_get_string(value) : "-";
    const size_t size = strlen(text);

    if (is_text && size > TEXT_SHOWN)
        return tool_print(err, "%*s%-28s %.*s... (%zu digits)", 2 * depth, "", name, TEXT_SHOWN,
                          text, size);
    return tool_print(err, "%*s%-28s %s", 2 * depth, "", name, text);
}

static int print_object(int depth, struct json_object *object, struct mig_error *err)
{
    int code;

    json_object_object_foreach(object, name, value)
    {
        if (json_object_is_type(value, json_type_object)) {
            if ((code = tool_print(err, "%*s%s", 2 * depth, "", name)) ||
                (code = print_object(depth + 1, value, err)))
                return code;
        } else if ((code = print_member(depth, name, value, err))) {
            return code;
        }
    }
    return MIG_OK;
}

int inspect_print_text(struct json_object *document, struct mig_error *err)
{
    json_object_object_del(document, "schema");
    return print_object(0, document, err);
}
