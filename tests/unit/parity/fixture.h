/* A row at the source, the terms it is judged by, and the row that a node holds of it: all right
 * until a test changes something. */
#ifndef PARITY_FIXTURE_H
#define PARITY_FIXTURE_H

#include "libmigrate/parity/parity_private.h"

#define PAYER_KEY "1111111111111111111111111111111111111111111111111111111111111111"
#define ORIGINATOR_KEY "2222222222222222222222222222222222222222222222222222222222222222"
#define OTHER_KEY "3333333333333333333333333333333333333333333333333333333333333333"

#define DAY_S INT64_C(86400)
#define AS_OF_S INT64_C(1767225600) /* 2026-01-01 */
#define ROW_ID 17

struct fixture {
    struct mig_manifest *manifest;
    struct mig_signer *payer, *originator, *other;
    struct parity_terms terms;
    struct mig_transform *maker; /* as the mover: with keys, expired rows kept */
    struct mig_arena arena, scratch, notes;
    struct mig_row row;
    struct mig_envelope made; /* what the mover makes of row */
    struct mig_node_row held; /* as the node holds it */
    struct parity_held *twin; /* handed to the judge; NULL at first */
    struct parity_pair pair;
};

enum fixture_clock { CREATED, MIGRATED };

/* A message of age_days at AS_OF_S. */
void fixture_open(struct fixture *fixture, enum fixture_clock clock, int64_t age_days);
void fixture_close(struct fixture *fixture);

/* Judges the row against what is held; outcome and notes are in fixture->pair. */
void fixture_judge(struct fixture *fixture);
/* The same for a row that the source doesn't have, and for one that the node doesn't. */
void fixture_judge_sourceless(struct fixture *fixture);
void fixture_judge_absent(struct fixture *fixture, bool required);

/* The layers of what is held, changed and put together again; signed anew by the signers that are
 * not NULL. */
void fixture_rebuild(struct fixture *fixture, const struct mig_layers *layers,
                     const struct mig_signer *payer, const struct mig_signer *originator);
struct mig_layers fixture_layers(struct fixture *fixture);

/* "what/where what/where", in order. */
const char *fixture_notes(const struct fixture *fixture);

#endif
