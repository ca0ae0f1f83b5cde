/* What a QMP client sends, to a PC without an engine: framing, JSON, argument checks and every command. Commands
 * cannot reach a file: slashes become underscores, and nothing can be made in the working directory. */
#include "../unit/x86_board.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "ui/faces.h"
#include "ui/monitor.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void no_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to)
{
}

static struct vm *make_pc(int bios)
{
    char path[40];
    struct vm *vm;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", bios);
    const struct machine_options o = {
        .machine = "q35", .arch = "x86_64", .bios = path, .ram_size = 16 * MIB, .smp = 1
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, "virtio-balloon-pci,id=b0", &vm);
    assert(!err);
    return vm;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char hello[] =
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}";
    const struct monitor_hooks hooks = { no_stats, NULL, NULL };
    struct chardev *client, *ring;
    struct monitor *monitor;
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(here >= 0 && !chdir("/proc/self/fdinfo"));
    int bios = memfd_create("bios", MFD_CLOEXEC);
    assert(!ftruncate(bios, 64 * 1024));
    struct vm *vm = make_pc(bios);
    assert(!chardev_add(vm, "client", "null", &client));
    assert(!chardev_add(vm, "r0", "ringbuf,size=64", &ring));
    assert(!monitor_new_qmp(vm, client, &hooks, false, &monitor));
    chardev_feed(client, (const uint8_t *)hello, sizeof(hello) - 1);
    uint8_t *copy = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = bytes[i] == '/' ? '_' : bytes[i];
    for (size_t at = 0; at < n; at += 4096)
        chardev_feed(client, copy + at, MIN(n - at, (size_t)4096));
    for (int i = 0; i < 3; i++)
        loop_once(vm->loop, 0);
    free(copy);
    monitor_free(monitor);
    faces_free(vm);
    x86_machine_free(vm);
    close(bios);
    assert(!fchdir(here));
    close(here);
    return 0;
}
