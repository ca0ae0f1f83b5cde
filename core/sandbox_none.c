/* For builds without libseccomp. */
#include "core/error.h"
#include "core/sandbox.h"

#include <stddef.h>
#include <sys/prctl.h>

struct error *sandbox_enter(const struct sandbox_needs *needs)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return error_errno("cannot give up privileges (use -sandbox off)");
    return NULL;
}

bool sandbox_filters(void)
{
    return false;
}
