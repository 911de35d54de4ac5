/* What can be said of a connection without a server: DSNs, nobody there, numbers on the wire. */
#include "libmigrate/pg/pg.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_dsn(const char *dsn, const struct mig_stop *stop, struct mig_error *err)
{
    mig_cleanup(mig_pg_close) struct mig_pg *pg = NULL;
    const struct mig_pg_options options = {.subject = "node 'alpha'", .stop = stop};

    return mig_pg_open(dsn, &options, &pg, err);
}

Test(pg, refuses_what_is_no_dsn_without_quoting_it)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(open_dsn("host=localhost password=hunter2 nonsense", NULL, &err), MIG_E_USAGE);
    cr_assert_null(strstr(err.message, "hunter2"));
    cr_assert_not_null(strstr(err.message, "node 'alpha'"));
}

Test(pg, calls_a_server_that_is_not_there_temporary_and_names_place_and_subject)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(open_dsn("host=127.0.0.1 port=1 dbname=d password=hunter2", NULL, &err),
                 MIG_E_TEMPORARY);
    cr_assert_not_null(strstr(err.message, "node 'alpha' (127.0.0.1:1/d)"));
    cr_assert_null(strstr(err.message, "hunter2"));
    cr_assert_neq(err.hint[0], '\0');
}

Test(pg, hears_a_wish_to_stop_before_it_connects)
{
    struct mig_stop stop = {.requested = true};
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(open_dsn("host=192.0.2.1 port=5432 dbname=d", &stop, &err), MIG_E_CANCELLED);
}

/* A port that accepts connections and says nothing. */
static int listen_silently(int *ret_port)
{
    const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;

    cr_assert_eq(bind(silent, (struct sockaddr *) &address, size), 0);
    cr_assert_eq(listen(silent, 1), 0);
    cr_assert_eq(getsockname(silent, (struct sockaddr *) &address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return silent;
}

Test(pg, waits_for_a_silent_server_as_long_as_the_dsn_says)
{
    struct mig_error err = MIG_ERROR_INIT;
    char dsn[100];
    int port;
    const int silent = listen_silently(&port);

    snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%d dbname=d connect_timeout=1", port);
    cr_assert_eq(open_dsn(dsn, NULL, &err), MIG_E_TEMPORARY);
    cr_assert_not_null(strstr(err.message, "no answer within 1 s"), "%s", err.message);
    close(silent);
}

Test(pg, goes_on_to_the_next_host_when_one_is_silent)
{
    static const struct {
        const char *before_port, *behind_port, *said;
    } cases[] = {
        {"host=127.0.0.1,127.0.0.1 port=", ",1 dbname=d connect_timeout=1", "127.0.0.1:1/d"},
        {"host=127.0.0.1,localhost,127.0.0.1 hostaddr=127.0.0.1,127.0.0.1,127.0.0.1 port=1,",
         ",2 dbname=d connect_timeout=1", "refused"},
        {"hostaddr=127.0.0.1,127.0.0.2 dbname=d connect_timeout=1 port=", "", "(127.0.0.2:"},
        {"postgresql://127.0.0.1:", ",127.0.0.1:1/d?connect_timeout=1", "127.0.0.1:1/d"},
    };
    int port;
    const int silent = listen_silently(&port);

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        char dsn[200];

        snprintf(dsn, sizeof dsn, "%s%d%s", cases[i].before_port, port, cases[i].behind_port);
        cr_assert_eq(open_dsn(dsn, NULL, &err), MIG_E_TEMPORARY);
        cr_assert_not_null(strstr(err.message, cases[i].said), "%s: %s", dsn, err.message);
        cr_assert_null(strstr(err.message, "no answer"), "%s: %s", dsn, err.message);
    }
    close(silent);
}

Test(pg, tells_of_the_last_host_when_all_are_silent)
{
    struct mig_error err = MIG_ERROR_INIT;
    char dsn[100];
    int ports[2];
    const int silent[] = {listen_silently(&ports[0]), listen_silently(&ports[1])};

    snprintf(dsn, sizeof dsn, "host=127.0.0.1,127.0.0.1 port=%d,%d connect_timeout=1", ports[0],
             ports[1]);
    cr_assert_eq(open_dsn(dsn, NULL, &err), MIG_E_TEMPORARY);
    snprintf(dsn, sizeof dsn, "(127.0.0.1:%d/", ports[1]);
    cr_assert_not_null(strstr(err.message, dsn), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "no answer within 1 s"), "%s", err.message);
    close(silent[0]);
    close(silent[1]);
}

static int read_number(const uint8_t *bytes, size_t size, size_t wanted, int64_t *ret_number)
{
    const struct mig_pg_field field = {.bytes = {bytes, size}};

    return mig_pg_read_int(&field, wanted, ret_number, NULL);
}

Test(pg, reads_numbers_of_every_size_with_their_sign)
{
    static const uint8_t lowest[] = {0x80, 0, 0, 0, 0, 0, 0, 0}, minus_two[] = {0xff, 0xfe};
    static const uint8_t highest[] = {0x7f, 0xff, 0xff, 0xff}, one[] = {1};
    int64_t number;

    cr_assert_eq(read_number(lowest, 8, 8, &number), MIG_OK);
    cr_assert_eq(number, INT64_MIN);
    cr_assert_eq(read_number(minus_two, 2, 2, &number), MIG_OK);
    cr_assert_eq(number, -2);
    cr_assert_eq(read_number(highest, 4, 4, &number), MIG_OK);
    cr_assert_eq(number, INT32_MAX);
    cr_assert_eq(read_number(one, 1, 1, &number), MIG_OK);
    cr_assert_eq(number, 1);
}

Test(pg, refuses_a_number_of_another_size)
{
    static const uint8_t bytes[16] = {0};
    int64_t number = 7;

    for (size_t size = 0; size <= sizeof bytes; size++)
        if (size != 8)
            cr_assert_eq(read_number(bytes, size, 8, &number), MIG_E_CORRUPT);
    cr_assert_eq(number, 7, "an output is untouched on failure");
}
