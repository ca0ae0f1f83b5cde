#include "ui/base64.h"

#include "core/util.h"

#include <stdlib.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const uint8_t *bytes, size_t n)
{
    char *text = xmalloc((n + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= i + 2 < n ? bytes[i + 2] : 0;
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = i + 1 < n ? digits[three >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[three & 63] : '=';
    }
    *to = 0;
    return text;
}

uint8_t *base64_decode(const char *text, size_t *n)
{
    size_t length = strlen(text), pad = 0;
    uint32_t four = 0;
    *n = 0;
    while (pad < 2 && pad < length && text[length - 1 - pad] == '=')
        pad++;
    if (length % 4)
        return NULL;
    uint8_t *bytes = xmalloc(length / 4 * 3 + 1);
    for (size_t i = 0; i < length; i++) {
        const char *digit = i < length - pad ? strchr(digits, text[i]) : digits;
        if (!digit) {
            free(bytes);
            return NULL;
        }
        four = four << 6 | (uint32_t)(digit - digits);
        if (i % 4 != 3)
            continue;
        bytes[(*n)++] = (uint8_t)(four >> 16);
        bytes[(*n)++] = (uint8_t)(four >> 8);
        bytes[(*n)++] = (uint8_t)four;
    }
    *n -= pad;
    return bytes;
}
