/*
 * bundle: rows and envelopes in files, and in memory on their way there.
 *
 * A part is what one range of ids of one V3 table holds, with the tally of what became of each row.
 * A bundle is a folder, a tar file or a tar stream of parts: header.json first, parts, index.json
 * last. The index is the commit marker: without it, or with a part that is not what the index says,
 * the whole bundle is refused.
 */
#ifndef MIG_BUNDLE_H
#define MIG_BUNDLE_H

#include "libmigrate/base/base.h"
#include "libmigrate/wire/wire.h"

/* ---- tallies ------------------------------------------------------------------------------ */

/* How many rows ended in which state. Kind by kind: counted = expired + rejected + for_nodes +
 * for_chain, where of the last two one is 0. */
struct mig_kind_tally {
    uint64_t counted, expired, rejected, for_nodes, for_chain;
    uint64_t expired_early; /* of the expired: V3 itself would still answer them */
};
struct mig_tally {
    struct mig_kind_tally kinds[MIG_KIND_COUNT];
    uint64_t rejects[MIG_REASON_COUNT];
    uint64_t findings[MIG_FINDING_COUNT];
};
void mig_tally_add(struct mig_tally *sum, const struct mig_tally *more);
/* Counts one transformed row. */
void mig_tally_envelope(struct mig_tally *tally, const struct mig_envelope *envelope);
/* One tally as a JSON object, appended: kinds, rejects, findings by name, zeros left out. */
int mig_tally_print_json(const struct mig_tally *tally, struct mig_buffer *text,
                         struct mig_error *err);
/* Reads such an object. Errors: MIG_E_CORRUPT (unknown names, negative numbers, sums that don't
 * close), MIG_E_NOMEM. */
int mig_tally_parse_json(const char *text, struct mig_tally *ret_tally, struct mig_error *err);

/* ---- parts -------------------------------------------------------------------------------- */

/* Everything of table whose id lies in [first_id, last_id]. Ranges of one table don't overlap and,
 * taken together, leave no gap. */
/* A row by which a database is known again: it may be pruned, but no other may have its id. */
struct mig_witness {
    int64_t id;
    char digest[65]; /* SHA-256 of its bytes that are never NULL, in the order of columns; "": none
                      */
};

struct mig_part {
    enum mig_table table;
    int64_t first_id, last_id;
    bool settled;  /* false: above what the sequence gave out; read anew by every run */
    bool followed; /* behind what the run had settled when it was begun */
    int64_t
        books_first_id; /* of the part in a node's books that this one goes on with, or begins */
    struct mig_witness witness; /* its last row, where it comes from the source */
    uint64_t rows_sent;         /* how many rows the source's server says it sent */
    struct mig_arena arena;     /* holds all bytes of rows and envelopes */
    struct mig_row *rows;       /* rising ids; malloc'd */
    size_t row_count, row_capacity;
    struct mig_envelope *envelopes; /* one a row once transformed, else NULL; malloc'd */
    struct mig_tally tally;
};

/* Errors: MIG_E_NOMEM. */
int mig_part_new(enum mig_table table, int64_t first_id, struct mig_part **ret_part,
                 struct mig_error *err);
void mig_part_free(struct mig_part **part);
/* Gives the place for one more row, zeroed; it stays valid until the next call.
 * Errors: MIG_E_NOMEM. */
int mig_part_add_row(struct mig_part *part, struct mig_row **ret_row, struct mig_error *err);
/* Bytes of memory the part holds, for queues. */
size_t mig_part_bytes(const struct mig_part *part);

/* ---- bundles ------------------------------------------------------------------------------ */

enum mig_stage { MIG_STAGE_ROWS, MIG_STAGE_ENVELOPES }; /* what xmtp-export, -transform write */

/* The facts that a whole bundle stands under; written into header.json and index.json. */
struct mig_bundle_facts {
    enum mig_stage stage;
    char run[33]; /* the run's id, hex */
    char network[65];
    int64_t as_of_ns;
    char profile[16];               /* "correct", "xmtpd" */
    char policy_digest[65];         /* mig_manifest_facts() */
    char payer[43], originator[43]; /* addresses; "" in a bundle of rows */
};

/* What a list of installations that block the migration needs (source fills it, index.json carries
 * it, accounts show it). */
struct mig_blocker {
    char *subject; /* "installation 0a0b...", "commit_messages 17" */
    char *what;    /* one sentence */
    char *remedy;
};
struct mig_blockers {
    struct mig_blocker *items;
    size_t count;
};
int mig_blockers_add(struct mig_blockers *blockers, const char *subject, const char *what,
                     const char *remedy, struct mig_error *err);
/* Adds copies of more's. */
int mig_blockers_append(struct mig_blockers *blockers, const struct mig_blockers *more,
                        struct mig_error *err);
void mig_blockers_release(struct mig_blockers *blockers);
/* An array of objects with subject, what and remedy; a json-c object that the caller puts. */
struct json_object *mig_blockers_to_json(const struct mig_blockers *blockers);

/* Writes a bundle to path: a folder, a file whose name ends in ".tar", or "-" for a tar stream on
 * standard output. An existing bundle is not overwritten; an unfinished one in a folder is.
 * Errors: MIG_E_IO (disk full, closed pipe), MIG_E_USAGE (exists), MIG_E_NOMEM. */
struct mig_bundle_writer;
int mig_bundle_create(const char *path, const struct mig_bundle_facts *facts,
                      struct mig_bundle_writer **ret_writer, struct mig_error *err);

/* How many files of an unfinished one had been there and are gone. */
size_t mig_bundle_removed(const struct mig_bundle_writer *writer);

/* Whether one could be begun there; an unfinished one is cleaned away, and nothing is left behind.
 * Errors: as mig_bundle_create(). */
int mig_bundle_try(const char *path, size_t *ret_removed, struct mig_error *err);

/*
 * Adds a part. In a bundle of rows: its rows. In a bundle of envelopes: one file with what nodes
 * get and what was rejected, and when there is any, one with the client envelopes for the chain, in
 * id order. Expired rows are in the tally only.
 * The part is the caller's again at once; writing it goes on, so that its failure may be told by a
 * later call.
 */
int mig_bundle_add(struct mig_bundle_writer *writer, const struct mig_part *part,
                   struct mig_error *err);

/* Writes the index and makes everything durable. The bundle is valid from here on. */
int mig_bundle_commit(struct mig_bundle_writer *writer, const struct mig_blockers *blockers,
                      struct mig_error *err);
/* Frees *writer; what was not committed stays without an index, so nobody will trust it. */
void mig_bundle_writer_free(struct mig_bundle_writer **writer);

/* What index.json says of one file of the bundle. */
struct mig_bundle_entry {
    char name[96]; /* "parts/000001-group_messages-nodes.zst" */
    enum mig_table table;
    bool chain; /* client envelopes for the chain */
    bool settled;
    int64_t first_id, last_id;
    uint64_t rows, bytes, file_bytes; /* records in it; bytes before and after compression */
    char sha256[65];                  /* of the file as it lies there */
    struct mig_tally tally;           /* all zero for a chain part: its rows stand in its sibling */
};

/*
 * Opens a bundle for reading and verifies it whole before anything is given out: a folder or a file
 * in a pass of its own; "-" (standard input) while it comes in, and goes to an unlinked file in
 * TMPDIR to be read from again. With trust_later a stream is not spooled: parts are given out as
 * they come, each checked against its own digest at the end, and the reader's last call fails if
 * the index disagrees: for consumers whose own output is only valid once they commit it. Errors:
 * MIG_E_CORRUPT naming the part, MIG_E_REFUSED (newer version), MIG_E_IO, MIG_E_NOMEM.
 */
struct mig_bundle_reader;
int mig_bundle_open(const char *path, bool trust_later, struct mig_bundle_reader **ret_reader,
                    struct mig_error *err);
/* The same, never trusting later, on at most so many threads (0: one a core), and with a judge of
 * what bundles know nothing of, or NULL: called for each part while the whole is verified, by
 * several threads at once; what it fails with refuses the bundle. */
typedef int mig_bundle_judge_fn(const struct mig_bundle_facts *facts, const struct mig_part *part,
                                struct mig_error *err);
int mig_bundle_open_judged(const char *path, mig_bundle_judge_fn *judge, unsigned threads,
                           struct mig_bundle_reader **ret_reader, struct mig_error *err);
void mig_bundle_reader_free(struct mig_bundle_reader **reader);
const struct mig_bundle_facts *mig_bundle_facts(const struct mig_bundle_reader *reader);

/* The next part, decoded, or NULL at the end (then everything was as the index says). The caller
 * owns it. A nodes part has its tally; the chain part of the same range follows it by itself, with
 * *ret_entry->chain set. Envelopes are as mig_transform_part() leaves them: of those for nodes the
 * layers in between are not kept. ret_entry may be NULL; what it gives is valid until the next
 * call. */
int mig_bundle_next(struct mig_bundle_reader *reader, struct mig_part **ret_part,
                    const struct mig_bundle_entry **ret_entry, struct mig_error *err);

/* What the index says; only after the reader has come to the end, or from a verified bundle. */
const struct mig_blockers *mig_bundle_blockers(const struct mig_bundle_reader *reader);
const struct mig_bundle_entry *mig_bundle_entries(const struct mig_bundle_reader *reader,
                                                  size_t *ret_count);

/* ---- what is set aside ---------------------------------------------------------------------- */

/* Chain-bound envelopes of parts, out of memory until they are bundled: in a file without a name,
 * which is gone with the process. One thread at a time. */
struct mig_spool;
/* Errors: MIG_E_IO, MIG_E_NOMEM. */
int mig_spool_open(const char *folder, struct mig_spool **ret_spool, struct mig_error *err);
void mig_spool_free(struct mig_spool **spool);
/* Sets aside what a transformed part has for the chain, if anything. Errors: MIG_E_IO (disk full),
 * MIG_E_NOMEM; then the spool holds what it held. */
int mig_spool_add(struct mig_spool *spool, const struct mig_part *part, struct mig_error *err);
/* Gives the envelopes of the part that had exactly this range back, as a part of their own without
 * a tally. NULL when there is none. Errors: MIG_E_IO, MIG_E_NOMEM. */
int mig_spool_take(struct mig_spool *spool, enum mig_table table, int64_t first_id, int64_t last_id,
                   struct mig_part **ret_part, struct mig_error *err);

#endif
