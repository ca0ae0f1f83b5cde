/* UDP as a back end: what is written goes in datagrams to one address, what comes from there is input. */
#include "core/chardev_host.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* "HOST:PORT" cut in two; a host may stand in brackets. */
static void split(char *text, const char **host, const char **port)
{
    char *colon = strrchr(text, ':');
    *host = text;
    *port = colon ? colon + 1 : NULL;
    if (!colon)
        return;
    *colon = 0;
    if (*text == '[' && colon > text + 1 && colon[-1] == ']') {
        colon[-1] = 0;
        *host = text + 1;
    }
}

static struct error *resolve(struct chardev_host *h, const char *host, const char *port, int family,
                             bool ours, struct addrinfo **out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
                              .ai_family = family,
                              .ai_flags = ours ? AI_PASSIVE : 0 };
    if (loop_is_running(h->vm->loop)) /* a name server would be waited for */
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    int code = getaddrinfo(host && *host ? host : NULL, port && *port ? port : "0", &hints, out);
    return code ? error_new("cannot find udp:%s:%s: %s", host ? host : "", port, gai_strerror(code))
                : NULL;
}

static struct error *connect_udp(struct chardev_host *h, const char *const at[4])
{
    struct addrinfo *to = NULL, *from = NULL;
    if (!at[1] || !*at[1])
        return error_new("UDP needs a port to send to: udp:[HOST]:PORT[@[HOST]:PORT]");
    struct error *err = resolve(h, at[0], at[1], AF_UNSPEC, false, &to);
    if (!err && (at[2] || at[3]))
        err = resolve(h, at[2], at[3] ? at[3] : "0", to->ai_family, true, &from);
    if (err) {
        if (to)
            freeaddrinfo(to);
        return err;
    }
    int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    h->where = xasprintf("udp:%s:%s", at[0] ? at[0] : "", at[1]);
    if (fd < 0 || (from && bind(fd, from->ai_addr, from->ai_addrlen)) ||
        connect(fd, to->ai_addr, to->ai_addrlen)) {
        err = error_errno("cannot use %s", h->where);
        if (fd >= 0)
            close(fd);
    } else {
        h->datagrams = true;
        chardev_host_connect(h, fd, fd);
    }
    freeaddrinfo(to);
    if (from)
        freeaddrinfo(from);
    return err;
}

struct error *chardev_open_udp(struct chardev_host *h, const char *path, struct options *o)
{
    const char *at[] = { options_get(o, "host"), options_get(o, "port"),
                         options_get(o, "localaddr"), options_get(o, "localport") };
    char *text = xstrdup(path ? path : ""), *ours = strchr(text, '@');
    if (ours)
        *ours++ = 0;
    if (path)
        split(text, &at[0], &at[1]);
    if (ours)
        split(ours, &at[2], &at[3]);
    struct error *err = connect_udp(h, at);
    free(text);
    return err;
}
