/* What must hold in a thread test. */
#ifndef MIG_TESTS_THREAD_EXPECT_H
#define MIG_TESTS_THREAD_EXPECT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static inline void expect(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    exit(1);
}

#endif
