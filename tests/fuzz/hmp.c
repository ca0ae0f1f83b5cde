/* What a person, or a program in place of one, types at the human monitor of a PC without an engine: the line editor,
 * completion, expressions and every command. Commands cannot reach a file: nothing can be made in the working
 * directory, and slashes become underscores, but for the one of "x/4i", behind letters that no folder there ends in. */
#include "../unit/x86_board.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "tape.h"
#include "ui/faces.h"
#include "ui/gdb.h"
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
        .machine = "q35", .arch = "x86_64", .bios = path, .ram_size = 16 * MIB, .smp = 2
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, "qemu-xhci,id=x", &vm);
    assert(!err);
    return vm;
}

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
    const struct monitor_hooks hooks = { no_stats, NULL, NULL, &place };
    struct chardev *client, *ring;
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(here >= 0 && !chdir("/proc/self/fdinfo"));
    int bios = memfd_create("bios", MFD_CLOEXEC);
    assert(!ftruncate(bios, 64 * 1024));
    struct vm *vm = make_pc(bios);
    assert(!chardev_add(vm, "client", "null", &client));
    assert(!chardev_add(vm, "r0", "ringbuf,size=64", &ring));
    struct monitor *monitor = monitor_new(vm, client, &hooks);
    uint8_t *copy = harmless(bytes, n);
    for (size_t at = 0; at < n + 1; at += 4096)
        chardev_feed(client, copy + at, MIN(n + 1 - at, (size_t)4096));
    for (int i = 0; i < 3; i++)
        loop_once(vm->loop, 0);
    free(copy);
    gdb_free(place.gdb);
    monitor_free(monitor);
    faces_free(vm);
    x86_machine_free(vm);
    close(bios);
    assert(!fchdir(here));
    close(here);
    return 0;
}
