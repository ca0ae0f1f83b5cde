/* A PC without an engine, and somebody at its monitor who reaches no file: nothing can be made in the working
 * directory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct monitored_pc {
    struct vm *vm;
    struct chardev *client; /* where a monitor is to be attached; there is "r0", a ring buffer, too */
    int here, bios;
};

void monitored_pc_new(struct monitored_pc *pc, unsigned cpus, const char *device);
/* What the client says, and what comes of it. */
void monitored_pc_say(struct monitored_pc *pc, const uint8_t *bytes, size_t n);
/* The monitor is gone. */
void monitored_pc_free(struct monitored_pc *pc);
/* For struct monitor_hooks. */
void monitored_pc_no_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to);
