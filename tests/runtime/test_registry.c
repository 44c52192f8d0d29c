/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: who has a name, until when, and who is told of it. Most tests are one scene: what the root does first;
 * what happens then is in the trace. */
#include "world.h"

#include "runtime/context.h"
#include "runtime/names.h"
#include "tests/support/sanitizer.h"

enum { SCALE = SANITIZED ? 10 : 1 };
enum { STEP, NOTE, STOP, PANIC, HERE, DOWN, HEAVY, AWAIT };
enum { NOTES, LEFT, FAILED };

/* --- a slab that can run dry: the library is linked statically, so this one is called ----------------------------- */

static uint64_t dry;

void *aligned_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;
    return ck_pr_load_64(&dry) || posix_memalign(&memory, alignment, size) != 0 ? NULL : memory;
}

/* --- the scene ---------------------------------------------------------------------------------------------------- */

static struct scene {
    void (*begin)(troupe_ctx *ctx);
    void (*step)(troupe_ctx *ctx, unsigned nr); /* the nr-th STEP */
    void (*down)(troupe_ctx *ctx);              /* a monitored actor has ended */
    void (*here)(troupe_ctx *ctx);              /* an awaited name is there */
    unsigned steps;
} scene;

HANDLER(on_step)
{
    scene.step(ctx, ++scene.steps);
}

HANDLER(on_down)
{
    const troupe_down *down = troupe_payload(msg);
    say("%s", troupe_reason_name(down->reason));
    scene.down(ctx);
}

HANDLER(on_here)
{
    const troupe_registered *registered = troupe_payload(msg);
    bool right =
        troupe_addr_same(registered->actor, world.addr[0]) && troupe_addr_same(troupe_sender(msg), world.addr[0]);
    say("here:%s%s", registered->name, right ? "" : ":wrong");
    if (scene.here)
        scene.here(ctx);
}

STARTED(root_started)
{
    scene.begin(ctx);
    return 0;
}

HANDLER(note)
{
    say("note%u", troupe_incarnation(ctx));
    bump(NOTES);
    if (!troupe_addr_is_nobody(troupe_sender(msg)))
        troupe_tell(ctx, troupe_sender(msg), STEP, NULL, 0);
}

HANDLER(stop_me)
{
    troupe_stop_self(ctx);
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "on request");
}

HANDLER(await_again)
{
    say("await:%d", troupe_await_name(ctx, "later", HERE));
}

#define HANDLERS                                                                                                       \
    {                                                                                                                  \
        [STEP] = ON(on_step, 0), [NOTE] = ON(note, 0), [STOP] = ON(stop_me, 0), [PANIC] = ON(panic_now, 0),            \
        [HERE] = ON(on_here, sizeof(troupe_registered)), [DOWN] = ON(on_down, sizeof(troupe_down)),                    \
        [AWAIT] = ON(await_again, 0)                                                                                   \
    }

static const troupe_behavior root = {.name = "root", .started = root_started, .handlers = HANDLERS};
static const troupe_behavior child = {.name = "child", .handlers = HANDLERS};
static const troupe_behavior brief = {
    .name = "brief", .supervision = {.restart = TROUPE_RESTART_TEMPORARY}, .handlers = HANDLERS};

static int play(struct scene what, unsigned workers)
{
    world_begin(workers);
    scene = what;
    return run(&root, NULL);
}

static troupe_addr child_of(troupe_ctx *ctx, unsigned nr, const troupe_behavior *behavior)
{
    return world.addr[nr] = troupe_spawn(ctx, behavior, NULL, NULL);
}

static bool has(troupe_ctx *ctx, const char *name, unsigned nr)
{
    return troupe_addr_same(troupe_lookup(ctx, name), world.addr[nr]);
}

static void expect(bool holds, const char *what)
{
    if (!holds)
        say("WRONG:%s", what);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void *look_from_outside(void *arg)
{
    troupe_addr found = troupe_runtime_lookup(arg, "printer");
    say(troupe_addr_same(found, world.addr[0]) ? "outside" : "WRONG:outside");
    say("%d", troupe_runtime_tell_name(arg, "printer", NOTE, NULL, 0));
    say("%d", troupe_runtime_register(arg, "second", world.addr[0]));
    say("%d", troupe_runtime_unregister(arg, "printer", world.addr[0]));
    return NULL;
}

static void names_one(troupe_ctx *ctx)
{
    child_of(ctx, 0, &child);
    child_of(ctx, 1, &child);
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, "printer")), "before");
    say("%d", troupe_register(ctx, "printer", world.addr[0]));
    expect(has(ctx, "printer", 0), "found");
    expect(troupe_register(ctx, "printer", world.addr[1]) == -EEXIST, "exclusive");
    expect(troupe_register(ctx, "printer", world.addr[0]) == 0, "again");
    expect(troupe_unregister(ctx, "printer", world.addr[1]) == -ENOENT, "not its own");
    expect(has(ctx, "printer", 0), "still found");
    pthread_t thread;
    pthread_create(&thread, NULL, look_from_outside, troupe_ctx_runtime(ctx));
    pthread_join(thread, NULL);
    expect(has(ctx, "second", 0), "from outside");
    expect(troupe_register(ctx, "printer", world.addr[1]) == 0 && has(ctx, "printer", 1), "free again");
    expect(troupe_unregister(ctx, "printer", world.addr[1]) == 0, "unregistered");
    expect(troupe_unregister(ctx, "printer", world.addr[1]) == -ENOENT, "unregistered twice");
    say("%d", troupe_tell_name(ctx, "second", NOTE, NULL, 0));
}

static void end_at_once(troupe_ctx *ctx, unsigned nr)
{
    (void)nr;
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_name_is_one_actors_and_found_everywhere)
{
    cr_expect_eq(play((struct scene){.begin = names_one, .step = end_at_once}, 1), 0);
    cr_expect_str_eq(world.trace, "0 outside 0 0 0 0 note1 note1");
    cr_expect_eq(dead_total(), 0);
}

/* Texts that differ where the comparison by words could miss it. */
static const char *const texts[] = {
    "a",        "b",         "ab",        "1234567",          "12345678",
    "12345679", "123456789", "12345678b", "1234567812345678", "123456781234567812345678"};
enum { TEXTS = sizeof texts / sizeof *texts };

static void names_many(troupe_ctx *ctx)
{
    char longest[TROUPE_NAME_MAX + 2];
    for (unsigned i = 0; i < TEXTS; i++) {
        child_of(ctx, i, &child);
        expect(troupe_register(ctx, texts[i], world.addr[i]) == 0, texts[i]);
    }
    for (unsigned i = 0; i < TEXTS; i++)
        expect(has(ctx, texts[i], i), texts[i]);
    memset(longest, 'x', sizeof longest);
    longest[TROUPE_NAME_MAX] = '\0';
    expect(troupe_register(ctx, longest, world.addr[0]) == 0 && has(ctx, longest, 0), "longest");
    longest[TROUPE_NAME_MAX - 1] = 'y';
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, longest)), "last byte");
    longest[TROUPE_NAME_MAX] = 'x';
    longest[TROUPE_NAME_MAX + 1] = '\0';
    expect(troupe_register(ctx, longest, world.addr[0]) == -ENAMETOOLONG, "too long");
    expect(troupe_register(ctx, "", world.addr[0]) == -EINVAL, "empty");
    expect(troupe_register(ctx, NULL, world.addr[0]) == -EINVAL, "NULL");
    expect(troupe_unregister(ctx, "", world.addr[0]) == -EINVAL, "unregister");
    expect(troupe_await_name(ctx, "", HERE) == -EINVAL, "await");
    expect(troupe_tell_name(ctx, "", NOTE, NULL, 0) == -EINVAL, "tell");
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, NULL)), "lookup");
    expect(troupe_register(ctx, "nobody", (troupe_addr){0}) == -ESRCH, "nobody");
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, "nobody")), "nobody's");
    expect(troupe_group_join(ctx, "a", world.addr[1]) == 0 && has(ctx, "a", 0), "spaces");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, names_are_compared_to_the_last_byte)
{
    cr_expect_eq(play((struct scene){.begin = names_many}, 1), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void name_and_watch(troupe_ctx *ctx, const troupe_behavior *behavior)
{
    child_of(ctx, 0, behavior);
    expect(troupe_register(ctx, "mortal", world.addr[0]) == 0, "registered");
    expect(troupe_register(ctx, "alias", world.addr[0]) == 0, "twice");
    expect(troupe_monitor(ctx, world.addr[0], DOWN, 0, NULL) == 0, "monitor");
}

static void freed(troupe_ctx *ctx)
{
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, "mortal")), "gone");
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, "alias")), "alias gone");
    expect(troupe_unregister(ctx, "mortal", world.addr[0]) == -ENOENT, "nothing left");
    expect(troupe_register(ctx, "mortal", world.addr[0]) == -ESRCH, "the dead are not registered");
    expect(troupe_register(ctx, "mortal", troupe_self(ctx)) == 0, "free");
    troupe_stop_runtime(ctx, 0);
}

static void ends_by_stop(troupe_ctx *ctx)
{
    name_and_watch(ctx, &child);
    troupe_tell_name(ctx, "mortal", STOP, NULL, 0);
}

static void ends_by_kill(troupe_ctx *ctx)
{
    name_and_watch(ctx, &child);
    troupe_kill(ctx, world.addr[0]);
}

static void ends_by_crash(troupe_ctx *ctx)
{
    name_and_watch(ctx, &brief);
    troupe_tell_name(ctx, "mortal", PANIC, NULL, 0);
}

Test(registry, names_go_with_their_actor_however_it_ends)
{
    cr_expect_eq(play((struct scene){.begin = ends_by_stop, .down = freed}, 2), 0);
    cr_expect_str_eq(world.trace, "normal");
    cr_expect_eq(play((struct scene){.begin = ends_by_kill, .down = freed}, 2), 0);
    cr_expect_str_eq(world.trace, "killed");
    cr_expect_eq(play((struct scene){.begin = ends_by_crash, .down = freed}, 2), 0);
    cr_expect_str_eq(world.trace, "crashed");
}

static void restarts(troupe_ctx *ctx)
{
    name_and_watch(ctx, &child);
    troupe_tell_name(ctx, "mortal", PANIC, NULL, 0);
    expect(troupe_tell_name(ctx, "mortal", NOTE, NULL, 0) == 0, "told");
}

static void after_restart(troupe_ctx *ctx, unsigned nr)
{
    (void)nr;
    expect(has(ctx, "mortal", 0) && has(ctx, "alias", 0), "stays");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_name_stays_over_a_restart)
{
    cr_expect_eq(play((struct scene){.begin = restarts, .step = after_restart}, 2), 0);
    cr_expect_str_eq(world.trace, "note2");
}

/* While the dead actor's mailbox is buried nobody has told the registry yet: the drop below runs in that moment. */
static troupe_runtime *the_runtime;

static void drop_heavy(const void *payload, size_t size)
{
    (void)payload, (void)size;
    say(troupe_addr_is_nobody(troupe_runtime_lookup(the_runtime, "heir")) ? "nobody" : "WRONG:found");
    troupe_fanout out;
    int status = troupe_runtime_group_tell(the_runtime, "heirs", NOTE, NULL, 0, &out);
    say(status == 0 && out.gone == 1 && out.told == 0 ? "gone" : "WRONG:told");
    say(troupe_runtime_group_members(the_runtime, "heirs", NULL, 0) == 0 ? "none" : "WRONG:member");
    say("%d", troupe_runtime_register(the_runtime, "heir", world.addr[1]));
    say(troupe_addr_same(troupe_runtime_lookup(the_runtime, "heir"), world.addr[1]) ? "heir" : "WRONG:heir");
}

HANDLER(never)
{
    say("WRONG:handled");
}

static const troupe_behavior heavy = {
    .name = "heavy",
    .handlers = {[STOP] = ON(stop_me, 0), [HEAVY] = {.name = "heavy", .fn = never, .drop = drop_heavy}}};

static void dies_slowly(troupe_ctx *ctx)
{
    the_runtime = troupe_ctx_runtime(ctx);
    child_of(ctx, 0, &heavy);
    child_of(ctx, 1, &child);
    expect(troupe_register(ctx, "heir", world.addr[0]) == 0, "first");
    expect(troupe_group_join(ctx, "heirs", world.addr[0]) == 0, "join");
    expect(troupe_monitor(ctx, world.addr[0], DOWN, 0, NULL) == 0, "monitor");
    troupe_tell(ctx, world.addr[0], STOP, NULL, 0);
    troupe_tell(ctx, world.addr[0], HEAVY, NULL, 0);
}

static void heir_stays(troupe_ctx *ctx)
{
    expect(has(ctx, "heir", 1), "the end of the dead one does not touch the heir");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_dead_holders_name_is_free_before_its_burial_is_over)
{
    cr_expect_eq(play((struct scene){.begin = dies_slowly, .down = heir_stays}, 1), 0);
    cr_expect_str_eq(world.trace, "nobody gone none 0 heir normal");
    cr_expect_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
}

static void in_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)self, (void)reason;
    say("%d", troupe_register(ctx, "late", troupe_self(ctx)));
}

static const troupe_behavior late = {.name = "late", .stopped = in_stopped, .handlers = HANDLERS};

static void registers_late(troupe_ctx *ctx)
{
    child_of(ctx, 0, &late);
    troupe_monitor(ctx, world.addr[0], DOWN, 0, NULL);
    troupe_tell(ctx, world.addr[0], NOTE, NULL, 0);
}

static void stop_the_late(troupe_ctx *ctx, unsigned nr)
{
    (void)nr;
    troupe_stop(ctx, world.addr[0]);
}

static void late_is_gone(troupe_ctx *ctx)
{
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, "late")), "gone");
    expect(troupe_unregister(ctx, "late", world.addr[0]) == -ENOENT, "nothing left");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, what_an_actor_registers_in_its_last_callback_goes_with_it)
{
    cr_expect_eq(play((struct scene){.begin = registers_late, .step = stop_the_late, .down = late_is_gone}, 1), 0);
    cr_expect_str_eq(world.trace, "note1 0 stopped");
}

static void tells_nobody(troupe_ctx *ctx)
{
    expect(troupe_tell_name(ctx, "ghost", NOTE, NULL, 0) == -ESRCH, "status");
    expect(troupe_runtime_tell_name(troupe_ctx_runtime(ctx), "ghost", NOTE, NULL, 0) == -ESRCH, "outside");
    expect(troupe_tell_name(ctx, "ghost", NOTE, "", TROUPE_PAYLOAD_MAX + 1) == -EMSGSIZE, "size");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_message_to_a_name_that_nobody_has_is_a_dead_letter)
{
    cr_expect_eq(play((struct scene){.begin = tells_nobody}, 1), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 2);
    cr_expect(troupe_addr_is_nobody(world.last_dead.to));
    cr_expect_eq(world.last_dead.kind, NOTE);
}

/* --- waiting for a name ------------------------------------------------------------------------------------------- */

static void awaits(troupe_ctx *ctx)
{
    child_of(ctx, 0, &child);
    expect(troupe_await_name(ctx, "later", HERE) == 0, "await");
    expect(troupe_await_name(ctx, "later", HERE) == 0, "await twice");
    expect(troupe_await_name(ctx, "never", HERE) == 0, "await another");
    expect(troupe_register(ctx, "later", world.addr[0]) == 0, "register");
    expect(troupe_register(ctx, "later", world.addr[0]) == 0, "register again");
    say("registered");
}

static void heard(troupe_ctx *ctx)
{
    if (++scene.steps == 1)
        expect(troupe_await_name(ctx, "later", HERE) == 0, "await what is there");
    else
        troupe_stop_runtime(ctx, 0);
}

Test(registry, who_waits_for_a_name_is_told_once_when_it_is_there)
{
    cr_expect_eq(play((struct scene){.begin = awaits, .here = heard}, 1), 0);
    cr_expect_str_eq(world.trace, "registered here:later here:later");
    cr_expect_eq(dead_total(), 0);
}

/* A child waits, restarts and waits again; another waits and ends. Then the name comes. */
static void others_await(troupe_ctx *ctx)
{
    child_of(ctx, 0, &child);
    child_of(ctx, 1, &child);
    child_of(ctx, 2, &brief);
    troupe_monitor(ctx, world.addr[2], DOWN, 0, NULL);
    expect(troupe_await_name(ctx, "later", HERE) == 0, "the root waits, too");
    troupe_tell(ctx, world.addr[1], AWAIT, NULL, 0);
    troupe_tell(ctx, world.addr[1], PANIC, NULL, 0);
    troupe_tell(ctx, world.addr[1], NOTE, NULL, 0);
}

static void and_another(troupe_ctx *ctx, unsigned nr)
{
    (void)nr;
    troupe_tell(ctx, world.addr[2], AWAIT, NULL, 0);
    troupe_tell(ctx, world.addr[2], PANIC, NULL, 0);
}

static void waiter_is_gone(troupe_ctx *ctx)
{
    expect(troupe_register(ctx, "later", world.addr[0]) == 0, "register");
}

static void child_heard(troupe_ctx *ctx)
{
    bool second = troupe_incarnation(ctx) == 2;
    expect(second == troupe_addr_same(troupe_self(ctx), world.addr[1]), "who");
    if (bump(LEFT) == 2)
        troupe_stop_runtime(ctx, 0);
}

Test(registry, waiting_survives_a_restart_and_ends_with_the_actor)
{
    struct scene what = {.begin = others_await, .step = and_another, .down = waiter_is_gone, .here = child_heard};
    cr_expect_eq(play(what, 1), 0);
    cr_expect_str_eq(world.trace, "await:0 note2 await:0 crashed here:later here:later");
}

/* --- many, and little memory -------------------------------------------------------------------------------------- */

enum { MANY = 50000 / SCALE };

static uint64_t shards_count(troupe_ctx *ctx)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < TR_SHARDS; i++)
        count += ctx->rt->names.shards[i].count;
    return count;
}

static void name_many(troupe_ctx *ctx)
{
    char name[32];
    child_of(ctx, 0, &child);
    troupe_monitor(ctx, world.addr[0], DOWN, 0, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "number %u", i);
        expect(troupe_register(ctx, name, i % 2 ? world.addr[0] : troupe_self(ctx)) == 0, name);
    }
    expect(shards_count(ctx) == MANY, "all");
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "number %u", i);
        expect(troupe_addr_same(troupe_lookup(ctx, name), i % 2 ? world.addr[0] : troupe_self(ctx)), name);
    }
    troupe_stop(ctx, world.addr[0]);
}

static void half_are_gone(troupe_ctx *ctx)
{
    char name[32];
    expect(shards_count(ctx) == MANY / 2, "half");
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "number %u", i);
        expect(troupe_addr_is_nobody(troupe_lookup(ctx, name)) == (i % 2 == 1), name);
    }
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_great_many_names_are_found_and_freed)
{
    cr_expect_eq(play((struct scene){.begin = name_many, .down = half_are_gone}, 1), 0);
    cr_expect_str_eq(world.trace, "stopped");
}

/* Registers until there is no memory: the failed one has left nothing behind. */
static void run_dry(troupe_ctx *ctx)
{
    char name[32];
    unsigned count = 0;
    int status;
    child_of(ctx, 0, &child);
    troupe_register(ctx, "first", world.addr[0]);
    ck_pr_store_64(&dry, 1);
    do {
        snprintf(name, sizeof name, "dry %u", count++);
        status = troupe_register(ctx, name, world.addr[0]);
    } while (status == 0 && count < 1000000);
    expect(status == -ENOMEM, "out of memory");
    expect(troupe_addr_is_nobody(troupe_lookup(ctx, name)), "nothing half done");
    expect(shards_count(ctx) == count, "no empty name is left");
    do
        status = troupe_await_name(ctx, name, HERE);
    while (status == 0 && snprintf(name, sizeof name, "wait %u", count++) && count < 2000000);
    expect(status == -ENOMEM, "out of memory for waiting");
    ck_pr_store_64(&dry, 0);
    expect(troupe_register(ctx, "last", world.addr[0]) == 0 && has(ctx, "last", 0), "memory again");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, without_memory_nothing_is_half_registered)
{
    cr_expect_eq(play((struct scene){.begin = run_dry}, 1), 0);
    cr_expect_str_eq(world.trace, "");
}

/* Two runtimes do not know each other's names. */
static void other_world(troupe_ctx *ctx)
{
    troupe_register(ctx, "local", troupe_self(ctx));
    troupe_runtime *other;
    troupe_addr other_root;
    static const troupe_behavior quiet = {.name = "quiet", .handlers = HANDLERS};
    troupe_options options = {.workers = 1};
    expect(troupe_runtime_start(&other, &quiet, NULL, &options, &other_root) == 0, "start");
    expect(troupe_addr_is_nobody(troupe_runtime_lookup(other, "local")), "its own names");
    expect(troupe_runtime_register(other, "local", other_root) == 0, "free there");
    troupe_runtime_stop(other, TROUPE_FOREVER);
    expect(troupe_addr_is_nobody(troupe_runtime_lookup(other, "local")), "after the stop");
    expect(troupe_runtime_register(other, "local", other_root) == -ESHUTDOWN, "after the stop nobody comes in");
    troupe_runtime_join(other);
    expect(troupe_addr_same(troupe_lookup(ctx, "local"), troupe_self(ctx)), "untouched");
    troupe_stop_runtime(ctx, 0);
}

Test(registry, each_runtime_has_its_own_names)
{
    cr_expect_eq(play((struct scene){.begin = other_world}, 1), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- readers and writers ------------------------------------------------------------------------------------------ */

static void looks_while_locked(troupe_ctx *ctx)
{
    struct tr_key key;
    troupe_addr member;
    troupe_fanout out;
    child_of(ctx, 0, &child);
    troupe_register(ctx, "anchor", world.addr[0]);
    troupe_group_join(ctx, "anchor", world.addr[0]);
    troupe_subscribe(ctx, "anchor", world.addr[0], NOTE);
    tr_key_make(&key, TR_SPACE_REGISTRY, "anchor");
    struct tr_shard *shard = tr_shard_of(&ctx->rt->names, &key);
    tr_lock_take(&shard->lock);
    expect(has(ctx, "anchor", 0), "found");
    expect(troupe_group_members(ctx, "anchor", &member, 1) == 1, "members");
    expect(troupe_publish(ctx, "anchor", NULL, 0, &out) == 0 && out.told == 1, "published");
    troupe_router router = troupe_router_over_group(TROUPE_ROUTE_RANDOM, "anchor");
    expect(troupe_addr_same(troupe_router_pick(ctx, &router, 0), world.addr[0]), "picked");
    tr_lock_release(&shard->lock);
    struct tr_look look = {.shard = shard, .tries = 100}; /* it was disturbed too often */
    tr_look_begin(&look);
    const struct tr_name *name = tr_look_find(&look, &key);
    expect(name && name->holder == world.addr[0].bits, "found under the lock");
    expect(look.locked && shard->lock.word == 1, "locked");
    key.text[0] ^= 1; /* another text with the same hash */
    expect(!tr_look_find(&look, &key), "texts are compared");
    expect(tr_look_end(&look) && shard->lock.word == 0, "let go");
}

Test(registry, readers_need_no_lock_unless_they_are_disturbed_too_often)
{
    cr_expect_eq(play((struct scene){.begin = looks_while_locked, .step = end_at_once}, 1), 0);
    cr_expect_str_eq(world.trace, "note1");
}

enum { CROWD = 400, STORM = 4000 / SCALE };

static char crowd[CROWD][32]; /* names of the anchor's shard */
static uint64_t storm_over;

static void fill_crowd(void)
{
    struct tr_key anchor, key;
    tr_key_make(&anchor, TR_SPACE_REGISTRY, "anchor");
    for (unsigned i = 0, tried = 0; i < CROWD; tried++) {
        snprintf(crowd[i], sizeof crowd[i], "crowd %u", tried);
        tr_key_make(&key, TR_SPACE_REGISTRY, crowd[i]);
        i += key.hash >> 58 == anchor.hash >> 58;
    }
}

/* Chains grow and change around the anchor, which is there all the time. */
static void *make_storm(void *arg)
{
    for (unsigned i = 0; i < STORM; i++) {
        const char *name = crowd[(i * 7) % CROWD];
        expect(troupe_runtime_register(arg, name, world.addr[1]) == 0, "register");
        if (i % 3)
            expect(troupe_runtime_unregister(arg, name, world.addr[1]) == 0, "unregister");
    }
    ck_pr_store_64(&storm_over, 1);
    return NULL;
}

static void look_through_storm(troupe_ctx *ctx)
{
    pthread_t thread;
    child_of(ctx, 0, &child);
    child_of(ctx, 1, &child);
    fill_crowd();
    ck_pr_store_64(&storm_over, 0);
    troupe_register(ctx, "anchor", world.addr[0]);
    pthread_create(&thread, NULL, make_storm, troupe_ctx_runtime(ctx));
    for (unsigned found = 0; !ck_pr_load_64(&storm_over); found++) {
        if (!has(ctx, "anchor", 0)) {
            say("WRONG:missed after %u", found);
            break;
        }
    }
    pthread_join(thread, NULL);
    troupe_stop_runtime(ctx, 0);
}

Test(registry, a_name_is_never_missed_while_others_change)
{
    cr_expect_eq(play((struct scene){.begin = look_through_storm}, 2), 0);
    cr_expect_str_eq(world.trace, "");
}

static const troupe_behavior nobody_named = {.name = "unnamed"};

/* With a reference in hand all verbs may be called, whatever has become of the runtime (runtime.h). */
Test(registry, verbs_from_outside_are_refused_once_all_actors_have_ended)
{
    troupe_runtime *rt;
    troupe_addr addr, found[1];
    troupe_fanout out = {.told = 1};
    world_begin(2);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &nobody_named, NULL, &options, &addr), 0);
    troupe_router router = troupe_router_over_group(TROUPE_ROUTE_RANDOM, "g");
    troupe_runtime_retain(rt);
    cr_assert_eq(troupe_runtime_group_join(rt, "g", addr), 0);
    cr_assert_eq(troupe_runtime_group_members(rt, "g", found, 1), 1);
    for (unsigned joined = 0; joined < 2; joined++) {
        cr_assert_eq(joined ? troupe_runtime_join(rt) : troupe_runtime_stop(rt, TROUPE_FOREVER), 0);
        cr_assert_eq(troupe_runtime_register(rt, "a", addr), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_unregister(rt, "a", addr), -ESHUTDOWN);
        cr_assert(troupe_addr_is_nobody(troupe_runtime_lookup(rt, "a")));
        cr_assert_eq(troupe_runtime_tell_name(rt, "a", 0, NULL, 0), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_group_join(rt, "g", addr), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_group_leave(rt, "g", addr), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_group_tell(rt, "g", 0, NULL, 0, &out), -ESHUTDOWN);
        cr_assert_eq(out.told, 0);
        cr_assert_eq(troupe_runtime_group_members(rt, "g", found, 1), 0);
        cr_assert_eq(troupe_runtime_subscribe(rt, "t", addr, 0), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_unsubscribe(rt, "t", addr), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_publish(rt, "t", NULL, 0, NULL), -ESHUTDOWN);
        cr_assert_eq(troupe_runtime_router_tell(rt, &router, 0, 0, NULL, 0), -ESHUTDOWN);
        cr_assert(troupe_addr_is_nobody(troupe_runtime_router_pick(rt, &router, 0)));
    }
    troupe_runtime_release(rt);
}
