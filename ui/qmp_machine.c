/* Machines, CPUs, memory. */
#include "core/accel.h"
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "hw/virtio/balloon.h"
#include "ui/monitor.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/qom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- machines ---------------------------------------------------------------------------------- */
static json_t *machine_info(const struct target *target, const struct machine_class *m,
                            const char *name, bool newest)
{
    json_t *o =
        json_pack("{sssisbsbsbsb}", "name", name, "cpu-max", (int)m->max_cpus, "hotpluggable-cpus",
                  0, "numa-mem-supported", 0, "deprecated", 0, "acpi", m->has_tables);
    if (m->versioned && newest)
        json_object_set_new(o, "alias", json_string(m->name));
    if (m->is_default && newest)
        json_object_set_new(o, "is-default", json_true());
    if (m->ram_name)
        json_object_set_new(o, "default-ram-id", json_string(m->ram_name));
    if (m->arch && target->cpu_type) {
        char *type = xasprintf("%s-%s", target->default_cpu, target->cpu_type);
        json_object_set_new(o, "default-cpu-type", json_string(type));
        free(type);
    }
    return o;
}

static struct error *query_machines(struct qmp_call *c)
{
    const struct target *target = c->vm->target;
    c->reply = json_array();
    for (size_t i = 0; i < n_machine_classes; i++) {
        const struct machine_class *m = machine_classes[i];
        if (m->arch && strcmp(m->arch, target->name))
            continue;
        if (!m->versioned)
            json_array_append_new(c->reply, machine_info(target, m, m->name, true));
        for (size_t v = 0; m->versioned && m->versions[v]; v++) {
            char *name = xasprintf("%s%s", m->versioned, m->versions[v]);
            json_array_append_new(c->reply, machine_info(target, m, name, v == 0));
            free(name);
        }
    }
    return NULL;
}

static struct error *current_machine(struct qmp_call *c)
{
    c->reply = json_pack("{sb}", "wakeup-suspend-support", c->vm->can_suspend);
    return NULL;
}

/* ---- CPUs ---------------------------------------------------------------------------------------- */
static json_t *topology(const struct vcpu *cpu)
{
    const struct machine *m = cpu->vm->machine;
    unsigned i = cpu->index, per_socket = m->cores * m->threads;
    if (strcmp(cpu->vm->target->name, "x86_64"))
        return json_pack("{si}", "core-id", (int)i);
    return json_pack("{sisisi}", "socket-id", (int)(i / per_socket), "core-id",
                     (int)(i / m->threads % m->cores), "thread-id", (int)(i % m->threads));
}

static struct error *query_cpus(struct qmp_call *c)
{
    struct vm *vm = c->vm;
    struct error *err = vm_start_threads(vm); /* who asks wants to see them */
    c->reply = json_array();
    for (unsigned i = 0; i < vm->n_vcpus && !err; i++) {
        char path[QOM_PATH];
        qom_cpu_path(vm->vcpus[i], path);
        json_array_append_new(c->reply,
                              json_pack("{sisisssoss}", "cpu-index", (int)i, "thread-id",
                                        vm->vcpus[i]->tid, "qom-path", path, "props",
                                        topology(vm->vcpus[i]), "target", vm->target->name));
    }
    return err;
}

static struct error *hotpluggable_cpus(struct qmp_call *c)
{
    struct vm *vm = c->vm;
    c->reply = json_array();
    if (!vm->n_vcpus)
        return error_new("machine does not support hot-plugging CPUs");
    char *type = xasprintf("%s-%s", vm->target->default_cpu, vm->target->cpu_type);
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        char path[QOM_PATH];
        qom_cpu_path(vm->vcpus[i], path);
        json_array_append_new(c->reply,
                              json_pack("{sssisoss}", "type", type, "vcpus-count", 1, "props",
                                        topology(vm->vcpus[i]), "qom-path", path));
    }
    free(type);
    return NULL;
}

/* ---- models ---------------------------------------------------------------------------------------- */
struct definitions {
    struct vm *vm;
    json_t *list;
};

static void add_missing(void *opaque, const char *name, enum cpu_feature_state state)
{
    if (state == CPU_FEATURE_MISSING)
        json_array_append_new(opaque, json_string(name));
}

static void ignore_value(void *opaque, const char *name, const char *text, int64_t number)
{
}

static bool takes_host(const char *model)
{
    return !strcmp(model, "host") || !strcmp(model, "max");
}

static void add_definition(void *opaque, const char *name, const char *alias_of)
{
    struct definitions *d = opaque;
    const struct target *target = d->vm->target;
    json_t *missing = json_array();
    const struct cpu_feature_sink sink = { add_missing, ignore_value, missing };
    error_free(target->cpu_features(d->vm, name, &sink));
    char *type = xasprintf("%s-%s", name, target->cpu_type);
    json_t *o =
        json_pack("{sssssosbsbsb}", "name", name, "typename", type, "unavailable-features", missing,
                  "static", 0, "migration-safe", !takes_host(name), "deprecated", 0);
    if (alias_of)
        json_object_set_new(o, "alias-of", json_string(alias_of));
    json_array_append_new(d->list, o);
    free(type);
}

static struct error *cpu_definitions(struct qmp_call *c)
{
    struct definitions d = { c->vm, json_array() };
    c->reply = d.list;
    if (c->vm->target->cpu_models)
        c->vm->target->cpu_models(add_definition, &d);
    return NULL;
}

struct expansion {
    json_t *props;
};

static void expand_feature(void *opaque, const char *name, enum cpu_feature_state state)
{
    json_object_set_new(opaque, name, json_boolean(state == CPU_FEATURE_ON));
}

static void expand_value(void *opaque, const char *name, const char *text, int64_t number)
{
    json_object_set_new(opaque, name, text ? json_string(text) : json_integer(number));
}

/* {name, props} as -cpu takes it; the caller frees it. NULL: a property is neither a truth, a number nor a
 * text. */
static char *model_text(json_t *model)
{
    const char *key;
    json_t *value;
    char *text = xstrdup(json_string_value(json_object_get(model, "name")));
    json_object_foreach(json_object_get(model, "props"), key, value)
    {
        char *longer;
        if (json_is_boolean(value))
            longer = xasprintf("%s,%s=%s", text, key, json_is_true(value) ? "on" : "off");
        else if (json_is_integer(value))
            longer = xasprintf("%s,%s=%lld", text, key, (long long)json_integer_value(value));
        else
            longer = xasprintf("%s,%s=%s", text, key,
                               json_is_string(value) ? json_string_value(value) : "");
        free(text);
        text = longer;
    }
    return text;
}

/* The model's features as one object. */
static struct error *expand(struct vm *vm, json_t *model, json_t **props)
{
    const char *name = json_string_value(json_object_get(model, "name"));
    *props = json_object();
    const struct cpu_feature_sink sink = { expand_feature, expand_value, *props };
    if (!strcmp(name, "host") && strcmp(vm->accel->name, "kvm"))
        return error_new("The CPU type 'host' requires KVM");
    if (!vm->target->cpu_features)
        return error_new("the CPU models of %s cannot be expanded", vm->target->name);
    char *text = model_text(model);
    struct error *err = vm->target->cpu_features(vm, text, &sink);
    free(text);
    return err;
}

/* "static" names no model whose meaning could change: all that there is hangs on the base. Where there is no such
 * model, only "full" is possible. */
static struct error *model_expansion(struct qmp_call *c)
{
    json_t *model = json_object_get(c->args, "model"), *props;
    bool is_static = !strcmp(qmp_str(c, "type"), "static");
    if (is_static && strcmp(c->vm->target->name, "x86_64"))
        return error_new("The requested expansion type is not supported");
    struct error *err = expand(c->vm, model, &props);
    if (err) {
        json_decref(props);
        return err;
    }
    c->reply = json_pack("{s{ssso}}", "model", "name",
                         is_static ? "base" : json_string_value(json_object_get(model, "name")),
                         "props", props);
    return NULL;
}

/* Which of a's features b lacks. */
static bool has_all(json_t *a, json_t *b)
{
    const char *key;
    json_t *value;
    json_object_foreach(b, key, value)
    {
        if (json_is_true(value) && !json_is_true(json_object_get(a, key)))
            return false;
    }
    return true;
}

static void add_difference(json_t *a, json_t *b, json_t *list)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        if (json_is_boolean(value) && !json_equal(value, json_object_get(b, key)))
            json_array_append_new(list, json_string(key));
    }
}

static struct error *model_comparison(struct qmp_call *c)
{
    json_t *a = NULL, *b = NULL, *list = json_array();
    struct error *err = expand(c->vm, json_object_get(c->args, "modela"), &a);
    if (!err)
        err = expand(c->vm, json_object_get(c->args, "modelb"), &b);
    if (!err) {
        bool over = has_all(a, b), under = has_all(b, a);
        add_difference(a, b, list);
        c->reply = json_pack("{sssO}", "result",
                             over && under ? "identical"
                             : over        ? "superset"
                             : under       ? "subset"
                                           : "incompatible",
                             "responsible-properties", list);
    }
    json_decref(a);
    json_decref(b);
    json_decref(list);
    return err;
}

static struct error *model_baseline(struct qmp_call *c)
{
    json_t *a = NULL, *b = NULL, *props = json_object(), *value;
    const char *key;
    struct error *err = expand(c->vm, json_object_get(c->args, "modela"), &a);
    if (!err)
        err = expand(c->vm, json_object_get(c->args, "modelb"), &b);
    if (!err) {
        json_object_foreach(a, key, value)
        {
            if (json_is_boolean(value))
                json_object_set_new(
                    props, key,
                    json_boolean(json_is_true(value) && json_is_true(json_object_get(b, key))));
        }
        c->reply = json_pack("{s{sssO}}", "model", "name", "base", "props", props);
    }
    json_decref(a);
    json_decref(b);
    json_decref(props);
    return err;
}

/* ---- memory ------------------------------------------------------------------------------------------ */
static struct error *memory_summary(struct qmp_call *c)
{
    const struct machine *m = c->vm->machine;
    c->reply = json_pack("{sIsI}", "base-memory", (json_int_t)m->ram_size, "plugged-memory",
                         (json_int_t)0);
    return NULL;
}

static struct error *memory_devices(struct qmp_call *c)
{
    c->reply = json_array(); /* there are no DIMMs */
    return NULL;
}

/* What management asks of hosts that have more than this one. */
static struct error *no_gic(struct qmp_call *c)
{
    return error_new("GIC hardware is not available on this target");
}

static struct error *no_sev(struct qmp_call *c)
{
    return error_new("SEV is not enabled in KVM");
}

static struct error *no_sgx(struct qmp_call *c)
{
    return error_new("SGX is not enabled in KVM");
}

/* Copies guest memory to a file. by_cpu NULL: physical addresses. */
static struct error *save(struct vm *vm, uint64_t at, uint64_t size, const char *path,
                          struct vcpu *by_cpu)
{
    uint8_t page[4096];
    struct error *err = NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_errno("Could not open '%s'", path);
    while (size && !err) {
        size_t n = MIN(size, sizeof(page) - at % sizeof(page));
        uint64_t physical = at;
        bool there = !by_cpu || vm->target->translate(by_cpu, at, &physical);
        if (!there || !mem_read(vm, physical, page, n))
            err = error_new("Invalid addr 0x%016llx/size %llu specified", (unsigned long long)at,
                            (unsigned long long)size);
        else if (write(fd, page, n) != (ssize_t)n)
            err = error_errno("cannot write '%s'", path);
        at += n;
        size -= n;
    }
    close(fd);
    return err;
}

static struct error *do_pmemsave(struct qmp_call *c)
{
    return save(c->vm, (uint64_t)qmp_int(c, "val", 0), (uint64_t)qmp_int(c, "size", 0),
                qmp_str(c, "filename"), NULL);
}

static struct error *do_memsave(struct qmp_call *c)
{
    struct vm *vm = c->vm;
    uint64_t i = (uint64_t)qmp_int(c, "cpu-index", 0);
    if (i >= vm->n_vcpus)
        return error_new("Parameter 'cpu-index' expects a CPU number");
    if (!vm->target->translate)
        return error_new("addresses of %s guests cannot be translated here", vm->target->name);
    bool ran = vm->state == RUN_RUNNING;
    vm_pause(vm);
    vm->accel->get_state(vm->vcpus[i]);
    struct error *err = save(vm, (uint64_t)qmp_int(c, "val", 0), (uint64_t)qmp_int(c, "size", 0),
                             qmp_str(c, "filename"), vm->vcpus[i]);
    if (ran)
        vm_start(vm);
    return err;
}

static struct error *do_balloon(struct qmp_call *c)
{
    struct error *err = balloon_set(c->vm, (uint64_t)qmp_int(c, "value", 0));
    if (!err)
        return NULL;
    error_free(err);
    return qmp_fail(c, "DeviceNotActive", "No balloon device has been activated");
}

static struct error *query_balloon(struct qmp_call *c)
{
    struct balloon_info info;
    struct error *err = balloon_query(c->vm, &info);
    if (!err) {
        c->reply = json_pack("{sI}", "actual", (json_int_t)info.actual);
        return NULL;
    }
    error_free(err);
    return qmp_fail(c, "DeviceNotActive", "No balloon device has been activated");
}

/* ---- the command line --------------------------------------------------------------------------------- */
static void add_parameter(json_t *list, const char *name, const char *type)
{
    json_array_append_new(list, json_pack("{ssss}", "name", name, "type", type));
}

static json_t *machine_parameters(void)
{
    json_t *list = json_array(), *seen = json_object();
    add_parameter(list, "type", "string");
    add_parameter(list, "accel", "string");
    add_parameter(list, "memory-backend", "string");
    for (size_t i = 0; i < n_machine_classes; i++)
        for (size_t k = 0; k < machine_classes[i]->options.n; k++) {
            const struct machine_option *o = &machine_classes[i]->options.at[k];
            if (json_object_get(seen, o->name))
                continue;
            json_object_set_new(seen, o->name, json_true());
            add_parameter(list, o->name, !strcmp(o->values, "on|off") ? "boolean" : "string");
        }
    json_decref(seen);
    return list;
}

static const char *const sandbox_parameters[] = { "enable", "obsolete", "elevateprivileges",
                                                  "spawn", "resourcecontrol" };

static json_t *parameters_of(const char *option)
{
    if (!strcmp(option, "machine"))
        return machine_parameters();
    json_t *list = json_array();
    for (size_t i = 0; !strcmp(option, "sandbox") && i < ARRAY_LEN(sandbox_parameters); i++)
        add_parameter(list, sandbox_parameters[i], i ? "string" : "boolean");
    return list;
}

static struct error *command_line(struct qmp_call *c)
{
    const char *wanted = qmp_str(c, "option");
    const struct option_table *table = c->hooks->options;
    c->reply = json_array();
    for (size_t i = 0; table && i < table->n; i++) {
        const struct option *o = &table->at[i];
        if (!o->name || !o->handle || (wanted && strcmp(wanted, o->name)))
            continue;
        json_array_append_new(
            c->reply, json_pack("{ssso}", "option", o->name, "parameters", parameters_of(o->name)));
    }
    if (wanted && !json_array_size(c->reply))
        return error_new("Parameter 'option' does not accept value '%.80s'", wanted);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-machines", "", "[MachineInfo]", "boards for this architecture", query_machines,
      QMP_PRECONFIG },
    { "query-current-machine", "", "CurrentMachineParams", "what this board can do",
      current_machine },
    { "query-cpus-fast", "", "[CpuInfoFast]", "the CPUs and their threads, without stopping them",
      query_cpus },
    { "query-hotpluggable-cpus", "", "[HotpluggableCPU]", "places of CPUs", hotpluggable_cpus,
      QMP_PRECONFIG },
    { "query-cpu-definitions", "", "[CpuDefinitionInfo]",
      "CPU models, and what of each the engine cannot give", cpu_definitions },
    { "query-cpu-model-expansion", "type:CpuModelExpansionType model:CpuModelInfo",
      "CpuModelExpansionInfo", "a model's features", model_expansion },
    { "query-cpu-model-comparison", "modela:CpuModelInfo modelb:CpuModelInfo",
      "CpuModelCompareInfo", "which of two models has the other's features", model_comparison },
    { "query-cpu-model-baseline", "modela:CpuModelInfo modelb:CpuModelInfo", "CpuModelBaselineInfo",
      "the features that both have", model_baseline },
    { "query-memory-size-summary", "", "MemoryInfo", "guest memory", memory_summary },
    { "query-memory-devices", "", "[MemoryDeviceInfo]", "memory that was plugged", memory_devices },
    { "query-gic-capabilities", "", "[GICCapability]", "refused: there is no Arm guest", no_gic },
    { "query-sev-capabilities", "", "SevCapability", "refused: guests' memory is not encrypted",
      no_sev },
    { "query-sgx-capabilities", "", "SgxInfo", "refused: there are no enclaves", no_sgx },
    { "memsave", "val:int size:int filename:str *cpu-index:int", "",
      "write guest memory at a virtual address to a file", do_memsave },
    { "pmemsave", "val:int size:int filename:str", "",
      "write guest memory at a physical address to a file", do_pmemsave },
    { "balloon", "value:int", "", "ask the guest to make do with this many bytes", do_balloon },
    { "query-balloon", "", "BalloonInfo", "bytes that the guest has now", query_balloon },
    { "query-command-line-options", "*option:str", "[CommandLineOptionInfo]",
      "options of the command line", command_line, QMP_PRECONFIG },
};

static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("MachineInfo",
                    "name:str *alias:str *is-default:bool cpu-max:int hotpluggable-cpus:bool "
                    "numa-mem-supported:bool deprecated:bool *default-cpu-type:str "
                    "*default-ram-id:str acpi:bool"),
    QMP_STRUCT_TYPE("CurrentMachineParams", "wakeup-suspend-support:bool"),
    QMP_STRUCT_TYPE("CpuInstanceProperties",
                    "*node-id:int *socket-id:int *die-id:int *core-id:int *thread-id:int"),
    QMP_STRUCT_TYPE("CpuInfoFast", "cpu-index:int qom-path:str thread-id:int "
                                   "*props:CpuInstanceProperties target:SysEmuTarget"),
    QMP_STRUCT_TYPE("HotpluggableCPU",
                    "type:str vcpus-count:int props:CpuInstanceProperties *qom-path:str"),
    QMP_STRUCT_TYPE("CpuDefinitionInfo",
                    "name:str *migration-safe:bool static:bool *unavailable-features:[str] "
                    "typename:str *alias-of:str deprecated:bool"),
    QMP_ENUM_TYPE("CpuModelExpansionType", "static full"),
    QMP_STRUCT_TYPE("CpuModelInfo", "name:str *props:any"),
    QMP_STRUCT_TYPE("CpuModelExpansionInfo", "model:CpuModelInfo"),
    QMP_ENUM_TYPE("CpuModelCompareResult", "incompatible identical superset subset"),
    QMP_STRUCT_TYPE("CpuModelCompareInfo",
                    "result:CpuModelCompareResult responsible-properties:[str]"),
    QMP_STRUCT_TYPE("CpuModelBaselineInfo", "model:CpuModelInfo"),
    QMP_STRUCT_TYPE("MemoryInfo", "base-memory:size *plugged-memory:size"),
    QMP_STRUCT_TYPE("GICCapability", "version:int emulated:bool kernel:bool"),
    QMP_STRUCT_TYPE("SevCapability",
                    "pdh:str cert-chain:str cpu0-id:str cbitpos:int reduced-phys-bits:int"),
    QMP_STRUCT_TYPE("SgxInfo", "sgx:bool sgx1:bool sgx2:bool flc:bool sections:[SgxEpcSection]"),
    QMP_STRUCT_TYPE("SgxEpcSection", "node:int size:uint64"),
    QMP_ENUM_TYPE("MemoryDeviceInfoKind", "dimm"),
    QMP_STRUCT_TYPE("MemoryDeviceInfo", "type:MemoryDeviceInfoKind data:PCDIMMDeviceInfo"),
    QMP_STRUCT_TYPE("PCDIMMDeviceInfo", "*id:str addr:int size:int slot:int node:int memdev:str "
                                        "hotplugged:bool hotpluggable:bool"),
    QMP_STRUCT_TYPE("BalloonInfo", "actual:int"),
    QMP_ENUM_TYPE("CommandLineParameterType", "string boolean number size"),
    QMP_STRUCT_TYPE("CommandLineParameterInfo",
                    "name:str type:CommandLineParameterType *help:str *default:str"),
    QMP_STRUCT_TYPE("CommandLineOptionInfo", "option:str parameters:[CommandLineParameterInfo]"),
};

const struct qmp_table qmp_machine_table = { "Machine, CPUs, memory", TABLE(commands),
                                             TABLE(types) };
