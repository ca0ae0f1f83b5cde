/* The registers of an x86-64 CPU for debuggers; features and names as gdb's manual, appendix G.5.3, has them, and
 * what systems need under the names that QEMU's users know (cr3, k_gs_base, ...). */
#include "core/debug.h"
#include "core/util.h"
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <string.h>

#define CORE     "org.gnu.gdb.i386.core"
#define SSE      "org.gnu.gdb.i386.sse"
#define AVX      "org.gnu.gdb.i386.avx"
#define SEGMENTS "org.gnu.gdb.i386.segments"
#define SYSTEM   "org.tandem.i386.system"

enum { PLAIN, SELECTOR, ST, FTAG, XMM, YMM_HIGH, FSEG, SEG_LIMIT };
enum { N_COMMON = 24, N_COMMON32 = 16 };

/* A member as it is, which may be narrower than what gdb expects. */
#define AT(member)       offsetof(struct x86_cpu, member)
#define SIZE(member)     sizeof(((struct x86_cpu *)0)->member)
#define WHAT(kind, size) ((kind) | (uint32_t)(size) << 8)
#define WHOLE(name, feature, type, group, bits, member)                         \
    {                                                                           \
        name, feature, type, group, bits, AT(member), WHAT(PLAIN, SIZE(member)) \
    }
/* clang-format off */
#define GPR(name, n, type) WHOLE(name, CORE, type, "general", 64, gpr[n])
#define SEL(name, n) { name, CORE, NULL, "general", 32, n, SELECTOR }
#define ST_(n) { "st" #n, CORE, "i387_ext", "float", 80, n, ST }
#define F(name, member) WHOLE(name, CORE, NULL, "float", 32, member)
#define X(n) { "xmm" #n, SSE, "vec128", "vector", 128, n, XMM }
#define Y(n) { "ymm" #n "h", AVX, "uint128", "vector", 128, n, YMM_HIGH }
#define SYS(name, type, bits, member) WHOLE(name, SYSTEM, type, "system", bits, member)
#define SELECTOR_ROWS SEL("cs", X86_CS), SEL("ss", X86_SS), SEL("ds", X86_DS), SEL("es", X86_ES), SEL("fs", X86_FS), SEL("gs", X86_GS)
#define X87_ROWS ST_(0), ST_(1), ST_(2), ST_(3), ST_(4), ST_(5), ST_(6), ST_(7), \
F("fctrl", fcw), F("fstat", fsw), { "ftag", CORE, NULL, "float", 32, 0, FTAG }, \
{ "fiseg", CORE, NULL, "float", 32, AT(fip), FSEG }, F("fioff", fip), \
{ "foseg", CORE, NULL, "float", 32, AT(fdp), FSEG }, F("fooff", fdp), F("fop", fop)
#define SYSTEM_ROWS SYS("cr0", "i386_cr0", 64, cr0), SYS("cr2", "data_ptr", 64, cr2), SYS("cr3", NULL, 64, cr3), \
SYS("cr4", "i386_cr4", 64, cr4), SYS("cr8", NULL, 64, cr8), SYS("efer", "i386_efer", 64, efer), \
SYS("xcr0", NULL, 64, xcr0), SYS("pkru", NULL, 32, pkru), SYS("apic_base", NULL, 64, apic_base), \
SYS("cs_base", NULL, 64, seg[X86_CS].base), SYS("ss_base", NULL, 64, seg[X86_SS].base), \
SYS("ds_base", NULL, 64, seg[X86_DS].base), SYS("es_base", NULL, 64, seg[X86_ES].base), \
SYS("cs_limit", NULL, 32, seg[X86_CS].limit), SYS("ss_limit", NULL, 32, seg[X86_SS].limit), \
SYS("gdt_base", NULL, 64, gdt.base), SYS("gdt_limit", NULL, 32, gdt.limit), \
SYS("idt_base", NULL, 64, idt.base), SYS("idt_limit", NULL, 32, idt.limit), \
SYS("tr", NULL, 32, tr.selector), SYS("tr_base", NULL, 64, tr.base), \
SYS("ldt", NULL, 32, ldt.selector), SYS("ldt_base", NULL, 64, ldt.base), \
SYS("dr0", "data_ptr", 64, dr[0]), SYS("dr1", "data_ptr", 64, dr[1]), \
SYS("dr2", "data_ptr", 64, dr[2]), SYS("dr3", "data_ptr", 64, dr[3]), \
SYS("dr6", NULL, 64, dr6), SYS("dr7", NULL, 64, dr7)
static const struct debug_reg table[] = {
    GPR("rax", X86_RAX, NULL), GPR("rbx", X86_RBX, NULL), GPR("rcx", X86_RCX, NULL), GPR("rdx", X86_RDX, NULL),
    GPR("rsi", X86_RSI, NULL), GPR("rdi", X86_RDI, NULL), GPR("rbp", X86_RBP, "data_ptr"), GPR("rsp", X86_RSP, "data_ptr"),
    GPR("r8", 8, NULL), GPR("r9", 9, NULL), GPR("r10", 10, NULL), GPR("r11", 11, NULL),
    GPR("r12", 12, NULL), GPR("r13", 13, NULL), GPR("r14", 14, NULL), GPR("r15", 15, NULL),
    WHOLE("rip", CORE, "code_ptr", "general", 64, rip),
    WHOLE("eflags", CORE, "i386_eflags", "general", 32, rflags),
    SELECTOR_ROWS, X87_ROWS,
    X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15),
    WHOLE("mxcsr", SSE, "i386_mxcsr", "vector", 32, mxcsr),
    Y(0), Y(1), Y(2), Y(3), Y(4), Y(5), Y(6), Y(7), Y(8), Y(9), Y(10), Y(11), Y(12), Y(13), Y(14), Y(15),
    WHOLE("fs_base", SEGMENTS, NULL, "general", 64, seg[X86_FS].base),
    WHOLE("gs_base", SEGMENTS, NULL, "general", 64, seg[X86_GS].base),
    SYS("k_gs_base", NULL, 64, kernel_gs_base),
    SYSTEM_ROWS,
    SYS("star", NULL, 64, star), SYS("lstar", "code_ptr", 64, lstar), SYS("cstar", "code_ptr", 64, cstar),
    SYS("sfmask", NULL, 64, sfmask),
};


/* A CPU without long mode. */
#define GPR32(name, n, type) WHOLE(name, CORE, type, "general", 32, gpr[n])
static const struct debug_reg table32[] = {
    GPR32("eax", X86_RAX, NULL), GPR32("ecx", X86_RCX, NULL), GPR32("edx", X86_RDX, NULL), GPR32("ebx", X86_RBX, NULL),
    GPR32("esp", X86_RSP, "data_ptr"), GPR32("ebp", X86_RBP, "data_ptr"), GPR32("esi", X86_RSI, NULL), GPR32("edi", X86_RDI, NULL),
    WHOLE("eip", CORE, "code_ptr", "general", 32, rip),
    WHOLE("eflags", CORE, "i386_eflags", "general", 32, rflags),
    SELECTOR_ROWS, X87_ROWS,
    X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), WHOLE("mxcsr", SSE, "i386_mxcsr", "vector", 32, mxcsr),
    Y(0), Y(1), Y(2), Y(3), Y(4), Y(5), Y(6), Y(7),
    SYS("fs_base", NULL, 32, seg[X86_FS].base), SYS("gs_base", NULL, 32, seg[X86_GS].base),
    SYSTEM_ROWS,
};

#define BIT(name, n) "<field name=\"" name "\" start=\"" #n "\" end=\"" #n "\"/>"
static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    BIT("CF", 0) BIT("", 1) BIT("PF", 2) BIT("AF", 4) BIT("ZF", 6) BIT("SF", 7) BIT("TF", 8) BIT("IF", 9)
    BIT("DF", 10) BIT("OF", 11) BIT("NT", 14) BIT("RF", 16) BIT("VM", 17) BIT("AC", 18) BIT("VIF", 19)
    BIT("VIP", 20) BIT("ID", 21) "</flags>";
static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    BIT("IE", 0) BIT("DE", 1) BIT("ZE", 2) BIT("OE", 3) BIT("UE", 4) BIT("PE", 5) BIT("DAZ", 6) BIT("IM", 7)
    BIT("DM", 8) BIT("ZM", 9) BIT("OM", 10) BIT("UM", 11) BIT("PM", 12) BIT("FZ", 15) "</flags>";
static const char system_types[] =
    "<flags id=\"i386_cr0\" size=\"8\">"
    BIT("PE", 0) BIT("MP", 1) BIT("EM", 2) BIT("TS", 3) BIT("ET", 4) BIT("NE", 5) BIT("WP", 16) BIT("AM", 18)
    BIT("NW", 29) BIT("CD", 30) BIT("PG", 31) "</flags>"
    "<flags id=\"i386_cr4\" size=\"8\">"
    BIT("VME", 0) BIT("PVI", 1) BIT("TSD", 2) BIT("DE", 3) BIT("PSE", 4) BIT("PAE", 5) BIT("MCE", 6) BIT("PGE", 7)
    BIT("PCE", 8) BIT("OSFXSR", 9) BIT("OSXMMEXCPT", 10) BIT("UMIP", 11) BIT("LA57", 12) BIT("VMXE", 13)
    BIT("SMXE", 14) BIT("FSGSBASE", 16) BIT("PCIDE", 17) BIT("OSXSAVE", 18) BIT("SMEP", 20) BIT("SMAP", 21)
    BIT("PKE", 22) BIT("CET", 23) BIT("PKS", 24) "</flags>"
    "<flags id=\"i386_efer\" size=\"8\">"
    BIT("SCE", 0) BIT("LME", 8) BIT("LMA", 10) BIT("NXE", 11) BIT("SVME", 12) BIT("FFXSR", 14) "</flags>";
/* clang-format on */

static bool is_wide(const struct vcpu *cpu)
{
    return x86_model_has(x86_of((struct vcpu *)cpu)->model, X86_E1_EDX, 29); /* long mode */
}

static struct debug_regs regs_of(struct vcpu *cpu)
{
    if (is_wide(cpu))
        return (struct debug_regs){ table, ARRAY_LEN(table), N_COMMON, .pc = 16, .sp = 7 };
    return (struct debug_regs){ table32, ARRAY_LEN(table32), N_COMMON32, .pc = 8, .sp = 4 };
}

/* gdb lets its user change between the latter two (set architecture), but not from and to the first. */
static const char *architecture(struct vcpu *cpu)
{
    return is_wide(cpu) ? "i386:x86-64" : x86_code_bits(x86_of(cpu)) == 16 ? "i8086" : "i386";
}

static const char *types(const char *feature)
{
    return !strcmp(feature, CORE)     ? core_types
           : !strcmp(feature, SSE)    ? sse_types
           : !strcmp(feature, SYSTEM) ? system_types
                                      : "";
}

/* ---- the x87's tags ------------------------------------------------------------------------------------ */

/* SDM 1-8.1.7: two bits a register, by physical number. */
enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned tag_of(const uint8_t st[16])
{
    uint64_t mantissa = load_le(st, 8);
    unsigned exponent = (unsigned)load_le(st + 8, 2) & 0x7fff;
    if (!exponent && !mantissa)
        return TAG_ZERO;
    return exponent == 0x7fff || !exponent || !(mantissa >> 63) ? TAG_SPECIAL : TAG_VALID;
}

static unsigned read_tags(const struct x86_cpu *x)
{
    unsigned tags = 0, top = x->fsw >> 11 & 7;
    for (unsigned i = 0; i < 8; i++)
        tags |= (x->ftw >> i & 1 ? tag_of(x->st[(i - top) & 7]) : TAG_EMPTY) << 2 * i;
    return tags;
}

static void write_tags(struct x86_cpu *x, unsigned tags)
{
    x->ftw = 0;
    for (unsigned i = 0; i < 8; i++)
        x->ftw |= (uint8_t)((tags >> 2 * i & 3) != TAG_EMPTY) << i;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static bool read_reg(struct vcpu *cpu, const struct debug_reg *r, uint8_t *to)
{
    struct x86_cpu *x = x86_of(cpu);
    unsigned size = r->bits / 8, held = r->what >> 8;
    switch (r->what & 0xff) {
    case SELECTOR: store_le(to, size, x->seg[r->index].selector); break;
    case ST: memcpy(to, x->st[r->index], size); break;
    case FTAG: store_le(to, size, read_tags(x)); break;
    case FSEG: store_le(to, size, load_le((uint8_t *)x + r->index, 8) >> 32 & 0xffff); break;
    case XMM: memcpy(to, x->zmm[r->index], size); break;
    case YMM_HIGH: memcpy(to, x->zmm[r->index] + 16, size); break;
    default: memset(to, 0, size); memcpy(to, (uint8_t *)x + r->index, MIN(size, held));
    }
    return true;
}

/* In protected mode a selector is no more than a number beside what it stands for: loading one takes an instruction. */
static bool write_selector(struct x86_cpu *x, unsigned n, uint16_t selector)
{
    if (selector == x->seg[n].selector)
        return true;
    if (x->cr0 & X86_CR0_PE && !(x->rflags & X86_FLAG_VM))
        return false;
    x->seg[n].selector = selector;
    x->seg[n].base = (uint64_t)selector << 4;
    return true;
}

/* Registers in use are kept as such for XSAVE. */
static void write_vector(struct x86_cpu *x, uint8_t *to, const uint8_t *from, uint64_t component)
{
    memcpy(to, from, 16);
    x->xinuse |= component;
}

static bool write_reg(struct vcpu *cpu, const struct debug_reg *r, const uint8_t *from)
{
    struct x86_cpu *x = x86_of(cpu);
    unsigned size = r->bits / 8, held = r->what >> 8;
    uint64_t v = load_le(from, MIN(size, 8u));
    switch (r->what & 0xff) {
    case SELECTOR: return write_selector(x, r->index, (uint16_t)v);
    case ST: memcpy(x->st[r->index], from, size); break;
    case FTAG: write_tags(x, (unsigned)v); break;
    case FSEG: store_le((uint8_t *)x + r->index + 4, 4, v & 0xffff); break;
    case XMM: write_vector(x, x->zmm[r->index], from, X86_XSAVE_SSE); break;
    case YMM_HIGH: write_vector(x, x->zmm[r->index] + 16, from, X86_XSAVE_AVX); break;
    default: memcpy((uint8_t *)x + r->index, from, MIN(size, held));
    }
    return true;
}

const struct target_debug x86_debug = {
    .architecture = architecture,
    .regs = regs_of,
    .types = types,
    .read = read_reg,
    .write = write_reg,
};
