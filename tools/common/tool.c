/* The verb table's dispatcher, and the one place where a failure becomes text and an exit status.
 */
#include "tools/common/tool_private.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* ---- help --------------------------------------------------------------------------------- */

static void print_usage(FILE *out, const char *tool, const struct tool_verb *verb)
{
    fprintf(out, "%s%s%s%s%s", tool, verb->name[0] ? " " : "", verb->name,
            verb->arguments && verb->arguments[0] ? " " : "",
            verb->arguments ? verb->arguments : "");
}

static void print_verb(FILE *out, const char *tool, const struct tool_verb *verb)
{
    fprintf(out, "usage: ");
    print_usage(out, tool, verb);
    fprintf(out, " [OPTION ...]\n\n%s\n", verb->summary);
    if (verb->options && verb->options->name) {
        fprintf(out, "\n");
        options_print(out, verb->options);
    }
    fprintf(out, "\nexample:\n  %s %s\n", tool, verb->example);
}

static void print_tool(FILE *out, const char *tool, const struct tool_verb *verbs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, i == 0 ? "usage: " : "       ");
        print_usage(out, tool, &verbs[i]);
        fprintf(out, " [OPTION ...]\n");
    }
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "\n%s\n", verbs[i].summary);
        options_print(out, verbs[i].options);
        fprintf(out, "  example: %s %s\n", tool, verbs[i].example);
    }
}

static void print_help(const char *tool, const struct tool_verb *verbs, size_t count,
                       const struct tool_verb *verb)
{
    if (verb && (verb->name[0] || count == 1))
        print_verb(stdout, tool, verb);
    else
        print_tool(stdout, tool, verbs, count);
    printf("\nall verbs:\n");
    options_print_common(stdout);
    printf(
        "\nexit: 0 done and proved, 1 failed, 2 usage or manifest, 3 differences, 4 partial\n"
        "      (rejected rows not waived), 5 temporary: run again, 130 interrupted: resumable\n");
}

/* ---- verbs -------------------------------------------------------------------------------- */

/* How many of argv's words name the verb: 1 or 2, 0 for the verb without a name, -1 for none. */
static int match(const struct tool_verb *verb, int argc, char **argv)
{
    char two[128];

    if (!verb->name[0])
        return 0;
    if (argc > 0 && strcmp(argv[0], verb->name) == 0)
        return 1;
    if (argc > 1 && snprintf(two, sizeof two, "%s %s", argv[0], argv[1]) < (int) sizeof two &&
        strcmp(two, verb->name) == 0)
        return 2;
    return -1;
}

static const struct tool_verb *find(const struct tool_verb *verbs, size_t count, int argc,
                                    char **argv, int *ret_words)
{
    const struct tool_verb *best = NULL;

    *ret_words = -1;
    for (size_t i = 0; i < count; i++)
        if (match(&verbs[i], argc, argv) > *ret_words) {
            best = &verbs[i];
            *ret_words = match(best, argc, argv);
        }
    return best;
}

static int unknown(const char *tool, const struct tool_verb *verbs, size_t count, int argc,
                   char **argv, struct mig_error *err)
{
    char list[300] = "";
    size_t used = 0;

    if (argc > 0)
        mig_fail(err, MIG_E_USAGE, "unknown %s '%s'", argv[0][0] == '-' ? "option" : "verb",
                 argv[0]);
    else
        mig_fail(err, MIG_E_USAGE, "no verb given");
    for (size_t i = 0; i < count && used < sizeof list; i++)
        used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                  verbs[i].name);
    return mig_hint(err, "verbs of %s: %s; --help tells more", tool, list);
}

/* Takes the verb's words out of argv; its options may stand before it or behind it. */
static void drop_words(int *argc, char **argv, int at, int words)
{
    memmove(argv + at, argv + at + words, (size_t) (*argc - at - words + 1) * sizeof *argv);
    *argc -= words;
}

static int run(struct tool *tool, const struct tool_verb *verbs, size_t count, int argc,
               char **argv, struct mig_error *err)
{
    static const struct tool_verb none = {.name = "", .arguments = "VERB"};
    const int at = 1 + options_leading(argc - 1, argv + 1);
    const struct tool_verb *verb;
    struct settings settings;
    int words, first, code;

    verb = find(verbs, count, argc - at, argv + at, &words);
    if (!verb && at < argc)
        return unknown(tool->name, verbs, count, argc - at, argv + at, err);
    if (words > 0)
        drop_words(&argc, argv, at, words);
    if ((code = options_read(tool, verb ? verb : &none, argc, argv, &settings, &first, err)))
        return code;
    if (settings.help) {
        print_help(tool->name, verbs, count, verb);
        return MIG_OK;
    }
    if (settings.version)
        return tool_print(err, "%s %s", tool->name, TOOL_VERSION);
    if (!verb)
        return unknown(tool->name, verbs, count, 0, NULL, err);
    progress_start(tool, settings.progress, settings.json_log);
    return verb->run(tool, argc - first, argv + first, err);
}

/* What one part leaves the next one takes at once: given back to the system in between, its pages
 * would be cleared anew each time, which took as long as reading a bundle. One heap for all
 * threads, because parts are made by one and freed by another. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
#endif
}

int tool_main(const char *name, const struct tool_verb *verbs, size_t count, int argc, char **argv)
{
    static struct mig_stop stop;
    struct mig_error err = MIG_ERROR_INIT;
    struct tool tool = {.name = name, .stop = &stop, .log_level = MIG_LOG_INFO};
    int code;

    keep_memory();
    output_start();
    signals_start(&stop);
    progress_start(&tool, PROGRESS_AUTO, options_want_json_log(argc, argv));
    code = run(&tool, verbs, count, argc, argv, &err);
    progress_stop();
    if (code == MIG_OK)
        code = output_finish(&err);
    if (code == MIG_OK)
        return 0;
    progress_say("error", "%s", err.message);
    if (err.hint[0])
        progress_say("hint", "%s", err.hint);
    return mig_code_info((enum mig_code) code)->exit_status;
}

/* ---- the manifest ------------------------------------------------------------------------- */

int tool_manifest(struct tool *tool, struct mig_manifest **ret_manifest, struct mig_error *err)
{
    struct mig_problems problems = {0};
    int code;

    if (!tool->manifest_path) {
        mig_fail(err, MIG_E_USAGE, "no manifest given");
        return mig_hint(err, "name it with --manifest FILE or in XMTP_MANIFEST");
    }
    code = mig_manifest_load(tool->manifest_path, ret_manifest, &problems, err);
    for (size_t i = 0; i < problems.count; i++)
        progress_say("error", "%s: %s: %s", tool->manifest_path,
                     problems.items[i].pointer[0] ? problems.items[i].pointer : "(document)",
                     problems.items[i].message);
    if (problems.count > 0)
        code = mig_fail(err, MIG_E_USAGE, "manifest '%s': %zu problem%s", tool->manifest_path,
                        problems.count, problems.count == 1 ? "" : "s");
    mig_problems_release(&problems);
    return code;
}
