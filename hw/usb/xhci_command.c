/* xHCI: the command ring (4.6). Input contexts are copied, checked, then used. */
#include "core/vm.h"
#include "hw/usb/xhci_internal.h"

enum { MAX_COMMANDS = 256 }; /* before others have their turn */
enum { INPUT_SIZE = CONTEXT_SIZE * (N_ENDPOINTS + 1), NEC_VERSION = 0x3025 };

/* Slot context, 6.2.2. */
static unsigned slot_port(const uint8_t *c)
{
    return c[6];
}
static uint16_t slot_interrupter(const uint8_t *c)
{
    return (uint16_t)(load_le(c + 8, 4) >> 22);
}
static void slot_set_entries(uint8_t *c, unsigned n)
{
    c[3] = (uint8_t)((c[3] & 7) | n << 3);
}
static void slot_set_state(uint8_t *c, enum slot_state state, unsigned address)
{
    store_le(c + 12, 4, (uint32_t)state << 27 | address);
}

static void slot_write(struct xhci *x, unsigned slot, const uint8_t *c)
{
    xhci_dma_write(x, x->slots[slot].context, c, CONTEXT_SIZE);
}

static bool slot_read(struct xhci *x, unsigned slot, uint8_t *c)
{
    return xhci_dma_read(x, x->slots[slot].context, c, CONTEXT_SIZE);
}

/* 4.5.3: the state and the address, kept in the guest's context. */
static void slot_enter(struct xhci *x, unsigned slot, enum slot_state state, unsigned entries)
{
    uint8_t c[CONTEXT_SIZE];
    x->slots[slot].state = (uint8_t)state;
    if (!slot_read(x, slot, c))
        return;
    slot_set_state(c, state, state >= SLOT_ADDRESSED ? slot : 0);
    slot_set_entries(c, entries);
    slot_write(x, slot, c);
}

static struct xhci_slot *slot_of(struct xhci *x, const struct trb *t)
{
    unsigned slot = t->control >> 24;
    return slot >= 1 && slot <= x->slots_max && x->slots[slot].enabled ? &x->slots[slot] : NULL;
}

static unsigned slot_number(const struct xhci *x, const struct xhci_slot *s)
{
    return (unsigned)(s - x->slots);
}

/* ---- slots: 4.6.3, 4.6.4 ----------------------------------------------------------------------------------- */
static enum trb_code enable_slot(struct xhci *x, unsigned *slot)
{
    for (unsigned i = 1; i <= x->slots_max && i <= (x->config & 0xff); i++) {
        if (x->slots[i].enabled)
            continue;
        x->slots[i] = (struct xhci_slot){ .enabled = true };
        *slot = i;
        return CODE_SUCCESS;
    }
    return CODE_NO_SLOTS;
}

static enum trb_code disable_slot(struct xhci *x, struct xhci_slot *s)
{
    unsigned slot = slot_number(x, s);
    slot_drop_all(x, slot);
    if (s->context)
        slot_enter(x, slot, SLOT_ENABLED, 0);
    *s = (struct xhci_slot){ 0 };
    return CODE_SUCCESS;
}

/* ---- endpoints --------------------------------------------------------------------------------------------- */
/* 6.2.3. No streams: HCCPARAMS1 has none. */
static bool endpoint_is_valid(const uint8_t *c, unsigned endpoint)
{
    unsigned type = c[4] >> 3 & 7, packet = (unsigned)load_le(c + 6, 2);
    if (!type || !packet || bits(load_le(c, 4), 10, 5))
        return false;
    return endpoint == 1 ? type == EP_CONTROL
                         : type == EP_CONTROL || (type > EP_CONTROL) == endpoint % 2;
}

static void endpoint_enable(struct xhci *x, unsigned slot, unsigned endpoint, const uint8_t *c)
{
    struct xhci_slot *s = &x->slots[slot];
    uint64_t dequeue = load_le(c + 8, 8);
    endpoint_drop(x, slot, endpoint, false);
    s->endpoints[endpoint] = (struct xhci_endpoint){
        .type = c[4] >> 3 & 7,
        .ring = { dequeue & ~UINT64_C(15), dequeue & 1 },
    };
    xhci_dma_write(x, s->context + (gpa)endpoint * CONTEXT_SIZE, c, CONTEXT_SIZE);
    endpoint_set(x, slot, endpoint, EP_RUNNING);
}

static void endpoint_disable(struct xhci *x, unsigned slot, unsigned endpoint)
{
    struct xhci_endpoint *e = &x->slots[slot].endpoints[endpoint];
    if (e->state == EP_DISABLED)
        return;
    endpoint_drop(x, slot, endpoint, false);
    endpoint_set(x, slot, endpoint, EP_DISABLED);
    *e = (struct xhci_endpoint){ 0 };
}

/* ---- Address Device: 4.6.5 --------------------------------------------------------------------------------- */
static enum trb_code address_device(struct xhci *x, struct xhci_slot *s, const struct trb *t)
{
    uint8_t input[3 * CONTEXT_SIZE], pointer[8];
    uint8_t *slot_context = input + CONTEXT_SIZE, *ep0 = slot_context + CONTEXT_SIZE;
    unsigned slot = slot_number(x, s);
    bool block = t->control & TRB_BSR;
    if (s->state != SLOT_ENABLED && (block || s->state != SLOT_DEFAULT))
        return CODE_CONTEXT_STATE;
    if (!xhci_dma_read(x, t->parameter & ~UINT64_C(15), input, sizeof(input)) ||
        !xhci_dma_read(x, x->dcbaap + 8 * (gpa)slot, pointer, sizeof(pointer)))
        return CODE_PARAMETER_ERROR;
    uint32_t route = (uint32_t)(load_le(slot_context, 4) & 0xfffff);
    if (load_le(input, 4) || load_le(input + 4, 4) != 3 || !endpoint_is_valid(ep0, 1))
        return CODE_PARAMETER_ERROR;
    struct usb_device *u = xhci_device_behind(x, slot_port(slot_context), route);
    if (!u)
        return CODE_TRANSACTION_ERROR;
    for (unsigned i = 1; i <= N_SLOTS; i++) /* 4.5.3: two slots cannot have one device */
        if (i != slot && x->slots[i].enabled && x->slots[i].state >= SLOT_ADDRESSED &&
            x->slots[i].port == slot_port(slot_context) && x->slots[i].route == route)
            return CODE_PARAMETER_ERROR;
    s->context = load_le(pointer, 8) & ~UINT64_C(63);
    s->port = (uint8_t)slot_port(slot_context);
    s->route = route;
    s->interrupter = slot_interrupter(slot_context);
    if (!block)
        u->address = (uint8_t)slot;
    slot_write(x, slot, slot_context);
    endpoint_enable(x, slot, 1, ep0);
    slot_enter(x, slot, block ? SLOT_DEFAULT : SLOT_ADDRESSED, 1);
    return CODE_SUCCESS;
}

/* ---- Configure Endpoint, Evaluate Context: 4.6.6, 4.6.7 ---------------------------------------------------- */
static enum trb_code deconfigure(struct xhci *x, unsigned slot)
{
    for (unsigned i = 2; i < N_ENDPOINTS; i++)
        endpoint_disable(x, slot, i);
    slot_enter(x, slot, SLOT_ADDRESSED, 1);
    return CODE_SUCCESS;
}

static enum trb_code configure_endpoint(struct xhci *x, struct xhci_slot *s, const struct trb *t)
{
    uint8_t input[INPUT_SIZE];
    unsigned slot = slot_number(x, s), last = 1;
    if (s->state < SLOT_ADDRESSED)
        return CODE_CONTEXT_STATE;
    if (t->control & TRB_BSR)
        return deconfigure(x, slot);
    if (!xhci_dma_read(x, t->parameter & ~UINT64_C(15), input, sizeof(input)))
        return CODE_PARAMETER_ERROR;
    uint32_t drop = (uint32_t)load_le(input, 4), add = (uint32_t)load_le(input + 4, 4);
    const uint8_t *contexts = input + CONTEXT_SIZE;
    if (drop & 3 || (add & 3) != 1)
        return CODE_PARAMETER_ERROR;
    for (unsigned i = 2; i < N_ENDPOINTS; i++)
        if (add >> i & 1 && !endpoint_is_valid(contexts + i * CONTEXT_SIZE, i))
            return CODE_PARAMETER_ERROR;
    for (unsigned i = 2; i < N_ENDPOINTS; i++) {
        if (drop >> i & 1)
            endpoint_disable(x, slot, i);
        if (add >> i & 1)
            endpoint_enable(x, slot, i, contexts + i * CONTEXT_SIZE);
        if (s->endpoints[i].state != EP_DISABLED)
            last = i;
    }
    slot_enter(x, slot, last > 1 ? SLOT_CONFIGURED : SLOT_ADDRESSED, last);
    return CODE_SUCCESS;
}

static enum trb_code evaluate_context(struct xhci *x, struct xhci_slot *s, const struct trb *t)
{
    uint8_t input[3 * CONTEXT_SIZE], c[2 * CONTEXT_SIZE];
    const uint8_t *slot_context = input + CONTEXT_SIZE, *ep0 = slot_context + CONTEXT_SIZE;
    if (s->state < SLOT_DEFAULT)
        return CODE_CONTEXT_STATE;
    if (!xhci_dma_read(x, t->parameter & ~UINT64_C(15), input, sizeof(input)) ||
        !xhci_dma_read(x, s->context, c, sizeof(c)))
        return CODE_PARAMETER_ERROR;
    uint32_t add = (uint32_t)load_le(input + 4, 4);
    if (load_le(input, 4))
        return CODE_PARAMETER_ERROR;
    if (add & 1) {
        s->interrupter = slot_interrupter(slot_context);
        memcpy(c + 4, slot_context + 4, 2); /* exit latency */
        store_le(c + 8, 4, bits(load_le(c + 8, 4), 0, 22) | (uint32_t)s->interrupter << 22);
    }
    if (add & 2)
        memcpy(c + CONTEXT_SIZE + 6, ep0 + 6, 2); /* packet size */
    xhci_dma_write(x, s->context, c, sizeof(c));
    return CODE_SUCCESS;
}

/* ---- one endpoint: 4.6.8 to 4.6.10 ------------------------------------------------------------------------- */
static enum trb_code endpoint_command(struct xhci *x, struct xhci_slot *s, const struct trb *t)
{
    unsigned slot = slot_number(x, s), endpoint = t->control >> 16 & 31;
    struct xhci_endpoint *e = &s->endpoints[endpoint];
    if (!endpoint)
        return CODE_TRB_ERROR;
    if (e->state == EP_DISABLED)
        return CODE_ENDPOINT_NOT_ENABLED;
    switch (trb_type(t)) {
    case TRB_RESET_ENDPOINT:
        if (e->state != EP_HALTED)
            return CODE_CONTEXT_STATE;
        break;
    case TRB_STOP_ENDPOINT:
        if (e->state != EP_RUNNING)
            return CODE_CONTEXT_STATE;
        endpoint_drop(x, slot, endpoint, true);
        break;
    default: /* set dequeue pointer */
        if (e->state != EP_STOPPED && e->state != EP_ERROR)
            return CODE_CONTEXT_STATE;
        if (t->status >> 16)
            return CODE_TRB_ERROR; /* a stream */
        e->ring = (struct ring){ t->parameter & ~UINT64_C(15), t->parameter & 1 };
    }
    endpoint_set(x, slot, endpoint, EP_STOPPED);
    return CODE_SUCCESS;
}

/* 4.6.11 */
static enum trb_code reset_device(struct xhci *x, struct xhci_slot *s)
{
    unsigned slot = slot_number(x, s);
    if (s->state < SLOT_DEFAULT)
        return CODE_CONTEXT_STATE;
    for (unsigned i = 2; i < N_ENDPOINTS; i++)
        endpoint_disable(x, slot, i);
    endpoint_drop(x, slot, 1, false);
    slot_enter(x, slot, SLOT_DEFAULT, 1);
    return CODE_SUCCESS;
}

/* 4.6.15: none of it is used. */
static enum trb_code port_bandwidth(struct xhci *x, const struct trb *t)
{
    uint8_t free_percent[1 + N_ROOT_PORTS];
    memset(free_percent, 90, sizeof(free_percent));
    free_percent[0] = 0;
    bool ok = xhci_dma_write(x, t->parameter & ~UINT64_C(15), free_percent, 1u + x->p2 + x->p3);
    return ok ? CODE_SUCCESS : CODE_PARAMETER_ERROR;
}

/* ---- the ring: 4.6.1 --------------------------------------------------------------------------------------- */
static enum trb_code slot_command(struct xhci *x, const struct trb *t)
{
    struct xhci_slot *s = slot_of(x, t);
    if (!s)
        return CODE_SLOT_NOT_ENABLED;
    switch (trb_type(t)) {
    case TRB_DISABLE_SLOT: return disable_slot(x, s);
    case TRB_ADDRESS_DEVICE: return address_device(x, s, t);
    case TRB_CONFIGURE_ENDPOINT: return configure_endpoint(x, s, t);
    case TRB_EVALUATE_CONTEXT: return evaluate_context(x, s, t);
    case TRB_RESET_DEVICE: return reset_device(x, s);
    case TRB_NEGOTIATE_BANDWIDTH: return CODE_SUCCESS;
    default: return endpoint_command(x, s, t);
    }
}

static bool is_nec(const struct xhci *x)
{
    return load_le(x->fn.config + PCI_VENDOR_ID, 2) == 0x1033;
}

static void run_command(struct xhci *x, const struct trb *t)
{
    unsigned slot = t->control >> 24, event_type = TRB_COMMAND_EVENT, extra = 0;
    enum trb_code code = CODE_TRB_ERROR;
    switch (trb_type(t)) {
    case TRB_NOOP_COMMAND: code = CODE_SUCCESS; break;
    case TRB_ENABLE_SLOT: code = enable_slot(x, &slot); break;
    case TRB_PORT_BANDWIDTH: code = port_bandwidth(x, t); break;
    case TRB_NEC_FIRMWARE:
        if (is_nec(x)) {
            code = CODE_SUCCESS;
            event_type = TRB_NEC_EVENT;
            extra = NEC_VERSION;
        }
        break;
    case TRB_FORCE_EVENT: /* for virtual functions; optional ones */
    case TRB_SET_LATENCY:
    case TRB_FORCE_HEADER: break;
    default:
        if (trb_type(t) >= TRB_ENABLE_SLOT && trb_type(t) < TRB_FORCE_EVENT + 2)
            code = slot_command(x, t);
    }
    struct trb event = { .parameter = t->at,
                         .status = (uint32_t)code << 24 | extra,
                         .control = event_type << 10 | slot << 24 };
    xhci_event(x, 0, &event, false);
}

void xhci_run_commands(struct xhci *x)
{
    struct trb t;
    x->commands_run = true;
    for (unsigned n = 0; n < MAX_COMMANDS && xhci_runs(x) && x->commands_run; n++) {
        switch (ring_next(x, &x->commands, &t)) {
        case RING_EMPTY: return;
        case RING_BAD:
            xhci_fail(x, STS_CONTROLLER_ERROR, "the command ring is not in memory");
            return;
        case RING_TRB: run_command(x, &t); break;
        }
    }
    if (xhci_runs(x) && x->commands_run)
        xhci_go_on_later(x);
}

/* 4.6.1.2: no command is ever in the middle. */
void xhci_stop_commands(struct xhci *x)
{
    if (!x->commands_run)
        return;
    x->commands_run = false;
    struct trb event = { .parameter = x->commands.dequeue,
                         .status = (uint32_t)CODE_COMMAND_STOPPED << 24,
                         .control = TRB_COMMAND_EVENT << 10 };
    xhci_event(x, 0, &event, false);
}
