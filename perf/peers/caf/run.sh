#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run CASE --workers N --size N: one case of perf/cases.tsv, once, by the CAF peer; prints NAME VALUE UNIT.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=peer
if [[ ${1-} == live_actors ]]; then program=peer_small; fi
exec "$here/$program" "$@"
