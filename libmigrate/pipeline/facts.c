/* What is pinned for a run: the manifest's policy, the keys' addresses, an instant and an id. */
#include "libmigrate/pipeline/pipeline_private.h"

#include "libmigrate/io/io.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TEXT_LIMIT ((size_t) 8 << 20)

void pipeline_keys_release(struct pipeline_keys *keys)
{
    mig_signer_free(&keys->payer);
    mig_signer_free(&keys->originator);
}

static void take_addresses(const struct pipeline_keys *keys, struct mig_bundle_facts *facts)
{
    mig_address_format(mig_signer_address(keys->payer), facts->payer);
    mig_address_format(mig_signer_address(keys->originator), facts->originator);
}

/* Both may be meant, and both are more often a slip. */
static void warn_of_future(const struct mig_manifest *manifest, int64_t as_of_ns,
                           const struct mig_hooks *hooks)
{
    char as_of[MIG_TIME_TEXT_SIZE], first[MIG_TIME_TEXT_SIZE];

    mig_time_format(as_of_ns, as_of);
    mig_time_format(manifest->rates[0].start_ns, first);
    if (as_of_ns > mig_time_now_ns() + MIG_NS_PER_SECOND)
        mig_log(hooks, MIG_LOG_WARN,
                "as_of %s lies in the future: rows that have not expired yet count as expired",
                as_of);
    if (manifest->rates[0].start_ns > as_of_ns)
        mig_log(hooks, MIG_LOG_WARN,
                "the first rate begins at %s, after as_of %s: envelopes get a time in the future",
                first, as_of);
}

int pipeline_facts(const struct mig_manifest *manifest, int64_t as_of_ns,
                   const struct pipeline_keys *keys, const struct mig_hooks *hooks,
                   struct mig_bundle_facts *ret_facts, struct mig_error *err)
{
    struct mig_bundle_facts facts = {.stage = keys ? MIG_STAGE_ENVELOPES : MIG_STAGE_ROWS,
                                     .as_of_ns = as_of_ns};
    uint8_t id[16];
    int result;

    if (getrandom(id, sizeof id, 0) != (ssize_t) sizeof id)
        return mig_fail(err, MIG_E_IO, "cannot draw an id for the run: %s", strerror(errno));
    mig_hex_encode((struct mig_bytes){id, sizeof id}, facts.run);
    snprintf(facts.network, sizeof facts.network, "%s", manifest->network);
    snprintf(facts.profile, sizeof facts.profile, "%s", mig_profile_name(manifest->policy.profile));
    if ((result = mig_manifest_facts(manifest, facts.policy_digest, err)) != MIG_OK)
        return result;
    if (keys)
        take_addresses(keys, &facts);
    warn_of_future(manifest, as_of_ns, hooks);
    *ret_facts = facts;
    return MIG_OK;
}

/* "NAME: 1 in the bundle, 2 in the manifest", if so. */
static int tell_member(struct mig_buffer *text, const char *name, const char *then, const char *now,
                       const char *there, struct mig_error *err)
{
    if (strcmp(then, now) == 0)
        return MIG_OK;
    return mig_buffer_print(text, err, "%s%s: %s in %s, %s in the manifest", text->size ? "; " : "",
                            name, then, there, now);
}

/* What decides what a row becomes. A bundle tells little more of it than a digest. */
static int tell_policy(const struct mig_manifest *manifest, const struct mig_bundle_facts *facts,
                       const char *pinned, struct mig_buffer *text, struct mig_error *err)
{
    char digest[65];
    int result = mig_manifest_facts(manifest, digest, err);

    if (result != MIG_OK || strcmp(facts->policy_digest, digest) == 0)
        return result;
    if (pinned)
        return mig_manifest_compare_pinned(manifest, pinned, "the run", text, err);
    if ((result = tell_member(text, "network", facts->network, manifest->network, "the bundle",
                              err)) != MIG_OK ||
        (result = tell_member(text, "profile", facts->profile,
                              mig_profile_name(manifest->policy.profile), "the bundle", err)) !=
            MIG_OK ||
        text->size > 0)
        return result;
    return mig_buffer_print(text, err,
                            "policy.originator_ns, expired, retention_days or rates: the bundle "
                            "holds a digest of them alone");
}

int pipeline_check_facts(const struct mig_manifest *manifest, const struct pipeline_keys *keys,
                         const struct mig_bundle_facts *facts, const char *pinned,
                         const char *subject, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(TEXT_LIMIT);
    const char *const there = pinned ? "the run" : "the bundle";
    struct mig_bundle_facts mine = {0};
    int result = tell_policy(manifest, facts, pinned, &text, err);

    if (keys)
        take_addresses(keys, &mine);
    if (result == MIG_OK && keys)
        result = tell_member(&text, "keys.payer", facts->payer, mine.payer, there, err);
    if (result == MIG_OK && keys)
        result =
            tell_member(&text, "keys.originator", facts->originator, mine.originator, there, err);
    if (result != MIG_OK || text.size == 0)
        return result;
    mig_fail(err, MIG_E_REFUSED, "%s was made under another manifest: %s", subject,
             (const char *) text.data);
    return mig_hint(err, "use the manifest and keys it was made with, or make it anew");
}

int pipeline_expect_stage(const struct mig_bundle_facts *facts, enum mig_stage stage,
                          const char *path, struct mig_error *err)
{
    if (facts->stage == stage)
        return MIG_OK;
    mig_fail(err, MIG_E_REFUSED, "'%s' is a bundle of %s, not of %s", path,
             stage == MIG_STAGE_ROWS ? "envelopes" : "rows",
             stage == MIG_STAGE_ROWS ? "rows" : "envelopes");
    return mig_hint(err, "xmtp-export writes rows, xmtp-transform makes envelopes of them, "
                         "xmtp-load loads those");
}

/* Created so long ago that nothing but its standing keeps the package from having expired. */
static bool lives_by_standing(const struct mig_envelope *envelope, int64_t as_of_ns)
{
    __extension__ typedef __int128 wide;
    const struct mig_value *current = &envelope->row->values[MIG_KP_CURRENT_SINCE_NS];
    int64_t created_ns, since_ns, lasts_s;

    if (current->is_null || !mig_row_created_ns(envelope->row, &created_ns))
        return false;
    since_ns = current->number > created_ns ? current->number : created_ns;
    lasts_s = envelope->expiry_unixtime -
              (since_ns / MIG_NS_PER_SECOND - (since_ns % MIG_NS_PER_SECOND < 0));
    return created_ns + (wide) lasts_s * MIG_NS_PER_SECOND <= as_of_ns;
}

/* What a key package is, whatever its standing: that changes at the source from one reading to the
 * next, and in the end all nodes are brought what it is then (renew.c). */
static int digest_package(const struct mig_row *row, uint8_t digest[MIG_SHA256_SIZE],
                          struct mig_error *err)
{
    const struct mig_bytes installation = row->values[MIG_KP_INSTALLATION_ID].bytes;
    const uint64_t size = htobe64(installation.size);
    const struct mig_bytes pieces[] = {{(const uint8_t *) &size, sizeof size},
                                       installation,
                                       row->values[MIG_KP_KEY_PACKAGE].bytes};

    return mig_sha256(pieces, mig_count_of(pieces), digest, err);
}

/* Of fixed length, so that no two lists of rows can look alike. What a node orders key packages by
 * stands beside the envelope, not in it. */
static int add_row(struct mig_buffer *text, const struct mig_envelope *envelope, bool has_standing,
                   struct mig_error *err)
{
    const bool chain = envelope->route == MIG_ROUTE_CHAIN;
    const struct mig_bytes bytes =
        chain ? envelope->client_envelope : envelope->originator_envelope;
    const uint64_t head[] = {
        htobe64((uint64_t) envelope->sequence_id),
        htobe64(chain || has_standing ? 0 : (uint64_t) envelope->gateway_time_us)};
    uint8_t digest[MIG_SHA256_SIZE];
    int result = has_standing ? digest_package(envelope->row, digest, err)
                              : mig_sha256(&bytes, 1, digest, err);

    if (result == MIG_OK)
        result = mig_buffer_append(text, head, sizeof head, err);
    return result == MIG_OK ? mig_buffer_append(text, digest, sizeof digest, err) : result;
}

int pipeline_add_rows(const struct mig_part *part, enum mig_route route,
                      const struct mig_bundle_facts *facts, struct mig_buffer *rows,
                      struct mig_error *err)
{
    const bool has_standing = route == MIG_ROUTE_NODE && part->table == MIG_TABLE_KEY_PACKAGES &&
                              strcmp(facts->profile, mig_profile_name(MIG_PROFILE_CORRECT)) == 0;
    int result = MIG_OK;

    for (size_t i = 0; i < part->row_count && result == MIG_OK; i++)
        if (part->envelopes[i].route == route &&
            !(has_standing && lives_by_standing(&part->envelopes[i], facts->as_of_ns)))
            result = add_row(rows, &part->envelopes[i], has_standing, err);
    return result;
}

int pipeline_digest_rows(const struct mig_buffer *rows, char ret_digest[65], struct mig_error *err)
{
    const struct mig_bytes bytes = mig_buffer_bytes(rows);
    uint8_t digest[MIG_SHA256_SIZE];
    int result = bytes.size > 0 ? mig_sha256(&bytes, 1, digest, err) : MIG_OK;

    if (result != MIG_OK)
        return result;
    ret_digest[0] = '\0';
    if (bytes.size > 0)
        mig_hex_encode((struct mig_bytes){digest, sizeof digest}, ret_digest);
    return MIG_OK;
}

int pipeline_digest(const struct mig_part *part, enum mig_route route,
                    const struct mig_bundle_facts *facts, char ret_digest[65],
                    struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer rows = MIG_BUFFER_INIT((size_t) 1 << 30);
    int result = pipeline_add_rows(part, route, facts, &rows, err);

    return result == MIG_OK ? pipeline_digest_rows(&rows, ret_digest, err) : result;
}
