/* virtio network device (VIRTIO 1.3, 5.1). Frames from the guest go to the back end on the thread of
 * whoever rang; frames for it come on the main loop. Queues stand in pairs: 2i receives, 2i + 1
 * sends, the control queue is behind the last one (behind the first pair without MQ). */
#include "hw/net/virtio_net.h"

#include "core/error.h"
#include "core/event.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>

/* Feature bits, 5.1.3 */
enum {
    NET_F_GUEST_CSUM = 1,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_MQ = 22,
    NET_F_CTRL_MAC_ADDR = 23,
};

/* The header before each frame, 5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset,
 * and num_buffers where the interface is modern or buffers merge. */
enum { HEADER = 12, HEADER_LEGACY = 10, NUM_BUFFERS = 10, FLAG_DATA_VALID = 2 };

/* Control commands, 5.1.6.5: class << 8 | command */
enum {
    CTRL_RX_PROMISC = 0x0000,
    CTRL_RX_NOBCAST = 0x0005,
    CTRL_MAC_TABLE_SET = 0x0100,
    CTRL_MAC_ADDR_SET = 0x0101,
    CTRL_VLAN_ADD = 0x0200,
    CTRL_VLAN_DEL = 0x0201,
    CTRL_MQ_PAIRS_SET = 0x0400,
};
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, N_RX_MODES };

enum {
    ADDR = 6,
    MAX_PAIRS = 32,
    MAX_MACS = 64,
    MAX_MERGED = 64, /* buffers that one frame may be spread over */
    MAX_PIECES = VIRTIO_MAX_QUEUE_SIZE,
    N_VLANS = 4096,
    N_FLOWS = 256,
    CONFIG_SIZE = 12,
    LINK_UP = 1,
};

struct mac_table {
    uint8_t n;
    bool overflow; /* the driver had more than fit: let all of this kind pass */
    uint8_t macs[MAX_MACS * ADDR];
};

struct virtio_net {
    struct virtio_device v;
    /* properties */
    struct netdev *net;
    uint8_t first_mac[ADDR];
    uint16_t max_pairs, rx_size, tx_size, mtu;
    uint32_t bootindex;
    bool mq, mrg_rxbuf, status, ctrl_vq, ctrl_rx, ctrl_rx_extra, ctrl_vlan, ctrl_mac_addr,
        guest_csum;
    uint32_t ioeventfd;

    /* state */
    uint8_t mac[ADDR];
    uint16_t pairs;
    uint8_t rx_mode[N_RX_MODES];
    struct mac_table unicast, multicast;
    uint8_t vlans[N_VLANS / 8];
    bool unplugged; /* the cable is */

    /* derived */
    uint64_t blocked;       /* pairs whose sending waits for the back end */
    uint64_t to_notify;     /* pairs that received frames the driver was not told of */
    bool told;              /* of a change of the filter, and nobody has asked yet */
    uint8_t flows[N_FLOWS]; /* the pair that last sent on a flow: answers go there */
};

static struct virtio_net *net_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_net, v);
}

static unsigned ctrl_index(const struct virtio_net *d)
{
    return virtio_has(&d->v, NET_F_MQ) ? 2u * d->max_pairs : 2;
}

static unsigned header_size(const struct virtio_net *d)
{
    return virtio_has(&d->v, VIRTIO_F_VERSION_1) || virtio_has(&d->v, NET_F_MRG_RXBUF)
               ? HEADER
               : HEADER_LEGACY;
}

/* ---- flows ---------------------------------------------------------------------------------- */
enum { ETHERTYPE = 12, IP = 14, TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100 };

/* The same number for both directions of a connection: addresses and ports are added up. `head` is
 * the first n bytes of a frame. */
static unsigned flow_of(const uint8_t *head, size_t n)
{
    if (n < IP + 20)
        return 0;
    uint32_t sum = 0;
    size_t ports = 0;
    unsigned type = (unsigned)load_be(head + ETHERTYPE, 2);
    if (type == TYPE_IPV4) {
        sum = (uint32_t)(load_be(head + IP + 12, 4) + load_be(head + IP + 16, 4));
        ports = IP + (head[IP] & 15) * 4u;
    } else if (type == TYPE_IPV6 && n >= IP + 40) {
        for (unsigned i = 8; i < 40; i += 4)
            sum += (uint32_t)load_be(head + IP + i, 4);
        ports = IP + 40;
    }
    if (ports && ports + 4 <= n)
        sum += (uint32_t)(load_be(head + ports, 2) + load_be(head + ports + 2, 2));
    return (sum * 0x9e3779b1u) >> 24;
}

/* ---- sending -------------------------------------------------------------------------------- */
static bool send_chain(struct virtio_net *d, struct virtq_chain *c, unsigned pair)
{
    struct iovec iov[MAX_PIECES];
    uint8_t header[HEADER], head[64];
    unsigned skip = header_size(d);
    uint64_t size;
    if (chain_read(c, 0, header, skip) < skip || header[1]) /* no segmentation was offered */
        return true;
    unsigned n =
        iov_slice(c->readable, c->n_readable, skip, NET_MAX_FRAME + 1, iov, MAX_PIECES, &size);
    if (!d->unplugged && !netdev_send(d->net, iov, n))
        return false;
    if (d->pairs > 1)
        d->flows[flow_of(head, chain_read(c, skip, head, sizeof(head)))] = (uint8_t)pair;
    return true;
}

static void handle_send(struct virtio_net *d, struct virtq *q)
{
    unsigned pair = q->index / 2u;
    struct virtq_chain *c;
    d->blocked &= ~((uint64_t)1 << pair);
    while ((c = virtq_pop(q))) {
        if (!send_chain(d, c, pair)) {
            virtq_unpop(c);
            d->blocked |= (uint64_t)1 << pair;
            break;
        }
        virtq_push(c, 0);
    }
    virtq_notify(q);
}

/* The back end takes frames again. */
static void net_writable(void *opaque)
{
    struct virtio_net *d = opaque;
    device_lock(&d->v.dev);
    for (uint64_t todo = d->blocked; todo; todo &= todo - 1)
        handle_send(d, &d->v.queues[2 * __builtin_ctzll(todo) + 1]);
    device_unlock(&d->v.dev);
}

/* ---- which frames the guest wants, 5.1.6.5.1 to 3 --------------------------------------------- */
static bool table_has(const struct mac_table *t, const uint8_t *mac)
{
    for (unsigned i = 0; i < t->n; i++)
        if (!memcmp(t->macs + i * ADDR, mac, ADDR))
            return true;
    return t->overflow;
}

static bool is_wanted(const struct virtio_net *d, const uint8_t *frame, size_t n)
{
    static const uint8_t broadcast[ADDR] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    if (virtio_has(&d->v, NET_F_CTRL_VLAN) && n >= 16 &&
        load_be(frame + ETHERTYPE, 2) == TYPE_VLAN) {
        unsigned vlan = (unsigned)load_be(frame + 14, 2) % N_VLANS;
        if (!(d->vlans[vlan / 8] >> vlan % 8 & 1))
            return false;
    }
    if (d->rx_mode[RX_PROMISC])
        return true;
    if (!memcmp(frame, broadcast, ADDR))
        return !d->rx_mode[RX_NOBCAST];
    if (frame[0] & 1)
        return !d->rx_mode[RX_NOMULTI] &&
               (d->rx_mode[RX_ALLMULTI] || table_has(&d->multicast, frame));
    return !d->rx_mode[RX_NOUNI] &&
           (d->rx_mode[RX_ALLUNI] || !memcmp(frame, d->mac, ADDR) || table_has(&d->unicast, frame));
}

/* ---- receiving ------------------------------------------------------------------------------ */
/* Pop chains with room for n bytes: how many, or 0: there are not enough now, or *never: `most` of
 * them are too small. */
static unsigned pop_room(struct virtq *q, uint64_t n, unsigned most, struct virtq_chain **chains,
                         bool *never)
{
    unsigned k = 0;
    *never = false;
    for (uint64_t room = 0; room < n; k++) {
        struct virtq_chain *c = k < most ? virtq_pop(q) : NULL;
        if (!c) {
            *never = k == most;
            while (k)
                virtq_unpop(chains[--k]);
            return 0;
        }
        chains[k] = c;
        room += c->writable_len;
    }
    return k;
}

static void fill_chains(struct virtio_net *d, struct virtq_chain **chains, unsigned k,
                        const uint8_t *frame, size_t n)
{
    uint8_t header[HEADER] = { 0 };
    unsigned size = header_size(d);
    header[0] = virtio_has(&d->v, NET_F_GUEST_CSUM) ? FLAG_DATA_VALID : 0;
    store_le(header + NUM_BUFFERS, 2, k);
    for (unsigned i = 0; i < k; i++) {
        size_t lead = i ? 0 : chain_write(chains[i], 0, header, size);
        size_t got = chain_write(chains[i], lead, frame, n);
        virtq_push(chains[i], (uint32_t)(lead + got));
        frame += got;
        n -= got;
    }
}

/* False: no buffers now. A frame that can never fit is dropped. Device lock held. */
static bool receive_locked(struct virtio_net *d, const uint8_t *frame, size_t n)
{
    if (!virtio_running(&d->v) || n < IP || d->unplugged || !is_wanted(d, frame, n))
        return true;
    unsigned pair = d->pairs > 1 ? d->flows[flow_of(frame, n)] % d->pairs : 0;
    struct virtq *q = &d->v.queues[2 * pair];
    unsigned most = virtio_has(&d->v, NET_F_MRG_RXBUF) ? MAX_MERGED : 1;
    struct virtq_chain *chains[MAX_MERGED];
    bool never;
    unsigned k = pop_room(q, header_size(d) + n, most, chains, &never);
    if (!k)
        return never;
    fill_chains(d, chains, k, frame, n);
    d->to_notify |= (uint64_t)1 << pair;
    return true;
}

static bool net_receive(void *opaque, const uint8_t *frame, size_t n)
{
    struct virtio_net *d = opaque;
    device_lock(&d->v.dev);
    bool taken = receive_locked(d, frame, n);
    device_unlock(&d->v.dev);
    return taken;
}

static void net_received(void *opaque)
{
    struct virtio_net *d = opaque;
    device_lock(&d->v.dev);
    for (; d->to_notify; d->to_notify &= d->to_notify - 1)
        virtq_notify(&d->v.queues[2 * __builtin_ctzll(d->to_notify)]);
    device_unlock(&d->v.dev);
}

/* ---- control queue, 5.1.6.5 ------------------------------------------------------------------- */
/* One table at *off of the command's data; advances *off. */
static bool read_table(const struct virtq_chain *c, uint64_t *off, struct mac_table *t)
{
    uint8_t raw[4];
    *t = (struct mac_table){ 0 };
    if (chain_read(c, *off, raw, sizeof(raw)) < sizeof(raw))
        return false;
    uint64_t n = load_le(raw, 4);
    *off += sizeof(raw);
    if (n * ADDR > c->readable_len - *off)
        return false;
    t->overflow = n > MAX_MACS;
    t->n = t->overflow ? 0 : (uint8_t)n;
    chain_read(c, *off, t->macs, t->n * (size_t)ADDR);
    *off += n * ADDR;
    return true;
}

static bool set_mac_tables(struct virtio_net *d, const struct virtq_chain *c)
{
    struct mac_table unicast, multicast;
    uint64_t off = 2;
    if (!read_table(c, &off, &unicast) || !read_table(c, &off, &multicast))
        return false;
    d->unicast = unicast;
    d->multicast = multicast;
    return true;
}

static bool set_vlan(struct virtio_net *d, unsigned vlan, bool pass)
{
    if (vlan >= N_VLANS)
        return false;
    d->vlans[vlan / 8] &= (uint8_t) ~(1u << vlan % 8);
    d->vlans[vlan / 8] |= (uint8_t)(pass << vlan % 8);
    return true;
}

static bool set_pairs(struct virtio_net *d, unsigned pairs)
{
    if (!virtio_has(&d->v, NET_F_MQ) || !pairs || pairs > d->max_pairs)
        return false;
    d->pairs = (uint16_t)pairs;
    return true;
}

static bool control(struct virtio_net *d, const struct virtq_chain *c)
{
    uint8_t head[2], data[ADDR] = { 0 };
    if (chain_read(c, 0, head, sizeof(head)) < sizeof(head))
        return false;
    unsigned command = (unsigned)load_be(head, 2);
    size_t n = chain_read(c, sizeof(head), data, sizeof(data));
    if (command <= CTRL_RX_NOBCAST && n >= 1 && data[0] <= 1) {
        d->rx_mode[command] = data[0];
        return true;
    }
    switch (command) {
    case CTRL_MAC_TABLE_SET: return set_mac_tables(d, c);
    case CTRL_MAC_ADDR_SET:
        if (n == ADDR)
            memcpy(d->mac, data, ADDR);
        return n == ADDR;
    case CTRL_VLAN_ADD:
    case CTRL_VLAN_DEL:
        return n >= 2 && set_vlan(d, (unsigned)load_le(data, 2), command == CTRL_VLAN_ADD);
    case CTRL_MQ_PAIRS_SET: return n >= 2 && set_pairs(d, (unsigned)load_le(data, 2));
    default: return false;
    }
}

/* Once, until somebody asks what it is now. */
static void filter_changed(struct virtio_net *d)
{
    const struct device *dev = &d->v.dev;
    char front[DEVICE_QOM_PATH], path[DEVICE_QOM_PATH + 20];
    if (d->told)
        return;
    d->told = true;
    device_qom_path(dev, front);
    snprintf(path, sizeof(path), "%s/virtio-backend", front);
    event_tell(dev->vm, EVENT_NIC_RX_FILTER_CHANGED, EVENT_TEXT("name", dev->id),
               EVENT_TEXT("path", path));
}

static void handle_control(struct virtio_net *d, struct virtq *q)
{
    struct virtq_chain *c;
    while ((c = virtq_pop(q))) {
        uint8_t failed = !control(d, c);
        if (!failed)
            filter_changed(d);
        virtq_push(c, (uint32_t)chain_write(c, 0, &failed, 1));
    }
    virtq_notify(q);
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_net *d = net_of(v);
    if (q->index == ctrl_index(d) && virtio_has(v, NET_F_CTRL_VQ))
        handle_control(d, q);
    else if (q->index & 1)
        handle_send(d, q);
    else
        netdev_ready(d->net);
}

/* ---- configuration, 5.1.4 ------------------------------------------------------------------- */
static void get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_net *d = net_of(v);
    memcpy(config, d->mac, ADDR);
    store_le(config + 6, 2, d->unplugged ? 0 : LINK_UP);
    store_le(config + 8, 2, d->max_pairs);
    store_le(config + 10, 2, d->mtu);
}

/* Only legacy drivers set the address this way. */
static void set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_net *d = net_of(v);
    if (virtio_has(v, VIRTIO_F_VERSION_1) || virtio_has(v, NET_F_CTRL_MAC_ADDR))
        return;
    for (uint32_t i = 0; i < n && off + i < ADDR; i++)
        d->mac[off + i] = data[i];
}

static bool set_features(struct virtio_device *v, uint64_t features)
{
    const uint64_t need_ctrl = VIRTIO_BIT(NET_F_CTRL_RX) | VIRTIO_BIT(NET_F_CTRL_VLAN) |
                               VIRTIO_BIT(NET_F_CTRL_RX_EXTRA) | VIRTIO_BIT(NET_F_MQ) |
                               VIRTIO_BIT(NET_F_CTRL_MAC_ADDR);
    return !(features & need_ctrl) || features & VIRTIO_BIT(NET_F_CTRL_VQ);
}

static void started(struct virtio_device *v)
{
    netdev_ready(net_of(v)->net);
}

static void reset(struct virtio_device *v)
{
    struct virtio_net *d = net_of(v);
    memcpy(d->mac, d->first_mac, ADDR);
    d->pairs = 1;
    memset(d->rx_mode, 0, sizeof(d->rx_mode));
    d->rx_mode[RX_PROMISC] = true; /* until a driver says what it wants */
    d->unicast = d->multicast = (struct mac_table){ 0 };
    memset(d->vlans, 0, sizeof(d->vlans));
    memset(d->flows, 0, sizeof(d->flows));
    d->blocked = d->to_notify = 0;
}

static struct error *loaded(struct virtio_device *v)
{
    struct virtio_net *d = net_of(v);
    if (!d->pairs || d->pairs > d->max_pairs || d->unicast.n > MAX_MACS ||
        d->multicast.n > MAX_MACS)
        return error_new("queue pairs or address tables are out of range");
    return NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */
static const struct virtio_model net_model;

/* 52:54:00:12:34:56 for the first, one more for each other. */
static void choose_mac(struct virtio_net *d)
{
    static const uint8_t base[ADDR] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 }, none[ADDR];
    if (memcmp(d->first_mac, none, ADDR))
        return;
    memcpy(d->first_mac, base, ADDR);
    for (struct device *o = d->v.dev.vm->devices; o; o = o->next)
        d->first_mac[5] += o->realized && o->cls->bus_class == &net_model;
}

static bool is_queue_size(unsigned n)
{
    return n >= 4 && n <= VIRTIO_MAX_QUEUE_SIZE && !(n & (n - 1));
}

static struct error *check_properties(struct virtio_net *d)
{
    unsigned n_vcpus = MAX(1, d->v.dev.vm->n_vcpus);
    if (!d->net)
        return error_new("netdev= is missing");
    if (!is_queue_size(d->rx_size) || !is_queue_size(d->tx_size))
        return error_new("rx_queue_size and tx_queue_size must be powers of two from 4 to %d",
                         VIRTIO_MAX_QUEUE_SIZE);
    if (d->first_mac[0] & 1)
        return error_new("mac= is a multicast address");
    if (!d->max_pairs)
        d->max_pairs = d->mq ? (uint16_t)MIN(n_vcpus, MAX_PAIRS) : 1;
    if (d->max_pairs > 1 && !(d->mq && d->ctrl_vq))
        return error_new("queues=%u needs mq=on and ctrl_vq=on", d->max_pairs);
    choose_mac(d);
    return NULL;
}

static uint64_t offered(const struct virtio_net *d)
{
    const struct {
        unsigned bit;
        bool offer;
    } list[] = {
        { NET_F_GUEST_CSUM, d->guest_csum },
        { NET_F_MTU, d->mtu },
        { NET_F_MAC, true },
        { NET_F_MRG_RXBUF, d->mrg_rxbuf },
        { NET_F_STATUS, d->status },
        { NET_F_CTRL_VQ, d->ctrl_vq },
        { NET_F_CTRL_RX, d->ctrl_vq && d->ctrl_rx },
        { NET_F_CTRL_RX_EXTRA, d->ctrl_vq && d->ctrl_rx_extra },
        { NET_F_CTRL_VLAN, d->ctrl_vq && d->ctrl_vlan },
        { NET_F_CTRL_MAC_ADDR, d->ctrl_vq && d->ctrl_mac_addr },
        { NET_F_MQ, d->max_pairs > 1 },
    };
    uint64_t features = 0;
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        features |= (uint64_t)list[i].offer << list[i].bit;
    return features;
}

static void add_queue(struct virtio_net *d, uint16_t size)
{
    struct virtq *q = virtio_add_queue(&d->v, size);
    if (virtio_rings_main_loop(&d->v, d->ioeventfd))
        virtq_serve_on(q, d->v.dev.vm->loop);
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_net *d = net_of(v);
    struct error *err = check_properties(d);
    if (err)
        return err;
    for (unsigned i = 0; i < d->max_pairs; i++) {
        add_queue(d, d->rx_size);
        add_queue(d, d->tx_size);
    }
    if (d->ctrl_vq)
        add_queue(d, 64);
    v->features = offered(d);
    reset(v);
    netdev_attach(d->net, &(struct netdev_peer){ net_receive, net_received, net_writable, d });
    return NULL;
}

static void unrealize(struct virtio_device *v)
{
    netdev_detach(net_of(v)->net);
}

static const struct virtio_model net_model = {
    .device_id = 1,
    .transitional_id = 0x1000,
    .pci_class = 0x020000,
    .config_size = CONFIG_SIZE,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .set_features = set_features,
    .started = started,
    .handle_queue = handle_queue,
    .reset = reset,
    .loaded = loaded,
};

static const struct field mac_table_fields[] = {
    FIELD(struct mac_table, n, .max = MAX_MACS),
    FIELD(struct mac_table, overflow, .max = 1),
    FIELD_RAW(struct mac_table, macs),
};

#define P(member, name, kind, ...) PROP(struct virtio_net, member, name, kind, __VA_ARGS__)
#define NET_PROPS                                                                            \
    , P(net, "netdev", PROP_NETDEV, .help = "id of a -netdev"),                              \
        P(first_mac, "mac", PROP_MAC, .help = "default: 52:54:00:12:34:56 and up"),          \
        P(mq, "mq", PROP_BOOL, .def = "off", .help = "several queue pairs"),                 \
        P(max_pairs, "queues", PROP_UINT, .max = MAX_PAIRS,                                  \
          .help = "queue pairs; default with mq=on: one per vCPU"),                          \
        P(rx_size, "rx_queue_size", PROP_UINT, .def = "256"),                                \
        P(tx_size, "tx_queue_size", PROP_UINT, .def = "256"),                                \
        P(mtu, "host_mtu", PROP_UINT, .help = "what the guest is told; 0: nothing"),         \
        P(ioeventfd, "ioeventfd", PROP_ENUM, .def = "auto", .names = virtio_ioeventfd_names, \
          .help = "frames are taken by the main loop instead of the vCPU; auto: under KVM"), \
        P(mrg_rxbuf, "mrg_rxbuf", PROP_BOOL, .def = "on"),                                   \
        P(status, "status", PROP_BOOL, .def = "on"),                                         \
        P(ctrl_vq, "ctrl_vq", PROP_BOOL, .def = "on"),                                       \
        P(ctrl_rx, "ctrl_rx", PROP_BOOL, .def = "on"),                                       \
        P(ctrl_rx_extra, "ctrl_rx_extra", PROP_BOOL, .def = "on"),                           \
        P(ctrl_vlan, "ctrl_vlan", PROP_BOOL, .def = "on"),                                   \
        P(ctrl_mac_addr, "ctrl_mac_addr", PROP_BOOL, .def = "on"),                           \
        P(guest_csum, "guest_csum", PROP_BOOL, .def = "on",                                  \
          .help = "the guest need not check received checksums again"),                      \
        P(bootindex, "bootindex", PROP_UINT, .def = "0xffffffff",                            \
          .help = "for firmware that asks for a boot order")
bool virtio_net_is(const struct device *dev)
{
    return dev->cls->bus_class == &net_model;
}

static struct virtio_net *net_device(const struct device *dev)
{
    return container_of((struct device *)dev, struct virtio_net, v.dev);
}

struct netdev *virtio_net_backend(const struct device *dev)
{
    return net_device(dev)->net;
}

static void copy_macs(uint8_t to[][ADDR], unsigned *n, const struct mac_table *t)
{
    *n = t->n;
    memcpy(to, t->macs, t->n * (size_t)ADDR);
}

void virtio_net_query_filter(struct device *dev, struct net_filter *out)
{
    struct virtio_net *d = net_device(dev);
    device_lock(dev);
    d->told = false;
    *out = (struct net_filter){
        .promiscuous = d->rx_mode[RX_PROMISC],
        .broadcast_allowed = !d->rx_mode[RX_NOBCAST],
        .unicast = d->rx_mode[RX_NOUNI]    ? NET_NONE
                   : d->rx_mode[RX_ALLUNI] ? NET_ALL
                                           : NET_NORMAL,
        .multicast = d->rx_mode[RX_NOMULTI]    ? NET_NONE
                     : d->rx_mode[RX_ALLMULTI] ? NET_ALL
                                               : NET_NORMAL,
        .vlan = virtio_has(&d->v, NET_F_CTRL_VLAN) ? NET_NORMAL : NET_ALL,
        .unicast_overflow = d->unicast.overflow,
        .multicast_overflow = d->multicast.overflow,
    };
    memcpy(out->mac, d->mac, ADDR);
    copy_macs(out->unicasts, &out->n_unicasts, &d->unicast);
    copy_macs(out->multicasts, &out->n_multicasts, &d->multicast);
    memcpy(out->vlans, d->vlans, sizeof(out->vlans));
    device_unlock(dev);
}

void virtio_net_set_link(struct device *dev, bool up)
{
    struct virtio_net *d = net_device(dev);
    device_lock(dev);
    if (d->unplugged == up) {
        d->unplugged = !up;
        if (virtio_running(&d->v))
            virtio_config_changed(&d->v);
    }
    device_unlock(dev);
}

bool virtio_net_link(struct device *dev)
{
    device_lock(dev);
    bool up = !net_device(dev)->unplugged;
    device_unlock(dev);
    return up;
}

#define NET_STATE                                                         \
    , FIELD_RAW(struct virtio_net, mac), FIELD(struct virtio_net, pairs), \
        FIELD_RAW(struct virtio_net, rx_mode),                            \
        FIELD_SUB(struct virtio_net, unicast, mac_table_fields, 1),       \
        FIELD_SUB(struct virtio_net, multicast, mac_table_fields, 1),     \
        FIELD_RAW(struct virtio_net, vlans), FIELD(struct virtio_net, unplugged)
VIRTIO_CLASSES(virtio_net, "virtio-net", "network card", struct virtio_net, net_model, NET_PROPS,
               NET_STATE)
VIRTIO_LEGACY_CLASSES(virtio_net, "virtio-net", "network card", struct virtio_net, net_model)
