/* Bytes as hexadecimal digits and back. */
#include "libmigrate/base/base.h"

void mig_hex_encode(struct mig_bytes bytes, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.size; i++) {
        ret_text[2 * i] = digits[bytes.data[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    ret_text[2 * bytes.size] = '\0';
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

int mig_hex_decode(const char *text, size_t length, uint8_t *ret_bytes, size_t capacity,
                   size_t *ret_size, struct mig_error *err)
{
    if (length % 2 != 0)
        return mig_fail(err, MIG_E_CORRUPT, "an odd number of hex digits (%zu)", length);
    if (length / 2 > capacity)
        return mig_fail(err, MIG_E_CORRUPT, "%zu hex digits where %zu fit", length, 2 * capacity);
    for (size_t i = 0; i < length / 2; i++) {
        const int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return mig_fail(err, MIG_E_CORRUPT, "not a hex digit at place %zu",
                            2 * i + (high < 0 ? 1 : 2));
        ret_bytes[i] = (uint8_t) (high << 4 | low);
    }
    *ret_size = length / 2;
    return MIG_OK;
}
