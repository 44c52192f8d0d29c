// SPDX-License-Identifier: Apache-2.0
//! Supervised actors on Tokio, as a careful team would build them for itself. An actor is a task with a restart loop: an
//! incarnation that panics is caught, its children are stopped and awaited, and the next incarnation goes on with the same
//! mailbox. A CancellationToken per actor, child of its parent's, stops whole trees. A biased select serves control (the
//! token, escalations) before timers and messages. A child that crashes too often tells its parent on the parent's
//! escalation channel, and the parent then fails itself.
//!
//! What not every actor needs is made at first use: the tree of children, the escalation channel, the timers.
use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::time::delay_queue::{DelayQueue, Key};

pub trait Actor: Send + 'static {
    type Message: Send + 'static;
    /// At the begin of every incarnation.
    fn started(&mut self, _context: &mut Context<Self::Message>) {}
    fn handle(&mut self, message: Self::Message, context: &mut Context<Self::Message>);
}

/// How many restarts are allowed within which time.
#[derive(Clone, Copy)]
pub struct Window {
    pub restarts: usize,
    pub within: Duration,
}

pub const ALWAYS: Window = Window { restarts: usize::MAX, within: Duration::from_secs(5) };

pub struct Address<M>(UnboundedSender<M>);

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Address(self.0.clone())
    }
}

impl<M> Address<M> {
    /// False: the actor has ended.
    pub fn tell(&self, message: M) -> bool {
        self.0.send(message).is_ok()
    }
}

/// "A child of yours crashed once too often."
struct Escalation;

/// What an actor has of its own. The stop token is the actor's; that of its children is its incarnation's.
pub struct Context<M> {
    me: UnboundedSender<M>,
    stop: CancellationToken,
    stopping: bool,
    family: Option<Family>,
    timers: Option<DelayQueue<M>>,
}

struct Family {
    token: CancellationToken,
    tasks: JoinSet<()>,
    escalate: UnboundedSender<Escalation>,
    escalations: UnboundedReceiver<Escalation>,
}

impl<M: Send + 'static> Context<M> {
    pub fn address(&self) -> Address<M> {
        Address(self.me.clone())
    }

    /// Ends the actor after this message.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// A child: it ends with this incarnation. `born` makes each of its incarnations.
    pub fn spawn<A: Actor>(
        &mut self,
        window: Window,
        born: impl FnMut() -> A + Send + 'static,
    ) -> (Address<A::Message>, CancellationToken) {
        let stop = &self.stop;
        let family = self.family.get_or_insert_with(|| {
            let (escalate, escalations) = unbounded_channel();
            Family { token: stop.child_token(), tasks: JoinSet::new(), escalate, escalations }
        });
        let token = family.token.child_token();
        let (me, mailbox) = unbounded_channel();
        let up = family.escalate.clone();
        family.tasks.spawn(live(born, window, me.clone(), mailbox, token.clone(), up));
        (Address(me), token)
    }

    pub fn send_after(&mut self, message: M, due: Instant) -> Key {
        self.timers.get_or_insert_with(DelayQueue::new).insert_at(message, due.into())
    }

    pub fn cancel(&mut self, timer: &Key) {
        if let Some(timers) = &mut self.timers {
            timers.remove(timer);
        }
    }

    /// The incarnation's end: its timers go, its children are stopped and awaited.
    async fn end(&mut self) {
        self.timers = None;
        if let Some(mut family) = self.family.take() {
            family.token.cancel();
            while family.tasks.join_next().await.is_some() {}
        }
    }
}

/// The root of a tree, and the handle of its task.
pub fn root<A: Actor>(
    born: impl FnMut() -> A + Send + 'static,
) -> (Address<A::Message>, CancellationToken, tokio::task::JoinHandle<()>) {
    let token = CancellationToken::new();
    let (me, mailbox) = unbounded_channel();
    let (up, _) = unbounded_channel();
    let task = tokio::spawn(live(born, ALWAYS, me.clone(), mailbox, token.clone(), up));
    (Address(me), token, task)
}

/// One incarnation after the other.
async fn live<A: Actor>(
    mut born: impl FnMut() -> A + Send + 'static,
    window: Window,
    me: UnboundedSender<A::Message>,
    mut mailbox: UnboundedReceiver<A::Message>,
    stop: CancellationToken,
    up: UnboundedSender<Escalation>,
) {
    let stopped = stop.cancelled();
    tokio::pin!(stopped);
    let mut context = Context { me, stop: stop.clone(), stopping: false, family: None, timers: None };
    let mut crashes = VecDeque::new();
    loop {
        let mut actor = born();
        let served = AssertUnwindSafe(serve(&mut actor, &mut mailbox, &mut context, stopped.as_mut()));
        let stopped = served.catch_unwind().await;
        context.end().await;
        match stopped {
            Ok(true) => return,
            Ok(false) | Err(_) => {}
        }
        if !allows(window, &mut crashes) {
            let _ = up.send(Escalation);
            return;
        }
    }
}

/// One crash more: is it within the limit?
fn allows(window: Window, crashes: &mut VecDeque<Instant>) -> bool {
    if window.restarts == usize::MAX {
        return true;
    }
    let now = Instant::now();
    while crashes.front().map_or(false, |crash| now - *crash > window.within) {
        crashes.pop_front();
    }
    crashes.push_back(now);
    crashes.len() <= window.restarts
}

/// One incarnation. True: it has stopped; false: it failed with a child of its.
async fn serve<A: Actor>(
    actor: &mut A,
    mailbox: &mut UnboundedReceiver<A::Message>,
    context: &mut Context<A::Message>,
    mut stopped: std::pin::Pin<&mut WaitForCancellationFuture<'_>>,
) -> bool {
    actor.started(context);
    while !context.stopping {
        let message = tokio::select! {
            biased;
            _ = &mut stopped => return true,
            crashed = child_gone(&mut context.family), if context.family.is_some() => {
                if crashed {
                    return false;
                }
                continue;
            }
            Some(message) = expired(&mut context.timers), if context.timers.is_some() => message,
            message = mailbox.recv() => match message {
                Some(message) => message,
                None => return true,
            },
        };
        actor.handle(message, context);
    }
    true
}

/// Comes back when a child escalated (true) or ended by itself (false; its record is freed by that).
async fn child_gone(family: &mut Option<Family>) -> bool {
    match family {
        None => false,
        Some(family) => tokio::select! {
            biased;
            _ = family.escalations.recv() => true,
            Some(_) = family.tasks.join_next() => false,
        },
    }
}

/// The message of the next timer that is due; None: there is no timer.
fn expired<M>(timers: &mut Option<DelayQueue<M>>) -> impl Future<Output = Option<M>> + '_ {
    poll_fn(move |wake| match timers {
        Some(timers) => match std::pin::Pin::new(timers).poll_next(wake) {
            Poll::Ready(expired) => Poll::Ready(expired.map(|expired| expired.into_inner())),
            Poll::Pending => Poll::Pending,
        },
        None => Poll::Pending,
    })
}
