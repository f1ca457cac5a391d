# weir: the only entry. `make help` lists the targets.
.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD    ?= release
DIRS     := base proto conf tls session net backend cluster gateway ctl

WARN  := -std=c17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARD  := -fstack-protector-strong -fPIE -D_GNU_SOURCE -I.
PKGS  := libuv libconfuse jansson openssl
LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldb -lpthread
# Across files: a request walks through many small functions of many modules.
LTO := $(if $(findstring clang,$(CC)),,-flto=auto)
FLAGS_release := -O2 -g $(LTO) -D_FORTIFY_SOURCE=2
FLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
FLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link
CFLAGS_ALL    := $(WARN) $(HARD) $(FLAGS_$(BUILD)) $(CFLAGS)
LDFLAGS_ALL   := -pie -Wl,-z,relro,-z,now $(FLAGS_$(BUILD)) $(LDFLAGS)

OUT  := build/$(BUILD)
SRC  := $(filter-out gateway/main.c ctl/weirctl.c,$(wildcard $(addsuffix /*.c,$(DIRS))))
OBJ  := $(SRC:%.c=$(OUT)/%.o) $(OUT)/gateway/status_page.o
UNIT := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/test_*.c))
JOBS := $(shell nproc 2>/dev/null || echo 2)
AGAIN := $(MAKE) --no-print-directory
# V=1 shows the commands themselves.
Q     := $(if $(V),,@)
say    = $(if $(V),,@echo '  $1 $@')

.PHONY: help
help:
	@echo 'make            build build/release/weir and weirctl'
	@echo 'make demo       nginx, weir and a counter on 127.0.0.1:$${PORT:-8080}, until Ctrl-C (APP=php: a shop; NODES=3: a cluster)'
	@echo 'make check      install what is missing, build with sanitizers, run all tests'
	@echo 'make lint       format, include rules, sizes, purity, clang-tidy, cppcheck, man pages'
	@echo 'make unit       unit tests (BUILD=asan or tsan for sanitizers)'
	@echo 'make integration  tests with real web servers and applications (TESTS="-k PATTERN")'
	@echo 'make fuzz       fuzz each decoder for $${FUZZ_SECONDS:-60} seconds'
	@echo 'make sim        cores of a cluster under faults, $${SIM_SEEDS:-200} seeds from $${SIM_FIRST:-1}'
	@echo 'make bench      weir beside its peers, one table (BENCH_ARGS=--quick)'
	@echo 'make install    to $$(DESTDIR)$$(PREFIX)'
	@echo 'make clean      remove build/ (V=1: show every command)'

.PHONY: all
all: $(OUT)/weir $(OUT)/weirctl

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# A loop over bytes that is worth vectors.
$(OUT)/session/disk_hash.o: CFLAGS_ALL += -O3

# The status page's bytes are a C source on the way.
$(OUT)/gateway/status_page.c: gateway/status.html tools/embed
	@mkdir -p $(@D)
	$(call say,EMBED)
	$(Q)tools/embed $< >$@.new && mv $@.new $@

$(OUT)/gateway/status_page.o: $(OUT)/gateway/status_page.c
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# An archive, so that each test links just the objects that it names.
$(OUT)/libweir.a: $(OBJ)
	@rm -f $@
	$(Q)$(if $(findstring clang,$(CC)),ar,gcc-ar) rcs $@ $^

$(OUT)/weir: $(OUT)/gateway/main.o $(OUT)/libweir.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

# Only what it uses: it runs on a machine where something is wrong.
$(OUT)/weirctl: $(OUT)/ctl/weirctl.o $(OUT)/libweir.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ -Wl,--as-needed $(LIBS)

$(OUT)/unit/%: $(OUT)/tests/unit/%.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS) -lcmocka

# Each is a target of its own, so that -j runs some at once (with -O each says all it says in one piece).
.PHONY: unit
unit: $(UNIT:%=%.run)
$(OUT)/unit/%.run: $(OUT)/unit/%
	@$<

# --- everything that must hold before a change lands ---

# Threads are tested where there are some.
THREADED := mailbox table_threads claim_threads keylock_threads pool pool_generations loop stream stream_end secret \
	stack stack_clock stack_end stack_down stack_room stack_stop stack_direct stack_memory stack_threads operate \
	operate_list disk_flush disk_threads control control_events control_faults cluster cluster_again cluster_faults \
	cluster_sleep peers peers_refused
THREADED := $(THREADED:%=$(OUT)/unit/test_%)

.PHONY: threads
threads: $(THREADED:%=%.run)

.PHONY: check
check:
	@tools/deps check
	@$(AGAIN) -j$(JOBS) BUILD=release all examples apps
	@$(AGAIN) lint
	@$(AGAIN) -j$(JOBS) BUILD=asan all examples apps unit-programs
	@$(AGAIN) -j$(JOBS) -O BUILD=asan unit
	@$(AGAIN) BUILD=asan SIM_SEEDS=400 sim-run
	@$(AGAIN) -j$(JOBS) BUILD=tsan unit-programs
	@$(AGAIN) -j$(JOBS) -O BUILD=tsan threads
	@$(AGAIN) -j$(JOBS) BUILD=tsan all
	@$(AGAIN) -j$(JOBS) fuzz-replay
	@WEIR=build/tsan/weir tests/integration/run -j $(JOBS) test_sessions.py test_backends.py test_admin.py test_commands.py \
		test_status.TestNumbers test_status.TestAnswer test_status.TestLife \
		test_adopted.py test_adopted_queue.py test_socket_life.py test_socket_locks.py test_socket_raw.py \
		test_socket_reload.py test_socket_php.TestExclusive test_socket_php.TestPersistent \
		test_socket_php.TestShared test_socket_php.TestHandlers test_socket_php.TestRace \
		test_cluster_node.py test_cluster_form.TestForm
	@$(AGAIN) integration

.PHONY: unit-programs
unit-programs: $(UNIT)

.PHONY: integration
integration:
	@$(AGAIN) -j$(JOBS) BUILD=asan all examples apps
	@$(AGAIN) -j$(JOBS) BUILD=release all apps node-modules
	@tests/integration/run -j $(JOBS) $(TESTS)

TIDY := $(foreach d,$(DIRS),$(wildcard $d/*.c)) $(wildcard examples/apps/*.c)
FORMAT := $(TIDY) $(wildcard $(addsuffix /*.h,$(DIRS)) bench/*.[ch] tests/*.h tests/*/*.[ch] tests/integration/apps/*.c)

.PHONY: purity
purity: all
	@tools/lint purity $(OUT)

.PHONY: lint lint-tidy lint-cppcheck
lint: all
	@tools/lint
	@$(AGAIN) purity
	@clang-format --dry-run -Werror $(FORMAT)
	@mandoc -Tlint -Wwarning doc/*.[58]
	@$(AGAIN) -j$(JOBS) lint-tidy lint-cppcheck
	@echo 'lint: clean'
lint-cppcheck:
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --suppressions-list=tools/cppcheck.txt \
		--enable=warning,performance,portability -I. $(DIRS)
lint-tidy: $(TIDY:%.c=$(OUT)/tidy/%.ok)
$(OUT)/tidy/%.ok: %.c .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet --warnings-as-errors='*' $< -- -std=c17 -D_GNU_SOURCE -I. 2>$@.err || { cat $@.err; exit 1; }
	@mv $@.err $@

# --- installation ---

PREFIX ?= /usr/local

.PHONY: install
install: $(OUT)/weir $(OUT)/weirctl
	install -D -m 755 $(OUT)/weir $(DESTDIR)$(PREFIX)/sbin/weir
	install -D -m 755 $(OUT)/weirctl $(DESTDIR)$(PREFIX)/sbin/weirctl
	install -D -m 644 doc/weir.8 $(DESTDIR)$(PREFIX)/share/man/man8/weir.8
	install -D -m 644 doc/weirctl.8 $(DESTDIR)$(PREFIX)/share/man/man8/weirctl.8
	install -D -m 644 ctl/weirctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weirctl
	install -D -m 644 doc/weir.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/weir.conf.5

# --- tests that let the N-th allocation fail (tests/unit/fail_alloc.h) ---

FAIL_ALLOC := test_buf test_fcgi test_params test_scgi test_cgi test_record test_resp test_cluster_view test_peer \
	test_peer_body test_control_bytes test_control_alone
$(FAIL_ALLOC:%=$(OUT)/unit/%): LDFLAGS_ALL += -Wl,--wrap=realloc
$(OUT)/unit/test_tls_memory $(OUT)/unit/test_clus_limits: LDFLAGS_ALL += -Wl,--wrap=realloc,--wrap=calloc
$(OUT)/unit/test_peers_memory: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=realloc,--wrap=calloc
# The machine sleeps in this one.
$(OUT)/unit/test_cluster_sleep: LDFLAGS_ALL += -Wl,--wrap=clock_gettime
# Berkeley DB and the disk fail in this one (tests/unit/failing_db.h).
$(OUT)/unit/test_control_faults $(OUT)/unit/test_control_events: LDFLAGS_ALL += -Wl,--wrap=db_env_create,--wrap=fdatasync
# The disk is a gate in this one, and one that notes who waits for it in the other.
$(OUT)/unit/test_disk_flush: LDFLAGS_ALL += -Wl,--wrap=fdatasync,--wrap=pthread_join
$(OUT)/unit/test_disk_threads: LDFLAGS_ALL += -Wl,--wrap=fdatasync

# --- fuzzing: each tests/fuzz/fuzz_NAME.c is a target, its corpus tests/fuzz/corpus/NAME ---

FUZZ_SECONDS ?= 60
FUZZ         := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# The corpus is copied, so that what is found stays under build/; a crash leaves its input there too.
.PHONY: fuzz fuzz-run
fuzz:
	@tools/deps check
	@$(MAKE) --no-print-directory BUILD=fuzz CC=clang fuzz-run
fuzz-run: $(FUZZ:%=fuzz-run-%)
fuzz-run-%: $(OUT)/fuzz/%
	@rm -rf $(OUT)/fuzz/$*.corpus && mkdir -p $(OUT)/fuzz/$*.corpus
	@if [ -d tests/fuzz/corpus/$* ]; then cp tests/fuzz/corpus/$*/* $(OUT)/fuzz/$*.corpus/; fi
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
		-artifact_prefix=$(OUT)/fuzz/$*- $(OUT)/fuzz/$*.corpus

$(OUT)/fuzz/%: $(OUT)/tests/fuzz/fuzz_%.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ -o $@ $(LIBS)

# The committed corpus without a fuzzer, for every compiler and every check.
.PHONY: fuzz-replay fuzz-replay-run
fuzz-replay:
	@$(MAKE) --no-print-directory BUILD=asan fuzz-replay-run
fuzz-replay-run: $(FUZZ:%=fuzz-replay-%)
fuzz-replay-%: $(OUT)/replay/%
	@$< tests/fuzz/corpus/$*

$(OUT)/replay/%: $(OUT)/tests/fuzz/fuzz_%.o $(OUT)/tests/fuzz/replay.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

# --- many nodes in one process, under faults with a seed ---

SIM_SEEDS ?= 200
SIM_FIRST ?= 1

.PHONY: sim sim-run
sim:
	@$(AGAIN) BUILD=asan sim-run
sim-run: $(OUT)/tests/sim/sim
	@$< $(SIM_FIRST) $(SIM_SEEDS)

$(OUT)/tests/sim/sim: $(OUT)/tests/sim/sim.o $(OUT)/libweir.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

include tests/integration/apps/apps.mk

# --- examples and the demonstration ---

.PHONY: examples
examples: $(OUT)/counter

$(OUT)/counter: $(OUT)/examples/apps/counter.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ -lfcgi

.PHONY: demo
demo:
	@tools/demo

# --- the bench: side by side against peers; its programs share nothing with weir ---

BENCH := $(addprefix $(OUT)/bench/,load relay app fill bdb kv)

.PHONY: bench-programs
bench-programs: $(BENCH)

$(BENCH): %: %.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(BENCH_LIBS)

$(OUT)/bench/bdb: BENCH_LIBS := -ldb

# These measure parts of weir, and are linked to them.
BENCH_PARTS := $(addprefix $(OUT)/bench/,stack store buckets links view_change)

.PHONY: bench-parts
bench-parts: $(BENCH_PARTS)

$(BENCH_PARTS): %: %.o $(OUT)/libweir.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

.PHONY: bench
bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory BUILD=release all bench-programs bench-parts
	@bench/run --build build/release $(BENCH_ARGS)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.SECONDARY:
