/* PCI and PCI Express: functions with a configuration space, BARs, capabilities and interrupts; buses
 * behind a host bridge. Any board that owns a struct pci_host has the same bus; how configuration
 * cycles reach it (ECAM, 0xcf8) is the host bridge's affair.
 *
 * Locks: a function's configuration space, MSI state and INTx level are guarded by its device's lock.
 * BARs are moved by pci_remap, which runs without any device lock. */
#pragma once

#include "core/device.h"

#include <stdatomic.h>

struct pci_bus;
struct pci_function;
struct pci_host;

enum {
    PCI_CONFIG_SIZE = 4096,
    PCI_N_BARS = 6,
    MSIX_MAX_VECTORS = 128,
};

/* Offsets and bits of the type 0 and 1 headers (PCI Local Bus 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2). */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, /* three bytes: interface, sub-class, class */
    PCI_CACHE_LINE = 0x0c,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_PRIMARY_BUS = 0x18,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_IO_BASE = 0x1c,
    PCI_IO_LIMIT = 0x1d,
    PCI_SECONDARY_STATUS = 0x1e,
    PCI_MEM_BASE = 0x20,
    PCI_MEM_LIMIT = 0x22,
    PCI_PREF_BASE = 0x24,
    PCI_PREF_LIMIT = 0x26,
    PCI_PREF_BASE_HIGH = 0x28,
    PCI_PREF_LIMIT_HIGH = 0x2c,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_IO_BASE_HIGH = 0x30,
    PCI_IO_LIMIT_HIGH = 0x32,
    PCI_ROM = 0x30,
    PCI_CAP_POINTER = 0x34,
    PCI_ROM_BRIDGE = 0x38,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_BRIDGE_CONTROL = 0x3e,

    PCI_COMMAND_IO = 1 << 0,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_PARITY = 1 << 6,
    PCI_COMMAND_SERR = 1 << 8,
    PCI_COMMAND_INTX_OFF = 1 << 10,
    PCI_ROM_ENABLE = 1 << 0,
    PCI_STATUS_INTX = 1 << 3,
    PCI_STATUS_CAPS = 1 << 4,

    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11,
};

enum pci_bar_kind {
    PCI_BAR_MEM32,
    PCI_BAR_MEM32_PREFETCH,
    PCI_BAR_MEM64,
    PCI_BAR_MEM64_PREFETCH,
    PCI_BAR_IO,
};

struct pci_bar {
    struct mem_region *region; /* NULL: no such BAR, or the upper half of a 64-bit one */
    uint64_t size;             /* a power of two */
    enum pci_bar_kind kind;
    gpa mapped_at; /* where pci_remap put it; only pci_remap looks */
    bool mapped;
};

/* One function of a PCI device: embedded in the struct of the device that is one. */
struct pci_function {
    /* properties (PCI_PROPS) */
    char *bus_name, *addr, *romfile;
    bool multifunction;
    uint8_t rombar;

    /* state */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t msix_table[MSIX_MAX_VECTORS * 16];
    uint64_t msix_pending[MSIX_MAX_VECTORS / 64];
    bool intx_level; /* what the device drives, whatever the command register says */

    /* fixed at realize, or derived */
    struct device *dev;
    struct pci_bus *bus; /* it sits on this one */
    uint8_t devfn;
    bool express;
    bool intx_sent; /* what the host bridge was told */
    _Atomic bool hidden; /* without power: it answers no configuration cycle. Its bus says so */
    uint8_t *writable, *w1c; /* of PCI_CONFIG_SIZE bytes each: which bits a guest can change */
    uint8_t *power_on;       /* config after a reset: the read-only bits that a stream cannot change */
    struct pci_bar bars[PCI_N_BARS];
    struct pci_bar rom; /* as memory of 32 bits; a register and an enable bit of its own */
    uint16_t next_cap; /* first free byte for a capability */
    uint16_t last_cap; /* link to patch */
    uint16_t msi_cap, msix_cap, express_cap; /* 0: has none */
    uint16_t n_vectors; /* of MSI-X */
    struct pci_bus *secondary; /* a bridge's other side */
    /* The guest reads or wrote [off, off+n) of config: before a read, after a write; device lock held.
     * May be NULL. */
    void (*config_reading)(struct pci_function *f, unsigned off, unsigned n);
    void (*config_written)(struct pci_function *f, unsigned off, unsigned n);
    /* The same after a write, without any lock: the physical map may be changed. */
    void (*config_settled)(struct pci_function *f, unsigned off, unsigned n);
};

#define PCI_PROPS(type, member)                                                                    \
    PROP(type, member.bus_name, "bus", PROP_STRING, .help = "bus to plug into: pcie.0 or a bridge's id"), \
    PROP(type, member.addr, "addr", PROP_STRING, .help = "slot[.function], hexadecimal"),          \
    PROP(type, member.multifunction, "multifunction", PROP_BOOL, .def = "off",                     \
         .help = "functions 1 to 7 of this slot may be used"),                                     \
    PROP(type, member.romfile, "romfile", PROP_STRING,                                             \
         .help = "option ROM, which a BIOS runs"),                                                 \
    PROP(type, member.rombar, "rombar", PROP_UINT, .def = "1", .max = 1,                           \
         .help = "0: the option ROM is left out")

extern const struct field pci_function_fields[4];

/* What pci_realize puts into the header. */
struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 0xccssii: class, sub-class, interface */
    uint8_t revision;
    uint8_t interrupt_pin; /* 0: none, 1: INTA# */
    bool bridge;           /* type 1 header */
    const char *rom;       /* option ROM where romfile= names none, if there is such a file; or NULL */
};

/* From the device's realize: find bus and slot by the properties (`bus` if not NULL goes first), fill
 * the header, become visible at the end of device_realize. Then add BARs and capabilities. Errors:
 * no such bus, bad or used slot. */
struct error *pci_realize(struct pci_function *f, struct device *dev, struct pci_bus *bus,
                          const struct pci_identity *id);
/* Where an option ROM of this name is: as it stands, or in the folders where firmware lives. NULL: nowhere. Caller
 * frees. */
char *pci_rom_find(const char *name);
/* Undo pci_realize: BARs are unmapped and their regions freed. */
void pci_unrealize(struct pci_function *f);
/* To power-on state; lock held. BARs vanish at the next pci_remap. */
void pci_reset(struct pci_function *f);
/* After config was loaded, vCPUs stopped, lock held: interrupt lines and BARs follow. */
void pci_loaded(struct pci_function *f);

/* The region belongs to the function from now on. `size` is a power of two, at least 16 (I/O: 4). */
void pci_add_bar(struct pci_function *f, unsigned n, enum pci_bar_kind kind,
                 struct mem_region *region, uint64_t size);
/* A capability of n bytes, the two header bytes included: returns its offset. Its bytes are zero and
 * read-only until the caller says otherwise. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned n);
/* As PCIe endpoint or root port (`port_type` as in PCIe 7.8.2: 0 endpoint, 4 root port, 9 integrated
 * endpoint). */
void pci_add_express(struct pci_function *f, unsigned port_type, unsigned slot);
/* n vectors, table and pending bits in BAR `bar` of 4 KiB or what they need. */
struct error *pci_add_msix(struct pci_function *f, unsigned bar, unsigned n);
void pci_add_msi(struct pci_function *f); /* one vector, 64-bit, maskable */

/* Raise or lower the interrupt pin. Lock held. */
void pci_set_intx(struct pci_function *f, bool level);
bool pci_msix_enabled(const struct pci_function *f);
/* Send the vector's message, or mark it pending when masked. Lock held. Vectors beyond the table and
 * functions that may not master the bus send nothing. */
void pci_msix_fire(struct pci_function *f, unsigned vector);
/* Fire MSI if the guest enabled it; false if not. Lock held. */
bool pci_msi_fire(struct pci_function *f);
bool pci_may_master(const struct pci_function *f);

/* Access to a function's configuration space as a guest does it; n is 1, 2 or 4, aligned. Without
 * locks held. */
uint32_t pci_config_read(struct pci_host *h, unsigned bus, unsigned devfn, unsigned off, unsigned n);
void pci_config_write(struct pci_host *h, unsigned bus, unsigned devfn, unsigned off, unsigned n,
                      uint32_t value);

/* ---- buses and hosts ------------------------------------------------------------------------- */
enum { PCI_N_INTX = 4, PCI_MAX_LINES = 8 };

struct pci_bus {
    char name[32];
    struct pci_host *host;
    struct pci_function *bridge; /* NULL: the host's own bus 0 */
    struct pci_function *slots[256];
    bool only_slot_0; /* a PCIe link has one device */
    bool subtractive; /* its bridge forwards whatever nobody else claims */
    const struct hot_plug *hot_plug; /* NULL: devices stay as the machine was made */
    const char *no_hot_plug;         /* then: what to do instead, for messages, or NULL */
    struct device *plugger;          /* hot_plug's, if that needs one */
    void (*changed)(struct pci_bus *bus); /* a slot was taken or freed; no lock held. NULL: nobody cares */
};

/* What a board says about its PCI. Windows: PCI and CPU addresses are equal, except that port 0
 * appears at io_base in memory where the CPU has no ports. */
struct pci_windows {
    gpa io_base;
    uint64_t io_size;
    gpa mem32_base;
    uint64_t mem32_size;
    gpa mem64_base;
    uint64_t mem64_size;
    bool has_ports; /* the CPU has ports: io_base is 0 */
};

struct pci_host {
    struct vm *vm;
    struct pci_windows windows;
    struct pci_bus root;
    struct irq intx[PCI_MAX_LINES];
    /* Which of them a pin (0: INTA#) of a slot on the root bus drives; never changes. NULL: each slot rotates
     * the first four. */
    unsigned (*line_of)(unsigned slot, unsigned pin);
    pthread_mutex_t intx_lock; /* a leaf but for what receives the line */
    unsigned intx_count[PCI_MAX_LINES];
    _Atomic uint32_t remap_wanted; /* see pci_remap */
};

/* The host's root bus is called `name`, "pcie.0". */
void pci_host_init(struct pci_host *h, struct vm *vm, const char *name,
                   const struct pci_windows *windows);
void pci_host_free(struct pci_host *h);
/* Make the physical map follow all BARs. No locks held. A caller that finds another one at it leaves
 * the work to that one. */
void pci_remap(struct pci_host *h);
/* Let something in the physical map follow registers, by the same rule: `follow` is called until nobody has
 * asked since it began. No locks held. */
void pci_follow(_Atomic uint32_t *wanted, void (*follow)(void *opaque), void *opaque);
/* The bus of that name ("pcie.0" or a bridge's id), or NULL; a NULL name is the first host's. */
struct pci_bus *pci_bus_find(struct vm *vm, const char *name);
/* The bus that a device carries, or NULL. */
struct pci_bus *pci_bus_behind(struct device *dev);
/* Names of all buses, for messages: "pcie.0, rp1". Caller frees. */
char *pci_bus_names(struct vm *vm);

/* Is it at a link of PCI Express, where devices have to be of that kind? */
static inline bool pci_at_link(const struct pci_function *f)
{
    return f->bus->only_slot_0;
}
