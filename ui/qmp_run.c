/* Running, stopping, resetting; who the VM is. */
#include "core/accel.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/run.h"

static struct error *query_status(struct qmp_call *c)
{
    c->reply = json_pack("{sssbsb}", "status", run_status(c->vm), "singlestep", 0, "running",
                         c->vm->state == RUN_RUNNING && !c->vm->suspended);
    return NULL;
}

static struct error *do_stop(struct qmp_call *c)
{
    vm_stop(c->vm, STOP_USER);
    return NULL;
}

static struct error *do_cont(struct qmp_call *c)
{
    return vm_continue(c->vm);
}

static struct error *do_quit(struct qmp_call *c)
{
    vm_request_end(c->vm, VERDICT_QUIT, 0, "monitor");
    return NULL;
}

static struct error *do_reset(struct qmp_call *c)
{
    vm_request_reset_for(c->vm, CAUSE_HOST_RESET);
    return NULL;
}

/* A board without a power button takes it as QEMU's boards do: in silence, but for the event. */
static struct error *do_powerdown(struct qmp_call *c)
{
    vm_press_power_button(c->vm);
    return NULL;
}

static struct error *do_wakeup(struct qmp_call *c)
{
    return run_wake(c->vm);
}

static struct error *do_nmi(struct qmp_call *c)
{
    if (!vm_inject_nmi(c->vm))
        return error_new("this machine has no non-maskable interrupt");
    return NULL;
}

static struct error *set_action(struct qmp_call *c)
{
    const char *reboot = qmp_str(c, "reboot"), *shutdown = qmp_str(c, "shutdown");
    const char *panic = qmp_str(c, "panic"), *watchdog = qmp_str(c, "watchdog");
    return run_set_actions(c->vm, reboot, shutdown, panic, watchdog);
}

static struct error *query_name(struct qmp_call *c)
{
    c->reply = c->vm->name ? json_pack("{ss}", "name", c->vm->name) : json_object();
    return NULL;
}

static struct error *query_uuid(struct qmp_call *c)
{
    c->reply = json_pack("{ss}", "UUID",
                         c->vm->uuid ? c->vm->uuid : "00000000-0000-0000-0000-000000000000");
    return NULL;
}

static struct error *query_target(struct qmp_call *c)
{
    c->reply = json_pack("{ss}", "arch", c->vm->target->name);
    return NULL;
}

static const struct accel *kvm_if_usable(const struct vm *vm)
{
    for (size_t i = 0; i < n_accels; i++) {
        if (strcmp(accels[i]->name, "kvm"))
            continue;
        struct error *err = accels[i]->available(vm->target->name);
        bool usable = !err;
        error_free(err);
        return usable ? accels[i] : NULL;
    }
    return NULL;
}

static struct error *query_kvm(struct qmp_call *c)
{
    bool enabled = !strcmp(c->vm->accel->name, "kvm");
    c->reply =
        json_pack("{sbsb}", "enabled", enabled, "present", enabled || kvm_if_usable(c->vm) != NULL);
    return NULL;
}

static struct error *query_accelerators(struct qmp_call *c)
{
    bool is_kvm = !strcmp(c->vm->accel->name, "kvm");
    json_t *present = json_array();
    if (is_kvm || kvm_if_usable(c->vm))
        json_array_append_new(present, json_string("kvm"));
    json_array_append_new(present, json_string("tcg"));
    c->reply = json_pack("{ssso}", "enabled", is_kvm ? "kvm" : "tcg", "present", present);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-status", "", "StatusInfo", "does the guest run, and if not, why", query_status,
      QMP_PRECONFIG },
    { "stop", "", "", "stop the guest", do_stop },
    { "cont", "", "", "let it run on", do_cont },
    { "quit", "", "", "end the program at once", do_quit, QMP_PRECONFIG },
    { "system_reset", "", "", "reset the machine", do_reset },
    { "system_powerdown", "", "", "press the power button", do_powerdown },
    { "system_wakeup", "", "", "wake the guest from S3", do_wakeup },
    { "inject-nmi", "", "", "a non-maskable interrupt, as the board delivers it", do_nmi },
    { "set-action",
      "*reboot:RebootAction *shutdown:ShutdownAction *panic:PanicAction *watchdog:WatchdogAction",
      "", "what to do when something happens", set_action, QMP_PRECONFIG, "allow-preconfig" },
    { "query-name", "", "NameInfo", "-name", query_name, QMP_PRECONFIG },
    { "query-uuid", "", "UuidInfo", "-uuid", query_uuid, QMP_PRECONFIG },
    { "query-target", "", "TargetInfo", "the guest's architecture", query_target, QMP_PRECONFIG },
    { "query-kvm", "", "KvmInfo", "is KVM there, and in use", query_kvm },
    { "query-accelerators", "", "AcceleratorInfo", "which engines are there", query_accelerators },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("RunState",
                  "debug inmigrate internal-error io-error paused postmigrate prelaunch "
                  "finish-migrate restore-vm running save-vm shutdown suspended watchdog "
                  "guest-panicked colo"),
    QMP_STRUCT_TYPE("StatusInfo", "running:bool singlestep:bool status:RunState"),
    QMP_ENUM_TYPE("ShutdownCause",
                  "none host-error host-qmp-quit host-qmp-system-reset host-signal host-ui "
                  "guest-shutdown guest-reset guest-panic subsystem-reset snapshot-load"),
    QMP_ENUM_TYPE("RebootAction", "reset shutdown"),
    QMP_ENUM_TYPE("ShutdownAction", "poweroff pause"),
    QMP_ENUM_TYPE("PanicAction", "pause shutdown exit-failure none"),
    QMP_ENUM_TYPE("WatchdogAction", "reset shutdown poweroff pause debug none inject-nmi"),
    QMP_ENUM_TYPE("GuestPanicAction", "pause poweroff run"),
    QMP_STRUCT_TYPE("NameInfo", "*name:str"),
    QMP_STRUCT_TYPE("UuidInfo", "UUID:str"),
    QMP_STRUCT_TYPE("TargetInfo", "arch:SysEmuTarget"),
    QMP_ENUM_TYPE("SysEmuTarget", "aarch64 riscv64 x86_64"),
    QMP_STRUCT_TYPE("KvmInfo", "enabled:bool present:bool"),
    QMP_ENUM_TYPE("Accelerator", "kvm tcg"),
    QMP_STRUCT_TYPE("AcceleratorInfo", "enabled:Accelerator present:[Accelerator]"),
    /* Of events of devices. */
    QMP_STRUCT_TYPE("ACPIOSTInfo", "*device:str slot:str slot-type:str source:int status:int"),
    QMP_ENUM_TYPE("IoOperationType", "read write"),
    QMP_ENUM_TYPE("BlockErrorAction", "ignore report stop"),
    QMP_ENUM_TYPE("NetworkAddressFamily", "ipv4 ipv6 unix vsock unknown"),
    QMP_STRUCT_TYPE("VncBasicInfo",
                    "host:str service:str family:NetworkAddressFamily websocket:bool"),
    QMP_STRUCT_TYPE("VncServerInfo", "host:str service:str family:NetworkAddressFamily "
                                     "websocket:bool *auth:str"),
    QMP_STRUCT_TYPE("VncClientInfo", "host:str service:str family:NetworkAddressFamily "
                                     "websocket:bool *x509_dname:str *sasl_username:str"),
};

const struct qmp_table qmp_run_table = { "Running", TABLE(commands), TABLE(types) };
