/*
 * manifest: what a network is, as a person wrote it down: one JSON document.
 *
 * Loading checks everything that can be checked without touching a server and collects all problems
 * at once, each with its JSON pointer. Secrets stay references until somebody asks for one.
 */
#ifndef MIG_MANIFEST_H
#define MIG_MANIFEST_H

#include "libmigrate/base/base.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/wire/wire.h"

enum mig_profile { MIG_PROFILE_CORRECT, MIG_PROFILE_XMTPD };
/* "correct" or "xmtpd". */
const char *mig_profile_name(enum mig_profile profile);
enum mig_clock { MIG_CLOCK_CREATED, MIG_CLOCK_MIGRATED };
enum mig_settle { MIG_SETTLE_WRITERS, MIG_SETTLE_ALL_TRANSACTIONS };

/* env:NAME, file:PATH, fd:N, or the text itself (a DSN without a password). */
struct mig_reference {
    char *text;   /* as written in the manifest */
    char *folder; /* what a relative file: path counts from */
};

/* A secret in memory. Wiped by mig_secret_release(). */
struct mig_secret {
    char *text; /* NUL-terminated, trailing newline removed */
    size_t size;
};

/* What a database is not to be asked for more of. 0: no limit. */
struct mig_limits {
    int64_t replication_lag_s;   /* pause while a standby is further behind */
    int64_t active_sessions;     /* pause while more are at work besides ours; of the source only */
    int64_t statement_timeout_s; /* no statement of ours takes longer */
    int64_t lock_timeout_s;      /* nor waits longer for a lock */
};

struct mig_manifest_node {
    char *name;
    int32_t node_id;
    struct mig_reference dsn;
    struct mig_limits limits;
};

struct mig_rate {
    int64_t start_ns;
    uint64_t message_fee, storage_fee; /* picodollars; storage per byte and day */
};

struct mig_policy {
    enum mig_profile profile;
    enum mig_clock clock; /* of originator_ns; profile xmtpd always means MIGRATED */
    bool count_usage;
    bool keep_expired;
    uint32_t retention_days[MIG_KIND_COUNT]; /* 0 for kinds that never expire */
    uint32_t source_retention_days[MIG_KIND_COUNT];
    bool shorter_allowed[MIG_KIND_COUNT];
};

struct mig_manifest {
    char *path;
    char *network;
    struct mig_reference source_dsn;
    enum mig_settle settle;
    int64_t settle_hold_s; /* where ranges are settled by time: after an id was seen */
    struct mig_limits source_limits;
    struct mig_manifest_node *nodes;
    size_t node_count;
    struct mig_reference payer_key, originator_key;
    struct mig_policy policy;
    struct mig_rate *rates; /* rising start */
    size_t rate_count;
};

struct mig_problem {
    char *pointer; /* RFC 6901, "" for the document */
    char *message;
};
struct mig_problems {
    struct mig_problem *items;
    size_t count;
};
void mig_problems_release(struct mig_problems *problems);

/*
 * Reads and checks the manifest at path. On MIG_E_USAGE problems holds every problem found, err the
 * first with the number of the others; problems may be NULL.
 * Errors: MIG_E_USAGE (a file that cannot be read too), MIG_E_NOMEM. Free with mig_manifest_free().
 */
int mig_manifest_load(const char *path, struct mig_manifest **ret_manifest,
                      struct mig_problems *problems, struct mig_error *err);

/* The same for a document already in memory (borrowed). path is only its name in messages, and its
 * folder what relative file: references count from. Errors: MIG_E_USAGE, MIG_E_NOMEM. */
int mig_manifest_parse(struct mig_bytes text, const char *path, struct mig_manifest **ret_manifest,
                       struct mig_problems *problems, struct mig_error *err);
void mig_manifest_free(struct mig_manifest **manifest);

/* Fetches what a reference stands for. what names it in messages ("keys.payer"); the secret never
 * appears in one. A world-readable file is used, with a warning through hooks.
 * An fd: is read to its end once; asking again gives the same text.
 * Errors: MIG_E_USAGE (unset variable, missing file), MIG_E_IO, MIG_E_NOMEM. */
int mig_reference_resolve(const struct mig_reference *reference, const char *what,
                          const struct mig_hooks *hooks, struct mig_secret *ret_secret,
                          struct mig_error *err);
void mig_secret_release(struct mig_secret *secret);

/* Opens the two keys. Either output may be NULL. Errors: as above, MIG_E_USAGE for bad hex. */
int mig_manifest_signers(const struct mig_manifest *manifest, const struct mig_hooks *hooks,
                         struct mig_signer **ret_payer, struct mig_signer **ret_originator,
                         struct mig_error *err);

/* The rate in force at an instant: the last that starts at or before it. NULL before the first. */
const struct mig_rate *mig_manifest_rate(const struct mig_manifest *manifest, int64_t unix_ns);

/*
 * SHA-256 in hex over the canonical form of everything that decides what a row becomes: network,
 * profile, clock, retention, expired, rates. Two manifests with the same digest make the same
 * envelopes from the same rows, keys and as_of.
 */
int mig_manifest_facts(const struct mig_manifest *manifest, char ret_digest[65],
                       struct mig_error *err);

/* Appends the same facts, one by one, as a JSON object of names and values, to be kept. */
int mig_manifest_print_pinned(const struct mig_manifest *manifest, struct mig_buffer *text,
                              struct mig_error *err);
/* Appends what of the manifest is not as it was kept, "NAME: 60 in THERE, 30 in the manifest" each,
 * with "; " between them; nothing when all is the same. Errors: MIG_E_CORRUPT (pinned can't be
 * read), MIG_E_NOMEM. */
int mig_manifest_compare_pinned(const struct mig_manifest *manifest, const char *pinned,
                                const char *there, struct mig_buffer *text, struct mig_error *err);

#endif
