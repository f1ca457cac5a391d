# The applications of the integration tests: $(OUT)/apps/*. Included by the Makefile.
APPS := $(patsubst tests/integration/apps/%.c,$(OUT)/apps/%,$(wildcard tests/integration/apps/*.c))

# They are other people's programs as far as weir is concerned: built plainly, without its sanitizers.
$(OUT)/apps/%: tests/integration/apps/%.c
	@mkdir -p $(@D)
	$(CC) $(WARN) -D_GNU_SOURCE -O2 -g $< -o $@ -lfcgi -lpthread

.PHONY: apps
apps: $(APPS)

# Packages of Node.js that Debian has not, in the versions and with the checksums of package-lock.json.
# The lock file is made with `npm install --package-lock-only --omit-lockfile-registry-resolved`.
NODE_MODULES := build/node/node_modules/.package-lock.json

$(NODE_MODULES): tests/integration/node/package.json tests/integration/node/package-lock.json
	@mkdir -p build/node
	@cp $^ build/node
	npm ci --prefix build/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: node-modules
node-modules: $(NODE_MODULES)
