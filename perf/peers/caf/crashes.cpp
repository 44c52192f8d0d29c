// SPDX-License-Identifier: Apache-2.0

// Crashes and kills. A crash is an exception in a handler. CAF has no supervisor. The figures come from actors that
// catch their own crash and become a new incarnation, with new state, which keeps address and mailbox; beside it stands
// the other way: a monitor, and a new actor for the one that ended.
#include "peer.hpp"

#include <atomic>
#include <exception>
#include <future>
#include <memory>
#include <thread>

using caf::actor;
using caf::actor_config;
using caf::behavior;
using caf::event_based_actor;
using std::int64_t;
using std::uint64_t;

namespace
{

constexpr uint64_t crash = 0, next = 1;

struct crashed : std::exception {
    const char *what() const noexcept override
    {
        return "once more";
    }
};

// What one incarnation knows.
struct incarnation {
    uint64_t handled = 0;
};

struct series {
    uint64_t size, crashes = 0;
    int64_t crashed_at = 0;
    std::vector<int64_t> samples;
    std::promise<void> done;

    explicit series(uint64_t size) : size(size)
    {
        samples.reserve(size);
    }

    // False: that was the last.
    bool add(int64_t took)
    {
        samples.push_back(took);
        if (samples.size() == size)
            done.set_value();
        return samples.size() < size;
    }

    void print(const char *name)
    {
        done.get_future().get();
        check(crashes == size, "%lu crashes", crashes);
        report(name, percentile(samples, 0.5) / 1e3, "us");
    }
};

// --- restart in place ---

struct crasher : event_based_actor {
    series &all;
    std::unique_ptr<incarnation> state;

    crasher(actor_config &config, series *all) : event_based_actor(config), all(*all) {}

    void handle(uint64_t message)
    {
        ++state->handled;
        if (message == crash) {
            all.crashed_at = now_ns();
            throw crashed();
        }
        auto took = now_ns() - all.crashed_at;
        check(state->handled == 1, "the incarnation is not a new one");
        if (all.add(took))
            once_more();
    }

    void once_more()
    {
        send(this, crash);
        send(this, next);
    }

    behavior fresh()
    {
        state = std::make_unique<incarnation>();
        return {[this](uint64_t message) {
            try {
                handle(message);
            } catch (...) {
                ++all.crashes;
                become(fresh());
            }
        }};
    }

    behavior make_behavior() override
    {
        once_more();
        return fresh();
    }
};

// --- restart by a monitor ---

struct mortal : event_based_actor {
    series &all;

    mortal(actor_config &config, series *all) : event_based_actor(config), all(*all)
    {
        set_exception_handler([](std::exception_ptr &) -> caf::error { return caf::exit_reason::unhandled_exception; });
    }

    behavior make_behavior() override
    {
        return {[this](uint64_t message) {
            if (message == crash) {
                all.crashed_at = now_ns();
                throw crashed();
            }
            if (all.add(now_ns() - all.crashed_at))
                send(this, crash);
        }};
    }
};

struct guardian : event_based_actor {
    series &all;
    actor child; // a monitor holds no reference

    guardian(actor_config &config, series *all) : event_based_actor(config), all(*all) {}

    void renew(uint64_t message)
    {
        child = spawn<mortal, caf::monitored>(&all);
        send(child, message);
    }

    behavior make_behavior() override
    {
        set_down_handler([this](caf::down_msg &) {
            ++all.crashes;
            renew(next);
        });
        renew(crash);
        return {[](uint64_t) {}};
    }
};

// --- escalate: two restarts are allowed, the third crash is the parent's ---

struct family {
    uint64_t size, crashes = 0, escalations = 0, answers = 0;
    int64_t began = 0;
    std::promise<int64_t> done;
};

struct family_child : event_based_actor {
    family &all;
    actor driver;
    int restarts_left = 2;
    std::unique_ptr<incarnation> state;

    family_child(actor_config &config, family *all, actor driver)
        : event_based_actor(config), all(*all), driver(std::move(driver))
    {
        set_exception_handler([](std::exception_ptr &) -> caf::error { return caf::exit_reason::unhandled_exception; });
    }

    void handle(uint64_t message)
    {
        ++state->handled;
        if (message == crash)
            throw crashed();
        send(driver, state->handled);
    }

    behavior fresh()
    {
        state = std::make_unique<incarnation>();
        return {[this](uint64_t message) {
            try {
                handle(message);
            } catch (...) {
                ++all.crashes;
                if (restarts_left-- == 0)
                    throw;
                become(fresh());
            }
        }};
    }

    behavior make_behavior() override
    {
        return fresh();
    }
};

// Its first child answers at once; on a message it makes its child crash until that ends.
struct family_parent : event_based_actor {
    family &all;
    actor driver, child;

    family_parent(actor_config &config, family *all, actor driver)
        : event_based_actor(config), all(*all), driver(std::move(driver))
    {
        set_down_handler([this](caf::down_msg &) { child_ended(); });
    }

    void child_ended()
    {
        try {
            throw crashed();
        } catch (...) {
            ++all.escalations;
            become(fresh());
        }
    }

    behavior fresh()
    {
        child = spawn<family_child, caf::monitored>(&all, driver);
        send(child, next);
        return {[this](uint64_t) {
            for (int i = 0; i < 3; i++)
                send(child, crash);
        }};
    }

    behavior make_behavior() override
    {
        return fresh();
    }
};

struct family_driver : event_based_actor {
    family &all;
    actor parent;

    family_driver(actor_config &config, family *all) : event_based_actor(config), all(*all) {}

    behavior make_behavior() override
    {
        parent = spawn<family_parent>(&all, actor{this});
        return {[this](uint64_t handled) {
            check(handled == 1, "the child is not a new one");
            if (all.answers == 0)
                all.began = now_ns();
            if (all.answers++ == all.size)
                all.done.set_value(now_ns());
            else
                send(parent, next);
        }};
    }
};

// --- kill_backlog: the first message keeps the actor busy until the kill is sent ---

struct victim_world {
    std::atomic<bool> held{false}, sent{false};
    std::atomic<uint64_t> handled{0};
};

struct victim : event_based_actor {
    victim_world &world;
    victim(actor_config &config, victim_world *world) : event_based_actor(config), world(*world) {}

    behavior make_behavior() override
    {
        return {
            [this](uint64_t n) { world.handled += n; },
            [this](caf::get_atom) {
                world.held = true;
                while (!world.sent)
                    std::this_thread::yield();
            },
        };
    }
};

// How many of size messages were handled after the kill was sent.
uint64_t killed_with(job &j, bool urgently)
{
    victim_world world;
    caf::scoped_actor self{j.system};
    auto whom = j.system.spawn<victim>(&world);
    self->monitor(whom);
    anon_send(whom, caf::get_atom::value);
    while (!world.held)
        std::this_thread::yield();
    for (uint64_t i = 0; i < j.size; i++)
        anon_send(whom, uint64_t{1});
    if (urgently)
        self->send<caf::message_priority::high>(whom, caf::exit_msg{self->address(), caf::exit_reason::kill});
    else
        anon_send_exit(whom, caf::exit_reason::kill);
    world.sent = true;
    self->receive([](caf::down_msg &down) { check(down.reason == caf::exit_reason::kill, "it was not killed"); });
    return world.handled;
}

} // namespace

void restart(job &j)
{
    series in_place(j.size);
    j.system.spawn<crasher>(&in_place);
    in_place.print("restart");
    series monitored(j.size);
    auto parent = j.system.spawn<guardian>(&monitored);
    monitored.print("restart_monitor");
}

void escalate(job &j)
{
    family all;
    all.size = j.size;
    auto driver = j.system.spawn<family_driver>(&all);
    auto ended = all.done.get_future().get();
    check(all.crashes == 3 * j.size && all.escalations == j.size, "%lu crashes, %lu escalations", all.crashes,
          all.escalations);
    report("escalate", static_cast<double>(ended - all.began) / static_cast<double>(j.size) / 1e3, "us/cycle");
}

// The exit message that anon_send_exit sends waits behind the backlog; one with high priority does not.
void kill_backlog(job &j)
{
    report("kill_backlog", static_cast<double>(killed_with(j, true)), "messages");
    report("kill_backlog_send_exit", static_cast<double>(killed_with(j, false)), "messages");
}
