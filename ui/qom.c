#include "ui/qom.h"

#include "core/backends.h"
#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/object.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "hw/virtio/balloon.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- paths ----------------------------------------------------------------------------------- */
static const struct container {
    const char *path;
    enum qom_kind kind;
} containers[] = {
    { "/machine/peripheral", QOM_PERIPHERAL },
    { "/machine/peripheral-anon", QOM_PERIPHERAL_ANON },
    { "/machine/unattached", QOM_UNATTACHED },
    { "/machine", QOM_MACHINE },
    { "/objects", QOM_OBJECTS },
    { "/chardevs", QOM_CHARDEVS },
};

static enum qom_kind home_of(const struct device *dev)
{
    static const enum qom_kind kinds[] = { QOM_PERIPHERAL, QOM_PERIPHERAL_ANON, QOM_UNATTACHED };
    return kinds[device_home(dev)];
}

bool qom_is_virtio(const struct device_class *cls)
{
    size_t n = strlen(cls->name);
    return !strncmp(cls->name, "virtio-", 7) &&
           (strstr(cls->name, "-pci") || (n > 7 && !strcmp(cls->name + n - 7, "-device")));
}

void qom_frontend_path(const struct device *dev, char path[QOM_PATH])
{
    device_qom_path(dev, path);
    if (qom_is_virtio(dev->cls))
        strncat(path, "/virtio-backend", (size_t)QOM_PATH - 1 - strlen(path));
}

void qom_cpu_path(const struct vcpu *cpu, char path[QOM_PATH])
{
    snprintf(path, QOM_PATH, "/machine/unattached/device[%u]", cpu->index);
}

static bool find_numbered(struct vm *vm, enum qom_kind home, const char *name, struct qom *out)
{
    unsigned n;
    int end = 0;
    if (sscanf(name, "device[%u]%n", &n, &end) != 1 || name[end])
        return false;
    if (home == QOM_UNATTACHED && n < vm->n_vcpus) {
        *out = (struct qom){ .kind = QOM_CPU, .cpu = vm->vcpus[n] };
        return true;
    }
    for (struct device *d = vm->devices; d; d = d->next)
        if (home_of(d) == home && device_home_number(d) == n) {
            *out = (struct qom){ .kind = QOM_DEVICE, .dev = d };
            return true;
        }
    return false;
}

static bool find_by_id(struct vm *vm, const char *id, struct qom *out)
{
    struct device *dev = device_find(vm, id);
    struct object *o = backend_find(vm, BACKEND_OBJECT, id);
    if (dev)
        *out = (struct qom){ .kind = QOM_DEVICE, .dev = dev };
    else if (o)
        *out = (struct qom){ .kind = QOM_OBJECT, .object = o };
    return dev || o;
}

static bool find_child(struct vm *vm, enum qom_kind in, const char *name, struct qom *out)
{
    struct chardev *c;
    switch (in) {
    case QOM_PERIPHERAL: return find_by_id(vm, name, out) && out->kind == QOM_DEVICE;
    case QOM_PERIPHERAL_ANON:
    case QOM_UNATTACHED: return find_numbered(vm, in, name, out);
    case QOM_OBJECTS: return find_by_id(vm, name, out) && out->kind == QOM_OBJECT;
    case QOM_CHARDEVS:
        c = backend_find(vm, BACKEND_CHARDEV, name);
        *out = (struct qom){ .kind = QOM_CHARDEV, .id = c ? backend_id(vm, c) : NULL };
        return c;
    default: return false;
    }
}

static bool find_absolute(struct vm *vm, const char *path, struct qom *out)
{
    for (size_t i = 0; i < ARRAY_LEN(containers); i++) {
        size_t n = strlen(containers[i].path);
        if (strncmp(path, containers[i].path, n) || (path[n] && path[n] != '/'))
            continue;
        if (!path[n] || !path[n + 1]) {
            *out = (struct qom){ .kind = containers[i].kind };
            return true;
        }
        return find_child(vm, containers[i].kind, path + n + 1, out);
    }
    return false;
}

bool qom_find(struct vm *vm, const char *path, struct qom *out)
{
    static const char behind[] = "/virtio-backend";
    char front[QOM_PATH];
    size_t n = strlen(path), tail = sizeof(behind) - 1;
    if (!*path || !strcmp(path, "/")) {
        *out = (struct qom){ .kind = QOM_ROOT };
        return true;
    }
    bool is_backend = n > tail && !strcmp(path + n - tail, behind);
    snprintf(front, sizeof(front), "%.*s", (int)MIN(is_backend ? n - tail : n, sizeof(front) - 1),
             path);
    if (front[0] == '/' ? !find_absolute(vm, front, out) : !find_by_id(vm, front, out))
        return false;
    if (!is_backend)
        return true;
    bool is_virtio = out->kind == QOM_DEVICE && qom_is_virtio(out->dev->cls);
    out->kind = QOM_VIRTIO_BACKEND;
    return is_virtio;
}

/* ---- properties ------------------------------------------------------------------------------------ */
const char *qom_prop_type(const struct prop *p)
{
    switch (p->kind) {
    case PROP_BOOL: return "bool";
    case PROP_UINT:
        return p->size == 1   ? "uint8"
               : p->size == 2 ? "uint16"
               : p->size == 4 ? "uint32"
                              : "uint64";
    case PROP_SIZE: return "size";
    case PROP_OBJECT: return "link<object>";
    default: return "str";
    }
}

static const char *type_of(struct vm *vm, const struct qom *q, char *buf, size_t n)
{
    switch (q->kind) {
    case QOM_DEVICE: return q->dev->cls->name;
    case QOM_VIRTIO_BACKEND: /* "virtio-blk-pci" is "virtio-blk-device" on its inner side */
        snprintf(buf, n, "%.*s-device",
                 (int)(strstr(q->dev->cls->name + 7, "-") - q->dev->cls->name), q->dev->cls->name);
        return buf;
    case QOM_OBJECT: return q->object->type;
    case QOM_CPU:
        snprintf(buf, n, "%s-%s", vm->target->default_cpu, vm->target->cpu_type);
        return buf;
    case QOM_CHARDEV: return "chardev";
    case QOM_MACHINE:
        snprintf(buf, n, "%s-machine", ((struct machine *)vm->machine)->name);
        return buf;
    default: return "container";
    }
}

static void add_entry(json_t *list, const char *name, const char *type)
{
    json_array_append_new(list, json_pack("{ssss}", "name", name, "type", type));
}

static void add_child(json_t *list, const char *name, const char *type)
{
    char *text = xasprintf("child<%s>", type);
    add_entry(list, name, text);
    free(text);
}

static void list_devices(struct vm *vm, json_t *list, enum qom_kind home)
{
    char name[40], type[80];
    for (unsigned i = 0; home == QOM_UNATTACHED && i < vm->n_vcpus; i++) {
        struct qom q = { .kind = QOM_CPU, .cpu = vm->vcpus[i] };
        snprintf(name, sizeof(name), "device[%u]", i);
        add_child(list, name, type_of(vm, &q, type, sizeof(type)));
    }
    for (struct device *d = vm->devices; d; d = d->next) {
        if (home_of(d) != home)
            continue;
        snprintf(name, sizeof(name), "device[%u]", device_home_number(d));
        add_child(list, d->id ? d->id : name, d->cls->name);
    }
}

struct lister {
    json_t *list;
    enum backend_kind kind;
};

static void list_backend(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    const struct lister *l = opaque;
    if (kind == l->kind)
        add_child(l->list, id,
                  kind == BACKEND_OBJECT ? ((struct object *)backend)->type : "chardev");
}

static void list_feature(void *opaque, const char *name, enum cpu_feature_state state)
{
    add_entry(opaque, name, "bool");
}

static void list_value(void *opaque, const char *name, const char *text, int64_t number)
{
    add_entry(opaque, name, text ? "string" : "int");
}

static void list_cpu(struct vm *vm, json_t *list)
{
    const struct cpu_feature_sink sink = { list_feature, list_value, list };
    add_entry(list, "unavailable-features", "strList");
    add_entry(list, "realized", "bool");
    add_entry(list, "hotplugged", "bool");
    if (vm->target->cpu_features)
        error_free(vm->target->cpu_features(vm, NULL, &sink));
}

static void list_props(json_t *list, const struct device_class *cls)
{
    for (size_t i = 0; i < cls->props.n; i++)
        add_entry(list, cls->props.at[i].name, qom_prop_type(&cls->props.at[i]));
}

static bool is_balloon(const struct qom *q)
{
    return (q->kind == QOM_DEVICE || q->kind == QOM_VIRTIO_BACKEND) && balloon_is(q->dev);
}

json_t *qom_list(struct vm *vm, const struct qom *q)
{
    json_t *list = json_array();
    struct lister l = { list, BACKEND_OBJECT };
    char buf[120];
    add_entry(list, "type", "string");
    switch (q->kind) {
    case QOM_ROOT:
        add_child(list, "objects", "container");
        add_child(list, "chardevs", "container");
        type_of(vm, &(struct qom){ .kind = QOM_MACHINE }, buf, sizeof(buf));
        add_child(list, "machine", buf);
        break;
    case QOM_MACHINE:
        add_child(list, "peripheral", "container");
        add_child(list, "peripheral-anon", "container");
        add_child(list, "unattached", "container");
        break;
    case QOM_PERIPHERAL:
    case QOM_PERIPHERAL_ANON:
    case QOM_UNATTACHED: list_devices(vm, list, q->kind); break;
    case QOM_OBJECTS:
    case QOM_CHARDEVS:
        l.kind = q->kind == QOM_OBJECTS ? BACKEND_OBJECT : BACKEND_CHARDEV;
        backends_each(vm, list_backend, &l);
        break;
    case QOM_DEVICE:
        add_entry(list, "realized", "bool");
        add_entry(list, "hotplugged", "bool");
        if (qom_is_virtio(q->dev->cls))
            add_child(list, "virtio-backend",
                      type_of(vm, &(struct qom){ .kind = QOM_VIRTIO_BACKEND, .dev = q->dev }, buf,
                              sizeof(buf)));
        list_props(list, q->dev->cls);
        break;
    case QOM_VIRTIO_BACKEND: list_props(list, q->dev->cls); break;
    case QOM_OBJECT:
        if (q->object->kind == OBJECT_MEMORY)
            add_entry(list, "size", "int");
        if (q->object->kind == OBJECT_IOTHREAD)
            add_entry(list, "poll-max-ns", "int");
        break;
    case QOM_CHARDEV: break;
    case QOM_CPU: list_cpu(vm, list); break;
    }
    if (is_balloon(q))
        add_entry(list, "guest-stats", "guest statistics");
    return list;
}

/* ---- reading --------------------------------------------------------------------------------------- */
struct wanted {
    const char *name;
    json_t *value;
};

static void pick_feature(void *opaque, const char *name, enum cpu_feature_state state)
{
    struct wanted *w = opaque;
    if (!w->value && !strcmp(w->name, name))
        w->value = json_boolean(state == CPU_FEATURE_ON);
}

static void pick_value(void *opaque, const char *name, const char *text, int64_t number)
{
    struct wanted *w = opaque;
    if (!w->value && !strcmp(w->name, name))
        w->value = text ? json_string(text) : json_integer(number);
}

static json_t *cpu_property(struct vm *vm, const char *name)
{
    struct wanted w = { name, NULL };
    const struct cpu_feature_sink sink = { pick_feature, pick_value, &w };
    if (!strcmp(name, "unavailable-features"))
        return json_array();
    if (vm->target->cpu_features)
        error_free(vm->target->cpu_features(vm, NULL, &sink));
    return w.value;
}

static json_t *guest_stats(struct vm *vm)
{
    struct balloon_info info;
    json_t *stats = json_object();
    error_free(balloon_query(vm, &info)); /* there is one */
    for (size_t i = 0; i < BALLOON_N_STATS; i++)
        json_object_set_new(stats, balloon_stat_names[i], json_integer((json_int_t)info.stats[i]));
    return json_pack("{sosI}", "stats", stats, "last-update",
                     (json_int_t)(info.stats_at_ns / 1000000000));
}

static json_t *device_property(struct device *dev, const char *name)
{
    char text[1024];
    uint64_t number;
    for (size_t i = 0; i < dev->cls->props.n; i++) {
        const struct prop *p = &dev->cls->props.at[i];
        if (strcmp(p->name, name) || !device_get(dev, name, text, sizeof(text)))
            continue;
        if (p->kind == PROP_BOOL)
            return json_boolean(!strcmp(text, "on"));
        if ((p->kind == PROP_UINT || p->kind == PROP_SIZE) && parse_uint(text, UINT64_MAX, &number))
            return json_integer((json_int_t)number);
        return json_string(text);
    }
    return NULL;
}

struct error *qom_get(struct vm *vm, const struct qom *q, const char *name, json_t **value)
{
    char buf[120];
    bool is_device = q->kind == QOM_DEVICE || q->kind == QOM_VIRTIO_BACKEND;
    uint64_t number;
    *value = NULL;
    if (!strcmp(name, "type"))
        *value = json_string(type_of(vm, q, buf, sizeof(buf)));
    else if (!strcmp(name, "realized") && (is_device || q->kind == QOM_CPU))
        *value = json_boolean(!is_device || q->dev->realized);
    else if (!strcmp(name, "hotplugged") && (is_device || q->kind == QOM_CPU))
        *value = json_boolean(is_device && q->dev->hotplugged);
    else if (!strcmp(name, "guest-stats") && is_balloon(q))
        *value = guest_stats(vm);
    else if (is_device)
        *value = device_property(q->dev, name);
    else if (q->kind == QOM_CPU)
        *value = cpu_property(vm, name);
    else if (q->kind == QOM_OBJECT && q->object->kind == OBJECT_MEMORY && !strcmp(name, "size"))
        *value = json_integer((json_int_t)q->object->size);
    else if (q->kind == QOM_OBJECT && object_get_number(q->object, name, &number))
        *value = json_integer((json_int_t)number);
    return *value ? NULL
                  : error_new("Property '%s.%s' not found", type_of(vm, q, buf, sizeof(buf)), name);
}

/* ---- writing ----------------------------------------------------------------------------------------- */
struct error *qom_set(struct vm *vm, const struct qom *q, const char *name, json_t *value)
{
    char buf[120];
    uint64_t number;
    json_t *now;
    struct error *err = qom_get(vm, q, name, &now);
    if (err)
        return err;
    json_decref(now);
    if (is_balloon(q) && !strcmp(name, "guest-stats-polling-interval")) {
        json_int_t seconds = json_integer_value(value);
        if (!json_is_integer(value) || seconds < 0 || seconds > 86400)
            return error_new("guest-stats-polling-interval is a number of seconds from 0 to 86400");
        return balloon_set_polling(q->dev, (uint32_t)seconds);
    }
    if (q->kind == QOM_OBJECT && object_get_number(q->object, name, &number)) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return error_new("%s is a number that is not negative", name);
        return object_set_number(q->object, name, (uint64_t)json_integer_value(value));
    }
    return error_new("Attempt to set property '%s' of '%s' after it was realized", name,
                     type_of(vm, q, buf, sizeof(buf)));
}
