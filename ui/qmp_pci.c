/* The PCI functions as a guest numbered them. */
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/pci/pci.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

static json_t *list_bus(const struct pci_bus *bus, unsigned number);

static unsigned get(const struct pci_function *f, unsigned off, unsigned n)
{
    return (unsigned)load_le(f->config + off, n);
}

static json_t *region(unsigned n, const struct pci_bar *bar)
{
    bool io = bar->kind == PCI_BAR_IO;
    json_t *r = json_pack("{sisssIsI}", "bar", (int)n, "type", io ? "io" : "memory", "address",
                          bar->mapped ? (json_int_t)bar->mapped_at : (json_int_t)-1, "size",
                          (json_int_t)bar->size);
    if (io)
        return r;
    bool wide = bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
    bool prefetch = bar->kind == PCI_BAR_MEM32_PREFETCH || bar->kind == PCI_BAR_MEM64_PREFETCH;
    json_object_set_new(r, "prefetch", json_boolean(prefetch));
    json_object_set_new(r, "mem_type_64", json_boolean(wide));
    return r;
}

static json_t *regions(const struct pci_function *f)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < PCI_N_BARS; i++)
        if (f->bars[i].region)
            json_array_append_new(list, region(i, &f->bars[i]));
    return list;
}

static json_t *range(uint64_t base, uint64_t limit)
{
    return json_pack("{sIsI}", "base", (json_int_t)base, "limit", (json_int_t)limit);
}

/* PCI-to-PCI Bridge 1.2, 3.2.5. */
static json_t *bridge(const struct pci_function *f)
{
    unsigned secondary = f->config[PCI_SECONDARY_BUS];
    uint64_t pref = (uint64_t)get(f, PCI_PREF_BASE_HIGH, 4) << 32,
             pref_end = (uint64_t)get(f, PCI_PREF_LIMIT_HIGH, 4) << 32;
    json_t *bus = json_pack("{sisisi}", "number", (int)f->config[PCI_PRIMARY_BUS], "secondary",
                            (int)secondary, "subordinate", (int)f->config[PCI_SUBORDINATE_BUS]);
    json_object_set_new(
        bus, "io_range",
        range((get(f, PCI_IO_BASE, 1) & 0xf0) << 8, (get(f, PCI_IO_LIMIT, 1) & 0xf0) << 8 | 0xfff));
    json_object_set_new(bus, "memory_range",
                        range((uint64_t)(get(f, PCI_MEM_BASE, 2) & 0xfff0) << 16,
                              (uint64_t)(get(f, PCI_MEM_LIMIT, 2) & 0xfff0) << 16 | 0xfffff));
    json_object_set_new(
        bus, "prefetchable_range",
        range(pref | (uint64_t)(get(f, PCI_PREF_BASE, 2) & 0xfff0) << 16,
              pref_end | (uint64_t)(get(f, PCI_PREF_LIMIT, 2) & 0xfff0) << 16 | 0xfffff));
    return json_pack("{soso}", "bus", bus, "devices", list_bus(f->secondary, secondary));
}

static json_t *function(const struct pci_function *f, unsigned bus)
{
    unsigned pin = f->config[PCI_INTERRUPT_PIN];
    json_t *d =
        json_pack("{sisisi}", "bus", (int)bus, "slot", f->devfn >> 3, "function", f->devfn & 7);
    json_object_set_new(d, "class_info", json_pack("{si}", "class", (int)get(f, PCI_CLASS + 1, 2)));
    json_t *id = json_pack("{sisi}", "vendor", (int)get(f, PCI_VENDOR_ID, 2), "device",
                           (int)get(f, PCI_DEVICE_ID, 2));
    if (!f->secondary) {
        json_object_set_new(id, "subsystem", json_integer(get(f, PCI_SUBSYSTEM_ID, 2)));
        json_object_set_new(id, "subsystem-vendor", json_integer(get(f, PCI_SUBSYSTEM_VENDOR, 2)));
    }
    json_object_set_new(d, "id", id);
    json_object_set_new(d, "irq_pin", json_integer(pin));
    if (pin)
        json_object_set_new(d, "irq", json_integer(f->config[PCI_INTERRUPT_LINE]));
    json_object_set_new(d, "qdev_id", json_string(f->dev->id ? f->dev->id : ""));
    json_object_set_new(d, "regions", regions(f));
    if (f->secondary)
        json_object_set_new(d, "pci_bridge", bridge(f));
    return d;
}

static json_t *list_bus(const struct pci_bus *bus, unsigned number)
{
    json_t *list = json_array();
    for (unsigned devfn = 0; devfn < ARRAY_LEN(bus->slots); devfn++)
        if (bus->slots[devfn])
            json_array_append_new(list, function(bus->slots[devfn], number));
    return list;
}

static struct error *query_pci(struct qmp_call *c)
{
    const struct pci_bus *root = pci_bus_find(c->vm, NULL);
    c->reply = json_array();
    if (root)
        json_array_append_new(c->reply,
                              json_pack("{siso}", "bus", 0, "devices", list_bus(root, 0)));
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-pci", "", "[PciInfo]", "PCI functions, as the guest numbered and placed them",
      query_pci },
};
static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("PciInfo", "bus:int devices:[PciDeviceInfo]"),
    QMP_STRUCT_TYPE("PciDeviceInfo",
                    "bus:int slot:int function:int class_info:PciDeviceClass id:PciDeviceId "
                    "*irq:int irq_pin:int qdev_id:str *pci_bridge:PciBridgeInfo "
                    "regions:[PciMemoryRegion]"),
    QMP_STRUCT_TYPE("PciDeviceClass", "*desc:str class:int"),
    QMP_STRUCT_TYPE("PciDeviceId", "device:int vendor:int *subsystem:int *subsystem-vendor:int"),
    QMP_STRUCT_TYPE("PciBridgeInfo", "bus:PciBusInfo *devices:[PciDeviceInfo]"),
    QMP_STRUCT_TYPE("PciBusInfo",
                    "number:int secondary:int subordinate:int io_range:PciMemoryRange "
                    "memory_range:PciMemoryRange prefetchable_range:PciMemoryRange"),
    QMP_STRUCT_TYPE("PciMemoryRange", "base:int limit:int"),
    QMP_STRUCT_TYPE("PciMemoryRegion",
                    "bar:int type:str address:int size:int *prefetch:bool *mem_type_64:bool"),
};

const struct qmp_table qmp_pci_table = { "PCI", TABLE(commands), TABLE(types) };
