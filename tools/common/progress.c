/* Progress and log lines on stderr. The library reports whenever it likes, from any thread; a
 * thread of our own redraws at a steady pace, so that a line still moves, and still tells why,
 * while a server keeps everybody waiting. */
#include "tools/common/tool_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 20
#define SAMPLE_NS (MIG_NS_PER_SECOND / 2) /* with SAMPLES: the rate of the last 10 s */

struct sample {
    int64_t at_ns;
    uint64_t done;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t drawer;
    const char *tool;
    enum mig_log_level level;
    enum progress_mode mode;
    bool json;                               /* every line is an object */
    bool reported, running, stopping, drawn; /* drawn: a line without its newline stands there */
    unsigned lines;
    int64_t started_ns;
    char stage[32], subject[64], waiting[256];
    int64_t waiting_since_ns; /* 0: for nobody */
    uint64_t done, total, rejected;
    struct sample samples[SAMPLES];
    size_t sample_count;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void unlock(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

#define HOLD()                                                                                     \
    mig_cleanup(unlock) pthread_mutex_t *held_ = &state.lock;                                      \
    pthread_mutex_lock(held_)

/* What a message quotes may come from a hostile file or server: it must not steer the terminal. */
static void make_harmless(char *text)
{
    for (; *text; text++)
        if ((unsigned char) *text < 0x20 || *text == 0x7f)
            *text = *text == '\n' ? ' ' : '?';
}

static void clear_line(void)
{
    if (state.drawn)
        fputs("\r\033[K", stderr);
    state.drawn = false;
}

/* ---- how fast ----------------------------------------------------------------------------- */

static void take_sample(int64_t now_ns)
{
    if (state.sample_count > 0 && now_ns - state.samples[state.sample_count - 1].at_ns < SAMPLE_NS)
        return;
    if (state.sample_count == SAMPLES)
        memmove(state.samples, state.samples + 1, --state.sample_count * sizeof *state.samples);
    state.samples[state.sample_count++] = (struct sample){now_ns, state.done};
}

static double rate(int64_t now_ns)
{
    const struct sample *oldest = state.samples;

    if (state.sample_count == 0 || now_ns <= oldest->at_ns || state.done < oldest->done)
        return 0;
    return (double) (state.done - oldest->done) * (double) MIG_NS_PER_SECOND /
           (double) (now_ns - oldest->at_ns);
}

static uint64_t eta_s(double per_second)
{
    const uint64_t left = state.total > state.done ? state.total - state.done : 0;
    const double seconds = per_second > 0 ? (double) left / per_second : 0;

    return seconds < 1e9 ? (uint64_t) (seconds + 0.5) : 0;
}

/* ---- how it looks ------------------------------------------------------------------------- */

static void format_duration(uint64_t seconds, char *text, size_t size)
{
    const unsigned long hours = seconds / 3600, minutes = seconds / 60 % 60, rest = seconds % 60;

    if (hours > 0)
        snprintf(text, size, "%lu:%02lu:%02lu", hours, minutes, rest);
    else
        snprintf(text, size, "%lu:%02lu", minutes, rest);
}

static void write_story(FILE *out)
{
    const double per_second = rate(mig_time_monotonic_ns());
    const double share = state.total > 0 ? (double) state.done / (double) state.total : 0;
    char eta[32];

    fprintf(out, "%s", state.stage);
    if (state.subject[0])
        fprintf(out, " %s", state.subject);
    if (state.total > 0)
        fprintf(out, "  %.1f%%  %" PRIu64 "/%" PRIu64, share < 1 ? 100 * share : 100, state.done,
                state.total);
    else
        fprintf(out, "  %" PRIu64, state.done);
    fprintf(out, "  %.0f/s", per_second);
    if (state.total > state.done && per_second > 0) {
        format_duration(eta_s(per_second), eta, sizeof eta);
        fprintf(out, "  ETA %s", eta);
    }
    if (state.rejected > 0)
        fprintf(out, "  rejected %" PRIu64, state.rejected);
    if (state.waiting[0])
        fprintf(out, "  waiting: %s", state.waiting);
}

static size_t tell_story(char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");

    text[0] = '\0';
    if (!out)
        return 0;
    write_story(out);
    fclose(out);
    text[size - 1] = '\0';
    make_harmless(text);
    return strlen(text);
}

static int terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

/* A line that wraps can't be redrawn in place: it ends one column before the edge. */
static void draw_bar(void)
{
    char text[512];
    const size_t room = (size_t) terminal_width() - 1;
    size_t size = tell_story(text, sizeof text);

    if (size > room)
        size = room;
    while (size > 0 && ((unsigned char) text[size] & 0xC0) == 0x80)
        size--;
    fprintf(stderr, "\r%.*s\033[K", (int) size, text);
    state.drawn = true;
}

static void draw_plain(void)
{
    const int64_t since_ns = mig_time_monotonic_ns() - state.started_ns;
    char text[512], since[32];

    tell_story(text, sizeof text);
    format_duration((uint64_t) (since_ns / MIG_NS_PER_SECOND), since, sizeof since);
    fprintf(stderr, "%s: %s  %s\n", state.tool, since, text);
}

static void draw_json(void)
{
    struct json_object *line = json_line_begin("progress", "info");
    const double per_second = rate(mig_time_monotonic_ns());

    json_line_add(line, "stage", state.stage);
    json_line_add(line, "subject", state.subject);
    json_object_object_add(line, "done", json_object_new_uint64(state.done));
    json_object_object_add(line, "total", json_object_new_uint64(state.total));
    json_object_object_add(line, "rejected", json_object_new_uint64(state.rejected));
    json_object_object_add(line, "per_second", json_object_new_uint64((uint64_t) per_second));
    json_object_object_add(line, "eta_s", json_object_new_uint64(eta_s(per_second)));
    json_line_add(line, "waiting", state.waiting);
    json_line_write(line);
}

static const struct {
    int64_t every_ns, first_ns;
    void (*draw)(void);
} modes[] = {
    [PROGRESS_BAR] = {MIG_NS_PER_SECOND / 5, MIG_NS_PER_SECOND / 5, draw_bar},
    [PROGRESS_PLAIN] = {10 * MIG_NS_PER_SECOND, 10 * MIG_NS_PER_SECOND, draw_plain},
    [PROGRESS_JSON] = {MIG_NS_PER_SECOND, 0, draw_json},
};

static void draw(void)
{
    if (state.json)
        draw_json();
    else
        modes[state.mode].draw();
    fflush(stderr);
    state.lines++;
}

/* ---- the thread that draws ---------------------------------------------------------------- */

/* Samples even where it doesn't draw, so that a rate is that of the last seconds in every mode. */
static void *keep_drawing(void *unused)
{
    int64_t next_ns = state.started_ns + modes[state.mode].first_ns, drawn_ns = 0;
    struct timespec until;

    HOLD();
    while (!state.stopping) {
        const int64_t now_ns = mig_time_monotonic_ns();
        const int64_t pause_ns =
            modes[state.mode].every_ns < SAMPLE_NS ? modes[state.mode].every_ns : SAMPLE_NS;

        take_sample(now_ns);
        /* Whom we wait for is news, unless it is over in a moment. */
        if (now_ns >= next_ns || (state.waiting_since_ns > drawn_ns &&
                                  now_ns - state.waiting_since_ns > MIG_NS_PER_SECOND)) {
            draw();
            drawn_ns = now_ns;
            next_ns = now_ns + modes[state.mode].every_ns;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long) pause_ns;
        until.tv_sec += until.tv_nsec / (long) MIG_NS_PER_SECOND;
        until.tv_nsec %= (long) MIG_NS_PER_SECOND;
        pthread_cond_timedwait(&state.wake, &state.lock, &until);
    }
    return unused;
}

static void start_drawing(void)
{
    pthread_condattr_t monotonic;

    state.started_ns = mig_time_monotonic_ns();
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&state.wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    state.stopping = false;
    state.running = pthread_create(&state.drawer, NULL, keep_drawing, NULL) == 0;
}

static void copy_text(char *into, size_t size, const char *text)
{
    snprintf(into, size, "%s", text ? text : "");
}

static void take_figures(const struct mig_progress *progress)
{
    if (strcmp(state.stage, progress->stage) != 0 || progress->done < state.done)
        state.sample_count = 0;
    copy_text(state.stage, sizeof state.stage, progress->stage);
    copy_text(state.subject, sizeof state.subject, progress->subject);
    state.done = progress->done;
    state.total = progress->total;
    state.rejected = progress->rejected;
}

static void on_progress(void *context, const struct mig_progress *progress)
{
    (void) context;
    HOLD();
    if (!progress->only_waiting)
        take_figures(progress);
    else if (!state.stage[0])
        copy_text(state.stage, sizeof state.stage, progress->stage);
    if (!progress->waiting || !progress->waiting[0])
        state.waiting_since_ns = 0;
    else if (state.waiting_since_ns == 0)
        state.waiting_since_ns = mig_time_monotonic_ns();
    copy_text(state.waiting, sizeof state.waiting, progress->waiting);
    if (!state.running)
        start_drawing();
}

/* A long operation's last line tells how it ended; a short one's would only be noise. */
void progress_stop(void)
{
    bool running;

    pthread_mutex_lock(&state.lock);
    running = state.running;
    state.stopping = true;
    state.running = false;
    if (running)
        pthread_cond_signal(&state.wake);
    pthread_mutex_unlock(&state.lock);
    if (!running)
        return;
    pthread_join(state.drawer, NULL);
    pthread_cond_destroy(&state.wake);
    HOLD();
    if (state.lines > 0 || state.mode == PROGRESS_JSON)
        draw();
    if (state.drawn)
        fputc('\n', stderr);
    state.drawn = false;
    state.lines = 0;
}

void tool_progress_end(struct tool *tool)
{
    (void) tool;
    progress_stop();
}

/* ---- lines above it ----------------------------------------------------------------------- */

void progress_hold(void)
{
    pthread_mutex_lock(&state.lock);
    clear_line();
}

void progress_release(void)
{
    pthread_mutex_unlock(&state.lock);
}

void progress_say(const char *event, const char *format, ...)
{
    const bool plain = strcmp(event, "error") == 0;
    char text[1400];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_harmless(text);
    HOLD();
    clear_line();
    if (state.json)
        json_line_say(event, text);
    else if (strcmp(event, "hint") == 0)
        fprintf(stderr, "hint: %s\n", text);
    else
        fprintf(stderr, "%s: %s%s%s\n", state.tool, plain ? "" : event, plain ? "" : ": ", text);
}

static void on_log(void *context, enum mig_log_level level, const char *message)
{
    static const char *const names[] = {[MIG_LOG_ERROR] = "error",
                                        [MIG_LOG_WARN] = "warning",
                                        [MIG_LOG_INFO] = "info",
                                        [MIG_LOG_DEBUG] = "debug"};

    (void) context;
    if (level <= state.level)
        progress_say(names[level], "%s", message);
}

void progress_start(struct tool *tool, enum progress_mode mode, bool json_log)
{
    const char *terminal = getenv("TERM");
    const bool can_redraw =
        isatty(STDERR_FILENO) && terminal && terminal[0] && strcmp(terminal, "dumb") != 0;

    state.tool = tool->name;
    state.level = tool->log_level;
    state.json = json_log || mode == PROGRESS_JSON;
    state.mode = mode != PROGRESS_AUTO ? mode : can_redraw ? PROGRESS_BAR : PROGRESS_PLAIN;
    if (state.json && state.mode == PROGRESS_BAR)
        state.mode = PROGRESS_PLAIN;
    tool->hooks = (struct mig_hooks){.log = on_log,
                                     .progress = state.mode == PROGRESS_NONE ? NULL : on_progress};
}
