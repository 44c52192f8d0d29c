#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run CASE --workers N --size N: one case of perf/cases.tsv, once, by the Erlang peer; prints NAME VALUE UNIT.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ $# != 5 || $2 != --workers || ! $3 =~ ^[1-9][0-9]*$ || $4 != --size || ! $5 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: run CASE --workers N --size N" >&2
    exit 2
fi
# Room for two million processes at once; no time correction of the monotonic clock, as the manual advises for speed;
# modules are loaded before the clock starts. It writes no crash dump.
ERL_CRASH_DUMP_BYTES=0 exec erl +S "$3:$3" +P 4194304 +C multi_time_warp -noinput \
    -boot start_clean -kernel logger_level none \
    -pa "$here/ebin" \
    -run bench main "$1" "$5" "$here"
