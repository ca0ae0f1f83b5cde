/* Every engine of this build, in order of preference. */
#include "cli/cli.h"

#include "core/accel.h"
#include "core/util.h"

#include "tandem-config.h"

const struct accel *const accels[] = {
#ifdef HAVE_KVM
    &kvm_accel,
#endif
    &tcg_accel,
    &lockstep_accel,
};
const size_t n_accels = ARRAY_LEN(accels);

bool cli_is_host_arch(const char *arch)
{
    return arch && !strcmp(arch, HOST_ISA);
}
