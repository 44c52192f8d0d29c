// SPDX-License-Identifier: Apache-2.0

// Many actors: their creation, their memory, their end.
#include "peer.hpp"

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

using caf::actor;
using caf::actor_config;
using caf::behavior;
using caf::event_based_actor;
using std::uint64_t;

namespace
{

// --- fork_join_create ---

struct fork_world {
    uint64_t total;
    std::atomic<uint64_t> sum{0};
    std::promise<std::int64_t> done;
};

struct summand : event_based_actor {
    fork_world &world;
    summand(actor_config &config, fork_world *world) : event_based_actor(config), world(*world) {}

    behavior make_behavior() override
    {
        return {[this](uint64_t n) {
            // The values are positive: the sum reaches its final value at the last message, wherever that is handled.
            if (world.sum.fetch_add(n) + n == world.total)
                world.done.set_value(now_ns());
            quit();
        }};
    }
};

// --- skynet ---

struct node : event_based_actor {
    actor parent;
    std::promise<uint64_t> *root;
    uint64_t first, leaves, sum = 0;
    int missing = 10;

    node(actor_config &config, actor parent, std::promise<uint64_t> *root, uint64_t first, uint64_t leaves)
        : event_based_actor(config), parent(std::move(parent)), root(root), first(first), leaves(leaves)
    {
    }

    void finish(uint64_t result)
    {
        if (parent)
            send(parent, result);
        else
            root->set_value(result);
    }

    behavior make_behavior() override
    {
        if (leaves == 1) {
            finish(first);
            return {};
        }
        uint64_t each = leaves / 10;
        actor self{this};
        for (uint64_t i = 0; i < 10; i++)
            spawn<node>(self, nullptr, first + i * each, each);
        return {[this](uint64_t n) {
            sum += n;
            if (--missing == 0) {
                finish(sum);
                quit();
            }
        }};
    }
};

// --- live_actors, idle ---

struct idle_actor : event_based_actor {
    uint64_t count = 0, sum = 0;
    std::atomic<uint64_t> *handled;

    idle_actor(actor_config &config, std::atomic<uint64_t> *handled) : event_based_actor(config), handled(handled) {}

    behavior make_behavior() override
    {
        return {[this](uint64_t n) {
            ++count;
            sum += n;
            handled->fetch_add(1, std::memory_order_relaxed);
        }};
    }
};

void await(const std::atomic<uint64_t> &value, uint64_t wanted)
{
    for (int i = 0; value != wanted; i++) {
        check(i < 100000, "%lu of %lu after 100 s", value.load(), wanted);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

struct population {
    std::vector<actor> actors;
    std::atomic<uint64_t> handled{0};

    explicit population(job &j)
    {
        actors.reserve(j.size);
        for (uint64_t i = 0; i < j.size; i++) {
            actors.push_back(j.system.spawn<idle_actor, caf::lazy_init>(&handled));
            anon_send(actors.back(), uint64_t{7});
        }
        await(handled, j.size);
        malloc_trim(0);
    }

    void they_live()
    {
        uint64_t before = handled;
        anon_send(actors.back(), uint64_t{7});
        await(handled, before + 1);
    }
};

std::int64_t resident_bytes()
{
    std::ifstream file("/proc/self/statm");
    std::int64_t total = 0, resident = 0;
    file >> total >> resident;
    check(resident > 0, "/proc/self/statm cannot be read");
    return resident * sysconf(_SC_PAGESIZE);
}

// The sum of voluntary context switches over all threads but this one, which observes.
std::int64_t switches()
{
    const auto self = std::to_string(gettid());
    std::int64_t sum = 0;
    for (auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (task.path().filename() == self)
            continue;
        std::ifstream file(task.path() / "status");
        const std::string key = "voluntary_ctxt_switches:";
        for (std::string line; std::getline(file, line);)
            if (line.compare(0, key.size(), key) == 0)
                sum += std::stoll(line.substr(key.size()));
    }
    return sum;
}

// --- stop_tree: linked children ---

struct tree_world {
    uint64_t size;
    std::atomic<uint64_t> started{0}, ended{0};
};

struct tree_child : event_based_actor {
    tree_world &world;
    tree_child(actor_config &config, tree_world *world) : event_based_actor(config), world(*world) {}

    behavior make_behavior() override
    {
        return {[this](uint64_t) { ++world.started; }};
    }

    void on_exit() override
    {
        ++world.ended;
    }
};

struct tree_parent : event_based_actor {
    tree_world &world;
    std::vector<actor> children; // a link holds no reference
    tree_parent(actor_config &config, tree_world *world) : event_based_actor(config), world(*world) {}

    behavior make_behavior() override
    {
        for (uint64_t i = 0; i < world.size; i++) {
            children.push_back(spawn<tree_child, caf::linked + caf::lazy_init>(&world));
            send(children.back(), uint64_t{1});
        }
        return {[](uint64_t) {}};
    }
};

} // namespace

void fork_join_create(job &j)
{
    fork_world world;
    world.total = j.size * (j.size + 1) / 2;
    caf::scoped_actor creator{j.system};
    auto began = now_ns();
    for (uint64_t i = 1; i <= j.size; i++)
        creator->send(creator->spawn<summand, caf::lazy_init>(&world), i);
    auto took = world.done.get_future().get() - began;
    report("fork_join_create", per_second(j.size, took), "actors/s");
}

void skynet(job &j)
{
    uint64_t leaves = 1;
    while (leaves * 10 <= j.size)
        leaves *= 10;
    std::promise<uint64_t> root;
    auto began = now_ns();
    j.system.spawn<node>(actor{}, &root, uint64_t{0}, leaves);
    auto sum = root.get_future().get();
    auto took = now_ns() - began;
    check(sum == leaves * (leaves - 1) / 2, "the sum is %lu", sum);
    report("skynet", static_cast<double>(took) / 1e6, "ms");
}

void live_actors(job &j)
{
    malloc_trim(0);
    auto before = resident_bytes();
    population all{j};
    auto growth = resident_bytes() - before;
    all.they_live();
    report("live_actors", static_cast<double>(growth) / static_cast<double>(j.size), "B/actor");
    std::fflush(stdout);
    std::_Exit(0);
}

void idle(job &j)
{
    population all{j};
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    auto switches_before = switches();
    auto cpu_before = cpu_time();
    std::this_thread::sleep_for(std::chrono::seconds(5));
    auto cpu = cpu_time() - cpu_before;
    auto woken = switches() - switches_before;
    all.they_live();
    report("idle", static_cast<double>(woken), "wake-ups");
    report("idle_cpu", static_cast<double>(cpu) / 1e6, "ms");
    std::fflush(stdout);
    std::_Exit(0);
}

void stop_tree(job &j)
{
    tree_world world;
    world.size = j.size;
    auto parent = j.system.spawn<tree_parent>(&world);
    await(world.started, j.size);
    check(world.ended == 0, "%lu children have ended already", world.ended.load());
    auto began = now_ns();
    anon_send_exit(parent, caf::exit_reason::user_shutdown);
    parent = nullptr;
    j.system.await_all_actors_done();
    auto took = now_ns() - began;
    check(world.ended == j.size, "%lu children ended", world.ended.load());
    report("stop_tree", static_cast<double>(took) / 1e6, "ms");
}
