# The commands of the project; `make help` lists them.
GUEST ?= default
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
SOAK_MINUTES ?= 30
JOBS ?= 2
DOPPEL := build/release/doppel

.PHONY: help deps build guest debian run test check format bench bench-io bench-boot fuzz soak clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

deps:
	@tools/install-deps build

build: deps  ## build/release/doppel
	@[ -f build/release/build.ninja ] || cmake --preset release
	@ninja -C build/release -j $(JOBS)

guest: deps
	@tools/build-guest

debian: build  ## the disk of GUEST=debian and of the Debian system tests
	@tools/build-debian-guest

run: build guest  ## boot a guest with a shell (GUEST=default, stress, bench, memtest, debian)
	@tools/run-guest $(DOPPEL) $(GUEST)

test: build guest  ## unit tests, source checks, system tests
	@tools/install-deps test
	@tools/test

check: build  ## source checks over everything
	@tools/check --all

format:  ## lay out the sources with clang-format
	@tools/install-deps build
	@tools/check --fix format

bench: build guest  ## doppel beside native, QEMU and User Mode Linux: processor, disk, network
	@tools/install-deps bench
	@bench/run
	@echo && bench/disk
	@echo && bench/network

bench-io: build guest  ## disk and network throughput beside QEMU
	@tools/install-deps bench
	@bench/disk
	@echo && bench/network

bench-boot: build guest debian  ## how long guests take to boot, and what a second CPU is worth
	@tools/install-deps bench
	@bench/boot --engine interp jit --warm
	@echo && bench/smp

fuzz: deps  ## every fuzz target for FUZZ_SECONDS
	@fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

soak: build guest  ## system tests again and again for SOAK_MINUTES
	@end=$$(($$(date +%s) + 60 * $(SOAK_MINUTES))); round=0; \
	while [ $$(date +%s) -lt $$end ]; do \
	  round=$$((round + 1)); echo "soak: round $$round"; tests/system/run || exit 1; \
	done

clean:  ## remove what was built, but not the guests
	@find build -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} + 2>/dev/null || true
