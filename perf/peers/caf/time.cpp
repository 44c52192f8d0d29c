// SPDX-License-Identifier: Apache-2.0

// Deadlines, timers, and how long an idle runtime takes to wake up.
#include "peer.hpp"

#include <chrono>
#include <future>
#include <thread>

using caf::actor;
using caf::actor_config;
using caf::behavior;
using caf::event_based_actor;
using std::int64_t;
using std::uint64_t;

namespace
{

struct asker : event_based_actor {
    actor server;
    uint64_t size, sent = 0, sum = 0;
    std::promise<uint64_t> *done;

    asker(actor_config &config, actor server, uint64_t size, std::promise<uint64_t> *done)
        : event_based_actor(config), server(std::move(server)), size(size), done(done)
    {
    }

    void next()
    {
        request(server, std::chrono::seconds(5), sent++)
            .await(
                [this](uint64_t answer) {
                    sum += answer;
                    if (sent < size)
                        next();
                    else
                        done->set_value(sum);
                },
                [](const caf::error &) { check(false, "an answer took 5 s"); });
    }

    behavior make_behavior() override
    {
        next();
        return {[](caf::get_atom) {}};
    }
};

struct late_receiver : event_based_actor {
    std::vector<int64_t> late;
    uint64_t size;
    std::promise<int64_t> *done;

    late_receiver(actor_config &config, uint64_t size, std::promise<int64_t> *done)
        : event_based_actor(config), size(size), done(done)
    {
        late.reserve(size);
    }

    behavior make_behavior() override
    {
        return {
            [this](int64_t due) {
                late.push_back(now_ns() - due);
                if (late.size() == size)
                    done->set_value(cpu_time());
            },
        };
    }
};

} // namespace

void ask(job &j)
{
    std::promise<uint64_t> done;
    auto server = j.system.spawn([]() -> behavior { return {[](uint64_t n) { return n + 1; }}; });
    auto began = now_ns();
    j.system.spawn<asker>(server, j.size, &done);
    auto sum = done.get_future().get();
    auto took = now_ns() - began;
    check(sum == j.size * (j.size + 1) / 2, "the sum of the answers is %lu", sum);
    report("ask", static_cast<double>(took) / static_cast<double>(j.size), "ns/round trip");
}

void timers(job &j)
{
    std::promise<int64_t> done;
    auto whom = j.system.spawn<late_receiver>(j.size, &done);
    random_numbers random{42};
    auto cpu_before = cpu_time(), began = now_ns();
    for (uint64_t i = 0; i < j.size; i++) {
        std::chrono::nanoseconds delay(2000000000 + static_cast<int64_t>(random() % 1000000000));
        auto due = now_ns() + delay.count();
        delayed_anon_send(whom, delay, due);
    }
    auto armed = now_ns() - began;
    check(armed < 2000000000, "the first timer was due before the last was armed, after %ld ms", armed / 1000000);
    auto cpu = done.get_future().get() - cpu_before;
    auto &late = caf::actor_cast<late_receiver *>(whom)->late; // it is done with them
    for (auto ns : late)
        check(ns >= 0, "a timer came %ld ns early", -ns);
    report("timers", static_cast<double>(cpu) / static_cast<double>(j.size), "CPU ns/timer");
    report("timers_late_p99", percentile(late, 0.99) / 1e6, "ms");
}

// A delayed_send cannot be taken back; what can is an actor's timeout, by the clock that all timers belong to. The last
// message goes through the same queue to the clock's thread: it comes when all has been done.
void timer_cancel(job &j)
{
    std::promise<uint64_t> fired;
    uint64_t count = 0;
    auto whom = j.system.spawn([&](event_based_actor *) -> behavior {
        return {[&](const caf::timeout_msg &) { ++count; }, [&](caf::get_atom) { fired.set_value(count); }};
    });
    auto target = caf::actor_cast<caf::abstract_actor *>(whom);
    auto &clock = j.system.clock();
    auto began = now_ns();
    for (uint64_t i = 0; i < j.size; i++) {
        clock.set_ordinary_timeout(clock.now() + std::chrono::seconds(5), target, caf::receive_atom::value, i);
        clock.cancel_ordinary_timeout(target, caf::receive_atom::value);
    }
    delayed_anon_send(whom, std::chrono::nanoseconds(1), caf::get_atom::value);
    auto came = fired.get_future().get();
    auto took = now_ns() - began;
    check(came == 0, "%lu cancelled timers came", came);
    report("timer_cancel", per_second(j.size, took), "pairs/s");
}

void wake(job &j)
{
    auto target = j.system.spawn([]() -> behavior { return {[](int64_t sent) { return now_ns() - sent; }}; });
    caf::scoped_actor self{j.system};
    std::vector<int64_t> samples;
    for (uint64_t i = 0; i < j.size; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        self->send(target, now_ns());
        self->receive([&](int64_t took) { samples.push_back(took); });
    }
    report("wake", percentile(samples, 0.5) / 1e3, "us");
    report("wake_p99", percentile(samples, 0.99) / 1e3, "us");
}
