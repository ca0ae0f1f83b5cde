/* Random functions: prints each one's checksum, for comparing engines. */
#include "rt.h"

enum { SLOT = 32768, DATA = 8192 };
extern u8 random_slots[]; /* functions, then data; with their number from the runner */
extern const u64 random_n;
static u8 scratch[DATA] __attribute__((aligned(4096)));

static u64 call(u64 fn)
{
    return ((u64(*)(u8 *))fn)(scratch);
}

void test_main(void)
{
    csr_set(menvcfg, 0xf0); /* cache block operations */
    for (unsigned i = 0; i < random_n; i++) {
        for (unsigned k = 0; k < DATA; k++)
            scratch[k] = random_slots[random_n * SLOT + k];
        for (unsigned again = 0; again < 3; again++) { /* hot code too */
            struct ended e = run(M, call, (u64)random_slots + i * SLOT, 0);
            print("result ");
            print_hex(i);
            print(" ");
            if (e.cause == NO_TRAP) {
                print_hex(e.value);
            } else {
                print("trap ");
                print_hex(e.cause);
                print(" at ");
                print_hex(e.pc - (u64)random_slots - i * SLOT);
                print(" value ");
                print_hex(e.tval);
            }
            print("\n");
        }
    }
}
