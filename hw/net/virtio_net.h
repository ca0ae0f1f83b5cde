/* What management asks of network cards. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct device;

enum { NET_FILTER_MACS = 64, NET_FILTER_VLANS = 4096 };
/* What a card lets in, by its driver's wish. */
struct net_filter {
    bool promiscuous, broadcast_allowed;
    enum { NET_NONE, NET_NORMAL, NET_ALL } unicast, multicast, vlan;
    bool unicast_overflow, multicast_overflow;
    uint8_t mac[6], unicasts[NET_FILTER_MACS][6], multicasts[NET_FILTER_MACS][6];
    unsigned n_unicasts, n_multicasts;
    uint8_t vlans[NET_FILTER_VLANS / 8]; /* a bit each */
};
bool virtio_net_is(const struct device *dev);
struct netdev *virtio_net_backend(const struct device *dev);
/* Also arms NIC_RX_FILTER_CHANGED for the next change. */
void virtio_net_query_filter(struct device *dev, struct net_filter *out);
/* Plug the cable in or pull it out: frames pass, or are lost. */
void virtio_net_set_link(struct device *dev, bool up);
bool virtio_net_link(struct device *dev);
