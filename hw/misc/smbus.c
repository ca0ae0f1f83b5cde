/* SMBus host controller; see smbus.h. */
#include "hw/misc/smbus.h"

#include "core/error.h"

enum { /* 20.2 */
       HST_STS = 0x00,
       HST_CNT = 0x02,
       HST_CMD = 0x03,
       XMIT_SLVA = 0x04,
       HST_D0 = 0x05,
       HST_D1 = 0x06,
       HOST_BLOCK_DB = 0x07,
       PEC = 0x08,
       RCV_SLVA = 0x09,
       AUX_STS = 0x0c,
       AUX_CTL = 0x0d,
       SMLINK_PIN_CTL = 0x0e,
       SLV_CMD = 0x11,
};
enum { /* 20.2.1 */
       BUSY = 1 << 0,
       INTR = 1 << 1,
       DEV_ERR = 1 << 2,
       FAILED = 1 << 4,
       INUSE = 1 << 6,
       BYTE_DONE = 1 << 7,
       CAUSES = INTR | DEV_ERR | 1 << 3 | FAILED | BYTE_DONE,
};
enum { /* 20.2.2 */
       INTREN = 1 << 0,
       KILL = 1 << 1,
       PROTOCOL_SHIFT = 2,
       LAST_BYTE = 1 << 5,
       START = 1 << 6,
       PEC_EN = 1 << 7,
};
enum { QUICK, BYTE, BYTE_DATA, WORD_DATA, PROCESS_CALL, BLOCK, I2C_READ };
enum { CRC_ERROR = 1 << 0, BUFFER_32 = 1 << 1 };
enum { FIRST_MODULE = 0x50, CLOCK_IS_HIGH = 7, OWN_ADDRESS = 0x44, LEAST_MODULE_MIB = 128 };
#define MOST_MODULE_MIB UINT32_C(0x10000)

/* ---- the modules' EEPROMs -------------------------------------------------------------------------- */
static uint8_t next_byte(struct smbus *s, unsigned module)
{
    uint8_t spd[SMBUS_SPD_SIZE];
    spd_fill(spd, s->modules_mib[module]);
    return spd[s->offsets[module]++];
}

void smbus_set_ram(struct smbus *s, uint64_t size)
{
    uint64_t left = size / MIB;
    for (unsigned i = 0; i < SMBUS_N_MODULES; i++) {
        uint32_t module = MOST_MODULE_MIB;
        while (module > left)
            module /= 2;
        s->modules_mib[i] = module >= LEAST_MODULE_MIB ? module : 0;
        left -= s->modules_mib[i];
    }
}

/* ---- transactions ---------------------------------------------------------------------------------- */
void smbus_update(struct smbus *s)
{
    irq_set(&s->interrupt, s->control & INTREN && s->status & CAUSES);
}

static void end(struct smbus *s, uint8_t how)
{
    s->left = 0;
    s->status = (s->status & ~BUSY) | how;
}

/* The guest asks for the next byte of a block by clearing BYTE_DONE (20.2.1). */
static void show_byte(struct smbus *s)
{
    if (!s->left || s->last) {
        end(s, INTR);
        return;
    }
    s->left--;
    s->last = s->control & LAST_BYTE;
    s->at = 0;
    s->block[0] = next_byte(s, s->module);
    s->status |= BUSY | BYTE_DONE;
}

static void read_block(struct smbus *s, unsigned module)
{
    uint8_t n = next_byte(s, module);
    if (!n || n > SMBUS_BLOCK) {
        end(s, DEV_ERR);
        return;
    }
    s->data0 = n;
    if (s->is_ich9 && !(s->aux_control & BUFFER_32)) {
        s->left = n;
        show_byte(s);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        s->block[i] = next_byte(s, module);
    s->at = 0;
    end(s, INTR);
}

/* As the guest reads: what an EEPROM has no answer to, it does not acknowledge. */
static void read_module(struct smbus *s, unsigned module, unsigned protocol)
{
    if (protocol >= BYTE_DATA)
        s->offsets[module] = protocol == I2C_READ ? s->data1 : s->command;
    switch (protocol) {
    case QUICK: break;
    case BYTE:
    case BYTE_DATA: s->data0 = next_byte(s, module); break;
    case WORD_DATA:
        s->data0 = next_byte(s, module);
        s->data1 = next_byte(s, module);
        break;
    case BLOCK: read_block(s, module); return;
    case I2C_READ: /* until the guest says that it was the last */
        s->left = UINT8_MAX;
        show_byte(s);
        return;
    default: end(s, DEV_ERR); return;
    }
    end(s, INTR);
}

/* They are protected from writing: an address is taken, data is not. */
static void write_module(struct smbus *s, unsigned module, unsigned protocol)
{
    if (protocol == BYTE)
        s->offsets[module] = s->command;
    end(s, protocol <= BYTE ? INTR : DEV_ERR);
}

static void start(struct smbus *s)
{
    unsigned protocol = s->control >> PROTOCOL_SHIFT & 7, module = (s->address >> 1) - FIRST_MODULE;
    bool reads = s->address & 1 || protocol == I2C_READ;
    s->last = false;
    if (module >= SMBUS_N_MODULES || !s->modules_mib[module] ||
        (!s->is_ich9 && (protocol == PROCESS_CALL || protocol > BLOCK))) {
        end(s, DEV_ERR);
    } else if (s->control & PEC_EN && protocol != QUICK && protocol != I2C_READ) {
        s->aux_status |= CRC_ERROR; /* they send none */
        end(s, DEV_ERR);
    } else {
        s->module = (uint8_t)module;
        if (reads)
            read_module(s, module, protocol);
        else
            write_module(s, module, protocol);
    }
}

/* ---- registers --------------------------------------------------------------------------------------- */
static uint8_t *plain(struct smbus *s, unsigned off)
{
    switch (off) {
    case HST_CMD: return &s->command;
    case XMIT_SLVA: return &s->address;
    case HST_D0: return &s->data0;
    case HST_D1: return &s->data1;
    case PEC: return s->is_ich9 ? &s->pec : NULL;
    case RCV_SLVA: return s->is_ich9 ? &s->slave_address : NULL;
    case SLV_CMD: return s->is_ich9 ? &s->slave_command : NULL;
    default: return NULL;
    }
}

/* Of ICH9's 32 bytes a guest sees the one that moves, unless it asked for all. */
static uint8_t *block_byte(struct smbus *s)
{
    if (s->is_ich9 && !(s->aux_control & BUFFER_32))
        return &s->block[0];
    uint8_t *byte = &s->block[s->at];
    s->at = (s->at + 1) % SMBUS_BLOCK;
    return byte;
}

static uint8_t read_register(struct smbus *s, unsigned off)
{
    uint8_t v = 0;
    switch (off) {
    case HST_STS: /* the first reader has it for itself (20.2.1) */
        v = s->status;
        if (s->is_ich9)
            s->status |= INUSE;
        return v;
    case HST_CNT: /* and the block begins anew */ s->at = 0; return s->control;
    case HOST_BLOCK_DB: return *block_byte(s);
    case AUX_STS: return s->aux_status;
    case AUX_CTL: return s->aux_control;
    case SMLINK_PIN_CTL:
    case SMLINK_PIN_CTL + 1: return s->pins[off - SMLINK_PIN_CTL];
    default: return plain(s, off) ? *plain(s, off) : 0;
    }
}

static void write_status(struct smbus *s, uint8_t v)
{
    bool goes_on = s->status & v & BYTE_DONE && s->status & BUSY;
    s->status &= ~(v & ~BUSY);
    if (goes_on)
        show_byte(s);
}

static void write_control(struct smbus *s, uint8_t v)
{
    s->control = v & ~START & (s->is_ich9 ? 0xff : ~(LAST_BYTE | PEC_EN));
    if (v & KILL)
        end(s, FAILED);
    else if (v & START && s->enabled && !(s->status & BUSY))
        start(s);
}

static void write_register(struct smbus *s, unsigned off, uint8_t v)
{
    switch (off) {
    case HST_STS: write_status(s, v); break;
    case HST_CNT: write_control(s, v); break;
    case HOST_BLOCK_DB: *block_byte(s) = v; break;
    case AUX_STS: s->aux_status &= ~(v & CRC_ERROR); break;
    case AUX_CTL: s->aux_control = s->is_ich9 ? v & (1 | BUFFER_32) : 0; break;
    case SMLINK_PIN_CTL:
    case SMLINK_PIN_CTL + 1:
        if (s->is_ich9) /* the clock may be held low; nobody looks */
            s->pins[off - SMLINK_PIN_CTL] = (v & 4) | 2 | (v >> 2 & 1);
        break;
    case RCV_SLVA: v &= 0x7f; /* fall through */
    default:
        if (plain(s, off))
            *plain(s, off) = off == SLV_CMD ? v & 7 : v;
    }
    smbus_update(s);
}

static uint64_t ports_read(void *opaque, uint64_t off, unsigned size)
{
    struct smbus *s = opaque;
    device_lock(s->dev);
    uint8_t value = read_register(s, (unsigned)off);
    device_unlock(s->dev);
    return value;
}

static void ports_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct smbus *s = opaque;
    device_lock(s->dev);
    write_register(s, (unsigned)off, (uint8_t)value);
    device_unlock(s->dev);
}

static const struct mmio_ops ports_ops = { ports_read, ports_write, 1, 1, NULL };

/* ---- life ---------------------------------------------------------------------------------------------- */
void smbus_init(struct smbus *s, struct device *dev, bool is_ich9)
{
    s->dev = dev;
    s->is_ich9 = is_ich9;
    s->ports = mem_add_mmio(dev->vm, is_ich9 ? "ich9-smbus" : "piix4-smbus",
                            is_ich9 ? ICH9_SMBUS_SIZE : PIIX4_SMBUS_SIZE, &ports_ops, s);
}

void smbus_free(struct smbus *s)
{
    mem_free_region(s->ports);
}

void smbus_reset(struct smbus *s)
{
    s->status = s->control = s->command = s->address = s->data0 = s->data1 = s->pec = 0;
    s->aux_status = s->aux_control = s->slave_command = s->at = s->left = s->module = 0;
    s->slave_address = s->is_ich9 ? OWN_ADDRESS : 0;
    s->pins[0] = s->pins[1] = s->is_ich9 ? CLOCK_IS_HIGH : 0;
    s->last = false;
    memset(s->block, 0, sizeof(s->block));
    memset(s->offsets, 0, sizeof(s->offsets));
    smbus_update(s);
}

struct error *smbus_loaded(struct smbus *s)
{
    if (s->left && !s->modules_mib[s->module])
        return error_new("a block of a memory module that is not there");
    smbus_update(s);
    return NULL;
}

const struct field smbus_fields[19] = {
    FIELD(struct smbus, status),
    FIELD(struct smbus, control, .valid = 0xff & ~START),
    FIELD(struct smbus, command),
    FIELD(struct smbus, address),
    FIELD(struct smbus, data0),
    FIELD(struct smbus, data1),
    FIELD(struct smbus, pec),
    FIELD(struct smbus, aux_status, .valid = CRC_ERROR),
    FIELD(struct smbus, aux_control, .valid = 1 | BUFFER_32),
    FIELD(struct smbus, slave_address, .valid = 0x7f),
    FIELD(struct smbus, slave_command, .valid = 7),
    FIELD_ARRAY(struct smbus, pins, .valid = CLOCK_IS_HIGH),
    FIELD_RAW(struct smbus, block),
    FIELD(struct smbus, at, .max = SMBUS_BLOCK - 1),
    FIELD(struct smbus, left),
    FIELD(struct smbus, module, .max = SMBUS_N_MODULES - 1),
    FIELD(struct smbus, last),
    FIELD_RAW(struct smbus, offsets),
    DERIVED(struct smbus, modules_mib),
};
