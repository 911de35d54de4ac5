/* xmtp-inspect: what its files share. */
#ifndef INSPECT_H
#define INSPECT_H

#include "libmigrate/bundle/bundle.h"
#include "tools/common/tool.h"

/* The verbs, and the first one's own option. */
int cmd_bundle(struct tool *tool, int argc, char **argv, struct mig_error *err);
int cmd_envelope(struct tool *tool, int argc, char **argv, struct mig_error *err);
extern bool inspect_rows;

/* Prints every record that is left in reader as a JSON line. Errors: the reader's, MIG_E_IO,
 * MIG_E_CANCELLED. */
int inspect_print_rows(struct tool *tool, struct mig_bundle_reader *reader, struct mig_error *err);

/*
 * What bytes are: the layer found and everything inside it, down to the payload, as one document.
 * The caller puts it with json_object_put(). Errors: MIG_E_CORRUPT telling what each layer lacked,
 * MIG_E_NOMEM.
 */
int inspect_describe_envelope(struct mig_bytes bytes, struct json_object **ret_document,
                              struct mig_error *err);

/* Additions to a JSON object. Bytes become lower-case hex, NUL-free text stays text. Only
 * inspect_add_bytes can run out of memory in earnest: MIG_E_NOMEM. */
void inspect_add_text(struct json_object *object, const char *name, const char *text);
void inspect_add_number(struct json_object *object, const char *name, uint64_t number);
void inspect_add_signed(struct json_object *object, const char *name, int64_t number);
int inspect_add_bytes(struct json_object *object, const char *name, struct mig_bytes bytes,
                      struct mig_error *err);
/* Adds an object and gives it back, still owned by its parent. */
struct json_object *inspect_add_object(struct json_object *object, const char *name);

/* For mig_cleanup(inspect_put) struct json_object *object. */
void inspect_put(struct json_object **object);

/* Shows a JSON object to people: one member a line, objects as titled sections, long texts cut.
 * Takes its "schema" out, which is for programs. */
int inspect_print_text(struct json_object *document, struct mig_error *err);

#endif
