/* What a person, or a program in place of one, types at the human monitor of a PC without an engine: the line editor,
 * completion, expressions and every command. Commands cannot reach a file: nothing can be made in the working
 * directory, and slashes become underscores, but for the one of "x/4i", behind letters that no folder there ends in. */
#include "monitored_pc.h"
#include "tape.h"
#include "ui/gdb.h"
#include "ui/monitor.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *harmless(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n + 2);
    memcpy(copy, bytes, n);
    for (size_t i = 0; i < n; i++)
        if (copy[i] == '/' && (!i || !strchr("xpt", copy[i - 1]) || !copy[i - 1]))
            copy[i] = '_';
    copy[n] = '\r';
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gdb_place place = { NULL, { NULL, NULL } };
    const struct monitor_hooks hooks = { monitored_pc_no_stats, NULL, NULL, &place };
    struct monitored_pc pc;
    monitored_pc_new(&pc, 2, "qemu-xhci,id=x");
    struct monitor *monitor = monitor_new(pc.vm, pc.client, &hooks);
    uint8_t *copy = harmless(bytes, n);
    monitored_pc_say(&pc, copy, n + 1);
    free(copy);
    gdb_free(place.gdb);
    monitor_free(monitor);
    monitored_pc_free(&pc);
    return 0;
}
