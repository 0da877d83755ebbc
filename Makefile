# make build    the programs, static: ./minirun for people; ./minirunc, the OCI runtime, and ./minirun-pull, which fetches images; minirun executes both
# make core     how much code each room has, and whether the house keeps its rules (examples/core)
# make demo     builds them and an httpd image, and shows four containers as processes
# make test     the tests: pure, native, and on a kernel of our own
# make workshop ./lab, the program of the workshop (examples/workshop); make workshop-test plays all its labs
# make arm64    the tests on an emulated machine with Linux 6.1 and two processors (examples/emulated); make amd64 likewise
# make bench    against crun, runc, bubblewrap and a C program; writes bench.svg
# make validate the OCI's own validation suite, case by case (examples/validation)
# make engines  containerd, Docker and Podman with minirunc as their runtime (examples/engines)
# make attacks  published attacks on container runtimes, against minirun; and what each layer of a container blocks
# make faults   every system call of every command failed, and killed at, a quarter of an hour and more
# make races    a thousand rounds of commands at the same time; Go's race detector; an hour or two
# make fuzz     every Fuzz target for FUZZTIME, 200s each: an hour (examples/fuzz)
# make install  the programs to $(PREFIX)/bin, with shell completion
PREFIX ?= /usr/local
FUZZTIME ?= 200s
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
export CGO_ENABLED = 0

# The programs, for all that the recipes below start.
export MINIRUN = $(CURDIR)/minirun
export MINIRUNC = $(CURDIR)/minirunc
export MINIRUN_PULL = $(CURDIR)/minirun-pull

# Without the tag minirun's command line library brings a Markdown parser along,
# whose tables cost half a millisecond at every start.
TAGS = urfave_cli_no_docs

# Where there is an entry in assembly, minirunc protects itself before Go's
# runtime boots, not after: a quarter of the time that a container's start takes.
GOARCH ?= $(shell go env GOARCH)
ENTRY = $(if $(wildcard container/protect/entry_$(GOARCH).s),-E _minirunc_linux_$(GOARCH))
FLAGS = -s -w -X main.version=0.1.0-$(VERSION)

# Without -buildvcs=false go asks git, which refuses root an answer about somebody else's clone.
build:
	go build -buildvcs=false -trimpath -tags $(TAGS) -ldflags '$(FLAGS)' -o minirun ./cmd/minirun
	go build -buildvcs=false -trimpath -ldflags '$(FLAGS) $(ENTRY)' -o minirunc ./cmd/minirunc
	go build -buildvcs=false -trimpath -ldflags '$(FLAGS)' -o minirun-pull ./cmd/minirun-pull

core: build
	go run ./examples/core -sources

demo: build
	examples/demo ./minirun

test: build
	examples/test ./minirun

workshop: build
	go build -buildvcs=false -trimpath -ldflags '-s -w' -o lab ./examples/workshop/lab

workshop-test: build
	examples/workshop/test ./minirun

# Linux 6.1 on both, the oldest kernel that the tests run on. A processor of the same kind does not show what depends on it.
arm64 amd64:
	examples/emulated $@

bench: build
	go run ./examples/bench -o bench.svg

# Its module is its own: what the suite needs is no dependency of minirun's.
validate: build
	cd examples/validation && go vet . && go test . && go run . -runtime $(CURDIR)/minirunc

engines: build
	examples/engines/run ./minirun
	examples/kernel/run --mem 3G --timeout 1200 -- examples/engines/run ./minirun containerd docker podman

# The long way: every system call of every command fails once, and is one at which it is killed.
faults:
	go test -timeout 4h ./cmd/minirunc -run 'TestFaults|TestNoSpace|TestFewDescriptors' -faults

# A thousand rounds of each race, and Go's race detector, which wants a C compiler, on everything outside of the child.
races:
	MINIRUN_ROUNDS=1000 go test -count=1 -timeout 4h ./cmd/minirunc ./cmd/minirun -run 'TestRaces|TestInterrupted|TestYoung'
	MINIRUN_ROUNDS=1000 go test -count=1 -timeout 1h ./container -run TestExchangedTarget
	CGO_ENABLED=1 go test -count=1 -race -timeout 2h ./...

attacks: build
	cd examples/attacks && go test -count=1 -args -tables
	go test -count=1 ./container -run 'TestHostileRoot|TestExchangedTarget|TestNobodyUnknown'
	go test -count=1 ./rootfs/image -run 'TestHostileArchives|TestHostileDirectory|TestLimits|TestManyNames'
	go test -count=1 ./process -run TestSearchGrows
	go test -count=1 ./rootfs -run TestDeepGrows
	go test -count=1 ./cgroups -run TestDestroyGrows
	go test -count=1 ./cgroups/signals -run TestStranger
	go test -count=1 ./cgroups/devices -run TestWithout
	go test -count=1 ./plan -run TestMonitorStranger
	go test -count=1 ./cmd/minirun -run TestHostile

fuzz:
	FUZZTIME=$(FUZZTIME) examples/fuzz

# Root may have no Go, and needs none for this after make build.
install:
	[ -x minirun ] && [ -x minirunc ] && [ -x minirun-pull ] || $(MAKE) build
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin minirun minirunc minirun-pull
	install -D -m 644 examples/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/minirun

.PHONY: build core demo test workshop workshop-test arm64 amd64 bench validate engines faults races attacks fuzz install
