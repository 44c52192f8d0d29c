/* SPDX-License-Identifier: Apache-2.0 */
#include "kv_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

enum { ARGS_MAX = 40 };

char *kv_program(const char *name)
{
    const char *build = getenv("TROUPE_BUILD_DIR");
    char *path;
    cr_assert_gt(asprintf(&path, "%s/examples/%s", build ? build : TROUPE_BUILD_DIR, name), 0);
    cr_assert_eq(access(path, X_OK), 0, "%s is not built", path);
    return path;
}

struct process kv_begin(const struct kv_setup *setup)
{
    static const struct kv_setup defaults;
    if (!setup)
        setup = &defaults;
    char *program = kv_program("troupe-kv"), *data = setup->dir ? NULL : scratch_path("data");
    const char *argv[ARGS_MAX] = {program, "--port", "0", "--dir", setup->dir ? setup->dir : data};
    for (size_t i = 0; i < sizeof setup->args / sizeof *setup->args && setup->args[i]; i++)
        argv[5 + i] = setup->args[i];
    struct process process = process_start((char *const *)(void *)argv, &setup->limits);
    free(program);
    free(data);
    return process;
}

struct kv kv_start(const struct kv_setup *setup)
{
    struct kv kv = {.process = kv_begin(setup)};
    bool ready = process_await(&kv.process, "kv: ready on ", PATIENCE_MS) &&
                 process_await(&kv.process, " shards in ", PATIENCE_MS); /* the line is whole */
    char *printed = process_printed(&kv.process);
    const char *at = strstr(printed, "kv: ready on ");
    cr_assert(ready && sscanf(at, "kv: ready on %*[^:]:%u", &kv.port) == 1, "the server did not start:\n%s", printed);
    free(printed);
    return kv;
}

void kv_terminate(struct kv *kv)
{
    int status = process_stop(&kv->process, SIGTERM, PATIENCE_MS);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %#x", (unsigned)status);
}

void kv_kill(struct kv *kv)
{
    int status = process_stop(&kv->process, SIGKILL, PATIENCE_MS);
    cr_assert(WIFSIGNALED(status), "it had ended already, wait status %#x", (unsigned)status);
}

long long kv_info(struct client *c, const char *field)
{
    char pattern[96];
    const char *info = client_ask(c, "INFO");
    snprintf(pattern, sizeof pattern, "\\x0d\\x0a%s:", field);
    const char *at = strstr(info, pattern);
    cr_assert_not_null(at, "INFO has no %s: %s", field, info);
    return strtoll(at + strlen(pattern), NULL, 10);
}

static void with_port(const struct kv *kv, const char *program, char *const words[], const char *argv[ARGS_MAX],
                      char port[16])
{
    snprintf(port, 16, "%u", kv->port);
    argv[0] = program;
    argv[1] = "-p";
    argv[2] = port;
    size_t n = 3;
    for (; *words; words++, n++) {
        cr_assert_lt(n, ARGS_MAX - 1);
        argv[n] = *words;
    }
    argv[n] = NULL;
}

char *kv_cli(const struct kv *kv, char *const words[])
{
    const char *argv[ARGS_MAX];
    char port[16], *printed;
    with_port(kv, "redis-cli", words, argv, port);
    int status = process_run((char *const *)(void *)argv, NULL, &printed, PATIENCE_MS);
    cr_assert_eq(status, 0, "redis-cli (of redis-tools) ended with %d: %s", status, printed);
    return printed;
}

struct process kv_benchmark(const struct kv *kv, char *const words[])
{
    const char *argv[ARGS_MAX];
    char port[16];
    with_port(kv, "redis-benchmark", words, argv, port);
    return process_start((char *const *)(void *)argv, NULL);
}

/* --- redis-server, to compare with --- */

/* A port that was free just now: redis-server cannot choose one itself. */
static unsigned free_port(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&any, len) == 0 &&
              getsockname(fd, (struct sockaddr *)&any, &len) == 0);
    close(fd);
    return ntohs(any.sin_port);
}

bool redis_start(struct kv *redis)
{
    char *const version[] = {"redis-server", "--version", NULL};
    if (process_run(version, NULL, NULL, PATIENCE_MS) == 127)
        return false;
    for (int attempt = 0; attempt < 5; attempt++) {
        char port[16];
        redis->port = free_port();
        snprintf(port, sizeof port, "%u", redis->port);
        const char *argv[] = {"redis-server", "--port", port,    "--bind",  "127.0.0.1",   "--save", "",
                              "--appendonly", "no",     "--dir", scratch(), "--daemonize", "no",     NULL};
        redis->process = process_start((char *const *)(void *)argv, NULL);
        if (process_await(&redis->process, "Ready to accept connections", PATIENCE_MS))
            return true;
        process_wait(&redis->process, PATIENCE_MS); /* somebody took the port meanwhile */
    }
    cr_assert_fail("redis-server does not start");
    return false;
}
