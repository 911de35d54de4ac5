/* Writing a bundle behind its caller and verifying it on several cores, for ThreadSanitizer. */
#include "libmigrate/bundle/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTS 40
#define ROWS 200

static void check(int result, const struct mig_error *err)
{
    if (result == MIG_OK)
        return;
    fprintf(stderr, "thread_bundle: %s\n", err->message);
    exit(1);
}

static void add_part(struct mig_bundle_writer *writer, int place)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    static const uint8_t id[32] = {1}, update[] = "update";
    struct mig_error err = MIG_ERROR_INIT;

    check(mig_part_new(MIG_TABLE_INBOX_LOG, 1 + place * ROWS, &part, &err), &err);
    for (int i = 0; i < ROWS; i++) {
        struct mig_row *row;

        check(mig_part_add_row(part, &row, &err), &err);
        row->table = MIG_TABLE_INBOX_LOG;
        row->id = 1 + place * ROWS + i;
        row->values[MIG_IL_INBOX_ID].bytes = (struct mig_bytes){id, sizeof id};
        row->values[MIG_IL_UPDATE].bytes = (struct mig_bytes){update, sizeof update};
    }
    part->last_id = (place + 1) * ROWS;
    part->settled = true;
    part->rows_sent = ROWS;
    check(mig_bundle_add(writer, part, &err), &err);
}

static void write_bundle(const char *path)
{
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_bundle_facts facts = {.stage = MIG_STAGE_ROWS,
                                     .run = "00112233445566778899aabbccddeeff",
                                     .network = "trial",
                                     .as_of_ns = INT64_C(1767225600000000000),
                                     .profile = "correct"};

    memset(facts.policy_digest, 'a', sizeof facts.policy_digest - 1);
    check(mig_bundle_create(path, &facts, &writer, &err), &err);
    for (int i = 0; i < PARTS; i++)
        add_part(writer, i);
    check(mig_bundle_commit(writer, NULL, &err), &err);
}

static size_t read_bundle(const char *path)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    size_t rows = 0;

    check(mig_bundle_open(path, false, &reader, &err), &err);
    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;

        check(mig_bundle_next(reader, &part, NULL, &err), &err);
        if (!part)
            return rows;
        rows += part->row_count;
    }
}

int main(void)
{
    char folder[] = "/tmp/thread-bundle-XXXXXX", path[64];
    size_t rows;

    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/x.tar", folder);
    write_bundle(path);
    rows = read_bundle(path);
    unlink(path);
    rmdir(folder);
    if (rows == PARTS * ROWS)
        return 0;
    fprintf(stderr, "thread_bundle: %zu rows of %d\n", rows, PARTS * ROWS);
    return 1;
}
