# SPDX-License-Identifier: MIT
# Command lines of the four tools: what each says about its options in --help, in its page and to
# bash, and that options which several tools have are the same in each.
load ../lib/vm

TOOLS=(vmrun vmsnap vmmigrate vminspect)

setup() { vm_setup; }
teardown() { vm_teardown; }

# The commands that a tool lists with a word of their own.
commands_of() {
	"$1" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\)\b.*/\1/p'
}

# Options by their long names, sorted: as rows of --help, as words of completion, in the page.
in_help() {
	"$1" --help | grep -oE '^  (-[a-zA-Z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u
}
in_completion() { "$1" --completion bash | grep -oE -- '--[a-z][a-z-]+' | sort -u; }
in_page() { grep -oE '\bFl -[a-z][a-z-]+' "$TOP/$1/$1.1" | sed 's/^Fl /-/' | sort -u; }
# Those that the page documents as its own: in the synopsis and as rows of lists.
rows_of_page() {
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p; /^\.It Fl/p' "$TOP/$1/$1.1" |
		grep -oE '\bFl -[a-z][a-z-]+' | sed 's/^Fl /-/' | sort -u
}

# help_row TOOL OPTION: its lines of --help.
help_row() {
	"$1" --help | awk -v row="  --$2" '
		/^(  -|$)/ { on = index($0, row " ") == 1 || index($0, row "[") == 1 }
		on'
}
# page_row TOOL OPTION: the source of its entry in the page.
page_row() { sed -n "/^\.It Fl -$2\b/,/^\.\(It\|El\)/p" "$TOP/$1/$1.1"; }

# completed WORD...: what bash offers for the last of them.
completed() {
	bash -c 'source <("$1" --completion bash)
		tool=$1
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		"_$tool"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

@test "options: --help goes to standard output in 80 columns, exit 0, of every command too" {
	for tool in "${TOOLS[@]}"; do
		for command in "" $(commands_of "$tool"); do
			# shellcheck disable=SC2086 # none is none
			run -0 --separate-stderr "$tool" $command --help
			[ -z "$stderr" ]
			[ "${lines[0]#usage: "$tool" $command}" != "${lines[0]}" ]
			[ "$(awk 'length > 80' <<<"$output")" = "" ]
			grep -q -- '^  -h, --help ' <<<"$output"
		done
		run -0 "$tool" -h
		[ "$output" = "$("$tool" --help)" ]
	done
	[ "$(commands_of vmmigrate | xargs)" = "status resume resolve" ]
	[ "$(commands_of vmrun | xargs)" = "list ctl info selftest" ]
}

@test "options: --help of a command shows its options alone" {
	run -0 vminspect tree --help
	grep -q -- '^  --dtb OUT' <<<"$output"
	[ "$(grep -c -- --raw <<<"$output")" = 0 ]
	run -0 vmmigrate resume --help
	grep -q -- '^  --handover-timeout TIME' <<<"$output"
	[ "$(grep -c -- --listen <<<"$output")" = 0 ]
}

@test "options: --help, the page and completion have the same options" {
	for tool in "${TOOLS[@]}"; do
		[ "$(in_help "$tool" | wc -l)" -gt 6 ]
		diff <(in_help "$tool") <(in_completion "$tool")
		# Documented, and nothing documented that is not there.
		[ "$(comm -23 <(in_help "$tool") <(in_page "$tool"))" = "" ]
		[ "$(comm -13 <(in_help "$tool") <(rows_of_page "$tool"))" = "" ]
	done
}

@test "options: the page names every default and limit that --help shows of a number" {
	for tool in vmsnap vmmigrate; do
		for option in compress max-downtime max-rounds pause-deadline; do
			# "(0 to 24h; default 50ms)"
			about=$(help_row "$tool" "$option" | xargs | grep -oE '\(.*\)$')
			entry=$(page_row "$tool" "$option")
			for value in $(grep -oE -- '-?[0-9]+[a-z]*' <<<"$about"); do
				echo "$tool --$option: $value"
				grep -qwF -- "$value" <<<"$entry"
			done
		done
	done
}

@test "options: a wrong command line is one message, exit 2, with the way to --help" {
	for tool in vmsnap vmmigrate vminspect; do
		run -2 --separate-stderr "$tool" --nonsense
		[ -z "$output" ]
		[ "${stderr_lines[0]}" = "$tool: unrecognized option '--nonsense'" ]
		[ "${stderr_lines[1]#usage: "$tool" }" != "${stderr_lines[1]}" ]
		[ "${stderr_lines[2]}" = "see $tool --help" ]
		[ "${#stderr_lines[@]}" = 3 ]
	done
	run -2 --separate-stderr vmrun --nonsense
	[ "$stderr" = "vmrun: unrecognized option '--nonsense'" ]
}

# INVALID stands for "invalid value (valid".
@test "options: messages name the option, the value and what is valid" {
	while IFS='|' read -r words message; do
		# shellcheck disable=SC2086 # several words
		run -2 --separate-stderr $words
		echo "$words: ${stderr_lines[0]}"
		[ "${stderr_lines[0]}" = "${words%% *}: ${message/INVALID/invalid value (valid}" ]
	done <<-'END'
		vmrun --memory 12|--memory 12: INVALID: 4K to 16T in steps of 4K; or copy, cow)
		vmrun --cpus 0|--cpus 0: invalid value (valid: 1 to 512)
		vmrun --clock warp|--clock warp: invalid value (valid: freeze, advance)
		vmrun --serial tty|--serial tty: INVALID: stdio, pty, file:F, unix:P, none)
		vmrun --kernel x --disk a=x --disk a=y|--disk: duplicate name 'a'
		vmrun --kernel|--kernel requires FILE
		vmrun --kernel x y|unsupported command 'y'
		vmrun --kernel x --token t|--token requires --incoming
		vmrun --kernel x --trust-paths|--trust-paths requires --restore or --incoming
		vmrun --restore a --incoming b|--restore and --incoming are mutually exclusive
		vmrun --restore a --append x|--append and --restore are mutually exclusive
		vmrun --restore a --cont --paused|--paused and --cont are mutually exclusive
		vmrun list --json x|list: unexpected operand 'x'
		vmrun ctl a|ctl: missing COMMAND operand
		vmrun selftest --json|selftest: --json not supported by this command
		vmsnap --pause-buffer 2T a|--pause-buffer 2T: invalid value (valid: 0 to 1T)
		vmsnap --compress=fast a|--compress=fast: INVALID: -100 to 19, auto)
		vmsnap --mode 800 a b|--mode 800: INVALID: octal, read and write bits, such as 0440)
		vmsnap --max 3 a|ambiguous option '--max' (--max-downtime, --max-rounds)
		vmsnap --force=yes a b|--force: unexpected argument 'yes'
		vmmigrate --bandwidth 1K a b|--bandwidth 1K: invalid value (valid: 64K or more)
		vmmigrate --listen :x|--listen: ':x': invalid port (valid: 0 to 65535)
		vmmigrate --once a b|--once requires --listen
		vmmigrate --listen :0 status|--listen and status are mutually exclusive
		vmmigrate resolve --own --disown a|--own and --disown are mutually exclusive
		vmmigrate a|missing HOST operand
		vminspect mem --dtb x 0|mem: --dtb not supported by this command
	END
}

@test "options: what several tools have is the same in each" {
	for tool in "${TOOLS[@]}"; do
		run -0 --separate-stderr "$tool" --version
		[[ "$output" =~ ^"$tool (vmferry) "[0-9.]+$ ]]
		[ "$("$tool" -V)" = "$output" ]
	done
	# Both ends of each range are accepted: what fails is the VM, which is not there.
	for words in "--compress=-100 --max-rounds 0 --max-downtime 0 --pause-deadline 1ms" \
		"--compress=19 --max-rounds 1000000 --max-downtime 24h --pause-deadline 10m" \
		"--compress=0 -q --progress none" "--compress --quiet --progress line" \
		"--compress=auto"; do
		# shellcheck disable=SC2086 # several words
		run -4 vmsnap $words nobody "$W/a.vms"
		# shellcheck disable=SC2086
		run -4 vmmigrate $words nobody localhost
	done
	# And what is outside is refused in the same words.
	for words in --compress=-101 --compress=20 --compress=autos \
		"--max-rounds -1" "--max-rounds 1000001" \
		"--max-downtime 25h" "--pause-deadline 0" "--pause-deadline 601s" \
		"--progress loud" --quiet=1; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr vmsnap $words nobody "$W/a.vms"
		message=${stderr_lines[0]#vmsnap: }
		[[ "$message" == "${words%%[ =]*}"* ]]
		# shellcheck disable=SC2086
		run -2 --separate-stderr vmmigrate $words nobody localhost
		[ "${stderr_lines[0]}" = "vmmigrate: $message" ]
	done
}

@test "completion: bash accepts each script, and shellcheck has nothing to say about it" {
	for tool in "${TOOLS[@]}"; do
		"$tool" --completion bash >"$W/$tool"
		bash -n "$W/$tool"
		shellcheck -s bash "$W/$tool"
		run -0 bash --norc -c "source '$W/$tool' && complete -p $tool"
		[ "$output" = "complete -o default -F _$tool $tool" ]
	done
	run -2 vmrun --completion fish
}

@test "completion: options, their words, commands and what each command takes" {
	while IFS='|' read -r words offers; do
		# shellcheck disable=SC2086 # several words
		got=$(completed ${words//_/''} | xargs)
		echo "$words: $got"
		[ "$got" = "$offers" ]
	done <<-'END'
		vmsnap --co|--compress --completion
		vmsnap --stop-|--stop-after
		vmsnap --progress j|json
		vmsnap --progress = l|line
		vmsnap --progress =|none line json auto
		vmsnap --compress --fo|--force
		vmsnap --compress = a|auto
		vmsnap --compress = 3 --fo|--force
		vmsnap --max-rounds --fo|
		vmsnap -- --fo|
		vmrun --accel s|soft
		vmrun --kernel x --on-reboot =|reset exit pause
		vmrun se|selftest
		vmrun list --j|--json
		vmrun ctl --j|
		vmrun --restore f --tr|--trust-paths
		vmrun --restore f --ap|
		vmrun --restore f --memory c|copy cow
		vmrun --incoming f --tok|--token
		vmmigrate resolve --o|--own
		vmmigrate --listen :0 --on|--once
		vmmigrate --listen :0 --ask|
		vmmigrate res|resume resolve
		vmmigrate web res|
		vminspect v|verify
		vminspect tree --d|--dtb
		vminspect regs --d|
		vminspect info v|
	END
}

@test "completion: names of running VMs, not those that are gone" {
	start_vm web --kernel "$STEP" --append pages=64 --memory 64M --paused
	start_vm worker --kernel "$STEP" --append pages=64 --memory 64M --paused
	start_vm wreck --kernel "$STEP" --append pages=64 --memory 64M --paused
	kill -9 "$VMPID"
	wait_gone 10 "$VMPID"
	vmrun list | grep -qE '^wreck +- +stale '
	[ "$(completed vmsnap w | xargs)" = "web worker" ]
	[ "$(completed vmsnap --quiet --max-rounds 3 we)" = web ]
	[ "$(completed vmmigrate w | xargs)" = "web worker" ]
	[ "$(completed vmmigrate resolve --own wo)" = worker ]
	[ "$(completed vmrun ctl we)" = web ]
	[ "$(completed vmrun ctl web we)" = "" ]
	[ "$(completed vmsnap web w)" = "" ]
}

@test "make install: tools, pages and completion, under DESTDIR and PREFIX" {
	# Relative: make cannot have a space in a target, and the tree may be below one.
	make -C "$TOP" BUILD="${BUILD#"$TOP/"}" SAN="$SAN" CC="$CC" DESTDIR="$W/dest" \
		PREFIX=/opt/f install
	local to=$W/dest/opt/f
	for tool in "${TOOLS[@]}"; do
		"$to/bin/$tool" --version
		[ -s "$to/share/man/man1/$tool.1" ]
		cmp <("$tool" --completion bash) "$to/share/bash-completion/completions/$tool"
		[ "$(stat -c %a "$to/share/bash-completion/completions/$tool")" = 644 ]
	done
	cmp "$TOP/docs/vmferry.magic" "$to/share/misc/vmferry.magic"
	cmp "$TOP/docs/vmferry.xml" "$to/share/mime/packages/vmferry.xml"
}
