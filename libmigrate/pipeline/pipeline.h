/*
 * pipeline: the stages joined. In one process (run) by bounded queues, or one after another through
 * bundles (export, transform, load); either way the same parts reach the nodes with the same
 * account.
 */
#ifndef MIG_PIPELINE_H
#define MIG_PIPELINE_H

#include "libmigrate/base/base.h"
#include "libmigrate/bundle/bundle.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/node/node.h"

/* ---- nodes of a manifest ------------------------------------------------------------------ */

/* A node that can't be reached now. */
struct mig_away {
    char *name;
    size_t index; /* among the manifest's */
    bool awaited; /* was there before: mig_nodes_bring_back() tries it */
    bool has_lost[MIG_TABLE_COUNT];
    int64_t lost[MIG_TABLE_COUNT]; /* the band of a table that went with it */
    struct mig_error why;
};

struct mig_nodes {
    const struct mig_hooks *hooks; /* hear who is set aside */
    struct mig_node **items;
    size_t count;
    struct mig_away *away;
    size_t away_count;
};
/* Opens all nodes, or the one named. Errors: as mig_node_open(); MIG_E_USAGE (no such name). */
int mig_nodes_open(const struct mig_manifest *manifest, const char *name,
                   enum mig_node_access access, const struct mig_hooks *hooks,
                   const struct mig_stop *stop, struct mig_nodes *ret_nodes, struct mig_error *err);
/* The same, but nodes that can't be reached are set aside, with a warning, as long as one is there.
 * Errors: as above; of the first node away when all are. */
int mig_nodes_open_present(const struct mig_manifest *manifest, const char *name,
                           enum mig_node_access access, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_nodes *ret_nodes,
                           struct mig_error *err);
/* Closes a node and counts it among those that are away, and awaited. Errors: MIG_E_NOMEM. */
int mig_nodes_set_aside(struct mig_nodes *nodes, size_t index, const struct mig_error *why,
                        struct mig_error *err);
/* Opens again which of the awaited nodes can be reached; they come behind the others.
 * Errors: as mig_node_open(), of a failure that does not pass. */
int mig_nodes_bring_back(struct mig_nodes *nodes, const struct mig_manifest *manifest,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         size_t *ret_back, struct mig_error *err);
void mig_nodes_close(struct mig_nodes *nodes);

/* ---- the account -------------------------------------------------------------------------- */

enum mig_verdict { MIG_VERDICT_GREEN, MIG_VERDICT_PARTIAL, MIG_VERDICT_RED };
const char *mig_verdict_name(enum mig_verdict verdict);

struct mig_account_node {
    char *name;
    uint64_t loaded[MIG_KIND_COUNT], already_there[MIG_KIND_COUNT];
    /* Rows that are right here but a conflict on another node, and so rejected as a whole. */
    uint64_t beside_conflicts[MIG_KIND_COUNT];
    /* Of the rows loaded: up to where the node's tracker was when the run began, so that the tool
     * that kept it had left them out. */
    uint64_t holes[MIG_KIND_COUNT];
    uint64_t other_letters; /* of another tool, that the run ended or wrote anew */
};

/* A rejected row that somebody waived on every node that rejected it. */
struct mig_account_waiver {
    enum mig_kind kind;
    int64_t id;
    char rejected_for[64];
    char *reason, *who;
    char when[MIG_TIME_TEXT_SIZE];
};

/* What became of every row of a run, on every node. Sums are as the nodes' own books have them. */
struct mig_account {
    struct mig_bundle_facts facts;
    bool started;    /* false: no node knows a run; all else is empty */
    bool unfinished; /* some node does not have all of it yet: the verdict is red till then */
    struct mig_tally tally;
    uint64_t waived[MIG_KIND_COUNT];
    struct mig_account_waiver *waivers;
    size_t waiver_count;
    struct mig_account_node *nodes;
    size_t node_count;
    struct mig_blockers blockers;
    char **problems; /* why the verdict is red, a sentence each */
    size_t problem_count;
    enum mig_verdict verdict;
};

/* The account of a run (NULL: the newest one), read from the nodes' books and checked: sums close,
 * parts leave no gap, nodes agree. A node that is away leaves it unfinished.
 * Errors: as pg. Free with mig_account_free(). */
int mig_account_read(const struct mig_nodes *nodes, const char *run,
                     struct mig_account **ret_account, struct mig_error *err);
void mig_account_free(struct mig_account **account);
/* Adds a sentence to the problems and turns the verdict red. Errors: MIG_E_NOMEM. */
int mig_account_add_problem(struct mig_account *account, struct mig_error *err, const char *format,
                            ...) __attribute__((format(printf, 3, 4)));

/* The document "xmtp-migrate/account/1"; a json-c object that the caller puts. NULL: no memory.
 * Members that are seldom needed (waivers, problems, expired_early, beside_conflicts, holes,
 * letters_of_other_tools) stand in it only when there is something to say. */
struct json_object *mig_account_to_json(const struct mig_account *account);

/* MIG_OK when green, MIG_E_PARTIAL, MIG_E_TEMPORARY when the run is only not at its end, or
 * MIG_E_DIFFERENT naming the first problem. */
int mig_account_outcome(const struct mig_account *account, struct mig_error *err);

/* ---- what a job may use -------------------------------------------------------------------- */

#define MIG_MAX_MEMORY_DEFAULT ((size_t) 512 << 20)
#define MIG_MAX_MEMORY_LEAST ((size_t) 64 << 20)
#define MIG_RETRY_S_DEFAULT 300

/* All zero: as is best by default, and nothing tried again. */
struct mig_resources {
    unsigned threads;            /* 0: all cores */
    unsigned source_connections; /* 0: 2 */
    size_t max_memory;           /* bytes of rows and envelopes under way; 0: the default */
    uint32_t max_rate;           /* rows a second read from the source; 0: as fast as it goes */
    unsigned retry_s; /* for how long a fault that passes is tried again; 0: it ends the job */
};

/* ---- in one process ----------------------------------------------------------------------- */

struct mig_run_options {
    bool has_as_of;
    int64_t as_of_ns;
    bool new_run;      /* don't take up an unfinished run */
    bool source_moved; /* the source may be another database than the run's, with the same rows */
    struct mig_resources resources;
    const char *chain_out; /* where the chain-bound envelopes go; NULL: beside the manifest */
    /* Gives the account of a run that has ended to whoever asked for it; may be NULL. */
    int (*tell)(void *context, const struct mig_account *account, struct mig_error *err);
    void *context;
    /* Once asked for, no more is read, and what is in hand is finished; may be NULL. */
    const struct mig_stop *ease;
};

/*
 * Export, transform and load into every node of the manifest. Takes up the nodes' unfinished run if
 * there is one, or a finished one that was not told yet and could be what is asked for; else begins
 * a new one. Every part that was committed stays
 * when it fails or is stopped; running it again goes on from there.
 *
 * Errors: those of all stages; MIG_E_REFUSED when the unfinished run was begun under other facts.
 * A red or partial account is no error here: see mig_account_outcome().
 */
int mig_pipeline_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                     const struct mig_hooks *hooks, const struct mig_stop *stop,
                     struct mig_account **ret_account, struct mig_error *err);

/* What follow has done: rows brought to the nodes that were farthest, and how old they were then,
 * counted from when V3 says they were made. */
struct mig_follow_summary {
    uint64_t rows;
    int64_t lag_p50_ms, lag_p99_ms, lag_max_ms;
};

/*
 * Brings to every node what arrives at the source, as soon as it is settled, until stop is asked
 * for; then finishes what is in hand, for some seconds at most. Goes on with the newest run; where
 * there is none, or it is not finished, runs first, and may end in the middle of that: then the
 * account is unfinished.
 *
 * Errors: as mig_pipeline_run(); MIG_E_CANCELLED when there was no time to finish;
 * MIG_E_TEMPORARY when source or all nodes stayed away for options->resources.retry_s.
 */
int mig_pipeline_follow(const struct mig_manifest *manifest, const struct mig_run_options *options,
                        const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_follow_summary *ret_summary, struct mig_account **ret_account,
                        struct mig_error *err);

/* A band of a node that a run would bring rows to. */
struct mig_band {
    const char *node;
    enum mig_table table;
    int64_t start;
    enum mig_way way;
};
typedef int mig_band_fn(void *context, const struct mig_band *band, struct mig_error *err);

/* Tells the bands of what a run with these options would load now, and the way of each; writes
 * nothing. Rows above the sequence are not among them. Errors: as mig_pipeline_run(), and tell's.
 */
int mig_pipeline_dry_run(const struct mig_manifest *manifest, const struct mig_run_options *options,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         mig_band_fn *tell, void *context, struct mig_error *err);

/* ---- what a run would take ----------------------------------------------------------------- */

/* Stands for a number that can't be known. */
#define MIG_PLAN_UNKNOWN INT64_C(-1)

struct mig_plan_options {
    struct mig_run_options run;
    bool exact;             /* read every row instead of asking for estimates */
    unsigned probe_seconds; /* how long signing is tried; 0: not */
};

struct mig_plan_table {
    int64_t rows, bytes, parts; /* bytes: of the rows as they are read */
    int64_t disk_bytes;         /* what it takes at the source */
    size_t bands;               /* that its rows lie in; 0 for a table whose rows go to the chain */
};
struct mig_plan_kind {
    int64_t rows, expired;
    int64_t rejected; /* only known when exact */
    int64_t to_go;    /* to nodes, or to the chain */
};
struct mig_plan_node {
    char *name;
    bool known;           /* false: it could not be asked */
    size_t empty, filled; /* bands of the run: seeded in bulk, or staged beside what is there */
    int64_t disk_bytes, wal_bytes;
    int64_t free_bytes, wal_free_bytes;
    struct mig_settings settings;
};
struct mig_plan {
    char *network;
    int64_t as_of_ns;
    bool exact, at_most; /* at_most: what has expired is not known, and counts as to go */
    char takes_up[33];   /* the unfinished run, or "" */
    bool source_known;   /* false: tables and kinds say nothing */
    struct mig_plan_table tables[MIG_TABLE_COUNT];
    struct mig_plan_kind kinds[MIG_KIND_COUNT];
    unsigned threads;
    int64_t rows_per_second, seconds; /* of signing; seconds: of the whole at that speed */
    struct mig_plan_node *nodes;
    size_t node_count;
    struct mig_errors refusals; /* in the order in which a run would meet them */
};

/*
 * What a run would take and what would refuse it, all at once. Writes nothing anywhere; every
 * session is read-only. Errors: MIG_E_NOMEM, MIG_E_CANCELLED; whatever else goes wrong is a refusal
 * of the plan. Free with mig_plan_free().
 */
int mig_pipeline_plan(const struct mig_manifest *manifest, const struct mig_plan_options *options,
                      const struct mig_hooks *hooks, const struct mig_stop *stop,
                      struct mig_plan **ret_plan, struct mig_error *err);
void mig_plan_free(struct mig_plan **plan);
/* The document "xmtp-migrate/plan/1"; a json-c object that the caller puts. NULL: no memory. */
struct json_object *mig_plan_to_json(const struct mig_plan *plan);
/* MIG_OK when it would run, else what a run would end with. */
int mig_plan_outcome(const struct mig_plan *plan, struct mig_error *err);

/* ---- stage by stage ----------------------------------------------------------------------- */

/* What a stage did, for a person. */
struct mig_stage_summary {
    struct mig_bundle_facts facts;
    struct mig_tally tally; /* of an export: expired rows only */
    uint64_t rows, parts;
    struct mig_blockers blockers;
};
void mig_stage_summary_release(struct mig_stage_summary *summary);

/* Source to a bundle of rows. One that was made at the same instant under the same manifest and
 * lies there whole is taken for it, when the instant was asked for.
 * Errors: as source and bundle. */
int mig_pipeline_export(const struct mig_manifest *manifest, bool has_as_of, int64_t as_of_ns,
                        const char *out, const struct mig_resources *resources,
                        const struct mig_hooks *hooks, const struct mig_stop *stop,
                        struct mig_stage_summary *ret_summary, struct mig_error *err);

/* A bundle of rows to one of envelopes. One that was made of the same run with the same keys and
 * lies there whole is taken for it. Errors: as bundle; MIG_E_REFUSED for a bundle of another
 * network, policy or stage. */
int mig_pipeline_transform(const struct mig_manifest *manifest, const char *in, const char *out,
                           const struct mig_resources *resources, const struct mig_hooks *hooks,
                           const struct mig_stop *stop, struct mig_stage_summary *ret_summary,
                           struct mig_error *err);

/* A bundle of envelopes into the nodes, or the one named. Errors: as bundle and node; MIG_E_REFUSED
 * for a bundle of another network, policy, key or stage. */
int mig_pipeline_load(const struct mig_manifest *manifest, const char *in, const char *node_name,
                      const struct mig_resources *resources, const struct mig_hooks *hooks,
                      const struct mig_stop *stop, struct mig_account **ret_account,
                      struct mig_error *err);

/* ---- rejected rows ------------------------------------------------------------------------ */

struct mig_retry_summary {
    uint64_t tried, loaded, rejected_again, expired, left; /* left: see the log why */
    uint64_t replaced; /* of those loaded: over what a node held otherwise */
    size_t nodes_away; /* whose letters were not tried */
};

/*
 * Tries dead letters again on every node: the row as the source has it now (or as it was kept, when
 * the source has it no more) is transformed anew. Errors: as the stages; MIG_E_REFUSED when the
 * keys are not those of the run, or no run was ever begun.
 */
int mig_pipeline_retry(const struct mig_manifest *manifest, const struct mig_letter_filter *filter,
                       const struct mig_hooks *hooks, const struct mig_stop *stop,
                       struct mig_retry_summary *ret_summary, struct mig_error *err);

/* Conflicts that are to be repaired, each named. */
struct mig_row_name {
    enum mig_kind kind;
    int64_t id;
};
struct mig_replacing {
    const struct mig_row_name *rows;
    size_t count;
    const char *node; /* on this one only; NULL: wherever they are conflicts */
    struct mig_repair repair;
};

/*
 * Puts what would be loaded in the place of what nodes hold otherwise, for the rows named and no
 * others; what they held is kept, whole. Errors: as mig_pipeline_retry(); MIG_E_USAGE, before
 * anything is changed, naming a row that is no conflict; MIG_E_REFUSED for a row that is another by
 * now than when the conflict was found.
 */
int mig_pipeline_replace(const struct mig_manifest *manifest, const struct mig_replacing *replacing,
                         const struct mig_hooks *hooks, const struct mig_stop *stop,
                         struct mig_retry_summary *ret_summary, struct mig_error *err);

#endif
