/*
 * transform: a V3 row becomes a client envelope, and for nodes a payer and an originator envelope
 * around it; or it is expired, or rejected with its reason.
 *
 * What comes out depends on nothing but the row, the policy, the rates, the pinned instant and the
 * two keys: the same everywhere, byte for byte.
 */
#ifndef MIG_TRANSFORM_H
#define MIG_TRANSFORM_H

#include "libmigrate/base/base.h"
#include "libmigrate/bundle/bundle.h"
#include "libmigrate/manifest/manifest.h"
#include "libmigrate/sign/sign.h"
#include "libmigrate/wire/wire.h"

/*
 * The largest client envelope that the chain can carry: one transaction holds 128 KiB, of which the
 * call around a single payload takes less than 1 KiB. For nodes: what a database value can hold,
 * with room for the layers around it.
 */
#define MIG_CHAIN_PAYLOAD_MAX ((size_t) 127 << 10)
#define MIG_NODE_PAYLOAD_MAX ((size_t) 1000 << 20)

/* The longest topic that a node's indexes take whatever its bytes: 2704 less the row's header, the
 * topic's length and the other columns. */
#define MIG_NODE_TOPIC_MAX 2668

struct mig_transform;

/*
 * Makes ready to transform rows under a manifest at a pinned instant. The manifest and the signers
 * are borrowed. Without signers (both NULL) signatures are 65 zero bytes: all else is as it will
 * be, the fee too, which is what an auditor compares.
 *
 * Errors: MIG_E_USAGE (no rate is in force at the run's clock), MIG_E_NOMEM.
 */
int mig_transform_open(const struct mig_manifest *manifest, int64_t as_of_ns,
                       const struct mig_signer *payer, const struct mig_signer *originator,
                       struct mig_transform **ret_transform, struct mig_error *err);
void mig_transform_free(struct mig_transform **transform);

/* Transforms one row; what the envelope points to lies in arena or in the row. Any thread, each
 * with its own arena. Errors: MIG_E_NOMEM, MIG_E_CORRUPT (the curve library refused). A bad row is
 * no error but a rejected envelope. */
int mig_transform_row(const struct mig_transform *transform, const struct mig_row *row,
                      struct mig_arena *arena, struct mig_envelope *ret_envelope,
                      struct mig_error *err);

/* The same with originator_ns given, for comparing with an envelope made at another clock. */
int mig_transform_row_at(const struct mig_transform *transform, const struct mig_row *row,
                         int64_t originator_ns, struct mig_arena *arena,
                         struct mig_envelope *ret_envelope, struct mig_error *err);

/*
 * Transforms all rows of a part on the calling thread, in place, and keeps only what is loaded,
 * bundled or put on chain: of a node's envelope the topic and the outermost layer, of the chain's
 * the topic and the client envelope. scratch is for what lies between; it is reset every so many
 * rows. Errors: as mig_transform_row().
 */
int mig_transform_part(const struct mig_transform *transform, struct mig_arena *scratch,
                       struct mig_part *part, struct mig_error *err);

/* The digests that the two signatures are over (envelopes, "Signing"). */
void mig_payer_digest(uint32_t target_originator, struct mig_bytes client_envelope,
                      uint8_t ret_digest[MIG_DIGEST_SIZE]);
void mig_originator_digest(struct mig_bytes unsigned_envelope, uint8_t ret_digest[MIG_DIGEST_SIZE]);

/* base fee = message fee + storage fee x bytes x days. Errors: MIG_E_CORRUPT on overflow. */
int mig_base_fee(const struct mig_rate *rate, size_t payer_envelope_size, uint32_t retention_days,
                 uint64_t *ret_picodollars, struct mig_error *err);

#endif
