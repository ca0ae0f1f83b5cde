/* Registers and memory, and the description of the registers. */
#include "ui/gdb_session.h"

#include "core/debug.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- registers -------------------------------------------------------------------------------------- */

static struct debug_regs regs_of(const struct gdb *g)
{
    return g->target->regs(gdb_cpu(g));
}

static void put_value(struct gdb *g, const struct debug_reg *r)
{
    uint8_t bytes[DEBUG_REG_BYTES];
    if (g->target->read(gdb_cpu(g), r, bytes)) {
        text_hex(&g->a, bytes, r->bits / 8);
        return;
    }
    for (unsigned i = 0; i < r->bits / 8; i++)
        text_put(&g->a, "xx", 2);
}

uint64_t gdb_reg_value(struct gdb *g, unsigned cpu, unsigned reg)
{
    const struct debug_reg *r = &g->target->regs(g->vm->vcpus[cpu]).at[reg];
    uint8_t bytes[DEBUG_REG_BYTES] = { 0 };
    g->target->read(g->vm->vcpus[cpu], r, bytes);
    return load_le(bytes, MIN(r->bits / 8u, 8u));
}

void gdb_read_regs(struct gdb *g)
{
    struct debug_regs regs = regs_of(g);
    for (unsigned i = 0; i < regs.n_common; i++)
        put_value(g, &regs.at[i]);
}

static bool take_value(struct gdb *g, const struct debug_reg *r, const char *text)
{
    uint8_t bytes[DEBUG_REG_BYTES];
    return hex_bytes(text, bytes, r->bits / 8) && g->target->write(gdb_cpu(g), r, bytes);
}

void gdb_write_regs(struct gdb *g, const char *args)
{
    struct debug_regs regs = regs_of(g);
    for (unsigned i = 0; i < regs.n_common && *args; i++) {
        if (!take_value(g, &regs.at[i], args)) {
            gdb_error(g, GDB_BAD_REQUEST);
            return;
        }
        args += regs.at[i].bits / 4;
    }
    text_print(&g->a, "OK");
}

static const struct debug_reg *named(const struct gdb *g, const char **at)
{
    uint64_t number;
    struct debug_regs regs = regs_of(g);
    return hex_number(at, &number) && number < regs.n ? &regs.at[number] : NULL;
}

void gdb_read_reg(struct gdb *g, const char *args)
{
    const struct debug_reg *r = named(g, &args);
    if (r && !*args)
        put_value(g, r);
    else
        gdb_error(g, GDB_BAD_REQUEST);
}

void gdb_write_reg(struct gdb *g, const char *args)
{
    const struct debug_reg *r = named(g, &args);
    if (r && *args == '=' && take_value(g, r, args + 1))
        text_print(&g->a, "OK");
    else
        gdb_error(g, GDB_BAD_REQUEST);
}

/* ---- memory ----------------------------------------------------------------------------------------- */

static bool find(struct gdb *g, uint64_t at, uint64_t *physical)
{
    *physical = at;
    return g->physical || g->vm->target->translate(gdb_cpu(g), at, physical);
}

/* A device's register is accessed as a guest would, in one piece. */
static bool is_one_access(uint64_t at, size_t n)
{
    return (n == 1 || n == 2 || n == 4 || n == 8) && !(at & (n - 1));
}

static bool read_piece(struct gdb *g, uint64_t at, uint8_t *to, size_t n)
{
    uint64_t v;
    if (mem_read(g->vm, at, to, n))
        return true;
    if (!is_one_access(at, n) || !mem_io_read(g->vm, at, (unsigned)n, &v))
        return false;
    store_le(to, (unsigned)n, v);
    return true;
}

static bool write_piece(struct gdb *g, uint64_t at, const uint8_t *from, size_t n)
{
    const struct mem_range *r = mem_view_find(mem_view_now(g->vm), at);
    if (r && r->ram)
        return mem_load(g->vm, at, from, n); /* ROM, too */
    return is_one_access(at, n) && mem_io_write(g->vm, at, (unsigned)n, load_le(from, (unsigned)n));
}

/* Bytes from `at` that are there, at most n. */
static size_t read_memory(struct gdb *g, uint64_t at, uint8_t *to, size_t n)
{
    size_t done = 0;
    while (done < n) {
        uint64_t physical;
        size_t piece = MIN(n - done, 4096 - (size_t)((at + done) & 4095));
        if (!find(g, at + done, &physical) || !read_piece(g, physical, to + done, piece))
            break;
        done += piece;
    }
    return done;
}

static bool write_memory(struct gdb *g, uint64_t at, const uint8_t *from, size_t n)
{
    for (size_t done = 0, piece; done < n; done += piece) {
        uint64_t physical;
        piece = MIN(n - done, 4096 - (size_t)((at + done) & 4095));
        if (!find(g, at + done, &physical) || !write_piece(g, physical, from + done, piece))
            return false;
    }
    return true;
}

/* "ADDRESS,LENGTH" */
static bool parse_place(const char **args, uint64_t *at, uint64_t *n)
{
    return hex_number(args, at) && *(*args)++ == ',' && hex_number(args, n);
}

void gdb_read_memory(struct gdb *g, const char *args, bool binary)
{
    enum { MOST = GDB_PACKET / 2 - 8 };
    uint8_t bytes[MOST];
    uint64_t at, n;
    if (!parse_place(&args, &at, &n) || *args) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    size_t got = read_memory(g, at, bytes, MIN(n, (uint64_t)MOST));
    if (!got && n) {
        gdb_error(g, GDB_BAD_ADDRESS);
    } else if (binary) {
        text_put(&g->a, "b", 1);
        text_put(&g->a, bytes, got);
    } else {
        text_hex(&g->a, bytes, got);
    }
}

void gdb_write_memory(struct gdb *g, const char *args, size_t n_args, bool binary)
{
    uint8_t bytes[GDB_PACKET];
    const char *begin = args;
    uint64_t at, n;
    bool good = parse_place(&args, &at, &n) && *args++ == ':';
    size_t left = good ? n_args - (size_t)(args - begin) : 0;
    if (!good || n > sizeof(bytes) || left != (binary ? n : 2 * n) ||
        (!binary && !hex_bytes(args, bytes, n))) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    if (write_memory(g, at, binary ? (const uint8_t *)args : bytes, n))
        text_print(&g->a, "OK");
    else
        gdb_error(g, GDB_BAD_ADDRESS);
}

/* ---- the description -------------------------------------------------------------------------------- */

static void describe_reg(FILE *f, const struct debug_reg *r)
{
    fprintf(f, "<reg name=\"%s\" bitsize=\"%u\"", r->name, r->bits);
    fprintf(f, " type=\"%s\"", r->type ? r->type : r->bits == 64 ? "uint64" : "uint32");
    if (r->group)
        fprintf(f, " group=\"%s\"", r->group);
    fprintf(f, "/>\n");
}

char *gdb_describe(struct gdb *g)
{
    char *text = NULL;
    size_t size;
    struct debug_regs regs = regs_of(g);
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    fprintf(f, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target "
               "version=\"1.0\">\n");
    fprintf(f, "<architecture>%s</architecture>\n", g->target->architecture(gdb_cpu(g)));
    for (unsigned i = 0; i < regs.n; i++) {
        bool first = !i || strcmp(regs.at[i].feature, regs.at[i - 1].feature);
        bool last = i + 1 == regs.n || strcmp(regs.at[i].feature, regs.at[i + 1].feature);
        if (first)
            fprintf(f, "<feature name=\"%s\">%s\n", regs.at[i].feature,
                    g->target->types(regs.at[i].feature));
        describe_reg(f, &regs.at[i]);
        if (last)
            fprintf(f, "</feature>\n");
    }
    fprintf(f, "</target>\n");
    fclose(f);
    return text;
}
