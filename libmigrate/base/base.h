/*
 * base: what every other area leans on, and which knows none of them.
 *
 * Errors are values. A function that can fail returns 0, or a negative enum mig_code, and puts the
 * story into the caller's struct mig_error. The library never prints and never exits.
 */
#ifndef MIG_BASE_H
#define MIG_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- errors ------------------------------------------------------------------------------- */

/* Kinds of failure a caller can act on; mig_code_info() tells how. */
enum mig_code {
    MIG_OK = 0,
    MIG_E_USAGE = -1,      /* the caller's words are off: options, manifest */
    MIG_E_NOMEM = -2,      /* memory, or a limit on it, is used up */
    MIG_E_IO = -3,         /* a file or a stream failed */
    MIG_E_CORRUPT = -4,    /* bytes are not what their digest or format says */
    MIG_E_TEMPORARY = -5,  /* may work when tried again: connection, lock, restart */
    MIG_E_CONFLICT = -6,   /* the same id with other bytes: never overwritten */
    MIG_E_CANCELLED = -7,  /* somebody asked us to stop; all is resumable */
    MIG_E_REFUSED = -8,    /* a precondition is not met: schema level, wrong node, rights */
    MIG_E_DATABASE = -9,   /* a database said no, and will say no again */
    MIG_E_DIFFERENT = -10, /* a comparison ended with differences */
    MIG_E_PARTIAL = -11,   /* done, but for rejected rows that nobody waived */
};

struct mig_code_info {
    const char *name;    /* "corrupt", stable: goes into logs and JSON */
    bool retryable;      /* the same call may succeed later */
    uint8_t exit_status; /* what a tool ends with */
};

/* Never NULL; an unknown code is described as "unknown", not retryable, exit 1. */
const struct mig_code_info *mig_code_info(enum mig_code code);

#define MIG_MESSAGE_SIZE 768
#define MIG_HINT_SIZE 384

/* The story of one failure. Start from MIG_ERROR_INIT; it owns no memory. */
struct mig_error {
    enum mig_code code;
    char message[MIG_MESSAGE_SIZE]; /* "cannot read 'part-000017.zst': 12 bytes short", no full stop
                                     */
    char hint[MIG_HINT_SIZE];       /* the next step for a person, or "" */
};
#define MIG_ERROR_INIT ((struct mig_error){.code = MIG_OK})

/* Records a failure and returns its code, so that `return mig_fail(err, ...)` reads as one step.
 * Too long a message is cut at a character boundary. err may be NULL. */
int mig_fail(struct mig_error *err, enum mig_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the next step to a failure just recorded; returns its code. err may be NULL. */
int mig_hint(struct mig_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts a place in front of a failure just recorded ("node 'beta': ..."); returns its code. err may
 * be NULL. */
int mig_error_within(struct mig_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Failures that are told all at once. Start from zero; release with mig_errors_release(). */
struct mig_errors {
    struct mig_error *items;
    size_t count;
};
/* Keeps a copy of one. Errors: MIG_E_NOMEM. */
int mig_errors_add(struct mig_errors *errors, const struct mig_error *one, struct mig_error *err);
void mig_errors_release(struct mig_errors *errors);

/* ---- cleanup ------------------------------------------------------------------------------ */

/* Runs function(&variable) when the variable's scope ends, whichever way. */
#define mig_cleanup(function) __attribute__((cleanup(function)))

/* Hands a pointer over: yields it and leaves NULL behind, so that cleanup finds nothing to do. */
#define mig_take(pointer)                                                                          \
    __extension__({                                                                                \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define mig_count_of(array) (sizeof(array) / sizeof((array)[0]))

/* For mig_cleanup(mig_free_text) char *text = NULL; */
void mig_free_text(char **text);

/* ---- bytes -------------------------------------------------------------------------------- */

/* A run of bytes that somebody else owns. data may be NULL when size is 0. */
struct mig_bytes {
    const uint8_t *data;
    size_t size;
};

bool mig_bytes_equal(struct mig_bytes a, struct mig_bytes b);

/* The bytes of a C string, without its NUL. */
struct mig_bytes mig_bytes_of_text(const char *text);

/* Bytes that grow up to a limit. Start from MIG_BUFFER_INIT(limit); release with
 * mig_buffer_release(), after which it can be used again. */
struct mig_buffer {
    uint8_t *data;
    size_t size, capacity, limit;
};
#define MIG_BUFFER_INIT(limit_bytes) ((struct mig_buffer){.limit = (limit_bytes)})

/* Makes room for more bytes behind size; the room's contents are undefined.
 * Errors: MIG_E_NOMEM when memory is out or size + more would pass the limit. */
int mig_buffer_reserve(struct mig_buffer *buffer, size_t more, struct mig_error *err);
int mig_buffer_append(struct mig_buffer *buffer, const void *data, size_t size,
                      struct mig_error *err);
int mig_buffer_print(struct mig_buffer *buffer, struct mig_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mig_buffer_release(struct mig_buffer *buffer);
struct mig_bytes mig_buffer_bytes(const struct mig_buffer *buffer);

/*
 * Memory that lives and dies together: many small pieces, one release. A piece larger than a block
 * gets a block of its own. Start from MIG_ARENA_INIT. One thread at a time.
 */
struct mig_arena {
    struct mig_arena_block *blocks;
    size_t used_bytes; /* handed out so far */
};
#define MIG_ARENA_INIT ((struct mig_arena){0})

/* Aligned for anything, not zeroed, never NULL on success (size 0 included).
 * Errors: MIG_E_NOMEM. */
int mig_arena_alloc(struct mig_arena *arena, size_t size, void **ret_memory, struct mig_error *err);

/* Copies bytes into the arena. An empty run gives {non-NULL, 0}. Errors: MIG_E_NOMEM. */
int mig_arena_copy(struct mig_arena *arena, struct mig_bytes bytes, struct mig_bytes *ret_copy,
                   struct mig_error *err);
void mig_arena_release(struct mig_arena *arena);
/* The same, but keeps a block for what comes next: for small things again and again. */
void mig_arena_reset(struct mig_arena *arena);
/* Hands all pieces of from over to arena; from is empty afterwards. */
void mig_arena_join(struct mig_arena *arena, struct mig_arena *from);

/* ---- hex ---------------------------------------------------------------------------------- */

/* Writes 2 * size lower-case digits and a NUL. */
void mig_hex_encode(struct mig_bytes bytes, char *ret_text);

/* Reads exactly 2 * capacity digits at most, of either case, without a prefix. Gives the number of
 * bytes. Errors: MIG_E_CORRUPT (odd length, not a digit, more than capacity). The message never
 * quotes the text: it may be a secret. */
int mig_hex_decode(const char *text, size_t length, uint8_t *ret_bytes, size_t capacity,
                   size_t *ret_size, struct mig_error *err);

/* How many bytes the character at the start of a text that is not empty takes; 0: it is none. */
size_t mig_utf8_size(struct mig_bytes text);

/* ---- time --------------------------------------------------------------------------------- */

#define MIG_NS_PER_SECOND INT64_C(1000000000)
#define MIG_NS_PER_DAY (INT64_C(86400) * MIG_NS_PER_SECOND)
#define MIG_TIME_TEXT_SIZE 40

/* Nanoseconds since 1970 of an RFC 3339 instant ("2026-01-01T00:00:00.123456789Z", an offset such
 * as +02:00 is fine). Years 1678 to 2261. Errors: MIG_E_USAGE, quoting the text. */
int mig_time_parse(const char *text, int64_t *ret_ns, struct mig_error *err);

/* RFC 3339 in UTC with as many digits of the second as are needed (0, 3, 6 or 9). */
void mig_time_format(int64_t unix_ns, char ret_text[MIG_TIME_TEXT_SIZE]);

/* The same for any second, always with six digits of it; years outside 0 to 9999 get a sign. */
void mig_time_format_us(int64_t unix_seconds, int32_t microseconds,
                        char ret_text[MIG_TIME_TEXT_SIZE]);

/* The wall clock, and one that never jumps for measuring. */
int64_t mig_time_now_ns(void);
int64_t mig_time_monotonic_ns(void);

/* ---- hooks -------------------------------------------------------------------------------- */

enum mig_log_level { MIG_LOG_ERROR, MIG_LOG_WARN, MIG_LOG_INFO, MIG_LOG_DEBUG };

/* How far a long operation is. total is an estimate, 0 when unknown. */
struct mig_progress {
    const char *stage;   /* "run", "export", "parity" */
    const char *subject; /* table or node in hand, or "" */
    uint64_t done, total, rejected;
    const char *waiting; /* why nothing moves just now, or "" */
    bool only_waiting;   /* the rest is as it was: stage counts when nothing was reported yet */
};

/* What is measured while it works: each report sets a figure, adds to one, or is one of many that
 * are observed. table: named as in wire's tables; node: as in the manifest. */
enum mig_measure {
    MIG_MEASURE_RUN,            /* set to 1; the run's id stands where a table would */
    MIG_MEASURE_UP,             /* set: 1 connected, 0 away; node, NULL for the source */
    MIG_MEASURE_ROWS_READ,      /* added; table */
    MIG_MEASURE_ROWS_COUNTED,   /* added; table: at the source, to compare with what was read */
    MIG_MEASURE_ROWS_PRUNED,    /* added; table: gone from the source before we came */
    MIG_MEASURE_READ_SECONDS,   /* observed a statement; table */
    MIG_MEASURE_SOURCE_LAST_ID, /* set; table: the last id read */
    MIG_MEASURE_SETTLED_BOUND,  /* set; table: the last id that is final at the source */
    MIG_MEASURE_OLDEST_WRITER_SECONDS, /* set; table: how old the oldest writer is that holds up the
                                          settled bound; 0 for none */
    MIG_MEASURE_LAG_ROWS,              /* set; table: settled rows that some node lacks */
    MIG_MEASURE_LAG_SECONDS,           /* set; table: the age of the oldest of them; 0 for none */
    MIG_MEASURE_LATENCY_SECONDS,       /* observed a part; table: commit at the source to commit on
                                          the last node */
    MIG_MEASURE_ROWS_LOADED,           /* added; table, node: loaded or already there */
    MIG_MEASURE_ROWS_REJECTED,         /* added; table, node */
    MIG_MEASURE_CONFLICTS,             /* added; table, node: other bytes under the same id */
    MIG_MEASURE_LOAD_SECONDS,          /* observed a part; table, node */
    MIG_MEASURE_NODE_LAST_ID,          /* set; table, node: the last id loaded */
    MIG_MEASURE_RETRIES,               /* added; node, NULL for the source */
    MIG_MEASURE_GIVEN_UP,              /* added; node, NULL for the source: no retry is left */
    MIG_MEASURE_THROTTLED_SECONDS,     /* added; node, NULL for the source */
    MIG_MEASURE_IDLE,                  /* added: looked, and every node has all there is */
    MIG_MEASURE_COUNT
};

/* How the library talks to its caller while it works. Any member may be NULL. Called from any
 * thread; log and progress never two at once per struct mig_hooks user that set them up with its
 * own lock, measure at any time. */
struct mig_hooks {
    void (*log)(void *context, enum mig_log_level level, const char *message);
    void (*progress)(void *context, const struct mig_progress *progress);
    void (*measure)(void *context, enum mig_measure measure, const char *table, const char *node,
                    double value);
    void *context;
};

void mig_log(const struct mig_hooks *hooks, enum mig_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mig_report_progress(const struct mig_hooks *hooks, const struct mig_progress *progress);
/* table and node may be NULL, as the measure has it. */
void mig_report_measure(const struct mig_hooks *hooks, enum mig_measure measure, const char *table,
                        const char *node, double value);

/* ---- stopping ----------------------------------------------------------------------------- */

/* Somebody's wish to stop, set by a signal handler or a failing thread, looked at by everybody. */
struct mig_stop {
    atomic_bool requested;
    const struct mig_stop *also; /* whose wish is one to stop here as well; may be NULL */
};

/* MIG_OK, or MIG_E_CANCELLED once stop was requested. stop may be NULL. */
int mig_stop_check(const struct mig_stop *stop, struct mig_error *err);

/* How long somebody may be silent; 0 is for ever. */
struct mig_patience {
    unsigned seconds, hurried_s;
    const struct mig_stop *hurry; /* once that is asked for, hurried_s counts; may be NULL */
};

#endif
