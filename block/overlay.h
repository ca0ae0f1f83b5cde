/* snapshot=on: writes go to an unlinked temporary file; one bit a sector says which side holds it. */
#pragma once

#include "block/file.h"

struct overlay {
    struct file file;
    _Atomic uint64_t *map; /* anonymous memory: costs only where something was written */
    uint64_t map_bytes;
};

struct error *overlay_open(struct overlay *o, uint64_t size);
void overlay_close(struct overlay *o);
/* As the functions of block/file.h, over `base`, which is only read. */
int overlay_read(struct overlay *o, struct file *base, uint64_t at, struct span to, uint64_t n);
int overlay_write(struct overlay *o, uint64_t at, struct span from, uint64_t n);
int overlay_zero(struct overlay *o, uint64_t at, uint64_t n);
/* The file that holds all of [at, at + n), or NULL if both sides do. */
struct file *overlay_holder(struct overlay *o, struct file *base, uint64_t at, uint64_t n);
