/* What the files of transform share. */
#ifndef MIG_TRANSFORM_PRIVATE_H
#define MIG_TRANSFORM_PRIVATE_H

#include "libmigrate/transform/transform.h"

struct mig_transform {
    const struct mig_manifest *manifest;
    const struct mig_signer *payer, *originator;
    int64_t as_of_ns;
};

/* Rows that go through together, so that many digests are taken side by side; and the client
 * envelopes' bytes from which on a batch takes no more. */
#define TRANSFORM_BATCH_ROWS 64
#define TRANSFORM_BATCH_BYTES ((size_t) 256 << 10)

/* Transforms the first rows of those given, one at least, and says how many. clock_ns is NULL for
 * the policy's own clock. */
int transform_batch(const struct mig_transform *transform, const struct mig_row *rows, size_t count,
                    const int64_t *clock_ns, struct mig_arena *arena,
                    struct mig_envelope *ret_envelopes, size_t *ret_taken, struct mig_error *err);

/* Puts both signed layers around the client envelopes, TRANSFORM_BATCH_ROWS of them at most. */
int transform_add_layers(const struct mig_transform *transform,
                         struct mig_envelope *const *envelopes, size_t count,
                         struct mig_arena *arena, struct mig_error *err);

/*
 * What a kind has of its own: how its payload is built, and which faults make a row of it rejected.
 * Everything else is the same for all kinds.
 */
struct kind_rules {
    uint32_t payload_field; /* of ClientEnvelope */
    /* The first fault of the row in the order of enum mig_reason, or MIG_REASON_NONE. */
    enum mig_reason (*judge)(enum mig_profile profile, const struct mig_row *row);
    int (*build)(enum mig_profile profile, const struct mig_row *row, struct mig_arena *arena,
                 struct mig_bytes *ret_payload, struct mig_error *err);
};

extern const struct kind_rules transform_group_message_rules;
extern const struct kind_rules transform_welcome_rules;
extern const struct kind_rules transform_key_package_rules;
extern const struct kind_rules transform_identity_update_rules;

#endif
