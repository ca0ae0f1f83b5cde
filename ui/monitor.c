#include "ui/monitor.h"

#include "core/accel.h"
#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/options.h"
#include "core/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- commands -------------------------------------------------------------------------------- */
struct call {
    struct vm *vm;
    const struct monitor_hooks *hooks;
    const char *args; /* behind the command's name, no blanks around */
    void (*print)(void *opaque, const char *line);
    void *to;
};

struct command {
    const char *name, *alias, *args, *help;
    void (*run)(struct call *c);
};

static void say(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct call *c, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    c->print(c->to, line);
}

static void do_quit(struct call *c)
{
    vm_request_end(c->vm, VERDICT_QUIT, 0, "monitor");
}

static void do_reset(struct call *c)
{
    vm_request_reset(c->vm);
}

static void do_powerdown(struct call *c)
{
    if (!vm_press_power_button(c->vm))
        say(c, "this board has no power button; use the guest's own command, or quit");
}

static void do_stop(struct call *c)
{
    vm_pause(c->vm);
}

static void do_cont(struct call *c)
{
    if (c->vm->state == RUN_ENDED)
        say(c, "the guest has powered off; system_reset starts it again");
    else
        vm_start(c->vm);
}

static void info_status(struct call *c)
{
    static const char *const names[] = {
        [RUN_PRELAUNCH] = "paused (prelaunch)",
        [RUN_RUNNING] = "running",
        [RUN_PAUSED] = "paused",
        [RUN_ENDED] = "paused (shutdown)",
    };
    say(c, "VM status: %s", names[c->vm->state]);
}

static void info_name(struct call *c)
{
    say(c, "%s", c->vm->name ? c->vm->name : "");
}

static void info_uuid(struct call *c)
{
    say(c, "%s", c->vm->uuid ? c->vm->uuid : "00000000-0000-0000-0000-000000000000");
}

static void info_mtree(struct call *c)
{
    mem_print(c->vm, c->print, c->to);
}

static void print_device(struct call *c, const struct device *dev)
{
    say(c, "dev: %s, id \"%s\", at %s%s", dev->cls->name, dev->id ? dev->id : "", dev->path,
        dev->broken ? " (broken by the guest)" : "");
    for (size_t i = 0; i < dev->cls->props.n; i++) {
        char value[256];
        if (device_get((struct device *)dev, dev->cls->props.at[i].name, value, sizeof(value)) &&
            *value)
            say(c, "  %s = %s", dev->cls->props.at[i].name, value);
    }
}

static void info_qtree(struct call *c)
{
    for (const struct device *dev = c->vm->devices; dev; dev = dev->next)
        print_device(c, dev);
}

/* Registers are the engine's while the VM runs: stop it for the moment. */
static void info_registers(struct call *c)
{
    bool ran = c->vm->state == RUN_RUNNING;
    if (ran)
        vm_pause(c->vm);
    for (unsigned i = 0; i < c->vm->n_vcpus; i++) {
        say(c, "CPU#%u", i);
        c->vm->accel->get_state(c->vm->vcpus[i]);
        c->vm->target->print(c->vm->vcpus[i], c->print, c->to);
    }
    if (ran)
        vm_start(c->vm);
}

static void info_cpus(struct call *c)
{
    for (unsigned i = 0; i < c->vm->n_vcpus; i++)
        say(c, "%s CPU #%u: %s", i ? " " : "*", i,
            c->vm->vcpus[i]->powered_off ? "off"
            : c->vm->vcpus[i]->halted    ? "waits for an interrupt"
                                         : "runs");
}

static void info_stats(struct call *c)
{
    c->hooks->stats(c->hooks->opaque, c->print, c->to);
}

static const struct command infos[] = {
    { "status", NULL, "", "whether the guest runs", info_status },
    { "name", NULL, "", "the virtual machine's name", info_name },
    { "uuid", NULL, "", "its identifier", info_uuid },
    { "mtree", NULL, "", "the physical memory map", info_mtree },
    { "qtree", NULL, "", "devices and their properties", info_qtree },
    { "registers", NULL, "", "the CPUs' registers", info_registers },
    { "cpus", NULL, "", "what each CPU does", info_cpus },
    { "stats", NULL, "", "what the engine and the devices counted", info_stats },
};

static void do_info(struct call *c);
static void do_help(struct call *c);
static const struct command commands[] = {
    { "help", "?", "", "this list", do_help },
    { "info", NULL, "SUBJECT", "show something; info alone lists what", do_info },
    { "stop", "s", "", "stop the guest", do_stop },
    { "cont", "c", "", "let it run on", do_cont },
    { "system_reset", NULL, "", "reset the machine", do_reset },
    { "system_powerdown", NULL, "", "press the power button", do_powerdown },
    { "quit", "q", "", "end at once", do_quit },
};

static void run_from(struct call *c, const struct command *table, size_t n, const char *line,
                     const char *what)
{
    char name[40];
    const char *names[16];
    size_t length = strcspn(line, " \t");
    snprintf(name, sizeof(name), "%.*s", (int)length, line);
    for (size_t i = 0; i < n; i++) {
        names[i] = table[i].name;
        if (strcmp(name, table[i].name) && (!table[i].alias || strcmp(name, table[i].alias)))
            continue;
        c->args = line + length + strspn(line + length, " \t");
        if (*c->args && !*table[i].args)
            say(c, "%s takes no arguments", name);
        else
            table[i].run(c);
        return;
    }
    char *hint = nearest_hint(name, names, n);
    say(c, "unknown %s '%s'%s", what, name, hint);
    free(hint);
}

static void print_table(struct call *c, const char *prefix, const struct command *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        say(c, "%s%s%s%s%s%s -- %s", prefix, table[i].name, table[i].alias ? "|" : "",
            table[i].alias ? table[i].alias : "", *table[i].args ? " " : "", table[i].args,
            table[i].help);
}

static void do_info(struct call *c)
{
    if (*c->args)
        run_from(c, infos, ARRAY_LEN(infos), c->args, "subject");
    else
        print_table(c, "info ", infos, ARRAY_LEN(infos));
}

static void do_help(struct call *c)
{
    print_table(c, "", commands, ARRAY_LEN(commands));
}

void monitor_execute(struct vm *vm, const struct monitor_hooks *hooks, const char *command,
                     void (*print)(void *opaque, const char *line), void *opaque)
{
    struct call c = { .vm = vm, .hooks = hooks, .print = print, .to = opaque };
    command += strspn(command, " \t");
    if (*command)
        run_from(&c, commands, ARRAY_LEN(commands), command, "command");
}

/* ---- the line editor -------------------------------------------------------------------------- */
enum { LINE_ROOM = 512, HISTORY = 32 };
struct monitor {
    struct vm *vm;
    struct chardev *chardev;
    struct monitor_hooks hooks;
    char line[LINE_ROOM];
    size_t n;
    char *history[HISTORY]; /* the newest first */
    int at;                 /* which of them is shown; -1: a line of its own */
    enum { PLAIN, ESCAPE, BRACKET } escape;
    bool after_cr;
};

static void put(struct monitor *m, const char *text)
{
    chardev_write(m->chardev, (const uint8_t *)text, strlen(text));
}

static void put_line(void *opaque, const char *line)
{
    put(opaque, line);
    put(opaque, "\r\n");
}

static void prompt(struct monitor *m)
{
    m->n = 0;
    m->at = -1;
    put(m, "(tandem) ");
}

static void remember(struct monitor *m)
{
    if (!m->n || (m->history[0] && !strcmp(m->history[0], m->line)))
        return;
    free(m->history[HISTORY - 1]);
    memmove(m->history + 1, m->history, (HISTORY - 1) * sizeof(*m->history));
    m->history[0] = xstrdup(m->line);
}

static void show_history(struct monitor *m, int step)
{
    int to = m->at + step;
    if (to < -1 || to >= HISTORY || (to >= 0 && !m->history[to]))
        return;
    m->at = to;
    m->n = (size_t)snprintf(m->line, sizeof(m->line), "%s", to < 0 ? "" : m->history[to]);
    put(m, "\r\33[K(tandem) ");
    put(m, m->line);
}

static void enter(struct monitor *m)
{
    char line[LINE_ROOM];
    m->line[m->n] = 0;
    put(m, "\r\n");
    remember(m);
    memcpy(line, m->line, m->n + 1);
    monitor_execute(m->vm, &m->hooks, line, put_line, m);
    prompt(m);
}

static void type(struct monitor *m, uint8_t c)
{
    if (m->escape == ESCAPE) {
        m->escape = c == '[' || c == 'O' ? BRACKET : PLAIN;
    } else if (m->escape == BRACKET) {
        if (c >= 0x40)
            m->escape = PLAIN;
        if (c == 'A' || c == 'B')
            show_history(m, c == 'A' ? 1 : -1);
    } else if (c == 27) {
        m->escape = ESCAPE;
    } else if (c == '\r' || (c == '\n' && !m->after_cr)) {
        enter(m);
    } else if ((c == 8 || c == 127) && m->n) {
        m->n--;
        put(m, "\b \b");
    } else if (c == 3 || c == 21) { /* Ctrl-C, Ctrl-U */
        put(m, "\r\33[K");
        prompt(m);
    } else if (c >= ' ' && c < 127 && m->n + 1 < LINE_ROOM) {
        m->line[m->n++] = (char)c;
        chardev_write(m->chardev, &c, 1);
    }
    m->after_cr = c == '\r';
}

static size_t front_room(void *opaque)
{
    return LINE_ROOM;
}

static void front_receive(void *opaque, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        type(opaque, data[i]);
}

static void front_event(void *opaque, int event)
{
    struct monitor *m = opaque;
    if (event == CHARDEV_OPENED)
        put(m, "Tandem monitor; help lists the commands\r\n");
    if (event == CHARDEV_OPENED || event == CHARDEV_FOCUS)
        prompt(m);
}

struct monitor *monitor_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks)
{
    struct monitor *m = xcalloc(1, sizeof(*m));
    *m = (struct monitor){ .vm = vm, .chardev = c, .hooks = *hooks, .at = -1 };
    m->chardev = chardev_attach_monitor(
        c, &(struct chardev_front){ front_room, front_receive, front_event, m });
    return m;
}

void monitor_free(struct monitor *m)
{
    if (!m)
        return;
    chardev_detach(m->chardev);
    for (int i = 0; i < HISTORY; i++)
        free(m->history[i]);
    free(m);
}
