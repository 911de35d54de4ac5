/* Damage at random places, the same places in every run: a bundle is refused or it is what it was.
 */
#include "tests/unit/bundle/sample.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(damage, .init = sample_enter, .fini = sample_leave, .timeout = 300);

#define TRIALS 400

/* xorshift64*, so that the places are the same everywhere. */
static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static size_t random_below(size_t end)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t) ((random_state * UINT64_C(2685821657736338717)) % end);
}

static int read_damaged(const char *path, bool as_stream, bool trust_later, struct mig_error *err)
{
    if (!as_stream)
        return sample_read(path, false, MIG_STAGE_ENVELOPES, err);
    sample_input(path);
    return sample_read("-", trust_later, MIG_STAGE_ENVELOPES, err);
}

/* Tries one damaged version of a file. Gives whether the bundle was still read. */
static bool try_damage(const char *file, struct mig_bytes damaged, const char *path, bool as_stream,
                       bool trust_later)
{
    struct mig_error err = MIG_ERROR_INIT;
    int result;

    sample_put_file(file, damaged);
    result = read_damaged(path, as_stream, trust_later, &err);
    if (result == MIG_OK)
        return true;
    cr_assert(result == MIG_E_CORRUPT || result == MIG_E_REFUSED, "%s: %d %s", file, result,
              err.message);
    cr_assert_neq(err.message[0], '\0');
    return false;
}

static bool flip_a_bit(const char *file, struct mig_buffer *good, const char *path, bool as_stream,
                       bool trust_later)
{
    const size_t place = random_below(good->size);
    const uint8_t bit = (uint8_t) (1u << random_below(8));
    bool read;

    good->data[place] ^= bit;
    read = try_damage(file, mig_buffer_bytes(good), path, as_stream, trust_later);
    good->data[place] ^= bit;
    return read;
}

static bool cut_off(const char *file, const struct mig_buffer *good, const char *path,
                    bool as_stream, bool trust_later)
{
    return try_damage(file, (struct mig_bytes){good->data, random_below(good->size)}, path,
                      as_stream, trust_later);
}

static size_t list_files(char names[20][300])
{
    DIR *directory = opendir("d/parts");
    size_t count = 2;

    strcpy(names[0], "d/header.json");
    strcpy(names[1], "d/index.json");
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            snprintf(names[count++], 300, "d/parts/%s", entry->d_name);
    closedir(directory);
    return count;
}

Test(damage, every_flipped_bit_and_every_cut_in_a_folder_is_found)
{
    char names[20][300];
    size_t count;

    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    count = list_files(names);
    for (int i = 0; i < TRIALS; i++) {
        const char *file = names[random_below(count)];
        mig_cleanup(mig_buffer_release) struct mig_buffer good = sample_file(file);

        cr_assert(!flip_a_bit(file, &good, "d", false, false), "a flipped bit in %s", file);
        cr_assert(!cut_off(file, &good, "d", false, false), "%s cut off", file);
        sample_put_file(file, mig_buffer_bytes(&good));
    }
    cr_assert_eq(sample_read("d", false, MIG_STAGE_ENVELOPES, NULL), MIG_OK);
}

Test(damage, every_bit_of_header_and_index_counts)
{
    static const char *const files[] = {"d/header.json", "d/index.json"};

    cr_assert_eq(sample_write("d", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    for (size_t i = 0; i < mig_count_of(files); i++) {
        mig_cleanup(mig_buffer_release) struct mig_buffer good = sample_file(files[i]);
        struct mig_bundle_facts facts;

        for (size_t bit = 0; bit < good.size * 8; bit++) {
            mig_cleanup(bundle_index_release) struct bundle_index index = {0};

            good.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
            cr_assert_neq(i == 0 ? bundle_parse_header(mig_buffer_bytes(&good), &facts, NULL)
                                 : bundle_parse_index(mig_buffer_bytes(&good), &index, NULL),
                          MIG_OK, "bit %zu of %s", bit, files[i]);
            good.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
    }
}

Test(damage, a_damaged_tar_is_refused_or_still_what_it_was)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer good = MIG_BUFFER_INIT(0);
    size_t read = 0;

    cr_assert_eq(sample_write("good.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    good = sample_file("good.tar");
    for (int i = 0; i < TRIALS; i++) {
        read += flip_a_bit("x.tar", &good, "x.tar", false, false);
        cut_off("x.tar", &good, "x.tar", false, false);
        read += flip_a_bit("x.tar", &good, "x.tar", true, true);
        cut_off("x.tar", &good, "x.tar", true, true);
    }
    cr_assert_lt(read, TRIALS, "most bits of a tar are contents or in a checksum");
}

Test(damage, a_spooled_stream_is_verified_like_a_file)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer good = MIG_BUFFER_INIT(0);

    cr_assert_eq(sample_write("good.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    good = sample_file("good.tar");
    for (int i = 0; i < TRIALS / 10; i++)
        flip_a_bit("x.tar", &good, "x.tar", true, false);
}

/* Where the entry of a tar that begins at a place ends. */
static size_t end_of_entry(const struct mig_buffer *tar, size_t begin)
{
    const size_t size = strtoull((const char *) tar->data + begin + 124, NULL, 8);

    cr_assert_lt(begin + 512 + size, tar->size);
    return begin + 512 + (size + 511) / 512 * 512;
}

/* The writer's end stays open and silent: who waited for the stream's end would wait for ever. */
Test(damage, in_a_stream_is_found_while_it_still_comes_in)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_buffer tar;
    size_t part, end;
    int ends[2];

    cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
    tar = sample_file("x.tar");
    part = end_of_entry(&tar, 0);
    end = end_of_entry(&tar, part);
    tar.data[part + 512 + 12] ^= 0x40;
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], tar.data, end), (ssize_t) end);
    cr_assert_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(sample_read("-", false, MIG_STAGE_ENVELOPES, &err), MIG_E_CORRUPT, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, "000001-"), "%s", err.message);
    close(ends[1]);
    mig_buffer_release(&tar);
}

/* Parts are decoded side by side, and the later one may be done first. */
Test(damage, of_several_parts_is_told_of_the_first)
{
    for (int trial = 0; trial < 20; trial++) {
        struct mig_error err = MIG_ERROR_INIT;
        struct mig_buffer tar;
        size_t part;

        cr_assert_eq(system("rm -f x.tar"), 0);
        cr_assert_eq(sample_write("x.tar", MIG_STAGE_ENVELOPES, NULL), MIG_OK);
        tar = sample_file("x.tar");
        part = end_of_entry(&tar, 0);
        for (int i = 0; i < 4; i++, part = end_of_entry(&tar, part))
            tar.data[part + 512 + 12] ^= 0x40;
        sample_put_file("x.tar", mig_buffer_bytes(&tar));
        cr_assert_eq(sample_read("x.tar", false, MIG_STAGE_ENVELOPES, &err), MIG_E_CORRUPT);
        cr_assert_not_null(strstr(err.message, "'parts/000001-"), "%s", err.message);
        mig_buffer_release(&tar);
    }
}
