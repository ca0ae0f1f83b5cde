/* Events: their names and data. */
#include "ui/qmp.h"

#define TOLD(kind, data_, doc_) [EVENT_##kind] = { #kind, data_, doc_ }

const struct qmp_event qmp_events[N_EVENTS] = {
    TOLD(ACPI_DEVICE_OST, "info:ACPIOSTInfo", "the guest reports on a hot-plug request"),
    TOLD(BALLOON_CHANGE, "actual:int", "bytes of memory that the guest has now; one a second"),
    TOLD(BLOCK_IO_ERROR,
         "qom-path:str device:str *node-name:str operation:IoOperationType action:BlockErrorAction "
         "*nospace:bool reason:str",
         "a disk request failed"),
    TOLD(DEVICE_DELETED, "*device:str path:str", "a device is gone"),
    TOLD(DEVICE_TRAY_MOVED, "device:str id:str tray-open:bool", "a CD tray moved"),
    TOLD(DEVICE_UNPLUG_GUEST_ERROR, "*device:str path:str", "the guest keeps a device"),
    TOLD(GUEST_PANICKED, "action:GuestPanicAction", "the guest's system crashed and said so"),
    TOLD(MEMORY_DEVICE_SIZE_CHANGE, "*id:str size:size qom-path:str",
         "a memory device has another size; one a second for each"),
    TOLD(NIC_RX_FILTER_CHANGED, "*name:str path:str",
         "what a network card lets in has changed; the next one comes after query-rx-filter"),
    TOLD(POWERDOWN, "", "the power button was pressed"),
    TOLD(RESET, "guest:bool reason:ShutdownCause", "the machine was reset"),
    TOLD(RESUME, "", "the guest runs again"),
    TOLD(RTC_CHANGE, "offset:int qom-path:str",
         "the guest set its clock: seconds from the host's; one a second"),
    TOLD(SHUTDOWN, "guest:bool reason:ShutdownCause",
         "the run is over, or with -no-shutdown the guest's part of it"),
    TOLD(STOP, "", "the guest stands still"),
    TOLD(SUSPEND, "", "the guest sleeps (S3)"),
    TOLD(SUSPEND_DISK, "", "the guest hibernates (S4)"),
    TOLD(VNC_CONNECTED, "server:VncServerInfo client:VncBasicInfo", "a viewer came"),
    TOLD(VNC_DISCONNECTED, "server:VncServerInfo client:VncClientInfo", "a viewer left"),
    TOLD(VNC_INITIALIZED, "server:VncServerInfo client:VncClientInfo", "a viewer logged in"),
    TOLD(VSERPORT_CHANGE, "id:str open:bool",
         "the guest opened or closed a port; one a second for each"),
    TOLD(WAKEUP, "", "the guest wakes from S3"),
    TOLD(WATCHDOG, "action:WatchdogAction", "a watchdog expired; one a second"),
};
