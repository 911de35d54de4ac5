/* Numbers that look random and are the same for the same seed, on every machine. */
#include "tools/xmtp-seed/seed.h"

#include <endian.h>
#include <string.h>

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

struct seed_random seed_random_of(uint64_t seed, uint64_t kind, uint64_t index)
{
    return (struct seed_random){.state = mix(mix(mix(seed) + kind) + index)};
}

uint64_t seed_random_next(struct seed_random *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(random->state);
}

uint64_t seed_random_between(struct seed_random *random, uint64_t low, uint64_t high)
{
    const uint64_t span = high - low + 1;

    return span == 0 ? seed_random_next(random) : low + seed_random_next(random) % span;
}

bool seed_random_percent(struct seed_random *random, unsigned percent)
{
    return seed_random_next(random) % 100 < percent;
}

void seed_random_fill(struct seed_random *random, uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
        const uint64_t number = htole64(seed_random_next(random));
        const size_t left = size - done;

        memcpy(bytes + done, &number, left < sizeof number ? left : sizeof number);
    }
}
