/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest program: one actor sends itself a message, and ends the runtime when it comes. */
#include <stdio.h>
#include <troupe/troupe.h>

enum { HELLO };

static void on_hello(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    printf("hello, %s\n", (const char *)troupe_payload(msg));
    troupe_stop_runtime(ctx, 0);
}

static int started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    return troupe_tell(ctx, troupe_self(ctx), HELLO, "world", sizeof "world");
}

static const troupe_behavior greeter = {
    .name = "greeter",
    .started = started,
    .handlers = {[HELLO] = {.name = "hello", .fn = on_hello, .size = TROUPE_ANY_SIZE}},
};

int main(void)
{
    return troupe_run(&greeter, NULL, NULL);
}
