/* VMware's port to the hypervisor; see vmport.h. */
#include "hw/input/vmport.h"

#include "core/vm.h"
#include "hw/input/i8042.h"
#include "hw/place.h"

enum { MAGIC = 0x564d5868, PORT_SIZE = 4, VERSION = 6, PRODUCT_SERVER = 2 };
enum { /* commands, in CX */
       GET_VERSION = 10,
       GET_MEMORY_SIZE = 20,
       POINTER_DATA = 39,
       POINTER_STATUS = 40,
       POINTER_COMMAND = 41,
};
enum { /* what POINTER_COMMAND says in EBX */
       POINTER_ENABLE = 0x45414552,
       POINTER_DISABLE = 0xf5,
       POINTER_RELATIVE = 0x4c455252,
       POINTER_ABSOLUTE = 0x53424152,
};
enum { POINTER_ID = 0x3442554a, PACKET = 4, QUEUE = 64 * PACKET, RELATIVE_PACKET = 1 << 16 };
#define POINTER_ERROR UINT32_C(0xffff0000)
#define FAILED        UINT32_MAX
enum { ABS_MOST = 0xffff, BUTTON_FIRST = 0x110, REL_WHEEL = 8 };

enum pointer_mode { OFF, NO_MODE_YET, RELATIVE, ABSOLUTE };

struct vmport {
    struct device dev;
    uint32_t iobase;
    struct mem_region *ports;
    const struct vmport_cpu *cpu;
    uint32_t ram_mib;
    struct device *kbc;

    uint8_t mode;
    uint16_t n;
    uint32_t words[QUEUE];     /* for the guest, oldest first */
    uint32_t buttons, x, y, z; /* the next packet; relative ones are signed */
    bool to_report;
};

/* ---- pointer ------------------------------------------------------------------------------------- */
static void pointer_off(struct vmport *v)
{
    v->mode = OFF;
    v->n = 0;
    v->buttons = v->x = v->y = v->z = 0;
    v->to_report = false;
}

/* What finds no room waits, and the newest position is the one that counts. */
static void report(struct vmport *v)
{
    if (!v->to_report || v->n + PACKET > QUEUE)
        return;
    const uint32_t packet[PACKET] = { v->buttons | (v->mode == RELATIVE ? RELATIVE_PACKET : 0),
                                      v->x, v->y, v->z };
    memcpy(&v->words[v->n], packet, sizeof(packet));
    v->n += PACKET;
    v->z = 0;
    if (v->mode == RELATIVE)
        v->x = v->y = 0;
    v->to_report = false;
}

static void pointer_command(struct vmport *v, uint32_t what)
{
    switch (what) {
    case POINTER_ENABLE:
        pointer_off(v);
        v->mode = NO_MODE_YET;
        v->words[v->n++] = POINTER_ID;
        break;
    case POINTER_DISABLE: pointer_off(v); break;
    case POINTER_RELATIVE:
    case POINTER_ABSOLUTE:
        if (v->mode == OFF)
            break;
        v->mode = what == POINTER_RELATIVE ? RELATIVE : ABSOLUTE;
        v->x = v->y = v->z = 0;
        v->to_report = false;
    }
}

/* The oldest words, from EAX on; who asks for more than there are is out of step, and has to begin anew. */
static void pointer_data(struct vmport *v, uint32_t r[VMPORT_N_REGISTERS])
{
    uint32_t count = r[VMPORT_EBX];
    if (!count || count > VMPORT_N_REGISTERS || count > v->n) {
        pointer_off(v);
        r[VMPORT_EAX] = FAILED;
        return;
    }
    memcpy(r, v->words, count * sizeof(*r));
    v->n -= count;
    memmove(v->words, v->words + count, v->n * sizeof(*r));
    report(v);
}

static uint32_t button_bit(uint16_t code)
{
    static const uint8_t bits[] = { 0x20, 0x10, 0x08 }; /* left, right, middle */
    unsigned i = code - BUTTON_FIRST;
    return code >= BUTTON_FIRST && i < ARRAY_LEN(bits) ? bits[i] : 0;
}

static bool take_event(struct vmport *v, const struct input_event *e)
{
    uint32_t *axis = e->code == 0 ? &v->x : e->code == 1 ? &v->y : NULL;
    uint32_t bit = button_bit(e->code);
    if (e->type == INPUT_EV_KEY && bit)
        v->buttons = e->value ? v->buttons | bit : v->buttons & ~bit;
    else if (e->type == INPUT_EV_REL && e->code == REL_WHEEL)
        v->z -= e->value;
    else if (e->type == INPUT_EV_ABS && axis && v->mode == ABSOLUTE)
        *axis = MIN(e->value, (uint32_t)INPUT_ABS_MAX) * ABS_MOST / INPUT_ABS_MAX;
    else if (e->type == INPUT_EV_REL && axis && v->mode == RELATIVE)
        *axis += axis == &v->y ? -e->value : e->value;
    else
        return false;
    v->to_report = true;
    return true;
}

bool vmport_has_pointer(struct device *dev, enum input_kind *kind)
{
    struct vmport *v = (struct vmport *)dev;
    device_lock(dev);
    uint8_t mode = v->mode;
    device_unlock(dev);
    *kind = mode == ABSOLUTE ? INPUT_TABLET : INPUT_MOUSE;
    return mode == ABSOLUTE || mode == RELATIVE;
}

bool vmport_send_event(struct device *dev, const struct input_event *events, size_t n)
{
    struct vmport *v = (struct vmport *)dev;
    bool taken = false;
    device_lock(dev);
    for (size_t i = 0; i < n && v->mode >= RELATIVE; i++)
        taken |= take_event(v, &events[i]);
    report(v);
    device_unlock(dev);
    if (taken && v->kbc)
        i8042_nudge_mouse(v->kbc);
    return taken;
}

/* ---- the port ------------------------------------------------------------------------------------ */
static void call(struct vmport *v, uint32_t r[VMPORT_N_REGISTERS])
{
    uint16_t command = (uint16_t)r[VMPORT_ECX];
    if (command >= POINTER_DATA && command <= POINTER_COMMAND && !v->kbc)
        command = 0;
    switch (command) {
    case GET_VERSION:
        r[VMPORT_EAX] = VERSION;
        r[VMPORT_EBX] = MAGIC;
        r[VMPORT_ECX] = PRODUCT_SERVER;
        break;
    case GET_MEMORY_SIZE:
        r[VMPORT_EAX] = v->ram_mib;
        r[VMPORT_EBX] = MAGIC;
        break;
    case POINTER_DATA: pointer_data(v, r); break;
    case POINTER_STATUS: r[VMPORT_EAX] = v->mode == OFF ? POINTER_ERROR : v->n; break;
    case POINTER_COMMAND: pointer_command(v, r[VMPORT_EBX]); break;
    default: r[VMPORT_EAX] = FAILED;
    }
}

/* IN and OUT are the same call; the result of IN is EAX. */
static uint64_t ports_read(void *opaque, uint64_t off, unsigned size)
{
    struct vmport *v = opaque;
    uint32_t r[VMPORT_N_REGISTERS];
    if (size != PORT_SIZE || !v->cpu || !v->cpu->get(v->dev.vm, r) || r[VMPORT_EAX] != MAGIC)
        return UINT64_MAX;
    device_lock(&v->dev);
    call(v, r);
    device_unlock(&v->dev);
    v->cpu->set(v->dev.vm, r);
    return r[VMPORT_EAX];
}

static void ports_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    ports_read(opaque, off, size);
}

static const struct mmio_ops ports_ops = { ports_read, ports_write, 1, PORT_SIZE, NULL };

/* ---- life ---------------------------------------------------------------------------------------- */
void vmport_attach(struct device *dev, const struct vmport_cpu *cpu, uint64_t ram_size,
                   struct device *kbc)
{
    struct vmport *v = (struct vmport *)dev;
    v->cpu = cpu;
    v->ram_mib = (uint32_t)MIN(ram_size / MIB, UINT32_MAX);
    v->kbc = kbc;
}

static struct error *vmport_realize(struct device *dev)
{
    struct vmport *v = (struct vmport *)dev;
    v->ports = mem_add_mmio(dev->vm, dev->cls->name, PORT_SIZE, &ports_ops, v);
    place_ports(v->ports, v->iobase);
    return NULL;
}

static void vmport_unrealize(struct device *dev)
{
    mem_free_region(((struct vmport *)dev)->ports);
}

static void vmport_reset(struct device *dev)
{
    pointer_off((struct vmport *)dev);
}

static const struct prop vmport_props[] = { PORT_PROP(struct vmport, iobase, "iobase") };
static const struct field vmport_state[] = {
    FIELD(struct vmport, mode, .max = ABSOLUTE),
    FIELD(struct vmport, n, .max = QUEUE),
    FIELD_ARRAY(struct vmport, words),
    FIELD(struct vmport, buttons, .valid = 0x38),
    FIELD(struct vmport, x),
    FIELD(struct vmport, y),
    FIELD(struct vmport, z),
    FIELD(struct vmport, to_report),
    DERIVED(struct vmport, ram_mib),
};

const struct device_class vmport_class = {
    .name = "vmport",
    .desc = "VMware's port to the hypervisor, with a pointer",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct vmport),
    .props = TABLE(vmport_props),
    .state = TABLE(vmport_state),
    .realize = vmport_realize,
    .unrealize = vmport_unrealize,
    .reset = vmport_reset,
};
