// SPDX-License-Identifier: Apache-2.0

// Messages between event-based actors; a message is one integer of 8 bytes.
#include "peer.hpp"

#include <atomic>
#include <future>

using caf::actor;
using caf::actor_config;
using caf::behavior;
using caf::event_based_actor;
using std::uint64_t;

namespace
{

using done_time = std::promise<std::int64_t>;

// --- ping_pong ---

struct player : event_based_actor {
    actor other;
    uint64_t last, handled = 0;
    std::atomic<uint64_t> *total;
    done_time *done;

    player(actor_config &config, uint64_t last, std::atomic<uint64_t> *total, done_time *done)
        : event_based_actor(config), last(last), total(total), done(done)
    {
    }

    behavior make_behavior() override
    {
        return {
            [this](uint64_t ball) {
                if (ball > last) {
                    *total += handled;
                    done->set_value(now_ns());
                    return;
                }
                ++handled;
                if (ball == last)
                    *total += handled;
                send(other, ball + 1);
            },
            [this](const actor &whom) { other = whom; },
        };
    }
};

// --- thread_ring ---

struct link_actor : event_based_actor {
    uint64_t me;
    actor next;
    std::promise<uint64_t> *last;

    link_actor(actor_config &config, uint64_t me, actor next, std::promise<uint64_t> *last)
        : event_based_actor(config), me(me), next(std::move(next)), last(last)
    {
    }

    behavior make_behavior() override
    {
        return {
            [this](uint64_t left) {
                if (left == 0)
                    last->set_value(me);
                else
                    send(next, left - 1);
            },
            [this](const actor &whom) { next = whom; },
        };
    }
};

// --- counting, fan_in ---

struct counter : event_based_actor {
    uint64_t sum = 0;
    using event_based_actor::event_based_actor;

    behavior make_behavior() override
    {
        return {
            [this](uint64_t n) { sum += n; },
            [this](caf::get_atom) { return sum; },
        };
    }
};

struct consumer : event_based_actor {
    uint64_t left, sum = 0;
    std::promise<uint64_t> *done;

    consumer(actor_config &config, uint64_t count, std::promise<uint64_t> *done)
        : event_based_actor(config), left(count), done(done)
    {
    }

    behavior make_behavior() override
    {
        return {[this](uint64_t n) {
            sum += n;
            if (--left == 0)
                done->set_value(sum);
        }};
    }
};

// --- big: a ping is the number of the actor that waits for the pong ---

struct big_world {
    std::vector<actor> actors;
    std::atomic<uint64_t> unfinished, handled{0};
    std::promise<std::int64_t> finished;
};

struct big_actor : event_based_actor {
    static constexpr uint64_t pong = ~uint64_t{0}, start = pong - 1;
    big_world &world;
    uint64_t me, left, handled = 0;
    random_numbers random;

    big_actor(actor_config &config, big_world *world, uint64_t me, uint64_t pings)
        : event_based_actor(config), world(*world), me(me), left(pings), random{me + 1}
    {
    }

    void ping()
    {
        uint64_t to = (random() >> 32) % (world.actors.size() - 1);
        send(world.actors[to + (to >= me)], me);
    }

    behavior make_behavior() override
    {
        return {[this](uint64_t message) {
                    if (message == start) {
                        ping();
                        return;
                    }
                    ++handled;
                    if (message != pong) {
                        send(world.actors[message], pong);
                    } else if (--left > 0) {
                        ping();
                    } else if (--world.unfinished == 0) {
                        world.finished.set_value(now_ns());
                    }
                },
                [this](caf::get_atom) { return handled; }};
    }
};

// --- chameneos: a request is number * 4 + colour ---

struct mall : event_based_actor {
    std::vector<actor> creatures;
    uint64_t left, waiting = 0;
    bool one_waits = false;
    done_time *done;

    mall(actor_config &config, uint64_t meetings, done_time *done)
        : event_based_actor(config), left(meetings), done(done)
    {
    }

    behavior make_behavior() override
    {
        return {
            [this](uint64_t request) {
                if (left == 0)
                    return;
                if (!one_waits) {
                    one_waits = true;
                    waiting = request;
                    return;
                }
                one_waits = false;
                send(creatures[waiting >> 2], request & 3);
                send(creatures[request >> 2], waiting & 3);
                if (--left == 0)
                    done->set_value(now_ns());
            },
            [this](const actor &creature) { creatures.push_back(creature); },
        };
    }
};

struct chameneo : event_based_actor {
    static constexpr uint64_t start = 4;
    actor place;
    uint64_t me, colour, met = 0;

    chameneo(actor_config &config, actor place, uint64_t me)
        : event_based_actor(config), place(std::move(place)), me(me), colour(me % 3)
    {
    }

    behavior make_behavior() override
    {
        return {
            [this](uint64_t other) {
                if (other != start) {
                    if (other != colour)
                        colour = 3 - colour - other;
                    ++met;
                }
                send(place, me * 4 + colour);
            },
            [this](caf::get_atom) { return met; },
        };
    }
};

// The sum of what the actors answer.
uint64_t collect(job &j, const std::vector<actor> &actors)
{
    caf::scoped_actor self{j.system};
    uint64_t sum = 0;
    for (auto &whom : actors)
        self->request(whom, caf::infinite, caf::get_atom::value)
            .receive([&](uint64_t n) { sum += n; },
                     [](const caf::error &) { check(false, "an actor does not answer"); });
    return sum;
}

} // namespace

void ping_pong(job &j)
{
    std::atomic<uint64_t> total{0};
    done_time done;
    auto a = j.system.spawn<player>(j.size, &total, &done), b = j.system.spawn<player>(j.size, &total, &done);
    anon_send(a, b);
    anon_send(b, a);
    auto began = now_ns();
    anon_send(a, uint64_t{1});
    auto took = done.get_future().get() - began;
    // The one that handled the last message and the one that got the end each added theirs, if there were two messages.
    check(total == j.size, "%lu messages handled of %lu", total.load(), j.size);
    report("ping_pong", static_cast<double>(took) / static_cast<double>(j.size), "ns/message");
}

void thread_ring(job &j)
{
    constexpr uint64_t actors = 503;
    std::promise<uint64_t> last;
    auto first = j.system.spawn<link_actor>(uint64_t{0}, actor{}, &last);
    actor next = first;
    for (uint64_t i = actors - 1; i > 0; i--)
        next = j.system.spawn<link_actor>(i, next, &last);
    anon_send(first, next);
    auto began = now_ns();
    anon_send(first, j.size);
    auto ended_at = last.get_future().get();
    auto took = now_ns() - began;
    check(ended_at == j.size % actors, "the token ended at %lu", ended_at);
    report("thread_ring", static_cast<double>(took) / static_cast<double>(j.size), "ns/hop");
}

void counting(job &j)
{
    struct result {
        uint64_t sum;
        std::int64_t took;
    };
    std::promise<result> done;
    auto whom = j.system.spawn<counter>();
    j.system.spawn([&, whom](event_based_actor *self) {
        auto began = now_ns();
        for (uint64_t i = 1; i <= j.size; i++)
            self->send(whom, i);
        self->request(whom, caf::infinite, caf::get_atom::value).then([&done, began](uint64_t sum) {
            done.set_value({sum, now_ns() - began});
        });
    });
    auto got = done.get_future().get();
    check(got.sum == j.size * (j.size + 1) / 2, "the sum is %lu", got.sum);
    report("counting", per_second(j.size, got.took), "messages/s");
}

void fan_in(job &j)
{
    constexpr uint64_t producers = 8;
    uint64_t each = j.size / producers;
    std::promise<uint64_t> done;
    auto whom = j.system.spawn<consumer>(each * producers, &done);
    auto began = now_ns();
    for (uint64_t p = 0; p < producers; p++)
        j.system.spawn([=](event_based_actor *self) {
            for (uint64_t i = 1; i <= each; i++)
                self->send(whom, i);
        });
    auto sum = done.get_future().get();
    auto took = now_ns() - began;
    check(sum == producers * each * (each + 1) / 2, "the sum is %lu", sum);
    report("fan_in", per_second(each * producers, took), "messages/s");
}

void big(job &j)
{
    constexpr uint64_t actors = 512;
    uint64_t pings = j.size / actors / 2;
    check(pings > 0, "--size must be at least %lu", actors * 2);
    big_world world;
    world.unfinished = actors;
    for (uint64_t i = 0; i < actors; i++)
        world.actors.push_back(j.system.spawn<big_actor>(&world, i, pings));
    auto began = now_ns();
    for (auto &whom : world.actors)
        anon_send(whom, uint64_t{big_actor::start});
    auto took = world.finished.get_future().get() - began;
    auto handled = collect(j, world.actors);
    check(handled == pings * actors * 2, "%lu messages handled", handled);
    report("big", per_second(handled, took), "messages/s");
}

void chameneos(job &j)
{
    done_time done;
    auto place = j.system.spawn<mall>(j.size, &done);
    std::vector<actor> creatures;
    for (uint64_t i = 0; i < 100; i++) {
        creatures.push_back(j.system.spawn<chameneo>(place, i));
        anon_send(place, creatures.back());
    }
    auto began = now_ns();
    for (auto &creature : creatures)
        anon_send(creature, uint64_t{chameneo::start});
    auto took = done.get_future().get() - began;
    auto met = collect(j, creatures);
    check(met == 2 * j.size, "%lu meetings", met);
    report("chameneos", per_second(4 * j.size, took), "messages/s");
}
