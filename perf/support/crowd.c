/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/crowd.h"

enum { MORE, HANDLED };
enum { NUMBER };

/* Made by one message of the root, and waited for: the messages on the way need little memory, so that what is measured
 * is the actors'. */
#define PORTION 250u

struct idler {
    uint64_t handled, sum;
};

static void on_number(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct idler *idler = self;
    idler->handled++;
    idler->sum += tr_bench_number(msg);
    troupe_tell(ctx, troupe_parent(ctx), HANDLED, &idler->sum, sizeof idler->sum);
}

const troupe_behavior tr_crowd_idler = {
    .name = "idler",
    .state_size = sizeof(struct idler),
    .handlers = {[NUMBER] = {.name = "number", .fn = on_number, .size = sizeof(uint64_t)}},
};

struct root {
    struct tr_crowd *crowd;
    uint64_t made, missing, sum;
};

static void on_more(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    uint64_t left = root->crowd->actors - root->made;
    (void)msg;
    root->missing = left < PORTION ? left : PORTION;
    for (uint64_t n = root->missing; n > 0; n--) {
        root->made++;
        troupe_addr child = troupe_spawn(ctx, &tr_crowd_idler, NULL, NULL);
        int status = troupe_tell(ctx, child, NUMBER, &root->made, sizeof root->made);
        TROUPE_CHECK(ctx, status == 0);
    }
}

static void on_handled(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    root->sum += tr_bench_number(msg);
    if (--root->missing > 0)
        return;
    if (root->made < root->crowd->actors) {
        troupe_tell(ctx, troupe_self(ctx), MORE, NULL, 0);
        return;
    }
    TROUPE_CHECK(ctx, root->sum == root->made * (root->made + 1) / 2);
    root->crowd->ready(ctx, root->crowd->arg);
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    root->crowd = *(struct tr_crowd *const *)args;
    if (root->crowd->begun)
        root->crowd->begun(root->crowd->arg);
    return troupe_tell(ctx, troupe_self(ctx), MORE, NULL, 0);
}

const troupe_behavior tr_crowd_root = {
    .name = "root",
    .state_size = sizeof(struct root),
    .args_size = sizeof(struct tr_crowd *),
    .started = root_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[MORE] = {.name = "more", .fn = on_more},
                 [HANDLED] = {.name = "handled", .fn = on_handled, .size = sizeof(uint64_t)}},
};

troupe_options tr_crowd_options(const struct tr_bench *bench)
{
    troupe_options options = tr_bench_options(bench);
    options.actors_max = (unsigned)bench->size + 1024;
    return options;
}
