#include "ui/library.h"

#include "core/error.h"

#include <dlfcn.h>

struct error *library_open(const char *soname, const char *const *names, size_t n, void *to)
{
    void **pointers = to;
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return error_new("%s cannot be loaded: %s", soname, dlerror());
    for (size_t i = 0; i < n; i++) {
        pointers[i] = dlsym(library, names[i]);
        if (!pointers[i])
            return error_new("%s is not the version expected: it has no %s", soname, names[i]);
    }
    return NULL;
}
