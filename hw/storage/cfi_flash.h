/* A bank of NOR flash; class "cfi.pflash01". Two x16 chips side by side make a 32-bit bank of 256 KiB
 * blocks with Intel's command set. */
#pragma once

#include "core/device.h"

enum { CFI_FLASH_BLOCK = 256 * 1024 };

/* Is there an image behind it? */
bool cfi_flash_has_image(struct device *flash);
/* Let the physical map follow the mode after a reset: without any lock, vCPUs stopped. */
void cfi_flash_follow(struct device *flash);
