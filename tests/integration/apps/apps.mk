# The applications of the integration tests: $(OUT)/apps/*. Included by the Makefile.
APPS := $(patsubst tests/integration/apps/%.c,$(OUT)/apps/%,$(wildcard tests/integration/apps/*.c))

# They are other people's programs as far as weir is concerned: built plainly, without its sanitizers.
$(OUT)/apps/%: tests/integration/apps/%.c
	@mkdir -p $(@D)
	$(CC) $(WARN) -D_GNU_SOURCE -O2 -g $< -o $@ -lfcgi -lpthread

.PHONY: apps
apps: $(APPS)
