/* From text to a JSON tree. json-c parses; here are the bounds, and the errors in a person's words:
 * line, column, what is off. */
#include "libmigrate/manifest/manifest_private.h"

static void free_tokener(struct json_tokener **tokener)
{
    if (*tokener)
        json_tokener_free(*tokener);
}

static void free_object(struct json_object **object)
{
    json_object_put(*object);
}

void mig_document_complain(struct mig_reader *reader, struct mig_bytes text, size_t offset,
                           const char *what)
{
    size_t line = 1;
    size_t column = 1;

    for (size_t i = 0; i < offset && i < text.size; i++) {
        column++;
        if (text.data[i] == '\n') {
            line++;
            column = 1;
        }
    }
    mig_complain(reader, NULL, "not JSON at line %zu, column %zu: %s", line, column, what);
}

struct json_object *mig_document_parse(struct mig_reader *reader, struct mig_bytes text)
{
    mig_cleanup(free_tokener) struct json_tokener *tokener = NULL;
    mig_cleanup(free_object) struct json_object *document = NULL;
    size_t end;

    if (text.size > MIG_MANIFEST_SIZE_MAX) {
        mig_complain(reader, NULL, "larger than %zu bytes", MIG_MANIFEST_SIZE_MAX);
        return NULL;
    }
    tokener = json_tokener_new_ex(MIG_MANIFEST_DEPTH_MAX);
    if (!tokener) {
        reader->out_of_memory = true;
        return NULL;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    document = json_tokener_parse_ex(tokener, (const char *) text.data, (int) text.size);
    end = json_tokener_get_parse_end(tokener);
    if (json_tokener_get_error(tokener) == json_tokener_continue) {
        mig_document_complain(reader, text, text.size, "the document ends too early");
        return NULL;
    }
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        mig_document_complain(reader, text, end,
                              json_tokener_error_desc(json_tokener_get_error(tokener)));
        return NULL;
    }
    if (end < text.size) {
        mig_document_complain(reader, text, end, "something follows the document");
        return NULL;
    }
    if (!mig_document_is_strict(reader, text))
        return NULL;
    if (!json_object_is_type(document, json_type_object)) {
        mig_complain(reader, NULL, "must be an object");
        return NULL;
    }
    return mig_take(document);
}
