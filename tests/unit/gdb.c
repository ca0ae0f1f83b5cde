/* gdb's remote protocol, by a client that sends packets: a RISC-V or x86-64 guest on the translator. */
#include "ui/gdb.h"

#include "core/accel.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RAM  ((uint64_t)0x80000000)
#define CODE (RAM + 0x4000)
#define DATA (RAM + 0x8000)
enum { RAM_SIZE = 4 << 20, ROUNDS = 4000 };

struct session {
    struct vm *vm;
    struct chardev *wire;
    struct gdb *g;
    char got[1 << 17]; /* what came and was not looked at yet */
    size_t n;
    char packet[1 << 16];
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void command(void *opaque, const char *line, void (*print)(void *to, const char *text),
                    void *to)
{
    print(to, line);
    print(to, "done");
}

static void open_vm(struct session *s, const struct target *target, const char *model, unsigned n,
                    uint64_t ram_at)
{
    struct mem_region *ram;
    *s = (struct session){ 0 };
    must(vm_new(&s->vm));
    s->vm->accel = &tcg_accel;
    s->vm->target = target;
    must(target->cpu_model(s->vm, model));
    must(tcg_accel.vm_create(s->vm, "tb-size=2"));
    must(mem_add_ram(s->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, ram_at, 0);
    for (unsigned i = 0; i < n; i++) {
        struct vcpu *cpu;
        must(vcpu_new(s->vm, i, &cpu));
    }
    vm_reset(s->vm);
    must(chardev_open(s->vm, "wire", "ringbuf,size=128K", &s->wire));
    s->g = gdb_new(s->vm, s->wire, &(struct gdb_hooks){ command, NULL });
}

static void close_vm(struct session *s)
{
    gdb_free(s->g);
    chardev_close(s->wire);
    vm_free(s->vm);
}

/* All vCPUs at the same code. */
static void open_riscv(struct session *s, const uint32_t *code, size_t n, unsigned n_cpus)
{
    open_vm(s, &riscv64_target, "max", n_cpus, RAM);
    assert_true(mem_write(s->vm, CODE, code, 4 * n));
    for (unsigned i = 0; i < n_cpus; i++) {
        struct riscv_cpu *r = riscv_of(s->vm->vcpus[i]);
        r->pc = CODE;
        r->mtvec = RAM + 0x1000;
        r->x[11] = DATA;
        r->x[12] = i;
    }
}

/* ---- the client ------------------------------------------------------------------------------------- */

static void read_wire(struct session *s)
{
    s->n += chardev_ringbuf_read(s->wire, (uint8_t *)s->got + s->n, sizeof(s->got) - 1 - s->n);
    s->got[s->n] = 0;
}

static void send_raw(struct session *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += 4096)
        chardev_feed(s->wire, (const uint8_t *)bytes + i, n - i < 4096 ? n - i : 4096);
}

static void send_bytes(struct session *s, const char *data, size_t n)
{
    char *text = malloc(n + 8);
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint8_t)data[i];
    text[0] = '$';
    memcpy(text + 1, data, n);
    snprintf(text + 1 + n, 5, "#%02x", sum);
    send_raw(s, text, n + 4);
    free(text);
}

/* The next packet, "" if none comes. */
static const char *receive(struct session *s)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        read_wire(s);
        char *begin = memchr(s->got, '$', s->n);
        char *end = begin ? memchr(begin, '#', s->n - (size_t)(begin - s->got)) : NULL;
        if (end && end + 2 < s->got + s->n) {
            size_t n = (size_t)(end - begin - 1);
            memcpy(s->packet, begin + 1, n);
            s->packet[n] = 0;
            s->n -= (size_t)(end + 3 - s->got);
            memmove(s->got, end + 3, s->n);
            return s->packet;
        }
        loop_once(s->vm->loop, 2);
    }
    return strcpy(s->packet, "(nothing)");
}

static void send_text(struct session *s, const char *text)
{
    send_bytes(s, text, strlen(text));
}

static const char *ask(struct session *s, const char *text)
{
    send_text(s, text);
    return receive(s);
}

static void expect(struct session *s, const char *text, const char *answer)
{
    assert_string_equal(ask(s, text), answer);
}

static void expect_part(struct session *s, const char *text, const char *part)
{
    ask(s, text);
    if (!strstr(s->packet, part))
        fail_msg("%s: '%s' is not in '%s'", text, part, s->packet);
}

static bool is_quiet(struct session *s)
{
    for (unsigned i = 0; i < 5; i++)
        loop_once(s->vm->loop, 2);
    read_wire(s);
    return !memchr(s->got, '$', s->n);
}

static uint64_t reg(struct session *s, unsigned n)
{
    char text[16];
    uint64_t v = 0;
    snprintf(text, sizeof(text), "p%x", n);
    ask(s, text);
    for (size_t i = strlen(s->packet); i; i -= 2) {
        unsigned byte;
        sscanf(s->packet + i - 2, "%2x", &byte);
        v = v << 8 | byte;
    }
    return v;
}

/* An assertion of a stop at pc. */
static void stopped(struct session *s, const char *text, const char *why, unsigned pc_reg,
                    uint64_t pc)
{
    expect_part(s, text, why);
    assert_int_equal(reg(s, pc_reg), pc);
}

/* ---- framing ---------------------------------------------------------------------------------------- */

/* 1: addi t0, t0, 1; sd t0, 0(a1); j 1b */
static const uint32_t count_up[] = { 0x00128293, 0x0055b023, 0xff9ff06f };

static void a_wrong_checksum_is_answered_by_minus(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    send_raw(&s, "$qC#00", 6);
    read_wire(&s);
    assert_string_equal(s.got, "-");
    s.n = 0;
    send_raw(&s, "garbage $nothing$qC#b4", 22); /* the last $ counts */
    read_wire(&s);
    assert_string_equal(s.got, "+$QC1#c5");
    s.n = 0;
    send_raw(&s, "-", 1); /* again */
    read_wire(&s);
    assert_string_equal(s.got, "$QC1#c5");
    s.n = 0;
    expect(&s, "QStartNoAckMode", "OK");
    s.n = 0;
    send_raw(&s, "$qC#b4", 6);
    read_wire(&s);
    assert_string_equal(s.got, "$QC1#c5");
    close_vm(&s);
}

static void what_is_not_known_has_an_empty_answer(void **unused)
{
    static const char *const unknown[] = { "vMustReplyEmpty", "qNoSuch", "Qnone:1", "Z7,0,1", "y",
                                           "vRun;a",          "_M1" };
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
        expect(&s, unknown[i], "");
    char *huge = malloc(100000);
    memset(huge, 'm', 100000);
    send_bytes(&s, huge, 100000);
    free(huge);
    assert_string_equal(receive(&s), "");
    close_vm(&s);
}

static void malformed_requests_are_errors(void **unused)
{
    static const char *const bad[] = { "m",
                                       "m,",
                                       "mxyz,4",
                                       "m80000000",
                                       "m80000000,4,",
                                       "m12345678123456789,1",
                                       "M80000000,4:12",
                                       "X80000000,4:1",
                                       "Hx1",
                                       "Hg7",
                                       "T9",
                                       "T",
                                       "p",
                                       "pffff",
                                       "P0",
                                       "P0=12",
                                       "P20=zz",
                                       "vCont;",
                                       "vCont;q",
                                       "vCont;s:9",
                                       "vCont;t",
                                       "vCont;r1",
                                       "Z0,,4",
                                       "Z2,80000000,0",
                                       "Z2,0,ffffffff",
                                       "qRcmd,0",
                                       "qXfer:threads:read::x",
                                       "qXfer:features:read:other.xml:0,10",
                                       "qThreadExtraInfo,55",
                                       "Qqemu.sstep=7",
                                       "QNonStop:1",
                                       "C",
                                       "Sx" };
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ask(&s, bad[i]);
        if (s.packet[0] != 'E')
            fail_msg("%s: %s", bad[i], s.packet);
    }
    expect(&s, "QNonStop:0", "OK");
    expect_part(&s, "qSupported:error-message+", "PacketSize=");
    expect(&s, "QNonStop:1", "E.there is no non-stop mode: all vCPUs stop together");
    close_vm(&s);
}

/* ---- registers and memory --------------------------------------------------------------------------- */

static void registers_are_read_and_written(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 2);
    struct riscv_cpu *r = riscv_of(s.vm->vcpus[1]);
    expect(&s, "Hg2", "OK");
    r->x[5] = 0x1122334455667788;
    assert_int_equal(reg(&s, 5), 0x1122334455667788);
    assert_int_equal(strlen(ask(&s, "g")), 33 * 16);
    expect(&s, "P5=0100000000000080", "OK");
    assert_true(r->x[5] == 0x8000000000000001);
    expect(&s, "P0=0100000000000080", "OK");
    assert_int_equal(r->x[0], 0);
    expect(&s, "P20=0040008000000000", "OK");
    assert_int_equal(r->pc, CODE);
    expect(&s, "P21=000000000000f03f", "OK"); /* ft0 = 1.0 */
    assert_int_equal(r->f[0], 0x3ff0000000000000);
    char all[34 * 16];
    snprintf(all, sizeof(all), "G%s", ask(&s, "g"));
    memcpy(all + 1 + 5 * 16, "0700000000000000", 16);
    send_text(&s, all);
    assert_string_equal(receive(&s), "OK");
    assert_int_equal(r->x[5], 7);
    assert_int_equal(riscv_of(s.vm->vcpus[0])->x[5], 0);
    close_vm(&s);
}

/* The number of a register in the description. */
static unsigned number_of(const char *xml, const char *name)
{
    char text[64];
    unsigned n = 0;
    snprintf(text, sizeof(text), "<reg name=\"%s\"", name);
    for (const char *at = xml; (at = strstr(at, "<reg name=")); at++, n++)
        if (!strncmp(at, text, strlen(text)))
            return n;
    fail_msg("no register %s", name);
    return 0;
}

static char *description(struct session *s)
{
    char *xml = calloc(1, 1 << 17), request[64];
    size_t n = 0;
    do {
        snprintf(request, sizeof(request), "qXfer:features:read:target.xml:%zx,%x", n, 0x7ff);
        ask(s, request);
        for (const char *at = s->packet + 1; *at; at++)
            xml[n++] = *at == '}' ? (char)(*++at ^ 0x20) : *at;
    } while (s->packet[0] == 'm');
    assert_int_equal(s->packet[0], 'l');
    return xml;
}

static void csrs_are_registers(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    char *xml = description(&s), text[64];
    assert_non_null(strstr(xml, "<architecture>riscv:rv64</architecture>"));
    struct riscv_cpu *r = riscv_of(s.vm->vcpus[0]);
    r->mtvec = 0x80001000;
    assert_int_equal(reg(&s, number_of(xml, "mtvec")), 0x80001000);
    assert_int_equal(reg(&s, number_of(xml, "priv")), RV_M);
    snprintf(text, sizeof(text), "P%x=0034120000000000", number_of(xml, "stvec"));
    expect(&s, text, "OK");
    assert_int_equal(r->stvec, 0x123400);
    snprintf(text, sizeof(text), "P%x=0100000000000000", number_of(xml, "priv"));
    expect(&s, text, "OK");
    assert_int_equal(r->priv, RV_S);
    assert_int_equal(reg(&s, number_of(xml, "mhartid")), 0); /* whatever the mode */
    free(xml);
    close_vm(&s);
}

static void memory_is_virtual_or_physical(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    struct riscv_cpu *r = riscv_of(s.vm->vcpus[0]);
    uint64_t entry = (RAM >> 12) << 10 | 0xcf; /* a gigabyte from address 0 */
    assert_true(mem_write(s.vm, RAM + 0x10000, &entry, 8));
    r->satp = (uint64_t)RV_SV39 << 60 | (RAM + 0x10000) >> 12;
    r->priv = RV_S;
    expect(&s, "m4000,4", "93821200");
    expect(&s, "m4000,4", "93821200");
    expect(&s, "M8000,3:010203", "OK");
    expect(&s, "mffffffff80000000,4", "E0e");
    expect(&s, "qqemu.PhyMemMode", "0");
    expect(&s, "Qqemu.PhyMemMode:1", "OK");
    expect(&s, "qqemu.PhyMemMode", "1");
    expect(&s, "m80008000,3", "010203");
    expect(&s, "m4000,4", "E0e");
    expect(&s, "m803fffff,2", "00"); /* what there is of it */
    send_bytes(&s, "X80008000,3:\x07}\x03\x01", 16);
    assert_string_equal(receive(&s), "OK");
    expect(&s, "m80008000,3", "072301");
    expect(&s, "x80008001,1", "b}\x03");
    expect(&s, "X80000000,0:", "OK");
    close_vm(&s);
}

/* ---- running ---------------------------------------------------------------------------------------- */

static void a_written_instruction_is_the_one_that_runs(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    stopped(&s, "s", "T05", 32, CODE + 4);
    stopped(&s, "s", "T05", 32, CODE + 8);
    stopped(&s, "s", "T05", 32, CODE);
    expect(&s, "M80004000,4:93827200", "OK"); /* addi t0, t0, 7 */
    stopped(&s, "s", "T05", 32, CODE + 4);
    assert_int_equal(reg(&s, 5), 8);
    close_vm(&s);
}

static void points_stop_and_say_which(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    expect_part(&s, "qSupported:swbreak+;hwbreak+", "swbreak+");
    expect(&s, "Z0,80004004,4", "OK");
    stopped(&s, "c", "T05swbreak:;", 32, CODE + 4);
    stopped(&s, "c", "T05swbreak:;", 32, CODE + 4);
    expect(&s, "z0,80004004,4", "OK");
    expect(&s, "Z1,80004008,4", "OK");
    stopped(&s, "vCont;c", "T05hwbreak:;", 32, CODE + 8);
    expect(&s, "z1,80004008,4", "OK");
    expect(&s, "Z2,80008000,8", "OK");
    stopped(&s, "vCont;c", "T05watch:80008000;", 32,
            CODE + 4); /* before the store, as on hardware */
    stopped(&s, "vCont;c", "T05watch:80008000;", 32, CODE + 4);
    stopped(&s, "vCont;s:1", "T0520:", 32, CODE + 8);
    expect(&s, "z2,80008000,8", "OK");
    expect(&s, "Z3,80008000,8", "OK");
    send_text(&s, "c"); /* never read */
    assert_true(is_quiet(&s));
    send_raw(&s, "\3", 1);
    assert_non_null(strstr(receive(&s), "T02"));
    expect(&s, "z3,80008000,8", "OK");
    expect(&s, "Z4,80008003,14", "OK"); /* any bytes, any length */
    stopped(&s, "c", "T05awatch:80008003;", 32, CODE + 4);
    close_vm(&s);
}

static void too_many_points_are_refused(void **unused)
{
    struct session s;
    char text[64];
    open_riscv(&s, count_up, 3, 1);
    for (unsigned i = 0; i < VCPU_MAX_POINTS; i++) {
        snprintf(text, sizeof(text), "Z0,%x,4", 0x1000 + 4 * i);
        expect(&s, text, "OK");
    }
    expect(&s, "Z0,80004004,4", "E1c");
    expect(&s, "z0,1000,4", "OK");
    expect(&s, "Z0,80004004,4", "OK");
    stopped(&s, "c", "T05", 32, CODE + 4);
    close_vm(&s);
}

static void a_range_is_stepped_out_of(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    stopped(&s, "vCont;r80004000,80004008:1", "T05", 32, CODE + 8);
    expect(&s, "vCont?", "vCont;c;C;s;S;t;r");
    close_vm(&s);
}

static void only_the_named_vcpu_runs(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 4);
    expect(&s, "qfThreadInfo", "m1,2,3,4");
    expect(&s, "qsThreadInfo", "l");
    expect_part(&s, "vCont;s:3", "thread:3;");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(riscv_of(s.vm->vcpus[i])->pc, i == 2 ? CODE + 4 : CODE);
    expect(&s, "T4", "OK");
    expect(&s, "qC", "QC3");
    expect_part(&s, "qThreadExtraInfo,2", "435055233120"); /* "CPU#1 " */
    expect_part(&s, "qXfer:threads:read::0,1000", "<thread id=\"4\" core=\"3\"");
    expect(&s, "Z0,80004008,4", "OK");
    expect_part(&s, "vCont;c:2", "thread:2;");
    assert_int_equal(riscv_of(s.vm->vcpus[0])->pc, CODE);
    close_vm(&s);
}

/* Each of four vCPUs meets the same breakpoint: none of the stops is lost. */
static void stops_at_the_same_time_are_told_one_by_one(void **unused)
{
    struct session s;
    unsigned seen = 0;
    open_riscv(&s, count_up, 3, 4);
    expect(&s, "Z0,80004008,4", "OK");
    for (unsigned i = 0; i < 4; i++) {
        ask(&s, "vCont;c");
        unsigned id;
        const char *at = strstr(s.packet, "thread:");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "thread:%x", &id), 1);
        struct riscv_cpu *r = riscv_of(s.vm->vcpus[id - 1]);
        assert_int_equal(r->pc, CODE + 8);
        seen |= 1u << id;
        r->pc = RAM + 0x100; /* and away: a loop of its own */
        const uint32_t loop = 0x0000006f;
        assert_true(mem_write(s.vm, RAM + 0x100, &loop, 4));
    }
    assert_int_equal(seen, 0x1e);
    send_text(&s, "vCont;c");
    assert_true(is_quiet(&s));
    close_vm(&s);
}

static void interrupting_tells_so(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    vm_start(s.vm);
    expect_part(&s, "?", "T05"); /* it stands for who looks */
    assert_int_equal(s.vm->state, RUN_PAUSED);
    assert_int_equal(s.vm->stopped_for, STOP_DEBUG);
    send_text(&s, "c");
    assert_true(is_quiet(&s));
    assert_int_equal(s.vm->state, RUN_RUNNING);
    send_raw(&s, "\3", 1);
    assert_non_null(strstr(receive(&s), "T02"));
    send_raw(&s, "\3", 1); /* it stands already */
    assert_true(is_quiet(&s));
    close_vm(&s);
}

static void who_detaches_leaves_no_trace(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 2);
    expect(&s, "Z0,80004004,4", "OK");
    expect_part(&s, "vCont;s:1", "T05");
    expect(&s, "D", "OK");
    assert_true(is_quiet(&s));
    assert_int_equal(s.vm->state, RUN_RUNNING);
    uint64_t before = 0, now = 0;
    for (unsigned i = 0; i < ROUNDS && now <= before; i++) {
        assert_true(mem_read(s.vm, DATA, &now, 8));
        before = before ? before : now;
        loop_once(s.vm->loop, 1);
    }
    assert_true(now > before);
    expect_part(&s, "?", "T05"); /* and comes back */
    assert_int_equal(s.vm->state, RUN_PAUSED);
    close_vm(&s);
}

/* What count_up stored. */
static uint64_t counted(struct session *s)
{
    uint64_t v;
    assert_true(mem_read(s->vm, DATA, &v, 8));
    return v;
}

static void a_stop_by_others_is_told(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    send_text(&s, "c");
    assert_true(is_quiet(&s));
    vm_pause(s.vm); /* a look by the monitor */
    vm_start(s.vm);
    assert_true(is_quiet(&s));
    vm_stop(s.vm, STOP_USER);
    assert_non_null(strstr(receive(&s), "T02"));
    assert_int_equal(s.vm->stopped_for, STOP_USER);
    must(vm_continue(s.vm)); /* behind the client's back */
    assert_true(is_quiet(&s));
    for (unsigned i = 0; i < ROUNDS && !counted(&s); i++)
        loop_once(s.vm->loop, 2);
    assert_true(reg(&s, 5) > 0);
    assert_int_equal(s.vm->state, RUN_PAUSED);
    close_vm(&s);
}

static void the_end_of_the_run_is_told(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    send_text(&s, "c");
    assert_true(is_quiet(&s));
    vm_request_end(s.vm, VERDICT_GUEST_EXIT, 7, NULL);
    for (unsigned i = 0; i < 100 && s.vm->state != RUN_ENDED; i++)
        loop_once(s.vm->loop, 2);
    gdb_free(s.g);
    s.g = NULL;
    assert_string_equal(receive(&s), "W07");
    close_vm(&s);
    open_riscv(&s, count_up, 3, 1);
    send_text(&s, "vKill;1");
    assert_string_equal(receive(&s), "OK");
    for (unsigned i = 0; i < 100 && s.vm->state != RUN_ENDED; i++)
        loop_once(s.vm->loop, 2);
    assert_int_equal(s.vm->verdict, VERDICT_QUIT);
    close_vm(&s);
}

static void a_closed_server_lets_the_guest_run_on(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    send_text(&s, "Z1,80004004,4");
    assert_string_equal(receive(&s), "OK");
    assert_true(gdb_has_client(s.g));
    send_text(&s, "c");
    assert_non_null(strstr(receive(&s), "T05"));
    assert_int_equal(s.vm->state, RUN_PAUSED);
    gdb_close(s.g);
    s.g = NULL;
    assert_int_equal(s.vm->state, RUN_RUNNING);
    assert_false(s.vm->is_debugged);
    for (unsigned i = 0; i < ROUNDS && !s.vm->n_asleep; i++)
        loop_once(s.vm->loop, 0);
    send_text(&s, "?");
    assert_true(is_quiet(&s)); /* nobody listens, and nothing is said */
    assert_int_equal(s.vm->state, RUN_RUNNING);
    vm_pause(s.vm);
    close_vm(&s);
}

static void a_guest_that_hangs_ends_only_undebugged(void **unused)
{
    static const uint32_t hang[] = { 0x10500073, 0xffdff06f }; /* 1: wfi; j 1b */
    struct session s;
    open_riscv(&s, hang, 2, 1);
    send_text(&s, "c");
    for (unsigned i = 0; i < ROUNDS && !s.vm->n_asleep; i++)
        loop_once(s.vm->loop, 2);
    assert_true(is_quiet(&s));
    assert_int_equal(s.vm->state, RUN_RUNNING);
    send_raw(&s, "\3", 1);
    assert_non_null(strstr(receive(&s), "T02"));
    assert_int_equal(reg(&s, 32), CODE + 4);
    expect(&s, "D", "OK");
    for (unsigned i = 0; i < ROUNDS && s.vm->state != RUN_ENDED; i++)
        loop_once(s.vm->loop, 2);
    assert_int_equal(s.vm->verdict, VERDICT_ALL_HALTED);
    close_vm(&s);
}

static void the_monitor_answers(void **unused)
{
    struct session s;
    open_riscv(&s, count_up, 3, 1);
    expect(&s, "qRcmd,696e666f", "O696e666f0a"); /* "info" */
    assert_string_equal(receive(&s), "O646f6e650a");
    assert_string_equal(receive(&s), "OK");
    expect(&s, "qqemu.sstepbits", "ENABLE=1,NOIRQ=2");
    expect(&s, "Qqemu.sstep=0x1", "OK");
    expect(&s, "qqemu.sstep", "0x1");
    close_vm(&s);
}

/* ---- x86-64 ----------------------------------------------------------------------------------------- */

/* 1: inc ax; mov [0x600], ax; jmp 1b */
static const uint8_t real[] = { 0x40, 0xa3, 0x00, 0x06, 0xeb, 0xfa };

static void real_mode_shows_offsets_and_stops_at_linear_addresses(void **unused)
{
    struct session s;
    open_vm(&s, &x86_64_target, "max", 1, 0);
    assert_true(mem_write(s.vm, 0x8000, real, sizeof(real)));
    struct x86_cpu *x = x86_of(s.vm->vcpus[0]);
    x->rip = 0;
    x->seg[X86_CS].selector = 0x800;
    x->seg[X86_CS].base = 0x8000;
    expect_part(&s, "qSupported:swbreak+;hwbreak+", "PacketSize");
    expect(&s, "Z1,8004,1", "OK");
    stopped(&s, "c", "T0510:", 16, 4); /* no word of a breakpoint: gdb would look at 4 */
    stopped(&s, "c", "T0510:", 16, 4);
    assert_int_equal(x->gpr[X86_RAX], 2);
    expect(&s, "z1,8004,1", "OK");
    expect(&s, "Z2,600,2", "OK");
    stopped(&s, "c", "T05watch:600;", 16, 4);
    expect(&s, "P12=00100000", "OK"); /* cs: its base follows */
    assert_int_equal(x->seg[X86_CS].base, 0x10000);
    close_vm(&s);
}

static void x87_and_vectors_are_registers(void **unused)
{
    struct session s;
    open_vm(&s, &x86_64_target, "max", 1, 0);
    char *xml = description(&s), text[96];
    assert_non_null(strstr(xml, "i386:x86-64"));
    struct x86_cpu *x = x86_of(s.vm->vcpus[0]);
    x->fsw = 7 << 11;
    x->ftw = 0x80;
    store_le(x->st[0], 8, 0x8000000000000000);
    store_le(x->st[0] + 8, 2, 0x3fff);
    assert_int_equal(reg(&s, number_of(xml, "ftag")), 0x3fff);
    snprintf(text, sizeof(text), "p%x", number_of(xml, "st0"));
    expect(&s, text, "0000000000000080ff3f");
    snprintf(text, sizeof(text), "P%x=000102030405060708090a0b0c0d0e0f", number_of(xml, "xmm3"));
    expect(&s, text, "OK");
    assert_int_equal(x->zmm[3][15], 15);
    x->cr3 = 0x1234000;
    assert_int_equal(reg(&s, number_of(xml, "cr3")), 0x1234000);
    assert_int_equal(reg(&s, number_of(xml, "cs_base")), 0xffff0000);
    free(xml);
    close_vm(&s);
}

static void a_cpu_without_long_mode_has_32_bit_registers(void **unused)
{
    struct session s;
    open_vm(&s, &x86_64_target, "pentium3", 1, 0);
    char *xml = description(&s);
    assert_non_null(strstr(xml, "<architecture>i8086</architecture>"));
    assert_int_equal(strlen(ask(&s, "g")), 16 * 8);
    assert_int_equal(reg(&s, number_of(xml, "eip")), 0xfff0);
    x86_of(s.vm->vcpus[0])->gpr[X86_RSP] = 0x1234;
    expect_part(&s, "?", "T058:f0ff0000;4:34120000;thread:1;");
    expect(&s, "D", "OK");
    vm_stop(s.vm, STOP_USER);
    x86_place_flat(s.vm->vcpus[0], 0x8000, 0);
    free(xml);
    xml = description(&s);
    assert_non_null(strstr(xml, "<architecture>i386</architecture>"));
    free(xml);
    close_vm(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_checksum_is_answered_by_minus),
        cmocka_unit_test(what_is_not_known_has_an_empty_answer),
        cmocka_unit_test(malformed_requests_are_errors),
        cmocka_unit_test(registers_are_read_and_written),
        cmocka_unit_test(csrs_are_registers),
        cmocka_unit_test(memory_is_virtual_or_physical),
        cmocka_unit_test(a_written_instruction_is_the_one_that_runs),
        cmocka_unit_test(points_stop_and_say_which),
        cmocka_unit_test(too_many_points_are_refused),
        cmocka_unit_test(a_range_is_stepped_out_of),
        cmocka_unit_test(only_the_named_vcpu_runs),
        cmocka_unit_test(stops_at_the_same_time_are_told_one_by_one),
        cmocka_unit_test(interrupting_tells_so),
        cmocka_unit_test(who_detaches_leaves_no_trace),
        cmocka_unit_test(a_stop_by_others_is_told),
        cmocka_unit_test(the_end_of_the_run_is_told),
        cmocka_unit_test(a_closed_server_lets_the_guest_run_on),
        cmocka_unit_test(a_guest_that_hangs_ends_only_undebugged),
        cmocka_unit_test(the_monitor_answers),
        cmocka_unit_test(real_mode_shows_offsets_and_stops_at_linear_addresses),
        cmocka_unit_test(x87_and_vectors_are_registers),
        cmocka_unit_test(a_cpu_without_long_mode_has_32_bit_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
