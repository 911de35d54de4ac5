/* A call from the height of work up to source. It compiles, because headers are all in one tree; it
 * must not link with what work may know. */
#include "libmigrate/source/source.h"
#include "libmigrate/work/work.h"

int main(int argc, char **argv)
{
    struct mig_source *source = NULL;
    struct mig_queue *queue = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    (void) argv;
    mig_queue_free(&queue);
    return argc > 1 ? mig_source_open(NULL, NULL, NULL, &source, &err) : 0;
}
