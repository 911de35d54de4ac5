/* A manifest for tests: every member good unless the test says otherwise. */
#ifndef TEST_DOCUMENT_H
#define TEST_DOCUMENT_H

#include "libmigrate/manifest/manifest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* JSON of each member's value; NULL for the good one, "" to leave it out. more is whole members. */
struct document {
    const char *schema, *network, *source, *nodes, *keys, *rates, *policy, *more;
};

static inline void add_member(char *text, const char *name, const char *value, const char *good)
{
    const char *written = value ? value : good;

    if (*written)
        sprintf(text + strlen(text), "%s\"%s\": %s", text[1] ? ", " : "", name, written);
}

/* The caller frees it. */
static inline char *write_document(const struct document *document)
{
    char *text = malloc(1 << 16);

    strcpy(text, "{");
    add_member(text, "schema", document->schema, "\"xmtp-migrate/manifest/1\"");
    add_member(text, "network", document->network, "\"local\"");
    add_member(text, "source", document->source, "{\"dsn\": \"env:V3_DSN\"}");
    add_member(text, "nodes", document->nodes,
               "[{\"name\": \"alpha\", \"node_id\": 100, \"dsn\": \"env:ALPHA_DSN\"}]");
    add_member(text, "keys", document->keys,
               "{\"payer\": \"env:PAYER_KEY\", \"originator\": \"file:originator.key\"}");
    add_member(text, "rates", document->rates,
               "[{\"start\": \"2025-01-01T00:00:00Z\", \"message_fee\": 100, "
               "\"storage_fee\": 200}]");
    add_member(text, "policy", document->policy, "");
    if (document->more)
        sprintf(text + strlen(text), ", %s", document->more);
    return strcat(text, "}");
}

static inline struct mig_manifest *parse_good(struct document document)
{
    mig_cleanup(mig_free_text) char *text = write_document(&document);
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(
        mig_manifest_parse(mig_bytes_of_text(text), "folder/local.json", &manifest, NULL, &err),
        MIG_OK, "%s", err.message);
    return manifest;
}

#endif
