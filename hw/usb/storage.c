/* usb-storage: a disk behind the bulk-only transport (USB Mass Storage Class, Bulk-Only Transport 1.0, whose
 * sections the comments name). Data pass through a window of whole blocks, so that packets may be of any
 * size; nothing is under way in the image while a packet waits for the guest. */
#include "block/block.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/storage/scsi_disk.h"
#include "hw/usb/usb.h"

enum {
    CBW_SIZE = 31,
    CSW_SIZE = 13,
    CBW_SIGNATURE = 0x43425355,
    CSW_SIGNATURE = 0x53425355
};                                                  /* 5.1, 5.2 */
enum { BULK_RESET = 0x21ff, GET_MAX_LUN = 0xa1fe }; /* 3 */
enum { STATUS_PASSED, STATUS_FAILED, STATUS_PHASE_ERROR };
enum { WINDOW = 128 * KIB, IN_ENDPOINT = 0x81, OUT_ENDPOINT = 0x02 };
enum phase { PHASE_COMMAND, PHASE_IN, PHASE_OUT, PHASE_FLUSH, PHASE_STATUS, PHASE_LOST, N_PHASES };

struct usb_storage {
    struct usb_device u;
    /* properties */
    struct blk *blk;
    uint32_t bootindex;
    bool removable;
    /* state */
    struct scsi_disk disk;
    uint32_t phase;      /* enum phase; LOST: until it is reset, 6.6.1 */
    uint32_t tag, asked; /* of the command: bytes the host will move that are still to come */
    uint32_t status;
    uint32_t work; /* enum scsi_work: what the data are for */
    bool fua;
    uint64_t offset, left;        /* bytes of the image behind the window */
    uint32_t n_window, at_window; /* bytes in it, and how many of them the host has had */
    uint8_t window[WINDOW];
    /* none while the VM stands */
    struct blk_request req;
    struct iovec iov;
    struct usb_packet *waits; /* for the image */
    bool busy;   /* the image is at work; a packet that waited may have gone meanwhile */
    bool forget; /* and what comes of it is for nobody */
};

static struct usb_storage *storage_of(struct usb_device *u)
{
    return container_of(u, struct usb_storage, u);
}

static enum usb_result go_on(struct usb_storage *s, struct usb_packet *p);

/* ---- status: 5.2, 5.3 ------------------------------------------------------------------------------------------ */
static void end_command(struct usb_storage *s, unsigned status)
{
    s->status = status;
    s->left = 0;
    s->n_window = s->at_window = 0;
    /* Bytes that the host waits for and will not get end in a halted endpoint, 6.7.2 and 6.7.3. */
    if (s->phase == PHASE_IN || s->phase == PHASE_OUT)
        return;
    s->phase = PHASE_STATUS;
}

static enum usb_result send_status(struct usb_storage *s, struct usb_packet *p)
{
    uint8_t csw[CSW_SIZE];
    store_le(csw, 4, CSW_SIGNATURE);
    store_le(csw + 4, 4, s->tag);
    store_le(csw + 8, 4, s->asked);
    csw[12] = (uint8_t)s->status;
    usb_move(p, csw, sizeof(csw));
    s->phase = PHASE_COMMAND;
    return USB_OK;
}

/* ---- the image --------------------------------------------------------------------------------------------------- */
static void image_finish(struct usb_storage *s, int result)
{
    struct scsi_task t = { .work = s->work };
    bool in = s->phase == PHASE_IN;
    uint32_t n = (uint32_t)s->req.length;
    s->busy = false;
    if (s->forget) {
        s->forget = false;
        return;
    }
    if (result) {
        scsi_finish(&s->disk, &t, result);
        end_command(s, STATUS_FAILED);
    } else if (s->phase == PHASE_FLUSH) {
        end_command(s, STATUS_PASSED);
    } else {
        s->offset += n;
        s->left -= n;
        s->n_window = in ? n : 0;
        s->at_window = 0;
    }
}

static void image_done(struct blk_request *req, int result)
{
    struct usb_storage *s = container_of(req, struct usb_storage, req);
    struct usb_bus *bus = s->u.bus;
    if (!bus)
        return;
    usb_lock(bus);
    struct usb_packet *p = s->waits;
    bool was_reset = s->forget; /* while the packet waited */
    s->waits = NULL;
    image_finish(s, result);
    if (p) {
        p->result = was_reset ? USB_GONE : go_on(s, p);
        if (p->result != USB_PENDING)
            usb_done(p);
    } else {
        usb_wakeup(&s->u, IN_ENDPOINT);
        usb_wakeup(&s->u, OUT_ENDPOINT & 15);
    }
    usb_unlock(bus);
}

/* Start what fills or empties the window. True: it is done already. */
static bool image_start(struct usb_storage *s, enum blk_op op, uint32_t n)
{
    s->iov = (struct iovec){ s->window, n };
    s->req = (struct blk_request){ .op = op,
                                   .offset = s->offset,
                                   .length = n,
                                   .fua = s->fua,
                                   .iov = &s->iov,
                                   .n_iov = 1,
                                   .done = image_done };
    s->busy = true;
    if (!blk_try(s->blk, &s->req)) {
        blk_submit(s->blk, &s->req);
        return false;
    }
    image_finish(s, s->req.result);
    return true;
}

/* ---- commands: 5.1, 6.2 ------------------------------------------------------------------------------------------ */
static void start_data(struct usb_storage *s, const struct scsi_task *t, bool to_host)
{
    bool moves = s->asked, in = t->work == SCSI_READ || t->work == SCSI_DATA_IN;
    s->phase = !moves ? PHASE_STATUS : to_host ? PHASE_IN : PHASE_OUT;
    s->work = t->work;
    s->status = t->status == SCSI_GOOD ? STATUS_PASSED : STATUS_FAILED;
    if (t->work == SCSI_DONE)
        return;
    uint64_t n = t->work == SCSI_DATA_IN ? t->n_data : t->length;
    if (!moves || in != to_host || n > s->asked) {
        s->work = SCSI_DONE; /* 6.7: host and device do not agree */
        s->status = STATUS_PHASE_ERROR;
        return;
    }
    if (t->work == SCSI_DATA_IN) {
        memcpy(s->window, t->data, t->n_data);
        s->n_window = t->n_data;
        return;
    }
    s->offset = t->offset;
    s->left = t->length;
    s->fua = t->fua;
}

static enum usb_result take_command(struct usb_storage *s, struct usb_packet *p)
{
    uint8_t cbw[CBW_SIZE];
    struct scsi_task t = { 0 };
    if (p->size != CBW_SIZE || usb_move(p, cbw, CBW_SIZE) != CBW_SIZE ||
        load_le(cbw, 4) != CBW_SIGNATURE || cbw[13] > 15 || !cbw[14] || cbw[14] > SCSI_CDB_SIZE) {
        s->phase = PHASE_LOST;
        return USB_STALL;
    }
    s->tag = (uint32_t)load_le(cbw + 4, 4);
    s->asked = (uint32_t)load_le(cbw + 8, 4);
    s->n_window = s->at_window = 0;
    s->left = 0;
    t.lun = cbw[13];
    memcpy(t.cdb, cbw + 15, cbw[14]);
    scsi_command(&s->disk, &t);
    if (t.work == SCSI_FLUSH) {
        s->work = SCSI_FLUSH;
        s->phase = PHASE_FLUSH;
        s->fua = false;
        image_start(s, BLK_FLUSH, 0);
    } else {
        start_data(s, &t, cbw[12] & 0x80);
    }
    usb_wakeup(&s->u, IN_ENDPOINT); /* whoever waits there for data or status */
    return USB_OK;
}

/* ---- data: 6.7 ---------------------------------------------------------------------------------------------------- */
static enum usb_result wait_for_image(struct usb_storage *s, struct usb_packet *p)
{
    s->waits = p;
    return USB_PENDING;
}

static enum usb_result data_in(struct usb_storage *s, struct usb_packet *p)
{
    for (;;) {
        uint32_t n = MIN(s->n_window - s->at_window, s->asked);
        n = usb_move(p, s->window + s->at_window, n);
        s->at_window += n;
        s->asked -= n;
        if (!s->asked)
            s->phase = PHASE_STATUS;
        if (p->actual == p->size || !s->asked)
            return USB_OK;
        if (!s->left) { /* no more to say: what there is, then the endpoint halts */
            if (p->actual)
                return USB_OK;
            s->phase = PHASE_STATUS;
            return USB_STALL;
        }
        if (!image_start(s, BLK_READ, (uint32_t)MIN(s->left, WINDOW)))
            return wait_for_image(s, p);
    }
}

static enum usb_result data_out(struct usb_storage *s, struct usb_packet *p)
{
    for (;;) {
        uint32_t room = (uint32_t)MIN(s->left, WINDOW);
        if (!room) {
            s->phase = PHASE_STATUS;
            return s->asked ? USB_STALL : USB_OK;
        }
        uint32_t n = usb_move(p, s->window + s->n_window, MIN(room - s->n_window, s->asked));
        s->n_window += n;
        s->asked -= n;
        if (s->n_window < room)
            return USB_OK;
        if (!image_start(s, BLK_WRITE, room))
            return wait_for_image(s, p);
    }
}

static enum usb_result go_on(struct usb_storage *s, struct usb_packet *p)
{
    if (s->busy)
        return USB_NAK;
    switch (s->phase) {
    case PHASE_COMMAND: return p->in ? USB_NAK : take_command(s, p);
    case PHASE_IN: return p->in ? data_in(s, p) : USB_STALL;
    case PHASE_OUT: return p->in ? USB_NAK : data_out(s, p);
    case PHASE_STATUS: return p->in ? send_status(s, p) : USB_STALL;
    default: return USB_STALL;
    }
}

static enum usb_result transfer(struct usb_device *u, struct usb_packet *p)
{
    struct usb_storage *s = storage_of(u);
    enum usb_result result = go_on(s, p);
    if (!p->in && s->phase == PHASE_STATUS)
        usb_wakeup(u, IN_ENDPOINT);
    return result;
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */
static void forget_command(struct usb_storage *s)
{
    s->forget = s->busy;
    s->phase = PHASE_COMMAND;
    s->asked = s->n_window = s->at_window = 0;
    s->left = 0;
    s->work = SCSI_DONE;
    s->status = STATUS_PASSED;
}

static enum usb_result control(struct usb_device *u, struct usb_packet *p)
{
    uint8_t last_lun = 0;
    switch (p->setup[0] << 8 | p->setup[1]) {
    case BULK_RESET: forget_command(storage_of(u)); return USB_OK;
    case GET_MAX_LUN: usb_move(p, &last_lun, 1); return USB_OK;
    default: return USB_STALL;
    }
}

static void cancel(struct usb_device *u, struct usb_packet *p)
{
    struct usb_storage *s = storage_of(u);
    if (s->waits == p)
        s->waits = NULL;
}

static void configured(struct usb_device *u)
{
    forget_command(storage_of(u));
}

static void bus_reset(struct usb_device *u)
{
    struct usb_storage *s = storage_of(u);
    forget_command(s);
    scsi_disk_reset(&s->disk);
}

static const struct usb_endpoint endpoints[] = {
    { .address = IN_ENDPOINT, .attributes = 2, .size = { 0, 64, 0, 512, 1024 }, .burst = 15 },
    { .address = OUT_ENDPOINT, .attributes = 2, .size = { 0, 64, 0, 512, 1024 }, .burst = 15 },
};
static const struct usb_interface interfaces[] = {
    { 8, 6, 0x50, NULL, 0, TABLE(endpoints) }, /* SCSI, bulk-only */
};
static const struct usb_model model = {
    .vendor = 0x46f4,
    .product = 0x0001,
    .release = 0x0100,
    .manufacturer = "Tandem",
    .name = "USB disk",
    .serial = "000000000001", /* 4.1.1: twelve digits at least */
    .attributes = 0xc0,
    .speeds = 1 << USB_FULL | 1 << USB_HIGH | 1 << USB_SUPER,
    .interfaces = TABLE(interfaces),
    .control = control,
    .transfer = transfer,
    .cancel = cancel,
    .reset = bus_reset,
    .configured = configured,
};

/* ---- life ---------------------------------------------------------------------------------------------------------- */
static void vm_runs(void *opaque, bool running)
{
    if (!running)
        blk_drain(((struct usb_storage *)opaque)->blk);
}

static struct error *storage_realize(struct device *dev)
{
    struct usb_storage *s = container_of(dev, struct usb_storage, u.dev);
    if (!s->blk)
        return error_new("drive property not set; a disk needs drive=");
    if (blk_size(s->blk) < SCSI_BLOCK)
        return error_new("the image is empty");
    const char *serial = s->u.serial ? s->u.serial : blk_serial(s->blk);
    if (*serial && !s->u.serial)
        s->u.serial = xstrdup(serial);
    s->disk.blk = s->blk;
    s->disk.serial = *serial ? s->u.serial : model.serial;
    s->disk.removable = s->removable;
    struct error *err = usb_attach(&s->u, &model);
    if (!err)
        vm_on_run(dev->vm, vm_runs, s);
    return err;
}

static void storage_unrealize(struct device *dev)
{
    struct usb_storage *s = container_of(dev, struct usb_storage, u.dev);
    vm_forget(dev->vm, s);
    blk_drain(s->blk);
    usb_detach(&s->u);
    blk_drain(s->blk);
}

static void storage_reset(struct device *dev)
{
    usb_reset(&container_of(dev, struct usb_storage, u.dev)->u);
}

/* A stream is input: the window holds no more than it has room for, and moves whole blocks. */
static struct error *storage_loaded(struct device *dev)
{
    struct usb_storage *s = container_of(dev, struct usb_storage, u.dev);
    uint64_t size = blk_size(s->blk);
    if (s->at_window > s->n_window || s->offset % SCSI_BLOCK || s->left % SCSI_BLOCK ||
        s->offset > size || s->left > size - s->offset ||
        (s->phase == PHASE_OUT && s->n_window && s->n_window >= MIN(s->left, WINDOW)))
        return error_new("a command is outside the disk");
    return NULL;
}

static const struct prop storage_props[] = {
    USB_PROPS(struct usb_storage, u),
    PROP(struct usb_storage, blk, "drive", PROP_DRIVE),
    PROP(struct usb_storage, removable, "removable", PROP_BOOL, .def = "off",
         .help = "the guest sees a drive whose medium can be taken out"),
    PROP(struct usb_storage, bootindex, "bootindex", PROP_UINT, .def = "0xffffffff"),
};
static const struct field storage_state[] = {
    USB_STATE(struct usb_storage, u),
    FIELD_SUB(struct usb_storage, disk, scsi_disk_fields, 1),
    FIELD(struct usb_storage, phase, .max = N_PHASES - 1),
    FIELD(struct usb_storage, tag),
    FIELD(struct usb_storage, asked),
    FIELD(struct usb_storage, status, .max = STATUS_PHASE_ERROR),
    FIELD(struct usb_storage, work, .max = SCSI_FLUSH),
    FIELD(struct usb_storage, fua),
    FIELD(struct usb_storage, offset),
    FIELD(struct usb_storage, left),
    FIELD(struct usb_storage, n_window, .max = WINDOW),
    FIELD(struct usb_storage, at_window, .max = WINDOW),
    FIELD_RAW(struct usb_storage, window),
    DERIVED(struct usb_storage, req),
    DERIVED(struct usb_storage, iov),
    DERIVED(struct usb_storage, busy),
    DERIVED(struct usb_storage, forget),
};

const struct device_class usb_storage_class = {
    .name = "usb-storage",
    .desc = "USB disk",
    .bus = "usb-bus",
    .version = 1,
    .user_creatable = true,
    .can_hot_plug = true,
    .size = sizeof(struct usb_storage),
    .props = TABLE(storage_props),
    .state = TABLE(storage_state),
    .realize = storage_realize,
    .unrealize = storage_unrealize,
    .reset = storage_reset,
    .loaded = storage_loaded,
};
