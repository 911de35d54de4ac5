/* A bundle is what was put into it, whichever carrier brings it. */
#include "tests/unit/bundle/sample.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(round_trip, .init = sample_enter, .fini = sample_leave);

static const char *const paths[] = {"made/by/us", "bundle.tar"};
static const enum mig_stage stages[] = {MIG_STAGE_ROWS, MIG_STAGE_ENVELOPES};

Test(round_trip, folder_and_tar_file_give_back_what_was_written)
{
    for (size_t i = 0; i < mig_count_of(paths); i++)
        for (size_t j = 0; j < mig_count_of(stages); j++) {
            struct mig_error err = MIG_ERROR_INIT;

            cr_assert_eq(sample_write(paths[i], stages[j], &err), MIG_OK, "%s", err.message);
            cr_assert_eq(sample_read(paths[i], false, stages[j], &err), MIG_OK, "%s", err.message);
            cr_assert_eq(sample_read(paths[i], true, stages[j], &err), MIG_OK, "%s", err.message);
            cr_assert_eq(system("rm -rf made bundle.tar"), 0);
        }
}

/* Writes to a pipe in a process of its own; gives the pipe's other end as standard input. */
static pid_t write_to_pipe(enum mig_stage stage)
{
    int ends[2];
    pid_t writer;

    cr_assert_eq(pipe(ends), 0);
    writer = fork();
    if (writer == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(sample_write("-", stage, NULL) == MIG_OK ? 0 : 1);
    }
    cr_assert_gt(writer, 0);
    cr_assert_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    return writer;
}

Test(round_trip, a_stream_through_a_pipe_gives_back_what_was_written)
{
    for (int trust_later = 0; trust_later <= 1; trust_later++)
        for (size_t j = 0; j < mig_count_of(stages); j++) {
            struct mig_error err = MIG_ERROR_INIT;
            const pid_t writer = write_to_pipe(stages[j]);
            int status;

            cr_assert_eq(sample_read("-", trust_later, stages[j], &err), MIG_OK, "%s", err.message);
            cr_assert_eq(waitpid(writer, &status, 0), writer);
            cr_assert_eq(status, 0, "the writer must be able to write to its end");
        }
}

Test(round_trip, the_same_bundle_is_the_same_bytes)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer one = MIG_BUFFER_INIT(0);
    mig_cleanup(mig_buffer_release) struct mig_buffer other = MIG_BUFFER_INIT(0);

    cr_assert_eq(sample_write("a.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(sample_write("b.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    one = sample_file("a.tar");
    other = sample_file("b.tar");
    cr_assert(mig_bytes_equal(mig_buffer_bytes(&one), mig_buffer_bytes(&other)));
}

Test(round_trip, ordinary_tools_can_read_the_files)
{
    cr_assert_eq(sample_write("a.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(system("tar xf a.tar && "
                        "test $(head -n -1 index.json | sha256sum | cut -c1-64) = "
                        "$(tail -n 1 index.json | cut -d'\"' -f4)"),
                 0);
    cr_assert_eq(system("mkdir d && mv header.json index.json parts d/"), 0);
    cr_assert_eq(sample_read("d", false, MIG_STAGE_ENVELOPES, NULL), MIG_OK,
                 "an unpacked tar is the bundle as a folder");
    cr_assert_eq(system("cd d && tar cf ../b.tar header.json parts/*-[nr]*.zst "
                        "parts/*-chain.zst index.json"),
                 0);
    cr_assert_eq(sample_read("b.tar", false, MIG_STAGE_ENVELOPES, NULL), MIG_E_CORRUPT,
                 "its parts stand in another order");
}

Test(round_trip, the_nodes_part_is_there_even_when_all_rows_are_expired)
{
    mig_cleanup(mig_part_free) struct mig_part *part =
        sample_rows(MIG_TABLE_WELCOME_MESSAGES, 1, 10);
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ENVELOPES);
    const struct mig_bundle_entry *entries;
    struct mig_part *read = NULL;
    size_t count;

    part->envelopes = calloc(part->row_count, sizeof *part->envelopes);
    for (size_t i = 0; i < part->row_count; i++) {
        part->envelopes[i] = (struct mig_envelope){
            .row = &part->rows[i], .kind = MIG_KIND_WELCOME_MESSAGES, .route = MIG_ROUTE_EXPIRED};
        mig_tally_envelope(&part->tally, &part->envelopes[i]);
    }
    cr_assert_eq(mig_bundle_create("d", &facts, &writer, NULL), MIG_OK);
    cr_assert_eq(mig_bundle_add(writer, part, NULL), MIG_OK);
    cr_assert_eq(mig_bundle_commit(writer, NULL, NULL), MIG_OK);
    cr_assert_eq(mig_bundle_open("d", false, &reader, NULL), MIG_OK);
    entries = mig_bundle_entries(reader, &count);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(entries[0].name, "parts/000001-welcome_messages-nodes.zst");
    cr_assert_eq(entries[0].tally.kinds[MIG_KIND_WELCOME_MESSAGES].expired, part->row_count);
    cr_assert_eq(mig_bundle_next(reader, &read, NULL, NULL), MIG_OK);
    cr_assert_not_null(read);
    cr_assert_eq(read->row_count, 0);
    cr_assert_eq(read->tally.kinds[MIG_KIND_WELCOME_MESSAGES].expired, part->row_count);
    mig_part_free(&read);
    cr_assert_eq(mig_bundle_next(reader, &read, NULL, NULL), MIG_OK);
    cr_assert_null(read);
    cr_assert_eq(mig_bundle_next(reader, &read, NULL, NULL), MIG_OK, "the end stays the end");
    cr_assert_null(read);
}

Test(round_trip, a_bundle_without_parts_is_a_bundle)
{
    const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ROWS);

    for (size_t i = 0; i < mig_count_of(paths); i++) {
        mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
        mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
        struct mig_part *part = NULL;

        cr_assert_eq(mig_bundle_create(paths[i], &facts, &writer, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_commit(writer, NULL, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_open(paths[i], false, &reader, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_next(reader, &part, NULL, NULL), MIG_OK);
        cr_assert_null(part);
    }
}

Test(round_trip, a_spooled_stream_leaves_no_file_behind)
{
    cr_assert_eq(sample_write("a.tar", MIG_STAGE_ROWS, NULL), MIG_OK);
    cr_assert_eq(mkdir("spool", 0700), 0);
    setenv("TMPDIR", "spool", 1);
    sample_input("a.tar");
    cr_assert_eq(sample_read("-", false, MIG_STAGE_ROWS, NULL), MIG_OK);
    cr_assert_eq(rmdir("spool"), 0, "it must be empty");
    unsetenv("TMPDIR");
}

/* ---- judged by the caller ----------------------------------------------------------------- */

static _Atomic size_t judged, judged_elsewhere;
static pthread_t opener;

static int refuse_key_packages(const struct mig_bundle_facts *facts, const struct mig_part *part,
                               struct mig_error *err)
{
    cr_assert_eq(facts->stage, MIG_STAGE_ENVELOPES);
    judged++;
    return part->table == MIG_TABLE_KEY_PACKAGES
               ? mig_fail(err, MIG_E_REFUSED, "no key packages, please")
               : MIG_OK;
}

static int accept(const struct mig_bundle_facts *facts, const struct mig_part *part,
                  struct mig_error *err)
{
    (void) facts;
    (void) part;
    (void) err;
    judged++;
    judged_elsewhere += !pthread_equal(pthread_self(), opener);
    return MIG_OK;
}

Test(round_trip, a_judge_sees_every_part_before_anything_is_given_out)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    size_t files;

    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(mig_bundle_open_judged("d", refuse_key_packages, 0, &reader, &err), MIG_E_REFUSED);
    cr_assert_null(reader);
    cr_assert_not_null(strstr(err.message, "bundle 'd': no key packages"), "%s", err.message);
    judged = 0;
    cr_assert_eq(mig_bundle_open_judged("d", accept, 0, &reader, &err), MIG_OK, "%s", err.message);
    mig_bundle_entries(reader, &files);
    cr_assert_eq(judged, files);
}

Test(round_trip, is_verified_on_no_more_threads_than_asked_for)
{
    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    opener = pthread_self();
    for (int i = 0; i < 20; i++) {
        mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;

        cr_assert_eq(mig_bundle_open_judged("d", accept, 1, &reader, NULL), MIG_OK);
    }
    cr_expect_gt(judged, 0);
    cr_expect_eq(judged_elsewhere, 0);
}
