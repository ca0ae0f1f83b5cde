/* User networking, from the guest's side of the wire: frames made by hand. */
#include "board.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- kit: a machine on the network that remembers what it hears --------------------------------- */
enum { MAX_HEARD = 64, FRAME_ROOM = 1600 };

struct lan {
    struct board *b;
    struct netdev *n;
    unsigned n_heard, n_received, n_writable;
    bool full; /* the guest takes no frames */
    struct {
        uint8_t at[FRAME_ROOM];
        size_t n;
    } heard[MAX_HEARD];
};

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
#define HOST_IP  0x0a000202u
#define GUEST_IP 0x0a00020fu

static bool lan_receive(void *opaque, const uint8_t *frame, size_t n)
{
    struct lan *l = opaque;
    if (l->full)
        return false;
    if (l->n_heard < MAX_HEARD && n <= FRAME_ROOM) {
        memcpy(l->heard[l->n_heard].at, frame, n);
        l->heard[l->n_heard++].n = n;
    }
    return true;
}

static void lan_received(void *opaque)
{
    ((struct lan *)opaque)->n_received++;
}

static void lan_writable(void *opaque)
{
    ((struct lan *)opaque)->n_writable++;
}

static struct lan *lan_with(const char *spec)
{
    struct lan *l = calloc(1, sizeof(*l));
    l->b = board_new();
    struct error *err = netdev_open(l->b->vm, spec, &l->n);
    if (err && strstr(error_text(err), "not in this build")) {
        print_message("# built without libslirp\n");
        skip();
    }
    if (err)
        fail_msg("%s", error_text(err));
    netdev_attach(l->n, &(struct netdev_peer){ lan_receive, lan_received, lan_writable, l });
    return l;
}

static void lan_free(struct lan *l)
{
    netdev_close(l->n);
    board_free(l->b);
    free(l);
}

static void lan_send(struct lan *l, const uint8_t *frame, size_t n)
{
    struct iovec iov[2] = { { (void *)frame, 14 }, { (void *)(frame + 14), n - 14 } };
    assert_true(netdev_send(l->n, iov, 2));
}

/* The first frame heard that `is` accepts, waiting for it a few seconds at most; NULL: none came. */
static const uint8_t *lan_wait(struct lan *l, bool (*is)(const uint8_t *frame, size_t n))
{
    for (int i = 0; i < 300; i++) {
        for (unsigned k = 0; k < l->n_heard; k++)
            if (is(l->heard[k].at, l->heard[k].n))
                return l->heard[k].at;
        loop_once(l->b->vm->loop, 10);
    }
    return NULL;
}

static void lan_forget(struct lan *l)
{
    l->n_heard = 0;
}

/* ---- frames ------------------------------------------------------------------------------------------ */
static uint16_t checksum(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)p[i] << (i % 2 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void ethernet(uint8_t *f, const uint8_t *to, unsigned type)
{
    memcpy(f, to, 6);
    memcpy(f + 6, guest_mac, 6);
    store_be(f + 12, 2, type);
}

static void arp(struct lan *l, unsigned op, const uint8_t *to_mac, uint32_t to_ip)
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
    uint8_t f[60] = { 0 };
    ethernet(f, op == 1 ? broadcast : to_mac, 0x0806);
    store_be(f + 14, 8, 0x0001080006040000ull | op);
    memcpy(f + 22, guest_mac, 6);
    store_be(f + 28, 4, GUEST_IP);
    memcpy(f + 32, to_mac, 6);
    store_be(f + 38, 4, to_ip);
    lan_send(l, f, sizeof(f));
}

/* An IPv4 packet around n bytes of payload, whose checksum stands at `sum_at` in it. */
static void ip_send(struct lan *l, const uint8_t *mac, uint32_t from, uint32_t to, unsigned proto,
                    uint8_t *payload, size_t n, size_t sum_at)
{
    uint8_t f[FRAME_ROOM] = { 0 }, *ip = f + 14;
    ethernet(f, mac, 0x0800);
    store_be(ip, 2, 0x4500);
    store_be(ip + 2, 2, 20 + n);
    store_be(ip + 8, 2, 64 << 8 | proto);
    store_be(ip + 12, 4, from);
    store_be(ip + 16, 4, to);
    store_be(ip + 10, 2, checksum(ip, 20, 0));
    uint32_t pseudo =
        (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + proto + (uint32_t)n;
    store_be(payload + sum_at, 2, 0);
    store_be(payload + sum_at, 2, checksum(payload, n, proto == 1 ? 0 : pseudo));
    memcpy(ip + 20, payload, n);
    lan_send(l, f, 34 + n);
}

enum { SYN = 2, ACK = 16, FIN = 1, RST = 4, PSH = 8 };

struct tcp {
    const uint8_t *mac;
    uint16_t port, peer_port;
    uint32_t seq, ack;
};

static void tcp_send(struct lan *l, struct tcp *t, unsigned flags, const char *data)
{
    uint8_t p[256] = { 0 };
    size_t n = strlen(data);
    store_be(p, 2, t->port);
    store_be(p + 2, 2, t->peer_port);
    store_be(p + 4, 4, t->seq);
    store_be(p + 8, 4, t->ack);
    p[12] = 5 << 4;
    p[13] = (uint8_t)flags;
    store_be(p + 14, 2, 8192);
    memcpy(p + 20, data, n);
    t->seq += (uint32_t)n + ((flags & (SYN | FIN)) != 0);
    ip_send(l, t->mac, GUEST_IP, HOST_IP, 6, p, 20 + n, 16);
}

static bool is_arp_reply(const uint8_t *f, size_t n)
{
    return n >= 42 && load_be(f + 12, 2) == 0x0806 && load_be(f + 20, 2) == 2;
}

static bool is_ip(const uint8_t *f, size_t n, unsigned proto)
{
    return n >= 34 && load_be(f + 12, 2) == 0x0800 && f[23] == proto;
}

static bool is_udp(const uint8_t *f, size_t n)
{
    return is_ip(f, n, 17);
}

static bool is_dhcp_offer(const uint8_t *f, size_t n)
{
    return is_ip(f, n, 17) && load_be(f + 34, 2) == 67 && n > 14 + 20 + 8 + 240;
}

static bool is_ping_reply(const uint8_t *f, size_t n)
{
    return is_ip(f, n, 1) && f[34] == 0;
}

static bool tcp_has(const uint8_t *f, size_t n, unsigned flags)
{
    return is_ip(f, n, 6) && n >= 54 && (f[47] & flags) == flags;
}

static bool is_syn_ack(const uint8_t *f, size_t n)
{
    return tcp_has(f, n, SYN | ACK);
}

static bool is_syn(const uint8_t *f, size_t n)
{
    return tcp_has(f, n, SYN) && !(f[47] & ACK);
}

static size_t tcp_payload(const uint8_t *f, const uint8_t **data)
{
    size_t header = (f[46] >> 4) * 4u, total = load_be(f + 16, 2);
    *data = f + 34 + header;
    return total - 20 - header;
}

static bool is_tcp_data(const uint8_t *f, size_t n)
{
    const uint8_t *data;
    return tcp_has(f, n, ACK) && tcp_payload(f, &data) > 0;
}

static int listen_on_loopback(int type, uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* The gateway's address on the wire. */
static const uint8_t *gateway_mac(struct lan *l, uint8_t mac[6])
{
    static const uint8_t unknown[6];
    arp(l, 1, unknown, HOST_IP);
    const uint8_t *f = lan_wait(l, is_arp_reply);
    assert_non_null(f);
    assert_int_equal(load_be(f + 28, 4), HOST_IP);
    memcpy(mac, f + 22, 6);
    lan_forget(l);
    return mac;
}

/* ---- facts ------------------------------------------------------------------------------------------- */
static void dhcp_offers_the_first_address(void **unused)
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
    struct lan *l = lan_with("user,id=n0,net=10.0.2.0/24,hostname=box");
    uint8_t p[8 + 300] = { 0 }, *d = p + 8;
    store_be(p, 2, 68);
    store_be(p + 2, 2, 67);
    store_be(p + 4, 2, sizeof(p));
    store_be(d, 4, 0x01010600);
    store_be(d + 4, 4, 0x12345678);
    memcpy(d + 28, guest_mac, 6);
    store_be(d + 236, 4, 0x63825363);
    store_be(d + 240, 4, 0x350101ff); /* discover */
    ip_send(l, broadcast, 0, 0xffffffff, 17, p, sizeof(p), 6);
    const uint8_t *f = lan_wait(l, is_dhcp_offer);
    assert_non_null(f);
    assert_int_equal(load_be(f + 42 + 4, 4), 0x12345678);
    assert_int_equal(load_be(f + 42 + 16, 4), GUEST_IP);
    assert_true(l->n_received > 0);
    lan_free(l);
}

static void guest_reaches_a_server_on_the_host(void **unused)
{
    struct lan *l = lan_with("user,id=n0");
    uint16_t port;
    uint8_t mac[6];
    int server = listen_on_loopback(SOCK_STREAM, &port);
    struct tcp t = { gateway_mac(l, mac), 40000, port, 1000, 0 };
    tcp_send(l, &t, SYN, "");
    const uint8_t *f = lan_wait(l, is_syn_ack);
    assert_non_null(f);
    assert_int_equal(load_be(f + 42, 4), t.seq);
    t.ack = (uint32_t)load_be(f + 38, 4) + 1;
    tcp_send(l, &t, ACK, "");
    int fd = accept(server, NULL, NULL);
    assert_true(fd >= 0);

    tcp_send(l, &t, ACK | PSH, "hello from the guest");
    for (int i = 0; i < 20; i++)
        loop_once(l->b->vm->loop, 5);
    char buf[64] = "";
    assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 20);
    assert_string_equal(buf, "hello from the guest");

    lan_forget(l);
    assert_int_equal(send(fd, "and back", 8, 0), 8);
    f = lan_wait(l, is_tcp_data);
    assert_non_null(f);
    const uint8_t *data;
    assert_int_equal(tcp_payload(f, &data), 8);
    assert_memory_equal(data, "and back", 8);
    close(fd);
    close(server);
    lan_free(l);
}

static void gateway_answers_ping(void **unused)
{
    struct lan *l = lan_with("user,id=n0");
    uint8_t mac[6], p[16] = { 8, 0, 0, 0, 0, 1, 0, 1, 'p', 'i', 'n', 'g' };
    gateway_mac(l, mac);
    ip_send(l, mac, GUEST_IP, HOST_IP, 1, p, sizeof(p), 2);
    const uint8_t *f = lan_wait(l, is_ping_reply);
    assert_non_null(f);
    assert_memory_equal(f + 42, "ping", 4);
    lan_free(l);
}

static uint16_t free_port(int type)
{
    uint16_t port;
    close(listen_on_loopback(type, &port));
    return port;
}

static void host_reaches_the_guest_through_a_forwarded_port(void **unused)
{
    char spec[128];
    uint16_t port = free_port(SOCK_STREAM);
    snprintf(spec, sizeof(spec), "user,id=n0,hostfwd=tcp:127.0.0.1:%u-:22", port);
    struct lan *l = lan_with(spec);
    uint8_t mac[6];
    gateway_mac(l, mac);
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    const uint8_t *f = lan_wait(l, is_syn);
    assert_non_null(f);
    assert_int_equal(load_be(f + 36, 2), 22);
    assert_int_equal(load_be(f + 30, 4), GUEST_IP);
    close(fd);
    lan_free(l);
}

static void datagrams_reach_the_guest_through_a_forwarded_port(void **unused)
{
    char spec[128];
    uint16_t port = free_port(SOCK_DGRAM);
    snprintf(spec, sizeof(spec), "user,id=n0,hostfwd=udp:127.0.0.1:%u-10.0.2.15:53", port);
    struct lan *l = lan_with(spec);
    uint8_t mac[6];
    gateway_mac(l, mac);
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(sendto(fd, "knock", 5, 0, (struct sockaddr *)&a, sizeof(a)), 5);
    const uint8_t *f = lan_wait(l, is_udp);
    assert_non_null(f);
    assert_int_equal(load_be(f + 36, 2), 53);
    assert_memory_equal(f + 42, "knock", 5);
    close(fd);
    lan_free(l);
}

static char *refused(const char *spec)
{
    struct board *b = board_new();
    struct netdev *n;
    struct error *err = netdev_open(b->vm, spec, &n);
    assert_non_null(err);
    char *text = strdup(error_text(err));
    error_free(err);
    board_free(b);
    return text;
}

static void assert_refused(const char *spec, const char *part)
{
    char *text = refused(spec);
    if (strstr(text, "not in this build"))
        skip();
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
    assert_null(strchr(text, '\n'));
    free(text);
}

static void taken_port_is_an_error(void **unused)
{
    uint16_t port;
    char spec[128], what[64];
    int fd = listen_on_loopback(SOCK_STREAM, &port);
    snprintf(spec, sizeof(spec), "user,id=n0,hostfwd=tcp:127.0.0.1:%u-:22", port);
    snprintf(what, sizeof(what), "cannot listen on tcp port %u: Address already in use", port);
    assert_refused(spec, what);
    close(fd);
}

static void wrong_options_are_named(void **unused)
{
    assert_refused("user,id=n0,nett=1.2.3.4", "did you mean 'net'");
    assert_refused("user,id=n0,net=10.0.2.0/99", "net='10.0.2.0/99'");
    assert_refused("user,id=n0,net=ten", "net='ten'");
    assert_refused("user,id=n0,dhcpstart=10.9.0.1", "outside the network");
    assert_refused("user,id=n0,host=10.0.2.3", "three different");
    assert_refused("user,id=n0,dns=x", "dns='x'");
    assert_refused("user,id=n0,ipv4=off,ipv6=off", "no network");
    assert_refused("user,id=n0,ipv6-net=zz", "ipv6-net='zz'");
    assert_refused("user,id=n0,hostfwd=22", "tcp|udp:");
    assert_refused("user,id=n0,hostfwd=sctp::1-:2", "tcp|udp:");
    assert_refused("user,id=n0,hostfwd=tcp::70000-:2", "tcp|udp:");
    assert_refused("user,id=n0,hostfwd=tcp::1-:0", "tcp|udp:");
    assert_refused("uzer,id=n0", "did you mean 'user'");
    assert_refused("tap,id=n0", "accepted: user, null");
}

static void restricted_guest_reaches_nobody(void **unused)
{
    struct lan *l = lan_with("user,id=n0,restrict=on");
    uint16_t port;
    uint8_t mac[6];
    int server = listen_on_loopback(SOCK_STREAM, &port);
    struct tcp t = { gateway_mac(l, mac), 40000, port, 1000, 0 };
    tcp_send(l, &t, SYN, "");
    for (int i = 0; i < 30; i++)
        loop_once(l->b->vm->loop, 5);
    for (unsigned i = 0; i < l->n_heard; i++)
        assert_false(is_syn_ack(l->heard[i].at, l->heard[i].n));
    close(server);
    lan_free(l);
}

static void frames_wait_for_a_guest_without_room(void **unused)
{
    static const uint8_t unknown[6];
    struct lan *l = lan_with("user,id=n0,ipv6=off");
    l->full = true;
    arp(l, 1, unknown, HOST_IP);
    for (int i = 0; i < 10; i++)
        loop_once(l->b->vm->loop, 2);
    assert_int_equal(l->n_heard, 0);
    l->full = false;
    netdev_ready(l->n);
    assert_non_null(lan_wait(l, is_arp_reply));
    lan_free(l);
}

static void full_queue_refuses_and_tells_when_there_is_room(void **unused)
{
    struct lan *l = lan_with("null,id=n0");
    static uint8_t frame[60000];
    struct iovec iov = { frame, sizeof(frame) };
    unsigned sent = 0;
    while (netdev_send(l->n, &iov, 1))
        assert_true(++sent < 1000);
    assert_true(sent >= 4);
    assert_int_equal(l->n_writable, 0);
    board_step(l->b);
    assert_int_equal(l->n_writable, 1);
    assert_true(netdev_send(l->n, &iov, 1));
    board_step(l->b);
    struct netdev_counts c;
    netdev_counts(l->n, &c);
    assert_int_equal(c.sent, sent + 1);
    assert_int_equal(c.sent_bytes, (sent + 1) * sizeof(frame));
    lan_free(l);
}

static void impossible_lengths_are_dropped(void **unused)
{
    struct lan *l = lan_with("null,id=n0");
    static uint8_t frame[NET_MAX_FRAME + 1];
    struct iovec iov = { frame, sizeof(frame) };
    assert_true(netdev_send(l->n, &iov, 1));
    iov.iov_len = 13;
    assert_true(netdev_send(l->n, &iov, 1));
    assert_true(netdev_send(l->n, NULL, 0));
    iov.iov_len = NET_MAX_FRAME;
    assert_true(netdev_send(l->n, &iov, 1));
    board_step(l->b);
    struct netdev_counts c;
    netdev_counts(l->n, &c);
    assert_int_equal(c.dropped, 3);
    assert_int_equal(c.sent, 1);
    lan_free(l);
}

static void garbage_frames_do_no_harm(void **unused)
{
    struct lan *l = lan_with("user,id=n0");
    uint32_t seed = 7;
    uint8_t f[200];
    static const unsigned types[] = { 0x0800, 0x0806, 0x86dd, 0x8100, 0x1234 };
    for (int i = 0; i < 3000; i++) {
        for (size_t k = 0; k < sizeof(f); k++)
            f[k] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        store_be(f + 12, 2, types[i % 5]);
        if (i % 5 == 0) {
            store_be(f + 14, 2, 0x4500);
            store_be(f + 24, 2, 0);
            store_be(f + 24, 2, checksum(f + 14, 20, 0));
        }
        struct iovec iov = { f, 14 + seed % (sizeof(f) - 14) };
        netdev_send(l->n, &iov, 1);
        if (i % 16 == 0)
            board_step(l->b);
    }
    lan_free(l);
}

static void nic_registers_its_back_end(void **unused)
{
    struct board *b = board_new();
    struct nic_info info;
    assert_null(nic_add(b->vm, "null,model=virtio-net-pci,mac=52:54:00:00:00:01", &info));
    assert_string_equal(info.model, "virtio-net-pci");
    assert_string_equal(info.mac, "52:54:00:00:00:01");
    assert_non_null(backend_find(b->vm, BACKEND_NETDEV, info.id));
    assert_null(nic_add(b->vm, "null", &info));
    assert_string_equal(info.id, "nic1");
    assert_null(nic_add(b->vm, "none", &info));
    assert_true(info.none);
    assert_null(netdev_add(b->vm, "null,id=x"));
    struct error *err = netdev_add(b->vm, "null,id=x");
    assert_non_null(err);
    error_free(err);
    err = netdev_add(b->vm, "null");
    assert_non_null(err);
    error_free(err);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dhcp_offers_the_first_address),
        cmocka_unit_test(guest_reaches_a_server_on_the_host),
        cmocka_unit_test(gateway_answers_ping),
        cmocka_unit_test(host_reaches_the_guest_through_a_forwarded_port),
        cmocka_unit_test(datagrams_reach_the_guest_through_a_forwarded_port),
        cmocka_unit_test(taken_port_is_an_error),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(restricted_guest_reaches_nobody),
        cmocka_unit_test(frames_wait_for_a_guest_without_room),
        cmocka_unit_test(full_queue_refuses_and_tells_when_there_is_room),
        cmocka_unit_test(impossible_lengths_are_dropped),
        cmocka_unit_test(garbage_frames_do_no_harm),
        cmocka_unit_test(nic_registers_its_back_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
