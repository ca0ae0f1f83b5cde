/* xHCI: guest memory, rings that are consumed (4.9.2), event rings (4.9.4) and interrupts (4.17). */
#include "core/vm.h"
#include "hw/usb/xhci_internal.h"

enum { MAX_LINKS = 64 }; /* in a row; a ring of nothing else never ends */
enum { IMAN_PENDING = 1, IMAN_ENABLE = 2, ERDP_BUSY = 8 };
enum { SEGMENT_MIN = 16, SEGMENT_MAX = 4096 }; /* 6.5 */

bool xhci_dma_read(struct xhci *x, gpa at, void *to, size_t n)
{
    return pci_may_master(&x->fn) && mem_read(x->dev.vm, at, to, n);
}

bool xhci_dma_write(struct xhci *x, gpa at, const void *from, size_t n)
{
    return pci_may_master(&x->fn) && mem_write(x->dev.vm, at, from, n);
}

void xhci_fail(struct xhci *x, uint32_t why, const char *what)
{
    device_broken(&x->dev, "%s", what);
    x->usbsts |= why | STS_HALTED;
    x->usbcmd &= ~(uint32_t)CMD_RUN;
    x->commands_run = false;
}

enum ring_result ring_next(struct xhci *x, struct ring *r, struct trb *out)
{
    for (unsigned links = 0; links < MAX_LINKS; links++) {
        uint8_t raw[TRB_SIZE];
        *out = (struct trb){ .at = r->dequeue };
        if (!xhci_dma_read(x, r->dequeue, raw, sizeof(raw)))
            return RING_BAD;
        *out = (struct trb){ r->dequeue, load_le(raw, 8), (uint32_t)load_le(raw + 8, 4),
                             (uint32_t)load_le(raw + 12, 4) };
        if ((out->control & TRB_CYCLE) != r->cycle)
            return RING_EMPTY;
        if (trb_type(out) != TRB_LINK) {
            r->dequeue += TRB_SIZE;
            return RING_TRB;
        }
        r->dequeue = out->parameter & ~UINT64_C(15);
        r->cycle ^= (out->control & TRB_TOGGLE) != 0;
    }
    return RING_BAD;
}

/* ---- interrupts: 4.17.2 ----------------------------------------------------------------------------------- */
void xhci_interrupts(struct xhci *x)
{
    bool line = false;
    for (unsigned i = 0; i < x->interrupters; i++) {
        struct xhci_interrupter *n = &x->interrupter[i];
        bool due = n->iman & IMAN_PENDING && n->iman & IMAN_ENABLE && x->usbcmd & CMD_INTERRUPTS;
        if (!due)
            continue;
        if (pci_msix_enabled(&x->fn))
            pci_msix_fire(&x->fn, i);
        else if (!pci_msi_fire(&x->fn)) {
            line |= i == 0;
            continue;
        }
        n->iman &= ~(uint32_t)IMAN_PENDING; /* 5.5.2.1: a message takes it along */
    }
    pci_set_intx(&x->fn, line);
}

static void interrupter_raise(struct xhci *x, struct xhci_interrupter *n)
{
    n->iman |= IMAN_PENDING;
    n->erdp |= ERDP_BUSY;
    x->usbsts |= STS_INTERRUPT;
    xhci_interrupts(x);
}

/* ---- event rings ------------------------------------------------------------------------------------------- */
static bool segment_fetch(struct xhci *x, const struct xhci_interrupter *n, uint32_t i, gpa *at,
                          uint32_t *size)
{
    uint8_t raw[16];
    if (!xhci_dma_read(x, n->erstba + 16 * (gpa)i, raw, sizeof(raw)))
        return false;
    *at = load_le(raw, 8) & ~UINT64_C(63);
    *size = (uint32_t)load_le(raw + 8, 2);
    return *size >= SEGMENT_MIN && *size <= SEGMENT_MAX;
}

static bool ring_start(struct xhci *x, struct xhci_interrupter *n)
{
    if (n->started)
        return true;
    if (!n->erstsz || !segment_fetch(x, n, 0, &n->segment_at, &n->segment_size))
        return false;
    n->started = n->cycle = true;
    n->full = false;
    n->segment = n->index = 0;
    return true;
}

/* Where the event after the next one goes. */
static bool place_after(struct xhci *x, struct xhci_interrupter *n, struct xhci_interrupter *next)
{
    *next = *n;
    if (++next->index < n->segment_size)
        return true;
    next->index = 0;
    if (++next->segment >= n->erstsz) {
        next->segment = 0;
        next->cycle = !n->cycle;
    }
    return segment_fetch(x, n, next->segment, &next->segment_at, &next->segment_size);
}

static gpa place_of(const struct xhci_interrupter *n)
{
    return n->segment_at + (gpa)n->index * TRB_SIZE;
}

static gpa guest_place(const struct xhci_interrupter *n)
{
    return n->erdp & ~UINT64_C(15);
}

/* The word with the cycle bit is written last: the guest may look from another CPU. */
static bool event_store(struct xhci *x, const struct xhci_interrupter *n, const struct trb *event)
{
    uint8_t raw[TRB_SIZE];
    store_le(raw, 8, event->parameter);
    store_le(raw + 8, 4, event->status);
    store_le(raw + 12, 4, (event->control & ~(uint32_t)TRB_CYCLE) | n->cycle);
    if (!xhci_dma_write(x, place_of(n), raw, 12))
        return false;
    atomic_thread_fence(memory_order_release);
    return xhci_dma_write(x, place_of(n) + 12, raw + 12, 4);
}

void xhci_event(struct xhci *x, unsigned interrupter, const struct trb *event, bool quiet)
{
    static const struct trb full = { .status = (uint32_t)CODE_RING_FULL << 24,
                                     .control = TRB_HOST_EVENT << 10 };
    struct xhci_interrupter *n = &x->interrupter[interrupter < x->interrupters ? interrupter : 0];
    struct xhci_interrupter next, last;
    if (!ring_start(x, n)) {
        xhci_fail(x, STS_HOST_ERROR, "an event ring is not in memory");
        return;
    }
    if (n->full) {
        x->dev.vm->n_guest_errors++;
        return;
    }
    bool ok = place_after(x, n, &next) && place_after(x, &next, &last);
    n->full = ok && place_of(&last) == guest_place(n); /* 4.9.4: one place is left for saying so */
    if (!ok || !event_store(x, n, n->full ? &full : event)) {
        xhci_fail(x, STS_HOST_ERROR, "an event ring is not in memory");
        return;
    }
    bool was_full = n->full;
    *n = next;
    n->full = was_full;
    if (!quiet && !(n->erdp & ERDP_BUSY))
        interrupter_raise(x, n);
}

void xhci_events_taken(struct xhci *x, unsigned interrupter, uint64_t erdp)
{
    struct xhci_interrupter *n = &x->interrupter[interrupter];
    uint64_t busy = erdp & ERDP_BUSY ? 0 : n->erdp & ERDP_BUSY;
    if (n->full && guest_place(n) != (erdp & ~UINT64_C(15)))
        n->full = false;
    n->erdp = (erdp & ~(uint64_t)ERDP_BUSY) | busy;
    if (!busy && n->started && guest_place(n) != place_of(n))
        interrupter_raise(x, n);
}
