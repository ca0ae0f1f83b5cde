/* The debug log: -d in_asm,op,... with -D FILE. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

enum log_kind {
    LOG_IN_ASM = 1 << 0,
    LOG_OP = 1 << 1,
    LOG_OP_OPT = 1 << 2,
    LOG_OUT_ASM = 1 << 3,
    LOG_INT = 1 << 4,
    LOG_MMU = 1 << 5,
    LOG_EXEC = 1 << 6,
    LOG_GUEST_ERRORS = 1 << 7,
};

/* One per VM: which kinds, where to. */
struct log {
    uint32_t kinds;
    int fd;                    /* 2 unless -D */
    struct {
        uint64_t from, to;     /* -dfilter: guest addresses, inclusive */
    } *filter;
    unsigned n_filter;
};

struct log_item {
    const char *name, *help;
    uint32_t kind;
};
extern const struct log_item log_items[];
extern const unsigned n_log_items;

/* "in_asm,int" -> kinds; unknown names are an error with the nearest. */
struct error *log_parse(const char *s, uint32_t *kinds);
static inline bool log_on(const struct log *log, uint32_t kind)
{
    return __builtin_expect(log->kinds & kind, 0);
}
bool log_in_filter(const struct log *log, uint64_t guest_addr);
void log_print(const struct log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
