// SPDX-License-Identifier: Apache-2.0

// Messages between goroutines: an actor is a goroutine, its mailbox a channel of 8-byte values.
package main

import (
	"sync"
	"time"
)

// A sender blocks when this many wait; a long queue would only leave the cache.
const mailboxSlots = 1024

func pingPong(size int) {
	a, b := make(chan uint64), make(chan uint64)
	done := make(chan uint64)
	player := func(in <-chan uint64, out chan<- uint64) {
		var handled uint64
		for ball := range in {
			handled++
			if ball == uint64(size) {
				break
			}
			out <- ball + 1
		}
		done <- handled
	}
	began := time.Now()
	go player(a, b)
	go player(b, a)
	a <- 1
	handled := <-done
	took := time.Since(began)
	if size%2 == 1 {
		close(b)
	} else {
		close(a)
	}
	handled += <-done
	check(handled == uint64(size), "%d messages handled of %d", handled, size)
	report("ping_pong", perItem(size, took), "ns/message")
}

func threadRing(size int) {
	const actors = 503
	var links [actors]chan uint64
	for i := range links {
		links[i] = make(chan uint64)
	}
	done := make(chan int)
	for i := range links {
		go func(i int, in <-chan uint64, out chan<- uint64) {
			for left := range in {
				if left == 0 {
					done <- i
					return
				}
				out <- left - 1
			}
		}(i, links[i], links[(i+1)%actors])
	}
	began := time.Now()
	links[0] <- uint64(size)
	last := <-done
	took := time.Since(began)
	check(last == size%actors, "the token ended at %d, not at %d", last, size%actors)
	report("thread_ring", perItem(size, took), "ns/hop")
}

func counting(size int) {
	const askSum = ^uint64(0)
	mail := make(chan uint64, mailboxSlots)
	answer := make(chan uint64)
	go func() {
		var sum uint64
		for n := range mail {
			if n == askSum {
				answer <- sum
				return
			}
			sum += n
		}
	}()
	type result struct {
		sum  uint64
		took time.Duration
	}
	done := make(chan result)
	go func() {
		began := time.Now()
		for i := 1; i <= size; i++ {
			mail <- uint64(i)
		}
		mail <- askSum
		sum := <-answer
		done <- result{sum, time.Since(began)}
	}()
	r := <-done
	check(r.sum == uint64(size)*uint64(size+1)/2, "the sum is %d", r.sum)
	report("counting", perSecond(size, r.took), "messages/s")
	swapRate("counting_swap", 1, size)
}

// swapMailbox is what one writes by hand when a channel is too slow: its consumer takes all that waits at once. It has
// no bound, and a consumer that sleeps in it cannot wait for anything else (no select).
type swapMailbox struct {
	mutex   sync.Mutex
	filled  *sync.Cond
	waiting []uint64
	sleeps  bool
}

func newSwapMailbox() *swapMailbox {
	m := new(swapMailbox)
	m.filled = sync.NewCond(&m.mutex)
	return m
}

func (m *swapMailbox) put(message uint64) {
	m.mutex.Lock()
	m.waiting = append(m.waiting, message)
	wakes := m.sleeps
	m.sleeps = false
	m.mutex.Unlock()
	if wakes {
		m.filled.Signal()
	}
}

// take returns what waits, at least one message; done is a slice that it may fill again.
func (m *swapMailbox) take(done []uint64) []uint64 {
	m.mutex.Lock()
	for len(m.waiting) == 0 {
		m.sleeps = true
		m.filled.Wait()
	}
	messages := m.waiting
	m.waiting = done[:0]
	m.mutex.Unlock()
	return messages
}

// swapRate is counting and fan_in with such a mailbox.
func swapRate(name string, producers, each int) {
	mail := newSwapMailbox()
	done := make(chan uint64)
	began := time.Now()
	go func() {
		var sum uint64
		var batch []uint64
		for handled := 0; handled < producers*each; handled += len(batch) {
			batch = mail.take(batch)
			for _, n := range batch {
				sum += n
			}
		}
		done <- sum
	}()
	for p := 0; p < producers; p++ {
		go func() {
			for i := 1; i <= each; i++ {
				mail.put(uint64(i))
			}
		}()
	}
	sum := <-done
	took := time.Since(began)
	check(sum == uint64(producers)*uint64(each)*uint64(each+1)/2, "the sum is %d", sum)
	report(name, perSecond(producers*each, took), "messages/s")
}

func fanIn(size int) {
	const producers = 8
	each := size / producers
	mail := make(chan uint64, mailboxSlots)
	done := make(chan uint64)
	go func() {
		var sum uint64
		for i := 0; i < each*producers; i++ {
			sum += <-mail
		}
		done <- sum
	}()
	began := time.Now()
	for p := 0; p < producers; p++ {
		go func() {
			for i := 1; i <= each; i++ {
				mail <- uint64(i)
			}
		}()
	}
	sum := <-done
	took := time.Since(began)
	check(sum == producers*uint64(each)*uint64(each+1)/2, "the sum is %d", sum)
	report("fan_in", perSecond(each*producers, took), "messages/s")
	swapRate("fan_in_swap", producers, each)
}

type bigMessage struct {
	from uint32
	pong bool
}

// random is xorshift64*.
type random uint64

func (r *random) next() uint64 {
	x := *r
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = x
	return uint64(x) * 2685821657736338717
}

func bigActor(me int, mails []chan bigMessage, pings int, finished *sync.WaitGroup, handled *uint64) {
	seed := random(me + 1)
	mail := mails[me]
	count, left := uint64(0), pings
	ping := func() {
		to := seed.next() >> 32 % uint64(len(mails)-1)
		if to >= uint64(me) {
			to++
		}
		mails[to] <- bigMessage{from: uint32(me)}
	}
	ping()
	for m := range mail {
		count++
		if !m.pong {
			mails[m.from] <- bigMessage{pong: true}
		} else if left--; left > 0 {
			ping()
		} else {
			finished.Done()
		}
	}
	*handled = count
	finished.Done()
}

func big(size int) {
	const actors = 512
	pings := size / actors / 2
	check(pings > 0, "--size must be at least %d", actors*2)
	mails := make([]chan bigMessage, actors)
	for i := range mails {
		mails[i] = make(chan bigMessage, actors) // holds a ping of every other one and a pong: nobody ever blocks in a send
	}
	var finished sync.WaitGroup
	finished.Add(actors)
	handled := make([]uint64, actors)
	began := time.Now()
	for i := range mails {
		go bigActor(i, mails, pings, &finished, &handled[i])
	}
	finished.Wait()
	took := time.Since(began)
	finished.Add(actors)
	for _, mail := range mails {
		close(mail)
	}
	finished.Wait()
	var sum uint64
	for _, n := range handled {
		sum += n
	}
	check(sum == uint64(pings)*actors*2, "%d messages handled", sum)
	report("big", perSecond(int(sum), took), "messages/s")
}

type request struct {
	from  uint32
	color uint32
}

func chameneo(me int, mall chan<- request, mail <-chan request, met *uint64, ended *sync.WaitGroup) {
	color := uint32(me % 3)
	count := uint64(0)
	mall <- request{uint32(me), color}
	for other := range mail {
		if color != other.color {
			color = 3 - color - other.color
		}
		count++
		mall <- request{uint32(me), color}
	}
	*met = count
	ended.Done()
}

func chameneos(size int) {
	const creatures = 100
	mall := make(chan request, creatures)
	var mails [creatures]chan request
	var met [creatures]uint64
	var ended sync.WaitGroup
	ended.Add(creatures)
	done := make(chan struct{})
	began := time.Now()
	for i := range mails {
		mails[i] = make(chan request, 1)
		go chameneo(i, mall, mails[i], &met[i], &ended)
	}
	go func() {
		for i := 0; i < size; i++ {
			first := <-mall
			second := <-mall
			mails[first.from] <- second
			mails[second.from] <- first
		}
		close(done)
	}()
	<-done
	took := time.Since(began)
	for _, mail := range mails {
		close(mail)
	}
	for range mails { // each one's last request
		<-mall
	}
	ended.Wait()
	var sum uint64
	for _, n := range met {
		sum += n
	}
	check(sum == 2*uint64(size), "%d meetings", sum)
	report("chameneos", perSecond(4*size, took), "messages/s")
}
