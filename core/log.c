/* The debug log. */
#include "core/log.h"

#include "core/error.h"
#include "core/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct log_item log_items[] = {
    { "in_asm", "guest code of each unit as it is translated", LOG_IN_ASM },
    { "op", "IR as the guest's translator built it", LOG_OP },
    { "op_opt", "IR after optimisation", LOG_OP_OPT },
    { "out_asm", "host code of each unit", LOG_OUT_ASM },
    { "int", "exceptions and interrupts as they are taken", LOG_INT },
    { "mmu", "address translation and changes of the memory map", LOG_MMU },
    { "exec", "each unit as it is entered", LOG_EXEC },
    { "guest_errors", "what the guest does wrong", LOG_GUEST_ERRORS },
};
const unsigned n_log_items = ARRAY_LEN(log_items);

static struct error *log_parse_one(const char *name, uint32_t *kinds)
{
    const char *names[ARRAY_LEN(log_items)];
    for (unsigned i = 0; i < n_log_items; i++) {
        if (!strcmp(name, log_items[i].name)) {
            *kinds |= log_items[i].kind;
            return NULL;
        }
        names[i] = log_items[i].name;
    }
    if (!strcmp(name, "all")) {
        *kinds = ~0u;
        return NULL;
    }
    const char *near = nearest_name(name, names, n_log_items);
    if (near)
        return error_new("there is no log item '%s'; did you mean '%s'?", name, near);
    return error_new("there is no log item '%s'; -d help lists them", name);
}

struct error *log_parse(const char *s, uint32_t *kinds)
{
    char *copy = xstrdup(s), *rest = copy, *name;
    struct error *err = NULL;
    *kinds = 0;
    while (!err && (name = strsep(&rest, ",")))
        err = log_parse_one(name, kinds);
    free(copy);
    return err;
}

bool log_in_filter(const struct log *log, uint64_t guest_addr)
{
    for (unsigned i = 0; i < log->n_filter; i++)
        if (guest_addr >= log->filter[i].from && guest_addr <= log->filter[i].to)
            return true;
    return log->n_filter == 0;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t did = write(fd, p, n);
        if (did <= 0)
            return;
        p += did;
        n -= (size_t)did;
    }
}

/* One write per call, so that lines of several threads do not mix. */
void log_print(const struct log *log, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n < sizeof(small)) {
        write_all(log->fd, small, (size_t)n);
        return;
    }
    char *big;
    va_start(ap, fmt);
    n = vasprintf(&big, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    write_all(log->fd, big, (size_t)n);
    free(big);
}
