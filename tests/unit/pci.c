/* PCI as a guest sees it: configuration space, BARs, buses, interrupts. */
#include "core/error.h"
#include "hw/pci/bridge.h"
#include "hw/pci/root_port.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* A function with one BAR of each kind, MSI and MSI-X. */
struct card {
    struct device dev;
    struct pci_function fn;
    struct mem_region *at[4];
};

static uint64_t card_read(void *opaque, uint64_t off, unsigned size)
{
    return 0x11u * (unsigned)(uintptr_t)opaque;
}

static void card_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}

static const struct mmio_ops card_ops = { card_read, card_write, 1, 8 };

enum { BAR_MEM32, BAR_MEM64, BAR_IO = 3, BAR_MSIX = 4 };

static struct error *card_realize(struct device *dev)
{
    struct card *c = container_of(dev, struct card, dev);
    static const struct pci_identity identity = {
        .vendor = 0x1234,
        .device = 0x5678,
        .class_code = 0x123456,
        .interrupt_pin = 1,
    };
    struct error *err = pci_realize(&c->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    static const uint64_t sizes[] = { 0x10000, 0x20000, 0, 0x20 };
    static const enum pci_bar_kind kinds[] = { PCI_BAR_MEM32, PCI_BAR_MEM64_PREFETCH, 0,
                                               PCI_BAR_IO };
    for (unsigned i = 0; i < 4; i++) {
        if (!sizes[i])
            continue;
        c->at[i] = mem_add_mmio(dev->vm, "card", sizes[i], &card_ops, (void *)(uintptr_t)(i + 1));
        pci_add_bar(&c->fn, i, kinds[i], c->at[i], sizes[i]);
    }
    pci_add_msi(&c->fn);
    err = pci_add_msix(&c->fn, BAR_MSIX, 70);
    if (err)
        pci_unrealize(&c->fn);
    return err;
}

static void card_unrealize(struct device *dev)
{
    pci_unrealize(&container_of(dev, struct card, dev)->fn);
}

static void card_reset(struct device *dev)
{
    pci_reset(&container_of(dev, struct card, dev)->fn);
}

static struct error *card_loaded(struct device *dev)
{
    pci_loaded(&container_of(dev, struct card, dev)->fn);
    return NULL;
}

static const struct prop card_props[] = { PCI_PROPS(struct card, fn) };
static const struct field card_state[] = { FIELD_SUB(struct card, fn, pci_function_fields, 1) };
static const struct device_class card_class = {
    .name = "card",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct card),
    .props = TABLE(card_props),
    .state = TABLE(card_state),
    .realize = card_realize,
    .unrealize = card_unrealize,
    .reset = card_reset,
    .loaded = card_loaded,
};

static struct card *card_add(struct guest *g, const char *bus, const char *addr)
{
    struct device *dev = guest_add(g, &card_class, "bus", bus, "addr", addr, NULL);
    return container_of(dev, struct card, dev);
}

enum { SLOT3 = 3 << 3 };

/* ---- configuration space ------------------------------------------------------------------------ */

static void host_bridge_is_the_generic_one(void **unused)
{
    struct guest *g = guest_new();
    assert_int_equal(guest_config_read(g, 0, 0, 4), 0x00081b36);
    assert_int_equal(guest_config_read(g, 0, 8, 4), 0x06000000);
    guest_free(g);
}

static void nobody_there_reads_as_ones(void **unused)
{
    struct guest *g = guest_new();
    assert_int_equal(guest_config_read(g, SLOT3, 0, 4), 0xffffffff);
    assert_int_equal(guest_config_read(g, SLOT3, 0, 2), 0xffff);
    assert_int_equal(board_peek(g->b, GUEST_ECAM + (255u << 20), 4), 0xffffffff);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x1234, 2), 0xffff);
    assert_int_equal(board_peek(g->b, GUEST_PIO + 0x100, 1), 0xff);
    guest_config_write(g, SLOT3, 4, 4, 7);
    guest_free(g);
}

static void identity_cannot_be_written(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    for (unsigned off = 0; off < 256; off += 4)
        guest_config_write(g, SLOT3, off, 4, 0);
    for (unsigned off = 0; off < 256; off += 4)
        guest_config_write(g, SLOT3, off, 4, 0xffffffff);
    assert_int_equal(guest_config_read(g, SLOT3, 0, 4), 0x56781234);
    assert_int_equal(guest_config_read(g, SLOT3, 9, 1), 0x56);
    assert_int_equal(guest_config_read(g, SLOT3, 10, 2), 0x1234);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_STATUS, 2), PCI_STATUS_CAPS);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_COMMAND, 2), 0x547);
    assert_int_equal(guest_config_read(g, SLOT3, 0x100, 4), 0xffffffff); /* not PCI Express */
    guest_free(g);
}

static void bytes_of_a_register_can_be_written_alone(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    guest_config_write(g, SLOT3, PCI_BAR0 + 3, 1, 0x41);
    guest_config_write(g, SLOT3, PCI_BAR0 + 2, 1, 0x23);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_BAR0, 4), 0x41230000);
    guest_free(g);
}

static void addresses_are_checked(void **unused)
{
    struct guest *g = guest_new();
    static const struct {
        const char *bus, *addr, *says;
    } bad[] = {
        { "pcie.0", "20", "slot" },          { "pcie.0", "3.8", "slot" },
        { "pcie.0", "x", "slot" },           { "pcie.0", "3.", "slot" },
        { "pcie.0", "0", "taken" },          { "pcie.0", "-1", "slot" },
        { "pcie.1", "3", "pcie.0" },         { "pcie.0", "0.1", "multifunction" },
        { "pcie.0", "99999999999", "slot" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *text = guest_refuses(g, &card_class, "bus", bad[i].bus, "addr", bad[i].addr, NULL);
        if (!strstr(text, bad[i].says))
            fail_msg("addr %s: %s", bad[i].addr, text);
        free(text);
    }
    char *text = guest_refuses(g, &card_class, "romfile", "x.rom", NULL);
    assert_non_null(strstr(text, "x.rom"));
    free(text);
    guest_free(g);
}

static void an_option_rom_appears_where_programmed(void **unused)
{
    struct guest *g = guest_new();
    uint8_t rom[5000] = { 0x55, 0xaa, 10 };
    char path[40];
    int fd = memfd_create("rom", MFD_CLOEXEC);
    rom[4999] = 0x77;
    assert_true(write(fd, rom, sizeof(rom)) == sizeof(rom));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    guest_add(g, &card_class, "bus", "pcie.0", "addr", "3", "romfile", path, NULL);
    guest_config_write(g, SLOT3, PCI_ROM, 4, 0xffffffff);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_ROM, 4), 0xffffe001);
    guest_config_write(g, SLOT3, PCI_ROM, 4, GUEST_MEM + 0x10000);
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000, 2), 0xffff); /* not enabled */
    guest_config_write(g, SLOT3, PCI_ROM, 4, (GUEST_MEM + 0x10000) | PCI_ROM_ENABLE);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000, 2), 0xaa55);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000 + 4999, 1), 0x77);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000 + 5000, 1), 0);
    board_poke(g->b, GUEST_MEM + 0x10000, 2, 0);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000, 2), 0xaa55);
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, 0);
    assert_int_equal(board_peek(g->b, GUEST_MEM + 0x10000, 2), 0xffff);
    guest_free(g);
    rom[0] = 0;
    assert_true(pwrite(fd, rom, 1, 0) == 1);
    g = guest_new();
    char *text = guest_refuses(g, &card_class, "romfile", path, NULL);
    assert_non_null(strstr(text, "55 aa"));
    free(text);
    guest_add(g, &card_class, "romfile", path, "rombar", "0", "addr", "3", NULL);
    guest_config_write(g, SLOT3, PCI_ROM, 4, 0xffffffff);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_ROM, 4), 0);
    guest_free(g);
    close(fd);
}

static void functions_share_a_slot(void **unused)
{
    struct guest *g = guest_new();
    guest_add(g, &card_class, "addr", "0x3.0", "multifunction", "on", NULL);
    guest_add(g, &card_class, "addr", "3.7", NULL);
    guest_add(g, &card_class, NULL); /* the first free slot */
    assert_int_equal(guest_config_read(g, SLOT3, PCI_HEADER_TYPE, 1), 0x80);
    assert_int_equal(guest_config_read(g, SLOT3 + 7, 0, 4), 0x56781234);
    assert_int_equal(guest_config_read(g, 1 << 3, 0, 4), 0x56781234);
    guest_free(g);
}

static void slots_run_out_with_an_error(void **unused)
{
    struct guest *g = guest_new();
    for (unsigned i = 1; i < 32; i++)
        guest_add(g, &card_class, NULL);
    char *text = guest_refuses(g, &card_class, NULL);
    assert_non_null(strstr(text, "no free slot"));
    free(text);
    guest_free(g);
}

/* ---- BARs --------------------------------------------------------------------------------------- */

static void bars_tell_their_size(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    static const uint32_t masks[] = {
        0xffff0000, 0xfffe000c, 0xffffffff, 0xffffffe1, 0xfffff000, 0
    };
    for (unsigned i = 0; i < 6; i++) {
        guest_config_write(g, SLOT3, PCI_BAR0 + 4 * i, 4, 0xffffffff);
        assert_int_equal(guest_config_read(g, SLOT3, PCI_BAR0 + 4 * i, 4), masks[i]);
    }
    guest_free(g);
}

static bool answers(struct guest *g, gpa at, unsigned bar)
{
    return board_peek(g->b, at, 2) == 0x11 * (bar + 1);
}

static void bar_appears_where_programmed_and_only_when_decoded(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    guest_config_write(g, SLOT3, PCI_BAR0, 4, 0x40010000);
    assert_false(answers(g, 0x40010000, BAR_MEM32));
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_true(answers(g, 0x40010000, BAR_MEM32));
    guest_config_write(g, SLOT3, PCI_BAR0, 4, 0x50000000);
    assert_true(answers(g, 0x50000000, BAR_MEM32));
    assert_int_equal(board_peek(g->b, 0x40010000, 2), 0xffff);
    guest_config_write(g, SLOT3, PCI_BAR0, 4, 0x80000000); /* over RAM: not ours to decode */
    assert_int_equal(board_peek(g->b, 0x80000000, 2), 0);
    guest_config_write(g, SLOT3, PCI_BAR0, 4, 0xffffffff);
    guest_config_write(g, SLOT3, PCI_BAR0 + 4, 4, 0x00020000);
    guest_config_write(g, SLOT3, PCI_BAR0 + 8, 4, 4);
    assert_true(answers(g, 0x400020000, BAR_MEM64));
    guest_config_write(g, SLOT3, PCI_BAR0 + 4 * BAR_IO, 4, 0x1000);
    assert_false(answers(g, GUEST_PIO + 0x1000, BAR_IO));
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_true(answers(g, GUEST_PIO + 0x1000, BAR_IO));
    assert_false(answers(g, 0x400020000, BAR_MEM64));
    guest_free(g);
}

static void bars_on_top_of_each_other_do_no_harm(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    card_add(g, "pcie.0", "4");
    for (unsigned slot = 3; slot < 5; slot++) {
        guest_config_write(g, slot << 3, PCI_BAR0, 4, 0x40000000);
        guest_config_write(g, slot << 3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    }
    assert_true(answers(g, 0x40000000, BAR_MEM32));
    guest_config_write(g, 3 << 3, PCI_COMMAND, 2, 0);
    assert_true(answers(g, 0x40000000, BAR_MEM32));
    guest_config_write(g, 4 << 3, PCI_COMMAND, 2, 0);
    assert_false(answers(g, 0x40000000, BAR_MEM32));
    guest_free(g);
}

static void reset_takes_bars_away(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    guest_config_write(g, SLOT3, PCI_BAR0, 4, 0x40000000);
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    vm_reset(g->b->vm);
    assert_false(answers(g, 0x40000000, BAR_MEM32));
    assert_int_equal(guest_config_read(g, SLOT3, PCI_BAR0, 4), 0);
    assert_int_equal(guest_config_read(g, SLOT3, PCI_COMMAND, 2), 0);
    guest_free(g);
}

static void bars_are_back_after_loading(void **unused)
{
    struct guest *g = guest_new();
    card_add(g, "pcie.0", "3");
    guest_place_bars(g, SLOT3);
    gpa at = guest_config_read(g, SLOT3, PCI_BAR0, 4);
    assert_true(answers(g, at, BAR_MEM32));
    board_check(g->b);
    assert_true(answers(g, at, BAR_MEM32));
    guest_free(g);
}

/* ---- buses ------------------------------------------------------------------------------------------ */

enum { PORT = 2 << 3, BUS1 = 1 << 8 }; /* devfn of bus 1 in ECAM terms */

static struct guest *behind_port(struct card **card)
{
    struct guest *g = guest_new();
    guest_add(g, &root_port_class, "id", "rp1", "addr", "2", NULL);
    *card = card_add(g, "rp1", "0");
    return g;
}

static void port_number(struct guest *g)
{
    guest_config_write(g, PORT, PCI_PRIMARY_BUS, 4, 0x00010100);
}

static void port_forwards_configuration_of_its_bus(void **unused)
{
    struct card *card;
    struct guest *g = behind_port(&card);
    assert_int_equal(guest_config_read(g, PORT, 0, 4), 0x000c1b36);
    assert_int_equal(guest_config_read(g, PORT, PCI_HEADER_TYPE, 1), 1);
    assert_int_equal(guest_config_read(g, BUS1, 0, 4), 0xffffffff);
    port_number(g);
    assert_int_equal(guest_config_read(g, BUS1, 0, 4), 0x56781234);
    assert_int_equal(guest_config_read(g, BUS1 + 8, 0, 4), 0xffffffff);
    char *text = guest_refuses(g, &card_class, "bus", "rp1", NULL);
    assert_non_null(strstr(text, "no free slot"));
    free(text);
    unsigned cap = guest_capability(g, PORT, PCI_CAP_EXPRESS, 0);
    assert_int_equal(guest_config_read(g, PORT, cap + 0x1a, 2), 0x40); /* somebody is there */
    guest_free(g);
}

static void port_forwards_only_its_windows(void **unused)
{
    struct card *card;
    struct guest *g = behind_port(&card);
    port_number(g);
    guest_config_write(g, BUS1, PCI_BAR0, 4, 0x40100000);
    guest_config_write(g, BUS1, PCI_BAR0 + 4 * BAR_IO, 4, 0x2000);
    guest_config_write(g, BUS1, PCI_COMMAND, 2, 7);
    assert_false(answers(g, 0x40100000, BAR_MEM32));
    guest_config_write(g, PORT, PCI_MEM_BASE, 4, 0x40104010);
    guest_config_write(g, PORT, PCI_IO_BASE, 2, 0x2020);
    assert_false(answers(g, 0x40100000, BAR_MEM32));
    guest_config_write(g, PORT, PCI_COMMAND, 2, 7);
    assert_true(answers(g, 0x40100000, BAR_MEM32));
    assert_true(answers(g, GUEST_PIO + 0x2000, BAR_IO));
    guest_config_write(g, PORT, PCI_MEM_BASE, 4, 0x40204020);
    assert_false(answers(g, 0x40100000, BAR_MEM32));
    /* The 64-bit BAR goes through the prefetchable window. */
    guest_config_write(g, BUS1, PCI_BAR0 + 4, 4, 0x00100000);
    guest_config_write(g, BUS1, PCI_BAR0 + 8, 4, 5);
    guest_config_write(g, PORT, PCI_PREF_BASE, 4, 0x00100010);
    guest_config_write(g, PORT, PCI_PREF_BASE_HIGH, 4, 5);
    guest_config_write(g, PORT, PCI_PREF_LIMIT_HIGH, 4, 5);
    assert_true(answers(g, 0x500100000, BAR_MEM64));
    guest_free(g);
}

static void secondary_bus_reset_resets_what_is_below(void **unused)
{
    struct card *card;
    struct guest *g = behind_port(&card);
    port_number(g);
    guest_config_write(g, BUS1, PCI_COMMAND, 2, 7);
    guest_config_write(g, PORT, PCI_BRIDGE_CONTROL, 2, 0x40);
    guest_config_write(g, PORT, PCI_BRIDGE_CONTROL, 2, 0);
    assert_int_equal(guest_config_read(g, BUS1, PCI_COMMAND, 2), 0);
    guest_free(g);
}

static void port_needs_an_id_of_its_own(void **unused)
{
    struct guest *g = guest_new();
    char *text = guest_refuses(g, &root_port_class, NULL);
    assert_non_null(strstr(text, "id="));
    free(text);
    guest_add(g, &root_port_class, "id", "rp1", NULL);
    text = guest_refuses(g, &root_port_class, "id", "rp1", NULL);
    assert_non_null(strstr(text, "rp1"));
    free(text);
    guest_free(g);
}

static void ports_behind_ports_that_point_at_themselves_end(void **unused)
{
    struct guest *g = guest_new();
    guest_add(g, &root_port_class, "id", "rp1", "addr", "2", NULL);
    guest_add(g, &root_port_class, "id", "rp2", "bus", "rp1", NULL);
    card_add(g, "rp2", "0");
    guest_config_write(g, PORT, PCI_PRIMARY_BUS, 4, 0x00ff0100);
    guest_config_write(g, BUS1, PCI_PRIMARY_BUS, 4, 0x00ff0100); /* wrong: the bus it is on */
    assert_int_equal(guest_config_read(g, 2 << 8, 0, 4), 0xffffffff);
    guest_config_write(g, BUS1, PCI_PRIMARY_BUS, 4, 0x00020201);
    assert_int_equal(guest_config_read(g, 2 << 8, 0, 4), 0x56781234);
    guest_free(g);
}

static void set_intx(struct card *c, bool level)
{
    device_lock(&c->dev);
    pci_set_intx(&c->fn, level);
    device_unlock(&c->dev);
}

enum { BRIDGED = BUS1 + (4 << 3) }; /* slot 4 of bus 1 */

static struct guest *behind_bridge(const struct device_class *cls, struct card **card)
{
    struct guest *g = guest_new();
    guest_add(g, cls, "id", "br1", "addr", "2", NULL);
    *card = card_add(g, "br1", "4");
    port_number(g);
    guest_config_write(g, BRIDGED, PCI_BAR0, 4, 0x40100000);
    guest_config_write(g, BRIDGED, PCI_BAR0 + 4 * BAR_IO, 4, 0x2000);
    guest_config_write(g, BRIDGED, PCI_COMMAND, 2, 7);
    guest_config_write(g, PORT, PCI_COMMAND, 2, 7);
    return g;
}

static void bridges_have_a_bus_of_many_slots(void **unused)
{
    static const struct {
        const struct device_class *cls;
        uint32_t id, express;
    } bridges[] = { { &pci_bridge_class, 0x00011b36, 0 },
                    { &pcie_pci_bridge_class, 0x000e1b36, 7 },
                    { &i82801b11_bridge_class, 0x244e8086, 0 } };
    for (size_t i = 0; i < ARRAY_LEN(bridges); i++) {
        struct card *card;
        struct guest *g = behind_bridge(bridges[i].cls, &card);
        assert_int_equal(guest_config_read(g, PORT, 0, 4), bridges[i].id);
        assert_int_equal(guest_config_read(g, PORT, PCI_CLASS + 1, 2), 0x0604);
        assert_int_equal(guest_config_read(g, PORT, PCI_HEADER_TYPE, 1), 1);
        unsigned cap = guest_capability(g, PORT, PCI_CAP_EXPRESS, 0);
        assert_int_equal(cap ? guest_config_read(g, PORT, cap + 2, 2) >> 4 & 15 : 0,
                         bridges[i].express);
        assert_int_equal(guest_config_read(g, BRIDGED, 0, 4), 0x56781234);
        card_add(g, "br1", "1f.0");
        assert_int_equal(guest_config_read(g, BUS1 + (31 << 3), 0, 4), 0x56781234);
        set_intx(card, true);
        assert_true(g->b->lines[2].level); /* slot 4 behind slot 2: 4 + 2, modulo 4 */
        board_check(g->b);
        guest_free(g);
    }
}

static void bridge_forwards_only_its_windows(void **unused)
{
    struct card *card;
    struct guest *g = behind_bridge(&pci_bridge_class, &card);
    assert_false(answers(g, 0x40100000, BAR_MEM32));
    guest_config_write(g, PORT, PCI_MEM_BASE, 4, 0x40104010);
    guest_config_write(g, PORT, PCI_IO_BASE, 2, 0x2020);
    assert_true(answers(g, 0x40100000, BAR_MEM32));
    assert_true(answers(g, GUEST_PIO + 0x2000, BAR_IO));
    guest_free(g);
}

static void subtractive_bridge_forwards_what_nobody_claims(void **unused)
{
    struct card *card;
    struct guest *g = behind_bridge(&i82801b11_bridge_class, &card);
    assert_int_equal(guest_config_read(g, PORT, PCI_CLASS, 1), 1);
    assert_true(answers(g, 0x40100000, BAR_MEM32));
    assert_true(answers(g, GUEST_PIO + 0x2000, BAR_IO));
    guest_config_write(g, PORT, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_false(answers(g, 0x40100000, BAR_MEM32));
    assert_true(answers(g, GUEST_PIO + 0x2000, BAR_IO));
    guest_free(g);
}

static void bridge_tells_its_chassis(void **unused)
{
    enum { SLOT_NUMBERING = 4 };
    struct guest *g = guest_new();
    guest_add(g, &pci_bridge_class, "id", "br1", "addr", "2", "chassis_nr", "9", NULL);
    guest_add(g, &pci_bridge_class, "id", "br2", "bus", "br1", "addr", "3", NULL);
    unsigned cap = guest_capability(g, PORT, SLOT_NUMBERING, 0);
    assert_int_equal(guest_config_read(g, PORT, cap + 2, 2), 0x0920);
    port_number(g);
    assert_int_equal(guest_capability(g, BUS1 + (3 << 3), SLOT_NUMBERING, 0), 0);
    guest_free(g);
}

static void virtio_behind_a_bridge_is_no_express_device(void **unused)
{
    struct guest *g = guest_new();
    const struct device_class *rng = device_class_find("virtio-rng-pci");
    guest_add(g, &pci_bridge_class, "id", "br1", "addr", "2", NULL);
    guest_add(g, rng, "bus", "br1", "addr", "4", NULL);
    port_number(g);
    assert_int_equal(guest_config_read(g, BRIDGED, 0, 4), 0x10051af4); /* transitional */
    assert_int_equal(guest_capability(g, BRIDGED, PCI_CAP_EXPRESS, 0), 0);
    guest_free(g);
}

static void virtio_classes_name_their_interfaces(void **unused)
{
    struct guest *g = guest_new();
    const struct device_class *both = device_class_find("virtio-rng-pci-transitional");
    const struct device_class *modern = device_class_find("virtio-rng-pci-non-transitional");
    guest_add(g, &root_port_class, "id", "rp1", "addr", "2", NULL);
    guest_add(g, both, "bus", "rp1", NULL); /* where a plain one would be modern only */
    guest_add(g, modern, "addr", "3", NULL);
    port_number(g);
    assert_int_equal(guest_config_read(g, BUS1, 0, 4), 0x10051af4);
    assert_int_equal(guest_config_read(g, SLOT3, 0, 4), 0x10441af4);
    char *text = guest_refuses(g, both, "disable-legacy", "on", NULL);
    assert_non_null(strstr(text, "disable-legacy=off"));
    free(text);
    text = guest_refuses(g, modern, "disable-modern", "on", NULL);
    assert_non_null(strstr(text, "disable-modern=off"));
    free(text);
    guest_free(g);
}

/* ---- interrupts ---------------------------------------------------------------------------------------- */

static void pins_are_swizzled_and_shared(void **unused)
{
    struct guest *g = guest_new();
    struct card *a = card_add(g, "pcie.0", "3"), *b = card_add(g, "pcie.0", "7");
    set_intx(a, true);
    assert_true(g->b->lines[3].level);
    set_intx(b, true);
    set_intx(a, false);
    assert_true(g->b->lines[3].level);
    set_intx(b, false);
    assert_false(g->b->lines[3].level);
    guest_free(g);
}

static void pin_of_a_bridged_device_is_swizzled_twice(void **unused)
{
    struct card *card;
    struct guest *g = behind_port(&card);
    set_intx(card, true);
    assert_true(g->b->lines[2].level); /* slot 0 behind slot 2 */
    guest_free(g);
}

static void pin_can_be_disabled(void **unused)
{
    struct guest *g = guest_new();
    struct card *c = card_add(g, "pcie.0", "3");
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    set_intx(c, true);
    assert_false(g->b->lines[3].level);
    assert_true(guest_config_read(g, SLOT3, PCI_STATUS, 2) & PCI_STATUS_INTX);
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, 0);
    assert_true(g->b->lines[3].level);
    device_reset(&c->dev);
    assert_false(g->b->lines[3].level);
    guest_free(g);
}

static struct guest *msix_ready(struct card **c, unsigned *cap, gpa *table)
{
    struct guest *g = guest_new();
    *c = card_add(g, "pcie.0", "3");
    guest_place_bars(g, SLOT3);
    *cap = guest_capability(g, SLOT3, PCI_CAP_MSIX, 0);
    *table = guest_config_read(g, SLOT3, PCI_BAR0 + 4 * BAR_MSIX, 4);
    assert_int_equal(guest_config_read(g, SLOT3, *cap + 2, 2), 69);
    guest_config_write(g, SLOT3, *cap + 2, 2, 1 << 15);
    board_poke(g->b, *table + 16 * 69, 8, BOARD_MSI);
    board_poke(g->b, *table + 16 * 69 + 8, 4, 0x1234);
    return g;
}

static void fire(struct card *c, unsigned vector)
{
    device_lock(&c->dev);
    pci_msix_fire(&c->fn, vector);
    device_unlock(&c->dev);
}

static void masked_vectors_wait(void **unused)
{
    struct card *c;
    unsigned cap;
    gpa table;
    struct guest *g = msix_ready(&c, &cap, &table);
    fire(c, 69); /* masked since reset */
    fire(c, 70); /* there is none */
    assert_int_equal(g->b->n_msis, 0);
    assert_int_equal(board_peek(g->b, table + 0x808, 8), 1 << 5);
    guest_config_write(g, SLOT3, cap + 2, 2, 3 << 14);
    board_poke(g->b, table + 16 * 69 + 12, 4, 0);
    assert_int_equal(g->b->n_msis, 0); /* all are masked */
    guest_config_write(g, SLOT3, cap + 2, 2, 1 << 15);
    assert_int_equal(g->b->n_msis, 1);
    assert_int_equal(g->b->msis[0].data, 0x1234);
    fire(c, 69);
    assert_int_equal(g->b->n_msis, 2);
    board_poke(g->b, table + 0x800, 8, ~0ull); /* pending bits are read-only */
    assert_int_equal(board_peek(g->b, table + 0x800, 8), 0);
    board_check(g->b);
    guest_free(g);
}

static void messages_need_bus_mastering(void **unused)
{
    struct card *c;
    unsigned cap;
    gpa table;
    struct guest *g = msix_ready(&c, &cap, &table);
    board_poke(g->b, table + 16 * 69 + 12, 4, 0);
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    fire(c, 69);
    assert_int_equal(g->b->n_msis, 0);
    guest_free(g);
}

static void msi_can_be_masked(void **unused)
{
    struct guest *g = guest_new();
    struct card *c = card_add(g, "pcie.0", "3");
    unsigned cap = guest_capability(g, SLOT3, PCI_CAP_MSI, 0);
    assert_false(pci_msi_fire(&c->fn));
    guest_config_write(g, SLOT3, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    guest_config_write(g, SLOT3, cap + 4, 4, BOARD_MSI + 0x10);
    guest_config_write(g, SLOT3, cap + 12, 2, 0xabc);
    guest_config_write(g, SLOT3, cap + 16, 4, 1);
    guest_config_write(g, SLOT3, cap + 2, 2, 1);
    assert_true(pci_msi_fire(&c->fn));
    assert_int_equal(g->b->n_msis, 0);
    assert_int_equal(guest_config_read(g, SLOT3, cap + 20, 4), 1);
    guest_config_write(g, SLOT3, cap + 16, 4, 0);
    assert_int_equal(g->b->n_msis, 1);
    assert_int_equal(g->b->msis[0].at, BOARD_MSI + 0x10);
    assert_int_equal(g->b->msis[0].data, 0xabc);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_bridge_is_the_generic_one),
        cmocka_unit_test(nobody_there_reads_as_ones),
        cmocka_unit_test(identity_cannot_be_written),
        cmocka_unit_test(bytes_of_a_register_can_be_written_alone),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(an_option_rom_appears_where_programmed),
        cmocka_unit_test(functions_share_a_slot),
        cmocka_unit_test(slots_run_out_with_an_error),
        cmocka_unit_test(bars_tell_their_size),
        cmocka_unit_test(bar_appears_where_programmed_and_only_when_decoded),
        cmocka_unit_test(bars_on_top_of_each_other_do_no_harm),
        cmocka_unit_test(reset_takes_bars_away),
        cmocka_unit_test(bars_are_back_after_loading),
        cmocka_unit_test(port_forwards_configuration_of_its_bus),
        cmocka_unit_test(port_forwards_only_its_windows),
        cmocka_unit_test(secondary_bus_reset_resets_what_is_below),
        cmocka_unit_test(port_needs_an_id_of_its_own),
        cmocka_unit_test(ports_behind_ports_that_point_at_themselves_end),
        cmocka_unit_test(bridges_have_a_bus_of_many_slots),
        cmocka_unit_test(bridge_forwards_only_its_windows),
        cmocka_unit_test(subtractive_bridge_forwards_what_nobody_claims),
        cmocka_unit_test(bridge_tells_its_chassis),
        cmocka_unit_test(virtio_behind_a_bridge_is_no_express_device),
        cmocka_unit_test(virtio_classes_name_their_interfaces),
        cmocka_unit_test(pins_are_swizzled_and_shared),
        cmocka_unit_test(pin_of_a_bridged_device_is_swizzled_twice),
        cmocka_unit_test(pin_can_be_disabled),
        cmocka_unit_test(masked_vectors_wait),
        cmocka_unit_test(messages_need_bus_mastering),
        cmocka_unit_test(msi_can_be_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
