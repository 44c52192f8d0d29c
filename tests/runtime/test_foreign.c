/* SPDX-License-Identifier: Apache-2.0 */
/* Threads outside: asks that block, and all verbs before, during and after the end of the runtime. */
#include "../support/sanitizer.h"
#include "world.h"

enum { ECHO, KEEP, NODATA, CRASH, RELEASE, ASK_INSIDE, WAKE };
enum { KEPT, RETURNED, STATUS, ANSWERED };

/* --- one that answers --------------------------------------------------------------------------------------------- */

HANDLER(echo)
{
    cr_assert(troupe_is_ask(msg) && troupe_addr_is_nobody(troupe_sender(msg)));
    troupe_reply(ctx, msg, troupe_payload(msg), troupe_size(msg));
}

HANDLER(keep)
{
    *(troupe_msg **)self = troupe_keep(ctx, msg);
    bump(KEPT);
}

HANDLER(nothing) {}

HANDLER(crash)
{
    troupe_panic(ctx, "on demand");
}

HANDLER(reply_late)
{
    cr_assert_eq(troupe_reply(ctx, *(troupe_msg **)self, "late", 4), 0);
}

HANDLER(ask_inside)
{
    int status = troupe_runtime_ask(troupe_ctx_runtime(ctx), troupe_self(ctx), ECHO, NULL, 0, 0, NULL, NULL);
    troupe_reply(ctx, msg, &status, sizeof status);
}

static const troupe_behavior desk = {.name = "desk",
                                     .state_size = sizeof(troupe_msg *),
                                     .handlers = {[ECHO] = ON(echo, TROUPE_ANY_SIZE),
                                                  [KEEP] = ON(keep, 0),
                                                  [NODATA] = ON(nothing, 0),
                                                  [CRASH] = ON(crash, 0),
                                                  [RELEASE] = ON(reply_late, 0),
                                                  [ASK_INSIDE] = ON(ask_inside, 0)}};

static troupe_runtime *start(troupe_addr *root)
{
    troupe_runtime *rt;
    troupe_options options = world_options();
    options.log_level = TROUPE_LOG_NONE;
    cr_assert_eq(troupe_runtime_start(&rt, &desk, NULL, &options, root), 0);
    return rt;
}

static void end(troupe_runtime *rt)
{
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

static int ask(troupe_runtime *rt, troupe_addr to, unsigned kind)
{
    return troupe_runtime_ask(rt, to, kind, NULL, 0, TROUPE_SEC(60), NULL, NULL);
}

Test(foreign, an_ask_returns_the_reply)
{
    static char question[100000], reply[100000];
    static const size_t sizes[] = {0, 1, 16, 17, 4000, 100000};
    troupe_addr root;
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        troupe_runtime *rt = start(&root);
        for (unsigned i = 0; i < 600; i++) {
            size_t size = sizes[i % 6], got = sizeof reply;
            memset(question, (int)i, sizeof question);
            memset(reply, 0, sizeof reply);
            cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, question, size, TROUPE_SEC(60), reply, &got), 0);
            cr_assert_eq(got, size);
            cr_assert_eq(memcmp(question, reply, size), 0);
        }
        cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, "x", 1, TROUPE_FOREVER, NULL, NULL), 0, "not wanted");
        end(rt);
        cr_assert_eq(dead_total(), 0);
    }
}

Test(foreign, a_reply_that_does_not_fit_says_how_long_it_is)
{
    char room[4] = "????";
    size_t size = 2;
    troupe_addr root;
    world_begin(1);
    troupe_runtime *rt = start(&root);
    cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, "abc", 3, TROUPE_FOREVER, room, &size), -ENOBUFS);
    cr_assert(size == 3 && memcmp(room, "ab??", 4) == 0, "%zu %.4s", size, room);
    size = 0;
    cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, "abc", 3, TROUPE_FOREVER, NULL, &size), -ENOBUFS);
    cr_assert_eq(size, 3);
    end(rt);
}

Test(foreign, an_ask_ends_with_every_status_of_an_answer)
{
    troupe_addr root;
    int inside = 0;
    size_t size = sizeof inside;
    world_begin(2);
    troupe_runtime *rt = start(&root);
    troupe_addr stale = {root.bits + (UINT64_C(1) << 32)};
    cr_assert_eq(ask(rt, root, NODATA), -ENODATA);
    cr_assert_eq(ask(rt, root, CRASH), -ECONNRESET);
    cr_assert_eq(ask(rt, root, 30), -EOPNOTSUPP);
    cr_assert_eq(ask(rt, stale, ECHO), -ESRCH);
    cr_assert_eq(ask(rt, (troupe_addr){0}, ECHO), -ESRCH);
    cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, "", TROUPE_PAYLOAD_MAX + 1, 0, NULL, NULL), -EMSGSIZE);
    cr_assert_eq(troupe_runtime_ask(rt, root, ASK_INSIDE, NULL, 0, TROUPE_FOREVER, &inside, &size), 0);
    cr_assert_eq(inside, -EDEADLK);
    cr_assert_eq(dead_total(), 4, "the crash, the unknown kind and two to nobody");
    end(rt);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

Test(foreign, an_ask_times_out_and_its_reply_is_late)
{
    troupe_addr root;
    world_begin(2);
    troupe_runtime *rt = start(&root);
    /* On a slow machine the ask may be over before it is handled: then with more time. */
    for (uint64_t timeout_ns = TROUPE_MS(20), over = 0;; timeout_ns *= 2, over++) {
        uint64_t begin = now_ns();
        cr_assert_eq(troupe_runtime_ask(rt, root, KEEP, NULL, 0, timeout_ns, NULL, NULL), -ETIMEDOUT);
        cr_assert_geq(now_ns() - begin, timeout_ns, "never early");
        cr_assert_eq(ask(rt, root, ECHO), 0, "behind it");
        if (world.dead[TROUPE_DEAD_EXPIRED] == over)
            break;
    }
    cr_assert_eq(troupe_runtime_tell(rt, root, RELEASE, NULL, 0), 0);
    cr_assert_eq(ask(rt, root, ECHO), 0, "the next one, which may have the same record, is not answered by it");
    cr_assert_eq(world.dead[TROUPE_DEAD_LATE_REPLY], 1);
    cr_assert_eq(world.dead_replies, 1);
    end(rt);
    cr_assert_eq(dead_total(), 1 + world.dead[TROUPE_DEAD_EXPIRED]);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

struct blocked {
    troupe_runtime *rt;
    troupe_addr to;
    int status;
};

static void *ask_for_ever(void *arg)
{
    struct blocked *b = arg;
    b->status = troupe_runtime_ask(b->rt, b->to, KEEP, NULL, 0, TROUPE_FOREVER, NULL, NULL);
    bump(RETURNED);
    return NULL;
}

Test(foreign, a_blocked_ask_ends_with_the_runtime_and_join_waits_for_it)
{
    enum { BLOCKED = 4 };
    pthread_t threads[BLOCKED];
    struct blocked blocked[BLOCKED];
    troupe_addr root;
    world_begin(2);
    troupe_runtime *rt = start(&root);
    for (unsigned i = 0; i < BLOCKED; i++) {
        blocked[i] = (struct blocked){.rt = rt, .to = root}; /* no reference: each is inside before join is called */
        pthread_create(&threads[i], NULL, ask_for_ever, &blocked[i]);
    }
    while (word(KEPT) < BLOCKED)
        sched_yield();
    cr_assert_eq(word(RETURNED), 0);
    end(rt);
    for (unsigned i = 0; i < BLOCKED; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(blocked[i].status, -ESRCH);
    }
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], BLOCKED);
}

/* What all verbs say of a runtime that has stopped, joined or not. */
static void use_the_stopped(troupe_runtime *rt, troupe_addr root, troupe_token token)
{
    char text[100] = "?";
    troupe_token fresh;
    troupe_reason reason = TROUPE_REASON_COUNT;
    cr_assert_eq(troupe_runtime_tell(rt, root, ECHO, NULL, 0), -ESHUTDOWN);
    cr_assert_eq(ask(rt, root, ECHO), -ESHUTDOWN);
    cr_assert_eq(troupe_runtime_token_new(rt, troupe_no_token(), &fresh), -ESHUTDOWN);
    cr_assert(troupe_token_cancelled(fresh));
    cr_assert_eq(troupe_runtime_wait(rt, root, TROUPE_FOREVER, &reason), 0);
    cr_assert_eq(reason, TROUPE_REASON_NO_ACTOR);
    cr_assert_eq(troupe_runtime_stop(rt, 0), 0);
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_survivors(rt, text, sizeof text), 0);
    cr_assert_str_eq(text, "");
    cr_assert_eq(troupe_token_wait(token, TROUPE_MS(1)), troupe_token_cancelled(token) ? 0 : -ETIMEDOUT);
}

Test(foreign, verbs_are_safe_after_the_stop_and_after_join)
{
    troupe_addr root;
    troupe_stats stats, later;
    troupe_token token, child;
    troupe_crash crash;
    troupe_poison poison;
    world_begin(2);
    troupe_runtime *rt = start(&root);
    cr_assert_eq(troupe_runtime_token_new(rt, troupe_no_token(), &token), 0);
    cr_assert_eq(troupe_runtime_token_new(rt, token, &child), 0);
    cr_assert_eq(ask(rt, root, CRASH), -ECONNRESET);
    cr_assert_eq(troupe_runtime_retain(rt), rt);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_FOREVER), 0);
    use_the_stopped(rt, root, token);
    cr_assert_eq(troupe_crashes_read(rt, 0, &crash, 1), 1, "what it left can still be read");
    troupe_stats_read(rt, &stats);
    cr_assert_eq(stats.actors, 0);
    cr_assert_eq(stats.crashes, 1);
    cr_assert_eq(troupe_runtime_join(rt), 0);

    cr_assert_eq(troupe_token_wait(child, TROUPE_FOREVER), 0, "nobody waits for what cannot be any more");
    cr_assert(troupe_token_cancel(token) && troupe_token_cancelled(child));
    use_the_stopped(rt, root, token);
    troupe_stats_read(rt, &later);
    cr_assert_eq(later.crashes, 1);
    cr_assert_eq(later.spawns, 1);
    cr_assert_eq(troupe_crashes_read(rt, 0, &crash, 1), 0);
    cr_assert_eq(troupe_quarantine_list(rt, 0, &poison, 1), 0);
    cr_assert_eq(troupe_quarantine_payload(rt, 1, NULL, 0), -ESHUTDOWN);
    cr_assert_eq(troupe_quarantine_resend(rt, 1, root), -ESHUTDOWN);
    cr_assert_eq(troupe_quarantine_drop(rt, 1), -ESHUTDOWN);
    troupe_token_free(child);
    troupe_token_free(token);
    troupe_runtime_release(rt);
    cr_assert_eq(dead_total(), 1, "the crash; what was refused is no dead letter");
}

/* --- side by side with join --------------------------------------------------------------------------------------- */

static void *ask_until_refused(void *arg)
{
    struct blocked *b = arg;
    int status;
    while ((status = ask(b->rt, b->to, ECHO)) != -ESHUTDOWN) {
        cr_assert(status == 0 || status == -ESRCH, "%d", status);
        if (status == 0)
            bump(ANSWERED);
    }
    troupe_runtime_release(b->rt);
    return NULL;
}

Test(foreign, asks_and_the_join_of_the_runtime_race)
{
    enum { RACERS = 3, ROUNDS = 300 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t threads[RACERS];
        struct blocked blocked[RACERS];
        troupe_addr root;
        world_begin(1 + round % 2);
        troupe_runtime *rt = start(&root);
        for (unsigned i = 0; i < RACERS; i++) {
            blocked[i] = (struct blocked){.rt = troupe_runtime_retain(rt), .to = root};
            pthread_create(&threads[i], NULL, ask_until_refused, &blocked[i]);
        }
        while (word(ANSWERED) < round % 10)
            sched_yield();
        end(rt);
        for (unsigned i = 0; i < RACERS; i++)
            pthread_join(threads[i], NULL);
    }
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

HANDLER(swallow)
{
    bump(KEPT);
}

static const troupe_behavior sink = {.name = "sink",
                                     .handlers = {[ECHO] = ON(echo, TROUPE_ANY_SIZE), [WAKE] = ON(swallow, 8)}};

Test(foreign, figures)
{
    enum { TELLS = SANITIZED ? 1000 : 1000000, ASKS = SANITIZED ? 100 : 20000 };
    troupe_runtime *rt;
    troupe_addr root;
    uint64_t payload = 1;
    world_begin(1);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &sink, NULL, &options, &root), 0);
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < TELLS; i++)
        troupe_runtime_tell(rt, root, WAKE, &payload, sizeof payload);
    uint64_t told = now_ns();
    while (word(KEPT) < TELLS)
        sched_yield();
    uint64_t asking = now_ns();
    for (unsigned i = 0; i < ASKS; i++)
        cr_assert_eq(troupe_runtime_ask(rt, root, ECHO, &payload, sizeof payload, TROUPE_SEC(60), NULL, NULL), 0);
    fprintf(stderr, "foreign: tell %lu ns, ask %lu ns\n", (unsigned long)((told - begin) / TELLS),
            (unsigned long)((now_ns() - asking) / ASKS));
    end(rt);
}
