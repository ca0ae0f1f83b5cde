/* What -kernel may name on a PC: each kind is recognised, checked, placed and handed what its protocol says. */
#include "x86_board.h"

#include "board.h"
#include "core/error.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/linux_rom.h"
#include "hw/machine/mp_table.h"
#include "hw/machine/x86_boot.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { RAM = 32 * 1024 * 1024, FILE_SIZE = 64 * 1024 };

/* ---- files in memory -------------------------------------------------------------------------------- */
struct file {
    int fd;
    char path[40];
};

static struct file file_of(const void *bytes, size_t n)
{
    struct file f = { .fd = memfd_create("file", MFD_CLOEXEC) };
    assert_true(f.fd >= 0 && write(f.fd, bytes, n) == (ssize_t)n);
    snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
    return f;
}

static uint8_t image[FILE_SIZE];

/* A bzImage: two sectors of setup code, then code that is told by its bytes. */
enum { SETUP_N = 3 * 512, CODE_N = 0x4000, ALIGNMENT = 2 * 1024 * 1024, INIT_SIZE = 0x300000 };
static size_t make_bzimage(void)
{
    memset(image, 0, sizeof(image));
    image[0x1f1] = SETUP_N / 512 - 1;
    store_le(image + 0x1f4, 4, CODE_N / 16);
    store_le(image + 0x1fe, 2, 0xaa55);
    image[0x201] = 0x66;
    memcpy(image + 0x202, "HdrS", 4);
    store_le(image + 0x206, 2, 0x20f);
    image[0x211] = 1;
    store_le(image + 0x214, 4, 0x100000);
    store_le(image + 0x22c, 4, 0x7fffffff);
    store_le(image + 0x230, 4, ALIGNMENT);
    image[0x234] = 1;
    store_le(image + 0x236, 2, 1);
    store_le(image + 0x238, 4, 100);
    store_le(image + 0x248, 4, 0x400);
    store_le(image + 0x24c, 4, CODE_N - 0x400);
    store_le(image + 0x258, 8, 16 * MIB);
    store_le(image + 0x260, 4, INIT_SIZE);
    for (unsigned i = 0; i < CODE_N; i++)
        image[SETUP_N + i] = (uint8_t)(i * 7 + 1);
    return SETUP_N + CODE_N;
}

/* ELF with one segment of 0x1000 bytes from file offset 0x1000 to `at`, twice as long in memory, entered at
 * at + 0x10. A note segment at 0x800 if `note` is not 0. */
static size_t make_elf(bool wide, uint64_t at, uint32_t note)
{
    memset(image, 0, sizeof(image));
    if (wide) {
        Elf64_Ehdr *eh = (Elf64_Ehdr *)image;
        Elf64_Phdr *ph = (Elf64_Phdr *)(image + sizeof(*eh));
        *eh = (Elf64_Ehdr){ .e_type = ET_EXEC,
                            .e_machine = EM_X86_64,
                            .e_entry = at + 0x10,
                            .e_phoff = sizeof(*eh),
                            .e_phentsize = sizeof(*ph),
                            .e_phnum = 2 };
        ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
                              .p_offset = 0x1000,
                              .p_vaddr = at,
                              .p_paddr = at,
                              .p_filesz = 0x1000,
                              .p_memsz = 0x2000 };
        ph[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 20, .p_align = 4 };
    } else {
        Elf32_Ehdr *eh = (Elf32_Ehdr *)image;
        Elf32_Phdr *ph = (Elf32_Phdr *)(image + sizeof(*eh));
        *eh = (Elf32_Ehdr){ .e_type = ET_EXEC,
                            .e_machine = EM_386,
                            .e_entry = (uint32_t)at + 0x10,
                            .e_phoff = sizeof(*eh),
                            .e_phentsize = sizeof(*ph),
                            .e_phnum = 2 };
        ph[0] = (Elf32_Phdr){ .p_type = PT_LOAD,
                              .p_offset = 0x1000,
                              .p_vaddr = (uint32_t)at,
                              .p_paddr = (uint32_t)at,
                              .p_filesz = 0x1000,
                              .p_memsz = 0x2000 };
        ph[1] = (Elf32_Phdr){ .p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 20, .p_align = 4 };
    }
    memcpy(image, "\177ELF", 4);
    image[EI_CLASS] = wide ? ELFCLASS64 : ELFCLASS32;
    image[EI_DATA] = ELFDATA2LSB;
    image[EI_VERSION] = 1;
    memset(image + 0x1000, 0xcd, 0x1000);
    if (note) {
        store_le(image + 0x800, 4, 4);
        store_le(image + 0x804, 4, 4);
        store_le(image + 0x808, 4, 18);
        memcpy(image + 0x80c, "Xen", 4);
        store_le(image + 0x810, 4, note);
    }
    return 0x2000;
}

static void put_multiboot1(size_t at, uint32_t flags)
{
    store_le(image + at, 4, 0x1badb002);
    store_le(image + at + 4, 4, flags);
    store_le(image + at + 8, 4, (uint32_t) - (0x1badb002 + flags));
}

/* ---- a machine that boots it ----------------------------------------------------------------------------- */
struct kit {
    struct vm *vm;
    struct x86_boot *boot;
    struct x86_cpu *x;
    struct file kernel, initrd;
};

static struct error *boot(struct kit *k, size_t n, const char *initrd, const char *append)
{
    struct x86_memory_map map = { 0 };
    *k = (struct kit){ .vm = x86_board_new(RAM), .kernel = file_of(image, n) };
    k->x = x86_of(k->vm->vcpus[0]);
    const struct x86_boot_options o = { k->kernel.path, initrd, append, RAM };
    struct error *err = x86_boot_open(k->vm, &o, &k->boot);
    x86_memory_standard(&map, RAM, 5 * GIB);
    uint8_t rsdp[36] = "RSD PTR ";
    rsdp[15] = 2;
    if (!err)
        err = x86_boot_add_table(k->boot, "table", X86_TABLES, rsdp, sizeof(rsdp));
    if (!err)
        err = x86_boot_direct(k->boot, &map, X86_TABLES);
    if (!err)
        x86_boot_place(k->boot);
    return err;
}

static void close_kit(struct kit *k)
{
    x86_boot_free(k->boot);
    vm_free(k->vm);
    close(k->kernel.fd);
}

static void boots(struct kit *k, size_t n, const char *initrd, const char *append)
{
    struct error *err = boot(k, n, initrd, append);
    if (err)
        fail_msg("%s", error_text(err));
}

static void refuses(size_t n, const char *append, const char *text)
{
    struct kit k;
    struct error *err = boot(&k, n, NULL, append);
    if (!err)
        fail_msg("no error about '%s'", text);
    if (!strstr(error_text(err), text))
        fail_msg("'%s' is not in '%s'", text, error_text(err));
    error_free(err);
    close_kit(&k);
}

static uint64_t peek(struct kit *k, gpa at, unsigned size)
{
    uint8_t buf[8];
    assert_true(mem_read(k->vm, at, buf, size));
    return load_le(buf, size);
}

static void holds_text(struct kit *k, gpa at, const char *text)
{
    char buf[128] = "";
    assert_true(mem_read(k->vm, at, buf, strlen(text) + 1));
    assert_string_equal(buf, text);
}

static void is_in_32bit_mode(const struct kit *k)
{
    assert_int_equal(x86_code_bits(k->x), 32);
    assert_int_equal(k->x->cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
    assert_int_equal(k->x->seg[X86_DS].limit, UINT32_MAX);
    assert_int_equal(k->x->rflags & X86_FLAG_IF, 0);
}

/* ---- Linux --------------------------------------------------------------------------------------------------- */
static void a_bzimage_starts_in_64bit_mode_with_a_zero_page(void **unused)
{
    struct kit k;
    struct file initrd = file_of("contents of the initrd", 22);
    boots(&k, make_bzimage(), initrd.path, "console=ttyS0");
    gpa page = k.x->gpr[X86_RSI];
    assert_int_equal(x86_code_bits(k.x), 64);
    assert_int_equal(k.x->rip, 16 * MIB + 0x200);
    assert_int_equal(peek(&k, 16 * MIB, 1), 1);
    assert_int_equal(peek(&k, 16 * MIB + CODE_N - 1, 1), (uint8_t)((CODE_N - 1) * 7 + 1));
    assert_int_equal(peek(&k, page + 0x1fe, 2), 0xaa55);
    assert_int_equal(peek(&k, page + 0x210, 1), 0xff);
    assert_int_equal(peek(&k, page + 0x214, 4), 16 * MIB);
    assert_int_equal(peek(&k, page + 0x070, 8), X86_TABLES);
    holds_text(&k, peek(&k, page + 0x228, 4), "console=ttyS0");
    gpa at = peek(&k, page + 0x218, 4);
    assert_int_equal(peek(&k, page + 0x21c, 4), 22);
    assert_true(at >= 16 * MIB + INIT_SIZE && at + 22 <= RAM && at % 4096 == 0);
    assert_int_equal(peek(&k, at, 8), load_le("contents", 8));
    close_kit(&k);
    close(initrd.fd);
}

static void the_zero_page_has_the_memory_map(void **unused)
{
    struct kit k;
    boots(&k, make_bzimage(), NULL, NULL);
    gpa page = k.x->gpr[X86_RSI], last = page + 0x2d0 + 4 * 20;
    assert_int_equal(peek(&k, page + 0x1e8, 1), 5);
    assert_int_equal(peek(&k, page + 0x2d0 + 8, 8), X86_LOW_RAM_END);
    assert_int_equal(peek(&k, last, 8), 4 * GIB);
    assert_int_equal(peek(&k, last + 8, 8), 5 * GIB);
    assert_int_equal(peek(&k, last + 16, 4), X86_MEMORY_RAM);
    close_kit(&k);
}

static void everything_a_kernel_needs_is_mapped_as_it_is(void **unused)
{
    struct kit k;
    static const gpa places[] = { 0x500, 0x12345, 16 * MIB + 0x200, RAM - 1, 4 * GIB - 1 };
    uint64_t physical;
    boots(&k, make_bzimage(), NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        assert_true(x86_debug_translate(k.vm->vcpus[0], places[i], &physical));
        assert_int_equal(physical, places[i]);
    }
    assert_false(x86_debug_translate(k.vm->vcpus[0], 4 * GIB, &physical));
    assert_int_equal(peek(&k, k.x->gdt.base + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(peek(&k, k.x->gdt.base + 0x18, 8), 0x00cf93000000ffff);
    close_kit(&k);
}

/* setup_data: next, type 9, length, bytes. */
static void each_reset_brings_images_back_and_another_seed(void **unused)
{
    struct kit k;
    boots(&k, make_bzimage(), NULL, NULL);
    gpa page = k.x->gpr[X86_RSI], seed = peek(&k, page + 0x250, 8);
    uint64_t before = peek(&k, seed + 16, 8);
    uint8_t rubbish[64];
    memset(rubbish, 0xee, sizeof(rubbish));
    assert_int_equal(peek(&k, seed, 8), 0);
    assert_int_equal(peek(&k, seed + 8, 4), 9);
    assert_int_equal(peek(&k, seed + 12, 4), 32);
    assert_true(mem_write(k.vm, 16 * MIB, rubbish, sizeof(rubbish)));
    assert_true(mem_write(k.vm, 16 * MIB + CODE_N, rubbish, sizeof(rubbish)));
    assert_true(mem_write(k.vm, page, rubbish, sizeof(rubbish)));
    x86_64_target.vcpu_reset(k.vm->vcpus[0]);
    x86_boot_place(k.boot);
    assert_int_equal(peek(&k, 16 * MIB, 1), 1);
    assert_int_equal(peek(&k, 16 * MIB + CODE_N, 8), 0); /* its bss */
    assert_int_equal(peek(&k, page, 8), 0);
    assert_int_equal(k.x->rip, 16 * MIB + 0x200);
    assert_true(peek(&k, seed + 16, 8) != before);
    close_kit(&k);
}

static void the_8259s_are_masked(void **unused)
{
    static const struct prop_value props[] = { { "iobase", "0x20" }, { "iobase2", "0xa0" } };
    struct kit k;
    struct device *pic;
    uint32_t mask;
    boots(&k, make_bzimage(), NULL, NULL);
    assert_null(device_create(k.vm, "isa-i8259", props, 2, &pic));
    x86_boot_place(k.boot);
    for (uint32_t port = 0x21; port <= 0xa1; port += 0x80) {
        assert_true(mem_port_read(k.vm, port, 1, &mask));
        assert_int_equal(mask, 0xff);
    }
    close_kit(&k);
}

static void a_kernel_that_may_move_goes_low_when_memory_is_small(void **unused)
{
    struct kit k;
    size_t n = make_bzimage();
    store_le(image + 0x258, 8, 30 * MIB);
    boots(&k, n, NULL, NULL);
    assert_int_equal(k.x->rip, 2 * MIB + 0x200);
    close_kit(&k);
    image[0x234] = 0;
    refuses(n, NULL, "do not fit into memory");
}

static void a_kernel_without_64bit_entry_starts_in_32bit_mode(void **unused)
{
    struct kit k;
    size_t n = make_bzimage();
    store_le(image + 0x236, 2, 0);
    boots(&k, n, NULL, NULL);
    is_in_32bit_mode(&k);
    assert_int_equal(k.x->rip, 16 * MIB);
    assert_true(k.x->gpr[X86_RSI] != 0);
    close_kit(&k);
}

static void each_header_field_is_checked_against_the_file(void **unused)
{
    size_t n = make_bzimage();
    refuses(1024, NULL, "truncated");
    refuses(n - 17, NULL, "truncated");
    store_le(image + 0x24c, 4, CODE_N);
    refuses(n, NULL, "compressed part");
    make_bzimage();
    store_le(image + 0x206, 2, 0x201);
    refuses(n, NULL, "2.01 is too old");
    make_bzimage();
    image[0x211] = 0;
    refuses(n, NULL, "zImage");
    make_bzimage();
    store_le(image + 0x230, 4, 3);
    refuses(n, NULL, "power of two");
    make_bzimage();
    store_le(image + 0x258, 8, 0x1000);
    refuses(n, NULL, "pref_address");
    make_bzimage();
    store_le(image + 0x260, 4, 0xffffffff);
    refuses(n, NULL, "do not fit into memory");
    make_bzimage();
    store_le(image + 0x1fe, 2, 0);
    refuses(n, NULL, "boot_flag");
    char text[200];
    memset(text, 'x', sizeof(text));
    text[101] = 0;
    make_bzimage();
    refuses(n, text, "at most 100");
}

static void an_initrd_keeps_below_the_limit_the_kernel_names(void **unused)
{
    struct kit k;
    struct file initrd = file_of(image, 8192);
    size_t n = make_bzimage();
    store_le(image + 0x22c, 4, 8 * MIB - 1);
    boots(&k, n, initrd.path, NULL);
    gpa page = k.x->gpr[X86_RSI];
    assert_int_equal(peek(&k, page + 0x218, 4), 8 * MIB - 8192);
    close_kit(&k);
    close(initrd.fd);
}

static void a_64bit_elf_starts_like_linux(void **unused)
{
    struct kit k;
    boots(&k, make_elf(true, 2 * MIB, 0), NULL, "quiet");
    assert_int_equal(x86_code_bits(k.x), 64);
    assert_int_equal(k.x->rip, 2 * MIB + 0x10);
    assert_int_equal(peek(&k, k.x->gpr[X86_RSI] + 0x202, 4), load_le("HdrS", 4));
    holds_text(&k, peek(&k, k.x->gpr[X86_RSI] + 0x228, 4), "quiet");
    close_kit(&k);
}

/* ---- PVH ----------------------------------------------------------------------------------------------------- */
static void a_pvh_note_names_the_entry(void **unused)
{
    struct kit k;
    struct file initrd = file_of("initrd", 6);
    boots(&k, make_elf(true, 2 * MIB, 2 * MIB + 0x40), initrd.path, "quiet");
    gpa info = k.x->gpr[X86_RBX];
    is_in_32bit_mode(&k);
    assert_int_equal(k.x->rip, 2 * MIB + 0x40);
    assert_int_equal(peek(&k, info, 4), 0x336ec578);
    assert_int_equal(peek(&k, info + 4, 4), 1);
    assert_int_equal(peek(&k, info + 12, 4), 1);
    gpa module = peek(&k, info + 16, 8);
    holds_text(&k, peek(&k, info + 24, 8), "quiet");
    assert_int_equal(peek(&k, info + 32, 8), X86_TABLES);
    assert_int_equal(peek(&k, info + 48, 4), 5);
    gpa ranges = peek(&k, info + 40, 8);
    assert_int_equal(peek(&k, ranges + 8, 8), X86_LOW_RAM_END);
    assert_int_equal(peek(&k, ranges + 16, 4), X86_MEMORY_RAM);
    assert_int_equal(peek(&k, module + 8, 8), 6);
    assert_int_equal(peek(&k, peek(&k, module, 8), 4), load_le("init", 4));
    close_kit(&k);
    close(initrd.fd);
}

static void a_32bit_elf_needs_a_protocol(void **unused)
{
    struct kit k;
    refuses(make_elf(false, 2 * MIB, 0), NULL, "without a Multiboot header or PVH note");
    boots(&k, make_elf(false, 2 * MIB, 2 * MIB), NULL, NULL);
    assert_int_equal(k.x->rip, 2 * MIB);
    close_kit(&k);
}

static void a_note_that_lies_about_its_length_is_none(void **unused)
{
    struct kit k;
    size_t n = make_elf(true, 2 * MIB, 0x200000);
    store_le(image + 0x800, 4, 0xfffffffd);
    boots(&k, n, NULL, NULL);
    assert_int_equal(x86_code_bits(k.x), 64); /* a plain ELF file */
    close_kit(&k);
}

/* ---- Multiboot ------------------------------------------------------------------------------------------------ */
static void multiboot_1_gets_modules_and_a_memory_map(void **unused)
{
    struct kit k;
    struct file a = file_of("first", 5), b = file_of("second", 6);
    char list[128];
    size_t n = make_elf(false, 1 * MIB, 0);
    put_multiboot1(0x1000, 3);
    snprintf(list, sizeof(list), "%s one,,two,%s", a.path, b.path);
    boots(&k, n, list, "-v");
    gpa info = k.x->gpr[X86_RBX];
    is_in_32bit_mode(&k);
    assert_int_equal(k.x->gpr[X86_RAX], 0x2badb002);
    assert_int_equal(k.x->rip, MIB + 0x10);
    assert_int_equal(peek(&k, info, 4), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_int_equal(peek(&k, info + 4, 4), 639);
    assert_int_equal(peek(&k, info + 8, 4), (RAM - MIB) / 1024);
    char text[64];
    snprintf(text, sizeof(text), "%s -v", k.kernel.path);
    holds_text(&k, peek(&k, info + 16, 4), text);
    assert_int_equal(peek(&k, info + 20, 4), 2);
    gpa modules = peek(&k, info + 24, 4), first = peek(&k, modules, 4);
    assert_true(first >= MIB + 0x2000 && first % 4096 == 0);
    assert_int_equal(peek(&k, modules + 4, 4), first + 5);
    snprintf(text, sizeof(text), "%s one,two", a.path);
    holds_text(&k, peek(&k, modules + 8, 4), text);
    assert_int_equal(peek(&k, peek(&k, modules + 16, 4), 4), load_le("seco", 4));
    assert_int_equal(peek(&k, info + 44, 4), 5 * 24);
    gpa map = peek(&k, info + 48, 4);
    assert_int_equal(peek(&k, map, 4), 20);
    assert_int_equal(peek(&k, map + 12, 8), X86_LOW_RAM_END);
    close_kit(&k);
    close(a.fd);
    close(b.fd);
}

static void a_flat_multiboot_file_says_where_it_goes(void **unused)
{
    struct kit k;
    memset(image, 0, sizeof(image));
    put_multiboot1(0x40, 1 << 16);
    store_le(image + 0x4c, 4, 0x200040); /* header, load, load end, bss end, entry */
    store_le(image + 0x50, 4, 0x200010);
    store_le(image + 0x54, 4, 0x200410);
    store_le(image + 0x58, 4, 0x201000);
    store_le(image + 0x5c, 4, 0x200100);
    image[0x10] = 0x77;
    boots(&k, 0x1000, NULL, NULL);
    assert_int_equal(k.x->rip, 0x200100);
    assert_int_equal(peek(&k, 0x200010, 1), 0x77);
    assert_int_equal(peek(&k, 0x200040, 4), 0x1badb002);
    close_kit(&k);
    store_le(image + 0x54, 4, 0x202000);
    refuses(0x1000, NULL, "load end address");
    store_le(image + 0x50, 4, 0x1fff00);
    refuses(0x1000, NULL, "do not fit the header's place");
    put_multiboot1(0x40, 1 << 16 | 1 << 5);
    refuses(0x1000, NULL, "requires what is not known");
}

/* The tag of that type in Multiboot 2's information, or 0. */
static gpa find_tag(struct kit *k, gpa info, uint32_t type)
{
    gpa end = info + peek(k, info, 4);
    for (gpa at = info + 8; at < end; at = align_up(at + peek(k, at + 4, 4), 8))
        if (peek(k, at, 4) == type)
            return at;
    return 0;
}

static void put_multiboot2(size_t at, uint16_t tag, uint16_t flags, uint32_t value)
{
    uint32_t n = 16 + 16 + 8;
    store_le(image + at, 4, 0xe85250d6);
    store_le(image + at + 4, 4, 0);
    store_le(image + at + 8, 4, n);
    store_le(image + at + 12, 4, (uint32_t) - (0xe85250d6 + n));
    store_le(image + at + 16, 2, tag);
    store_le(image + at + 18, 2, flags);
    store_le(image + at + 20, 4, 12);
    store_le(image + at + 24, 4, value);
    store_le(image + at + 36, 4, 8);
}

static void multiboot_2_gets_tags(void **unused)
{
    struct kit k;
    struct file module = file_of("module", 6);
    size_t n = make_elf(true, 1 * MIB, 0);
    put_multiboot2(0x1800, 1, 0, 6);
    boots(&k, n, module.path, NULL);
    gpa info = k.x->gpr[X86_RBX];
    is_in_32bit_mode(&k);
    assert_int_equal(k.x->gpr[X86_RAX], 0x36d76289);
    assert_int_equal(info % 8, 0);
    holds_text(&k, find_tag(&k, info, 1) + 8, k.kernel.path);
    gpa tag = find_tag(&k, info, 3);
    assert_int_equal(peek(&k, peek(&k, tag + 8, 4), 4), load_le("modu", 4));
    holds_text(&k, tag + 16, module.path);
    tag = find_tag(&k, info, 6);
    assert_int_equal(peek(&k, tag + 8, 4), 24);
    assert_int_equal(peek(&k, tag + 16 + 8, 8), X86_LOW_RAM_END);
    assert_int_equal(peek(&k, find_tag(&k, info, 15) + 8, 8), load_le("RSD PTR ", 8));
    assert_int_equal(peek(&k, find_tag(&k, info, 4) + 8, 4), 639);
    assert_int_equal(peek(&k, find_tag(&k, info, 0) + 4, 4), 8);
    close_kit(&k);
    close(module.fd);
}

static void multiboot_2_is_refused_what_there_is_none_of(void **unused)
{
    struct kit k;
    size_t n = make_elf(true, 1 * MIB, 0);
    put_multiboot2(0x1800, 5, 0, 0);
    refuses(n, NULL, "framebuffer");
    put_multiboot2(0x1800, 1, 0, 8);
    refuses(n, NULL, "type 8");
    put_multiboot2(0x1800, 77, 0, 0);
    refuses(n, NULL, "tag 77");
    put_multiboot2(0x1800, 77, 1, 0);
    boots(&k, n, NULL, NULL);
    close_kit(&k);
    store_le(image + 0x1800 + 20, 4, 4);
    refuses(n, NULL, "is broken");
}

/* ---- what does not fit ------------------------------------------------------------------------------------------ */
static void other_files_are_refused_by_what_they_are(void **unused)
{
    memset(image, 0, sizeof(image));
    refuses(512, NULL, "no kernel that is known here");
    memcpy(image, "QFI\xfb", 4);
    refuses(512, NULL, "attach it with -drive");
    refuses(make_elf(true, X86_BOOT_LOW, 0), NULL, "overlaps");
    refuses(make_elf(true, X86_TABLES, 0), NULL, "overlaps");
    refuses(make_elf(true, RAM - 0x1000, 0), NULL, "do not fit into memory");
    make_elf(true, MIB, 0);
    ((Elf64_Ehdr *)image)->e_machine = 243;
    refuses(0x2000, NULL, "made for riscv64");
}

static void a_command_line_without_end_is_refused(void **unused)
{
    static char text[X86_BOOT_LOW_END + 1];
    memset(text, 'x', sizeof(text) - 1);
    refuses(make_elf(true, MIB, 0), text, "too long");
}

/* ---- by firmware ------------------------------------------------------------------------------------------------- */
static uint32_t fw_read(struct vm *vm, uint16_t key, void *to, uint32_t n)
{
    uint32_t value;
    mem_port_write(vm, 0x510, 2, key);
    for (uint32_t i = 0; i < n; i++) {
        mem_port_read(vm, 0x511, 1, &value);
        ((uint8_t *)to)[i] = (uint8_t)value;
    }
    return n == 4 ? (uint32_t)load_le(to, 4) : 0;
}

static void firmware_finds_a_bzimage_in_fw_cfg(void **unused)
{
    struct vm *vm = x86_board_new(RAM);
    struct x86_boot *b;
    struct device *fw;
    uint8_t buf[1024];
    const struct prop_value props[] = { { "iobase", "0x510" } };
    struct file kernel = file_of(image, make_bzimage()), initrd = file_of("initrd", 6);
    const struct x86_boot_options o = { kernel.path, initrd.path, "quiet", RAM };
    assert_null(device_create(vm, "fw_cfg_io", props, 1, &fw));
    assert_null(x86_boot_open(vm, &o, &b));
    assert_false(x86_boot_needs_direct(b));
    x86_boot_append(b, "more");
    assert_null(x86_boot_offer(b, fw));
    x86_boot_place(b);
    assert_int_equal(x86_of(vm->vcpus[0])->rip, 0xfff0); /* firmware starts */
    assert_int_equal(fw_read(vm, FW_CFG_SETUP_SIZE, buf, 4), SETUP_N);
    assert_int_equal(fw_read(vm, FW_CFG_KERNEL_SIZE, buf, 4), CODE_N);
    assert_int_equal(fw_read(vm, FW_CFG_INITRD_SIZE, buf, 4), 6);
    assert_int_equal(fw_read(vm, FW_CFG_CMDLINE_SIZE, buf, 4), 11);
    fw_read(vm, FW_CFG_CMDLINE_DATA, buf, 11);
    assert_string_equal(buf, "quiet more");
    fw_read(vm, FW_CFG_SETUP_DATA, buf, sizeof(buf));
    assert_int_equal(load_le(buf + 0x228, 4), fw_read(vm, FW_CFG_CMDLINE_ADDR, buf + 1020, 4));
    assert_int_equal(load_le(buf + 0x218, 4), fw_read(vm, FW_CFG_INITRD_ADDR, buf + 1020, 4));
    assert_int_equal(load_le(buf + 0x21c, 4), 6);
    assert_int_equal(buf[0x211], 0x81);
    fw_read(vm, FW_CFG_KERNEL_DATA, buf, 1);
    assert_int_equal(buf[0], 1);
    x86_boot_free(b);
    vm_free(vm);
    close(kernel.fd);
    close(initrd.fd);
}

static void firmware_cannot_start_other_kinds(void **unused)
{
    struct vm *vm = x86_board_new(RAM);
    struct x86_boot *b;
    struct file kernel = file_of(image, make_elf(true, MIB, 0));
    const struct x86_boot_options o = { kernel.path, NULL, NULL, RAM };
    assert_null(x86_boot_open(vm, &o, &b));
    assert_true(x86_boot_needs_direct(b));
    struct error *err = x86_boot_offer(b, NULL);
    assert_non_null(strstr(error_text(err), "leave out -bios"));
    error_free(err);
    x86_boot_free(b);
    vm_free(vm);
    close(kernel.fd);
}

static void the_option_rom_has_good_headers(void **unused)
{
    uint8_t rom[LINUX_ROM_SIZE], sum = 0, pnp_sum = 0;
    linux_rom_make(rom);
    for (size_t i = 0; i < sizeof(rom); i++)
        sum += rom[i];
    const uint8_t *pnp = rom + load_le(rom + 0x1a, 2);
    for (size_t i = 0; i < 32; i++)
        pnp_sum += pnp[i];
    assert_int_equal(load_le(rom, 2), 0xaa55);
    assert_int_equal(rom[2] * 512, sizeof(rom));
    assert_int_equal(sum, 0);
    assert_memory_equal(pnp, "$PnP", 4);
    assert_int_equal(pnp_sum, 0);
    assert_true(load_le(pnp + 26, 2) < linux_rom_n); /* bootstrap entry vector */
}

/* ---- MP tables ----------------------------------------------------------------------------------------------------- */
static void mp_tables_sum_to_zero_and_count_right(void **unused)
{
    struct vm *vm = x86_board_new(RAM);
    uint8_t *t, sum = 0;
    uint32_t n = mp_table_make(vm, 0xf0000, &t);
    assert_memory_equal(t, "_MP_", 4);
    assert_int_equal(load_le(t + 4, 4), 0xf0010);
    for (unsigned i = 0; i < 16; i++)
        sum += t[i];
    assert_int_equal(sum, 0);
    assert_int_equal(load_le(t + 16 + 4, 2), n - 16);
    for (unsigned i = 16; i < n; i++)
        sum += t[i];
    assert_int_equal(sum, 0);
    unsigned n_entries = 0;
    for (uint32_t at = 16 + 44; at < n; at += t[at] ? 8 : 20)
        n_entries++;
    assert_int_equal(load_le(t + 16 + 34, 2), n_entries);
    free(t);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bzimage_starts_in_64bit_mode_with_a_zero_page),
        cmocka_unit_test(the_zero_page_has_the_memory_map),
        cmocka_unit_test(everything_a_kernel_needs_is_mapped_as_it_is),
        cmocka_unit_test(each_reset_brings_images_back_and_another_seed),
        cmocka_unit_test(the_8259s_are_masked),
        cmocka_unit_test(a_kernel_that_may_move_goes_low_when_memory_is_small),
        cmocka_unit_test(a_kernel_without_64bit_entry_starts_in_32bit_mode),
        cmocka_unit_test(each_header_field_is_checked_against_the_file),
        cmocka_unit_test(an_initrd_keeps_below_the_limit_the_kernel_names),
        cmocka_unit_test(a_64bit_elf_starts_like_linux),
        cmocka_unit_test(a_pvh_note_names_the_entry),
        cmocka_unit_test(a_32bit_elf_needs_a_protocol),
        cmocka_unit_test(a_note_that_lies_about_its_length_is_none),
        cmocka_unit_test(multiboot_1_gets_modules_and_a_memory_map),
        cmocka_unit_test(a_flat_multiboot_file_says_where_it_goes),
        cmocka_unit_test(multiboot_2_gets_tags),
        cmocka_unit_test(multiboot_2_is_refused_what_there_is_none_of),
        cmocka_unit_test(other_files_are_refused_by_what_they_are),
        cmocka_unit_test(a_command_line_without_end_is_refused),
        cmocka_unit_test(firmware_finds_a_bzimage_in_fw_cfg),
        cmocka_unit_test(firmware_cannot_start_other_kinds),
        cmocka_unit_test(the_option_rom_has_good_headers),
        cmocka_unit_test(mp_tables_sum_to_zero_and_count_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
