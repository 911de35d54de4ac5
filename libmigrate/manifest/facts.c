/* The digest of everything in a manifest that decides what a row becomes. Two runs may continue
 * each other only if it is the same. */
#include "libmigrate/io/io.h"
#include "libmigrate/manifest/manifest_private.h"

#include <inttypes.h>

#define FACTS_SIZE_MAX ((size_t) 8 << 20)

const char *mig_profile_name(enum mig_profile profile)
{
    return profile == MIG_PROFILE_XMTPD ? "xmtpd" : "correct";
}

/* One fact a line, in this order; the first line changes whenever the lines' meaning does. */
static int print_facts(struct mig_buffer *text, const struct mig_manifest *manifest,
                       struct mig_error *err)
{
    const struct mig_policy *policy = &manifest->policy;
    int result = mig_buffer_print(
        text, err, "xmtp-migrate/facts/1\nnetwork=%s\nprofile=%s\noriginator_ns=%s\nexpired=%s\n",
        manifest->network, mig_profile_name(policy->profile),
        policy->clock == MIG_CLOCK_MIGRATED ? "migrated" : "created",
        policy->keep_expired ? "keep" : "drop");

    for (int kind = 0; result == MIG_OK && kind < MIG_KIND_COUNT; kind++)
        if (mig_kind_info((enum mig_kind) kind)->expires)
            result = mig_buffer_print(text, err, "retention_days.%s=%" PRIu32 "\n",
                                      mig_kind_info((enum mig_kind) kind)->name,
                                      policy->retention_days[kind]);
    for (size_t i = 0; result == MIG_OK && i < manifest->rate_count; i++)
        result = mig_buffer_print(text, err, "rate=%" PRId64 ",%" PRIu64 ",%" PRIu64 "\n",
                                  manifest->rates[i].start_ns, manifest->rates[i].message_fee,
                                  manifest->rates[i].storage_fee);
    return result;
}

int mig_manifest_facts(const struct mig_manifest *manifest, char ret_digest[65],
                       struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(FACTS_SIZE_MAX);
    uint8_t digest[MIG_SHA256_SIZE];
    int result = print_facts(&text, manifest, err);

    if (result == MIG_OK) {
        const struct mig_bytes bytes = mig_buffer_bytes(&text);

        result = mig_sha256(&bytes, 1, digest, err);
    }
    if (result != MIG_OK)
        return result;
    mig_hex_encode((struct mig_bytes){digest, sizeof digest}, ret_digest);
    return MIG_OK;
}
