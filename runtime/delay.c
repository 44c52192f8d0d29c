/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/delay.h"

#include <errno.h>
#include <string.h>

#include "io/loop.h"
#include "io/poison.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/send.h"
#include "sched/base/assert.h"

enum { FREE, ARMED, FIRED, AGAIN, CANCELLED };
#define STATE_BITS 3
#define STATE_MASK UINT64_C(7)
#define FRESH_MAX 32u /* this many share a look at the clock: some microseconds */

_Static_assert(offsetof(struct tr_delay, timer) == 0, "a free block's first words are the slab's");
_Static_assert(offsetof(struct tr_delay, life) >= sizeof(struct tr_block), "the life survives the free list");
_Static_assert(offsetof(struct tr_delay, msg) == TR_CACHELINE, "the wheel looks at one line, the rest is the other");
_Static_assert(sizeof(struct tr_delay) >= offsetof(struct tr_delay, msg.payload) + TR_DELAY_ROOM, "room for payload");
_Static_assert(sizeof(struct tr_delay_account) <= 128, "an account is a block of TR_CLASS_128");

#define PLACES                                                                                                         \
    ((512 - sizeof(struct tr_delay_page)) / sizeof(struct tr_delay *)) /* a page is a block of TR_CLASS_512 */
#define FEW_PLACES ((UINT64_C(1) << TR_DELAY_FEW) - 1)
#define ALL_PLACES ((UINT64_C(1) << PLACES) - 1)
_Static_assert(PLACES < 64, "a bit for each place");

/* --- blocks ------------------------------------------------------------------------------------------------------ */

/* A free block's second line must not be touched; of the first, life and account may be read by stale handles. */
static void poison(struct tr_delay *delay)
{
    TR_POISON(&delay->msg, sizeof *delay - offsetof(struct tr_delay, msg));
}

static void unpoison(struct tr_delay *delay)
{
    TR_UNPOISON(&delay->msg, sizeof *delay - offsetof(struct tr_delay, msg));
}

/* By atomic access, here and where the next life begins: the CAS of a cancel that came too late may be under way. */
static inline void end_life(struct tr_delay *delay)
{
    ck_pr_store_64(&delay->life, ((ck_pr_load_64(&delay->life) >> STATE_BITS) + 1) << STATE_BITS | FREE);
    poison(delay);
}

static inline void give_back(troupe_ctx *ctx, struct tr_delay *delay)
{
    end_life(delay);
    tr_slab_put(&ctx->rt->slab, &ctx->cache, TR_CLASS_DELAY, delay);
}

void tr_delay_free_message(struct tr_slab *slab, struct tr_slab_cache *cache, troupe_msg *msg)
{
    struct tr_delay *delay = TR_CONTAINER_OF(msg, struct tr_delay, msg);
    end_life(delay);
    tr_slab_free(slab, cache, TR_CLASS_DELAY, delay);
}

/* What a cancel from another worker needs. There is no payload here that anybody still reads: it is cancelled, or lies
 * apart. */
static ck_stack_entry_t *return_link(struct tr_delay *delay)
{
    return (ck_stack_entry_t *)(void *)(delay->msg.payload + TR_DELAY_ROOM - sizeof(ck_stack_entry_t));
}

static struct tr_delay *delay_of(ck_stack_entry_t *entry)
{
    unsigned char *payload = (unsigned char *)entry + sizeof(ck_stack_entry_t) - TR_DELAY_ROOM;
    return TR_CONTAINER_OF(payload, struct tr_delay, msg.payload);
}

/* --- pages ------------------------------------------------------------------------------------------------------- */

static uint64_t places_of(const struct tr_delay_account *account, const struct tr_delay_page *page)
{
    return page == &account->first ? FEW_PLACES : ALL_PLACES;
}

static __attribute__((noinline)) struct tr_delay_page *add_page(troupe_ctx *ctx, struct tr_delay_account *account)
{
    struct tr_delay_page *page = tr_ctx_alloc(ctx, TR_CLASS_512);
    if (!page)
        return NULL;
    page->room = ALL_PLACES;
    page->places = (struct tr_delay **)(void *)(page + 1);
    tr_list_insert_between(&page->link, &account->pages, account->pages.next);
    return page;
}

/* One with room, or NULL: out of memory. */
static inline struct tr_delay_page *page_with_room(troupe_ctx *ctx, struct tr_delay_account *account)
{
    struct tr_delay_page *page = TR_CONTAINER_OF(account->pages.next, struct tr_delay_page, link);
    return TR_LIKELY(page->room) ? page : add_page(ctx, account);
}

static inline void write_down(struct tr_delay_account *account, struct tr_delay_page *page, struct tr_delay *delay)
{
    uint64_t room = page->room;
    unsigned place = (unsigned)__builtin_ctzll(room);
    delay->wait.page = page;
    delay->wait.place = (uint8_t)place;
    page->places[place] = delay;
    page->room = room &= room - 1;
    if (TR_LIKELY(room))
        return;
    tr_list_remove(&page->link);
    tr_list_push_back(&account->pages, &page->link);
}

/* A page that was full, or is empty now. */
static __attribute__((noinline)) void turn_page(troupe_ctx *ctx, struct tr_delay_account *account,
                                                struct tr_delay_page *page)
{
    bool lasts = page == &account->first || page->room != ALL_PLACES;
    tr_list_remove(&page->link);
    if (lasts)
        tr_list_insert_between(&page->link, &account->pages, account->pages.next);
    else
        tr_ctx_free(ctx, TR_CLASS_512, page);
}

static inline void forget(troupe_ctx *ctx, struct tr_delay *delay)
{
    struct tr_delay_page *page = delay->wait.page;
    uint64_t before = page->room;
    uint64_t room = page->room = before | UINT64_C(1) << delay->wait.place;
    if (TR_UNLIKELY(!before || room == ALL_PLACES))
        turn_page(ctx, delay->account, page);
}

/* --- one less ---------------------------------------------------------------------------------------------------- */

/* A fresh one is not in the wheel yet. */
static bool is_fresh(const struct tr_delay *delay)
{
    return !delay->timer.fire;
}

/* Off the wheel and the books; the page is the caller's matter. */
static inline void drop(troupe_ctx *ctx, struct tr_delay *delay)
{
    if (is_fresh(delay)) {
        delay->timer.link.prev->next = delay->timer.link.next;
        delay->timer.link.next->prev = delay->timer.link.prev;
        ctx->fresh_count--;
    } else {
        tr_wheel_disarm(tr_loop_wheel(ctx->loop), &delay->timer);
    }
    if (TR_UNLIKELY(delay->wait.apart != NULL))
        tr_msg_free(&ctx->rt->slab, &ctx->cache, delay->wait.apart);
    give_back(ctx, delay);
}

static inline void discard(troupe_ctx *ctx, struct tr_delay *delay)
{
    forget(ctx, delay);
    drop(ctx, delay);
}

/* --- firing, on the home ----------------------------------------------------------------------------------------- */

static bool moved(struct tr_delay *delay, uint64_t from, uint64_t to)
{
    uint64_t life = ck_pr_load_64(&delay->life) & ~STATE_MASK;
    return ck_pr_cas_64(&delay->life, life | from, life | to);
}

/* Sends a copy, so that the original remains for the next period. Out of memory skips one period. */
static void send_copy(troupe_ctx *ctx, const struct tr_delay *delay)
{
    troupe_msg *copy;
    const troupe_msg *message = delay->wait.apart;
    if (tr_send_build(ctx, message->kind, message->payload, message->size, &copy) < 0)
        return;
    copy->sender = delay->account->sender;
    tr_post(ctx->rt, ctx, delay->wait.to, copy);
}

static void fire_again(troupe_ctx *ctx, struct tr_delay *delay)
{
    if (!moved(delay, ARMED, AGAIN))
        return;
    uint64_t due_ns = delay->timer.due_ns, period_ns = delay->wait.period_ns;
    send_copy(ctx, delay);
    uint64_t now = tr_loop_clock(), missed = now > due_ns ? (now - due_ns) / period_ns : 0;
    if (moved(delay, AGAIN, ARMED))
        tr_wheel_arm(tr_loop_wheel(ctx->loop), &delay->timer, due_ns + (missed + 1) * period_ns);
}

/* Turns the block into its message, or frees it if that is apart. */
static troupe_msg *message_of(troupe_ctx *ctx, struct tr_delay *delay)
{
    troupe_msg *message = delay->wait.apart;
    if (TR_UNLIKELY(message != NULL)) {
        give_back(ctx, delay);
        return message;
    }
    uint32_t size = delay->wait.size;
    uint16_t kind = delay->wait.kind;
    delay->msg = (troupe_msg){.size = size, .kind = kind, .class = TR_CLASS_DELAY};
    return &delay->msg;
}

static void send_once(troupe_ctx *ctx, struct tr_delay *delay)
{
    if (!moved(delay, ARMED, FIRED))
        return; /* cancelled: the reap frees it */
    troupe_addr to = delay->wait.to, sender = delay->account->sender;
    forget(ctx, delay);
    troupe_msg *message = message_of(ctx, delay);
    message->sender = sender;
    tr_post(ctx->rt, ctx, to, message);
}

/* The last of three steps, so that the misses of several delays overlap: their second lines were asked for as they fired;
 * now the heads of their pages, and then they are sent. */
void tr_delay_send_fired(troupe_ctx *ctx)
{
    unsigned count = ctx->fired_count;
    ctx->fired_count = 0;
    for (unsigned i = 0; i < count; i++)
        __builtin_prefetch(ctx->fired[i]->wait.page, 1);
    for (unsigned i = 0; i < count; i++) {
        struct tr_delay *delay = ctx->fired[i];
        if (TR_UNLIKELY(ck_pr_load_32(&delay->account->muted)))
            continue; /* freed with the account */
        if (TR_UNLIKELY(delay->wait.period_ns > 0))
            fire_again(ctx, delay);
        else
            send_once(ctx, delay);
    }
}

static void fire(struct tr_timer *timer)
{
    struct tr_delay *delay = TR_CONTAINER_OF(timer, struct tr_delay, timer);
    troupe_ctx *ctx = delay->account->home;
    __builtin_prefetch(&delay->wait, 1);
    ctx->fired[ctx->fired_count++] = delay;
    if (ctx->fired_count == TR_DELAYS_FIRED)
        tr_delay_send_fired(ctx);
}

/* --- arming ------------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) struct tr_delay_account *open_account(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_delay_account *account = inc->delays;
    while (account && account->home != ctx)
        account = account->next;
    if (account)
        return account;
    account = tr_ctx_alloc(ctx, TR_CLASS_128);
    if (!account)
        return NULL;
    *account = (struct tr_delay_account){.home = ctx, .next = inc->delays, .sender = tr_cell_addr(ctx->cell)};
    account->first.room = FEW_PLACES;
    account->first.places = account->few;
    tr_list_init(&account->pages);
    tr_list_push_back(&account->pages, &account->first.link);
    inc->delays = account;
    return account;
}

/* Payloads of one word are copied in place: most of what timers say. */
static int store(troupe_ctx *ctx, struct tr_delay *delay, unsigned kind, const void *payload, size_t size, bool again)
{
    delay->wait.apart = NULL;
    delay->wait.kind = tr_msg_kind(kind);
    delay->wait.size = (uint32_t)size;
    if (TR_UNLIKELY(size > TR_DELAY_ROOM || again))
        return tr_send_build(ctx, kind, payload, size, &delay->wait.apart);
    if (TR_LIKELY(size == sizeof(uint64_t)))
        memcpy(delay->msg.payload, payload, sizeof(uint64_t));
    else if (size)
        memcpy(delay->msg.payload, payload, size);
    return 0;
}

/* tr_incarnation_of, with the usual case inline. */
static inline struct tr_incarnation *incarnation_of(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    return TR_LIKELY(inc && !ctx->cell->closed) ? inc : tr_incarnation_of(ctx);
}

int tr_delay_arm(troupe_ctx *ctx, uint64_t delay_ns, uint64_t period_ns, troupe_addr to, unsigned kind,
                 const void *payload, size_t size, troupe_timer *timer)
{
    struct tr_incarnation *inc = incarnation_of(ctx);
    struct tr_delay_account *account = inc ? inc->delays : NULL;
    if (TR_UNLIKELY(!account || account->home != ctx) && (!inc || !(account = open_account(ctx, inc))))
        return -ENOMEM;
    struct tr_delay_page *page = page_with_room(ctx, account);
    if (TR_UNLIKELY(!page))
        return -ENOMEM;
    struct tr_delay *delay = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_DELAY);
    if (TR_UNLIKELY(!delay))
        return -ENOMEM;
    unpoison(delay);
    int status = store(ctx, delay, kind, payload, size, period_ns > 0);
    if (TR_UNLIKELY(status < 0)) {
        give_back(ctx, delay);
        return status;
    }
    delay->wait.to = to;
    delay->wait.period_ns = period_ns;
    write_down(account, page, delay);
    delay->timer.due_ns = delay_ns;
    delay->timer.fire = NULL;
    tr_list_push_back(&ctx->fresh, &delay->timer.link);
    ck_pr_store_ptr(&delay->account, account);
    uint64_t life = ck_pr_load_64(&delay->life);
    ck_pr_fence_store();
    ck_pr_store_64(&delay->life, life | ARMED);
    if (timer)
        *timer = (troupe_timer){delay, life >> STATE_BITS};
    ctx->untidy = true; /* an activation that leaves something behind settles it */
    if (TR_UNLIKELY(++ctx->fresh_count == FRESH_MAX))
        tr_delay_settle(ctx);
    return 0;
}

void tr_delay_settle(troupe_ctx *ctx)
{
    uint64_t now_ns = tr_loop_deadline_here(ctx->loop, 0);
    struct tr_wheel *wheel = tr_loop_wheel(ctx->loop);
    struct tr_list *link, *next;
    for (link = ctx->fresh.next; link != &ctx->fresh; link = next) {
        struct tr_delay *delay = TR_CONTAINER_OF(link, struct tr_delay, timer.link);
        uint64_t delay_ns = delay->timer.due_ns;
        next = link->next;
        delay->timer.fire = fire;
        delay->timer.armed = false;
        tr_wheel_arm(wheel, &delay->timer, delay_ns < UINT64_MAX - now_ns ? now_ns + delay_ns : UINT64_MAX);
    }
    tr_list_init(&ctx->fresh);
    ctx->fresh_count = 0;
}

/* --- cancelling -------------------------------------------------------------------------------------------------- */

/* The account if it is one of the running actor's. */
static struct tr_delay_account *mine(const troupe_ctx *ctx, const struct tr_delay_account *account)
{
    const struct tr_incarnation *inc = ctx->cell->incarnation;
    struct tr_delay_account *own = inc ? inc->delays : NULL;
    while (own && own != account)
        own = own->next;
    return own;
}

static bool cancel_from_elsewhere(struct tr_delay *delay, troupe_ctx *home, uint64_t serial)
{
    uint64_t armed = serial << STATE_BITS | ARMED, again = serial << STATE_BITS | AGAIN, life;
    do {
        life = ck_pr_load_64(&delay->life);
        if (life != armed && life != again)
            return false;
    } while (!ck_pr_cas_64(&delay->life, life, serial << STATE_BITS | CANCELLED));
    ck_pr_fence_release(); /* ck_stack itself orders stores only */
    ck_stack_push_upmc(&home->delay_returns, return_link(delay));
    return true;
}

bool tr_delay_cancel(troupe_ctx *ctx, troupe_timer timer)
{
    struct tr_delay *delay = timer.ref;
    uint64_t life = ck_pr_load_64(&delay->life);
    if (life >> STATE_BITS != timer.generation)
        return false;
    ck_pr_fence_load();
    struct tr_delay_account *account = mine(ctx, ck_pr_load_ptr(&delay->account));
    if (!account)
        return false; /* a stale handle: the block may be somebody else's at this moment */
    if (TR_UNLIKELY(account->home != ctx))
        return cancel_from_elsewhere(delay, account->home, timer.generation);
    if ((life & STATE_MASK) != ARMED)
        return false;
    discard(ctx, delay);
    return true;
}

void tr_delay_mute(struct tr_incarnation *inc)
{
    for (struct tr_delay_account *account = inc ? inc->delays : NULL; account; account = account->next)
        ck_pr_store_32(&account->muted, 1);
}

static void close_account(troupe_ctx *ctx, struct tr_delay_account *account)
{
    struct tr_list *link;
    while ((link = tr_list_pop_front(&account->pages))) {
        struct tr_delay_page *page = TR_CONTAINER_OF(link, struct tr_delay_page, link);
        for (uint64_t used = places_of(account, page) & ~page->room; used; used &= used - 1)
            drop(ctx, page->places[__builtin_ctzll(used)]);
        if (page != &account->first)
            tr_ctx_free(ctx, TR_CLASS_512, page);
    }
    tr_ctx_free(ctx, TR_CLASS_128, account);
}

void tr_delay_cancel_all(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_delay_account *account = inc->delays, *next;
    if (!account)
        return;
    tr_delay_mute(inc);
    tr_delay_reap(ctx); /* what this actor cancelled while it was on another worker goes before its account */
    for (; account; account = next) {
        troupe_ctx *home = account->home;
        next = account->next;
        if (home == ctx) {
            close_account(ctx, account);
            continue;
        }
        ck_pr_fence_release();
        ck_stack_push_upmc(&home->delay_ends, &account->end_link);
    }
    inc->delays = NULL;
}

static ck_stack_entry_t *take_all(ck_stack_t *stack)
{
    ck_stack_entry_t *entry = ck_pr_load_ptr(&stack->head) ? ck_stack_batch_pop_upmc(stack) : NULL;
    ck_pr_fence_acquire();
    return entry;
}

void tr_delay_reap(troupe_ctx *ctx)
{
    if (!ck_pr_load_ptr(&ctx->delay_ends.head) && !ck_pr_load_ptr(&ctx->delay_returns.head))
        return;
    ck_stack_entry_t *ends = take_all(&ctx->delay_ends), *returns = take_all(&ctx->delay_returns), *next;
    for (; returns; returns = next) {
        next = CK_STACK_NEXT(returns);
        discard(ctx, delay_of(returns));
    }
    for (; ends; ends = next) {
        next = CK_STACK_NEXT(ends);
        close_account(ctx, TR_CONTAINER_OF(ends, struct tr_delay_account, end_link));
    }
}
