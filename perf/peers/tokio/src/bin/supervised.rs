// SPDX-License-Identifier: Apache-2.0
//! The cases with supervised actors (see actor.rs): what Tokio costs when it is to do what Troupe does. Everything in them
//! is an actor; the driver of a case is the root of a tree or stands outside.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer_tokio::actor::{root, Actor, Address, Context, Window, ALWAYS};
use peer_tokio::support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

fn main() {
    peer_tokio::support::main(&[
        ("ping_pong", ping_pong),
        ("thread_ring", thread_ring),
        ("counting", counting),
        ("fan_in", fan_in),
        ("big", big),
        ("chameneos", chameneos),
        ("fork_join_create", fork_join_create),
        ("skynet", skynet),
        ("live_actors", live_actors),
        ("ask", ask),
        ("timers", timers),
        ("timer_cancel", timer_cancel),
        ("restart", restart),
        ("escalate", escalate),
        ("stop_tree", stop_tree),
        ("wake", wake),
        ("kill_backlog", kill_backlog),
        ("idle", idle),
    ]);
}

/// An actor that is nothing but a function of its messages and its context.
struct Simple<M, F>(F, std::marker::PhantomData<fn(M)>);

fn simple<M, F: FnMut(M, &mut Context<M>)>(handle: F) -> Simple<M, F> {
    Simple(handle, std::marker::PhantomData)
}

impl<M: Send + 'static, F: FnMut(M, &mut Context<M>) + Send + 'static> Actor for Simple<M, F> {
    type Message = M;
    fn handle(&mut self, message: M, context: &mut Context<M>) {
        (self.0)(message, context)
    }
}

/// The root of a case: it does the jobs that it is sent, on a worker and in an actor.
type Job = Box<dyn FnOnce(&mut Context<Act>) + Send>;
pub struct Act(Job);

/// The root lives as long as its token is not cancelled.
fn stage() -> (impl Fn(Job), CancellationToken, tokio::task::JoinHandle<()>) {
    let (address, token, task) = root(|| simple(|job: Act, context: &mut Context<Act>| (job.0)(context)));
    let act = move |job| {
        address.tell(Act(job));
    };
    (act, token, task)
}

// --- messages -----------------------------------------------------------------------------------------------------------

struct Player {
    other: Option<Address<Rally>>,
    done: &'static Countdown,
}

enum Rally {
    Meet(Address<Rally>),
    Ball(u64),
}

impl Actor for Player {
    type Message = Rally;
    fn handle(&mut self, message: Rally, _context: &mut Context<Rally>) {
        match (message, &self.other) {
            (Rally::Meet(other), _) => self.other = Some(other),
            (Rally::Ball(1), _) => self.done.one(),
            (Rally::Ball(left), Some(other)) => drop(other.tell(Rally::Ball(left - 1))),
            (Rally::Ball(_), None) => {}
        }
    }
}

fn ping_pong(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (done, last) = Countdown::new(1);
        let (act, _root, _task) = stage();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let player = move || Player { other: None, done };
            let (first, second) = (context.spawn(ALWAYS, player).0, context.spawn(ALWAYS, player).0);
            first.tell(Rally::Meet(second.clone()));
            second.tell(Rally::Meet(first.clone()));
            let _ = began.send(Instant::now());
            first.tell(Rally::Ball(size as u64));
        }));
        let began = begin.await.unwrap();
        last.await.unwrap() - began
    });
    print_each("ping_pong", took, size, "ns/message");
}

struct Link {
    next: Option<Address<Hop>>,
    done: &'static Countdown,
}

enum Hop {
    Next(Address<Hop>),
    Token(u64),
}

impl Actor for Link {
    type Message = Hop;
    fn handle(&mut self, message: Hop, _context: &mut Context<Hop>) {
        match (message, &self.next) {
            (Hop::Next(next), _) => self.next = Some(next),
            (Hop::Token(1), _) => self.done.one(),
            (Hop::Token(left), Some(next)) => drop(next.tell(Hop::Token(left - 1))),
            (Hop::Token(_), None) => {}
        }
    }
}

fn thread_ring(workers: usize, size: usize) {
    const ACTORS: usize = 503;
    let took = on_workers(workers, async move {
        let (done, last) = Countdown::new(1);
        let (act, _root, _task) = stage();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let links: Vec<_> =
                (0..ACTORS).map(|_| context.spawn(ALWAYS, move || Link { next: None, done }).0).collect();
            for (i, link) in links.iter().enumerate() {
                link.tell(Hop::Next(links[(i + 1) % ACTORS].clone()));
            }
            let _ = began.send(Instant::now());
            links[0].tell(Hop::Token(size as u64));
        }));
        let began = begin.await.unwrap();
        last.await.unwrap() - began
    });
    print_each("thread_ring", took, size, "ns/hop");
}

enum Count {
    Add(u64),
    Sum(oneshot::Sender<u64>),
}

#[derive(Default)]
struct Counter(u64);

impl Actor for Counter {
    type Message = Count;
    fn handle(&mut self, message: Count, _context: &mut Context<Count>) {
        match message {
            Count::Add(number) => self.0 += number,
            Count::Sum(asker) => drop(asker.send(self.0)),
        }
    }
}

fn counting(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (act, _root, _task) = stage();
        let (asker, answer) = oneshot::channel();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let (counter, _) = context.spawn(ALWAYS, Counter::default);
            let _ = began.send(Instant::now());
            for _ in 0..size {
                counter.tell(Count::Add(1));
            }
            counter.tell(Count::Sum(asker));
        }));
        let began = begin.await.unwrap();
        assert_eq!(answer.await.unwrap() as usize, size);
        began.elapsed()
    });
    print_rate("counting", took, size, "messages/s");
}

fn fan_in(workers: usize, size: usize) {
    const PRODUCERS: usize = 8;
    let each = size / PRODUCERS;
    let took = on_workers(workers, async move {
        let (act, _root, _task) = stage();
        let (ended, end) = unbounded_channel();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let mut left = each * PRODUCERS;
            let born = move || {
                let ended = ended.clone();
                simple(move |number: u64, _: &mut Context<u64>| {
                    left -= number as usize;
                    if left == 0 {
                        let _ = ended.send(Instant::now());
                    }
                })
            };
            let (consumer, _) = context.spawn(ALWAYS, born);
            let _ = began.send(Instant::now());
            for _ in 0..PRODUCERS {
                let consumer = consumer.clone();
                let born = move || {
                    let consumer = consumer.clone();
                    simple(move |count: usize, _: &mut Context<usize>| {
                        for _ in 0..count {
                            consumer.tell(1);
                        }
                    })
                };
                context.spawn(ALWAYS, born).0.tell(each);
            }
        }));
        let mut end = end;
        end.recv().await.unwrap() - begin.await.unwrap()
    });
    print_rate("fan_in", took, each * PRODUCERS, "messages/s");
}

enum Table {
    Begin(Arc<[Address<Table>]>),
    Ping(u32),
    Pong,
}

struct Guest {
    me: u32,
    random: Random,
    everybody: Option<Arc<[Address<Table>]>>,
    left: usize,
    ready: &'static Countdown,
}

impl Guest {
    fn ping_one(&mut self) {
        if let Some(everybody) = &self.everybody {
            let others = everybody.len() as u64 - 1;
            let other = (self.me as u64 + 1 + self.random.below(others)) % everybody.len() as u64;
            everybody[other as usize].tell(Table::Ping(self.me));
        }
    }
}

impl Actor for Guest {
    type Message = Table;
    fn handle(&mut self, message: Table, context: &mut Context<Table>) {
        match message {
            Table::Begin(everybody) => {
                self.everybody = Some(everybody);
                self.ping_one();
            }
            Table::Ping(from) => match &self.everybody {
                Some(everybody) => drop(everybody[from as usize].tell(Table::Pong)),
                None => drop(context.address().tell(Table::Ping(from))), // before its own Begin: later
            },
            Table::Pong => {
                self.left -= 1;
                if self.left == 0 {
                    self.ready.one();
                } else {
                    self.ping_one();
                }
            }
        }
    }
}

fn big(workers: usize, size: usize) {
    const ACTORS: usize = 512;
    let pings = (size / ACTORS / 2).max(1);
    let took = on_workers(workers, async move {
        let (ready, last) = Countdown::new(ACTORS);
        let (act, _root, _task) = stage();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let _ = began.send(Instant::now());
            let guest = |me: u32| {
                let born = move || Guest { me, random: Random::new(me as u64 + 1), everybody: None, left: pings, ready };
                context.spawn(ALWAYS, born).0
            };
            let everybody: Arc<[_]> = (0..ACTORS as u32).map(guest).collect::<Vec<_>>().into();
            for address in everybody.iter() {
                address.tell(Table::Begin(everybody.clone()));
            }
        }));
        let began = begin.await.unwrap();
        last.await.unwrap() - began
    });
    print_rate("big", took, pings * ACTORS * 2, "messages/s");
}

/// Who wants to meet, and as what: 0 blue, 1 red, 2 yellow.
struct Request {
    from: u32,
    colour: u8,
}

enum Mall {
    Open(Vec<Address<u8>>),
    Request(Request),
}

fn complement(mine: u8, other: u8) -> u8 {
    if mine == other {
        mine
    } else {
        3 - mine - other
    }
}

fn chameneos(workers: usize, size: usize) {
    const CHAMENEOS: usize = 100;
    let took = on_workers(workers, async move {
        let (done, last) = Countdown::new(1);
        let (act, _root, _task) = stage();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let born = move || {
                let (mut open, mut waiting, mut meetings) = (Vec::new(), None::<Request>, 0);
                simple(move |message: Mall, _: &mut Context<Mall>| match (message, waiting.take()) {
                    (Mall::Open(addresses), first) => {
                        open = addresses;
                        waiting = first;
                    }
                    (Mall::Request(first), None) => waiting = Some(first),
                    (Mall::Request(second), Some(first)) if meetings < size => {
                        meetings += 1;
                        open[first.from as usize].tell(second.colour);
                        open[second.from as usize].tell(first.colour);
                        if meetings == size {
                            done.one();
                        }
                    }
                    _ => {}
                })
            };
            let (mall, _) = context.spawn(ALWAYS, born);
            let _ = began.send(Instant::now());
            let mut addresses: Vec<Address<u8>> = Vec::new();
            for from in 0..CHAMENEOS as u32 {
                let mall = mall.clone();
                let born = move || {
                    let (mall, mut colour) = (mall.clone(), (from % 3) as u8);
                    simple(move |other: u8, _: &mut Context<u8>| {
                        colour = complement(colour, other);
                        mall.tell(Mall::Request(Request { from, colour }));
                    })
                };
                addresses.push(context.spawn(ALWAYS, born).0);
            }
            mall.tell(Mall::Open(addresses));
            for from in 0..CHAMENEOS as u32 {
                mall.tell(Mall::Request(Request { from, colour: (from % 3) as u8 }));
            }
        }));
        let began = begin.await.unwrap();
        last.await.unwrap() - began
    });
    print_rate("chameneos", took, size * 4, "messages/s");
}

fn ask(workers: usize, size: usize) {
    type Question = (u64, oneshot::Sender<u64>);
    let took = on_workers(workers, async move {
        let (act, _root, _task) = stage();
        let (give, server) = oneshot::channel();
        act(Box::new(move |context| {
            let answer = |(number, asker): Question, _: &mut Context<Question>| {
                let _ = asker.send(number + 1);
            };
            let _ = give.send(context.spawn(ALWAYS, move || simple(answer)).0);
        }));
        let server = server.await.unwrap();
        let deadline = tokio::time::sleep(Duration::from_secs(5)); // put forward for each ask, as in bare.rs
        tokio::pin!(deadline);
        let mut number = 0;
        let began = Instant::now();
        for _ in 0..size {
            let (asker, answer) = oneshot::channel();
            deadline.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(5));
            server.tell((number, asker));
            tokio::select! {
                biased;
                answer = answer => number = answer.unwrap(),
                _ = &mut deadline => give_up(1, "an ask timed out"),
            }
        }
        assert_eq!(number as usize, size);
        began.elapsed()
    });
    print_each("ask", took, size, "ns/round trip");
}

// --- creation ----------------------------------------------------------------------------------------------------------

fn fork_join_create(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (ready, last) = Countdown::new(size);
        let (act, _root, _task) = stage();
        let (began, begin) = oneshot::channel();
        act(Box::new(move |context| {
            let _ = began.send(Instant::now());
            for i in 0..size as u64 {
                let once = move |_: u64, context: &mut Context<u64>| {
                    ready.one();
                    context.stop();
                };
                context.spawn(ALWAYS, move || simple(once)).0.tell(i);
            }
        }));
        let began = begin.await.unwrap();
        last.await.unwrap() - began
    });
    print_rate("fork_join_create", took, size, "actors/s");
}

/// A node of the tree: its numbers are `leaves` from `first` on; it tells their sum and ends.
struct Node {
    first: u64,
    leaves: u64,
    parent: Upwards,
    sum: u64,
    missing: u64,
}

#[derive(Clone)]
enum Upwards {
    Driver(UnboundedSender<u64>),
    Node(Address<u64>),
}

impl Upwards {
    fn tell(&self, sum: u64) {
        match self {
            Upwards::Driver(driver) => drop(driver.send(sum)),
            Upwards::Node(node) => drop(node.tell(sum)),
        }
    }
}

impl Actor for Node {
    type Message = u64;
    fn started(&mut self, context: &mut Context<u64>) {
        if self.leaves == 1 {
            self.parent.tell(self.first);
            context.stop();
            return;
        }
        let leaves = self.leaves / 10;
        self.missing = 10;
        for i in 0..10 {
            let (first, parent) = (self.first + i * leaves, Upwards::Node(context.address()));
            context.spawn(ALWAYS, move || Node { first, leaves, parent: parent.clone(), sum: 0, missing: 0 });
        }
    }

    fn handle(&mut self, sum: u64, context: &mut Context<u64>) {
        self.sum += sum;
        self.missing -= 1;
        if self.missing == 0 {
            self.parent.tell(self.sum);
            context.stop();
        }
    }
}

fn skynet(workers: usize, size: usize) {
    let leaves = 10u64.pow((size as f64).log10().floor() as u32);
    let took = on_workers(workers, async move {
        let (tell, mut sum) = unbounded_channel();
        let began = Instant::now();
        let parent = Upwards::Driver(tell);
        let (_, _token, _task) = root(move || Node { first: 0, leaves, parent: parent.clone(), sum: 0, missing: 0 });
        assert_eq!(sum.recv().await, Some(leaves * (leaves - 1) / 2));
        began.elapsed()
    });
    print("skynet", took.as_secs_f64() * 1e3, "ms");
}

struct Living {
    state: [u64; 2],
    ready: &'static Countdown,
}

impl Actor for Living {
    type Message = u64;
    fn handle(&mut self, message: u64, _context: &mut Context<u64>) {
        self.state[0] += message;
        self.state[1] += 1;
        self.ready.one();
    }
}

/// Children of the root with 16 bytes of state, each of which has handled a message.
async fn live(act: &impl Fn(Job), size: usize) -> Vec<Address<u64>> {
    let (ready, last) = Countdown::new(size);
    let (give, addresses) = oneshot::channel();
    act(Box::new(move |context| {
        let mut addresses = Vec::with_capacity(size);
        for _ in 0..size {
            let (address, _) = context.spawn(ALWAYS, move || Living { state: [0; 2], ready });
            address.tell(1);
            addresses.push(address);
        }
        let _ = give.send(addresses);
    }));
    last.await.unwrap();
    addresses.await.unwrap_or_default()
}

fn live_actors(workers: usize, size: usize) {
    let growth = on_workers(workers, async move {
        let (act, _root, _task) = stage();
        let before = resident();
        let addresses = live(&act, size).await;
        let growth = resident() - before;
        drop(addresses);
        growth
    });
    print("live_actors", growth as f64 / size as f64, "B/actor");
}

fn idle(workers: usize, size: usize) {
    on_workers(workers, async move {
        let (act, _root, _task) = stage();
        let addresses = live(&act, size).await;
        let (over, end) = oneshot::channel();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(1));
            let (switches, spent) = (wake_ups(), cpu());
            std::thread::sleep(Duration::from_secs(5));
            print("idle", (wake_ups() - switches) as f64, "wake-ups");
            print("idle_cpu", (cpu() - spent).as_secs_f64() * 1e3, "ms");
            let _ = over.send(());
        });
        let _ = end.await;
        drop(addresses);
    });
}

// --- timers ------------------------------------------------------------------------------------------------------------

enum Clock {
    Arm(usize),
    Due(Instant),
    Cancel(usize),
}

struct Timed {
    late: Vec<u64>,
    left: usize,
    done: UnboundedSender<(Duration, Vec<u64>)>,
}

impl Actor for Timed {
    type Message = Clock;
    fn handle(&mut self, message: Clock, context: &mut Context<Clock>) {
        match message {
            Clock::Arm(count) => {
                self.late.reserve(count);
                self.left = count;
                let mut random = Random::new(1);
                let began = Instant::now();
                for _ in 0..count {
                    let due = began + Duration::from_secs(2) + Duration::from_nanos(random.below(1_000_000_000));
                    context.send_after(Clock::Due(due), due);
                }
            }
            Clock::Due(due) => {
                self.late.push(Instant::now().saturating_duration_since(due).as_nanos() as u64);
                self.left -= 1;
                if self.left == 0 {
                    let _ = self.done.send((Duration::ZERO, std::mem::take(&mut self.late)));
                }
            }
            Clock::Cancel(count) => {
                let began = Instant::now();
                for _ in 0..count {
                    let due = Instant::now() + Duration::from_secs(5);
                    let timer = context.send_after(Clock::Due(due), due);
                    context.cancel(&timer);
                }
                let _ = self.done.send((began.elapsed(), Vec::new()));
            }
        }
    }
}

/// What one actor with timers of its own answers to the message.
async fn with_timers(message: Clock) -> (Duration, Vec<u64>) {
    let (done, mut results) = unbounded_channel();
    let (address, _token, _task) = root(move || Timed { late: Vec::new(), left: 0, done: done.clone() });
    address.tell(message);
    results.recv().await.unwrap()
}

fn timers(workers: usize, size: usize) {
    let (spent, mut late) = on_workers(workers, async move {
        let before = cpu();
        let (_, late) = with_timers(Clock::Arm(size)).await;
        (cpu() - before, late)
    });
    assert_eq!(late.len(), size);
    print_each("timers", spent, size, "CPU ns/timer");
    print("timers_late_p99", percentile(&mut late, 0.99) as f64 / 1e6, "ms");
}

fn timer_cancel(workers: usize, size: usize) {
    let (took, _) = on_workers(workers, async move { with_timers(Clock::Cancel(size)).await });
    print_rate("timer_cancel", took, size, "pairs/s");
}

// --- crashes and ends --------------------------------------------------------------------------------------------------

enum Work {
    Crash,
    Next,
}

/// What outlives the incarnations.
struct Series {
    crashed: Option<Instant>,
    samples: Vec<u64>,
}

struct Crasher {
    series: Arc<std::sync::Mutex<Series>>,
    wanted: usize,
    done: &'static Countdown,
}

impl Actor for Crasher {
    type Message = Work;
    fn handle(&mut self, work: Work, context: &mut Context<Work>) {
        let now = Instant::now();
        let mut series = self.series.lock().unwrap();
        match (work, series.crashed.take()) {
            (Work::Crash, _) => {
                series.crashed = Some(Instant::now());
                drop(series);
                panic!("once more");
            }
            (Work::Next, Some(crashed)) => series.samples.push((now - crashed).as_nanos() as u64),
            (Work::Next, None) => {} // the first message of all
        }
        if series.samples.len() == self.wanted {
            self.done.one();
            return;
        }
        let me = context.address();
        me.tell(Work::Crash);
        me.tell(Work::Next);
    }
}

fn restart(workers: usize, size: usize) {
    let mut samples = on_workers(workers, async move {
        let series = Arc::new(std::sync::Mutex::new(Series { crashed: None, samples: Vec::with_capacity(size) }));
        let (done, last) = Countdown::new(1);
        let results = series.clone();
        let (act, _root, _task) = stage();
        act(Box::new(move |context| {
            let born = move || Crasher { series: series.clone(), wanted: size, done };
            context.spawn(ALWAYS, born).0.tell(Work::Next);
        }));
        last.await.unwrap();
        let samples = std::mem::take(&mut results.lock().unwrap().samples);
        samples
    });
    print("restart", percentile(&mut samples, 0.5) as f64 / 1e3, "us");
}

enum ToChild {
    Crash,
    Ask,
}

/// Answers with its address.
struct Child {
    driver: UnboundedSender<Address<ToChild>>,
}

impl Actor for Child {
    type Message = ToChild;
    fn handle(&mut self, message: ToChild, context: &mut Context<ToChild>) {
        match message {
            ToChild::Crash => panic!("crash"),
            ToChild::Ask => drop(self.driver.send(context.address())),
        }
    }
}

/// Makes its child at the begin of each incarnation, and has it answer the driver.
struct Parent {
    driver: UnboundedSender<Address<ToChild>>,
}

impl Actor for Parent {
    type Message = ();
    fn started(&mut self, context: &mut Context<()>) {
        let driver = self.driver.clone();
        let window = Window { restarts: 2, within: Duration::from_secs(5) };
        context.spawn(window, move || Child { driver: driver.clone() }).0.tell(ToChild::Ask);
    }
    fn handle(&mut self, _: (), _: &mut Context<()>) {}
}

fn escalate(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (driver, mut answers) = unbounded_channel();
        let (act, _root, _task) = stage();
        act(Box::new(move |context| {
            context.spawn(ALWAYS, move || Parent { driver: driver.clone() });
        }));
        let mut child = answers.recv().await.unwrap();
        let began = Instant::now();
        for _ in 0..size {
            for _ in 0..3 {
                child.tell(ToChild::Crash);
            }
            child = answers.recv().await.unwrap();
        }
        began.elapsed()
    });
    print("escalate", took.as_secs_f64() * 1e6 / size as f64, "us/cycle");
}

fn stop_tree(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (act, root, task) = stage();
        let addresses = live(&act, size).await;
        let began = Instant::now();
        root.cancel();
        task.await.unwrap();
        let took = began.elapsed();
        drop(addresses);
        took
    });
    print("stop_tree", took.as_secs_f64() * 1e3, "ms");
}

fn kill_backlog(workers: usize, size: usize) {
    let handled_after = on_workers(workers, async move {
        let handled: &'static AtomicU64 = Box::leak(Box::default());
        let (gate, open) = std::sync::mpsc::channel::<()>();
        let open = Arc::new(std::sync::Mutex::new(open));
        let count = move || {
            let open = open.clone();
            simple(move |i: u64, _: &mut Context<u64>| {
                if i == 0 {
                    let _ = tokio::task::block_in_place(|| open.lock().unwrap().recv()); // until all are there
                }
                handled.fetch_add(1, Relaxed);
            })
        };
        let (address, token, task) = root(count);
        for i in 0..size as u64 {
            address.tell(i);
        }
        let _ = gate.send(());
        while handled.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let before = handled.load(SeqCst);
        token.cancel();
        task.await.unwrap();
        handled.load(SeqCst) - before
    });
    print("kill_backlog", handled_after as f64, "messages");
}

// --- an idle machine -----------------------------------------------------------------------------------------------------

fn wake(workers: usize, size: usize) {
    let mut samples = on_workers(workers, async move {
        let handled: &'static AtomicBool = Box::leak(Box::default());
        let (sample, mut samples) = unbounded_channel();
        let born = move || {
            let sample = sample.clone();
            simple(move |sent: Instant, _: &mut Context<Instant>| {
                let _ = sample.send(sent.elapsed().as_nanos() as u64);
                handled.store(true, SeqCst);
            })
        };
        let (address, _token, _task) = root(born);
        std::thread::spawn(move || {
            for _ in 0..size {
                std::thread::sleep(Duration::from_millis(1));
                address.tell(Instant::now());
                while !handled.swap(false, SeqCst) {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        });
        let mut all = Vec::with_capacity(size);
        while all.len() < size {
            all.push(samples.recv().await.unwrap());
        }
        all
    });
    print_latency("wake", &mut samples);
}
