// SPDX-License-Identifier: Apache-2.0

// The Go peer: run CASE --workers N --size N measures one case of perf/cases.tsv, once, and prints NAME VALUE UNIT.
// This file owns the command line, the clock, and what several cases print or read; the cases are in the other files.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"time"
)

var cases = map[string]func(size int){
	"ping_pong":        pingPong,
	"thread_ring":      threadRing,
	"counting":         counting,
	"fan_in":           fanIn,
	"big":              big,
	"chameneos":        chameneos,
	"fork_join_create": forkJoinCreate,
	"skynet":           skynet,
	"live_actors":      liveActors,
	"ask":              ask,
	"timers":           timers,
	"timer_cancel":     timerCancel,
	"restart":          restart,
	"escalate":         escalate,
	"stop_tree":        stopTree,
	"wake":             wake,
	"kill_backlog":     killBacklog,
	"idle":             idle,
}

// The collector stays off until the heap has this size: the setting of Go's own guide for a program that knows what
// memory it may take.
const memoryLimit = 6 << 30

var workers int

func main() {
	name, size := arguments()
	run, ok := cases[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "peers/go: there is no case '%s'\n", name)
		os.Exit(3)
	}
	runtime.GOMAXPROCS(workers)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	run(size)
}

func arguments() (name string, size int) {
	args := os.Args[1:]
	if len(args) == 5 && !strings.HasPrefix(args[0], "-") {
		for i := 1; i < 5; i += 2 {
			value, err := strconv.Atoi(args[i+1])
			switch {
			case err != nil || value < 1:
			case args[i] == "--workers":
				workers = value
			case args[i] == "--size":
				size = value
			}
		}
	}
	if workers == 0 || size == 0 {
		fmt.Fprintln(os.Stderr, "usage: run CASE --workers N --size N")
		os.Exit(2)
	}
	return args[0], size
}

func report(name string, value float64, unit string) {
	digits := 2
	if value >= 1000 {
		digits = 0
	}
	fmt.Printf("%s %.*f %s\n", name, digits, value, unit)
}

func perSecond(count int, took time.Duration) float64 { return float64(count) / took.Seconds() }

func perItem(count int, took time.Duration) float64 {
	return float64(took.Nanoseconds()) / float64(count)
}

// check ends the program when a case did not do what it had to.
func check(ok bool, format string, args ...any) {
	if !ok {
		fmt.Fprintf(os.Stderr, "peers/go: WRONG RESULT: "+format+"\n", args...)
		os.Exit(1)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers/go:", err)
		os.Exit(1)
	}
}

var epoch = time.Now()

// now is monotonic, ns.
func now() int64 { return int64(time.Since(epoch)) }

// percentile sorts the samples.
func percentile(samples []int64, p float64) float64 {
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := int(p * float64(len(samples)))
	if at >= len(samples) {
		at = len(samples) - 1
	}
	return float64(samples[at])
}
