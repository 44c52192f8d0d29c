/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that crash their handler: given again, then to quarantine; and the quarantine itself. */
#include "script.h"

enum { SUBJECT, OTHER, DIRECTOR, ASKER }; /* world.addr */
enum { DROPPED = 16, ANSWERED, LIMIT };   /* world.word; below: tries by number of the work */
enum { WORK = EVENT + 1, KEPT_WORK, RELEASED_WORK, ONCE };

/* A message's payload: how often it crashes its handler, and what the handler does before that. */
struct work {
    unsigned nr, crashes;
    step_fn *first;
    unsigned char filler[64];
};

static void work(troupe_ctx *ctx, const struct work *w)
{
    uint64_t try = bump(w->nr);
    say("w%u.%lu", w->nr, (unsigned long)try);
    for (size_t i = 0; i < sizeof w->filler; i++)
        cr_assert_eq(w->filler[i], w->nr);
    if (w->first)
        w->first(ctx);
    if (try <= w->crashes)
        troupe_panic(ctx, "work %u", w->nr);
}

HANDLER(do_work)
{
    work(ctx, troupe_payload(msg));
    if (troupe_is_ask(msg))
        troupe_reply(ctx, msg, NULL, 0);
}

HANDLER(keep_work)
{
    cr_assert_not_null(troupe_keep(ctx, msg));
    work(ctx, troupe_payload(msg));
}

HANDLER(keep_release_work)
{
    troupe_msg *kept = troupe_keep(ctx, msg);
    troupe_release(ctx, kept);
    work(ctx, troupe_payload(msg));
}

static void drop_work(const void *payload, size_t size)
{
    const struct work *w = payload;
    cr_expect_eq(size, sizeof *w);
    bump(DROPPED);
    say("d%u", w->nr);
}

#define WORKS                                                                                                          \
    DOES,                                                                                                              \
        NOTES, [WORK] = {.name = "work", .fn = do_work, .size = sizeof(struct work), .drop = drop_work, .retries = 2}, \
               [KEPT_WORK] = {.name = "keep", .fn = keep_work, .size = sizeof(struct work), .retries = 2},             \
               [RELEASED_WORK] = {.name = "keep", .fn = keep_release_work, .size = sizeof(struct work), .retries = 2}, \
               [ONCE] = {.name = "once", .fn = do_work, .size = sizeof(struct work), .drop = drop_work}

static const troupe_behavior subject = {
    .name = "subject", .stopped = say_stopped, .supervision = {.restarts = 60}, .handlers = {WORKS}};
static const troupe_behavior other = {.name = "other", .supervision = {.restarts = 60}, .handlers = {WORKS}};

static struct work some(unsigned nr, unsigned crashes)
{
    struct work w = {.nr = nr, .crashes = crashes};
    memset(w.filler, (int)nr, sizeof w.filler);
    return w;
}

static void tell_work(troupe_ctx *ctx, troupe_addr to, unsigned kind, struct work w)
{
    cr_assert_eq(troupe_tell(ctx, to, kind, &w, sizeof w), 0);
}

ANSWER(say_answer)
{
    say("a:%d", answer->status);
    bump(ANSWERED);
}

static void ask_work(troupe_ctx *ctx, troupe_addr to, unsigned kind, struct work w)
{
    cr_assert_eq(troupe_ask(ctx, to, kind, &w, sizeof w, TROUPE_SEC(100), say_answer, NULL), 0);
}

static const troupe_behavior *subject_behavior;
static troupe_supervision supervision; /* restarts 0: the behavior's */

STARTED(start_director)
{
    troupe_spawn_options options = {.supervision = supervision.restarts ? &supervision : NULL};
    world.addr[DIRECTOR] = troupe_self(ctx);
    world.addr[OTHER] = troupe_spawn(ctx, &other, NULL, NULL);
    world.addr[SUBJECT] = troupe_spawn(ctx, subject_behavior, NULL, &options);
    go_on(ctx, *(step_fn *const *)args);
    return 0;
}

static troupe_verdict verdict;

VERDICT(say_and_give_verdict)
{
    say("esc");
    return verdict;
}

static const troupe_behavior director = {.name = "director",
                                         .args_size = sizeof(step_fn *),
                                         .started = start_director,
                                         .child_stopped = say_last_child,
                                         .child_escalated = say_and_give_verdict,
                                         .stopped = keep_stats,
                                         .handlers = {DOES}};

static void run_with(const troupe_behavior *behavior, unsigned limit, step_fn *first)
{
    subject_behavior = behavior;
    world_begin(1);
    troupe_options options = world_options();
    options.quarantine_max = limit;
    cr_assert_eq(troupe_run(&director, &first, &options), 0);
    supervision.restarts = 0;
}

static unsigned poisons(troupe_ctx *ctx, troupe_poison *out, unsigned count)
{
    return (unsigned)troupe_quarantine_list(troupe_ctx_runtime(ctx), 0, out, count);
}

/* --- tries -------------------------------------------------------------------------------------------------------- */

STEP(check_attempts_of_success)
{
    troupe_crash crashes[8];
    cr_expect_eq(troupe_crashes_read(troupe_ctx_runtime(ctx), 0, crashes, 8), 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(crashes[i].has_message && troupe_addr_same(crashes[i].sender, world.addr[DIRECTOR]));
        cr_expect_eq(crashes[i].attempt, i < 2 ? i + 1 : 1, "crash %u: attempt %u", i, crashes[i].attempt);
    }
    cr_expect_eq(poisons(ctx, &(troupe_poison){0}, 1), 0);
    end_step(ctx);
}

/* The third crashes once: its number of tries begins at 1 although its block may be the first one's. */
STEP(succeed_at_the_third_try)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 2));
    note(ctx, world.addr[SUBJECT], 2);
    note(ctx, world.addr[SUBJECT], 3);
    tell_work(ctx, world.addr[SUBJECT], WORK, some(4, 1));
    go(ctx, world.addr[SUBJECT], check_attempts_of_success);
}

Test(retry, gives_a_message_again_before_later_ones)
{
    run_with(&subject, 0, succeed_at_the_third_try);
    cr_assert_str_eq(world.trace, "w1.1 w1.2 w1.3 n2 n3 w4.1 w4.2 E:stopped", "%s", world.trace);
    cr_assert_eq(dead_total(), 0);
}

/* The same memory, one message after the other: what became of one must not be the next one's. */
STEP(end_if_clean)
{
    troupe_crash crashes[16];
    size_t count = troupe_crashes_read(troupe_ctx_runtime(ctx), 0, crashes, 16);
    cr_expect_eq(count, 12);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(crashes[i].attempt, i % 2 + 1, "crash %zu: attempt %u", i, crashes[i].attempt);
    end_step(ctx);
}

static unsigned next_nr;

STEP(one_after_the_other)
{
    if (next_nr > 1)
        cr_expect_eq(word(next_nr - 1), 3);
    if (next_nr == 7) {
        end_if_clean(ctx);
        return;
    }
    struct work w = some(next_nr++, 2);
    troupe_tell(ctx, world.addr[SUBJECT], WORK, &w, sizeof w);
    go(ctx, world.addr[SUBJECT], one_after_the_other);
}

Test(retry, that_succeeds_leaves_no_trace_for_the_next_message_in_the_same_memory)
{
    next_nr = 1;
    run_with(&subject, 0, one_after_the_other);
    cr_assert_eq(dead_total(), 0);
}

/* Two senders, each with work that crashes twice, and numbers behind it. */
HANDLER(say_from)
{
    say("%c%u", troupe_addr_same(troupe_sender(msg), world.addr[OTHER]) ? 'o' : 'd',
        *(const unsigned *)troupe_payload(msg));
}

STEP(others_messages)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(2, 2));
    note(ctx, world.addr[SUBJECT], 1);
    note(ctx, world.addr[SUBJECT], 2);
    go(ctx, world.addr[SUBJECT], end_step);
}

STEP(two_senders)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 2));
    note(ctx, world.addr[SUBJECT], 1);
    note(ctx, world.addr[SUBJECT], 2);
    go(ctx, world.addr[OTHER], others_messages);
}

Test(retry, keeps_the_order_of_each_sender)
{
    troupe_behavior from = subject;
    from.handlers[NOTE] = (troupe_handler)ON(say_from, sizeof(unsigned));
    run_with(&from, 0, two_senders);
    cr_assert_str_eq(world.trace, "w1.1 w1.2 w1.3 d1 d2 w2.1 w2.2 w2.3 o1 o2 E:stopped", "%s", world.trace);
}

/* --- poison ------------------------------------------------------------------------------------------------------- */

STEP(look_at_poison)
{
    troupe_runtime *rt = troupe_ctx_runtime(ctx);
    troupe_poison p[4];
    unsigned char bytes[sizeof(struct work) + 8] = {0};
    struct work sent = some(1, 99);
    cr_expect_eq(poisons(ctx, p, 4), 1);
    cr_expect_eq(p->id, 1);
    cr_expect_eq(p->attempts, 3);
    cr_expect_eq(p->kind, WORK);
    cr_expect_eq(p->size, sizeof(struct work));
    cr_expect_str_eq(p->text, "work 1");
    cr_expect_str_eq(p->behavior, "subject");
    cr_expect(troupe_addr_same(p->to, world.addr[SUBJECT]) && troupe_addr_same(p->from, world.addr[DIRECTOR]));
    cr_expect_gt(p->time_ns, TROUPE_SEC(1000000000));
    cr_expect_eq(troupe_quarantine_payload(rt, 1, bytes, 4), (int64_t)sizeof sent);
    cr_expect(bytes[0] == 1 && bytes[4] == 0);
    cr_expect_eq(troupe_quarantine_payload(rt, 1, bytes, sizeof bytes), (int64_t)sizeof sent);
    cr_expect_arr_eq(bytes, &sent, sizeof sent);
    cr_expect_eq(troupe_quarantine_payload(rt, 1, NULL, 0), (int64_t)sizeof sent);
    cr_expect_eq(troupe_quarantine_list(rt, 1, p, 4), 0);
    cr_expect_eq(troupe_quarantine_payload(rt, 2, bytes, 4), -ESRCH);
    cr_expect_eq(troupe_quarantine_resend(rt, 2, (troupe_addr){0}), -ESRCH);
    cr_expect_eq(troupe_quarantine_drop(rt, 2), -ESRCH);
    cr_expect_eq(word(DROPPED), 0);
    cr_expect_eq(troupe_quarantine_drop(rt, 1), 0);
    cr_expect_eq(word(DROPPED), 1);
    cr_expect_eq(troupe_quarantine_drop(rt, 1), -ESRCH);
    cr_expect_eq(poisons(ctx, p, 4), 0);
    end_step(ctx);
}

STEP(send_poison)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 99));
    note(ctx, world.addr[SUBJECT], 2);
    go(ctx, world.addr[SUBJECT], look_at_poison);
}

Test(poison, goes_to_quarantine_after_its_tries_and_can_be_looked_at_and_dropped)
{
    run_with(&subject, 0, send_poison);
    cr_assert_str_eq(world.trace, "w1.1 w1.2 w1.3 n2 d1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
    cr_assert_eq(dead_total(), 1);
}

STEP(ask_poison)
{
    ask_work(ctx, world.addr[SUBJECT], WORK, some(1, 2));
    ask_work(ctx, world.addr[SUBJECT], WORK, some(2, 99));
    note(ctx, world.addr[SUBJECT], 3);
}

STEP(end_after_two_answers)
{
    if (word(ANSWERED) < 2)
        go_on(ctx, end_after_two_answers);
    else
        end_step(ctx);
}

STEP(ask_and_end)
{
    ask_poison(ctx);
    go_on(ctx, end_after_two_answers);
}

Test(poison, has_its_asker_told_only_when_no_try_is_left)
{
    run_with(&subject, 0, ask_and_end);
    char answers[32];
    snprintf(answers, sizeof answers, "a:0 a:%d", -ECONNRESET);
    const char *first = strstr(world.trace, "a:"), *third = strstr(world.trace, "w2.3");
    cr_assert(first && third && strstr(world.trace, "w1.3"), "%s", world.trace);
    char second[16];
    snprintf(second, sizeof second, "a:%d", -ECONNRESET);
    cr_assert_gt(strstr(world.trace, second), third, "%s", world.trace);
    cr_assert(strncmp(first, "a:0", 3) == 0, "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
}

/* A block of its own from malloc, not from a class of the slab. */
enum { LARGE = 100 * 1024 };

HANDLER(refuse_large)
{
    const unsigned char *bytes = troupe_payload(msg);
    cr_assert_eq(troupe_size(msg), LARGE);
    for (size_t i = 0; i < LARGE; i++)
        if (bytes[i] != (unsigned char)(i * 7))
            say("spoilt");
    say("L%lu", (unsigned long)bump(1));
    troupe_panic(ctx, "too much");
}

STEP(look_at_large)
{
    static unsigned char out[LARGE];
    cr_expect_eq(troupe_quarantine_payload(troupe_ctx_runtime(ctx), 1, out, LARGE), LARGE);
    for (size_t i = 0; i < LARGE; i++)
        cr_assert_eq(out[i], (unsigned char)(i * 7));
    end_step(ctx);
}

STEP(send_large)
{
    troupe_msg *msg = troupe_compose(ctx, WORK, LARGE);
    unsigned char *body = troupe_msg_body(msg);
    for (size_t i = 0; i < LARGE; i++)
        body[i] = (unsigned char)(i * 7);
    cr_assert_eq(troupe_send_ask(ctx, world.addr[SUBJECT], msg, TROUPE_FOREVER, say_answer, NULL), 0);
    go(ctx, world.addr[SUBJECT], look_at_large);
}

Test(poison, may_be_large)
{
    troupe_behavior large = subject;
    large.handlers[WORK] = (troupe_handler){.name = "large", .fn = refuse_large, .size = TROUPE_ANY_SIZE, .retries = 1};
    run_with(&large, 0, send_large);
    cr_assert(strstr(world.trace, "L1 L2"), "%s", world.trace);
    cr_assert_null(strstr(world.trace, "spoilt"));
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
}

/* --- what is not tried again -------------------------------------------------------------------------------------- */

STEP(keep_and_crash)
{
    tell_work(ctx, world.addr[SUBJECT], KEPT_WORK, some(1, 99));
    tell_work(ctx, world.addr[SUBJECT], RELEASED_WORK, some(2, 1));
    tell_work(ctx, world.addr[SUBJECT], ONCE, some(3, 99));
    go(ctx, world.addr[SUBJECT], end_step);
}

Test(retry, is_not_for_what_was_kept_and_not_for_kinds_without)
{
    run_with(&subject, 0, keep_and_crash);
    cr_assert_str_eq(world.trace, "w1.1 w2.1 w2.2 w3.1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 2);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 0);
}

ANSWER(panic_over_answer)
{
    say("a:%d", answer->status);
    troupe_panic(ctx, "over an answer");
}

STEP(ask_other)
{
    struct work w = some(1, 0);
    troupe_ask(ctx, world.addr[OTHER], WORK, &w, sizeof w, TROUPE_SEC(100), panic_over_answer, NULL);
}

STEP(end_after_a_crash)
{
    if (stats_now(ctx).restarts < 1)
        go_on(ctx, end_after_a_crash);
    else
        end_step(ctx);
}

STEP(have_it_ask)
{
    go(ctx, world.addr[SUBJECT], ask_other);
    go_on(ctx, end_after_a_crash);
}

Test(retry, is_not_for_replies_even_of_a_kind_with_retries)
{
    run_with(&subject, 0, have_it_ask);
    cr_assert_str_eq(world.trace, "w1.1 a:0 E:stopped", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
    cr_assert_eq(world.dead_replies, 1);
}

STEP(poison_once)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 99));
}

CHILD_STOPPED(look_at_attempts)
{
    troupe_poison p = {0};
    say("child:%s %u", troupe_reason_name(reason), poisons(ctx, &p, 1));
    say("attempts:%u:%s", p.attempts, p.text);
    end_step(ctx);
}

Test(retry, of_a_temporary_actor_is_none_and_the_message_is_poison)
{
    static const troupe_behavior temporary = {
        .name = "temporary", .supervision = {.restart = TROUPE_RESTART_TEMPORARY}, .handlers = {WORKS}};
    static troupe_behavior mourner;
    mourner = director;
    mourner.child_stopped = look_at_attempts;
    step_fn *first = poison_once;
    subject_behavior = &temporary;
    world_begin(1);
    cr_assert_eq(run(&mourner, &first), 0);
    cr_assert_str_eq(world.trace, "w1.1 child:crashed 1 attempts:1:work 1 d1", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
}

/* --- ends and verdicts between the tries -------------------------------------------------------------------------- */

STEP(stop_subject)
{
    troupe_stop(ctx, world.addr[SUBJECT]);
}

static step_fn *before_the_crash;

STEP(work_that_stops)
{
    struct work w = some(1, 99);
    w.first = before_the_crash;
    ask_work(ctx, world.addr[SUBJECT], WORK, w);
}

STEP(kill_subject)
{
    troupe_kill(ctx, world.addr[SUBJECT]);
}

Test(retry, ends_with_the_actor_and_the_message_is_dropped_with_the_others)
{
    step_fn *const ends[] = {stop_subject, kill_subject, stop_step};
    static const char *const traces[] = {"w1.1 d1 child:stopped", "w1.1 d1 child:killed",
                                         "w1.1 E:normal d1 child:normal"};
    for (unsigned i = 0; i < 3; i++) {
        before_the_crash = ends[i];
        run_with(&subject, 0, work_that_stops);
        cr_assert_eq(strncmp(world.trace, traces[i], strlen(traces[i])), 0, "%u: %s", i, world.trace);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
        cr_assert_eq(world.dead[TROUPE_DEAD_POISON] + world.dead[TROUPE_DEAD_CRASHED], 0);
    }
}

STEP(escalate_poison)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 99));
    go(ctx, world.addr[SUBJECT], end_step);
}

STEP(escalate_between)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 2));
    note(ctx, world.addr[SUBJECT], 2);
    go(ctx, world.addr[SUBJECT], end_step);
}

Test(retry, goes_on_after_an_escalation)
{
    supervision = (troupe_supervision){.restarts = TROUPE_RESTARTS_NONE};
    verdict = TROUPE_VERDICT_RESTART_CHILD;
    run_with(&subject, 0, escalate_between);
    cr_assert_str_eq(world.trace, "w1.1 esc w1.2 esc w1.3 n2 E:stopped", "%s", world.trace);
    supervision = (troupe_supervision){.restarts = TROUPE_RESTARTS_NONE};
    run_with(&subject, 0, escalate_poison);
    cr_assert_str_eq(world.trace, "w1.1 esc w1.2 esc w1.3 esc E:stopped d1", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
    supervision = (troupe_supervision){.restarts = TROUPE_RESTARTS_NONE};
    verdict = TROUPE_VERDICT_IGNORE;
    run_with(&subject, 0, escalate_between);
    cr_assert_str_eq(world.trace, "w1.1 esc d1 child:escalated", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 3);
}

/* --- resending ---------------------------------------------------------------------------------------------------- */

STEP(end_after_six)
{
    troupe_poison p = {0};
    cr_expect_eq(poisons(ctx, &p, 1), 1);
    cr_expect_eq(p.id, 2);
    cr_expect_eq(p.attempts, 3);
    cr_expect(troupe_addr_is_nobody(p.from));
    end_step(ctx);
}

STEP(resend_to_the_same)
{
    cr_expect_eq(troupe_quarantine_resend(troupe_ctx_runtime(ctx), 1, (troupe_addr){0}), 0);
    cr_expect_eq(poisons(ctx, &(troupe_poison){0}, 1), 0);
    go(ctx, world.addr[SUBJECT], end_after_six);
}

STEP(send_worse_poison)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 6));
    go(ctx, world.addr[SUBJECT], resend_to_the_same);
}

Test(quarantine, resends_as_if_it_were_new)
{
    run_with(&subject, 0, send_worse_poison);
    cr_assert_str_eq(world.trace, "w1.1 w1.2 w1.3 w1.4 w1.5 w1.6 E:stopped d1", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 2);
}

/* The subject has ended: it stays. Somebody mended takes it. */
CHILD_STOPPED(resend_elsewhere)
{
    troupe_runtime *rt = troupe_ctx_runtime(ctx);
    troupe_poison p = {0};
    cr_expect_eq(troupe_quarantine_resend(rt, 1, (troupe_addr){0}), -ESRCH);
    cr_expect_eq(poisons(ctx, &p, 1), 1);
    cr_expect_eq(p.id, 1);
    cr_expect_eq(word(DROPPED), 0);
    cr_expect_eq(troupe_quarantine_resend(rt, 1, world.addr[OTHER]), 0);
    cr_expect_eq(troupe_quarantine_resend(rt, 1, world.addr[OTHER]), -ESRCH);
    go(ctx, world.addr[OTHER], end_step);
}

STEP(stop_itself_then)
{
    troupe_stop_self(ctx);
}

STEP(send_poison_and_stop)
{
    tell_work(ctx, world.addr[SUBJECT], WORK, some(1, 3));
    go(ctx, world.addr[SUBJECT], stop_itself_then);
}

Test(quarantine, keeps_what_cannot_be_resent_and_resends_to_another)
{
    static troupe_behavior resender;
    resender = director;
    resender.child_stopped = resend_elsewhere;
    step_fn *first = send_poison_and_stop;
    subject_behavior = &subject;
    world_begin(1);
    cr_assert_eq(run(&resender, &first), 0);
    cr_assert_str_eq(world.trace, "w1.1 w1.2 w1.3 E:normal w1.4", "%s", world.trace);
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

STEP(check_the_last_three)
{
    troupe_poison p[8];
    cr_expect_eq(poisons(ctx, p, 8), 3);
    cr_expect_eq(p[0].id, 3);
    cr_expect_eq(p[2].id, 5);
    cr_expect_eq(troupe_quarantine_list(troupe_ctx_runtime(ctx), 3, p, 1), 1);
    cr_expect_eq(p[0].id, 4);
    end_step(ctx);
}

STEP(five_poisons)
{
    for (unsigned i = 1; i <= 5; i++)
        tell_work(ctx, world.addr[SUBJECT], WORK, some(i, 99));
    go(ctx, world.addr[SUBJECT], check_the_last_three);
}

Test(quarantine, that_is_full_drops_the_oldest_and_the_rest_at_the_end)
{
    run_with(&subject, 3, five_poisons);
    cr_assert(strstr(world.trace, "w4.3 d1 w5.1 w5.2 w5.3 d2 E:stopped d3 d4 d5"), "%s", world.trace);
    cr_assert_eq(word(DROPPED), 5);
}

/* While one message is out of quarantine to be resent, another takes its room; then it cannot be delivered. The hook
 * for dead letters stands between the two. */
static troupe_runtime *rt_of_resend;

static void poison_meanwhile(void *arg, const troupe_dead_letter *letter)
{
    dead_letter(arg, letter);
    if (letter->reason != TROUPE_DEAD_NO_ACTOR)
        return;
    struct work w = some(5, 99);
    troupe_poison p[4];
    cr_expect_eq(troupe_runtime_tell(rt_of_resend, world.addr[OTHER], WORK, &w, sizeof w), 0);
    while (troupe_quarantine_list(rt_of_resend, 3, p, 4) < 1)
        sched_yield();
}

STEP(three_poisons)
{
    for (unsigned i = 1; i <= 3; i++)
        tell_work(ctx, world.addr[SUBJECT], WORK, some(i, 99));
    go(ctx, world.addr[SUBJECT], stop_step);
}

CHILD_STOPPED(say_ready)
{
    ck_pr_store_64(&world.word[LIMIT], 1);
}

Test(quarantine, stays_bounded_when_a_message_comes_back_from_a_resend)
{
    static troupe_behavior waiting;
    waiting = director;
    waiting.child_stopped = say_ready;
    step_fn *first = three_poisons;
    subject_behavior = &subject;
    world_begin(2);
    troupe_options options = world_options();
    options.quarantine_max = 3;
    options.dead_letter = poison_meanwhile;
    cr_assert_eq(troupe_runtime_start(&rt_of_resend, &waiting, &first, &options, NULL), 0);
    spin_until(LIMIT);
    cr_assert_eq(troupe_quarantine_resend(rt_of_resend, 2, (troupe_addr){0}), -ESRCH);
    troupe_poison p[8];
    cr_assert_eq(troupe_quarantine_list(rt_of_resend, 0, p, 8), 3);
    cr_assert(p[0].id == 2 && p[1].id == 3 && p[2].id == 4);
    cr_assert_eq(word(DROPPED), 1);
    troupe_runtime_request_stop(rt_of_resend);
    cr_assert_eq(troupe_runtime_join(rt_of_resend), 0);
    cr_assert_eq(word(DROPPED), 4);
}
