/* PEM files into OpenSSL's objects. Each error is one line: the file, and why. */
#include "tls/inside.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20 }; /* bytes: a revocation list of a large authority */

static int say(struct tls_said *said, const char *path, const char *reason)
{
	snprintf(said->why, sizeof said->why, "%s: %s", path, reason);
	return ERR_CONFIG;
}

/* --- bytes of a file --- */

struct bytes {
	uint8_t *at; /* owned */
	size_t len;
	mode_t mode;
};

/* A key may have been in it. */
static void bytes_fini(struct bytes *b)
{
	OPENSSL_clear_free(b->at, b->len);
	b->at = NULL;
}

static int read_all(int fd, struct bytes *out, struct tls_said *said, const char *path)
{
	struct stat st;
	size_t have = 0;

	if (fstat(fd, &st) != 0)
		return say(said, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return say(said, path, "is not a file");
	if (st.st_size > FILE_MAX)
		return say(said, path, "is too large");
	out->mode = st.st_mode;
	out->len = (size_t)st.st_size;
	out->at = OPENSSL_malloc(out->len + 1);
	if (!out->at)
		return ERR_NO_MEMORY;
	while (have < out->len) {
		ssize_t n = read(fd, out->at + have, out->len - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return say(said, path, n < 0 ? strerror(errno) : "was changed while it was read");
		have += (size_t)n;
	}
	return 0;
}

/* A named pipe in its place must not hold up a reload. */
static int read_file(const char *path, struct bytes *out, struct tls_said *said)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return say(said, path, strerror(errno));
	int err = read_all(fd, out, said, path);
	close(fd);
	return err;
}

/* --- what is in it --- */

/* Nobody is there to be asked for a password. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* How the reading of one PEM block after the other has ended. */
static int ended(struct tls_said *said, const char *path, int count, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	char reason[TLS_DETAIL_BYTES];

	ERR_clear_error();
	if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
		return ERR_NO_MEMORY;
	if (e && !(ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE)) {
		snprintf(reason, sizeof reason, "has a damaged %s", what);
		return say(said, path, reason);
	}
	if (count > 0)
		return 0;
	snprintf(reason, sizeof reason, "has no %s in PEM form", what);
	return say(said, path, reason);
}

static int read_certificates(const char *path, STACK_OF(X509) * out, struct tls_said *said)
{
	struct bytes bytes = {.at = NULL};
	int err = read_file(path, &bytes, said);
	BIO *bio = err ? NULL : BIO_new_mem_buf(bytes.at, (int)bytes.len);
	X509 *one;

	if (!err && !bio)
		err = ERR_NO_MEMORY;
	ERR_clear_error();
	while (!err && (one = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		if (!sk_X509_push(out, one)) {
			X509_free(one);
			err = ERR_NO_MEMORY;
		}
	}
	if (!err)
		err = ended(said, path, sk_X509_num(out), "certificate");
	BIO_free(bio);
	bytes_fini(&bytes);
	return err;
}

static int read_crls(const char *path, STACK_OF(X509_CRL) * out, struct tls_said *said)
{
	struct bytes bytes = {.at = NULL};
	int err = read_file(path, &bytes, said);
	BIO *bio = err ? NULL : BIO_new_mem_buf(bytes.at, (int)bytes.len);
	X509_CRL *one;

	if (!err && !bio)
		err = ERR_NO_MEMORY;
	ERR_clear_error();
	while (!err && (one = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL))) {
		if (!sk_X509_CRL_push(out, one)) {
			X509_CRL_free(one);
			err = ERR_NO_MEMORY;
		}
	}
	if (!err)
		err = ended(said, path, sk_X509_CRL_num(out), "revocation list");
	BIO_free(bio);
	bytes_fini(&bytes);
	return err;
}

/* OpenSSL could do nothing with it; its own words for that are many and dark. */
static int key_error(struct tls_said *said, const char *path, const struct bytes *bytes)
{
	bool out_of_memory = ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE;

	ERR_clear_error();
	if (out_of_memory)
		return ERR_NO_MEMORY;
	if (!memmem(bytes->at, bytes->len, "PRIVATE KEY-----", strlen("PRIVATE KEY-----")))
		return say(said, path, "has no private key in PEM form");
	if (!memmem(bytes->at, bytes->len, "ENCRYPTED", strlen("ENCRYPTED")))
		return say(said, path, "has a damaged private key");
	return say(said, path, "the key is encrypted, and nobody is there to be asked for its password");
}

static int read_key(const char *path, EVP_PKEY **out, struct tls_said *said)
{
	struct bytes bytes = {.at = NULL};
	int err = read_file(path, &bytes, said);
	BIO *bio = err ? NULL : BIO_new_mem_buf(bytes.at, (int)bytes.len);

	if (!err && !bio)
		err = ERR_NO_MEMORY;
	ERR_clear_error();
	if (!err) {
		*out = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
		err = *out ? 0 : key_error(said, path, &bytes);
	}
	if (!err && (bytes.mode & (S_IRWXO | S_IWGRP)))
		snprintf(said->warning, sizeof said->warning,
			 "%s: the key can be read or changed by others (mode %04o)", path,
			 (unsigned)bytes.mode & 07777);
	BIO_free(bio);
	bytes_fini(&bytes);
	return err;
}

/* --- all of them --- */

void tls_loaded_fini(struct tls_loaded *l)
{
	X509_free(l->own);
	EVP_PKEY_free(l->key);
	sk_X509_pop_free(l->chain, X509_free);
	sk_X509_pop_free(l->authority, X509_free);
	sk_X509_CRL_pop_free(l->crls, X509_CRL_free);
	*l = (struct tls_loaded){.own = NULL};
}

int tls_load(struct tls_loaded *out, const struct tls_settings *s, struct tls_said *said)
{
	struct tls_loaded l = {
	    .chain = sk_X509_new_null(), .authority = sk_X509_new_null(), .crls = sk_X509_CRL_new_null()};
	int err = l.chain && l.authority && l.crls ? 0 : ERR_NO_MEMORY;

	if (!err)
		err = read_certificates(s->authority, l.authority, said);
	if (!err)
		err = read_certificates(s->certificate, l.chain, said);
	if (!err)
		l.own = sk_X509_shift(l.chain);
	if (!err)
		err = read_key(s->key, &l.key, said);
	if (!err && X509_check_private_key(l.own, l.key) != 1)
		err = say(said, s->key, "the key does not fit the certificate");
	if (!err && s->crl)
		err = read_crls(s->crl, l.crls, said);
	ERR_clear_error();
	if (err)
		tls_loaded_fini(&l);
	else
		*out = l;
	return err;
}
