/* FastCGI records, just enough for the programs of the bench (FastCGI 1.0, sections 3.3 and 8). It shares nothing with
 * proto/fcgi on purpose: what measures the gateway must not contain its mistakes. */
#ifndef WEIR_BENCH_RECORD_H
#define WEIR_BENCH_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { REC_BEGIN = 1, REC_ABORT = 2, REC_END = 3, REC_PARAMS = 4, REC_STDIN = 5, REC_STDOUT = 6, REC_STDERR = 7 };
enum { REC_HEADER_BYTES = 8, REC_MAX_BYTES = REC_HEADER_BYTES + 65535 + 255 };

struct record {
	uint8_t type;
	uint16_t id;
	const uint8_t *content; /* borrowed from the input */
	size_t len;             /* bytes of content */
};

/* The record at the start of in[0..len): its whole length with padding, 0 when it is not all there yet. */
static inline size_t record_read(const uint8_t *in, size_t len, struct record *out)
{
	if (len < REC_HEADER_BYTES)
		return 0;
	size_t content = (size_t)in[4] << 8 | in[5];
	size_t whole = REC_HEADER_BYTES + content + in[6];
	if (len < whole)
		return 0;
	*out = (struct record){
	    .type = in[1], .id = (uint16_t)(in[2] << 8 | in[3]), .content = in + REC_HEADER_BYTES, .len = content};
	return whole;
}

/* Writes a record without padding and returns its length. */
static inline size_t record_write(uint8_t *out, uint8_t type, uint16_t id, const void *content, size_t len)
{
	const uint8_t header[REC_HEADER_BYTES] = {
	    1, type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8), (uint8_t)len, 0, 0};
	memcpy(out, header, sizeof header);
	if (len > 0)
		memcpy(out + sizeof header, content, len);
	return sizeof header + len;
}

#endif
