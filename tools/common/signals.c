/* Being asked to stop: once politely, twice at once. What can't be written is an error that names
 * the file, not a signal that ends us in silence. */
#include "tools/common/tool_private.h"

#include <signal.h>
#include <unistd.h>

static struct mig_stop *wish;

static void on_signal(int number)
{
    (void) number;
    if (atomic_exchange(&wish->requested, true))
        _exit(mig_code_info(MIG_E_CANCELLED)->exit_status);
}

void signals_start(struct mig_stop *stop)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    wish = stop;
    sigemptyset(&action.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}
