/* A FastCGI application on libfcgi that does what its query string says. It is what the tests put behind the gateway;
 * app.php and app_scgi.py do the same, so that one test can be asked of all three.
 *
 *   (nothing)          JSON: role, all variables, length and CRC-32 of the body
 *   echo=1             the body as it came
 *   bytes=N            N bytes of a known pattern, with chunk=N and pause=SECONDS between the chunks
 *   sleep=S            wait before answering
 *   until=PATH         after the answer, which leaves first, wait until there is such a file
 *   stderr=TEXT        say that on standard error
 *   status=N  location=URL  cookies=N  header=Name:Value  nobody=1  eol=lf
 *   crash=before|after die without a word, or after the first bytes of an answer
 *   set=TEXT  incr=1  ttl=S  renew=1  end=1    the Weir-Session-* headers
 *
 * One process, one request at a time. Depends on libfcgi and nothing of weir. */
#include <fcgiapp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_MAX = 65536, CHUNK_MAX = 65536 };

struct query {
	const char *text; /* borrowed from the environment */
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Copies the value of `name`, without its percent signs, to out[VALUE_MAX]. False: there is none. */
static bool query_get(const struct query *q, const char *name, char *out)
{
	size_t name_len = strlen(name);

	for (const char *p = q->text; *p != '\0';) {
		const char *end = strchr(p, '&');
		if (!end)
			end = p + strlen(p);
		if ((size_t)(end - p) > name_len && !strncmp(p, name, name_len) && p[name_len] == '=') {
			size_t n = 0;
			for (p += name_len + 1; p < end && n + 1 < VALUE_MAX; p++) {
				int high = *p == '%' && end - p > 2 ? hex_digit(p[1]) : -1;
				int low = high >= 0 ? hex_digit(p[2]) : -1;
				if (low >= 0) {
					out[n++] = (char)(high * 16 + low);
					p += 2;
				} else {
					out[n++] = *p == '+' ? ' ' : *p;
				}
			}
			out[n] = '\0';
			return true;
		}
		p = *end ? end + 1 : end;
	}
	return false;
}

static void sleep_for(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds};

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}

static uint32_t crc32_add(uint32_t crc, const unsigned char *p, size_t len)
{
	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1U)));
	}
	return ~crc;
}

static void put_json_text(FCGX_Stream *out, const char *s)
{
	FCGX_PutChar('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			FCGX_FPrintF(out, "\\%c", c);
		else if (c < 32 || c > 126) /* bytes as Latin-1: the reader gets every byte back */
			FCGX_FPrintF(out, "\\u%04x", c);
		else
			FCGX_PutChar(c, out);
	}
	FCGX_PutChar('"', out);
}

static void put_session_headers(const FCGX_Request *r, const struct query *q, char *value)
{
	if (query_get(q, "set", value))
		FCGX_FPrintF(r->out, "Weir-Session-Data: %s\r\n", value);
	if (query_get(q, "incr", value)) {
		const char *data = FCGX_GetParam("SESSION_DATA", r->envp);
		FCGX_FPrintF(r->out, "Weir-Session-Data: %ld\r\n", data ? strtol(data, NULL, 10) + 1 : 1L);
	}
	if (query_get(q, "ttl", value))
		FCGX_FPrintF(r->out, "Weir-Session-TTL: %s\r\n", value);
	if (query_get(q, "renew", value))
		FCGX_FPrintF(r->out, "Weir-Session-Renew: %s\r\n", value);
	if (query_get(q, "end", value))
		FCGX_FPrintF(r->out, "Weir-Session-End: %s\r\n", value);
}

static void put_head(const FCGX_Request *r, const struct query *q, const char *type, char *value)
{
	if (query_get(q, "status", value))
		FCGX_FPrintF(r->out, "Status: %s\r\n", value);
	if (query_get(q, "location", value))
		FCGX_FPrintF(r->out, "Location: %s\r\n", value);
	if (query_get(q, "cookies", value))
		for (long i = 0, n = strtol(value, NULL, 10); i < n; i++)
			FCGX_FPrintF(r->out, "Set-Cookie: app%ld=v%ld\r\n", i, i);
	if (query_get(q, "header", value))
		FCGX_FPrintF(r->out, "%s\r\n", value);
	put_session_headers(r, q, value);
	FCGX_FPrintF(r->out, "Content-Type: %s\r\n\r\n", type);
}

/* Byte i of the pattern is (i * 7 + i / 256) mod 256: a lost, doubled or moved piece does not go unnoticed. */
static void put_pattern(const FCGX_Request *r, const struct query *q, uint64_t bytes, char *value)
{
	unsigned char chunk[CHUNK_MAX];
	size_t step = query_get(q, "chunk", value) ? (size_t)strtoul(value, NULL, 10) : CHUNK_MAX;
	double pause = query_get(q, "pause", value) ? strtod(value, NULL) : 0;

	if (step == 0 || step > CHUNK_MAX)
		step = CHUNK_MAX;
	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < step ? (size_t)(bytes - at) : step;
		for (size_t i = 0; i < n; i++)
			chunk[i] = (unsigned char)((at + i) * 7 + (at + i) / 256);
		if (FCGX_PutStr((char *)chunk, (int)n, r->out) < 0)
			return;
		at += n;
		if (pause > 0) {
			FCGX_FFlush(r->out);
			sleep_for(pause);
		}
	}
}

static void put_echo(const FCGX_Request *r)
{
	char chunk[CHUNK_MAX];
	int n;

	while ((n = FCGX_GetStr(chunk, sizeof chunk, r->in)) > 0)
		if (FCGX_PutStr(chunk, n, r->out) < 0)
			return;
}

static void put_report(const FCGX_Request *r)
{
	unsigned char chunk[CHUNK_MAX];
	unsigned long length = 0;
	uint32_t crc = 0;
	int n;

	while ((n = FCGX_GetStr((char *)chunk, sizeof chunk, r->in)) > 0) {
		crc = crc32_add(crc, chunk, (size_t)n);
		length += (unsigned long)n;
	}
	FCGX_FPrintF(r->out, "{\"app\":\"libfcgi\",\"pid\":%d,\"length\":%lu,\"crc32\":%lu,\"env\":{", (int)getpid(),
		     length, (unsigned long)crc);
	for (char **e = r->envp; *e; e++) {
		const char *equals = strchr(*e, '=');
		char name[256];
		if (!equals || (size_t)(equals - *e) >= sizeof name)
			continue;
		memcpy(name, *e, (size_t)(equals - *e));
		name[equals - *e] = '\0';
		if (e != r->envp)
			FCGX_PutChar(',', r->out);
		put_json_text(r->out, name);
		FCGX_PutChar(':', r->out);
		put_json_text(r->out, equals + 1);
	}
	FCGX_FPrintF(r->out, "}}\n");
}

/* The answer is on its way, and the request goes on. */
static void linger(const FCGX_Request *r, const char *path)
{
	FCGX_FFlush(r->out);
	while (access(path, F_OK) != 0)
		sleep_for(0.01);
}

static void answer(const FCGX_Request *r, char *value)
{
	const char *text = FCGX_GetParam("QUERY_STRING", r->envp);
	const char *type = FCGX_GetParam("CONTENT_TYPE", r->envp);
	const char *method = FCGX_GetParam("REQUEST_METHOD", r->envp);
	struct query q = {.text = text ? text : ""};

	if (query_get(&q, "stderr", value))
		FCGX_FPrintF(r->err, "%s\n", value);
	if (query_get(&q, "sleep", value))
		sleep_for(strtod(value, NULL));
	if (query_get(&q, "crash", value)) {
		if (!strcmp(value, "after")) {
			FCGX_FPrintF(r->out, "Content-Type: text/plain\r\n\r\nhalf an ans");
			FCGX_FFlush(r->out);
		}
		raise(SIGKILL);
	}
	if (query_get(&q, "nobody", value) || (method && !strcmp(method, "HEAD"))) {
		put_head(r, &q, "text/plain", value);
	} else if (query_get(&q, "echo", value)) {
		put_head(r, &q, type && *type ? type : "application/octet-stream", value);
		put_echo(r);
	} else if (query_get(&q, "bytes", value)) {
		uint64_t bytes = strtoull(value, NULL, 10);
		put_head(r, &q, "application/octet-stream", value);
		put_pattern(r, &q, bytes, value);
	} else {
		put_head(r, &q, "application/json", value);
		put_report(r);
	}
	if (query_get(&q, "until", value))
		linger(r, value);
}

int main(void)
{
	FCGX_Request request;
	char *value = malloc(VALUE_MAX);

	if (!value || FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return 1;
	while (FCGX_Accept_r(&request) == 0) {
		answer(&request, value);
		FCGX_Finish_r(&request);
	}
	free(value);
	return 0;
}
