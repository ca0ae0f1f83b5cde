#include "ui/faces.h"

#include "core/util.h"
#include "core/vm.h"
#include "ui/keys.h"

#include <stdlib.h>

struct faces *faces_of(struct vm *vm)
{
    if (!vm->faces) {
        struct faces *f = xcalloc(1, sizeof(*f));
        f->vm = vm;
        vm->faces = f;
    }
    return vm->faces;
}

void faces_free(struct vm *vm)
{
    if (!vm->faces)
        return;
    keys_end(vm);
    free(vm->faces);
    vm->faces = NULL;
}
