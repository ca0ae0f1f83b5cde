/* Statistics, threads, and what management asks at every start. */
#include "core/accel.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/qom.h"

/* ---- I/O threads ------------------------------------------------------------------------------------- */
static void add_thread(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_IOTHREAD)
        json_array_append_new(opaque,
                              json_pack("{sssisIsisisi}", "id", id, "thread-id", loop_tid(backend),
                                        "poll-max-ns", (json_int_t)loop_poll_ns(backend),
                                        "poll-grow", 0, "poll-shrink", 0, "aio-max-batch", 0));
}

static struct error *query_iothreads(struct qmp_call *c)
{
    c->reply = json_array();
    backends_each(c->vm, add_thread, c->reply);
    return NULL;
}

/* ---- statistics ---------------------------------------------------------------------------------------- */
/* What each vCPU counts. */
static const struct {
    const char *name, *type, *unit;
    size_t offset;
} vcpu_stats[] = {
    { "runs", "cumulative", NULL, offsetof(struct vcpu_counts, runs) },
    { "halts", "cumulative", NULL, offsetof(struct vcpu_counts, halts) },
    { "halted_ns", "cumulative", "seconds", offsetof(struct vcpu_counts, halted_ns) },
    { "interrupts", "cumulative", NULL, offsetof(struct vcpu_counts, interrupts) },
    { "exceptions", "cumulative", NULL, offsetof(struct vcpu_counts, exceptions) },
};

static bool is_in(json_t *names, const char *name)
{
    json_t *item;
    size_t i;
    json_array_foreach(names, i, item)
    {
        if (!strcmp(json_string_value(item), name))
            return true;
    }
    return !names;
}

/* Does the request want this provider, and which of its names? NULL: all. */
static bool wants(const struct qmp_call *c, const char *provider, json_t **names)
{
    json_t *providers = json_object_get(c->args, "providers"), *item;
    size_t i;
    *names = NULL;
    json_array_foreach(providers, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "provider")), provider))
            continue;
        *names = json_object_get(item, "names");
        return true;
    }
    return !providers;
}

struct collector {
    json_t *list, *names;
};

static void collect(void *opaque, const char *name, double value)
{
    const struct collector *to = opaque;
    if (is_in(to->names, name))
        json_array_append_new(to->list,
                              json_pack("{sssI}", "name", name, "value", (json_int_t)value));
}

static json_t *stats_of_vcpu(const struct vcpu *cpu, json_t *names)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(vcpu_stats); i++) {
        const uint64_t *at = (const uint64_t *)((const char *)&cpu->counts + vcpu_stats[i].offset);
        if (is_in(names, vcpu_stats[i].name))
            json_array_append_new(
                list, json_pack("{sssI}", "name", vcpu_stats[i].name, "value", (json_int_t)*at));
    }
    return list;
}

static struct error *query_stats(struct qmp_call *c)
{
    struct vm *vm = c->vm;
    const char *provider = vm->accel->name;
    json_t *names, *vcpus = json_object_get(c->args, "vcpus");
    c->reply = json_array();
    if (!wants(c, provider, &names))
        return NULL;
    if (!strcmp(qmp_str(c, "target"), "vm")) {
        struct collector to = { json_array(), names };
        vm->accel->stats(vm, collect, &to);
        json_array_append_new(c->reply,
                              json_pack("{ssso}", "provider", provider, "stats", to.list));
        return NULL;
    }
    for (unsigned i = 0; !strcmp(qmp_str(c, "target"), "vcpu") && i < vm->n_vcpus; i++) {
        char path[QOM_PATH];
        qom_cpu_path(vm->vcpus[i], path);
        if (is_in(vcpus, path))
            json_array_append_new(c->reply,
                                  json_pack("{ssssso}", "provider", provider, "qom-path", path,
                                            "stats", stats_of_vcpu(vm->vcpus[i], names)));
    }
    return NULL;
}

static void describe(void *opaque, const char *name, double value)
{
    json_array_append_new(opaque,
                          json_pack("{sssssi}", "name", name, "type", "cumulative", "exponent", 0));
}

static struct error *query_schemas(struct qmp_call *c)
{
    const char *wanted = qmp_str(c, "provider"), *provider = c->vm->accel->name;
    json_t *of_vm = json_array(), *of_vcpu = json_array();
    c->vm->accel->stats(c->vm, describe, of_vm);
    for (size_t i = 0; i < ARRAY_LEN(vcpu_stats); i++) {
        json_t *o = json_pack("{sssssi}", "name", vcpu_stats[i].name, "type", vcpu_stats[i].type,
                              "exponent", vcpu_stats[i].unit ? -9 : 0);
        if (vcpu_stats[i].unit) {
            json_object_set_new(o, "unit", json_string(vcpu_stats[i].unit));
            json_object_set_new(o, "base", json_integer(10));
        }
        json_array_append_new(of_vcpu, o);
    }
    c->reply = json_array();
    if (!wanted || !strcmp(wanted, provider)) {
        json_array_append_new(
            c->reply, json_pack("{sssssO}", "provider", provider, "target", "vm", "stats", of_vm));
        json_array_append_new(c->reply, json_pack("{sssssO}", "provider", provider, "target",
                                                  "vcpu", "stats", of_vcpu));
    }
    json_decref(of_vm);
    json_decref(of_vcpu);
    return NULL;
}

/* ---- nothing of this kind is there ---------------------------------------------------------------------- */
static struct error *none(struct qmp_call *c)
{
    c->reply = json_array();
    return NULL;
}

/* There is no migration whose events could be wanted, but whoever starts a VM says that it wants them. */
static struct error *set_capabilities(struct qmp_call *c)
{
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-iothreads", "", "[IOThreadInfo]", "I/O threads", query_iothreads, QMP_PRECONFIG },
    { "query-stats", "target:StatsTarget *vcpus:[str] *providers:[StatsRequest]", "[StatsResult]",
      "what the engine counted", query_stats },
    { "query-stats-schemas", "*provider:StatsProvider", "[StatsSchema]",
      "what there is to be counted", query_schemas },
    { "query-tpm", "", "[TPMInfo]", "TPMs: there are none", none },
    { "query-tpm-models", "", "[TpmModel]", "models of TPMs: none", none },
    { "query-tpm-types", "", "[TpmType]", "kinds of TPMs: none", none },
    { "query-migrate-capabilities", "", "[MigrationCapabilityStatus]",
      "there is no migration yet, and so nothing to be able to", none },
    { "migrate-set-capabilities", "capabilities:[MigrationCapabilityStatus]", "",
      "accepted at the start of a VM: without migration there are no events of it",
      set_capabilities },
};

static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("IOThreadInfo", "id:str thread-id:int poll-max-ns:int poll-grow:int "
                                    "poll-shrink:int aio-max-batch:int"),
    QMP_ENUM_TYPE("StatsTarget", "vm vcpu cryptodev"),
    QMP_ENUM_TYPE("StatsProvider", "kvm tcg lockstep cryptodev"),
    QMP_ENUM_TYPE("StatsType", "cumulative instant peak linear-histogram log2-histogram"),
    QMP_ENUM_TYPE("StatsUnit", "bytes seconds cycles boolean"),
    QMP_STRUCT_TYPE("StatsRequest", "provider:StatsProvider *names:[str]"),
    QMP_STRUCT_TYPE("Stats", "name:str value:any"),
    QMP_STRUCT_TYPE("StatsResult", "provider:StatsProvider *qom-path:str stats:[Stats]"),
    QMP_STRUCT_TYPE("StatsSchemaValue",
                    "name:str type:StatsType *unit:StatsUnit *base:int exponent:int"),
    QMP_STRUCT_TYPE("StatsSchema",
                    "provider:StatsProvider target:StatsTarget stats:[StatsSchemaValue]"),
    QMP_ENUM_TYPE("TpmModel", "tpm-tis tpm-crb"),
    QMP_ENUM_TYPE("TpmType", "passthrough emulator"),
    QMP_STRUCT_TYPE("TPMInfo", "id:str model:TpmModel"),
    QMP_ENUM_TYPE("MigrationCapability", "events"),
    QMP_STRUCT_TYPE("MigrationCapabilityStatus", "capability:MigrationCapability state:bool"),
};

const struct qmp_table qmp_stats_table = { "Statistics, threads, what is not there",
                                           TABLE(commands), TABLE(types) };
