/* Writing a bundle: what goes into which file, in which order; where the files lie is a carrier's
 * business, and each carrier is a row of a table. */
#include "libmigrate/bundle/bundle_private.h"

#include <stdlib.h>
#include <string.h>

struct mig_bundle_writer {
    char *path;
    const struct bundle_output *output;
    void *state;
    size_t removed;
    struct bundle_index index;
    struct bundle_order order;
    struct bundle_codec codec;
    struct bundle_behind *behind; /* writes parts: index is its while it has one in hand */
};

/* The first that matches takes the path. */
static const struct bundle_output *const outputs[] = {
    &bundle_output_stream,
    &bundle_output_file,
    &bundle_output_folder,
};

static const struct bundle_output *find_output(const char *path)
{
    size_t i = 0;

    while (i + 1 < mig_count_of(outputs) && !outputs[i]->matches(path))
        i++;
    return outputs[i];
}

static int begin(struct mig_bundle_writer *writer, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(BUNDLE_LINE_LIMIT);
    struct mig_bundle_facts facts;
    int result = bundle_print_header(&writer->index.facts, &text, err);

    if (result == MIG_OK)
        result = bundle_parse_header(mig_buffer_bytes(&text), &facts, err);
    if (result == MIG_OK)
        result = writer->output->open(writer->path, &writer->state, &writer->removed, err);
    if (result == MIG_OK)
        result =
            writer->output->put(writer->state, BUNDLE_HEADER_NAME, mig_buffer_bytes(&text), err);
    if (result == MIG_OK)
        result =
            bundle_behind_open(writer->output, writer->state, &writer->index, &writer->behind, err);
    return result;
}

int mig_bundle_create(const char *path, const struct mig_bundle_facts *facts,
                      struct mig_bundle_writer **ret_writer, struct mig_error *err)
{
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer =
        calloc(1, sizeof *writer);
    int result;

    if (writer)
        writer->path = strdup(path);
    if (!writer || !writer->path)
        return mig_fail(err, MIG_E_NOMEM, "cannot write bundle '%s': out of memory", path);
    writer->output = find_output(path);
    writer->index.facts = *facts;
    writer->order.stage = facts->stage;
    writer->codec = BUNDLE_CODEC_INIT;
    result = begin(writer, err);
    if (result == MIG_OK)
        *ret_writer = mig_take(writer);
    return result;
}

size_t mig_bundle_removed(const struct mig_bundle_writer *writer)
{
    return writer->removed;
}

int mig_bundle_try(const char *path, size_t *ret_removed, struct mig_error *err)
{
    const struct bundle_output *output = find_output(path);
    void *state;
    int result = output->open(path, &state, ret_removed, err);

    if (result == MIG_OK)
        output->discard(state);
    return result;
}

void mig_bundle_writer_free(struct mig_bundle_writer **writer)
{
    struct mig_bundle_writer *w = mig_take(*writer);

    if (!w)
        return;
    bundle_behind_free(&w->behind);
    if (w->state)
        w->output->discard(w->state);
    bundle_index_release(&w->index);
    bundle_codec_release(&w->codec);
    free(w->path);
    free(w);
}

static int add_file(struct mig_bundle_writer *writer, const struct mig_part *part, bool chain,
                    struct mig_error *err)
{
    const size_t number = writer->order.parts + !chain;
    const enum mig_stage stage = writer->order.stage;
    struct mig_bundle_entry entry = {0};
    char name[BUNDLE_NAME_SIZE];
    int result;

    bundle_name_part(name, number, stage, part->table, chain);
    result = bundle_encode_records(&writer->codec, part, stage, chain, &entry, err);
    if (result != MIG_OK)
        return mig_error_within(err, "'%s'", name);
    memcpy(entry.name, name, sizeof name);
    result = bundle_order_take(&writer->order, &entry, err);
    return result == MIG_OK ? bundle_behind_put(writer->behind, &entry, &writer->codec.records, err)
                            : result;
}

int mig_bundle_add(struct mig_bundle_writer *writer, const struct mig_part *part,
                   struct mig_error *err)
{
    int result = add_file(writer, part, false, err);

    if (result == MIG_OK && writer->order.chain_due > 0)
        result = add_file(writer, part, true, err);
    return result;
}

int mig_bundle_commit(struct mig_bundle_writer *writer, const struct mig_blockers *blockers,
                      struct mig_error *err)
{
    static const struct mig_blockers none;
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(BUNDLE_INDEX_LIMIT);
    mig_cleanup(bundle_index_release) struct bundle_index again = {0};
    int result = bundle_order_end(&writer->order, err);

    if (result == MIG_OK)
        result = bundle_behind_end(writer->behind, err);
    if (result == MIG_OK)
        result = bundle_print_index(&writer->index, blockers ? blockers : &none, &text, err);
    /* An index that would be refused later is better found now. */
    if (result == MIG_OK)
        result = bundle_parse_index(mig_buffer_bytes(&text), &again, err);
    if (result == MIG_OK)
        result =
            writer->output->put(writer->state, BUNDLE_INDEX_NAME, mig_buffer_bytes(&text), err);
    return result == MIG_OK ? writer->output->commit(writer->state, err) : result;
}
