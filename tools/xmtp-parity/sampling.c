/* --signatures and --seed: which signatures are to be checked. */
#include "tools/xmtp-parity/parity_tool.h"

#include <stdlib.h>
#include <string.h>

static const char sample[] = "sample:";

static int read_percent(const char *text, double *ret_percent, struct mig_error *err)
{
    char *end = NULL;
    double percent = 0;

    /* strtod() reads more than numbers: names, hexadecimals, exponents. */
    if (text[0] && !text[strspn(text, "0123456789.")])
        percent = strtod(text, &end);
    if (!end || *end || percent <= 0 || percent > 100) {
        mig_fail(err, MIG_E_USAGE, "--signatures '%s%.40s': expected percent above 0, 100 at most",
                 sample, text);
        return mig_hint(err, "for one row in twenty: sample:5; for one in a thousand: sample:0.1");
    }
    *ret_percent = percent;
    return MIG_OK;
}

static int read_which(const char *text, struct mig_parity_sampling *sampling, struct mig_error *err)
{
    if (strcmp(text, "all") == 0) {
        sampling->which = MIG_PARITY_SIGNATURES_ALL;
        return MIG_OK;
    }
    if (strcmp(text, "none") == 0) {
        sampling->which = MIG_PARITY_SIGNATURES_NONE;
        return MIG_OK;
    }
    if (strncmp(text, sample, strlen(sample)) != 0)
        return mig_fail(err, MIG_E_USAGE, "--signatures '%.40s': expected all, sample:P or none",
                        text);
    sampling->which = MIG_PARITY_SIGNATURES_SAMPLE;
    return read_percent(text + strlen(sample), &sampling->percent, err);
}

int parity_read_sampling(const char *signatures, const char *seed,
                         struct mig_parity_sampling *ret_sampling, struct mig_error *err)
{
    struct mig_parity_sampling sampling = {.has_seed = seed};
    size_t size = 0;
    int result = signatures ? read_which(signatures, &sampling, err) : MIG_OK;

    if (result != MIG_OK)
        return result;
    if (seed && sampling.which != MIG_PARITY_SIGNATURES_SAMPLE)
        return mig_fail(err, MIG_E_USAGE, "--seed is of --signatures sample:P only");
    if (seed && (mig_hex_decode(seed, strlen(seed), sampling.seed, sizeof sampling.seed, &size,
                                NULL) != MIG_OK ||
                 size != sizeof sampling.seed))
        return mig_fail(err, MIG_E_USAGE, "--seed '%.40s': expected %d hex digits", seed,
                        2 * MIG_PARITY_SEED_SIZE);
    *ret_sampling = sampling;
    return MIG_OK;
}
