/* NOR flash with the Common Flash Interface (JEDEC JESD68.01) and Intel's command set (28FxxxJ3 data
 * sheet, section numbers "J3"). Two 16-bit chips answer side by side in each 32-bit word, so a
 * command is written to both and every answer appears twice; or, on a PC, there is one chip of bytes. Operations finish at once.
 *
 * In array mode the guest reads memory without leaving the engine; only writes come here. An image
 * behind the bank is written back block by block while the guest runs on. */
#include "hw/storage/cfi_flash.h"

#include "block/block.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "hw/place.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    MAX_BLOCKS = 4096,
    SMALLEST_BLOCK = 4096,
    WRITE_BUFFER = 4096, /* of both chips together */
    QUERY_SIZE = 0x40,
};

enum mode { /* what a read returns, and what the next write means (J3 table 10) */
            MODE_ARRAY,
            MODE_STATUS,
            MODE_ID,
            MODE_QUERY,
            MODE_PROGRAM,        /* next: the word */
            MODE_ERASE,          /* next: confirm */
            MODE_LOCK,           /* next: which */
            MODE_BUFFER_COUNT,   /* next: words - 1 */
            MODE_BUFFER_DATA,    /* next: `left` words */
            MODE_BUFFER_CONFIRM, /* next: confirm */
            N_MODES
};

enum { /* commands, J3 table 10 */
       CMD_PROGRAM_ALT = 0x10,
       CMD_ERASE = 0x20,
       CMD_PROGRAM = 0x40,
       CMD_CLEAR_STATUS = 0x50,
       CMD_LOCK = 0x60,
       CMD_STATUS = 0x70,
       CMD_ID = 0x90,
       CMD_QUERY = 0x98,
       CMD_CONFIRM = 0xd0,
       CMD_BUFFER = 0xe8,
};

enum { /* status register, J3 11 */
       STATUS_READY = 1 << 7,
       STATUS_ERASE_FAILED = 1 << 5,
       STATUS_PROGRAM_FAILED = 1 << 4,
       STATUS_LOCKED = 1 << 1,
       STATUS_SEQUENCE = STATUS_ERASE_FAILED | STATUS_PROGRAM_FAILED,
};

struct flash {
    struct device dev;
    uint64_t addr, size, block;
    uint32_t width; /* bytes that all chips together answer with: 4 or 1 */
    struct blk *drive;
    char *name;
    bool secure; /* only CPUs in system management mode give commands, and see their answers */
    struct mem_region *mem;
    uint8_t *bytes; /* behind `mem` */

    uint32_t mode;
    uint8_t status;
    uint32_t left, buffer_at;     /* of a buffered write: words to come, where the buffer goes */
    uint8_t buffer[WRITE_BUFFER]; /* 0xff where nothing was written, which programs nothing */

    bool mapped_as_array;              /* derived: what mem_set_mmio was last told */
    uint64_t changed_from, changed_to; /* contents that engines were not told about yet */

    /* Write-back, one block at a time; under dev.lock but for write_copy, which is the request's. */
    bool dirty[MAX_BLOCKS], writing;
    struct blk_request request;
    struct iovec iov;
    uint8_t *write_copy;
};

/* ---- the image -------------------------------------------------------------------------------- */
static uint64_t image_size(const struct flash *f)
{
    return f->drive ? MIN(blk_size(f->drive), f->size) : 0;
}

/* Start writing one dirty block if none is under way. Lock held. */
static void write_back(struct flash *f)
{
    for (uint32_t b = 0; !f->writing && b < (f->size + f->block - 1) / f->block; b++) {
        if (!f->dirty[b])
            continue;
        uint64_t at = (uint64_t)b * f->block;
        f->dirty[b] = false;
        f->writing = true;
        f->iov = (struct iovec){ f->write_copy, MIN(f->block, image_size(f) - at) };
        memcpy(f->write_copy, f->bytes + at, f->iov.iov_len);
        f->request.op = BLK_WRITE;
        f->request.offset = at;
        f->request.length = f->iov.iov_len;
        f->request.iov = &f->iov;
        f->request.n_iov = 1;
        blk_submit(f->drive, &f->request);
    }
}

static void write_back_done(struct blk_request *req, int result)
{
    struct flash *f = container_of(req, struct flash, request);
    device_lock(&f->dev);
    f->writing = false;
    if (result < 0)
        f->status |= STATUS_PROGRAM_FAILED; /* the host could not keep it */
    write_back(f);
    device_unlock(&f->dev);
}

static void load_done(struct blk_request *req, int result)
{
    req->result = result;
}

/* Fill the memory from the image, leaving pages of zeros untouched. */
static struct error *load_image(struct flash *f)
{
    static const uint8_t zeros[4096];
    for (uint64_t at = 0; at < image_size(f); at += f->block) {
        f->iov = (struct iovec){ f->write_copy, MIN(f->block, image_size(f) - at) };
        f->request = (struct blk_request){ .op = BLK_READ,
                                           .offset = at,
                                           .length = f->iov.iov_len,
                                           .iov = &f->iov,
                                           .n_iov = 1,
                                           .done = load_done };
        if (!blk_try(f->drive, &f->request)) {
            blk_submit(f->drive, &f->request);
            blk_drain(f->drive);
        }
        if (f->request.result < 0)
            return error_new("cannot read the flash image at byte %" PRIu64 ": %s", at,
                             strerror(-f->request.result));
        for (size_t p = 0; p < f->iov.iov_len; p += sizeof(zeros)) {
            size_t n = MIN(sizeof(zeros), f->iov.iov_len - p);
            if (memcmp(f->write_copy + p, zeros, n) != 0)
                memcpy(f->bytes + at + p, f->write_copy + p, n);
        }
    }
    return NULL;
}

/* ---- contents --------------------------------------------------------------------------------- */
static bool may_change(struct flash *f, uint64_t at, uint64_t n)
{
    if (!f->drive || (!blk_readonly(f->drive) && at + n <= image_size(f)))
        return true;
    f->status |= STATUS_LOCKED;
    return false;
}

static void contents_changed(struct flash *f, uint64_t at, uint64_t n)
{
    if (f->changed_from == f->changed_to) {
        f->changed_from = at;
        f->changed_to = at + n;
    }
    f->changed_from = MIN(f->changed_from, at);
    f->changed_to = MAX(f->changed_to, at + n);
    if (f->drive) {
        f->dirty[at / f->block] = f->dirty[(at + n - 1) / f->block] = true;
        write_back(f);
    }
}

/* Programming turns ones into zeros, never back. */
static void program(struct flash *f, uint64_t at, const uint8_t *data, uint64_t n)
{
    f->status |= STATUS_READY;
    if (!may_change(f, at, n)) {
        f->status |= STATUS_PROGRAM_FAILED;
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        f->bytes[at + i] &= data[i];
    contents_changed(f, at, n);
}

static void erase(struct flash *f, uint64_t at)
{
    f->status |= STATUS_READY;
    at = align_down(at, f->block);
    uint64_t n = MIN(f->block, f->size - at);
    if (f->drive)
        n = MIN(n, image_size(f) > at ? image_size(f) - at : 0);
    if (n == 0 || !may_change(f, at, n)) {
        f->status |= STATUS_ERASE_FAILED | STATUS_LOCKED;
        return;
    }
    memset(f->bytes + at, 0xff, n);
    contents_changed(f, at, n);
}

/* ---- commands ------------------------------------------------------------------------------- */
static enum mode first_cycle(struct flash *f, uint8_t command)
{
    switch (command) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT: return MODE_PROGRAM;
    case CMD_ERASE: return MODE_ERASE;
    case CMD_LOCK: return MODE_LOCK;
    case CMD_STATUS: return MODE_STATUS;
    case CMD_ID: return MODE_ID;
    case CMD_QUERY: return MODE_QUERY;
    case CMD_BUFFER: return MODE_BUFFER_COUNT;
    case CMD_CLEAR_STATUS:
        /* QEMU's chip of a PC clears all of it, and OVMF tells flash by that. */
        f->status = f->width == 4 ? STATUS_READY : 0;
        return MODE_STATUS;
    default: return MODE_ARRAY; /* 0xff, and what probes for other command sets write */
    }
}

static enum mode sequence_error(struct flash *f)
{
    f->status |= STATUS_SEQUENCE;
    return MODE_STATUS;
}

static enum mode buffer_word(struct flash *f, uint64_t off, unsigned size, uint64_t value)
{
    if (f->buffer_at == UINT32_MAX)
        f->buffer_at = (uint32_t)align_down(off, WRITE_BUFFER);
    if (off < f->buffer_at || off + size > f->buffer_at + (uint64_t)WRITE_BUFFER)
        return sequence_error(f);
    store_le(f->buffer + (off - f->buffer_at), size, value);
    return --f->left ? MODE_BUFFER_DATA : MODE_BUFFER_CONFIRM;
}

static enum mode next_mode(struct flash *f, uint64_t off, unsigned size, uint64_t value)
{
    uint8_t command = (uint8_t)value;
    uint8_t word[4];
    switch ((enum mode)f->mode) {
    case MODE_PROGRAM:
        store_le(word, size, value);
        program(f, off, word, size);
        return MODE_STATUS;
    case MODE_ERASE:
        if (command != CMD_CONFIRM)
            return sequence_error(f);
        erase(f, off);
        return MODE_STATUS;
    case MODE_LOCK: return command == 0xff ? MODE_ARRAY : MODE_STATUS; /* locks do nothing */
    case MODE_BUFFER_COUNT:
        if ((value & 0xffff) >= WRITE_BUFFER / 4)
            return sequence_error(f);
        f->left = (value & 0xffff) + 1;
        f->buffer_at = UINT32_MAX;
        memset(f->buffer, 0xff, sizeof(f->buffer));
        return MODE_BUFFER_DATA;
    case MODE_BUFFER_DATA: return buffer_word(f, off, size, value);
    case MODE_BUFFER_CONFIRM:
        if (command != CMD_CONFIRM)
            return sequence_error(f);
        program(f, f->buffer_at, f->buffer, MIN(WRITE_BUFFER, f->size - f->buffer_at));
        return MODE_STATUS;
    default: return first_cycle(f, command);
    }
}

/* The query structure of one chip (JESD68.01 4; J3 appendix A). */
static uint8_t query(const struct flash *f, uint64_t word)
{
    unsigned chips = f->width == 4 ? 2 : 1;
    uint64_t chip = f->size / chips;
    unsigned blocks = (unsigned)(f->size / f->block) - 1;
    unsigned step = (unsigned)(f->block / chips / 256);
    const uint8_t table[QUERY_SIZE] = {
        [0x10] = 'Q',
        'R',
        'Y',
        [0x13] = 0x01,
        0x00,
        0x31,
        0x00, /* Intel's command set; its table */
        [0x1b] = 0x45,
        0x55, /* Vcc 4.5 V to 5.5 V */
        [0x1f] = 7,
        7,
        10,
        0,
        4,
        4,
        4,
        0, /* timeouts, powers of two */
        [0x27] = (uint8_t)(64 - __builtin_clzll(chip - 1)),
        [0x28] = f->width == 4 ? 2 : 0,
        0, /* x8 or x16; x8 */
        [0x2a] = f->width == 4 ? 11 : 0,
        0,          /* write buffer of 2 KiB; none */
        [0x2c] = 1, /* one region: blocks - 1, size / 256 */
        [0x2d] = (uint8_t)blocks,
        (uint8_t)(blocks >> 8),
        (uint8_t)step,
        (uint8_t)(step >> 8),
        [0x31] = 'P',
        'R',
        'I',
        '1',
        '0',
        [0x3f] = 1, /* protection registers */
    };
    return word < QUERY_SIZE ? table[word] : 0;
}

/* What a chip says at its address `word` outside array mode. */
static uint8_t chip_answer(const struct flash *f, uint64_t word)
{
    static const uint8_t ids[] = { 0x89, 0x18 }; /* manufacturer, device; then: not locked */
    if (f->mode == MODE_ID)
        return (word & 0xff) < ARRAY_LEN(ids) ? ids[word & 0xff] : 0;
    return f->mode == MODE_QUERY ? query(f, word) : f->status;
}

static bool may_command(const struct flash *f)
{
    const struct vcpu *cpu = f->secure ? vcpu_current(f->dev.vm) : NULL;
    return !f->secure || (cpu && cpu->in_smm);
}

static uint64_t flash_read(void *opaque, uint64_t off, unsigned size)
{
    struct flash *f = opaque;
    uint64_t value = 0;
    bool array = !may_command(f);
    device_lock(&f->dev);
    if (array || f->mode == MODE_ARRAY) {
        value = load_le(f->bytes + off, size);
    } else if (f->width == 4) {
        uint32_t answer = chip_answer(f, off / 4);
        value = (answer | answer << 16) >> off % 4 * 8;
    } else {
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)chip_answer(f, off + i) << 8 * i;
    }
    device_unlock(&f->dev);
    return value;
}

static const struct mmio_ops flash_ops;

/* Make the physical map follow the mode. The map changes without the lock, so another vCPU may have
 * changed the mode meanwhile: look again. */
static void follow_mode(void *opaque)
{
    struct flash *f = opaque;
    for (;;) {
        device_lock(&f->dev);
        bool array = f->mode == MODE_ARRAY;
        bool done = array == f->mapped_as_array;
        uint64_t from = f->changed_from, n = f->changed_to - from;
        f->mapped_as_array = array;
        if (array)
            f->changed_from = f->changed_to = 0;
        device_unlock(&f->dev);
        if (done)
            return;
        mem_set_mmio(f->mem, &flash_ops, f, !array);
        if (array && n)
            mem_mark_written(f->dev.vm, f->addr + from, n);
    }
}

static void flash_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct flash *f = opaque;
    if (!may_command(f)) {
        device_broken(&f->dev, "a write outside system management mode");
        return;
    }
    device_lock(&f->dev);
    f->mode = next_mode(f, off, size, value);
    device_unlock(&f->dev);
    follow_mode(f);
}

static const struct mmio_ops flash_ops = { flash_read, flash_write, 1, 4 };

struct mem_region *cfi_flash_region(struct device *dev)
{
    return ((struct flash *)dev)->mem;
}

uint64_t cfi_flash_size(struct device *dev)
{
    return ((struct flash *)dev)->size;
}

void cfi_flash_map(struct device *dev, gpa at)
{
    struct flash *f = (struct flash *)dev;
    f->addr = at;
    mem_map(f->mem, at, 0);
}

bool cfi_flash_has_image(struct device *dev)
{
    return ((struct flash *)dev)->drive != NULL;
}

void cfi_flash_follow(struct device *dev)
{
    follow_mode(dev);
}

static struct error *flash_realize(struct device *dev)
{
    struct flash *f = (struct flash *)dev;
    if (f->block & (f->block - 1) || (f->width != 1 && f->width != 4))
        return error_new("flash: blocks are a power of two, the width is 1 or 4");
    if (!f->size && f->drive) {
        f->size = blk_size(f->drive);
        if (f->size % f->block)
            return error_new("an image of %" PRIu64 " bytes; a multiple of %" PRIu64 " is expected",
                             f->size, f->block);
    }
    if (!f->size || f->size % f->block || f->size / f->block > MAX_BLOCKS)
        return error_new("flash size %" PRIu64 " is not a multiple of its blocks of %" PRIu64
                         " bytes, 1 to %d of them",
                         f->size, f->block, MAX_BLOCKS);
    if (f->width == 4 && f->size & (f->size - 1))
        return error_new("flash size %" PRIu64 " is not a power of two", f->size);
    if (f->drive && blk_size(f->drive) > f->size)
        return error_new("the image has %" PRIu64 " bytes, the flash only %" PRIu64,
                         blk_size(f->drive), f->size);
    struct error *err = mem_add_ram(dev->vm, f->name, f->size, true, &f->mem);
    if (err)
        return err;
    f->bytes = mem_region_ram(f->mem)->host;
    if (f->drive) {
        f->write_copy = xmalloc(f->block);
        err = load_image(f);
        if (err) {
            free(f->write_copy);
            mem_free_region(f->mem);
            return err;
        }
        f->request.done = write_back_done;
    }
    f->mapped_as_array = true;
    mem_set_mmio(f->mem, &flash_ops, f, false);
    place_region(f->mem, f->addr);
    return NULL;
}

static void flash_unrealize(struct device *dev)
{
    struct flash *f = (struct flash *)dev;
    loop_sync(dev->vm->loop);
    if (f->drive)
        blk_drain(f->drive); /* a completion starts the next block: all are written */
    mem_free_region(f->mem);
    free(f->write_copy);
}

/* The map is the board's to mend (cfi_flash_follow): a read in the wrong map is right, only slow. */
static void flash_reset(struct device *dev)
{
    struct flash *f = (struct flash *)dev;
    f->mode = MODE_ARRAY;
    f->status = STATUS_READY;
    f->left = f->buffer_at = 0;
    memset(f->buffer, 0xff, sizeof(f->buffer));
}

static struct error *flash_loaded(struct device *dev)
{
    struct flash *f = (struct flash *)dev;
    if (f->buffer_at != UINT32_MAX && (f->buffer_at >= f->size || f->buffer_at % WRITE_BUFFER))
        return error_new("cfi.pflash01: write buffer at %#x", f->buffer_at);
    if ((f->mode == MODE_BUFFER_DATA && f->left == 0) ||
        (f->mode == MODE_BUFFER_CONFIRM && f->buffer_at == UINT32_MAX))
        return error_new("cfi.pflash01: buffered write without data");
    loop_post(dev->vm->loop, follow_mode, f);
    return NULL;
}

static const struct prop flash_props[] = {
    ADDR_PROP(struct flash),
    PROP(struct flash, size, "size", PROP_SIZE, .def = "32M", .help = "0: the image's"),
    PROP(struct flash, block, "block", PROP_SIZE, .def = "256K", .min = SMALLEST_BLOCK, .max = MIB,
         .help = "what is erased at once"),
    PROP(struct flash, width, "width", PROP_UINT, .def = "4", .min = 1, .max = 4),
    PROP(struct flash, name, "name", PROP_STRING, .def = "flash", .help = "of the memory block"),
    PROP(struct flash, secure, "secure", PROP_BOOL,
         .help = "written in system management mode only"),
    PROP(struct flash, drive, "drive", PROP_DRIVE, .help = "image that keeps the contents"),
};

static const struct field flash_state[] = {
    FIELD(struct flash, mode, .max = N_MODES - 1),
    FIELD(struct flash, status),
    FIELD(struct flash, left, .max = WRITE_BUFFER / 4),
    FIELD(struct flash, buffer_at),
    FIELD_RAW(struct flash, buffer),
};

const struct device_class cfi_flash_class = {
    .name = "cfi.pflash01",
    .desc = "NOR flash with Intel's command set",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct flash),
    .props = TABLE(flash_props),
    .state = TABLE(flash_state),
    .realize = flash_realize,
    .unrealize = flash_unrealize,
    .reset = flash_reset,
    .loaded = flash_loaded,
};
