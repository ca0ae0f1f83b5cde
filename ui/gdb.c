/* A client's session: which packet is answered by what. */
#include "ui/gdb_session.h"

#include "core/chardev.h"
#include "core/debug.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>

void gdb_error(struct gdb *g, unsigned code)
{
    g->a.n = 0;
    text_print(&g->a, "E%02x", code);
}

void gdb_fail(struct gdb *g, struct error *err)
{
    gdb_error(g, GDB_TOO_MUCH);
    if (g->text_errors) {
        g->a.n = 0;
        text_print(&g->a, "E.%s", error_text(err));
    }
    error_free(err);
}

static void ok(struct gdb *g)
{
    text_print(&g->a, "OK");
}

bool gdb_thread(struct gdb *g, const char **at, int any, int *cpu)
{
    uint64_t id;
    if (**at == 'p') { /* there is one process */
        const char *dot = strchr(*at, '.');
        if (!dot)
            return false;
        *at = dot + 1;
    }
    *cpu = -1;
    if (!strncmp(*at, "-1", 2)) {
        *at += 2;
        return true;
    }
    if (!hex_number(at, &id) || id > g->vm->n_vcpus)
        return false;
    *cpu = id ? (int)id - 1 : any;
    return true;
}

/* ---- packets ---------------------------------------------------------------------------------------- */

static void choose_thread(struct gdb *g, const char *args)
{
    const char *at = args + 1;
    int cpu;
    if ((*args != 'g' && *args != 'c') || !gdb_thread(g, &at, (int)g->g_cpu, &cpu)) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    if (*args == 'c')
        g->c_cpu = args[1] == '0' ? -1 : cpu;
    else
        g->g_cpu = cpu < 0 ? 0 : (unsigned)cpu;
    ok(g);
}

static void is_alive(struct gdb *g, const char *args)
{
    int cpu;
    if (gdb_thread(g, &args, 0, &cpu) && cpu >= 0)
        ok(g);
    else
        gdb_error(g, GDB_BAD_REQUEST);
}

static void end_vm(struct gdb *g)
{
    vm_request_end(g->vm, VERDICT_QUIT, 0, "the debugger");
}

static void take_v(struct gdb *g, const char *args)
{
    if (!strcmp(args, "Cont?")) {
        text_print(&g->a, "vCont;c;C;s;S;t;r");
    } else if (!strncmp(args, "Cont", 4)) {
        gdb_vcont(g, args + 4);
    } else if (!strncmp(args, "Attach;", 7)) {
        gdb_tell_stop(g);
    } else if (!strncmp(args, "Kill;", 5)) {
        end_vm(g);
        ok(g);
    }
}

static void reset(struct gdb *g)
{
    vm_request_reset_for(g->vm, CAUSE_HOST_RESET);
}

static void answer(struct gdb *g, const char *data, size_t n)
{
    const char *args = data + 1;
    switch (*data) {
    case '!': ok(g); break;
    case '?': gdb_tell_stop(g); break;
    case 'c':
    case 'C':
    case 's':
    case 'S': gdb_continue(g, args, *data); break;
    case 'D':
        gdb_detach(g, true);
        ok(g);
        break;
    case 'g': gdb_read_regs(g); break;
    case 'G': gdb_write_regs(g, args); break;
    case 'H': choose_thread(g, args); break;
    case 'k': end_vm(g); break;
    case 'm': gdb_read_memory(g, args, false); break;
    case 'x': gdb_read_memory(g, args, true); break;
    case 'M': gdb_write_memory(g, args, n - 1, false); break;
    case 'X': gdb_write_memory(g, args, n - 1, true); break;
    case 'p': gdb_read_reg(g, args); break;
    case 'P': gdb_write_reg(g, args); break;
    case 'q': gdb_query(g, args); break;
    case 'Q': gdb_set(g, args); break;
    case 'R': reset(g); break;
    case 'T': is_alive(g, args); break;
    case 'v': take_v(g, args); break;
    case 'Z': gdb_set_point(g, args, true); break;
    case 'z': gdb_set_point(g, args, false); break;
    default: break; /* an empty answer: not known */
    }
}

/* Some are answered later, or never. */
static bool has_answer(const struct gdb *g, char kind)
{
    return !g->answered && kind != 'k' && kind != 'R';
}

static void on_packet(void *opaque, const char *data, size_t n)
{
    struct gdb *g = opaque;
    if (g->vm->state == RUN_ENDED)
        return;
    g->a = (struct gdb_text){ g->answer, 0, sizeof(g->answer) };
    g->answered = false;
    gdb_attach(g);
    gdb_stand_still(g);
    if (n)
        answer(g, data, n);
    if (has_answer(g, *data))
        link_send(&g->link, g->a.at, g->a.n);
    if (!strncmp(data, "QStartNoAckMode", n) && n == 15)
        g->link.no_acks = true; /* behind the answer to this */
}

static void on_interrupt(void *opaque)
{
    gdb_interrupt(opaque);
}

/* ---- the back end ----------------------------------------------------------------------------------- */

static size_t front_room(void *opaque)
{
    struct gdb *g = opaque;
    return link_room(&g->link);
}

static void front_receive(void *opaque, const uint8_t *data, size_t n)
{
    struct gdb *g = opaque;
    link_receive(&g->link, data, n);
}

static void front_event(void *opaque, int event)
{
    struct gdb *g = opaque;
    if (event == CHARDEV_OPENED || event == CHARDEV_CLOSED) {
        gdb_detach(g, false);
        link_restart(&g->link);
    } else if (event == CHARDEV_WRITABLE) {
        link_writable(&g->link);
        if (link_room(&g->link))
            chardev_accept(g->link.chardev);
    }
}

/* ---- life ------------------------------------------------------------------------------------------- */

struct gdb *gdb_new(struct vm *vm, struct chardev *c, const struct gdb_hooks *hooks)
{
    struct gdb *g = xcalloc(1, sizeof(*g));
    g->vm = vm;
    g->hooks = *hooks;
    g->target = vm->target->debug;
    g->wanted = xcalloc(vm->n_vcpus, sizeof(*g->wanted));
    g->actions = xcalloc(vm->n_vcpus, sizeof(*g->actions));
    g->stops = xcalloc(vm->n_vcpus, sizeof(*g->stops));
    g->c_cpu = -1;
    g->link = (struct gdb_link){
        .chardev = c, .packet = on_packet, .interrupt = on_interrupt, .opaque = g
    };
    link_init(&g->link);
    vm_on_debug(vm, gdb_debug_stopped, g);
    vm_on_run(vm, gdb_ran, g);
    chardev_attach(c, &(struct chardev_front){ front_room, front_receive, front_event, g });
    return g;
}

/* W: it exited with this status; X: by this signal. */
static void tell_end(struct gdb *g)
{
    enum { SIGNALLED = 128 };
    int code = g->vm->exit_code;
    char text[8];
    bool by_signal = g->vm->verdict == VERDICT_SIGNAL;
    snprintf(text, sizeof(text), "%c%02x", by_signal ? 'X' : 'W',
             (by_signal ? code - SIGNALLED : code) & 0xff);
    link_send(&g->link, text, strlen(text));
}

static void free_now(void *opaque)
{
    struct gdb *g = opaque;
    link_free(&g->link);
    free(g->wanted);
    free(g->actions);
    free(g->stops);
    free(g->description);
    free(g);
}

void gdb_free(struct gdb *g)
{
    if (!g)
        return;
    if (g->waits)
        tell_end(g);
    g->is_over = true;
    vm_forget(g->vm, g);
    chardev_detach(g->link.chardev);
    loop_post(g->vm->loop, free_now, g); /* behind what it posted itself */
}
