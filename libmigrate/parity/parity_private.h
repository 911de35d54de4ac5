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

/* Whose signature something must be. */
struct parity_signer {
    struct mig_address address;
    char text[MIG_ADDRESS_TEXT_SIZE];
};

/* ---- terms: what everything is judged by; fixed while threads are at work ------------------- */

struct parity_terms {
    const struct mig_manifest *manifest;
    struct mig_manifest keeping; /* the manifest, but for expired rows, which it keeps */
    struct mig_transform *transform, *keeping_transform;
    bool clock_is_the_rows; /* originator_ns follows from the row, not from when a run was */
    struct parity_signer payer, originator;
    int64_t as_of_ns, now_ns;
    bool has_run;
    char run[33];
    int64_t bounds[MIG_TABLE_COUNT];  /* of the run */
    char source[MIG_RUN_SOURCE_SIZE]; /* whose WAL, as far as it had come by then */
    int64_t source_wal;
    struct mig_parity_sampling sampling;
};

/* Pins the terms: addresses, the run that the nodes know, as_of. Release with
 * parity_terms_release(); terms must not move in memory while they are in use. */
int parity_terms_pin(struct parity_terms *terms, const struct mig_manifest *manifest,
                     const struct mig_parity_options *options, struct mig_node *const *nodes,
                     size_t node_count, const struct mig_hooks *hooks, struct mig_error *err);
void parity_terms_release(struct parity_terms *terms);

/* sample.c: settles what is sampled; a seed is drawn where none is given. Errors: MIG_E_IO. */
int parity_sample_pin(struct parity_terms *terms, const struct mig_parity_sampling *sampling,
                      struct mig_error *err);
/* Whether the signatures of this row are among those to be checked; for all nodes alike. */
bool parity_sample_takes(const struct parity_terms *terms, enum mig_kind kind, int64_t id);

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

/* Addresses, or what there is instead; empty where nobody looked. */
struct parity_signers {
    char payer[MIG_ADDRESS_TEXT_SIZE], originator[MIG_ADDRESS_TEXT_SIZE];
};

struct parity_held {
    const struct mig_node_row *row;
    bool readable;                  /* false: no envelope, or one that can't be read */
    char trouble[PARITY_SIDE_SIZE]; /* why it can't */
    struct mig_layers layers;
    struct parity_signers signers;
    struct mig_bytes rewritten; /* the envelope as its layers ought to be written; empty when
                                   signatures are missing */
    unsigned signatures, signatures_checked;
};

/* Parses, recovers, rewrites; or takes over what is known of twin, another node's row of the same
 * id, which mostly holds the same bytes (NULL: there is none). Without recover nobody's signature
 * is looked at, but that it is there. What ret_held points to lies in arena. Errors: MIG_E_NOMEM.
 */
int parity_held_read(const struct parity_terms *terms, const struct mig_node_row *row,
                     const struct parity_held *twin, bool recover, struct mig_arena *arena,
                     struct parity_held *ret_held, struct mig_error *err);

/* ---- compare -------------------------------------------------------------------------------- */

/* Notes every difference between an envelope as it must be and a row as it is. */
int parity_compare(const struct parity_terms *terms, const struct mig_envelope *expected,
                   const struct parity_held *held, struct parity_notes *notes,
                   struct mig_error *err);

/* ---- judge ---------------------------------------------------------------------------------- */

enum parity_outcome {
    PARITY_NOTHING, /* nothing to count: absent and rightly so, or above the bound */
    PARITY_HELD,
    PARITY_MISSING,
    PARITY_EXTRA,
    PARITY_PRUNED,
    PARITY_EXPIRED_PRESENT,
};

/* What belongs to one id at one node; at least one side is there. */
struct parity_pair {
    const struct mig_envelope *planned; /* what became of the source's row, or NULL */
    const struct mig_node_row *held;    /* the node's row, or NULL */
    struct parity_held *twin;           /* what was last read of this id; kept up by the judge */
    enum parity_outcome outcome;
    struct parity_note *notes;
    unsigned signatures, signatures_checked; /* of held */
};

/* Sets a pair's outcome and notes. kind is what the node's side holds; a row that is not required
 * may be absent. What is kept in twin lies in scratch. Any thread. Errors: MIG_E_NOMEM. */
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

/* Some of a node's rows, rising; what they point to lies in arena. */
struct parity_batch {
    struct mig_arena arena;
    struct mig_node_row *rows;
    size_t count, next;
    bool ended;     /* nothing follows */
    unsigned users; /* jobs that are cut from it, and whoever cuts them; kept by that one thread */
};
/* Up to which id a batch tells all. */
int64_t parity_batch_reach(const struct parity_batch *batch);
size_t parity_batch_bytes(const struct parity_batch *batch);
void parity_batch_free(struct parity_batch **batch);

struct parity_stream {
    struct mig_queue *queue;
    pthread_t thread;
    bool running;
    int (*produce)(struct parity_stream *stream, struct mig_error *err);
    struct mig_source *source;
    struct mig_node *node;
    struct mig_error failure;
};

/* Starts reading: parts of a table, or batches of an originator's rows, so many bytes ahead. The
 * source or node is the stream's until it ends. Errors: MIG_E_NOMEM, MIG_E_TEMPORARY. */
int parity_stream_source(struct parity_stream *stream, struct mig_source *source,
                         enum mig_table table, const struct parity_segment *segment,
                         size_t ahead_bytes, struct mig_error *err);
int parity_stream_node(struct parity_stream *stream, struct mig_node *node, uint32_t originator,
                       const struct parity_segment *segment, size_t ahead_bytes,
                       struct mig_error *err);
/* The next part or batch, or NULL at the end; the caller's. Errors: those of the reading. */
int parity_stream_next(struct parity_stream *stream, void **ret_item, struct mig_error *err);
/* Stops the thread and frees what was read ahead. A stream that is all zero is fine. */
void parity_stream_end(struct parity_stream *stream);

/* ---- jobs: a stretch of ids at the source and at all nodes, judged by one worker ------------- */

/* A part of the source, and how many jobs are cut from it. */
struct parity_part {
    struct mig_part *part;
    unsigned users;
};

/* A job's share of a batch, and what came of it at this node. */
struct parity_slice {
    struct parity_batch *batch;
    const struct mig_node_row *rows;
    size_t count, next;
    struct mig_parity_sums sums; /* of the rows that are no findings */
};

/* What one node's side of one id has to tell. */
struct parity_finding {
    struct parity_finding *next;
    int64_t id;
    size_t node;
    const struct mig_node_row *held;
    bool sourceless; /* the source has no such row */
    enum parity_outcome outcome;
    const struct parity_note *notes;
};

/* A row that questions are to be asked about. */
struct parity_subject {
    struct parity_subject *next;
    struct mig_envelope envelope; /* of its bytes the topic only */
};
struct parity_subjects {
    struct parity_subject *first, **last;
};

struct parity_job {
    struct parity_job *next; /* in the order of ids */
    struct parity_segment segment;
    enum mig_kind kind; /* of what nodes hold */
    struct parity_part *part;
    const struct mig_row *rows;
    size_t row_count, next_row;
    struct parity_slice *slices; /* one a node, or none when nodes hold no such rows */
    size_t slice_count;
    /* what the worker finds; it all lies in arena */
    struct mig_arena arena;
    struct mig_tally tally;
    struct parity_finding *findings, **last_finding;
    struct parity_subjects rejected, currents; /* of rows that are judged */
    uint64_t signatures, signatures_checked;
    bool done;
    struct mig_error failure;
};

/* merge.c: the lowest id that is left on any side, with the source's row of it or NULL; false when
 * nothing is left. */
bool parity_job_next(struct parity_job *job, int64_t *ret_id, const struct mig_row **ret_row);
/* The row of that id in a slice, or NULL; the slice is beyond it then. */
const struct mig_node_row *parity_slice_take(struct parity_slice *slice, int64_t id);

/* job.c: derives the source's rows, judges all nodes' against them. scratch may be anybody's that
 * no other thread uses. Errors: MIG_E_NOMEM. */
int parity_job_run(const struct parity_terms *terms, struct parity_job *job,
                   struct mig_arena *scratch, struct mig_error *err);

/* ---- crew: threads that do jobs, each one whole ---------------------------------------------- */

struct parity_crew;
typedef int parity_work_fn(const void *context, struct parity_job *job, struct mig_arena *scratch,
                           struct mig_error *err);

/* Starts threads (0: one a core). Errors: MIG_E_NOMEM, MIG_E_TEMPORARY. */
int parity_crew_open(unsigned threads, parity_work_fn *work, const void *context,
                     struct parity_crew **ret_crew, struct mig_error *err);
/* Waits for jobs in hand, not for those that nobody has begun; they stay whose they are. */
void parity_crew_close(struct parity_crew **crew);
unsigned parity_crew_size(const struct parity_crew *crew);
/* Borrows the job until it is done. Errors: MIG_E_NOMEM. */
int parity_crew_begin(struct parity_crew *crew, struct parity_job *job, struct mig_error *err);
/* Waits until a job is done. Errors: the job's. */
int parity_crew_await(struct parity_crew *crew, struct parity_job *job, struct mig_error *err);

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

/* Remembers that a node holds a row. Errors: MIG_E_NOMEM. */
int parity_sourceless_add(struct parity_sourceless *sourceless, size_t node,
                          const struct mig_node_row *held, enum parity_outcome outcome,
                          struct mig_error *err);
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
    struct mig_arena arena;     /* holds the payloads in hand: */
    struct mig_bytes *payloads; /* of the page's letters from first_payload on */
    size_t first_payload, payload_count;
};

struct parity_node {
    struct mig_node *reader; /* the stream's */
    struct mig_node *asker;  /* for questions in between */
    struct parity_stream stream;
    struct parity_batch *batch;
    struct parity_letters letters[MIG_KIND_COUNT];
    struct parity_brought {
        bool known;
        struct mig_brought of;
    } brought[MIG_TABLE_COUNT]; /* of the id asked for last */
};

/* Current key packages that nodes have not been asked about yet. */
#define PARITY_CURRENTS_MAX 1000
struct parity_currents {
    struct mig_arena arena;
    struct mig_envelope items[PARITY_CURRENTS_MAX]; /* of their bytes the topics only */
    size_t count;
};

/* How many bytes of rows may be read ahead of each end, and be in hand. */
struct parity_memory {
    size_t ahead_bytes, in_hand_bytes;
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
    struct parity_crew *crew;
    struct parity_job *jobs, **last_job; /* under way, in the order of ids */
    size_t job_count, bytes_in_hand;     /* bytes of parts and batches that jobs are cut from */
    struct parity_memory memory;
    struct parity_sourceless sourceless; /* of the ids in hand */
    struct parity_currents currents;
    struct mig_parity_report report;
    size_t list_limit;
    uint64_t rows_done, rows_total;
};

/* cut.c: the next job of a part: its ids from those on that the job before ended with. Waits for
 * the nodes' streams. *ret_more: the part goes on behind it. Errors: those of the reading. */
int parity_cut(struct parity_check *check, const struct parity_segment *segment, enum mig_kind kind,
               struct parity_part *part, size_t *next_row, struct parity_job **ret_job,
               bool *ret_more, struct mig_error *err);
void parity_job_free(struct parity_check *check, struct parity_job **job);
int parity_part_take(struct parity_check *check, struct mig_part **part,
                     struct parity_part **ret_part, struct mig_error *err);
void parity_part_leave(struct parity_check *check, struct parity_part **part);
void parity_batch_leave(struct parity_check *check, struct parity_batch **batch);

/* collect.c: puts into the report what a job has found, and asks what it leaves open. */
int parity_collect(struct parity_check *check, struct parity_job *job, struct mig_error *err);

/* ends.c: shares out what may be held, or what helps where that is less. The rest is for what is
 * read and done just now. */
struct parity_memory parity_share_memory(size_t max_memory, size_t nodes);

/* Connects, pins the terms and makes ready; ends it, wherever it stands. check has its
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

/* letters.c: every rejected row of the job must lie whole in every node's dead letter box; counts
 * those that are waived on all nodes. */
int parity_check_letters(struct parity_check *check, const struct parity_job *job,
                         struct mig_error *err);
void parity_letters_release(struct parity_letters *letters);

/* newest.c: what clients would be given: collects current key packages, and asks the nodes about
 * many at once. The flush asks about those that are left. */
int parity_check_newest(struct parity_check *check, const struct parity_job *job,
                        struct mig_error *err);
int parity_flush_newest(struct parity_check *check, struct mig_error *err);
/* reach.c: a node holds no row, up to settled_bound, that is above all that runs have reached. */
int parity_check_reach(struct parity_check *check, enum mig_kind kind, int64_t settled_bound,
                       struct mig_error *err);
/* How far the runs in the books of any of the nodes have got, and where there are any, what the
 * node's own tracker tells of other tools. */
int parity_find_reach(struct parity_check *check, size_t node, enum mig_table table,
                      struct mig_reach *ret_reach, struct mig_error *err);
/* places.c: nothing lies where no part of the source is looked for. */
extern const struct parity_note parity_meta_missing; /* of an envelope alone */
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
