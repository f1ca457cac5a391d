# weir: the only entry. `make help` lists the targets.
CC       ?= gcc
BUILD    ?= release
DIRS     := base proto conf session net backend gateway

WARN  := -std=c17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARD  := -fstack-protector-strong -fPIE -D_GNU_SOURCE -I.
PKGS  := libuv libconfuse
LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread
FLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2
FLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
FLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link
CFLAGS_ALL    := $(WARN) $(HARD) $(FLAGS_$(BUILD)) $(CFLAGS)
LDFLAGS_ALL   := -pie -Wl,-z,relro,-z,now $(FLAGS_$(BUILD)) $(LDFLAGS)

OUT  := build/$(BUILD)
SRC  := $(filter-out gateway/main.c,$(wildcard $(addsuffix /*.c,$(DIRS))))
OBJ  := $(SRC:%.c=$(OUT)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all
all: $(OUT)/weir

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# An archive, so that each test links just the objects that it names.
$(OUT)/libweir.a: $(OBJ)
	@rm -f $@
	ar rcs $@ $^

$(OUT)/weir: $(OUT)/gateway/main.o $(OUT)/libweir.a
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

$(OUT)/unit/%: $(OUT)/tests/unit/%.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS) -lcmocka

.PHONY: unit
unit: $(UNIT)
	@set -e; for t in $(UNIT); do $$t; done

# --- tests that let the N-th allocation fail (tests/unit/fail_alloc.h) ---

$(addprefix $(OUT)/unit/,test_buf test_fcgi test_params test_scgi test_cgi): LDFLAGS_ALL += -Wl,--wrap=realloc

# --- fuzzing: each tests/fuzz/fuzz_NAME.c is a target, its corpus tests/fuzz/corpus/NAME ---

FUZZ_SECONDS ?= 60
FUZZ         := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# The corpus is copied, so that what is found stays under build/; a crash leaves its input there too.
.PHONY: fuzz fuzz-run
fuzz:
	@$(MAKE) --no-print-directory BUILD=fuzz CC=clang fuzz-run
fuzz-run: $(FUZZ:%=fuzz-run-%)
fuzz-run-%: $(OUT)/fuzz/%
	@rm -rf $(OUT)/fuzz/$*.corpus && mkdir -p $(OUT)/fuzz/$*.corpus
	@if [ -d tests/fuzz/corpus/$* ]; then cp tests/fuzz/corpus/$*/* $(OUT)/fuzz/$*.corpus/; fi
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
		-artifact_prefix=$(OUT)/fuzz/$*- $(OUT)/fuzz/$*.corpus

$(OUT)/fuzz/%: $(OUT)/tests/fuzz/fuzz_%.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ -o $@ $(LIBS)

# The committed corpus without a fuzzer, for every compiler and every check.
.PHONY: fuzz-replay fuzz-replay-run
fuzz-replay:
	@$(MAKE) --no-print-directory BUILD=asan fuzz-replay-run
fuzz-replay-run: $(FUZZ:%=fuzz-replay-%)
fuzz-replay-%: $(OUT)/replay/%
	@$< tests/fuzz/corpus/$*

$(OUT)/replay/%: $(OUT)/tests/fuzz/fuzz_%.o $(OUT)/tests/fuzz/replay.o $(OUT)/libweir.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(LIBS)

# --- examples and the demonstration ---

.PHONY: examples
examples: $(OUT)/counter

$(OUT)/counter: $(OUT)/examples/apps/counter.o
	$(CC) $(LDFLAGS_ALL) $^ -o $@ -lfcgi

.PHONY: demo
demo:
	@tools/demo

# --- the bench: side by side against peers; its programs share nothing with weir ---

BENCH := $(addprefix $(OUT)/bench/,load relay app fill)

.PHONY: bench-programs
bench-programs: $(BENCH)

$(BENCH): %: %.o
	$(CC) $(LDFLAGS_ALL) $^ -o $@

.PHONY: bench
bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory BUILD=release all bench-programs
	@bench/run --build build/release $(BENCH_ARGS)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find build -name '*.d' 2>/dev/null)
.SECONDARY:
