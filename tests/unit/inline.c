/* Which functions are inlined, and what a unit then covers, told with instructions of our own: each is one byte and has a
 * letter for its kind. */
#include "tcg/inline.h"

#include "core/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* p: plain; b, j, c followed by a digit or letter: branch, jump, call to the place with that name; r: return; e: end.
 * The call that is asked about is at 100, two bytes long; the function, named f, is at `at`. */
struct page {
    const char *text;
    int32_t at;
};

static int32_t place_named(const struct page *p, char name)
{
    const char *colon = p->text;
    int32_t off = p->at;
    for (; *colon; colon++) {
        if (colon[1] == ':' && *colon == name)
            return off;
        if (colon[1] == ':')
            colon++;
        else
            off++;
    }
    return name == 'C' ? 100 : name == 'R' ? 102 : name == 'E' ? 4096 : -1;
}

static bool scan(void *opaque, int32_t off, struct insn_scan *out)
{
    const struct page *p = opaque;
    const char *at = p->text;
    int32_t skip = off - p->at;
    *out = (struct insn_scan){ .len = 1 };
    for (; *at && (skip || at[1] == ':'); at++) {
        if (at[1] == ':')
            at++;
        else
            skip--;
    }
    switch (*at) {
    case 'p': out->kind = INSN_PLAIN; return true;
    case 'r': out->kind = INSN_RETURN; return true;
    case 'e': out->kind = INSN_END; return true;
    case 'b': out->kind = INSN_BRANCH; break;
    case 'j': out->kind = INSN_JUMP; break;
    case 'c': out->kind = INSN_CALL; break;
    default: return false;
    }
    out->len = 2;
    out->target = place_named(p, at[1]);
    return true;
}

static unsigned find(struct inlined *all, const char *text, int32_t at, unsigned limit)
{
    struct page p = { text, at };
    const struct found call = { .scan = { .len = 2, .kind = INSN_CALL, .target = at }, .off = 100 };
    return inline_find(all, limit, scan, &p, &call);
}

/* How many instructions of a function are copied behind its call; 0: it is called. */
static unsigned copied(const char *text, int32_t at)
{
    static struct inlined all;
    inline_start(&all);
    unsigned which = find(&all, text, at, 64);
    assert_int_equal(which != 0, all.n_calls);
    assert_true(which ? all.calls[0].n == all.n_insns : !all.n_insns && !all.n_spans);
    return all.n_insns;
}

static void short_functions_that_return_are_copied(void **unused)
{
    assert_int_equal(copied("r", 0), 1);
    assert_int_equal(copied("ppr", 200), 3);
    assert_int_equal(copied("pb1r1:pr", 200), 5);    /* an early return */
    assert_int_equal(copied("b1pj21:p2:r", 200), 5); /* both arms */
    assert_int_equal(copied("pj1ee1:pr", 200), 4);   /* what no way leads to is none of it */
    assert_int_equal(copied("ppppppppppppppppppppppr", 200), 23);
    assert_int_equal(copied("ppr", 4093), 3);
}

static void other_functions_are_called(void **unused)
{
    static const char *const texts[] = {
        "pe", "pcfr", "p1:pb1r", "pj1p2:r1:pj2r", "pp", "f:pjf", "pjCr", "pjRr", "b1pr1:pe", "pbEr",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (copied(texts[i], 200))
            fail_msg("%s is copied", texts[i]);
    assert_int_equal(copied("pppppppppppppppppppppppppr", 200), 0); /* too long */
    assert_int_equal(copied("ppr", 4094), 0);                       /* goes on in the next page */
    assert_int_equal(copied("pr", -1), 0);
    assert_int_equal(copied("pr", 4096), 0);
}

static void what_leads_back_to_its_call_is_called(void **unused)
{
    assert_int_equal(copied("ppppr", 98), 0); /* the call is a part of it */
    assert_int_equal(copied("pr", 102), 0);   /* so is what is behind the call */
    assert_int_equal(copied("pr", 103), 2);
    assert_int_equal(copied("pr", 98), 2);
}

static void all_copies_together_have_a_limit(void **unused)
{
    static struct inlined all;
    inline_start(&all);
    assert_int_equal(find(&all, "ppr", 200, 7), 1);
    assert_int_equal(find(&all, "ppr", 200, 7), 2);
    assert_int_equal(find(&all, "ppr", 200, 7), 0);
    assert_int_equal(all.n_insns, 6);
    assert_int_equal(find(&all, "r", 200, 7), 3);
    inline_start(&all);
    for (unsigned k = 0; k < INLINE_MOST_CALLS; k++)
        assert_int_equal(find(&all, "r", 200, 64), k + 1);
    assert_int_equal(find(&all, "r", 200, 64), 0);
}

static void a_unit_covers_the_functions_that_it_has_copies_of(void **unused)
{
    static struct inlined all;
    struct unit u = { .n_inlined = 9 };
    inline_start(&all);
    inline_cover(&all, &u);
    assert_int_equal(u.n_inlined, 0);
    assert_int_equal(find(&all, "ppr", 200, 64), 1);
    assert_int_equal(find(&all, "pppr", 202, 64), 2); /* touches it */
    assert_int_equal(find(&all, "r", 300, 64), 3);
    assert_int_equal(find(&all, "r", 400, 64), 4);
    assert_int_equal(find(&all, "r", 500, 64), 5);
    assert_int_equal(find(&all, "r", 600, 64), 0);  /* there is no room for another place, */
    assert_int_equal(find(&all, "pr", 200, 64), 6); /* but for one that is there */
    inline_cover(&all, &u);
    assert_int_equal(u.n_inlined, 4);
    assert_int_equal(u.inlined[0].from, 200);
    assert_int_equal(u.inlined[0].to, 206);
    assert_int_equal(u.inlined[3].from, 500);
    assert_int_equal(u.inlined[3].to, 501);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_functions_that_return_are_copied),
        cmocka_unit_test(other_functions_are_called),
        cmocka_unit_test(what_leads_back_to_its_call_is_called),
        cmocka_unit_test(all_copies_together_have_a_limit),
        cmocka_unit_test(a_unit_covers_the_functions_that_it_has_copies_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
