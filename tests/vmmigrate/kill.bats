# kill -9 of each of the four processes of a move at each row of the hand-over table (docs/protocol.md 8), and of each process at
# each of its own points. What the row promises is asserted: who runs, what the records say, what may be started again.
# Each side has a listener: the one on A answers the target's questions, the one on B is started again when it was killed.
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

# frozen SIDE POINT: the move is under way and its process of that side waits at the point; $W/at is removed to let it go on.
frozen() {
	export VMFERRY_FAULT=$2=wait:$W/at
	if [ "$1" = target ]; then
		kill "$BL"
		wait "$BL" || true
		listen_b      # its children inherit the fault
	fi
	move --ask "$ASK" --handover-timeout 20s
	unset VMFERRY_FAULT
	until_true 20 test -e "$W/at"
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
	if [ "$1" = a ]; then until_true 20 no_vm b; else ! runs_on a; fi || { echo "both have it"; return 1; }
	ticks_on && ticks_right && check_on "$1"
}

# ---- agree, pre-copy; paused: the source runs on, nothing is left of it at the target ----

source_goes_on() {
	runs_only_on a
	records_are - -
	until_true 10 no_vm b
	may_start b      # nothing there forbids it
}

for_rows_1_2() {
	world
	frozen source "$1"
	case $2 in
	source_vmmigrate) kill_source_vmmigrate; thaw; source_goes_on ;;
	source_vmrun)
		kill_source_vmrun
		thaw
		moved 6
		until_true 10 no_vm b
		records_are - -
		may_start a ;;
	target_vmmigrate) kill_target_vmmigrate; thaw; moved 4; source_goes_on ;;
	target_vmrun) kill_target_vmrun; thaw; moved 4; source_goes_on ;;
	esac
}

# bats file_tags=slow

@test "move, agreed: kill -9 of the source's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.agreed source_vmmigrate; }
@test "move, agreed: kill -9 of the source's vmrun: exit 6, nothing is left" { for_rows_1_2 vmmigrate.source.agreed source_vmrun; }
@test "move, agreed: kill -9 of the target's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.agreed target_vmmigrate; }
@test "move, agreed: kill -9 of the target's vmrun: the source runs on" { for_rows_1_2 vmmigrate.source.agreed target_vmrun; }
@test "move, pre-copy: kill -9 of the source's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.round source_vmmigrate; }
@test "move, pre-copy: kill -9 of the source's vmrun: exit 6, nothing is left" { for_rows_1_2 vmmigrate.source.round source_vmrun; }
@test "move, pre-copy: kill -9 of the target's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.round target_vmmigrate; }
@test "move, pre-copy: kill -9 of the target's vmrun: the source runs on" { for_rows_1_2 vmmigrate.source.round target_vmrun; }
@test "move, paused: kill -9 of the source's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.paused source_vmmigrate; }
@test "move, paused: kill -9 of the source's vmrun: exit 6, nothing is left" { for_rows_1_2 vmmigrate.source.paused source_vmrun; }
@test "move, paused: kill -9 of the target's vmmigrate: the source runs on" { for_rows_1_2 vmmigrate.source.paused target_vmmigrate; }
@test "move, paused: kill -9 of the target's vmrun: the source runs on" { for_rows_1_2 vmmigrate.source.paused target_vmrun; }

# ---- READY ----

ready() {
	world
	frozen source vmmigrate.source.ready-heard
	records_are - ready
	! runs_on a && ! runs_on b
}

@test "move, READY: kill -9 of the source's vmmigrate: the source runs on, the target asks and discards" {
	ready
	kill_source_vmmigrate
	runs_only_on a
	until_true 20 record_is b returned
	records_are - returned
	may_start b
}
@test "move, READY: kill -9 of the source's vmrun: exit 6, the target discards" {
	ready
	kill_source_vmrun
	thaw
	moved 6
	until_true 20 record_is b returned
	until_true 10 no_vm b
	records_are - returned
	may_start a
}
@test "move, READY: kill -9 of the target's vmmigrate: a new listener hears GO and the target runs" {
	ready
	kill_target_vmmigrate
	runs=$(vm_pid b)
	thaw
	until_true 10 record_is a released
	listen_again
	moved 0
	runs_only_on b
	[ "$(vm_pid b)" = "$runs" ]
	records_are - owned
	until_true 10 no_vm a
}
@test "move, READY: kill -9 of the target's vmrun: the target returns it, the source takes it back" {
	ready
	kill_target_vmrun
	thaw
	moved 4
	runs_only_on a
	records_are - returned
	may_start b
}

# ---- RELEASED ----

released() {
	world
	frozen source vmmigrate.source.released
	records_are released ready
	! runs_on a && ! runs_on b
}

# The source never runs it again by itself; `resume` closes the books.
resumed() {
	stands_on a
	[ "$(on_a vmrun ctl web query-status | jq -r .status)" = postmigrate ]
	run on_a vmrun ctl web cont
	[ "$status" -ne 0 ]
	run -0 on_a vmmigrate resume web
	until_true 10 no_vm a
	records_are - owned
}

@test "move, RELEASED: kill -9 of the source's vmmigrate: the target asks, hears it and runs; resume closes the books" {
	released
	kill_source_vmmigrate
	runs_only_on b
	records_are released owned
	resumed
	may_start a
}
@test "move, RELEASED: kill -9 of the source's vmrun: it may not be started again, the target runs, exit 0" {
	released
	kill_source_vmrun
	run may_start a
	[ "$status" = 5 ]
	thaw
	moved 0
	runs_only_on b
	records_are - owned
}
@test "move, RELEASED: kill -9 of the target's vmmigrate: a new listener asks or hears GO, the target runs, exit 0" {
	released
	kill_target_vmmigrate
	listen_again
	thaw
	moved 0
	runs_only_on b
	records_are - owned
	until_true 10 no_vm a
}
@test "move, RELEASED: kill -9 of the target's vmrun: it is returned, the source takes it back, exit 4" {
	released
	kill_target_vmrun
	run may_start b
	[ "$status" = 5 ]
	thaw
	moved 4
	runs_only_on a
	records_are - returned
	may_start b
}

# ---- OWNED, RUNNING not yet said ----

owned() {
	world
	frozen target vmmigrate.target.started
	until_true 10 record_is b owned
	records_are released owned
}

@test "move, OWNED: kill -9 of the source's vmmigrate: the target runs; resume closes the books" {
	owned
	kill_source_vmmigrate
	thaw
	runs_only_on b
	resumed
}
@test "move, OWNED: kill -9 of the source's vmrun: the target runs, exit 0" {
	owned
	kill_source_vmrun
	run may_start a
	[ "$status" = 5 ]
	thaw
	moved 0
	runs_only_on b
	records_are - owned
	may_start a
}
@test "move, OWNED: kill -9 of the target's vmmigrate: the VM runs on; GO is repeated to a new listener, exit 0" {
	owned
	runs=$(vm_pid b)
	kill_target_vmmigrate
	ticks_on
	thaw
	listen_again
	moved 0
	runs_only_on b
	[ "$(vm_pid b)" = "$runs" ]
	records_are - owned
}
@test "move, OWNED: kill -9 of the target's vmrun: it is the target's all the same, exit 5, the source never runs it" {
	owned
	kill_target_vmrun
	thaw
	moved 5
	records_are - owned
	until_true 10 no_vm a
	may_start b
}

# ---- RUNNING heard ----

running() {
	world
	frozen source vmmigrate.source.running-heard
	records_are released owned
	runs_only_on b
}

@test "move, RUNNING: kill -9 of the source's vmmigrate: the target runs; resume closes the books" {
	running
	kill_source_vmmigrate
	resumed
	runs_only_on b
}
@test "move, RUNNING: kill -9 of the source's vmrun: exit 0, the record goes" {
	running
	kill_source_vmrun
	thaw
	moved 0
	records_are - owned
	runs_only_on b
}
@test "move, RUNNING: kill -9 of the target's vmmigrate: the VM runs on, exit 0" {
	running
	kill_target_vmmigrate
	thaw
	moved 0
	records_are - owned
	runs_only_on b
}
@test "move, RUNNING: kill -9 of the target's vmrun: it is the target's all the same, exit 0" {
	running
	kill_target_vmrun
	thaw
	moved 0
	records_are - owned
	until_true 10 no_vm a
	may_start b
}

# ---- nobody to ask ----

@test "move, READY: without an answer the target keeps the VM, says in doubt, and resolve --disown discards it" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.ready-heard
	kill_source_vmmigrate
	runs_on a
	wait_line 10 'in doubt, kept and not run' "$W/b.log"
	records_are - ready
	stands_on b
	run -0 on_b vmmigrate status web
	[[ "$output" = "web: ready"*"In doubt"* ]]
	run -2 on_b vmmigrate resolve web --disown </dev/null
	[[ "$output" = *"If 127.0.0.1:1 has released it"*"--yes"* ]]
	records_are - ready
	run -0 on_b vmmigrate resolve web --disown --yes
	until_true 10 no_vm b
	records_are - returned
	runs_only_on a
}

@test "move, RELEASED: without an answer both stand, status says so on both sides, and resume settles it" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.released
	kill_source_vmmigrate
	wait_line 10 'in doubt, kept and not run' "$W/b.log"
	records_are released ready
	stands_on a && stands_on b
	run -0 on_a vmmigrate status web
	[[ "$output" = "web: released"*"vmmigrate resume web"* ]]
	run -5 on_a vmmigrate resolve web --own --yes      # the target has it, READY
	run -0 on_a vmmigrate resume web
	runs_only_on b
	records_are - owned
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
	grep -q 'in doubt.*vmmigrate resume web' "$W/move.err"
	stands_on a
	run -2 on_a vmmigrate resolve web --own </dev/null
	run -0 on_a vmmigrate resolve web --own --yes
	runs_on a
	records_are - ready
	ticks_on
	ticks_right
	# The dead target, back again, hears that the source has it and forgets.
	listen a 127.0.0.1:0
	run -0 on_b vmmigrate resolve web --disown --yes
	records_are - returned
}

@test "move, RELEASED: resolve --disown lets it go for good" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	frozen source vmmigrate.source.released
	kill_source_vmmigrate
	run -0 on_a vmmigrate resolve web --disown --yes
	until_true 10 no_vm a
	records_are - ready
	run -0 on_b vmmigrate resolve web --own --yes
	runs_on b
	ticks_on
	ticks_right
	records_are - owned
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
	until_true 20 settled
	ticks_on
	ticks_right
}
settled() {
	case $(records) in
	"- -" | "- returned") runs_on a && no_vm b ;;
	"- owned") runs_on b && no_vm a ;;
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
	vmrun_dies_at vmrun.source.paused 6 - returned
	until_true 10 no_vm b
	may_start a
}
@test "move: the source's vmrun dies once RELEASED is recorded, unanswered: the target runs, exit 0" {
	vmrun_dies_at vmrun.source.released 0 - owned
	runs_only_on b
}
@test "move: the source's vmrun dies as its record goes: the target runs, exit 0" {
	vmrun_dies_at vmrun.source.done 0 - owned
	runs_only_on b
}
@test "move: the target's vmrun dies before READY is recorded: the source runs on, exit 4" {
	vmrun_dies_at vmrun.target.loaded 4 - -
	runs_only_on a
}
@test "move: the target's vmrun dies once READY is recorded, unanswered: the source runs on, exit 4" {
	vmrun_dies_at vmrun.target.ready 4 - returned
	runs_only_on a
}
@test "move: the target's vmrun dies once OWNED is recorded, before it runs: it is the target's all the same, exit 5" {
	vmrun_dies_at vmrun.target.owned 5 - owned
	until_true 10 no_vm a
	may_start b
}
@test "move: the target's vmrun dies as it runs, unanswered: it is the target's all the same, exit 5" {
	vmrun_dies_at vmrun.target.running 5 - owned
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
