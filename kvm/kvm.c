/* The KVM engine: life, the run loop, exits, statistics. */
#include "kvm/kvm.h"

#include "core/clock.h"
#include "core/disas.h"
#include "core/error.h"
#include "core/options.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"

/* Ends KVM_RUN in another thread; its handler does nothing. */
enum { KICK_SIGNAL = SIGUSR1 };

int kvm_check(const struct kvm *kvm, int capability)
{
    int n = ioctl(kvm->vm_fd >= 0 ? kvm->vm_fd : kvm->sys_fd, KVM_CHECK_EXTENSION, capability);
    return n > 0 ? n : 0;
}

struct error *kvm_enable(struct kvm *kvm, int capability, uint64_t arg, const char *what)
{
    struct kvm_enable_cap cap = { .cap = (uint32_t)capability, .args = { arg } };
    if (ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
        return error_errno("this host's KVM has no %s", what);
    return NULL;
}

/* ---- can it serve? ------------------------------------------------------------------------------- */

static struct error *why_not_open(void)
{
    switch (errno) {
    case ENOENT:
        return error_new("there is no " DEVICE
                         ": load the kernel's module with `modprobe kvm_intel` or "
                         "`modprobe kvm_amd`, and see that the firmware allows virtualization");
    case EACCES:
    case EPERM:
        return error_new("no permission to use " DEVICE
                         ": `sudo usermod -aG kvm $USER` and a new login grant it");
    case ENODEV:
    case ENXIO: return error_new("this host's CPU or firmware does not offer virtualization");
    default: return error_errno("cannot open " DEVICE);
    }
}

static struct error *open_device(int *fd)
{
    *fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return why_not_open();
    int version = ioctl(*fd, KVM_GET_API_VERSION, 0);
    if (version == KVM_API_VERSION)
        return NULL;
    close(*fd);
    return error_new(DEVICE " speaks version %d of its interface, not %d", version,
                     KVM_API_VERSION);
}

static struct error *create_vm(int sys_fd, int *vm_fd)
{
    do {
        *vm_fd = ioctl(sys_fd, KVM_CREATE_VM, 0);
    } while (*vm_fd < 0 && errno == EINTR);
    if (*vm_fd >= 0)
        return NULL;
    if (errno == EBUSY)
        return error_new("another hypervisor on this host uses its virtualization; stop it first");
    return error_errno("KVM cannot make a virtual machine");
}

static struct error *available(const char *target_name)
{
    int fd, vm_fd;
    if (strcmp(target_name, kvm_isa.target))
        return error_new("KVM runs only %s guests on this host, and this one is %s", kvm_isa.target,
                         target_name);
    struct error *err = open_device(&fd);
    if (err)
        return err;
    err = create_vm(fd, &vm_fd);
    if (!err)
        close(vm_fd);
    close(fd);
    return err;
}

/* Is `word` one of the words of text? */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += n)
        if (at > text && at[-1] == ' ' && (at[n] == ' ' || at[n] == '\n'))
            return true;
    return false;
}

/* A KVM in software serves some guests and emulates kernels slowly and in part. */
static struct error *reservation(void)
{
    char text[8192]; /* the first processor's words are in there */
    if (!kvm_isa.hardware)
        return NULL;
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return NULL;
    text[n] = 0;
    for (const char *const *word = kvm_isa.hardware; *word; word++)
        if (has_word(text, *word))
            return NULL;
    return error_new("it works without the processor's virtualization on this host, slowly and not "
                     "for every kernel (-accel kvm takes it all the same)");
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void on_kick(int number)
{
    (void)number;
}

static struct error *parse_options(struct kvm *kvm, const char *text)
{
    static const char *const known[] = { "kernel-irqchip", "pit", "dirty-ring-size", "msr-filter",
                                         "takeover" };
    static const char *const kinds[] = { "off", "split", "on" };
    struct options o;
    struct error *err = options_split(text ? text : "", NULL, &o);
    if (err)
        return err;
    const char *kind = options_get(&o, "kernel-irqchip");
    kvm->irqchip = -1;
    for (size_t i = 0; kind && i < ARRAY_LEN(kinds); i++)
        if (!strcmp(kind, kinds[i]))
            kvm->irqchip = (int)i;
    if (kind && kvm->irqchip < 0)
        err = error_new("kernel-irqchip=%s: on, split or off is expected", kind);
    const char *entries = options_get(&o, "dirty-ring-size");
    if (!err && entries &&
        (!parse_uint(entries, 65536, &kvm->ring_entries) ||
         kvm->ring_entries & (kvm->ring_entries - 1)))
        err = error_new("dirty-ring-size=%s: 0 or a power of two to 65536 is expected", entries);
    if (!err)
        err = options_get_bool(&o, "pit", &kvm->pit);
    if (!err)
        err = options_get_bool(&o, "msr-filter", &kvm->msr_filter);
    if (!err)
        err = options_get_bool(&o, "takeover", &kvm->takeover);
    if (!err)
        err = options_refuse_rest(&o, known, ARRAY_LEN(known));
    options_free(&o);
    return err;
}

void kvm_mutexes_init(struct kvm *kvm)
{
    pthread_mutex_init(&kvm->lock, NULL);
    pthread_mutex_init(&kvm->batch_lock, NULL);
    pthread_mutex_init(&kvm->takeover_lock, NULL);
    pthread_mutex_init(&kvm->pause_lock, NULL);
    pthread_cond_init(&kvm->pause_changed, NULL);
}

void kvm_mutexes_destroy(struct kvm *kvm)
{
    pthread_mutex_destroy(&kvm->lock);
    pthread_mutex_destroy(&kvm->batch_lock);
    pthread_mutex_destroy(&kvm->takeover_lock);
    pthread_mutex_destroy(&kvm->pause_lock);
    pthread_cond_destroy(&kvm->pause_changed);
}

static void free_kvm(struct kvm *kvm)
{
    kvm_isa.vm_free(kvm);
    if (kvm->vm_fd >= 0)
        close(kvm->vm_fd);
    if (kvm->sys_fd >= 0)
        close(kvm->sys_fd);
    kvm_mutexes_destroy(kvm);
    free(kvm->slots);
    free(kvm->bells);
    free(kvm->batches);
    free(kvm->routes);
    free(kvm->logged);
    free(kvm);
}

static void vm_destroy(struct vm *vm)
{
    struct kvm *kvm = kvm_of(vm);
    if (!kvm)
        return;
    vm->accel_data = NULL; /* the map changes no more for us */
    mem_free_region(kvm->msi);
    free_kvm(kvm);
}

static struct error *check_capabilities(struct kvm *kvm)
{
    static const struct {
        int capability;
        const char *what;
    } needed[] = {
        { KVM_CAP_USER_MEMORY, "memory slots" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
        { KVM_CAP_READONLY_MEM, "read-only memory slots" },
        { KVM_CAP_IOEVENTFD, "ioeventfd" },
    };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!kvm_check(kvm, needed[i].capability))
            return error_new("this host's KVM has no %s; a newer kernel has", needed[i].what);
    return NULL;
}

static struct error *open_vm(struct kvm *kvm)
{
    struct error *err = open_device(&kvm->sys_fd);
    if (!err)
        err = create_vm(kvm->sys_fd, &kvm->vm_fd);
    if (!err)
        err = check_capabilities(kvm);
    if (err)
        return err;
    int size = ioctl(kvm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run))
        return error_errno("KVM does not say the size of a vCPU");
    kvm->run_size = (size_t)size;
    return NULL;
}

static void state_failed(struct kvm_vcpu *k, struct error *err)
{
    if (!err)
        return;
    vm_request_end(k->cpu->vm, VERDICT_ENGINE_FAILED, 0, error_text(err));
    error_free(err);
}

/* Before any vCPU goes on all have their state: one that runs earlier may send another an interrupt, which
 * setting that one's state later would undo. Main loop's thread, vCPUs stopped. */
static void place_all(void *opaque, bool running)
{
    struct kvm *kvm = opaque;
    if (running)
        kvm_memory_start(kvm);
    else
        kvm_batch_flush(kvm);
    kvm_isa.clock(kvm, running);
    for (unsigned i = 0; running && i < kvm->vm->n_vcpus; i++) {
        struct kvm_vcpu *k = kvm_vcpu_of(kvm->vm->vcpus[i]);
        state_failed(k, kvm_isa.set(k));
        k->placed = true;
    }
}

static struct error *vm_create(struct vm *vm, const char *options)
{
    struct kvm *kvm = xcalloc(1, sizeof(*kvm));
    kvm->vm = vm;
    kvm->sys_fd = kvm->vm_fd = -1;
    kvm->pit = kvm->takeover = true;
    kvm_mutexes_init(kvm);
    struct error *err = parse_options(kvm, options);
    if (!err)
        err = open_vm(kvm);
    if (!err)
        err = kvm_dirty_ring_enable(kvm);
    if (!err)
        err = kvm_memory_begin(kvm);
    if (!err)
        err = kvm_irq_create(kvm);
    if (!err)
        err = kvm_isa.vm_init(kvm);
    if (err) {
        free_kvm(kvm);
        return error_in(err, "-accel kvm");
    }
    for (size_t i = 0; kvm->takeover && i < n_accels; i++)
        vm->helper_headroom = MAX(vm->helper_headroom, accels[i]->vcpu_headroom);
    vm_on_run(vm, place_all, kvm);
    sigaction(KICK_SIGNAL, &(struct sigaction){ .sa_handler = on_kick }, NULL);
    vm->accel_data = kvm;
    return NULL;
}

/* What else a vCPU's descriptor shows: collected writes, of the whole VM; its ring of written pages. */
static struct error *map_rings(struct kvm_vcpu *k)
{
    struct kvm *kvm = k->kvm;
    int page = kvm_check(kvm, KVM_CAP_COALESCED_MMIO);
    if (page > 0 && k->cpu->index == 0 && (size_t)(page + 1) * 4096 <= kvm->run_size)
        kvm->batch = (void *)((char *)k->run + (size_t)page * 4096);
    kvm->batches_ports = kvm_check(kvm, KVM_CAP_COALESCED_PIO);
    if (!kvm->ring_entries)
        return NULL;
    void *ring =
        mmap(NULL, kvm->ring_entries * sizeof(struct kvm_dirty_gfn), PROT_READ | PROT_WRITE,
             MAP_SHARED, k->fd, (off_t)kvm_isa.dirty_ring_page * 4096);
    if (ring == MAP_FAILED)
        return error_errno("cannot map its ring of written pages");
    k->ring = ring;
    return NULL;
}

static void free_vcpu(struct kvm_vcpu *k)
{
    if (k->cpu->index == 0)
        k->kvm->batch = NULL;
    if (k->ring)
        munmap(k->ring, k->kvm->ring_entries * sizeof(struct kvm_dirty_gfn));
    if (k->run)
        munmap(k->run, k->kvm->run_size);
    if (k->fd >= 0)
        close(k->fd);
    free(k);
}

static struct error *vcpu_create(struct vcpu *cpu)
{
    struct kvm *kvm = kvm_of(cpu->vm);
    struct kvm_vcpu *k = xcalloc(1, sizeof(*k));
    struct error *err = NULL;
    k->cpu = cpu;
    k->kvm = kvm;
    k->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)kvm_isa.vcpu_id(cpu));
    if (k->fd < 0)
        err = error_errno("KVM cannot make it");
    if (!err) {
        void *run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
        if (run == MAP_FAILED)
            err = error_errno("cannot map its shared page");
        else
            k->run = run;
    }
    if (!err)
        err = map_rings(k);
    cpu->engine = k;
    if (!err)
        err = kvm_isa.vcpu_init(k);
    if (err) {
        cpu->engine = NULL;
        free_vcpu(k);
    }
    return error_in(err, "vCPU %u", cpu->index);
}

static void vcpu_destroy(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    kvm_watch_free(k);
    kvm_isa.vcpu_free(k);
    cpu->engine = NULL;
    free_vcpu(k);
}

/* ---- in and out of the guest ------------------------------------------------------------------------ */

/* A vCPU clears immediate_exit, says that it is in the guest, then looks at requests a last time; who wants
 * it out sets the request, then immediate_exit, then looks whether it is in the guest. Whichever comes
 * second sees the other; only a vCPU that is really inside needs a signal. */
static void kick(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    atomic_fetch_add_explicit(&k->kvm->n_kicks, 1, memory_order_relaxed);
    const struct accel *helper = cpu->vm->helper;
    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (helper)
        helper->kick(cpu);
    if (atomic_load(&k->in_guest)) {
        atomic_fetch_add_explicit(&k->kvm->n_signals, 1, memory_order_relaxed);
        pthread_kill(k->thread, KICK_SIGNAL);
    }
}

static void guest_left(struct kvm_vcpu *k)
{
    struct kvm *kvm = k->kvm;
    atomic_store(&k->in_guest, false);
    if (atomic_load(&kvm->pausing)) {
        pthread_mutex_lock(&kvm->pause_lock);
        pthread_cond_broadcast(&kvm->pause_changed);
        pthread_mutex_unlock(&kvm->pause_lock);
    }
}

static void guest_entered(struct kvm_vcpu *k)
{
    struct kvm *kvm = k->kvm;
    for (;;) {
        atomic_store(&k->in_guest, true);
        if (!atomic_load(&kvm->pausing))
            return;
        guest_left(k);
        pthread_mutex_lock(&kvm->pause_lock);
        while (atomic_load(&kvm->pausing))
            pthread_cond_wait(&kvm->pause_changed, &kvm->pause_lock);
        pthread_mutex_unlock(&kvm->pause_lock);
    }
}

static bool any_in_guest(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        if (atomic_load(&kvm_vcpu_of(vm->vcpus[i])->in_guest))
            return true;
    return false;
}

void kvm_pause_vcpus(struct kvm *kvm)
{
    pthread_mutex_lock(&kvm->pause_lock);
    while (atomic_load(&kvm->pausing)) /* one at a time */
        pthread_cond_wait(&kvm->pause_changed, &kvm->pause_lock);
    atomic_store(&kvm->pausing, true);
    for (unsigned i = 0; i < kvm->vm->n_vcpus; i++)
        if (atomic_load(&kvm_vcpu_of(kvm->vm->vcpus[i])->in_guest))
            kick(kvm->vm->vcpus[i]);
    while (any_in_guest(kvm->vm))
        pthread_cond_wait(&kvm->pause_changed, &kvm->pause_lock);
    pthread_mutex_unlock(&kvm->pause_lock);
    atomic_fetch_add_explicit(&kvm->n_pauses, 1, memory_order_relaxed);
}

void kvm_continue_vcpus(struct kvm *kvm)
{
    pthread_mutex_lock(&kvm->pause_lock);
    atomic_store(&kvm->pausing, false);
    pthread_cond_broadcast(&kvm->pause_changed);
    pthread_mutex_unlock(&kvm->pause_lock);
}

/* The signal is blocked in every thread but where a vCPU runs. */
void kvm_use_thread(struct kvm_vcpu *k)
{
    sigset_t set;
    if (k->thread_ready && pthread_equal(k->thread, pthread_self()))
        return;
    k->thread = pthread_self();
    k->thread_ready = true;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- exits -------------------------------------------------------------------------------------------- */

/* Verdict lines: what the CPU was at, for the person who is to find out why. */
static void print_line(void *opaque, const char *line)
{
    log_print(opaque, "%s\n", line);
}

/* What KVM fetched, where it says so: the memory may have changed since, or be none. */
static size_t code_bytes(struct kvm_vcpu *k, uint64_t pc, uint8_t code[16])
{
    const struct kvm_run *run = k->run;
    gpa at = pc;
    size_t n = 0;
    if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
        run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->internal.ndata >= 3 &&
        run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES &&
        run->emulation_failure.insn_size) {
        n = MIN(run->emulation_failure.insn_size, sizeof(run->emulation_failure.insn_bytes));
        memcpy(code, run->emulation_failure.insn_bytes, n);
        return n;
    }
    if (kvm_isa.code_address(k->cpu, pc, &at))
        while (n < 16 && mem_read(k->cpu->vm, at + n, &code[n], 1))
            n++;
    return n;
}

static void print_code(struct kvm_vcpu *k)
{
    struct vm *vm = k->cpu->vm;
    uint8_t code[16];
    uint64_t pc = vm->target->pc(k->cpu);
    size_t n = code_bytes(k, pc, code);
    struct disas *d = disas_new(kvm_isa.disassembler(k->cpu));
    if (n)
        disas_block(d, code, n, pc, print_line, &vm->log);
    else
        log_print(&vm->log, "no memory at %#" PRIx64 "\n", pc);
    disas_free(d);
}

enum kvm_verdict kvm_failed(struct kvm_vcpu *k, const char *fmt, ...)
{
    struct vm *vm = k->cpu->vm;
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    error_free(kvm_isa.get(k));
    log_print(&vm->log, "vCPU %u: %s\n", k->cpu->index, text);
    vm->target->print(k->cpu, print_line, &vm->log);
    print_code(k);
    vm_request_end(vm, VERDICT_ENGINE_FAILED, 0, text);
    return KVM_STOPPED;
}

static enum kvm_verdict do_io(struct kvm_vcpu *k)
{
    struct kvm_run *run = k->run;
    struct vm *vm = k->cpu->vm;
    unsigned size = run->io.size, port = run->io.port;
    bool out = run->io.direction == KVM_EXIT_IO_OUT;
    uint64_t offset = run->io.data_offset, count = run->io.count;
    uint32_t v;
    if ((size != 1 && size != 2 && size != 4) || offset > k->kvm->run_size ||
        count > (k->kvm->run_size - offset) / size)
        return kvm_failed(k, "KVM reports port I/O of %" PRIu64 " times %u bytes", count, size);
    uint8_t *data = (uint8_t *)run + offset;
    for (; count; count--, data += size) {
        if (out) {
            mem_port_write(vm, port, size, (uint32_t)load_le(data, size));
        } else {
            mem_port_read(vm, port, size, &v);
            store_le(data, size, v);
        }
    }
    k->unfinished = true;
    return KVM_GO_ON;
}

/* An access may have any length up to 8 where it was cut at a page. */
static enum kvm_verdict do_mmio(struct kvm_vcpu *k)
{
    struct kvm_run *run = k->run;
    unsigned n = run->mmio.len, size = n & (n - 1) ? 1 : n;
    if (n > sizeof(run->mmio.data))
        return kvm_failed(k, "KVM reports a memory access of %u bytes", n);
    for (unsigned i = 0; i < n; i += size) {
        gpa at = run->mmio.phys_addr + i;
        uint64_t v;
        if (run->mmio.is_write) {
            mem_cpu_write(k->cpu, at, size, load_le(run->mmio.data + i, size));
        } else {
            if (!mem_cpu_read(k->cpu, at, size, &v))
                v = UINT64_MAX; /* nobody drives the bus */
            store_le(run->mmio.data + i, size, v);
        }
    }
    k->unfinished = true;
    return KVM_GO_ON;
}

static enum kvm_verdict system_event(struct kvm_vcpu *k)
{
    struct vm *vm = k->cpu->vm;
    switch (k->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        vm_request_end(vm, VERDICT_POWERED_OFF, 0, NULL);
        return KVM_STOPPED;
    case KVM_SYSTEM_EVENT_RESET: vm_request_reset(vm); return KVM_LEAVE;
    default: return kvm_failed(k, "KVM reports system event %u", k->run->system_event.type);
    }
}

static enum kvm_verdict internal_error(struct kvm_vcpu *k)
{
    static const char *const causes[] = { "", "it cannot execute this instruction",
                                          "two exceptions at a time",
                                          "an exit while an interrupt was delivered",
                                          "an exit it does not know" };
    uint32_t cause = k->run->internal.suberror;
    if (cause == KVM_INTERNAL_ERROR_EMULATION && kvm_takeover(k)) {
        struct vcpu *cpu = k->cpu;
        bool stepped = k->debug.step && !kvm_steps_on(&k->debug, cpu->vm->target->pc(cpu));
        if (stepped)
            cpu->debug_hit = VCPU_STEPPED;
        return k->down ? KVM_HALTED : stepped ? KVM_DEBUG : KVM_GO_ON;
    }
    return kvm_failed(k, "KVM gave up: %s (internal error %u)",
                      cause < ARRAY_LEN(causes) ? causes[cause] : "", cause);
}

static enum kvm_verdict fail_entry(struct kvm_vcpu *k)
{
    uint64_t reason = k->run->fail_entry.hardware_entry_failure_reason;
    const char *why = kvm_isa.entry_failure(reason);
    return kvm_failed(k, "the host's CPU refuses to enter the guest: %s (reason %#" PRIx64 ")",
                      why ? why : "no cause known", reason);
}

/* In a PC the processor's shutdown state resets the machine. */
static enum kvm_verdict shutdown(struct kvm_vcpu *k)
{
    struct vm *vm = k->cpu->vm;
    if (log_on(&vm->log, LOG_INT)) {
        error_free(kvm_isa.get(k));
        log_print(&vm->log, "vCPU %u: triple fault\n", k->cpu->index);
        vm->target->print(k->cpu, print_line, &vm->log);
        print_code(k);
    }
    vm_request_reset(vm);
    k->down = true; /* until the reset comes */
    return KVM_HALTED;
}

static enum kvm_verdict handle_exit(struct kvm_vcpu *k)
{
    enum kvm_verdict verdict = KVM_GO_ON;
    k->unfinished = false;
    switch (k->run->exit_reason) {
    case KVM_EXIT_IO: return do_io(k);
    case KVM_EXIT_MMIO: return do_mmio(k);
    case KVM_EXIT_DIRTY_RING_FULL:
        if (!k->ring)
            return kvm_failed(k, "KVM reports a full ring of written pages, and there is none");
        kvm_dirty_ring_full(k);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_NMI: break;
    case KVM_EXIT_SHUTDOWN: return shutdown(k);
    case KVM_EXIT_SYSTEM_EVENT: return system_event(k);
    case KVM_EXIT_INTERNAL_ERROR: return internal_error(k);
    case KVM_EXIT_FAIL_ENTRY: return fail_entry(k);
    default:
        if (!kvm_isa.handle(k, &verdict))
            return kvm_failed(k, "KVM left the guest for reason %u, which is not known",
                              k->run->exit_reason);
    }
    return verdict;
}

static void count_device(struct kvm_vcpu *k, uint32_t reason, uint64_t ns)
{
    if (reason == KVM_EXIT_IO)
        mem_count_time(k->cpu->vm, k->run->io.port, true, ns);
    else if (reason == KVM_EXIT_MMIO)
        mem_count_time(k->cpu->vm, k->run->mmio.phys_addr, false, ns);
}

/* What the shared page says, once: counted and timed by reason. */
enum kvm_verdict kvm_exit(struct kvm_vcpu *k, uint64_t from)
{
    uint32_t reason = k->run->exit_reason, slot = reason < KVM_N_REASONS ? reason : 0;
    kvm_batch_flush(k->kvm);
    enum kvm_verdict verdict = handle_exit(k);
    uint64_t ns = host_now_ns() - from;
    k->counts.exits[slot]++;
    k->counts.ns[slot] += ns;
    count_device(k, reason, ns);
    return verdict;
}

static enum kvm_verdict run_failed(struct kvm_vcpu *k)
{
    int why = errno;
    if (why == EFAULT)
        return kvm_failed(k, "the host cannot give the guest memory it touched (KVM_RUN: %s)",
                          strerror(why));
    return kvm_failed(k, "KVM_RUN: %s", strerror(why));
}

/* One stay in the guest and what follows from it. */
enum kvm_verdict kvm_enter(struct kvm_vcpu *k)
{
    guest_entered(k);
    mem_reader_idle(k->cpu->reader);
    uint64_t from = host_now_ns();
    int rc = ioctl(k->fd, KVM_RUN, 0), why = errno;
    uint64_t to = host_now_ns();
    mem_reader_quiesce(k->cpu->reader);
    guest_left(k);
    k->counts.guest_ns += to - from;
    if (rc >= 0) {
        kvm_isa.after_run(k);
        return kvm_exit(k, to);
    }
    k->unfinished = false;
    if (why == EINTR || why == EAGAIN) {
        k->counts.interrupted++;
        kvm_isa.after_run(k);
        return KVM_GO_ON;
    }
    errno = why;
    return run_failed(k);
}

static enum vcpu_exit run(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    kvm_use_thread(k);
    for (;;) {
        __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        uint32_t req = atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_INTERRUPT);
        if (req & ~(uint32_t)VCPU_REQ_INTERRUPT)
            return EXIT_KICKED;
        if (cpu->vm->verdict != VERDICT_NONE)
            return EXIT_SHUTDOWN;
        enum kvm_verdict verdict = k->down ? KVM_HALTED : kvm_isa.before_run(k);
        if (verdict == KVM_GO_ON)
            verdict = kvm_enter(k);
        switch (verdict) {
        case KVM_GO_ON: break;
        case KVM_LEAVE: return EXIT_KICKED;
        case KVM_DEBUG: return EXIT_DEBUG;
        case KVM_STOPPED: return EXIT_SHUTDOWN;
        case KVM_HALTED:
            if (k->down || !cpu->vm->target->has_work(cpu))
                return EXIT_HALTED;
        }
    }
}

/* ---- state ---------------------------------------------------------------------------------------------- */

/* Registers are whole only behind an instruction: let the last exit's one end, without running on. */
static void finish_instruction(struct kvm_vcpu *k)
{
    while (k->unfinished) {
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        if (ioctl(k->fd, KVM_RUN, 0) < 0) {
            k->unfinished = false;
            return;
        }
        if (kvm_exit(k, host_now_ns()) == KVM_STOPPED)
            return;
    }
}

static void get_state(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    if (cpu->leader)
        return; /* step.c: between steps arch is the truth */
    finish_instruction(k);
    state_failed(k, kvm_isa.get(k));
}

static void set_state(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    k->down = false;
    k->unfinished = false;
    if (!k->placed)
        state_failed(k, kvm_isa.set(k));
    k->placed = false;
}

static void get_general(struct vcpu *cpu)
{
    if (kvm_isa.get_general && !kvm_vcpu_of(cpu)->lent)
        kvm_isa.get_general(kvm_vcpu_of(cpu));
}

static void set_general(struct vcpu *cpu)
{
    if (kvm_isa.set_general && !kvm_vcpu_of(cpu)->lent)
        kvm_isa.set_general(kvm_vcpu_of(cpu));
}

static struct error *set_debug(struct vcpu *cpu, const struct vcpu_debug *want)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    struct error *err = kvm_isa.set_debug(k, want);
    if (!err)
        k->debug = *want;
    return err;
}

static void explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                    void *opaque)
{
    (void)cpu, (void)pc;
    print(opaque, "the host's processor executes the guest's code as it is");
}

/* ---- for people -------------------------------------------------------------------------------------------- */

static void print_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    print(opaque, "kvm: the host's CPU runs the guest; guests of the host's own kind only");
    print(opaque,
          "  kernel-irqchip=on|split|off   who models interrupt controllers: the kernel, it those");
    print(
        opaque,
        "                                of the CPUs, or this program (default: as the board can)");
    print(opaque,
          "  pit=on|off                    with kernel-irqchip=on: the kernel's timer 8254, too");
    print(opaque,
          "  msr-filter=on|off             refuse and count each access to registers of features");
    print(opaque,
          "                                that the CPU model lacks (costs 20 ms at the start)");
    print(opaque,
          "  takeover=on|off               what KVM cannot execute is left to another engine, an");
    print(opaque,
          "                                instruction at a time (default: on); else the run ends");
    print(
        opaque,
        "  dirty-ring-size=N             written pages come by rings of N entries (0: by bitmaps)");
}

const struct accel kvm_accel = {
    .name = "kvm",
    .makes_code_late = true, /* for what KVM cannot execute */
    .dear_exits = true,
    .can_follow = true,
    .own_fields = kvm_isa_own_fields,
    .synic = &kvm_synic,
    .available = available,
    .reservation = reservation,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .get_general = get_general,
    .set_general = set_general,
    .memory_changed = kvm_memory_changed,
    .dirty_log_started = kvm_dirty_log_started,
    .dirty_log_sync = kvm_dirty_log_sync,
    .irq_line = kvm_irq_line,
    .timer_taken = kvm_timer_taken,
    .pin_message = kvm_pin_message,
    .route_msi = kvm_route_msi,
    .get_chips = kvm_get_chips,
    .set_chips = kvm_set_chips,
    .set_debug = set_debug,
    .explain = explain,
    .step_interrupt = kvm_step_interrupt,
    .step = kvm_step,
    .print_help = print_help,
    .stats = kvm_stats,
};
