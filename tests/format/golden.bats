# SPDX-License-Identifier: MIT
# Files that every later build reads, and files that no build reads: golden/make wrote them.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/golden" || return 1
	VMSREAD=$BATS_TEST_DIRNAME/vmsread.py
	export PYTHONDONTWRITEBYTECODE=1
}

# bats file_tags=slow

# Those of the flat layout are compressed, as memory is in them as it is. Unpacked into holes.
unpack() {
	cp -r flat "$BATS_TEST_TMPDIR/"
	cd "$BATS_TEST_TMPDIR/flat" || return 1
	zstd -q -d --rm --sparse ./*.zst refused/*.zst
}

# In the current folder: both readers find the digests that were recorded.
good_files() {
	[ "$(ls ./*.vms)" = "$(cut -d ' ' -f 1 digests | sed 's/.*/.\/&.vms/' | sort)" ]
	[ -s digests ]
	while read -r name digests; do
		[ "$(vminspect verify --json "$name.vms" |
			jq -j '.file, " ", .memory, " ", .machine')" = "$digests" ]
		[ "$("$VMSREAD" "$name.vms" |
			jq -j '.file_digest, " ", .memory_digest, " ", .machine_digest')" \
			= "$digests" ]
	done <digests
}

bad_files() {
	[ "$(ls refused/*.vms)" = "$(cut -d '|' -f 1 refused/expected | sed 's/.*/refused\/&.vms/' |
		sort)" ]
	[ -s refused/expected ]
	while IFS='|' read -r name words; do
		run -3 --separate-stderr vminspect verify "refused/$name.vms"
		[[ "$stderr" == *"$words"* ]]
		run -3 "$VMSREAD" "refused/$name.vms"
	done <refused/expected
}

@test "golden: every good file has the digests that were recorded, by both readers" {
	good_files
}

@test "golden: so has every good file of the flat layout, as a file and as a stream" {
	unpack
	good_files
	while read -r name digests; do
		# shellcheck disable=SC2002 # a pipe
		[ "$(cat "$name.vms" | vminspect verify --json - |
			jq -j '.file, " ", .memory, " ", .machine')" = "$digests" ]
	done <digests
}

@test "golden: raw and compressed files of one machine differ in the file digest only" {
	[ "$(sed 's/-zstd//' digests | cut -d ' ' -f 1,3,4 | sort | uniq -d | wc -l)" = 2 ]
	[ "$(cut -d ' ' -f 2 digests | sort -u | wc -l)" = "$(wc -l <digests)" ]
}

@test "golden: every bad file is refused by both readers, for what is wrong with it" {
	bad_files
}

@test "golden: so is every bad file of the flat layout" {
	unpack
	bad_files
}
