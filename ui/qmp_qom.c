/* The tree of objects, types and their properties; objects by name. */
#include "core/device.h"
#include "core/error.h"
#include "core/object.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/qom.h"

#include <stdlib.h>

static struct error *find(struct qmp_call *c, struct qom *q)
{
    const char *path = qmp_str(c, "path");
    if (qom_find(c->vm, path, q))
        return NULL;
    return qmp_fail(c, "DeviceNotFound", "Device '%.200s' not found", path);
}

static struct error *do_list(struct qmp_call *c)
{
    struct qom q;
    struct error *err = find(c, &q);
    if (!err)
        c->reply = qom_list(c->vm, &q);
    return err;
}

static struct error *do_get(struct qmp_call *c)
{
    struct qom q;
    struct error *err = find(c, &q);
    return err ? err : qom_get(c->vm, &q, qmp_str(c, "property"), &c->reply);
}

static struct error *do_set(struct qmp_call *c)
{
    struct qom q;
    struct error *err = find(c, &q);
    return err ? err
               : qom_set(c->vm, &q, qmp_str(c, "property"), json_object_get(c->args, "value"));
}

static json_t *list_with_values(struct vm *vm, const struct qom *q)
{
    json_t *list = qom_list(vm, q), *entry, *value;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        struct error *err =
            qom_get(vm, q, json_string_value(json_object_get(entry, "name")), &value);
        if (!err)
            json_object_set_new(entry, "value", value);
        error_free(err); /* children have none */
    }
    return json_pack("{so}", "properties", list);
}

static struct error *do_list_get(struct qmp_call *c)
{
    struct qom q;
    json_t *path;
    size_t i;
    c->reply = json_array();
    json_array_foreach(json_object_get(c->args, "paths"), i, path)
    {
        if (!qom_find(c->vm, json_string_value(path), &q))
            return qmp_fail(c, "DeviceNotFound", "Device '%.200s' not found",
                            json_string_value(path));
        json_array_append_new(c->reply, list_with_values(c->vm, &q));
    }
    return NULL;
}

/* ---- types ------------------------------------------------------------------------------------------- */
struct types {
    json_t *list;
    const char *implements;
    const char *cpu_type;
};

static void add_type(const struct types *t, const char *name, const char *parent)
{
    if (t->implements && strcmp(t->implements, parent) && strcmp(t->implements, name))
        return;
    json_array_append_new(t->list, json_pack("{ssss}", "name", name, "parent", parent));
}

static void add_joined(const struct types *t, const char *name, const char *suffix,
                       const char *parent)
{
    char *text = xasprintf("%s-%s", name, suffix);
    add_type(t, text, parent);
    free(text);
}

static void add_model(void *opaque, const char *name, const char *alias_of)
{
    const struct types *t = opaque;
    add_joined(t, name, t->cpu_type, t->cpu_type);
}

static void add_machines(const struct types *t, const char *arch)
{
    for (size_t i = 0; i < n_machine_classes; i++) {
        const struct machine_class *m = machine_classes[i];
        if (m->arch && strcmp(m->arch, arch))
            continue;
        if (!m->versioned)
            add_joined(t, m->name, "machine", "machine");
        for (size_t v = 0; m->versioned && m->versions[v]; v++) {
            char *name = xasprintf("%s%s", m->versioned, m->versions[v]);
            add_joined(t, name, "machine", "machine");
            free(name);
        }
    }
}

static struct error *list_types(struct qmp_call *c)
{
    const struct types t = { json_array(), qmp_str(c, "implements"), c->vm->target->cpu_type };
    c->reply = t.list;
    add_type(&t, "tcg-accel", "accel");
    add_type(&t, "kvm-accel", "accel");
    for (size_t i = 0; i < n_device_classes; i++)
        add_type(&t, device_classes[i]->name, "device");
    for (size_t i = 0; object_type_name(i); i++)
        add_type(&t, object_type_name(i), "object");
    add_machines(&t, c->vm->target->name);
    if (c->vm->target->cpu_models)
        c->vm->target->cpu_models(add_model, (void *)&t);
    return NULL;
}

static json_t *property_info(const struct prop *p)
{
    json_t *o = json_pack("{ssss}", "name", p->name, "type", qom_prop_type(p));
    if (p->help)
        json_object_set_new(o, "description", json_string(p->help));
    return o;
}

static void add_info(json_t *list, const char *name, const char *type)
{
    json_array_append_new(list, json_pack("{ssss}", "name", name, "type", type));
}

static void add_properties(json_t *list, const struct device_class *cls)
{
    for (size_t i = 0; i < cls->props.n; i++)
        json_array_append_new(list, property_info(&cls->props.at[i]));
    if (!strncmp(cls->name, "virtio-balloon", 14))
        add_info(list, "guest-stats", "guest statistics");
}

static struct error *device_properties(struct qmp_call *c)
{
    const struct device_class *cls = device_class_find(qmp_str(c, "typename"));
    if (!cls)
        return qmp_fail(c, "DeviceNotFound", "Device '%.100s' not found", qmp_str(c, "typename"));
    c->reply = json_array();
    add_properties(c->reply, cls);
    return NULL;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && !strcmp(name + n - k, suffix);
}

static void list_feature(void *opaque, const char *name, enum cpu_feature_state state)
{
    add_info(opaque, name, "bool");
}

static void list_value(void *opaque, const char *name, const char *text, int64_t number)
{
    add_info(opaque, name, text ? "string" : "int");
}

static void add_cpu_properties(struct vm *vm, json_t *list)
{
    const struct cpu_feature_sink sink = { list_feature, list_value, list };
    add_info(list, "unavailable-features", "strList");
    error_free(vm->target->cpu_features(vm, NULL, &sink));
}

static void add_machine_properties(json_t *list, const char *type)
{
    char *name = xasprintf("%.*s", (int)(strlen(type) - strlen("-machine")), type);
    const struct machine_class *cls;
    struct error *err = machine_find(name, NULL, &cls);
    static const char *const common[] = { "accel", "memory-backend", "kernel-irqchip" };
    for (size_t i = 0; i < ARRAY_LEN(common) && !err; i++)
        add_info(list, common[i], "string");
    for (size_t i = 0; !err && i < cls->options.n; i++)
        add_info(list, cls->options.at[i].name,
                 !strcmp(cls->options.at[i].values, "on|off") ? "bool" : "string");
    error_free(err);
    free(name);
}

/* An unknown type has no properties: libvirt does not survive an error. */
static struct error *type_properties(struct qmp_call *c)
{
    const char *type = qmp_str(c, "typename");
    const struct device_class *cls = device_class_find(type);
    c->reply = json_array();
    add_info(c->reply, "type", "string");
    if (cls)
        add_properties(c->reply, cls);
    for (size_t i = 0; object_type_name(i); i++)
        for (size_t k = 0; !strcmp(type, object_type_name(i)) && object_type_property(i, k); k++)
            add_info(c->reply, object_type_property(i, k), "string");
    if (c->vm->target->cpu_type && has_suffix(type, c->vm->target->cpu_type))
        add_cpu_properties(c->vm, c->reply);
    if (has_suffix(type, "-machine"))
        add_machine_properties(c->reply, type);
    return NULL;
}

/* ---- objects ------------------------------------------------------------------------------------------- */
static struct error *object_add(struct qmp_call *c)
{
    char *text = qmp_args_text(c);
    struct error *err = object_create(c->vm, text);
    free(text);
    return err;
}

static struct error *object_del(struct qmp_call *c)
{
    return object_remove(c->vm, qmp_str(c, "id"));
}

static const struct qmp_command commands[] = {
    { "qom-list", "path:str", "[ObjectPropertyInfo]", "children and properties of an object",
      do_list, QMP_PRECONFIG },
    { "qom-get", "path:str property:str", "any", "a property's value", do_get, QMP_PRECONFIG },
    { "qom-set", "path:str property:str value:any", "", "change a property", do_set,
      QMP_PRECONFIG },
    { "qom-list-get", "paths:[str]", "[ObjectPropertiesValues]",
      "all properties of some objects, with their values", do_list_get, QMP_PRECONFIG },
    { "qom-list-types", "*implements:str *abstract:bool", "[ObjectTypeInfo]",
      "devices, objects, machines and CPUs there are", list_types, QMP_PRECONFIG },
    { "qom-list-properties", "typename:str", "[ObjectPropertyInfo]", "what a type's objects have",
      type_properties, QMP_PRECONFIG },
    { "device-list-properties", "typename:str", "[ObjectPropertyInfo]",
      "what -device and device_add take for a device", device_properties, QMP_PRECONFIG },
    { "object-add", "ObjectOptions", "", "make an object, as -object does", object_add,
      QMP_PRECONFIG },
    { "object-del", "id:str", "", "remove an object that nobody uses", object_del, QMP_PRECONFIG },
};

static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("ObjectPropertyInfo", "name:str type:str *description:str *default-value:any"),
    QMP_STRUCT_TYPE("ObjectPropertyValue", "name:str type:str *value:any"),
    QMP_STRUCT_TYPE("ObjectPropertiesValues", "properties:[ObjectPropertyValue]"),
    QMP_STRUCT_TYPE("ObjectTypeInfo", "name:str *abstract:bool *parent:str"),
    QMP_ENUM_TYPE("ObjectType", "iothread rng-builtin rng-random memory-backend-ram "
                                "memory-backend-memfd secret"),
    QMP_UNION_TYPE("ObjectOptions", "qom-type:ObjectType id:str", "qom-type",
                   "rng-random:RngRandomProperties iothread:IothreadProperties "
                   "memory-backend-ram:MemoryBackendProperties "
                   "memory-backend-memfd:MemoryBackendProperties secret:SecretProperties"),
    QMP_STRUCT_TYPE("IothreadProperties", "*poll-max-ns:int"),
    QMP_STRUCT_TYPE("RngRandomProperties", "*filename:str"),
    QMP_STRUCT_TYPE("MemoryBackendProperties",
                    "size:size *prealloc:bool *share:bool *dump:bool *merge:bool"),
    QMP_ENUM_TYPE("QCryptoSecretFormat", "raw base64"),
    QMP_STRUCT_TYPE("SecretProperties", "*data:str *file:str *format:QCryptoSecretFormat"),
};

const struct qmp_table qmp_qom_table = { "Objects", TABLE(commands), TABLE(types) };
