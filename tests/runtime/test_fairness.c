/* SPDX-License-Identifier: Apache-2.0 */
/* Nobody starves: a third beside a busy pair, timers and I/O beside a full run queue, local work beside a flood from
 * outside and the other way round, messages beside a flood of control. On the real runtime, with 1 worker where a bound
 * is counted in messages, and with 2 and 64 where the kernel may stop one of them for long: there it must just
 * arrive. */
#include <sched.h>
#include <sys/socket.h>

#include "tests/runtime/world.h"
#include "tests/support/sanitizer.h"

enum { GO, BALL, SERVE, TICK, STOP_NOW };
enum { PASSED, PAIR, SERVED, WORST, BUSY, GOAL }; /* words of the world */

static void end_with(troupe_ctx *ctx)
{
    ck_pr_store_64(&world.word[GOAL], 1);
    troupe_stop_runtime(ctx, 0);
}

static void note_worst(unsigned word, uint64_t value)
{
    uint64_t worst = ck_pr_load_64(&world.word[word]);
    while (value > worst && !ck_pr_cas_64_value(&world.word[word], worst, value, &worst))
        ;
}

/* --- a busy pair and a third -------------------------------------------------------------------------------------- */

enum { SERVICES = 200, BATCH = 64 };

/* Counts how many messages of the pair were handled since the third was told to serve. */
HANDLER(on_serve)
{
    uint64_t at;
    memcpy(&at, troupe_payload(msg), sizeof at);
    note_worst(PASSED, word(PAIR) - at);
    if (bump(SERVED) == SERVICES)
        end_with(ctx);
}

/* Returns the ball, and now and then asks the third for its service. */
HANDLER(on_ball)
{
    uint64_t passed = bump(PAIR);
    if (passed % 1000 == 0)
        troupe_tell(ctx, world.addr[2], SERVE, &passed, sizeof passed);
    troupe_tell(ctx, troupe_sender(msg), BALL, NULL, 0);
}

HANDLER(on_go)
{
    troupe_tell(ctx, world.addr[1], BALL, NULL, 0);
}

static const troupe_behavior player = {.name = "player", .handlers = {[GO] = ON(on_go, 0), [BALL] = ON(on_ball, 0)}};
static const troupe_behavior third = {.name = "third", .handlers = {[SERVE] = ON(on_serve, sizeof(uint64_t))}};

STARTED(court_started)
{
    world.addr[0] = troupe_spawn(ctx, &player, NULL, NULL);
    world.addr[1] = troupe_spawn(ctx, &player, NULL, NULL);
    world.addr[2] = troupe_spawn(ctx, &third, NULL, NULL);
    return troupe_tell(ctx, world.addr[0], GO, NULL, 0);
}

static const troupe_behavior court = {.name = "court", .started = court_started};

static void busy_pair(unsigned workers)
{
    world_begin(workers);
    cr_assert_eq(run(&court, NULL), 0);
    cr_assert_geq(word(SERVED), SERVICES);
    printf("at most %lu messages passed\n", word(PASSED));
}

/* The LIFO slot, where the pair is, runs 3 times in a row at most; then it is the third's turn. */
Test(fairness, a_busy_pair_on_one_worker_does_not_starve_a_third)
{
    busy_pair(1);
    cr_assert_leq(word(PASSED), 8);
    cr_assert_geq(word(PASSED), 1, "the pair was there first");
}

Test(fairness, a_busy_pair_on_two_workers_does_not_starve_a_third)
{
    busy_pair(2);
}

/* --- a full run queue --------------------------------------------------------------------------------------------- */

enum { CROWD = 1000 };

/* Every one of the crowd always has a message for itself. */
HANDLER(on_tick)
{
    uint64_t *turns = self;
    ++*turns;
    bump(BUSY);
    if (!word(GOAL))
        troupe_tell(ctx, troupe_self(ctx), TICK, NULL, 0);
}

static const troupe_behavior ticker = {
    .name = "ticker", .state_size = sizeof(uint64_t), .handlers = {[TICK] = ON(on_tick, 0)}};

static void spawn_crowd(troupe_ctx *ctx, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        troupe_tell(ctx, troupe_spawn(ctx, &ticker, NULL, NULL), TICK, NULL, 0);
}

/* The processor time that a worker with a full run queue may use before it sees what is due: a grain of the timer
 * wheel, 61 activations, and one round of the crowd, together some 3 ms. */
#define LATE_NS (TROUPE_MS(20) * (SANITIZED ? 20 : 1))

static int run_by_single_messages(const troupe_behavior *root)
{
    troupe_options options = world_options();
    options.batch = 1;
    return troupe_run(root, NULL, &options);
}

enum { EVENTS = 100 };

static uint64_t worker_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* With more than one worker the times are of different threads, and mean nothing. */
static void count_event(troupe_ctx *ctx)
{
    if (world.workers == 1)
        note_worst(PASSED, worker_time() - word(PAIR));
    if (bump(SERVED) == EVENTS)
        end_with(ctx);
}

static int arm(troupe_ctx *ctx)
{
    ck_pr_store_64(&world.word[PAIR], worker_time());
    return troupe_send_after(ctx, 1, troupe_self(ctx), TICK, NULL, 0, NULL);
}

HANDLER(on_alarm)
{
    count_event(ctx);
    arm(ctx);
}

STARTED(alarm_started)
{
    spawn_crowd(ctx, CROWD);
    return arm(ctx);
}

static const troupe_behavior alarmed = {
    .name = "alarmed", .started = alarm_started, .handlers = {[TICK] = ON(on_alarm, 0)}};

static void full_queue_and_timers(unsigned workers)
{
    world_begin(workers);
    cr_assert_eq(run_by_single_messages(&alarmed), 0);
    cr_assert_geq(word(SERVED), EVENTS);
    printf("at most %lu us of processor time, %lu activations in all\n", word(PASSED) / 1000, word(BUSY));
}

Test(fairness, a_full_run_queue_on_one_worker_does_not_starve_timers)
{
    full_queue_and_timers(1);
    cr_assert_leq(word(PASSED), LATE_NS);
}

Test(fairness, full_run_queues_on_two_workers_do_not_starve_timers)
{
    full_queue_and_timers(2);
}

static int pair_fd[2];

static void poke(void)
{
    ck_pr_store_64(&world.word[PAIR], worker_time());
    cr_assert_eq(write(pair_fd[1], "x", 1), 1);
}

HANDLER(on_data)
{
    const troupe_data *data = troupe_payload(msg);
    if (data->length == 0)
        return;
    count_event(ctx);
    if (!word(GOAL) && troupe_stream_read(ctx, data->stream, 0) == 0)
        poke();
}

STARTED(reader_started)
{
    static const troupe_stream_options options = {.data = TICK};
    troupe_stream stream;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_fd), 0);
    spawn_crowd(ctx, CROWD);
    int status = troupe_stream_adopt(ctx, pair_fd[0], &options, &stream);
    if (status == 0)
        status = troupe_stream_read(ctx, stream, 0);
    poke();
    return status;
}

static const troupe_behavior reader = {
    .name = "reader", .started = reader_started, .handlers = {[TICK] = ON(on_data, sizeof(troupe_data))}};

static void full_queue_and_io(unsigned workers)
{
    world_begin(workers);
    cr_assert_eq(run_by_single_messages(&reader), 0);
    cr_assert_geq(word(SERVED), EVENTS);
    close(pair_fd[1]);
    printf("at most %lu us of processor time, %lu activations in all\n", word(PASSED) / 1000, word(BUSY));
}

Test(fairness, a_full_run_queue_on_one_worker_does_not_starve_io)
{
    full_queue_and_io(1);
    cr_assert_leq(word(PASSED), LATE_NS);
}

Test(fairness, full_run_queues_on_two_workers_do_not_starve_io)
{
    full_queue_and_io(2);
}

/* --- a crowd that does not fit the run queue ---------------------------------------------------------------------- */

enum { LEAST = SERVED, MOST = WORST, TURNS = 400 };

HANDLER(on_turn)
{
    uint64_t *turns = self;
    ++*turns;
    if (bump(BUSY) == (uint64_t)CROWD * TURNS)
        end_with(ctx);
    if (!word(GOAL))
        troupe_tell(ctx, troupe_self(ctx), TICK, NULL, 0);
}

STOPPED(count_turns)
{
    const uint64_t *turns = self;
    pthread_mutex_lock(&world.lock);
    if (*turns < world.word[LEAST])
        world.word[LEAST] = *turns;
    if (*turns > world.word[MOST])
        world.word[MOST] = *turns;
    pthread_mutex_unlock(&world.lock);
}

static const troupe_behavior turner = {
    .name = "turner", .state_size = sizeof(uint64_t), .stopped = count_turns, .handlers = {[TICK] = ON(on_turn, 0)}};

STARTED(crowd_started)
{
    world.word[LEAST] = UINT64_MAX;
    for (unsigned i = 0; i < CROWD; i++)
        troupe_tell(ctx, troupe_spawn(ctx, &turner, NULL, NULL), TICK, NULL, 0);
    return 0;
}

static const troupe_behavior crowd = {.name = "crowd", .started = crowd_started};

/* Those that overflowed into the common queue have their turns as well as those in the run queue. */
Test(fairness, nobody_of_a_crowd_beyond_the_run_queue_is_left_behind)
{
    world_begin(1);
    cr_assert_eq(run_by_single_messages(&crowd), 0);
    printf("%lu to %lu turns of %u on average\n", word(LEAST), word(MOST), TURNS);
    cr_assert_geq(word(LEAST), TURNS / 3);
    cr_assert_leq(word(MOST), TURNS * 2);
}

/* --- foreign threads ---------------------------------------------------------------------------------------------- */

enum { GUESTS = 200, FOREIGN_GOAL = 5000, LOCAL_GOAL = 50000, UNDERWAY_MAX = 1000 };

static troupe_runtime *rt;
static troupe_addr guests[GUESTS];

HANDLER(on_foreign)
{
    bump(SERVED);
}

static const troupe_behavior guest = {.name = "guest", .handlers = {[SERVE] = ON(on_foreign, 0)}};

STARTED(host_started)
{
    spawn_crowd(ctx, 100);
    for (unsigned i = 0; i < GUESTS; i++)
        guests[i] = troupe_spawn(ctx, &guest, NULL, NULL);
    bump(WORST);
    return 0;
}

static const troupe_behavior host = {.name = "host", .started = host_started};

/* Tells one after the other, so that each tell finds an idle actor: all come by way of the common queue. */
static void *flood(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !word(GOAL); i++) {
        while (i > word(SERVED) + UNDERWAY_MAX && !word(GOAL)) /* so that memory has a bound */
            sched_yield();
        while (troupe_runtime_tell(rt, guests[i % GUESTS], SERVE, NULL, 0) == -ENOMEM)
            sched_yield();
    }
    return NULL;
}

/* Neither stands still while the other has all it can take: this ends when both have come far, during both. */
static void foreign_flood(unsigned workers)
{
    pthread_t threads[2];
    world_begin(workers);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &host, NULL, &options, NULL), 0);
    while (word(WORST) == 0)
        sched_yield();
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, flood, NULL);
    uint64_t local = word(BUSY), foreign = word(SERVED);
    while (word(SERVED) - foreign < FOREIGN_GOAL || word(BUSY) - local < LOCAL_GOAL)
        sched_yield();
    ck_pr_store_64(&world.word[GOAL], 1);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

Test(fairness, a_flood_from_outside_and_endless_local_work_share_one_worker)
{
    foreign_flood(1);
}

Test(fairness, a_flood_from_outside_and_endless_local_work_share_two_workers)
{
    foreign_flood(2);
}

/* --- control ------------------------------------------------------------------------------------------------------ */

enum { CHILDREN = 500 };

STARTED(end_at_once)
{
    troupe_stop(ctx, troupe_self(ctx));
    return 0;
}

static const troupe_behavior mayfly = {.name = "mayfly", .started = end_at_once};

/* Each end of a child makes another child, that ends: there are always hundreds of signals to handle. */
CHILD_STOPPED(replace)
{
    bump(PAIR);
    if (!word(GOAL))
        troupe_spawn(ctx, &mayfly, NULL, NULL);
}

static void tell_myself(troupe_ctx *ctx)
{
    uint64_t at = word(PAIR);
    troupe_tell(ctx, troupe_self(ctx), SERVE, &at, sizeof at);
}

HANDLER(on_message_among_signals)
{
    uint64_t at;
    memcpy(&at, troupe_payload(msg), sizeof at);
    note_worst(PASSED, word(PAIR) - at);
    if (bump(SERVED) == SERVICES)
        end_with(ctx);
    else
        tell_myself(ctx);
}

STARTED(parent_started)
{
    for (unsigned i = 0; i < CHILDREN; i++)
        troupe_spawn(ctx, &mayfly, NULL, NULL);
    tell_myself(ctx);
    return 0;
}

static const troupe_behavior parent = {.name = "parent",
                                       .started = parent_started,
                                       .child_stopped = replace,
                                       .handlers = {[SERVE] = ON(on_message_among_signals, sizeof(uint64_t))}};

static void control_flood(unsigned workers)
{
    world_begin(workers);
    troupe_options options = world_options();
    options.batch = BATCH;
    cr_assert_eq(troupe_run(&parent, NULL, &options), 0);
    printf("at most %lu signals passed, %lu in all\n", word(PASSED), word(PAIR));
    cr_assert_leq(word(PASSED), 2 * BATCH, "a batch of signals, then a message");
    cr_assert_geq(word(PAIR), SERVICES, "there was a flood");
}

Test(fairness, a_flood_of_signals_does_not_starve_messages_on_one_worker)
{
    control_flood(1);
}

Test(fairness, a_flood_of_signals_does_not_starve_messages_on_two_workers)
{
    control_flood(2);
}

/* --- births among those that are always busy ----------------------------------------------------------------------- */

enum { BUSY_ONES = 300, BORN_ONES = 500 };

static int say_birth(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    if (bump(SERVED) == BORN_ONES)
        end_with(ctx);
    return 0;
}

static const troupe_behavior born_one = {.name = "born", .started = say_birth};

HANDLER(on_busy)
{
    if (!word(GOAL))
        troupe_tell(ctx, troupe_self(ctx), SERVE, NULL, 0);
}

STARTED(busy_started)
{
    return troupe_tell(ctx, troupe_self(ctx), SERVE, NULL, 0);
}

static const troupe_behavior busy_one = {
    .name = "busy", .started = busy_started, .handlers = {[SERVE] = ON(on_busy, 0)}};

/* More of them than a run queue holds; none ever stops by itself. */
STARTED(bearer_started)
{
    for (unsigned i = 0; i < BUSY_ONES; i++)
        troupe_spawn(ctx, &busy_one, NULL, NULL);
    for (unsigned i = 0; i < BORN_ONES; i++)
        troupe_spawn(ctx, &born_one, NULL, NULL);
    return 0;
}

static const troupe_behavior bearer = {.name = "bearer", .started = bearer_started};

Test(fairness, who_is_born_among_many_that_are_always_busy_starts)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&bearer, NULL), 0);
        cr_assert_geq(word(SERVED), BORN_ONES);
    }
}
