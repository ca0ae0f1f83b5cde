/* Network back ends and cards. */
#include "core/backends.h"
#include "core/device.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/net/virtio_net.h"
#include "net/net.h"
#include "ui/cards.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

#include <stdio.h>
#include <stdlib.h>

static struct error *add(struct qmp_call *c)
{
    char *text = qmp_args_text(c);
    struct error *err = netdev_add(c->vm, text);
    free(text);
    return err;
}

static struct error *del(struct qmp_call *c)
{
    const char *id = qmp_str(c, "id");
    if (!backend_find(c->vm, BACKEND_NETDEV, id))
        return qmp_fail(c, "DeviceNotFound", "Device '%.80s' not found", id);
    return netdev_remove(c->vm, id);
}

static struct error *set_link(struct qmp_call *c)
{
    struct device *dev = card_find(c->vm, qmp_str(c, "name"));
    if (!dev)
        return qmp_fail(c, "DeviceNotFound", "Device '%.80s' not found", qmp_str(c, "name"));
    virtio_net_set_link(dev, qmp_bool(c, "up", true));
    return NULL;
}

/* ---- filters ------------------------------------------------------------------------------------------- */
static json_t *mac_text(const uint8_t mac[6])
{
    char text[18];
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return json_string(text);
}

static json_t *mac_list(const uint8_t (*macs)[6], unsigned n)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, mac_text(macs[i]));
    return list;
}

static json_t *vlan_list(const struct net_filter *f)
{
    json_t *list = json_array();
    for (int i = 0; i < NET_FILTER_VLANS; i++)
        if (f->vlans[i / 8] >> i % 8 & 1)
            json_array_append_new(list, json_integer(i));
    return list;
}

static json_t *filter_info(struct device *dev)
{
    static const char *const modes[] = { "none", "normal", "all" };
    struct net_filter f;
    virtio_net_query_filter(dev, &f);
    return json_pack("{sssbsssssssbsbsbsosososo}", "name", dev->id ? dev->id : "", "promiscuous",
                     f.promiscuous, "multicast", modes[f.multicast], "unicast", modes[f.unicast],
                     "vlan", modes[f.vlan], "broadcast-allowed", f.broadcast_allowed,
                     "multicast-overflow", f.multicast_overflow, "unicast-overflow",
                     f.unicast_overflow, "main-mac", mac_text(f.mac), "vlan-table", vlan_list(&f),
                     "unicast-table", mac_list(f.unicasts, f.n_unicasts), "multicast-table",
                     mac_list(f.multicasts, f.n_multicasts));
}

static struct error *query_filter(struct qmp_call *c)
{
    const char *name = qmp_str(c, "name");
    c->reply = json_array();
    for (struct device *dev = c->vm->devices; dev; dev = dev->next)
        if (dev->realized && virtio_net_is(dev) && (!name || card_find(c->vm, name) == dev))
            json_array_append_new(c->reply, filter_info(dev));
    if (name && !json_array_size(c->reply))
        return error_new("invalid net client name: %.80s", name);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "netdev_add", "NetdevOptions", "", "make a network back end, as -netdev does", add },
    { "netdev_del", "id:str", "", "close one that no device uses", del },
    { "set_link", "name:str up:bool", "", "plug a card's cable in or pull it out", set_link },
    { "query-rx-filter", "*name:str", "[RxFilterInfo]", "what network cards let in", query_filter },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("NetClientDriver", "user"),
    QMP_STRUCT_TYPE("String", "str:str"),
    QMP_UNION_TYPE("NetdevOptions", "id:str type:NetClientDriver", "type",
                   "user:NetdevUserOptions"),
    QMP_STRUCT_TYPE("NetdevUserOptions",
                    "*hostname:str *restrict:bool *ipv4:bool *ipv6:bool *net:str *host:str "
                    "*dhcpstart:str *dns:str *domainname:str *hostfwd:[String]"),
    QMP_ENUM_TYPE("RxState", "normal none all"),
    QMP_STRUCT_TYPE("RxFilterInfo",
                    "name:str promiscuous:bool multicast:RxState unicast:RxState vlan:RxState "
                    "broadcast-allowed:bool multicast-overflow:bool unicast-overflow:bool "
                    "main-mac:str vlan-table:[int] unicast-table:[str] multicast-table:[str]"),
};

const struct qmp_table qmp_net_table = { "Network", TABLE(commands), TABLE(types) };
