/* What happens to a VM, told to whoever listens (QMP). Anybody may tell, from any thread and under
 * device locks; listeners hear it on the main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

/* Names, data and meaning are QMP's: ui/qmp_events.c lists them. */
enum event_kind {
    EVENT_ACPI_DEVICE_OST,
    EVENT_BALLOON_CHANGE,
    EVENT_BLOCK_IO_ERROR,
    EVENT_DEVICE_DELETED,
    EVENT_DEVICE_TRAY_MOVED,
    EVENT_DEVICE_UNPLUG_GUEST_ERROR,
    EVENT_GUEST_PANICKED,
    EVENT_MEMORY_DEVICE_SIZE_CHANGE,
    EVENT_NIC_RX_FILTER_CHANGED,
    EVENT_POWERDOWN,
    EVENT_RESET,
    EVENT_RESUME,
    EVENT_RTC_CHANGE,
    EVENT_SHUTDOWN,
    EVENT_STOP,
    EVENT_SUSPEND,
    EVENT_SUSPEND_DISK,
    EVENT_VNC_CONNECTED,
    EVENT_VNC_DISCONNECTED,
    EVENT_VNC_INITIALIZED,
    EVENT_VSERPORT_CHANGE,
    EVENT_WAKEUP,
    EVENT_WATCHDOG,
    N_EVENTS
};

/* One member of an event's data. Dots in the name lead into objects: "info.slot". */
struct event_item {
    const char *name;
    enum { ITEM_TEXT, ITEM_NUMBER, ITEM_FLAG } kind;
    const char *text; /* NULL: the member is left out */
    int64_t number;   /* FLAG: not 0 is true */
};
#define EVENT_TEXT(name, value)   ((struct event_item){ (name), ITEM_TEXT, (value), 0 })
#define EVENT_NUMBER(name, value) ((struct event_item){ (name), ITEM_NUMBER, "", (value) })
#define EVENT_FLAG(name, value)   ((struct event_item){ (name), ITEM_FLAG, "", (value) })

/* event_tell(vm, EVENT_RESET, EVENT_FLAG("guest", true), EVENT_TEXT("reason", "guest-reset")); what is
 * told on the main loop's thread is heard before this returns. Some kinds are limited to one a second,
 * the newest: those in between are not heard. */
#define event_tell(vm, kind, ...)                                                                 \
    event_send((vm), (kind), (const struct event_item[]){ { 0 }, ##__VA_ARGS__ } + 1,             \
               sizeof((const struct event_item[]){ { 0 }, ##__VA_ARGS__ }) /                      \
                       sizeof(struct event_item) -                                                \
                   1)
void event_send(struct vm *vm, enum event_kind kind, const struct event_item *items, size_t n);

struct event {
    enum event_kind kind;
    int64_t at_us; /* since 1970, when it was told */
    struct event_item *items;
    size_t n;
};
/* Main loop's thread. A listener takes no device's lock and does not call event_listen or _unlisten. */
void event_listen(struct vm *vm, void (*heard)(void *opaque, const struct event *e), void *opaque);
void event_unlisten(struct vm *vm, void *opaque);

/* For core/vm.c. */
struct events *events_new(struct vm *vm);
void events_free(struct events *es);
