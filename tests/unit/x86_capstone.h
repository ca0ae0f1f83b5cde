/* Capstone's reading of one instruction, apart because its names are those of target/x86_64 too. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Its length and name; 0: it does not know it, or this build has no capstone. */
unsigned capstone_x86(unsigned bits, const uint8_t *bytes, size_t n, char *name, size_t room);
