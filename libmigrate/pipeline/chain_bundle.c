/*
 * The chain-bound envelopes of a run as a bundle, once rows have moved: as they were set aside
 * meanwhile, or, for what an earlier sitting moved, read once more. They need no signature, and
 * both are held against the books.
 */
#include "libmigrate/pipeline/pipeline_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct chain_job {
    const struct pipeline_chain *chain;
    const struct mig_transform *transform;
    struct mig_arena scratch;
    struct mig_bundle_writer *writer;
    bool begun[MIG_TABLE_COUNT]; /* what is in the bundle so far */
    int64_t last_ids[MIG_TABLE_COUNT];
};

/* Leaves the rows that the books name, where they name any: a second reading may see rows that came
 * later, or take a row for a commit whose column was filled in meanwhile. Where the column decides,
 * a booked commit whose column says otherwise by now had NULL there. */
static void keep_booked_rows(struct mig_part *part, const struct mig_chain_part *booked,
                             bool column_decides)
{
    size_t kept = 0;
    uint64_t at = 0;

    for (size_t i = 0; booked->ids && i < part->row_count; i++) {
        struct mig_value *column = &part->rows[i].values[MIG_GM_IS_COMMIT];

        while (at < booked->rows && booked->ids[at] < part->rows[i].id)
            at++;
        if (at == booked->rows || booked->ids[at] != part->rows[i].id)
            continue;
        if (part->table == MIG_TABLE_GROUP_MESSAGES && column_decides && column->number == 0)
            column->is_null = true;
        part->rows[kept++] = part->rows[i];
    }
    if (booked->ids)
        part->row_count = kept;
}

/* Most messages are no commits: they need not be transformed to be left out. */
static void keep_chain_kinds(struct mig_part *part, const struct chain_job *job)
{
    size_t kept = 0;

    for (size_t i = 0; i < part->row_count; i++) {
        struct mig_standing standing;

        mig_source_standing(&job->chain->manifest->policy, job->chain->run->facts.as_of_ns,
                            &part->rows[i], &standing);
        if (mig_kind_info(standing.kind)->route == MIG_ROUTE_CHAIN)
            part->rows[kept++] = part->rows[i];
    }
    part->row_count = kept;
}

/* Leaves the chain-bound rows of a transformed part, nothing else. */
static void keep_chain_rows(struct mig_part *part)
{
    struct mig_tally tally = {0};
    size_t kept = 0;

    for (size_t i = 0; i < part->row_count; i++) {
        if (part->envelopes[i].route != MIG_ROUTE_CHAIN)
            continue;
        part->rows[kept] = part->rows[i];
        part->envelopes[kept] = part->envelopes[i];
        part->envelopes[kept].row = &part->rows[kept];
        mig_tally_envelope(&tally, &part->envelopes[kept]);
        kept++;
    }
    part->row_count = kept;
    part->tally = tally;
}

static int is_booked(const struct mig_part *part, const struct mig_chain_part *booked, bool *ret_is,
                     struct mig_error *err)
{
    char digest[65];
    int result = pipeline_digest(part, MIG_ROUTE_CHAIN, NULL, digest, err);

    if (result == MIG_OK)
        *ret_is = part->row_count == booked->rows && strcmp(digest, booked->digest) == 0;
    return result;
}

static int check_against_books(const struct mig_part *part, const struct mig_chain_part *booked,
                               struct mig_error *err)
{
    bool same = false;
    int result = is_booked(part, booked, &same, err);

    if (result != MIG_OK || same)
        return result;
    mig_fail(err, MIG_E_CORRUPT,
             "chain-bound rows of %s from %" PRId64 " to %" PRId64
             " are not what they were when the run read them: %" PRIu64 " then, %zu now",
             mig_table_info(booked->table)->name, booked->first_id, booked->last_id, booked->rows,
             part->row_count);
    return mig_hint(err, "V3 never changes nor deletes them: see what did, then use --new-run");
}

/* A range of the books may have been cut by size: it comes back as several parts, joined here. */
static int join(struct mig_part *whole, struct mig_part *part, struct mig_error *err)
{
    for (size_t i = 0; i < part->row_count; i++) {
        struct mig_row *row;
        int result = mig_part_add_row(whole, &row, err);

        if (result != MIG_OK)
            return result;
        *row = part->rows[i];
    }
    mig_arena_join(&whole->arena, &part->arena);
    return MIG_OK;
}

static int read_whole(struct chain_job *job, const struct mig_chain_part *booked,
                      struct mig_part **ret_part, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *whole = NULL;
    int result = mig_part_new(booked->table, booked->first_id, &whole, err);

    if (result == MIG_OK)
        result = mig_source_read_begin(job->chain->source, booked->table, booked->first_id,
                                       booked->last_id, booked->settled, err);
    while (result == MIG_OK) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;

        result = mig_source_read_part(job->chain->source, MIG_PART_LIMITS, &part, err);
        if (result == MIG_OK && !part)
            break;
        if (result == MIG_OK)
            result = join(whole, part, err);
    }
    if (result != MIG_OK)
        return result;
    whole->last_id = booked->last_id;
    whole->settled = booked->settled;
    *ret_part = mig_take(whole);
    return MIG_OK;
}

static int read_once_more(struct chain_job *job, const struct mig_chain_part *booked,
                          struct mig_part **ret_part, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result;

    if ((result = read_whole(job, booked, &part, err)) != MIG_OK)
        return result;
    keep_booked_rows(part, booked, job->chain->manifest->policy.profile == MIG_PROFILE_XMTPD);
    keep_chain_kinds(part, job);
    if ((result = mig_transform_part(job->transform, &job->scratch, part, err)) != MIG_OK)
        return result;
    keep_chain_rows(part);
    if ((result = check_against_books(part, booked, err)) != MIG_OK)
        return result;
    *ret_part = mig_take(part);
    return MIG_OK;
}

/* NULL when there is none, or one that this sitting read otherwise than the one that moved it. */
static int find_set_aside(struct chain_job *job, const struct mig_chain_part *booked,
                          struct mig_part **ret_part, struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    bool same = false;
    int result = job->chain->spool ? mig_spool_take(job->chain->spool, booked->table,
                                                    booked->first_id, booked->last_id, &part, err)
                                   : MIG_OK;

    if (result != MIG_OK || !part)
        return result;
    keep_chain_rows(part);
    result = is_booked(part, booked, &same, err);
    if (result == MIG_OK && same)
        *ret_part = mig_take(part);
    return result;
}

static int write_part(struct chain_job *job, const struct mig_chain_part *booked,
                      struct mig_error *err)
{
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = find_set_aside(job, booked, &part, err);

    if (result == MIG_OK && !part)
        result = read_once_more(job, booked, &part, err);
    if (result != MIG_OK)
        return result;
    /* Ranges of a bundle leave no gap: what lies before has no row for the chain. */
    part->first_id = job->begun[part->table] ? job->last_ids[part->table] + 1 : INT64_MIN;
    job->begun[part->table] = true;
    job->last_ids[part->table] = part->last_id;
    return mig_bundle_add(job->writer, part, err);
}

static int write_all(struct chain_job *job, const struct mig_chain_part *parts, size_t count,
                     struct mig_error *err)
{
    uint64_t total = 0, done = 0;
    int result = MIG_OK;

    for (size_t i = 0; i < count; i++)
        total += parts[i].rows;
    for (size_t i = 0; i < count && result == MIG_OK; i++) {
        result = mig_stop_check(job->chain->stop, err);
        if (result == MIG_OK)
            result = write_part(job, &parts[i], err);
        done += parts[i].rows;
        mig_report_progress(job->chain->hooks,
                            &(struct mig_progress){.stage = "bundle for the chain",
                                                   .subject = "",
                                                   .done = done,
                                                   .total = total,
                                                   .waiting = ""});
    }
    return result;
}

/* ---- one that is there already -------------------------------------------------------------- */

/* Whether the bundle's next chain part is the one booked; with booked NULL, whether it has ended.
 */
static int compare_next(struct mig_bundle_reader *reader, const struct mig_chain_part *booked,
                        bool *ret_same, struct mig_error *err)
{
    for (;;) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        const struct mig_bundle_entry *entry;
        char digest[65];
        int result = mig_bundle_next(reader, &part, &entry, err);

        if (result != MIG_OK)
            return result;
        if (part && !entry->chain)
            continue;
        *ret_same = !part == !booked;
        if (!part || !booked)
            return MIG_OK;
        result = pipeline_digest(part, MIG_ROUTE_CHAIN, NULL, digest, err);
        *ret_same = part->table == booked->table && part->last_id == booked->last_id &&
                    strcmp(digest, booked->digest) == 0;
        return result;
    }
}

/* A finished bundle of the run, or NULL. */
static struct mig_bundle_reader *open_written(const char *out, const struct mig_run *run)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;

    if (access(out, F_OK) != 0 || mig_bundle_open(out, false, &reader, NULL) != MIG_OK ||
        strcmp(mig_bundle_facts(reader)->run, run->facts.run) != 0)
        return NULL;
    return mig_take(reader);
}

/* What could not be written in the end is refused before any row is moved. */
int pipeline_check_chain_out(const char *out, const struct mig_run *run,
                             const struct mig_hooks *hooks, struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = open_written(out, run);
    struct stat there;
    size_t removed;
    int result;

    if (reader || lstat(out, &there) != 0)
        return MIG_OK;
    if (access(out, W_OK) != 0)
        return mig_fail(err, MIG_E_IO, "cannot write the chain-bound envelopes to '%s': %s", out,
                        strerror(errno));
    if ((result = mig_bundle_try(out, &removed, err)) == MIG_OK)
        pipeline_tell_removed(hooks, out, removed);
    return result;
}

/* A run that was stopped between its bundle and its end, or that is taken up for one more node,
 * finds its bundle written. Held against the books it is as good as a new one. What is there and
 * something else is for mig_bundle_create() to refuse or, if it was never finished, to replace. */
static int find_written(const char *out, const struct mig_run *run,
                        const struct mig_chain_part *parts, size_t count, bool *ret_written,
                        struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = open_written(out, run);
    bool same = true;
    int result = MIG_OK;

    *ret_written = false;
    if (!reader)
        return MIG_OK;
    for (size_t i = 0; i <= count && same && result == MIG_OK; i++)
        result = compare_next(reader, i < count ? &parts[i] : NULL, &same, err);
    *ret_written = same;
    return result;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int write_bundle(const struct pipeline_chain *chain, const struct mig_chain_part *parts,
                        size_t count, struct mig_error *err)
{
    mig_cleanup(mig_transform_free) struct mig_transform *transform = NULL;
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    const struct mig_bundle_facts *facts = &chain->run->facts;
    struct chain_job job = {.chain = chain};
    int result;

    if ((result = mig_transform_open(chain->manifest, facts->as_of_ns, NULL, NULL, &transform,
                                     err)) != MIG_OK ||
        (result = mig_bundle_create(chain->out, facts, &writer, err)) != MIG_OK)
        return result;
    job.transform = transform;
    job.writer = writer;
    result = write_all(&job, parts, count, err);
    mig_arena_release(&job.scratch);
    return result == MIG_OK ? mig_bundle_commit(writer, chain->blockers, err) : result;
}

int pipeline_bundle_chain(const struct pipeline_chain *chain, bool *ret_there,
                          struct mig_error *err)
{
    struct mig_chain_part *parts = NULL;
    bool written = false;
    size_t count = 0;
    int result = mig_node_chain_parts(chain->node, chain->run->facts.run, &parts, &count, err);

    if (result == MIG_OK && count > 0)
        result = find_written(chain->out, chain->run, parts, count, &written, err);
    if (result == MIG_OK && count > 0 && !written)
        result = write_bundle(chain, parts, count, err);
    mig_chain_parts_release(parts, count);
    if (result == MIG_OK)
        *ret_there = count > 0;
    return result;
}
