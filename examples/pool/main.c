/* SPDX-License-Identifier: Apache-2.0 */
/* A client that is faster than its pool: it submits all jobs at once, some of them bad, and submits again what was
 * refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

enum { BEGIN, SUBMIT_REFUSED };

#define AT_ONCE 64
#define PAUSE TROUPE_MS(1)

struct settings {
    unsigned workers, jobs, bad_every;
};

struct client {
    struct settings settings;
    unsigned done, failed, refused; /* refused: how often */
    bool waits;                     /* before it submits again */
    unsigned again_count;
    uint64_t *again; /* jobs to be submitted again, at most AT_ONCE after each pause */
};

static void finish_if_all_are_answered(troupe_ctx *ctx, const struct client *client)
{
    if (client->done + client->failed < client->settings.jobs)
        return;
    printf("%u jobs: %u done, %u failed; some were refused at first: %s\n", client->settings.jobs, client->done,
           client->failed, client->refused ? "yes" : "no");
    troupe_stop_runtime(ctx, 0);
}

static void pause_then_submit(troupe_ctx *ctx, struct client *client)
{
    if (client->waits || client->again_count == 0)
        return;
    client->waits = true;
    if (troupe_send_after(ctx, PAUSE, troupe_self(ctx), SUBMIT_REFUSED, NULL, 0, NULL) < 0)
        troupe_panic(ctx, "out of memory");
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct client *client = self;
    const struct job_result *result = answer->payload;
    uint64_t number = (uint64_t)(uintptr_t)answer->arg;
    enum job_status status = answer->status == 0 ? result->status : JOB_FAILED;
    client->done += status == JOB_DONE;
    client->failed += status == JOB_FAILED;
    if (status == JOB_REFUSED) {
        client->refused++;
        client->again[client->again_count++] = number;
        pause_then_submit(ctx, client);
    }
    finish_if_all_are_answered(ctx, client);
}

/* Every bad_every-th job is one that crashes its worker. */
static void submit(troupe_ctx *ctx, struct client *client, uint64_t number)
{
    unsigned bad_every = client->settings.bad_every;
    struct job job = {.n = bad_every && number % bad_every == 0 ? 0 : number};
    if (troupe_ask(ctx, troupe_child_at(ctx, 0), JOB, &job, sizeof job, TROUPE_SEC(60), on_answer,
                   (void *)(uintptr_t)number) < 0)
        troupe_panic(ctx, "out of memory");
}

static void on_submit_refused(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct client *client = self;
    (void)msg;
    client->waits = false;
    for (unsigned i = 0; i < AT_ONCE && client->again_count > 0; i++)
        submit(ctx, client, client->again[--client->again_count]);
    pause_then_submit(ctx, client);
}

/* --- the incarnation --- */

static int started(troupe_ctx *ctx, void *self, const void *args)
{
    struct client *client = self;
    client->settings = *(const struct settings *)args;
    client->again = troupe_alloc(ctx, client->settings.jobs * sizeof *client->again);
    return troupe_tell(ctx, troupe_self(ctx), BEGIN, NULL, 0); /* handled when the pool has started */
}

static void on_begin(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct client *client = self;
    (void)msg;
    for (unsigned i = 1; i <= client->settings.jobs; i++)
        submit(ctx, client, i);
    finish_if_all_are_answered(ctx, client);
}

static void make_pool_args(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    (void)ctx, (void)number;
    *(struct pool_args *)args = (struct pool_args){.workers = ((const struct client *)self)->settings.workers};
}

static const troupe_child children[] = {{.behavior = &pool_behavior, .make_args = make_pool_args}, {0}};

static const troupe_behavior client_behavior = {
    .name = "client",
    .state_size = sizeof(struct client),
    .args_size = sizeof(struct settings),
    .started = started,
    .children = {.declared = children},
    .handlers = {[SUBMIT_REFUSED] = {.name = "submit refused", .fn = on_submit_refused},
                 [BEGIN] = {.name = "begin", .fn = on_begin}},
};

/* --- the command line --- */

static const char help[] = "pool: a supervised pool of workers with back-pressure\n"
                           "\n"
                           "usage: pool [--workers N] [--jobs N] [--bad-every N] [--crashes]\n"
                           "  --workers N    1 to 64 (4)\n"
                           "  --jobs N       1 to 1000000 (1000)\n"
                           "  --bad-every N  every Nth job crashes its worker (100); 0: none does\n"
                           "  --crashes      show the crash reports on stderr\n";

static unsigned read_number(const char *text, unsigned least, unsigned most)
{
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : 0;
    if (!text) {
        fputs("pool: this option wants a number; try --help\n", stderr);
        exit(2);
    }
    if (*text < '0' || *text > '9' || *end || n < least || n > most) {
        fprintf(stderr, "pool: \"%s\" is no number from %u to %u; try --help\n", text, least, most);
        exit(2);
    }
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    struct settings settings = {.workers = 4, .jobs = 1000, .bad_every = 100};
    troupe_options options = {.stop_on_signals = true, .log_level = TROUPE_LOG_NONE};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return fputs(help, stdout) < 0;
        if (strcmp(argv[i], "--workers") == 0)
            settings.workers = read_number(argv[++i], 1, POOL_WORKERS_MAX);
        else if (strcmp(argv[i], "--jobs") == 0)
            settings.jobs = read_number(argv[++i], 1, 1000000);
        else if (strcmp(argv[i], "--bad-every") == 0)
            settings.bad_every = read_number(argv[++i], 0, 1000000);
        else if (strcmp(argv[i], "--crashes") == 0)
            options.log_level = TROUPE_LOG_DEFAULT;
        else {
            fprintf(stderr, "pool: unknown argument %s; try --help\n", argv[i]);
            return 2;
        }
    }
    return troupe_run(&client_behavior, &settings, &options);
}
