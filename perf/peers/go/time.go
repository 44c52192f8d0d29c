// SPDX-License-Identifier: Apache-2.0

// Deadlines, timers, and how long an idle runtime takes to wake up.
package main

import (
	"sync/atomic"
	"time"
)

type question struct {
	value uint64
	reply chan<- uint64
}

func ask(size int) {
	server := make(chan question)
	go func() {
		for q := range server {
			q.reply <- q.value + 1
		}
	}()
	done := make(chan time.Duration)
	go func() {
		reply := make(chan uint64, 1)
		deadline := time.NewTimer(time.Hour)
		var sum uint64
		began := time.Now()
		for i := 0; i < size; i++ {
			if !deadline.Stop() {
				<-deadline.C
			}
			deadline.Reset(5 * time.Second)
			server <- question{uint64(i), reply}
			select {
			case value := <-reply:
				sum += value
			case <-deadline.C:
				check(false, "an answer took 5 s")
			}
		}
		took := time.Since(began)
		check(sum == uint64(size)*uint64(size+1)/2, "the sum of the answers is %d", sum)
		done <- took
	}()
	report("ask", perItem(size, <-done), "ns/round trip")
}

func timers(size int) {
	mail := make(chan int64, size) // a timer never blocks in its send
	late := make([]int64, 0, size)
	done := make(chan time.Duration)
	go func() {
		for due := range mail {
			if late = append(late, now()-due); len(late) == size {
				break
			}
		}
		done <- cpuTime()
	}()
	seed := random(42)
	cpuBefore, began := cpuTime(), now()
	for i := 0; i < size; i++ {
		delay := time.Duration(2e9 + seed.next()%1e9)
		due := now() + int64(delay)
		time.AfterFunc(delay, func() { mail <- due })
	}
	armed := now() - began
	check(armed < 2e9, "the first timer was due before the last was armed, after %d ms", armed/1e6)
	cpu := <-done - cpuBefore
	for _, ns := range late {
		check(ns >= 0, "a timer came %d ns early", -ns)
	}
	report("timers", perItem(size, cpu), "CPU ns/timer")
	report("timers_late_p99", percentile(late, 0.99)/1e6, "ms")
}

// cancelRate arms and cancels size timers one after another; pair is one of them, true: it was cancelled in time.
func cancelRate(name string, size int, pair func(*time.Timer) bool) {
	var fired int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		timer := time.AfterFunc(time.Hour, func() { atomic.AddInt64(&fired, 1) })
		timer.Stop()
		cancelled := 0
		began := time.Now()
		for i := 0; i < size; i++ {
			if pair(timer) {
				cancelled++
			}
		}
		took := time.Since(began)
		check(cancelled == size && fired == 0, "%d of %d cancelled, %d fired", cancelled, size, fired)
		report(name, perSecond(size, took), "pairs/s")
	}()
	<-done
}

// A timer that is armed over and over is made once and reset; a new one for each stands beside it.
func timerCancel(size int) {
	cancelRate("timer_cancel", size, func(timer *time.Timer) bool {
		timer.Reset(5 * time.Second)
		return timer.Stop()
	})
	cancelRate("timer_cancel_new", size, func(*time.Timer) bool {
		return time.AfterFunc(5*time.Second, func() {}).Stop()
	})
}

// wake sends size messages to an idle actor, each after 2 ms of rest. Which thread runs the actor is the runtime's
// choice.
func wake(size int) {
	mail := make(chan int64)
	answer := make(chan int64)
	go func() {
		for sent := range mail {
			answer <- now() - sent
		}
	}()
	samples := make([]int64, size)
	for i := range samples {
		time.Sleep(2 * time.Millisecond)
		mail <- now()
		samples[i] = <-answer
	}
	report("wake", percentile(samples, 0.5)/1e3, "us")
	report("wake_p99", percentile(samples, 0.99)/1e3, "us")
}
