/* Gathering facts. Pure. */
#include "gateway/facts.h"

/* For a `v` whose length is known to be that of the literal: one comparison of constant length. */
#define IS(v, literal) (memcmp((v).at, "" literal, sizeof(literal) - 1) == 0)

static bool method_idempotent(struct view m)
{
	switch (m.len) {
	case 3:
		return IS(m, "GET") || IS(m, "PUT");
	case 4:
		return IS(m, "HEAD");
	case 5:
		return IS(m, "TRACE");
	case 6:
		return IS(m, "DELETE");
	case 7:
		return IS(m, "OPTIONS");
	default:
		return false;
	}
}

static void take_length(struct facts *f, struct view value)
{
	if (value.len == 0)
		return;
	f->has_length = view_to_u64(value, UINT64_MAX >> 1, &f->content_length);
	f->bad_length = !f->has_length;
}

static void set_once(struct view *to, struct view value)
{
	if (!to->at)
		*to = value;
}

/* Runs for every variable of every request. */
static void take_param(struct facts *f, struct view name, struct view value)
{
	switch (name.len) {
	case 5:
		if (IS(name, "HTTPS"))
			set_once(&f->https_value, value);
		break;
	case 9:
		if (IS(name, "HTTP_HOST"))
			set_once(&f->host, value);
		else if (IS(name, "PATH_INFO"))
			set_once(&f->path_info, value);
		break;
	case 11:
		if (IS(name, "REQUEST_URI"))
			set_once(&f->uri, value);
		else if (IS(name, "SCRIPT_NAME"))
			set_once(&f->script_name, value);
		else if (IS(name, "HTTP_COOKIE"))
			set_once(&f->cookie, value);
		else if (IS(name, "SERVER_NAME"))
			set_once(&f->server_name, value);
		break;
	case 14:
		if (IS(name, "REQUEST_METHOD"))
			set_once(&f->method, value);
		else if (IS(name, "CONTENT_LENGTH") && !f->has_length && !f->bad_length)
			take_length(f, value);
		else if (IS(name, "REQUEST_SCHEME"))
			set_once(&f->scheme, value);
		break;
	default:
		break;
	}
}

static bool is_session_name(struct view name)
{
	return name.len >= strlen(FACTS_SESSION_PREFIX) && IS(name, FACTS_SESSION_PREFIX);
}

/* HTTPS says it where it is there; REQUEST_SCHEME otherwise. */
static bool over_https(const struct facts *f)
{
	if (f->https_value.at)
		return f->https_value.len > 0 && !view_eq_nocase(f->https_value, VIEW("off"));
	return view_eq_nocase(f->scheme, VIEW("https"));
}

bool facts_gather(struct facts *f, const struct params *p)
{
	struct params_iter it = params_begin(p);
	struct param param;

	memset(f, 0, sizeof *f);
	while (params_next(&it, &param)) {
		take_param(f, param.name, param.value);
		f->session_names = f->session_names || is_session_name(param.name);
	}
	f->idempotent = method_idempotent(f->method);
	f->https = over_https(f);
	return it.rest.len == 0;
}

/* "http://host/path" (absolute form) becomes "/path". */
static struct view without_origin(struct view uri)
{
	for (size_t i = 0; i + 2 < uri.len && uri.at[i] != '/'; i++) {
		if (uri.at[i] != ':' || uri.at[i + 1] != '/' || uri.at[i + 2] != '/')
			continue;
		(void)view_take(&uri, i + 3);
		const uint8_t *slash = uri.len ? memchr(uri.at, '/', uri.len) : NULL;
		return slash ? view_of(slash, uri.len - (size_t)(slash - uri.at)) : VIEW("/");
	}
	return uri;
}

static struct view without_query(struct view uri)
{
	const uint8_t *mark = uri.len ? memchr(uri.at, '?', uri.len) : NULL;

	return mark ? view_of(uri.at, (size_t)(mark - uri.at)) : uri;
}

/* The value of a hexadecimal digit; 16 for any other character. */
static unsigned hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Appends `in`, percent-decoded; what is no escape stays as it is. */
static void put_decoded(struct buf *out, struct view in)
{
	uint8_t *to = buf_reserve(out, in.len);
	size_t n = 0;

	if (!to)
		return;
	for (size_t i = 0; i < in.len; i++) {
		unsigned high = in.at[i] == '%' && i + 2 < in.len ? hex(in.at[i + 1]) : 16;
		unsigned low = high < 16 ? hex(in.at[i + 2]) : 16;
		if (low < 16) {
			to[n++] = (uint8_t)(high << 4 | low);
			i += 2;
		} else {
			to[n++] = in.at[i];
		}
	}
	buf_commit(out, n);
}

/* The end of the parent of path[0..n), which ends without a slash. */
static size_t parent(const uint8_t *path, size_t n)
{
	while (n > 0 && path[n - 1] != '/')
		n--;
	return n > 0 ? n - 1 : 0;
}

/* Drops empty, "." and ".." segments in place (RFC 3986 section 5.2.4); the result starts with a slash. */
static size_t clean(uint8_t *path, size_t len)
{
	size_t n = 0;
	size_t i = 0;

	while (i < len) {
		size_t end = i;
		while (end < len && path[end] != '/')
			end++;
		size_t seg = end - i;
		bool dot = seg == 1 && path[i] == '.';
		bool dots = seg == 2 && path[i] == '.' && path[i + 1] == '.';
		if (dots) {
			n = parent(path, n);
		} else if (seg > 0 && !dot) {
			path[n++] = '/';
			memmove(path + n, path + i, seg);
			n += seg;
		}
		i = end + 1;
	}
	return n;
}

void facts_path(const struct facts *f, struct buf *out)
{
	buf_clear(out);
	buf_put_u8(out, '/'); /* room: a path without a leading slash grows by one */
	if (f->uri.len > 0) {
		put_decoded(out, without_origin(without_query(f->uri)));
	} else {
		buf_put(out, f->script_name);
		buf_put(out, f->path_info);
	}
	if (buf_error(out))
		return;
	struct view all = buf_view(out);
	bool slash = view_ends(all, VIEW("/")) || view_ends(all, VIEW("/.")) || view_ends(all, VIEW("/.."));
	out->tail = out->head + clean(out->data + out->head, buf_len(out));
	if (slash || buf_len(out) == 0)
		buf_put_u8(out, '/');
}

struct view facts_host(const struct facts *f)
{
	struct view host = f->host.len ? f->host : f->server_name;
	const uint8_t *end;

	if (host.len == 0)
		return host;
	/* "[::1]:80": the brackets belong to the host. */
	const uint8_t *bracket = memchr(host.at, ']', host.len);
	const uint8_t *from = bracket ? bracket : host.at;
	end = memchr(from, ':', host.len - (size_t)(from - host.at));
	return end ? view_of(host.at, (size_t)(end - host.at)) : host;
}
