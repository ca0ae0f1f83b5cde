/* Guest memory for a person: dumps, disassembly, page tables. */
#include "core/disas.h"
#include "core/error.h"
#include "core/paging.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_ITEMS = 65536, MOST_INSN = 16, MOST_RANGES = 4096 };

/* ---- formats: /10xw, /5i ------------------------------------------------------------------------- */
struct format {
    uint64_t count;
    char as;       /* x d u o c i */
    unsigned size; /* bytes: 1, 2, 4, 8 */
};

static bool take_format(struct hmp_call *c, struct format *f)
{
    *f = (struct format){ 1, 'x', 4 };
    if (*c->args != '/')
        return true;
    const char *at = c->args + 1;
    char *end;
    if (isdigit((uint8_t)*at)) {
        f->count = strtoull(at, &end, 10);
        at = end;
    }
    for (; *at && !isblank((uint8_t)*at); at++) {
        static const char sizes[] = "bhwg";
        const char *size = strchr(sizes, *at);
        if (size)
            f->size = 1u << (size - sizes);
        else if (strchr("xduoci", *at))
            f->as = *at;
        else {
            hmp_say(c, "'%c' is no format; x d u o c i and sizes b h w g are", *at);
            return false;
        }
    }
    if (f->as == 'c')
        f->size = 1;
    c->args = at;
    if (f->count > MOST_ITEMS)
        hmp_say(c, "at most %d at a time", MOST_ITEMS);
    return f->count <= MOST_ITEMS;
}

static void format_value(const struct format *f, uint64_t v, char *buf, size_t n)
{
    int64_t s = sext(v, 8 * f->size);
    switch (f->as) {
    case 'd': snprintf(buf, n, "%" PRId64, s); break;
    case 'u': snprintf(buf, n, "%" PRIu64, v); break;
    case 'o': snprintf(buf, n, "0%" PRIo64, v); break;
    case 'c':
        if (isprint((int)(v & 0xff)) && v < 0x80)
            snprintf(buf, n, "'%c'", (char)v);
        else
            snprintf(buf, n, "'\\x%02x'", (unsigned)(v & 0xff));
        break;
    default: snprintf(buf, n, "0x%0*" PRIx64, (int)(2 * f->size), v); break;
    }
}

/* ---- reading ----------------------------------------------------------------------------------------- */
/* By the CPU's page tables if cpu is not NULL. */
static bool peek(struct vm *vm, struct vcpu *cpu, uint64_t at, void *buf, size_t n)
{
    uint8_t *to = buf;
    while (n) {
        size_t piece = MIN(n, 4096 - at % 4096);
        uint64_t pa = at;
        if (cpu && vm->target->translate && !vm->target->translate(cpu, at, &pa))
            return false;
        if (!mem_read(vm, pa, to, piece))
            return false;
        to += piece;
        at += piece;
        n -= piece;
    }
    return true;
}

static const char *isa_of(struct vm *vm, struct vcpu *cpu)
{
    return cpu && vm->target->isa ? vm->target->isa(cpu) : vm->target->name;
}

static void disassemble(struct hmp_call *c, struct vcpu *view, struct vcpu *cpu, uint64_t at,
                        uint64_t count)
{
    struct disas *d = disas_new(isa_of(c->vm, cpu));
    for (uint64_t i = 0; i < count; i++) {
        uint8_t code[MOST_INSN];
        char line[200];
        size_t n = sizeof(code);
        while (n && !peek(c->vm, view, at, code, n)) /* up to the end of what is mapped */
            n--;
        if (!n) {
            hmp_say(c, "0x%016" PRIx64 ": no memory there", at);
            break;
        }
        size_t used = disas_insn(d, code, n, at, line, sizeof(line));
        hmp_say(c, "0x%016" PRIx64 ":  %s", at, line);
        at += used;
    }
    disas_free(d);
}

static void dump(struct hmp_call *c, struct vcpu *view, uint64_t at, const struct format *f)
{
    unsigned a_line = f->as == 'c' ? 8 : 16 / f->size;
    char line[400];
    for (uint64_t i = 0; i < f->count; i += a_line) {
        int n = snprintf(line, sizeof(line), "%016" PRIx64 ":", at);
        for (uint64_t k = i; k < MIN(i + a_line, f->count); k++, at += f->size) {
            uint8_t bytes[8];
            char text[40];
            if (!peek(c->vm, view, at, bytes, f->size)) {
                hmp_say(c, "%s", line);
                hmp_say(c, "Cannot access memory at address 0x%" PRIx64, at);
                return;
            }
            format_value(f, load_le(bytes, f->size), text, sizeof(text));
            n += snprintf(line + n, sizeof(line) - (size_t)n, " %s", text);
        }
        hmp_say(c, "%s", line);
    }
}

static void examine(struct hmp_call *c, bool physical)
{
    struct format f;
    uint64_t at;
    struct vcpu *cpu = NULL;
    if (!take_format(c, &f) || !hmp_number(c, "the address", &at))
        return;
    bool ran = hmp_hold(c);
    if (*c->cpu < c->vm->n_vcpus)
        cpu = c->vm->vcpus[*c->cpu];
    if (physical || cpu) {
        if (f.as == 'i')
            disassemble(c, physical ? NULL : cpu, cpu, at, f.count);
        else
            dump(c, physical ? NULL : cpu, at, &f);
    } else {
        hmp_say(c, "this machine has no CPU; xp shows physical memory");
    }
    hmp_let_go(c, ran);
}

static void do_x(struct hmp_call *c)
{
    examine(c, false);
}

static void do_xp(struct hmp_call *c)
{
    examine(c, true);
}

/* ---- sums, ports --------------------------------------------------------------------------------------- */
static void do_sum(struct hmp_call *c)
{
    uint64_t at, size;
    uint16_t sum = 0; /* the BSD checksum */
    if (!hmp_number(c, "the address", &at) || !hmp_number(c, "the size", &size))
        return;
    if (size > GIB) {
        hmp_say(c, "at most 1 GiB at a time");
        return;
    }
    for (uint64_t i = 0; i < size;) {
        uint8_t bytes[4096];
        size_t n = MIN(size - i, sizeof(bytes));
        if (!mem_read(c->vm, at + i, bytes, n)) {
            hmp_say(c, "Cannot access memory at 0x%" PRIx64, at + i);
            return;
        }
        for (size_t k = 0; k < n; k++)
            sum = (uint16_t)((sum >> 1 | sum << 15) + bytes[k]);
        i += n;
    }
    hmp_say(c, "%05u", sum);
}

/* What the ports of a guest's CPU and the format let through. */
static bool take_port(struct hmp_call *c, struct format *f, uint64_t *port)
{
    if (!take_format(c, f) || !hmp_number(c, "the port", port))
        return false;
    const char *why = !mem_ports_now(c->vm)->n ? "this machine has no ports"
                      : c->vm->tape            ? "not while engines are compared"
                      : f->size > 4            ? "ports have 1, 2 or 4 bytes: b, h, w"
                      : *port > 0xffff         ? "ports are 0 to 0xffff"
                                               : NULL;
    if (why)
        hmp_say(c, "%s", why);
    return !why;
}

static void do_in(struct hmp_call *c)
{
    struct format f;
    uint64_t port;
    uint32_t value = UINT32_MAX;
    if (!take_port(c, &f, &port))
        return;
    bool ran = hmp_hold(c);
    bool answered = mem_port_read(c->vm, (uint32_t)port, f.size, &value);
    hmp_let_go(c, ran);
    hmp_say(c, "port%c[0x%04x] = 0x%0*x%s",
            f.size == 1   ? 'b'
            : f.size == 2 ? 'w'
                          : 'l',
            (unsigned)port, (int)(2 * f.size), value & UINT32_MAX >> (32 - 8 * f.size),
            answered ? "" : " (nothing is there)");
}

static void do_out(struct hmp_call *c)
{
    struct format f;
    uint64_t port, value;
    if (!take_port(c, &f, &port) || !hmp_number(c, "the value", &value))
        return;
    bool ran = hmp_hold(c);
    if (!mem_port_write(c->vm, (uint32_t)port, f.size, (uint32_t)value))
        hmp_say(c, "nothing is at port 0x%04x", (unsigned)port);
    hmp_let_go(c, ran);
}

static void do_print(struct hmp_call *c)
{
    struct format f;
    uint64_t v;
    char text[40];
    if (!take_format(c, &f))
        return;
    if (f.as == 'i') {
        hmp_say(c, "only memory can be disassembled: x/i");
        return;
    }
    if (!hmp_number(c, "the expression", &v))
        return;
    f.size = f.as == 'c' ? 1 : 8;
    if (f.as == 'x')
        snprintf(text, sizeof(text), "0x%" PRIx64, v);
    else
        format_value(&f, v, text, sizeof(text));
    hmp_say(c, "%s", text);
}

static void do_gva2gpa(struct hmp_call *c)
{
    uint64_t at, pa;
    struct vcpu *cpu = hmp_cpu(c);
    if (!cpu || !hmp_number(c, "the address", &at))
        return;
    if (!c->vm->target->translate) {
        hmp_say(c, "addresses of %s guests cannot be translated here", c->vm->target->name);
        return;
    }
    bool ran = hmp_hold(c);
    if (c->vm->target->translate(cpu, at, &pa))
        hmp_say(c, "gpa: 0x%" PRIx64, pa);
    else
        hmp_say(c, "Unmapped");
    hmp_let_go(c, ran);
}

/* ---- page tables ----------------------------------------------------------------------------------------- */
static bool read_entry(struct vm *vm, const struct paging *p, uint64_t at, uint64_t *raw)
{
    uint8_t bytes[8];
    if (!mem_read(vm, at, bytes, p->entry_size))
        return false;
    *raw = load_le(bytes, p->entry_size);
    return true;
}

/* Address bits below what this level's index takes. */
static unsigned shift_of(const struct paging *p, unsigned level)
{
    unsigned shift = PAGING_PAGE_BITS;
    for (unsigned i = p->levels - 1; i > level; i--)
        shift += p->index_bits[i];
    return shift;
}

static bool paging_of(struct hmp_call *c, struct vcpu *cpu, struct paging *p)
{
    const struct target_paging *paging = c->vm->target->paging;
    if (!paging)
        hmp_say(c, "page tables of %s guests cannot be shown", c->vm->target->name);
    else if (!paging->now(cpu, p))
        hmp_say(c, "the CPU translates no addresses now: virtual ones are physical");
    else
        return true;
    return false;
}

static struct paging_rights both(struct paging_rights a, struct paging_rights b)
{
    return (struct paging_rights){ a.user && b.user, a.read && b.read, a.write && b.write,
                                   a.exec && b.exec };
}

static const char *rights_text(struct paging_rights r, char buf[16])
{
    snprintf(buf, 16, "%s %c%c%c", r.user ? "user" : "kernel", r.read ? 'r' : '-',
             r.write ? 'w' : '-', r.exec ? 'x' : '-');
    return buf;
}

static void explain(struct hmp_call *c, struct vcpu *cpu, const struct paging *p, uint64_t va)
{
    struct paging_rights may = { true, true, true, true };
    uint64_t table = p->root, raw;
    char text[16];
    unsigned width = shift_of(p, 0) + p->index_bits[0];
    hmp_say(c, "%s of 0x%" PRIx64 ", root table at 0x%" PRIx64, p->name, va, p->root);
    if (p->sign_extends && (uint64_t)sext(va, width) != va) {
        hmp_say(c, "not canonical: bits 63 to %u are not all equal, every access faults",
                width - 1);
        return;
    }
    for (unsigned level = 0; level < p->levels; level++) {
        struct paging_entry e;
        unsigned shift = shift_of(p, level);
        uint64_t index = bits(va, shift, p->index_bits[level]);
        uint64_t at = table + index * p->entry_size;
        if (!read_entry(c->vm, p, at, &raw)) {
            hmp_say(c, "  %s: entry %" PRIu64 " at 0x%" PRIx64 " is outside of memory: fault",
                    p->level_names[level], index, at);
            return;
        }
        c->vm->target->paging->entry(cpu, p, level, raw, &e);
        may = both(may, e.may);
        hmp_say(c,
                "  %s: bits %u to %u are %" PRIu64 ", entry at 0x%" PRIx64 " is 0x%0*" PRIx64
                ": %s%s",
                p->level_names[level], shift + p->index_bits[level] - 1, shift, index, at,
                (int)(2 * p->entry_size), raw, e.present ? rights_text(e.may, text) : "not present",
                e.present ? e.details : "");
        if (!e.present) {
            hmp_say(c, "nothing is mapped here: a page fault");
            return;
        }
        if (e.leaf) {
            uint64_t in_page = ((uint64_t)1 << shift) - 1;
            hmp_say(c,
                    "a page of %" PRIu64 " KiB at 0x%" PRIx64
                    ", %s: the address is physical 0x%" PRIx64,
                    ((uint64_t)1 << shift) / KIB, e.next, rights_text(may, text),
                    e.next + (va & in_page));
            return;
        }
        table = e.next;
    }
    hmp_say(c, "the last level points to another table: a page fault");
}

static void do_walk(struct hmp_call *c)
{
    struct paging p;
    uint64_t va;
    struct vcpu *cpu = hmp_cpu(c);
    if (!cpu || !hmp_number(c, "the address", &va))
        return;
    bool ran = hmp_hold(c);
    if (paging_of(c, cpu, &p))
        explain(c, cpu, &p, va);
    hmp_let_go(c, ran);
}

/* Every mapping in order, joined to ranges as long as rights (and for `tlb` addresses) go on. */
struct ranges {
    struct hmp_call *c;
    struct vcpu *cpu;
    const struct paging *p;
    bool tlb; /* one line a page */
    uint64_t va, size;
    struct paging_rights may;
    unsigned n_lines;
    uint64_t n_tables; /* looked at: a table may point to itself */
};

static void end_range(struct ranges *r)
{
    char text[16];
    if (r->size && r->n_lines++ < MOST_RANGES)
        hmp_say(r->c, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %s", r->va, r->va + r->size,
                r->size, rights_text(r->may, text));
    r->size = 0;
}

static void add_page(struct ranges *r, uint64_t va, uint64_t size, const struct paging_entry *e,
                     struct paging_rights may)
{
    char text[16];
    if (r->tlb) {
        if (r->n_lines++ < MOST_RANGES)
            hmp_say(r->c, "%016" PRIx64 ": %016" PRIx64 " %" PRIu64 "K %s%s", va, e->next,
                    size / KIB, rights_text(may, text), e->details);
        return;
    }
    if (r->size && r->va + r->size == va && !memcmp(&r->may, &may, sizeof(may))) {
        r->size += size;
        return;
    }
    end_range(r);
    r->va = va;
    r->size = size;
    r->may = may;
}

static void visit_table(struct ranges *r, unsigned level, uint64_t table, uint64_t va,
                        struct paging_rights may)
{
    const struct paging *p = r->p;
    unsigned shift = shift_of(p, level);
    uint64_t n = (uint64_t)1 << p->index_bits[level], raw;
    if (r->n_tables++ >= MOST_ITEMS || r->n_lines >= MOST_RANGES)
        return;
    for (uint64_t i = 0; i < n; i++) {
        struct paging_entry e;
        uint64_t at = va | i << shift;
        if (level == 0 && p->sign_extends)
            at = (uint64_t)sext(at, shift + p->index_bits[0]);
        if (!read_entry(r->c->vm, p, table + i * p->entry_size, &raw))
            return;
        r->c->vm->target->paging->entry(r->cpu, p, level, raw, &e);
        if (!e.present)
            continue;
        if (e.leaf)
            add_page(r, at, (uint64_t)1 << shift, &e, both(may, e.may));
        else if (level + 1 < p->levels)
            visit_table(r, level + 1, e.next, at, both(may, e.may));
    }
}

static void show_mappings(struct hmp_call *c, bool tlb)
{
    struct paging p;
    struct vcpu *cpu = hmp_cpu(c);
    if (!cpu)
        return;
    bool ran = hmp_hold(c);
    if (paging_of(c, cpu, &p)) {
        struct ranges r = { .c = c, .cpu = cpu, .p = &p, .tlb = tlb };
        visit_table(&r, 0, p.root, 0, (struct paging_rights){ true, true, true, true });
        end_range(&r);
        if (r.n_lines >= MOST_RANGES)
            hmp_say(c, "... and more: these are the first %d", MOST_RANGES);
    }
    hmp_let_go(c, ran);
}

static void info_mem(struct hmp_call *c)
{
    show_mappings(c, false);
}

static void info_tlb(struct hmp_call *c)
{
    show_mappings(c, true);
}

/* ---- files -------------------------------------------------------------------------------------------------- */
static void save(struct hmp_call *c, bool physical)
{
    uint64_t at, size;
    char path[512];
    struct vcpu *cpu = physical ? NULL : hmp_cpu(c);
    if ((!physical && !cpu) || !hmp_number(c, "the address", &at) ||
        !hmp_number(c, "the size", &size) || !hmp_word(c, "the file", path, sizeof(path)))
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        hmp_ok(c, error_errno("cannot write '%s'", path));
        return;
    }
    bool ran = hmp_hold(c);
    while (size) {
        uint8_t page[4096];
        size_t n = MIN(size, sizeof(page));
        if (!peek(c->vm, cpu, at, page, n)) {
            hmp_say(c, "no memory at 0x%" PRIx64, at);
            break;
        }
        if (write(fd, page, n) != (ssize_t)n) {
            hmp_ok(c, error_errno("cannot write '%s'", path));
            break;
        }
        at += n;
        size -= n;
    }
    close(fd);
    hmp_let_go(c, ran);
}

static void do_memsave(struct hmp_call *c)
{
    save(c, false);
}

static void do_pmemsave(struct hmp_call *c)
{
    save(c, true);
}

static const struct hmp_command commands[] = {
    { "x", NULL, "/FMT ADDRESS", "memory at a virtual address: x/4xw $sp, x/10i $pc", do_x },
    { "xp", NULL, "/FMT ADDRESS", "the same at a physical one", do_xp },
    { "print", "p", "/FMT EXPRESSION", "a number, or an expression of numbers and registers",
      do_print },
    { "i", NULL, "/FMT PORT", "read a port as the guest would: i/b 0x71", do_in },
    { "o", NULL, "/FMT PORT VALUE", "write to one", do_out },
    { "sum", NULL, "ADDRESS SIZE", "a checksum of physical memory", do_sum },
    { "gva2gpa", NULL, "ADDRESS", "what a virtual address is physically", do_gva2gpa },
    { "walk", NULL, "ADDRESS", "the way through the page tables to it, level by level", do_walk },
    { "memsave", NULL, "ADDRESS SIZE FILE", "virtual memory into a file", do_memsave },
    { "pmemsave", NULL, "ADDRESS SIZE FILE", "physical memory into a file", do_pmemsave },
};
static const struct hmp_command infos[] = {
    { "mem", NULL, "", "what is mapped, as ranges with equal rights", info_mem },
    { "tlb", NULL, "", "what is mapped, page by page", info_tlb },
};
const struct hmp_table hmp_memory_table = { TABLE(commands), TABLE(infos) };
