#include "tests/unit/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char scratch_folder[] = "/tmp/tandem-test.XXXXXX", scratch_file[64];

int scratch_make(void **unused)
{
    (void)unused;
    if (!mkdtemp(scratch_folder))
        return -1;
    snprintf(scratch_file, sizeof(scratch_file), "%s/units", scratch_folder);
    return 0;
}

int scratch_remove(void **unused)
{
    (void)unused;
    unlink(scratch_file);
    return rmdir(scratch_folder);
}
