/* Reading a bundle: one pass over its files, in which every one is checked by itself, in its order,
 * and at last against the index. A verified bundle is passed twice: the first time nobody gets to
 * see it, the second time each part is compared with the index before it is given out. */
#include "libmigrate/bundle/bundle_private.h"

#include "libmigrate/io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum progress { READING, ENDED, BROKEN };

struct mig_bundle_reader {
    char *path;
    const struct bundle_input *input;
    void *state;
    struct bundle_codec codec;
    struct mig_bundle_facts facts;
    bool verified;             /* index is known, and this is the second pass */
    struct bundle_index index; /* while it is not known: what was found, with the facts */
    char index_sha256[65];
    struct mig_bundle_entry entry; /* of the part given out last */
    struct bundle_order order;
    size_t parts; /* files of parts in this pass */
    enum progress progress;
};

void mig_bundle_reader_free(struct mig_bundle_reader **reader)
{
    struct mig_bundle_reader *r = mig_take(*reader);

    if (!r)
        return;
    if (r->state)
        r->input->close(r->state);
    bundle_codec_release(&r->codec);
    bundle_index_release(&r->index);
    free(r->path);
    free(r);
}

static int next_file(struct mig_bundle_reader *reader, char ret_name[], struct mig_error *err)
{
    return reader->input->next(reader->state, ret_name, &reader->codec.file, err);
}

static int read_header(struct mig_bundle_reader *reader, struct mig_error *err)
{
    char name[BUNDLE_NAME_SIZE];
    struct mig_bundle_facts facts;
    int result = next_file(reader, name, err);

    if (result == MIG_OK && strcmp(name, BUNDLE_HEADER_NAME) != 0)
        result = mig_fail(err, MIG_E_CORRUPT, "does not begin with '" BUNDLE_HEADER_NAME "'");
    if (result == MIG_OK)
        result = bundle_parse_header(mig_buffer_bytes(&reader->codec.file), &facts, err);
    if (result != MIG_OK)
        return result;
    if (reader->verified && bundle_find_difference(bundle_facts_members, &facts, &reader->facts))
        return mig_fail(err, MIG_E_CORRUPT,
                        "'" BUNDLE_HEADER_NAME "' has changed since it was verified");
    reader->facts = facts;
    reader->order = (struct bundle_order){.stage = facts.stage};
    reader->parts = 0;
    return MIG_OK;
}

/* ---- parts -------------------------------------------------------------------------------- */

static int compare_entry(const struct mig_bundle_entry *found,
                         const struct mig_bundle_entry *stated, struct mig_error *err)
{
    const char *member = bundle_find_difference(bundle_entry_members, found, stated);

    if (member)
        return mig_fail(err, MIG_E_CORRUPT, "'%s': its %s is not what the index says", found->name,
                        member);
    return MIG_OK;
}

static int settle_entry(struct mig_bundle_reader *reader, const struct mig_bundle_entry *entry,
                        struct mig_error *err)
{
    int result = bundle_order_take(&reader->order, entry, err);

    if (result != MIG_OK)
        return result;
    if (!reader->verified)
        return bundle_index_add(&reader->index, entry, err);
    if (reader->parts >= reader->index.count)
        return mig_fail(err, MIG_E_CORRUPT, "'%s' is not in the index", entry->name);
    return compare_entry(entry, &reader->index.entries[reader->parts], err);
}

static int read_part(struct mig_bundle_reader *reader, const char *name, struct mig_part **ret_part,
                     struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_bundle_entry entry = {0};
    int result = bundle_decode_part(&reader->codec, mig_buffer_bytes(&reader->codec.file),
                                    reader->facts.stage, &part, &entry, err);

    if (result != MIG_OK) {
        mig_error_within(err, "'%s'", name);
        return result;
    }
    memcpy(entry.name, name, sizeof entry.name);
    result = settle_entry(reader, &entry, err);
    if (result != MIG_OK)
        return result;
    reader->parts++;
    reader->entry = entry;
    *ret_part = mig_take(part);
    return MIG_OK;
}

/* ---- the end ------------------------------------------------------------------------------ */

static int compare_index(const struct mig_bundle_reader *reader, const struct bundle_index *stated,
                         struct mig_error *err)
{
    const struct bundle_index *found = &reader->index;
    const char *member =
        bundle_find_difference(bundle_facts_members, &reader->facts, &stated->facts);

    if (member)
        return mig_fail(err, MIG_E_CORRUPT, "header and index disagree on '%s'", member);
    for (size_t i = 0; i < found->count || i < stated->count; i++) {
        int result;

        if (i >= stated->count)
            return mig_fail(err, MIG_E_CORRUPT, "'%s' is not in the index", found->entries[i].name);
        if (i >= found->count)
            return mig_fail(err, MIG_E_CORRUPT, "'%s' is in the index, but missing",
                            stated->entries[i].name);
        result = compare_entry(&found->entries[i], &stated->entries[i], err);
        if (result != MIG_OK)
            return result;
    }
    return MIG_OK;
}

static int read_index(struct mig_bundle_reader *reader, struct mig_error *err)
{
    mig_cleanup(bundle_index_release) struct bundle_index stated = {0};
    const struct mig_bytes text = mig_buffer_bytes(&reader->codec.file);
    char sha256[65];
    int result = bundle_digest(text, sha256, err);

    if (result == MIG_OK && reader->verified && strcmp(sha256, reader->index_sha256) != 0)
        return mig_fail(err, MIG_E_CORRUPT,
                        "'" BUNDLE_INDEX_NAME "' has changed since it was verified");
    if (result != MIG_OK || reader->verified)
        return result;
    result = bundle_parse_index(text, &stated, err);
    if (result == MIG_OK)
        result = compare_index(reader, &stated, err);
    if (result != MIG_OK)
        return result;
    bundle_index_release(&reader->index);
    reader->index = stated;
    stated = (struct bundle_index){0};
    memcpy(reader->index_sha256, sha256, sizeof sha256);
    return MIG_OK;
}

static int finish(struct mig_bundle_reader *reader, struct mig_error *err)
{
    char name[BUNDLE_NAME_SIZE];
    int result = bundle_order_end(&reader->order, err);

    if (result == MIG_OK && reader->verified && reader->parts != reader->index.count)
        result = mig_fail(err, MIG_E_CORRUPT, "'%s' is in the index, but missing",
                          reader->index.entries[reader->parts].name);
    if (result == MIG_OK)
        result = read_index(reader, err);
    if (result == MIG_OK)
        result = next_file(reader, name, err);
    if (result == MIG_OK && name[0] != '\0')
        result = mig_fail(err, MIG_E_CORRUPT, "'%s' comes after the index", name);
    if (result == MIG_OK)
        reader->progress = ENDED;
    return result;
}

/* What is no part: the index ends the bundle, all else may not be there. */
static int read_other(struct mig_bundle_reader *reader, const char *name, struct mig_error *err)
{
    switch (bundle_file_of(name)) {
    case BUNDLE_FILE_INDEX:
        return finish(reader, err);
    case BUNDLE_FILE_HEADER:
        return mig_fail(err, MIG_E_CORRUPT, "a second '" BUNDLE_HEADER_NAME "'");
    case BUNDLE_FILE_PART:
    case BUNDLE_FILE_OTHER:
        break;
    }
    mig_fail(err, MIG_E_CORRUPT,
             "no '" BUNDLE_INDEX_NAME "': it was never finished, or is cut off");
    mig_hint(err, "run the tool that wrote it again");
    return MIG_E_CORRUPT;
}

/* Gives NULL after the index. */
static int next_part(struct mig_bundle_reader *reader, struct mig_part **ret_part,
                     struct mig_error *err)
{
    char name[BUNDLE_NAME_SIZE];
    int result = next_file(reader, name, err);

    if (result != MIG_OK)
        return result;
    if (bundle_file_of(name) == BUNDLE_FILE_PART)
        return read_part(reader, name, ret_part, err);
    *ret_part = NULL;
    return read_other(reader, name, err);
}

/* ---- opening ------------------------------------------------------------------------------ */

static int open_file(struct mig_bundle_reader *reader, struct mig_error *err)
{
    mig_cleanup(mig_fd_close) int fd =
        open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    int handed;

    if (fd < 0 || fstat(fd, &status) != 0)
        return mig_fail(err, MIG_E_IO, "cannot open it: %s", strerror(errno));
    if (S_ISDIR(status.st_mode)) {
        reader->input = &bundle_input_folder;
        return bundle_open_folder(reader->path, &reader->state, err);
    }
    if (!S_ISREG(status.st_mode))
        return mig_fail(err, MIG_E_IO, "cannot open it: neither a folder nor a regular file");
    reader->input = &bundle_input_file;
    handed = fd;
    fd = -1;
    return bundle_open_tar(handed, &reader->state, err);
}

static int open_stream(struct mig_bundle_reader *reader, bool trust_later, struct mig_error *err)
{
    const int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return mig_fail(err, MIG_E_IO, "cannot open standard input: %s", strerror(errno));
    reader->input = trust_later ? &bundle_input_stream : &bundle_input_spooled;
    return trust_later ? bundle_open_tar(fd, &reader->state, err)
                       : bundle_open_spooled(fd, &reader->state, err);
}

static int settle_next(struct mig_bundle_reader *reader, const struct mig_bundle_entry *entry,
                       struct mig_error *err)
{
    int result = settle_entry(reader, entry, err);

    if (result == MIG_OK)
        reader->parts++;
    return result;
}

static int end_pass(struct mig_bundle_reader *reader, const char *name, struct mig_buffer *bytes,
                    struct mig_error *err)
{
    const struct mig_buffer before = reader->codec.file;

    reader->codec.file = *bytes;
    *bytes = before;
    return read_other(reader, name, err);
}

static int verify(struct mig_bundle_reader *reader, mig_bundle_judge_fn *judge, unsigned threads,
                  struct mig_error *err)
{
    const struct bundle_pass pass = {reader->input, reader->state, &reader->facts, judge,
                                     reader,        settle_next,   end_pass};
    int result = bundle_pass_run(&pass, threads, err);

    if (result == MIG_OK)
        result = reader->input->rewind(reader->state, err);
    if (result != MIG_OK)
        return result;
    reader->verified = true;
    reader->progress = READING;
    return read_header(reader, err);
}

static int open_bundle(const char *path, bool trust_later, mig_bundle_judge_fn *judge,
                       unsigned threads, struct mig_bundle_reader **ret_reader,
                       struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader =
        calloc(1, sizeof *reader);
    int result;

    if (reader)
        reader->path = strdup(path);
    if (!reader || !reader->path)
        return mig_fail(err, MIG_E_NOMEM, "cannot open bundle '%s': out of memory", path);
    reader->codec = BUNDLE_CODEC_INIT;
    reader->input = &bundle_input_file;
    result =
        strcmp(path, "-") == 0 ? open_stream(reader, trust_later, err) : open_file(reader, err);
    if (result == MIG_OK)
        result = read_header(reader, err);
    if (result == MIG_OK && reader->input->rewind)
        result = verify(reader, judge, threads, err);
    if (result != MIG_OK) {
        mig_error_within(err, "bundle '%s'", path);
        return result;
    }
    *ret_reader = mig_take(reader);
    return MIG_OK;
}

int mig_bundle_open(const char *path, bool trust_later, struct mig_bundle_reader **ret_reader,
                    struct mig_error *err)
{
    return open_bundle(path, trust_later, NULL, 0, ret_reader, err);
}

int mig_bundle_open_judged(const char *path, mig_bundle_judge_fn *judge, unsigned threads,
                           struct mig_bundle_reader **ret_reader, struct mig_error *err)
{
    return open_bundle(path, false, judge, threads, ret_reader, err);
}

int mig_bundle_next(struct mig_bundle_reader *reader, struct mig_part **ret_part,
                    const struct mig_bundle_entry **ret_entry, struct mig_error *err)
{
    struct mig_part *part = NULL;
    int result = MIG_OK;

    if (reader->progress == BROKEN)
        return mig_fail(err, MIG_E_CORRUPT, "bundle '%s' was refused before", reader->path);
    if (reader->progress == READING)
        result = next_part(reader, &part, err);
    if (result != MIG_OK) {
        reader->progress = BROKEN;
        mig_error_within(err, "bundle '%s'", reader->path);
        return result;
    }
    *ret_part = part;
    if (ret_entry)
        *ret_entry = part ? &reader->entry : NULL;
    return MIG_OK;
}

const struct mig_bundle_facts *mig_bundle_facts(const struct mig_bundle_reader *reader)
{
    return &reader->facts;
}

const struct mig_blockers *mig_bundle_blockers(const struct mig_bundle_reader *reader)
{
    return &reader->index.blockers;
}

const struct mig_bundle_entry *mig_bundle_entries(const struct mig_bundle_reader *reader,
                                                  size_t *ret_count)
{
    *ret_count = reader->index.count;
    return reader->index.entries;
}
