/* xHCI: transfer rings (4.11). A transfer descriptor is read from the ring as a whole, a control transfer
 * with all its stages, and becomes one packet. The dequeue pointer moves when that has ended; one that the
 * device does not want yet (NAK) stays in the ring and is read anew. */
#include "core/clock.h"
#include "core/vm.h"
#include "hw/usb/xhci_internal.h"

#include <stdlib.h>

enum {
    MAX_TRBS = 4096, /* of one descriptor */
    MAX_BYTES = 16 * MIB,
    IMMEDIATE_SIZE = 8,
};
/* Work before others have their turn: a descriptor costs 1, and its TRBs and bytes more (cost_of). */
enum { BUDGET = 1024, SHARE = 256, TRBS_PER_COST = 8, BYTES_PER_COST = 4096 };
enum {
    PAUSE_NS = 125000
}; /* a microframe; rings that never end leave that much to everybody else */

struct xhci_td {
    struct usb_packet packet;
    struct xhci *x;
    unsigned slot, endpoint;
    struct ring after;
    struct trb *trbs;
    unsigned n_trbs, room;
    uint32_t total;
    struct trb bad; /* where the ring could not be followed */
};

static void td_free(struct xhci_td *td)
{
    free(td->packet.data);
    free(td->trbs);
    free(td);
}

static bool has_data(const struct trb *t)
{
    return trb_type(t) == TRB_NORMAL || trb_type(t) == TRB_DATA || trb_type(t) == TRB_ISOCH;
}

static uint32_t trb_length(const struct trb *t)
{
    return has_data(t) ? t->status & 0x1ffff : 0;
}

/* ---- events ------------------------------------------------------------------------------------------------ */
static void transfer_event(struct xhci_td *td, const struct trb *t, enum trb_code code,
                           uint32_t length)
{
    bool is_data = trb_type(t) == TRB_EVENT_DATA;
    struct trb event = {
        .parameter = is_data ? t->parameter : t->at,
        .status = (length & 0xffffff) | (uint32_t)code << 24,
        .control = TRB_TRANSFER_EVENT << 10 | td->endpoint << 16 | td->slot << 24 |
                   (is_data ? TRB_EVENT_DATA_BIT : 0),
    };
    xhci_event(td->x, t->status >> 22, &event,
               t->control & TRB_BLOCK_EVENT && t->control & TRB_IOC);
}

void endpoint_set(struct xhci *x, unsigned slot, unsigned endpoint, enum endpoint_state state)
{
    struct xhci_slot *s = &x->slots[slot];
    struct xhci_endpoint *e = &s->endpoints[endpoint];
    gpa at = s->context + (gpa)endpoint * CONTEXT_SIZE;
    uint8_t raw[16];
    e->state = (uint8_t)state;
    if (!xhci_dma_read(x, at, raw, sizeof(raw)))
        return;
    store_le(raw, 4, (load_le(raw, 4) & ~UINT64_C(7)) | state);
    store_le(raw + 8, 8, e->ring.dequeue | e->ring.cycle);
    xhci_dma_write(x, at, raw, sizeof(raw));
}

/* ---- reading a descriptor ---------------------------------------------------------------------------------- */
static bool fits(const struct xhci_td *td, const struct trb *t, bool control)
{
    unsigned type = trb_type(t);
    if (type == TRB_NOOP)
        return !td->n_trbs || !control;
    if (!control)
        return type == TRB_NORMAL || type == TRB_ISOCH || type == TRB_EVENT_DATA;
    if (!td->n_trbs) /* 6.4.1.2.1 */
        return type == TRB_SETUP && t->control & TRB_IMMEDIATE && (t->status & 0x1ffff) == 8;
    return type == TRB_DATA || type == TRB_NORMAL || type == TRB_STATUS || type == TRB_EVENT_DATA;
}

static void td_append(struct xhci_td *td, const struct trb *t)
{
    if (td->n_trbs == td->room) {
        td->room = td->room ? 2 * td->room : 8;
        td->trbs = xrealloc(td->trbs, td->room * sizeof(*td->trbs));
    }
    td->trbs[td->n_trbs++] = *t;
    td->total += trb_length(t);
}

static enum ring_result td_read(struct xhci_td *td)
{
    struct xhci_endpoint *e = &td->x->slots[td->slot].endpoints[td->endpoint];
    bool control = e->type == EP_CONTROL, has_status = false, chained;
    td->after = e->ring;
    do {
        struct trb t;
        enum ring_result r = ring_next(td->x, &td->after, &t);
        td->bad = t;
        if (r != RING_TRB)
            return r;
        if (!fits(td, &t, control) || td->n_trbs == MAX_TRBS ||
            td->total + (uint64_t)trb_length(&t) > MAX_BYTES)
            return RING_BAD;
        td_append(td, &t);
        has_status |= trb_type(&t) == TRB_STATUS || trb_type(&t) == TRB_NOOP;
        chained = t.control & TRB_CHAIN;
    } while (control ? !has_status || chained : chained);
    return RING_TRB;
}

static bool is_immediate(const struct trb *t)
{
    return t->control & TRB_IMMEDIATE && trb_length(t) <= IMMEDIATE_SIZE;
}

static bool td_fetch_data(struct xhci_td *td)
{
    uint32_t at = 0;
    for (unsigned i = 0; i < td->n_trbs; i++) {
        const struct trb *t = &td->trbs[i];
        uint32_t n = trb_length(t);
        if (is_immediate(t))
            store_le(td->packet.data + at, IMMEDIATE_SIZE, t->parameter);
        else if (n && !xhci_dma_read(td->x, t->parameter, td->packet.data + at, n))
            return false;
        at += n;
    }
    return true;
}

/* ---- running it -------------------------------------------------------------------------------------------- */
struct usb_device *xhci_device_at(const struct xhci *x, unsigned port)
{
    for (unsigned i = 0; i < x->bus.n_ports; i++) {
        struct usb_device *u = x->bus.ports[i].dev;
        if (u && port == (u->speed == USB_SUPER ? x->p2 + i : i) + 1)
            return u;
    }
    return NULL;
}

struct usb_device *xhci_device_behind(const struct xhci *x, unsigned port, uint32_t route)
{
    struct usb_device *u = xhci_device_at(x, port);
    for (; u && route; route >>= 4) {
        unsigned n = route & 15;
        const struct usb_bus *hub = u->hub;
        u = hub && n && n <= hub->n_ports ? hub->ports[n - 1].dev : NULL;
    }
    return u;
}

struct usb_device *xhci_slot_device(const struct xhci *x, unsigned slot)
{
    const struct xhci_slot *s = &x->slots[slot];
    return s->enabled && s->port ? xhci_device_behind(x, s->port, s->route) : NULL;
}

static bool is_in(const struct xhci_td *td, const struct xhci_endpoint *e)
{
    if (e->type != EP_CONTROL)
        return e->type > EP_CONTROL;
    return td->trbs[0].parameter & 0x80; /* bmRequestType */
}

static enum usb_result td_start(struct xhci_td *td)
{
    struct xhci *x = td->x;
    struct xhci_slot *s = &x->slots[td->slot];
    struct xhci_endpoint *e = &s->endpoints[td->endpoint];
    struct usb_packet *p = &td->packet;
    p->dev = xhci_slot_device(x, td->slot);
    p->endpoint = (uint8_t)(td->endpoint / 2);
    p->in = is_in(td, e);
    if (!p->dev || p->dev->address != (s->state >= SLOT_ADDRESSED ? td->slot : 0))
        return p->result = USB_GONE; /* nobody answers */
    if (trb_type(&td->trbs[0]) == TRB_NOOP)
        return p->result = USB_OK;
    if (e->type == EP_CONTROL)
        store_le(p->setup, 8, td->trbs[0].parameter);
    p->size = td->total;
    p->data = calloc(1, td->total + IMMEDIATE_SIZE);
    if (!p->data || (!p->in && !td_fetch_data(td)))
        return p->result = USB_GONE;
    return usb_submit(p);
}

/* What came goes where the TRBs say; their events (4.11.3.1 for short ones, 4.11.5.2 for event data). */
static void td_deliver(struct xhci_td *td)
{
    uint32_t left = td->packet.actual, at = 0, since_event = 0;
    bool is_short = false, told = false;
    for (unsigned i = 0; i < td->n_trbs; i++) {
        const struct trb *t = &td->trbs[i];
        uint32_t want = trb_length(t), n = MIN(want, left);
        enum trb_code code = CODE_SUCCESS;
        if (td->packet.in && n && !xhci_dma_write(td->x, t->parameter, td->packet.data + at, n))
            device_broken(&td->x->dev, "a buffer is not in memory");
        at += n;
        left -= n;
        since_event += n;
        bool now_short = has_data(t) && n < want;
        is_short |= now_short;
        if (is_short && trb_type(t) != TRB_STATUS)
            code = CODE_SHORT_PACKET;
        if (trb_type(t) == TRB_EVENT_DATA) {
            if (t->control & TRB_IOC)
                transfer_event(td, t, code, since_event);
            since_event = 0;
        } else if (now_short ? !told && t->control & (TRB_ISP | TRB_IOC) : t->control & TRB_IOC) {
            transfer_event(td, t, code, want - n);
            told |= now_short;
        }
    }
}

static void td_fail(struct xhci_td *td, enum trb_code code, enum endpoint_state state)
{
    const struct trb *t = &td->trbs[td->n_trbs > 1 && trb_type(&td->trbs[0]) == TRB_SETUP];
    uint32_t skipped = 0;
    for (; t < &td->trbs[td->n_trbs - 1] && skipped + trb_length(t) < td->packet.actual; t++)
        skipped += trb_length(t);
    endpoint_set(td->x, td->slot, td->endpoint, state);
    struct trb plain = *t;
    plain.control |= trb_type(t) == TRB_EVENT_DATA ? 0 : TRB_IOC;
    plain.control &= ~(uint32_t)TRB_BLOCK_EVENT;
    transfer_event(td, &plain, code, trb_length(t) - (td->packet.actual - skipped));
}

/* It has ended, for good. Frees it. */
static void td_end(struct xhci_td *td)
{
    struct xhci_endpoint *e = &td->x->slots[td->slot].endpoints[td->endpoint];
    switch (td->packet.result) {
    case USB_OK:
        e->ring = td->after;
        td_deliver(td);
        break;
    case USB_STALL: td_fail(td, CODE_STALL, EP_HALTED); break;
    default: td_fail(td, CODE_TRANSACTION_ERROR, EP_HALTED); break;
    }
    td_free(td);
}

static struct xhci_td *td_new(struct xhci *x, unsigned slot, unsigned endpoint)
{
    struct xhci_td *td = xcalloc(1, sizeof(*td));
    td->x = x;
    td->slot = slot;
    td->endpoint = endpoint;
    return td;
}

static void ring_is_bad(struct xhci_td *td)
{
    device_broken(&td->x->dev, "endpoint %u of slot %u: no transfer at %#llx", td->endpoint,
                  td->slot, (unsigned long long)td->bad.at);
    endpoint_set(td->x, td->slot, td->endpoint, EP_ERROR);
    struct trb at = { .at = td->bad.at, .status = td->bad.status };
    transfer_event(td, &at, CODE_TRB_ERROR, 0);
}

static unsigned cost_of(const struct xhci_td *td)
{
    return 1 + td->n_trbs / TRBS_PER_COST + td->total / BYTES_PER_COST;
}

/* One descriptor, whose cost is added; false: nothing more for now. */
static bool endpoint_step(struct xhci *x, unsigned slot, unsigned endpoint, unsigned *spent)
{
    struct xhci_endpoint *e = &x->slots[slot].endpoints[endpoint];
    if (!xhci_runs(x) || e->state != EP_RUNNING || e->td)
        return false;
    struct xhci_td *td = td_new(x, slot, endpoint);
    e->waits = false;
    enum ring_result read = td_read(td);
    *spent += cost_of(td);
    if (read == RING_BAD)
        ring_is_bad(td);
    if (read != RING_TRB) {
        td_free(td);
        return false;
    }
    switch (td_start(td)) {
    case USB_NAK:
        e->waits = true;
        td_free(td);
        return false;
    case USB_PENDING: e->td = td; return false;
    default: td_end(td); return true;
    }
}

/* What that cost. An endpoint that has more to do is kicked anew. */
static unsigned endpoint_run(struct xhci *x, unsigned slot, unsigned endpoint)
{
    unsigned spent = 0;
    bool more = true;
    while (more && spent < SHARE)
        more = endpoint_step(x, slot, endpoint, &spent);
    if (more)
        x->slots[slot].kicked |= 1u << endpoint;
    return MAX(spent, 1u);
}

static void mark_kicked(struct xhci *x, unsigned slot, unsigned endpoint)
{
    x->slots[slot].kicked |= 1u << endpoint;
    x->slots_kicked |= UINT64_C(1) << (slot - 1);
}

/* The kicked slot whose turn is next, from 1. */
static unsigned next_slot(const struct xhci *x)
{
    uint64_t behind = x->slots_kicked & ~((UINT64_C(2) << (x->turn & 63)) - 1);
    return 1 + (unsigned)__builtin_ctzll(behind ? behind : x->slots_kicked);
}

/* Not from within itself: a device may wake one endpoint while it serves another. */
static void run_kicked(struct xhci *x)
{
    unsigned spent = 0;
    if (x->busy)
        return;
    x->busy = true;
    while (x->slots_kicked && spent < BUDGET) {
        unsigned slot = next_slot(x);
        struct xhci_slot *s = &x->slots[slot];
        uint32_t kicked = s->kicked;
        s->kicked = 0;
        x->turn = slot - 1;
        for (; kicked && spent < BUDGET; kicked &= kicked - 1)
            spent += endpoint_run(x, slot, (unsigned)__builtin_ctz(kicked));
        s->kicked |= kicked;
        if (!s->kicked)
            x->slots_kicked &= ~(UINT64_C(1) << (slot - 1));
    }
    x->busy = false;
    if (x->slots_kicked)
        xhci_go_on_later(x);
}

void xhci_go_on_later(struct xhci *x)
{
    timer_set(x->again, vm_now_ns(x->dev.vm) + PAUSE_NS);
}

void xhci_go_on(struct xhci *x)
{
    if (!xhci_runs(x))
        return;
    if (x->commands_run)
        xhci_run_commands(x);
    run_kicked(x);
}

void xhci_kick(struct xhci *x, unsigned slot, unsigned endpoint)
{
    mark_kicked(x, slot, endpoint);
    run_kicked(x);
}

void xhci_kick_all(struct xhci *x)
{
    if (!xhci_runs(x))
        return;
    for (unsigned slot = 1; slot <= N_SLOTS; slot++)
        for (unsigned i = 1; i < N_ENDPOINTS; i++)
            if (x->slots[slot].enabled && x->slots[slot].endpoints[i].state == EP_RUNNING)
                mark_kicked(x, slot, i);
    xhci_go_on(x);
}

void xhci_done(struct usb_bus *bus, struct usb_packet *p)
{
    struct xhci_td *td = container_of(p, struct xhci_td, packet);
    struct xhci *x = td->x;
    unsigned slot = td->slot, endpoint = td->endpoint;
    x->slots[slot].endpoints[endpoint].td = NULL;
    td_end(td);
    xhci_kick(x, slot, endpoint);
}

void xhci_wakeup(struct xhci *x, struct usb_device *u, uint8_t address)
{
    unsigned endpoint = 2u * (address & 15) + (address >> 7);
    for (unsigned slot = 1; slot <= N_SLOTS; slot++)
        if (xhci_slot_device(x, slot) == u)
            mark_kicked(x, slot, endpoint);
    run_kicked(x);
}

void endpoint_drop(struct xhci *x, unsigned slot, unsigned endpoint, bool tell)
{
    struct xhci_endpoint *e = &x->slots[slot].endpoints[endpoint];
    struct xhci_td *td = e->td;
    bool waited = e->waits;
    e->td = NULL;
    e->waits = false;
    if (td)
        usb_cancel(&td->packet);
    if (!td && waited && tell) {
        td = td_new(x, slot, endpoint);
        if (td_read(td) != RING_TRB) {
            td_free(td);
            td = NULL;
        }
    }
    if (td && tell) {
        struct trb first = td->trbs[0];
        first.control &= ~(uint32_t)TRB_BLOCK_EVENT;
        transfer_event(td, &first, CODE_STOPPED,
                       trb_length(&first) - MIN(trb_length(&first), td->packet.actual));
    }
    if (td)
        td_free(td);
}

void slot_drop_all(struct xhci *x, unsigned slot)
{
    for (unsigned i = 1; i < N_ENDPOINTS; i++)
        endpoint_drop(x, slot, i, false);
    x->slots[slot].kicked = 0;
    x->slots_kicked &= ~(UINT64_C(1) << (slot - 1));
}
