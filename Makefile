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
