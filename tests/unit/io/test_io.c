/* Files that are whole or absent, digests, folders. */
#include "libmigrate/io/io.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "io-test-XXXXXX";

static void enter_folder(void)
{
    cr_assert_eq(chdir(getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir), 0);
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    signal(SIGPIPE, SIG_IGN);
}

static void leave_folder(void)
{
    char command[64];

    cr_assert_eq(chdir(".."), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(io, .init = enter_folder, .fini = leave_folder);

static size_t count_files(void)
{
    DIR *directory = opendir(".");
    size_t count = 0;

    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void assert_content(const char *path, const char *expected)
{
    uint8_t *data = NULL;
    size_t size = 0;

    cr_assert_eq(mig_file_read(path, 1000, &data, &size, NULL, NULL), MIG_OK);
    cr_assert_eq(size, strlen(expected));
    cr_assert_str_eq((char *) data, expected);
    free(data);
}

Test(io, digest_of_pieces_is_the_digest_of_the_whole)
{
    const struct mig_bytes whole = mig_bytes_of_text("abc");
    const struct mig_bytes pieces[] = {mig_bytes_of_text("a"), {0}, mig_bytes_of_text("bc")};
    uint8_t digest[MIG_SHA256_SIZE];
    char text[MIG_SHA256_TEXT_SIZE];

    cr_assert_eq(mig_sha256(&whole, 1, digest, NULL), MIG_OK);
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, text);
    cr_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(mig_sha256(pieces, 3, digest, NULL), MIG_OK);
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, text);
    cr_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(mig_sha256(NULL, 0, digest, NULL), MIG_OK);
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, text);
    cr_assert_str_eq(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(io, a_written_file_is_read_back_with_its_mode)
{
    uint8_t *data = NULL;
    size_t size = 0;
    unsigned mode = 0;

    umask(022);
    cr_assert_eq(mig_file_write("a", mig_bytes_of_text("hello"), NULL), MIG_OK);
    cr_assert_eq(mig_file_read("a", 5, &data, &size, &mode, NULL), MIG_OK);
    cr_assert_eq(size, 5);
    cr_assert_str_eq((char *) data, "hello");
    cr_assert_eq(mode & 07777, 0644);
    free(data);
    cr_assert_eq(mig_file_write("a", mig_bytes_of_text(""), NULL), MIG_OK);
    assert_content("a", "");
    cr_assert_eq(count_files(), 1, "no temporary file may stay behind");
}

Test(io, a_file_above_the_limit_is_not_read)
{
    struct mig_error err = MIG_ERROR_INIT;
    uint8_t *data = NULL;
    size_t size = 7;

    cr_assert_eq(mig_file_write("a", mig_bytes_of_text("123456"), NULL), MIG_OK);
    cr_assert_eq(mig_file_read("a", 5, &data, &size, NULL, &err), MIG_E_NOMEM);
    cr_assert_not_null(strstr(err.message, "'a'"));
    cr_assert_null(data);
    cr_assert_eq(size, 7, "outputs stay untouched on failure");
}

Test(io, a_file_whose_size_is_not_known_beforehand_is_read_up_to_the_limit)
{
    uint8_t *data = NULL;
    size_t size = 0;

    cr_assert_eq(mig_file_read("/proc/self/stat", 4096, &data, &size, NULL, NULL), MIG_OK);
    cr_assert_gt(size, 64, "the first guess at the size of such a file is smaller");
    cr_assert_eq(data[size - 1], '\n');
    free(data);
    cr_assert_eq(mig_file_read("/proc/self/stat", size - 1, &data, &size, NULL, NULL), MIG_E_NOMEM);
}

Test(io, what_is_not_a_regular_file_is_refused)
{
    struct mig_error err = MIG_ERROR_INIT;
    uint8_t *data = NULL;
    size_t size = 0;

    cr_assert_eq(mkfifo("fifo", 0600), 0);
    cr_assert_eq(mig_file_read("fifo", 10, &data, &size, NULL, &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "'fifo': not a regular file"));
    cr_assert_eq(mig_file_read(".", 10, &data, &size, NULL, &err), MIG_E_IO);
    cr_assert_eq(mig_file_read("absent", 10, &data, &size, NULL, &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "'absent': No such file"));
}

Test(io, a_failed_write_leaves_the_old_file_and_nothing_else)
{
    const struct rlimit small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    struct mig_error err = MIG_ERROR_INIT;
    uint8_t large[8192] = {0};

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(mig_file_write("a", mig_bytes_of_text("old"), NULL), MIG_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(mig_file_write("a", (struct mig_bytes){large, sizeof large}, &err), MIG_E_IO);
    cr_assert_str_eq(err.message, "cannot write 'a': File too large");
    assert_content("a", "old");
    cr_assert_eq(count_files(), 1);
}

Test(io, a_full_disk_and_a_closed_pipe_are_told_by_name)
{
    struct mig_error err = MIG_ERROR_INIT;
    FILE *full = fopen("/dev/full", "w");
    int ends[2];

    cr_assert_eq(mig_fd_write(fileno(full), "out", mig_bytes_of_text("x"), &err), MIG_E_IO);
    cr_assert_str_eq(err.message, "cannot write 'out': No space left on device");
    fclose(full);
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    cr_assert_eq(mig_fd_write(ends[1], "out", mig_bytes_of_text("x"), &err), MIG_E_IO);
    cr_assert_str_eq(err.message, "cannot write 'out': Broken pipe");
    close(ends[1]);
}

Test(io, a_file_in_a_missing_folder_can_not_be_written)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_file_write("no/such", mig_bytes_of_text("x"), &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "'no/such'"));
}

Test(io, a_leftover_of_a_killed_process_is_not_in_the_way)
{
    char leftover[64];

    snprintf(leftover, sizeof leftover, "a.%ld-0.tmp", (long) getpid());
    cr_assert_eq(mig_file_write(leftover, mig_bytes_of_text("half"), NULL), MIG_OK);
    cr_assert_eq(mig_file_write("a", mig_bytes_of_text("whole"), NULL), MIG_OK);
    assert_content("a", "whole");
    assert_content(leftover, "half");
}

Test(io, a_folder_is_made_with_its_parents)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct stat status;

    cr_assert_eq(mig_folder_make("a/b//c/", NULL), MIG_OK);
    cr_assert_eq(mig_folder_make("a/b/c", NULL), MIG_OK, "an existing one is fine");
    cr_assert_eq(mig_folder_make("/", NULL), MIG_OK);
    cr_assert_eq(stat("a/b/c", &status), 0);
    cr_assert(S_ISDIR(status.st_mode));
    cr_assert_eq(mig_file_write("a/file", mig_bytes_of_text("x"), NULL), MIG_OK);
    cr_assert_eq(mig_folder_make("a/file", &err), MIG_E_IO);
    cr_assert_not_null(strstr(err.message, "'a/file'"));
    cr_assert_eq(mig_folder_make("a/file/under", &err), MIG_E_IO);
    cr_assert_eq(mig_folder_make("", &err), MIG_E_IO);
}
