/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_suspend and troupe_resume: what waits, what does not, and what ends it. */
#include "script.h"

enum { SUBJECT, OTHER, DIRECTOR };       /* world.addr */
enum { FREE, STARTS, ANSWERS, HANDLED }; /* world.word */

STEP(suspend_subject)
{
    cr_assert_eq(troupe_suspend(ctx, world.addr[SUBJECT]), 0);
}

STEP(resume_subject)
{
    cr_assert_eq(troupe_resume(ctx, world.addr[SUBJECT]), 0);
}

static const troupe_behavior subject = {
    .name = "subject", TRACED, .child_stopped = say_child, .handlers = {DOES, NOTES}};
static const troupe_behavior other = {.name = "other", .handlers = {DOES}};

STARTED(start_director)
{
    world.addr[DIRECTOR] = troupe_self(ctx);
    world.addr[OTHER] = troupe_spawn(ctx, &other, NULL, NULL);
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    go_on(ctx, *(step_fn *const *)args);
    return 0;
}

static const troupe_behavior director = {.name = "director",
                                         .args_size = sizeof(step_fn *),
                                         .started = start_director,
                                         .child_stopped = say_last_child,
                                         .stopped = keep_stats,
                                         .handlers = {DOES}};

static void run_director(unsigned workers, step_fn *first)
{
    world_begin(workers);
    cr_assert_eq(run(&director, &first), 0);
}

/* --- what waits --------------------------------------------------------------------------------------------------- */

STEP(resume_and_end)
{
    say("resume");
    resume_subject(ctx);
    note(ctx, world.addr[SUBJECT], 4);
    go(ctx, world.addr[SUBJECT], end_step);
}

STEP(send_three)
{
    suspend_subject(ctx);
    suspend_subject(ctx); /* idempotent: one resume ends both */
    for (unsigned i = 1; i <= 3; i++)
        note(ctx, world.addr[SUBJECT], i);
    later(ctx, resume_and_end);
}

STEP(after_its_start)
{
    later(ctx, send_three);
}

Test(suspend, keeps_messages_in_order_and_loses_none)
{
    run_director(1, after_its_start);
    cr_assert_str_eq(world.trace, "S1 resume n1 n2 n3 n4 E:stopped", "%s", world.trace);
    run_director(1, send_three);
    cr_assert_str_eq(world.trace, "S1 resume n1 n2 n3 n4 E:stopped", "suspended before its start: %s", world.trace);
    cr_assert_eq(dead_total(), 0);
}

STEP(resume_it)
{
    say("resume");
    resume_subject(ctx);
}

STEP(resume_later)
{
    later(ctx, resume_it);
}

STEP(suspend_itself)
{
    troupe_suspend(ctx, troupe_self(ctx));
    note(ctx, troupe_self(ctx), 1);
    go_on(ctx, end_step);
    go(ctx, world.addr[DIRECTOR], resume_later);
    say("still");
}

STEP(let_it_suspend_itself)
{
    go(ctx, world.addr[SUBJECT], suspend_itself);
}

Test(suspend, of_oneself_takes_effect_when_the_handler_returns)
{
    run_director(1, let_it_suspend_itself);
    cr_assert_str_eq(world.trace, "S1 still resume n1 E:stopped", "%s", world.trace);
}

STEP(suspend_itself_and_crash)
{
    suspend_itself(ctx);
    panic_step(ctx);
}

STEP(let_it_crash)
{
    go(ctx, world.addr[SUBJECT], suspend_itself_and_crash);
}

Test(suspend, survives_a_restart)
{
    run_director(1, let_it_crash);
    cr_assert_str_eq(world.trace, "S1 still X:boom R1:panic S2 resume n1 E:stopped", "%s", world.trace);
}

/* --- answers and time-outs ---------------------------------------------------------------------------------------- */

HANDLER(answer_now)
{
    unsigned n = *(const unsigned *)troupe_payload(msg);
    cr_expect_eq(troupe_reply(ctx, msg, &n, sizeof n), 0);
}

static const troupe_behavior server = {.name = "server", .handlers = {[NOTE] = ON(answer_now, sizeof(unsigned))}};

ANSWER(say_answer)
{
    bump(ANSWERS);
    say("a:%d", answer->status == 0 ? *(const int *)answer->payload : answer->status);
}

STEP(ask_and_suspend_itself)
{
    troupe_addr to = troupe_spawn(ctx, &server, NULL, NULL);
    for (unsigned i = 1; i <= 2; i++) {
        troupe_ask(ctx, to, NOTE, &i, sizeof i, TROUPE_SEC(100), say_answer, NULL);
        note(ctx, troupe_self(ctx), i);
    }
    suspend_itself(ctx);
}

STEP(let_it_ask)
{
    go(ctx, world.addr[SUBJECT], ask_and_suspend_itself);
}

Test(suspend, has_answers_wait_among_the_messages)
{
    run_director(1, let_it_ask);
    cr_assert_str_eq(world.trace, "S1 still resume n1 n2 n1 a:1 a:2 E:stopped", "%s", world.trace);
}

/* Deadlines pass while it is suspended: of an ask whose reply waits in the mailbox, and of one without. What is told
 * waits for the resume. */
STEP(resume_after_deadline)
{
    cr_expect_eq(word(ANSWERS), 0);
    resume_it(ctx);
}

STEP(wait_for_deadline)
{
    go_after(ctx, TROUPE_MS(60), resume_after_deadline);
}

static bool answered_first; /* the ask with the reply is the older one */

STEP(ask_and_sleep)
{
    unsigned n = 1;
    troupe_addr to = troupe_spawn(ctx, &server, NULL, NULL);
    step_fn *step = stop_step;
    troupe_suspend(ctx, world.addr[OTHER]);
    if (answered_first)
        troupe_ask(ctx, to, NOTE, &n, sizeof n, TROUPE_MS(20), say_answer, NULL);
    troupe_ask(ctx, world.addr[OTHER], DO, &step, sizeof step, TROUPE_MS(20), say_answer, NULL);
    if (!answered_first)
        troupe_ask(ctx, to, NOTE, &n, sizeof n, TROUPE_MS(30), say_answer, NULL);
    troupe_suspend(ctx, troupe_self(ctx));
    go(ctx, world.addr[DIRECTOR], wait_for_deadline);
}

STEP(end_when_answered)
{
    if (word(ANSWERS) < 2)
        go_on(ctx, end_when_answered);
    else
        end_step(ctx);
}

STEP(ask_then_end)
{
    go(ctx, world.addr[SUBJECT], ask_and_sleep);
    go_on(ctx, end_when_answered);
}

Test(suspend, does_not_stop_the_deadlines_of_asks_and_tells_of_them_at_the_resume)
{
    char expected[64];
    answered_first = true;
    run_director(1, ask_then_end);
    snprintf(expected, sizeof expected, "S1 resume a:%d a:%d E:stopped", -ETIMEDOUT, -ETIMEDOUT);
    cr_assert_str_eq(world.trace, expected);
    /* The reply, and the news of OTHER's end; on a slow machine the ask may be over before it is handled. */
    cr_assert_eq(world.dead_replies + world.dead[TROUPE_DEAD_EXPIRED], 2);
    answered_first = false;
    run_director(1, ask_then_end);
    snprintf(expected, sizeof expected, "S1 resume a:%d a:", -ETIMEDOUT);
    cr_assert_eq(strncmp(world.trace, expected, strlen(expected)), 0, "%s", world.trace);
    cr_assert_eq(word(ANSWERS), 2); /* a reply that is handled before its own time-out counts: either, and once */
}

/* --- what does not wait ------------------------------------------------------------------------------------------- */

static int peer;

STEP(write_to_it)
{
    cr_assert_eq(write(peer, "abc", 3), 3);
}

STEP(open_and_suspend)
{
    int fds[2];
    troupe_stream stream;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer = fds[1];
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &(troupe_stream_options){.data = EVENT}, &stream), 0);
    cr_assert_eq(troupe_stream_read(ctx, stream, 0), 0);
    troupe_suspend(ctx, troupe_self(ctx));
    note(ctx, troupe_self(ctx), 1);
    go(ctx, world.addr[DIRECTOR], write_to_it);
}

CHILD_STOPPED(say_child_and_resume)
{
    say("child:%s", troupe_reason_name(reason));
    troupe_resume(ctx, troupe_self(ctx));
    go_on(ctx, end_step);
}

HANDLER(say_data_and_stop_child)
{
    const troupe_data *data = troupe_payload(msg);
    say("io:%zu", data->length);
    troupe_stop(ctx, world.addr[3]);
}

STARTED(start_parent)
{
    world.addr[3] = troupe_spawn(ctx, &other, NULL, NULL);
    go_on(ctx, open_and_suspend);
    return 0;
}

static const troupe_behavior parent = {
    .name = "parent",
    .started = start_parent,
    .child_stopped = say_child_and_resume,
    .handlers = {DOES, NOTES, [EVENT] = ON(say_data_and_stop_child, TROUPE_ANY_SIZE)}};

STEP(spawn_parent)
{
    troupe_spawn(ctx, &parent, NULL, NULL);
}

Test(suspend, lets_io_events_and_ends_of_children_through)
{
    run_director(1, spawn_parent);
    cr_assert_str_eq(world.trace, "S1 io:3 child:stopped n1 E:stopped", "%s", world.trace);
    close(peer);
}

/* --- what ends it ------------------------------------------------------------------------------------------------- */

static bool kills;

STEP(end_it)
{
    cr_assert_eq(kills ? troupe_kill(ctx, world.addr[SUBJECT]) : troupe_stop(ctx, world.addr[SUBJECT]), 0);
}

STEP(suspend_then_end_it)
{
    suspend_subject(ctx);
    note(ctx, world.addr[SUBJECT], 1);
    later(ctx, end_it);
}

Test(suspend, does_not_keep_an_actor_from_being_stopped_or_killed)
{
    for (unsigned i = 0; i < 2; i++) {
        kills = i;
        run_director(1, suspend_then_end_it);
        cr_assert_str_eq(world.trace, kills ? "S1 child:killed" : "S1 E:stopped child:stopped");
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
    }
}

HANDLER(unhold_by_event)
{
    say("unhold");
    troupe_unhold(ctx);
    go(ctx, world.addr[DIRECTOR], resume_later);
}

/* Held and suspended: each of the two has to end. */
STEP(hold_and_suspend)
{
    int fds[2];
    troupe_stream stream;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &(troupe_stream_options){.data = EVENT}, &stream), 0);
    cr_assert_eq(troupe_stream_read(ctx, stream, 0), 0);
    close(fds[1]); /* the end of input is the event */
    troupe_hold(ctx);
    troupe_suspend(ctx, troupe_self(ctx));
    note(ctx, troupe_self(ctx), 1);
    go_on(ctx, end_step);
}

static const troupe_behavior holder = {.name = "holder",
                                       .handlers = {DOES, NOTES, [EVENT] = ON(unhold_by_event, TROUPE_ANY_SIZE)}};

STEP(spawn_holder)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &holder, NULL, NULL);
    go(ctx, world.addr[SUBJECT], hold_and_suspend);
}

Test(suspend, and_hold_wait_for_each_other)
{
    run_director(1, spawn_holder);
    cr_assert_str_eq(world.trace, "S1 unhold resume n1 E:stopped", "%s", world.trace);
}

/* A stream that is closed with nothing under way tells of it while the actor goes idle: what its event lets go must not
 * be forgotten there. */
HANDLER(unhold_when_closed)
{
    say("unhold");
    troupe_unhold(ctx);
}

STEP(hold_until_closed)
{
    int fds[2];
    troupe_stream stream;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    close(fds[1]);
    troupe_stream_options options = {.closed = EVENT, .wants_closed = true};
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &options, &stream), 0);
    note(ctx, troupe_self(ctx), 1);
    go_on(ctx, end_step);
    troupe_hold(ctx);
    cr_assert_eq(troupe_stream_close(ctx, stream, false), 0);
}

static const troupe_behavior closer = {.name = "closer",
                                       .handlers = {DOES, NOTES, [EVENT] = ON(unhold_when_closed, TROUPE_ANY_SIZE)}};

STEP(spawn_closer)
{
    go(ctx, troupe_spawn(ctx, &closer, NULL, NULL), hold_until_closed);
}

Test(hold, that_ends_while_the_actor_goes_idle_lets_its_messages_go)
{
    run_director(1, spawn_closer);
    cr_assert(strstr(world.trace, "unhold n1"), "%s", world.trace);
}

/* --- while it starts ---------------------------------------------------------------------------------------------- */

STARTED(start_slowly)
{
    go(ctx, world.addr[DIRECTOR], *(step_fn *const *)args);
    spin_until(FREE);
    say("S%u", troupe_incarnation(ctx));
    return 0;
}

static const troupe_behavior slow = {
    .name = "slow", .args_size = sizeof(step_fn *), .started = start_slowly, .handlers = {DOES, NOTES}};

STEP(suspend_while_starting)
{
    suspend_subject(ctx);
    note(ctx, world.addr[SUBJECT], 1);
    go(ctx, world.addr[SUBJECT], end_step);
    ck_pr_store_64(&world.word[FREE], 1);
    when(ctx, world.addr[SUBJECT], TR_LIFE_RUNNING, resume_later);
}

STEP(spawn_slow)
{
    step_fn *next = suspend_while_starting;
    troupe_stop(ctx, world.addr[OTHER]);
    world.addr[SUBJECT] = troupe_spawn(ctx, &slow, &next, NULL);
}

static const troupe_behavior lonely = {
    .name = "lonely", .args_size = sizeof(step_fn *), .started = start_director, .handlers = {DOES}};

Test(suspend, while_it_starts_lets_it_start_and_no_more)
{
    step_fn *first = spawn_slow;
    world_begin(2);
    cr_assert_eq(run(&lonely, &first), 0);
    cr_assert(strstr(world.trace, "S1 resume n1"), "%s", world.trace);
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

enum { ROUNDS = SANITIZED ? 300 : 3000, ORDERERS = 3, LETTERS = 20 };

HANDLER(count_letter)
{
    bump(HANDLED);
}

static const troupe_behavior counter = {.name = "counter", .handlers = {[NOTE] = ON(count_letter, sizeof(unsigned))}};

STEP(order_about)
{
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(i % 2 ? troupe_resume(ctx, world.addr[SUBJECT]) : troupe_suspend(ctx, world.addr[SUBJECT]), 0);
        for (unsigned j = 0; j < LETTERS / 10; j++)
            note(ctx, world.addr[SUBJECT], j);
    }
    if (bump(FREE) < ROUNDS) {
        go_on(ctx, order_about);
        return;
    }
    suspend_subject(ctx);
    bump(STARTS);
}

enum { LAST_LETTERS = 100 };

STEP(end_when_all_are_handled)
{
    if (word(HANDLED) < word(FREE) * LETTERS + LAST_LETTERS)
        go_on(ctx, end_when_all_are_handled);
    else
        end_step(ctx);
}

STEP(let_go)
{
    cr_expect_leq(word(HANDLED), word(FREE) * LETTERS); /* what was sent after the last suspend waits */
    resume_subject(ctx);
    end_when_all_are_handled(ctx);
}

/* All have spoken, each suspend last. */
STEP(last_word)
{
    if (word(STARTS) < ORDERERS) {
        go_on(ctx, last_word);
        return;
    }
    for (unsigned i = 0; i < LAST_LETTERS; i++)
        note(ctx, world.addr[SUBJECT], i);
    later(ctx, let_go);
}

STEP(start_orderers)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &counter, NULL, NULL);
    for (unsigned i = 0; i < ORDERERS; i++)
        go(ctx, troupe_spawn(ctx, &other, NULL, NULL), order_about);
    go_on(ctx, last_word);
}

Test(suspend, and_resume_by_many_at_once_leave_the_last_ones_will)
{
    run_director(4, start_orderers);
    cr_assert_eq(word(HANDLED), word(FREE) * LETTERS + LAST_LETTERS);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 0);
}
