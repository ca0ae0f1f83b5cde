/* Devices: properties as text, registers by table, life and death of an instance. */
#include "core/device.h"

#include "core/backends.h"
#include "core/error.h"
#include "core/vm.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- properties ----------------------------------------------------------------------------- */

static bool parse_on_off(const char *s, bool *v)
{
    static const char *const words[][2] = { { "off", "on" }, { "no", "yes" }, { "false", "true" } };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int on = 0; on < 2; on++) {
            if (!strcmp(s, words[i][on])) {
                *v = on;
                return true;
            }
        }
    }
    return false;
}

static bool parse_number(const char *s, uint64_t *v)
{
    bool hex = s[0] == '0' && (s[1] | 0x20) == 'x';
    uint64_t base = hex ? 16 : 10;
    *v = 0;
    if (hex)
        s += 2;
    if (!*s)
        return false;
    for (; *s; s++) {
        char low = (char)(*s | 0x20);
        uint64_t digit = *s >= '0' && *s <= '9'            ? (uint64_t)(*s - '0')
                         : hex && low >= 'a' && low <= 'f' ? (uint64_t)(low - 'a' + 10)
                                                           : 16;
        if (digit >= base || __builtin_mul_overflow(*v, base, v) ||
            __builtin_add_overflow(*v, digit, v))
            return false;
    }
    return true;
}

static bool parse_mac(const char *s, uint8_t mac[6])
{
    for (int i = 0; i < 6; i++) {
        char pair[3] = { 0 };
        for (int j = 0; j < 2; j++, s++) {
            if (!strchr("0123456789abcdefABCDEF", *s) || !*s)
                return false;
            pair[j] = *s;
        }
        mac[i] = (uint8_t)strtoul(pair, NULL, 16);
        if (i < 5 && *s != ':' && *s != '-')
            return false;
        s += i < 5;
    }
    return !*s;
}

static void store_uint(void *to, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)to = (uint8_t)v; break;
    case 2: *(uint16_t *)to = (uint16_t)v; break;
    case 4: *(uint32_t *)to = (uint32_t)v; break;
    case 8: *(uint64_t *)to = v; break;
    default: assert(!"a number has 1, 2, 4 or 8 bytes");
    }
}

static uint64_t fetch_uint(const void *from, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)from;
    case 2: return *(const uint16_t *)from;
    case 4: return *(const uint32_t *)from;
    case 8: return *(const uint64_t *)from;
    }
    assert(!"a number has 1, 2, 4 or 8 bytes");
    return 0;
}

static struct error *set_number(const struct prop *p, void *to, const char *value)
{
    uint64_t v;
    bool ok = p->kind == PROP_SIZE ? parse_size(value, 1, &v) : parse_number(value, &v);
    if (!ok)
        return error_new("'%s' is not a %s", value,
                         p->kind == PROP_SIZE ? "size such as 512, 64K or 1G" : "number");
    uint64_t most = p->max ? p->max : UINT64_MAX;
    if (p->size < 8)
        most = MIN(most, ((uint64_t)1 << (8 * p->size)) - 1);
    if (v < p->min || v > most)
        return error_new("%s is outside %" PRIu64 " to %" PRIu64, value, p->min, most);
    store_uint(to, p->size, v);
    return NULL;
}

static struct error *set_enum(const struct prop *p, void *to, const char *value)
{
    struct bytes all = { 0 };
    for (uint32_t i = 0; p->names[i]; i++) {
        if (!strcmp(p->names[i], value)) {
            store_uint(to, p->size, i);
            bytes_free(&all);
            return NULL;
        }
        bytes_add(&all, ", ", i ? 2 : 0);
        bytes_add(&all, p->names[i], strlen(p->names[i]));
    }
    struct error *err =
        error_new("'%s' is not one of %.*s", value, (int)all.n, (const char *)all.at);
    bytes_free(&all);
    return err;
}

static struct error *set_backend(struct vm *vm, const struct prop *p, void **to, const char *value)
{
    void *got = NULL;
    struct error *err = NULL;
    switch (p->kind) {
    case PROP_DRIVE: err = backend_take_drive(vm, value, (struct blk **)&got); break;
    case PROP_NETDEV: err = backend_take_netdev(vm, value, (struct netdev **)&got); break;
    case PROP_CHARDEV: err = backend_take_chardev(vm, value, (struct chardev **)&got); break;
    case PROP_AUDIO:
        got = backend_hold(vm, BACKEND_AUDIO, value);
        if (!got)
            err = error_new("there is no sound back end '%s'; -audiodev DRIVER,id=%s makes one",
                            value, value);
        break;
    default:
        got = backend_hold(vm, BACKEND_OBJECT, value);
        if (!got)
            err = error_new("there is no object '%s'; -object TYPE,id=%s makes one", value, value);
    }
    if (err)
        return err;
    if (*to)
        backend_give_back(vm, *to);
    *to = got;
    return NULL;
}

static struct error *prop_set(struct device *dev, const struct prop *p, const char *value)
{
    void *to = (char *)dev + p->offset;
    switch (p->kind) {
    case PROP_BOOL:
        if (!parse_on_off(value, to))
            return error_new("'%s' is neither on nor off", value);
        return NULL;
    case PROP_UINT:
    case PROP_SIZE: return set_number(p, to, value);
    case PROP_STRING:
        free(*(char **)to);
        *(char **)to = xstrdup(value);
        return NULL;
    case PROP_ENUM: return set_enum(p, to, value);
    case PROP_MAC:
        if (!parse_mac(value, to))
            return error_new("'%s' is not a MAC address such as 52:54:00:12:34:56", value);
        return NULL;
    default: return set_backend(dev->vm, p, to, value);
    }
}

static const struct prop *prop_find(const struct device_class *cls, const char *name)
{
    for (size_t i = 0; i < cls->props.n; i++)
        if (!strcmp(cls->props.at[i].name, name))
            return &cls->props.at[i];
    return NULL;
}

static struct error *no_such_prop(const struct device_class *cls, const char *name)
{
    const char **names = xcalloc(cls->props.n + 1, sizeof(*names));
    for (size_t i = 0; i < cls->props.n; i++)
        names[i] = cls->props.at[i].name;
    names[cls->props.n] = "id";
    const char *near = nearest_name(name, names, cls->props.n + 1);
    struct error *err =
        near ? error_new("device '%s' has no property '%s'; did you mean '%s'?", cls->name, name,
                         near)
             : error_new("device '%s' has no property '%s'; -device %s,help lists them", cls->name,
                         name, cls->name);
    free(names);
    return err;
}

struct error *device_set(struct device *dev, const char *name, const char *value)
{
    assert(!dev->realized);
    if (!strcmp(name, "id")) {
        if (device_find(dev->vm, value))
            return error_new("there is a device '%s' already; choose another id", value);
        free(dev->id);
        dev->id = xstrdup(value);
        return NULL;
    }
    const struct prop *p = prop_find(dev->cls, name);
    if (!p)
        return no_such_prop(dev->cls, name);
    return error_in(prop_set(dev, p, value), "device '%s', property '%s'", dev->cls->name, name);
}

/* A back end prints as its id, or as nothing when it has none. */
bool device_get(struct device *dev, const char *name, char *buf, size_t n)
{
    if (!strcmp(name, "id")) {
        snprintf(buf, n, "%s", dev->id ? dev->id : "");
        return true;
    }
    const struct prop *p = prop_find(dev->cls, name);
    if (!p)
        return false;
    const void *at = (const char *)dev + p->offset;
    const uint8_t *mac = at;
    const char *text = NULL;
    switch (p->kind) {
    case PROP_BOOL: text = *(const bool *)at ? "on" : "off"; break;
    case PROP_UINT:
    case PROP_SIZE: snprintf(buf, n, "%" PRIu64, fetch_uint(at, p->size)); return true;
    case PROP_STRING: text = *(char *const *)at; break;
    case PROP_ENUM: text = p->names[fetch_uint(at, p->size)]; break;
    case PROP_MAC:
        snprintf(buf, n, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                 mac[5]);
        return true;
    default: text = *(void *const *)at ? backend_id(dev->vm, *(void *const *)at) : NULL; break;
    }
    snprintf(buf, n, "%s", text ? text : "");
    return true;
}

/* ---- life ----------------------------------------------------------------------------------- */

const struct device_class *device_class_find(const char *name)
{
    for (size_t i = 0; i < n_device_classes; i++)
        if (!strcmp(device_classes[i]->name, name))
            return device_classes[i];
    return NULL;
}

struct device *device_find(struct vm *vm, const char *id)
{
    for (struct device *d = vm->devices; d; d = d->next)
        if (d->id && !strcmp(d->id, id))
            return d;
    return NULL;
}

/* ---- the tree of management ----------------------------------------------------------------- */

enum device_home device_home(const struct device *dev)
{
    return dev->id                    ? HOME_PERIPHERAL
           : dev->cls->user_creatable ? HOME_PERIPHERAL_ANON
                                      : HOME_UNATTACHED;
}

unsigned device_home_number(const struct device *dev)
{
    enum device_home home = device_home(dev);
    unsigned n = home == HOME_UNATTACHED ? dev->vm->n_vcpus : 0;
    for (const struct device *d = dev->vm->devices; d && d != dev; d = d->next)
        n += device_home(d) == home;
    return n;
}

void device_qom_path(const struct device *dev, char path[DEVICE_QOM_PATH])
{
    static const char *const homes[] = { "peripheral", "peripheral-anon", "unattached" };
    enum device_home home = device_home(dev);
    if (home == HOME_PERIPHERAL)
        snprintf(path, DEVICE_QOM_PATH, "/machine/peripheral/%.100s", dev->id);
    else
        snprintf(path, DEVICE_QOM_PATH, "/machine/%s/device[%u]", homes[home],
                 device_home_number(dev));
}

static void check_class(const struct device_class *cls)
{
    assert(cls->size >= sizeof(struct device));
    for (size_t i = 1; i < cls->regs.n; i++)
        assert(cls->regs.at[i - 1].at + cls->regs.at[i - 1].size <= cls->regs.at[i].at);
}

/* ---- -global -------------------------------------------------------------------------------- */

struct device_global {
    const struct device_class *cls;
    char *prop, *value;
    struct device_global *next;
};

static struct error *no_such_class(const char *name)
{
    for (size_t i = 0; i < n_device_absents; i++)
        if (!strcmp(device_absents[i].name, name))
            return error_new("there is no device '%s' here; %s", name, device_absents[i].instead);
    const char **names = xcalloc(n_device_classes, sizeof(*names));
    for (size_t i = 0; i < n_device_classes; i++)
        names[i] = device_classes[i]->name;
    const char *near = nearest_name(name, names, n_device_classes);
    struct error *err = near ? error_new("there is no device '%s'; did you mean '%s'?", name, near)
                             : error_new("there is no device '%s'; -device help lists them", name);
    free(names);
    return err;
}

struct error *device_add_global(struct vm *vm, const char *class_name, const char *prop,
                                const char *value)
{
    const struct device_class *cls = device_class_find(class_name);
    if (!cls)
        return no_such_class(class_name);
    if (!prop_find(cls, prop))
        return no_such_prop(cls, prop);
    struct device_global *g = xcalloc(1, sizeof(*g)), **end = &vm->globals;
    *g = (struct device_global){ cls, xstrdup(prop), xstrdup(value), NULL };
    while (*end)
        end = &(*end)->next;
    *end = g;
    return NULL;
}

void device_free_globals(struct vm *vm)
{
    while (vm->globals) {
        struct device_global *g = vm->globals;
        vm->globals = g->next;
        free(g->prop);
        free(g->value);
        free(g);
    }
}

static void apply_globals(struct device *dev)
{
    for (struct device_global *g = dev->vm->globals; g && !dev->bad_global; g = g->next)
        if (g->cls == dev->cls)
            dev->bad_global = error_in(device_set(dev, g->prop, g->value), "-global");
}

/* ---- making and freeing --------------------------------------------------------------------- */

struct device *device_new(struct vm *vm, const struct device_class *cls)
{
    check_class(cls);
    struct device *dev = xcalloc(1, cls->size), **end = &vm->devices;
    dev->cls = cls;
    dev->vm = vm;
    dev->hotplugged = vm->plugging;
    pthread_mutex_init(&dev->lock, NULL);
    while (*end)
        end = &(*end)->next;
    *end = dev;
    for (size_t i = 0; i < cls->props.n; i++) {
        const struct prop *p = &cls->props.at[i];
        struct error *err = p->def ? prop_set(dev, p, p->def) : NULL;
        assert(!err && "a default is a valid value");
    }
    apply_globals(dev);
    return dev;
}

static bool path_is_taken(const struct device *dev)
{
    for (const struct device *d = dev->vm->devices; d; d = d->next)
        if (d != dev && !strcmp(d->path, dev->path))
            return true;
    return false;
}

/* PARENT/NAME, numbered where that is needed. A bus may give a better one in realize. */
static void choose_path(struct device *dev)
{
    const char *name = dev->id ? dev->id : dev->cls->name,
               *above = dev->parent ? dev->parent->path : "";
    const char *slash = dev->parent ? "/" : "";
    snprintf(dev->path, sizeof(dev->path), "%.60s%s%.30s", above, slash, name);
    for (unsigned n = 1; path_is_taken(dev); n++)
        snprintf(dev->path, sizeof(dev->path), "%.56s%s%.24s.%u", above, slash, name, n);
}

struct error *device_realize(struct device *dev, struct device *parent, void *bus)
{
    assert(!dev->realized);
    struct error *err = dev->bad_global;
    dev->bad_global = NULL;
    if (err)
        return err;
    dev->parent = parent;
    dev->bus = bus;
    if (!dev->path[0])
        choose_path(dev);
    err = dev->cls->realize ? dev->cls->realize(dev) : NULL;
    if (err)
        return error_in(err, "device '%s'", dev->cls->name);
    dev->realized = true;
    device_reset(dev);
    return NULL;
}

struct error *device_create(struct vm *vm, const char *class_name, const struct prop_value *props,
                            size_t n, struct device **out)
{
    const struct device_class *cls = device_class_find(class_name);
    if (!cls)
        return no_such_class(class_name);
    struct device *dev = device_new(vm, cls);
    struct error *err = NULL;
    for (size_t i = 0; i < n && !err; i++)
        err = device_set(dev, props[i].name, props[i].value);
    if (!err)
        err = device_realize(dev, NULL, NULL);
    if (err) {
        device_free(dev);
        return err;
    }
    if (out)
        *out = dev;
    return NULL;
}

static void prop_drop(struct device *dev, const struct prop *p)
{
    void **at = (void **)((char *)dev + p->offset);
    switch (p->kind) {
    case PROP_STRING: free(*at); break;
    case PROP_DRIVE:
    case PROP_NETDEV:
    case PROP_CHARDEV:
    case PROP_AUDIO:
    case PROP_OBJECT:
        if (*at)
            backend_give_back(dev->vm, *at);
        break;
    default: break;
    }
}

void device_free(struct device *dev)
{
    if (!dev)
        return;
    bool was_realized = dev->realized;
    dev->realized = false; /* nobody finds it any more */
    if (was_realized && dev->cls->unrealize)
        dev->cls->unrealize(dev);
    struct device **at = &dev->vm->devices;
    while (*at != dev)
        at = &(*at)->next;
    *at = dev->next;
    for (size_t i = 0; i < dev->cls->props.n; i++)
        prop_drop(dev, &dev->cls->props.at[i]);
    pthread_mutex_destroy(&dev->lock);
    error_free(dev->bad_global);
    free(dev->id);
    free(dev);
}

void device_reset(struct device *dev)
{
    device_lock(dev);
    dev->broken = false;
    if (dev->cls->reset)
        dev->cls->reset(dev);
    device_unlock(dev);
}

void device_save(struct device *dev, struct bytes *out)
{
    uint8_t version[2];
    store_le(version, 2, dev->cls->version);
    bytes_add(out, version, 2);
    device_lock(dev);
    state_save(out, &dev->cls->state, dev->cls->version, dev);
    device_unlock(dev);
}

struct error *device_load(struct device *dev, const uint8_t *in, size_t n, size_t *pos)
{
    device_reset(dev);
    if (*pos > n || n - *pos < 2)
        return error_new("device '%s': the data ends before its version", dev->path);
    uint16_t version = (uint16_t)load_le(in + *pos, 2);
    *pos += 2;
    if (version > dev->cls->version)
        return error_new("device '%s': version %u is newer than %u, the newest known here",
                         dev->path, version, dev->cls->version);
    device_lock(dev);
    struct error *err = state_load(in, n, pos, &dev->cls->state, version, dev);
    if (!err && dev->cls->loaded)
        err = dev->cls->loaded(dev);
    device_unlock(dev);
    if (err)
        device_reset(dev);
    return error_in(err, "device '%s'", dev->path);
}

bool device_broken(struct device *dev, const char *fmt, ...)
{
    dev->vm->n_guest_errors++;
    bool first = !dev->broken;
    dev->broken = true;
    if (!first || !log_on(&dev->vm->log, LOG_GUEST_ERRORS))
        return false;
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_print(&dev->vm->log, "%s: %s\n", dev->path, text);
    return false;
}

/* ---- registers ------------------------------------------------------------------------------ */

/* The first register that ends behind `off`, or NULL. */
static const struct reg *reg_from(const struct device_class *cls, uint64_t off)
{
    size_t low = 0, high = cls->regs.n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if ((uint64_t)cls->regs.at[mid].at + cls->regs.at[mid].size <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return low < cls->regs.n ? &cls->regs.at[low] : NULL;
}

static uint64_t low_bytes(unsigned n)
{
    return n >= 8 ? ~(uint64_t)0 : ((uint64_t)1 << (8 * n)) - 1;
}

static uint64_t reg_stored(struct device *dev, const struct reg *reg)
{
    return reg->computed ? 0 : fetch_uint((char *)dev + reg->offset, reg->size);
}

static uint64_t reg_read(struct device *dev, const struct reg *reg)
{
    uint64_t v = reg->on_read ? reg->on_read(dev, reg) : reg_stored(dev, reg);
    return v & low_bytes(reg->size);
}

/* `lanes` are the bits of the register that the access covers. */
static void reg_write(struct device *dev, const struct reg *reg, uint64_t value, uint64_t lanes)
{
    uint64_t old = reg_stored(dev, reg), writable = reg->writable & lanes;
    uint64_t cleared = reg->w1c & lanes & value;
    if (!reg->computed && (writable | cleared))
        store_uint((char *)dev + reg->offset, reg->size,
                   ((old & ~writable) | (value & writable)) & ~cleared);
    if (reg->on_write)
        reg->on_write(dev, reg, old, (value & lanes) | (old & ~lanes & ~reg->w1c));
}

/* The bytes that a register and an access share: n of them, from these bytes of each. */
struct overlap {
    unsigned reg_byte, access_byte, n;
};

static bool overlap_of(const struct reg *reg, uint64_t off, unsigned size, struct overlap *o)
{
    uint64_t from = MAX(off, (uint64_t)reg->at);
    uint64_t to = MIN(off + size, (uint64_t)reg->at + reg->size);
    if (from >= to)
        return false;
    *o = (struct overlap){ (unsigned)(from - reg->at), (unsigned)(from - off),
                           (unsigned)(to - from) };
    return true;
}

uint64_t regs_read(struct device *dev, uint64_t off, unsigned size)
{
    const struct device_class *cls = dev->cls;
    const struct reg *end = cls->regs.at + cls->regs.n;
    uint64_t value = 0;
    struct overlap o;
    device_lock(dev);
    for (const struct reg *r = reg_from(cls, off); r && r < end && overlap_of(r, off, size, &o);
         r++)
        value |= (reg_read(dev, r) >> (8 * o.reg_byte) & low_bytes(o.n)) << (8 * o.access_byte);
    device_unlock(dev);
    return value;
}

void regs_write(struct device *dev, uint64_t off, unsigned size, uint64_t value)
{
    const struct device_class *cls = dev->cls;
    const struct reg *end = cls->regs.at + cls->regs.n;
    struct overlap o;
    device_lock(dev);
    for (const struct reg *r = reg_from(cls, off); r && r < end && overlap_of(r, off, size, &o);
         r++)
        reg_write(dev, r, (value >> (8 * o.access_byte) & low_bytes(o.n)) << (8 * o.reg_byte),
                  low_bytes(o.n) << (8 * o.reg_byte));
    device_unlock(dev);
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    return regs_read(opaque, off, size);
}

static void mmio_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    regs_write(opaque, off, size, value);
}

const struct mmio_ops regs_mmio_ops = { .read = mmio_read, .write = mmio_write };
