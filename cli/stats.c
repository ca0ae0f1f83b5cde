#include "cli/stats.h"

#include "block/block.h"
#include "core/accel.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/clock.h"
#include "core/util.h"
#include "core/vm.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct sink {
    void (*add)(void *opaque, const char *name, double value);
    void *opaque;
};

static void put(const struct sink *s, const char *group, const char *name, double value)
{
    char *full = xasprintf("%s%s%s", group, *group ? "." : "", name);
    s->add(s->opaque, full, value);
    free(full);
}

static void put_engine(void *opaque, const char *name, double value)
{
    const struct sink *s = opaque;
    s->add(s->opaque, name, value); /* its names start with its own */
}

static void put_region(void *opaque, struct mem_region *r)
{
    const struct sink *s = opaque;
    const struct mem_counts *counts = mem_region_counts(r);
    uint64_t reads = atomic_load(&counts->reads), writes = atomic_load(&counts->writes);
    if (!reads && !writes)
        return;
    char *group = xasprintf("mmio.%s", mem_region_name(r));
    put(s, group, "reads", (double)reads);
    put(s, group, "writes", (double)writes);
    if (atomic_load(&counts->ns))
        put(s, group, "seconds", (double)atomic_load(&counts->ns) / 1e9);
    free(group);
}

static void put_drive(const struct sink *s, const char *id, const struct blk *b)
{
    static const char *const names[] = { "reads", "writes", "flushes", "discards", "write_zeroes" };
    struct blk_counts counts;
    blk_counts(b, &counts);
    char *group = xasprintf("drive.%s", id);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        put(s, group, names[i], (double)counts.ops[i]);
    put(s, group, "read_bytes", (double)counts.bytes[BLK_READ]);
    put(s, group, "written_bytes", (double)counts.bytes[BLK_WRITE]);
    put(s, group, "errors", (double)counts.errors);
    free(group);
}

static void put_netdev(const struct sink *s, const char *id, struct netdev *n)
{
    struct netdev_counts counts;
    netdev_counts(n, &counts);
    char *group = xasprintf("net.%s", id);
    put(s, group, "sent_frames", (double)counts.sent);
    put(s, group, "sent_bytes", (double)counts.sent_bytes);
    put(s, group, "received_frames", (double)counts.received);
    put(s, group, "received_bytes", (double)counts.received_bytes);
    put(s, group, "dropped", (double)counts.dropped);
    free(group);
}

static void put_chardev(const struct sink *s, const char *id, struct chardev *c)
{
    struct chardev_counts counts;
    chardev_counts(c, &counts);
    char *group = xasprintf("char.%s", id);
    put(s, group, "in_bytes", (double)counts.in);
    put(s, group, "out_bytes", (double)counts.out);
    put(s, group, "dropped_bytes", (double)counts.dropped);
    free(group);
}

static void put_backend(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_DRIVE)
        put_drive(opaque, id, backend);
    if (kind == BACKEND_NETDEV)
        put_netdev(opaque, id, backend);
    if (kind == BACKEND_CHARDEV)
        put_chardev(opaque, id, backend);
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* What is in memory now, of our own and of guest RAM, which is shared memory: in proc(5). */
static void put_memory(const struct sink *s, int fd)
{
    static const char *const lines[][2] = { { "\nRssAnon:", "own_bytes" },
                                            { "\nRssShmem:", "shared_bytes" } };
    char text[4096] = "";
    const char *at;
    if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) < 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if ((at = strstr(text, lines[i][0])))
            put(s, "process", lines[i][1], strtod(at + strlen(lines[i][0]), NULL) * 1024);
}

static void put_process(const struct sink *s, const struct stats_of *of)
{
    struct vm *vm = of->vm;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    put(s, "time", "guest_s", (double)vm_now_ns(vm) / 1e9);
    put(s, "time", "user_s", seconds(&use.ru_utime));
    put(s, "time", "system_s", seconds(&use.ru_stime));
    put(s, "process", "peak_rss_bytes", (double)use.ru_maxrss * 1024);
    put(s, "process", "context_switches", (double)(use.ru_nvcsw + use.ru_nivcsw));
    put_memory(s, of->process_fd);
    put(s, "guest", "errors", (double)atomic_load(&vm->n_guest_errors));
}

static void put_vcpus(const struct sink *s, struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        const struct vcpu_counts *counts = &vm->vcpus[i]->counts;
        char *group = xasprintf("vcpu%u", i);
        put(s, group, "runs", (double)counts->runs);
        put(s, group, "halts", (double)counts->halts);
        put(s, group, "halted_s", (double)counts->halted_ns / 1e9);
        put(s, group, "interrupts", (double)counts->interrupts);
        if (counts->exceptions)
            put(s, group, "exceptions", (double)counts->exceptions);
        free(group);
    }
}

void stats_each(const struct stats_of *of,
                void (*add)(void *opaque, const char *name, double value), void *opaque)
{
    struct sink s = { add, opaque };
    struct vm *vm = of->vm;
    vm->accel->stats(vm, put_engine, &s);
    put_vcpus(&s, vm);
    mem_each_region(vm, put_region, &s);
    backends_each(vm, put_backend, &s);
    put_process(&s, of);
}

struct printer {
    void (*print)(void *opaque, const char *line);
    void *opaque;
};

static void format(char *to, size_t room, double value)
{
    snprintf(to, room, value == floor(value) && fabs(value) < 1e15 ? "%.0f" : "%.6f", value);
}

static void print_one(void *opaque, const char *name, double value)
{
    struct printer *p = opaque;
    char number[64], line[256];
    format(number, sizeof(number), value);
    snprintf(line, sizeof(line), "%-40s %s", name, number);
    p->print(p->opaque, line);
}

void stats_print(const struct stats_of *of, void (*print)(void *opaque, const char *line),
                 void *opaque)
{
    stats_each(of, print_one, &(struct printer){ print, opaque });
}

static void write_line(void *opaque, const char *line)
{
    dprintf(*(int *)opaque, "%s\n", line);
}

struct json_writer {
    int fd;
    bool first;
};

/* Names are ours and ids the user's: quotes, backslashes and control characters are escaped. */
static void write_json(void *opaque, const char *name, double value)
{
    struct json_writer *w = opaque;
    char number[64], text[512];
    size_t n = 0;
    for (; *name && n + 7 < sizeof(text); name++) {
        bool plain = (unsigned char)*name >= ' ' && *name != '"' && *name != '\\';
        n += (size_t)snprintf(text + n, sizeof(text) - n, plain ? "%c" : "\\u%04x",
                              (unsigned char)*name);
    }
    text[n] = 0;
    format(number, sizeof(number), isfinite(value) ? value : 0);
    dprintf(w->fd, "%s\n  \"%s\": %s", w->first ? "{" : ",", text, number);
    w->first = false;
}

void stats_write(const struct stats_of *of, int fd, bool json)
{
    if (!json) {
        stats_print(of, write_line, &fd);
        return;
    }
    struct json_writer w = { fd, true };
    stats_each(of, write_json, &w);
    dprintf(fd, "\n}\n");
}
