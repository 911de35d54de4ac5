/* Options: one table that all verbs share and one of the verb's own, read by getopt_long. Every
 * complaint names the option; every value is checked before the verb sees it. */
#include "tools/common/tool_private.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OPTIONS_MAX 40
#define THREADS_MAX 1024

/* Where the common options' words go before they are understood. */
static struct {
    const char *manifest, *as_of, *progress, *log_level, *log_format;
    unsigned threads;
    size_t max_memory;
    bool json, help, version;
} words;

static const struct tool_option common[] = {
    {"manifest", "FILE", "the network's manifest (default: XMTP_MANIFEST)", TOOL_TEXT,
     &words.manifest},
    {"as-of", "RFC3339", "the pinned instant of a new run (default: now)", TOOL_TEXT, &words.as_of},
    {"json", NULL, "the result as one JSON document", TOOL_FLAG, &words.json},
    {"progress", "MODE", "auto, bar, plain, json or none (default: auto)", TOOL_TEXT,
     &words.progress},
    {"threads", "N", "1 to 1024 (default: all cores)", TOOL_UNSIGNED, &words.threads},
    {"max-memory", "SIZE", "of rows under way, 64MiB or more (default: 512MiB)", TOOL_SIZE,
     &words.max_memory},
    {"log-level", "LEVEL", "error, warn, info or debug (default: info)", TOOL_TEXT,
     &words.log_level},
    {"log-format", "FORMAT", "text or json: what stderr gets (default: text)", TOOL_TEXT,
     &words.log_format},
    {"help", NULL, "what there is, and an example", TOOL_FLAG, &words.help},
    {"version", NULL, "the version", TOOL_FLAG, &words.version},
    {.name = NULL},
};

static const struct tool_option no_options[] = {{.name = NULL}};

/* ---- help --------------------------------------------------------------------------------- */

void options_print(FILE *out, const struct tool_option *options)
{
    char label[64];

    for (; options && options->name; options++) {
        snprintf(label, sizeof label, "--%s%s%s", options->name, options->argument ? " " : "",
                 options->argument ? options->argument : "");
        fprintf(out, "  %-24s %s\n", label, options->help);
    }
}

void options_print_common(FILE *out)
{
    options_print(out, common);
}

static int hint_options(const struct tool *tool, const struct tool_verb *verb,
                        struct mig_error *err)
{
    const struct tool_option *const tables[] = {verb->options ? verb->options : no_options, common};
    char list[300] = "";
    size_t used = 0;

    for (size_t t = 0; t < mig_count_of(tables); t++)
        for (const struct tool_option *option = tables[t]; option->name; option++)
            if (used < sizeof list)
                used += (size_t) snprintf(list + used, sizeof list - used, " --%s", option->name);
    return mig_hint(err, "options of %s%s%s:%s", tool->name, verb->name[0] ? " " : "", verb->name,
                    list);
}

/* ---- values ------------------------------------------------------------------------------- */

static int read_number(const struct tool_option *option, const char *text, int64_t min, int64_t max,
                       int64_t *ret_number, struct mig_error *err)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < min || number > max)
        return mig_fail(err, MIG_E_USAGE, "--%s '%s': expected a whole number from %lld to %lld",
                        option->name, text, (long long) min, (long long) max);
    *ret_number = number;
    return MIG_OK;
}

/* "512MiB": a whole number and one of the units, or none for bytes. */
static int read_size(const struct tool_option *option, const char *text, size_t *ret_bytes,
                     struct mig_error *err)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},     {"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},
                 {"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40}};
    char *unit;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &unit, 10);
    for (size_t i = 0; i < mig_count_of(units) && *text >= '0' && *text <= '9' && !errno; i++)
        if (strcasecmp(unit, units[i].name) == 0 && number <= SIZE_MAX >> units[i].shift) {
            *ret_bytes = (size_t) number << units[i].shift;
            return MIG_OK;
        }
    return mig_fail(err, MIG_E_USAGE,
                    "--%s '%s': expected a number of bytes, with K, M, G, KiB, MiB or GiB behind "
                    "it if need be",
                    option->name, text);
}

static int add_text(const struct tool_option *option, const char *text, struct mig_error *err)
{
    struct tool_texts *texts = option->target;

    if (texts->count == TOOL_TEXTS_MAX)
        return mig_fail(err, MIG_E_USAGE, "--%s is given more than %d times", option->name,
                        TOOL_TEXTS_MAX);
    texts->items[texts->count++] = text;
    return MIG_OK;
}

static int assign(const struct tool_option *option, const char *text, struct mig_error *err)
{
    int64_t number;
    int code = MIG_OK;

    switch (option->type) {
    case TOOL_FLAG:
        *(bool *) option->target = true;
        break;
    case TOOL_TEXT:
        *(const char **) option->target = text;
        break;
    case TOOL_TEXTS:
        return add_text(option, text, err);
    case TOOL_UNSIGNED:
    case TOOL_COUNT:
        if ((code = read_number(option, text, option->type == TOOL_COUNT, UINT32_MAX, &number,
                                err)) == MIG_OK)
            *(unsigned *) option->target = (unsigned) number;
        break;
    case TOOL_SIZE:
        return read_size(option, text, option->target, err);
    case TOOL_INT64:
        if ((code = read_number(option, text, INT64_MIN, INT64_MAX, &number, err)) == MIG_OK)
            *(int64_t *) option->target = number;
        break;
    }
    return code;
}

static int choose(const char *option, const char *word, const char *const *names, size_t count,
                  int *choice, struct mig_error *err)
{
    char list[100] = "";
    size_t used = 0;

    if (!word)
        return MIG_OK;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0) {
            *choice = (int) i;
            return MIG_OK;
        }
        used +=
            (size_t) snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    return mig_fail(err, MIG_E_USAGE, "--%s '%s': expected one of %s", option, word, list);
}

/* Turns the common options' words into what they mean. */
static int settle(struct tool *tool, struct settings *settings, struct mig_error *err)
{
    static const char *const modes[] = {"auto", "bar", "plain", "json", "none"};
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    static const char *const formats[] = {"text", "json"};
    const char *manifest = words.manifest ? words.manifest : getenv("XMTP_MANIFEST");
    int progress = PROGRESS_AUTO, level = MIG_LOG_INFO, format = 0, code;

    if ((code = choose("progress", words.progress, modes, mig_count_of(modes), &progress, err)) ||
        (code = choose("log-level", words.log_level, levels, mig_count_of(levels), &level, err)) ||
        (code =
             choose("log-format", words.log_format, formats, mig_count_of(formats), &format, err)))
        return code;
    if (words.as_of && (code = mig_time_parse(words.as_of, &tool->as_of_ns, err))) {
        mig_error_within(err, "--as-of");
        return mig_hint(err, "an instant looks like 2026-01-31T12:00:00Z");
    }
    tool->has_as_of = words.as_of;
    tool->manifest_path = manifest && manifest[0] ? manifest : NULL;
    tool->json = words.json;
    tool->resources =
        (struct mig_resources){.threads = words.threads, .max_memory = words.max_memory};
    tool->log_level = (enum mig_log_level) level;
    *settings =
        (struct settings){words.help, words.version, (enum progress_mode) progress, format == 1};
    return MIG_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* getopt_long gives values from FIRST on, so that '?' and ':' are never an option of ours. */
enum { FIRST = 256 };

/* Words come in their order; a number below zero is one of them, and no cluster of options. */
#define IN_ORDER "-:0::1::2::3::4::5::6::7::8::9::"
enum { A_WORD = 1 };

static int complain(int result, char **argv, const struct tool_option *const *all,
                    const struct tool *tool, const struct tool_verb *verb, struct mig_error *err)
{
    if (optopt >= FIRST && result == ':')
        mig_fail(err, MIG_E_USAGE, "--%s needs a value: %s", all[optopt - FIRST]->name,
                 all[optopt - FIRST]->argument);
    else if (optopt >= FIRST)
        mig_fail(err, MIG_E_USAGE, "--%s takes no value", all[optopt - FIRST]->name);
    else if (optopt)
        mig_fail(err, MIG_E_USAGE, "unknown option '-%c'", optopt);
    else
        mig_fail(err, MIG_E_USAGE, "unknown option '%s'", argv[optind - 1]);
    return hint_options(tool, verb, err);
}

/* Bounds of values that all tools take. */
static int check_common(const struct tool_option *option, const char *text, struct mig_error *err)
{
    if (option->target == &words.threads && (words.threads < 1 || words.threads > THREADS_MAX))
        return mig_fail(err, MIG_E_USAGE, "--threads '%s': expected 1 to %d", text, THREADS_MAX);
    if (option->target == &words.max_memory && words.max_memory < MIG_MAX_MEMORY_LEAST)
        return mig_fail(err, MIG_E_USAGE, "--max-memory '%s': too little, %zuMiB is the least",
                        text, MIG_MAX_MEMORY_LEAST >> 20);
    return MIG_OK;
}

int options_read(struct tool *tool, const struct tool_verb *verb, int argc, char **argv,
                 struct settings *ret_settings, int *ret_first, struct mig_error *err)
{
    const struct tool_option *const tables[] = {verb->options ? verb->options : no_options, common};
    const struct tool_option *all[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1] = {0};
    size_t count = 0;
    int result, code, kept = 0;

    for (size_t t = 0; t < mig_count_of(tables); t++)
        for (const struct tool_option *option = tables[t]; option->name; option++) {
            if (count == OPTIONS_MAX)
                return mig_fail(err, MIG_E_NOMEM, "more than %d options", OPTIONS_MAX);
            all[count] = option;
            longs[count] = (struct option){
                option->name, option->type == TOOL_FLAG ? no_argument : required_argument, NULL,
                FIRST + (int) count};
            count++;
        }

    words = (typeof(words)){0};
    opterr = 0;
    optind = 0;
    while ((result = getopt_long(argc, argv, IN_ORDER, longs, NULL)) != -1) {
        if (result == A_WORD || (result >= '0' && result <= '9')) {
            argv[kept++] = argv[optind - 1];
            continue;
        }
        if (result < FIRST)
            return complain(result, argv, all, tool, verb, err);
        if ((code = assign(all[result - FIRST], optarg, err)))
            return code;
        if ((code = check_common(all[result - FIRST], optarg, err)))
            return code;
    }
    *ret_first = optind - kept;
    memmove(argv + *ret_first, argv, (size_t) kept * sizeof *argv);
    return settle(tool, ret_settings, err);
}

int options_leading(int argc, char **argv)
{
    int at = 0;

    while (at < argc && strncmp(argv[at], "--", 2) == 0) {
        const char *name = argv[at] + 2;
        const size_t size = strcspn(name, "=");
        const struct tool_option *option = common;

        while (option->name && (strlen(option->name) != size || memcmp(option->name, name, size)))
            option++;
        if (!option->name)
            break;
        at += option->type != TOOL_FLAG && !name[size] ? 2 : 1;
    }
    return at < argc ? at : argc;
}

bool options_want_json_log(int argc, char **argv)
{
    bool wanted = false;

    for (int at = 1; at < argc && strcmp(argv[at], "--") != 0; at++)
        if (strncmp(argv[at], "--log-format=", 13) == 0)
            wanted = strcmp(argv[at] + 13, "json") == 0;
        else if (strcmp(argv[at], "--log-format") == 0 && at + 1 < argc)
            wanted = strcmp(argv[++at], "json") == 0;
    return wanted;
}
