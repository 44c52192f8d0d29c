/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/incarnation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/loop.h"
#include "io/poison.h"
#include "runtime/ask.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/delay.h"
#include "runtime/hook.h"
#include "runtime/kept.h"
#include "runtime/memory.h"
#include "runtime/port.h"
#include "runtime/room.h"
#include "runtime/scope.h"
#include "runtime/send.h"
#include "runtime/timer.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"

#define DRAIN_NS TROUPE_MS(500) /* how long an orderly end waits for peers that do not read */

/* A larger state is freed between incarnations: fresh pages cost less than zeroing. */
#define STATE_KEPT ((size_t)64 * 1024)

/* As new; the owner keeps its memory. */
static void init(struct tr_incarnation *inc)
{
    *inc = (struct tr_incarnation){.taken_fd = -1, .owner = inc->owner};
    tr_list_init(&inc->timers);
    tr_list_init(&inc->asks);
    tr_list_init(&inc->asks_forever);
    tr_list_init(&inc->asks_cancelled);
    tr_list_init(&inc->jobs);
    tr_list_init(&inc->jobs_forever);
    tr_list_init(&inc->notices);
    tr_list_init(&inc->ports);
    tr_list_init(&inc->closing);
    tr_list_init(&inc->watches);
    tr_list_init(&inc->rooms);
}

struct tr_incarnation *tr_incarnation_even_closed(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (TR_LIKELY(inc != NULL))
        return inc;
    inc = tr_memory_alloc_zeroed(sizeof *inc);
    if (!inc)
        return NULL;
    init(inc);
    ctx->cell->incarnation = inc;
    return inc;
}

struct tr_incarnation *tr_incarnation_of(troupe_ctx *ctx)
{
    if (ctx->cell->closed)
        return NULL; /* `crashed` runs: timers, asks and ports made now would outlive what owns them */
    return tr_incarnation_even_closed(ctx);
}

bool tr_incarnation_state(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    size_t size = cell->behavior->state_size;
    if (size == 0)
        return true;
    if (cell->state)
        TR_UNPOISON(cell->state, size);
    else if (TR_KEPT_SMALL && size <= TR_CELL_STATE_ROOM)
        cell->state = memset(cell->state_room, 0, TR_CELL_STATE_ROOM);
    else
        cell->state = tr_kept_alloc(ctx, size);
    return cell->state != NULL;
}

bool tr_incarnation_fd_gone(troupe_ctx *ctx, int fd)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (!inc || fd < 0 || inc->taken_fd != fd)
        return false;
    inc->taken_fd = -1;
    return true;
}

static void drop_kept(troupe_ctx *ctx, struct tr_incarnation *inc, int status)
{
    troupe_msg *msg;
    while ((msg = inc->kept)) {
        tr_send_unkeep(inc, msg);
        tr_dead_letter(ctx->rt, ctx, tr_cell_addr(ctx->cell), msg,
                       status == -ECONNRESET ? TROUPE_DEAD_CRASHED : TROUPE_DEAD_STOPPED);
        tr_msg_finish(ctx, msg, status);
    }
}

static bool arm_drain_alarm(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return false;
    inc->drain_alarm = &record->alarm;
    tr_alarm_arm(ctx, inc->drain_alarm, TR_SIGNAL_DRAIN, tr_loop_clock() + DRAIN_NS);
    return true;
}

/* Ports before timers: a port that waits to try again has a timer among them. */
void tr_incarnation_close(troupe_ctx *ctx, bool crashed)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (!inc)
        return;
    tr_port_close_all(ctx, &inc->ports);
    if (tr_port_draining(&inc->closing) && (crashed || !arm_drain_alarm(ctx, inc)))
        tr_port_abort_all(ctx, &inc->closing);
    tr_timer_cancel_all(ctx, &inc->timers);
    tr_delay_cancel_all(ctx, inc);
    tr_ask_forget_all(ctx, inc);
    tr_hook_drop_notices(ctx, inc);
    tr_token_close(ctx);
    tr_watch_forget_all(ctx, inc);
    tr_room_forget_all(inc);
}

void tr_incarnation_drain_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    bool current = inc && inc->drain_alarm == alarm;
    tr_alarm_free(ctx, alarm);
    if (!current)
        return;
    inc->drain_alarm = NULL;
    tr_port_abort_all(ctx, &inc->closing);
}

/* Nothing but memory is left in it. */
static void reset(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    TR_ASSERT(!inc->kept && !inc->drain_alarm && !inc->ask_alarm && !inc->scope && tr_list_empty(&inc->ports) &&
              tr_list_empty(&inc->closing) && tr_list_empty(&inc->timers) && tr_list_empty(&inc->watches) &&
              tr_list_empty(&inc->rooms) && tr_list_empty(&inc->jobs) && tr_list_empty(&inc->jobs_forever) &&
              !inc->job_alarm && !inc->delays);
    tr_owner_reset(ctx, &inc->owner);
    init(inc);
}

/* Zeroes it already here, so that it is done once; nobody may touch it before the next incarnation begins. */
static void state_reset(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    size_t size = cell->behavior->state_size;
    if (!cell->state)
        return;
    TR_UNPOISON(cell->state, size);
    if (size > STATE_KEPT) {
        tr_kept_free(ctx, cell->state, size);
        cell->state = NULL;
        return;
    }
    memset(cell->state, 0, size);
    TR_POISON(cell->state, size);
}

void tr_incarnation_drop_output(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (inc)
        tr_port_abort_all(ctx, &inc->closing);
}

void tr_incarnation_release(troupe_ctx *ctx, int kept_status)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (inc) {
        tr_stash_empty(ctx->cell, &inc->stash);
        if (inc->drain_alarm)
            tr_alarm_cancel(ctx, inc->drain_alarm);
        inc->drain_alarm = NULL;
        drop_kept(ctx, inc, kept_status);
        tr_owner_release(ctx, &inc->owner);
        if (inc->taken_fd >= 0)
            close(inc->taken_fd);
        reset(ctx, inc);
    }
    state_reset(ctx);
}

void tr_incarnation_free(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->incarnation)
        tr_owner_fini(&cell->incarnation->owner);
    free(cell->incarnation);
    cell->incarnation = NULL;
    if (!cell->state)
        return;
    TR_UNPOISON(cell->state, cell->behavior->state_size);
    if (cell->state != cell->state_room)
        tr_kept_free(ctx, cell->state, cell->behavior->state_size);
    cell->state = NULL;
}
