/* SPDX-License-Identifier: Apache-2.0 */
/* Soak of supervision: nodes below supervisors of every strategy crash, fail to start, stop, are stopped, killed,
 * suspended and linked, escalate, and are restarted, replaced or spawned again, by seeded dice, while they tell, ask,
 * keep, set timers, watch each other and own things. At the end everything is accounted for:
 *   messages   sent = handled + dead letters, by reason
 *   asks       made = answered + forgotten with their incarnation; one reply each, handled or a dead letter
 *   monitors   a registrar that never ends watches every actor there ever was, and is told of each exactly once; nodes
 *              are told at most once, and of nobody they do not watch
 *   drops      one for each letter that was buried or poison; one call for each deferred; no fd is left
 *   progress   the nodes of each supervisor still move when all is done
 *   memory     resident memory at the end is what it was after a fifth of the way
 * It is not a stress of the scheduler: stress_actors has more workers than cores and less to say.
 * Arguments: [deeds [seed]]; TROUPE_DRILL=full: 10,000,000 deeds. Prints one line. Exit status 0, or 1 with a
 * reason. */
#include <troupe/troupe.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"
#include "tests/support/sanitizer.h"

enum { SUPERVISORS = 9, KIDS = 8, NODES = SUPERVISORS * KIDS, WATCHES = 8, CROWD = 3000 };
enum { STEP, NOTE, ASK, WORK, TIMED, DOWN, LEAF_STEP, END, KINDS, UNKNOWN = 31 };
enum { WATCH = 1, RESUME, CLOSE }; /* the registrar's, besides DOWN */

#define DEEDS_FULL 10000000u
#define DEEDS_BRIEF (UNDER_TSAN ? 20000u : UNDER_ASAN ? 50000u : 200000u) /* one crash in eight deeds */
#define GROWTH_MAX (4l << 20)
#define PATIENCE 10000 /* looks, 2 ms each */

/* --- accounts: by atomic access ----------------------------------------------------------------------------------- */

struct accounts {
    uint64_t deeds;
    uint64_t sent, handled;
    uint64_t dead[KINDS][TROUPE_DEAD_COUNT]; /* requests by kind; [STEP] also has misfits */
    uint64_t dead_requests, dead_timed, dead_replies;
    uint64_t asked, answered, forgotten, timed_out, spoilt_replies;
    uint64_t armed, fired, cancelled;
    uint64_t monitors, told, untold, taken_back;
    uint64_t registered, ended;
    uint64_t reports, reports_read; /* to the registrar, but for ends */
    uint64_t note_drops, work_drops;
    uint64_t deferred, defers_run, fds_owned;
};

static struct accounts acc;
static troupe_addr nodes[NODES]; /* by atomic access of bits */
static troupe_addr registrar;
static uint64_t progress[SUPERVISORS]; /* deeds of each one's nodes */
static uint64_t deeds_wanted;
static uint32_t finishing;

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static void fail(const char *what)
{
    fprintf(stderr, "soak_supervision: %s\n", what);
    _exit(1);
}

static bool is_over(void)
{
    return ck_pr_load_32(&finishing);
}

/* More than this is not sent before some of it is gone: groups restart so often that mailboxes would grow without end.
 * */
static bool is_crowded(void)
{
    uint64_t gone = ck_pr_load_64(&acc.handled) + ck_pr_load_64(&acc.dead_requests);
    uint64_t reported = ck_pr_load_64(&acc.reports_read);
    return (int64_t)(ck_pr_load_64(&acc.sent) - gone) > CROWD ||
           (int64_t)(ck_pr_load_64(&acc.reports) - reported) > CROWD;
}

/* Seldom one whose group restarts with it: it is down most of the time. */
static troupe_addr somebody(struct tr_rng *rng)
{
    unsigned i = tr_rng_below(rng, NODES), strategy = i / KIDS % 3;
    if (strategy > 0 && tr_rng_below(rng, 8) > 0)
        i -= strategy * KIDS;
    return (troupe_addr){ck_pr_load_64(&nodes[i].bits)};
}

static void report(troupe_ctx *ctx, unsigned kind, troupe_addr actor)
{
    count(&acc.reports);
    if (troupe_tell(ctx, registrar, kind, &actor, sizeof actor) != 0)
        fail("the registrar is gone");
}

/* Of an actor that was spawned or replaced another. */
static void register_actor(troupe_ctx *ctx, troupe_addr actor)
{
    if (!troupe_addr_is_nobody(actor))
        report(ctx, WATCH, actor);
}

/* --- a node ------------------------------------------------------------------------------------------------------- */

struct note {
    uint64_t dice;
    char filler[40];
};

struct node {
    struct tr_rng rng;
    unsigned supervisor;
    unsigned asks, watches;
    troupe_monitor_ref watched[WATCHES];
    troupe_msg *kept;
    troupe_timer timer;
    int own_fd;
};

struct node_args {
    uint64_t seed;
    unsigned supervisor;
};

/* Runs before the state is freed. */
static void forget(void *arg)
{
    const struct node *node = arg;
    ck_pr_add_64(&acc.forgotten, node->asks);
    ck_pr_add_64(&acc.untold, node->watches);
    count(&acc.defers_run);
}

static void just_count(void *arg)
{
    count(arg);
}

/* One step is in a node's mailbox at any time, over all incarnations: the first from its parent, and then sent by each
 * step before its deed. */
static void step_on(troupe_ctx *ctx, troupe_addr node)
{
    if (is_over() || troupe_addr_is_nobody(node))
        return;
    count(&acc.sent);
    troupe_tell(ctx, node, STEP, NULL, 0);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    const struct node_args *a = args;
    node->supervisor = a->supervisor;
    tr_rng_init(&node->rng, a->seed + troupe_incarnation(ctx) * UINT64_C(1000003));
    if (tr_rng_below(&node->rng, 50) == 0)
        return -EIO;
    if (troupe_defer(ctx, forget, node) < 0)
        return -ENOMEM;
    count(&acc.deferred);
    if (tr_rng_below(&node->rng, 100) == 0)
        troupe_stop_self(ctx);
    return 0;
}

static void node_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct node *node = self;
    if (crash->incarnation != troupe_incarnation(ctx))
        fail("a record of another incarnation");
    if (tr_rng_below(&node->rng, 30) == 0)
        troupe_panic(ctx, "in crashed");
}

static void node_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    struct node *node = self;
    if (reason == TROUPE_REASON_KILLED)
        fail("stopped was called of one that was killed");
    if (tr_rng_below(&node->rng, 30) == 0)
        troupe_panic(ctx, "in stopped");
}

/* --- deeds -------------------------------------------------------------------------------------------------------- */

static struct note some_note(struct node *node)
{
    return (struct note){.dice = tr_rng_next(&node->rng) >> 8};
}

static void deed_tell(troupe_ctx *ctx, struct node *node)
{
    struct note note = some_note(node);
    count(&acc.sent);
    troupe_tell(ctx, somebody(&node->rng), NOTE, &note, sizeof note);
}

static void deed_work(troupe_ctx *ctx, struct node *node)
{
    struct note note = some_note(node);
    count(&acc.sent);
    troupe_tell(ctx, somebody(&node->rng), WORK, &note, sizeof note);
}

static void deed_misfit(troupe_ctx *ctx, struct node *node)
{
    count(&acc.sent);
    if (tr_rng_below(&node->rng, 2))
        troupe_tell(ctx, somebody(&node->rng), UNKNOWN, NULL, 0);
    else
        troupe_tell(ctx, somebody(&node->rng), NOTE, "ab", 2);
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct node *node = self;
    count(&acc.answered);
    if (node->asks-- == 0 || answer->arg != self)
        fail("an answer that nobody waits for");
    if (answer->status == -ETIMEDOUT)
        count(&acc.timed_out);
    if (tr_rng_below(&node->rng, 100) == 0) {
        if (answer->status != -ETIMEDOUT)
            count(&acc.spoilt_replies);
        troupe_panic(ctx, "over an answer");
    }
}

static void deed_ask(troupe_ctx *ctx, struct node *node)
{
    static const uint64_t times[] = {0, TROUPE_US(100), TROUPE_MS(3), TROUPE_SEC(100), TROUPE_FOREVER};
    struct note note = some_note(node);
    count(&acc.sent);
    count(&acc.asked);
    node->asks++;
    if (troupe_ask(ctx, somebody(&node->rng), ASK, &note, sizeof note, times[tr_rng_below(&node->rng, 5)], on_answer,
                   node) != 0)
        fail("an ask was refused");
}

static void deed_timer(troupe_ctx *ctx, struct node *node)
{
    if (troupe_timer_cancel(ctx, node->timer))
        count(&acc.cancelled);
    count(&acc.armed);
    if (troupe_send_after(ctx, TROUPE_US(tr_rng_below(&node->rng, 2000)), somebody(&node->rng), TIMED, NULL, 0,
                          &node->timer) != 0)
        fail("a timer was refused");
}

static void deed_watch(troupe_ctx *ctx, struct node *node)
{
    if (node->watches == WATCHES) {
        if (troupe_demonitor(ctx, node->watched[--node->watches]))
            count(&acc.taken_back);
        else
            fail("a monitor is gone and has not told");
    }
    unsigned flags = tr_rng_below(&node->rng, 2) ? TROUPE_MONITOR_RESTARTS : 0;
    if (troupe_monitor(ctx, somebody(&node->rng), DOWN, flags, &node->watched[node->watches]) != 0)
        fail("a monitor was refused");
    node->watches++;
    count(&acc.monitors);
}

static void deed_suspend(troupe_ctx *ctx, struct node *node)
{
    troupe_addr it = somebody(&node->rng);
    if (troupe_suspend(ctx, it) == 0)
        report(ctx, RESUME, it);
}

static const troupe_behavior leaf;

static void deed_spawn(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 3; i++) {
        troupe_addr child = troupe_spawn(ctx, &leaf, NULL, NULL);
        register_actor(ctx, child);
        if (troupe_addr_is_nobody(child))
            return;
        count(&acc.sent);
        troupe_tell(ctx, child, LEAF_STEP, NULL, 0);
    }
}

static void deed_own(troupe_ctx *ctx)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0 || troupe_own(ctx, &troupe_resource_fd, (uintptr_t)fd, NULL) < 0 ||
        troupe_defer(ctx, just_count, &acc.defers_run) < 0)
        fail("something could not be owned");
    count(&acc.fds_owned);
    count(&acc.deferred);
}

static void deed_order(troupe_ctx *ctx, struct node *node, unsigned dice)
{
    troupe_addr it = dice % 3 ? somebody(&node->rng) : troupe_self(ctx);
    switch (dice % 4) {
    case 0:
        troupe_stop(ctx, it);
        return;
    case 1:
        troupe_kill(ctx, it);
        return;
    case 2:
        troupe_stop_within(ctx, it, TROUPE_US(tr_rng_below(&node->rng, 2000)));
        return;
    default:
        troupe_stop_self(ctx);
        return;
    }
}

/* Only a parent's word ends a permanent node. */
static void deed_ask_for_end(troupe_ctx *ctx)
{
    troupe_addr self = troupe_self(ctx);
    count(&acc.sent);
    troupe_tell(ctx, troupe_parent(ctx), END, &self, sizeof self);
}

static void do_deed(troupe_ctx *ctx, struct node *node)
{
    unsigned dice = tr_rng_below(&node->rng, 100);
    if (dice < 22)
        deed_tell(ctx, node);
    else if (dice < 40)
        deed_ask(ctx, node);
    else if (dice < 48)
        deed_timer(ctx, node);
    else if (dice < 60)
        deed_watch(ctx, node);
    else if (dice < 64)
        deed_work(ctx, node);
    else if (dice < 66)
        deed_misfit(ctx, node);
    else if (dice < 68)
        deed_suspend(ctx, node);
    else if (dice < 70)
        deed_spawn(ctx);
    else if (dice < 72)
        deed_own(ctx);
    else if (dice < 74)
        troupe_link(ctx, somebody(&node->rng), NULL);
    else if (dice < 82)
        deed_order(ctx, node, tr_rng_below(&node->rng, 12));
    else if (dice < 90)
        troupe_panic(ctx, "by dice");
    else if (dice < 92)
        deed_ask_for_end(ctx);
}

/* --- a node's messages -------------------------------------------------------------------------------------------- */

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    step_on(ctx, troupe_self(ctx));
    count(&progress[node->supervisor]);
    if (!is_crowded()) {
        count(&acc.deeds);
        do_deed(ctx, node);
    }
    count(&acc.handled);
}

static void on_note(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct note *note = troupe_payload(msg);
    (void)self;
    if (note->dice % 61 == 0)
        troupe_panic(ctx, "by note");
    count(&acc.handled);
}

/* Half of it crashes its handler at the first try, some at both: poison. */
static void on_work(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    const struct note *note = troupe_payload(msg);
    if (note->dice % 4 == 0 || (note->dice % 4 == 1 && tr_rng_below(&node->rng, 2)))
        troupe_panic(ctx, "by work");
    count(&acc.handled);
}

static void on_ask(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    const struct note *note = troupe_payload(msg);
    uint64_t dice = note->dice % 16;
    if (dice == 0)
        troupe_panic(ctx, "by ask");
    if (dice < 8) {
        troupe_reply(ctx, msg, note, sizeof *note);
    } else if (dice < 12) {
        troupe_msg *kept = troupe_keep(ctx, msg);
        if (node->kept) {
            troupe_reply(ctx, node->kept, NULL, 0);
            count(&acc.handled);
        }
        node->kept = kept;
    } else if (dice == 12) {
        troupe_release(ctx, troupe_keep(ctx, msg));
    }
    if (node->kept != msg) /* else it is handled when it is answered, or a dead letter with its keeper */
        count(&acc.handled);
}

static void on_timed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
    count(&acc.fired);
}

static void on_down(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    const troupe_down *down = troupe_payload(msg);
    (void)ctx;
    for (unsigned i = 0; i < node->watches; i++) {
        if (node->watched[i].ref != down->monitor.ref || node->watched[i].generation != down->monitor.generation)
            continue;
        if (down->restarted)
            return;
        node->watched[i] = node->watched[--node->watches];
        count(&acc.told);
        return;
    }
    fail("news of somebody that is not watched, or for the second time");
}

static void drop_note(const void *payload, size_t size)
{
    (void)payload;
    if (size != sizeof(struct note))
        fail("a drop of another size");
    count(&acc.note_drops);
}

static void drop_work(const void *payload, size_t size)
{
    (void)payload, (void)size;
    count(&acc.work_drops);
}

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(struct node_args),
    .started = node_started,
    .crashed = node_crashed,
    .stopped = node_stopped,
    .handlers = {[STEP] = {.name = "step", .fn = on_step},
                 [NOTE] = {.name = "note", .fn = on_note, .size = sizeof(struct note), .drop = drop_note},
                 [ASK] = {.name = "ask", .fn = on_ask, .size = sizeof(struct note)},
                 [WORK] = {.name = "work", .fn = on_work, .size = sizeof(struct note), .drop = drop_work, .retries = 1},
                 [TIMED] = {.name = "timed", .fn = on_timed},
                 [DOWN] = {.name = "down", .fn = on_down, .size = sizeof(troupe_down)}}};

static void on_leaf_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
    count(&acc.handled);
}

static const troupe_behavior leaf = {.name = "leaf", .handlers = {[LEAF_STEP] = {.name = "leaf", .fn = on_leaf_step}}};

/* --- supervisors -------------------------------------------------------------------------------------------------- */

#define ANY_NUMBER .restarts = TROUPE_RESTARTS_MAX, .window_ns = 1

static const troupe_supervision kinds_of_nodes[] = {
    {.restarts = 3, .window_ns = TROUPE_MS(1)},
    {.restart = TROUPE_RESTART_PERMANENT, .restarts = 3, .window_ns = TROUPE_MS(1)},
    {.restart = TROUPE_RESTART_TEMPORARY},
    {ANY_NUMBER, .backoff = {.initial_ns = TROUPE_US(50), .max_ns = TROUPE_MS(1), .healthy_ns = TROUPE_MS(2)}},
    {.restarts = TROUPE_RESTARTS_NONE},
    {.restart = TROUPE_RESTART_PERMANENT, ANY_NUMBER},
};

struct supervisor {
    struct tr_rng rng;
    unsigned index;
};

struct supervisor_args {
    unsigned index;
    uint64_t seed;
};

static void spawn_node(troupe_ctx *ctx, struct supervisor *s, unsigned slot)
{
    struct node_args args = {tr_rng_next(&s->rng), s->index};
    unsigned kinds = sizeof kinds_of_nodes / sizeof *kinds_of_nodes;
    troupe_spawn_options options = {.supervision = &kinds_of_nodes[tr_rng_below(&s->rng, kinds)]};
    troupe_addr addr = troupe_spawn(ctx, &node_behavior, &args, &options);
    register_actor(ctx, addr);
    step_on(ctx, addr);
    if (!troupe_addr_is_nobody(addr))
        ck_pr_store_64(&nodes[slot].bits, addr.bits);
}

static int supervisor_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct supervisor *s = self;
    const struct supervisor_args *a = args;
    tr_rng_init(&s->rng, a->seed + troupe_incarnation(ctx) * UINT64_C(7919));
    s->index = a->index;
    for (unsigned i = 0; i < KIDS; i++)
        spawn_node(ctx, s, s->index * KIDS + i);
    return troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), TIMED, NULL, 0, NULL);
}

static void on_end(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct supervisor *s = self;
    troupe_addr it = *(const troupe_addr *)troupe_payload(msg);
    if (tr_rng_below(&s->rng, 2))
        troupe_stop(ctx, it);
    else
        troupe_kill(ctx, it);
    count(&acc.handled);
}

/* Of temporary children that end because their group restarts nobody is told. */
static void supervisor_look(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct supervisor *s = self;
    (void)msg;
    for (unsigned slot = s->index * KIDS; slot < (s->index + 1) * KIDS; slot++)
        if (troupe_resume(ctx, (troupe_addr){ck_pr_load_64(&nodes[slot].bits)}) == -ESRCH)
            spawn_node(ctx, s, slot);
}

static void supervisor_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct supervisor *s = self;
    (void)reason;
    for (unsigned i = 0; i < KIDS; i++)
        if (ck_pr_load_64(&nodes[s->index * KIDS + i].bits) == child.bits) {
            spawn_node(ctx, s, s->index * KIDS + i);
            return;
        }
}

static troupe_verdict supervisor_child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct supervisor *s = self;
    (void)ctx;
    if (!crash->behavior || !crash->text[0])
        fail("an escalation without a record");
    unsigned dice = tr_rng_below(&s->rng, 32);
    return dice == 0   ? TROUPE_VERDICT_RESTART_SELF
           : dice == 1 ? TROUPE_VERDICT_STOP_SELF
           : dice < 12 ? TROUPE_VERDICT_RESTART_CHILD
           : dice < 22 ? TROUPE_VERDICT_REPLACE_CHILD
                       : TROUPE_VERDICT_IGNORE;
}

static void supervisor_child_replaced(troupe_ctx *ctx, void *self, troupe_addr old, troupe_addr fresh)
{
    struct supervisor *s = self;
    register_actor(ctx, fresh);
    step_on(ctx, fresh);
    for (unsigned i = 0; i < KIDS; i++)
        if (ck_pr_load_64(&nodes[s->index * KIDS + i].bits) == old.bits)
            ck_pr_store_64(&nodes[s->index * KIDS + i].bits, fresh.bits);
}

#define SUPERVISOR(name_, strategy_)                                                                                   \
    {                                                                                                                  \
        .name = name_, .state_size = sizeof(struct supervisor), .args_size = sizeof(struct supervisor_args),           \
        .started = supervisor_started, .child_stopped = supervisor_child_stopped,                                      \
        .child_escalated = supervisor_child_escalated, .child_replaced = supervisor_child_replaced,                    \
        .supervision = {ANY_NUMBER}, .children = {.strategy = strategy_}, .handlers = {                                \
            [TIMED] = {.name = "look", .fn = supervisor_look},                                                         \
            [END] = {.name = "end", .fn = on_end, .size = sizeof(troupe_addr)}                                         \
        }                                                                                                              \
    }

static const troupe_behavior supervisors[] = {SUPERVISOR("one_for_one", TROUPE_ONE_FOR_ONE),
                                              SUPERVISOR("one_for_all", TROUPE_ONE_FOR_ALL),
                                              SUPERVISOR("rest_for_one", TROUPE_REST_FOR_ONE)};

/* --- the registrar: watches everybody ----------------------------------------------------------------------------- */

static void end_if_all_ended(troupe_ctx *ctx)
{
    if (ck_pr_load_32(&finishing) == CLOSE && acc.ended == acc.registered)
        troupe_stop_runtime(ctx, 0);
}

static void on_watch(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    acc.registered++;
    count(&acc.reports_read);
    if (troupe_monitor(ctx, *(const troupe_addr *)troupe_payload(msg), DOWN, 0, NULL) != 0)
        fail("a monitor was refused");
}

static void on_registered_down(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const troupe_down *down = troupe_payload(msg);
    (void)self;
    if (down->restarted)
        fail("news of a restart that nobody wanted");
    acc.ended++;
    end_if_all_ended(ctx);
}

static void on_resume(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    count(&acc.reports_read);
    troupe_resume(ctx, *(const troupe_addr *)troupe_payload(msg));
}

static void on_close(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    ck_pr_store_32(&finishing, CLOSE);
    end_if_all_ended(ctx);
}

static const troupe_behavior registrar_behavior = {
    .name = "registrar",
    .handlers = {[WATCH] = {.name = "watch", .fn = on_watch, .size = sizeof(troupe_addr)},
                 [RESUME] = {.name = "resume", .fn = on_resume, .size = sizeof(troupe_addr)},
                 [CLOSE] = {.name = "close", .fn = on_close},
                 [DOWN] = {.name = "down", .fn = on_registered_down, .size = sizeof(troupe_down)}}};

/* --- the root ----------------------------------------------------------------------------------------------------- */

struct root {
    struct tr_rng rng;
    troupe_addr supervisors[SUPERVISORS];
    unsigned alive;
    uint64_t progress[SUPERVISORS]; /* when the deeds were done */
    unsigned looks;                 /* since then */
};

static long resident_early, resident_late;
static troupe_stats last_stats;
static uint32_t closing;      /* 1: they are being read, or were */
static uint64_t letters_late; /* shown since: a delayed message may be posted, and die, after its maker */

static long resident_bytes(void)
{
    long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        abort();
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void spawn_supervisor(troupe_ctx *ctx, struct root *root, unsigned index)
{
    struct supervisor_args args = {index, tr_rng_next(&root->rng)};
    root->supervisors[index] = troupe_spawn(ctx, &supervisors[index % 3], &args, NULL);
    register_actor(ctx, root->supervisors[index]);
    root->alive++;
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    tr_rng_init(&root->rng, *(const uint64_t *)args);
    registrar = troupe_spawn(ctx, &registrar_behavior, NULL, NULL);
    for (unsigned i = 0; i < SUPERVISORS; i++)
        spawn_supervisor(ctx, root, i);
    return troupe_send_every(ctx, TROUPE_MS(2), troupe_self(ctx), TIMED, NULL, 0, NULL);
}

/* Nobody may stand still, whatever has happened: all go on for another moment. */
static bool all_are_alive(struct root *root)
{
    if (root->looks++ == 0)
        for (unsigned i = 0; i < SUPERVISORS; i++)
            root->progress[i] = ck_pr_load_64(&progress[i]);
    for (unsigned i = 0; i < SUPERVISORS; i++)
        if (ck_pr_load_64(&progress[i]) == root->progress[i]) {
            if (root->looks > PATIENCE)
                fail("the nodes of a supervisor stand still");
            return false;
        }
    return true;
}

static void root_look(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    uint64_t deeds = ck_pr_load_64(&acc.deeds);
    if (!resident_early && deeds >= deeds_wanted / 5)
        resident_early = resident_bytes();
    if (deeds < deeds_wanted || is_over() || !all_are_alive(root))
        return;
    resident_late = resident_bytes();
    ck_pr_store_32(&finishing, 1);
    for (unsigned i = 0; i < SUPERVISORS; i++)
        troupe_stop(ctx, root->supervisors[i]);
}

static void root_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct root *root = self;
    (void)reason;
    root->alive--;
    if (ck_pr_load_32(&finishing)) {
        if (root->alive == 0)
            troupe_tell(ctx, registrar, CLOSE, NULL, 0);
        return;
    }
    for (unsigned i = 0; i < SUPERVISORS; i++)
        if (troupe_addr_same(root->supervisors[i], child))
            spawn_supervisor(ctx, root, i);
}

static void root_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)self, (void)reason;
    ck_pr_store_32(&closing, 1);
    troupe_stats_read(troupe_ctx_runtime(ctx), &last_stats);
}

static const troupe_behavior root_behavior = {.name = "root",
                                              .state_size = sizeof(struct root),
                                              .args_size = sizeof(uint64_t),
                                              .started = root_started,
                                              .stopped = root_stopped,
                                              .child_stopped = root_child_stopped,
                                              .handlers = {[TIMED] = {.name = "look", .fn = root_look}}};

/* --- the reckoning ------------------------------------------------------------------------------------------------ */

/* See deed_misfit: nobody's to drop. */
static bool is_misfit(const troupe_dead_letter *letter)
{
    return letter->kind >= KINDS || (letter->kind == NOTE && letter->size != sizeof(struct note));
}

static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    if (ck_pr_load_32(&closing))
        count(&letters_late);
    (void)arg;
    if (letter->reply) {
        count(&acc.dead_replies);
    } else if (letter->kind == TIMED) {
        count(&acc.dead_timed);
    } else {
        count(&acc.dead_requests);
        count(&acc.dead[is_misfit(letter) ? STEP : letter->kind][letter->reason]);
    }
}

static bool agrees(const char *what, uint64_t is, uint64_t expected)
{
    if (is != expected)
        fprintf(stderr, "soak_supervision: %s: %" PRIu64 ", expected %" PRIu64 "\n", what, is, expected);
    return is == expected;
}

static uint64_t dead_for(troupe_dead_reason reason)
{
    uint64_t sum = 0;
    for (unsigned kind = 0; kind < KINDS; kind++)
        sum += acc.dead[kind][reason];
    return sum;
}

static bool letters_agree(void)
{
    uint64_t dead = 0, shown = acc.dead_replies + acc.dead_timed, counted = 0;
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++) {
        dead += dead_for((troupe_dead_reason)i);
        counted += last_stats.dead_letters[i];
    }
    bool good = agrees("messages handled or dead", acc.handled + dead, acc.sent);
    if (shown + dead < counted || shown + dead > counted + letters_late)
        good = agrees("letters shown", shown + dead, counted);
    good &= agrees("drops of notes", acc.note_drops, acc.dead[NOTE][TROUPE_DEAD_STOPPED]);
    good &= agrees("drops of work", acc.work_drops,
                   acc.dead[WORK][TROUPE_DEAD_STOPPED] + acc.dead[WORK][TROUPE_DEAD_POISON]);
    return good;
}

static bool others_agree(unsigned fds, unsigned fds_before)
{
    bool good = agrees("asks answered or forgotten", acc.answered + acc.forgotten, acc.asked);
    good &= agrees("replies that were dead letters", acc.dead_replies + dead_for(TROUPE_DEAD_EXPIRED),
                   acc.forgotten + acc.timed_out + acc.spoilt_replies); /* what expired is not replied to */
    good &= agrees("monitors that told, or ended before", acc.told + acc.untold + acc.taken_back, acc.monitors);
    good &= agrees("actors of whose end the registrar was told", acc.ended, acc.registered);
    good &= agrees("actors spawned", last_stats.spawns, acc.registered + 2);
    good &= agrees("actors left", last_stats.actors, 1);
    good &= agrees("deferred calls", acc.defers_run, acc.deferred);
    good &= agrees("open fds", fds, fds_before);
    if (acc.fired + acc.cancelled > acc.armed)
        good = agrees("timers fired", acc.fired, acc.armed - acc.cancelled);
    return good;
}

static unsigned open_fds(void)
{
    unsigned fds = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        fds++;
    closedir(dir);
    return fds;
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void print_summary(uint64_t seed, double seconds)
{
    const troupe_stats *s = &last_stats;
    printf("soak_supervision: seed %" PRIu64 ": %" PRIu64 " deeds: %" PRIu64 " crashes, %" PRIu64 " restarts, %" PRIu64
           " escalations, %" PRIu64 " kills, %" PRIu64 " ends, %" PRIu64 " asks, %" PRIu64 " timers, %" PRIu64
           " monitors; %" PRIu64 " sent = %" PRIu64 " handled",
           seed, acc.deeds, s->crashes, s->restarts, s->escalations, s->kills, s->stops, acc.asked, acc.armed,
           acc.monitors + acc.registered, acc.sent, acc.handled);
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        printf(" + %" PRIu64 " %s", dead_for((troupe_dead_reason)i), troupe_dead_reason_name((troupe_dead_reason)i));
    printf("; %ld -> %ld KiB; %.1f s\n", resident_early / 1024, resident_late / 1024, seconds);
}

int main(int argc, char **argv)
{
    const char *drill = getenv("TROUPE_DRILL");
    deeds_wanted = drill && strcmp(drill, "full") == 0 ? DEEDS_FULL : DEEDS_BRIEF;
    if (argc > 1)
        deeds_wanted = strtoull(argv[1], NULL, 0);
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    unsigned fds = open_fds();
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    alarm(deeds_wanted > DEEDS_BRIEF ? 3600 : 500);
    troupe_options options = {.workers = 4,
                              .log_level = TROUPE_LOG_NONE,
                              .dead_letter = dead_letter,
                              .quarantine_max = 64,
                              .backtraces = TROUPE_NO_BACKTRACES};
    if (troupe_run(&root_behavior, &seed, &options) != 0)
        fail("the runtime did not end in order");
    print_summary(seed, seconds_since(&began));
    bool good = letters_agree();
    good &= others_agree(open_fds(), fds);
    if (!SANITIZED && resident_late - resident_early > GROWTH_MAX)
        good = agrees("resident memory", (uint64_t)resident_late, (uint64_t)resident_early);
    return good ? 0 : 1;
}
