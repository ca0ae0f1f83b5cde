/* The SMBus controllers of q35 and pc, driven as Linux's i2c-i801 and i2c-piix4 and memory testers do it, and what the
 * memory modules say. */
#include "x86_board.h"

#include "core/error.h"
#include "hw/machine/machine.h"
#include "hw/misc/smbus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { BASE = 0x700, SMBUS = 0x1f << 3 | 3, PIIX4 = 1 << 3 | 3, SPD = 0x50 };
enum { STS, CNT = 2, CMD, ADDR, D0, D1, DB, AUX_CTL = 13 };
enum { BUSY = 1, INTR = 2, DEV_ERR = 4, FAILED = 0x10, INUSE = 0x40, BYTE_DONE = 0x80 };
enum { QUICK, BYTE, BYTE_DATA, WORD_DATA, BLOCK = 5, I2C_READ };
enum { INTREN = 1, KILL = 2, LAST = 0x20, START = 0x40, IRQ9 = 1 << 9 };

static char bios[40];
static int make_bios(void **unused)
{
    int fd = memfd_create("bios", MFD_CLOEXEC);
    snprintf(bios, sizeof(bios), "/proc/self/fd/%d", fd);
    return fd < 0 || ftruncate(fd, 65536);
}

static void config(struct vm *vm, unsigned devfn, unsigned off, unsigned n, uint32_t v)
{
    mem_port_write(vm, 0xcf8, 4, 0x80000000 | devfn << 8 | (off & 0xfc));
    mem_port_write(vm, 0xcfc + off % 4, n, v);
}

static uint32_t config_of(struct vm *vm, unsigned devfn, unsigned off)
{
    uint32_t v;
    mem_port_write(vm, 0xcf8, 4, 0x80000000 | devfn << 8 | off);
    mem_port_read(vm, 0xcfc, 4, &v);
    return v;
}

/* As SeaBIOS leaves it. */
static struct vm *board(const char *machine, enum irqchip where)
{
    struct machine_options o = {
        .machine = machine, .bios = bios, .ram_size = 448 * MIB, .smp = 1
    };
    struct vm *vm;
    assert_null(x86_machine_new(&o, where, &vm));
    config(vm, SMBUS, 0x20, 4, BASE | 1);
    config(vm, SMBUS, 4, 2, 1);
    config(vm, SMBUS, 0x40, 1, 1);
    if (machine[0] == 'p') {
        config(vm, PIIX4, 0x90, 4, BASE | 1);
        config(vm, PIIX4, 0xd2, 1, 9);
    }
    return vm;
}

static uint8_t get(struct vm *vm, unsigned reg)
{
    uint32_t v;
    mem_port_read(vm, BASE + reg, 1, &v);
    return (uint8_t)v;
}

static void set(struct vm *vm, unsigned reg, uint8_t v)
{
    mem_port_write(vm, BASE + reg, 1, v);
}

/* A transaction; its status. */
static uint8_t run(struct vm *vm, unsigned protocol, unsigned address, bool read, uint8_t command)
{
    set(vm, STS, 0xff);
    set(vm, ADDR, (uint8_t)(address << 1 | read));
    set(vm, CMD, command);
    set(vm, CNT, (uint8_t)(START | protocol << 2));
    return get(vm, STS) & ~INUSE;
}

static uint8_t spd_byte(struct vm *vm, unsigned module, uint8_t at)
{
    assert_int_equal(run(vm, BYTE_DATA, SPD + module, true, at), INTR);
    return get(vm, D0);
}

static const char *const machines[] = { "q35", "pc" };

static void modules_are_found_where_they_are(void **unused)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vm *vm = board(machines[i], IRQCHIP_USER);
        for (unsigned address = 0; address < 128; address++) /* 448 MiB: two modules and a rest */
            assert_int_equal(run(vm, QUICK, address, true, 0),
                             address == SPD || address == SPD + 1 ? INTR : DEV_ERR);
        assert_int_equal(spd_byte(vm, 0, 2), 0x0b);
        assert_int_equal(run(vm, WORD_DATA, SPD, true, 2), INTR);
        assert_int_equal(get(vm, D0) | get(vm, D1) << 8, 0x020b);
        assert_int_equal(run(vm, BYTE, SPD, false, 128), INTR);
        assert_int_equal(run(vm, BYTE, SPD, true, 0), INTR);
        assert_int_equal(get(vm, D0), 'T');
        assert_int_equal(run(vm, BYTE, SPD, true, 0), INTR); /* the next one */
        assert_int_equal(get(vm, D0), 'A');
        x86_machine_free(vm);
    }
}

static void modules_cannot_be_written(void **unused)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vm *vm = board(machines[i], IRQCHIP_USER);
        set(vm, D0, 0x55);
        for (unsigned protocol = BYTE_DATA; protocol <= BLOCK; protocol++)
            assert_int_equal(run(vm, protocol, SPD, false, 2), DEV_ERR);
        assert_int_equal(spd_byte(vm, 0, 2), 0x0b);
        x86_machine_free(vm);
    }
}

static void interrupts_come_by_pin_or_irq9(void **unused)
{
    struct vm *vm = board("q35", IRQCHIP_USER);
    set(vm, ADDR, SPD << 1 | 1);
    set(vm, CNT, START | INTREN);
    assert_true(config_of(vm, SMBUS, 4) >> 16 & 8);
    set(vm, STS, INTR);
    assert_false(config_of(vm, SMBUS, 4) >> 16 & 8);
    x86_machine_free(vm);
    vm = board("pc", IRQCHIP_ENGINE);
    set(vm, ADDR, SPD << 1 | 1);
    set(vm, CNT, START | INTREN);
    assert_true(x86_machine_lines(vm) & IRQ9);
    config(vm, PIIX4, 0xd2, 1, 1); /* now an SMI */
    assert_false(x86_machine_lines(vm) & IRQ9);
    config(vm, PIIX4, 0xd2, 1, 9);
    set(vm, STS, INTR);
    assert_false(x86_machine_lines(vm) & IRQ9);
    x86_machine_free(vm);
}

/* i801_block_transaction_byte_by_byte of Linux, I2C's protocol. */
static void ich9_reads_a_block_byte_by_byte(void **unused)
{
    struct vm *vm = board("q35", IRQCHIP_USER);
    char text[7] = "";
    set(vm, STS, 0xff);
    set(vm, ADDR, SPD << 1);
    set(vm, D1, 128);
    set(vm, CNT, START | I2C_READ << 2);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(get(vm, STS) & ~INUSE, BUSY | BYTE_DONE);
        text[i] = (char)get(vm, DB);
        assert_int_equal(get(vm, DB), text[i]);
        if (i == 4)
            set(vm, CNT, LAST | I2C_READ << 2);
        set(vm, STS, BYTE_DONE);
    }
    assert_int_equal(get(vm, STS) & ~INUSE, INTR);
    assert_string_equal(text, "TANDEM");
    set(vm, CNT, START | I2C_READ << 2);
    set(vm, CNT, KILL);
    assert_int_equal(get(vm, STS) & (BUSY | FAILED), FAILED);
    x86_machine_free(vm);
}

/* Byte 3, 2, says that a block of two bytes follows. */
static void a_block_of_smbus_has_its_length_in_front(void **unused)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vm *vm = board(machines[i], IRQCHIP_USER);
        if (!i)
            set(vm, AUX_CTL, 2); /* all in the buffer at once, as PIIX4 has it */
        assert_int_equal(run(vm, BLOCK, SPD, true, 3), INTR);
        assert_int_equal(get(vm, D0), 2);
        get(vm, CNT);
        get(vm, DB);
        get(vm, CNT); /* from the start */
        assert_int_equal(get(vm, DB), spd_byte(vm, 0, 4));
        assert_int_equal(run(vm, BLOCK, SPD, true, 0), DEV_ERR); /* of 0x92 bytes */
        x86_machine_free(vm);
    }
}

static void ich9_is_in_use_until_that_is_cleared(void **unused)
{
    struct vm *vm = board("q35", IRQCHIP_USER);
    assert_int_equal(get(vm, STS), 0);
    assert_int_equal(get(vm, STS), INUSE);
    set(vm, STS, INUSE);
    assert_int_equal(get(vm, STS), 0);
    x86_machine_free(vm);
}

static void nothing_starts_while_the_host_is_disabled(void **unused)
{
    struct vm *vm = board("q35", IRQCHIP_USER);
    config(vm, SMBUS, 0x40, 1, 0);
    assert_int_equal(run(vm, QUICK, SPD, true, 0), 0);
    x86_machine_free(vm);
    vm = board("pc", IRQCHIP_USER);
    config(vm, PIIX4, 0xd2, 1, 0);
    assert_int_equal(get(vm, STS), 0xff); /* nobody is there */
    x86_machine_free(vm);
}

static void smbus_off_leaves_none(void **unused)
{
    struct vm *vm = board("q35,smbus=off", IRQCHIP_USER);
    assert_int_equal(config_of(vm, SMBUS, 0), 0xffffffff);
    x86_machine_free(vm);
    vm = board("pc,smbus=off", IRQCHIP_USER);
    assert_int_equal(config_of(vm, PIIX4, 0x90), 1);
    assert_int_equal(get(vm, STS), 0xff);
    x86_machine_free(vm);
}

/* Annex K: bytes 4, 5, 7 and 8. */
static uint64_t capacity_mib(const uint8_t *spd)
{
    unsigned width = 4 << (spd[7] & 7), ranks = 1 + (spd[7] >> 3 & 7);
    uint64_t chip_mbit = (uint64_t)256 << (spd[4] & 15);
    return chip_mbit / 8 * (8 << (spd[8] & 7)) / width * ranks;
}

static uint64_t addressed_mib(const uint8_t *spd)
{
    static const uint8_t ranks[] = { 1, 2, 3, 4 };
    unsigned rows = 12 + (spd[5] >> 3 & 7), columns = 9 + (spd[5] & 7), banks = 3;
    return ((uint64_t)8 << (rows + columns + banks)) / MIB * ranks[spd[7] >> 3 & 7];
}

/* The remainder over bytes and sum together is none. */
static unsigned crc_rest(const uint8_t *spd)
{
    unsigned rest = 0;
    for (unsigned i = 0; i < 117 + 2; i++) {
        uint8_t byte = i < 117 ? spd[i] : spd[127 - (i - 117)];
        for (unsigned bit = 8; bit--;) {
            rest = rest << 1 | (byte >> bit & 1);
            if (rest & 0x10000)
                rest ^= 0x11021;
        }
    }
    return rest;
}

static void every_size_is_described(void **unused)
{
    for (uint32_t mib = 128; mib <= 65536; mib *= 2) {
        uint8_t spd[SMBUS_SPD_SIZE];
        spd_fill(spd, mib);
        assert_int_equal(capacity_mib(spd), mib);
        assert_int_equal(addressed_mib(spd), capacity_mib(spd));
        assert_int_equal(crc_rest(spd), 0);
    }
}

static void modules_add_up_to_the_ram(void **unused)
{
    static const struct {
        uint64_t ram;
        uint32_t mib[4];
    } cases[] = {
        { 3 * GIB, { 2048, 1024 } },
        { 100 * MIB, { 0 } },
        { 200 * GIB, { 65536, 65536, 65536, 8192 } },
        { 1536 * MIB + 1, { 1024, 512 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct smbus s = { 0 };
        smbus_set_ram(&s, cases[i].ram);
        for (unsigned n = 0; n < 4; n++)
            assert_int_equal(s.modules_mib[n], cases[i].mib[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_are_found_where_they_are),
        cmocka_unit_test(modules_cannot_be_written),
        cmocka_unit_test(interrupts_come_by_pin_or_irq9),
        cmocka_unit_test(ich9_reads_a_block_byte_by_byte),
        cmocka_unit_test(a_block_of_smbus_has_its_length_in_front),
        cmocka_unit_test(ich9_is_in_use_until_that_is_cleared),
        cmocka_unit_test(nothing_starts_while_the_host_is_disabled),
        cmocka_unit_test(smbus_off_leaves_none),
        cmocka_unit_test(every_size_is_described),
        cmocka_unit_test(modules_add_up_to_the_ram),
    };
    return cmocka_run_group_tests(tests, make_bios, NULL);
}
