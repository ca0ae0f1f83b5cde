/* Screens and who looks at them. */
#include "core/error.h"
#include "core/fdset.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/faces.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/vnc.h"

#include <fcntl.h>

static struct error *screendump(struct qmp_call *c)
{
    const char *device = qmp_str(c, "device");
    int64_t head = qmp_int(c, "head", -1);
    if (head >= 0 && !device)
        return error_new("'head' must be specified together with 'device'");
    if (head > INT16_MAX)
        return error_new("Parameter 'head' expects the number of a screen");
    return faces_screendump(c->vm, device, (int)head, qmp_str(c, "format"), qmp_str(c, "filename"));
}

/* ---- passwords ------------------------------------------------------------------------------------ */
static struct error *refuse_spice(struct qmp_call *c)
{
    return strcmp(qmp_str(c, "protocol"), "spice")
               ? NULL
               : qmp_fail(c, "DeviceNotActive", "SPICE is not in use");
}

static struct error *set_password(struct qmp_call *c)
{
    struct error *err = refuse_spice(c);
    return err ? err
               : faces_set_password(c->vm, qmp_str(c, "display"), qmp_str(c, "password"),
                                    qmp_str(c, "connected"));
}

static struct error *expire_password(struct qmp_call *c)
{
    struct error *err = refuse_spice(c);
    return err ? err : faces_expire_password(c->vm, qmp_str(c, "display"), qmp_str(c, "time"));
}

static struct error *change_vnc_password(struct qmp_call *c)
{
    return faces_set_password(c->vm, NULL, qmp_str(c, "password"), NULL);
}

/* ---- VNC servers ---------------------------------------------------------------------------------- */
static json_t *end_to_json(const struct vnc_end *end)
{
    return json_pack("{sssssssb}", "host", end->host, "service", end->service, "family",
                     end->family, "websocket", 0);
}

static json_t *clients_of(const struct vnc *vnc)
{
    json_t *list = json_array();
    struct vnc_end end;
    for (size_t i = 0; vnc_viewer(vnc, i, &end); i++)
        json_array_append_new(list, end_to_json(&end));
    return list;
}

static struct error *query_vnc(struct qmp_call *c)
{
    const struct vnc *vnc = vnc_find(c->vm, NULL);
    struct vnc_end end;
    c->reply = json_pack("{sb}", "enabled", vnc != NULL);
    if (!vnc)
        return NULL;
    if (vnc_listener(vnc, 0, &end)) {
        json_object_set_new(c->reply, "host", json_string(end.host));
        json_object_set_new(c->reply, "service", json_string(end.service));
        json_object_set_new(c->reply, "family", json_string(end.family));
    }
    json_object_set_new(c->reply, "auth", json_string(vnc_auth(vnc)));
    json_object_set_new(c->reply, "clients", clients_of(vnc));
    return NULL;
}

static struct error *query_vnc_servers(struct qmp_call *c)
{
    const struct vnc *vnc;
    struct vnc_end end;
    c->reply = json_array();
    for (size_t i = 0; (vnc = vnc_at(c->vm, i)); i++) {
        json_t *server = json_array();
        for (size_t k = 0; vnc_listener(vnc, k, &end); k++) {
            json_t *one = end_to_json(&end);
            json_object_set_new(one, "auth", json_string(vnc_auth(vnc)));
            json_array_append_new(server, one);
        }
        json_array_append_new(c->reply,
                              json_pack("{sssososs}", "id", vnc_id(vnc), "server", server,
                                        "clients", clients_of(vnc), "auth", vnc_auth(vnc)));
    }
    return NULL;
}

static struct error *display_reload(struct qmp_call *c)
{
    return qmp_bool(c, "tls-certs", false) ? error_new("vnc tls is not enabled") : NULL;
}

static struct error *add_client(struct qmp_call *c)
{
    const char *protocol = qmp_str(c, "protocol"), *name = qmp_str(c, "fdname");
    if (strcmp(protocol, "vnc") != 0)
        return error_new("protocol '%.40s' is not supported; accepted: vnc", protocol);
    if (qmp_bool(c, "tls", false))
        return error_new("vnc tls is not enabled");
    int fd = fd_take_named(c->vm, name);
    if (fd < 0)
        return error_new("File descriptor named '%.80s' not found", name);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return vnc_add_client(c->vm, NULL, fd, qmp_bool(c, "skipauth", false));
}

static const struct qmp_command commands[] = {
    { "screendump", "filename:str *device:str *head:int *format:ImageFormat", "",
      "a picture of a screen as a file", screendump },
    { "set_password", "SetPasswordOptions", "", "the password of a VNC server with password=on",
      set_password },
    { "expire_password", "ExpirePasswordOptions", "", "until when it counts", expire_password },
    { "change-vnc-password", "password:str", "", "the password of the first VNC server",
      change_vnc_password },
    { "query-vnc", "", "VncInfo", "the first VNC server and its viewers", query_vnc },
    { "query-vnc-servers", "", "[VncInfo2]", "all VNC servers", query_vnc_servers },
    { "display-reload", "DisplayReloadOptions", "", "read certificates again: there are none",
      display_reload },
    { "add_client", "protocol:str fdname:str *skipauth:bool *tls:bool", "",
      "a descriptor (getfd) as one more viewer", add_client },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("ImageFormat", "ppm png"),
    QMP_ENUM_TYPE("DisplayProtocol", "vnc spice"),
    QMP_ENUM_TYPE("SetPasswordAction", "keep fail disconnect"),
    QMP_UNION_TYPE("SetPasswordOptions",
                   "protocol:DisplayProtocol password:str *connected:SetPasswordAction", "protocol",
                   "vnc:SetPasswordOptionsVnc"),
    QMP_STRUCT_TYPE("SetPasswordOptionsVnc", "*display:str"),
    QMP_UNION_TYPE("ExpirePasswordOptions", "protocol:DisplayProtocol time:str", "protocol",
                   "vnc:ExpirePasswordOptionsVnc"),
    QMP_STRUCT_TYPE("ExpirePasswordOptionsVnc", "*display:str"),
    QMP_STRUCT_TYPE("VncInfo", "enabled:bool *host:str *family:NetworkAddressFamily *service:str "
                               "*auth:str *clients:[VncClientInfo]"),
    QMP_ENUM_TYPE("VncPrimaryAuth", "none vnc"),
    QMP_STRUCT_TYPE("VncServerInfo2", "host:str service:str family:NetworkAddressFamily "
                                      "websocket:bool auth:VncPrimaryAuth"),
    QMP_STRUCT_TYPE("VncInfo2", "id:str server:[VncServerInfo2] clients:[VncClientInfo] "
                                "auth:VncPrimaryAuth *display:str"),
    QMP_ENUM_TYPE("DisplayReloadType", "vnc"),
    QMP_UNION_TYPE("DisplayReloadOptions", "type:DisplayReloadType", "type",
                   "vnc:DisplayReloadOptionsVNC"),
    QMP_STRUCT_TYPE("DisplayReloadOptionsVNC", "*tls-certs:bool"),
};

const struct qmp_table qmp_display_table = { "Screens and viewers", TABLE(commands), TABLE(types) };
