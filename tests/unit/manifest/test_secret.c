/* Fetching secrets: from where, whose fault, and that none stays behind or is told. */
#include "document.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_ONE "0000000000000000000000000000000000000000000000000000000000000001"
#define ADDRESS_OF_ONE "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
#define SECRET "5ec7e7-of-ours"

/* Stands in for the C library's, to see what the library wipes. */
static char wiped[256];

void explicit_bzero(void *memory, size_t size)
{
    const size_t seen = size < sizeof wiped ? size : sizeof wiped - 1;

    memcpy(wiped, memory, seen);
    wiped[seen] = '\0';
    memset(memory, 0, size);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static char folder[] = "/tmp/manifest-secret-XXXXXX";
static char warning[1024];

static void keep_warning(void *context, enum mig_log_level level, const char *message)
{
    (void) context;
    cr_assert_eq(level, MIG_LOG_WARN);
    snprintf(warning, sizeof warning, "%s", message);
}

static const struct mig_hooks hooks = {.log = keep_warning};

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

static void write_file(const char *name, const char *text, size_t size, mode_t mode)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, size), (ssize_t) size);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

static int resolve(const char *text, struct mig_secret *ret_secret, struct mig_error *err)
{
    char written[128];
    const struct mig_reference reference = {written, folder};

    snprintf(written, sizeof written, "%s", text);
    return mig_reference_resolve(&reference, "keys.payer", &hooks, ret_secret, err);
}

static void assert_resolves(const char *text, const char *expected)
{
    mig_cleanup(mig_secret_release) struct mig_secret secret = {0};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(resolve(text, &secret, &err), MIG_OK, "%s", err.message);
    cr_assert_str_eq(secret.text, expected);
    cr_assert_eq(secret.size, strlen(expected));
}

static void assert_refused(const char *text, int code, const char *said)
{
    struct mig_secret secret = {0};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(resolve(text, &secret, &err), code, "%s", text);
    cr_assert_null(secret.text);
    cr_assert_eq(err.code, code);
    cr_assert_eq(strncmp(err.message, "keys.payer: ", 12), 0, "%s", err.message);
    cr_assert_not_null(strstr(err.message, said), "%s", err.message);
    cr_assert_null(strstr(err.message, "5ec7e7"), "a secret is shown: %s", err.message);
    cr_assert_eq(resolve(text, &secret, NULL), code, "without an error to fill: %s", text);
}

TestSuite(secret, .init = make_folder, .fini = remove_folder);

Test(secret, comes_from_the_environment)
{
    setenv("TEST_SECRET", SECRET, 1);
    assert_resolves("env:TEST_SECRET", SECRET);
}

Test(secret, names_a_variable_that_is_not_set)
{
    struct mig_secret secret = {0};
    struct mig_error err = MIG_ERROR_INIT;

    unsetenv("TEST_SECRET");
    assert_refused("env:TEST_SECRET", MIG_E_USAGE, "TEST_SECRET is not set");
    resolve("env:TEST_SECRET", &secret, &err);
    cr_assert_not_null(strstr(err.hint, "export TEST_SECRET"), "%s", err.hint);
}

Test(secret, is_not_an_empty_text)
{
    setenv("TEST_SECRET", "", 1);
    assert_refused("env:TEST_SECRET", MIG_E_USAGE, "nothing is there");
    write_file("newline", "\r\n", 2, 0600);
    assert_refused("file:newline", MIG_E_USAGE, "nothing is there");
}

Test(secret, comes_from_a_file_beside_the_manifest_without_its_newline)
{
    write_file("unix", SECRET "\n", strlen(SECRET) + 1, 0600);
    write_file("windows", SECRET "\r\n", strlen(SECRET) + 2, 0600);
    write_file("bare", SECRET, strlen(SECRET), 0600);
    assert_resolves("file:unix", SECRET);
    assert_resolves("file:windows", SECRET);
    assert_resolves("file:bare", SECRET);
    cr_assert_str_empty(warning);
}

Test(secret, comes_from_a_file_by_its_whole_path)
{
    char text[128];

    write_file("key", SECRET, strlen(SECRET), 0600);
    snprintf(text, sizeof text, "file:%s/key", folder);
    assert_resolves(text, SECRET);
}

Test(secret, in_a_file_that_everybody_can_read_is_used_with_a_warning)
{
    write_file("open", SECRET, strlen(SECRET), 0644);
    assert_resolves("file:open", SECRET);
    cr_assert_not_null(strstr(warning, "keys.payer"), "%s", warning);
    cr_assert_not_null(strstr(warning, "/open'"), "%s", warning);
    cr_assert_null(strstr(warning, "5ec7e7"));
}

Test(secret, in_a_file_that_its_group_can_read_is_no_matter)
{
    write_file("group", SECRET, strlen(SECRET), 0640);
    assert_resolves("file:group", SECRET);
    cr_assert_str_empty(warning);
}

Test(secret, names_a_file_that_is_not_there)
{
    assert_refused("file:missing.key", MIG_E_USAGE, "/missing.key'");
    assert_refused("file:no/such/folder", MIG_E_USAGE, "no/such/folder");
    assert_refused("file:.", MIG_E_IO, "not a regular file");
}

Test(secret, with_a_nul_inside_is_refused)
{
    write_file("nul", "5ec7e7\0more", 11, 0600);
    assert_refused("file:nul", MIG_E_USAGE, "NUL");
}

Test(secret, in_a_file_has_a_limit)
{
    mig_cleanup(mig_free_text) char *large = calloc(1, 65537);

    memset(large, 'x', 65537);
    write_file("most", large, 65536, 0600);
    write_file("large", large, 65537, 0600);
    assert_resolves("file:most", (large[65536] = '\0', large));
    assert_refused("file:large", MIG_E_NOMEM, "65536");
}

/* A pipe's end to read from, with text in it. */
static int pipe_with(const char *text, size_t size)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], text, size), (ssize_t) size);
    close(ends[1]);
    return ends[0];
}

Test(secret, from_a_descriptor_is_the_same_when_asked_again)
{
    char text[32];

    snprintf(text, sizeof text, "fd:%d", pipe_with(SECRET "\n", strlen(SECRET) + 1));
    assert_resolves(text, SECRET);
    assert_resolves(text, SECRET);
    assert_resolves(text, SECRET);
}

Test(secret, from_a_descriptor_that_is_not_open_is_the_callers_fault)
{
    assert_refused("fd:987", MIG_E_USAGE, "descriptor 987");
}

Test(secret, from_a_descriptor_has_a_limit)
{
    mig_cleanup(mig_free_text) char *large = calloc(1, 65537);
    struct mig_secret secret = {0};
    struct mig_error err = MIG_ERROR_INIT;
    char text[128];
    int fd;

    memset(large, 'x', 65537);
    write_file("large", large, 65537, 0600);
    snprintf(text, sizeof text, "%s/large", folder);
    fd = open(text, O_RDONLY | O_CLOEXEC);
    snprintf(text, sizeof text, "fd:%d", fd);
    cr_assert_eq(resolve(text, &secret, &err), MIG_E_USAGE);
    cr_assert_not_null(strstr(err.message, "more than 65536 bytes"), "%s", err.message);
    close(fd);
}

Test(secret, may_be_a_dsn_as_it_stands)
{
    assert_resolves("host=localhost dbname=v3", "host=localhost dbname=v3");
}

Test(secret, is_wiped_when_released)
{
    struct mig_secret secret = {0};

    setenv("TEST_SECRET", SECRET, 1);
    cr_assert_eq(resolve("env:TEST_SECRET", &secret, NULL), MIG_OK);
    mig_secret_release(&secret);
    cr_assert_str_eq(wiped, SECRET);
    cr_assert_null(secret.text);
    cr_assert_eq(secret.size, 0);
    mig_secret_release(&secret);
}

Test(secret, that_turns_out_to_be_no_secret_is_wiped_too)
{
    struct mig_secret secret = {0};

    write_file("nul", "5ec7e7\0more", 11, 0600);
    cr_assert_eq(resolve("file:nul", &secret, NULL), MIG_E_USAGE);
    cr_assert_str_eq(wiped, "5ec7e7");
}

Test(signers, open_the_keys_of_a_manifest)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good((struct document){
        .keys = "{\"payer\": \"env:TEST_PAYER\", \"originator\": \"env:TEST_ORIGINATOR\"}"});
    mig_cleanup(mig_signer_free) struct mig_signer *payer = NULL;
    mig_cleanup(mig_signer_free) struct mig_signer *originator = NULL;
    char text[MIG_ADDRESS_TEXT_SIZE];

    setenv("TEST_PAYER", "0x" KEY_ONE, 1);
    setenv("TEST_ORIGINATOR", "3333333333333333333333333333333333333333333333333333333333333333",
           1);
    cr_assert_eq(mig_manifest_signers(manifest, NULL, &payer, &originator, NULL), MIG_OK);
    mig_address_format(mig_signer_address(payer), text);
    cr_assert_str_eq(text, ADDRESS_OF_ONE);
    cr_assert_not(mig_address_equal(mig_signer_address(payer), mig_signer_address(originator)));
}

Test(signers, asked_for_one_do_not_need_the_other)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good((struct document){
        .keys = "{\"payer\": \"env:TEST_PAYER\", \"originator\": \"env:TEST_NOT_SET\"}"});
    mig_cleanup(mig_signer_free) struct mig_signer *payer = NULL;
    struct mig_signer *untouched = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    setenv("TEST_PAYER", KEY_ONE, 1);
    cr_assert_eq(mig_manifest_signers(manifest, NULL, &untouched, &payer, &err), MIG_E_USAGE);
    cr_assert_null(untouched);
    cr_assert_null(payer);
    cr_assert_not_null(strstr(err.message, "keys.originator: "), "%s", err.message);
    cr_assert_eq(mig_manifest_signers(manifest, NULL, &payer, NULL, NULL), MIG_OK);
    cr_assert_not_null(payer);
}

Test(signers, refuse_bad_hex_without_showing_it)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = parse_good((struct document){
        .keys = "{\"payer\": \"env:TEST_PAYER\", \"originator\": \"env:TEST_PAYER\"}"});
    mig_cleanup(mig_signer_free) struct mig_signer *payer = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    setenv("TEST_PAYER", "5ec7e7", 1);
    cr_assert_eq(mig_manifest_signers(manifest, NULL, &payer, NULL, &err), MIG_E_USAGE);
    cr_assert_not_null(strstr(err.message, "keys.payer: a key is 64 hexadecimal digits"), "%s",
                       err.message);
    cr_assert_null(strstr(err.message, "5ec7e7"));
}
