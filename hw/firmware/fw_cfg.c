/* Firmware configuration over MMIO or a PC's I/O ports, with the DMA interface. Facts: QEMU's docs/specs/fw_cfg, whose
 * headings the comments name. */
#include "hw/firmware/fw_cfg.h"

#include "core/error.h"
#include "core/options.h"
#include "hw/place.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N_FILES = 64,
    ARCH_FIRST = FW_CFG_FILE_FIRST + N_FILES, /* of items[] */
    N_ITEMS = ARCH_FIRST + FW_CFG_N_ARCH,
    NAME_SIZE = 56,
    DIR_ENTRY = 8 + NAME_SIZE, /* "File Directory": size, key, reserved, name; big-endian */
    CHUNK = 4096,
};

enum { DATA_AT = 0, SELECTOR_AT = 8, DMA_AT = 16 }; /* "Register Locations" */

enum { PORT_SELECTOR = 0, PORT_DATA = 1, PORT_DMA = 4 }; /* of the port variant */

enum { /* "DMA interface": bits of the control word */
       DMA_ERROR = 1 << 0,
       DMA_READ = 1 << 1,
       DMA_SKIP = 1 << 2,
       DMA_SELECT = 1 << 3,
       DMA_WRITE = 1 << 4,
};

struct item {
    uint8_t *data;
    uint32_t n;
    const struct fw_cfg_live *live; /* a copy: whose data these are; NULL: ours */
};

struct fw_cfg {
    struct device dev;
    uint64_t addr;   /* of one variant */
    uint32_t iobase; /* of the other */
    struct mem_region *region;

    uint16_t key;      /* selected item, which may not exist */
    uint32_t offset;   /* next byte of it */
    uint32_t dma_high; /* upper half of the address of a DMA request */

    struct item items[N_ITEMS]; /* fixed by the board before the guest starts */
    uint32_t n_files;
};

/* Where a key's item is, or N_ITEMS. */
static unsigned item_index(uint16_t key)
{
    if (key < ARCH_FIRST)
        return key;
    return key - FW_CFG_ARCH < FW_CFG_N_ARCH && key >= FW_CFG_ARCH ? ARCH_FIRST + key - FW_CFG_ARCH
                                                                   : N_ITEMS;
}

static const struct item *selected(const struct fw_cfg *f)
{
    static const struct item none;
    unsigned i = item_index(f->key);
    return i < N_ITEMS ? &f->items[i] : &none;
}

static void fw_cfg_select(struct fw_cfg *f, uint16_t key)
{
    f->key = key;
    f->offset = 0;
    const struct fw_cfg_live *live = selected(f)->live;
    if (live && live->looked_at)
        live->looked_at(live->opaque);
}

/* Up to n bytes of the selected item into buf, zeros beyond its end; the position moves on. */
static void fw_cfg_take(struct fw_cfg *f, uint8_t *buf, size_t n)
{
    const struct item *item = selected(f);
    size_t have = MIN(n, item->n - f->offset);
    if (have)
        memcpy(buf, item->data + f->offset, have);
    memset(buf + have, 0, n - have);
    f->offset += (uint32_t)have;
}

/* ---- DMA -------------------------------------------------------------------------------------- */
static bool dma_read(struct fw_cfg *f, gpa to, uint32_t n)
{
    uint8_t chunk[CHUNK];
    while (n) {
        uint32_t now = MIN(n, CHUNK);
        fw_cfg_take(f, chunk, now);
        if (!mem_write(f->dev.vm, to, chunk, now))
            return device_broken(&f->dev, "DMA read to %#" PRIx64 " is outside memory", to);
        to += now;
        n -= now;
    }
    return true;
}

/* From the position on, and no further than the item goes. */
static bool dma_write(struct fw_cfg *f, gpa from, uint32_t n)
{
    const struct item *item = selected(f);
    const struct fw_cfg_live *live = item->live;
    uint8_t chunk[CHUNK];
    if (!live || !live->is_open || !live->is_open(live->opaque))
        return device_broken(&f->dev, "item %#x is read-only", f->key);
    if (n > item->n - f->offset || n > sizeof(chunk))
        return device_broken(&f->dev, "DMA write behind the end of item %#x", f->key);
    if (!mem_read(f->dev.vm, from, chunk, n))
        return device_broken(&f->dev, "DMA write from %#" PRIx64 " is outside memory", from);
    memcpy(item->data + f->offset, chunk, n);
    f->offset += n;
    return true;
}

/* One request: control, length, address, all big-endian; the outcome goes into control. */
static void fw_cfg_dma(struct fw_cfg *f, gpa at)
{
    uint8_t request[16], outcome[4];
    if (!mem_read(f->dev.vm, at, request, sizeof(request))) {
        device_broken(&f->dev, "DMA request at %#" PRIx64 " is outside memory", at);
        return;
    }
    uint32_t control = (uint32_t)load_be(request, 4);
    uint32_t length = (uint32_t)load_be(request + 4, 4);
    gpa address = load_be(request + 8, 8);
    bool good = true;

    if (control & DMA_SELECT)
        fw_cfg_select(f, control >> 16);
    if (control & DMA_READ)
        good = dma_read(f, address, length);
    else if (control & DMA_WRITE)
        good = dma_write(f, address, length);
    else if (control & DMA_SKIP)
        f->offset += MIN(length, selected(f)->n - f->offset);
    store_be(outcome, 4, good ? 0 : DMA_ERROR);
    mem_write(f->dev.vm, at, outcome, sizeof(outcome));
}

/* ---- registers: the guest sees big-endian ones, a little-endian access arrives swapped -------- */
/* The DMA register's bytes from `off` on read as a signature. */
static uint64_t dma_signature(uint64_t off, unsigned size)
{
    static const char signature[] = "QEMU CFG";
    return load_le(signature + off, size);
}

/* Its upper half waits for the lower one, which starts the request. */
static void write_dma_half(struct fw_cfg *f, bool low, uint32_t value)
{
    if (low)
        fw_cfg_dma(f, (gpa)f->dma_high << 32 | value);
    f->dma_high = low ? 0 : value;
}

static uint64_t fw_cfg_read(void *opaque, uint64_t off, unsigned size)
{
    struct fw_cfg *f = opaque;
    uint8_t buf[8] = { 0 };
    if (off >= DMA_AT && off + size <= FW_CFG_SIZE)
        return dma_signature(off - DMA_AT, size);
    device_lock(&f->dev);
    if (off < SELECTOR_AT)
        fw_cfg_take(f, buf, size); /* string-preserving, from any offset */
    device_unlock(&f->dev);
    return load_le(buf, size);
}

static void fw_cfg_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct fw_cfg *f = opaque;
    uint8_t buf[8];
    store_le(buf, size, value);
    value = load_be(buf, size);

    device_lock(&f->dev);
    if (off == SELECTOR_AT && size == 2) {
        fw_cfg_select(f, (uint16_t)value);
    } else if (off == DMA_AT && size == 8) {
        fw_cfg_dma(f, value);
    } else if (off >= DMA_AT && size == 4) {
        write_dma_half(f, off > DMA_AT, (uint32_t)value);
    }
    device_unlock(&f->dev);
}

static const struct mmio_ops fw_cfg_ops = { fw_cfg_read, fw_cfg_write, 1, 8, NULL };

/* The ports: the selector is little-endian, data come byte by byte. */
static uint64_t fw_cfg_in(void *opaque, uint64_t off, unsigned size)
{
    struct fw_cfg *f = opaque;
    uint8_t byte = 0;
    if (off >= PORT_DMA)
        return dma_signature(off - PORT_DMA, size);
    device_lock(&f->dev);
    if (off == PORT_DATA && size == 1)
        fw_cfg_take(f, &byte, 1);
    device_unlock(&f->dev);
    return byte;
}

static void fw_cfg_out(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct fw_cfg *f = opaque;
    device_lock(&f->dev);
    if (off == PORT_SELECTOR && size == 2)
        fw_cfg_select(f, (uint16_t)value);
    else if (off >= PORT_DMA && size == 4)
        write_dma_half(f, off > PORT_DMA, __builtin_bswap32((uint32_t)value));
    device_unlock(&f->dev);
}

static const struct mmio_ops fw_cfg_port_ops = { fw_cfg_in, fw_cfg_out, 1, 4, NULL };

/* ---- the board's side ------------------------------------------------------------------------- */
void fw_cfg_add(struct device *dev, uint16_t key, const void *data, uint32_t n)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    assert(item_index(key) < N_ITEMS);
    struct item *item = &f->items[item_index(key)];
    device_lock(dev);
    if (!item->live)
        free(item->data);
    item->data = xmalloc(MAX(n, 1));
    item->n = n;
    if (n)
        memcpy(item->data, data, n);
    device_unlock(dev);
}

static void add_number(struct device *dev, uint16_t key, unsigned size, uint64_t value)
{
    uint8_t buf[8];
    store_le(buf, size, value);
    fw_cfg_add(dev, key, buf, size);
}

void fw_cfg_add_u16(struct device *dev, uint16_t key, uint16_t value)
{
    add_number(dev, key, 2, value);
}

void fw_cfg_add_u32(struct device *dev, uint16_t key, uint32_t value)
{
    add_number(dev, key, 4, value);
}

void fw_cfg_add_u64(struct device *dev, uint16_t key, uint64_t value)
{
    add_number(dev, key, 8, value);
}

static const char *file_name(const struct fw_cfg *f, uint32_t i)
{
    return (const char *)f->items[FW_CFG_FILE_DIR].data + 4 + i * DIR_ENTRY + 8;
}

struct error *fw_cfg_add_file(struct device *dev, const char *name, const void *data, uint32_t n)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    uint8_t dir[4 + N_FILES * DIR_ENTRY] = { 0 };
    const struct item *old = &f->items[FW_CFG_FILE_DIR];

    if (strlen(name) >= NAME_SIZE)
        return error_new("fw_cfg file '%s': a name has at most %d characters", name, NAME_SIZE - 1);
    if (f->n_files == N_FILES)
        return error_new("fw_cfg file '%s': there are %d files already", name, N_FILES);
    for (uint32_t i = 0; i < f->n_files; i++)
        if (strcmp(file_name(f, i), name) == 0)
            return error_new("fw_cfg file '%s' exists already", name);

    memcpy(dir, old->data, old->n);
    uint16_t key = FW_CFG_FILE_FIRST + f->n_files;
    uint8_t *entry = dir + 4 + f->n_files * DIR_ENTRY;
    store_be(entry, 4, n);
    store_be(entry + 4, 2, key);
    memcpy(entry + 8, name, strlen(name));
    f->n_files++;
    store_be(dir, 4, f->n_files);
    fw_cfg_add(dev, FW_CFG_FILE_DIR, dir, 4 + f->n_files * DIR_ENTRY);
    fw_cfg_add(dev, key, data, n);
    return NULL;
}

struct error *fw_cfg_add_live(struct device *dev, const char *name, const struct fw_cfg_live *live)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    struct error *err = fw_cfg_add_file(dev, name, live->bytes, live->n);
    if (err)
        return err;
    struct item *item = &f->items[FW_CFG_FILE_FIRST + f->n_files - 1];
    struct fw_cfg_live *copy = xmalloc(sizeof(*copy));
    *copy = *live;
    free(item->data);
    item->data = live->bytes;
    item->live = copy;
    return NULL;
}

/* The whole file, of at most 16 MiB. */
static struct error *read_file(const char *path, uint8_t **bytes, uint32_t *n)
{
    enum { MOST = 16 * 1024 * 1024 };
    FILE *f = fopen(path, "rbe");
    if (!f)
        return error_errno("cannot open '%s'", path);
    *bytes = malloc(MOST + 1);
    size_t size = *bytes ? fread(*bytes, 1, MOST + 1, f) : 0;
    struct error *err = NULL;
    if (!*bytes)
        err = error_new("there is no memory for '%s'", path);
    else if (ferror(f))
        err = error_errno("cannot read '%s'", path);
    else if (size > MOST)
        err = error_new("'%s' is larger than 16 MiB", path);
    fclose(f);
    *n = (uint32_t)size;
    return err;
}

static struct error *add_option(struct device *dev, struct options *o)
{
    static const char *const known[] = { "name", "file", "string" };
    const char *name = options_get(o, "name"), *file = options_get(o, "file");
    const char *text = options_get(o, "string");
    uint8_t *bytes = NULL;
    uint32_t n = 0;
    struct error *err = options_refuse_rest(o, known, ARRAY_LEN(known));
    if (err)
        return err;
    if (!name || !*name || !file == !text)
        return error_new("a name and one of file= and string= are expected");
    if (file)
        err = read_file(file, &bytes, &n);
    if (!err)
        err = file ? fw_cfg_add_file(dev, name, bytes, n)
                   : fw_cfg_add_file(dev, name, text, (uint32_t)strlen(text));
    free(bytes);
    return err;
}

struct error *fw_cfg_add_options(struct device *dev, const char *const *texts, size_t n)
{
    struct error *err = NULL;
    for (size_t i = 0; i < n && !err; i++) {
        struct options o = { 0 };
        err = options_split(texts[i], "name", &o);
        if (!err)
            err = add_option(dev, &o);
        options_free(&o);
    }
    return error_in(err, "-fw_cfg");
}

static void add_standard_items(struct device *dev)
{
    fw_cfg_add(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(dev, FW_CFG_ID, 3); /* "Revision / feature bitmap": registers and DMA */
    fw_cfg_add_u32(dev, FW_CFG_FILE_DIR, 0);
}

static struct error *mmio_realize(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    add_standard_items(dev);
    f->region = mem_add_mmio(dev->vm, dev->cls->name, FW_CFG_SIZE, &fw_cfg_ops, f);
    place_region(f->region, f->addr);
    return NULL;
}

static struct error *port_realize(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    add_standard_items(dev);
    f->region = mem_add_mmio(dev->vm, dev->cls->name, FW_CFG_N_PORTS, &fw_cfg_port_ops, f);
    mem_batch_writes(f->region, 0, 2); /* the selector */
    place_ports(f->region, f->iobase);
    return NULL;
}

static void fw_cfg_unrealize(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    mem_free_region(f->region);
    for (unsigned i = 0; i < N_ITEMS; i++) {
        if (!f->items[i].live)
            free(f->items[i].data);
        free((void *)f->items[i].live);
    }
}

static void fw_cfg_reset(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    fw_cfg_select(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
}

static struct error *fw_cfg_loaded(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    if (f->offset > selected(f)->n)
        return error_new("%s: position %u is beyond item %#x", dev->cls->name, f->offset, f->key);
    return NULL;
}

static const struct prop fw_cfg_props[] = {
    ADDR_PROP(struct fw_cfg),
};

static const struct prop fw_cfg_port_props[] = {
    PORT_PROP(struct fw_cfg, iobase, "iobase"),
};

static const struct field fw_cfg_state[] = {
    FIELD(struct fw_cfg, key),
    FIELD(struct fw_cfg, offset),
    FIELD(struct fw_cfg, dma_high),
};

const struct device_class fw_cfg_class = {
    .name = "fw-cfg-mmio",
    .desc = "firmware configuration",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct fw_cfg),
    .props = TABLE(fw_cfg_props),
    .state = TABLE(fw_cfg_state),
    .realize = mmio_realize,
    .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
    .loaded = fw_cfg_loaded,
};

const struct device_class fw_cfg_io_class = {
    .name = "fw_cfg_io",
    .desc = "firmware configuration at I/O ports",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct fw_cfg),
    .props = TABLE(fw_cfg_port_props),
    .state = TABLE(fw_cfg_state),
    .realize = port_realize,
    .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
    .loaded = fw_cfg_loaded,
};
