/* One connection's TLS between two buffers. OpenSSL reads from the bytes that a call was given and writes to the buffer
 * that it was given, through a BIO of our own: nothing waits in between but a record that is not whole. */
#include "tls/inside.h"

#include "base/error.h"
#include "base/invariant.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

static void channel_check(const struct tls_channel *c)
{
	INVARIANT(c->ssl != NULL);
	INVARIANT(c->context != NULL);
	INVARIANT((c->state == TLS_FAILED) == (c->failure.reason != TLS_NO_REASON));
	INVARIANT(c->state != TLS_OPEN || *c->peer);
	INVARIANT(c->out == NULL);
	INVARIANT(c->in.len == 0);
}

/* --- the BIO --- */

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *written)
{
	struct tls_channel *c = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!c->out)
		return 0;
	buf_put(c->out, view_of(bytes, len));
	if (buf_error(c->out))
		return 0;
	*written = len;
	return 1;
}

static int bio_read(BIO *bio, char *bytes, size_t len, size_t *got)
{
	struct tls_channel *c = BIO_get_data(bio);
	struct view v = view_take(&c->in, len);

	BIO_clear_retry_flags(bio);
	if (v.len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(bytes, v.at, v.len);
	*got = v.len;
	return 1;
}

static long bio_ctrl(BIO *bio, int what, long number, void *arg)
{
	(void)bio;
	(void)number;
	(void)arg;
	return what == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "weir");

	if (method && BIO_meth_set_write_ex(method, bio_write) == 1 && BIO_meth_set_read_ex(method, bio_read) == 1 &&
	    BIO_meth_set_ctrl(method, bio_ctrl) == 1)
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* --- life --- */

/* A session that is not fit today is forgotten: then both show their certificates. */
static void offer_session(struct tls_channel *c)
{
	SSL_SESSION *session;
	STACK_OF(X509) * chain;

	if (!*c->expected || !tls_cache_take(&c->context->cache, c->expected, &session, &chain))
		return;
	if (tls_verify_again(c, SSL_SESSION_get0_peer(session), chain))
		(void)SSL_set_session(c->ssl, session);
	SSL_SESSION_free(session);
	sk_X509_pop_free(chain, X509_free);
}

static bool set_up(struct tls_channel *c)
{
	c->ssl = SSL_new(c->context->ssl);
	BIO *bio = c->ssl ? BIO_new(c->context->bio) : NULL;
	if (!bio)
		return false;
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	X509_VERIFY_PARAM_set_time(SSL_get0_param(c->ssl), (time_t)c->now.s);
	if (c->role == TLS_DIALS)
		SSL_set_connect_state(c->ssl);
	else
		SSL_set_accept_state(c->ssl);
	return SSL_set_app_data(c->ssl, c) == 1;
}

int tls_channel_new(struct tls_channel **out, struct tls_context *context, enum tls_role role, const char *peer,
		    struct wall_time now)
{
	struct tls_channel *c = calloc(1, sizeof *c);

	if (!c)
		return ERR_NO_MEMORY;
	c->context = tls_context_ref(context);
	c->role = role;
	c->now = now;
	if (peer) {
		INVARIANT(name_is_good(view_str(peer)));
		memcpy(c->expected, peer, strlen(peer) + 1);
	}
	ERR_clear_error();
	if (!set_up(c)) {
		tls_channel_free(&c);
		return ERR_NO_MEMORY;
	}
	if (role == TLS_DIALS)
		offer_session(c);
	ERR_clear_error();
	channel_check(c);
	*out = c;
	return 0;
}

void tls_channel_free(struct tls_channel **c)
{
	struct tls_channel *gone = *c;

	*c = NULL;
	if (!gone)
		return;
	/* Otherwise OpenSSL makes the session unfit that the cache has: a link that was cut is just the one that comes
	 * back. */
	if (gone->ssl)
		SSL_set_shutdown(gone->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(gone->ssl);
	tls_context_unref(&gone->context);
	free(gone);
}

/* --- failures --- */

static void fail(struct tls_channel *c, enum tls_reason reason, bool heard, const char *detail)
{
	c->state = TLS_FAILED;
	c->failure.reason = reason;
	c->failure.heard = heard;
	snprintf(c->failure.detail, sizeof c->failure.detail, "%s", detail ? detail : "");
}

/* What OpenSSL's error queue says. */
static void fail_by_queue(struct tls_channel *c)
{
	unsigned long e = ERR_peek_error();
	int reason = ERR_GET_REASON(e);
	const char *text = ERR_reason_error_string(e);

	if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
		fail(c, tls_reason_of_alert(reason - SSL_AD_REASON_OFFSET), true,
		     SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
	else if (c->verdict.reason != TLS_NO_REASON)
		fail(c, c->verdict.reason, false, c->verdict.detail);
	else if (reason == ERR_R_MALLOC_FAILURE)
		fail(c, TLS_NO_MEMORY, false, NULL);
	else if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		fail(c, TLS_NO_CERTIFICATE, false, NULL);
	else
		fail(c, TLS_PROTOCOL, false, text);
}

/* After a call of OpenSSL's that has not gone through. */
static void judge(struct tls_channel *c, int result)
{
	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_ZERO_RETURN:
		c->state = TLS_ENDED;
		break;
	default:
		if (buf_error(c->out))
			fail(c, TLS_NO_MEMORY, false, error_text(buf_error(c->out)));
		else
			fail_by_queue(c);
	}
	ERR_clear_error();
}

/* --- steps --- */

static void enter(struct tls_channel *c, struct buf *out)
{
	channel_check(c);
	c->out = out;
	ERR_clear_error();
}

static void leave(struct tls_channel *c)
{
	c->in = view_of(NULL, 0);
	c->out = NULL;
	channel_check(c);
}

/* Also after a shortened handshake, in which no certificate was shown. */
static void admit(struct tls_channel *c)
{
	X509 *certificate = SSL_get0_peer_certificate(c->ssl);

	if (!certificate)
		fail(c, TLS_NO_CERTIFICATE, false, NULL);
	else if (tls_verify_name(c, certificate, c->peer, &c->verdict))
		c->state = TLS_OPEN;
	else
		fail(c, c->verdict.reason, false, c->verdict.detail);
}

static void shake_hands(struct tls_channel *c)
{
	int result = SSL_do_handshake(c->ssl);

	if (result == 1)
		admit(c);
	else
		judge(c, result);
}

/* While OpenSSL waits for the rest of a handshake message nothing can be written. Such messages are short, and whoever
 * means well sends each in one record. */
static void refuse_pieces(struct tls_channel *c)
{
	if (SSL_in_init(c->ssl))
		fail(c, TLS_PROTOCOL, false, "a handshake message in pieces");
}

/* Whether there may be more. */
static bool read_some(struct tls_channel *c, struct buf *plain)
{
	uint8_t *at = buf_reserve(plain, TLS_PLAIN_MAX);
	size_t got = 0;

	if (!at) {
		fail(c, TLS_NO_MEMORY, false, error_text(buf_error(plain)));
		return false;
	}
	int result = SSL_read_ex(c->ssl, at, TLS_PLAIN_MAX, &got);
	if (result != 1) {
		judge(c, result);
		if (c->state == TLS_OPEN)
			refuse_pieces(c);
		return false;
	}
	buf_commit(plain, got);
	return true;
}

/* The first record begins with its type, a handshake or an alert, and the number 3. Whatever else comes is of somebody
 * who speaks another language, and gets no answer in this one. */
static bool is_tls(struct tls_channel *c)
{
	for (size_t i = 0; i < c->in.len && c->first < 2; i++, c->first++) {
		uint8_t byte = c->in.at[i];
		if (c->first == 0 ? byte != SSL3_RT_HANDSHAKE && byte != SSL3_RT_ALERT : byte != SSL3_VERSION_MAJOR)
			return false;
	}
	return true;
}

void tls_channel_start(struct tls_channel *c, struct buf *out)
{
	enter(c, out);
	if (c->role == TLS_DIALS && c->state == TLS_HANDSHAKE)
		shake_hands(c);
	leave(c);
}

void tls_channel_feed(struct tls_channel *c, struct view cipher, struct buf *plain, struct buf *out)
{
	enter(c, out);
	c->in = cipher;
	if (c->state == TLS_HANDSHAKE && !is_tls(c))
		fail(c, TLS_NOT_TLS, false, NULL);
	if (c->state == TLS_HANDSHAKE)
		shake_hands(c);
	while (c->state == TLS_OPEN && read_some(c, plain)) {
		/* until all is read */
	}
	leave(c);
}

/* OpenSSL uses one key for ever, and a link may live for months. */
static void renew_key(struct tls_channel *c, size_t bytes)
{
	c->records += 1 + bytes / TLS_PLAIN_MAX;
	if (c->records >= TLS_REKEY_RECORDS && SSL_key_update(c->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
		c->records = 0;
}

int tls_channel_write(struct tls_channel *c, struct view plain, struct buf *out)
{
	size_t written = 0;

	if (c->state == TLS_HANDSHAKE)
		return ERR_BUSY;
	if (c->state != TLS_OPEN || c->ending)
		return ERR_CLOSED;
	if (plain.len == 0)
		return 0;
	enter(c, out);
	renew_key(c, plain.len);
	int result = SSL_write_ex(c->ssl, plain.at, plain.len, &written);
	if (result != 1)
		judge(c, result);
	if (result != 1 && c->state == TLS_OPEN)
		fail(c, TLS_PROTOCOL, false, "nothing can be written");
	INVARIANT(c->state != TLS_OPEN || written == plain.len);
	leave(c);
	return c->state == TLS_OPEN ? 0 : ERR_CLOSED;
}

void tls_channel_end(struct tls_channel *c, struct buf *out)
{
	if (c->ending || c->state == TLS_FAILED)
		return;
	c->ending = true;
	if (c->state == TLS_HANDSHAKE) {
		c->state = TLS_ENDED;
		return;
	}
	enter(c, out);
	int result = SSL_shutdown(c->ssl);
	if (result < 0)
		judge(c, result);
	leave(c);
}

/* --- what is known --- */

enum tls_state tls_channel_state(const struct tls_channel *c)
{
	return c->state;
}

const char *tls_channel_peer(const struct tls_channel *c)
{
	return c->peer;
}

bool tls_channel_resumed(const struct tls_channel *c)
{
	return SSL_session_reused(c->ssl) == 1;
}

const struct tls_failure *tls_channel_failure(const struct tls_channel *c)
{
	return &c->failure;
}
