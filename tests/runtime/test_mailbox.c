/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox, one step at a time. What threads do to it is in tests/stress/stress_mailbox.c. */
#include <criterion/criterion.h>

#include "runtime/mailbox.h"

enum { NODES = 8 };

static struct tr_cell_table table;
static struct tr_slot_cache slots;
static struct tr_cell *cell;
static troupe_msg *node[NODES];
static struct tr_slab slab;

static void set_up(void)
{
    slots.count = 0;
    cr_assert_eq(tr_cell_table_init(&table, 10), 0);
    tr_slab_init(&slab);
    cell = tr_cell_get(&table, &slots);
    tr_mailbox_open(cell);
    for (unsigned i = 0; i < NODES; i++)
        node[i] = tr_msg_alloc(&slab, NULL, 0);
}

static void tear_down(void)
{
    tr_slab_fini(&slab);
    tr_cell_table_fini(&table);
}

TestSuite(mailbox, .init = set_up, .fini = tear_down);

static unsigned fetch(void)
{
    troupe_msg *mark;
    unsigned count = tr_mailbox_fetch(cell, &mark);
    cr_assert_null(mark);
    return count;
}

static void go_idle(void)
{
    troupe_msg *mark;
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_GONE);
}

Test(mailbox, an_opened_mailbox_counts_as_scheduled)
{
    cr_assert_eq(tr_mailbox_push(cell, node[0]), TR_PUSH_QUEUED);
    cr_assert_eq(fetch(), 1);
    cr_assert_eq(tr_mailbox_pop(cell), node[0]);
}

Test(mailbox, messages_come_out_in_the_order_sent)
{
    for (unsigned i = 0; i < 3; i++)
        tr_mailbox_push(cell, node[i]);
    cr_assert_eq(fetch(), 3);
    for (unsigned i = 3; i < NODES; i++)
        tr_mailbox_push(cell, node[i]);
    cr_assert_eq(fetch(), NODES - 3, "appended to what was fetched before");
    for (unsigned i = 0; i < NODES; i++)
        cr_assert_eq(tr_mailbox_pop(cell), node[i]);
    cr_assert_null(tr_mailbox_pop(cell));
    cr_assert_eq(fetch(), 0);
}

Test(mailbox, only_the_first_send_to_an_idle_mailbox_wakes)
{
    go_idle();
    cr_assert_eq(tr_mailbox_push(cell, node[0]), TR_PUSH_WAKE);
    cr_assert_eq(tr_mailbox_push(cell, node[1]), TR_PUSH_QUEUED);
    cr_assert_eq(fetch(), 2);
    cr_assert_eq(tr_mailbox_pop(cell), node[0]);
}

Test(mailbox, only_one_signal_to_an_idle_mailbox_wakes)
{
    struct tr_signal first = {.kind = TR_SIGNAL_ALARM}, second = {.kind = TR_SIGNAL_TIMER};
    go_idle();
    cr_assert_eq(tr_mailbox_signal(cell, &first), TR_PUSH_WAKE);
    cr_assert_eq(tr_mailbox_signal(cell, &second), TR_PUSH_QUEUED);
    cr_assert_eq(tr_mailbox_control(cell, cell->generation, TR_CONTROL_STOP, 0), TR_PUSH_QUEUED);
    cr_assert(tr_mailbox_has_control(cell));
    cr_assert_eq(tr_mailbox_take_bits(cell), TR_CONTROL_STOP);
    cr_assert_eq(tr_mailbox_take_bits(cell), 0);
    cr_assert_eq(tr_mailbox_take_signals(cell), &first, "oldest first");
    cr_assert_eq(first.next, &second);
    cr_assert_null(tr_mailbox_take_signals(cell));
    cr_assert_not(tr_mailbox_has_control(cell));
}

Test(mailbox, a_control_bit_wakes_an_idle_mailbox_and_bits_add_up)
{
    go_idle();
    cr_assert_eq(tr_mailbox_control(cell, cell->generation, TR_CONTROL_STOP, 0), TR_PUSH_WAKE);
    cr_assert_eq(tr_mailbox_control(cell, cell->generation, TR_CONTROL_RESTART, 0), TR_PUSH_QUEUED);
    cr_assert_eq(tr_mailbox_take_bits(cell), TR_CONTROL_STOP | TR_CONTROL_RESTART);
}

Test(mailbox, it_does_not_go_idle_over_a_message_that_was_pushed)
{
    troupe_msg *mark;
    tr_mailbox_push(cell, node[0]);
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_BUSY);
    cr_assert_eq(fetch(), 1);
    tr_mailbox_push(cell, node[1]);
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_BUSY, "node[0] is the mark, node[1] is new");
    cr_assert_eq(fetch(), 1);
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_GONE);
    cr_assert_null(mark, "node[1] is in the FIFO, not handled");
    cr_assert_eq(tr_mailbox_pop(cell), node[0]);
    cr_assert_eq(tr_mailbox_pop(cell), node[1]);
}

Test(mailbox, it_does_not_go_idle_over_a_signal)
{
    struct tr_signal signal = {.kind = TR_SIGNAL_ALARM};
    troupe_msg *mark;
    tr_mailbox_signal(cell, &signal);
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_BUSY);
    cr_assert_eq(tr_mailbox_take_signals(cell), &signal);
    tr_mailbox_control(cell, cell->generation, TR_CONTROL_STOP, 0);
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_BUSY);
}

Test(mailbox, the_handled_mark_comes_back_with_the_next_fetch)
{
    troupe_msg *mark;
    tr_mailbox_push(cell, node[0]);
    cr_assert_eq(fetch(), 1);
    cr_assert_eq(tr_mailbox_pop(cell), node[0]);
    cr_assert_eq(cell->mark, node[0]);
    node[0]->flags |= TR_MSG_HANDLED;
    cr_assert_eq(tr_mailbox_fetch(cell, &mark), 0);
    cr_assert_null(mark, "the head still names it");
    tr_mailbox_push(cell, node[1]);
    cr_assert_eq(tr_mailbox_fetch(cell, &mark), 1);
    cr_assert_eq(mark, node[0]);
}

Test(mailbox, the_handled_mark_comes_back_when_it_goes_idle)
{
    troupe_msg *mark;
    tr_mailbox_push(cell, node[0]);
    cr_assert_eq(fetch(), 1);
    tr_mailbox_pop(cell);
    node[0]->flags |= TR_MSG_HANDLED;
    cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_GONE);
    cr_assert_eq(mark, node[0]);
    cr_assert_null(cell->mark);
}

Test(mailbox, a_mark_that_is_not_handled_yet_stays_with_its_user)
{
    troupe_msg *mark;
    tr_mailbox_push(cell, node[0]);
    cr_assert_eq(fetch(), 1);
    tr_mailbox_pop(cell);
    tr_mailbox_push(cell, node[1]);
    cr_assert_eq(tr_mailbox_fetch(cell, &mark), 1);
    cr_assert_null(mark, "kept, say: it is finished by whoever has it");
    cr_assert_eq(cell->mark, node[1]);
}

Test(mailbox, the_mark_may_be_pushed_again_once_it_is_let_go)
{
    troupe_msg *mark;
    for (unsigned round = 0; round < 10; round++) {
        tr_mailbox_push(cell, node[0]);
        cr_assert_eq(tr_mailbox_fetch(cell, &mark), 1);
        cr_assert_eq(tr_mailbox_pop(cell), node[0]);
        node[0]->flags = TR_MSG_HANDLED;
        cr_assert_eq(tr_mailbox_idle(cell, &mark), TR_IDLE_GONE);
        cr_assert_eq(mark, node[0]);
        node[0]->flags = 0;
    }
}

Test(mailbox, closed_mailbox_refuses_a_late_send)
{
    troupe_msg *mark;
    struct tr_signal late = {.kind = TR_SIGNAL_TIMER};
    uint32_t generation = cell->generation;
    cr_assert_null(tr_mailbox_close(cell, &mark));
    cr_assert_null(cell->fifo_head);
    cr_assert_eq(tr_mailbox_push(cell, node[0]), TR_PUSH_CLOSED);
    cr_assert_eq(tr_mailbox_signal(cell, &late), TR_PUSH_CLOSED);
    cr_assert_eq(tr_mailbox_control(cell, generation, TR_CONTROL_STOP, 0), TR_PUSH_CLOSED);
}

Test(mailbox, close_returns_what_was_never_handled_in_order)
{
    troupe_msg *mark;
    struct tr_signal alarm = {.kind = TR_SIGNAL_ALARM};
    tr_mailbox_push(cell, node[0]);
    tr_mailbox_push(cell, node[1]);
    fetch();
    tr_mailbox_pop(cell);
    tr_mailbox_push(cell, node[2]);
    tr_mailbox_signal(cell, &alarm);
    struct tr_signal *signals = tr_mailbox_close(cell, &mark);
    troupe_msg *rest = cell->fifo_head;
    cr_assert_null(mark, "node[1], the mark, is among the rest");
    cr_assert(rest == node[1] && rest->next == node[2] && !rest->next->next);
    cr_assert_eq(signals, &alarm);
    tr_mailbox_pop(cell);
    tr_mailbox_pop(cell);
    cr_assert_null(cell->fifo_head);
}

Test(mailbox, close_returns_the_handled_mark_apart)
{
    troupe_msg *mark;
    tr_mailbox_push(cell, node[0]);
    fetch();
    tr_mailbox_pop(cell);
    node[0]->flags |= TR_MSG_HANDLED;
    cr_assert_null(tr_mailbox_close(cell, &mark));
    cr_assert_eq(mark, node[0]);
}

Test(mailbox, a_bit_for_an_ended_actor_does_not_hit_the_next_in_its_slot)
{
    troupe_msg *mark;
    uint32_t generation = cell->generation;
    tr_mailbox_control(cell, generation, TR_CONTROL_STOP, 0);
    tr_mailbox_close(cell, &mark);
    cr_assert_eq(tr_mailbox_control(cell, generation + 1, TR_CONTROL_RESTART, 0), TR_PUSH_QUEUED, "its parent, say");
    tr_mailbox_open(cell);
    cr_assert_not(tr_mailbox_has_control(cell));
    cr_assert_eq(tr_mailbox_control(cell, generation, TR_CONTROL_STOP, 0), TR_PUSH_CLOSED);
    cr_assert_not(tr_mailbox_has_control(cell));
}
