/* Running, stopping, resetting, for a person. */
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/gdb.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/monitor.h"
#include "ui/run.h"

#include <stdio.h>

static void do_quit(struct hmp_call *c)
{
    vm_request_end(c->vm, VERDICT_QUIT, 0, "monitor");
}

static void do_reset(struct hmp_call *c)
{
    vm_request_reset_for(c->vm, CAUSE_HOST_RESET);
}

static void do_powerdown(struct hmp_call *c)
{
    if (!vm_press_power_button(c->vm))
        hmp_say(c, "this board has no power button; use the guest's own command, or quit");
}

static void do_wakeup(struct hmp_call *c)
{
    hmp_ok(c, run_wake(c->vm));
}

static void do_nmi(struct hmp_call *c)
{
    if (!vm_inject_nmi(c->vm))
        hmp_say(c, "this machine has no non-maskable interrupt");
}

static void do_stop(struct hmp_call *c)
{
    vm_stop(c->vm, STOP_USER);
}

static void do_cont(struct hmp_call *c)
{
    struct error *err = vm_continue(c->vm);
    if (err)
        hmp_say(c, "the guest has powered off; system_reset starts it again");
    error_free(err);
}

static void watchdog_action(struct hmp_call *c)
{
    char word[20];
    if (hmp_word(c, "the action", word, sizeof(word)))
        hmp_ok(c, run_set_actions(c->vm, NULL, NULL, NULL, word));
}

static void info_status(struct hmp_call *c)
{
    const char *status = run_status(c->vm);
    if (c->vm->state == RUN_RUNNING && !c->vm->suspended)
        hmp_say(c, "VM status: running");
    else if (!strcmp(status, "paused"))
        hmp_say(c, "VM status: paused");
    else
        hmp_say(c, "VM status: paused (%s)", status);
}

static void info_name(struct hmp_call *c)
{
    hmp_say(c, "%s", c->vm->name ? c->vm->name : "");
}

static void info_uuid(struct hmp_call *c)
{
    hmp_say(c, "%s", c->vm->uuid ? c->vm->uuid : "00000000-0000-0000-0000-000000000000");
}

/* ---- the debugger ------------------------------------------------------------------------------------------ */
static void do_gdbserver(struct hmp_call *c)
{
    struct gdb_place *place = c->hooks->gdb;
    char spec[200];
    if (!hmp_optional_word(c, spec, sizeof(spec)))
        snprintf(spec, sizeof(spec), "tcp::1234");
    if (!place) {
        hmp_say(c, "gdb cannot replace its own server; ask on a monitor");
        return;
    }
    if (place->gdb)
        gdb_close(place->gdb);
    place->gdb = NULL;
    if (!hmp_ok(c, gdb_open(c->vm, spec, &place->hooks, &place->gdb)))
        return;
    if (place->gdb)
        hmp_say(c, "Waiting for gdb connection on device '%s'", spec);
    else
        hmp_say(c, "Disabled gdbserver");
}

static void info_gdb(struct hmp_call *c)
{
    const struct gdb *g = c->hooks->gdb ? c->hooks->gdb->gdb : NULL;
    if (!c->hooks->gdb)
        hmp_say(c, "served here");
    else if (g)
        hmp_say(c, "served%s%s%s", *gdb_where(g) ? " at " : "", gdb_where(g),
                gdb_has_client(g) ? ", a client is there" : "");
    else
        hmp_say(c, "not served; gdbserver starts it");
}

static const struct hmp_command commands[] = {
    { "stop", "s", "", "stop the guest", do_stop },
    { "cont", "c", "", "let it run on", do_cont },
    { "system_reset", NULL, "", "reset the machine", do_reset },
    { "system_powerdown", NULL, "", "press the power button", do_powerdown },
    { "system_wakeup", NULL, "", "wake the guest from S3", do_wakeup },
    { "nmi", NULL, "", "inject a non-maskable interrupt", do_nmi },
    { "watchdog_action", NULL, "ACTION", "what a watchdog that expires does", watchdog_action },
    { "gdbserver", "gdbstub", "[DEV]", "serve gdb there, as -gdb does (tcp::1234), or none",
      do_gdbserver },
    { "quit", "q", "", "end at once", do_quit },
};
static const struct hmp_command infos[] = {
    { "status", NULL, "", "whether the guest runs", info_status },
    { "name", NULL, "", "the virtual machine's name", info_name },
    { "uuid", NULL, "", "its identifier", info_uuid },
    { "gdb", NULL, "", "where gdb is served", info_gdb },
};
const struct hmp_table hmp_run_table = { TABLE(commands), TABLE(infos) };
