# SPDX-License-Identifier: MIT
# docs/vmferry.magic and docs/vmferry.xml: other programs recognise a snapshot.
bats_require_minimum_version 1.5.0

setup() {
	TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	cd "$BATS_TEST_TMPDIR" || return 1
}

shown() { file -b -m "$TOP/docs/vmferry.magic" "$1"; }

@test "file -m: names a snapshot's version, machine and VM, and only snapshots" {
	mksnap a.vms
	[ "$(shown a.vms)" = 'vmferry VM snapshot, version 1, RISC-V 64, VM "sample", by mksnap' ]
	mksnap --x86 --ram 4096 --state-only b.vms
	[ "$(shown b.vms)" = \
		'vmferry VM snapshot, version 1, x86-64, state only, VM "sample", by mksnap' ]
	mksnap - | cat >c.vms
	[[ "$(shown c.vms)" == *', incomplete or from a pipe, VM "sample"'* ]]
	name=$(printf 'n%.0s' {1..64})     # no NUL behind it: the creator follows
	mksnap --name "$name" d.vms
	[[ "$(shown d.vms)" == *", VM \"$name\", by mksnap" ]]
	mksnap --spoil version e.vms
	[[ "$(shown e.vms)" == 'vmferry VM snapshot, version 7, '* ]]
	tr -d '\r' <a.vms >f.vms
	[ "$(shown f.vms)" = 'vmferry VM snapshot, damaged by a text-mode transfer' ]
	for f in a.vms c.vms e.vms; do
		[ "$(file -b --mime-type -m "$TOP/docs/vmferry.magic" "$f")" = \
			application/x-vmferry-snapshot ]
	done
	echo "no snapshot" >g.vms
	[ "$(shown g.vms)" = "ASCII text" ]
}

@test "media type: the XML names the type, *.vms and the first bytes of a snapshot" {
	mksnap a.vms
	python3 - "$TOP/docs/vmferry.xml" a.vms <<-'END'
	import sys
	import xml.etree.ElementTree as tree
	root = tree.parse(sys.argv[1]).getroot()
	ns = '{http://www.freedesktop.org/standards/shared-mime-info}'
	assert root.tag == ns + 'mime-info'
	(kind,) = root
	assert kind.get('type') == 'application/x-vmferry-snapshot'
	assert kind.find(ns + 'glob').get('pattern') == '*.vms'
	match = kind.find(ns + 'magic').find(ns + 'match')
	magic = match.get('value').encode().decode('unicode_escape').encode('latin-1')
	with open(sys.argv[2], 'rb') as f:
	    assert f.read()[int(match.get('offset')):][:8] == magic
	END
}
