%% SPDX-License-Identifier: Apache-2.0
%%
%% Messages between processes. What has 8 bytes elsewhere is an immediate term here: a small integer, a pid, an atom.
-module(bench_messages).
-export([ping_pong/1, thread_ring/1, counting/1, fan_in/1, big/1, chameneos/1]).
-import(bench, [report/3, check/3, now_ns/0, per_second/2]).

%% --- ping_pong ---

ping_pong(Size) ->
    Driver = self(),
    A = spawn(fun() -> receive {peer, B} -> player(B, Size, 0, Driver) end end),
    B = spawn(fun() -> player(A, Size, 0, Driver) end),
    A ! {peer, B},
    Began = now_ns(),
    A ! 1,
    receive {ended, First, Ended} -> ok end,
    receive {ended, Second, _} -> ok end,
    check(First + Second =:= Size, "~p messages handled of ~p", [First + Second, Size]),
    report("ping_pong", (Ended - Began) / Size, "ns/message").

player(Other, Size, Handled, Driver) ->
    receive
        Ball when Ball < Size ->
            Other ! Ball + 1,
            player(Other, Size, Handled + 1, Driver);
        stop ->
            Driver ! {ended, Handled, now_ns()};
        _ ->
            Driver ! {ended, Handled + 1, now_ns()},
            Other ! stop
    end.

%% --- thread_ring ---

thread_ring(Size) ->
    Actors = 503,
    Driver = self(),
    First = spawn(fun() -> receive {next, Next} -> ring(0, Next, Driver) end end),
    Next = lists:foldl(fun(I, N) -> spawn(fun() -> ring(I, N, Driver) end) end, First, lists:seq(Actors - 1, 1, -1)),
    First ! {next, Next},
    Began = now_ns(),
    First ! Size,
    receive {ended, Last} -> ok end,
    Took = now_ns() - Began,
    check(Last =:= Size rem Actors, "the token ended at ~p, not at ~p", [Last, Size rem Actors]),
    report("thread_ring", Took / Size, "ns/hop").

ring(Me, Next, Driver) ->
    receive
        0 -> Driver ! {ended, Me};
        Left ->
            Next ! Left - 1,
            ring(Me, Next, Driver)
    end.

%% --- counting, fan_in ---

%% Where others fill its queue while it works, a process that keeps the queue outside its heap is faster.
sink_options() -> [{message_queue_data, off_heap}].

counting(Size) ->
    Driver = self(),
    Counter = spawn_opt(fun() -> counter(0) end, sink_options()),
    spawn(fun() ->
        Began = now_ns(),
        produce(Counter, 1, Size),
        Counter ! {sum, self()},
        receive Sum -> Driver ! {Sum, now_ns() - Began} end
    end),
    receive {Sum, Took} -> ok end,
    check(Sum =:= Size * (Size + 1) div 2, "the sum is ~p", [Sum]),
    report("counting", per_second(Size, Took), "messages/s").

counter(Sum) ->
    receive
        N when is_integer(N) -> counter(Sum + N);
        {sum, Asker} -> Asker ! Sum
    end.

produce(_, N, Size) when N > Size -> ok;
produce(To, N, Size) ->
    To ! N,
    produce(To, N + 1, Size).

fan_in(Size) ->
    Producers = 8,
    Each = Size div Producers,
    Driver = self(),
    Consumer = spawn_opt(fun() -> consumer(Producers * Each, 0, Driver) end, sink_options()),
    Began = now_ns(),
    [spawn(fun() -> produce(Consumer, 1, Each) end) || _ <- lists:seq(1, Producers)],
    receive {ended, Sum} -> ok end,
    Took = now_ns() - Began,
    check(Sum =:= Producers * Each * (Each + 1) div 2, "the sum is ~p", [Sum]),
    report("fan_in", per_second(Producers * Each, Took), "messages/s").

consumer(0, Sum, Driver) -> Driver ! {ended, Sum};
consumer(Left, Sum, Driver) ->
    receive N -> consumer(Left - 1, Sum + N, Driver) end.

%% --- big: a ping is the pid of the one who waits for the pong ---

big(Size) ->
    Actors = 512,
    Pings = Size div Actors div 2,
    check(Pings > 0, "--size must be at least ~p", [Actors * 2]),
    Driver = self(),
    Pids = list_to_tuple([
        spawn(fun() -> receive {begin_with, All} -> big_actor(All, I, Pings, Driver) end end)
     || I <- lists:seq(1, Actors)
    ]),
    persistent_term:put(big, Pids),
    Began = now_ns(),
    [Pid ! {begin_with, big} || Pid <- tuple_to_list(Pids)],
    [receive finished -> ok end || _ <- lists:seq(1, Actors)],
    Took = now_ns() - Began,
    [Pid ! stop || Pid <- tuple_to_list(Pids)],
    Handled = lists:sum([receive {handled, N} -> N end || _ <- lists:seq(1, Actors)]),
    check(Handled =:= Pings * Actors * 2, "~p messages handled", [Handled]),
    report("big", per_second(Handled, Took), "messages/s").

big_actor(Name, Me, Pings, Driver) ->
    Pids = persistent_term:get(Name),
    big_loop(Pids, Me, self(), big_ping(Pids, Me, self(), rand:mwc59_seed(Me)), Pings, 0, Driver).

big_ping(Pids, Me, Self, Random) ->
    To = (Random bsr 20) rem (tuple_size(Pids) - 1) + 1,
    Pid = if To >= Me -> element(To + 1, Pids); true -> element(To, Pids) end,
    Pid ! Self,
    rand:mwc59(Random).

big_loop(Pids, Me, Self, Random, Left, Handled, Driver) ->
    receive
        pong when Left > 1 ->
            big_loop(Pids, Me, Self, big_ping(Pids, Me, Self, Random), Left - 1, Handled + 1, Driver);
        pong ->
            Driver ! finished,
            big_loop(Pids, Me, Self, Random, 0, Handled + 1, Driver);
        stop ->
            Driver ! {handled, Handled};
        From ->
            From ! pong,
            big_loop(Pids, Me, Self, Random, Left, Handled + 1, Driver)
    end.

%% --- chameneos: a request is number * 4 + colour ---

chameneos(Size) ->
    Creatures = 100,
    Driver = self(),
    Mall = spawn(fun() -> receive {pids, Pids} -> mall(Pids, Size, Driver) end end),
    Pids = [spawn(fun() -> chameneo_starts(Mall, I, Driver) end) || I <- lists:seq(1, Creatures)],
    Mall ! {pids, list_to_tuple(Pids)},
    Began = now_ns(),
    [Pid ! go || Pid <- Pids],
    receive {ended, Ended} -> ok end,
    [Pid ! stop || Pid <- Pids],
    Met = lists:sum([receive {met, N} -> N end || _ <- Pids]),
    check(Met =:= 2 * Size, "~p meetings", [Met]),
    report("chameneos", per_second(4 * Size, Ended - Began), "messages/s").

mall(_, 0, Driver) -> Driver ! {ended, now_ns()};
mall(Pids, Left, Driver) ->
    receive First -> ok end,
    receive Second -> ok end,
    element(First bsr 2, Pids) ! Second band 3,
    element(Second bsr 2, Pids) ! First band 3,
    mall(Pids, Left - 1, Driver).

chameneo_starts(Mall, Me, Driver) ->
    receive go -> ok end,
    Colour = Me rem 3,
    Mall ! Me * 4 + Colour,
    chameneo(Mall, Me, Colour, 0, Driver).

chameneo(Mall, Me, Colour, Met, Driver) ->
    receive
        stop ->
            Driver ! {met, Met};
        Colour ->
            Mall ! Me * 4 + Colour,
            chameneo(Mall, Me, Colour, Met + 1, Driver);
        Other ->
            New = 3 - Colour - Other,
            Mall ! Me * 4 + New,
            chameneo(Mall, Me, New, Met + 1, Driver)
    end.
