%% SPDX-License-Identifier: Apache-2.0
%%
%% Deadlines, timers, and how long an idle runtime takes to wake up.
-module(bench_time).
-export([ask/1, timers/1, timer_cancel/1, wake/1]).
-export([init/1, handle_call/3, handle_cast/2]).
-import(bench, [report/3, check/3, now_ns/0, per_second/2]).

%% --- ask: a unique reference is what tells a late answer from a right one ---

ask(Size) ->
    Server = spawn(fun() -> answerer() end),
    asked("ask", Size, fun() -> ask_loop(Server, 0, Size, 0) end),
    {ok, GenServer} = gen_server:start(?MODULE, [], []),
    asked("ask_gen_server", Size, fun() -> call_loop(GenServer, 0, Size, 0) end).

asked(Name, Size, Ask) ->
    Driver = self(),
    spawn(fun() ->
        Began = now_ns(),
        Sum = Ask(),
        Driver ! {Sum, now_ns() - Began}
    end),
    receive {Sum, Took} -> ok end,
    check(Sum =:= Size * (Size + 1) div 2, "the sum of the answers is ~p", [Sum]),
    report(Name, Took / Size, "ns/round trip").

answerer() ->
    receive {From, Reference, N} ->
        From ! {Reference, N + 1},
        answerer()
    end.

ask_loop(_, Size, Size, Sum) -> Sum;
ask_loop(Server, N, Size, Sum) ->
    Reference = make_ref(),
    Server ! {self(), Reference, N},
    receive
        {Reference, Answer} -> ask_loop(Server, N + 1, Size, Sum + Answer)
    after 5000 -> exit(timeout)
    end.

call_loop(_, Size, Size, Sum) -> Sum;
call_loop(Server, N, Size, Sum) -> call_loop(Server, N + 1, Size, Sum + gen_server:call(Server, N, 5000)).

init([]) -> {ok, none}.
handle_call(N, _From, State) -> {reply, N + 1, State}.
handle_cast(_, State) -> {noreply, State}.

%% --- timers ---

timers(Size) ->
    Driver = self(),
    Base = now_ns(),
    Actor = spawn_opt(fun() -> receiver(Size, Base, [], Driver) end, [{message_queue_data, off_heap}]),
    Cpu = bench:cpu_ns(),
    Began = now_ns(),
    arm(Size, Actor, Base, rand:mwc59_seed(42)),
    Armed = now_ns() - Began,
    check(Armed < 2000000000, "the first timer was due before the last was armed, after ~p ms", [Armed div 1000000]),
    receive {ended, Late} -> ok end,
    CpuPerTimer = (bench:cpu_ns() - Cpu) / Size,
    check(lists:min(Late) >= 0, "a timer came ~p ns early", [-lists:min(Late)]),
    report("timers", CpuPerTimer, "CPU ns/timer"),
    report("timers_late_p99", bench:percentile(Late, 0.99) / 1.0e6, "ms").

arm(0, _, _, _) -> ok;
arm(Left, Actor, Base, Random) ->
    Delay = 2000 + (Random bsr 20) rem 1000,
    Due = now_ns() - Base + Delay * 1000000,
    erlang:send_after(Delay, Actor, Due),
    arm(Left - 1, Actor, Base, rand:mwc59(Random)).

receiver(0, _, Late, Driver) -> Driver ! {ended, Late};
receiver(Left, Base, Late, Driver) ->
    receive Due -> receiver(Left - 1, Base, [now_ns() - Base - Due | Late], Driver) end.

timer_cancel(Size) ->
    Driver = self(),
    spawn(fun() ->
        Began = now_ns(),
        Cancelled = cancel_loop(Size, self(), 0),
        Took = now_ns() - Began,
        Driver ! {Cancelled, Took, process_info(self(), message_queue_len)}
    end),
    receive {Cancelled, Took, Queue} -> ok end,
    check(Cancelled =:= Size, "~p of ~p cancelled", [Cancelled, Size]),
    check(Queue =:= {message_queue_len, 0}, "a cancelled timer came: ~p", [Queue]),
    report("timer_cancel", per_second(Size, Took), "pairs/s").

cancel_loop(0, _, Cancelled) -> Cancelled;
cancel_loop(Left, Self, Cancelled) ->
    Timer = erlang:send_after(5000, Self, fired),
    case erlang:cancel_timer(Timer) of
        false -> cancel_loop(Left - 1, Self, Cancelled);
        _ -> cancel_loop(Left - 1, Self, Cancelled + 1)
    end.

%% --- wake: which scheduler runs the actor is the runtime's choice ---

wake(Size) ->
    Driver = self(),
    Actor = spawn(fun() -> waker_target(Driver) end),
    Samples = wake_loop(Size, Actor, []),
    report("wake", bench:percentile(Samples, 0.5) / 1.0e3, "us"),
    report("wake_p99", bench:percentile(Samples, 0.99) / 1.0e3, "us").

waker_target(Driver) ->
    receive Sent ->
        Driver ! now_ns() - Sent,
        waker_target(Driver)
    end.

wake_loop(0, _, Samples) -> Samples;
wake_loop(Left, Actor, Samples) ->
    receive after 2 -> ok end,
    Actor ! now_ns(),
    receive Took -> wake_loop(Left - 1, Actor, [Took | Samples]) end.
