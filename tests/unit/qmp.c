/* QMP: the tables, argument checks, the protocol over a socket, and each command. */
#include "ui/qmp.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "ui/monitor.h"
#include "x86_board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
    x86_machine_free(vm);
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
    x86_machine_free(vm);
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
    x86_machine_free(vm);
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
    x86_machine_free(vm);
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
    x86_machine_free(w->vm);
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
        cmocka_unit_test(a_conversation_begins_with_capabilities),
        cmocka_unit_test(commands_need_no_newline_and_rubbish_is_named),
        cmocka_unit_test(a_command_without_end_costs_a_megabyte_at_most),
        cmocka_unit_test(who_does_not_read_gets_no_more_commands_run),
        cmocka_unit_test(who_ignores_events_for_long_is_cut_off),
        cmocka_unit_test(events_come_to_those_who_negotiated),
    };
    return cmocka_run_group_tests(tests, make_bios, NULL);
}
