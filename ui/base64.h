/* RFC 4648, section 4. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Both give memory that the caller frees. decode: NULL if it is none; *n gets the bytes. */
char *base64_encode(const uint8_t *bytes, size_t n);
uint8_t *base64_decode(const char *text, size_t *n);
