/* Floating point, results and flags in every rounding mode: what make_cases.py computed. */
#include "rt.h"

struct row {
    u64 (*fn)(u64 a, u64 b, u64 c);
    u64 a, b, c, frm, expected, flags;
};
struct op {
    const char *name;
    const struct row *rows;
    u64 n;
};
extern const struct op cases[];
extern const u64 n_cases;

static const struct row *now;
static u64 call(void)
{
    csr_write(fcsr, now->frm << 5);
    u64 v = now->fn(now->a, now->b, now->c);
    return v;
}

static int holds(const struct row *r, const char *name)
{
    now = r;
    struct ended e = run(M, call, 0, 0);
    u64 flags = csr_read(fflags);
    if (e.cause == NO_TRAP && e.value == r->expected && flags == r->flags)
        return 1;
    if (e.cause == ILLEGAL) {
        skip(name, "not there");
        return 0;
    }
    print("# ");
    print_hex(r->a);
    print(" ");
    print_hex(r->b);
    print(" ");
    print_hex(r->c);
    print(" frm ");
    print_hex(r->frm);
    print(" flags ");
    print_hex(flags);
    print(", expected ");
    print_hex(r->flags);
    print("\n");
    check_equal(e.value, r->expected, name);
    if (e.value == r->expected)
        check_equal(flags, r->flags, name);
    return 0;
}

void test_main(void)
{
    for (u64 i = 0; i < n_cases; i++) {
        const struct op *op = &cases[i];
        u64 k = 0;
        while (k < op->n && holds(&op->rows[k], op->name))
            k++;
        if (k == op->n)
            check(1, op->name);
    }
    csr_write(fcsr, 0);
}
