#include "ui/expr.h"

#include "core/debug.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_DEPTH = 32 };

struct parser {
    const char *at;
    struct vcpu *cpu;
    struct error *err; /* the first one */
    unsigned depth;
};

static void fail(struct parser *p, struct error *err)
{
    if (p->err)
        error_free(err);
    else
        p->err = err;
}

static bool take(struct parser *p, const char *op)
{
    p->at += strspn(p->at, " \t");
    if (strncmp(p->at, op, strlen(op)))
        return false;
    p->at += strlen(op);
    return true;
}

static uint64_t parse_binary(struct parser *p, unsigned level);

/* As debuggers name it; numbers of up to 64 bits. */
static bool read_register(struct vcpu *cpu, const char *name, uint64_t *value)
{
    const struct target_debug *debug = cpu->vm->target->debug;
    uint8_t bytes[DEBUG_REG_BYTES];
    struct debug_regs regs = debug ? debug->regs(cpu) : (struct debug_regs){ 0 };
    for (unsigned i = 0; i < regs.n; i++) {
        bool is_sp = i == regs.sp && !strcmp(name, "sp");
        if (regs.at[i].bits > 64 || (!is_sp && strcmp(regs.at[i].name, name)))
            continue;
        memset(bytes, 0, sizeof(bytes));
        if (!debug->read(cpu, &regs.at[i], bytes))
            return false;
        *value = load_le(bytes, 8);
        return true;
    }
    return false;
}

static uint64_t parse_register(struct parser *p)
{
    char name[32];
    uint64_t value = 0;
    size_t n = 0;
    while (isalnum((uint8_t)p->at[n]) || p->at[n] == '_')
        n++;
    snprintf(name, sizeof(name), "%.*s", (int)n, p->at);
    p->at += n;
    if (!p->cpu)
        fail(p, error_new("there is no CPU whose register '$%s' could be", name));
    else if (!strcmp(name, "pc"))
        value = p->cpu->vm->target->pc(p->cpu);
    else if (!read_register(p->cpu, name, &value))
        fail(p, error_new("there is no register '$%s'", name));
    return value;
}

static uint64_t parse_number(struct parser *p)
{
    char *end;
    if (p->at[0] == '\'' && p->at[1] && p->at[2] == '\'') {
        p->at += 3;
        return (uint8_t)p->at[-2];
    }
    if (!isdigit((uint8_t)*p->at)) {
        fail(p, *p->at ? error_new("'%s' is not a number", p->at)
                       : error_new("a number is missing at the end"));
        return 0;
    }
    bool hex = p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X');
    errno = 0;
    uint64_t value = strtoull(p->at, &end, hex ? 16 : 10);
    if (errno == ERANGE)
        fail(p, error_new("'%s' has more than 64 bits", p->at));
    else if (isalnum((uint8_t)*end))
        fail(p, error_new("'%s' is not a number; hexadecimal ones begin with 0x", p->at));
    p->at = end;
    return value;
}

static uint64_t parse_unary(struct parser *p)
{
    uint64_t value;
    if (p->err || ++p->depth > MOST_DEPTH) {
        fail(p, error_new("the expression is nested too deep"));
        return 0;
    }
    if (take(p, "-")) {
        value = -parse_unary(p);
    } else if (take(p, "~")) {
        value = ~parse_unary(p);
    } else if (take(p, "(")) {
        value = parse_binary(p, 0);
        if (!take(p, ")"))
            fail(p, error_new("')' is missing"));
    } else if (take(p, "$")) {
        value = parse_register(p);
    } else {
        value = parse_number(p);
    }
    p->depth--;
    return value;
}

/* Loosest first. */
static const char *const levels[][4] = { { "|" },        { "^" },      { "&" },
                                         { "<<", ">>" }, { "+", "-" }, { "*", "/", "%" } };

static uint64_t apply(struct parser *p, const char *op, uint64_t a, uint64_t b)
{
    switch (*op) {
    case '|': return a | b;
    case '^': return a ^ b;
    case '&': return a & b;
    case '<': return b < 64 ? a << b : 0;
    case '>': return b < 64 ? a >> b : 0;
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    }
    if (!b) {
        fail(p, error_new("division by zero"));
        return 0;
    }
    return *op == '/' ? a / b : a % b;
}

static uint64_t parse_binary(struct parser *p, unsigned level)
{
    if (level == ARRAY_LEN(levels))
        return parse_unary(p);
    uint64_t value = parse_binary(p, level + 1);
    while (!p->err) {
        const char *op = NULL;
        for (unsigned i = 0; i < 4 && levels[level][i] && !op; i++)
            if (take(p, levels[level][i]))
                op = levels[level][i];
        if (!op)
            break;
        value = apply(p, op, value, parse_binary(p, level + 1));
    }
    return value;
}

struct error *expr_value(const char *text, struct vcpu *cpu, uint64_t *value)
{
    struct parser p = { .at = text, .cpu = cpu };
    *value = parse_binary(&p, 0);
    p.at += strspn(p.at, " \t");
    if (!p.err && *p.at)
        p.err = error_new("'%s' behind the number is not understood", p.at);
    return p.err;
}
