/* SPDX-License-Identifier: Apache-2.0 */
/* The server's command line, and what it says when it cannot start. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(kv_cli, .timeout = 60);

/* Runs the server, which must end by itself; what it printed is the caller's to free. */
static char *run(int expected, const char *const words[])
{
    const char *argv[20] = {kv_program("troupe-kv")};
    char *printed;
    for (size_t i = 0; words[i]; i++)
        argv[1 + i] = words[i];
    int status = process_run((char *const *)(void *)argv, NULL, &printed, PATIENCE_MS);
    cr_assert_eq(status, expected, "exit status %d, expected %d: %s", status, expected, printed);
    free((char *)(uintptr_t)argv[0]);
    return printed;
}

#define RUN(expected, ...) run(expected, (const char *const[]){__VA_ARGS__, NULL})

Test(kv_cli, help_lists_every_option)
{
    static const char *const names[] = {"--host",  "--port",       "--dir",         "--shards", "--workers",
                                        "--fsync", "--max-memory", "--max-clients", "--help"};
    char *printed = RUN(0, "--help");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_not_null(strstr(printed, names[i]), "%s", names[i]);
    free(printed);
}

Test(kv_cli, a_wrong_option_names_itself)
{
    static const struct {
        const char *words[3], *named;
    } cases[] = {
        {{"--nonsense", "1"}, "--nonsense"},    {{"nonsense"}, "nonsense"},
        {{"--port", "70000"}, "--port"},        {{"--port"}, "--port"},
        {{"--fsync", "sometimes"}, "--fsync"},  {{"--workers", "many"}, "--workers"},
        {{"--max-clients=0"}, "--max-clients"}, {{"--max-memory", "1x"}, "--max-memory"},
        {{"--shards", "-1"}, "--shards"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *printed = run(2, cases[i].words);
        cr_expect(strncmp(printed, "kv: ", 4) == 0 && strstr(printed, cases[i].named), "%s", printed);
        cr_expect_not_null(strstr(printed, "--help"), "%s", printed);
        free(printed);
    }
}

Test(kv_cli, a_busy_port_is_named)
{
    struct kv kv = kv_start(NULL);
    char port[16], want[64], *other = scratch_path("other");
    snprintf(port, sizeof port, "%u", kv.port);
    snprintf(want, sizeof want, "cannot listen on 127.0.0.1 port %u", kv.port);
    char *printed = RUN(1, "--port", port, "--dir", other);
    cr_expect_not_null(strstr(printed, want), "%s", printed);
    free(printed);
    free(other);
    kv_terminate(&kv);
}

Test(kv_cli, an_address_of_elsewhere_is_named)
{
    char *dir = scratch_path("data");
    char *printed = RUN(1, "--host", "192.0.2.1", "--port", "0", "--dir", dir);
    cr_expect_not_null(strstr(printed, "cannot listen on 192.0.2.1"), "%s", printed);
    free(printed);
    printed = RUN(1, "--host", "no.such.host.invalid", "--port", "0", "--dir", dir);
    cr_expect_not_null(strstr(printed, "cannot listen on no.such.host.invalid"), "%s", printed);
    free(printed);
    free(dir);
}

/* Also for root, who may write anywhere else. */
Test(kv_cli, a_folder_that_cannot_be_is_named)
{
    char *file = scratch_path("file"), *below = scratch_path("file/data");
    close(open(file, O_WRONLY | O_CREAT, 0600));
    char *printed = RUN(1, "--port", "0", "--dir", below);
    cr_expect(strstr(printed, below) && strstr(printed, "--dir"), "%s", printed);
    free(printed);
    printed = RUN(1, "--port", "0", "--dir", file);
    cr_expect(strstr(printed, file) && strstr(printed, "--dir"), "%s", printed);
    free(printed);
    printed = RUN(1, "--port", "0", "--dir", "/proc/kv-data");
    cr_expect(strstr(printed, "/proc/kv-data") && strstr(printed, "--dir"), "%s", printed);
    free(printed);
    free(file);
    free(below);
}

Test(kv_cli, a_folder_is_for_one_server)
{
    struct kv kv = kv_start(NULL);
    char *dir = scratch_path("data"), *rewritten = scratch_path("data/shard-0.log.new");
    fclose(fopen(rewritten, "w")); /* as if a log were being rewritten */
    char *printed = RUN(1, "--port", "0", "--dir", dir);
    cr_expect(strstr(printed, "another server uses the folder") && strstr(printed, dir), "%s", printed);
    cr_expect_eq(access(rewritten, F_OK), 0, "the second server took a file of the first one's");
    free(rewritten);
    free(printed);
    struct client c = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&c, "PING"), "+PONG");
    client_close(&c);
    kv_kill(&kv);
    kv = kv_start(NULL); /* the lock went with its owner */
    kv_terminate(&kv);
    free(dir);
}

Test(kv_cli, a_folder_keeps_its_number_of_shards)
{
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--shards", "4"}});
    kv_terminate(&kv);
    char *dir = scratch_path("data");
    char *printed = RUN(1, "--port", "0", "--dir", dir, "--shards", "8");
    cr_expect(strstr(printed, "shard-") && strstr(printed, "another number of shards"), "%s", printed);
    free(printed);
    printed = RUN(1, "--port", "0", "--dir", dir, "--shards", "2");
    cr_expect(strstr(printed, "shard-") && strstr(printed, "another number of shards"), "%s", printed);
    free(printed);
    free(dir);
}

Test(kv_cli, signals_end_it_in_order)
{
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct kv kv = kv_start(NULL);
        int status = process_stop(&kv.process, signals[i], PATIENCE_MS);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %#x", strsignal(signals[i]), (unsigned)status);
    }
}
