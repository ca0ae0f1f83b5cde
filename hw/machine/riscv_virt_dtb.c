/* The virt board's device tree. Nodes and properties follow the bindings in Linux's
 * Documentation/devicetree/bindings; their arrangement is QEMU's board of the same name, which firmware
 * and kernels know. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/char/ns16550.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/loader.h"
#include "hw/intc/clint.h"
#include "hw/machine/riscv_virt.h"
#include "target/riscv/riscv.h"

#include <assert.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { ROOM_TO_GROW = 8192, MAX_DTB = 2 * 1024 * 1024 };
enum { SEED_BYTES = 32 };

/* Phandles: harts from the last to the first, each CPU before its interrupt controller; then the rest
 * in this order. */
struct phandles {
    unsigned n_harts;
    uint32_t imsic_m, imsic_s, intc_m, intc_s, test;
};

static uint32_t cpu_phandle(const struct phandles *p, unsigned hart)
{
    return 2 * (p->n_harts - 1 - hart) + 1;
}

static uint32_t cpu_intc_phandle(const struct phandles *p, unsigned hart)
{
    return cpu_phandle(p, hart) + 1;
}

static struct phandles assign_phandles(const struct virt *v)
{
    struct phandles p = { .n_harts = v->n_harts };
    uint32_t next = 2 * v->n_harts + 1;
    if (v->aia == VIRT_APLIC_IMSIC) {
        p.imsic_m = next++;
        p.imsic_s = next++;
    }
    p.intc_m = next++;
    if (v->aia != VIRT_PLIC)
        p.intc_s = next++;
    p.test = next;
    return p;
}

/* What devices name as their interrupt parent. */
static uint32_t device_intc(const struct virt *v, const struct phandles *p)
{
    return v->aia == VIRT_PLIC ? p->intc_m : p->intc_s;
}

/* ---- writing; an error sticks and is looked at once ---------------------------------------------- */
struct writer {
    void *fdt;
    int rc;
};

static void keep(struct writer *w, int rc)
{
    if (!w->rc)
        w->rc = rc;
}

static void begin(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void begin(struct writer *w, const char *fmt, ...)
{
    char name[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);
    keep(w, fdt_begin_node(w->fdt, name));
}

static void end(struct writer *w)
{
    keep(w, fdt_end_node(w->fdt));
}

static void put_flag(struct writer *w, const char *name)
{
    keep(w, fdt_property(w->fdt, name, NULL, 0));
}

static void put_text(struct writer *w, const char *name, const char *text)
{
    keep(w, fdt_property_string(w->fdt, name, text));
}

static void put_bytes(struct writer *w, const char *name, const void *bytes, size_t n)
{
    keep(w, fdt_property(w->fdt, name, bytes, (int)n));
}

static void put_cells(struct writer *w, const char *name, const uint32_t *cells, size_t n)
{
    void *at;
    keep(w, fdt_property_placeholder(w->fdt, name, (int)(n * 4), &at));
    for (size_t i = 0; !w->rc && i < n; i++)
        store_be((uint8_t *)at + 4 * i, 4, cells[i]);
}

#define PUT(w, name, ...)                                 \
    put_cells(w, name, (const uint32_t[]){ __VA_ARGS__ }, \
              sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)
/* Texts in one literal, separated by NUL. */
#define PUT_TEXTS(w, name, texts) put_bytes(w, name, texts, sizeof(texts))
#define CELLS64(v)                (uint32_t)((uint64_t)(v) >> 32), (uint32_t)(v)

static void put_place(struct writer *w, enum virt_place p)
{
    PUT(w, "reg", CELLS64(virt_map[p].at), CELLS64(virt_map[p].size));
}

static void put_interrupt(struct writer *w, const struct virt *v, const struct phandles *p,
                          unsigned source)
{
    PUT(w, "interrupt-parent", device_intc(v, p));
    if (v->aia == VIRT_PLIC)
        PUT(w, "interrupts", source);
    else
        PUT(w, "interrupts", source, 4 /* level, high */);
}

/* interrupts-extended: for each hart its controller and the given interrupts of it. */
static void put_hart_interrupts(struct writer *w, const struct phandles *p, const uint32_t *bits,
                                unsigned n_bits)
{
    uint32_t *cells = xcalloc((size_t)p->n_harts * n_bits, 2 * sizeof(*cells)), *at = cells;
    for (unsigned h = 0; h < p->n_harts; h++) {
        for (unsigned i = 0; i < n_bits; i++) {
            *at++ = cpu_intc_phandle(p, h);
            *at++ = bits[i];
        }
    }
    put_cells(w, "interrupts-extended", cells, (size_t)(at - cells));
    free(cells);
}
#define HART_INTERRUPTS(w, p, ...)                               \
    put_hart_interrupts(w, p, (const uint32_t[]){ __VA_ARGS__ }, \
                        sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

/* ---- CPUs and memory --------------------------------------------------------------------------- */
static void put_extensions(struct writer *w, const struct riscv_model *model)
{
    struct bytes list = { 0 };
    const char *name;
    for (unsigned i = 0; (name = riscv_isa_extension(model, i)) != NULL; i++)
        bytes_add(&list, name, strlen(name) + 1);
    put_bytes(w, "riscv,isa-extensions", list.at, list.n);
    bytes_free(&list);
}

static void write_cpu(struct writer *w, const struct riscv_model *model, const struct phandles *p,
                      unsigned hart)
{
    char *isa = riscv_isa_string(model);
    begin(w, "cpu@%x", hart);
    PUT(w, "phandle", cpu_phandle(p, hart));
    put_text(w, "device_type", "cpu");
    PUT(w, "reg", hart);
    put_text(w, "status", "okay");
    put_text(w, "compatible", "riscv");
    if (rv_model_has(model, RV_EXT_ZICBOP))
        PUT(w, "riscv,cbop-block-size", model->cbop_block);
    if (rv_model_has(model, RV_EXT_ZICBOZ))
        PUT(w, "riscv,cboz-block-size", model->cboz_block);
    if (rv_model_has(model, RV_EXT_ZICBOM))
        PUT(w, "riscv,cbom-block-size", model->cbom_block);
    put_extensions(w, model);
    put_text(w, "riscv,isa-base", "rv64i");
    put_text(w, "riscv,isa", isa);
    put_text(w, "mmu-type", riscv_mmu_type(model));
    begin(w, "interrupt-controller");
    PUT(w, "#interrupt-cells", 1);
    put_flag(w, "interrupt-controller");
    put_text(w, "compatible", "riscv,cpu-intc");
    PUT(w, "phandle", cpu_intc_phandle(p, hart));
    end(w);
    end(w);
    free(isa);
}

static void write_cpus(struct writer *w, const struct virt *v, const struct phandles *p)
{
    const struct riscv_model *model = riscv_model_of(v->m.vm);
    begin(w, "cpus");
    PUT(w, "#address-cells", 1);
    PUT(w, "#size-cells", 0);
    PUT(w, "timebase-frequency", ACLINT_TIMEBASE_HZ);
    for (unsigned h = 0; h < v->n_harts; h++)
        write_cpu(w, model, p, h);
    begin(w, "cpu-map");
    begin(w, "cluster0");
    for (unsigned h = 0; h < v->n_harts; h++) {
        begin(w, "core%u", h);
        PUT(w, "cpu", cpu_phandle(p, h));
        end(w);
    }
    end(w);
    end(w);
    end(w);
}

/* SBI's cycle and instruction events with the counters that can count them: their own, and each
 * mhpmcounter. */
static void write_pmu(struct writer *w, const struct riscv_model *model)
{
    uint32_t programmable = (uint32_t)(bits(~UINT64_C(0), 0, model->n_hpm + 1) >> 1) << 3;
    if (!model->n_hpm)
        return;
    begin(w, "pmu");
    PUT(w, "riscv,event-to-mhpmcounters", 1, 1, programmable | 1, 2, 2, programmable | 4);
    put_text(w, "compatible", "riscv,pmu");
    end(w);
}

/* ---- interrupt controllers -------------------------------------------------------------------- */
static void write_aclint(struct writer *w, const struct virt *v, const struct phandles *p)
{
    gpa base = virt_map[VIRT_CLINT].at;
    bool imsic = v->aia == VIRT_APLIC_IMSIC;
    gpa mtimer = imsic ? base : base + ACLINT_SWI_SIZE;
    gpa mtime = mtimer + ACLINT_MTIME_AT;
    if (!v->aclint) {
        begin(w, "clint@%" PRIx64, base);
        HART_INTERRUPTS(w, p, RV_MSI, RV_MTI);
        put_place(w, VIRT_CLINT);
        PUT_TEXTS(w, "compatible", "sifive,clint0\0riscv,clint0");
        end(w);
        return;
    }
    begin(w, "mtimer@%" PRIx64, mtime);
    HART_INTERRUPTS(w, p, RV_MTI);
    PUT(w, "reg", CELLS64(mtime), CELLS64(imsic ? 8 : 0x4008), CELLS64(mtimer),
        CELLS64(ACLINT_MTIME_AT));
    put_text(w, "compatible", "riscv,aclint-mtimer");
    end(w);
    if (imsic)
        return;
    begin(w, "mswi@%" PRIx64, base);
    PUT(w, "#interrupt-cells", 0);
    put_flag(w, "interrupt-controller");
    HART_INTERRUPTS(w, p, RV_MSI);
    PUT(w, "reg", CELLS64(base), CELLS64(ACLINT_SWI_SIZE));
    put_text(w, "compatible", "riscv,aclint-mswi");
    end(w);
    begin(w, "sswi@%" PRIx64, virt_map[VIRT_SSWI].at);
    PUT(w, "#interrupt-cells", 0);
    put_flag(w, "interrupt-controller");
    HART_INTERRUPTS(w, p, RV_SSI);
    put_place(w, VIRT_SSWI);
    put_text(w, "compatible", "riscv,aclint-sswi");
    end(w);
}

static void write_plic(struct writer *w, const struct phandles *p)
{
    begin(w, "interrupt-controller@%" PRIx64, virt_map[VIRT_INTC_M].at);
    PUT(w, "phandle", p->intc_m);
    PUT(w, "riscv,ndev", VIRT_N_SOURCES);
    put_place(w, VIRT_INTC_M);
    HART_INTERRUPTS(w, p, RV_MEI, RV_SEI);
    put_flag(w, "interrupt-controller");
    PUT_TEXTS(w, "compatible", "sifive,plic-1.0.0\0riscv,plic0");
    PUT(w, "#address-cells", 0);
    PUT(w, "#interrupt-cells", 1);
    end(w);
}

static void write_imsic(struct writer *w, const struct phandles *p, bool machine)
{
    gpa at = virt_map[machine ? VIRT_IMSIC_M : VIRT_IMSIC_S].at;
    begin(w, "interrupt-controller@%" PRIx64, at);
    PUT(w, "phandle", machine ? p->imsic_m : p->imsic_s);
    PUT(w, "riscv,num-ids", VIRT_IMSIC_IDS);
    PUT(w, "reg", CELLS64(at), CELLS64((uint64_t)p->n_harts * 4096));
    HART_INTERRUPTS(w, p, machine ? RV_MEI : RV_SEI);
    put_flag(w, "msi-controller");
    put_flag(w, "interrupt-controller");
    PUT(w, "#interrupt-cells", 0);
    PUT_TEXTS(w, "compatible", "qemu,imsics\0riscv,imsics");
    end(w);
}

static void write_aplic(struct writer *w, const struct virt *v, const struct phandles *p,
                        bool machine)
{
    enum virt_place place = machine ? VIRT_INTC_M : VIRT_INTC_S;
    begin(w, "interrupt-controller@%" PRIx64, virt_map[place].at);
    PUT(w, "phandle", machine ? p->intc_m : p->intc_s);
    if (machine) {
        PUT(w, "riscv,delegation", p->intc_s, 1, VIRT_N_APLIC_SOURCES);
        /* the name that OpenSBI before 1.3 looks for */
        PUT(w, "riscv,delegate", p->intc_s, 1, VIRT_N_APLIC_SOURCES);
        PUT(w, "riscv,children", p->intc_s);
    }
    PUT(w, "riscv,num-sources", VIRT_N_APLIC_SOURCES);
    PUT(w, "reg", CELLS64(virt_map[place].at), CELLS64(0x8000));
    if (v->aia == VIRT_APLIC_IMSIC)
        PUT(w, "msi-parent", machine ? p->imsic_m : p->imsic_s);
    else
        HART_INTERRUPTS(w, p, machine ? RV_MEI : RV_SEI);
    put_flag(w, "interrupt-controller");
    PUT(w, "#interrupt-cells", 2);
    PUT(w, "#address-cells", 0);
    PUT_TEXTS(w, "compatible", "qemu,aplic\0riscv,aplic");
    end(w);
}

static void write_intc(struct writer *w, const struct virt *v, const struct phandles *p)
{
    if (v->aia == VIRT_PLIC) {
        write_plic(w, p);
        return;
    }
    if (v->aia == VIRT_APLIC_IMSIC) {
        write_imsic(w, p, true);
        write_imsic(w, p, false);
    }
    write_aplic(w, v, p, false);
    write_aplic(w, v, p, true);
}

/* ---- devices ------------------------------------------------------------------------------------ */
static void write_pci(struct writer *w, const struct virt *v, const struct phandles *p)
{
    const struct virt_map_entry *io = &virt_map[VIRT_PCI_IO], *mem = &virt_map[VIRT_PCI_MEM];
    bool plic = v->aia == VIRT_PLIC;
    uint32_t map[4 * 4 * 7];
    size_t n = 0;
    for (unsigned slot = 0; slot < 4; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            const uint32_t line[] = { slot << 11,
                                      0,
                                      0,
                                      pin + 1,
                                      device_intc(v, p),
                                      VIRT_IRQ_PCI + (slot + pin) % 4,
                                      4 /* level, high */ };
            size_t cells = plic ? 6 : 7;
            memcpy(map + n, line, cells * sizeof(*map));
            n += cells;
        }
    }
    begin(w, "pci@%" PRIx64, virt_map[VIRT_PCI_ECAM].at);
    PUT(w, "interrupt-map-mask", 0x1800, 0, 0, 7);
    put_cells(w, "interrupt-map", map, n);
    PUT(w, "ranges", 0x1000000, CELLS64(0), CELLS64(io->at), CELLS64(io->size),      /* I/O */
        0x2000000, CELLS64(mem->at), CELLS64(mem->at), CELLS64(mem->size),           /* 32 bits */
        0x3000000, CELLS64(v->pci_mem64), CELLS64(v->pci_mem64), CELLS64(16 * GIB)); /* 64 bits */
    put_place(w, VIRT_PCI_ECAM);
    if (v->aia == VIRT_APLIC_IMSIC)
        PUT(w, "msi-parent", p->imsic_s);
    put_flag(w, "dma-coherent");
    PUT(w, "bus-range", 0, 0xff);
    PUT(w, "linux,pci-domain", 0);
    put_text(w, "device_type", "pci");
    put_text(w, "compatible", "pci-host-ecam-generic");
    PUT(w, "#size-cells", 2);
    PUT(w, "#interrupt-cells", 1);
    PUT(w, "#address-cells", 3);
    end(w);
}

static void write_virtio(struct writer *w, const struct virt *v, const struct phandles *p)
{
    for (unsigned i = VIRT_N_VIRTIO; i-- > 0;) {
        gpa at = virt_map[VIRT_VIRTIO].at + i * virt_map[VIRT_VIRTIO].size;
        begin(w, "virtio_mmio@%" PRIx64, at);
        put_interrupt(w, v, p, VIRT_IRQ_VIRTIO + i);
        PUT(w, "reg", CELLS64(at), CELLS64(virt_map[VIRT_VIRTIO].size));
        put_text(w, "compatible", "virtio,mmio");
        end(w);
    }
}

static void write_soc(struct writer *w, const struct virt *v, const struct phandles *p)
{
    begin(w, "soc");
    PUT(w, "#address-cells", 2);
    PUT(w, "#size-cells", 2);
    put_text(w, "compatible", "simple-bus");
    put_flag(w, "ranges");

    begin(w, "rtc@%" PRIx64, virt_map[VIRT_RTC].at);
    put_interrupt(w, v, p, VIRT_IRQ_RTC);
    put_place(w, VIRT_RTC);
    put_text(w, "compatible", "google,goldfish-rtc");
    end(w);

    begin(w, "serial@%" PRIx64, virt_map[VIRT_UART].at);
    put_interrupt(w, v, p, VIRT_IRQ_UART);
    put_place(w, VIRT_UART);
    PUT(w, "clock-frequency", NS16550_CLOCK_HZ);
    put_text(w, "compatible", "ns16550a");
    end(w);

    begin(w, "test@%" PRIx64, virt_map[VIRT_TEST].at);
    PUT(w, "phandle", p->test);
    put_place(w, VIRT_TEST);
    PUT_TEXTS(w, "compatible", "sifive,test1\0sifive,test0\0syscon");
    end(w);

    write_virtio(w, v, p);
    write_intc(w, v, p);
    write_aclint(w, v, p);
    write_pci(w, v, p);
    end(w);
}

static void write_syscon(struct writer *w, const struct phandles *p, const char *name,
                         const char *compatible, uint32_t value)
{
    begin(w, "%s", name);
    PUT(w, "value", value);
    PUT(w, "offset", 0);
    PUT(w, "regmap", p->test);
    put_text(w, "compatible", compatible);
    end(w);
}

static void write_board(struct writer *w, const struct virt *v, const struct phandles *p)
{
    const struct virt_map_entry *flash = &virt_map[VIRT_FLASH], *bus = &virt_map[VIRT_PLATFORM_BUS];
    uint64_t bank = flash->size / VIRT_N_FLASH;

    write_syscon(w, p, "poweroff", "syscon-poweroff", 0x5555);
    write_syscon(w, p, "reboot", "syscon-reboot", 0x7777);

    begin(w, "platform-bus@%" PRIx64, bus->at);
    PUT(w, "interrupt-parent", device_intc(v, p));
    PUT(w, "ranges", 0, CELLS64(bus->at), (uint32_t)bus->size);
    PUT(w, "#address-cells", 1);
    PUT(w, "#size-cells", 1);
    PUT_TEXTS(w, "compatible", "qemu,platform\0simple-bus");
    end(w);

    begin(w, "memory@%" PRIx64, virt_map[VIRT_RAM].at);
    put_text(w, "device_type", "memory");
    PUT(w, "reg", CELLS64(virt_map[VIRT_RAM].at), CELLS64(v->m.ram_size));
    end(w);

    write_cpus(w, v, p);
    write_pmu(w, riscv_model_of(v->m.vm));

    begin(w, "fw-cfg@%" PRIx64, virt_map[VIRT_FW_CFG].at);
    put_flag(w, "dma-coherent");
    put_place(w, VIRT_FW_CFG);
    put_text(w, "compatible", "qemu,fw-cfg-mmio");
    end(w);

    begin(w, "flash@%" PRIx64, flash->at);
    PUT(w, "bank-width", 4);
    PUT(w, "reg", CELLS64(flash->at), CELLS64(bank), CELLS64(flash->at + bank), CELLS64(bank));
    put_text(w, "compatible", "cfi-flash");
    end(w);

    begin(w, "aliases");
    put_text(w, "serial0", "/soc/serial@10000000");
    end(w);

    begin(w, "chosen");
    put_text(w, "stdout-path", "/soc/serial@10000000");
    put_bytes(w, "rng-seed", (const uint8_t[SEED_BYTES]){ 0 }, SEED_BYTES);
    end(w);

    write_soc(w, v, p);
}

/* A copy with room for more properties. */
static struct error *with_room(const void *fdt, void **out)
{
    size_t n = fdt_totalsize(fdt) + ROOM_TO_GROW;
    void *copy = xcalloc(1, n);
    int rc = fdt_open_into(fdt, copy, (int)n);
    if (rc) {
        free(copy);
        return error_new("device tree: %s", fdt_strerror(rc));
    }
    *out = copy;
    return NULL;
}

struct error *virt_make_dtb(struct virt *v, void **fdt)
{
    struct phandles p = assign_phandles(v);
    size_t n = 64 * KIB + (size_t)v->n_harts * 8 * KIB;
    struct writer w = { .fdt = xcalloc(1, n) };
    w.rc = fdt_create(w.fdt, (int)n);
    keep(&w, fdt_finish_reservemap(w.fdt));
    begin(&w, "%s", "");
    PUT(&w, "#address-cells", 2);
    PUT(&w, "#size-cells", 2);
    put_text(&w, "compatible", "riscv-virtio");
    put_text(&w, "model", "riscv-virtio,qemu");
    write_board(&w, v, &p);
    end(&w);
    keep(&w, fdt_finish(w.fdt));
    assert(w.rc == 0); /* every size above is ours */
    virt_dtb_reseed(w.fdt);
    struct error *err = with_room(w.fdt, fdt);
    free(w.fdt);
    return err;
}

void virt_dtb_reseed(void *fdt)
{
    uint8_t seed[SEED_BYTES];
    int node = fdt_path_offset(fdt, "/chosen");
    if (node >= 0 && getrandom(seed, sizeof(seed), 0) == sizeof(seed))
        fdt_setprop_inplace(fdt, node, "rng-seed", seed, sizeof(seed));
}

struct error *virt_dtb_set_boot(void *fdt, const char *append, gpa initrd, uint64_t initrd_n)
{
    int chosen = fdt_path_offset(fdt, "/chosen");
    if (chosen == -FDT_ERR_NOTFOUND)
        chosen = fdt_add_subnode(fdt, 0, "chosen");
    int rc = chosen < 0 ? chosen : 0;
    if (!rc && append && append[0])
        rc = fdt_setprop_string(fdt, chosen, "bootargs", append);
    if (!rc && initrd_n)
        rc = fdt_setprop_u64(fdt, chosen, "linux,initrd-start", initrd);
    if (!rc && initrd_n)
        rc = fdt_setprop_u64(fdt, chosen, "linux,initrd-end", initrd + initrd_n);
    if (rc == -FDT_ERR_NOSPACE)
        return error_new("-append: more than about %d characters do not fit into the device tree",
                         ROOM_TO_GROW - 256);
    return rc ? error_new("device tree: %s", fdt_strerror(rc)) : NULL;
}

/* libfdt's check trusts old headers too much, so only those with all sizes go to it (version 17, which
 * everything has written for twenty years). */
static struct error *check_dtb(const void *bytes, uint64_t n)
{
    int rc = n < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_header(bytes);
    if (!rc && fdt_version(bytes) < 17)
        return error_new("it is a device tree blob of version %u, 17 is needed",
                         fdt_version(bytes));
    if (!rc)
        rc = fdt_totalsize(bytes) > n ? -FDT_ERR_TRUNCATED : fdt_check_full(bytes, n);
    return rc ? error_new("it is not a valid device tree blob: %s", fdt_strerror(rc)) : NULL;
}

struct error *virt_read_dtb(const char *path, void **fdt)
{
    struct image *file;
    struct error *err = image_open("device tree", path, NULL, MAX_DTB, &file);
    if (err)
        return err;
    uint64_t n = file->n;
    uint8_t *bytes = n <= MAX_DTB ? xmalloc(n) : NULL;
    if (!bytes)
        err =
            error_new("it has %llu bytes, at most %d are allowed", (unsigned long long)n, MAX_DTB);
    if (!err)
        err = image_read(file, 0, bytes, n);
    if (!err)
        err = check_dtb(bytes, n);
    if (!err)
        err = with_room(bytes, fdt);
    free(bytes);
    image_free(file);
    return error_in(err, "-dtb '%s'", path);
}
