/* SPDX-License-Identifier: Apache-2.0 */
/* Soak of everything at once, with many more workers than cores: tells from 0 bytes to 1 MiB, composed and forwarded
 * messages, asks answered now, later and never, with and without hold, timers armed and taken back, bounded mailboxes of
 * each policy, stash, names, groups, routers, topics, jobs, streams, files, threads outside, handlers that do not
 * return, while actors are spawned, stopped, killed, suspended, crash and restart. By seeded dice, in phases: a flood,
 * bursts, little to do, nearly nothing. What must hold:
 *   messages  per kind sent = handled + dead letters + timers taken back, and the same of the sums of their marks
 *             (tests/support/ledger.h): at the end, before anybody is stopped, but for what a mailbox still has; and
 *             after the stop. What is refused (-EAGAIN) is not sent. What payloads own is freed once. All who were
 *             refused were told of room; each ask was answered, or forgotten with its incarnation; each job was done or
 *             dropped; each byte written came back
 *   stalls    beacons measure from when a timer was due, or a message sent, to its handler. No delay of which more than
 *             100 ms are left when the kernel's own round is taken off, unless the watchdog told of the handler that was
 *             in the way (tests/support/stall.h says exactly how). Handlers that are kept for long by intention must
 *             be told of
 *   memory    what is had from malloc, and what is resident when malloc has given back what it keeps (malloc_trim), at
 *             the ends of quiet phases: the median of the last fifth of the time is at most 5 % and 4 MiB above that of
 *             the second. Printed always, a reason to fail from 10 minutes on: the high-water marks of queues grow for
 *             some minutes. Neither this nor stalls are looked at under sanitizers
 * Exit status 0, or 1 with reasons on stderr. --help tells of options. Without any it is brief, TROUPE_DRILL=full: half
 * an hour with 64 workers. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mallinfo2, O_TMPFILE */
#endif

#include <troupe/troupe.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"
#include "tests/support/ledger.h"
#include "tests/support/sanitizer.h"
#include "tests/support/stall.h"

enum {
    WARDS = 16,
    KIDS = 16,
    NODES = WARDS * KIDS,
    CLERKS = 8,
    SCRIBES = 8,
    SHOPS = 4,
    CUSTOMERS = 4,
    BEACONS = 32,
    KEEPERS = 4,
    PAIRS = 6,
    ARCHIVISTS = 2,
    OUTSIDERS = 3,
    KEPT = 8,
    NOTE_MAX = 1 << 20,
    CHUNK_MAX = 100000,
    BLOCK = 4096
};

/* Kinds, one numbering for all behaviors, so that a dead letter says what it was. Below ACCOUNTED are those that the
 * ledger knows; their payload begins with the mark, but for NIL, which has none. */
enum {
    STEP,
    NIL,
    NOTE,
    OWNED,
    ASK,
    LATER,
    RELAY,
    BOMB,
    POISON,
    STASHED,
    ONCE,
    PULSE,
    NEWS,
    CALL,
    JOB,
    NAMED,
    OUTSIDE,
    GOODS,
    FROM_JOB,
    ACCOUNTED,
    TICK = ACCOUNTED,
    BEAT,
    FLUSH,
    DATA,
    AWAITED,
    ACCEPTED,
    DONE
};

static const char *const kind_names[LEDGER_KINDS] = {
    [STEP] = "step",   [NIL] = "nil",         [NOTE] = "note",   [OWNED] = "owned",      [ASK] = "ask",
    [LATER] = "later", [RELAY] = "relay",     [BOMB] = "bomb",   [POISON] = "poison",    [STASHED] = "stashed",
    [ONCE] = "once",   [PULSE] = "pulse",     [NEWS] = "news",   [CALL] = "call",        [JOB] = "job",
    [NAMED] = "named", [OUTSIDE] = "outside", [GOODS] = "goods", [FROM_JOB] = "from job"};

enum load { FLOOD, BURST, BRISK, QUIET, OVER };
static const char *const load_names[] = {"flood", "burst", "brisk", "quiet", "over"};

static struct {
    unsigned seconds, workers, spares, stall_ms;
    uint64_t seed;
    enum { PLANT_NOTHING, PLANT_LOST, PLANT_TWICE, PLANT_LEAK, PLANT_STALL } plant;
} options = {.spares = 2, .stall_ms = 100, .seed = 1};

/* By atomic access, as all that is shared. */
static struct {
    uint64_t refused, rooms, asked, answered, timed_out, forgotten, late_replies;
    uint64_t blocks_made, blocks_freed, jobs, jobs_done, jobs_dropped, jobs_refused;
    uint64_t bytes_out, bytes_back, streams, connections, files, outside_asks, outside_answers;
    uint64_t hogs, suspended, respawned, holds, forwards;
} n;
static uint32_t phase; /* number << 3 | load */
static uint32_t customers_waiting, outsiders_end, port;
static uint64_t nodes[NODES], scribes[SCRIBES], shops[SHOPS], beacons[BEACONS];
static troupe_runtime *runtime;

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static uint64_t of(const uint64_t *counter)
{
    return ck_pr_load_64(counter);
}

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "soak_mixed: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

static uint32_t phase_now(void)
{
    return ck_pr_load_32(&phase);
}

static enum load load_now(void)
{
    return (enum load)(phase_now() & 7);
}

/* Is there to be much to do? */
static bool is_busy(void)
{
    return load_now() <= BRISK;
}

static troupe_addr one_of(struct tr_rng *rng, uint64_t *list, unsigned length)
{
    return (troupe_addr){ck_pr_load_64(&list[tr_rng_below(rng, length)])};
}

static troupe_addr any_node(struct tr_rng *rng)
{
    return one_of(rng, nodes, NODES);
}

/* --- sending, with the ledger ------------------------------------------------------------------------------------- */

struct word {
    uint64_t mark, more;
};

static uint64_t mark_of(const troupe_msg *msg)
{
    return troupe_size(msg) >= sizeof(uint64_t) ? *(const uint64_t *)troupe_payload(msg) : 0;
}

/* True: it was sent. */
static bool booked(unsigned kind, uint64_t mark, int status)
{
    if (status == 0 || status == -ESRCH)
        ledger_sent(kind, mark);
    else if (status == -EAGAIN)
        count(&n.refused);
    else
        fail("a %s was not sent: %d", kind_names[kind], status);
    return status != -EAGAIN;
}

static bool tell_word(troupe_ctx *ctx, troupe_addr to, unsigned kind, uint64_t more)
{
    struct word word = {ledger_mark(), more};
    return booked(kind, word.mark, troupe_tell(ctx, to, kind, &word, sizeof word));
}

static void handled(const troupe_msg *msg)
{
    static uint32_t planted;
    if (options.plant == PLANT_LOST && load_now() == BURST && ck_pr_cas_32(&planted, 0, 1))
        return;
    ledger_handled(troupe_kind(msg), mark_of(msg));
    if (options.plant == PLANT_TWICE && load_now() == BURST && ck_pr_cas_32(&planted, 0, 1))
        ledger_handled(troupe_kind(msg), mark_of(msg));
}

static void on_plain(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self;
    handled(msg);
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

struct note {
    uint64_t mark, size;
    unsigned char bytes[];
};

static size_t note_size(struct tr_rng *rng)
{
    uint32_t dice = tr_rng_below(rng, 20000);
    uint32_t most = dice == 0 ? NOTE_MAX : dice < 20 ? 65536 : dice < 400 ? 4096 : dice < 4000 ? 256 : 48;
    return sizeof(struct note) + tr_rng_below(rng, most - (uint32_t)sizeof(struct note) + 1);
}

static void fill_note(void *at, uint64_t mark, size_t size)
{
    struct note *note = at;
    note->mark = mark;
    note->size = size;
    if (size > sizeof *note)
        note->bytes[size - sizeof *note - 1] = (unsigned char)(mark >> 5);
}

static void on_note(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct note *note = troupe_payload(msg);
    size_t size = troupe_size(msg);
    (void)ctx, (void)self;
    if (note->size != size ||
        (size > sizeof *note && note->bytes[size - sizeof *note - 1] != (unsigned char)(note->mark >> 5)))
        fail("a note of %zu bytes is not what was sent", size);
    if (options.plant == PLANT_LEAK && note->mark % 4096 == 0 && !malloc(1024))
        fail("no memory");
    handled(msg);
}

struct owned {
    uint64_t mark;
    uint64_t *block; /* says the mark */
};

static struct owned make_owned(void)
{
    struct owned owned = {ledger_mark(), malloc(64)};
    *owned.block = owned.mark;
    count(&n.blocks_made);
    return owned;
}

static void free_owned(const void *payload, size_t size)
{
    const struct owned *owned = payload;
    (void)size;
    if (*owned->block != owned->mark)
        fail("a block is freed twice");
    *owned->block = 0;
    free(owned->block);
    count(&n.blocks_freed);
}

static void on_owned(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self;
    free_owned(troupe_payload(msg), 0);
    handled(msg);
}

/* The hook: what stopped receivers had is dropped after it, all else that owns something is this one's to free. */
static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->reply) {
        count(&n.late_replies);
        return;
    }
    if (letter->kind >= ACCOUNTED)
        return;
    ledger_dead(letter->kind, letter->reason,
                letter->size >= sizeof(uint64_t) ? *(const uint64_t *)letter->payload : 0);
    if (letter->kind == OWNED && letter->reason != TROUPE_DEAD_STOPPED)
        free_owned(letter->payload, letter->size);
}

/* --- a node ------------------------------------------------------------------------------------------------------- */

struct node {
    struct tr_rng rng;
    unsigned asks, kept_count;
    bool shut;
    troupe_msg *kept[KEPT];
    troupe_router routers[TROUPE_ROUTE_ALL];
    troupe_timer far;
};

static void forget(void *arg)
{
    const struct node *node = arg;
    ck_pr_add_64(&n.forgotten, node->asks);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    tr_rng_init(&node->rng, *(const uint64_t *)args + troupe_incarnation(ctx) * UINT64_C(1000003));
    if (troupe_incarnation(ctx) > 1 && tr_rng_below(&node->rng, 20) == 0)
        return -EIO;
    for (unsigned i = 0; i < TROUPE_ROUTE_ALL; i++)
        node->routers[i] = troupe_router_over_group((troupe_route)i, "clerks");
    return troupe_defer(ctx, forget, node);
}

static void deed_note(troupe_ctx *ctx, struct node *node)
{
    size_t size = note_size(&node->rng);
    uint64_t mark = ledger_mark();
    troupe_addr to = any_node(&node->rng);
    if (size > 256 || tr_rng_below(&node->rng, 4) == 0) {
        troupe_msg *msg = troupe_compose(ctx, NOTE, size);
        TROUPE_CHECK(ctx, msg);
        fill_note(troupe_msg_body(msg), mark, size);
        booked(NOTE, mark, troupe_send(ctx, to, msg));
    } else {
        uint64_t room[32] = {0};
        fill_note(room, mark, size);
        booked(NOTE, mark, troupe_tell(ctx, to, NOTE, room, size));
    }
}

static void deed_owned(troupe_ctx *ctx, struct node *node)
{
    struct owned owned = make_owned();
    bool bounded = tr_rng_below(&node->rng, 4) == 0;
    troupe_addr to = bounded ? one_of(&node->rng, shops, SHOPS) : any_node(&node->rng);
    if (!booked(OWNED, owned.mark, troupe_tell(ctx, to, OWNED, &owned, sizeof owned)))
        free_owned(&owned, sizeof owned);
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct node *node = self;
    (void)ctx;
    count(&n.answered);
    if (node->asks-- == 0)
        fail("an answer that nobody waits for");
    if (answer->status == -ETIMEDOUT)
        count(&n.timed_out);
    if (answer->status == 0 &&
        (answer->size != sizeof(uint64_t) || *(const uint64_t *)answer->payload != (uintptr_t)answer->arg))
        fail("a reply to another question");
}

static void deed_ask(troupe_ctx *ctx, struct node *node, unsigned kind, bool hold)
{
    static const uint64_t times[] = {TROUPE_MS(1), TROUPE_MS(20), TROUPE_SEC(2), TROUPE_SEC(100), TROUPE_FOREVER};
    struct word word = {ledger_mark(), 0};
    void *arg = (void *)(uintptr_t)word.mark;
    uint64_t time = times[tr_rng_below(&node->rng, hold ? 2 : 5)];
    troupe_addr to = hold ? one_of(&node->rng, scribes, SCRIBES) : any_node(&node->rng);
    int status = hold ? troupe_ask_hold(ctx, to, kind, &word, sizeof word, time, on_answer, arg)
                      : troupe_ask(ctx, to, kind, &word, sizeof word, time, on_answer, arg);
    if (status != 0)
        fail("an ask was refused: %d", status);
    ledger_sent(kind, word.mark);
    node->asks++;
    count(&n.asked);
    ck_pr_add_64(&n.holds, hold);
}

static void deed_many(troupe_ctx *ctx, struct node *node, unsigned dice)
{
    struct word word = {ledger_mark(), 0};
    troupe_fanout out = {0};
    char name[16];
    switch (dice % 4) {
    case 0:
        troupe_group_tell(ctx, "clerks", CALL, &word, sizeof word, &out);
        ledger_sent_many(CALL, word.mark, out.told);
        break;
    case 1:
        troupe_publish(ctx, "news", &word, sizeof word, &out);
        ledger_sent_many(NEWS, word.mark, out.told);
        break;
    case 2: {
        troupe_router *router = &node->routers[tr_rng_below(&node->rng, TROUPE_ROUTE_ALL)];
        booked(JOB, word.mark, troupe_router_tell(ctx, router, word.mark, JOB, &word, sizeof word));
        break;
    }
    default:
        snprintf(name, sizeof name, "clerk-%u", tr_rng_below(&node->rng, CLERKS));
        booked(NAMED, word.mark, troupe_tell_name(ctx, name, NAMED, &word, sizeof word));
        if (tr_rng_below(&node->rng, 16) == 0 && troupe_await_name(ctx, name, AWAITED) != 0)
            fail("a name cannot be awaited");
        break;
    }
}

struct load_of_job {
    uint64_t *block;
    uint64_t seed;
    unsigned us;
};

static int job(troupe_job *job, void *work)
{
    struct load_of_job *load = work;
    struct tr_rng rng = {load->seed};
    struct word word = {ledger_mark(), 0};
    if (*load->block != load->seed)
        fail("a job runs without its block");
    int status = troupe_runtime_tell(troupe_job_runtime(job), any_node(&rng), FROM_JOB, &word, sizeof word);
    if (status != -ESHUTDOWN)
        booked(FROM_JOB, word.mark, status);
    troupe_job_wait(job, TROUPE_US(load->us));
    return 7;
}

static void drop_job(void *work, size_t size, bool ran, int result)
{
    (void)size, (void)ran, (void)result;
    free(((struct load_of_job *)work)->block);
    count(&n.jobs_dropped);
}

static void on_job_done(troupe_ctx *ctx, void *self, const troupe_offload_result *result)
{
    (void)ctx, (void)self;
    if (result->status != 0)
        return; /* it is dropped */
    if (result->result != 7)
        fail("a job's result is not its own");
    free(((struct load_of_job *)result->work)->block);
    count(&n.jobs_done);
}

static void deed_job(troupe_ctx *ctx, struct node *node)
{
    struct load_of_job load = {malloc(100), tr_rng_next(&node->rng), tr_rng_below(&node->rng, 2000)};
    troupe_offload_options how = {.name = "soak", .drop = drop_job};
    if (tr_rng_below(&node->rng, 3) == 0)
        how.timeout_ns = TROUPE_US(500);
    *load.block = load.seed;
    int status = troupe_offload(ctx, job, &load, sizeof load, &how, on_job_done, NULL);
    count(status == 0 ? &n.jobs : &n.jobs_refused);
    if (status != 0)
        free(load.block);
}

static const troupe_behavior leaf = {
    .name = "leaf",
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers = {
        [NIL] = {.name = "nil", .fn = on_plain}, [NOTE] = {.name = "note", .fn = on_note, .size = TROUPE_ANY_SIZE}}};

/* Half of them are stopped with the message in the mailbox, or before: then it is a dead letter. */
static void deed_spawn(troupe_ctx *ctx, struct node *node)
{
    troupe_addr child = troupe_spawn(ctx, &leaf, NULL, NULL);
    if (troupe_addr_is_nobody(child))
        return;
    booked(NIL, 0, troupe_tell(ctx, child, NIL, NULL, 0));
    if (tr_rng_below(&node->rng, 2))
        troupe_stop(ctx, child);
    else
        troupe_kill(ctx, child);
}

/* A timer that is never due before it is taken back. */
static void deed_far_timer(troupe_ctx *ctx, struct node *node)
{
    if (node->far.ref && !troupe_timer_cancel(ctx, node->far))
        fail("a timer is gone");
    TROUPE_CHECK(ctx, troupe_send_after(ctx, TROUPE_SEC(3600), troupe_self(ctx), FLUSH, NULL, 0, &node->far) == 0);
}

static void reply_one(troupe_ctx *ctx, struct node *node)
{
    troupe_msg *msg = node->kept[--node->kept_count];
    struct word word = {mark_of(msg), 0};
    unsigned kind = troupe_kind(msg);
    if (troupe_reply(ctx, msg, &word.mark, sizeof word.mark) < 0)
        troupe_release(ctx, msg);
    ledger_handled(kind, word.mark);
}

static void deed(troupe_ctx *ctx, struct node *node)
{
    unsigned dice = tr_rng_below(&node->rng, 1000);
    if (dice < 550)
        deed_note(ctx, node);
    else if (dice < 620)
        deed_owned(ctx, node);
    else if (dice < 700)
        deed_ask(ctx, node, ASK, false);
    else if (dice < 740)
        deed_ask(ctx, node, LATER, false);
    else if (dice < 750)
        deed_ask(ctx, node, ASK, true);
    else if (dice < 790)
        deed_ask(ctx, node, RELAY, false);
    else if (dice < 840)
        deed_many(ctx, node, dice);
    else if (dice < 890)
        tell_word(ctx, one_of(&node->rng, shops, SHOPS), GOODS, 0);
    else if (dice < 930)
        tell_word(ctx, any_node(&node->rng), STASHED, 0);
    else if (dice < 960)
        booked(NIL, 0, troupe_tell(ctx, any_node(&node->rng), NIL, NULL, 0));
    else if (dice < 980)
        deed_far_timer(ctx, node);
    else if (dice < 995)
        deed_spawn(ctx, node);
    else
        deed_job(ctx, node);
}

static void open_stash(troupe_ctx *ctx, struct node *node)
{
    node->shut = false;
    troupe_unstash_all(ctx);
}

/* A step belongs to a phase, and is gone with it; until then it is in the mailbox again as soon as it is handled. */
static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    const struct word *word = troupe_payload(msg);
    handled(msg);
    if (word->more != phase_now() || !is_busy())
        return;
    tell_word(ctx, troupe_self(ctx), STEP, word->more);
    for (unsigned deeds = load_now() == BURST ? 12 : 3; deeds > 0; deeds--)
        deed(ctx, node);
    if (node->kept_count > 0 && tr_rng_below(&node->rng, 4) == 0)
        reply_one(ctx, node);
    if (node->shut ? tr_rng_below(&node->rng, 4) == 0 : tr_rng_below(&node->rng, 32) == 0) {
        node->shut = !node->shut;
        if (!node->shut)
            open_stash(ctx, node);
    }
}

static void on_ask(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    uint64_t mark = mark_of(msg);
    (void)self;
    if (mark % 16 != 0) /* else it ends without a reply */
        troupe_reply(ctx, msg, &mark, sizeof mark);
    handled(msg);
}

static void on_later(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    if (node->kept_count == KEPT)
        reply_one(ctx, node);
    troupe_msg *kept = troupe_keep(ctx, msg);
    TROUPE_CHECK(ctx, kept);
    node->kept[node->kept_count++] = kept;
}

static void on_relay(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    if (tr_rng_below(&node->rng, 3) == 0) {
        on_ask(ctx, self, msg);
        return;
    }
    count(&n.forwards);
    int status = troupe_forward(ctx, msg, any_node(&node->rng));
    if (status != 0 && status != -ESRCH)
        fail("a message cannot be forwarded: %d", status);
}

static void on_stashed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct node *node = self;
    if (!node->shut || troupe_stash(ctx, msg) != 0)
        handled(msg);
}

static void on_bomb(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "by bomb");
}

/* With retries: half of them are handled in the end. */
static void on_poison(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    if (tr_rng_below(&node->rng, 2))
        troupe_panic(ctx, "by poison");
    handled(msg);
}

static void on_flush(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    while (node->kept_count > 0)
        reply_one(ctx, node);
    open_stash(ctx, node);
}

static void on_nothing(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
}

static void on_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    (void)ctx, (void)self, (void)where;
    count(&n.rooms);
}

#define WORD(name_, fn_)                                                                                               \
    {                                                                                                                  \
        .name = name_, .fn = fn_, .size = sizeof(struct word)                                                          \
    }

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(uint64_t),
    .started = node_started,
    .room = on_room,
    .stash_max = 32,
    .supervision = {.restarts = 20, .window_ns = TROUPE_MS(100)},
    .handlers = {[STEP] = WORD("step", on_step),
                 [NIL] = {.name = "nil", .fn = on_plain},
                 [NOTE] = {.name = "note", .fn = on_note, .size = TROUPE_ANY_SIZE},
                 [OWNED] = {.name = "owned", .fn = on_owned, .size = sizeof(struct owned), .drop = free_owned},
                 [ASK] = WORD("ask", on_ask),
                 [LATER] = WORD("later", on_later),
                 [RELAY] = WORD("relay", on_relay),
                 [BOMB] = WORD("bomb", on_bomb),
                 [POISON] = {.name = "poison", .fn = on_poison, .size = sizeof(struct word), .retries = 1},
                 [STASHED] = WORD("stashed", on_stashed),
                 [ONCE] = WORD("once", on_plain),
                 [OUTSIDE] = WORD("outside", on_plain),
                 [FROM_JOB] = WORD("from job", on_plain),
                 [AWAITED] = {.name = "awaited", .fn = on_nothing, .size = sizeof(troupe_registered)},
                 [FLUSH] = {.name = "flush", .fn = on_flush}}};

/* --- wards: the nodes' parents, who hand out steps and do mischief ------------------------------------------------ */

struct ward {
    struct tr_rng rng;
    unsigned index;
    uint32_t given; /* the phase whose steps were handed out */
    unsigned suspended;
};

struct indexed {
    unsigned index;
    uint64_t seed;
};

static bool has_steps(const struct ward *ward, unsigned kid)
{
    enum load load = (enum load)(ward->given & 7);
    return load <= BURST || (load == BRISK && kid == 0);
}

static void spawn_node(troupe_ctx *ctx, struct ward *ward, unsigned kid)
{
    uint64_t seed = tr_rng_next(&ward->rng);
    troupe_addr addr = troupe_spawn(ctx, &node_behavior, &seed, NULL);
    if (troupe_addr_is_nobody(addr))
        fail("a node cannot be spawned");
    ck_pr_store_64(&nodes[ward->index * KIDS + kid], addr.bits);
    if (has_steps(ward, kid))
        tell_word(ctx, addr, STEP, ward->given);
}

static int ward_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct ward *ward = self;
    const struct indexed *a = args;
    tr_rng_init(&ward->rng, a->seed);
    ward->index = a->index;
    ward->given = QUIET;
    ward->suspended = KIDS;
    for (unsigned kid = 0; kid < KIDS; kid++)
        spawn_node(ctx, ward, kid);
    return troupe_send_every(ctx, TROUPE_MS(50 + a->index), troupe_self(ctx), TICK, NULL, 0, NULL);
}

static troupe_addr kid_of(const struct ward *ward, unsigned kid)
{
    return (troupe_addr){ck_pr_load_64(&nodes[ward->index * KIDS + kid])};
}

static void mischief(troupe_ctx *ctx, struct ward *ward)
{
    unsigned dice = tr_rng_below(&ward->rng, 1000), kid = tr_rng_below(&ward->rng, KIDS);
    troupe_addr it = kid_of(ward, kid);
    if (dice < 8) {
        tell_word(ctx, it, BOMB, 0);
    } else if (dice < 16) {
        tell_word(ctx, it, POISON, 0);
    } else if (dice < 40) {
        troupe_kill(ctx, it);
    } else if (dice < 64) {
        troupe_stop(ctx, it);
    } else if (dice < 90 && ward->suspended == KIDS) {
        troupe_suspend(ctx, it);
        ward->suspended = kid;
        count(&n.suspended);
    }
}

static void on_ward_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct ward *ward = self;
    uint32_t now = phase_now();
    bool changed = now != ward->given;
    (void)msg;
    ward->given = now;
    for (unsigned kid = 0; changed && kid < KIDS; kid++)
        if (has_steps(ward, kid))
            tell_word(ctx, kid_of(ward, kid), STEP, now);
    if (ward->suspended < KIDS && (load_now() == OVER || tr_rng_below(&ward->rng, 2))) {
        troupe_resume(ctx, kid_of(ward, ward->suspended));
        ward->suspended = KIDS;
    }
    if (load_now() == OVER) {
        for (unsigned kid = 0; kid < KIDS; kid++)
            troupe_tell(ctx, kid_of(ward, kid), FLUSH, NULL, 0);
        return;
    }
    mischief(ctx, ward);
    if (!is_busy())
        tell_word(ctx, any_node(&ward->rng), STASHED, 0);
}

static void ward_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct ward *ward = self;
    (void)reason;
    for (unsigned kid = 0; kid < KIDS; kid++)
        if (kid_of(ward, kid).bits == child.bits) {
            count(&n.respawned);
            spawn_node(ctx, ward, kid);
            return;
        }
}

static troupe_verdict replace(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self, (void)crash;
    return TROUPE_VERDICT_IGNORE; /* child_stopped spawns another */
}

static const troupe_behavior ward_behavior = {.name = "ward",
                                              .state_size = sizeof(struct ward),
                                              .args_size = sizeof(struct indexed),
                                              .started = ward_started,
                                              .child_stopped = ward_child_stopped,
                                              .child_escalated = replace,
                                              .handlers = {[TICK] = {.name = "tick", .fn = on_ward_tick}}};

/* --- clerks: members of a group, subscribers, holders of names ---------------------------------------------------- */

static int clerk_started(troupe_ctx *ctx, void *self, const void *args)
{
    const unsigned *index = args;
    char name[16];
    (void)self;
    snprintf(name, sizeof name, "clerk-%u", *index);
    if (troupe_group_join(ctx, "clerks", troupe_self(ctx)) != 0 || troupe_register(ctx, name, troupe_self(ctx)) != 0)
        fail("a clerk's names are taken");
    return troupe_subscribe(ctx, "news", troupe_self(ctx), NEWS);
}

static const troupe_behavior clerk_behavior = {.name = "clerk",
                                               .args_size = sizeof(unsigned),
                                               .started = clerk_started,
                                               .handlers = {[NEWS] = WORD("news", on_plain),
                                                            [CALL] = WORD("call", on_plain),
                                                            [JOB] = WORD("job", on_plain),
                                                            [NAMED] = WORD("named", on_plain),
                                                            [BOMB] = WORD("bomb", on_bomb)}};

struct office {
    struct tr_rng rng;
    troupe_addr clerks[CLERKS];
};

static int office_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct office *office = self;
    tr_rng_init(&office->rng, ((const struct indexed *)args)->seed);
    for (unsigned i = 0; i < CLERKS; i++)
        office->clerks[i] = troupe_spawn(ctx, &clerk_behavior, &i, NULL);
    return troupe_send_every(ctx, TROUPE_MS(100), troupe_self(ctx), TICK, NULL, 0, NULL);
}

static void on_office_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct office *office = self;
    troupe_addr it = office->clerks[tr_rng_below(&office->rng, CLERKS)];
    unsigned dice = tr_rng_below(&office->rng, 30);
    (void)msg;
    if (load_now() == OVER)
        return;
    if (dice == 0)
        troupe_stop(ctx, it);
    else if (dice == 1)
        troupe_kill(ctx, it);
    else if (dice == 2)
        tell_word(ctx, it, BOMB, 0);
    else if (dice == 3 && troupe_unsubscribe(ctx, "news", it) == 0)
        troupe_subscribe(ctx, "news", it, NEWS);
    else if (dice == 4 && troupe_group_leave(ctx, "clerks", it) == 0)
        troupe_group_join(ctx, "clerks", it);
}

static void office_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct office *office = self;
    (void)reason;
    for (unsigned i = 0; i < CLERKS; i++)
        if (troupe_addr_same(office->clerks[i], child))
            office->clerks[i] = troupe_spawn(ctx, &clerk_behavior, &i, NULL);
}

static const troupe_behavior office_behavior = {.name = "office",
                                                .state_size = sizeof(struct office),
                                                .args_size = sizeof(struct indexed),
                                                .started = office_started,
                                                .child_stopped = office_child_stopped,
                                                .child_escalated = replace,
                                                .handlers = {[TICK] = {.name = "tick", .fn = on_office_tick}}};

/* --- scribes answer at once; shops are bounded; customers keep shops full ----------------------------------------- */

static const troupe_behavior scribe_behavior = {
    .name = "scribe", .handlers = {[ASK] = WORD("ask", on_ask), [OUTSIDE] = WORD("outside", on_ask)}};

static void on_goods(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self;
    for (uint64_t until = stall_clock() + 2000; stall_clock() < until;)
        ck_pr_stall();
    handled(msg);
}

#define SHOP(name_, ...)                                                                                               \
    {                                                                                                                  \
        .name = name_, .mailbox = {__VA_ARGS__}, .handlers = {                                                         \
            [GOODS] = WORD("goods", on_goods),                                                                         \
            [OWNED] = {.name = "owned", .fn = on_owned, .size = sizeof(struct owned), .drop = free_owned}              \
        }                                                                                                              \
    }

static const troupe_behavior shop_behaviors[SHOPS] = {
    SHOP("refusing", .limit = 50), SHOP("newest", .limit = 50, .overflow = TROUPE_OVERFLOW_DROP_NEWEST),
    SHOP("oldest", .limit = 50, .overflow = TROUPE_OVERFLOW_DROP_OLDEST), SHOP("aged", .max_age_ns = TROUPE_MS(1))};

struct customer {
    struct tr_rng rng;
    troupe_addr shop; /* that has no room */
};

static int customer_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct customer *customer = self;
    tr_rng_init(&customer->rng, ((const struct indexed *)args)->seed);
    return troupe_send_every(ctx, TROUPE_MS(5), troupe_self(ctx), TICK, NULL, 0, NULL);
}

static void on_customer_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct customer *customer = self;
    (void)msg;
    if (!is_busy() || !troupe_addr_is_nobody(customer->shop))
        return;
    troupe_addr shop = one_of(&customer->rng, shops, SHOPS);
    for (unsigned i = 0; i < 200; i++)
        if (!tell_word(ctx, shop, GOODS, 0)) {
            customer->shop = shop;
            ck_pr_inc_32(&customers_waiting);
            return;
        }
}

static void customer_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    struct customer *customer = self;
    (void)ctx;
    if (!troupe_addr_same(where, customer->shop))
        fail("room where nobody waited for it");
    customer->shop = (troupe_addr){0};
    ck_pr_dec_32(&customers_waiting);
    count(&n.rooms);
}

static const troupe_behavior customer_behavior = {.name = "customer",
                                                  .state_size = sizeof(struct customer),
                                                  .args_size = sizeof(struct indexed),
                                                  .started = customer_started,
                                                  .room = customer_room,
                                                  .handlers = {[TICK] = {.name = "tick", .fn = on_customer_tick}}};

/* --- keepers of timers: each is sent, or taken back ---------------------------------------------------------------- */

struct keeper {
    struct tr_rng rng;
    struct {
        troupe_timer timer;
        uint64_t mark;
    } armed[256];
    uint8_t next;
};

static int keeper_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct keeper *keeper = self;
    tr_rng_init(&keeper->rng, ((const struct indexed *)args)->seed);
    return troupe_send_every(ctx, TROUPE_MS(10), troupe_self(ctx), TICK, NULL, 0, NULL);
}

static void on_keeper_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct keeper *keeper = self;
    (void)msg;
    for (unsigned i = load_now() == OVER ? 0 : is_busy() ? 100 : 2; i > 0; i--) {
        uint8_t at = keeper->next++, old = (uint8_t)tr_rng_below(&keeper->rng, 256);
        struct word word = {keeper->armed[at].mark = ledger_mark(), 0};
        if (troupe_send_after(ctx, TROUPE_US(tr_rng_below(&keeper->rng, 100000)), any_node(&keeper->rng), ONCE, &word,
                              sizeof word, &keeper->armed[at].timer) != 0)
            fail("a timer was refused");
        ledger_sent(ONCE, word.mark);
        if (keeper->armed[old].timer.ref && troupe_timer_cancel(ctx, keeper->armed[old].timer))
            ledger_taken_back(ONCE, keeper->armed[old].mark);
    }
}

static const troupe_behavior keeper_behavior = {.name = "keeper",
                                                .state_size = sizeof(struct keeper),
                                                .args_size = sizeof(struct indexed),
                                                .started = keeper_started,
                                                .handlers = {[TICK] = {.name = "tick", .fn = on_keeper_tick}}};

/* --- beacons measure delays ---------------------------------------------------------------------------------------- */

struct beacon {
    struct tr_rng rng;
    uint64_t due_ns;
    int home; /* whose wheel the timer is in */
};

struct pulse {
    uint64_t mark, sent_ns;
    int64_t from;
};

static void arm_beacon(troupe_ctx *ctx, struct beacon *beacon)
{
    uint64_t delay = TROUPE_MS(is_busy() ? 5 : 20) + TROUPE_US(tr_rng_below(&beacon->rng, 5000));
    if (troupe_send_after(ctx, delay, troupe_self(ctx), BEAT, NULL, 0, NULL) != 0)
        fail("a timer was refused");
    beacon->due_ns = stall_clock() + delay;
    beacon->home = stall_worker();
}

static int beacon_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct beacon *beacon = self;
    tr_rng_init(&beacon->rng, ((const struct indexed *)args)->seed);
    arm_beacon(ctx, beacon);
    return 0;
}

static void on_beat(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct beacon *beacon = self;
    (void)msg;
    stall_delay("a timer", beacon->home, beacon->due_ns);
    if (load_now() != OVER) {
        troupe_addr to = one_of(&beacon->rng, beacons, BEACONS);
        struct pulse pulse = {ledger_mark(), stall_clock(), stall_worker()};
        booked(PULSE, pulse.mark, troupe_tell(ctx, to, PULSE, &pulse, sizeof pulse));
        if (options.plant == PLANT_STALL && load_now() == QUIET && tr_rng_below(&beacon->rng, 20) == 0)
            troupe_suspend(ctx, to);
    }
    arm_beacon(ctx, beacon);
}

static void on_pulse(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct pulse *pulse = troupe_payload(msg);
    (void)ctx, (void)self;
    stall_delay("a message", (int)pulse->from, pulse->sent_ns);
    handled(msg);
}

static const troupe_behavior beacon_behavior = {
    .name = "beacon",
    .state_size = sizeof(struct beacon),
    .args_size = sizeof(struct indexed),
    .started = beacon_started,
    .handlers = {[BEAT] = {.name = "beat", .fn = on_beat},
                 [PULSE] = {.name = "pulse", .fn = on_pulse, .size = sizeof(struct pulse)}}};

/* --- a hog: now and then its handler does not return for 200 ms ---------------------------------------------------- */

static int hog_started(troupe_ctx *ctx, void *self, const void *args)
{
    tr_rng_init(self, ((const struct indexed *)args)->seed);
    return troupe_send_every(ctx, TROUPE_MS(500), troupe_self(ctx), TICK, NULL, 0, NULL);
}

static void on_hog_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    if (options.plant == PLANT_STALL)
        for (unsigned i = 0; i < BEACONS; i++)
            troupe_resume(ctx, (troupe_addr){ck_pr_load_64(&beacons[i])});
    if (tr_rng_below(self, 6) != 0 || load_now() == OVER)
        return;
    uint64_t began = stall_clock();
    while (stall_clock() < began + TROUPE_MS(200))
        ck_pr_stall();
    stall_handler("a handler", began);
    count(&n.hogs);
}

static const troupe_behavior hog_behavior = {.name = "hog",
                                             .state_size = sizeof(struct tr_rng),
                                             .args_size = sizeof(struct indexed),
                                             .started = hog_started,
                                             .handlers = {[TICK] = {.name = "hog", .fn = on_hog_tick}}};

/* --- streams: one end says bytes of a known sequence, the other says them again ----------------------------------- */

struct talker {
    struct tr_rng rng;
    troupe_stream stream;
    uint64_t heard, said;
    unsigned rounds;
};

struct talker_args {
    uint64_t seed;
    bool leads;
};

static unsigned char byte_at(uint64_t position)
{
    return (unsigned char)(position * 31 + (position >> 8));
}

static int talker_started(troupe_ctx *ctx, void *self, const void *args)
{
    static const troupe_stream_options how = {.data = DATA};
    struct talker *talker = self;
    const struct talker_args *a = args;
    tr_rng_init(&talker->rng, a->seed);
    if (troupe_stream_adopt(ctx, troupe_take_fd(ctx), &how, &talker->stream) != 0 ||
        troupe_stream_read(ctx, talker->stream, 0) != 0)
        fail("a stream cannot begin");
    return a->leads ? troupe_send_every(ctx, TROUPE_MS(5), troupe_self(ctx), TICK, NULL, 0, NULL) : 0;
}

static void on_talker_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct talker *talker = self;
    (void)msg;
    if (talker->heard < talker->said)
        return;
    if (talker->rounds++ > 100 || load_now() == OVER) {
        troupe_stream_close(ctx, talker->stream, true);
        troupe_stop_self(ctx);
        return;
    }
    size_t length = is_busy() ? 1 + tr_rng_below(&talker->rng, CHUNK_MAX) : 10;
    unsigned char *bytes = troupe_scratch(ctx, length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(talker->said++);
    ck_pr_add_64(&n.bytes_out, length);
    if (troupe_stream_write(ctx, talker->stream, bytes, length) != 0)
        fail("a stream cannot be written");
}

static const unsigned char *check_data(struct talker *talker, const troupe_data *data)
{
    const unsigned char *bytes = data->bytes;
    if (data->status != 0)
        fail("a stream broke: %d", data->status);
    for (size_t i = 0; i < data->length; i++)
        if (bytes[i] != byte_at(talker->heard++))
            fail("a stream's bytes are not what was written");
    return bytes;
}

static void on_lead_data(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct talker *talker = self;
    const troupe_data *data = troupe_payload(msg);
    check_data(talker, data);
    ck_pr_add_64(&n.bytes_back, data->length);
    troupe_stream_read(ctx, data->stream, 0);
}

static void on_echo_data(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const troupe_data *data = troupe_payload(msg);
    const unsigned char *bytes = check_data(self, data);
    if (data->length == 0) {
        troupe_stream_close(ctx, data->stream, true);
        troupe_stop_self(ctx);
    } else if (troupe_stream_write(ctx, data->stream, bytes, data->length) != 0 ||
               troupe_stream_read(ctx, data->stream, 0) != 0) {
        fail("an echo cannot be written");
    }
}

#define TALKER(name_, ...)                                                                                             \
    {                                                                                                                  \
        .name = name_, .state_size = sizeof(struct talker), .args_size = sizeof(struct talker_args),                   \
        .started = talker_started, .handlers = {                                                                       \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

static const troupe_behavior lead_behavior =
    TALKER("lead", [TICK] = {.name = "tick", .fn = on_talker_tick},
           [DATA] = {.name = "data", .fn = on_lead_data, .size = sizeof(troupe_data)});
static const troupe_behavior echo_behavior =
    TALKER("echo", [DATA] = {.name = "data", .fn = on_echo_data, .size = sizeof(troupe_data)});

struct pair {
    struct tr_rng rng;
    unsigned alive;
};

static void spawn_pair(troupe_ctx *ctx, struct pair *pair)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        fail("no sockets: %d", errno);
    for (unsigned i = 0; i < 2; i++) {
        struct talker_args args = {tr_rng_next(&pair->rng), i == 0};
        troupe_spawn_options how = {.fd = fds[i], .has_fd = true};
        if (troupe_addr_is_nobody(troupe_spawn(ctx, i == 0 ? &lead_behavior : &echo_behavior, &args, &how)))
            fail("a talker cannot be spawned");
    }
    pair->alive = 2;
    count(&n.streams);
}

static int pair_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct pair *pair = self;
    tr_rng_init(&pair->rng, ((const struct indexed *)args)->seed);
    spawn_pair(ctx, pair);
    return 0;
}

static void pair_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct pair *pair = self;
    (void)child, (void)reason;
    if (--pair->alive == 0 && load_now() != OVER)
        spawn_pair(ctx, pair);
}

static const troupe_behavior pair_behavior = {.name = "pair",
                                              .state_size = sizeof(struct pair),
                                              .args_size = sizeof(struct indexed),
                                              .started = pair_started,
                                              .child_stopped = pair_child_stopped};

/* --- a porter: connections from outside, by TCP -------------------------------------------------------------------- */

static int porter_started(troupe_ctx *ctx, void *self, const void *args)
{
    troupe_listener listener;
    troupe_listen_options how = {.accepted = ACCEPTED};
    (void)self, (void)args;
    int status = troupe_listen(ctx, &how, &listener);
    if (status == 0)
        ck_pr_store_32(&port, (uint32_t)troupe_listener_port(ctx, listener));
    return status;
}

static void on_accepted(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    int fd = troupe_accepted_take(ctx, msg);
    struct talker_args args = {0};
    troupe_spawn_options how = {.fd = fd, .has_fd = true};
    (void)self;
    if (troupe_addr_is_nobody(troupe_spawn(ctx, &echo_behavior, &args, &how)))
        fail("a connection cannot be served");
}

static const troupe_behavior porter_behavior = {
    .name = "porter",
    .started = porter_started,
    .handlers = {[ACCEPTED] = {.name = "accepted", .fn = on_accepted, .size = sizeof(troupe_accepted)}}};

/* --- archivists write blocks to a file and read them again --------------------------------------------------------- */

struct archivist {
    struct tr_rng rng;
    troupe_file file;
    bool pending;
    unsigned char block[BLOCK];
};

static int archivist_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct archivist *a = self;
    tr_rng_init(&a->rng, ((const struct indexed *)args)->seed);
    int status = troupe_file_open(ctx, "/tmp", O_TMPFILE | O_RDWR, 0600, DONE, &a->file);
    return status < 0 ? status : troupe_send_every(ctx, TROUPE_MS(10), troupe_self(ctx), TICK, NULL, 0, NULL);
}

/* Tag: offset, and in the lowest bit whether it was a read. */
static void on_archivist_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct archivist *a = self;
    uint64_t offset = (uint64_t)tr_rng_below(&a->rng, 256) * BLOCK;
    (void)msg;
    if (a->pending || load_now() == OVER)
        return;
    a->pending = true;
    memset(a->block, (int)tr_rng_below(&a->rng, 256), BLOCK);
    TROUPE_CHECK(ctx, troupe_file_write(ctx, a->file, offset, a->block, BLOCK, NULL, NULL, offset) == 0);
}

static void on_file_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct archivist *a = self;
    const troupe_file_done *done = troupe_payload(msg);
    if (done->status != 0 || done->length != BLOCK)
        fail("a block was not written or read: %d", done->status);
    if (done->tag & 1) {
        if (memcmp(done->bytes, a->block, BLOCK) != 0)
            fail("a block is not what was written");
        a->pending = false;
        count(&n.files);
        return;
    }
    TROUPE_CHECK(ctx, troupe_file_read(ctx, a->file, done->tag, BLOCK, done->tag | 1) == 0);
}

static const troupe_behavior archivist_behavior = {
    .name = "archivist",
    .state_size = sizeof(struct archivist),
    .args_size = sizeof(struct indexed),
    .started = archivist_started,
    .handlers = {[TICK] = {.name = "tick", .fn = on_archivist_tick},
                 [DONE] = {.name = "done", .fn = on_file_done, .size = sizeof(troupe_file_done)}}};

/* --- the root ------------------------------------------------------------------------------------------------------ */

static void spawn_all(troupe_ctx *ctx, const troupe_behavior *behavior, unsigned many, uint64_t *seed, uint64_t *list)
{
    for (unsigned i = 0; i < many; i++) {
        struct indexed args = {i, *seed += 1000000};
        troupe_addr addr = troupe_spawn(ctx, behavior, behavior->args_size ? &args : NULL, NULL);
        if (troupe_addr_is_nobody(addr))
            fail("a %s cannot be spawned", behavior->name);
        if (list)
            ck_pr_store_64(&list[i], addr.bits);
    }
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    uint64_t seed = *(const uint64_t *)args * UINT64_C(1000000007);
    (void)self;
    spawn_all(ctx, &scribe_behavior, SCRIBES, &seed, scribes);
    for (unsigned i = 0; i < SHOPS; i++)
        spawn_all(ctx, &shop_behaviors[i], 1, &seed, &shops[i]);
    spawn_all(ctx, &beacon_behavior, BEACONS, &seed, beacons);
    spawn_all(ctx, &office_behavior, 1, &seed, NULL);
    spawn_all(ctx, &ward_behavior, WARDS, &seed, NULL);
    spawn_all(ctx, &customer_behavior, CUSTOMERS, &seed, NULL);
    spawn_all(ctx, &keeper_behavior, KEEPERS, &seed, NULL);
    spawn_all(ctx, &hog_behavior, 1, &seed, NULL);
    spawn_all(ctx, &pair_behavior, PAIRS, &seed, NULL);
    spawn_all(ctx, &porter_behavior, 1, &seed, NULL);
    spawn_all(ctx, &archivist_behavior, ARCHIVISTS, &seed, NULL);
    return 0;
}

static const troupe_behavior root_behavior = {.name = "root", .args_size = sizeof(uint64_t), .started = root_started};

/* --- threads outside ------------------------------------------------------------------------------------------------ */

static void outside_ask(struct tr_rng *rng)
{
    struct word word = {ledger_mark(), 0};
    uint64_t reply = 0;
    size_t size = sizeof reply;
    bool scribe = tr_rng_below(rng, 2);
    unsigned kind = scribe ? OUTSIDE : tr_rng_below(rng, 2) ? LATER : RELAY;
    troupe_addr to = scribe ? one_of(rng, scribes, SCRIBES) : any_node(rng);
    int status =
        troupe_runtime_ask(runtime, to, kind, &word, sizeof word, TROUPE_US(tr_rng_below(rng, 50000)), &reply, &size);
    count(&n.outside_asks);
    if (status == 0 && (size != sizeof reply || reply != word.mark))
        fail("a thread got the reply to another question");
    if (status == 0)
        count(&n.outside_answers);
    else if (status != -ETIMEDOUT && status != -ESRCH && status != -ECONNRESET && status != -ENODATA)
        fail("a thread's ask ended with %d", status);
    ledger_sent(kind, word.mark);
}

static void outside_tell(struct tr_rng *rng)
{
    struct word word = {ledger_mark(), 0};
    bool shop = tr_rng_below(rng, 4) == 0;
    unsigned kind = shop ? GOODS : OUTSIDE;
    troupe_addr to = shop ? one_of(rng, shops, SHOPS) : any_node(rng);
    booked(kind, word.mark, troupe_runtime_tell(runtime, to, kind, &word, sizeof word));
    troupe_fanout out;
    if (tr_rng_below(rng, 8) == 0) {
        troupe_runtime_publish(runtime, "news", &word, sizeof word, &out);
        ledger_sent_many(NEWS, word.mark, out.told);
    }
}

/* Whole or not at all: what cannot be had of the other end within 30 s will not come. */
static void transfer(int fd, unsigned char *bytes, size_t length, bool in)
{
    for (size_t at = 0; at < length;) {
        ssize_t done = in ? recv(fd, bytes + at, length - at, 0) : send(fd, bytes + at, length - at, MSG_NOSIGNAL);
        if (done <= 0)
            fail("a connection broke: %d", errno);
        at += (size_t)done;
    }
}

static void connect_once(struct tr_rng *rng)
{
    unsigned char bytes[4000], back[4000];
    size_t length = 1 + tr_rng_below(rng, sizeof bytes);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)ck_pr_load_32(&port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {.tv_sec = SANITIZED ? 200 : 30};
    int fd = to.sin_port ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = byte_at(i);
        transfer(fd, bytes, length, false);
        transfer(fd, back, length, true);
        if (memcmp(bytes, back, length) != 0)
            fail("a connection's bytes are not what was sent");
        count(&n.connections);
    }
    /* No port is kept in TIME_WAIT: half an hour would need them all. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    shutdown(fd, SHUT_WR);
    recv(fd, back, 1, 0);
    close(fd);
}

static void *outsider(void *arg)
{
    struct tr_rng rng;
    tr_rng_init(&rng, options.seed * 77 + (uintptr_t)arg);
    while (!ck_pr_load_32(&outsiders_end)) {
        unsigned dice = tr_rng_below(&rng, 100);
        if (dice < 50)
            outside_tell(&rng);
        else if (dice < 90)
            outside_ask(&rng);
        else if (arg == NULL)
            connect_once(&rng);
        if (dice >= 70 || !is_busy())
            usleep(tr_rng_below(&rng, is_busy() ? 3000 : 30000));
    }
    return NULL;
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

enum { SAMPLES = 4096, FLAT_FROM_S = 600 };
static struct {
    double at;
    long resident, heap; /* KiB */
} samples[SAMPLES];
static unsigned samples_count;

static void sample_memory(double at)
{
    long total, resident;
#if !SANITIZED
    malloc_trim(0); /* what malloc keeps free is not in use */
#endif
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        fail("no statm");
    fclose(file);
    if (samples_count == SAMPLES)
        return;
    samples[samples_count].at = at;
    samples[samples_count].resident = resident * (sysconf(_SC_PAGESIZE) / 1024);
#if !SANITIZED
    struct mallinfo2 info = mallinfo2();
    samples[samples_count].heap = (long)((info.uordblks + info.hblkhd) / 1024);
#endif
    samples_count++;
}

static int by_size(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* The median from one moment to another; 0 without samples. */
static long median_between(double from, double to, bool heap)
{
    static long list[SAMPLES];
    unsigned length = 0;
    for (unsigned i = 0; i < samples_count; i++)
        if (samples[i].at >= from && samples[i].at <= to)
            list[length++] = heap ? samples[i].heap : samples[i].resident;
    qsort(list, length, sizeof *list, by_size);
    return length ? list[length / 2] : 0;
}

static bool is_flat(const char *what, bool heap)
{
    double s = options.seconds;
    long early = median_between(s * 0.2, s * 0.4, heap), late = median_between(s * 0.8, s * 1.01, heap);
    bool flat = SANITIZED || options.seconds < FLAT_FROM_S || late <= early + early / 20 + 4096;
    printf("memory: %s %ld KiB -> %ld KiB (%+.1f %%)%s\n", what, early, late,
           early ? 100.0 * (double)(late - early) / (double)early : 0, flat ? "" : ": it grows");
    return flat;
}

/* --- the reckoning -------------------------------------------------------------------------------------------------- */

static struct ledger_sums totals(void)
{
    struct ledger_sums all = {0};
    for (unsigned kind = 0; kind < ACCOUNTED; kind++) {
        struct ledger_sums sums = ledger_of(kind);
        all.sent += sums.sent;
        all.handled += sums.handled;
        all.taken_back += sums.taken_back;
        for (unsigned i = 0; i < LEDGER_REASONS; i++)
            all.dead[i] += sums.dead[i];
    }
    return all;
}

static int64_t left(void)
{
    struct ledger_sums all = totals();
    return (int64_t)(all.sent - all.handled - all.taken_back - ledger_dead_of(&all));
}

static void print_progress(double at)
{
    struct ledger_sums all = totals();
    struct stall_summary s = stall_look();
    troupe_stats stats;
    troupe_stats_read(runtime, &stats);
    printf("%7.1f s %-5s sent %" PRIu64 " handled %" PRIu64 " dead %" PRIu64 " waiting %" PRId64 " refused %" PRIu64
           "; crashes %" PRIu64 " ends %" PRIu64 " parks %" PRIu64 " steals %" PRIu64 "; delays %" PRIu64
           " longest %.1f ms, %" PRIu64 " over: %" PRIu64 " explained, %" PRIu64 " reported, %" PRIu64
           " not; watchdog %" PRIu64 "; resident %ld heap %ld KiB\n",
           at, load_names[load_now()], all.sent, all.handled, ledger_dead_of(&all), left(), of(&n.refused),
           stats.crashes, stats.stops, stats.parks, stats.steals, s.delays, (double)s.longest_ns / 1e6, s.over,
           s.explained, s.reported, s.unreported, stats.handlers_stuck,
           samples_count ? samples[samples_count - 1].resident : 0,
           samples_count ? samples[samples_count - 1].heap : 0);
    fflush(stdout);
}

static bool agrees(const char *what, uint64_t is, uint64_t expected)
{
    if (is != expected)
        fprintf(stderr, "soak_mixed: %s: %" PRIu64 ", expected %" PRIu64 "\n", what, is, expected);
    return is == expected;
}

/* Everything is handled without a stop, or does not move any more. */
static bool calms_down(void)
{
    unsigned patience = SANITIZED ? 1200 : 400; /* looks, 50 ms each, without any movement */
    uint64_t before = 0;
    for (unsigned looks = 0, calm = 0; looks < patience; looks++) {
        struct ledger_sums all = totals();
        bool even = left() == 0 && ck_pr_load_32(&customers_waiting) == 0 && of(&n.bytes_out) == of(&n.bytes_back) &&
                    of(&n.jobs) == of(&n.jobs_done) + of(&n.jobs_dropped);
        calm = even && all.sent == before ? calm + 1 : 0;
        if (calm == 4)
            return true;
        if (all.sent != before)
            looks = 0;
        before = all.sent;
        usleep(50000);
    }
    fprintf(stderr, "soak_mixed: %" PRId64 " messages still wait, %u customers\n", left(),
            ck_pr_load_32(&customers_waiting));
    return false;
}

static bool accounts_agree(const troupe_stats *stats)
{
    bool good = ledger_agrees(kind_names);
    good &= agrees("asks answered or forgotten", n.answered + n.forgotten, n.asked);
    good &= agrees("blocks freed", n.blocks_freed, n.blocks_made);
    good &= agrees("jobs done or dropped", n.jobs_done + n.jobs_dropped, n.jobs);
    good &= agrees("bytes that came back", n.bytes_back, n.bytes_out);
    good &= agrees("actors ended", stats->stops, stats->spawns);
    good &= agrees("operations in use", stats->io_in_use, 0);
    good &= agrees("buffers lent", stats->io_buffers_lent, 0);
    return good;
}

static bool stalls_agree(const troupe_stats *stats)
{
    struct stall_summary s = stall_look();
    printf("stalls: %" PRIu64 " delays, the longest %.1f ms by the clock; %" PRIu64 " over %u ms, of which %" PRIu64
           " explained (%" PRIu64 " blocked, up to %.1f ms), %" PRIu64 " reported, %" PRIu64
           " not (up to %.1f ms); watchdog: %" PRIu64 " handlers, %" PRIu64
           " of them by intention; a thread that only slept was late by %.1f ms at most\n",
           s.delays, (double)s.longest_ns / 1e6, s.over, options.stall_ms, s.explained, s.blocked,
           (double)s.worst_blocked_ns / 1e6, s.reported, s.unreported, (double)s.worst_left_ns / 1e6,
           stats->handlers_stuck, n.hogs, (double)s.late_ns / 1e6);
    return s.unreported == 0 || SANITIZED;
}

static void print_summary(const troupe_stats *stats)
{
    struct ledger_sums all = totals();
    printf("messages: %" PRIu64 " sent = %" PRIu64 " handled + %" PRIu64 " timers taken back", all.sent, all.handled,
           all.taken_back);
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        printf(" + %" PRIu64 " %s", all.dead[i], troupe_dead_reason_name((troupe_dead_reason)i));
    printf("; %" PRIu64 " refused, %" PRIu64 " told of room\n", n.refused, n.rooms);
    printf("actors: %" PRIu64 " spawned, %" PRIu64 " ended, %" PRIu64 " crashes, %" PRIu64 " restarts, %" PRIu64
           " kills, %" PRIu64 " suspended; scheduler: %" PRIu64 " activations, %" PRIu64 " steals, %" PRIu64
           " parks, %" PRIu64 " wakes; log: %" PRIu64 " suppressed\n",
           stats->spawns, stats->stops, stats->crashes, stats->restarts, stats->kills, n.suspended, stats->activations,
           stats->steals, stats->parks, stats->wakes, stats->log_suppressed);
    printf("others: %" PRIu64 " asks (%" PRIu64 " timed out, %" PRIu64 " with hold, %" PRIu64 " late replies), %" PRIu64
           " forwards, %" PRIu64 " jobs, %" PRIu64 " streams of %" PRIu64 " MiB, %" PRIu64 " connections, %" PRIu64
           " blocks of files, %" PRIu64 " asks from outside\n",
           n.asked, n.timed_out, n.holds, n.late_replies, n.forwards, n.jobs, n.streams, n.bytes_back >> 20,
           n.connections, n.files, n.outside_asks);
}

/* --- the course of it ----------------------------------------------------------------------------------------------- */

static void log_hook(void *arg, const troupe_log_record *record)
{
    (void)arg;
    if (record->level == TROUPE_LOG_ERROR)
        fprintf(stderr, "soak_mixed: %s: %s\n", record->event, record->text);
}

static void enter(enum load load)
{
    ck_pr_store_32(&phase, ((phase_now() >> 3) + 1) << 3 | (uint32_t)load);
}

static double seconds_since(uint64_t began)
{
    return (double)(stall_clock() - began) / 1e9;
}

/* Phases go round, in tenths of a cycle: five of flood, two of bursts, one with little to do, two with hardly anything.
 */
static void go_round(void)
{
    static const enum load course[10] = {FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, BURST, BURST, BRISK, QUIET, QUIET};
    double tenth = options.seconds >= 60 ? 2 : options.seconds / 30.0, told = 0;
    uint64_t began = stall_clock();
    for (unsigned step = 0; seconds_since(began) < options.seconds; step++) {
        enum load load = course[step % 10];
        if (load != load_now())
            enter(load);
        while (seconds_since(began) < tenth * (step + 1))
            usleep(10000);
        if (course[(step + 1) % 10] == FLOOD && load == QUIET)
            sample_memory(seconds_since(began));
        if (seconds_since(began) - told >= 10) {
            told = seconds_since(began);
            print_progress(told);
        }
    }
}

static bool run(void)
{
    troupe_options how = {.workers = options.workers - options.spares,
                          .spare_workers = options.spares,
                          .name = "soak",
                          .log = log_hook,
                          .watchdog_ns = TROUPE_MS(50),
                          .offload_threads = 8,
                          .quarantine_max = 64,
                          .backtraces = TROUPE_NO_BACKTRACES,
                          .dead_letter = dead_letter};
    pthread_t threads[OUTSIDERS];
    troupe_stats stats;
    phase = QUIET;
    stall_expect(TROUPE_MS(options.stall_ms));
    mallopt(M_ARENA_MAX, 4 * TROUPE_WORKERS_MAX); /* else workers wait for each other's slices in malloc */
    if (troupe_runtime_start(&runtime, &root_behavior, &options.seed, &how, NULL) != 0)
        fail("the runtime does not start");
    troupe_runtime_retain(runtime);
    stall_start(runtime);
    for (unsigned i = 0; i < OUTSIDERS; i++)
        if (pthread_create(&threads[i], NULL, outsider, (void *)(uintptr_t)i) != 0)
            fail("no thread");
    go_round();
    ck_pr_store_32(&outsiders_end, 1);
    for (unsigned i = 0; i < OUTSIDERS; i++)
        pthread_join(threads[i], NULL);
    enter(OVER);
    bool good = calms_down();
    stall_stop();
    if (troupe_runtime_stop(runtime, TROUPE_SEC(100)) != 0)
        fail("the runtime does not stop");
    good &= troupe_runtime_join(runtime) == 0;
    troupe_stats_read(runtime, &stats);
    troupe_runtime_release(runtime);
    print_summary(&stats);
    good &= accounts_agree(&stats);
    good &= stalls_agree(&stats);
    good &= is_flat("resident", false);
    good &= is_flat("heap in use", true);
    return good;
}

/* --- options -------------------------------------------------------------------------------------------------------- */

static void help(void)
{
    printf("soak_mixed [OPTION]...\n"
           "A mixed load of all that messages can do; see the head of tests/stress/soak_mixed.c.\n"
           "  --seconds N   how long (default 6; with TROUPE_DRILL=full 1800)\n"
           "  --workers N   threads of the runtime, 4 to 64, spare ones included (default 16, sanitizers 6; full 64)\n"
           "  --spares N    of these so many sit out until a handler is stuck (default 2)\n"
           "  --seed N      of the dice (default 1)\n"
           "  --stall-ms N  the bound for stalls (default 100; without --seconds 1000, as a brief run has company)\n"
           "  --plant WHAT  lost, twice, leak or stall: a fault of its own, which it must find (a leak needs 600 s)\n"
           "Prints a line every 10 s. Exit status 0, or 1 when something does not hold.\n");
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || value < least || value > most)
        fail("%s is no number from %u to %u", text, least, most);
    return (unsigned)value;
}

static void plant(const char *what)
{
    static const char *const names[] = {"nothing", "lost", "twice", "leak", "stall"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(what, names[i]) == 0) {
            options.plant = i;
            return;
        }
    fail("%s cannot be planted", what);
}

static void parse(int argc, char **argv)
{
    static const struct option list[] = {
        {"help", no_argument, NULL, 'h'},           {"seconds", required_argument, NULL, 's'},
        {"workers", required_argument, NULL, 'w'},  {"spares", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 'd'},     {"plant", required_argument, NULL, 'x'},
        {"stall-ms", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
    const char *drill = getenv("TROUPE_DRILL");
    bool full = drill && strcmp(drill, "full") == 0;
    options.workers = full ? 64 : SANITIZED ? 6 : 16;
    options.seconds = full ? 1800 : 0;
    unsigned bound = 0;
    for (int c; (c = getopt_long(argc, argv, "", list, NULL)) != -1;) {
        if (c == 's')
            options.seconds = number(optarg, 1, 1000000);
        else if (c == 'w')
            options.workers = number(optarg, 4, TROUPE_WORKERS_MAX);
        else if (c == 'p')
            options.spares = number(optarg, 0, 3);
        else if (c == 'd')
            options.seed = number(optarg, 0, UINT32_MAX);
        else if (c == 'm')
            bound = number(optarg, 1, 1000000);
        else if (c == 'x')
            plant(optarg);
        else
            help(), exit(c == 'h' ? 0 : 2);
    }
    options.stall_ms = bound ? bound : options.seconds ? 100 : 1000;
    if (options.seconds == 0)
        options.seconds = 6;
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    alarm(options.seconds + 500);
    printf("soak_mixed: %u s, %u workers (%u of them spare), seed %" PRIu64 "\n", options.seconds, options.workers,
           options.spares, options.seed);
    bool good = run();
    printf("soak_mixed: %s\n", good ? "all agrees" : "something does not agree");
    return good ? 0 : 1;
}
