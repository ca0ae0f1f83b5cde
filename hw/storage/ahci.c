/* ICH9 AHCI controller with disks and CD-ROM drives. Section numbers: Serial ATA AHCI specification 1.3.1; FIS
 * layouts: Serial ATA 3.0, 10.3. A command is started by the vCPU that rings PxCI; what the host cannot do at
 * once completes on the main loop. */
#include "block/block.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/pci.h"
#include "hw/storage/ata.h"
#include "hw/storage/ide.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_PORTS = 6, N_SLOTS = 32, REGS_SIZE = 0x1000, PORTS_AT = 0x100, PORT_STEP = 0x80 };
enum { /* 3.1 */
       CAP = 0x00,
       GHC = 0x04,
       HBA_IS = 0x08,
       PI = 0x0c,
       VS = 0x10,
};
#define CAP_VALUE \
    (UINT32_C(0xc0000000) | 2 << 20 | 1 << 18 | 1 << 24 | (N_SLOTS - 1) << 8 | (N_PORTS - 1))
#define GHC_AHCI (UINT32_C(1) << 31)
enum { GHC_RESET = 1 << 0, GHC_IE = 1 << 1, VERSION = 0x00010300 };
enum { /* 3.3 */
       PX_CLB = 0x00,
       PX_CLBU = 0x04,
       PX_FB = 0x08,
       PX_FBU = 0x0c,
       PX_IS = 0x10,
       PX_IE = 0x14,
       PX_CMD = 0x18,
       PX_TFD = 0x20,
       PX_SIG = 0x24,
       PX_SSTS = 0x28,
       PX_SCTL = 0x2c,
       PX_SERR = 0x30,
       PX_SACT = 0x34,
       PX_CI = 0x38,
};
enum {
    IS_D2H = 1 << 0,
    IS_PIO = 1 << 1,
    IS_SDB = 1 << 3,
    IS_BUS = 1 << 29,
    IS_TASK = 1 << 30
}; /* 3.3.5 */
#define IE_WRITABLE UINT32_C(0xfdc000ff)
enum { /* 3.3.7 */
       CMD_START = 1 << 0,
       CMD_SPIN_UP = 1 << 1,
       CMD_POWER = 1 << 2,
       CMD_OVERRIDE = 1 << 3,
       CMD_RECEIVE = 1 << 4,
       CMD_RECEIVING = 1 << 14,
       CMD_RUNNING = 1 << 15,
       CMD_ATAPI = 1 << 24,
       CMD_WRITABLE = CMD_START | CMD_RECEIVE | CMD_ATAPI,
};
enum { LINK_UP = 0x123, SCTL_DET = 15, SCTL_RESET = 1, NO_DRIVE_STATUS = 0x7f };
enum {
    FIS_PIO_AT = 0x20,
    FIS_D2H_AT = 0x40,
    FIS_SDB_AT = 0x58,
    D2H_SIZE = 20,
    SDB_SIZE = 8
}; /* 4.2.1 */
enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO = 0x5f, FIS_SDB = 0xa1, FIS_IS_COMMAND = 0x80 };
enum {
    HEADER_SIZE = 32,
    CDB_AT = 0x40,
    PRDT_AT = 0x80,
    PRD_SIZE = 16,
    MAX_PRD = 0x400000
}; /* 4.2.2 */

struct ahci;
struct ahci_port;

/* A command under way. */
struct ahci_command {
    struct blk_request req;
    struct ahci_port *port; /* NULL: the port was reset meanwhile */
    struct ahci *hba;
    unsigned slot;
    struct ata_task task;
    gpa header, table;
    uint32_t n_prds;
    struct iovec *iov;
};

struct ahci_port {
    struct ahci *hba;
    struct ata_drive drive;
    char serial[IDE_SERIAL_SIZE];

    uint64_t clb, fb;
    uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
    bool stuck;                            /* 6.2.2: an error stops the list until ST is cleared */
    struct ahci_command *running[N_SLOTS]; /* none while the VM stands */
};

struct ahci {
    struct device dev;
    struct pci_function fn;
    uint32_t ghc;
    struct ahci_port ports[N_PORTS];
};

static void port_run(struct ahci_port *p);

/* ---- interrupts: 3.1.3, 10.7 ------------------------------------------------------------------- */
static uint32_t pending_ports(const struct ahci *h)
{
    uint32_t pending = 0;
    for (unsigned i = 0; i < N_PORTS; i++)
        if (h->ports[i].is & h->ports[i].ie)
            pending |= 1u << i;
    return pending;
}

static void ahci_update(struct ahci *h)
{
    bool msi = h->fn.config[h->fn.msi_cap + 2] & 1;
    pci_set_intx(&h->fn, !msi && h->ghc & GHC_IE && pending_ports(h));
}

static void port_event(struct ahci_port *p, uint32_t event)
{
    struct ahci *h = p->hba;
    p->is |= event;
    if (h->ghc & GHC_IE && event & p->ie && !pci_msi_fire(&h->fn))
        ahci_update(h);
}

/* ---- received FISes ---------------------------------------------------------------------------- */
static void fis_store(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned n)
{
    if (p->cmd & CMD_RECEIVE && !mem_write(p->hba->dev.vm, p->fb + at, fis, n))
        device_broken(&p->hba->dev, "received FISes would lie outside memory");
}

static void set_tfd(struct ahci_port *p, uint8_t status, uint8_t error)
{
    p->tfd = status | (uint32_t)error << 8;
}

static void fis_fill(uint8_t *fis, uint8_t type, const struct ata_task *t)
{
    memset(fis, 0, D2H_SIZE);
    fis[0] = type;
    fis[1] = 1 << 6; /* interrupt */
    fis[2] = t->status;
    fis[3] = t->error;
    memcpy(fis + 4, t->fis + 4, 7); /* address and device as the command left them */
    fis[11] = 0;
    fis[12] = t->count;
}

static void send_d2h(struct ahci_port *p, const struct ata_task *t)
{
    uint8_t fis[D2H_SIZE];
    fis_fill(fis, FIS_D2H, t);
    set_tfd(p, t->status, t->error);
    fis_store(p, FIS_D2H_AT, fis, sizeof(fis));
    port_event(p, IS_D2H | (t->status & ATA_ERR ? IS_TASK : 0));
}

static void send_pio_setup(struct ahci_port *p, const struct ata_task *t, uint32_t n)
{
    uint8_t fis[D2H_SIZE];
    fis_fill(fis, FIS_PIO, t);
    fis[1] = 1 << 6 | (t->work == ATA_WRITE ? 0 : 1 << 5);
    fis[2] = ATA_READY | ATA_SEEK | ATA_DRQ;
    fis[15] = t->status;
    store_le(fis + 16, 2, MIN(n, 0xffff));
    fis_store(p, FIS_PIO_AT, fis, sizeof(fis));
    port_event(p, IS_PIO);
}

/* Set device bits: queued commands that are done. */
static void send_sdb(struct ahci_port *p, const struct ata_task *t, uint32_t done)
{
    uint8_t fis[SDB_SIZE] = { FIS_SDB, 1 << 6, t->status & 0x77, t->error };
    store_le(fis + 4, 4, done);
    p->sact &= ~done;
    set_tfd(p, t->status, t->error);
    fis_store(p, FIS_SDB_AT, fis, sizeof(fis));
    port_event(p, IS_SDB | (t->status & ATA_ERR ? IS_TASK : 0));
}

/* What a drive sends after a reset: its signature. */
static void port_signature(struct ahci_port *p, bool tell)
{
    bool present = p->drive.present;
    struct ata_task t = { .status = p->drive.is_cd ? ATA_SEEK : ATA_READY | ATA_SEEK,
                          .error = 1,
                          .count = 1 };
    p->sig = ata_signature(&p->drive);
    store_le(t.fis + 4, 4, p->sig >> 8);
    p->ssts = present ? LINK_UP : 0;
    set_tfd(p, present ? t.status : NO_DRIVE_STATUS, present ? t.error : 0);
    if (present && tell)
        send_d2h(p, &t);
}

/* Commands under way finish without anybody noticing. */
static void port_forget(struct ahci_port *p)
{
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (p->running[i])
            p->running[i]->port = NULL;
        p->running[i] = NULL;
    }
    p->ci = p->sact = 0;
    p->stuck = false;
}

/* 10.4.2 */
static void port_reset(struct ahci_port *p, bool tell)
{
    port_forget(p);
    if (p->drive.present)
        ata_drive_reset(&p->drive);
    p->serr = 0;
    port_signature(p, tell);
}

/* ---- data -------------------------------------------------------------------------------------- */
struct prd {
    gpa at;
    uint32_t n;
};

static bool prd_fetch(const struct ahci_command *c, uint32_t i, struct prd *out)
{
    uint8_t raw[PRD_SIZE];
    if (i >= c->n_prds ||
        !mem_read(c->hba->dev.vm, c->table + PRDT_AT + (gpa)i * PRD_SIZE, raw, sizeof(raw)))
        return false;
    *out = (struct prd){ load_le(raw, 8) & ~UINT64_C(1),
                         (uint32_t)(load_le(raw + 12, 4) & (MAX_PRD - 1)) + 1 };
    return true;
}

/* The guest's memory behind a transfer; false if it is too little or none. */
static bool command_pin(struct ahci_command *c)
{
    uint64_t left = c->task.length;
    unsigned used = 0, room = 0;
    for (uint32_t i = 0; left; i++) {
        struct prd prd;
        if (!prd_fetch(c, i, &prd))
            return false;
        uint64_t n = MIN(prd.n, left);
        if (room - used < 4) {
            room = room ? 2 * room : 64;
            c->iov = xrealloc(c->iov, room * sizeof(*c->iov));
        }
        unsigned pieces = room - used;
        if (!mem_pin(c->hba->dev.vm, prd.at, n, c->task.work == ATA_READ, c->iov + used, &pieces))
            return false;
        used += pieces;
        left -= n;
    }
    c->req.iov = c->iov;
    c->req.n_iov = used;
    return true;
}

/* Data of the drive itself into the guest's memory. */
static bool command_copy(struct ahci_command *c)
{
    uint32_t at = 0;
    for (uint32_t i = 0; at < c->task.n_data; i++) {
        struct prd prd;
        if (!prd_fetch(c, i, &prd))
            return false;
        uint32_t n = MIN(prd.n, c->task.n_data - at);
        if (!mem_write(c->hba->dev.vm, prd.at, c->task.data + at, n))
            return false;
        at += n;
    }
    return true;
}

static void command_mark_written(struct ahci_command *c)
{
    uint64_t left = c->task.length;
    struct prd prd;
    for (uint32_t i = 0; left && prd_fetch(c, i, &prd); i++) {
        mem_mark_written(c->hba->dev.vm, prd.at, MIN(prd.n, left));
        left -= MIN(prd.n, left);
    }
}

/* ---- commands: 5.5, 5.6 ------------------------------------------------------------------------ */
/* Lock held. Frees the command. */
static void command_end(struct ahci_command *c, uint32_t n_done)
{
    struct ahci_port *p = c->port;
    struct ata_task *t = &c->task;
    uint8_t count[4];
    uint32_t bit = 1u << c->slot;
    p->running[c->slot] = NULL;
    store_le(count, 4, n_done);
    mem_write(p->hba->dev.vm, c->header + 4, count, 4);
    if (t->pio && !(t->status & ATA_ERR))
        send_pio_setup(p, t, n_done);
    if (t->status & ATA_ERR)
        p->stuck = true; /* CI keeps its bit, to say which one it was */
    else
        p->ci &= ~bit;
    if (t->queued)
        send_sdb(p, t, t->status & ATA_ERR ? 0 : 1u << t->tag);
    else
        send_d2h(p, t);
    free(c->iov);
    free(c);
}

static void command_finish_io(struct ahci_command *c, int result)
{
    if (c->task.work == ATA_READ)
        command_mark_written(c);
    ata_finish(&c->port->drive, &c->task, result);
    command_end(c, result ? 0 : (uint32_t)c->task.length);
}

/* On the main loop. */
static void command_done(struct blk_request *req, int result)
{
    struct ahci_command *c = container_of(req, struct ahci_command, req);
    struct ahci *h = c->hba;
    device_lock(&h->dev);
    struct ahci_port *p = c->port;
    if (p) {
        command_finish_io(c, result);
        port_run(p);
    } else {
        free(c->iov);
        free(c);
    }
    device_unlock(&h->dev);
}

static void command_fail(struct ahci_command *c)
{
    device_broken(&c->hba->dev, "the buffers of command %#x do not hold its data", c->task.fis[2]);
    c->task.status = ATA_READY | ATA_SEEK | ATA_ERR;
    c->task.error = ATA_ABORTED;
    c->port->is |= IS_BUS;
    command_end(c, 0);
}

static void command_start(struct ahci_command *c)
{
    struct ata_drive *d = &c->port->drive;
    static const enum blk_op ops[] = {
        [ATA_READ] = BLK_READ, [ATA_WRITE] = BLK_WRITE, [ATA_FLUSH] = BLK_FLUSH
    };
    ata_command(d, &c->task);
    switch (c->task.work) {
    case ATA_DONE: command_end(c, 0); return;
    case ATA_DATA_IN:
        if (command_copy(c))
            command_end(c, c->task.n_data);
        else
            command_fail(c);
        return;
    default: break;
    }
    if (c->task.work != ATA_FLUSH && !command_pin(c)) {
        command_fail(c);
        return;
    }
    c->req.op = ops[c->task.work];
    c->req.offset = c->task.offset;
    c->req.length = c->task.length;
    c->req.fua = c->task.fua;
    c->req.done = command_done;
    if (blk_try(d->blk, &c->req)) {
        command_finish_io(c, c->req.result);
        return;
    }
    if (!c->task.queued)
        set_tfd(c->port, ATA_BUSY, 0);
    blk_submit(d->blk, &c->req);
}

/* A register FIS that only carries the control byte: software reset, 10.4.1. */
static void port_control(struct ahci_port *p, unsigned slot, const uint8_t *fis)
{
    p->ci &= ~(1u << slot);
    if (fis[15] & 1 << 2) {
        set_tfd(p, ATA_BUSY, 0);
    } else {
        uint32_t others = p->ci;
        port_reset(p, true);
        p->ci = others;
    }
}

static void slot_start(struct ahci_port *p, unsigned slot)
{
    struct vm *vm = p->hba->dev.vm;
    uint8_t header[HEADER_SIZE];
    struct ahci_command *c = xcalloc(1, sizeof(*c));
    c->hba = p->hba;
    c->port = p;
    c->slot = slot;
    c->header = p->clb + slot * HEADER_SIZE;
    bool ok = mem_read(vm, c->header, header, sizeof(header));
    c->table = load_le(header + 8, 8) & ~UINT64_C(0x7f);
    c->n_prds = (uint32_t)load_le(header + 2, 2);
    ok = ok && mem_read(vm, c->table, c->task.fis, ATA_FIS_SIZE) &&
         mem_read(vm, c->table + CDB_AT, c->task.cdb, ATAPI_CDB_SIZE);
    if (!ok || c->task.fis[0] != FIS_H2D) {
        device_broken(&p->hba->dev, "command slot %u holds no command", slot);
        free(c);
        p->stuck = true;
        port_event(p, IS_BUS);
    } else if (!(c->task.fis[1] & FIS_IS_COMMAND)) {
        port_control(p, slot, c->task.fis);
        free(c);
    } else {
        p->running[slot] = c;
        command_start(c);
    }
}

/* Start what the list holds: queued commands side by side, others one at a time. Lock held. */
static void port_run(struct ahci_port *p)
{
    for (unsigned slot = 0; slot < N_SLOTS; slot++) {
        if (!(p->cmd & CMD_START) || p->stuck || !p->drive.present)
            return;
        bool queued = p->sact >> slot & 1;
        if (!(p->ci >> slot & 1) || p->running[slot])
            continue;
        for (unsigned i = 0; !queued && i < N_SLOTS; i++)
            if (p->running[i])
                return;
        slot_start(p, slot);
    }
}

/* ---- registers --------------------------------------------------------------------------------- */
static void write_cmd(struct ahci_port *p, uint32_t value)
{
    p->cmd = (value & CMD_WRITABLE) | CMD_SPIN_UP | CMD_POWER |
             (value & CMD_START ? CMD_RUNNING : 0) | (value & CMD_RECEIVE ? CMD_RECEIVING : 0);
    if (value & CMD_OVERRIDE)
        p->tfd &= ~(uint32_t)(ATA_BUSY | ATA_DRQ);
    if (!(value & CMD_START))
        port_forget(p); /* 3.3.14: the list is dropped */
}

static void write_sctl(struct ahci_port *p, uint32_t value)
{
    bool was_reset = (p->sctl & SCTL_DET) == SCTL_RESET;
    p->sctl = value & 0xfff;
    if ((value & SCTL_DET) == SCTL_RESET) {
        port_forget(p);
        p->ssts = 0;
    } else if (was_reset) {
        port_reset(p, true);
    }
}

static uint32_t port_read(const struct ahci_port *p, unsigned at)
{
    switch (at) {
    case PX_CLB: return (uint32_t)p->clb;
    case PX_CLBU: return p->clb >> 32;
    case PX_FB: return (uint32_t)p->fb;
    case PX_FBU: return p->fb >> 32;
    case PX_IS: return p->is;
    case PX_IE: return p->ie;
    case PX_CMD: return p->cmd;
    case PX_TFD: return p->tfd;
    case PX_SIG: return p->sig;
    case PX_SSTS: return p->ssts;
    case PX_SCTL: return p->sctl;
    case PX_SERR: return p->serr;
    case PX_SACT: return p->sact;
    case PX_CI: return p->ci;
    default: return 0;
    }
}

static uint64_t with_half(uint64_t whole, bool high, uint32_t value)
{
    return high ? (uint32_t)whole | (uint64_t)value << 32 : (whole & ~UINT64_C(0xffffffff)) | value;
}

static void port_write(struct ahci_port *p, unsigned at, uint32_t value)
{
    switch (at) {
    case PX_CLB:
    case PX_CLBU: p->clb = with_half(p->clb, at == PX_CLBU, value) & ~UINT64_C(0x3ff); break;
    case PX_FB:
    case PX_FBU: p->fb = with_half(p->fb, at == PX_FBU, value) & ~UINT64_C(0xff); break;
    case PX_IS: p->is &= ~value; break;
    case PX_IE: p->ie = value & IE_WRITABLE; break;
    case PX_CMD: write_cmd(p, value); break;
    case PX_SCTL: write_sctl(p, value); break;
    case PX_SERR: p->serr &= ~value; break;
    case PX_SACT: p->sact |= p->cmd & CMD_START ? value : 0; break;
    case PX_CI: p->ci |= p->cmd & CMD_START ? value : 0; break;
    default: break;
    }
    port_run(p);
}

/* 10.4.3 */
static void hba_reset(struct ahci *h)
{
    h->ghc = GHC_AHCI;
    for (unsigned i = 0; i < N_PORTS; i++) {
        struct ahci_port *p = &h->ports[i];
        p->clb = p->fb = 0;
        p->is = p->ie = p->sctl = 0;
        p->cmd = CMD_SPIN_UP | CMD_POWER;
        port_reset(p, false);
    }
}

static uint64_t ahci_read(void *opaque, uint64_t off, unsigned size)
{
    struct ahci *h = opaque;
    uint64_t port = (off - PORTS_AT) / PORT_STEP;
    uint32_t value = 0;
    device_lock(&h->dev);
    if (off >= PORTS_AT)
        value = port < N_PORTS ? port_read(&h->ports[port], (off - PORTS_AT) % PORT_STEP) : 0;
    else if (off == CAP)
        value = CAP_VALUE;
    else if (off == GHC)
        value = h->ghc;
    else if (off == HBA_IS)
        value = pending_ports(h);
    else if (off == PI)
        value = (1 << N_PORTS) - 1;
    else if (off == VS)
        value = VERSION;
    device_unlock(&h->dev);
    return value;
}

static void ahci_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct ahci *h = opaque;
    uint64_t port = (off - PORTS_AT) / PORT_STEP;
    device_lock(&h->dev);
    if (off >= PORTS_AT) {
        if (port < N_PORTS)
            port_write(&h->ports[port], (off - PORTS_AT) % PORT_STEP, (uint32_t)value);
    } else if (off == GHC) {
        if (value & GHC_RESET)
            hba_reset(h);
        else
            h->ghc = GHC_AHCI | (value & GHC_IE);
    }
    ahci_update(h);
    device_unlock(&h->dev);
}

static const struct mmio_ops ahci_ops = { ahci_read, ahci_write, 4, 4, NULL };

/* ---- life -------------------------------------------------------------------------------------- */
/* A stopped VM has nothing under way. */
static void ahci_runs(void *opaque, bool running)
{
    struct ahci *h = opaque;
    for (unsigned i = 0; !running && i < N_PORTS; i++)
        if (h->ports[i].drive.blk)
            blk_drain(h->ports[i].drive.blk);
}

static struct error *ahci_realize(struct device *dev)
{
    struct ahci *h = (struct ahci *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x2922,
        .revision = 2,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = 0x010601,
        .interrupt_pin = 1,
    };
    for (unsigned i = 0; i < N_PORTS; i++)
        h->ports[i].hba = h;
    struct error *err = pci_realize(&h->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    pci_add_msi(&h->fn);
    pci_add_bar(&h->fn, 5, PCI_BAR_MEM32, mem_add_mmio(dev->vm, "ahci", REGS_SIZE, &ahci_ops, h),
                REGS_SIZE);
    vm_on_run(dev->vm, ahci_runs, h);
    return NULL;
}

static void ahci_unrealize(struct device *dev)
{
    struct ahci *h = (struct ahci *)dev;
    vm_forget(dev->vm, h);
    ahci_runs(h, false);
    pci_unrealize(&h->fn);
}

static void ahci_reset(struct device *dev)
{
    struct ahci *h = (struct ahci *)dev;
    pci_reset(&h->fn);
    hba_reset(h);
}

static struct error *ahci_loaded(struct device *dev)
{
    struct ahci *h = (struct ahci *)dev;
    pci_loaded(&h->fn);
    return NULL;
}

static struct ata_drive *drive_at(struct device *dev, unsigned bus, unsigned unit)
{
    return &((struct ahci *)dev)->ports[bus].drive;
}

static char *serial_at(struct device *dev, unsigned bus, unsigned unit)
{
    return ((struct ahci *)dev)->ports[bus].serial;
}

static void plugged(struct device *dev, unsigned bus, unsigned unit)
{
    port_reset(&((struct ahci *)dev)->ports[bus], false);
}

const struct ide_controller ahci_controller = { N_PORTS, 1, drive_at, serial_at, plugged };

static const struct prop ahci_props[] = { PCI_PROPS(struct ahci, fn) };

static const struct field port_state[] = {
    FIELD_SUB(struct ahci_port, drive, ata_drive_fields, 1),
    FIELD(struct ahci_port, clb),
    FIELD(struct ahci_port, fb),
    FIELD(struct ahci_port, is),
    FIELD(struct ahci_port, ie, .valid = IE_WRITABLE),
    FIELD(struct ahci_port, cmd,
          .valid = CMD_WRITABLE | CMD_SPIN_UP | CMD_POWER | CMD_RUNNING | CMD_RECEIVING),
    FIELD(struct ahci_port, tfd, .max = 0xffff),
    FIELD(struct ahci_port, sig),
    FIELD(struct ahci_port, ssts),
    FIELD(struct ahci_port, sctl, .max = 0xfff),
    FIELD(struct ahci_port, serr),
    FIELD(struct ahci_port, sact),
    FIELD(struct ahci_port, ci),
    FIELD(struct ahci_port, stuck),
};
static const struct field ahci_state[] = {
    FIELD_SUB(struct ahci, fn, pci_function_fields, 1),
    FIELD(struct ahci, ghc, .valid = GHC_AHCI | GHC_IE),
    FIELD_SUB(struct ahci, ports, port_state, N_PORTS),
};

const struct device_class ich9_ahci_class = {
    .name = "ich9-ahci",
    .desc = "ICH9 AHCI controller, six ports",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct ahci),
    .props = TABLE(ahci_props),
    .state = TABLE(ahci_state),
    .realize = ahci_realize,
    .unrealize = ahci_unrealize,
    .reset = ahci_reset,
    .loaded = ahci_loaded,
};
