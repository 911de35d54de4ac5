/* Which signatures are checked, and what is still compared where they are not. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#define ROWS 20000

static struct fixture f;

static void open_young(void)
{
    fixture_open(&f, CREATED, 3);
    f.terms.sampling.which = MIG_PARITY_SIGNATURES_NONE;
}

static void close_it(void)
{
    fixture_close(&f);
}

#define assert_notes(expected)                                                                     \
    cr_assert_str_eq(fixture_notes(&f), expected, "found: %s", fixture_notes(&f))

static void sign_by_another(void)
{
    const struct mig_layers layers = fixture_layers(&f);

    fixture_rebuild(&f, &layers, f.other, f.other);
}

TestSuite(sample, .init = open_young, .fini = close_it);

Test(sample, of_none_looks_at_no_signer_and_says_so)
{
    sign_by_another();
    fixture_judge(&f);
    assert_notes("");
    cr_expect_eq(f.pair.signatures, 2);
    cr_expect_eq(f.pair.signatures_checked, 0);

    f.terms.sampling.which = MIG_PARITY_SIGNATURES_ALL;
    fixture_judge(&f);
    assert_notes("payer_signer/envelope originator_signer/envelope");
    cr_expect_eq(f.pair.signatures_checked, 2);
}

Test(sample, of_none_still_compares_all_that_an_envelope_says)
{
    struct mig_layers layers = fixture_layers(&f);

    layers.payer_layer.signature = (struct mig_bytes){0};
    layers.originator_signature.size--;
    layers.unsigned_layer.base_fee_picodollars++;
    fixture_rebuild(&f, &layers, NULL, NULL);
    fixture_judge(&f);
    assert_notes("fee/envelope payer_signer/envelope originator_signer/envelope");
}

Test(sample, of_none_looks_at_the_signers_of_rows_that_the_source_lacks)
{
    fixture_close(&f);
    fixture_open(&f, CREATED, 31);
    f.terms.sampling.which = MIG_PARITY_SIGNATURES_NONE;
    fixture_judge_sourceless(&f);
    cr_expect_eq(f.pair.outcome, PARITY_PRUNED);
    cr_expect_eq(f.pair.signatures_checked, 2);

    sign_by_another();
    fixture_judge_sourceless(&f);
    cr_expect_eq(f.pair.outcome, PARITY_EXTRA);
}

static size_t count_taken(double percent, uint8_t seed, bool *ret_taken)
{
    const struct mig_parity_sampling sampling = {.which = MIG_PARITY_SIGNATURES_SAMPLE,
                                                 .percent = percent,
                                                 .has_seed = true,
                                                 .seed = {seed}};
    size_t count = 0;

    cr_assert_eq(parity_sample_pin(&f.terms, &sampling, NULL), MIG_OK);
    for (int64_t id = 0; id < ROWS; id++) {
        ret_taken[id] = parity_sample_takes(&f.terms, MIG_KIND_GROUP_MESSAGES, id);
        count += ret_taken[id];
    }
    return count;
}

Test(sample, takes_its_share_and_the_same_rows_by_the_same_seed)
{
    static bool taken[ROWS], again[ROWS], other[ROWS];
    const size_t count = count_taken(5, 1, taken);

    cr_expect(count > ROWS / 25 && count < ROWS / 16, "%zu of %d", count, ROWS);
    cr_expect_eq(count_taken(5, 1, again), count);
    cr_expect_arr_eq(taken, again, sizeof taken);
    count_taken(5, 2, other);
    cr_expect_arr_neq(taken, other, sizeof taken);
    cr_expect_eq(count_taken(100, 1, taken), ROWS);
}

Test(sample, draws_another_seed_each_time)
{
    const struct mig_parity_sampling sampling = {.which = MIG_PARITY_SIGNATURES_SAMPLE,
                                                 .percent = 1};
    uint8_t first[MIG_PARITY_SEED_SIZE];

    cr_assert_eq(parity_sample_pin(&f.terms, &sampling, NULL), MIG_OK);
    cr_assert(f.terms.sampling.has_seed);
    memcpy(first, f.terms.sampling.seed, sizeof first);
    cr_assert_eq(parity_sample_pin(&f.terms, &sampling, NULL), MIG_OK);
    cr_expect_arr_neq(f.terms.sampling.seed, first, sizeof first);
}
