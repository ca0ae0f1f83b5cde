/* What a monitor says about itself: VESA E-EDID 1.4. */
#pragma once

#include <stdint.h>

enum { EDID_SIZE = 128 };

struct edid_info {
    uint32_t width, height;         /* preferred; 640 by 480 to 4095 each, else the nearest */
    uint32_t max_width, max_height; /* of the other modes listed; 0: no bound */
    uint32_t refresh_hz;            /* 0: 60 */
    const char *name;               /* of the monitor, up to 13 characters; NULL: "Tandem" */
    uint32_t serial;                /* 0: none */
};
/* Fill one block of EDID_SIZE bytes. */
void edid_make(const struct edid_info *info, uint8_t *out);
