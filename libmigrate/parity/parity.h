/*
 * parity: a verdict by recomputation. What each node must hold is derived anew from the source, and
 * compared with what it does hold; nobody's books are believed.
 *
 * Both ends are read once, in the order of ids, side by side: memory stays the same however many
 * rows there are.
 */
#ifndef MIG_PARITY_H
#define MIG_PARITY_H

#include "libmigrate/base/base.h"
#include "libmigrate/bundle/bundle.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/wire/wire.h"

struct json_object;

#define MIG_PARITY_LIST_LIMIT 1000 /* differences listed unless asked otherwise */

/*
 * Whose signatures are recovered: of all rows, of a share of them, of none. Which rows a share
 * takes follows from a seed, so that a check can be repeated, and nobody can know before who lacks
 * it.
 *
 * What envelopes say is compared for every row, bytes included; of a row that is left out it is not
 * proved who signed it. Rows that the source has no more are never left out: nothing else vouches
 * for them.
 */
enum mig_parity_signatures {
    MIG_PARITY_SIGNATURES_ALL,
    MIG_PARITY_SIGNATURES_SAMPLE,
    MIG_PARITY_SIGNATURES_NONE,
};
#define MIG_PARITY_SEED_SIZE 16
struct mig_parity_sampling {
    enum mig_parity_signatures which;
    double percent; /* of SAMPLE: above 0, 100 at most */
    bool has_seed;  /* else: a random one */
    uint8_t seed[MIG_PARITY_SEED_SIZE];
};

struct mig_parity_options {
    const char *const *nodes; /* names of the manifest's nodes to look at */
    size_t node_count;        /* 0: all */
    bool has_as_of;           /* else: the as_of of the last run that the nodes know, else now */
    int64_t as_of_ns;
    unsigned threads;  /* 0: one per core */
    size_t max_memory; /* bytes of rows read ahead and in hand; 0: no more than helps, which is some
                          24 MiB and 10 for each node. A single row may be larger */
    struct mig_parity_sampling sampling;
    const struct mig_address *payer;      /* whose signatures are expected: */
    const struct mig_address *originator; /* NULL: the manifest's keys' */
    size_t list_limit;                    /* how many differences are listed; all are counted */
};

/*
 * One difference. what is one of
 *
 *   missing                 the node lacks a row that the source has; or one that another node
 *                           holds and the source has pruned, after a run brought it here
 *   extra                   the node has a row that the source doesn't give
 *   blob_missing            there is a meta row, but no envelope
 *   meta_missing            there is an envelope, but no meta row
 *   unreadable              the envelope can't be taken apart
 *   encoding                the envelope's parts are right, but not written as they should be
 *   topic expiry fee time   the value differs; where tells in which place: "meta" or "envelope"
 *   client_envelope         the client envelope's bytes differ
 *   originator sequence_id target_originator retention
 *                           numbers inside the envelope
 *   payer_signer originator_signer
 *                           whose signature it is, as recovered from it
 *   payer                   meta names another address
 *   unknown_run             there are rows above all that the runs in the books, or the node's
 *                           tracker, have reached: nobody can say which rows must be there
 *   clock_behind            the vector clock is below the highest row
 *   newest_key_package      the node would give an installation another key package
 *   dead_letter_missing dead_letter_altered
 *                           a rejected row is not kept, or not as it is
 */
struct mig_parity_difference {
    enum mig_kind kind;
    int64_t id;
    uint32_t originator;
    size_t node; /* place in the report's nodes */
    const char *what;
    const char *where; /* "meta", "envelope", or "" */
    char expected[120], found[120];
};

struct mig_parity_sums {
    uint64_t held;             /* rows that the node must have, and has */
    uint64_t missing;          /* rows that it must have, and lacks */
    uint64_t altered;          /* rows that it has, with differences */
    uint64_t extra;            /* rows that nothing at the source explains */
    uint64_t pruned_at_source; /* rows that V3 deleted when they expired there: no difference */
    uint64_t pruned_elsewhere; /* such rows of other nodes, gone before a run came here: likewise */
    uint64_t expired_present;  /* expired rows that it has, as they should be: no difference */
};

struct mig_parity_node {
    char *name;
    struct mig_parity_sums kinds[MIG_KIND_COUNT];
};

enum mig_parity_verdict {
    MIG_PARITY_GREEN,   /* every node holds what it must, and nothing else */
    MIG_PARITY_PARTIAL, /* but for rejected rows that are not waived on every node */
    MIG_PARITY_RED,     /* there are differences */
};

struct mig_parity_report {
    char network[65];
    char profile[16];
    int64_t as_of_ns;
    char run[33]; /* the run that bounds come from, "" when none is known */
    struct mig_parity_node *nodes;
    size_t node_count;
    struct mig_tally tally;                  /* of the rows judged, by what they must become */
    uint64_t waived[MIG_KIND_COUNT];         /* of the rejected, those waived on every node */
    uint64_t above_bound[MIG_KIND_COUNT];    /* rows not judged: they came after the run */
    struct mig_parity_sampling sampling;     /* with its seed */
    uint64_t signatures, signatures_checked; /* two a row that a node holds; whose signer is known,
                                                recovered once for nodes that hold the same bytes */
    struct mig_parity_difference *differences; /* by kind, id and node; at most list_limit */
    size_t listed;
    uint64_t difference_count; /* of all */
    enum mig_parity_verdict verdict;
};

/*
 * Compares the source with the nodes. Differences are no error: the report has them, and the
 * verdict.
 *
 * Errors: as mig_source_open() and mig_node_open(); MIG_E_USAGE (no such node, no key to compare
 * with); MIG_E_IO (no random bytes to sample with); MIG_E_REFUSED (the nodes know runs of different
 * instants, or only of one to come); MIG_E_CANCELLED; MIG_E_NOMEM. Release the report with
 * mig_parity_report_release().
 */
int mig_parity_check(const struct mig_manifest *manifest, const struct mig_parity_options *options,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_parity_report *ret_report, struct mig_error *err);
void mig_parity_report_release(struct mig_parity_report *report);

/* "all", "sample", "none". */
const char *mig_parity_signatures_name(enum mig_parity_signatures which);

/* "green", "partial", "red". */
const char *mig_parity_verdict_name(enum mig_parity_verdict verdict);

/* The report as a document of schema xmtp-migrate/parity/1. The caller puts it.
 * Errors: MIG_E_NOMEM. */
int mig_parity_report_json(const struct mig_parity_report *report, struct json_object **ret_json,
                           struct mig_error *err);

#endif
