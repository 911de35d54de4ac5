/* The golden vectors as rows in memory, for tests of whatever is made of rows. A file that is not
 * as it should be fails the test. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "libmigrate/wire/wire.h"

#include <json-c/json.h>

struct golden {
    struct json_object *document;
    struct json_object *context; /* keys, clock, rates */
    size_t count;
    struct mig_arena arena; /* holds the bytes of what was asked for */
};

struct golden_vector {
    const char *name;
    struct mig_row row;
    struct json_object *expect;
};

/* profile: "correct" or "xmtpd". Release with golden_release(). */
struct golden golden_load(const char *profile);
void golden_release(struct golden *golden);

struct golden_vector golden_vector(struct golden *golden, size_t place);

/* A member of a JSON object that must be there. */
struct json_object *golden_member(struct json_object *object, const char *name);
int64_t golden_number(struct json_object *object, const char *name);
const char *golden_text(struct json_object *object, const char *name);
/* A member in hex, as bytes. */
struct mig_bytes golden_bytes(struct golden *golden, struct json_object *object, const char *name);

#endif
