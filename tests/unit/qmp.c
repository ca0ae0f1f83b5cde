/* QMP: the tables, argument checks, the protocol over a socket, and each command. */
#include "ui/qmp.h"

#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "net/net.h"
#include "ui/faces.h"
#include "ui/monitor.h"
#include "x86_board.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static void no_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to)
{
    print(to, "no statistics");
}
static const struct monitor_hooks hooks = { no_stats, NULL, NULL };

static char bios_path[40]; /* firmware of nothing */

static int make_bios(void **unused)
{
    int fd = memfd_create("bios", MFD_CLOEXEC);
    snprintf(bios_path, sizeof(bios_path), "/proc/self/fd/%d", fd);
    return fd < 0 || ftruncate(fd, 64 * KIB);
}

static void end(struct vm *vm)
{
    faces_free(vm);
    x86_machine_free(vm);
}

static struct vm *q35(const char *device)
{
    struct vm *vm;
    const struct machine_options o = {
        .machine = "q35", .arch = "x86_64", .bios = bios_path, .ram_size = 64 * MIB, .smp = 2
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, device, &vm);
    if (err)
        fail_msg("%s", error_text(err));
    return vm;
}

/* ---- one command ----------------------------------------------------------------------------- */
static json_t *run(struct vm *vm, const char *command, const char *args)
{
    json_error_t where;
    json_t *a = args ? json_loads(args, 0, &where) : NULL;
    if (args && !a)
        fail_msg("%s: %s", args, where.text);
    struct qmp_call c = { .vm = vm, .hooks = &hooks };
    json_t *reply = qmp_run(&c, command, a);
    json_decref(a);
    return reply;
}

/* The result, which the caller lets go of. */
static json_t *good(struct vm *vm, const char *command, const char *args)
{
    json_t *reply = run(vm, command, args), *result = json_object_get(reply, "return");
    if (!result)
        fail_msg("%s %s: %s", command, args ? args : "",
                 json_string_value(json_object_get(json_object_get(reply, "error"), "desc")));
    struct error *err = qmp_check_reply(qmp_command_find(command), result);
    if (err)
        fail_msg("%s: %s", command, error_text(err));
    json_incref(result);
    json_decref(reply);
    return result;
}

static void well(struct vm *vm, const char *command, const char *args)
{
    json_decref(good(vm, command, args));
}

/* It fails with this class and a text that has `part` in it. */
static void bad(struct vm *vm, const char *command, const char *args, const char *error_class,
                const char *part)
{
    json_t *reply = run(vm, command, args), *error = json_object_get(reply, "error");
    if (!error)
        fail_msg("%s %s succeeds", command, args ? args : "");
    assert_string_equal(json_string_value(json_object_get(error, "class")), error_class);
    const char *text = json_string_value(json_object_get(error, "desc"));
    if (!strstr(text, part))
        fail_msg("%s %s: '%s' does not say '%s'", command, args ? args : "", text, part);
    json_decref(reply);
}

/* A member by its way down, "a.b" or "0.b", as text. */
static const char *at(json_t *value, const char *way)
{
    char step[64];
    while (*way) {
        size_t n = strcspn(way, ".");
        snprintf(step, sizeof(step), "%.*s", (int)n, way);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(step))
                                     : json_object_get(value, step);
        way += n + (way[n] == '.');
    }
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    return json_is_string(value) ? json_string_value(value) : value ? "something" : "nothing";
}

/* ---- the tables -------------------------------------------------------------------------------- */
static void type_is_known(const char *type)
{
    static const char *const builtin[] = { "str",   "int",   "number", "bool",   "null",
                                           "any",   "size",  "int8",   "int16",  "int32",
                                           "int64", "uint8", "uint16", "uint32", "uint64" };
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
        if (!strcmp(type, builtin[i]))
            return;
    if (*type && !qmp_type_find(type))
        fail_msg("there is no type '%s'", type);
}

static void members_are_known(const char *text)
{
    struct qmp_member m;
    if (!strchr(text, ':'))
        type_is_known(text);
    while (strchr(text, ':') && qmp_next_member(&text, &m))
        type_is_known(m.type);
}

static void list_or_type_is_known(const char *text)
{
    char name[64];
    snprintf(name, sizeof(name), "%s", text + (text[0] == '['));
    name[strcspn(name, "]")] = 0;
    type_is_known(name);
}

static void union_is_sound(const struct qmp_type *t)
{
    struct qmp_member m;
    const char *text = t->text, *cases = t->cases;
    while (qmp_next_member(&text, &m) && strcmp(m.name, t->tag))
        ;
    assert_string_equal(m.name, t->tag);
    assert_int_equal(qmp_type_find(m.type)->kind, QMP_ENUM);
    const char *values = qmp_type_find(m.type)->text;
    while (qmp_next_member(&cases, &m)) {
        type_is_known(m.type);
        if (!strstr(values, m.name))
            fail_msg("%s: '%s' is no value of the tag", t->name, m.name);
    }
}

static void every_type_that_is_named_exists(void **unused)
{
    for (size_t i = 0; i < n_qmp_tables; i++) {
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++) {
            const struct qmp_command *c = &qmp_tables[i]->commands.at[j];
            assert_ptr_equal(qmp_command_find(c->name), c); /* and no name is twice */
            members_are_known(c->args);
            list_or_type_is_known(c->returns);
            assert_true(c->doc && *c->doc && c->run);
        }
        for (size_t j = 0; j < qmp_tables[i]->types.n; j++) {
            const struct qmp_type *t = &qmp_tables[i]->types.at[j];
            assert_ptr_equal(qmp_type_find(t->name), t);
            if (t->kind == QMP_STRUCT || t->kind == QMP_UNION)
                members_are_known(t->text);
            if (t->kind == QMP_UNION)
                union_is_sound(t);
        }
    }
    for (size_t i = 0; i < N_EVENTS; i++) {
        assert_non_null(qmp_events[i].name);
        members_are_known(qmp_events[i].data);
    }
}

/* Every name that a schema entry refers to has an entry. */
static void the_schema_is_closed(void **unused)
{
    static const char *const refer[] = { "arg-type", "ret-type", "element-type" };
    json_t *schema = qmp_schema(), *names = json_object(), *entry, *member;
    size_t i, k;
    json_array_foreach(schema, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (json_object_get(names, name))
            fail_msg("'%s' is told twice", name);
        json_object_set_new(names, name, json_true());
    }
    for (i = 0; i < N_EVENTS; i++)
        assert_non_null(json_object_get(names, qmp_events[i].name));
    for (i = 0; i < n_qmp_tables; i++)
        for (k = 0; k < qmp_tables[i]->commands.n; k++)
            assert_non_null(json_object_get(names, qmp_tables[i]->commands.at[k].name));
    json_array_foreach(schema, i, entry)
    {
        for (size_t j = 0; j < ARRAY_LEN(refer); j++) {
            const char *name = json_string_value(json_object_get(entry, refer[j]));
            if (name && !json_object_get(names, name))
                fail_msg("'%s' is not told", name);
        }
        json_array_foreach(json_object_get(entry, "members"), k, member)
        {
            const char *name = json_string_value(json_object_get(member, "type"));
            if (name && !json_object_get(names, name))
                fail_msg("'%s' is not told", name);
        }
    }
    json_decref(names);
    json_decref(schema);
}

static struct error *check(const char *args)
{
    static const struct qmp_command cmd = {
        "test", "name:str *n:uint8 *flag:bool *list:[int] *action:RebootAction", "", "", NULL
    };
    json_t *a = json_loads(args, 0, NULL);
    struct error *err = qmp_check_args(&cmd, a);
    json_decref(a);
    return err;
}

static void refused(const char *args, const char *text)
{
    struct error *err = check(args);
    assert_non_null(err);
    assert_string_equal(error_text(err), text);
    error_free(err);
}

static void arguments_are_checked_before_the_handler(void **unused)
{
    assert_null(
        check("{\"name\":\"x\",\"n\":255,\"flag\":true,\"list\":[1,2],\"action\":\"reset\"}"));
    refused("{}", "Parameter 'name' is missing");
    refused("{\"name\":1}", "Invalid parameter type for 'name', expected: string");
    refused("{\"name\":\"x\",\"n\":256}", "Parameter 'n' expects uint8");
    refused("{\"name\":\"x\",\"flag\":0}", "Invalid parameter type for 'flag', expected: boolean");
    refused("{\"name\":\"x\",\"list\":[1,true]}",
            "Invalid parameter type for 'list[1]', expected: integer");
    refused("{\"name\":\"x\",\"action\":\"jump\"}",
            "Parameter 'action' does not accept value 'jump'; accepted: reset, shutdown");
    refused("{\"name\":\"x\",\"flg\":true}", "Parameter 'flg' is unexpected; did you mean 'flag'?");
}

/* ---- every command ------------------------------------------------------------------------------- */
static bool needs_arguments(const struct qmp_command *c)
{
    struct qmp_member m;
    const char *text = c->args;
    bool needs = *text && !strchr(text, ':');
    while (!needs && qmp_next_member(&text, &m))
        needs |= !m.optional;
    return needs;
}

static void no_command_takes_what_it_does_not_know(void **unused)
{
    struct vm *vm = q35(NULL);
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++) {
            const struct qmp_command *c = &qmp_tables[i]->commands.at[j];
            json_t *reply = run(vm, c->name, "{\"no-such-thing\":[{}]}");
            assert_non_null(json_object_get(reply, "error"));
            json_decref(reply);
            if (needs_arguments(c) || c->flags & QMP_ANY_ARGS)
                continue;
            bad(vm, c->name, "{\"no-such-thing\":[{}]}", "GenericError",
                "'no-such-thing' is unexpected");
        }
    end(vm);
}

static void every_query_without_arguments_answers(void **unused)
{
    static const char *const may_fail[] = { "query-balloon", "query-stats-schemas",
                                            "query-sev-capabilities", "query-sgx-capabilities",
                                            "query-gic-capabilities" };
    struct vm *vm = q35(NULL);
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++) {
            const struct qmp_command *c = &qmp_tables[i]->commands.at[j];
            bool skip = strncmp(c->name, "query-", 6) || needs_arguments(c);
            for (size_t k = 0; k < ARRAY_LEN(may_fail); k++)
                skip |= !strcmp(c->name, may_fail[k]);
            if (!skip)
                well(vm, c->name, NULL);
        }
    end(vm);
}

static void an_unknown_command_is_not_found(void **unused)
{
    bad(NULL, "query-nothing", NULL, "CommandNotFound",
        "The command query-nothing has not been found");
}

/* ---- running --------------------------------------------------------------------------------------- */
static void actions_are_set(void **unused)
{
    struct vm *vm = q35(NULL);
    well(vm, "set-action", "{\"reboot\":\"shutdown\",\"panic\":\"pause\",\"watchdog\":\"none\"}");
    assert_true(vm->no_reboot);
    assert_false(vm->no_shutdown);
    assert_int_equal(vm->panic_action, PANIC_PAUSE);
    assert_int_equal(vm->watchdog_action, WATCHDOG_NONE);
    bad(vm, "set-action", "{\"watchdog\":\"bark\"}", "GenericError", "'bark'");
    end(vm);
}

static void who_the_vm_is(void **unused)
{
    struct vm *vm = q35(NULL);
    json_t *r = good(vm, "query-status", NULL);
    assert_string_equal(at(r, "status"), "prelaunch");
    assert_string_equal(at(r, "running"), "false");
    json_decref(r);
    r = good(vm, "query-target", NULL);
    assert_string_equal(at(r, "arch"), "x86_64");
    json_decref(r);
    r = good(vm, "query-uuid", NULL);
    assert_string_equal(at(r, "UUID"), "00000000-0000-0000-0000-000000000000");
    json_decref(r);
    r = good(vm, "human-monitor-command", "{\"command-line\":\"info status\"}");
    assert_string_equal(json_string_value(r), "VM status: paused (prelaunch)\r\n");
    json_decref(r);
    bad(vm, "human-monitor-command", "{\"command-line\":7}", "GenericError",
        "Invalid parameter type for 'command-line', expected: string");
    end(vm);
}

/* ---- commands by subject ------------------------------------------------------------------------------ */
struct step {
    const char *command, *args;
    const char *error_class,
        *part; /* NULL: it succeeds, and `part` is WAY=VALUE of the reply, or NULL */
};

static void take(struct vm *vm, const struct step *s)
{
    char way[80];
    if (s->error_class) {
        bad(vm, s->command, s->args, s->error_class, s->part);
        return;
    }
    json_t *r = good(vm, s->command, s->args);
    if (s->part) {
        snprintf(way, sizeof(way), "%.*s", (int)strcspn(s->part, "="), s->part);
        if (strcmp(at(r, way), s->part + strlen(way) + 1) != 0)
            fail_msg("%s: %s is %s", s->command, s->part, at(r, way));
    }
    json_decref(r);
}

#define TAKE(vm, steps)                              \
    for (size_t i_ = 0; i_ < ARRAY_LEN(steps); i_++) \
    take((vm), &(steps)[i_])

static char *temporary(size_t size)
{
    char *path = xasprintf("/tmp/tandem-qmp-%d-XXXXXX", (int)getpid());
    int fd = mkstemp(path);
    assert_true(fd >= 0 && !ftruncate(fd, (off_t)size));
    close(fd);
    return path;
}

static void objects_and_properties(void **unused)
{
    static const struct step steps[] = {
        { "object-add", "{\"qom-type\":\"rng-builtin\",\"id\":\"o1\"}", NULL, NULL },
        { "object-add", "{\"qom-type\":\"rng-builtin\",\"id\":\"o1\"}", "GenericError", "already" },
        { "object-add", "{\"qom-type\":\"nothing\",\"id\":\"o2\"}", "GenericError", "iothread" },
        { "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":\"o2\",\"size\":true}",
          "GenericError", "'size', expected: integer" },
        { "qom-list", "{\"path\":\"/objects\"}", NULL, "1.type=child<rng-builtin>" },
        { "object-del", "{\"id\":\"o1\"}", NULL, NULL },
        { "object-del", "{\"id\":\"o1\"}", "GenericError", "not found" },
        { "qom-list", "{\"path\":\"/machine/peripheral\"}", NULL,
          "1.type=child<virtio-balloon-pci>" },
        { "qom-list", "{\"path\":\"/nowhere\"}", "DeviceNotFound", "/nowhere" },
        { "qom-get", "{\"path\":\"b0\",\"property\":\"deflate-on-oom\"}", NULL, NULL },
        { "qom-get", "{\"path\":\"b0\",\"property\":\"colour\"}", "GenericError", "colour" },
        { "qom-set", "{\"path\":\"b0\",\"property\":\"guest-stats-polling-interval\",\"value\":2}",
          NULL, NULL },
        { "qom-set", "{\"path\":\"b0\",\"property\":\"guest-stats-polling-interval\",\"value\":-1}",
          "GenericError", "seconds" },
        { "qom-set", "{\"path\":\"b0\",\"property\":\"bus\",\"value\":1}", "GenericError",
          "after it was realized" },
        { "object-add", "{\"qom-type\":\"iothread\",\"id\":\"t7\",\"poll-max-ns\":50}", NULL,
          NULL },
        { "qom-get", "{\"path\":\"/objects/t7\",\"property\":\"poll-max-ns\"}", NULL, NULL },
        { "qom-set", "{\"path\":\"t7\",\"property\":\"poll-max-ns\",\"value\":1000}", NULL, NULL },
        { "query-iothreads", "{}", NULL, NULL },
        { "qom-set", "{\"path\":\"t7\",\"property\":\"poll-max-ns\",\"value\":-1}", "GenericError",
          "not negative" },
        { "qom-set", "{\"path\":\"t7\",\"property\":\"poll-max-ns\",\"value\":1000000001}",
          "GenericError", "over 1000000000" },
        { "object-del", "{\"id\":\"t7\"}", NULL, NULL },
        { "qom-list-get", "{\"paths\":[\"b0\"]}", NULL, "0.properties.0.value=virtio-balloon-pci" },
        { "qom-list-properties", "{\"typename\":\"unheard-of\"}", NULL, NULL },
        { "device-list-properties", "{\"typename\":\"virtio-blk-pci\"}", NULL, NULL },
        { "device-list-properties", "{\"typename\":\"unheard-of\"}", "DeviceNotFound", "unheard" },
        { "query-gic-capabilities", NULL, "GenericError", "not available on this target" },
        { "query-sev-capabilities", NULL, "GenericError", "SEV is not enabled" },
        { "query-sgx-capabilities", NULL, "GenericError", "SGX is not enabled" },
        { "query-jobs", NULL, NULL, NULL },
        { "query-block-jobs", NULL, NULL, NULL },
        { "balloon", "{\"value\":1048576}", NULL, NULL },
        { "balloon", "{\"value\":\"much\"}", "GenericError", "expected: integer" },
        { "query-cpu-model-expansion", "{\"type\":\"full\",\"model\":{\"name\":\"max\"}}", NULL,
          "model.name=max" },
        { "query-cpu-model-expansion", "{\"type\":\"full\",\"model\":{\"name\":\"host\"}}",
          "GenericError", "requires KVM" },
        { "query-cpu-model-comparison",
          "{\"modela\":{\"name\":\"qemu64\"},\"modelb\":{\"name\":\"qemu64\"}}", NULL,
          "result=identical" },
        { "query-cpu-model-baseline",
          "{\"modela\":{\"name\":\"qemu64\"},\"modelb\":{\"name\":\"nothing\"}}", "GenericError",
          "nothing" },
        { "inject-nmi", NULL, NULL, NULL },
        { "system_wakeup", NULL, "GenericError", "not in suspended state" },
        { "query-stats", "{\"target\":\"vcpu\"}", NULL, NULL },
        { "query-stats", "{\"target\":\"moon\"}", "GenericError", "moon" },
        { "query-command-line-options", "{\"option\":\"x\"}", "GenericError", "'x'" },
    };
    struct vm *vm = q35("virtio-balloon-pci,id=b0");
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (strncmp(steps[i].command, "query-stats", 11) || steps[i].error_class)
            take(vm, &steps[i]);
    end(vm);
    vm = q35(NULL);
    bad(vm, "query-balloon", NULL, "DeviceNotActive", "No balloon");
    bad(vm, "balloon", "{\"value\":1}", "DeviceNotActive", "No balloon");
    end(vm);
}

static void back_ends_come_and_go(void **unused)
{
    static const struct step steps[] = {
        { "chardev-add", "{\"id\":\"r\",\"backend\":{\"type\":\"ringbuf\",\"data\":{\"size\":8}}}",
          NULL, NULL },
        { "chardev-add", "{\"id\":\"r\",\"backend\":{\"type\":\"null\"}}", "GenericError",
          "already exists" },
        { "chardev-add", "{\"id\":\"s\",\"backend\":{\"type\":\"socket\",\"data\":{}}}",
          "GenericError", "'backend.data.addr' is missing" },
        { "chardev-add",
          "{\"id\":\"s\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"fd\","
          "\"data\":{\"str\":\"nothing\"}}}}}",
          "GenericError", "nothing" },
        { "ringbuf-write", "{\"device\":\"r\",\"data\":\"hello\"}", NULL, NULL },
        { "ringbuf-write", "{\"device\":\"r\",\"data\":\"?\",\"format\":\"base64\"}",
          "GenericError", "base64" },
        { "ringbuf-read", "{\"device\":\"r\",\"size\":9}", NULL, "=hello" },
        { "ringbuf-read", "{\"device\":\"r\",\"size\":0}", "GenericError", "greater than zero" },
        { "chardev-change", "{\"id\":\"r\",\"backend\":{\"type\":\"null\"}}", NULL, NULL },
        { "ringbuf-read", "{\"device\":\"r\",\"size\":9}", "GenericError", "not a ringbuf" },
        { "chardev-send-break", "{\"id\":\"r\"}", NULL, NULL },
        { "chardev-change",
          "{\"id\":\"r\",\"backend\":{\"type\":\"pipe\",\"data\":{\"device\":\"/nowhere\"}}}",
          "GenericError", "/nowhere" },
        { "chardev-add",
          "{\"id\":\"s\",\"backend\":{\"type\":\"udp\",\"data\":{\"remote\":{\"type\":\"unix\","
          "\"data\":{\"path\":\"/x\"}}}}}",
          "GenericError", "inet" },
        { "chardev-add",
          "{\"id\":\"s\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"inet\","
          "\"data\":{\"host\":\"127.0.0.1\",\"port\":\"0\"}},\"server\":true,\"wait\":true}}}",
          "GenericError", "'wait'" },
        { "chardev-add",
          "{\"id\":\"s\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"inet\","
          "\"data\":{\"host\":\"127.0.0.1\",\"port\":\"0\"}},\"telnet\":true,\"logfile\":\"/"
          "nowhere/x\"}}}",
          "GenericError", "/nowhere/x" },
        { "chardev-add",
          "{\"id\":\"m\",\"backend\":{\"type\":\"mux\",\"data\":{\"chardev\":\"r\"}}}", NULL,
          NULL },
        { "chardev-add",
          "{\"id\":\"n\",\"backend\":{\"type\":\"mux\",\"data\":{\"chardev\":\"r\"}}}",
          "GenericError", "in use" },
        { "chardev-add", "{\"id\":\"n\",\"backend\":{\"type\":\"mux\",\"data\":{}}}",
          "GenericError", "'backend.data.chardev' is missing" },
        { "chardev-change", "{\"id\":\"m\",\"backend\":{\"type\":\"null\"}}", "GenericError",
          "cannot be changed" },
        { "chardev-remove", "{\"id\":\"r\"}", "GenericError", "busy" },
        { "chardev-remove", "{\"id\":\"m\"}", NULL, NULL },
        { "chardev-remove", "{\"id\":\"r\"}", NULL, NULL },
        { "chardev-remove", "{\"id\":\"r\"}", "GenericError", "not found" },
        { "netdev_add", "{\"type\":\"user\",\"id\":\"n\",\"speed\":1}", "GenericError",
          "'speed' is unexpected" },
        { "netdev_del", "{\"id\":\"n\"}", "DeviceNotFound", "'n'" },
        { "set_link", "{\"name\":\"net0\",\"up\":false}", NULL, NULL },
        { "set_link", "{\"name\":\"net9\",\"up\":false}", "DeviceNotFound", "net9" },
        { "query-rx-filter", "{\"name\":\"net0\"}", NULL, "0.name=net0" },
        { "query-rx-filter", "{\"name\":\"net9\"}", "GenericError", "net9" },
        { "getfd", "{\"fdname\":\"x\"}", "GenericError", "SCM_RIGHTS" },
        { "add-fd", NULL, "GenericError", "SCM_RIGHTS" },
        { "closefd", "{\"fdname\":\"x\"}", "GenericError", "'x'" },
        { "remove-fd", "{\"fdset-id\":3}", "GenericError", "fdset-id:3" },
        { "send-key", "{\"keys\":[{\"type\":\"qcode\",\"data\":\"nokey\"}]}", "GenericError",
          "nokey" },
        { "send-key", "{\"keys\":[]}", "GenericError", "'keys'" },
        { "input-send-event",
          "{\"events\":[{\"type\":\"abs\",\"data\":{\"axis\":\"x\",\"value\":99999}}]}",
          "GenericError", "32767" },
        { "input-send-event",
          "{\"events\":[{\"type\":\"rel\",\"data\":{\"axis\":\"y\",\"value\":-5}}]}", NULL, NULL },
        { "pmemsave", "{\"val\":0,\"size\":16,\"filename\":\"/proc/nowhere\"}", "GenericError",
          "/proc/nowhere" },
        { "pmemsave", "{\"val\":1099511627776,\"size\":16,\"filename\":\"/dev/null\"}",
          "GenericError", "Invalid addr" },
        { "memsave", "{\"val\":0,\"size\":16,\"filename\":\"/dev/null\",\"cpu-index\":9}",
          "GenericError", "cpu-index" },
        { "memsave", "{\"val\":4096,\"size\":16,\"filename\":\"/dev/null\"}", NULL, NULL },
        { "migrate-set-capabilities",
          "{\"capabilities\":[{\"capability\":\"fly\",\"state\":true}]}", "GenericError", "fly" },
    };
    const struct prop_value props[] = { { "id", "net0" }, { "netdev", "n0" } };
    struct vm *vm = q35(NULL);
    assert_null(netdev_add(vm, "null,id=n0"));
    assert_null(device_create(vm, "virtio-net-pci", props, ARRAY_LEN(props), NULL));
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (!strcmp(steps[i].command, "ringbuf-read") && !steps[i].error_class) {
            json_t *r = good(vm, steps[i].command, steps[i].args);
            assert_string_equal(json_string_value(r), steps[i].part + 1);
            json_decref(r);
        } else {
            take(vm, &steps[i]);
        }
    }
    end(vm);
}

static void count_moves(void *opaque, const struct event *e)
{
    if (e->kind == EVENT_DEVICE_TRAY_MOVED)
        ++*(unsigned *)opaque;
}

static void limits_of_drives_are_refused(void **unused)
{
    struct vm *vm = q35(NULL);
    bad(vm, "blockdev-add",
        "{\"driver\":\"throttle\",\"node-name\":\"t\",\"throttle-group\":\"g\",\"file\":\"f\"}",
        "GenericError", "'throttle'");
    bad(vm, "object-add", "{\"qom-type\":\"throttle-group\",\"id\":\"g\"}", "GenericError",
        "'throttle-group'");
    bad(vm, "block_set_io_throttle", "{\"id\":\"d0\"}", "CommandNotFound", "block_set_io_throttle");
    end(vm);
}

static void disks_grow_and_discs_change(void **unused)
{
    char *path = temporary(MIB), text[300];
    unsigned moves = 0;
    struct vm *vm = q35("ide-cd,id=cd0");
    event_listen(vm, count_moves, &moves);
    snprintf(text, sizeof(text), "{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"%s\"}",
             path);
    well(vm, "blockdev-add", text);
    bad(vm, "blockdev-add", text, "GenericError", "'f' is in use");
    static const struct step steps[] = {
        { "blockdev-add", "{\"driver\":\"raw\",\"node-name\":\"d\",\"file\":\"f\"}", NULL, NULL },
        { "blockdev-add", "{\"driver\":\"tape\",\"node-name\":\"t\"}", "GenericError", "tape" },
        { "blockdev-del", "{\"node-name\":\"f\"}", "GenericError", "in use" },
        { "block_resize", "{\"node-name\":\"d\",\"size\":2097152}", NULL, NULL },
        { "block_resize", "{\"node-name\":\"d\",\"size\":7}", "GenericError", "512" },
        { "block_resize", "{\"size\":512}", "GenericError", "one of device and node-name" },
        { "query-block", NULL, NULL, "0.tray_open=false" },
        { "blockdev-insert-medium", "{\"id\":\"cd0\",\"node-name\":\"d\"}", "GenericError",
          "not open" },
        { "blockdev-open-tray", "{\"id\":\"cd0\"}", NULL, NULL },
        { "blockdev-open-tray", "{\"id\":\"cd9\"}", "DeviceNotFound", "cd9" },
        { "blockdev-open-tray", "{}", "GenericError", "exactly one" },
        { "query-block", NULL, NULL, "0.tray_open=true" },
        { "blockdev-remove-medium", "{\"id\":\"cd0\"}", NULL, NULL },
        { "blockdev-insert-medium", "{\"id\":\"cd0\",\"node-name\":\"d\"}", NULL, NULL },
        { "blockdev-insert-medium", "{\"id\":\"cd0\",\"node-name\":\"d\"}", "GenericError",
          "already is a medium" },
        { "blockdev-close-tray", "{\"id\":\"cd0\"}", NULL, NULL },
        { "query-block", NULL, NULL, "0.inserted.node-name=d" },
        { "blockdev-del", "{\"node-name\":\"d\"}", "GenericError", "in use" },
        { "eject", "{\"id\":\"cd0\"}", NULL, NULL },
        { "query-block", NULL, NULL, "0.inserted=nothing" },
        { "blockdev-del", "{\"node-name\":\"d\"}", NULL, NULL },
        { "blockdev-del", "{\"node-name\":\"f\"}", NULL, NULL },
        { "blockdev-change-medium", "{\"id\":\"cd0\",\"filename\":\"/nowhere\"}", "GenericError",
          "/nowhere" },
    };
    TAKE(vm, steps);
    assert_int_equal(moves, 3);
    snprintf(text, sizeof(text), "{\"id\":\"cd0\",\"filename\":\"%s\"}", path);
    well(vm, "blockdev-change-medium", text);
    char *other = temporary(MIB);
    snprintf(text, sizeof(text), "{\"id\":\"cd0\",\"filename\":\"%s\"}", other);
    well(vm, "blockdev-change-medium", text);
    json_t *nodes = good(vm, "query-named-block-nodes", NULL);
    assert_int_equal(json_array_size(nodes), 1); /* the one before was closed */
    json_decref(nodes);
    unlink(other);
    free(other);
    end(vm);
    unlink(path);
    free(path);
}

static void keep_offset(void *opaque, const struct event *e)
{
    if (e->kind == EVENT_RTC_CHANGE)
        *(int64_t *)opaque = e->items[0].number;
}

static void a_clock_that_the_guest_sets_is_told(void **unused)
{
    int64_t offset = 0;
    struct vm *vm = q35(NULL);
    vm_reset(vm);
    event_listen(vm, keep_offset, &offset);
    mem_port_write(vm, 0x70, 1, 0x09); /* the year */
    mem_port_write(vm, 0x71, 1, 0x70);
    assert_true(offset > (int64_t)20 * 365 * 86400);
    end(vm);
}

static void devices_come_and_go(void **unused)
{
    struct vm *vm = q35("pcie-root-port,id=rp1");
    well(vm, "device_add",
         "{\"driver\":\"virtio-rng-pci\",\"id\":\"r\",\"bus\":\"rp1\",\"multifunction\":true}");
    json_t *r =
        good(vm, "qom-get", "{\"path\":\"/machine/peripheral/r\",\"property\":\"hotplugged\"}");
    assert_true(json_is_true(r));
    json_decref(r);
    r = good(vm, "query-pci", NULL);
    char *text = json_dumps(r, JSON_COMPACT);
    assert_non_null(strstr(text, "\"qdev_id\":\"rp1\""));
    assert_non_null(strstr(text, "\"qdev_id\":\"r\""));
    free(text);
    json_decref(r);
    bad(vm, "device_add", "{\"driver\":\"virtio-rng-pci\",\"id\":\"r\",\"bus\":\"rp1\"}",
        "GenericError", "there is a device 'r' already");
    bad(vm, "device_add", "{\"driver\":\"virtio-rng-pci\",\"id\":\"s\",\"bus\":\"pcie.0\"}",
        "GenericError", "Bus 'pcie.0' does not support hotplugging: plug into a pcie-root-port");
    bad(vm, "device_add", "{\"id\":\"s\"}", "GenericError", "'driver' is missing");
    bad(vm, "device_del", "{\"id\":\"s\"}", "DeviceNotFound", "Device 's' not found");
    bad(vm, "device_del", "{\"id\":\"rp1\"}", "GenericError", "does not support hotplugging");
    well(vm, "device_del", "{\"id\":\"/machine/peripheral/r\"}"); /* nobody has seen it */
    loop_sync(vm->loop);
    bad(vm, "qom-list", "{\"path\":\"/machine/peripheral/r\"}", "DeviceNotFound", "not found");
    well(vm, "human-monitor-command",
         "{\"command-line\":\"device_add virtio-rng-pci,id=r,bus=rp1\"}");
    well(vm, "device_del", "{\"id\":\"r\"}");
    end(vm);
}

/* ---- the protocol ------------------------------------------------------------------------------------ */
struct wire {
    struct vm *vm;
    struct monitor *monitor;
    int fd;
    char got[300000];
    size_t n;
};

static void open_wire(struct wire *w)
{
    struct chardev *c;
    int fds[2];
    char spec[40];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", fds[1]);
    w->vm = q35(NULL);
    w->fd = fds[0];
    w->n = 0;
    assert_null(chardev_add(w->vm, "c0", spec, &c));
    assert_null(monitor_new_qmp(w->vm, c, &hooks, false, &w->monitor));
}

static void close_wire(struct wire *w)
{
    monitor_free(w->monitor);
    end(w->vm);
    close(w->fd);
}

static void listen_to(struct wire *w)
{
    for (int i = 0; i < 50; i++) {
        loop_once(w->vm->loop, 1);
        ssize_t n = read(w->fd, w->got + w->n, sizeof(w->got) - 1 - w->n);
        w->n += n > 0 ? (size_t)n : 0;
        w->got[w->n] = 0;
    }
}

/* What comes for these bytes. */
static const char *ask(struct wire *w, const char *bytes)
{
    assert_int_equal(write(w->fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
    w->n = 0;
    listen_to(w);
    return w->got;
}

static void a_conversation_begins_with_capabilities(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    open_wire(w);
    listen_to(w);
    assert_non_null(strstr(w->got, "{\"QMP\": {\"version\": {\"qemu\": {\"major\": "));
    assert_non_null(strstr(w->got, "\"capabilities\": [\"oob\"]}}\r\n"));
    assert_non_null(strstr(ask(w, "{\"execute\":\"query-status\",\"id\":[1]}\n"),
                           "\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities "
                           "negotiation with 'qmp_capabilities'\"}, \"id\": [1]}\r\n"));
    assert_non_null(strstr(ask(w, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":"
                                  "[\"fly\"]}}\n"),
                           "'enable[0]' does not accept value 'fly'"));
    assert_string_equal(ask(w, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":"
                               "[\"oob\"]},\"id\":\"a\"}\n"),
                        "{\"return\": {}, \"id\": \"a\"}\r\n");
    assert_non_null(strstr(ask(w, "{\"execute\":\"qmp_capabilities\"}\n"), "already complete"));
    assert_non_null(strstr(ask(w, "{\"exec-oob\":\"query-status\"}"), "does not support OOB"));
    close_wire(w);
    free(w);
}

static void commands_need_no_newline_and_rubbish_is_named(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    open_wire(w);
    ask(w, "{\"execute\":\"qmp_capabilities\"}");
    ask(w, "{\"execute\":\"query-name\",\"id\":1}{\"execute\":\"query-uuid\",\"id\":\"}{\"}");
    assert_non_null(strstr(w->got, "\"id\": 1}\r\n"));
    assert_non_null(strstr(w->got, "\"id\": \"}{\"}\r\n"));
    assert_non_null(strstr(ask(w, "rubbish\n"), "JSON parse error"));
    assert_non_null(strstr(ask(w, "}"), "JSON parse error"));
    assert_non_null(strstr(ask(w, "[]"), "must be a JSON object"));
    assert_non_null(strstr(ask(w, "{}"), "lacks member 'execute'"));
    assert_non_null(strstr(ask(w, "{\"execute\":\"stop\",\"when\":1}"), "'when' is unexpected"));
    assert_non_null(strstr(ask(w, "{\"execute\":\"stop\",\"arguments\":[]}"), "must be an object"));
    assert_non_null(strstr(ask(w, "{\"a\":1\xff{\"execute\":\"query-name\"}"), "return"));
    char deep[200];
    memset(deep, '[', sizeof(deep) - 2);
    strcpy(deep + sizeof(deep) - 2, "\n");
    assert_non_null(strstr(ask(w, deep), "nested too deep"));
    assert_non_null(strstr(ask(w, "{\"execute\":\"query-name\"}"), "return"));
    close_wire(w);
    free(w);
}

static void a_command_without_end_costs_a_megabyte_at_most(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    char block[4096];
    open_wire(w);
    ask(w, "{\"execute\":\"qmp_capabilities\"}{\"x\":\"");
    memset(block, 'x', sizeof(block));
    w->n = 0;
    for (size_t sent = 0; sent < 3 * MIB;) {
        ssize_t n = write(w->fd, block, sizeof(block));
        sent += n > 0 ? (size_t)n : 0;
        loop_once(w->vm->loop, 0);
    }
    listen_to(w);
    assert_non_null(strstr(w->got, "too long"));
    assert_null(strstr(strstr(w->got, "too long"), "error"));
    assert_non_null(strstr(ask(w, "\"\n{\"execute\":\"query-name\"}"), "return"));
    close_wire(w);
    free(w);
}

static void who_does_not_read_gets_no_more_commands_run(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    const char schema[] = "{\"execute\":\"query-qmp-schema\"}";
    open_wire(w);
    ask(w, "{\"execute\":\"qmp_capabilities\"}");
    for (int i = 0; i < 2000; i++) {
        ssize_t n = write(w->fd, schema, sizeof(schema) - 1);
        loop_once(w->vm->loop, 0);
        if (n < 0) /* nobody takes it: the socket is full */
            break;
        assert_true(i < 1999);
    }
    size_t most = 0;
    char byte[65536];
    for (int i = 0; i < 2000; i++) { /* reading makes it go on */
        ssize_t n = read(w->fd, byte, sizeof(byte));
        most += n > 0 ? (size_t)n : 0;
        loop_once(w->vm->loop, 0);
    }
    assert_true(most > 1000000);
    close_wire(w);
    free(w);
}

/* After one that asked, read nothing and left while what it said was not all heard. */
static void the_next_client_starts_afresh(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    char dir[] = "/tmp/qmp-XXXXXX", spec[160];
    struct sockaddr_un place = { .sun_family = AF_UNIX };
    const char schema[] = "{\"execute\":\"query-qmp-schema\"}";
    struct chardev *c;
    signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(dir));
    snprintf(place.sun_path, sizeof(place.sun_path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "socket,path=%s,server=on,wait=off", place.sun_path);
    w->vm = q35(NULL);
    assert_null(chardev_add(w->vm, "c0", spec, &c));
    assert_null(monitor_new_qmp(w->vm, c, &hooks, false, &w->monitor));
    for (int client = 0; client < 3; client++) {
        w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(w->fd, (struct sockaddr *)&place, sizeof(place)), 0);
        w->n = 0;
        listen_to(w);
        assert_non_null(strstr(w->got, "{\"QMP\""));
        assert_string_equal(ask(w, "{\"execute\":\"qmp_capabilities\",\"id\":7}"),
                            "{\"return\": {}, \"id\": 7}\r\n");
        while (write(w->fd, schema, sizeof(schema) - 1) > 0)
            ;
        for (int i = 0; i < 5; i++)
            loop_once(w->vm->loop, 0);
        shutdown(w->fd, SHUT_WR);
        loop_once(w->vm->loop, 0);
        close(w->fd);
    }
    w->fd = -1;
    close_wire(w);
    rmdir(dir);
    free(w);
}

static void who_ignores_events_for_long_is_cut_off(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    char byte[65536];
    ssize_t n = 1;
    open_wire(w);
    ask(w, "{\"execute\":\"qmp_capabilities\"}");
    for (int i = 0; i < 80000; i++)
        event_tell(w->vm, EVENT_STOP);
    loop_once(w->vm->loop, 0);
    while (n > 0)
        n = read(w->fd, byte, sizeof(byte));
    assert_int_equal(n, 0); /* end of file */
    close_wire(w);
    free(w);
}

static void events_come_to_those_who_negotiated(void **unused)
{
    struct wire *w = calloc(1, sizeof(*w));
    open_wire(w);
    event_tell(w->vm, EVENT_RESUME);
    listen_to(w);
    assert_null(strstr(w->got, "event"));
    ask(w, "{\"execute\":\"qmp_capabilities\"}");
    w->n = 0;
    event_tell(w->vm, EVENT_ACPI_DEVICE_OST, EVENT_TEXT("info.slot", "1"),
               EVENT_NUMBER("info.status", 3));
    listen_to(w);
    assert_non_null(strstr(w->got, "{\"timestamp\": {\"seconds\": "));
    assert_non_null(strstr(w->got,
                           "\"event\": \"ACPI_DEVICE_OST\", \"data\": {\"info\": {\"slot\": "
                           "\"1\", \"status\": 3}}}\r\n"));
    close_wire(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_that_is_named_exists),
        cmocka_unit_test(the_schema_is_closed),
        cmocka_unit_test(arguments_are_checked_before_the_handler),
        cmocka_unit_test(no_command_takes_what_it_does_not_know),
        cmocka_unit_test(every_query_without_arguments_answers),
        cmocka_unit_test(an_unknown_command_is_not_found),
        cmocka_unit_test(actions_are_set),
        cmocka_unit_test(who_the_vm_is),
        cmocka_unit_test(objects_and_properties),
        cmocka_unit_test(back_ends_come_and_go),
        cmocka_unit_test(limits_of_drives_are_refused),
        cmocka_unit_test(disks_grow_and_discs_change),
        cmocka_unit_test(a_clock_that_the_guest_sets_is_told),
        cmocka_unit_test(devices_come_and_go),
        cmocka_unit_test(a_conversation_begins_with_capabilities),
        cmocka_unit_test(commands_need_no_newline_and_rubbish_is_named),
        cmocka_unit_test(a_command_without_end_costs_a_megabyte_at_most),
        cmocka_unit_test(who_does_not_read_gets_no_more_commands_run),
        cmocka_unit_test(the_next_client_starts_afresh),
        cmocka_unit_test(who_ignores_events_for_long_is_cut_off),
        cmocka_unit_test(events_come_to_those_who_negotiated),
    };
    return cmocka_run_group_tests(tests, make_bios, NULL);
}
