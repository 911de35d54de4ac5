/* Whether the work goes on, and whether it has begun: what probes and systemd's watchdog ask. */
#include "libmigrate/watch/watch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void health_move(struct health *health, int64_t now_ns)
{
    health->moved_ns = now_ns;
    health->working = true;
}

static bool copy_text(char *into, size_t size, const char *text)
{
    char copy[sizeof((struct health *) 0)->waiting];

    snprintf(copy, size < sizeof copy ? size : sizeof copy, "%s", text ? text : "");
    for (char *c = copy; *c; c++)
        if ((unsigned char) *c < 0x20 || *c == 0x7f)
            *c = ' ';
    if (strcmp(into, copy) == 0)
        return false;
    memcpy(into, copy, strlen(copy) + 1);
    return true;
}

/* That somebody waits, for whatever reason, is no move. */
void health_take_progress(struct health *health, const struct mig_progress *progress,
                          int64_t now_ns)
{
    bool moved = false;

    copy_text(health->waiting, sizeof health->waiting, progress->waiting);
    if (progress->only_waiting)
        return;
    moved = copy_text(health->stage, sizeof health->stage, progress->stage);
    moved = copy_text(health->subject, sizeof health->subject, progress->subject) || moved;
    moved = progress->done != health->done || moved;
    health->done = progress->done;
    if (moved)
        health->moved_ns = now_ns;
}

bool health_is_well(const struct health *health, int64_t now_ns, char ret_reason[REASON_SIZE])
{
    const int64_t still_ns = now_ns - health->moved_ns;

    ret_reason[0] = '\0';
    if (still_ns < health->stall_after_ns)
        return true;
    snprintf(ret_reason, REASON_SIZE, "stalled: no progress for %" PRId64 " s%s%s%s%s",
             still_ns / MIG_NS_PER_SECOND, health->stage[0] ? " in " : "", health->stage,
             health->waiting[0] ? "; waiting: " : "", health->waiting);
    return false;
}

bool health_is_ready(const struct health *health, const struct registry *registry,
                     char ret_reason[REASON_SIZE])
{
    ret_reason[0] = '\0';
    for (size_t n = registry->node_count + 1; n > 0 && !ret_reason[0]; n--) {
        const size_t node = n - 1;

        if (registry_cell(registry, MIG_MEASURE_UP, registry->table_count, node)->value > 0)
            continue;
        if (node == registry->node_count)
            snprintf(ret_reason, REASON_SIZE, "awaiting: the source");
        else
            snprintf(ret_reason, REASON_SIZE, "awaiting: node '%.100s'", registry->nodes[node]);
    }
    if (!ret_reason[0] && !health->working)
        snprintf(ret_reason, REASON_SIZE, "awaiting: the first rows%s%s",
                 health->waiting[0] ? "; waiting: " : "", health->waiting);
    return !ret_reason[0];
}
