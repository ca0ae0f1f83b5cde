/* For builds without libvncserver: there is never a server. */
#include "ui/vnc.h"

#include "core/error.h"

#include <unistd.h>

static struct error *not_built(void)
{
    return error_new("this build has no VNC server (libvncserver)");
}

struct error *vnc_add(struct vm *vm, const char *text)
{
    return not_built();
}

void vnc_free_all(struct vm *vm)
{
}

struct error *vnc_add_client(struct vm *vm, const char *id, int fd, bool skip_auth)
{
    close(fd);
    return not_built();
}

struct vnc *vnc_find(struct vm *vm, const char *id)
{
    return NULL;
}

struct error *vnc_set_password(struct vnc *vnc, const char *password,
                               enum vnc_on_connected connected)
{
    return not_built();
}

struct error *vnc_expire_password(struct vnc *vnc, int64_t when)
{
    return not_built();
}

struct error *vnc_parse_expiry(const char *text, int64_t *when)
{
    return not_built();
}

const char *vnc_id(const struct vnc *vnc)
{
    return "";
}

const char *vnc_auth(const struct vnc *vnc)
{
    return "none";
}

struct vnc *vnc_at(struct vm *vm, size_t n)
{
    return NULL;
}

bool vnc_listener(const struct vnc *vnc, size_t n, struct vnc_end *out)
{
    return false;
}

bool vnc_viewer(const struct vnc *vnc, size_t n, struct vnc_end *out)
{
    return false;
}

const char *vnc_where(const struct vnc *vnc)
{
    return "none";
}
