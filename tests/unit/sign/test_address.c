/* Addresses as people see them: EIP-55. */
#include "libmigrate/sign/sign.h"

#include <criterion/criterion.h>
#include <string.h>

/* From EIP-55 itself: all capitals, all small, mixed. */
static const char *const published[] = {
    "0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
};

static struct mig_address address_of(const char *text)
{
    struct mig_address address;
    size_t size;

    cr_assert_eq(mig_hex_decode(text + 2, 2 * MIG_ADDRESS_SIZE, address.bytes, MIG_ADDRESS_SIZE,
                                &size, NULL),
                 MIG_OK);
    return address;
}

Test(address, shows_the_published_checksums)
{
    for (size_t i = 0; i < mig_count_of(published); i++) {
        const struct mig_address address = address_of(published[i]);
        char text[MIG_ADDRESS_TEXT_SIZE];

        mig_address_format(&address, text);
        cr_assert_str_eq(text, published[i]);
    }
}

Test(address, is_equal_to_itself_only)
{
    const struct mig_address one = address_of(published[0]);
    const struct mig_address same = one;
    struct mig_address other = one;

    other.bytes[MIG_ADDRESS_SIZE - 1] ^= 1;
    cr_assert(mig_address_equal(&one, &same));
    cr_assert_not(mig_address_equal(&one, &other));
}
