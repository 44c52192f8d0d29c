// SPDX-License-Identifier: Apache-2.0
//! Tokio without a framework: an actor is a task and its mailbox an unbounded channel, each case as one would write it
//! for speed. Where Tokio has something better for a job than a mailbox, that is used: a oneshot for an answer, the join
//! handle for a result, a DelayQueue for very many timers, one Sleep that is put forward for a sequence of deadlines.
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use peer_tokio::support::*;
use tokio::sync::mpsc::{unbounded_channel as mailbox, UnboundedReceiver as Mailbox, UnboundedSender as Address};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::time::DelayQueue;

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

// --- messages -----------------------------------------------------------------------------------------------------------

fn ping_pong(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (ping, mut pings) = mailbox::<u64>();
        let (pong, mut pongs) = mailbox::<u64>();
        tokio::spawn(async move {
            while let Some(ball) = pings.recv().await {
                let _ = pong.send(ball + 1);
            }
        });
        let began = Instant::now();
        let mut ball = 0;
        for _ in 0..size / 2 {
            let _ = ping.send(ball + 1);
            ball = pongs.recv().await.unwrap();
        }
        assert_eq!(ball as usize, size / 2 * 2);
        began.elapsed()
    });
    print_each("ping_pong", took, size / 2 * 2, "ns/message");
}

fn thread_ring(workers: usize, size: usize) {
    const ACTORS: usize = 503;
    let took = on_workers(workers, async move {
        let (addresses, mailboxes): (Vec<_>, Vec<_>) = (0..ACTORS).map(|_| mailbox::<u64>()).unzip();
        let (last, mut done) = mailbox::<()>();
        for (i, mut tokens) in mailboxes.into_iter().enumerate() {
            let (next, last) = (addresses[(i + 1) % ACTORS].clone(), last.clone());
            tokio::spawn(async move {
                while let Some(hops) = tokens.recv().await {
                    let _ = if hops > 1 { next.send(hops - 1).is_ok() } else { last.send(()).is_ok() };
                }
            });
        }
        let began = Instant::now();
        let _ = addresses[0].send(size as u64);
        done.recv().await;
        began.elapsed()
    });
    print_each("thread_ring", took, size, "ns/hop");
}

fn counting(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (add, mut numbers) = mailbox::<u64>();
        let counter = tokio::spawn(async move {
            let mut sum = 0;
            while let Some(number) = numbers.recv().await {
                sum += number;
            }
            sum
        });
        let began = Instant::now();
        for _ in 0..size {
            let _ = add.send(1);
        }
        drop(add); // the end of the channel is the question, the task's result the answer
        assert_eq!(counter.await.unwrap() as usize, size);
        began.elapsed()
    });
    print_rate("counting", took, size, "messages/s");
}

fn fan_in(workers: usize, size: usize) {
    const PRODUCERS: usize = 8;
    let took = on_workers(workers, async move {
        let (add, mut numbers) = mailbox::<u64>();
        let consumer = tokio::spawn(async move {
            let mut sum = 0;
            while let Some(number) = numbers.recv().await {
                sum += number;
            }
            sum
        });
        let began = Instant::now();
        for _ in 0..PRODUCERS {
            let add = add.clone();
            tokio::spawn(async move {
                for _ in 0..size / PRODUCERS {
                    let _ = add.send(1);
                }
            });
        }
        drop(add);
        assert_eq!(consumer.await.unwrap() as usize, size / PRODUCERS * PRODUCERS);
        began.elapsed()
    });
    print_rate("fan_in", took, size / PRODUCERS * PRODUCERS, "messages/s");
}

enum Table {
    Ping(u32),
    Pong,
}

fn big(workers: usize, size: usize) {
    const ACTORS: usize = 512;
    let pings = (size / ACTORS / 2).max(1);
    let took = on_workers(workers, async move {
        let (addresses, mailboxes): (Vec<_>, Vec<_>) = (0..ACTORS).map(|_| mailbox::<Table>()).unzip();
        let everybody: Arc<[Address<Table>]> = addresses.into();
        let (ready, done) = Countdown::new(ACTORS);
        let began = Instant::now();
        for (i, messages) in mailboxes.into_iter().enumerate() {
            tokio::spawn(at_the_table(i, messages, everybody.clone(), pings, ready));
        }
        done.await.unwrap() - began
    });
    print_rate("big", took, pings * ACTORS * 2, "messages/s");
}

async fn at_the_table(
    me: usize,
    mut messages: Mailbox<Table>,
    everybody: Arc<[Address<Table>]>,
    mut pings: usize,
    ready: &'static Countdown,
) {
    let mut random = Random::new(me as u64 + 1);
    let mut ping_one = || {
        let other = (me as u64 + 1 + random.below(everybody.len() as u64 - 1)) % everybody.len() as u64;
        let _ = everybody[other as usize].send(Table::Ping(me as u32));
    };
    ping_one();
    while let Some(message) = messages.recv().await {
        match message {
            Table::Ping(from) => drop(everybody[from as usize].send(Table::Pong)),
            Table::Pong => {
                pings -= 1;
                if pings == 0 {
                    ready.one();
                } else {
                    ping_one();
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Colour {
    Blue,
    Red,
    Yellow,
}

fn complement(mine: Colour, other: Colour) -> Colour {
    use Colour::*;
    match (mine, other) {
        (mine, other) if mine == other => mine,
        (Blue, Red) | (Red, Blue) => Yellow,
        (Blue, Yellow) | (Yellow, Blue) => Red,
        _ => Blue,
    }
}

fn chameneos(workers: usize, size: usize) {
    const CHAMENEOS: usize = 100;
    let took = on_workers(workers, async move {
        let (mall, mut requests) = mailbox::<(u32, Colour)>();
        let mut addresses = Vec::new();
        let began = Instant::now();
        for i in 0..CHAMENEOS {
            let (address, mut meetings) = mailbox::<Colour>();
            addresses.push(address);
            let mall = mall.clone();
            let mut colour = [Colour::Blue, Colour::Red, Colour::Yellow][i % 3];
            tokio::spawn(async move {
                let _ = mall.send((i as u32, colour));
                while let Some(other) = meetings.recv().await {
                    colour = complement(colour, other);
                    let _ = mall.send((i as u32, colour));
                }
            });
        }
        let mall = tokio::spawn(async move {
            for _ in 0..size {
                let (first, its_colour) = requests.recv().await.unwrap();
                let (second, colour) = requests.recv().await.unwrap();
                let _ = addresses[first as usize].send(colour);
                let _ = addresses[second as usize].send(its_colour);
            }
        });
        mall.await.unwrap();
        began.elapsed()
    });
    print_rate("chameneos", took, size * 4, "messages/s");
}

fn ask(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (server, mut requests) = mailbox::<(u64, oneshot::Sender<u64>)>();
        tokio::spawn(async move {
            while let Some((number, reply)) = requests.recv().await {
                let _ = reply.send(number + 1);
            }
        });
        // One timer for all: while it is armed, putting it forward is a store to its entry and takes no lock.
        let deadline = tokio::time::sleep(Duration::from_secs(5));
        tokio::pin!(deadline);
        let mut number = 0;
        let began = Instant::now();
        for _ in 0..size {
            let (reply, answer) = oneshot::channel();
            deadline.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(5));
            let _ = server.send((number, reply));
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
        let (ready, done) = Countdown::new(size);
        let began = Instant::now();
        for i in 0..size as u64 {
            let (address, message) = oneshot::channel::<u64>(); // one message is all that it will ever get
            tokio::spawn(async move {
                if message.await == Ok(i) {
                    ready.one();
                }
            });
            let _ = address.send(i);
        }
        done.await.unwrap() - began
    });
    print_rate("fork_join_create", took, size, "actors/s");
}

type Node = Pin<Box<dyn Future<Output = u64> + Send>>;

/// The sum of the leaves' numbers, of which there are `leaves` from `first` on.
fn node(first: u64, leaves: u64) -> Node {
    Box::pin(async move {
        let each = leaves / 10;
        let mut sum = 0;
        if each <= 1 {
            let children = (0..leaves).map(|i| tokio::spawn(async move { first + i })).collect::<Vec<_>>();
            for child in children {
                sum += child.await.unwrap();
            }
        } else {
            let children = (0..10).map(|i| tokio::spawn(node(first + i * each, each))).collect::<Vec<_>>();
            for child in children {
                sum += child.await.unwrap();
            }
        }
        sum
    })
}

fn skynet(workers: usize, size: usize) {
    let leaves = 10u64.pow((size as f64).log10().floor() as u32);
    let took = on_workers(workers, async move {
        let began = Instant::now();
        assert_eq!(node(0, leaves).await, leaves * (leaves - 1) / 2);
        began.elapsed()
    });
    print("skynet", took.as_secs_f64() * 1e3, "ms");
}

/// Actors with 16 bytes of state, each of which has handled a message.
async fn live(size: usize) -> Vec<Address<u64>> {
    let (ready, done) = Countdown::new(size);
    let mut addresses = Vec::with_capacity(size);
    for _ in 0..size {
        let (address, mut messages) = mailbox::<u64>();
        tokio::spawn(async move {
            let mut state = [0u64; 2];
            while let Some(message) = messages.recv().await {
                state[0] += message;
                state[1] += 1;
                ready.one();
            }
        });
        let _ = address.send(1);
        addresses.push(address);
    }
    done.await.unwrap();
    addresses
}

fn live_actors(workers: usize, size: usize) {
    let growth = on_workers(workers, async move {
        let before = resident();
        let addresses = live(size).await;
        let growth = resident() - before;
        drop(addresses);
        growth
    });
    print("live_actors", growth as f64 / size as f64, "B/actor");
}

fn idle(workers: usize, size: usize) {
    on_workers(workers, async move {
        let addresses = live(size).await;
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

fn timers(workers: usize, size: usize) {
    let (spent, mut late) = on_workers(workers, async move {
        let (address, mut messages) = mailbox::<Instant>();
        let receiver = tokio::spawn(async move {
            let mut late = Vec::with_capacity(size);
            while let Some(due) = messages.recv().await {
                late.push(Instant::now().saturating_duration_since(due).as_nanos() as u64);
            }
            late
        });
        let before = cpu();
        let mut queue = DelayQueue::with_capacity(size);
        let mut random = Random::new(1);
        let began = Instant::now();
        for _ in 0..size {
            let due = began + Duration::from_secs(2) + Duration::from_nanos(random.below(1_000_000_000));
            queue.insert_at(due, due.into());
        }
        if began.elapsed() > Duration::from_secs(2) {
            eprintln!("timers: arming took {:?}, so the first were due before the last was armed", began.elapsed());
        }
        while let Some(expired) = queue.next().await {
            let _ = address.send(expired.into_inner());
        }
        drop(address);
        let late = receiver.await.unwrap();
        (cpu() - before, late)
    });
    assert_eq!(late.len(), size);
    print_each("timers", spent, size, "CPU ns/timer");
    print("timers_late_p99", percentile(&mut late, 0.99) as f64 / 1e6, "ms");
}

fn timer_cancel(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let mut queue = DelayQueue::new();
        queue.insert(0, Duration::from_secs(1)); // as in life another one is due before: then the queue's own timer stays
        let began = Instant::now();
        for i in 0..size {
            let key = queue.insert(i, Duration::from_secs(5));
            queue.remove(&key);
        }
        began.elapsed()
    });
    print_rate("timer_cancel", took, size, "pairs/s");
}

// --- crashes and ends --------------------------------------------------------------------------------------------------

enum Work {
    Crash,
    Next,
}

struct Crasher {
    me: Address<Work>,
    samples: Arc<std::sync::Mutex<(Option<Instant>, Vec<u64>)>>,
}

impl Crasher {
    fn once_more(&self) {
        let _ = self.me.send(Work::Crash);
        let _ = self.me.send(Work::Next);
    }

    /// True: another one. The lock is nobody else's and is not held across the panic.
    fn handle(&self, work: Work) {
        match work {
            Work::Crash => {
                self.samples.lock().unwrap().0 = Some(Instant::now());
                panic!("once more");
            }
            Work::Next => {
                let now = Instant::now();
                let mut samples = self.samples.lock().unwrap();
                let crashed = samples.0.take().unwrap();
                samples.1.push((now - crashed).as_nanos() as u64);
            }
        }
    }
}

fn restart(workers: usize, size: usize) {
    let mut samples = on_workers(workers, async move {
        let (me, mut messages) = mailbox();
        let samples = Arc::new(std::sync::Mutex::new((None, Vec::with_capacity(size))));
        let born = || Crasher { me: me.clone(), samples: samples.clone() };
        let mut actor = born();
        actor.once_more();
        while let Some(work) = messages.recv().await {
            let next = matches!(work, Work::Next);
            if catch_unwind(AssertUnwindSafe(|| actor.handle(work))).is_err() {
                actor = born();
            } else if next {
                if samples.lock().unwrap().1.len() == size {
                    break;
                }
                actor.once_more();
            }
        }
        let samples = std::mem::take(&mut samples.lock().unwrap().1);
        samples
    });
    print("restart", percentile(&mut samples, 0.5) as f64 / 1e3, "us");
}

enum ToChild {
    Crash,
    Ask(Address<()>),
}

/// Two restarts in five seconds are allowed.
async fn child(mut messages: Mailbox<ToChild>) -> Option<Mailbox<ToChild>> {
    let mut restarts: Vec<Instant> = Vec::with_capacity(3);
    while let Some(message) = messages.recv().await {
        let crashed = catch_unwind(AssertUnwindSafe(|| match message {
            ToChild::Crash => panic!("crash"),
            ToChild::Ask(asker) => drop(asker.send(())),
        }));
        if crashed.is_err() {
            let now = Instant::now();
            restarts.retain(|restart| now - *restart < Duration::from_secs(5));
            if restarts.len() == 2 {
                return Some(messages); // one crash too many: the parent has to decide
            }
            restarts.push(now);
        }
    }
    None
}

fn escalate(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (address, messages) = mailbox::<ToChild>();
        tokio::spawn(async move {
            let mut escalated = Some(messages);
            while let Some(messages) = escalated {
                escalated = tokio::spawn(child(messages)).await.unwrap(); // the parent's next life makes its child anew
            }
        });
        let (asker, mut answers) = mailbox::<()>();
        let began = Instant::now();
        for _ in 0..size {
            for _ in 0..3 {
                let _ = address.send(ToChild::Crash);
            }
            let _ = address.send(ToChild::Ask(asker.clone()));
            answers.recv().await.unwrap();
        }
        began.elapsed()
    });
    print("escalate", took.as_secs_f64() * 1e6 / size as f64, "us/cycle");
}

fn stop_tree(workers: usize, size: usize) {
    let took = on_workers(workers, async move {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, done) = Countdown::new(size);
        let parent = tokio::spawn(async move {
            let mut children = JoinSet::new();
            let mut addresses = Vec::with_capacity(size);
            for _ in 0..size {
                let (address, mut messages) = mailbox::<u64>();
                children.spawn(async move {
                    while let Some(_message) = messages.recv().await {
                        ready.one();
                    }
                });
                let _ = address.send(1);
                addresses.push(address);
            }
            let _ = stopped.await;
            drop(addresses); // each child's mailbox ends, and with it the child
            while children.join_next().await.is_some() {}
        });
        done.await.unwrap();
        let began = Instant::now();
        drop(stop);
        parent.await.unwrap();
        began.elapsed()
    });
    print("stop_tree", took.as_secs_f64() * 1e3, "ms");
}

fn kill_backlog(workers: usize, size: usize) {
    let handled_after = on_workers(workers, async move {
        let (address, mut messages) = mailbox::<u64>();
        let handled: &'static AtomicU64 = Box::leak(Box::default());
        let (open, opened) = oneshot::channel::<()>();
        let actor = tokio::spawn(async move {
            let _ = opened.await;
            while let Some(_message) = messages.recv().await {
                handled.fetch_add(1, Relaxed);
            }
        });
        for i in 0..size as u64 {
            let _ = address.send(i);
        }
        let _ = open.send(());
        while handled.load(SeqCst) == 0 {
            tokio::task::yield_now().await; // it may be on this worker
        }
        let before = handled.load(SeqCst);
        actor.abort();
        let _ = actor.await;
        handled.load(SeqCst) - before
    });
    print("kill_backlog", handled_after as f64, "messages");
}

// --- an idle machine -----------------------------------------------------------------------------------------------------

fn wake(workers: usize, size: usize) {
    let mut samples = on_workers(workers, async move {
        let (address, mut messages) = mailbox::<Instant>();
        let handled: &'static AtomicBool = Box::leak(Box::default());
        let sender = move || {
            for _ in 0..size {
                std::thread::sleep(Duration::from_millis(1));
                let _ = address.send(Instant::now());
                while !handled.swap(false, SeqCst) {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        };
        std::thread::spawn(sender);
        let mut samples = Vec::with_capacity(size);
        while let Some(sent) = messages.recv().await {
            samples.push(sent.elapsed().as_nanos() as u64);
            handled.store(true, SeqCst);
        }
        samples
    });
    print_latency("wake", &mut samples);
}
