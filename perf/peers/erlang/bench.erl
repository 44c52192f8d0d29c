%% SPDX-License-Identifier: Apache-2.0
%%
%% The Erlang peer's command line, clock, and what several cases print or read. The cases are in bench_messages,
%% bench_actors, bench_time and bench_crashes.
-module(bench).
-export([main/1, report/3, check/3, now_ns/0, per_second/2, percentile/2, cpu_ns/0, resident_bytes/0]).

cases() ->
    #{
        "ping_pong" => fun bench_messages:ping_pong/1,
        "thread_ring" => fun bench_messages:thread_ring/1,
        "counting" => fun bench_messages:counting/1,
        "fan_in" => fun bench_messages:fan_in/1,
        "big" => fun bench_messages:big/1,
        "chameneos" => fun bench_messages:chameneos/1,
        "fork_join_create" => fun bench_actors:fork_join_create/1,
        "skynet" => fun bench_actors:skynet/1,
        "live_actors" => fun bench_actors:live_actors/1,
        "stop_tree" => fun bench_actors:stop_tree/1,
        "ask" => fun bench_time:ask/1,
        "timers" => fun bench_time:timers/1,
        "timer_cancel" => fun bench_time:timer_cancel/1,
        "wake" => fun bench_time:wake/1,
        "restart" => fun bench_crashes:restart/1,
        "escalate" => fun bench_crashes:escalate/1,
        "kill_backlog" => fun bench_crashes:kill_backlog/1
    }.

%% Called by erl -run, which must come back before the system counts as started.
main(Arguments) ->
    spawn(fun() -> run(Arguments) end).

run([Case, Size, Here]) ->
    Modules = [bench_messages, bench_actors, bench_time, bench_crashes, lists, gen_server, supervisor],
    [code:ensure_loaded(M) || M <- Modules],
    case cases() of
        _ when Case =:= "idle" -> bench_actors:idle(list_to_integer(Size), Here);
        #{Case := Run} -> guarded(Run, list_to_integer(Size));
        _ -> fail(3, "there is no case '~s'", [Case])
    end,
    erlang:halt(0).

guarded(Run, Size) ->
    try
        Run(Size)
    catch
        Class:Reason:Stack -> fail(1, "~p: ~p at ~p", [Class, Reason, Stack])
    end.

fail(Status, Format, Arguments) ->
    io:format(standard_error, "peers/erlang: " ++ Format ++ "~n", Arguments),
    erlang:halt(Status).

report(Name, Value, Unit) ->
    Digits = if Value >= 1000 -> 0; true -> 2 end,
    io:format("~s ~s ~s~n", [Name, float_to_list(float(Value), [{decimals, Digits}]), Unit]).

check(true, _, _) -> ok;
check(false, Format, Arguments) -> fail(1, "WRONG RESULT: " ++ Format, Arguments).

now_ns() -> erlang:monotonic_time(nanosecond).

per_second(Count, Ns) -> Count * 1.0e9 / Ns.

percentile(Samples, P) ->
    Sorted = lists:sort(Samples),
    N = length(Sorted),
    lists:nth(min(N, trunc(P * N) + 1), Sorted).

%% Of all threads; getrusage is not to be had, and /proc/self/stat counts ticks of 10 ms.
cpu_ns() ->
    {ok, Tasks} = file:list_dir("/proc/self/task"),
    lists:sum([task_ns(file:read_file(["/proc/self/task/", T, "/schedstat"])) || T <- Tasks]).

task_ns({ok, Text}) ->
    [Ns | _] = binary:split(Text, <<" ">>),
    binary_to_integer(Ns);
task_ns({error, _}) ->
    0.

resident_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.
