/* General queries and settings: q and Q packets. */
#include "ui/gdb_session.h"

#include "core/error.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what both sides can do ------------------------------------------------------------------------- */

static bool has_feature(const char *list, const char *feature)
{
    size_t n = strlen(feature);
    for (const char *at = list; (at = strstr(at, feature)); at += n)
        if ((at == list || at[-1] == ';' || at[-1] == ':') && (!at[n] || at[n] == ';'))
            return true;
    return false;
}

static void supported(struct gdb *g, const char *args)
{
    g->names_points = has_feature(args, "swbreak+") && has_feature(args, "hwbreak+");
    g->text_errors = has_feature(args, "error-message+");
    text_print(&g->a,
               "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
               "swbreak+;hwbreak+;vContSupported+;binary-upload+;error-message+",
               GDB_PACKET - 1);
}

/* ---- threads: vCPUs --------------------------------------------------------------------------------- */

static const char *doing(const struct vcpu *cpu)
{
    return cpu->powered_off ? "off" : cpu->halted ? "halted" : "running";
}

static void list_threads(struct gdb *g)
{
    text_print(&g->a, "m");
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        text_print(&g->a, "%s%x", i ? "," : "", i + 1);
}

static void describe_thread(struct gdb *g, const char *args)
{
    int cpu;
    char text[64];
    if (!gdb_thread(g, &args, (int)g->g_cpu, &cpu) || cpu < 0) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    snprintf(text, sizeof(text), "CPU#%d [%s]", cpu, doing(g->vm->vcpus[cpu]));
    text_hex(&g->a, text, strlen(text));
}

static char *threads_xml(struct gdb *g)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    fprintf(f, "<?xml version=\"1.0\"?>\n<threads>\n");
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        fprintf(f, "<thread id=\"%x\" core=\"%u\" name=\"vCPU %u\">%s</thread>\n", i + 1, i, i,
                doing(g->vm->vcpus[i]));
    fprintf(f, "</threads>\n");
    fclose(f);
    return text;
}

/* ---- documents, piece by piece ---------------------------------------------------------------------- */

/* "OFFSET,LENGTH": l and the last of it, or m and some of it. */
static void send_piece(struct gdb *g, const char *args, const char *document)
{
    uint64_t off, n, size = strlen(document);
    if (!hex_number(&args, &off) || *args++ != ',' || !hex_number(&args, &n)) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    off = MIN(off, size);
    n = MIN(MIN(n, size - off), (uint64_t)GDB_PACKET / 2);
    text_put(&g->a, off + n == size ? "l" : "m", 1);
    text_put(&g->a, document + off, n);
}

static void transfer(struct gdb *g, const char *args)
{
    static const char features[] = "features:read:target.xml:", threads[] = "threads:read::";
    if (!strncmp(args, features, strlen(features))) {
        if (!g->description)
            g->description = gdb_describe(g);
        send_piece(g, args + strlen(features), g->description);
    } else if (!strncmp(args, threads, strlen(threads))) {
        char *text = threads_xml(g);
        send_piece(g, args + strlen(threads), text);
        free(text);
    } else if (!strncmp(args, "features:read:", 14)) {
        gdb_error(g, 0); /* no such annex */
    }
}

/* ---- the monitor ------------------------------------------------------------------------------------ */

static void print_line(void *opaque, const char *line)
{
    struct gdb *g = opaque;
    char data[2 * 1024 + 4];
    struct gdb_text t = { data, 0, sizeof(data) };
    text_put(&t, "O", 1);
    text_hex(&t, line, MIN(strlen(line), (size_t)1024));
    text_hex(&t, "\n", 1);
    link_send(&g->link, t.at, t.n);
}

static void run_command(struct gdb *g, const char *args)
{
    char line[512];
    size_t n = strlen(args) / 2;
    if (n >= sizeof(line) || args[2 * n] || !hex_bytes(args, (uint8_t *)line, n) ||
        !g->hooks.command) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    line[n] = 0;
    g->hooks.command(g->hooks.opaque, line, print_line, g);
    text_print(&g->a, "OK");
}

/* ---- tables ----------------------------------------------------------------------------------------- */

static void query_current(struct gdb *g, const char *args)
{
    text_print(&g->a, "QC%x", g->g_cpu + 1);
}

static void query_first_threads(struct gdb *g, const char *args)
{
    list_threads(g);
}

static void query_end(struct gdb *g, const char *args)
{
    text_print(&g->a, "l");
}

static void query_attached(struct gdb *g, const char *args)
{
    text_print(&g->a, "1");
}

static void query_symbol(struct gdb *g, const char *args)
{
    text_print(&g->a, "OK");
}

static void query_step_names(struct gdb *g, const char *args)
{
    text_print(&g->a, "ENABLE=%x,NOIRQ=%x", GDB_STEP_ENABLE, GDB_STEP_NO_IRQ);
}

static void query_step_bits(struct gdb *g, const char *args)
{
    text_print(&g->a, "0x%x", g->step_bits);
}

static void query_physical(struct gdb *g, const char *args)
{
    text_print(&g->a, "%d", g->physical);
}

struct query {
    const char *name;
    char end; /* what follows: nothing if 0 */
    void (*answer)(struct gdb *g, const char *args);
};
static const struct query queries[] = {
    { "Supported", ':', supported },
    { "Supported", 0, supported },
    { "C", 0, query_current },
    { "fThreadInfo", 0, query_first_threads },
    { "sThreadInfo", 0, query_end },
    { "ThreadExtraInfo", ',', describe_thread },
    { "Attached", 0, query_attached },
    { "Attached", ':', query_attached },
    { "Symbol", ':', query_symbol },
    { "Xfer", ':', transfer },
    { "Rcmd", ',', run_command },
    { "qemu.sstepbits", 0, query_step_names }, /* what QEMU's users have in their scripts */
    { "qemu.sstep", 0, query_step_bits },
    { "qemu.PhyMemMode", 0, query_physical },
};

static void set_no_acks(struct gdb *g, const char *args)
{
    text_print(&g->a, "OK"); /* takes effect behind this answer: gdb.c */
}

static void set_step_bits(struct gdb *g, const char *args)
{
    uint64_t bits;
    if (!strncmp(args, "0x", 2))
        args += 2;
    if (!hex_number(&args, &bits) || *args || bits & ~(uint64_t)GDB_STEP_BITS) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    g->step_bits = (uint8_t)bits;
    text_print(&g->a, "OK");
}

static void set_physical(struct gdb *g, const char *args)
{
    g->physical = *args != '0';
    text_print(&g->a, "OK");
}

static void set_non_stop(struct gdb *g, const char *args)
{
    if (!strcmp(args, "0"))
        text_print(&g->a, "OK");
    else
        gdb_fail(g, error_new("there is no non-stop mode: all vCPUs stop together"));
}

static const struct query settings[] = {
    { "StartNoAckMode", 0, set_no_acks },
    { "NonStop", ':', set_non_stop },
    { "qemu.sstep", '=', set_step_bits },
    { "qemu.PhyMemMode", ':', set_physical },
};

static void look_up(struct gdb *g, const struct query *table, size_t n, const char *args)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(table[i].name);
        if (strncmp(args, table[i].name, length) || args[length] != table[i].end)
            continue;
        table[i].answer(g, args + length + (table[i].end != 0));
        return;
    }
}

void gdb_query(struct gdb *g, const char *args)
{
    look_up(g, queries, ARRAY_LEN(queries), args);
}

void gdb_set(struct gdb *g, const char *args)
{
    look_up(g, settings, ARRAY_LEN(settings), args);
}
