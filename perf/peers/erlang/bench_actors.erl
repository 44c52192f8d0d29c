%% SPDX-License-Identifier: Apache-2.0
%%
%% Many processes: their creation, their memory, their end.
-module(bench_actors).
-export([fork_join_create/1, skynet/1, live_actors/1, stop_tree/1, idle/2]).
-export([summand/3, node/3, idle_actor/1, idle_loop/2, child/1, tree_child/0]).
-import(bench, [report/3, check/3, now_ns/0, per_second/2]).

%% --- fork_join_create ---

%% The values are positive: the sum reaches its final value at the last message, wherever that is handled.
fork_join_create(Size) ->
    Total = Size * (Size + 1) div 2,
    Sum = atomics:new(1, []),
    Driver = self(),
    Began = now_ns(),
    spawn(fun() -> fork(Size, [Sum, Total, Driver]) end),
    receive {ended, Ended} -> ok end,
    check(atomics:get(Sum, 1) =:= Total, "the sum is ~p", [atomics:get(Sum, 1)]),
    report("fork_join_create", per_second(Size, Ended - Began), "actors/s").

fork(0, _) -> ok;
fork(N, Arguments) ->
    spawn(?MODULE, summand, Arguments) ! N,
    fork(N - 1, Arguments).

summand(Sum, Total, Driver) ->
    receive
        N ->
            case atomics:add_get(Sum, 1, N) of
                Total -> Driver ! {ended, now_ns()};
                _ -> ok
            end
    end.

%% --- skynet ---

skynet(Size) ->
    Leaves = leaves(1, Size),
    Began = now_ns(),
    spawn(?MODULE, node, [self(), 0, Leaves]),
    receive Sum -> ok end,
    Took = now_ns() - Began,
    check(Sum =:= Leaves * (Leaves - 1) div 2, "the sum is ~p", [Sum]),
    report("skynet", Took / 1.0e6, "ms").

leaves(N, Size) when N * 10 =< Size -> leaves(N * 10, Size);
leaves(N, _) -> N.

node(Parent, First, 1) ->
    Parent ! First;
node(Parent, First, Leaves) ->
    Each = Leaves div 10,
    node_children(self(), First, Each, 10),
    Parent ! node_sum(10, 0).

node_children(_, _, _, 0) -> ok;
node_children(Self, First, Each, Left) ->
    spawn(?MODULE, node, [Self, First, Each]),
    node_children(Self, First + Each, Each, Left - 1).

node_sum(0, Sum) -> Sum;
node_sum(Left, Sum) -> receive N -> node_sum(Left - 1, Sum + N) end.

%% --- live_actors, idle: hibernation, which shrinks a process's heap to what it keeps ---

idle_actor(Handled) ->
    receive N ->
        atomics:add(Handled, 1, 1),
        erlang:hibernate(?MODULE, idle_loop, [1, N])
    end.

idle_loop(Count, Sum) ->
    receive
        {answer, To} -> To ! {Count, Sum};
        N -> erlang:hibernate(?MODULE, idle_loop, [Count + 1, Sum + N])
    end.

populate(0, _, Pids) -> Pids;
populate(Left, Handled, Pids) ->
    Pid = spawn(?MODULE, idle_actor, [Handled]),
    Pid ! 7,
    populate(Left - 1, Handled, [Pid | Pids]).

populate(Size) ->
    Handled = atomics:new(1, []),
    Pids = populate(Size, Handled, []),
    await_count(Handled, Size),
    Pids.

await_count(Counter, Count) ->
    case atomics:get(Counter, 1) of
        Count -> timer:sleep(100); % the last ones go to sleep
        _ ->
            timer:sleep(1),
            await_count(Counter, Count)
    end.

live_actors(Size) ->
    Before = bench:resident_bytes(),
    Pids = populate(Size),
    erlang:garbage_collect(),
    Growth = bench:resident_bytes() - Before,
    they_live(Pids),
    report("live_actors", Growth / Size, "B/actor").

they_live([Pid | _]) ->
    Pid ! {answer, self()},
    receive Answer -> check(Answer =:= {1, 7}, "an actor keeps ~p", [Answer]) end.

idle(Size, Here) ->
    Pids = populate(Size),
    erlang:garbage_collect(),
    timer:sleep(200),
    Port = open_port({spawn_executable, Here ++ "/observe"}, [{args, [os:getpid(), "5"]}, {line, 100}]),
    receive {Port, {data, {eol, Line}}} -> ok end,
    [Switches, Cpu] = [list_to_integer(Word) || Word <- string:lexemes(Line, " ")],
    they_live(Pids),
    report("idle", Switches, "wake-ups"),
    report("idle_cpu", Cpu / 1.0e6, "ms").

%% --- stop_tree: linked children ---

tree_child() ->
    receive {hello, Counter} ->
        atomics:add(Counter, 1, 1),
        child(1)
    end.

child(Count) ->
    receive _ -> child(Count + 1) end.

tree_parent(Size, Driver) ->
    Counter = atomics:new(1, []),
    tree_children(Size, {hello, Counter}),
    await_count(Counter, Size),
    Driver ! ready,
    receive stop -> exit(shutdown) end.

tree_children(0, _) -> ok;
tree_children(Left, Hello) ->
    spawn_link(?MODULE, tree_child, []) ! Hello,
    tree_children(Left - 1, Hello).

stop_tree(Size) ->
    Driver = self(),
    Before = erlang:system_info(process_count),
    Parent = spawn(fun() -> tree_parent(Size, Driver) end),
    receive ready -> ok end,
    check(erlang:system_info(process_count) =:= Before + Size + 1, "there are not ~p children", [Size]),
    Began = now_ns(),
    Parent ! stop,
    await_processes(Before),
    Took = now_ns() - Began,
    report("stop_tree", Took / 1.0e6, "ms").

await_processes(Count) ->
    case erlang:system_info(process_count) of
        N when N =< Count -> ok;
        _ ->
            receive after 1 -> ok end,
            await_processes(Count)
    end.
