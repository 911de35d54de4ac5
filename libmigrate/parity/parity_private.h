/* What the files of parity share. */
#ifndef MIG_PARITY_PRIVATE_H
#define MIG_PARITY_PRIVATE_H

#include "libmigrate/io/io.h"
#include "libmigrate/node/node.h"
#include "libmigrate/parity/parity.h"
#include "libmigrate/source/source.h"
#include "libmigrate/transform/transform.h"
#include "libmigrate/work/work.h"

#include <pthread.h>

#define PARITY_SIDE_SIZE sizeof(((struct mig_parity_difference *) 0)->expected)

/* ---- terms: what everything is judged by; fixed while threads are at work ------------------- */

struct parity_terms {
    const struct mig_manifest *manifest;
    struct mig_manifest keeping; /* the manifest, but for expired rows, which it keeps */
    struct mig_transform *transform, *keeping_transform;
    bool clock_is_the_rows; /* originator_ns follows from the row, not from when a run was */
    char payer[MIG_ADDRESS_TEXT_SIZE], originator[MIG_ADDRESS_TEXT_SIZE];
    int64_t as_of_ns, now_ns;
    bool has_run;
    char run[33];
    int64_t bounds[MIG_TABLE_COUNT]; /* of the run */
};

/* Pins the terms: addresses, the run that the nodes know, as_of. Release with
 * parity_terms_release(); terms must not move in memory while they are in use. */
int parity_terms_pin(struct parity_terms *terms, const struct mig_manifest *manifest,
                     const struct mig_parity_options *options, struct mig_node *const *nodes,
                     size_t node_count, const struct mig_hooks *hooks, struct mig_error *err);
void parity_terms_release(struct parity_terms *terms);

/* runs.c. A run that is at its end on one node is taken for finished on all: it ends on one after
 * the other, once all have its rows. */
void parity_share_ends(struct mig_runs *nodes, size_t node_count);
/* Whether a run is pinned at an instant that hasn't come: by then most rows will have expired, and
 * no more than the others would be asked for. */
bool parity_is_to_come(const struct mig_run *run, int64_t now_ns);
/* The run that a node is judged by: of the finished ones, or where there is none of all, the one
 * with the latest as_of that is not to come, which asks for the fewest rows; its bounds are the
 * highest of any that has finished, so that no run's rows are forgotten. One that is to come is
 * chosen where there is no other. False when there is no run. */
bool parity_choose_run(const struct mig_runs *runs, int64_t now_ns, struct mig_run *ret_run);

/* ---- notes: differences on their way into the report ---------------------------------------- */

struct parity_note {
    struct parity_note *next;
    const char *what, *where;
    uint32_t originator; /* 0: the one that nodes keep the kind under */
    char expected[PARITY_SIDE_SIZE], found[PARITY_SIDE_SIZE];
};
struct parity_notes {
    struct mig_arena *arena;
    struct parity_note *first, **last;
};
/* Appends a note with its sides as texts. Errors: MIG_E_NOMEM. */
int parity_note(struct parity_notes *notes, const char *what, const char *where,
                const char *expected, const char *found, struct mig_error *err);

/* "sha256:...". Errors: MIG_E_NOMEM. */
int parity_show_digest(struct mig_bytes bytes, char text[PARITY_SIDE_SIZE], struct mig_error *err);

/* ---- held: a node's row taken apart --------------------------------------------------------- */

/* Addresses, or what there is instead. */
struct parity_signers {
    char payer[MIG_ADDRESS_TEXT_SIZE], originator[MIG_ADDRESS_TEXT_SIZE];
};

/* Whose signatures an envelope's are, once somebody has found out: other nodes mostly hold the same
 * bytes. Starts as all zero. */
struct parity_known {
    bool set;
    uint8_t digest[MIG_SHA256_SIZE]; /* of the whole envelope */
    struct parity_signers signers;
};

struct parity_held {
    const struct mig_node_row *row;
    bool readable;                  /* false: no envelope, or one that can't be read */
    char trouble[PARITY_SIDE_SIZE]; /* why it can't */
    struct mig_layers layers;
    struct parity_signers signers;
    struct mig_bytes rewritten; /* the envelope as its layers ought to be written; empty when
                                   signatures are missing */
};

/* Parses, recovers, rewrites. What ret_held points to lies in arena. known, if any, is believed and
 * kept up. Errors: MIG_E_NOMEM. */
int parity_held_read(const struct mig_node_row *row, struct parity_known *known,
                     struct mig_arena *arena, struct parity_held *ret_held, struct mig_error *err);

/* ---- compare -------------------------------------------------------------------------------- */

/* Notes every difference between an envelope as it must be and a row as it is. */
int parity_compare(const struct parity_terms *terms, const struct mig_envelope *expected,
                   const struct parity_held *held, struct parity_notes *notes,
                   struct mig_error *err);

/* ---- merge: two rising lists, side by side -------------------------------------------------- */

enum parity_outcome {
    PARITY_NOTHING, /* nothing to count: absent and rightly so, or above the bound */
    PARITY_HELD,
    PARITY_MISSING,
    PARITY_EXTRA,
    PARITY_PRUNED,
    PARITY_EXPIRED_PRESENT,
};

/* What belongs to one id; at least one side is there. */
struct parity_pair {
    const struct mig_envelope *planned; /* what became of the source's row, or NULL */
    const struct mig_node_row *held;    /* the node's row, or NULL */
    struct parity_known *known;         /* of the source's row, or NULL */
    enum parity_outcome outcome;
    struct parity_note *notes;
};

/* Some of a node's rows, rising; what they point to lies in arena. */
struct parity_batch {
    struct mig_arena arena;
    struct mig_node_row *rows;
    size_t count, next;
    bool ended; /* nothing follows */
};

/* The source's side: envelopes of a transformed part, and how far they are dealt with. */
struct parity_plan {
    const struct mig_envelope *envelopes;
    struct parity_known *known; /* one an envelope, or NULL */
    size_t count, next;
};

/* Takes what has ids up to, and including, up_to off both sides and pairs it by id, in order.
 * pairs has room for all that is left on both sides. Gives the number of pairs. */
size_t parity_pair_up(struct parity_plan *plan, struct parity_batch *batch, int64_t up_to,
                      struct parity_pair *pairs);

/* Up to which id a batch tells all. */
int64_t parity_batch_reach(const struct parity_batch *batch);

/* ---- judge ---------------------------------------------------------------------------------- */

/* Sets a pair's outcome and notes. kind is what the node's side holds; a row that is not required
 * may be absent. scratch may be released afterwards, the notes' arena not. Any thread. */
int parity_judge(const struct parity_terms *terms, enum mig_kind kind, bool required,
                 struct mig_arena *scratch, struct mig_arena *notes_arena, struct parity_pair *pair,
                 struct mig_error *err);

/* ---- segments: what is known of which ids --------------------------------------------------- */

/* Ids [first_id, last_id] of one table, and what is known of them. */
struct parity_segment {
    int64_t first_id, last_id;
    bool settled; /* no row can still appear in it */
    bool judged;  /* rows must be on the nodes; else they may be */
};
#define PARITY_SEGMENTS_MAX 3

/* Cuts a table's ids: settled ones up to bound are judged, those above are not, except strays,
 * which no sequence gave out. Gives the number of segments. */
size_t parity_segments(const struct mig_settled *settled, int64_t bound,
                       struct parity_segment ret_segments[PARITY_SEGMENTS_MAX]);

/* ---- streams: reading ahead in a thread ----------------------------------------------------- */

struct parity_stream {
    struct mig_queue *queue;
    pthread_t thread;
    bool running;
    int (*produce)(struct parity_stream *stream, struct mig_error *err);
    struct mig_source *source;
    struct mig_node *node;
    struct mig_error failure;
};

/* Starts reading: parts of a table, or batches of an originator's rows. The source or node is the
 * stream's until it ends. Errors: MIG_E_NOMEM, MIG_E_TEMPORARY. */
int parity_stream_source(struct parity_stream *stream, struct mig_source *source,
                         enum mig_table table, const struct parity_segment *segment,
                         struct mig_error *err);
int parity_stream_node(struct parity_stream *stream, struct mig_node *node, uint32_t originator,
                       const struct parity_segment *segment, struct mig_error *err);
/* The next part or batch, or NULL at the end; the caller's. Errors: those of the reading. */
int parity_stream_next(struct parity_stream *stream, void **ret_item, struct mig_error *err);
/* Stops the thread and frees what was read ahead. A stream that is all zero is fine. */
void parity_stream_end(struct parity_stream *stream);
void parity_batch_free(struct parity_batch **batch);

/* ---- sourceless: rows that nodes hold and the source lacks ----------------------------------- */

struct parity_sourceless_row {
    int64_t id;
    size_t node;
    bool pruned; /* else it is extra, and named already */
    int64_t expiry;
};
struct parity_sourceless {
    struct parity_sourceless_row *rows;
    size_t count, capacity;
};

/* Remembers that a node holds what the pair has. Errors: MIG_E_NOMEM. */
int parity_sourceless_add(struct parity_sourceless *sourceless, size_t node,
                          const struct parity_pair *pair, struct mig_error *err);
/* By id and node. */
void parity_sourceless_sort(struct parity_sourceless *sourceless);
/* Finds the next id, from *at on, that must be on every node: V3 has pruned it, a node holds it,
 * and it has not expired at now_s. Its rows are those from *ret_first up to *at. False at the end.
 */
bool parity_sourceless_next(const struct parity_sourceless *sourceless, int64_t now_s, size_t *at,
                            size_t *ret_first);

/* ---- one node, as the check sees it --------------------------------------------------------- */

struct parity_letters {
    struct mig_dead_letters page;
    size_t next;
    bool ended, begun;
    int64_t after_id;
};

struct parity_node {
    struct mig_node *reader; /* the stream's */
    struct mig_node *asker;  /* for questions in between */
    struct parity_stream stream;
    struct parity_batch *batch;
    struct parity_plan plan;
    struct parity_letters letters[MIG_KIND_COUNT];
    struct parity_brought {
        bool known;
        struct mig_brought of;
    } brought[MIG_TABLE_COUNT]; /* of the id asked for last */
};

/* The check under way. */
struct parity_check {
    struct parity_terms terms;
    const struct mig_hooks *hooks;
    const struct mig_stop *stop;
    struct mig_source *source;       /* the stream's, between segments anybody's */
    struct mig_source *source_asker; /* opened when there is something to ask */
    struct parity_node *nodes;       /* in the order of the report's */
    size_t node_count;
    struct mig_pool *pool;
    struct parity_pair *pairs;
    size_t pair_capacity;
    struct parity_sourceless sourceless; /* of the ids in hand */
    struct parity_known *known;          /* of the part in hand; NULL when there is one node only */
    struct mig_arena *scratch, *notes;   /* one a worker */
    struct mig_parity_report report;
    size_t list_limit;
    uint64_t rows_done, rows_total;
};

/* ends.c: connects, pins the terms and makes ready; ends it, wherever it stands. check has its
 * hooks, stop and list_limit, all else zero, and must not move in memory. */
int parity_check_begin(struct parity_check *check, const struct mig_manifest *manifest,
                       const struct mig_parity_options *options, struct mig_error *err);
void parity_check_end(struct parity_check *check);

/* judge.c: when V3 lets a row go that expires at a node then. False when 64 bits can't tell. */
bool parity_gone_s(const struct parity_terms *terms, enum mig_kind kind, int64_t expiry_s,
                   int64_t *ret_gone_s);

/* sourceless.c: what V3 has pruned can't be brought to a node any more. A node that lacks it while
 * another holds it has lost it, if a run came to the node before V3 could let the row go. Forgets
 * the rows then. */
int parity_check_sourceless(struct parity_check *check, enum mig_kind kind, struct mig_error *err);

/* ---- questions asked in between ------------------------------------------------------------- */

/* letters.c: every rejected row of the part must lie whole in every node's dead letter box; counts
 * those that are waived on all nodes. */
int parity_check_letters(struct parity_check *check, const struct mig_part *part,
                         struct mig_error *err);
void parity_letters_release(struct parity_letters *letters);

/* newest.c: what clients would be given. */
int parity_check_newest(struct parity_check *check, const struct mig_part *part,
                        struct mig_error *err);
/* reach.c: a node holds no row, up to settled_bound, that is above all that runs have reached. */
int parity_check_reach(struct parity_check *check, enum mig_kind kind, int64_t settled_bound,
                       struct mig_error *err);
/* How far the runs in the books of any of the nodes have got, and where there are any, what the
 * node's own tracker tells of other tools. */
int parity_find_reach(struct parity_check *check, size_t node, enum mig_table table,
                      struct mig_reach *ret_reach, struct mig_error *err);
/* places.c: nothing lies where no part of the source is looked for. */
int parity_check_places(struct parity_check *check, struct mig_error *err);
/* clock.c: what other nodes would be told to ask for. */
int parity_check_clocks(struct parity_check *check, struct mig_error *err);

/* ---- report --------------------------------------------------------------------------------- */

int parity_report_begin(struct mig_parity_report *report, const struct parity_terms *terms,
                        struct mig_node *const *nodes, size_t node_count, struct mig_error *err);
/* Counts a difference, and lists it while there is room. Errors: MIG_E_NOMEM. */
int parity_report_add(struct parity_check *check, enum mig_kind kind, int64_t id, size_t node,
                      const struct parity_note *note, struct mig_error *err);
/* Puts the list in order and reaches the verdict. */
void parity_report_end(struct mig_parity_report *report);

#endif
