/* A tool whose verbs do what a test asks of tools/common: talk from several threads, take long,
 * never stop. Not installed. */
#include "tools/common/tool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TALKERS 4

static unsigned millis = 100;
static bool stubborn;
static const char *reason = "";

static void sleep_ms(unsigned count)
{
    nanosleep(&(struct timespec){count / 1000, (long) (count % 1000) * 1000000}, NULL);
}

static void *talk(void *context)
{
    struct tool *tool = context;

    for (unsigned i = 0; i < 50; i++) {
        mig_log(&tool->hooks, i % 2 ? MIG_LOG_WARN : MIG_LOG_DEBUG, "line %u \033[31m", i);
        mig_report_progress(&tool->hooks, &(struct mig_progress){.stage = "trial",
                                                                 .subject = "table",
                                                                 .done = i,
                                                                 .total = 100,
                                                                 .rejected = 3,
                                                                 .waiting = reason});
        sleep_ms(millis / 50);
    }
    return NULL;
}

static int run_talk(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    pthread_t talkers[TALKERS];

    (void) argc;
    (void) argv;
    for (size_t i = 0; i < TALKERS; i++)
        pthread_create(&talkers[i], NULL, talk, tool);
    for (size_t i = 0; i < TALKERS; i++)
        pthread_join(talkers[i], NULL);
    return tool_print(err, "threads %u, as of %lld", tool->resources.threads,
                      (long long) tool->as_of_ns);
}

static int run_wait(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    int code = tool_print(err, "waiting");

    (void) argc;
    (void) argv;
    while (code == MIG_OK) {
        sleep_ms(10);
        if (!stubborn)
            code = mig_stop_check(tool->stop, err);
    }
    return code;
}

static int run_fail(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    (void) tool;
    if (argc != 1)
        return mig_fail(err, MIG_E_USAGE, "expected a code, got %d arguments", argc);
    mig_fail(err, (enum mig_code) - atoi(argv[0]), "it failed with \033[2J%s", argv[0]);
    return mig_hint(err, "do not worry");
}

static int run_say(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    (void) err;
    for (int i = 0; i < argc; i++)
        mig_log(&tool->hooks, MIG_LOG_INFO, "%s", argv[i]);
    return MIG_OK;
}

static int run_list(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    (void) tool;
    for (int i = 0; i < argc; i++)
        if (tool_print(err, "%s", argv[i]))
            return err->code;
    return MIG_OK;
}

static int run_lines(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    int code = MIG_OK;

    (void) tool;
    (void) argc;
    (void) argv;
    for (unsigned i = 0; i < 100000 && code == MIG_OK; i++)
        code = tool_print_line(mig_bytes_of_text("a line of a long result"), err);
    return code;
}

static const struct tool_option talk_options[] = {
    {"for", "MS", "how long", TOOL_UNSIGNED, &millis},
    {"waiting", "TEXT", "why nothing moves", TOOL_TEXT, &reason},
    {.name = NULL},
};
static const struct tool_option wait_options[] = {
    {"stubborn", NULL, "do not stop when asked", TOOL_FLAG, &stubborn},
    {.name = NULL},
};

static const struct tool_verb verbs[] = {
    {"talk", "", "report and log from several threads", "talk --for 100", talk_options, run_talk},
    {"wait", "", "wait to be stopped", "wait", wait_options, run_wait},
    {"fail", "CODE", "fail with a code", "fail 1", NULL, run_fail},
    {"say", "[WORD ...]", "log words", "say a b", NULL, run_say},
    {"words list", "[WORD ...]", "a verb of two words", "words list a b", NULL, run_list},
    {"lines", "", "print many lines", "lines", NULL, run_lines},
};

int main(int argc, char **argv)
{
    return tool_main("tool-trial", verbs, mig_count_of(verbs), argc, argv);
}
