// SPDX-License-Identifier: Apache-2.0

// Crashes: panic, recover, and a loop around them that is the supervisor; the mailbox outlives the incarnations.
package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	crash = iota
	next
)

var errCrash = errors.New("once more")

type crasher struct {
	mail      chan uint64
	crashedAt int64
	samples   []int64
	crashes   int
}

// live is one incarnation; true: it crashed.
func (c *crasher) live() (crashed bool) {
	defer func() {
		if recover() != nil {
			crashed = true
		}
	}()
	state := new(actorState)
	for m := range c.mail {
		state.count++
		if m == crash {
			c.crashedAt = now()
			panic(errCrash)
		}
		c.samples = append(c.samples, now()-c.crashedAt)
		check(state.count == 1, "the incarnation is not a new one")
		if len(c.samples) == cap(c.samples) {
			return false
		}
		c.mail <- crash
		c.mail <- next
	}
	return false
}

func restart(size int) {
	c := &crasher{mail: make(chan uint64, 2), samples: make([]int64, 0, size)}
	done := make(chan struct{})
	c.mail <- crash
	c.mail <- next
	go func() {
		for c.live() {
			c.crashes++
		}
		close(done)
	}()
	<-done
	check(c.crashes == size && len(c.samples) == size, "%d crashes", c.crashes)
	report("restart", percentile(c.samples, 0.5)/1e3, "us")
}

const restartsAllowed = 2

// A child may restart twice; what it does beyond that is its parent's crash.
type family struct {
	mail        chan uint64 // of the child, whichever it is
	answers     chan int64
	failed      chan error
	crashes     int64
	incarnation int64 // of the parent
}

func (f *family) childLive() (crashed error) {
	defer func() {
		if reason := recover(); reason != nil {
			crashed = reason.(error)
		}
	}()
	for m := range f.mail {
		if m == crash {
			f.crashes++
			panic(errCrash)
		}
		f.answers <- atomic.LoadInt64(&f.incarnation)
	}
	return nil
}

func (f *family) child() {
	var err error
	for restarts := 0; restarts <= restartsAllowed; restarts++ {
		if err = f.childLive(); err == nil {
			break
		}
	}
	f.failed <- err
}

// parentLive is one incarnation of the parent; true: it crashed.
func (f *family) parentLive() (crashed bool) {
	defer func() {
		if recover() != nil {
			crashed = true
		}
	}()
	atomic.AddInt64(&f.incarnation, 1)
	go f.child()
	if err := <-f.failed; err != nil {
		panic(err)
	}
	return false
}

func escalate(size int) {
	f := &family{mail: make(chan uint64, 4), answers: make(chan int64), failed: make(chan error)}
	ended := make(chan struct{})
	go func() {
		for f.parentLive() {
		}
		close(ended)
	}()
	f.mail <- next
	<-f.answers
	began := time.Now()
	for i := 0; i < size; i++ {
		for c := 0; c <= restartsAllowed; c++ {
			f.mail <- crash
		}
		f.mail <- next
		incarnation := <-f.answers
		check(incarnation == int64(i+2), "the parent's incarnation is %d, not %d", incarnation, i+2)
	}
	took := time.Since(began)
	close(f.mail)
	<-ended
	check(f.crashes == int64(size)*(restartsAllowed+1), "%d crashes", f.crashes)
	report("escalate", perItem(size, took)/1e3, "us/cycle")
}

// victim asks before each message whether it has been killed. Its first message keeps it busy until the kill is sent.
func victim(killed <-chan struct{}, mail <-chan uint64, sent *int32, handled *uint64, ended chan<- struct{}) {
	defer close(ended)
	for {
		select {
		case <-killed:
			return
		default:
		}
		select {
		case <-killed:
			return
		case n := <-mail:
			for n == 0 && atomic.LoadInt32(sent) == 0 {
				runtime.Gosched()
			}
			*handled += n
		}
	}
}

func killBacklog(size int) {
	ctx, kill := context.WithCancel(context.Background())
	mail := make(chan uint64, size)
	var sent int32
	var handled uint64
	ended := make(chan struct{})
	go victim(ctx.Done(), mail, &sent, &handled, ended)
	mail <- 0
	for len(mail) > 0 { // it is still waiting
		runtime.Gosched()
	}
	for i := 0; i < size; i++ {
		mail <- 1
	}
	kill()
	atomic.StoreInt32(&sent, 1)
	<-ended
	check(len(mail) == size-int(handled), "%d wait", len(mail))
	report("kill_backlog", float64(handled), "messages")
}
