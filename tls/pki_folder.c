/* The authority's folder: one at a time is in it, and a file is there as a whole or not at all. */
#include "tls/pki_inside.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FOLDER_MODE = 0700,
	PUBLIC_MODE = 0644,
	SECRET_MODE = 0600,
	NAME_BYTES = TLS_NAME_MAX + 16, /* of a file in the folder */
	INDEX_MAX = 16 << 20,           /* bytes: some 150,000 certificates */
};

int pki_say(struct pki *p, int err, const char *file, const char *reason)
{
	snprintf(p->why, TLS_LINE_BYTES, "%s%s%s: %s", p->dir, file ? "/" : "", file ? file : "", reason);
	return err;
}

int pki_say_errno(struct pki *p, const char *file)
{
	return pki_say(p, errno == ENOENT ? ERR_GONE : ERR_SYSTEM, file, strerror(errno));
}

int pki_say_openssl(struct pki *p, const char *doing)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	snprintf(p->why, TLS_LINE_BYTES, "%s: %s", doing, reason ? reason : error_text(ERR_NO_MEMORY));
	ERR_clear_error();
	return ERR_NO_MEMORY;
}

/* --- the folder --- */

int pki_folder_open(struct pki *p, bool make)
{
	if (make && mkdir(p->dir, FOLDER_MODE) != 0 && errno != EEXIST)
		return pki_say_errno(p, NULL);
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->fd < 0)
		return pki_say_errno(p, NULL);
	while (flock(p->fd, LOCK_EX) != 0) {
		if (errno != EINTR)
			return pki_say_errno(p, NULL);
	}
	return 0;
}

void pki_folder_close(struct pki *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	free(p->rows);
	p->rows = NULL;
	p->count = 0;
	X509_free(p->authority);
	EVP_PKEY_free(p->key);
	p->authority = NULL;
	p->key = NULL;
}

bool pki_has(const struct pki *p, const char *file)
{
	struct stat st;

	return fstatat(p->fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- files out --- */

static int write_all(int fd, struct view bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.at, bytes.len);
		if (n < 0 && errno != EINTR)
			return -1;
		(void)view_take(&bytes, n > 0 ? (size_t)n : 0);
	}
	return 0;
}

/* What an earlier one has left half done is in the way of nobody: the folder is locked. */
static int write_file(struct pki *p, const char *file, struct view bytes, mode_t mode)
{
	char beside[NAME_BYTES];

	snprintf(beside, sizeof beside, "%s.new", file);
	(void)unlinkat(p->fd, beside, 0);
	int fd = openat(p->fd, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, SECRET_MODE);
	if (fd < 0)
		return pki_say_errno(p, beside);
	int bad = write_all(fd, bytes) != 0 || fchmod(fd, mode) != 0 || fsync(fd) != 0;
	int reason = errno;
	bad = close(fd) != 0 || bad;
	if (!bad && renameat(p->fd, beside, p->fd, file) == 0 && fsync(p->fd) == 0)
		return 0;
	errno = bad ? reason : errno;
	int err = pki_say_errno(p, file);
	(void)unlinkat(p->fd, beside, 0);
	return err;
}

/* Frees the BIO, and wipes what was in it. */
static int write_bio(struct pki *p, const char *file, BIO *bio, int put, mode_t mode)
{
	char *bytes = NULL;
	long len = bio ? BIO_get_mem_data(bio, &bytes) : 0;
	int err = put == 1 ? write_file(p, file, view_of(bytes, (size_t)len), mode) : pki_say_openssl(p, file);

	if (bytes)
		OPENSSL_cleanse(bytes, (size_t)len);
	BIO_free(bio);
	return err;
}

int pki_write_certificate(struct pki *p, const char *file, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return write_bio(p, file, bio, bio ? PEM_write_bio_X509(bio, certificate) : 0, PUBLIC_MODE);
}

int pki_write_key(struct pki *p, const char *file, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());

	return write_bio(p, file, bio, bio ? PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) : 0,
			 SECRET_MODE);
}

int pki_write_crl(struct pki *p, const char *file, X509_CRL *crl)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return write_bio(p, file, bio, bio ? PEM_write_bio_X509_CRL(bio, crl) : 0, PUBLIC_MODE);
}

/* --- files in --- */

static FILE *open_file(const struct pki *p, const char *file)
{
	int fd = openat(p->fd, file, O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* The cluster is the common name of its authority. */
static bool read_cluster(struct pki *p)
{
	char text[TLS_NAME_MAX + 2];
	int len = X509_NAME_get_text_by_NID(X509_get_subject_name(p->authority), NID_commonName, text, sizeof text);

	if (len < 0 || !name_is_good(view_of(text, (size_t)len)))
		return false;
	memcpy(p->cluster, text, (size_t)len + 1);
	return true;
}

int pki_certificate_read(struct pki *p)
{
	FILE *f = open_file(p, "ca.pem");

	if (!f)
		return errno == ENOENT ? pki_say(p, ERR_GONE, NULL, "has no authority; pki init makes one")
				       : pki_say_errno(p, "ca.pem");
	p->authority = PEM_read_X509(f, NULL, no_password, NULL);
	fclose(f);
	ERR_clear_error();
	if (!p->authority || !read_cluster(p))
		return pki_say(p, ERR_CONFIG, "ca.pem", "is not the certificate of an authority of weir's");
	return 0;
}

int pki_authority_read(struct pki *p)
{
	int err = pki_certificate_read(p);
	FILE *f = err ? NULL : open_file(p, "ca.key");

	if (err)
		return err;
	if (!f)
		return pki_say_errno(p, "ca.key");
	p->key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	fclose(f);
	ERR_clear_error();
	if (!p->key)
		return pki_say(p, ERR_CONFIG, "ca.key", "has no private key, or one with a password");
	if (X509_check_private_key(p->authority, p->key) != 1)
		return pki_say(p, ERR_CONFIG, "ca.key", "the key does not fit ca.pem");
	return 0;
}

X509_CRL *pki_crl_read(const struct pki *p)
{
	FILE *f = open_file(p, "crl.pem");
	X509_CRL *crl = f ? PEM_read_X509_CRL(f, NULL, no_password, NULL) : NULL;

	if (f)
		fclose(f);
	ERR_clear_error();
	return crl;
}

/* --- the index --- */

int pki_index_add(struct pki *p, const struct pki_row *row)
{
	struct pki_row *more = realloc(p->rows, (p->count + 1) * sizeof *more);

	if (!more)
		return pki_say(p, ERR_NO_MEMORY, "index", error_text(ERR_NO_MEMORY));
	p->rows = more;
	p->rows[p->count++] = *row;
	return 0;
}

static bool take_word(struct view *line, char *out, size_t size)
{
	size_t len = 0;

	while (len < line->len && line->at[len] != ' ')
		len++;
	if (len == 0 || len >= size)
		return false;
	memcpy(out, line->at, len);
	out[len] = '\0';
	(void)view_take(line, len + 1);
	return true;
}

static bool is_time(const char *text)
{
	return strlen(text) == PKI_TIME_BYTES - 1 && strspn(text, "0123456789") == PKI_TIME_BYTES - 2 &&
	       text[PKI_TIME_BYTES - 2] == 'Z';
}

static bool read_row(struct view line, struct pki_row *out)
{
	return take_word(&line, out->serial, sizeof out->serial) && take_word(&line, out->node, sizeof out->node) &&
	       take_word(&line, out->expires, sizeof out->expires) &&
	       take_word(&line, out->revoked, sizeof out->revoked) && line.len == 0 &&
	       out->serial[strspn(out->serial, "0123456789ABCDEF")] == '\0' && name_is_good(view_str(out->node)) &&
	       is_time(out->expires) && (strcmp(out->revoked, "-") == 0 || is_time(out->revoked));
}

static int read_rows(struct pki *p, struct view text)
{
	struct pki_row row;
	char reason[TLS_DETAIL_BYTES];
	unsigned number = 0;
	int err = 0;

	while (!err && text.at && text.len > 0) {
		const uint8_t *end = memchr(text.at, '\n', text.len);
		struct view line = view_take(&text, end ? (size_t)(end - text.at) : text.len);
		(void)view_take(&text, 1);
		number++;
		if (read_row(line, &row)) {
			err = pki_index_add(p, &row);
			continue;
		}
		snprintf(reason, sizeof reason, "line %u is not SERIAL NODE EXPIRES REVOKED", number);
		err = pki_say(p, ERR_CONFIG, "index", reason);
	}
	return err;
}

int pki_index_read(struct pki *p)
{
	struct buf text = {.max_bytes = INDEX_MAX};
	FILE *f = open_file(p, "index");
	size_t n = 1;

	if (!f)
		return pki_say_errno(p, "index");
	while (n > 0) {
		uint8_t *at = buf_reserve(&text, BUFSIZ);
		n = at ? fread(at, 1, BUFSIZ, f) : 0;
		if (n > 0)
			buf_commit(&text, n);
	}
	int err = ferror(f) ? pki_say_errno(p, "index") : 0;
	fclose(f);
	if (!err && buf_error(&text))
		err = pki_say(p, buf_error(&text), "index", error_text(buf_error(&text)));
	if (!err)
		err = read_rows(p, buf_view(&text));
	buf_fini(&text);
	return err;
}

int pki_index_write(struct pki *p)
{
	struct buf text = {.max_bytes = INDEX_MAX};

	for (size_t i = 0; i < p->count; i++) {
		const char *const words[] = {p->rows[i].serial, p->rows[i].node, p->rows[i].expires,
					     p->rows[i].revoked};
		for (unsigned k = 0; k < sizeof words / sizeof words[0]; k++) {
			buf_put_str(&text, words[k]);
			buf_put_u8(&text, k == 3 ? '\n' : ' ');
		}
	}
	int err = buf_error(&text);
	err = err ? pki_say(p, err, "index", error_text(err)) : write_file(p, "index", buf_view(&text), PUBLIC_MODE);
	buf_fini(&text);
	return err;
}
