/* UTF-8 (RFC 3629). */
#include "libmigrate/base/base.h"

size_t mig_utf8_size(struct mig_bytes text)
{
    static const struct {
        uint8_t first_low, first_high, second_low, second_high, size;
    } forms[] = {
        {0x00, 0x7f, 0x80, 0xbf, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < mig_count_of(forms); i++) {
        if (text.data[0] < forms[i].first_low || text.data[0] > forms[i].first_high)
            continue;
        if (text.size < forms[i].size)
            return 0;
        for (size_t k = 1; k < forms[i].size; k++)
            if (text.data[k] < (k == 1 ? forms[i].second_low : 0x80) ||
                text.data[k] > (k == 1 ? forms[i].second_high : 0xbf))
                return 0;
        return forms[i].size;
    }
    return 0;
}
