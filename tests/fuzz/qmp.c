/* What a QMP client sends, to a PC without an engine: framing, JSON, argument checks and every command. Commands
 * cannot reach a file: slashes become underscores, and nothing can be made in the working directory. */
#include "monitored_pc.h"

#include "core/chardev.h"
#include "tape.h"
#include "ui/monitor.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char hello[] =
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}";
    const struct monitor_hooks hooks = { monitored_pc_no_stats, NULL, NULL };
    struct monitored_pc pc;
    struct monitor *monitor;
    monitored_pc_new(&pc, 1, "virtio-balloon-pci,id=b0");
    assert(!monitor_new_qmp(pc.vm, pc.client, &hooks, false, &monitor));
    chardev_feed(pc.client, (const uint8_t *)hello, sizeof(hello) - 1);
    uint8_t *copy = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = bytes[i] == '/' ? '_' : bytes[i];
    monitored_pc_say(&pc, copy, n);
    free(copy);
    monitor_free(monitor);
    monitored_pc_free(&pc);
    return 0;
}
