/* Statistics of a run: the engine's, the devices', the process's. */
#pragma once

#include <stdbool.h>

struct vm;

/* Of which VM, and what the kernel tells of this process (proc(5), "status"), opened before the sandbox
 * forbids it; -1: left out. */
struct stats_of {
    struct vm *vm;
    int process_fd;
};

/* Visit all: dotted names ("tcg.units", "mmio.uart.reads", "time.user_s") and values. Main loop's
 * thread; exact while the VM is stopped. */
void stats_each(const struct stats_of *of, void (*add)(void *opaque, const char *name, double value),
                void *opaque);
/* As lines for a person. */
void stats_print(const struct stats_of *of, void (*print)(void *opaque, const char *line), void *opaque);
/* To a file descriptor, as lines or as one JSON object. */
void stats_write(const struct stats_of *of, int fd, bool json);
