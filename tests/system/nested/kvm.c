/* A guest of the guest by /dev/kvm: prints what came of it. 16-bit code adds, writes a port, counts a million, reads and
 * writes memory that is there and that is not. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { RAM = 1 << 20, CODE = 0x1000 };
static const uint8_t code[] = {
    0x01, 0xd8,                               /* add %bx, %ax */
    0xe7, 0x10,                               /* out %ax, $0x10 */
    0x66, 0xb9, 0x40, 0x42, 0x0f, 0x00,       /* mov $1000000, %ecx */
    0x66, 0x49, 0x75, 0xfc,                   /* 1: dec %ecx; jnz 1b */
    0xa1, 0x00, 0x20, 0x40, 0xa3, 0x02, 0x20, /* mov 0x2000, %ax; inc %ax; mov %ax, 0x2002 */
    0x68, 0x00, 0xf0, 0x1f, 0xa3, 0x00, 0x00,
    0xf4, /* push $0xf000; pop %ds; mov %ax, 0xf0000; hlt */
};

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        return fail("/dev/kvm");
    uint8_t *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = { .memory_size = RAM / 2,
                                                  .userspace_addr = (uintptr_t)ram };
    int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (cpu < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
        return fail("vCPU");
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = 0x8000, .rax = 2, .rbx = 3 };
    ioctl(cpu, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = 0;
    ioctl(cpu, KVM_SET_SREGS, &sregs);
    ioctl(cpu, KVM_SET_REGS, &regs);
    memcpy(ram + CODE, code, sizeof(code));
    ram[0x2000] = 41;
    for (;;) {
        if (ioctl(cpu, KVM_RUN, 0))
            return fail("KVM_RUN");
        const uint8_t *data = (const uint8_t *)run + run->io.data_offset;
        switch (run->exit_reason) {
        case KVM_EXIT_IO: printf("port %#x: %u\n", run->io.port, data[0]); break;
        case KVM_EXIT_MMIO:
            printf("device: %#x %u\n", (unsigned)run->mmio.phys_addr, run->mmio.data[0]);
            break;
        case KVM_EXIT_HLT:
            printf("memory: %u\n", ram[0x2002]);
            printf("halted: yes\n");
            return 0;
        default: printf("exit: %u\n", run->exit_reason); return 1;
        }
    }
}
