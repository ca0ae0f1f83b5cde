/* What a kernel is handed: PVH's start info, the memory map, modules, ACPI's root pointer and what it leads to. */
#include "rt.h"

struct module {
    u64 at, size, cmdline, reserved;
};

static bool same(const void *at, const char *text)
{
    const char *p = at;
    while (*text && *p == *text)
        p++, text++;
    return !*text;
}

static u8 sum(const u8 *at, u32 n)
{
    u8 s = 0;
    while (n--)
        s += *at++;
    return s;
}

static void check_map(const struct start_info *info)
{
    const struct range *r = (const void *)info->map;
    u64 end = 0, high = 0;
    bool sorted = 1, ours = 0;
    for (u32 i = 0; i < info->n_map; i++) {
        sorted &= r[i].at >= end && r[i].size;
        end = r[i].at + r[i].size;
        if (r[i].type == 1 && r[i].at <= 0x100000 && end > 0x200000)
            ours = 1;
        if (r[i].type == 1 && r[i].at == 0x100000)
            high = r[i].size;
    }
    TRUE("memory map: ascending and disjoint", sorted);
    TRUE("memory map: has the memory that the kernel is in", ours);
    EQUAL("memory map: has all of -m", high, 127ul << 20);
    u8 *last = (u8 *)(0x100000 + high - 4096);
    *(volatile u64 *)last = 0x1122334455667788;
    EQUAL("memory map: its last page is RAM", *(volatile u64 *)last, 0x1122334455667788);
}

static void check_acpi(u64 at)
{
    const u8 *rsdp = (const u8 *)at;
    bool all = 1, madt = 0, fadt = 0;
    TRUE("ACPI: root pointer's signature", same(rsdp, "RSD PTR "));
    EQUAL("ACPI: root pointer's sums", sum(rsdp, 20) | sum(rsdp, 36), 0);
    const u32 *xsdt = (const u32 *)(*(const u64 *)(rsdp + 24));
    EQUAL("ACPI: XSDT's sum", sum((const u8 *)xsdt, xsdt[1]), 0);
    for (u32 i = 0; i < (xsdt[1] - 36) / 8; i++) {
        const u32 *table = (const u32 *)*(const u64 *)((const u8 *)xsdt + 36 + 8 * i);
        all &= sum((const u8 *)table, table[1]) == 0;
        madt |= same(table, "APIC");
        fadt |= same(table, "FACP");
    }
    TRUE("ACPI: every table's sum", all);
    TRUE("ACPI: there are MADT and FADT", madt && fadt);
}

void main(const struct start_info *info)
{
    const struct module *m = (const void *)info->modules;
    EQUAL("start info: magic", info->magic, 0x336ec578);
    EQUAL("start info: version", info->version, 1);
    TRUE("start info: command line", cmdline_has("-append is here"));
    EQUAL("start info: one module", info->n_modules, 1);
    TRUE("module: its bytes", m && same((const void *)m->at, "contents of the module"));
    EQUAL("module: its size", m ? m->size : 0, 22);
    check_map(info);
    if (info->rsdp)
        check_acpi(info->rsdp);
    else
        skip("ACPI", "the board has none");
    EQUAL("memory is cached: MTRRs are on, write-back", rdmsr(0x2ff) & 0xcff, 0x806);
}
