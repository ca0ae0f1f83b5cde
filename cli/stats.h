/* Statistics of a run: the engine's, the devices', the process's. */
#pragma once

#include <stdbool.h>

struct vm;

/* Visit all: dotted names ("tcg.units", "mmio.uart.reads", "time.user_s") and values. Main loop's
 * thread; exact while the VM is stopped. */
void stats_each(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                void *opaque);
/* As lines for a person. */
void stats_print(struct vm *vm, void (*print)(void *opaque, const char *line), void *opaque);
/* To a file descriptor, as lines or as one JSON object. */
void stats_write(struct vm *vm, int fd, bool json);
