#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# observe PID SECONDS: prints the voluntary context switches and the CPU time in ns of all threads of a process over so
# many seconds. Outside of that process, so that looking does not wake it up. The builds of some peers install it beside
# their program.
read_now() {
    cat /proc/"$1"/task/*/status /proc/"$1"/task/*/schedstat |
        awk '/^voluntary_ctxt_switches:/ { n += $2 }
            /^[0-9]+ [0-9]+ [0-9]+$/ { cpu += $1 }
            END { printf "%d %d", n, cpu }'
}
before=$(read_now "$1")
sleep "$2"
echo "$before $(read_now "$1")" | awk '{ printf "%d %d\n", $3 - $1, $4 - $2 }'
