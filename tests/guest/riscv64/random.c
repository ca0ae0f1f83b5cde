/* Random functions: prints each one's checksum, for comparing engines. */
#include "rt.h"

enum { SLOT = 32768, DATA = 8192 };
extern u8 random_slots[]; /* functions, then data; with their number from the runner */
extern const u64 random_n;

/* Where the data is: a page of its own; across two pages; across two pages that are not neighbours in
 * memory, in S-mode under Sv39. */
enum { ONE_PAGE, TWO_PAGES, MAPPED, N_PLACES };
static const u64 middle = 2040;
static u8 pages[4][4096] __attribute__((aligned(4096)));
static u64 root[512] __attribute__((aligned(4096)));
static u64 table1[512] __attribute__((aligned(4096)));
static u64 table0[512] __attribute__((aligned(4096)));
static const u64 mapped_at = 0x40000000;
static const u8 order[4] = { 2, 0, 3, 1 };

static u64 call(u64 fn, u64 scratch)
{
    return ((u64(*)(u64))fn)(scratch);
}

static void make_tables(void)
{
    enum { V = 1, RWXAD = 0xcf };
    root[2] = 0x80000000 >> 2 | RWXAD;
    root[1] = (u64)table1 >> 2 | V;
    table1[0] = (u64)table0 >> 2 | V;
    for (unsigned i = 0; i < 4; i++)
        table0[i] = (u64)pages[order[i]] >> 2 | RWXAD;
}

/* Fresh data for a place; gives its address for the function. */
static u64 prepare(unsigned place)
{
    u64 from = place == ONE_PAGE ? 0 : middle;
    for (u64 k = 0; k < DATA; k++) {
        u64 at = from + k;
        u8 *page = pages[place == MAPPED ? order[at >> 12] : at >> 12];
        page[at & 4095] = random_slots[random_n * SLOT + k];
    }
    csr_write(satp, place == MAPPED ? 8ul << 60 | (u64)root >> 12 : 0);
    __asm__ volatile("sfence.vma" : : : "memory");
    return (place == MAPPED ? mapped_at : (u64)pages) + from;
}

static void print_ended(const struct ended *e, u64 fn)
{
    if (e->cause == NO_TRAP) {
        print_hex(e->value);
        return;
    }
    print("trap ");
    print_hex(e->cause);
    print(" at ");
    print_hex(e->pc - fn);
    print(" value ");
    print_hex(e->tval);
}

void test_main(void)
{
    make_tables();
    csr_set(menvcfg, 0xf0); /* cache block operations */
    for (unsigned i = 0; i < random_n; i++) {
        u64 fn = (u64)random_slots + i * SLOT;
        print("result ");
        print_hex(i);
        for (unsigned place = 0; place < N_PLACES; place++) {
            u64 scratch = prepare(place);
            for (unsigned again = 0; again < 2; again++) { /* hot code too */
                struct ended e = run(place == MAPPED ? S : M, call, fn, scratch);
                print(" ");
                print_ended(&e, fn);
            }
        }
        print("\n");
    }
}
