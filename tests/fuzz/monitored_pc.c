#include "monitored_pc.h"

#include "../unit/x86_board.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "hw/machine/machine.h"
#include "ui/faces.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static struct vm *make_vm(int bios, unsigned cpus, const char *device)
{
    char path[40];
    struct vm *vm;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", bios);
    const struct machine_options o = {
        .machine = "q35", .arch = "x86_64", .bios = path, .ram_size = 16 * MIB, .smp = cpus
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, device, &vm);
    assert(!err);
    return vm;
}

void monitored_pc_new(struct monitored_pc *pc, unsigned cpus, const char *device)
{
    struct chardev *ring;
    pc->here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(pc->here >= 0 && !chdir("/proc/self/fdinfo"));
    pc->bios = memfd_create("bios", MFD_CLOEXEC);
    assert(!ftruncate(pc->bios, 64 * 1024));
    pc->vm = make_vm(pc->bios, cpus, device);
    assert(!chardev_add(pc->vm, "client", "null", &pc->client));
    assert(!chardev_add(pc->vm, "r0", "ringbuf,size=64", &ring));
}

void monitored_pc_say(struct monitored_pc *pc, const uint8_t *bytes, size_t n)
{
    for (size_t at = 0; at < n; at += 4096)
        chardev_feed(pc->client, bytes + at, MIN(n - at, (size_t)4096));
    for (int i = 0; i < 3; i++)
        loop_once(pc->vm->loop, 0);
}

void monitored_pc_free(struct monitored_pc *pc)
{
    faces_free(pc->vm);
    x86_machine_free(pc->vm);
    close(pc->bios);
    assert(!fchdir(pc->here));
    close(pc->here);
}

void monitored_pc_no_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to)
{
}
