/* Integer instructions, compressed ones and bit manipulation: what make_cases.py computed. */
#include "rt.h"

struct row {
    u64 (*fn)(u64 a, u64 b);
    u64 a, b, expected;
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
    return now->fn(now->a, now->b);
}

void test_main(void)
{
    for (u64 i = 0; i < n_cases; i++) {
        const struct op *op = &cases[i];
        u64 k = 0;
        for (; k < op->n; k++) {
            now = &op->rows[k];
            struct ended e = run(M, call, 0, 0);
            if (e.cause == ILLEGAL)
                break;
            if (e.cause != NO_TRAP || e.value != now->expected) {
                print("# ");
                print_hex(now->a);
                print(" ");
                print_hex(now->b);
                print("\n");
                check_equal(e.value, now->expected, op->name);
                break;
            }
        }
        if (k == op->n)
            check(1, op->name);
        else if (this_hart()->ended.cause == ILLEGAL)
            skip(op->name, "not there");
    }
}
