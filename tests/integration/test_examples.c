/* SPDX-License-Identifier: Apache-2.0 */
/* The small examples, from outside. TROUPE_DRILL=full repeats let_it_crash a thousand times. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(examples, .timeout = 120);

static char *printed_by(const char *name)
{
    char *argv[] = {kv_program(name), NULL}, *printed;
    int status = process_run(argv, NULL, &printed, PATIENCE_MS);
    cr_assert_eq(status, 0, "%s ended with %d: %s", name, status, printed);
    free(argv[0]);
    return printed;
}

Test(examples, hello_greets)
{
    char *printed = printed_by("hello");
    const char *end = strchr(printed, '\n');
    cr_expect(end && end > printed && end[1] == '\0', "not one line: %s", printed);
    free(printed);
}

static char *expected_transcript(void)
{
    const char *source = getenv("TROUPE_SOURCE_DIR");
    char *path, *text = NULL;
    size_t size = 0;
    cr_assert_gt(asprintf(&path, "%s/tests/examples/let_it_crash.expected", source ? source : TROUPE_SOURCE_DIR), 0);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s", path);
    cr_assert_gt(getdelim(&text, &size, '\0', file), 0);
    fclose(file);
    free(path);
    return text;
}

Test(examples, let_it_crash_prints_the_same_every_time)
{
    char *expected = expected_transcript();
    for (unsigned i = 0; i < drill(50, 1000); i++) {
        char *printed = printed_by("let_it_crash");
        cr_assert_str_eq(printed, expected, "run %u: %s", i, printed);
        free(printed);
    }
    free(expected);
}

static struct kv start_echo(void)
{
    char *argv[] = {kv_program("echo"), "--port", "0", "--workers", "2", NULL};
    struct kv echo = {.process = process_start(argv, NULL)};
    cr_assert(process_await(&echo.process, "\n", PATIENCE_MS));
    char *printed = process_printed(&echo.process);
    cr_assert_eq(sscanf(printed, "echo: listening on 127.0.0.1:%u", &echo.port), 1, "%s", printed);
    free(printed);
    free(argv[0]);
    return echo;
}

Test(examples, echo_returns_what_several_clients_say)
{
    enum { CLIENTS = 20, SIZE = 300000 };
    struct kv echo = start_echo();
    struct client clients[CLIENTS];
    char *bytes = malloc(SIZE + CLIENTS);
    for (int i = 0; i < SIZE + CLIENTS; i++)
        bytes[i] = (char)((unsigned)i * 2654435761U >> 13);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect(echo.port);
    for (int part = 0; part < 10; part++)
        for (int i = 0; i < CLIENTS; i++)
            client_send(&clients[i], bytes + i + part * (SIZE / 10), SIZE / 10);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_eq(memcmp(client_take(&clients[i], SIZE), bytes + i, SIZE), 0, "client %d", i);
        client_close(&clients[i]);
    }
    free(bytes);
    kv_terminate(&echo);
}

Test(examples, echo_answers_a_half_closed_client_to_the_end)
{
    struct kv echo = start_echo();
    struct client c = client_connect(echo.port);
    client_send_text(&c, "the last words");
    shutdown(c.fd, SHUT_WR);
    cr_assert_arr_eq(client_take(&c, 14), "the last words", 14);
    cr_assert(client_ended(&c));
    client_close(&c);
    kv_terminate(&echo);
}
