# SPDX-License-Identifier: MIT
# kill -9 of each of the four processes of a move at each row of the hand-over table
# (docs/protocol.md 8), each vmrun started again after it, and kill -9 of each process at each of
# its own points. What the row promises is asserted: who runs, what the records hold, what may be
# started again. Each side has a listener: the one on A answers the target's questions, the one on
# B is started again when it was killed. Whoever runs the VM writes its ticks to one file
# (move.bash), so a second one shows.
load ../lib/vm
load ../lib/move

setup() {
	move_setup
	need_faults
}
teardown() { vm_teardown; }

# world: web runs on A, both listeners are up.
world() {
	start_web
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen_b
}

# frozen SIDE POINT: the move is under way and its process of that side waits at the point; $W/at
# is removed to let it go on.
frozen() {
	export VMFERRY_FAULT=$2=wait:$W/at
	if [ "$1" = target ]; then
		kill "$BL"
		wait "$BL" || true
		listen_b      # its children inherit the fault
	fi
	move --ask "$ASK" --handover-timeout 20s
	unset VMFERRY_FAULT
	until_true 20 test -e "$W/at" || { tail "$W"/*.log "$W/move.err"; return 1; }
}
thaw() { rm -f "$W/at"; }

kill_source_vmmigrate() { kill -9 "$MV"; wait "$MV" || true; }
kill_source_vmrun() { kill -9 "$AVM"; wait "$AVM" || true; }
kill_target_vmmigrate() {
	local c
	c=$(children "$BL")
	kill -9 "$BL"
	# vmrun is a child of the listener's child, in a session of its own: it is not among these.
	for p in $c; do kill -9 "$p" 2>/dev/null || true; done
	wait "$BL" || true
}
kill_target_vmrun() { kill -9 "$(vm_pid b)"; until_true 10 no_vm b; }
listen_again() { listen_b; }

runs_only_on() {
	until_true 20 runs_on "$1" || return 1
	if [ "$1" = a ]; then until_true 20 no_vm b; else ! runs_on a; fi || {
		echo "both have it"
		return 1
	}
	ticks_on && ticks_right && check_on "$1"
}
runs_nowhere() {
	until_true 20 no_vm a && until_true 20 no_vm b || { echo "somebody has it"; return 1; }
	ticks_right
}

# ---- the table ----

# Each row of it: the point at which the move is stopped, the records then, and who runs.
declare -gA POINT=(
	[agreed]="source vmmigrate.source.agreed" [pre-copy]="source vmmigrate.source.round" \
	[paused]="source vmmigrate.source.paused"
	[ready]="source vmmigrate.source.ready-heard" [released]="source vmmigrate.source.released"
	[owned]="target vmmigrate.target.started" [running]="source vmmigrate.source.running-heard"
)
declare -gA RECORDS=(
	[agreed]="- -" [pre-copy]="moving -" [paused]="moving -" [ready]="moving ready" \
	[released]="released ready"
	[owned]="released owned" [running]="released owned"
)
declare -gA RUNS=([agreed]=a [pre-copy]=a [owned]=b [running]=b)

# stage ROW: the move is stopped in that row; a save of web from before it is in $W/before.vms.
stage() {
	world
	on_a vmsnap --quiet web "$W/before.vms"
	# shellcheck disable=SC2086
	frozen ${POINT[$1]}
	MOVE=$(grep -oE 'incoming from [^ ]+, move [0-9a-f-]+' "$W/b.log" | grep -oE '[0-9a-f-]+$')
	# shellcheck disable=SC2086
	until_true 10 records_are ${RECORDS[$1]}
	records_right
	case ${RUNS[$1]:-nobody} in
	a) runs_on a && ! runs_on b ;;
	b) runs_on b && ! runs_on a ;;
	nobody) ! runs_on a && ! runs_on b ;;
	esac
}

# Every record there is tells of this move of this VM, names the other side, and counts moves.
records_right() { record_holds a "$BADDR" && record_holds b "$ASK"; }
record_holds() {
	local f=$W/$1/state/moves/$UUID.json
	[ ! -e "$f" ] || jq -e --arg vm "$UUID" --arg move "$MOVE" --arg peer "$2" \
		'.vm == $vm and .move == $move and .name == "web" and
		.peer == $peer and .generation ==
			(if .state == "owned" or .state == "moved" then 1 else 0 end)' \
		"$f" >/dev/null || {
		cat "$f"
		return 1
	}
}

# again HOST HOW [options]: a vmrun of that VM is started once more there, by its kernel or from
# the save. Its pid in $AGAIN.
again() {
	local host=$1 from=(--kernel "$STEP" --append "pages=64 tick=1000" --memory 32M \
		--uuid "$UUID")
	[ "$2" = kernel ] || from=(--restore "$W/before.vms")
	shift 2
	exec_on "$host" vmrun --name web "${from[@]}" "$@" >"$W/again.log" 2>&1 </dev/null 3>&- &
	AGAIN=$!
	PIDS+=("$AGAIN")
}

# again_refused HOST HOW STATUS TEXT: it ends at once, and says why. It would write to the file
# that web writes to.
again_refused() {
	local rc=0
	again "$1" "$2" --serial "file:$W/both.out"
	wait_gone 10 "$AGAIN" && { wait "$AGAIN" || rc=$?; }
	[ "$rc" = "$3" ] && grep -qF -- "$4" "$W/again.log" || {
		echo "started again on $1 by $2: $rc, not $3"
		cat "$W/again.log"
		return 1
	}
}
# again_paused HOST HOW: it is let start, and ended in order.
again_paused() {
	again "$1" "$2" --serial none --paused
	until_true 10 started_or_not "$1" "$AGAIN"
	"on_$1" vmrun ctl web quit >/dev/null && wait "$AGAIN" || {
		echo "not started again on $1 by $2"
		cat "$W/again.log"
		return 1
	}
}
# again_runs HOST HOW: nobody else runs it: it is let run, and runs.
again_runs() {
	rm -f "$W/again.out"
	again "$1" "$2" --serial "file:$W/again.out"
	wait_line 10 'tick [0-9]' "$W/again.out" && "on_$1" vmrun ctl web quit >/dev/null &&
		wait "$AGAIN" ||
		{ echo "does not run again on $1 by $2"; cat "$W/again.log"; return 1; }
}

# restart HOST VERDICT: what a vmrun of that VM is told when it is started again there, now.
# "moving": things are changing.
restart() {
	local how
	for how in kernel restore; do
		case $2 in
		moving) ;;
		allowed) again_paused "$1" $how ;;
		runs) again_runs "$1" $how ;;
		taken) again_refused "$1" $how 3 "web: already running (pid $(vm_pid "$1")," ;;
		released)
			again_refused "$1" $how 5 \
				"web: released to $BADDR (move $MOVE) and may run there: see vmmigrate status web"
			;;
		moved) again_refused "$1" $how 5 "web: owned by peer $BADDR (move $MOVE: moved)" ;;
		returned)
			again_refused "$1" $how 5 "web: owned by peer $ASK (move $MOVE: returned)"
			;;
		ready)
			again_refused "$1" $how 5 \
				"ownership of the VM is unresolved: READY for move $MOVE from $ASK: see vmmigrate status web"
			;;
		*) false ;;
		esac || { echo "restart on $1: $2: $(records)"; return 1; }
	done
}

# row ROW KILLED EXIT RUNS RECORDS NOW_A NOW_B THEN_A THEN_B: in that row that process is killed,
# each vmrun is started again (NOW), all others go on; the move ends with EXIT (- when it was the
# one), who RUNS then (- nobody), with those records and, started again once more, THEN.
row() {
	local was
	stage "$1"
	was=$(vm_pid b || true)
	"kill_$2"
	restart a "$6"
	restart b "$7"
	thaw
	# From READY on the target asks, so its host's listener is started again.
	case $1.$2 in agreed.* | pre-copy.* | paused.*) ;; *.target_vmmigrate) listen_again ;; esac
	[ "$3" = - ] || moved "$3"
	# shellcheck disable=SC2086
	until_true 20 records_are $5
	records_right
	case $4 in
	a) runs_only_on a && [ "$(vm_pid a)" = "$AVM" ] ;;
	b) runs_only_on b && [ "$(vm_pid b)" = "$was" ] ;;
	-) runs_nowhere ;;
	esac
	[ "$5" != "moved owned" ] || [ "$2" = source_vmrun ] || moved_away
	restart a "$8"
	restart b "$9"
	[ "$4" = - ] || runs_only_on "$4"
}

# The source's vmrun has ended, and says that its VM has moved.
moved_away() {
	local rc=0
	until_true 10 no_vm a
	wait "$AVM" || rc=$?
	[ "$rc" = 20 ]
}

# After a row in which the source's vmmigrate was killed and the VM has moved: the source never
# runs it again by itself; `resume` closes the books.
resumed() {
	stands_on a
	[ "$(on_a vmrun ctl web query-status | jq -r .status)" = postmigrate ]
	run on_a vmrun ctl web cont
	[ "$status" -ne 0 ]
	run -0 on_a vmmigrate resume web
	moved_away
	records_are moved owned
	records_right
	restart a moved
	runs_only_on b
}

# bats file_tags=slow,accel

# row ROW KILLED                 EXIT RUNS RECORDS       NOW on A, on B     THEN on A, on B
@test "move, agreed: kill -9 of the source's vmmigrate: the source runs on" {
	row agreed source_vmmigrate     - a "- -"                 taken moving       taken allowed
}
@test "move, agreed: kill -9 of the source's vmrun: exit 6, nothing is left" {
	row agreed source_vmrun         6 - "- -"                 allowed moving     runs runs
}
@test "move, agreed: kill -9 of the target's vmmigrate: the source runs on" {
	row agreed target_vmmigrate     4 a "aborted -"           taken moving       taken allowed
}
@test "move, agreed: kill -9 of the target's vmrun: the source runs on" {
	row agreed target_vmrun         4 a "aborted -"           taken allowed      taken allowed
}
@test "move, pre-copy: kill -9 of the source's vmmigrate: the source runs on" {
	row pre-copy source_vmmigrate   - a "aborted -"           taken moving       taken allowed
}
@test "move, pre-copy: kill -9 of the source's vmrun: exit 6, nothing is left" {
	row pre-copy source_vmrun       6 - "aborted -"           allowed moving     runs runs
}
@test "move, pre-copy: kill -9 of the target's vmmigrate: the source runs on" {
	row pre-copy target_vmmigrate   4 a "aborted -"           taken moving       taken allowed
}
@test "move, pre-copy: kill -9 of the target's vmrun: the source runs on" {
	row pre-copy target_vmrun       4 a "aborted -"           taken allowed      taken allowed
}
@test "move, paused: kill -9 of the source's vmmigrate: the source runs on" {
	row paused source_vmmigrate     - a "aborted -"           taken moving       taken allowed
}
@test "move, paused: kill -9 of the source's vmrun: exit 6, nothing is left" {
	row paused source_vmrun         6 - "aborted -"           allowed moving     runs runs
}
@test "move, paused: kill -9 of the target's vmmigrate: the source runs on" {
	row paused target_vmmigrate     4 a "aborted -"           taken moving       taken allowed
}
@test "move, paused: kill -9 of the target's vmrun: the source runs on" {
	row paused target_vmrun         4 a "aborted -"           taken allowed      taken allowed
}
@test "move, READY: kill -9 of the source's vmmigrate: the source runs on, the target asks and discards" {
	row ready source_vmmigrate      - a "aborted returned"    taken moving       taken returned
}
@test "move, READY: kill -9 of the source's vmrun: exit 6, the target discards" {
	row ready source_vmrun          6 - "aborted returned"    allowed ready      runs returned
}
@test "move, READY: kill -9 of the target's vmmigrate: a new listener hears GO and the target runs" {
	row ready target_vmmigrate      0 b "moved owned"         taken ready        moved taken
}
@test "move, READY: kill -9 of the target's vmrun: the target returns it, the source takes it back" {
	row ready target_vmrun          4 a "retaken returned"    taken ready        taken returned
}
@test "move, RELEASED: kill -9 of the source's vmmigrate: the target asks, hears it and runs; resume closes the books" {
	row released source_vmmigrate   - b "released owned"      released moving    released taken
	resumed
}
@test "move, RELEASED: kill -9 of the source's vmrun: it may not be started again, the target runs, exit 0" {
	row released source_vmrun       0 b "moved owned"         released ready     moved taken
}
@test "move, RELEASED: kill -9 of the target's vmmigrate: a new listener asks or hears GO, the target runs, exit 0" {
	row released target_vmmigrate   0 b "moved owned"         released ready     moved taken
}
@test "move, RELEASED: kill -9 of the target's vmrun: it is returned, the source takes it back, exit 4" {
	row released target_vmrun       4 a "retaken returned"    released ready     taken returned
}
@test "move, OWNED: kill -9 of the source's vmmigrate: the target runs; resume closes the books" {
	row owned source_vmmigrate      - b "released owned"      released taken     released taken
	resumed
}
@test "move, OWNED: kill -9 of the source's vmrun: the target runs, exit 0" {
	row owned source_vmrun          0 b "moved owned"         released taken     moved taken
}
@test "move, OWNED: kill -9 of the target's vmmigrate: the VM runs on; GO is repeated to a new listener, exit 0" {
	row owned target_vmmigrate      0 b "moved owned"         released taken     moved taken
}
@test "move, OWNED: kill -9 of the target's vmrun: it is the target's all the same, exit 5, the source never runs it" {
	row owned target_vmrun          5 - "moved owned"         released allowed   moved runs
}
@test "move, RUNNING: kill -9 of the source's vmmigrate: the target runs; resume closes the books" {
	row running source_vmmigrate    - b "released owned"      released taken     released taken
	resumed
}
@test "move, RUNNING: kill -9 of the source's vmrun: exit 0, the record goes" {
	row running source_vmrun        0 b "moved owned"         released taken     moved taken
}
@test "move, RUNNING: kill -9 of the target's vmmigrate: the VM runs on, exit 0" {
	row running target_vmmigrate    0 b "moved owned"         released taken     moved taken
}
@test "move, RUNNING: kill -9 of the target's vmrun: it is the target's all the same, exit 0" {
	row running target_vmrun        0 - "moved owned"         released allowed   moved runs
}

# ---- nobody to ask ----

# What follows is between processes alone: the accelerator takes no part in it.
# bats file_tags=slow

@test "move, READY: without an answer the VM stays unresolved, resolve --disown discards it" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.ready-heard
	kill_source_vmmigrate
	runs_on a
	wait_line 10 'unresolved, VM kept paused' "$W/b.log"
	records_are aborted ready
	stands_on b
	run -0 on_b vmmigrate status web
	[[ "$output" = "web: ready"*"Unresolved"* ]]
	run -2 on_b vmmigrate resolve web --disown </dev/null
	[[ "$output" = *"If 127.0.0.1:1 has released it"*"--yes"* ]]
	records_are aborted ready
	run -0 on_b vmmigrate resolve web --disown --yes
	until_true 10 no_vm b
	records_are aborted returned
	runs_only_on a
}

@test "move, RELEASED: without an answer both stay paused, status says so, resume resolves it" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.released
	kill_source_vmmigrate
	wait_line 10 'unresolved, VM kept paused' "$W/b.log"
	records_are released ready
	stands_on a && stands_on b
	run -0 on_a vmmigrate status web
	[[ "$output" = "web: released"*"vmmigrate resume web"* ]]
	run -5 on_a vmmigrate resolve web --own --yes      # the target has it, READY
	run -0 on_a vmmigrate resume web
	runs_only_on b
	records_are moved owned
}

@test "move, RELEASED: the target is gone for good: exit 5 after the time is over; resolve --own takes it back" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	export VMFERRY_FAULT=vmmigrate.source.released=wait:$W/at
	move --handover-timeout 1s
	unset VMFERRY_FAULT
	until_true 20 test -e "$W/at"
	kill_target_vmmigrate
	kill_target_vmrun
	thaw
	moved 5
	grep -q 'unresolved: .*vmmigrate resume web' "$W/move.err"
	stands_on a
	run -5 on_a vmmigrate resolve web --own --yes
	[[ "$output" = *"cannot be queried"*"would run twice"*"--peer-is-dead"* ]]
	records_are released ready
	run -2 on_a vmmigrate resolve web --own --peer-is-dead </dev/null
	records_are released ready
	run -0 on_a vmmigrate resolve web --own --peer-is-dead --yes
	runs_on a
	records_are retaken ready
	ticks_on
	ticks_right
	# The dead target, back again, hears that the source has it and forgets.
	listen a 127.0.0.1:0
	run -0 on_b vmmigrate resolve web --disown --yes
	records_are retaken returned
}

@test "move, RELEASED: resolve --disown of a VM whose target waits for it says GO: it runs there" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.released
	kill_source_vmmigrate
	run -0 on_a vmmigrate resolve web --disown --yes
	[[ "$output" = *"reports for this move: ready"* ]]
	runs_only_on b
	records_are moved owned
}

@test "move, RELEASED: resolve --disown lets it go for good when the target cannot be asked, which then hears that it is its own" {
	world
	frozen source vmmigrate.source.released
	kill_target_vmmigrate
	kill_source_vmmigrate
	run -0 on_a vmmigrate resolve web --disown --yes
	until_true 10 no_vm a
	records_are moved ready
	run -5 on_b vmmigrate resolve web --disown --yes      # the only copy
	[[ "$output" = *"has released the VM: the only copy is here"* ]]
	listen_b
	until_true 20 records_are moved owned
	runs_only_on b
}

# ---- every point of every process, whatever row it is in: never two, and one in the end ----

# A process that dies by itself at its point. Then: listeners up, resume if the source has released.
dies_at() {
	world
	case $1 in
	*.target.*)
		kill "$BL"
		wait "$BL" || true
		VMFERRY_FAULT=$1=kill listen_b ;;
	esac
	VMFERRY_FAULT=$1=kill move --ask "$ASK" --handover-timeout 3s
	wait "$MV" || true
	# The listener's fault stays with its children: one without takes its place.
	kill -9 "$BL" 2>/dev/null || true
	wait "$BL" || true
	listen_again
	if record_is a released; then run on_a vmmigrate resume web; fi
	until_true 20 resolved
	ticks_on
	ticks_right
}
resolved() {
	case $(records) in
	"- -" | "aborted -" | "aborted returned" | "retaken returned") runs_on a && no_vm b ;;
	"moved owned") runs_on b && no_vm a ;;
	*) false ;;
	esac
}

@test "move: the source's vmmigrate dies at each of its points: one VM in the end, never two" {
	for p in agreed round paused ready-heard released go-sent running-heard; do
		echo "# $p" >&2
		dies_at "vmmigrate.source.$p" || { records; cat "$W/a.log" "$W/b.log"; return 1; }
		vm_teardown || true
		setup
	done
}

@test "move: the target's vmmigrate dies at each of its points: one VM in the end, never two" {
	for p in agreed page loaded ready-sent go-heard started running-sent; do
		echo "# $p" >&2
		dies_at "vmmigrate.target.$p" || { records; cat "$W/a.log" "$W/b.log"; return 1; }
		vm_teardown || true
		setup
	done
}

# vmrun_dies_at POINT STATUS RECORDS: the vmrun of either side dies by itself at its point.
vmrun_dies_at() {
	case $1 in *.source.*) export VMFERRY_FAULT=$1=kill ;; esac
	start_web
	unset VMFERRY_FAULT
	listen a 127.0.0.1:0
	ASK=$LADDR
	case $1 in *.target.*) export VMFERRY_FAULT=$1=kill ;; esac
	listen_b
	unset VMFERRY_FAULT
	move --ask "$ASK" --handover-timeout 5s
	moved "$2"
	until_true 10 records_are "${@:3}"
	ticks_right
}

@test "move: the source's vmrun dies before RELEASED is recorded: exit 6, the target discards" {
	vmrun_dies_at vmrun.source.paused 6 aborted returned
	until_true 10 no_vm b
	may_start a
}
@test "move: the source's vmrun dies once RELEASED is recorded, unanswered: the target runs, exit 0" {
	vmrun_dies_at vmrun.source.released 0 moved owned
	runs_only_on b
}
@test "move: the source's vmrun dies as its record says MOVED: the target runs, exit 0" {
	vmrun_dies_at vmrun.source.done 0 moved owned
	runs_only_on b
}
@test "move: the target's vmrun dies before READY is recorded: the source runs on, exit 4" {
	vmrun_dies_at vmrun.target.loaded 4 aborted -
	runs_only_on a
}
@test "move: the target's vmrun dies once READY is recorded, unanswered: the source runs on, exit 4" {
	vmrun_dies_at vmrun.target.ready 4 aborted returned
	runs_only_on a
}
@test "move: the target's vmrun dies once OWNED is recorded, before it runs: it is the target's all the same, exit 5" {
	vmrun_dies_at vmrun.target.owned 5 moved owned
	until_true 10 no_vm a
	may_start b
}
@test "move: the target's vmrun dies as it runs, unanswered: it is the target's all the same, exit 5" {
	vmrun_dies_at vmrun.target.running 5 moved owned
	until_true 10 no_vm a
	may_start b
}

@test "vmmigrate --listen killed after GO: the VM runs on" {
	world
	move --ask "$ASK"
	moved 0
	kill_target_vmmigrate
	runs_only_on b
}
