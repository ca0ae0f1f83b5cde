/* Prints random functions and data for the `random` guest test: random-image SEED COUNT ITEMS EXTENSION...
 * Out come COUNT slots of 32 KiB, each a function, then 8 KiB of data. */
#include "core/util.h"
#include "target/riscv/insns.h"
#include "tests/guest/riscv_random.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t feature(const char *name)
{
    static const char *const names[N_RV_EXTS] = {
#define RV_EXT(id, name_, sets) [RV_EXT_##id] = (name_),
#include "target/riscv/ext.h"
#undef RV_EXT
    };
    for (unsigned i = 0; i < N_RV_EXTS; i++)
        if (strcmp(name, names[i]) == 0)
            return (uint64_t)1 << i;
    fprintf(stderr, "random-image: no extension '%s'\n", name);
    exit(1);
}

int main(int argc, char **argv)
{
    enum { SLOT = 32768 };
    static uint8_t slot[SLOT];
    if (argc < 4) {
        fprintf(stderr, "random-image SEED COUNT ITEMS EXTENSION...\n");
        return 1;
    }
    struct riscv_random how = { .n_items = (unsigned)atoi(argv[3]),
                                .features = EXT(I) | EXT(ZICSR) };
    for (int i = 4; i < argc; i++)
        how.features |= feature(argv[i]);
    uint64_t seed = strtoull(argv[1], NULL, 0);
    for (int i = 0; i < atoi(argv[2]); i++) {
        how.seed = seed + (uint64_t)i;
        memset(slot, 0, sizeof(slot));
        if (!riscv_random_code(&how, slot, sizeof(slot))) {
            fprintf(stderr, "random-image: a function of %s items needs more room\n", argv[3]);
            return 1;
        }
        fwrite(slot, 1, sizeof(slot), stdout);
    }
    riscv_random_data(seed, slot, 8192);
    fwrite(slot, 1, 8192, stdout);
    return 0;
}
