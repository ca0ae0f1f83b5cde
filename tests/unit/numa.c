/* -numa: lines, and whether they fit together. */
#include "board.h"

#include "core/error.h"
#include "core/object.h"
#include "hw/machine/numa.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* 8 CPUs: 2 sockets of 2 cores of 2 threads. */
static const struct numa_topology topology = { 8, 1, 2, 2 };

static struct error *resolve(struct numa *n, struct vm *vm, const char *const *lines)
{
    struct error *err = NULL;
    *n = (struct numa){ 0 };
    for (; *lines && !err; lines++)
        err = numa_add(n, *lines);
    return err ? err : numa_resolve(n, vm, 4 * GIB, &topology);
}

static struct numa *resolved(struct vm *vm, const char *const *lines)
{
    struct numa *n = xcalloc(1, sizeof(*n));
    struct error *err = resolve(n, vm, lines);
    if (err)
        fail_msg("%s", error_text(err));
    return n;
}
#define RESOLVED(vm, ...) resolved(vm, (const char *const[]){ __VA_ARGS__, NULL })

static void done(struct numa *n)
{
    numa_free(n);
    free(n);
}

static void lines_say_where_cpus_and_memory_are(void **unused)
{
    struct numa *n = RESOLVED(NULL, "node,nodeid=1,cpus=4-7,mem=1G",
                              "node,cpus=0,cpus=1-3,mem=3072", "dist,src=0,dst=1,val=21");
    assert_int_equal(n->n_nodes, 2);
    assert_true(n->nodes[0].mem == 3 * GIB && n->nodes[1].mem == GIB);
    assert_int_equal(numa_node_of(n, 3), 0);
    assert_int_equal(numa_node_of(n, 4), 1);
    assert_int_equal(n->distance[0][0], 10);
    assert_int_equal(n->distance[0][1], 21);
    assert_int_equal(n->distance[1][0], 21);
    done(n);
}

static void what_is_not_said_is_shared_out(void **unused)
{
    struct numa *n = RESOLVED(NULL, "node", "node", "node");
    assert_int_equal(n->nodes[0].mem, n->nodes[1].mem);
    assert_int_equal(n->nodes[0].mem + n->nodes[1].mem + n->nodes[2].mem, 4 * GIB);
    assert_int_equal(n->nodes[0].mem % MIB, 0);
    assert_int_equal(numa_node_of(n, 3), 0); /* a socket stays together */
    assert_int_equal(numa_node_of(n, 4), 1);
    assert_int_equal(n->distance[2][1], 20);
    done(n);
}

static void cpus_are_found_by_topology(void **unused)
{
    struct numa *n = RESOLVED(NULL, "node", "node", "cpu,node-id=0,socket-id=0,core-id=0",
                              "cpu,node-id=1,socket-id=0,core-id=1", "cpu,node-id=1,socket-id=1");
    assert_int_equal(numa_node_of(n, 1), 0);
    assert_int_equal(numa_node_of(n, 2), 1);
    assert_int_equal(numa_node_of(n, 7), 1);
    done(n);
}

static void memory_may_be_objects(void **unused)
{
    struct board *b = board_new();
    assert_null(object_create(b->vm, "memory-backend-ram,id=a,size=1G"));
    assert_null(object_create(b->vm, "memory-backend-memfd,id=b,size=3G"));
    struct numa *n = RESOLVED(b->vm, "node,memdev=a", "node,memdev=b");
    assert_true(n->nodes[0].mem == GIB && n->nodes[1].mem == 3 * GIB);
    done(n);
    board_free(b);
}

static void nothing_said_is_no_numa(void **unused)
{
    struct numa n = { 0 };
    assert_null(numa_resolve(&n, NULL, GIB, &topology));
    assert_int_equal(n.n_nodes, 0);
}

static void what_does_not_fit_is_refused(void **unused)
{
    static const struct {
        const char *lines[5];
        const char *says;
    } cases[] = {
        { { "hmat-lb,initiator=0" }, "'hmat-lb' is not supported" },
        { { "nodeid=0" }, "accepted: node, cpu, dist" },
        { { "node,nodeid=128" }, "up to 127" },
        { { "node,nodeid=x" }, "not a number" },
        { { "node,nodeid=0", "node,nodeid=0" }, "given already" },
        { { "node,nodeid=1" }, "none is node 0" },
        { { "node,colour=red" }, "colour" },
        { { "node,cpus=3-1" }, "cpus='3-1'" },
        { { "node,cpus=-1" }, "cpus='-1'" },
        { { "node,cpus=1-" }, "cpus='1-'" },
        { { "node,cpus=0-1024" }, "cpus='0-1024'" },
        { { "node,cpus=000000000000000000000001" }, "neither a CPU" },
        { { "node,cpus=0-8" }, "no CPU 8" },
        { { "node,cpus=0-6" }, "CPU 7 is in no node" },
        { { "node,cpus=0-7", "node,cpus=7" }, "CPU 7 is in node 0 already" },
        { { "node,mem=1G" }, "adds up to 1024 MiB" },
        { { "node,mem=4G", "node,mem=1G" }, "more memory than" },
        { { "node,mem=99999999999999999999G" }, "not a memory size" },
        { { "node,mem=17179869183G", "node,mem=5G" }, "more memory than" },
        { { "node,mem=1,memdev=a" }, "cannot both" },
        { { "node,memdev=a" }, "no memory 'a'" },
        { { "node,mem=4G", "node,memdev=a" }, "use one of them" },
        { { "dist,src=0,dst=1,val=20" }, "there are no nodes" },
        { { "node", "node", "dist,src=0,dst=1,val=10" }, "11 to 255" },
        { { "node", "node", "dist,src=0,dst=0,val=11" }, "is 10 within" },
        { { "node", "node", "dist,src=0,val=20" }, "dst= is missing" },
        { { "node", "node", "dist,src=0,dst=2,val=20" }, "no node 2" },
        { { "node", "node", "node", "dist,src=0,dst=1,val=20" }, "nothing says how far" },
        { { "node", "cpu,node-id=0" }, "is needed" },
        { { "node", "cpu,socket-id=0" }, "node-id= is missing" },
        { { "node", "cpu,node-id=1,socket-id=0" }, "no node 1" },
        { { "node", "cpu,node-id=0,socket-id=2" }, "no CPU of this machine" },
        { { "cpu,node-id=0,socket-id=0" }, "there are no nodes" },
        { { "" }, "not supported" },
    };
    struct board *b = board_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct numa *n = xcalloc(1, sizeof(*n));
        struct error *err = resolve(n, b->vm, cases[i].lines);
        if (!err || !strstr(error_text(err), cases[i].says))
            fail_msg("'%s ...' gives '%s', which does not say '%s'", cases[i].lines[0],
                     err ? error_text(err) : "no error", cases[i].says);
        error_free(err);
        done(n);
    }
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_say_where_cpus_and_memory_are),
        cmocka_unit_test(what_is_not_said_is_shared_out),
        cmocka_unit_test(cpus_are_found_by_topology),
        cmocka_unit_test(memory_may_be_objects),
        cmocka_unit_test(nothing_said_is_no_numa),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
