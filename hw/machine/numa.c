/* -numa: what each line says is only noted; whether it fits together shows when all is said. */
#include "hw/machine/numa.h"

#include "core/backends.h"
#include "core/error.h"
#include "core/object.h"
#include "core/options.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOCAL = 10, REMOTE = 20, UNREACHABLE = 255 }; /* ACPI 6.4, 5.2.17 */

/* -numa cpu: all CPUs with these ids; -1: any. */
struct numa_cpu_rule {
    unsigned node;
    int socket, die, core, thread;
};

/* ---- lines ------------------------------------------------------------------------------------------ */
static struct error *get_number(struct options *list, const char *name, uint64_t most,
                                uint64_t *out)
{
    const char *text = options_get(list, name);
    if (text && !parse_uint(text, most, out))
        return error_new("%s='%s' is not a number up to %llu", name, text,
                         (unsigned long long)most);
    return NULL;
}

static struct error *need_number(struct options *list, const char *name, uint64_t most,
                                 uint64_t *out)
{
    return options_get(list, name) ? get_number(list, name, most, out)
                                   : error_new("%s= is missing", name);
}

static struct error *set_cpu_node(struct numa *n, unsigned cpu, unsigned node)
{
    if (n->cpu_node[cpu] && n->cpu_node[cpu] != (int)node + 1)
        return error_new("CPU %u is in node %d already", cpu, n->cpu_node[cpu] - 1);
    n->cpu_node[cpu] = (int16_t)(node + 1);
    return NULL;
}

/* "3" or "0-3". */
static struct error *add_cpus(struct numa *n, unsigned node, const char *text)
{
    uint64_t first, last;
    char start[16];
    size_t length = strcspn(text, "-");
    snprintf(start, sizeof(start), "%.*s", (int)MIN(length, sizeof(start) - 1), text);
    const char *end = text[length] ? text + length + 1 : start;
    if (length >= sizeof(start) || !parse_uint(start, NUMA_MAX_CPUS - 1, &first) ||
        !parse_uint(end, NUMA_MAX_CPUS - 1, &last) || first > last)
        return error_new("cpus='%s' is neither a CPU nor a range FIRST-LAST below %d", text,
                         NUMA_MAX_CPUS);
    struct error *err = NULL;
    for (; first <= last && !err; first++)
        err = set_cpu_node(n, (unsigned)first, node);
    return err;
}

static struct error *add_node_memory(struct numa_node *node, const char *mem, const char *memdev)
{
    if (mem && memdev)
        return error_new("mem= and memdev= cannot both be given");
    if (mem && !parse_size(mem, MIB, &node->mem))
        return error_new("mem='%s' is not a memory size such as 512M or 4G", mem);
    if (mem && node->mem % 4096)
        return error_new("mem='%s' is not a multiple of 4K", mem);
    node->has_mem = mem || memdev;
    node->memdev = memdev ? xstrdup(memdev) : NULL;
    return NULL;
}

static struct error *add_node(struct numa *n, struct options *list)
{
    static const char *const known[] = { "type", "nodeid", "cpus", "mem", "memdev" };
    uint64_t id = 0;
    while (id < NUMA_MAX_NODES - 1 && n->nodes[id].given)
        id++;
    struct error *err = get_number(list, "nodeid", NUMA_MAX_NODES - 1, &id);
    if (err)
        return err;
    struct numa_node *node = &n->nodes[id];
    if (node->given)
        return error_new("node %u was given already", (unsigned)id);
    node->given = true;
    n->n_nodes++;
    err = add_node_memory(node, options_get(list, "mem"), options_get(list, "memdev"));
    for (size_t i = 0; i < list->n && !err; i++)
        if (!strcmp(list->at[i].name, "cpus")) {
            list->used[i] = true;
            err = add_cpus(n, (unsigned)id, list->at[i].value);
        }
    return err ? err : options_refuse_rest(list, known, ARRAY_LEN(known));
}

static struct error *add_cpu(struct numa *n, struct options *list)
{
    static const char *const known[] = { "type",   "node-id", "socket-id",
                                         "die-id", "core-id", "thread-id" };
    uint64_t ids[5];
    bool any = false;
    struct error *err = need_number(list, "node-id", NUMA_MAX_NODES - 1, &ids[0]);
    for (size_t i = 1; i < ARRAY_LEN(ids) && !err; i++) {
        ids[i] = UINT64_MAX;
        err = get_number(list, known[i + 1], NUMA_MAX_CPUS - 1, &ids[i]);
        any |= ids[i] != UINT64_MAX;
    }
    if (!err)
        err = options_refuse_rest(list, known, ARRAY_LEN(known));
    if (!err && !any)
        err = error_new("one of socket-id=, die-id=, core-id= and thread-id= is needed");
    if (err)
        return err;
    n->rules = xrealloc(n->rules, (n->n_rules + 1) * sizeof(*n->rules));
    n->rules[n->n_rules++] = (struct numa_cpu_rule){
        (unsigned)ids[0], (int)ids[1], (int)ids[2], (int)ids[3], (int)ids[4],
    };
    return NULL;
}

static struct error *add_distance(struct numa *n, struct options *list)
{
    static const char *const known[] = { "type", "src", "dst", "val" };
    uint64_t from, to, value;
    struct error *err = need_number(list, "src", NUMA_MAX_NODES - 1, &from);
    if (!err)
        err = need_number(list, "dst", NUMA_MAX_NODES - 1, &to);
    if (!err)
        err = need_number(list, "val", UNREACHABLE, &value);
    if (!err)
        err = options_refuse_rest(list, known, ARRAY_LEN(known));
    if (err)
        return err;
    if (from == to ? value != LOCAL : value <= LOCAL)
        return error_new("val=%u: a distance is %d within a node, else %d to %d", (unsigned)value,
                         LOCAL, LOCAL + 1, UNREACHABLE);
    n->distance[from][to] = (uint8_t)value;
    return NULL;
}

struct error *numa_add(struct numa *n, const char *text)
{
    static const struct {
        const char *name;
        struct error *(*add)(struct numa *n, struct options *list);
    } lines[] = { { "node", add_node }, { "cpu", add_cpu }, { "dist", add_distance } };
    struct options list;
    struct error *err = options_split(text, "type", &list);
    if (err)
        return err;
    const char *type = options_get(&list, "type");
    size_t i = 0;
    while (i < ARRAY_LEN(lines) && type && strcmp(lines[i].name, type) != 0)
        i++;
    if (type && i < ARRAY_LEN(lines))
        err = error_in(lines[i].add(n, &list), "%s", type);
    else
        err = error_new("'%s' is not supported (accepted: node, cpu, dist)", type ? type : text);
    options_free(&list);
    return err;
}

/* ---- together ----------------------------------------------------------------------------------------- */
static struct error *check_nodes(const struct numa *n)
{
    for (unsigned i = 0; i < n->n_nodes; i++)
        if (!n->nodes[i].given)
            return error_new("there are %u nodes, but none is node %u: number them from 0 on",
                             n->n_nodes, i);
    return NULL;
}

static struct error *resolve_memdev(struct numa *n, struct vm *vm, unsigned index)
{
    struct numa_node *node = &n->nodes[index];
    const struct object *o = backend_hold(vm, BACKEND_OBJECT, node->memdev);
    if (!o || o->kind != OBJECT_MEMORY)
        return error_new(
            "node %u: there is no memory '%s'; -object memory-backend-ram,id=%s,size=SIZE "
            "makes one",
            index, node->memdev, node->memdev);
    for (unsigned i = 0; i < index; i++)
        if (n->nodes[i].memdev && !strcmp(n->nodes[i].memdev, node->memdev))
            return error_new("memory '%s' is in node %u and in node %u", node->memdev, i, index);
    node->mem = o->size;
    return NULL;
}

/* Nobody said how much: in equal parts, the last takes what is left. */
static void share_out(struct numa *n, uint64_t ram_size)
{
    uint64_t part = align_down(ram_size / n->n_nodes, MIB);
    for (unsigned i = 0; i < n->n_nodes; i++)
        n->nodes[i].mem = i + 1 < n->n_nodes ? part : ram_size - (n->n_nodes - 1) * part;
}

static struct error *resolve_memory(struct numa *n, struct vm *vm, uint64_t ram_size)
{
    unsigned n_mem = 0, n_memdev = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->n_nodes; i++) {
        n_mem += n->nodes[i].has_mem;
        n_memdev += n->nodes[i].memdev != NULL;
    }
    if (n_memdev && n_memdev != n_mem)
        return error_new("some nodes have mem= and others memdev=; use one of them");
    if (!n_mem)
        share_out(n, ram_size);
    for (unsigned i = 0; i < n->n_nodes; i++) {
        struct error *err = n->nodes[i].memdev ? resolve_memdev(n, vm, i) : NULL;
        if (err)
            return err;
        if (n->nodes[i].mem > ram_size - sum)
            return error_new("the nodes have more memory than the machine's %llu MiB (-m)",
                             (unsigned long long)(ram_size / MIB));
        sum += n->nodes[i].mem;
    }
    if (sum != ram_size)
        return error_new(
            "the nodes' memory adds up to %llu MiB, not to the machine's %llu MiB (-m)",
            (unsigned long long)(sum / MIB), (unsigned long long)(ram_size / MIB));
    return NULL;
}

/* CPUs are numbered thread by thread, core by core, die by die. */
static bool rule_matches(const struct numa_cpu_rule *r, unsigned cpu, const struct numa_topology *t)
{
    const int ids[] = { (int)(cpu % t->threads), (int)(cpu / t->threads % t->cores),
                        (int)(cpu / t->threads / t->cores % t->dies),
                        (int)(cpu / t->threads / t->cores / t->dies) };
    const int want[] = { r->thread, r->core, r->die, r->socket };
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
        if (want[i] >= 0 && want[i] != ids[i])
            return false;
    return true;
}

static struct error *apply_rule(struct numa *n, const struct numa_cpu_rule *r,
                                const struct numa_topology *t)
{
    bool any = false;
    struct error *err = NULL;
    if (r->node >= n->n_nodes)
        return error_new("cpu: there is no node %u", r->node);
    for (unsigned cpu = 0; cpu < t->n_cpus && !err; cpu++)
        if (rule_matches(r, cpu, t)) {
            any = true;
            err = set_cpu_node(n, cpu, r->node);
        }
    if (!err && !any)
        err = error_new("cpu: no CPU of this machine has these ids (see -smp)");
    return err;
}

static struct error *resolve_cpus(struct numa *n, const struct numa_topology *t)
{
    unsigned said = 0, first = t->n_cpus;
    struct error *err = NULL;
    for (unsigned i = t->n_cpus; i < NUMA_MAX_CPUS; i++)
        if (n->cpu_node[i])
            return error_new("node %d: there is no CPU %u (-smp %u)", n->cpu_node[i] - 1, i,
                             t->n_cpus);
    for (unsigned i = 0; i < n->n_rules && !err; i++)
        err = apply_rule(n, &n->rules[i], t);
    for (unsigned i = 0; i < t->n_cpus; i++) {
        said += n->cpu_node[i] != 0;
        if (!n->cpu_node[i] && first == t->n_cpus)
            first = i;
    }
    if (!err && said && said < t->n_cpus)
        err = error_new("CPU %u is in no node", first);
    for (unsigned i = 0; i < t->n_cpus && !said; i++) /* whole sockets in turn */
        n->cpu_node[i] = (int16_t)(i / (t->threads * t->cores * t->dies) % n->n_nodes + 1);
    return err;
}

static struct error *resolve_distances(struct numa *n)
{
    bool any = false;
    for (unsigned i = 0; i < NUMA_MAX_NODES * NUMA_MAX_NODES; i++) {
        unsigned from = i / NUMA_MAX_NODES, to = i % NUMA_MAX_NODES;
        if (n->distance[from][to] && MAX(from, to) >= n->n_nodes)
            return error_new("dist: there is no node %u", MAX(from, to));
        any |= n->distance[from][to] && from != to;
    }
    for (unsigned from = 0; from < n->n_nodes; from++)
        for (unsigned to = 0; to <= from; to++) {
            uint8_t *there = &n->distance[from][to], *back = &n->distance[to][from];
            if (any && !*there && !*back && from != to)
                return error_new("dist: nothing says how far it is from node %u to node %u", to,
                                 from);
            uint8_t other = from == to ? LOCAL : REMOTE;
            *there = *there ? *there : *back ? *back : other;
            *back = *back ? *back : *there;
        }
    return NULL;
}

struct error *numa_resolve(struct numa *n, struct vm *vm, uint64_t ram_size,
                           const struct numa_topology *t)
{
    static const struct numa nothing;
    if (!n->n_nodes)
        return memcmp(n, &nothing, sizeof(*n)) ? error_new("-numa: there are no nodes (-numa node)")
                                               : NULL;
    if (t->n_cpus > NUMA_MAX_CPUS)
        return error_new("-numa: there can be %d CPUs at most", NUMA_MAX_CPUS);
    struct error *err = check_nodes(n);
    if (!err)
        err = resolve_memory(n, vm, ram_size);
    if (!err)
        err = resolve_cpus(n, t);
    if (!err)
        err = resolve_distances(n);
    return error_in(err, "-numa");
}

unsigned numa_node_of(const struct numa *n, unsigned cpu)
{
    return n->cpu_node[cpu] ? (unsigned)n->cpu_node[cpu] - 1 : 0;
}

void numa_free(struct numa *n)
{
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++)
        free(n->nodes[i].memdev);
    free(n->rules);
    *n = (struct numa){ 0 };
}
