/* Looks at a table's ids, and who of those that might have written then has ended since. */
#include "libmigrate/source/looks.h"

#include <stdlib.h>
#include <string.h>

void source_writers_release(struct source_writers *writers)
{
    for (size_t i = 0; i < writers->count; i++)
        free(writers->names[i]);
    free(writers->names);
    *writers = (struct source_writers){0};
}

void source_looks_release(struct source_looks *looks)
{
    while (looks->count > 0)
        source_writers_release(&looks->items[--looks->count].writers);
}

static bool is_prepared(const char *name)
{
    return strncmp(name, "-1/", 3) == 0;
}

bool source_holds(const struct source_writers *writers, const char *name)
{
    for (size_t i = 0; i < writers->count; i++)
        if (strcmp(writers->names[i], name) == 0)
            return true;
    return false;
}

int source_add_writer(struct source_writers *writers, const char *name, struct mig_error *err)
{
    char **larger = reallocarray(writers->names, writers->count + 1, sizeof *larger);

    if (!larger)
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    writers->names = larger;
    writers->names[writers->count] = strdup(name);
    if (!writers->names[writers->count])
        return mig_fail(err, MIG_E_NOMEM, "source: out of memory");
    writers->count++;
    return MIG_OK;
}

/* Of those who wrote at the time of a look, the ones who still do. A transaction that is prepared
 * meanwhile gets another name: whoever is prepared counts. */
static int keep_those_left(struct source_look_at_ids *look, const struct source_writers *now,
                           struct mig_error *err)
{
    mig_cleanup(source_writers_release) struct source_writers left = {0};
    struct source_writers before = look->writers;
    int result = MIG_OK;

    for (size_t i = 0; i < now->count && result == MIG_OK; i++)
        if (is_prepared(now->names[i]) || source_holds(&before, now->names[i]))
            result = source_add_writer(&left, now->names[i], err);
    if (result != MIG_OK)
        return result;
    look->writers = left;
    left = before;
    return MIG_OK;
}

static void drop_first(struct source_looks *looks)
{
    source_writers_release(&looks->items[0].writers);
    looks->count--;
    memmove(&looks->items[0], &looks->items[1], looks->count * sizeof looks->items[0]);
}

/* Whether a look would tell more than those that are open. */
static bool is_worth_it(const struct source_looks *looks, int64_t latest, int64_t bound)
{
    if (looks->count == LOOKS_MAX)
        return false;
    return latest > (looks->count > 0 ? looks->items[looks->count - 1].bound : bound);
}

int source_look(struct source_looks *looks, int64_t latest, struct source_writers *now,
                int64_t *bound, struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < looks->count && result == MIG_OK; i++)
        result = keep_those_left(&looks->items[i], now, err);
    if (result != MIG_OK)
        return result;
    while (looks->count > 0 && looks->items[0].writers.count == 0) {
        *bound = looks->items[0].bound;
        drop_first(looks);
    }
    if (!is_worth_it(looks, latest, *bound))
        return MIG_OK;
    if (now->count == 0) {
        *bound = latest;
        return MIG_OK;
    }
    looks->items[looks->count++] = (struct source_look_at_ids){.bound = latest, .writers = *now};
    *now = (struct source_writers){0};
    return MIG_OK;
}

/* Between the draw of an id and the row, which has the transaction's number, lies a part of one
 * statement. */
void source_look_by_time(struct source_looks *looks, int64_t latest, struct source_numbers numbers,
                         int64_t now_ns, int64_t hold_ns, int64_t *bound)
{
    for (size_t i = 0; i < looks->count; i++) {
        struct source_look_at_ids *look = &looks->items[i];

        if (numbers.stalled && look->next_number == 0)
            look->since_ns = now_ns;
        if (look->next_number != 0 || now_ns - look->since_ns < hold_ns)
            continue;
        look->next_number = numbers.next;
        look->numbered_ns = now_ns;
    }
    while (looks->count > 0 && looks->items[0].next_number != 0 &&
           looks->items[0].next_number <= numbers.oldest) {
        *bound = looks->items[0].bound;
        drop_first(looks);
    }
    if (is_worth_it(looks, latest, *bound) &&
        (looks->count == 0 ||
         now_ns - looks->items[looks->count - 1].since_ns >= hold_ns / (LOOKS_MAX / 2)))
        looks->items[looks->count++] =
            (struct source_look_at_ids){.bound = latest, .since_ns = now_ns};
}
