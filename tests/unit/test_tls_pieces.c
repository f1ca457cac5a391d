/* An open channel gets a handshake message of which only the beginning comes: OpenSSL then thinks that it shakes hands
 * and writes nothing more. Nobody who means well cuts them. OpenSSL does not either, so the record is made here by hand
 * (RFC 8446, sections 4.6.3, 5.2, 7.1 and 7.3). */
#include "tests/unit/tls_pair.h"

#include "tls/inside.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

enum { SECRET_MAX = 64, TAG_BYTES = 16, IV_BYTES = 12, HEAD_BYTES = 5 };

static uint8_t secret[SECRET_MAX]; /* what the keys of the dialler's records are made of */
static size_t secret_len;

static void keep_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	(void)ssl;
	if (strncmp(line, label, sizeof label - 1) != 0)
		return;
	const char *hex = strrchr(line, ' ') + 1;
	assert_int_equal(OPENSSL_hexstr2buf_ex(secret, sizeof secret, &secret_len, hex, '\0'), 1);
}

/* HKDF-Expand-Label with an empty context. */
static void expand(const EVP_MD *digest, const char *label, uint8_t *out, size_t len)
{
	uint8_t info[32] = {0, (uint8_t)len, (uint8_t)(6 + strlen(label))};
	size_t info_len = 3 + (size_t)snprintf((char *)info + 3, sizeof info - 3, "tls13 %s", label) + 1;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)EVP_MD_get0_name(digest), 0),
	    OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, secret_len),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_len), OSSL_PARAM_construct_end()};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);

	assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

/* The first record that the dialler sends after the handshake: `len` bytes of handshake messages. Its length. */
static size_t seal(uint8_t *record, const uint8_t *message, size_t len)
{
	const SSL_CIPHER *suite = SSL_get_current_cipher(dials.channel->ssl);
	const EVP_CIPHER *cipher = EVP_get_cipherbynid(SSL_CIPHER_get_cipher_nid(suite));
	const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(suite);
	uint8_t key[EVP_MAX_KEY_LENGTH], iv[IV_BYTES], plain[64];
	size_t sealed = len + 1 + TAG_BYTES;
	int got = 0, more = 0;

	expand(digest, "key", key, (size_t)EVP_CIPHER_get_key_length(cipher));
	expand(digest, "iv", iv, sizeof iv); /* record number 0: as it is */
	memcpy(plain, message, len);
	plain[len] = SSL3_RT_HANDSHAKE;
	memcpy(record, (uint8_t[]){SSL3_RT_APPLICATION_DATA, 3, 3, 0, (uint8_t)sealed}, HEAD_BYTES);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &got, record, HEAD_BYTES), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, record + HEAD_BYTES, &got, plain, (int)len + 1), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, record + HEAD_BYTES + got, &more), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, record + HEAD_BYTES + len + 1), 1);
	EVP_CIPHER_CTX_free(ctx);
	return HEAD_BYTES + sealed;
}

/* KeyUpdate, update_not_requested: type, length, and what is asked for. */
static const uint8_t key_update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, 0};

static void connect_both(void)
{
	SSL_CTX_set_keylog_callback(alpha->ssl, keep_secret);
	connect_ends(alpha, beta, "beta");
	assert_open();
}

static void hear(const uint8_t *message, size_t len)
{
	uint8_t record[128];
	size_t record_len = seal(record, message, len);

	tls_channel_feed(listens.channel, view_of(record, record_len), &listens.plain, &listens.out);
}

static void a_whole_one_is_heard(void **state)
{
	(void)state;
	connect_both();
	hear(key_update, sizeof key_update);
	assert_int_equal(tls_channel_state(listens.channel), TLS_OPEN);
	assert_int_equal(tls_channel_write(listens.channel, VIEW("an answer"), &listens.out), 0);
}

/* Of one that ends within its head OpenSSL keeps what there is, and goes on. */
static void the_beginning_of_one_fails_it(void **state)
{
	(void)state;
	connect_both();
	hear(key_update, sizeof key_update - 1);
	assert_int_equal(tls_channel_state(listens.channel), TLS_FAILED);
	assert_int_equal(tls_channel_failure(listens.channel)->reason, TLS_PROTOCOL);
	assert_int_equal(tls_channel_write(listens.channel, VIEW("an answer"), &listens.out), ERR_CLOSED);
}

static void less_than_a_head_changes_nothing(void **state)
{
	(void)state;
	connect_both();
	hear(key_update, 3);
	assert_int_equal(tls_channel_write(listens.channel, VIEW("an answer"), &listens.out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_whole_one_is_heard),
	    TEST(the_beginning_of_one_fails_it),
	    TEST(less_than_a_head_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
