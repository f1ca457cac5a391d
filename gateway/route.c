/* Matching hosts and paths. Pure. */
#include "gateway/route.h"

/* "/shop" covers "/shop" and "/shop/cart", not "/shopping"; "/assets/" covers what is below it. */
static bool prefix_covers(struct view prefix, struct view path)
{
	if (!view_starts(path, prefix))
		return false;
	return path.len == prefix.len || prefix.at[prefix.len - 1] == '/' || path.at[prefix.len] == '/';
}

static bool pattern_matches(const struct conf_pattern *p, struct view host, struct view path)
{
	struct view text = view_str(p->text);

	switch (p->kind) {
	case CONF_HOST:
		return view_eq_nocase(host, text);
	case CONF_HOST_SUFFIX:
		return host.len > text.len && view_eq_nocase(view_of(host.at + (host.len - text.len), text.len), text);
	case CONF_PATH_PREFIX:
		return text.len > 0 && prefix_covers(text, path);
	case CONF_PATH_SUFFIX:
		return view_ends(path, text);
	}
	return false;
}

static bool is_host(const struct conf_pattern *p)
{
	return p->kind == CONF_HOST || p->kind == CONF_HOST_SUFFIX;
}

struct fit {
	bool host_asked, host_fits, path_asked, path_fits;
	size_t path_len;
	unsigned host_rank; /* 2 exact, 1 suffix, 0 none */
};

static void fit_pattern(struct fit *f, const struct conf_pattern *p, struct view host, struct view path)
{
	bool matches = pattern_matches(p, host, path);

	if (is_host(p)) {
		unsigned rank = p->kind == CONF_HOST ? 2 : 1;
		f->host_asked = true;
		f->host_fits = f->host_fits || matches;
		if (matches && rank > f->host_rank)
			f->host_rank = rank;
	} else {
		size_t len = strlen(p->text);
		f->path_asked = true;
		f->path_fits = f->path_fits || matches;
		if (matches && len > f->path_len)
			f->path_len = len;
	}
}

/* How well the app fits, 0: not at all. */
static uint64_t score(const struct conf_app *app, struct view host, struct view path)
{
	struct fit f = {.path_len = 0};

	for (size_t i = 0; i < app->match.count; i++)
		fit_pattern(&f, &app->match.at[i], host, path);
	if ((f.host_asked && !f.host_fits) || (f.path_asked && !f.path_fits))
		return 0;
	return (uint64_t)f.path_len * 4 + f.host_rank + 1;
}

int route_app(const struct conf *c, struct view host, struct view path)
{
	uint64_t best = 0;
	int app = -1;

	for (size_t i = 0; i < c->app_count; i++) {
		uint64_t s = score(&c->apps[i], host, path);
		if (s > best) {
			best = s;
			app = (int)i;
		}
	}
	return app;
}

bool route_path_in(const struct conf_patterns *p, struct view path)
{
	for (size_t i = 0; i < p->count; i++) {
		if (pattern_matches(&p->at[i], view_of(NULL, 0), path))
			return true;
	}
	return false;
}
