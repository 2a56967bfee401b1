# SPDX-License-Identifier: MIT
# Stock Linux on stock KVM: a KVM host in a box (QEMU's TCG, AMD's SVM emulated) runs Debian's
# kernel, whose vmrun boots Debian's kernel. The boxes run once, in setup_file; each test looks at
# one of the claims that their jobs made (jobs/*.sh).
bats_require_minimum_version 1.5.0
# bats file_tags=slow,alone

setup_file() {
	here=$(cd "$BATS_TEST_DIRNAME" && pwd)
	BED=$(mktemp -d /tmp/vf-bed.XXXXXX)
	export BED
	if [ -n "${SAN:-}" ]; then      # an emulated CPU is slow enough
		echo "runs on the plain build only" >"$BED/not-run"
		return 0
	fi
	if ! command -v qemu-system-x86_64 >/dev/null; then
		echo "no qemu-system-x86_64" >"$BED/not-run"
		return 0
	fi
	if ! guest=$("$here/../tools/fetch-guest" --arch amd64 2>"$BED/fetch.err"); then
		echo "the Debian guest can't be fetched: $(tail -n 1 "$BED/fetch.err")" \
			>"$BED/not-run"
		return 0
	fi
	"$here/mkhost" "$guest" "$BED/host.img" >&2 || return 1
	box() {
		"$here/run-host" -l "$BED/$job.log" -t 600 "$@" "$guest/vmlinuz" "$BED/host.img" \
			"$job.sh" >"$BED/$job.said" 2>&1 3>&-
	}
	# A claim that fails is told by its test. A box that stops without one has hung as a whole,
	# watchdogs and all, which is the emulator's doing: it is run once more, and that is said.
	for job in circle endings; do
		box || grep -qa '^RESULT .* not ok' "$BED/$job.log" || {
			echo "# the box of $job hung: $(tail -n 1 "$BED/$job.said"); run again" >&3
			box || :
		}
	done
	job=move-a
	box -n "$BED/net" -i 10.0.0.1 &
	for _ in $(seq 100); do [ -S "$BED/net" ] || command sleep 0.1; done
	job=move-b
	box -p max,+svm,-avx2 -n "$BED/net" -i 10.0.0.2 || :
	wait
}
teardown_file() { rm -rf "$BED"; }
setup() { [ ! -e "$BED/not-run" ] || skip "$(cat "$BED/not-run")"; }

# holds JOB CLAIM
holds() {
	if grep -qaE "^RESULT $2 ok"$'\r?$' "$BED/$1.log"; then return 0; fi
	echo "$1: $2 was not seen"
	# All that the job said of the claim that failed, once; if no claim failed, how far the
	# box came.
	local failed
	failed=$(grep -aoE '^RESULT [a-z0-9-]+ not ok' "$BED/$1.log" | cut -d ' ' -f 2)
	if [ "$failed" = "$2" ]; then
		sed -nE "/^RESULT $2 not ok/,\$p" "$BED/$1.log"
	elif [ -n "$failed" ]; then
		echo "$1 ended at $failed"
	elif [ -s "$BED/$1.said" ]; then
		cat "$BED/$1.said"
	else
		tail -n 60 "$BED/$1.log"
	fi
	return 1
}

@test "stock kvm: the tools run in the box, /dev/kvm is there" { holds circle smoke; }
@test "stock kvm: vmrun boots Debian's kernel in 128 MiB" { holds circle boot; }
@test "stock kvm: the guest has a shell on its serial line" { holds circle shell; }
@test "stock kvm: the guest's random numbers come from virtio" { holds circle rng; }
@test "stock kvm: what the guest writes to its disk is what the host reads" { holds circle disk; }
@test "stock kvm: vmsnap saves a running Linux, which counts on" { holds circle save-live; }
@test "stock kvm: the snapshot of a running Linux verifies" { holds circle verify; }
@test "stock kvm: three pulses leave Linux counting on" { holds circle pulse; }
@test "stock kvm: a restored Linux continues, with memory, shell and disk" { holds circle restore; }
@test "stock kvm: and again through a compressed pipe" { holds circle pipe; }

@test "stock kvm: poweroff ends vmrun with 0" { holds endings power-off; }
@test "stock kvm: reboot ends vmrun with 16 under --on-reboot=exit" { holds endings reset-exits; }
@test "stock kvm: reboot boots Debian's kernel anew" { holds endings reset-boots; }
@test "stock kvm: a kernel panic ends vmrun with 17" { holds endings panic; }
@test "stock kvm: the power button reaches the guest, which powers off" {
	holds endings power-button
}
@test "stock kvm: hibernation to the guest's swap ends vmrun with 19" { holds endings hibernate; }
@test "stock kvm: a hibernated guest wakes in a new vmrun" { holds endings wake; }

@test "stock kvm: a running Linux moves from host to host by vmmigrate" {
	holds move-a two-hosts
	holds move-a move-there
	holds move-b there-arrives
}
@test "stock kvm: the moved Linux counts on there" { holds move-b there-counts; }
@test "stock kvm: and moves back" {
	holds move-b there-returns
	holds move-a move-back
}

@test "stock kvm: a guest with AVX2 is refused by a host without it, which names leaf and bit" {
	holds move-a model-refused
	holds move-b there-refuses
}

# counted JOB NAME: the first and the last number of the counter that this host has seen
counted() { grep -aoE "^COUNTED $2 [0-9]+ [0-9]+" "$BED/$1.log" | cut -d ' ' -f 3,4; }
# One line may be cut in two by a move, and count for neither side.
follows() { [ "$2" -gt "$1" ] && [ "$2" -le $(($1 + 2)) ]; }

@test "stock kvm: over both moves the counter loses nothing and says nothing twice" {
	read -r _ left <<<"$(counted move-a web)"
	read -r came went <<<"$(counted move-b web)"
	read -r back _ <<<"$(counted move-a back)"
	echo "first host to $left, second from $came to $went, first from $back"
	follows "$left" "$came"
	follows "$went" "$back"
}
