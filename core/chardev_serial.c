/* The host's serial ports and named pipes. */
#include "core/chardev_host.h"
#include "core/error.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct error *chardev_open_serial(struct chardev_host *h, const char *path, struct options *o)
{
    struct termios mode;
    if (!path || !*path)
        return error_new("a serial port needs a path: serial,path=/dev/ttyS0");
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_errno("cannot open '%s'", path);
    if (tcgetattr(fd, &mode)) {
        close(fd);
        return error_new("'%s' is no serial port or terminal", path);
    }
    cfmakeraw(&mode);
    mode.c_cflag |= CLOCAL | CREAD;
    tcsetattr(fd, TCSANOW, &mode);
    h->where = xstrdup(path);
    chardev_host_connect(h, fd, fd);
    return NULL;
}

/* Opened for both directions, so that it neither waits for nor ends with who is on the other side. */
static int open_fifo(const char *path, const char *ending, struct error **err)
{
    struct stat st;
    char *name = xasprintf("%s%s", path, ending);
    int fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    *err = fd < 0 ? error_errno("cannot open the pipe '%s'", name) : NULL;
    if (fd >= 0 && (fstat(fd, &st) || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))) {
        *err = error_new("'%s' is no pipe; mkfifo makes one", name);
        close(fd);
        fd = -1;
    }
    free(name);
    return fd;
}

/* PATH.in is read and PATH.out written; where they are not, PATH is both. */
struct error *chardev_open_pipe(struct chardev_host *h, const char *path, struct options *o)
{
    struct error *err;
    if (!path || !*path)
        return error_new("a pipe needs a path: pipe:PATH");
    int in = open_fifo(path, ".in", &err), out;
    if (in >= 0) {
        out = open_fifo(path, ".out", &err);
        if (out < 0)
            close(in);
    } else {
        error_free(err);
        in = out = open_fifo(path, "", &err);
    }
    if (!err)
        chardev_host_connect(h, in, out);
    return err;
}
