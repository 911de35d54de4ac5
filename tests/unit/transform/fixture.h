/* A transform under a manifest that a test may bend, and rows that nothing is wrong with. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "libmigrate/transform/transform.h"
#include "support/golden.h"

struct fixture {
    struct mig_manifest *manifest;
    struct mig_signer *payer, *originator;
    struct mig_transform *transform;
    struct mig_arena arena;
};

/* The manifest that the vectors of a profile were made under: their rates, keys and 60 days for
 * everything that expires, expired rows kept. Not opened yet. */
struct fixture fixture_load(struct golden *golden, const char *profile);
/* The same with no vectors at hand: profile correct, expired rows dropped. */
struct fixture fixture_plain(void);
void fixture_open(struct fixture *fixture, int64_t as_of_ns);
void fixture_release(struct fixture *fixture);

/* Transforms one row; failing is a failure of the test. */
struct mig_envelope fixture_transform(struct fixture *fixture, const struct mig_row *row);

#define FIXTURE_AS_OF (INT64_C(1767225600) * MIG_NS_PER_SECOND)

/* A good row made an hour before FIXTURE_AS_OF: an application message, a welcome, a key package,
 * an identity update. Bytes are static. */
struct mig_row fixture_row(enum mig_table table);
/* The same for group_messages, as a commit whose data takes size bytes in all. */
struct mig_row fixture_commit(struct fixture *fixture, size_t size);

#endif
