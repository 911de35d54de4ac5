/* Writing where it can't be done, where something is already, and after something went wrong. */
#include "tests/unit/bundle/sample.h"

#include "libmigrate/io/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(writing, .init = sample_enter, .fini = sample_leave);

static void expect_failure(const char *path, enum mig_code code, const char *words)
{
    struct mig_error err = MIG_ERROR_INIT;
    const int result = sample_write(path, MIG_STAGE_ENVELOPES, &err);

    cr_assert_eq(result, code, "%d: %s", result, err.message);
    cr_assert_not_null(strstr(err.message, words), "no \"%s\" in: %s", words, err.message);
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

Test(writing, a_bundle_that_exists_is_not_written_over)
{
    static const char *const paths[] = {"d", "x.tar"};

    for (size_t i = 0; i < mig_count_of(paths); i++) {
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(sample_write(paths[i], MIG_STAGE_ENVELOPES, NULL), MIG_OK);
        expect_failure(paths[i], MIG_E_USAGE, "exists");
        cr_assert_eq(sample_write(paths[i], MIG_STAGE_ENVELOPES, &err), MIG_E_USAGE);
        cr_assert_neq(err.hint[0], '\0');
        cr_assert_eq(sample_write(paths[i], MIG_STAGE_ENVELOPES, NULL), MIG_E_USAGE,
                     "also for who does not ask for the story");
        cr_assert_eq(sample_read(paths[i], false, MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    }
    cr_assert(!exists("x.tar.unfinished"));
}

Test(writing, an_unfinished_folder_is_cleaned_and_written_anew)
{
    size_t removed;

    cr_assert_eq(sample_write("d", MIG_STAGE_ROWS, NULL), MIG_OK);
    cr_assert_eq(system("cd d && rm index.json && cp header.json header.json.77-0.tmp && "
                        "cp parts/000001*.zst parts/000009-inbox_log-nodes.zst.78-1.tmp"),
                 0);
    cr_assert_eq(mig_bundle_try("d", &removed, NULL), MIG_OK);
    cr_assert_gt(removed, 4);
    cr_assert_eq(mig_bundle_try("d", &removed, NULL), MIG_OK);
    cr_assert_eq(removed, 0);
    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(sample_read("d", false, MIG_STAGE_ENVELOPES, NULL), MIG_OK);
}

Test(writing, a_folder_with_other_things_is_left_alone)
{
    static const char *const others[] = {"notes.txt", "parts/notes.zst.txt", "parts/sub/x",
                                         "x.tmp"};

    cr_assert_eq(system("mkdir -p d/parts/sub"), 0);
    for (size_t i = 0; i < mig_count_of(others); i++) {
        char path[64];

        cr_assert_eq(system("rm -rf d && mkdir -p d/parts/sub && rmdir d/parts/sub"), 0);
        cr_assert_eq(mig_file_write("d/header.json", mig_bytes_of_text("old"), NULL), MIG_OK);
        snprintf(path, sizeof path, "d/%s", others[i]);
        if (strstr(path, "/sub/"))
            cr_assert_eq(mkdir("d/parts/sub", 0700), 0);
        cr_assert_eq(mig_file_write(path, mig_bytes_of_text("mine"), NULL), MIG_OK);
        expect_failure("d", MIG_E_USAGE, "which is no file of a bundle");
        cr_assert(exists(path));
        cr_assert(exists("d/header.json"), "nothing is removed before all is looked at");
    }
}

Test(writing, a_link_in_the_place_of_the_parts_is_not_followed)
{
    cr_assert_eq(system("mkdir d other && touch other/000001-inbox_log-rows.zst && "
                        "ln -s ../other d/parts"),
                 0);
    expect_failure("d", MIG_E_IO, "'d/parts'");
    cr_assert(exists("other/000001-inbox_log-rows.zst"));
}

Test(writing, what_was_not_committed_is_no_bundle)
{
    static const char *const paths[] = {"d", "x.tar"};

    for (size_t i = 0; i < mig_count_of(paths); i++) {
        mig_cleanup(mig_part_free) struct mig_part *part = sample_part(MIG_STAGE_ROWS, 0);
        const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ROWS);
        struct mig_bundle_writer *writer = NULL;

        cr_assert_eq(mig_bundle_create(paths[i], &facts, &writer, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_add(writer, part, NULL), MIG_OK);
        mig_bundle_writer_free(&writer);
        cr_assert_null(writer);
        cr_assert_neq(sample_read(paths[i], false, MIG_STAGE_ROWS, NULL), MIG_OK);
        cr_assert_eq(sample_write(paths[i], MIG_STAGE_ROWS, NULL), MIG_OK);
    }
    cr_assert(!exists("x.tar.unfinished"));
}

Test(writing, a_second_writer_at_the_same_place_is_kept_out)
{
    static const char *const paths[] = {"d", "x.tar"};

    for (size_t i = 0; i < mig_count_of(paths); i++) {
        const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ROWS);
        mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;

        cr_assert_eq(mig_bundle_create(paths[i], &facts, &writer, NULL), MIG_OK);
        expect_failure(paths[i], MIG_E_TEMPORARY, "another process writes");
        cr_assert_eq(mig_bundle_commit(writer, NULL, NULL), MIG_OK, "the first is not disturbed");
    }
}

Test(writing, what_a_killed_writer_left_of_a_tar_is_written_over)
{
    size_t removed;

    cr_assert_eq(system("head -c 100000 /dev/urandom > x.tar.unfinished"), 0);
    cr_assert_eq(mig_bundle_try("x.tar", &removed, NULL), MIG_OK);
    cr_assert_eq(removed, 1);
    cr_assert(!exists("x.tar.unfinished"));
    cr_assert_eq(mig_bundle_try("x.tar", &removed, NULL), MIG_OK);
    cr_assert_eq(removed, 0);
    cr_assert_eq(system("head -c 100000 /dev/urandom > x.tar.unfinished"), 0);
    cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(sample_read("x.tar", false, MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert(!exists("x.tar.unfinished"));
}

Test(writing, a_full_disk_is_told_by_path_and_leaves_no_bundle)
{
    const struct rlimit small = {.rlim_cur = 2048, .rlim_max = RLIM_INFINITY};
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_failure("d", MIG_E_IO, "'d/parts/000001-group_messages-nodes.zst': File too large");
    expect_failure("x.tar", MIG_E_IO, "'x.tar': File too large");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    cr_assert(!exists("x.tar") && !exists("x.tar.unfinished") && !exists("d/index.json"));
    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK, "it can be taken up");
    cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
}

Test(writing, a_part_that_could_not_be_written_fails_every_later_call)
{
    const struct rlimit small = {.rlim_cur = 1024, .rlim_max = RLIM_INFINITY};
    const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ROWS);
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    mig_cleanup(mig_part_free) struct mig_part *one = sample_rows(MIG_TABLE_GROUP_MESSAGES, 1, 60);
    mig_cleanup(mig_part_free) struct mig_part *two = sample_rows(MIG_TABLE_INBOX_LOG, 1, 60);
    mig_cleanup(mig_part_free) struct mig_part *three = sample_rows(MIG_TABLE_KEY_PACKAGES, 1, 60);
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_bundle_create("d", &facts, &writer, NULL), MIG_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(mig_bundle_add(writer, one, NULL), MIG_OK, "it is not written yet");
    cr_assert_eq(mig_bundle_add(writer, two, &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "000001-group_messages-rows.zst"), "%s", err.message);
    cr_assert_eq(mig_bundle_add(writer, three, NULL), MIG_E_IO);
    err = MIG_ERROR_INIT;
    cr_assert_eq(mig_bundle_commit(writer, NULL, &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "000001-group_messages-rows.zst"), "%s", err.message);
    cr_assert(!exists("d/index.json"));
}

static void output_to(int fd)
{
    cr_assert_geq(fd, 0);
    cr_assert_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    close(fd);
}

Test(writing, a_stream_to_a_full_disk_fails)
{
    output_to(open("/dev/full", O_WRONLY | O_CLOEXEC));
    expect_failure("-", MIG_E_IO, "'-': No space left on device");
}

Test(writing, a_stream_that_nobody_reads_fails)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    output_to(ends[1]);
    expect_failure("-", MIG_E_IO, "'-': Broken pipe");
}

Test(writing, a_stream_that_can_not_be_spooled_fails)
{
    const struct rlimit small = {.rlim_cur = 2048, .rlim_max = RLIM_INFINITY};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    sample_input("x.tar");
    setenv("TMPDIR", ".", 1);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(sample_read("-", false, MIG_STAGE_ENVELOPES, &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "xmtp-migrate-"), "%s", err.message);
    cr_assert_not_null(strstr(err.hint, "TMPDIR"));
    unsetenv("TMPDIR");
}

Test(writing, a_place_that_is_not_there_is_named)
{
    expect_failure("no/such/x.tar", MIG_E_IO, "'no/such/x.tar.unfinished': No such file");
    cr_assert_eq(mig_file_write("file", mig_bytes_of_text("x"), NULL), MIG_OK);
    expect_failure("file", MIG_E_IO, "'file'");
    expect_failure("file/d", MIG_E_IO, "'file");
}

Test(writing, ranges_with_a_gap_or_an_overlap_are_not_written)
{
    static const int64_t starts[] = {62, 60, 1};

    for (size_t i = 0; i < mig_count_of(starts); i++) {
        const struct mig_bundle_facts facts = sample_facts(MIG_STAGE_ROWS);
        mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
        mig_cleanup(mig_part_free) struct mig_part *one =
            sample_rows(MIG_TABLE_GROUP_MESSAGES, 1, 60);
        mig_cleanup(mig_part_free) struct mig_part *other =
            sample_rows(MIG_TABLE_GROUP_MESSAGES, starts[i], 90);
        struct mig_error err = MIG_ERROR_INIT;

        cr_assert_eq(mig_bundle_create("d", &facts, &writer, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_add(writer, one, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_add(writer, other, &err), MIG_E_CORRUPT);
        cr_assert_not_null(strstr(err.message, "the part before it ended at 60"));
    }
}
