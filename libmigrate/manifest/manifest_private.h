/*
 * manifest, inside: collecting problems, reading JSON by tables of members, and the references.
 *
 * Nothing stops at the first problem. Memory that runs out is remembered in the reader and looked
 * at once, at the end.
 */
#ifndef MIG_MANIFEST_PRIVATE_H
#define MIG_MANIFEST_PRIVATE_H

#include "libmigrate/manifest/manifest.h"

#include <json-c/json.h>

#define MIG_MANIFEST_SIZE_MAX ((size_t) 1 << 20)
#define MIG_MANIFEST_DEPTH_MAX 32
#define MIG_SECRET_SIZE_MAX ((size_t) 64 << 10)

/* ---- problems.c --------------------------------------------------------------------------- */

/* Where in the document something stands: a member of its parent, or an element when name is NULL.
 * The document itself has no place: NULL. */
struct mig_place {
    const struct mig_place *parent;
    const char *name;
    size_t index;
};

struct mig_reader {
    struct mig_problems problems;
    struct mig_arena *arena; /* for what the manifest keeps */
    const char *folder;      /* of the manifest, in arena */
    bool out_of_memory;
};

void mig_reader_release(struct mig_reader *reader);

/* Adds a problem. The message has no full stop. */
void mig_complain(struct mig_reader *reader, const struct mig_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A copy of text in the arena; "" when memory is out. */
char *mig_reader_keep(struct mig_reader *reader, const char *text);
void *mig_reader_keep_zeros(struct mig_reader *reader, size_t count, size_t size);

/* Ends reading: MIG_OK without problems, else the error that tells of them. */
int mig_reader_verdict(const struct mig_reader *reader, const char *path, struct mig_error *err);

/* A text fit to be shown in a message: short, without control characters. */
struct mig_quote {
    char text[72];
};
struct mig_quote mig_quote_of(const char *text);

/* ---- document.c, strict.c ------------------------------------------------------------------ */

/* The JSON tree of text, whose root is an object; NULL after complaining. */
struct json_object *mig_document_parse(struct mig_reader *reader, struct mig_bytes text);

/* Complains that text is not JSON, by line and column. */
void mig_document_complain(struct mig_reader *reader, struct mig_bytes text, size_t offset,
                           const char *what);

/* Complains of what json-c accepted all the same: members that stand twice in one object, words and
 * quotes that are not JSON. False when nothing should go on with the document. */
bool mig_document_is_strict(struct mig_reader *reader, struct mig_bytes text);

/* ---- members.c ---------------------------------------------------------------------------- */

struct mig_member;

/* Reads one value into target, complaining at place. */
typedef void mig_read_fn(struct mig_reader *reader, const struct mig_place *place,
                         struct json_object *value, const struct mig_member *member, void *target);

/* A member that an object can have: a row of its table. */
struct mig_member {
    const char *name;
    enum json_type type;
    bool required;
    mig_read_fn *read;
    size_t offset;                    /* of the target in the struct that the object is read into */
    const char *const *choices;       /* mig_read_choice, mig_read_choices: NULL-terminated */
    int64_t least, most;              /* mig_read_integer; mig_read_list: how many elements */
    const char *why;                  /* the reason for the range, or NULL */
    const struct mig_member *members; /* mig_read_object, mig_read_list: of the (element) object */
    size_t member_count;
    const void *element; /* mig_read_list: what an element starts from */
    size_t element_size;
};

/* What a list of objects is read into: elements in the arena, each of element_size. */
struct mig_list {
    void *elements;
    size_t count;
};

mig_read_fn mig_read_name;    /* char *: 1..64 lower-case letters, digits, '-' */
mig_read_fn mig_read_choice;  /* unsigned: the place of the choice */
mig_read_fn mig_read_choices; /* unsigned: 1u << the place of each choice that is listed */
mig_read_fn mig_read_integer; /* int64_t */
mig_read_fn mig_read_time;    /* int64_t: ns since 1970 */
mig_read_fn mig_read_dsn;     /* struct mig_reference */
mig_read_fn mig_read_key;     /* struct mig_reference */
mig_read_fn mig_read_object;  /* the struct itself */
mig_read_fn mig_read_list;    /* struct mig_list */
mig_read_fn mig_read_nothing; /* accepted unread */

/* The whole document against its table; target is the struct of all offsets. */
void mig_read_document(struct mig_reader *reader, struct json_object *document,
                       const struct mig_member *members, size_t count, void *target);

/* ---- reference.c -------------------------------------------------------------------------- */

enum mig_scheme { MIG_SCHEME_PLAIN, MIG_SCHEME_ENV, MIG_SCHEME_FILE, MIG_SCHEME_FD };

/* Tells the scheme, and what follows its prefix. */
enum mig_scheme mig_reference_scheme(const char *text, const char **ret_rest);

/* What is wrong with a reference as it is written, or NULL. Never quotes it. */
const char *mig_reference_fault(const char *text, bool plain_allowed);

/* ---- parse.c ------------------------------------------------------------------------------ */

/* Reads text into the model, as far as it can be read, complaining of all the rest. */
void mig_manifest_read(struct mig_reader *reader, struct mig_bytes text,
                       struct mig_manifest *manifest);

/* ---- checks.c ----------------------------------------------------------------------------- */

/* What no single member tells. rate_bounds: message, storage. */
void mig_manifest_check(struct mig_reader *reader, const struct mig_manifest *manifest,
                        const int64_t rate_bounds[2]);

#endif
