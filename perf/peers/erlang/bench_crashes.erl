%% SPDX-License-Identifier: Apache-2.0
%%
%% Crashes and kills. The figures come from bare links and trap_exit, which are faster than OTP's supervisor; that one
%% stands beside them. A supervisor walks its list of restarts at each of them: it is a fresh one for each 50.
-module(bench_crashes).
-behaviour(supervisor).
-export([restart/1, escalate/1, kill_backlog/1]).
-export([init/1, start_worker/1, start_inner/1, worker/1, crasher/1, parent/2, child/1]).
-import(bench, [report/3, check/3, now_ns/0]).

restart(Size) ->
    process_flag(trap_exit, true),
    Samples = restart_loop(Size, []),
    check(length(Samples) =:= Size, "~p crashes", [length(Samples)]),
    report("restart", bench:percentile(Samples, 0.5) / 1.0e3, "us"),
    restart_supervisor(Size).

%% --- a link and a new process ---

restart_loop(Size, []) -> restart_loop(Size, spawn_link(?MODULE, crasher, [self()]), []).

restart_loop(0, _, Samples) -> Samples;
restart_loop(Left, Child, Samples) ->
    Child ! crash,
    receive {'EXIT', Child, {crashed, At}} ->
        New = spawn_link(?MODULE, crasher, [self()]),
        New ! {next, At},
        receive {took, Ns} -> restart_loop(Left - 1, New, [Ns | Samples]) end
    end.

crasher(Parent) ->
    receive
        crash -> exit({crashed, now_ns()});
        {next, At} ->
            Parent ! {took, now_ns() - At},
            crasher(Parent)
    end.

%% --- OTP's supervisor ---

-define(FRESH, 50).

restart_supervisor(Size) ->
    Samples = supervised_rounds(Size, []),
    check(length(Samples) =:= Size, "~p crashes", [length(Samples)]),
    report("restart_supervisor", bench:percentile(Samples, 0.5) / 1.0e3, "us").

supervised_rounds(0, Samples) -> Samples;
supervised_rounds(Left, Samples) ->
    Round = min(Left, ?FRESH),
    {ok, Supervisor} = supervisor:start_link(?MODULE, {1000000, start_worker, self()}),
    More = supervised(Round, receive {started, Pid} -> Pid end, Samples),
    end_supervisor(Supervisor),
    supervised_rounds(Left - Round, More).

end_supervisor(Supervisor) ->
    exit(Supervisor, shutdown),
    receive {'EXIT', Supervisor, shutdown} -> ok end.

supervised(0, _, Samples) -> Samples;
supervised(Left, Pid, Samples) ->
    Pid ! crash,
    receive {crashing, At} -> ok end,
    receive {started, New} -> New ! {next, self(), At} end,
    receive {took, Ns} -> supervised(Left - 1, New, [Ns | Samples]) end.

init({Intensity, Function, Driver}) ->
    Type = case Function of start_worker -> worker; start_inner -> supervisor end,
    Child = #{id => child, start => {?MODULE, Function, [Driver]}, type => Type},
    {ok, {#{intensity => Intensity, period => 3600}, [Child]}}.

start_worker(Driver) ->
    Pid = spawn_link(?MODULE, worker, [Driver]),
    Driver ! {started, Pid},
    {ok, Pid}.

start_inner(Driver) -> supervisor:start_link(?MODULE, {2, start_worker, Driver}).

worker(Driver) ->
    receive
        crash ->
            Driver ! {crashing, now_ns()},
            exit(crashed);
        {next, From, At} ->
            From ! {took, now_ns() - At},
            worker(Driver)
    end.

%% --- escalate: two restarts are allowed, the third crash is the parent's ---

escalate(Size) ->
    process_flag(trap_exit, true),
    Parent = spawn_link(?MODULE, parent, [self(), 1]),
    receive {answer, 1} -> ok end,
    Began = now_ns(),
    Last = escalate_loop(Size, Parent, 1),
    Took = now_ns() - Began,
    check(Last =:= Size + 1, "the parent's incarnation is ~p", [Last]),
    report("escalate", Took / Size / 1.0e3, "us/cycle"),
    escalate_supervisor(Size).

escalate_loop(0, _, Incarnation) -> Incarnation;
escalate_loop(Left, Parent, Incarnation) ->
    Parent ! go,
    receive {'EXIT', Parent, {escalated, crashed}} -> ok end,
    New = spawn_link(?MODULE, parent, [self(), Incarnation + 1]),
    receive {answer, Now} -> escalate_loop(Left - 1, New, Now) end.

parent(Driver, Incarnation) ->
    process_flag(trap_exit, true),
    Child = spawn_link(?MODULE, child, [Driver]),
    Child ! {next, Incarnation},
    receive go -> parent_loop(Driver, Child, 2) end.

parent_loop(Driver, Child, Allowed) ->
    Child ! crash,
    receive
        {'EXIT', Child, crashed} when Allowed > 0 ->
            parent_loop(Driver, spawn_link(?MODULE, child, [Driver]), Allowed - 1);
        {'EXIT', Child, Reason} ->
            exit({escalated, Reason})
    end.

child(Driver) ->
    receive
        crash -> exit(crashed);
        {next, Incarnation} ->
            Driver ! {answer, Incarnation},
            child(Driver)
    end.

escalate_supervisor(Size) ->
    Took = escalate_rounds(Size, 0),
    report("escalate_supervisor", Took / Size / 1.0e3, "us/cycle").

escalate_rounds(0, Took) -> Took;
escalate_rounds(Left, Took) ->
    Round = min(Left, ?FRESH),
    {ok, Outer} = supervisor:start_link(?MODULE, {1000000, start_inner, self()}),
    Pid = receive {started, P} -> P end,
    Began = now_ns(),
    supervised_cycles(Round, Pid),
    Ended = now_ns(),
    end_supervisor(Outer),
    escalate_rounds(Left - Round, Took + Ended - Began).

supervised_cycles(0, _) -> ok;
supervised_cycles(Left, Pid) ->
    Last = lists:foldl(fun(_, Child) -> crash_once(Child) end, Pid, [1, 2, 3]),
    Last ! {next, self(), now_ns()},
    receive {took, _} -> supervised_cycles(Left - 1, Last) end.

crash_once(Child) ->
    Child ! crash,
    receive {crashing, _} -> ok end,
    receive {started, New} -> New end.

%% --- kill_backlog: the first message keeps the actor busy until the kill is sent ---

kill_backlog(Size) ->
    Handled = atomics:new(1, []),
    Sent = atomics:new(1, []),
    Driver = self(),
    {Actor, Monitor} = spawn_monitor(fun() -> victim(Sent, Handled, Driver) end),
    Actor ! hold,
    receive held -> ok end,
    fill(Size, Actor),
    {message_queue_len, Waiting} = process_info(Actor, message_queue_len),
    check(Waiting =:= Size, "~p messages wait", [Waiting]),
    exit(Actor, kill),
    atomics:put(Sent, 1, 1),
    receive {'DOWN', Monitor, process, Actor, killed} -> ok end,
    report("kill_backlog", atomics:get(Handled, 1), "messages").

fill(0, _) -> ok;
fill(Left, Actor) ->
    Actor ! 1,
    fill(Left - 1, Actor).

victim(Sent, Handled, Driver) ->
    receive
        hold ->
            Driver ! held,
            hold(Sent),
            victim(Sent, Handled, Driver);
        N ->
            atomics:add(Handled, 1, N),
            victim(Sent, Handled, Driver)
    end.

hold(Sent) ->
    case atomics:get(Sent, 1) of
        0 -> hold(Sent);
        1 -> ok
    end.
