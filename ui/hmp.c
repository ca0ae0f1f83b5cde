/* The human monitor's commands: finding, splitting, help, completion. */
#include "ui/hmp.h"

#include "core/accel.h"
#include "core/backends.h"
#include "core/device.h"
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/expr.h"
#include "ui/hmp_tables.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_COMMANDS = 256 };

/* ---- for handlers ---------------------------------------------------------------------------- */
void hmp_say(struct hmp_call *c, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    c->print(c->to, line);
}

bool hmp_ok(struct hmp_call *c, struct error *err)
{
    if (!err)
        return true;
    hmp_say(c, "Error: %s", error_text(err));
    error_free(err);
    return false;
}

bool hmp_optional_word(struct hmp_call *c, char *buf, size_t n)
{
    const char *at = c->args + strspn(c->args, " \t");
    size_t i = 0;
    bool quoted = *at == '"';
    if (!*at)
        return false;
    for (at += quoted; *at && (quoted ? *at != '"' : !isblank((uint8_t)*at)); at++) {
        if (quoted && *at == '\\' && at[1])
            at++;
        if (i + 1 < n)
            buf[i++] = *at;
    }
    buf[i] = 0;
    c->args = at + (quoted && *at == '"');
    return true;
}

bool hmp_word(struct hmp_call *c, const char *what, char *buf, size_t n)
{
    if (hmp_optional_word(c, buf, n))
        return true;
    hmp_say(c, "%s is missing", what);
    return false;
}

struct vcpu *hmp_cpu(struct hmp_call *c)
{
    if (*c->cpu < c->vm->n_vcpus)
        return c->vm->vcpus[*c->cpu];
    hmp_say(c, "this machine has no CPU");
    return NULL;
}

bool hmp_number(struct hmp_call *c, const char *what, uint64_t *value)
{
    char text[200];
    struct vcpu *cpu = *c->cpu < c->vm->n_vcpus ? c->vm->vcpus[*c->cpu] : NULL;
    if (!hmp_word(c, what, text, sizeof(text)))
        return false;
    bool ran = strchr(text, '$') && hmp_hold(c);
    bool ok = hmp_ok(c, expr_value(text, cpu, value));
    hmp_let_go(c, ran);
    return ok;
}

bool hmp_hold(struct hmp_call *c)
{
    bool ran = c->vm->state == RUN_RUNNING;
    vm_pause(c->vm);
    for (unsigned i = 0; i < c->vm->n_vcpus; i++)
        c->vm->accel->get_state(c->vm->vcpus[i]);
    return ran;
}

void hmp_let_go(struct hmp_call *c, bool was_running)
{
    if (was_running)
        vm_start(c->vm);
}

/* ---- finding ----------------------------------------------------------------------------------- */
static const struct hmp_list *list_of(size_t table, bool info)
{
    return info ? &hmp_tables[table]->infos : &hmp_tables[table]->commands;
}

static const struct hmp_command *find(const char *name, bool info)
{
    for (size_t i = 0; i < n_hmp_tables; i++) {
        const struct hmp_list *l = list_of(i, info);
        for (size_t j = 0; j < l->n; j++)
            if (!strcmp(l->at[j].name, name) || (l->at[j].alias && !strcmp(l->at[j].alias, name)))
                return &l->at[j];
    }
    return NULL;
}

static size_t all_names(const char **names, bool info)
{
    size_t n = 0;
    for (size_t i = 0; i < n_hmp_tables; i++)
        for (size_t j = 0; j < list_of(i, info)->n && n < MOST_COMMANDS; j++)
            names[n++] = list_of(i, info)->at[j].name;
    return n;
}

static void run_line(struct hmp_call *c, bool info)
{
    char name[40];
    const char *names[MOST_COMMANDS];
    const char *at = c->args + strspn(c->args, " \t");
    size_t n = strcspn(at, " \t");
    if (!info && strchr(at, '/') &&
        (size_t)(strchr(at, '/') - at) < n) /* x/10i: the format is an argument */
        n = (size_t)(strchr(at, '/') - at);
    snprintf(name, sizeof(name), "%.*s", (int)n, at);
    const struct hmp_command *cmd = find(name, info);
    c->args = at + n + strspn(at + n, " \t");
    if (!cmd) {
        char *hint = nearest_hint(name, names, all_names(names, info));
        hmp_say(c, "unknown %s '%s'%s", info ? "subject" : "command", name, hint);
        free(hint);
    } else if (*c->args && !*cmd->args) {
        hmp_say(c, "%s takes no arguments", name);
    } else {
        cmd->run(c);
    }
}

void hmp_execute(struct hmp_call *c, const char *line)
{
    c->args = line + strspn(line, " \t");
    if (*c->args)
        run_line(c, false);
}

/* ---- help and info ------------------------------------------------------------------------------- */
static void print_help(struct hmp_call *c, const char *prefix, const struct hmp_command *cmd)
{
    hmp_say(c, "%s%s%s%s%s%s -- %s", prefix, cmd->name, cmd->alias ? "|" : "",
            cmd->alias ? cmd->alias : "", *cmd->args ? " " : "", cmd->args, cmd->help);
}

static void print_all(struct hmp_call *c, bool info)
{
    for (size_t i = 0; i < n_hmp_tables; i++)
        for (size_t j = 0; j < list_of(i, info)->n; j++)
            print_help(c, info ? "info " : "", &list_of(i, info)->at[j]);
}

static void do_help(struct hmp_call *c)
{
    char name[40];
    if (!hmp_optional_word(c, name, sizeof(name))) {
        print_all(c, false);
        return;
    }
    if (!strcmp(name, "info")) {
        char subject[40];
        const struct hmp_command *cmd = NULL;
        if (hmp_optional_word(c, subject, sizeof(subject)))
            cmd = find(subject, true);
        if (cmd)
            print_help(c, "info ", cmd);
        else
            print_all(c, true);
        return;
    }
    const struct hmp_command *cmd = find(name, false);
    if (cmd)
        print_help(c, "", cmd);
    else
        hmp_say(c, "unknown command '%s'; help lists them all", name);
}

static void do_info(struct hmp_call *c)
{
    if (*c->args)
        run_line(c, true);
    else
        print_all(c, true);
}

static const struct hmp_command commands[] = {
    { "help", "?", "[COMMAND]", "this list, or one command", do_help, HMP_COMMANDS },
    { "info", NULL, "SUBJECT", "show something; info alone lists what", do_info, HMP_INFOS },
};
const struct hmp_table hmp_help_table = { .commands = TABLE(commands) };

/* ---- completion ---------------------------------------------------------------------------------- */
struct offer {
    const char *start; /* of the word */
    enum backend_kind kind;
    void (*to)(void *opaque, const char *word);
    void *opaque;
};

static void offer_word(const struct offer *o, const char *word)
{
    if (word && !strncmp(word, o->start, strlen(o->start)))
        o->to(o->opaque, word);
}

static void offer_backend(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    const struct offer *o = opaque;
    if (kind == o->kind)
        offer_word(o, id);
}

static void offer_kind(struct vm *vm, struct offer *o, enum hmp_complete what)
{
    const char *names[MOST_COMMANDS];
    static const enum backend_kind kinds[] = { [HMP_DRIVES] = BACKEND_DRIVE,
                                               [HMP_NETDEVS] = BACKEND_NETDEV,
                                               [HMP_CHARDEVS] = BACKEND_CHARDEV,
                                               [HMP_OBJECTS] = BACKEND_OBJECT };
    switch (what) {
    case HMP_NOTHING: break;
    case HMP_COMMANDS:
    case HMP_INFOS:
        for (size_t i = 0, n = all_names(names, what == HMP_INFOS); i < n; i++)
            offer_word(o, names[i]);
        break;
    case HMP_DEVICES:
        for (struct device *d = vm->devices; d; d = d->next)
            offer_word(o, d->id);
        break;
    case HMP_DRIVERS:
        for (size_t i = 0; i < n_device_classes; i++)
            if (device_classes[i]->user_creatable)
                offer_word(o, device_classes[i]->name);
        break;
    case HMP_DRIVES:
    case HMP_NETDEVS:
    case HMP_CHARDEVS:
    case HMP_OBJECTS:
        o->kind = kinds[what];
        backends_each(vm, offer_backend, o);
        break;
    }
}

size_t hmp_completions(struct vm *vm, const char *line,
                       void (*offer)(void *opaque, const char *word), void *opaque)
{
    const char *first = line + strspn(line, " \t"), *blank = strpbrk(first, " \t");
    const char *last = line + strlen(line);
    char name[40];
    while (last > line && last[-1] != ' ' && last[-1] != '\t')
        last--;
    struct offer o = { .start = last, .to = offer, .opaque = opaque };
    if (!blank) {
        offer_kind(vm, &o, HMP_COMMANDS);
    } else {
        snprintf(name, sizeof(name), "%.*s", (int)(blank - first), first);
        const struct hmp_command *cmd = find(name, false);
        if (cmd)
            offer_kind(vm, &o, cmd->complete);
    }
    return (size_t)(last - line);
}
