/* Inside the xHCI host controller. Section numbers: eXtensible Host Controller Interface 1.2. */
#pragma once

#include "hw/pci/pci.h"
#include "hw/usb/usb.h"

enum {
    N_SLOTS = 64,
    N_ENDPOINTS = 32, /* device context indices; 0 is the slot */
    N_INTERRUPTERS = 16,
    N_ROOT_PORTS = 2 * USB_MAX_PORTS,
    TRB_SIZE = 16,
    CONTEXT_SIZE = 32, /* 6.2: HCCPARAMS1.CSZ is 0 */
    ERST_MAX_LOG = 4,  /* event ring segments: 16 at most */
};

/* 6.4.6 */
enum trb_type {
    TRB_NORMAL = 1,
    TRB_SETUP,
    TRB_DATA,
    TRB_STATUS,
    TRB_ISOCH,
    TRB_LINK,
    TRB_EVENT_DATA,
    TRB_NOOP,
    TRB_ENABLE_SLOT,
    TRB_DISABLE_SLOT,
    TRB_ADDRESS_DEVICE,
    TRB_CONFIGURE_ENDPOINT,
    TRB_EVALUATE_CONTEXT,
    TRB_RESET_ENDPOINT,
    TRB_STOP_ENDPOINT,
    TRB_SET_DEQUEUE,
    TRB_RESET_DEVICE,
    TRB_FORCE_EVENT,
    TRB_NEGOTIATE_BANDWIDTH,
    TRB_SET_LATENCY,
    TRB_PORT_BANDWIDTH,
    TRB_FORCE_HEADER,
    TRB_NOOP_COMMAND,
    TRB_TRANSFER_EVENT = 32,
    TRB_COMMAND_EVENT,
    TRB_PORT_EVENT,
    TRB_HOST_EVENT = 37,
    TRB_NEC_EVENT = 48,
    TRB_NEC_FIRMWARE,
};
/* 6.4.5 */
enum trb_code {
    CODE_SUCCESS = 1,
    CODE_TRANSACTION_ERROR = 4,
    CODE_TRB_ERROR = 5,
    CODE_STALL = 6,
    CODE_NO_SLOTS = 9,
    CODE_SLOT_NOT_ENABLED = 11,
    CODE_ENDPOINT_NOT_ENABLED = 12,
    CODE_SHORT_PACKET = 13,
    CODE_PARAMETER_ERROR = 17,
    CODE_CONTEXT_STATE = 19,
    CODE_RING_FULL = 21,
    CODE_COMMAND_STOPPED = 24,
    CODE_STOPPED = 26,
};
/* Bits of a TRB's control word. */
enum {
    TRB_CYCLE = 1 << 0,
    TRB_TOGGLE = 1 << 1, /* link */
    TRB_ISP = 1 << 2,
    TRB_EVENT_DATA_BIT = 1 << 2, /* transfer event */
    TRB_CHAIN = 1 << 4,
    TRB_IOC = 1 << 5,
    TRB_IMMEDIATE = 1 << 6,
    TRB_BLOCK_EVENT = 1 << 9,
    TRB_BSR = 1 << 9, /* address device; deconfigure in configure endpoint */
};

struct trb {
    gpa at;
    uint64_t parameter;
    uint32_t status, control;
};
static inline unsigned trb_type(const struct trb *t)
{
    return t->control >> 10 & 63;
}

/* A ring that the controller consumes. */
struct ring {
    gpa dequeue;
    bool cycle;
};

enum endpoint_state { EP_DISABLED, EP_RUNNING, EP_HALTED, EP_STOPPED, EP_ERROR }; /* 6.2.3 */
enum slot_state { SLOT_ENABLED, SLOT_DEFAULT, SLOT_ADDRESSED, SLOT_CONFIGURED };  /* 6.2.2 */
enum { EP_CONTROL = 4 };                                                          /* type */

struct xhci_endpoint {
    uint8_t state, type;
    struct ring ring;
    /* derived */
    bool waits;         /* the device said NAK to what is at the dequeue pointer */
    struct xhci_td *td; /* under way */
};
struct xhci_slot {
    bool enabled;
    uint8_t state, port; /* port: of the root, from 1 */
    uint32_t route;      /* ports of the hubs behind it, from 1, four bits each (3.2, 8.9) */
    uint16_t interrupter;
    gpa context; /* output device context */
    struct xhci_endpoint endpoints[N_ENDPOINTS];
    uint32_t kicked; /* derived: endpoints to look at, by number */
};

/* 5.5.2 and the event ring behind it, 4.9.4. */
struct xhci_interrupter {
    uint32_t iman, imod, erstsz;
    uint64_t erstba, erdp;
    bool started; /* the rest follows from the table */
    bool cycle;
    bool full; /* events are lost until the guest takes some */
    uint32_t segment, index, segment_size;
    gpa segment_at;
};

struct xhci {
    struct device dev;
    struct pci_function fn;
    struct usb_bus bus;
    uint8_t p2, p3; /* properties: connectors with USB 2 and USB 3 */
    uint32_t slots_max, interrupters;
    /* state */
    uint32_t usbcmd, usbsts, dnctrl, config;
    uint64_t dcbaap, crcr;
    bool commands_run; /* CRCR.CRR */
    struct ring commands;
    uint32_t portsc[N_ROOT_PORTS], portpmsc[N_ROOT_PORTS], portlpm[N_ROOT_PORTS];
    struct xhci_interrupter interrupter[N_INTERRUPTERS];
    struct xhci_slot slots[N_SLOTS + 1];
    /* derived */
    uint64_t slots_kicked; /* bit 0: slot 1 */
    unsigned turn;         /* the slot that had the last one, from 0 */
    bool busy;
    struct timer *again; /* long rings go on after others had their turn */
};

enum { CMD_RUN = 1, CMD_RESET = 2, CMD_INTERRUPTS = 4 }; /* 5.4.1 */
enum {
    STS_HALTED = 1,
    STS_HOST_ERROR = 4,
    STS_INTERRUPT = 8,
    STS_PORT = 16,
    STS_RESTORE_ERROR = 1 << 10,
    STS_CONTROLLER_ERROR = 1 << 12
}; /* 5.4.2 */

static inline bool xhci_runs(const struct xhci *x)
{
    return x->usbcmd & CMD_RUN &&
           !(x->usbsts & (STS_HALTED | STS_HOST_ERROR | STS_CONTROLLER_ERROR));
}

/* ---- xhci_ring.c: memory, rings, events ------------------------------------------------------------------ */
bool xhci_dma_read(struct xhci *x, gpa at, void *to, size_t n);
bool xhci_dma_write(struct xhci *x, gpa at, const void *from, size_t n);
/* The guest broke something that concerns all: the controller stops until it is reset. */
void xhci_fail(struct xhci *x, uint32_t why, const char *what);
/* The next TRB that is no link, and step past it. */
enum ring_result { RING_TRB, RING_EMPTY, RING_BAD };
enum ring_result ring_next(struct xhci *x, struct ring *r, struct trb *out);
/* Tell the guest; its cycle bit is the ring's. Quiet: without an interrupt. */
void xhci_event(struct xhci *x, unsigned interrupter, const struct trb *event, bool quiet);
void xhci_interrupts(struct xhci *x);
/* The guest wrote a register of the event ring. */
void xhci_events_taken(struct xhci *x, unsigned interrupter, uint64_t erdp);

/* ---- xhci_transfer.c ------------------------------------------------------------------------------------- */
void xhci_kick(struct xhci *x, unsigned slot, unsigned endpoint);
void xhci_kick_all(struct xhci *x);
/* Do what was left, after a while or now. */
void xhci_go_on_later(struct xhci *x);
void xhci_go_on(struct xhci *x);
void xhci_done(struct usb_bus *bus, struct usb_packet *p);
void xhci_wakeup(struct xhci *x, struct usb_device *u, uint8_t endpoint);
/* What is under way is forgotten; if `tell`, an event says that it stopped. */
void endpoint_drop(struct xhci *x, unsigned slot, unsigned endpoint, bool tell);
/* New state, into the guest's context, too. */
void endpoint_set(struct xhci *x, unsigned slot, unsigned endpoint, enum endpoint_state state);
/* The device behind a root port, from 1; NULL: none. */
struct usb_device *xhci_device_at(const struct xhci *x, unsigned port);
/* The same behind hubs, and where a slot says. */
struct usb_device *xhci_device_behind(const struct xhci *x, unsigned port, uint32_t route);
struct usb_device *xhci_slot_device(const struct xhci *x, unsigned slot);
void slot_drop_all(struct xhci *x, unsigned slot);

/* ---- xhci_command.c -------------------------------------------------------------------------------------- */
void xhci_run_commands(struct xhci *x);
void xhci_stop_commands(struct xhci *x);
