/* SPDX-License-Identifier: Apache-2.0 */
/* Cells and contexts are read while their workers write them: single words, of memory that lives as long as the
 * runtime, each of which is valid by itself whenever it is read. What they say together may be inconsistent, so every
 * value is checked before it is used. ThreadSanitizer is told not to look (PEEKS): making those fields atomic would
 * cost the workers something on every message, for a report that is written when nothing goes on any more.
 *
 * Operations are different: their slab grows and moves, so each loop is asked, by a command that its own thread runs. A
 * loop whose worker is stuck in a handler does not answer; nobody waits for it longer than ANSWER_NS. An inquiry has
 * two owners, the asker and the loop:
 *   ASKED -> ANSWERED   the loop, release: entries are written; the asker (acquire) reads and frees them
 *   ASKED -> ABANDONED  the asker gives up; the loop frees it when it comes to it
 * by compare and swap, so exactly one of them frees it. */
#include "runtime/survivors.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "io/loop.h"
#include "io/op.h"
#include "runtime/context.h"
#include "runtime/mailbox.h"
#include "runtime/port.h"
#include "runtime/text.h"

#define PEEKS __attribute__((no_sanitize("thread"), noinline))
#define ANSWER_NS TROUPE_MS(100)
#define ENTRIES 256
#define SURVIVOR_LINE 512

/* --- operations --- */

struct entry {
    const struct tr_cell *cell;
    enum tr_op_kind kind;
    int fd;
};

enum { ASKED, ANSWERED, ABANDONED };

struct inquiry {
    struct tr_loop_command command;
    uint32_t state;
    unsigned count;
    struct entry entries[ENTRIES];
};

/* port->cell does not change while an op of the port is out. */
static void note(void *arg, const struct tr_op *op)
{
    struct inquiry *inquiry = arg;
    if (op->done != tr_port_op_done || inquiry->count == ENTRIES)
        return;
    const struct tr_op_tag *tag = (const void *)op->user;
    inquiry->entries[inquiry->count++] = (struct entry){ck_pr_load_ptr(&tag->port->cell), op->kind, op->fd};
}

static void answer(struct tr_loop *loop, struct tr_loop_command *command)
{
    struct inquiry *inquiry = TR_CONTAINER_OF(command, struct inquiry, command);
    tr_op_each_in_flight(loop, note, inquiry);
    ck_pr_fence_release();
    if (!ck_pr_cas_32(&inquiry->state, ASKED, ANSWERED))
        free(inquiry);
}

static struct inquiry *ask(struct tr_loop *loop)
{
    struct inquiry *inquiry = calloc(1, sizeof *inquiry);
    if (!inquiry)
        return NULL;
    inquiry->command.fn = answer;
    tr_loop_post(loop, &inquiry->command);
    return inquiry;
}

static struct inquiry *await(struct inquiry *inquiry, uint64_t until_ns)
{
    while (inquiry && ck_pr_load_32(&inquiry->state) == ASKED && tr_loop_clock() < until_ns)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (!inquiry || ck_pr_cas_32(&inquiry->state, ASKED, ABANDONED))
        return NULL;
    ck_pr_fence_acquire();
    return inquiry;
}

/* --- the look around --- */

struct look {
    troupe_runtime *rt;
    struct inquiry **inquiries; /* per worker; NULL: no answer */
    void (*line)(void *arg, const char *line);
    void *arg;
    unsigned survivors;
};

/* What is shown of a cell, copied from it. */
struct glimpse {
    const struct tr_cell *cell;
    const troupe_behavior *behavior;
    const struct tr_cell *parent;
    enum tr_life life;
    uint32_t ports, children;
    bool alive;
};

PEEKS static struct glimpse peek(const struct tr_cell *cell)
{
    struct glimpse g = {.cell = cell,
                        .behavior = cell->behavior,
                        .parent = cell->parent,
                        .life = (enum tr_life)cell->life,
                        .ports = cell->ports,
                        .children = cell->children_count};
    g.alive = ck_pr_load_ptr(&cell->control) != TR_CONTROL_CLOSED && g.behavior && g.life < TR_LIFE_STOPPED;
    return g;
}

static const struct tr_cell *cell_at(const struct look *look, uint32_t index)
{
    return look->rt->cells.cells + index; /* below cells_made */
}

PEEKS static uint32_t cells_made(const struct look *look)
{
    return look->rt->cells.made;
}

PEEKS static void add_name(struct tr_text *text, const struct tr_cell *cell)
{
    struct glimpse g = peek(cell);
    tr_text_addf(text, "%s#%u", g.behavior ? g.behavior->name : "?", cell->index);
}

/* What a worker does. */
struct activity {
    const struct tr_cell *cell;
    const char *handler;
    uint64_t since_ns; /* or a little before */
};

PEEKS static struct activity peek_worker(const struct look *look, unsigned worker)
{
    const troupe_ctx *ctx = look->rt->contexts[worker];
    const char *const *named = *(const char *const *const volatile *)&ctx->named; /* once: it changes meanwhile */
    const char *handler = !named ? NULL : *named ? *named : "";
    return (struct activity){ctx->cell, handler ? handler : ctx->cleaning, ctx->now_ns};
}

/* True: a handler of the actor runs. */
static bool add_handler(const struct look *look, const struct glimpse *g, struct tr_text *text)
{
    for (unsigned i = 0; i < look->rt->threads; i++) {
        struct activity a = peek_worker(look, i);
        if (a.cell != g->cell || !a.handler)
            continue;
        uint64_t now = tr_loop_clock();
        tr_text_addf(text, "runs handler \"%s\" on worker %u for %.3g s", a.handler, i,
                     (double)(now > a.since_ns ? now - a.since_ns : 0) / 1e9);
        return true;
    }
    return false;
}

static void add_children(const struct look *look, const struct glimpse *g, struct tr_text *text)
{
    tr_text_addf(text, "waits for %u child%s", g->children, g->children == 1 ? "" : "ren");
    for (uint32_t i = 0, made = cells_made(look); i < made; i++) {
        const struct tr_cell *cell = cell_at(look, i);
        struct glimpse child = cell ? peek(cell) : (struct glimpse){0};
        if (!child.alive || child.parent != g->cell)
            continue;
        tr_text_addf(text, g->children == 1 ? ", " : ", among them ");
        add_name(text, cell);
        return;
    }
}

static void add_ops(const struct look *look, const struct glimpse *g, struct tr_text *text)
{
    tr_text_addf(text, "waits for the operations of %u port%s", g->ports, g->ports == 1 ? "" : "s");
    for (unsigned i = 0; i < look->rt->threads; i++) {
        const struct inquiry *inquiry = look->inquiries[i];
        for (unsigned j = 0; inquiry && j < inquiry->count; j++)
            if (inquiry->entries[j].cell == g->cell)
                tr_text_addf(text, ", %s on fd %d", tr_op_kind_name(inquiry->entries[j].kind), inquiry->entries[j].fd);
    }
}

static void add_hold(const struct look *look, const struct glimpse *g, struct tr_text *text)
{
    if (add_handler(look, g, text))
        return;
    if (g->life == TR_LIFE_RUNNING || g->life == TR_LIFE_STARTING)
        tr_text_addf(text, "has not been told to stop, or had no turn since");
    else if (g->life == TR_LIFE_RESTING)
        tr_text_addf(text, "rests before a restart");
    else if (g->life == TR_LIFE_WAITING || g->life == TR_LIFE_ESCALATING)
        tr_text_addf(text, "waits for its parent's word");
    else if (g->children > 0)
        add_children(look, g, text);
    else if (g->ports > 0)
        add_ops(look, g, text);
    else
        tr_text_addf(text, "is about to end");
}

static void describe(struct look *look, const struct glimpse *g)
{
    char line[SURVIVOR_LINE];
    struct tr_text text;
    if (look->survivors++ >= TR_SURVIVORS_SHOWN)
        return;
    tr_text_init(&text, line, sizeof line);
    add_name(&text, g->cell);
    if (g->parent) {
        tr_text_addf(&text, ", child of ");
        add_name(&text, g->parent);
    }
    tr_text_addf(&text, ", %s: ", tr_life_name(g->life));
    add_hold(look, g, &text);
    look->line(look->arg, line);
}

static bool runs_handler(const struct look *look, const struct tr_cell *cell)
{
    for (unsigned i = 0; i < look->rt->threads; i++) {
        struct activity a = peek_worker(look, i);
        if (a.cell == cell && a.handler)
            return true;
    }
    return false;
}

/* Offloaded jobs that run, perhaps on behalf of actors that have ended. */
static void look_at_jobs(struct look *look)
{
    struct tr_crew_glimpse jobs[TR_SURVIVORS_SHOWN];
    unsigned count = tr_crew_running(&look->rt->crew, jobs, TR_SURVIVORS_SHOWN);
    uint64_t now = tr_loop_clock();
    for (unsigned i = 0; i < count && i < TR_SURVIVORS_SHOWN && look->survivors < TR_SURVIVORS_SHOWN; i++) {
        const struct tr_crew_glimpse *job = &jobs[i];
        char line[SURVIVOR_LINE];
        snprintf(line, sizeof line, "job \"%s\" of %s#%u: runs on thread b%u for %.3g s%s", job->name, job->behavior,
                 job->index, job->thread, (double)(now > job->began_ns ? now - job->began_ns : 0) / 1e9,
                 job->cancelled ? ", though it was cancelled" : "");
        look->line(look->arg, line);
    }
    look->survivors += count;
}

/* Those whose handlers run first: they are the likely culprits, and a long report is cut. */
static void look_around(struct look *look)
{
    look_at_jobs(look);
    for (int running = 1; running >= 0; running--)
        for (uint32_t i = 0, made = cells_made(look); i < made; i++) {
            const struct tr_cell *cell = cell_at(look, i);
            struct glimpse g = cell ? peek(cell) : (struct glimpse){0};
            if (g.alive && runs_handler(look, cell) == running)
                describe(look, &g);
        }
    if (look->survivors <= TR_SURVIVORS_SHOWN)
        return;
    char line[64];
    snprintf(line, sizeof line, "and %u more", look->survivors - TR_SURVIVORS_SHOWN);
    look->line(look->arg, line);
}

static void inquire(struct look *look)
{
    unsigned workers = look->rt->threads;
    uint64_t until_ns = tr_loop_clock() + ANSWER_NS;
    for (unsigned i = 0; i < workers; i++) {
        struct tr_loop *loop = ck_pr_load_ptr(&look->rt->contexts[i]->loop);
        look->inquiries[i] = loop ? ask(loop) : NULL;
    }
    for (unsigned i = 0; i < workers; i++)
        look->inquiries[i] = await(look->inquiries[i], until_ns);
}

unsigned tr_survivors_each(troupe_runtime *rt, void (*line)(void *arg, const char *line), void *arg)
{
    struct inquiry *inquiries[TROUPE_WORKERS_MAX] = {0};
    struct look look = {.rt = rt, .inquiries = inquiries, .line = line, .arg = arg};
    inquire(&look);
    look_around(&look);
    for (unsigned i = 0; i < rt->threads; i++)
        free(inquiries[i]);
    return look.survivors;
}

static void add_line(void *arg, const char *line)
{
    tr_text_addf(arg, "%s\n", line);
}

size_t troupe_runtime_survivors(troupe_runtime *rt, char *out, size_t size)
{
    struct tr_text text;
    tr_text_init(&text, out, size);
    if (tr_gate_look(&rt->gate)) {
        tr_survivors_each(rt, add_line, &text);
        tr_gate_leave(&rt->gate);
    }
    return text.length;
}
