/* Everything that a bundle may not be, refused with a story that names the file. */
#include "tests/unit/bundle/sample.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_1 "parts/000001-group_messages-nodes.zst"
#define CHAIN_1 "parts/000001-group_messages-chain.zst"
#define NODES_2 "parts/000002-welcome_messages-nodes.zst"
#define NODES_5 "parts/000005-group_messages-nodes.zst"
#define CHAIN_5 "parts/000005-group_messages-chain.zst"

static void enter(void)
{
    sample_enter();
    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
}

TestSuite(refusals, .init = enter, .fini = sample_leave);

static void expect_refusal(const char *path, bool trust_later, enum mig_code code,
                           const char *words)
{
    struct mig_error err = MIG_ERROR_INIT;
    const int result = sample_read(path, trust_later, MIG_STAGE_ENVELOPES, &err);

    cr_assert_eq(result, code, "%d: %s", result, err.message);
    cr_assert_not_null(strstr(err.message, words), "no \"%s\" in: %s", words, err.message);
    cr_assert_not_null(strstr(err.message, path), "the bundle itself: %s", err.message);
}

/* Runs a shell command on the folder d, which must spoil it. */
static void expect_spoiled(const char *command, const char *words)
{
    cr_assert_eq(system(command), 0, "%s", command);
    expect_refusal("d", false, MIG_E_CORRUPT, words);
}

/* ---- folders ------------------------------------------------------------------------------ */

Test(refusals, a_folder_without_an_index_was_never_finished)
{
    expect_spoiled("rm d/index.json", "no 'index.json': it was never finished");
}

Test(refusals, a_missing_part_is_named)
{
    expect_spoiled("rm d/" NODES_2, "stands where part 000002 belongs");
}

Test(refusals, a_missing_last_part_is_named)
{
    expect_spoiled("rm d/" CHAIN_5, "'" NODES_5 "' counts 3 records for the chain, but their part");
}

Test(refusals, a_missing_pair_at_the_end_is_named)
{
    expect_spoiled("rm d/" CHAIN_5 " d/" NODES_5, NODES_5 "' is in the index, but missing");
}

Test(refusals, an_additional_part_is_named)
{
    expect_spoiled("cp d/" NODES_2 " d/parts/000006-welcome_messages-nodes.zst",
                   "parts/000006-welcome_messages-nodes.zst");
}

Test(refusals, parts_that_changed_places_are_found)
{
    expect_spoiled("cd d && mv " NODES_1 " x && mv " NODES_5 " " NODES_1 " && mv x " NODES_5,
                   "another range than '" NODES_1);
}

Test(refusals, files_of_other_kinds_are_named)
{
    expect_spoiled("touch d/notes.txt", "'notes.txt' is no file of a bundle");
    expect_spoiled("rm d/notes.txt; touch d/parts/.hidden", "'parts/.hidden' is no file");
    expect_spoiled("rm d/parts/.hidden; mkdir d/parts/more", "'parts/more' is no file");
}

Test(refusals, symbolic_links_are_not_followed)
{
    expect_spoiled("cd d && mv " NODES_2 " ../x && ln -s ../../x " NODES_2,
                   NODES_2 "' is a symbolic link");
    cr_assert_eq(system("cd d && rm " NODES_2 " && mv ../x " NODES_2), 0);
    expect_spoiled("mv d/index.json i && ln -s ../i d/index.json",
                   "'index.json' is a symbolic link");
    cr_assert_eq(system("rm d/index.json && mv i d/index.json"), 0);
    expect_spoiled("mv d/parts p && ln -s ../p d/parts", "'parts'");
}

Test(refusals, a_fifo_in_the_place_of_a_part_does_not_hang)
{
    expect_spoiled("cd d && rm " NODES_2 " && mkfifo " NODES_2, NODES_2 "' is not a regular file");
}

Test(refusals, a_part_that_is_cut_off_is_named)
{
    expect_spoiled("truncate -s -1 d/" NODES_1, NODES_1);
    expect_spoiled("truncate -s 0 d/" NODES_1, NODES_1);
}

Test(refusals, a_part_that_goes_on_is_named)
{
    expect_spoiled("printf x >> d/" NODES_1, NODES_1 "': 1 bytes lie behind its zstd frame");
}

Test(refusals, a_part_that_is_too_large_is_not_read)
{
    expect_spoiled("truncate -s 2G d/" NODES_1, NODES_1 "': 2147483648 bytes are more");
}

Test(refusals, what_is_no_bundle_at_all_is_refused)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(system("echo hello > x.tar; : > y.tar; mkdir e; mkfifo f"), 0);
    expect_refusal("x.tar", false, MIG_E_CORRUPT, "tar");
    expect_refusal("y.tar", false, MIG_E_CORRUPT, "tar");
    expect_refusal("e", false, MIG_E_CORRUPT, "index.json");
    expect_refusal("f", false, MIG_E_IO, "neither a folder nor a regular file");
    expect_refusal("absent", false, MIG_E_IO, "No such file");
    (void) err;
}

/* ---- header and index --------------------------------------------------------------------- */

/* Replaces text in a sealed file and seals it anew, as somebody who means harm would. */
static void forge(const char *path, const char *from, const char *to)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer file = sample_file(path);
    mig_cleanup(mig_buffer_release) struct mig_buffer forged = MIG_BUFFER_INIT(1 << 20);
    const char *text = (const char *) file.data, *place = strstr(text, from);
    const char *sealed = strstr(text, "\"sha256\":\"");
    char digest[65];

    for (const char *next = sealed; next; next = strstr(next + 1, "\"sha256\":\""))
        sealed = next;
    cr_assert_not_null(place, "no %s in %s", from, path);
    cr_assert_lt((uintptr_t) place, (uintptr_t) sealed);
    mig_buffer_append(&forged, text, (size_t) (place - text), NULL);
    mig_buffer_append(&forged, to, strlen(to), NULL);
    place += strlen(from);
    mig_buffer_append(&forged, place, (size_t) (sealed - place), NULL);
    cr_assert_eq(bundle_digest(mig_buffer_bytes(&forged), digest, NULL), MIG_OK);
    mig_buffer_print(&forged, NULL, "\"sha256\":\"%s\"}\n", digest);
    sample_put_file(path, mig_buffer_bytes(&forged));
}

Test(refusals, a_newer_version_is_refused_by_its_number)
{
    forge("d/index.json", "bundle/1", "bundle/12");
    expect_refusal("d", false, MIG_E_REFUSED, "'index.json': version 12 of the bundle format");
    cr_assert_eq(system("cd d && tar cf ../late.tar header.json parts/*1-*nodes.zst "
                        "parts/*1-*chain.zst index.json"),
                 0);
    forge("d/header.json", "bundle/1", "bundle/2");
    expect_refusal("d", false, MIG_E_REFUSED, "'header.json': version 2 of the bundle format");
    sample_input("late.tar");
    expect_refusal("-", true, MIG_E_REFUSED, "version 12");
}

Test(refusals, a_newer_version_is_told_even_when_its_seal_is_another)
{
    cr_assert_eq(system("sed -i s,bundle/1,bundle/3, d/header.json"), 0);
    expect_refusal("d", false, MIG_E_REFUSED, "version 3");
}

Test(refusals, header_and_index_must_agree)
{
    forge("d/header.json", "correct", "xmtpd");
    expect_refusal("d", false, MIG_E_CORRUPT, "header and index disagree on 'profile'");
}

Test(refusals, a_forged_index_does_not_stand_against_the_parts)
{
    static const struct {
        const char *from, *to, *words;
    } forgeries[] = {
        {"\"first_id\":1,\"last_id\":0,", "\"first_id\":0,\"last_id\":0,",
         "its first_id is not what the index says"},
        {"\"settled\":true", "\"settled\":false", "another range"},
        {"\"for_nodes\":5", "\"for_nodes\":4", "don't close"},
        {"\"file_bytes\":", "\"file_bytes\":1", "file_bytes is not what"},
        {"\"rows\":", "\"rows\":1", "its tally counts"},
        {"\"chain\":false", "\"chain\":true", "are not what its name says"},
        {"000001-group_messages-nodes", "../../../../etc/passwd", "stands where"},
        {"{\"name\"", "{\"more\":1,\"name\"", "not written as its own values would be"},
        {"\"first_id\":1,", "\"first_id\": 1,", "not written as its own values would be"},
        {"\"first_id\":1,", "\"first_id\":1e0,", "'first_id' is of another type"},
        {"\"last_id\":60", "\"last_id\":99999999999999999999", "'000001"},
        {"\"last_id\":60", "\"last_id\":59", "another range"},
        {"\"run\":", "\"ran\":", "'run' is missing"},
        {"\"as_of\":\"2026", "\"as_of\":\"9026", "'as_of' has a value that may not be"},
        {"\"stage\":\"envelopes\"", "\"stage\":\"rows\"", "stands where"},
        {"\"table\":\"group_messages\"", "\"table\":\"commit_log_v2\"", "'table' has a value"},
        {"\"parts\":[\n", "\"parts\":[", "line 3 is not"},
        {"commit 17", "commit 17\\u0000", "not written as its own values would be"},
        {"\"remedy\":\"wait", "\"remedx\":\"wait", "'remedy' is missing"},
        {"\n\"tally\":", "\n\"tallx\":", "does not begin with"},
    };
    mig_cleanup(mig_buffer_release) struct mig_buffer good = sample_file("d/index.json");

    for (size_t i = 0; i < mig_count_of(forgeries); i++) {
        const char *words = forgeries[i].words;

        sample_put_file("d/index.json", mig_buffer_bytes(&good));
        forge("d/index.json", forgeries[i].from, forgeries[i].to);
        expect_refusal("d", false, MIG_E_CORRUPT, words[0] == '\'' && words[1] == '0' ? "" : words);
    }
}

Test(refusals, the_digest_line_must_be_there_and_right)
{
    expect_spoiled("truncate -s -1 d/index.json", "'index.json': its last line is not its SHA-256");
    expect_spoiled("truncate -s 10 d/index.json", "'index.json'");
    expect_spoiled(": > d/index.json", "'index.json'");
}

Test(refusals, json_that_nests_or_grows_without_bound_is_not_taken)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer deep = MIG_BUFFER_INIT(1 << 20);

    for (int i = 0; i < 200; i++)
        mig_buffer_append(&deep, "{\"a\":[", 6, NULL);
    mig_buffer_append(&deep, "", 1, NULL);
    forge("d/index.json", "{\"name\"", (const char *) deep.data);
    expect_refusal("d", false, MIG_E_CORRUPT, "line 4: not a JSON object");
}

/* ---- tars --------------------------------------------------------------------------------- */

struct member {
    const char *name;
    const char *file; /* in d; NULL: what kind and name say */
    unsigned kind;
    const char *link;
};

static void write_tar(const char *path, const struct member *members, size_t count)
{
    struct archive *tar = archive_write_new();

    archive_write_set_format_pax_restricted(tar);
    cr_assert_eq(archive_write_open_filename(tar, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        mig_cleanup(mig_buffer_release) struct mig_buffer file = MIG_BUFFER_INIT(0);
        char from[200];

        snprintf(from, sizeof from, "d/%s", members[i].file ? members[i].file : "header.json");
        file = sample_file(from);
        archive_entry_set_pathname(entry, members[i].name);
        archive_entry_set_filetype(entry, members[i].kind ? members[i].kind : AE_IFREG);
        if (members[i].kind == AE_IFLNK)
            archive_entry_set_symlink(entry, members[i].link);
        else if (members[i].link)
            archive_entry_set_hardlink(entry, members[i].link);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, members[i].file ? (la_int64_t) file.size : 0);
        cr_assert_eq(archive_write_header(tar, entry), ARCHIVE_OK, "%s", archive_error_string(tar));
        if (members[i].file)
            cr_assert_eq(archive_write_data(tar, file.data, file.size), (la_ssize_t) file.size);
        archive_entry_free(entry);
    }
    cr_assert_eq(archive_write_free(tar), ARCHIVE_OK);
}

#define HEADER                                                                                     \
    {                                                                                              \
        "header.json", "header.json", 0, NULL                                                      \
    }

static void expect_tar_refused(const struct member *members, size_t count, const char *words)
{
    write_tar("x.tar", members, count);
    expect_refusal("x.tar", false, MIG_E_CORRUPT, words);
    sample_input("x.tar");
    expect_refusal("-", false, MIG_E_CORRUPT, words);
    sample_input("x.tar");
    expect_refusal("-", true, MIG_E_CORRUPT, words);
    unlink("x.tar");
}

Test(refusals, names_that_lead_elsewhere_are_refused)
{
    static const char *const names[] = {
        "/etc/passwd",
        "../header.json",
        "parts/../index.json",
        "parts/../../x.zst",
        "./header.json",
        "parts/a/b.zst",
        "parts/.zst",
        "parts/x.zst.tmp",
        "parts//x.zst",
        "header.json ",
        "PARTS/x.zst",
        "x",
        "parts/a.zst\nb",
        "parts/\033[31m.zst",
        "parts/x\\..\\y.zst",
        "parts/"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaa.zst",
    };

    for (size_t i = 0; i < mig_count_of(names); i++) {
        const struct member members[] = {HEADER, {names[i], NODES_1, 0, NULL}};

        expect_tar_refused(members, 2, "is no file of a bundle");
    }
}

Test(refusals, a_hostile_name_does_not_reach_the_terminal_as_it_is)
{
    const struct member members[] = {HEADER, {"parts/\033[31m.zst", NODES_1, 0, NULL}};
    struct mig_error err = MIG_ERROR_INIT;

    write_tar("x.tar", members, 2);
    cr_assert_eq(sample_read("x.tar", false, MIG_STAGE_ENVELOPES, &err), MIG_E_CORRUPT);
    cr_assert_null(strchr(err.message, '\033'));
    cr_assert_not_null(strstr(err.message, "'parts/?[31m.zst'"));
}

Test(refusals, entries_of_a_tar_must_be_regular_files)
{
    const struct member kinds[] = {
        {NODES_1, NULL, AE_IFLNK, "/etc/passwd"},
        {NODES_1, NULL, AE_IFREG, "header.json"},
        {NODES_1, NULL, AE_IFIFO, NULL},
        {NODES_1, NULL, AE_IFCHR, NULL},
    };

    for (size_t i = 0; i < mig_count_of(kinds); i++) {
        const struct member members[] = {HEADER, kinds[i]};

        expect_tar_refused(members, 2, NODES_1 "' is not a regular file");
    }
}

Test(refusals, a_tar_has_its_files_in_one_order_only)
{
    const struct member first = {NODES_1, NODES_1, 0, NULL}, chain = {CHAIN_1, CHAIN_1, 0, NULL};
    const struct member second = {NODES_2, NODES_2, 0, NULL};
    const struct member index = {"index.json", "index.json", 0, NULL};
    const struct {
        struct member members[5];
        size_t count;
        const char *words;
    } orders[] = {
        {{first, HEADER}, 2, "does not begin with 'header.json'"},
        {{HEADER, HEADER}, 2, "a second 'header.json'"},
        {{HEADER, first}, 2, "no 'index.json'"},
        {{HEADER, first, index}, 3, "'" NODES_1 "' counts 5 records for the chain, but their part"},
        {{HEADER, first, chain, first}, 4, "'" NODES_1 "' stands where"},
        {{HEADER, chain}, 2, "'" CHAIN_1 "' stands where"},
        {{HEADER, second}, 2, "'" NODES_2 "' stands where"},
        {{HEADER, first, second}, 3, "'" NODES_2 "' stands where '" CHAIN_1 "' belongs"},
        {{HEADER, first, chain, index}, 4, "'" NODES_2 "' is in the index, but missing"},
    };

    for (size_t i = 0; i < mig_count_of(orders); i++)
        expect_tar_refused(orders[i].members, orders[i].count, orders[i].words);
}

Test(refusals, nothing_may_follow_the_index)
{
    cr_assert_eq(sample_write("good.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(system("cp good.tar x.tar && cp d/header.json . && tar rf x.tar header.json"), 0);
    expect_refusal("x.tar", false, MIG_E_CORRUPT, "'header.json' comes after the index");
    cr_assert_eq(system("cp good.tar x.tar && truncate -s +3M x.tar"), 0);
    expect_refusal("x.tar", false, MIG_E_CORRUPT, "goes on after its end");
}

Test(refusals, a_tar_that_is_cut_off_names_the_part)
{
    cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    cr_assert_eq(system("truncate -s 3000 x.tar"), 0);
    expect_refusal("x.tar", false, MIG_E_CORRUPT, NODES_1);
}

Test(refusals, a_bundle_that_changes_after_it_was_verified_is_found)
{
    static const char *const changes[] = {
        ("cp d/" NODES_2 " d/" NODES_1),
        ("rm d/" NODES_1),
        "printf x >> d/index.json",
    };

    for (size_t i = 0; i < mig_count_of(changes); i++) {
        mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
        int result = MIG_OK;
        bool more = true;

        cr_assert_eq(system("rm -rf d"), 0);
        cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
        cr_assert_eq(mig_bundle_open("d", false, &reader, NULL), MIG_OK);
        cr_assert_eq(system(changes[i]), 0);
        while (result == MIG_OK && more) {
            mig_cleanup(mig_part_free) struct mig_part *part = NULL;

            result = mig_bundle_next(reader, &part, NULL, NULL);
            more = part != NULL;
        }
        cr_assert_neq(result, MIG_OK, "%s", changes[i]);
    }
}
