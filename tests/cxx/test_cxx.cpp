/* SPDX-License-Identifier: Apache-2.0 */
/* Actors in C++ (troupe/cxx.hpp): what an exception becomes, and that each object is destroyed once whatever happens.
 * The root spawns one child and sends it what the test says; the child reports to the world below, which any worker may
 * write to. Leaks are found by the asan preset: exceptions, their texts and states all own heap memory here. */
#include <criterion/criterion.h>
#include <troupe/cxx.hpp>
#include <troupe/troupe.h>

#include <pthread.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

enum { HIT, SUM, RAW, LAST, KINDS };
enum what { OKAY, THROW, THROW_INT, THROW_ODD, THROW_LONG, THROW_FOREIGN, CHECK };

/* --- the world: a trace, and how many objects are alive --- */

struct {
    std::mutex lock;
    std::string trace;
    std::atomic<int> dead[TROUPE_DEAD_COUNT];
} world;

void say(const std::string &word)
{
    std::lock_guard<std::mutex> guard(world.lock);
    world.trace += world.trace.empty() ? word : " | " + word;
}

/* Owns heap memory, so that LeakSanitizer and AddressSanitizer see an object that is not destroyed, or twice. */
struct tracked {
    static inline std::atomic<int> made, gone;
    std::string memory = std::string(100, 'x');
    tracked()
    {
        made++;
    }
    tracked(const tracked &other) : memory(other.memory)
    {
        made++;
    }
    tracked &operator=(const tracked &) = delete;
    ~tracked()
    {
        gone++;
    }
};

struct odd { /* an exception that is no std::exception */
    tracked inside;
};

void foreign_is_over(_Unwind_Reason_Code, _Unwind_Exception *)
{
    say("foreign is over");
}

/* What C++ keeps in front of its own exceptions is not there in front of this one. */
struct {
    unsigned char rubbish[256];
    _Unwind_Exception header;
} foreign;

/* Frames between the throw and the handler, each with something to destroy. */
void deep(int frames, what how)
{
    tracked local;
    if (frames > 0) {
        deep(frames - 1, how);
        say("not reached");
    }
    switch (how) {
    case THROW:
        throw std::runtime_error("deep " + local.memory.substr(0, 3));
    case THROW_INT:
        throw 7;
    case THROW_ODD:
        throw odd();
    case THROW_LONG:
        throw std::out_of_range(std::string(1000, 'y'));
    case THROW_FOREIGN:
        std::memset(foreign.rubbish, 0x5a, sizeof foreign.rubbish);
        std::memcpy(&foreign.header.exception_class, "TESTTEST", sizeof foreign.header.exception_class);
        foreign.header.exception_cleanup = foreign_is_over;
        _Unwind_RaiseException(&foreign.header);
        break;
    case OKAY:
    case CHECK:
        break;
    }
}

/* --- the actor under test --- */

struct hit {
    what how;
    int value;
};

void last(troupe_ctx *ctx)
{
    troupe_stop_runtime(ctx, 0);
}

void tell_crash(troupe_ctx *, const troupe_crash *crash, unsigned)
{
    say(std::string("restarted after ") + crash->text);
}

class victim
{
    tracked member;
    std::vector<int> values;

  public:
    static inline std::atomic<int> destroyed;

    ~victim()
    {
        destroyed++;
    }
    void on_hit(troupe_ctx *ctx, const hit &message)
    {
        if (message.how == CHECK)
            TROUPE_CHECK(ctx, message.value == 1);
        else if (message.how != OKAY)
            deep(5, message.how);
        values.push_back(message.value);
        say("handled " + std::to_string(message.value));
    }
};

template <class T> constexpr troupe_behavior actor(const char *name)
{
    troupe_behavior b = troupe::behavior<T>(name);
    b.supervision.restarts = TROUPE_RESTARTS_MAX;
    b.restarted = troupe::callback<tell_crash>;
    b.handlers[LAST] = troupe::handler<last>("last");
    return b;
}

constexpr troupe_behavior victim_behavior = [] {
    troupe_behavior b = actor<victim>("victim");
    b.handlers[HIT] = troupe::handler<&victim::on_hit>("hit");
    return b;
}();

/* --- the root, and a run --- */

struct order {
    unsigned kind;
    const void *payload;
    size_t size;
};

struct plan {
    const troupe_behavior *child;
    const order *orders;
    size_t count;
};

class root
{
  public:
    root(troupe_ctx *ctx, const plan &p)
    {
        troupe_addr child = troupe_spawn(ctx, p.child, nullptr, nullptr);
        for (size_t i = 0; i < p.count; i++)
            troupe_tell(ctx, child, p.orders[i].kind, p.orders[i].payload, p.orders[i].size);
        troupe_tell(ctx, child, LAST, nullptr, 0);
    }
};

constexpr troupe_behavior root_behavior = troupe::behavior<root, plan>("root");

int run(const troupe_behavior &behavior, const void *args)
{
    alarm(120);
    troupe_options options{};
    options.workers = 2;
    options.log_level = TROUPE_LOG_NONE;
    options.dead_letter = [](void *, const troupe_dead_letter *letter) { world.dead[letter->reason]++; };
    return troupe_run(&behavior, args, &options);
}

int run(const troupe_behavior &child, const std::vector<order> &orders)
{
    const plan p = {&child, orders.data(), orders.size()};
    return run(root_behavior, &p);
}

int run_hits(const std::vector<hit> &hits)
{
    std::vector<order> orders;
    for (const hit &h : hits)
        orders.push_back({HIT, &h, sizeof h});
    return run(victim_behavior, orders);
}

void expect(const std::string &trace)
{
    cr_expect_str_eq(world.trace.c_str(), trace.c_str());
    cr_expect_eq(tracked::made.load(), tracked::gone.load());
}

Test(cxx, an_exception_is_a_crash_and_the_next_message_is_handled)
{
    cr_assert_eq(run_hits({{OKAY, 1}, {THROW, 2}, {OKAY, 3}}), 0);
    expect("handled 1 | restarted after threw std::runtime_error: deep xxx | handled 3");
    cr_expect_eq(tracked::made.load(), 2 + 6); /* two states, six frames */
    cr_expect_eq(victim::destroyed.load(), 2); /* one at the crash, one at the stop */
    cr_expect_eq(world.dead[TROUPE_DEAD_CRASHED].load(), 1);
}

Test(cxx, anything_can_be_thrown)
{
    cr_assert_eq(run_hits({{THROW_INT, 1}, {THROW_ODD, 2}, {OKAY, 3}}), 0);
    expect("restarted after threw int | restarted after threw (anonymous namespace)::odd | handled 3");
    cr_expect_eq(tracked::made.load(), 3 + 12 + 1); /* the last inside of the exception */
    cr_expect_eq(victim::destroyed.load(), 3);
}

Test(cxx, a_long_text_is_cut)
{
    cr_assert_eq(run_hits({{THROW_LONG, 1}}), 0);
    std::string text = "threw std::out_of_range: " + std::string(1000, 'y');
    expect("restarted after " + text.substr(0, TROUPE_CRASH_TEXT - 1));
}

Test(cxx, an_exception_of_another_language_is_a_crash)
{
    cr_assert_eq(run_hits({{THROW_FOREIGN, 1}, {OKAY, 2}}), 0);
    expect("foreign is over | restarted after threw a foreign exception | handled 2");
}

Test(cxx, a_panic_in_a_handler_destroys_the_state)
{
    cr_assert_eq(run_hits({{CHECK, 1}, {CHECK, 2}, {OKAY, 3}}), 0);
    expect("handled 1 | restarted after check failed: message.value == 1 | handled 3");
    cr_expect_eq(tracked::made.load(), 2);
    cr_expect_eq(victim::destroyed.load(), 2);
}

Test(cxx, many_crashes_leave_nothing)
{
    cr_assert_eq(run_hits(std::vector<hit>(50, {THROW_ODD, 0})), 0);
    cr_expect_eq(tracked::made.load(), 51 + 50 * 7);
    cr_expect_eq(tracked::gone.load(), 51 + 50 * 7);
    cr_expect_eq(victim::destroyed.load(), 51);
}

/* --- construction --- */

/* Its first incarnation throws in the middle of the constructor, its second panics there. */
class reluctant
{
    tracked member;

  public:
    explicit reluctant(troupe_ctx *ctx)
    {
        if (troupe_incarnation(ctx) == 1)
            throw std::logic_error("not yet");
        say("made");
    }
    ~reluctant()
    {
        say("destroyed");
    }
};

Test(cxx, a_constructor_that_throws_leaves_no_object)
{
    static constexpr troupe_behavior b = actor<reluctant>("reluctant");
    cr_assert_eq(run(b, std::vector<order>{}), 0);
    expect("restarted after threw std::logic_error: not yet | made | destroyed");
    cr_expect_eq(tracked::made.load(), 2);
}

class panicking
{
  public:
    explicit panicking(troupe_ctx *ctx)
    {
        TROUPE_CHECK(ctx, troupe_incarnation(ctx) > 1);
        say("made");
    }
    ~panicking()
    {
        say("destroyed");
    }
};

Test(cxx, a_constructor_that_panics_leaves_no_object)
{
    static constexpr troupe_behavior b = actor<panicking>("panicking");
    cr_assert_eq(run(b, std::vector<order>{}), 0);
    expect("restarted after check failed: troupe_incarnation(ctx) > 1 | made | destroyed");
}

class opener
{
    tracked member;

  public:
    int open(troupe_ctx *ctx, const void *)
    {
        return troupe_incarnation(ctx) == 1 ? -EBUSY : 0;
    }
};

Test(cxx, a_start_with_a_status)
{
    static constexpr troupe_behavior b = [] {
        troupe_behavior o = actor<opener>("opener");
        o.started = troupe::started<&opener::open>;
        o.restarted = [](troupe_ctx *, void *, const troupe_crash *crash, unsigned) {
            say("status " + std::to_string(-crash->status));
        };
        return o;
    }();
    cr_assert_eq(run(b, std::vector<order>{}), 0);
    expect("status " + std::to_string(EBUSY));
    cr_expect_eq(tracked::made.load(), 2);
}

/* --- the end --- */

/* Says in which order its parts go. */
class witness
{
    tracked member;
    bool alive = true;

  public:
    explicit witness(troupe_ctx *ctx)
    {
        troupe_defer(
            ctx, [](void *self) { say(static_cast<witness *>(self)->alive ? "deferred" : "too late"); }, this);
    }
    ~witness()
    {
        alive = false;
        say("destroyed");
    }
    void on_hit(troupe_ctx *, const hit &)
    {
        throw std::runtime_error("hit");
    }
    void on_crashed(troupe_ctx *, const troupe_crash *)
    {
        say(alive ? "crashed" : "too late");
    }
    void on_stopped(troupe_ctx *, troupe_reason)
    {
        say(alive ? "stopped" : "too late");
    }
};

constexpr troupe_behavior witness_behavior = [] {
    troupe_behavior b = actor<witness>("witness");
    b.handlers[HIT] = troupe::handler<&witness::on_hit>("hit");
    b.crashed = troupe::callback<&witness::on_crashed>;
    b.stopped = troupe::callback<&witness::on_stopped>;
    b.restarted = nullptr;
    return b;
}();

Test(cxx, the_state_is_destroyed_last_at_crash_and_stop)
{
    const hit h = {THROW, 0};
    cr_assert_eq(run(witness_behavior, {{HIT, &h, sizeof h}}), 0);
    expect("crashed | deferred | destroyed | stopped | deferred | destroyed");
    cr_expect_eq(tracked::made.load(), 2);
}

/* Throws in its own end. */
class sore_loser : public witness
{
  public:
    using witness::witness;
    void on_crashed(troupe_ctx *, const troupe_crash *)
    {
        tracked local;
        throw odd();
    }
    void on_stopped(troupe_ctx *, troupe_reason)
    {
        tracked local;
        throw odd();
    }
};

Test(cxx, crashed_and_stopped_may_throw)
{
    static constexpr troupe_behavior b = [] {
        troupe_behavior s = actor<sore_loser>("sore_loser");
        s.handlers[HIT] = troupe::handler<&witness::on_hit, sore_loser>("hit");
        s.crashed = troupe::callback<&sore_loser::on_crashed>;
        s.stopped = troupe::callback<&sore_loser::on_stopped>;
        s.restarted = nullptr;
        return s;
    }();
    const hit h = {THROW, 0};
    cr_assert_eq(run(b, {{HIT, &h, sizeof h}}), 0);
    expect("deferred | destroyed | deferred | destroyed");
    cr_expect_eq(tracked::made.load(), 2 + 4);
}

/* --- forms of handlers, and answers --- */

struct offset {
    int in_front = 17;
};

struct sums {
    int total = 0;
    void on_hit(troupe_ctx *, hit message) noexcept
    {
        total += message.value;
    }
    void on_sum(troupe_ctx *ctx, const troupe_msg *msg) const
    {
        troupe_reply(ctx, msg, &total, sizeof total);
    }
};

struct shapes : offset, sums { /* its sums are not where its state begins */
    tracked member;
    void on_raw(troupe_ctx *, std::string_view bytes, const troupe_msg *msg)
    {
        say(std::string(bytes) + (troupe_is_ask(msg) ? " asked" : ""));
    }
};

void on_last(troupe_ctx *ctx, shapes &self)
{
    say("in front " + std::to_string(self.in_front));
    troupe_stop_runtime(ctx, 0);
}

constexpr troupe_behavior shapes_behavior = [] {
    troupe_behavior b = actor<shapes>("shapes");
    b.handlers[HIT] = troupe::handler<&sums::on_hit, shapes>("hit");
    b.handlers[SUM] = troupe::handler<&sums::on_sum, shapes>("sum");
    b.handlers[RAW] = troupe::handler<&shapes::on_raw>("raw");
    b.handlers[LAST] = troupe::handler<on_last>("last");
    return b;
}();

static_assert(shapes_behavior.handlers[HIT].size == sizeof(hit) && shapes_behavior.handlers[SUM].size == 0 &&
              shapes_behavior.handlers[RAW].size == TROUPE_ANY_SIZE && shapes_behavior.args_size == 0 &&
              root_behavior.args_size == sizeof(plan));

class asker
{
    tracked member;
    troupe_addr child;

  public:
    explicit asker(troupe_ctx *ctx) : child(troupe_spawn(ctx, &shapes_behavior, nullptr, nullptr))
    {
        const hit h = {OKAY, 20};
        troupe_tell(ctx, child, HIT, &h, sizeof h);
        troupe_tell(ctx, child, HIT, &h, sizeof h - 1); /* dies: not the declared size */
        troupe_tell(ctx, child, HIT, &h, sizeof h);
        troupe_tell(ctx, child, RAW, "any bytes", 9);
        troupe_ask(ctx, child, SUM, nullptr, 0, TROUPE_FOREVER, troupe::callback<&asker::on_sum>, nullptr);
    }
    void on_sum(troupe_ctx *ctx, const troupe_answer *answer)
    {
        tracked local;
        say("sum " + std::to_string(*static_cast<const int *>(answer->payload)));
        if (troupe_incarnation(ctx) == 1)
            throw std::runtime_error("in an answer");
        troupe_tell(ctx, child, LAST, nullptr, 0);
    }
};

Test(cxx, forms_of_handlers_and_answers)
{
    static constexpr troupe_behavior b = actor<asker>("asker");
    cr_assert_eq(run(b, nullptr), 0);
    const std::string once = "any bytes | sum 40";
    expect(once + " | restarted after threw std::runtime_error: in an answer | " + once + " | in front 17");
    cr_expect_eq(world.dead[TROUPE_DEAD_BAD_SIZE].load(), 2);
}

/* --- a parent: its callbacks return values and take several arguments --- */

class parent
{
    tracked member;
    troupe_addr child;

  public:
    explicit parent(troupe_ctx *ctx)
    {
        troupe_supervision none{};
        none.restarts = TROUPE_RESTARTS_NONE;
        troupe_spawn_options options{};
        options.supervision = &none;
        child = troupe_spawn(ctx, &victim_behavior, nullptr, &options);
        const hit h = {THROW, 0};
        troupe_tell(ctx, child, HIT, &h, sizeof h);
    }
    troupe_verdict on_escalated(troupe_ctx *ctx, const troupe_crash *crash)
    {
        tracked local;
        say(std::string("child ") + crash->text);
        if (troupe_incarnation(ctx) == 1)
            throw std::string("no verdict");
        return TROUPE_VERDICT_IGNORE;
    }
    void on_child_stopped(troupe_ctx *ctx, troupe_addr which, troupe_reason reason)
    {
        say(troupe_addr_same(which, child) ? troupe_reason_name(reason) : "somebody else");
        troupe_stop_self(ctx);
    }
};

Test(cxx, a_verdict_or_an_exception)
{
    static constexpr troupe_behavior b = [] {
        troupe_behavior p = actor<parent>("parent");
        p.child_escalated = troupe::callback<&parent::on_escalated>;
        p.child_stopped = troupe::callback<&parent::on_child_stopped>;
        return p;
    }();
    cr_assert_eq(run(b, nullptr), 0);
    const std::string child = "child threw std::runtime_error: deep xxx";
    const char *thrown = "threw std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >";
    expect(child + " | restarted after " + thrown + " | " + child + " | escalated");
}

/* --- what is no exception passes --- */

struct leaver {
    [[noreturn]] void on_leave(troupe_ctx *)
    {
        tracked local;
        pthread_exit(&world);
    }
};

Test(cxx, the_end_of_a_thread_passes)
{
    static constexpr troupe_handler handler = troupe::handler<&leaver::on_leave>("leave");
    pthread_t thread;
    void *result = nullptr;
    pthread_create(
        &thread, nullptr,
        [](void *) -> void * {
            leaver self;
            handler.fn(nullptr, &self, nullptr);
            return nullptr;
        },
        nullptr);
    pthread_join(thread, &result);
    cr_expect(result == &world);
    expect("");
    cr_expect_eq(tracked::made.load(), 1);
}

} // namespace
