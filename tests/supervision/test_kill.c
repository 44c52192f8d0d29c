/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_kill: in every state of life, of trees, of what they own, and together with other orders. */
#include "script.h"

enum { PARENT, VICTIM, OTHER, ASKER };                                                        /* world.addr */
enum { FREE, TOLD, KEPT_ANSWERS, WAITING_ANSWERS, DEFERRED, ENDED, NODE_NRS, STARTED_NODES }; /* world.word */

STEP(kill_victim)
{
    cr_assert_eq(troupe_kill(ctx, world.addr[VICTIM]), 0);
}

static const troupe_behavior other = {.name = "other", .handlers = {DOES}};

/* --- in every state --------------------------------------------------------------------------------------------------
 * The victim is brought into a state in which it would stay for 500 ms or for ever; then it is killed, and has to be
 * gone earlier. Nothing of it may be called from the kill on. */

struct state {
    const char *name;
    enum tr_life life;
    step_fn *into; /* the victim's first step, or NULL */
    bool tells;    /* somebody says when it is time to kill; else the director looks for the state */
    const char *expected;
    troupe_strategy strategy;
    troupe_supervision supervision;
    unsigned kills;
};

static const struct state *state;
static uint64_t killed_ns;
static bool was_quick;

STEP(kill_now)
{
    say("|");
    killed_ns = mono_ns();
    kill_victim(ctx);
}

STEP(let_it_start)
{
    kill_now(ctx);
    ck_pr_store_64(&world.word[FREE], 1);
}

STEP(crash_with_a_slow_child)
{
    with_slow_child(ctx, panic_step);
}

STEP(stop_with_a_slow_child)
{
    with_slow_child(ctx, stop_step);
}

STEP(crash_victim)
{
    go(ctx, world.addr[VICTIM], panic_step);
}

STEP(stop_with_slow_output)
{
    stuffed_peer = stuff_up(ctx);
    stop_step(ctx);
}

STEP(busy)
{
    spin_until(FREE);
}

STEP(kill_again)
{
    kill_victim(ctx);
    cr_assert_eq(troupe_stop(ctx, world.addr[VICTIM]), 0);
    ck_pr_store_64(&world.word[FREE], 1);
}

STEP(kill_twice)
{
    kill_now(ctx);
    when(ctx, world.addr[VICTIM], TR_LIFE_KILLING, kill_again);
}

STEP(child_is_busy)
{
    go(ctx, world.addr[PARENT], kill_twice);
    busy(ctx);
}

STEP(with_a_busy_child)
{
    go(ctx, troupe_spawn(ctx, &other, NULL, NULL), child_is_busy);
}

static const struct state states[] = {
    {.name = "unborn", .life = TR_LIFE_STARTING, .expected = "| child:killed", .kills = 1},
    {.name = "starting",
     .life = TR_LIFE_STARTING,
     .into = busy,
     .tells = true,
     .expected = "S1 | child:killed",
     .kills = 1},
    {.name = "running", .life = TR_LIFE_RUNNING, .expected = "S1 | child:killed", .kills = 1},
    {.name = "restarting",
     .life = TR_LIFE_RESTARTING,
     .into = crash_with_a_slow_child,
     .expected = "S1 | child:killed",
     .kills = 2},
    {.name = "resting",
     .life = TR_LIFE_RESTING,
     .into = panic_step,
     .supervision = {.backoff = {.initial_ns = TROUPE_SEC(100), .max_ns = TROUPE_SEC(100), .no_jitter = true}},
     .expected = "S1 X:boom | child:killed",
     .kills = 1},
    {.name = "waiting",
     .life = TR_LIFE_WAITING,
     .strategy = TROUPE_ONE_FOR_ALL,
     .expected = "S1 X:boom | child:killed",
     .kills = 1},
    {.name = "escalating",
     .life = TR_LIFE_ESCALATING,
     .tells = true,
     .into = panic_step,
     .supervision = {.restarts = TROUPE_RESTARTS_NONE},
     .expected = "S1 X:boom | child:escalated",
     .kills = 1},
    {.name = "stopping with children",
     .life = TR_LIFE_STOPPING,
     .into = stop_with_a_slow_child,
     .expected = "S1 | child:killed",
     .kills = 2},
    {.name = "stopping with output",
     .life = TR_LIFE_STOPPING,
     .into = stop_with_slow_output,
     .tells = true,
     .expected = "S1 E:normal | child:killed",
     .kills = 1},
    {.name = "killing", .into = with_a_busy_child, .tells = true, .expected = "S1 | child:killed", .kills = 2},
};

STARTED(start_victim)
{
    say("S%u", troupe_incarnation(ctx));
    if (state->into == busy) {
        go(ctx, world.addr[PARENT], let_it_start);
        busy(ctx);
    } else if (state->into) {
        go_on(ctx, state->into);
    }
    return 0;
}

STOPPED(stop_victim)
{
    say("E:%s", troupe_reason_name(reason));
    if (state->into == stop_with_slow_output)
        go(ctx, world.addr[PARENT], kill_now);
}

static const troupe_behavior victim = {.name = "victim",
                                       .started = start_victim,
                                       .restarted = say_restarted,
                                       .crashed = say_crashed,
                                       .stopped = stop_victim,
                                       .handlers = {DOES}};

/* The verdict comes behind the kill and does not call it back. */
VERDICT(kill_the_escalated)
{
    kill_now(ctx);
    return TROUPE_VERDICT_RESTART_CHILD;
}

CHILD_STOPPED(check_it_was_quick)
{
    say("child:%s", troupe_reason_name(reason));
    was_quick = mono_ns() - killed_ns < SLOW_NS;
    cr_expect_eq(troupe_kill(ctx, child), -ESRCH);
    cr_expect_eq(troupe_stop(ctx, child), -ESRCH);
    end_step(ctx);
}

STARTED(start_scene)
{
    world.addr[PARENT] = troupe_self(ctx);
    world.addr[VICTIM] = troupe_spawn(ctx, &victim, NULL, &(troupe_spawn_options){.supervision = &state->supervision});
    if (state->life == TR_LIFE_WAITING)
        with_slow_child(ctx, crash_victim); /* for its coming down the victim waits */
    if (state == states)
        kill_now(ctx);
    else if (!state->tells)
        when(ctx, world.addr[VICTIM], state->life, kill_now);
    return 0;
}

static troupe_behavior scene = {.name = "scene",
                                .started = start_scene,
                                .child_stopped = check_it_was_quick,
                                .child_escalated = kill_the_escalated,
                                .stopped = keep_stats,
                                .handlers = {DOES}};

static void play_scene(void)
{
    world_begin(state == states ? 1 : 3);
    cr_assert_eq(run(&scene, NULL), 0);
    cr_assert_str_eq(world.trace, state->expected, "%s: %s", state->name, world.trace);
    cr_assert_eq(world.stats.kills, state->kills, "%s: %lu kills", state->name, (unsigned long)world.stats.kills);
    unstuff();
}

Test(kill, ends_an_actor_in_every_state_at_once_and_without_a_word)
{
    for (unsigned i = 0; i < sizeof states / sizeof *states; i++) {
        state = &states[i];
        scene.children.strategy = state->strategy;
        was_quick = false;
        for (unsigned try = 0; !was_quick && try < TRIES; try++)
            play_scene();
        cr_assert(was_quick, "%s", state->name);
    }
}

/* --- a tree and what it owns -------------------------------------------------------------------------------------- */

enum { FANOUT = 3, DEPTH = 3, NODES = 1 + FANOUT + FANOUT * FANOUT, LETTERS = 5 };

static void count_deferred(void *arg)
{
    (void)arg;
    bump(DEFERRED);
}

ANSWER(count_no_actor)
{
    cr_expect_eq(answer->status, -ESRCH);
    bump((unsigned)(uintptr_t)answer->arg);
}

HANDLER(keep_it)
{
    cr_expect_not_null(troupe_keep(ctx, msg));
    bump(TOLD);
}

static void own_much(troupe_ctx *ctx)
{
    int fds[2];
    troupe_stream stream;
    troupe_listener listener;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &(troupe_stream_options){.data = EVENT}, &stream), 0);
    cr_assert_eq(troupe_stream_read(ctx, stream, 0), 0);
    cr_assert_eq(troupe_own(ctx, &troupe_resource_fd, (uintptr_t)fds[1], NULL), 0);
    cr_assert_eq(troupe_listen(ctx, &(troupe_listen_options){.accepted = EVENT}, &listener), 0);
    cr_assert_eq(troupe_defer(ctx, count_deferred, NULL), 0);
    cr_assert_eq(troupe_send_every(ctx, TROUPE_MS(1), world.addr[ASKER], EVENT, NULL, 0, NULL), 0);
}

static unsigned tree_level(const void *args)
{
    return *(const unsigned *)args;
}

static const troupe_behavior *node_behavior;

STARTED(start_node)
{
    unsigned below = tree_level(args) + 1;
    own_much(ctx);
    for (unsigned i = 0; below < DEPTH && i < FANOUT; i++) {
        int gift = open("/dev/null", O_RDONLY | O_CLOEXEC);
        cr_assert(!troupe_addr_is_nobody(
            troupe_spawn(ctx, node_behavior, &below, &(troupe_spawn_options){.has_fd = true, .fd = gift})));
    }
    unsigned nr = (unsigned)bump(NODE_NRS);
    world.addr[4 + nr] = troupe_self(ctx);
    bump(STARTED_NODES); /* last: whoever counts them reads the addresses next */
    return 0;
}

static const troupe_behavior node = {.name = "node",
                                     .args_size = sizeof(unsigned),
                                     .started = start_node,
                                     .crashed = say_crashed,
                                     .stopped = say_stopped,
                                     .child_stopped = say_child,
                                     .handlers = {DOES, [NOTE] = ON(keep_it, 0)}};

STEP(look_at_the_end)
{
    if (word(KEPT_ANSWERS) < NODES || word(WAITING_ANSWERS) < NODES || word(ENDED) == 0)
        go_on(ctx, look_at_the_end);
    else
        end_step(ctx);
}

STEP(kill_tree)
{
    if (word(TOLD) < NODES) {
        go_on(ctx, kill_tree);
        return;
    }
    for (unsigned i = 1; i <= NODES; i++) {
        troupe_suspend(ctx, world.addr[4 + i]);
        for (unsigned j = 1; j < LETTERS; j++)
            go(ctx, world.addr[4 + i], panic_step);
        troupe_ask(ctx, world.addr[4 + i], NOTE, NULL, 0, TROUPE_SEC(100), count_no_actor,
                   (void *)(uintptr_t)WAITING_ANSWERS);
    }
    kill_victim(ctx);
    look_at_the_end(ctx);
}

STEP(ask_tree)
{
    if (word(STARTED_NODES) < NODES) {
        go_on(ctx, ask_tree);
        return;
    }
    for (unsigned i = 1; i <= NODES; i++)
        troupe_ask(ctx, world.addr[4 + i], NOTE, NULL, 0, TROUPE_SEC(100), count_no_actor,
                   (void *)(uintptr_t)KEPT_ANSWERS);
    kill_tree(ctx);
}

HANDLER(ignore) {}

CHILD_STOPPED(tree_is_gone)
{
    say("child:%s", troupe_reason_name(reason));
    bump(ENDED);
}

STARTED(plant)
{
    unsigned level = 0;
    node_behavior = &node;
    world.addr[ASKER] = troupe_self(ctx);
    world.addr[VICTIM] = troupe_spawn(ctx, &node, &level, NULL);
    ask_tree(ctx);
    return 0;
}

static const troupe_behavior garden = {.name = "garden",
                                       .started = plant,
                                       .child_stopped = tree_is_gone,
                                       .stopped = keep_stats,
                                       .handlers = {DOES, [EVENT] = ON(ignore, 0)}};

Test(kill, of_a_tree_releases_all_that_it_owned)
{
    for (unsigned workers = 1; workers <= 4; workers += 3) {
        world_begin(workers);
        unsigned before = open_fds();
        cr_assert_eq(run(&garden, NULL), 0);
        cr_assert_eq(open_fds(), before);
        cr_assert_str_eq(world.trace, "child:killed", "%s", world.trace);
        cr_assert_eq(word(DEFERRED), NODES);
        cr_assert_eq(word(KEPT_ANSWERS), NODES);
        cr_assert_eq(word(WAITING_ANSWERS), NODES);
        cr_assert_eq(world.stats.kills, NODES);
        cr_assert_eq(world.stats.stops, NODES);
        cr_assert_eq(world.stats.io_in_use, 0);
        cr_assert_eq(world.stats.crashes, 0);
        /* A kept ask, and those that waited in the mailbox. */
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], NODES * (1 + LETTERS));
    }
}

/* --- output ------------------------------------------------------------------------------------------------------- */

STEP(stuff_and_die)
{
    stuffed_peer = stuff_up(ctx);
    note(ctx, troupe_self(ctx), 1);
    cr_assert_eq(troupe_kill(ctx, troupe_self(ctx)), 0);
    say("still");
    killed_ns = mono_ns();
}

static const troupe_behavior mortal = {.name = "mortal", TRACED, .handlers = {DOES, NOTES}};

STARTED(start_mortal)
{
    world.addr[VICTIM] = troupe_spawn(ctx, &mortal, NULL, NULL);
    go(ctx, world.addr[VICTIM], *(step_fn *const *)args);
    return 0;
}

static const troupe_behavior fate = {.name = "fate",
                                     .args_size = sizeof(step_fn *),
                                     .started = start_mortal,
                                     .child_stopped = say_last_child,
                                     .stopped = keep_stats,
                                     .handlers = {DOES}};

static void run_mortal(step_fn *first)
{
    world_begin(1);
    cr_assert_eq(run(&fate, &first), 0);
}

static size_t read_all(int fd)
{
    static char bytes[1 << 16];
    size_t sum = 0;
    ssize_t got;
    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        sum += (size_t)got;
    return sum;
}

Test(kill, of_oneself_takes_effect_when_the_handler_returns_and_drops_output)
{
    bool quick = false;
    for (unsigned try = 0; !quick && try < TRIES; try++) {
        run_mortal(stuff_and_die);
        quick = mono_ns() - killed_ns < SLOW_NS;
        cr_assert_str_eq(world.trace, "S1 still child:killed");
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
        cr_assert_lt(read_all(stuffed_peer), STUFF_BYTES);
        unstuff();
    }
    cr_assert(quick);
}

/* --- with other orders -------------------------------------------------------------------------------------------- */

STEP(kill_then_panic)
{
    kill_victim(ctx);
    panic_step(ctx);
}

Test(kill, wins_over_a_panic_in_the_same_handler)
{
    run_mortal(kill_then_panic);
    cr_assert_str_eq(world.trace, "S1 child:killed");
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
}

STEP(stop_then_kill)
{
    troupe_stop(ctx, world.addr[VICTIM]);
    kill_victim(ctx);
}

STEP(kill_then_stop)
{
    kill_victim(ctx);
    cr_assert_eq(troupe_stop(ctx, world.addr[VICTIM]), 0);
}

STEP(stop_self_then_kill)
{
    troupe_stop_self(ctx);
    kill_victim(ctx);
}

Test(kill, overtakes_a_stop_on_either_side_of_it)
{
    step_fn *const orders[] = {stop_then_kill, kill_then_stop, stop_self_then_kill};
    for (unsigned i = 0; i < 3; i++) {
        run_mortal(orders[i]);
        cr_assert_str_eq(world.trace, "S1 child:killed", "%u: %s", i, world.trace);
        cr_assert_eq(world.stats.kills, 1);
    }
}

STEP(kill_the_stale)
{
    cr_assert_eq(troupe_kill(ctx, (troupe_addr){0}), -ESRCH);
    cr_assert_eq(troupe_kill(ctx, (troupe_addr){UINT64_MAX}), -ESRCH);
    cr_assert_eq(troupe_kill(ctx, world.addr[OTHER]), -ESRCH);
    cr_assert_eq(troupe_stop(ctx, world.addr[OTHER]), -ESRCH);
    cr_assert_eq(troupe_suspend(ctx, world.addr[OTHER]), -ESRCH);
    cr_assert_eq(troupe_stop_within(ctx, world.addr[OTHER], 1), -ESRCH);
    note(ctx, world.addr[VICTIM], 1);
    go(ctx, world.addr[VICTIM], end_step);
}

/* The next one takes the slot of the one that has ended. */
CHILD_STOPPED(reuse_slot)
{
    world.addr[OTHER] = child;
    world.addr[VICTIM] = troupe_spawn(ctx, &mortal, NULL, NULL);
    cr_assert_eq((uint32_t)world.addr[OTHER].bits, (uint32_t)world.addr[VICTIM].bits);
    go_on(ctx, kill_the_stale);
}

Test(kill, of_a_stale_address_does_not_hit_the_next_actor_in_the_slot)
{
    static const troupe_behavior reuse = {.name = "reuse",
                                          .args_size = sizeof(step_fn *),
                                          .started = start_mortal,
                                          .child_stopped = reuse_slot,
                                          .stopped = keep_stats,
                                          .handlers = {DOES}};
    step_fn *first = stop_step;
    world_begin(1);
    cr_assert_eq(run(&reuse, &first), 0);
    cr_assert_str_eq(world.trace, "S1 E:normal S1 n1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.stats.kills, 0);
}
