/* gateway/status.html as bytes, made while building (tools/embed). */
#ifndef WEIR_GATEWAY_STATUS_PAGE_H
#define WEIR_GATEWAY_STATUS_PAGE_H

#include <stddef.h>
#include <stdint.h>

/* Between the two stands the JSON document that the first look shows. */
extern const uint8_t status_page_top[], status_page_bottom[];
extern const size_t status_page_top_len, status_page_bottom_len;

/* The digests of its script and its style, as Content-Security-Policy wants them. */
extern const char status_page_script[], status_page_style[];

#endif
