/* The PC's character set (IBM code page 437) as Unicode. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct text_screen;

extern const uint16_t cp437[256];
/* What a character screen shows as UTF-8, blanks at the ends of lines left out; the caller frees it. */
char *text_screen_utf8(const struct text_screen *text);
