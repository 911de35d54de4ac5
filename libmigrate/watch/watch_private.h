/* What the files of watch share. */
#ifndef MIG_WATCH_PRIVATE_H
#define MIG_WATCH_PRIVATE_H

#include "libmigrate/watch/watch.h"

#include <netinet/in.h>

/* ---- what is told -------------------------------------------------------------------------- */

enum label { LABEL_TABLE = 1, LABEL_NODE = 2, LABEL_DESTINATION = 4 };
/* Several nodes' figures as one. */
enum fold { FOLD_NONE, FOLD_LEAST, FOLD_MOST };
enum metric_type { GAUGE, COUNTER, HISTOGRAM };

#define BUCKETS_MAX 9

struct metric {
    const char *name, *help;
    enum metric_type type;
    enum mig_measure measure;
    unsigned labels;
    enum fold fold;
    bool known_from_the_start; /* a gauge that is 0 until it is reported */
};
extern const struct metric metrics[];
extern const size_t metric_count;

/* What a report does with the figure. */
enum effect { EFFECT_SET, EFFECT_RAISE, EFFECT_ADD, EFFECT_OBSERVE };
struct measure_info {
    enum effect effect;
    bool moves; /* a sign that the work goes on */
};
extern const struct measure_info measure_infos[MIG_MEASURE_COUNT];

/* Upper bounds of the buckets of seconds, rising. */
extern const double bucket_bounds[BUCKETS_MAX];

/* ---- figures ------------------------------------------------------------------------------- */

struct cell {
    bool known;
    double value; /* of what is observed: the sum */
    uint64_t count, buckets[BUCKETS_MAX];
};

/* A cell a measure, table and node, one more of both for none. No lock of its own. */
struct registry {
    const char *const *tables;
    const char *const *nodes;
    size_t table_count, node_count;
    struct cell *cells;
    char version[32], network[80], run[80];
    int64_t began_ns; /* since 1970 */
};
int registry_open(struct registry *registry, const struct mig_watch_options *options,
                  struct mig_error *err);
void registry_release(struct registry *registry);
/* False when a name is not one of those it was opened with. */
bool registry_report(struct registry *registry, enum mig_measure measure, const char *table,
                     const char *node, double value);
/* table_count and node_count stand for none. */
struct cell *registry_cell(const struct registry *registry, enum mig_measure measure, size_t table,
                           size_t node);

/* ---- health -------------------------------------------------------------------------------- */

#define REASON_SIZE 320

struct health {
    int64_t stall_after_ns;
    int64_t moved_ns; /* monotonic: when it last did */
    bool working;     /* it moved at least once */
    uint64_t done;
    char stage[32], subject[64], waiting[200];
};
/* A report of progress counts as a move when its figures are others than before. */
void health_take_progress(struct health *health, const struct mig_progress *progress,
                          int64_t now_ns);
void health_move(struct health *health, int64_t now_ns);
/* False with a reason in one line. */
bool health_is_well(const struct health *health, int64_t now_ns, char ret_reason[REASON_SIZE]);
bool health_is_ready(const struct health *health, const struct registry *registry,
                     char ret_reason[REASON_SIZE]);

/* ---- exposition ---------------------------------------------------------------------------- */

/* Appends everything in text format 0.0.4. Errors: MIG_E_NOMEM. */
int expose(const struct registry *registry, const struct health *health, int64_t now_ns,
           struct mig_buffer *text, struct mig_error *err);

/* ---- serving ------------------------------------------------------------------------------- */

#define ADDRESS_TEXT_SIZE 96

/* A socket that listens at address, not blocking. ret_text is where, as HOST:PORT. */
int address_listen(const char *address, int *ret_fd, char ret_text[ADDRESS_TEXT_SIZE],
                   struct mig_error *err);

/* An answer to one path. */
struct answer {
    unsigned status;
    const char *type;
    struct mig_buffer text;
};
typedef int answer_fn(void *context, struct answer *answer, struct mig_error *err);
struct page {
    const char *path;
    answer_fn *answer;
};
/* Answers GET and HEAD of pages (the last one has no path) on a thread of its own. Takes fd. */
struct server;
int server_open(int fd, const struct page *pages, void *context, struct server **ret_server,
                struct mig_error *err);
void server_close(struct server **server);

#endif
