/* Guest physical memory. */
#include "board.h"

#include "core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A region that remembers its last access. */
struct probe {
    uint64_t off, value, answer;
    unsigned size, n_reads, n_writes;
    uint64_t offs[8];
};

static uint64_t probe_read(void *opaque, uint64_t off, unsigned size)
{
    struct probe *p = opaque;
    p->off = off;
    p->size = size;
    if (p->n_reads < ARRAY_LEN(p->offs))
        p->offs[p->n_reads] = off;
    p->n_reads++;
    return p->answer;
}

static void probe_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct probe *p = opaque;
    p->off = off;
    p->size = size;
    p->value = value;
    if (p->n_writes < ARRAY_LEN(p->offs))
        p->offs[p->n_writes] = off;
    p->n_writes++;
}

static const struct mmio_ops probe_ops = { .read = probe_read, .write = probe_write };
static const struct mmio_ops probe_ops32 = {
    .read = probe_read, .write = probe_write, .min_size = 4, .max_size = 4
};

static void ram_reads_back_what_was_written(void **unused)
{
    struct board *b = board_new();
    char in[5000], out[5000];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)(i * 7);
    assert_true(mem_write(b->vm, BOARD_RAM + 4000, in, sizeof(in)));
    assert_true(mem_read(b->vm, BOARD_RAM + 4000, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));
    for (size_t n = 1; n <= 16; n++) {
        assert_true(mem_read(b->vm, BOARD_RAM + 4000 + n, out, n));
        assert_memory_equal(in + n, out, n);
    }
    board_free(b);
}

static void access_outside_ram_is_refused_and_writes_nothing(void **unused)
{
    struct board *b = board_new();
    uint64_t v = ~(uint64_t)0, end = BOARD_RAM + BOARD_RAM_SIZE;
    assert_false(mem_read(b->vm, end, &v, 1));
    assert_false(mem_read(b->vm, end - 4, &v, 8));
    assert_false(mem_write(b->vm, end - 4, &v, 8));
    assert_false(mem_write(b->vm, UINT64_MAX - 3, &v, 8));
    assert_false(mem_read(b->vm, UINT64_MAX - 3, &v, 8));
    assert_true(mem_read(b->vm, end - 8, &v, 8));
    assert_int_equal(v, 0);
    board_free(b);
}

static void look_for_secret(void *opaque, const char *line)
{
    bool *shown = opaque;
    *shown |= strstr(line, "secret") != NULL;
}

static void a_cpu_in_system_management_mode_has_a_view_of_its_own(void **unused)
{
    struct board *b = board_new();
    struct vcpu *cpu = board_add_vcpu(b);
    struct probe hole = { .answer = 0xffff };
    struct mem_region *secret;
    uint64_t v = 0;
    assert_ptr_equal(mem_smm_now(b->vm), mem_view_now(b->vm));
    assert_null(mem_add_ram(b->vm, "secret", 0x1000, false, &secret));
    struct mem_region *over = mem_add_mmio(b->vm, "hole", 0x1000, &probe_ops, &hole);
    mem_map_smm(secret, BOARD_RAM + 0x2000, 2);
    mem_map(over, BOARD_RAM + 0x2000, 1);
    assert_true(mem_cpu_write(cpu, BOARD_RAM + 0x2008, 8, 1));
    assert_int_equal(hole.n_writes, 1);
    cpu->in_smm = true;
    assert_true(mem_cpu_write(cpu, BOARD_RAM + 0x2008, 8, 0x1234));
    assert_true(mem_cpu_read(cpu, BOARD_RAM + 0x2008, 8, &v));
    assert_int_equal(v, 0x1234);
    assert_true(
        mem_cpu_write(cpu, BOARD_RAM + 0x1ffc, 8, 0xaaaaaaaabbbbbbbb)); /* across its border */
    assert_int_equal(load_le(mem_region_ram(secret)->host, 4), 0xaaaaaaaa);
    assert_int_equal(hole.n_writes, 1);
    assert_false(mem_read(b->vm, BOARD_RAM + 0x2008, &v, 8)); /* devices never */
    bool shown = false;
    mem_print(b->vm, look_for_secret, &shown);
    assert_true(shown);
    mem_unmap(over);
    assert_true(mem_cpu_read(cpu, BOARD_RAM + 0x2008, 8, &v));
    assert_int_equal(v, 0x1234);
    mem_unmap(secret);
    assert_ptr_equal(mem_smm_now(b->vm), mem_view_now(b->vm));
    assert_true(mem_cpu_read(cpu, BOARD_RAM + 0x2008, 8, &v));
    assert_int_equal(v, 0);
    board_free(b);
}

static void higher_priority_wins_then_the_later(void **unused)
{
    struct board *b = board_new();
    struct probe low = { .answer = 1 }, high = { .answer = 2 }, late = { .answer = 3 };
    struct mem_region *r_low = mem_add_mmio(b->vm, "low", 0x3000, &probe_ops, &low);
    struct mem_region *r_high = mem_add_mmio(b->vm, "high", 0x1000, &probe_ops, &high);
    struct mem_region *r_late = mem_add_mmio(b->vm, "late", 0x1000, &probe_ops, &late);
    mem_map(r_high, 0x1000, 1);
    mem_map(r_low, 0, 0);
    mem_map(r_late, 0x2000, 0);
    assert_int_equal(board_peek(b, 0xfff, 1), 1);
    assert_int_equal(board_peek(b, 0x1000, 1), 2);
    assert_int_equal(board_peek(b, 0x2000, 1), 3);
    assert_int_equal(late.off, 0);
    mem_unmap(r_late);
    assert_int_equal(board_peek(b, 0x2008, 1), 1);
    assert_int_equal(low.off, 0x2008);
    mem_map(r_low, 0x100000, 0); /* moves */
    uint64_t v;
    assert_false(mem_io_read(b->vm, 0, 4, &v));
    assert_int_equal(board_peek(b, 0x102ffc, 4), 1);
    board_free(b);
}

static void region_at_the_end_of_the_world_is_cut(void **unused)
{
    struct board *b = board_new();
    struct probe p = { .answer = 5 };
    mem_map(mem_add_mmio(b->vm, "p", 0x10000, &probe_ops, &p), UINT64_MAX - 0xfff, 0);
    assert_int_equal(board_peek(b, UINT64_MAX - 7, 8), 5);
    assert_int_equal(p.off, 0xff8);
    uint64_t v;
    assert_false(mem_io_read(b->vm, 0, 1, &v));
    assert_false(mem_io_read(b->vm, UINT64_MAX - 3, 8, &v)); /* wraps to address 0 */
    board_free(b);
}

static void large_and_misaligned_accesses_are_split(void **unused)
{
    struct board *b = board_new();
    struct probe p = { .answer = 0x11223344 };
    mem_map(mem_add_mmio(b->vm, "p", 0x1000, &probe_ops32, &p), 0, 0);
    assert_int_equal(board_peek(b, 8, 8), 0x1122334411223344);
    assert_int_equal(p.n_reads, 2);
    assert_int_equal(p.offs[0], 8);
    assert_int_equal(p.offs[1], 12);
    board_poke(b, 16, 8, 0xaabbccdd00112233);
    assert_int_equal(p.n_writes, 2);
    assert_int_equal(p.value, 0xaabbccdd);
    uint64_t before = b->vm->n_guest_errors;
    assert_int_equal(board_peek(b, 2, 2), 0); /* too small: refused */
    assert_int_equal(p.n_reads, 2);
    assert_int_equal(b->vm->n_guest_errors, before + 1);
    board_free(b);
}

static void access_across_two_regions_reaches_both(void **unused)
{
    struct board *b = board_new();
    struct probe p = { .answer = 0x11 }, q = { .answer = 0x22 };
    mem_map(mem_add_mmio(b->vm, "p", 0x1002, &probe_ops, &p), 0, 0);
    mem_map(mem_add_mmio(b->vm, "q", 0x1000, &probe_ops, &q), 0x1002, 0);
    board_poke(b, 0x1000, 4, 0xddccbbaa);
    assert_int_equal(p.value, 0xbbaa);
    assert_int_equal(q.value, 0xddcc);
    assert_int_equal(q.off, 0);
    assert_int_equal(board_peek(b, 0x1000, 4), 0x220011);
    board_free(b);
}

static void mmio_is_counted_by_region(void **unused)
{
    struct board *b = board_new();
    struct probe p = { 0 };
    struct mem_region *r = mem_add_mmio(b->vm, "p", 0x1000, &probe_ops, &p);
    mem_map(r, 0, 0);
    board_peek(b, 0, 4);
    board_poke(b, 0, 4, 1);
    board_poke(b, 4, 4, 1);
    assert_int_equal(mem_region_counts(r)->reads, 1);
    assert_int_equal(mem_region_counts(r)->writes, 2);
    board_free(b);
}

static void rom_is_written_by_loaders_only(void **unused)
{
    struct board *b = board_new();
    struct mem_region *rom;
    uint32_t v = 0x12345678, got;
    assert_null(mem_add_ram(b->vm, "rom", 0x1000, true, &rom));
    mem_map(rom, 0x1000, 0);
    assert_false(mem_write(b->vm, 0x1000, &v, 4));
    board_poke(b, 0x1000, 4, 99);
    assert_int_equal(b->vm->n_guest_errors, 1);
    assert_true(mem_load(b->vm, 0x1000, &v, 4));
    assert_true(mem_read(b->vm, 0x1000, &got, 4));
    assert_int_equal(got, v);
    struct iovec iov;
    unsigned n = 1;
    assert_false(mem_pin(b->vm, 0x1000, 4, true, &iov, &n));
    assert_true(mem_pin(b->vm, 0x1000, 4, false, &iov, &n));
    board_free(b);
}

/* What an engine is about to use comes with what is around it; the rest of RAM takes no memory of the host. */
static void memory_comes_in_chunks(void **unused)
{
    enum { CHUNKS = 4, PAGES = RAM_CHUNK / 4096 };
    struct board *b = board_new();
    struct mem_region *r;
    unsigned char there[CHUNKS * PAGES];
    assert_null(mem_add_ram(b->vm, "more", CHUNKS * RAM_CHUNK, false, &r));
    struct ram_block *ram = mem_region_ram(r);
    mem_about_to_use(ram, ram->host + 2 * RAM_CHUNK - 1);
    assert_int_equal(mincore(ram->host, CHUNKS * RAM_CHUNK, there), 0);
    for (unsigned k = 0; k < CHUNKS * PAGES; k++)
        assert_int_equal(there[k] & 1, k / PAGES == 1);
    board_free(b);
}

static bool has_flag(const void *at, const char *flag)
{
    char line[512], want[32];
    snprintf(want, sizeof(want), "%lx-", (unsigned long)at);
    FILE *f = fopen("/proc/self/smaps", "r");
    bool here = false, has = false;
    while (fgets(line, sizeof(line), f)) {
        if (strchr(line, '-') && strspn(line, "0123456789abcdef") >= 8)
            here = !strncmp(line, want, strlen(want));
        else if (here && !strncmp(line, "VmFlags:", 8))
            has = strstr(line, flag);
    }
    fclose(f);
    return has;
}

static const struct ram_block *main_ram(struct board *b, unsigned flags)
{
    struct mem_region *r;
    b->vm->ram_flags = flags;
    assert_null(mem_add_main_ram(b->vm, "main", MIB, &r));
    return mem_region_ram(r);
}

static void main_memory_is_as_asked_for(void **unused)
{
    struct board *b = board_new();
    unsigned char there[MIB / 4096];
    struct stat st;
    const struct ram_block *plain = main_ram(b, 0), *all = main_ram(b, RAM_PREALLOC);
    const struct ram_block *shared = main_ram(b, RAM_SHARED), *kept = main_ram(b, RAM_NO_DUMP);
    assert_int_equal(plain->fd, -1);
    assert_false(has_flag(plain->host, " dd"));
    assert_true(has_flag(kept->host, " dd"));
    assert_int_equal(mincore(all->host, MIB, there), 0);
    for (unsigned k = 0; k < MIB / 4096; k++)
        assert_int_equal(there[k] & 1, 1);
    assert_int_equal(fstat(shared->fd, &st), 0);
    assert_int_equal(st.st_size, MIB);
    shared->host[MIB - 1] = 0x5a;
    uint8_t byte = 0;
    assert_int_equal(pread(shared->fd, &byte, 1, MIB - 1), 1);
    assert_int_equal(byte, 0x5a);
    board_free(b);
}

/* A PC's shadow RAM: one part of a block is seen at two places, at one of them read-only. */
static void alias_shows_a_part_of_ram_elsewhere(void **unused)
{
    struct board *b = board_new();
    struct mem_region *ram;
    assert_null(mem_add_ram(b->vm, "low", 0x4000, false, &ram));
    struct mem_region *view = mem_add_alias(b->vm, "view", ram, 0x1000, 0x2000, false);
    struct mem_region *locked = mem_add_alias(b->vm, "locked", view, 0x1000, 0x1000, true);
    mem_map(ram, 0, 0);
    mem_map(view, 0x10000, 0);
    board_poke(b, 0x11ffe, 2, 0x1234);
    board_poke(b, 0x10ffe, 4, 0xaabbccdd);
    assert_int_equal(board_peek(b, 0x2ffe, 2), 0x1234);
    assert_int_equal(board_peek(b, 0x1ffe, 4), 0xaabbccdd);

    mem_map(locked, 0x2000, 1); /* on top of what it shows */
    board_poke(b, 0x2ffe, 2, 0);
    assert_int_equal(board_peek(b, 0x2ffe, 2), 0x1234);
    assert_false(mem_write(b->vm, 0x1ffe, "xxxx", 4));
    board_poke(b, 0x11ffe, 2, 0x5678);
    assert_int_equal(board_peek(b, 0x2ffe, 2), 0x5678);
    mem_free_region(locked);
    assert_true(mem_write(b->vm, 0x1ffe, "xxxx", 4));
    board_free(b);
}

static void rom_with_commands_answers_them(void **unused)
{
    struct board *b = board_new();
    struct mem_region *rom;
    struct probe p = { .answer = 0x80 };
    uint32_t v = 0x55aa;
    assert_null(mem_add_ram(b->vm, "flash", 0x2000, true, &rom));
    mem_map(rom, 0, 0);
    assert_true(mem_load(b->vm, 0x1000, &v, 4));
    mem_set_mmio(rom, &probe_ops, &p, false);
    board_poke(b, 0x1000, 4, 0x90);
    assert_int_equal(p.value, 0x90);
    assert_int_equal(p.off, 0x1000);
    assert_int_equal(board_peek(b, 0x1000, 4), 0x55aa);
    mem_set_mmio(rom, &probe_ops, &p, true);
    assert_int_equal(board_peek(b, 0x1000, 4), 0x80);
    assert_false(mem_read(b->vm, 0x1000, &v, 4)); /* not RAM now */
    v = 0x77;
    assert_true(mem_load(b->vm, 0x1000, &v, 4));
    mem_set_mmio(rom, NULL, NULL, false);
    assert_int_equal(board_peek(b, 0x1000, 4), 0x77);
    board_free(b);
}

static void writes_clear_the_dirty_log_bit(void **unused)
{
    struct board *b = board_new();
    struct ram_block *ram = mem_region_ram(b->ram);
    uint8_t bytes[2] = { 0 };
    for (int i = 0; i < 4; i++)
        ram->page_flags[i] = PAGE_LOG_DIRTY;
    assert_true(mem_write(b->vm, BOARD_RAM + 4095, bytes, 2));
    assert_int_equal(ram->page_flags[0], 0);
    assert_int_equal(ram->page_flags[1], 0);
    assert_int_equal(ram->page_flags[2], PAGE_LOG_DIRTY);
    mem_mark_written(b->vm, BOARD_RAM + 2 * 4096, 1);
    assert_int_equal(ram->page_flags[2], 0);
    assert_int_equal(ram->page_flags[3], PAGE_LOG_DIRTY);
    board_free(b);
}

static void pin_gives_pieces_of_neighbouring_blocks(void **unused)
{
    struct board *b = board_new();
    struct mem_region *more;
    assert_null(mem_add_ram(b->vm, "more", 0x1000, false, &more));
    mem_map(more, BOARD_RAM + BOARD_RAM_SIZE, 0);
    struct iovec iov[2];
    unsigned n = 2;
    gpa at = BOARD_RAM + BOARD_RAM_SIZE - 16;
    assert_true(mem_pin(b->vm, at, 32, true, iov, &n));
    assert_int_equal(n, 2);
    assert_int_equal(iov[0].iov_len, 16);
    assert_ptr_equal(iov[1].iov_base, mem_region_ram(more)->host);
    n = 1;
    assert_false(mem_pin(b->vm, at, 32, true, iov, &n));
    n = 2;
    assert_false(mem_pin(b->vm, at, 0x2000, true, iov, &n));
    assert_true(mem_write(b->vm, at, "0123456789abcdefghij", 20));
    assert_memory_equal(mem_region_ram(more)->host, "ghij", 4);
    board_free(b);
}

static uint64_t rung(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void doorbell_signals_instead_of_the_callback(void **unused)
{
    struct board *b = board_new();
    struct probe p = { 0 };
    struct mem_region *r = mem_add_mmio(b->vm, "p", 0x1000, &probe_ops, &p);
    int any = eventfd(0, EFD_NONBLOCK), one = eventfd(0, EFD_NONBLOCK);
    mem_map(r, 0, 0);
    assert_null(mem_add_doorbell(r, 0x10, 2, false, 0, any));
    assert_null(mem_add_doorbell(r, 0x20, 4, true, 7, one));
    struct error *err = mem_add_doorbell(r, 0x20, 4, true, 7, any);
    assert_non_null(err);
    error_free(err);
    board_poke(b, 0x10, 2, 3);
    assert_int_equal(rung(any), 1);
    assert_int_equal(p.n_writes, 0);
    board_poke(b, 0x10, 4, 3); /* other size */
    board_poke(b, 0x20, 4, 6); /* other value */
    assert_int_equal(p.n_writes, 2);
    board_poke(b, 0x20, 4, 7);
    assert_int_equal(rung(one), 1);
    mem_remove_doorbell(r, 0x10, 2, false, 0, any);
    board_poke(b, 0x10, 2, 3);
    assert_int_equal(rung(any), 0);
    assert_int_equal(p.n_writes, 3);
    close(any);
    close(one);
    board_free(b);
}

static void more_memory_than_the_host_has_is_refused(void **unused)
{
    struct board *b = board_new();
    struct mem_region *r;
    struct error *err = mem_add_ram(b->vm, "huge", (uint64_t)1 << 45, false, &r);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "this host has"));
    error_free(err);
    board_free(b);
}

static void views_are_numbered(void **unused)
{
    struct board *b = board_new();
    struct probe p = { 0 };
    uint64_t before = mem_view_now(b->vm)->generation;
    struct mem_region *r = mem_add_mmio(b->vm, "p", 0x1000, &probe_ops, &p);
    mem_map(r, 0, 0);
    assert_int_equal(mem_view_now(b->vm)->generation, before + 1);
    mem_free_region(r);
    assert_int_equal(mem_view_now(b->vm)->generation, before + 2);
    board_free(b);
}

static void ports_are_a_space_of_their_own(void **unused)
{
    struct board *b = board_new();
    struct probe p = { .answer = 0x11223344 };
    uint32_t v;
    mem_map_ports(mem_add_mmio(b->vm, "p", 4, &probe_ops, &p), 0x60, 0);
    assert_true(mem_port_read(b->vm, 0x62, 2, &v));
    assert_int_equal(v, 0x3344);
    assert_int_equal(p.off, 2);
    assert_true(mem_port_write(b->vm, 0x61, 1, 0x5a));
    assert_int_equal(p.value, 0x5a);
    assert_null(mem_view_find(mem_view_now(b->vm), 0x60));
    board_free(b);
}

static void ports_nobody_answers_read_as_ones(void **unused)
{
    struct board *b = board_new();
    struct probe p = { .answer = 0 };
    uint32_t v;
    assert_false(mem_port_read(b->vm, 0x80, 1, &v));
    assert_int_equal(v, 0xff);
    assert_false(mem_port_read(b->vm, 0xfffe, 4, &v));
    assert_int_equal(v, 0xffffffff);
    assert_false(mem_port_write(b->vm, 0x80, 4, 1));
    mem_map_ports(mem_add_mmio(b->vm, "p", 1, &probe_ops, &p), 0x81, 0);
    assert_true(mem_port_read(b->vm, 0x80, 4, &v));
    assert_int_equal(v, 0xffff00ff);
    board_free(b);
}

static void port_access_is_decided_by_its_first_byte(void **unused)
{
    struct board *b = board_new();
    struct probe address = { .answer = 0x80001234 }, reset = { .answer = 2 };
    uint32_t v;
    mem_map_ports(mem_add_mmio(b->vm, "address", 4, &probe_ops, &address), 0xcf8, 0);
    mem_map_ports(mem_add_mmio(b->vm, "reset", 1, &probe_ops, &reset), 0xcf9, 1);
    mem_port_read(b->vm, 0xcf8, 4, &v);
    assert_int_equal(v, 0x80001234);
    mem_port_read(b->vm, 0xcf9, 1, &v);
    assert_int_equal(v, 2);
    assert_int_equal(address.n_reads, 1);
    assert_int_equal(reset.n_reads, 1);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_in_chunks),
        cmocka_unit_test(main_memory_is_as_asked_for),
        cmocka_unit_test(ram_reads_back_what_was_written),
        cmocka_unit_test(access_outside_ram_is_refused_and_writes_nothing),
        cmocka_unit_test(a_cpu_in_system_management_mode_has_a_view_of_its_own),
        cmocka_unit_test(higher_priority_wins_then_the_later),
        cmocka_unit_test(region_at_the_end_of_the_world_is_cut),
        cmocka_unit_test(large_and_misaligned_accesses_are_split),
        cmocka_unit_test(access_across_two_regions_reaches_both),
        cmocka_unit_test(mmio_is_counted_by_region),
        cmocka_unit_test(rom_is_written_by_loaders_only),
        cmocka_unit_test(alias_shows_a_part_of_ram_elsewhere),
        cmocka_unit_test(rom_with_commands_answers_them),
        cmocka_unit_test(writes_clear_the_dirty_log_bit),
        cmocka_unit_test(pin_gives_pieces_of_neighbouring_blocks),
        cmocka_unit_test(doorbell_signals_instead_of_the_callback),
        cmocka_unit_test(more_memory_than_the_host_has_is_refused),
        cmocka_unit_test(views_are_numbered),
        cmocka_unit_test(ports_are_a_space_of_their_own),
        cmocka_unit_test(ports_nobody_answers_read_as_ones),
        cmocka_unit_test(port_access_is_decided_by_its_first_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
