/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of the verbs for threads outside: each thread has a reference and uses all of them, by seeded dice, from the
 * moment that the root's `started` hands the runtime out, while it runs, is stopped and is joined, and for a while
 * after that; the next round does it with the next runtime. An ask ends once, with a status that it may have, and a
 * reply is that to its own question; once a verb has said -ESHUTDOWN none says otherwise; nobody waits for ever;
 * descriptors are as many in the end as in the beginning. Arguments: [seed [rounds]]. Exit status 0, or 1 with a
 * reason. */
#include <troupe/troupe.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"
#include "tests/support/sanitizer.h"

enum { THREADS = 4, CHILDREN = 3, BOARD = 8, AFTER_THE_END = 40, STUCK_AFTER_S = 100 };
enum { ECHO, KEEP, IGNORE, TELL, CRASH };

struct totals {
    uint64_t answered, timeouts, ended, refused, told, waited, tokens;
};

static struct totals totals; /* by atomic access, as the rest */
static troupe_runtime *shared[THREADS];
static uint64_t actors[CHILDREN + 1];
static unsigned crashes;

static pthread_mutex_t board_lock = PTHREAD_MUTEX_INITIALIZER;
static troupe_token board[BOARD];

static void broken(const char *what, long value)
{
    fprintf(stderr, "stress_foreign: %s (%ld)\n", what, value);
    _exit(1);
}

/* --- actors ------------------------------------------------------------------------------------------------------- */

static void on_echo(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    if (!troupe_addr_is_nobody(troupe_sender(msg)))
        broken("a thread has an address", 0);
    troupe_reply(ctx, msg, troupe_payload(msg), troupe_size(msg));
}

static void on_keep(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    troupe_keep(ctx, msg);
}

static void on_nothing(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "on demand");
}

#define HANDLERS                                                                                                       \
    {                                                                                                                  \
        [ECHO] = {.name = "echo", .fn = on_echo, .size = TROUPE_ANY_SIZE}, [KEEP] = {.name = "keep", .fn = on_keep},   \
        [IGNORE] = {.name = "ignore", .fn = on_nothing},                                                               \
        [TELL] = {.name = "tell", .fn = on_nothing, .size = TROUPE_ANY_SIZE},                                          \
        [CRASH] = {.name = "crash", .fn = on_crash, .retries = 1},                                                     \
    }

static const troupe_behavior child = {.name = "child", .supervision = {.restarts = 60}, .handlers = HANDLERS};

static int hand_out(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    ck_pr_store_64(&actors[0], troupe_self(ctx).bits);
    for (unsigned i = 1; i <= CHILDREN; i++)
        ck_pr_store_64(&actors[i], troupe_spawn(ctx, &child, NULL, NULL).bits);
    ck_pr_fence_store();
    for (unsigned i = 0; i < THREADS && troupe_incarnation(ctx) == 1; i++)
        ck_pr_store_ptr(&shared[i], troupe_runtime_retain(troupe_ctx_runtime(ctx)));
    return 0;
}

static const troupe_behavior root = {
    .name = "root", .supervision = {.restarts = 60}, .started = hand_out, .handlers = HANDLERS};

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct outside {
    pthread_t thread;
    unsigned index;
    struct tr_rng rng;
    troupe_runtime *rt;
    bool over; /* a verb has said so */
};

static unsigned dice(struct outside *o, unsigned sides)
{
    return (unsigned)tr_rng_below(&o->rng, sides);
}

static uint64_t some_time(struct outside *o)
{
    unsigned of = dice(o, 40);
    return of == 0 ? TROUPE_FOREVER : of < 5 ? 0 : TROUPE_US(dice(o, 2000));
}

static troupe_addr someone(struct outside *o)
{
    uint64_t bits = ck_pr_load_64(&actors[dice(o, CHILDREN + 1)]);
    return (troupe_addr){dice(o, 30) == 0 ? bits + (UINT64_C(1) << 32) : bits};
}

/* Returns true if it was refused. */
static bool saw(struct outside *o, int status)
{
    if (o->over && status != -ESHUTDOWN)
        broken("a runtime that had stopped goes on", status);
    o->over = status == -ESHUTDOWN;
    if (o->over)
        ck_pr_inc_64(&totals.refused);
    return o->over;
}

static void ask(struct outside *o)
{
    char question[300], reply[300];
    size_t size = 1 + dice(o, sizeof question), room = size - dice(o, 10) / 9;
    size_t reply_size = room;
    unsigned kind = (unsigned[]){ECHO, ECHO, ECHO, KEEP, IGNORE}[dice(o, 5)];
    memset(question, (int)dice(o, 256), sizeof question);
    int status = troupe_runtime_ask(o->rt, someone(o), kind, question, kind == ECHO ? size : 0, some_time(o), reply,
                                    &reply_size);
    if (saw(o, status))
        return;
    if (status == 0 || status == -ENOBUFS) {
        if (kind != ECHO || reply_size != size || memcmp(question, reply, room) != 0 || (status == 0) != (room == size))
            broken("a reply to another question", status);
        ck_pr_inc_64(&totals.answered);
    } else if (status == -ETIMEDOUT) {
        ck_pr_inc_64(&totals.timeouts);
    } else if (status == -ESRCH || status == -ECONNRESET || (status == -ENODATA && kind == IGNORE)) {
        ck_pr_inc_64(&totals.ended);
    } else {
        broken("an ask ended with an impossible status", status);
    }
}

static void tell(struct outside *o)
{
    char bytes[5000];
    bool crash = dice(o, 60) == 0 && ck_pr_faa_uint(&crashes, 1) < TSAN_CRASHES_MAX / 4;
    size_t size = crash ? 0 : dice(o, 20) == 0 ? sizeof bytes : dice(o, 100);
    memset(bytes, 1, size);
    int status = troupe_runtime_tell(o->rt, someone(o), crash ? CRASH : TELL, bytes, size);
    if (!saw(o, status) && status != 0 && status != -ESRCH)
        broken("a tell ended with an impossible status", status);
    ck_pr_add_64(&totals.told, status == 0);
}

static void wait_for(struct outside *o)
{
    troupe_reason reason = TROUPE_REASON_COUNT;
    int status = troupe_runtime_wait(o->rt, someone(o), some_time(o), &reason);
    if (status == 0 ? reason >= TROUPE_REASON_COUNT : status != -ETIMEDOUT)
        broken("a wait ended with an impossible status", status);
    if (o->over && status != 0)
        broken("an actor outlived its runtime", status);
    ck_pr_inc_64(&totals.waited);
}

static void use_token(struct outside *o)
{
    unsigned at = dice(o, BOARD);
    pthread_mutex_lock(&board_lock);
    troupe_token token = board[at], fresh;
    pthread_mutex_unlock(&board_lock);
    switch (dice(o, 6)) {
    case 0:
    case 1: {
        int status = troupe_runtime_token_new(o->rt, token, &fresh);
        if (saw(o, status))
            return;
        pthread_mutex_lock(&board_lock);
        token = board[at];
        board[at] = fresh;
        pthread_mutex_unlock(&board_lock);
        troupe_token_free(token);
        break;
    }
    case 2:
        troupe_token_cancel(token);
        if (token.ref && !troupe_token_cancelled(token))
            broken("it was cancelled", 0);
        break;
    case 3:
        troupe_token_free(token);
        break;
    default:
        if (token.ref)
            troupe_token_wait(token, TROUPE_US(dice(o, 500)));
        break;
    }
    ck_pr_inc_64(&totals.tokens);
}

static void use_names(struct outside *o)
{
    troupe_addr members[CHILDREN + 1], actor = someone(o);
    troupe_fanout out;
    int status = troupe_runtime_register(o->rt, "one", actor);
    saw(o, status);
    saw(o, troupe_runtime_group_join(o->rt, "all", actor));
    saw(o, troupe_runtime_subscribe(o->rt, "news", actor, TELL));
    saw(o, troupe_runtime_tell_name(o->rt, "one", TELL, NULL, 0));
    saw(o, troupe_runtime_group_tell(o->rt, "all", TELL, NULL, 0, &out));
    saw(o, troupe_runtime_publish(o->rt, "news", NULL, 0, &out));
    troupe_addr holder = troupe_runtime_lookup(o->rt, "one");
    size_t count = troupe_runtime_group_members(o->rt, "all", members, CHILDREN + 1);
    if (o->over && (!troupe_addr_is_nobody(holder) || count > 0))
        broken("a name outlives its runtime", (long)count);
    saw(o, troupe_runtime_unsubscribe(o->rt, "news", actor));
    saw(o, troupe_runtime_group_leave(o->rt, "all", actor));
    saw(o, troupe_runtime_unregister(o->rt, "one", holder));
}

static void look(struct outside *o)
{
    char text[2000];
    troupe_stats stats;
    troupe_crash crash[2];
    troupe_poison poison[2];
    switch (dice(o, 7)) {
    case 0:
    case 1:
        troupe_stats_read(o->rt, &stats);
        if (stats.workers < 1 || stats.workers > 3 || stats.spawns < 1 + CHILDREN)
            broken("the counters are wrong", (long)stats.spawns);
        break;
    case 2:
        troupe_crashes_read(o->rt, 0, crash, 2);
        break;
    case 3:
        if (troupe_quarantine_list(o->rt, 0, poison, 2) > 0)
            troupe_quarantine_resend(o->rt, poison[0].id, (troupe_addr){0});
        break;
    case 4:
        troupe_quarantine_payload(o->rt, 1, text, sizeof text);
        troupe_quarantine_drop(o->rt, 1);
        break;
    case 5:
        use_names(o);
        break;
    default:
        if (dice(o, 20) == 0)
            troupe_runtime_survivors(o->rt, text, sizeof text);
        if (o->over)
            troupe_runtime_request_stop(o->rt);
        if (o->over && troupe_runtime_stop(o->rt, TROUPE_FOREVER) != 0)
            broken("it has stopped", 0);
        break;
    }
}

static void *outside(void *arg)
{
    struct outside *o = arg;
    while (!(o->rt = ck_pr_load_ptr(&shared[o->index])))
        sched_yield();
    ck_pr_fence_load();
    o->over = false;
    for (unsigned after = 0; after < AFTER_THE_END; after += o->over) {
        unsigned of = dice(o, 10);
        if (of < 4)
            ask(o);
        else if (of < 6)
            tell(o);
        else if (of < 7)
            wait_for(o);
        else if (of < 9)
            use_token(o);
        else
            look(o);
    }
    troupe_runtime_release(o->rt);
    return NULL;
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

static void round_of(uint64_t seed)
{
    struct outside threads[THREADS];
    struct tr_rng rng;
    troupe_runtime *rt;
    tr_rng_init(&rng, seed);
    troupe_options options = {.workers = 1 + (unsigned)(seed % 3), .log_level = TROUPE_LOG_NONE};
    memset(shared, 0, sizeof shared);
    memset(board, 0, sizeof board);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i].index = i;
        tr_rng_init(&threads[i].rng, seed * 10 + i);
        pthread_create(&threads[i].thread, NULL, outside, &threads[i]);
    }
    if (troupe_runtime_start(&rt, &root, NULL, &options, NULL) != 0)
        broken("it does not start", 0);
    usleep(tr_rng_below(&rng, 4000));
    /* The root hands the runtime out first: a stop that comes before `started` would leave the threads waiting. */
    while (!ck_pr_load_ptr(&shared[THREADS - 1]))
        sched_yield();
    troupe_runtime_request_stop(rt);
    if (tr_rng_below(&rng, 2))
        troupe_runtime_stop(rt, TROUPE_FOREVER);
    if (troupe_runtime_join(rt) != 0)
        broken("it did not end as it should", 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i].thread, NULL);
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : SANITIZED ? 200 : 1000;
    printf("stress_foreign: seed %lu, %u rounds\n", seed, rounds);
    round_of(seed);
    unsigned before = open_fds();
    for (unsigned round = 0; round < rounds; round++, seed++) {
        alarm(STUCK_AFTER_S);
        round_of(seed);
    }
    if (open_fds() != before)
        broken("descriptors are left", (long)open_fds() - (long)before);
    printf("%lu answered, %lu timed out, %lu ended; %lu told, %lu waits, %lu tokens; %lu refused\n", totals.answered,
           totals.timeouts, totals.ended, totals.told, totals.waited, totals.tokens, totals.refused);
    if (!totals.answered || !totals.timeouts || !totals.ended || !totals.refused)
        broken("something was never seen", 0);
    return 0;
}
