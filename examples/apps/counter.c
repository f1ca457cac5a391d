/* An example application: a visit counter and a small shopping cart, kept in a managed session of weir.
 *
 * It shows all there is to managed sessions (README.md, "What an application sees"):
 *   - the state of the session comes with the request, as the variable SESSION_DATA;
 *   - the answer sets the state with the header "Weir-Session-Data: TEXT", which weir keeps to itself;
 *   - "Weir-Session-Renew: 1" gives the session a new id after a log-in, "Weir-Session-End: 1" ends it.
 * The process itself remembers nothing between two requests, so any number of them may run side by side.
 *
 * Needs libfcgi and nothing of weir. Run it from weir (backend "spawn:/path/counter"), or by hand:
 *   counter -l unix:/run/counter.sock | counter -l 127.0.0.1:9000 */
#include <ctype.h>
#include <fcgiapp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BODY_MAX = 4096,  /* bytes of a posted form; more is answered with 413 */
	STATE_MAX = 1024, /* bytes of session state; ours needs less than 200 */
	USER_MAX = 32,    /* bytes of a name */
	COUNT_MAX = 99,   /* of one item in the cart */
	BACKLOG = 128,
};

static const struct item {
	const char *slug, *name, *picture; /* the picture is a character reference of HTML */
	unsigned cents;
} ITEMS[] = {
    {"apple", "Apple", "&#127822;", 40},
    {"pear", "Pear", "&#127824;", 55},
    {"cherry", "Cherries", "&#127826;", 320},
    {"lemon", "Lemon", "&#127819;", 60},
};

enum { ITEM_COUNT = sizeof(ITEMS) / sizeof(ITEMS[0]) };

/* What the session holds. As text: visits=3&user=Ann%20B&cart=apple:2,pear:1 */
struct state {
	unsigned long visits;
	char user[USER_MAX + 1]; /* empty: nobody has logged in */
	unsigned cart[ITEM_COUNT];
};

/* --- text: one "key=value&key=value" reader serves both the session state and the posted form --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in[0..len) into out, at most size - 1 bytes and a NUL; control characters are left out. */
static void url_decode(const char *in, size_t len, char *out, size_t size)
{
	size_t used = 0;
	for (size_t i = 0; i < len && used + 1 < size; i++) {
		char c = in[i];
		if (c == '+')
			c = ' ';
		if (c == '%' && len - i > 2 && hex_digit(in[i + 1]) >= 0 && hex_digit(in[i + 2]) >= 0) {
			c = (char)(hex_digit(in[i + 1]) * 16 + hex_digit(in[i + 2]));
			i += 2;
		}
		if (!iscntrl((unsigned char)c))
			out[used++] = c;
	}
	out[used] = '\0';
}

/* The decoded value of `key` in `text`, or the empty string. */
static void field_get(const char *text, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key);
	out[0] = '\0';
	while (*text != '\0') {
		size_t len = strcspn(text, "&");
		if (len > key_len && text[key_len] == '=' && strncmp(text, key, key_len) == 0) {
			url_decode(text + key_len + 1, len - key_len - 1, out, size);
			return;
		}
		text += len;
		text += *text == '&';
	}
}

static int item_find(const char *slug, size_t len)
{
	for (int i = 0; i < ITEM_COUNT; i++)
		if (strlen(ITEMS[i].slug) == len && strncmp(ITEMS[i].slug, slug, len) == 0)
			return i;
	return -1;
}

/* --- the session --- */

static unsigned long number_parse(const char *text, unsigned long max)
{
	unsigned long n = strtoul(text, NULL, 10);
	return n < max ? n : max;
}

/* "apple:2,pear:1"; what we do not sell (any more) is left out. */
static void cart_parse(const char *text, unsigned cart[ITEM_COUNT])
{
	while (*text != '\0') {
		size_t entry = strcspn(text, ",");
		size_t slug = strcspn(text, ":,");
		int i = item_find(text, slug);
		if (i >= 0 && slug < entry)
			cart[i] = (unsigned)number_parse(text + slug + 1, COUNT_MAX);
		text += entry;
		text += *text == ',';
	}
}

static struct state state_load(FCGX_ParamArray env)
{
	struct state s = {0};
	const char *data = FCGX_GetParam("SESSION_DATA", env);
	if (data == NULL)
		return s;
	char text[STATE_MAX];
	field_get(data, "visits", text, sizeof text);
	s.visits = number_parse(text, 1000 * 1000 * 1000);
	field_get(data, "user", s.user, sizeof s.user);
	field_get(data, "cart", text, sizeof text);
	cart_parse(text, s.cart);
	return s;
}

static void put_url(FCGX_Stream *out, const char *text)
{
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text))
			FCGX_PutChar(*text, out);
		else
			FCGX_FPrintF(out, "%%%02X", (unsigned)(unsigned char)*text);
}

/* The header that makes the session, or gives it a new state. */
static void state_store(FCGX_Stream *out, const struct state *s)
{
	FCGX_FPrintF(out, "Weir-Session-Data: visits=%lu&user=", s->visits);
	put_url(out, s->user);
	FCGX_PutS("&cart=", out);
	const char *comma = "";
	for (int i = 0; i < ITEM_COUNT; i++) {
		if (s->cart[i] == 0)
			continue;
		FCGX_FPrintF(out, "%s%s:%u", comma, ITEMS[i].slug, s->cart[i]);
		comma = ",";
	}
	FCGX_PutS("\r\n", out);
}

/* --- the page --- */

static const char STYLE[] =
    ":root{--ink:#1d2a33;--soft:#5b6b76;--paper:#fff;--ground:#eef3f6;--line:#d8e1e7;--water:#0a6c8f}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eef2;--soft:#9fb1bc;--paper:#1a242b;--ground:#10171c;"
    "--line:#2c3a44;--water:#4fb3d4}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);"
    "font:16px/1.5 system-ui,sans-serif}main{max-width:44rem;margin:0 auto;padding:2.5rem 1rem}"
    "h1{margin:0;font-size:1.9rem;letter-spacing:-.02em}h2{margin:0 0 .8rem;font-size:1.1rem}p{margin:.3rem 0}"
    ".soft{color:var(--soft)}section{background:var(--paper);border:1px solid var(--line);border-radius:12px;"
    "padding:1.2rem 1.4rem;margin-top:1.2rem}.visits{font-size:3.2rem;font-weight:700;line-height:1.1;"
    "color:var(--water);font-variant-numeric:tabular-nums}table{width:100%;border-collapse:collapse}"
    "td,th{padding:.45rem .3rem;border-top:1px solid var(--line);text-align:left}tr:first-child>*{border-top:0}"
    ".num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}form{display:inline}"
    "button,input{font:inherit;border:1px solid var(--line);border-radius:8px;padding:.3rem .8rem;"
    "background:var(--ground);color:inherit}button{cursor:pointer}button:hover{border-color:var(--water)}"
    "button.main{background:var(--water);border-color:var(--water);color:var(--paper)}"
    ".warn{border-color:#c77d0a}code{font-size:.92em;overflow-wrap:anywhere}";

static void put_html(FCGX_Stream *out, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			FCGX_PutS("&amp;", out);
			break;
		case '<':
			FCGX_PutS("&lt;", out);
			break;
		case '>':
			FCGX_PutS("&gt;", out);
			break;
		case '"':
			FCGX_PutS("&quot;", out);
			break;
		case '\'':
			FCGX_PutS("&#39;", out);
			break;
		default:
			FCGX_PutChar((unsigned char)*text, out);
		}
	}
}

static void put_price(FCGX_Stream *out, unsigned cents)
{
	FCGX_FPrintF(out, "<td class=num>%u.%02u</td>", cents / 100, cents % 100);
}

/* A button that posts one action on one item. */
static void put_button(FCGX_Stream *out, const char *action, const struct item *item, const char *sign)
{
	FCGX_FPrintF(out,
		     "<form method=post><input type=hidden name=action value=%s>"
		     "<input type=hidden name=item value=%s><button aria-label='%s %s'>%s</button></form> ",
		     action, item->slug, action, item->name, sign);
}

static void put_greeting(FCGX_Stream *out, const struct state *s)
{
	FCGX_PutS("<section><div class=visits>", out);
	FCGX_FPrintF(out, "%lu</div><p>%s", s->visits,
		     s->visits == 1 ? "visit in this session" : "visits in this session");
	if (s->user[0] != '\0') {
		FCGX_PutS(", <b>", out);
		put_html(out, s->user);
		FCGX_PutS("</b>", out);
	}
	FCGX_PutS(".</p><p class=soft>Load the page again and it goes up.</p></section>", out);
}

static void put_cart(FCGX_Stream *out, const struct state *s)
{
	unsigned total = 0;
	FCGX_PutS("<section><h2>Cart</h2><table>", out);
	for (int i = 0; i < ITEM_COUNT; i++) {
		const struct item *item = &ITEMS[i];
		FCGX_FPrintF(out, "<tr><td>%s %s</td>", item->picture, item->name);
		put_price(out, item->cents);
		FCGX_FPrintF(out, "<td class=num>%u &times;</td><td class=num>", s->cart[i]);
		put_button(out, "remove", item, "&minus;");
		put_button(out, "add", item, "+");
		FCGX_PutS("</td></tr>", out);
		total += s->cart[i] * item->cents;
	}
	FCGX_PutS("<tr><th>Total</th>", out);
	put_price(out, total);
	FCGX_PutS("<td></td><td></td></tr></table></section>", out);
}

static void put_login(FCGX_Stream *out, const struct state *s)
{
	FCGX_PutS("<section><h2>Account</h2>", out);
	if (s->user[0] == '\0')
		FCGX_FPrintF(out,
			     "<form method=post><input type=hidden name=action value=login>"
			     "<input name=name maxlength=%d placeholder='Your name' aria-label='Your name' required> "
			     "<button class=main>Log in</button></form>"
			     "<p class=soft>Any name will do. The session gets a new id and keeps its cart.</p>",
			     USER_MAX);
	else
		FCGX_PutS("<form method=post><input type=hidden name=action value=logout>"
			  "<button class=main>Log out</button></form>"
			  "<p class=soft>Ends the session: the next visit is the first one again.</p>",
			  out);
	FCGX_PutS("</section>", out);
}

static void put_behind(FCGX_Stream *out, FCGX_ParamArray env)
{
	const char *state = FCGX_GetParam("SESSION_STATE", env);
	const char *id = FCGX_GetParam("SESSION_ID", env);
	if (state == NULL) {
		FCGX_PutS(
		    "<section class=warn><h2>No sessions here</h2><p>This request did not come through weir, or its "
		    "app has no <code>session { mode = managed }</code>. Nothing is remembered.</p></section>",
		    out);
		return;
	}
	FCGX_PutS("<section><h2>Behind the page</h2><table><tr><td class=soft>Session</td><td><code>", out);
	put_html(out, id != NULL && *id != '\0' ? id : "-");
	FCGX_PutS("</code></td></tr><tr><td class=soft>It came as</td><td><code>", out);
	put_html(out, state);
	FCGX_FPrintF(out,
		     "</code></td></tr><tr><td class=soft>Answered by process</td><td>%d</td></tr></table></section>",
		     (int)getpid());
}

static void answer_page(FCGX_Request *r, struct state *s)
{
	s->visits++;
	state_store(r->out, s);
	FCGX_PutS("Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
		  "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
		  "form-action 'self'\r\n\r\n"
		  "<!doctype html><html lang=en><meta charset=utf-8><title>Counter</title>"
		  "<meta name=viewport content='width=device-width'><link rel=icon href='data:,'><style>",
		  r->out);
	FCGX_PutS(STYLE, r->out);
	FCGX_PutS("</style><main><h1>Counter</h1><p class=soft>A visit counter and a cart in a session of weir.</p>",
		  r->out);
	put_greeting(r->out, s);
	put_cart(r->out, s);
	put_login(r->out, s);
	put_behind(r->out, r->envp);
	FCGX_PutS("</main></html>\n", r->out);
}

/* --- what the forms do --- */

static void answer_status(FCGX_Request *r, const char *status)
{
	FCGX_FPrintF(r->out, "Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n", status, status);
}

/* Back to the page by GET, so that "reload" does not post again. The path comes from the client: with one slash in
 * front it cannot name another host, as "//host" or "/\host" would. */
static void answer_back(FCGX_Request *r)
{
	const char *uri = FCGX_GetParam("REQUEST_URI", r->envp);
	uri = uri != NULL ? uri : "";
	uri += strspn(uri, "/\\");
	FCGX_PutS("Status: 303 See Other\r\nLocation: /", r->out);
	FCGX_PutStr(uri, (int)strcspn(uri, "?#\r\n"), r->out);
	FCGX_PutS("\r\nContent-Type: text/plain\r\n\r\n", r->out);
}

static void cart_change(const char *form, struct state *s, bool add)
{
	char slug[16];
	field_get(form, "item", slug, sizeof slug);
	int i = item_find(slug, strlen(slug));
	if (i < 0)
		return;
	if (add && s->cart[i] < COUNT_MAX)
		s->cart[i]++;
	if (!add && s->cart[i] > 0)
		s->cart[i]--;
}

static void answer_form(FCGX_Request *r, struct state *s, const char *form)
{
	char action[16];
	field_get(form, "action", action, sizeof action);
	if (strcmp(action, "logout") == 0) {
		FCGX_PutS("Weir-Session-End: 1\r\n", r->out);
		answer_back(r);
		return;
	}
	if (strcmp(action, "login") == 0) {
		/* Who knew the id before the log-in must not know it afterwards. */
		field_get(form, "name", s->user, sizeof s->user);
		FCGX_PutS("Weir-Session-Renew: 1\r\n", r->out);
	} else if (strcmp(action, "add") == 0 || strcmp(action, "remove") == 0) {
		cart_change(form, s, action[0] == 'a');
	} else {
		answer_status(r, "400 Bad Request");
		return;
	}
	state_store(r->out, s);
	answer_back(r);
}

static void serve(FCGX_Request *r)
{
	struct state s = state_load(r->envp);
	const char *method = FCGX_GetParam("REQUEST_METHOD", r->envp);
	if (method == NULL || strcmp(method, "POST") != 0) {
		answer_page(r, &s);
		return;
	}
	char form[BODY_MAX + 1];
	int got = FCGX_GetStr(form, sizeof form, r->in);
	if (got < 0 || got > BODY_MAX) {
		answer_status(r, "413 Content Too Large");
		return;
	}
	form[got] = '\0';
	answer_form(r, &s, form);
}

/* --- start --- */

static int usage(void)
{
	fputs("usage: counter [-l unix:/path|host:port]   (without -l: the listening socket is descriptor 0)\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	int listener = 0;
	if (argc != 1) {
		if (argc != 3 || strcmp(argv[1], "-l") != 0)
			return usage();
		const char *where = argv[2];
		listener = FCGX_OpenSocket(strncmp(where, "unix:", 5) == 0 ? where + 5 : where, BACKLOG);
		if (listener < 0) {
			fprintf(stderr, "counter: cannot listen on %s\n", where);
			return 1;
		}
	}
	FCGX_Request request;
	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, listener, 0) != 0)
		return 1;
	if (listener == 0 && FCGX_IsCGI())
		return usage();
	while (FCGX_Accept_r(&request) >= 0)
		serve(&request);
	return 0;
}
