// SPDX-License-Identifier: Apache-2.0

// Many actors: their creation, their memory, their end.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func forkJoinCreate(size int) {
	// The values are positive: the sum reaches its final value at the last message, wherever that is handled.
	total := uint64(size) * uint64(size+1) / 2
	var sum uint64
	done := make(chan struct{})
	actor := func(mail <-chan uint64) {
		if atomic.AddUint64(&sum, <-mail) == total {
			close(done)
		}
	}
	began := time.Now()
	go func() {
		for i := 1; i <= size; i++ {
			mail := make(chan uint64, 1)
			go actor(mail)
			mail <- uint64(i)
		}
	}()
	<-done
	report("fork_join_create", perSecond(size, time.Since(began)), "actors/s")
}

func skynetNode(parent chan<- uint64, first, leaves uint64) {
	if leaves == 1 {
		parent <- first
		return
	}
	children := make(chan uint64, 10)
	each := leaves / 10
	for i := uint64(0); i < 10; i++ {
		go skynetNode(children, first+i*each, each)
	}
	var sum uint64
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	parent <- sum
}

func skynet(size int) {
	leaves := 1
	for leaves*10 <= size {
		leaves *= 10
	}
	root := make(chan uint64)
	began := time.Now()
	go skynetNode(root, 0, uint64(leaves))
	sum := <-root
	took := time.Since(began)
	check(sum == uint64(leaves)*uint64(leaves-1)/2, "the sum is %d", sum)
	report("skynet", float64(took.Nanoseconds())/1e6, "ms")
}

func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	must(err)
	pages, err := strconv.ParseInt(string(bytes.Fields(text)[1]), 10, 64)
	must(err)
	return pages * int64(os.Getpagesize())
}

type actorState struct{ count, sum uint64 }

// populate creates size actors that each have handled one message and wait for the next; it returns their mailboxes.
func populate(size int, handled *sync.WaitGroup) []chan uint64 {
	mails := make([]chan uint64, size)
	handled.Add(size)
	for i := range mails {
		mail := make(chan uint64)
		mails[i] = mail
		go idleActor(mail, handled)
		mail <- 1
	}
	handled.Wait()
	return mails
}

func idleActor(mail <-chan uint64, handled *sync.WaitGroup) {
	var state actorState
	for n := range mail {
		state.count++
		state.sum += n
		handled.Done()
	}
}

func liveActors(size int) {
	debug.FreeOSMemory()
	before := residentBytes()
	var handled sync.WaitGroup
	mails := populate(size, &handled)
	debug.FreeOSMemory()
	growth := residentBytes() - before
	handled.Add(1)
	mails[size-1] <- 1 // they do live
	handled.Wait()
	report("live_actors", float64(growth)/float64(size), "B/actor")
}

// A child ends when its parent closes its mailbox. That is faster than a channel or a context for all of them, which
// each child would select on beside its mailbox.
func treeChild(mail <-chan uint64, started, alive *sync.WaitGroup, ended *int64) {
	defer alive.Done()
	for range mail {
		started.Done()
	}
	atomic.AddInt64(ended, 1)
}

func treeParent(size int, ready chan<- struct{}, stop <-chan struct{}, stopped chan<- int64) {
	var started, alive sync.WaitGroup
	var ended int64
	started.Add(size)
	alive.Add(size)
	mails := make([]chan uint64, size)
	for i := range mails {
		mails[i] = make(chan uint64, 1)
		go treeChild(mails[i], &started, &alive, &ended)
		mails[i] <- 1
	}
	started.Wait()
	close(ready)
	<-stop
	for _, mail := range mails {
		close(mail)
	}
	alive.Wait()
	stopped <- ended
}

func stopTree(size int) {
	ready, stop, stopped := make(chan struct{}), make(chan struct{}), make(chan int64)
	go treeParent(size, ready, stop, stopped)
	<-ready
	began := time.Now()
	close(stop)
	ended := <-stopped
	took := time.Since(began)
	check(ended == int64(size), "%d of %d children ended", ended, size)
	report("stop_tree", float64(took.Nanoseconds())/1e6, "ms")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func idle(size int) {
	var handled sync.WaitGroup
	mails := populate(size, &handled)
	debug.FreeOSMemory()
	time.Sleep(200 * time.Millisecond) // what the creation left to do is done
	observer := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "observe"), strconv.Itoa(os.Getpid()), "5")
	text, err := observer.Output()
	must(err)
	var switches, cpu float64
	_, err = fmt.Sscan(string(text), &switches, &cpu)
	must(err)
	handled.Add(1)
	mails[size-1] <- 1 // they do live
	handled.Wait()
	report("idle", switches, "wake-ups")
	report("idle_cpu", cpu/1e6, "ms")
}
