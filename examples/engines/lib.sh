# lib.sh: what the scripts of the engines share. To be sourced, with $engine set.
#
#	want "what is shown" PATTERN COMMAND...    the command succeeds and prints a line that matches
#	exits "what is shown" CODE COMMAND...      the command ends with the code
#	becomes "what is shown" PATTERN COMMAND... the same as want, in ten seconds
#
# Each prints a line `ok  	ENGINE: what is shown`, or what went wrong, and then nothing goes on.

ok() { echo "ok  	$engine: $*"; }

fail() {
	echo "FAIL $engine: $*" >&2
	exit 1
}

want() {
	what=$1 pattern=$2
	shift 2
	status=0
	output=$("$@" </dev/null 2>&1) || status=$?
	[ "$status" = 0 ] || fail "$what: $* ended with $status: $output"
	printf '%s\n' "$output" | grep -qE -e "$pattern" || fail "$what: $* printed $output; want $pattern"
	ok "$what"
}

exits() {
	what=$1 code=$2
	shift 2
	status=0
	output=$("$@" </dev/null 2>&1) || status=$?
	[ "$status" = "$code" ] || fail "$what: $* ended with $status, not $code: $output"
	ok "$what"
}

becomes() {
	what=$1 pattern=$2 n=0
	shift 2
	until output=$("$@" </dev/null 2>&1) && printf '%s\n' "$output" | grep -qE -e "$pattern"; do
		n=$((n + 1))
		[ $n -lt 100 ] || fail "$what: $* printed, for ten seconds, $output; want $pattern"
		sleep 0.1
	done
	ok "$what"
}

# driver: who makes the groups, as engines name it.
driver() { [ -d /run/systemd/system ] && echo systemd || echo cgroupfs; }

# scope PATTERN: the one scope that a container has now, in systemd's words.
scope() {
	unit=$(systemctl list-units --plain --no-legend --type scope | grep -v '^init.scope' | cut -d ' ' -f 1)
	want "systemd's scope" "$1" systemctl show "$unit"
}

# limited: whether the kernel gives containers limits here. Then a script is about these only.
limited() { grep -q memory /sys/fs/cgroup/cgroup.controllers; }
