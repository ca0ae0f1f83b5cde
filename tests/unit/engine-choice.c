/* Which engine runs a guest, and what is said about it. The kernel's answers about /dev/kvm are made up:
 * open and ioctl of the whole program go through here (linked with --wrap). */
#include "cli/cli.h"
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "tandem-config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    bool on;
    bool software; /* the processor has no part in it */
    int open_errno, create_errno, version;
} fake;

static int file_of(const char *text)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

int __real_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int);
    va_end(args);
    if (fake.on && !strcmp(path, "/proc/cpuinfo"))
        return file_of(fake.software ? "flags\t\t: fpu vmxnet hypervisor svme\n"
                                     : "flags\t\t: fpu vmx svm\n");
    if (!fake.on || strcmp(path, "/dev/kvm"))
        return __real_open(path, flags, mode);
    errno = fake.open_errno;
    return fake.open_errno ? -1 : __real_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int);
    va_end(args);
    return __wrap_open(path, flags, mode);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (!fake.on || _IOC_TYPE(request) != KVMIO)
        return __real_ioctl(fd, request, arg);
    if (request == KVM_GET_API_VERSION)
        return fake.version ? fake.version : KVM_API_VERSION;
    errno = request == KVM_CREATE_VM && fake.create_errno ? fake.create_errno : ENOTTY;
    return request == KVM_CREATE_VM && !fake.create_errno ? dup(fd) : -1;
}

struct outcome {
    const struct accel *accel;
    char text[600]; /* what is said before the guest starts, or why there is none */
};

static struct outcome choice_of(int argc, char **argv)
{
    struct outcome o = { 0 };
    struct cli cli;
    struct built built = { 0 };
    cli_init(&cli);
    struct error *err = cli_parse(&cli, argc, argv);
    if (!err)
        err = cli_build(&cli, &built);
    o.accel = built.vm ? built.vm->accel : NULL;
    snprintf(o.text, sizeof(o.text), "%s%s%s", cli.engine_line ? cli.engine_line : "",
             cli.engine_line && err ? " | " : "", err ? error_text(err) : "");
    error_free(err);
    cli_unbuild(&built);
    cli_free(&cli);
    return o;
}
#define CHOICE(arch, ...)                                                          \
    choice_of((int)ARRAY_LEN(((char *[]){ "", "-display", "none", __VA_ARGS__ })), \
              (char *[]){ "qemu-system-" arch, "-display", "none", __VA_ARGS__, NULL })

static void assert_says(const struct outcome *o, const char *part)
{
    if (!strstr(o->text, part))
        fail_msg("'%s' is not in '%s'", part, o->text);
}

#ifdef HAVE_KVM
static void each_reason_not_to_use_kvm_is_told(void **unused)
{
    const struct {
        int open_errno, create_errno, version;
        const char *said;
    } cases[] = {
        { ENOENT, 0, 0,
          "not kvm: there is no /dev/kvm: load the kernel's module with `modprobe kvm" },
        { EACCES, 0, 0,
          "not kvm: no permission to use /dev/kvm: `sudo usermod -aG kvm $USER` and a new login" },
        { EPERM, 0, 0, "`sudo usermod -aG kvm $USER`" },
        { ENODEV, 0, 0, "not kvm: this host's CPU or firmware does not offer virtualization" },
        { EMFILE, 0, 0, "not kvm: cannot open /dev/kvm: Too many open files" },
        { 0, EBUSY, 0, "not kvm: another hypervisor on this host uses its virtualization" },
        { 0, ENOMEM, 0, "not kvm: KVM cannot make a virtual machine: Cannot allocate memory" },
        { 0, 0, 11, "not kvm: /dev/kvm speaks version 11 of its interface, not 12" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake.on = true;
        fake.open_errno = cases[i].open_errno;
        fake.create_errno = cases[i].create_errno;
        fake.version = cases[i].version;
        struct outcome o = CHOICE(HOST_ISA, "-cpu", "none-such"); /* nothing starts */
        assert_says(&o, cases[i].said);
        assert_ptr_not_equal(o.accel, &kvm_accel);
        o = CHOICE(HOST_ISA, "-enable-kvm");
        assert_says(&o, "no engine can run this guest");
        assert_says(&o, cases[i].said);
    }
    memset(&fake, 0, sizeof(fake));
}

static void kvm_is_the_default_where_it_can_serve(void **unused)
{
    fake.on = true;
    struct outcome o = CHOICE(HOST_ISA, "-cpu", "none-such");
    assert_ptr_equal(o.accel, &kvm_accel);
    assert_null(strstr(o.text, "using -accel"));
    o = CHOICE(HOST_ISA, "-accel", "kvm", "-accel", "tcg", "-cpu", "none-such");
    assert_ptr_equal(o.accel, &kvm_accel);
    memset(&fake, 0, sizeof(fake));
}

static void kvm_in_software_is_taken_by_name_only(void **unused)
{
    if (strcmp(HOST_ISA, "x86_64") != 0) {
        print_message("# only x86 has such a KVM\n");
        skip();
    }
    fake.on = fake.software = true;
    struct outcome o = CHOICE(HOST_ISA, "-cpu", "none-such");
    assert_ptr_equal(o.accel, &tcg_accel);
    assert_says(&o, "using -accel tcg; not kvm: it works without the processor's virtualization");
    o = CHOICE(HOST_ISA, "-M", "accel=kvm:tcg", "-cpu", "none-such");
    assert_ptr_equal(o.accel, &kvm_accel);
    memset(&fake, 0, sizeof(fake));
}

static void another_instruction_set_is_the_translators(void **unused)
{
    if (!strcmp(HOST_ISA, "riscv64")) {
        print_message("# riscv64 is this host's own\n");
        skip();
    }
    struct outcome o = CHOICE("riscv64", "-bios", "none");
    assert_ptr_equal(o.accel, &tcg_accel);
    assert_string_equal(o.text, ""); /* nobody asked for anything else */
    o = CHOICE("riscv64", "-bios", "none", "-enable-kvm");
    assert_string_equal(o.text, "no engine can run this guest; not kvm: KVM runs only " HOST_ISA
                                " guests on this host, and this one is riscv64");
    o = CHOICE("riscv64", "-bios", "none", "-M", "accel=kvm:tcg");
    assert_ptr_equal(o.accel, &tcg_accel);
    assert_string_equal(o.text, "using -accel tcg; not kvm: KVM runs only " HOST_ISA
                                " guests on this host, and this one is riscv64");
    o = CHOICE("riscv64", "-bios", "none", "-accel", "kvm", "-accel", "tcg,tb-size=8");
    assert_ptr_equal(o.accel, &tcg_accel);
    assert_says(&o, "using -accel tcg; not kvm: ");
}
#endif

static void first_of_the_list_that_serves_is_taken(void **unused)
{
    struct outcome o = CHOICE("riscv64", "-bios", "none", "-M", "accel=tcg:kvm");
    assert_ptr_equal(o.accel, &tcg_accel);
    assert_string_equal(o.text, "");
}

static void unknown_engines_are_refused(void **unused)
{
    struct outcome o = CHOICE("riscv64", "-bios", "none", "-accel", "tcgg");
    assert_string_equal(o.text,
                        "-accel: unknown engine 'tcgg'; did you mean 'tcg'?; -accel help lists "
                        "them");
    o = CHOICE("riscv64", "-bios", "none", "-M",
               "accel=tcg:zzzzzz"); /* even behind one that serves */
    assert_says(&o, "-accel: unknown engine 'zzzzzz'");
    o = CHOICE("riscv64", "-bios", "none", "-accel", "tcg,tb-sise=8");
    assert_says(&o, "tb-sise");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef HAVE_KVM
        cmocka_unit_test(each_reason_not_to_use_kvm_is_told),
        cmocka_unit_test(kvm_is_the_default_where_it_can_serve),
        cmocka_unit_test(kvm_in_software_is_taken_by_name_only),
        cmocka_unit_test(another_instruction_set_is_the_translators),
#endif
        cmocka_unit_test(first_of_the_list_that_serves_is_taken),
        cmocka_unit_test(unknown_engines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
