/* A bank of NOR flash; class "cfi.pflash01". Two x16 chips side by side make a 32-bit bank of 256 KiB
 * blocks with Intel's command set. */
#pragma once

#include "core/device.h"

/* Its memory, of a size that follows from the image where none was given; put it somewhere. */
struct mem_region *cfi_flash_region(struct device *flash);
uint64_t cfi_flash_size(struct device *flash);
void cfi_flash_map(struct device *flash, gpa at);

/* Is there an image behind it? */
bool cfi_flash_has_image(struct device *flash);
/* Let the physical map follow the mode after a reset: without any lock, vCPUs stopped. */
void cfi_flash_follow(struct device *flash);
