/* The pieces of a unit that are no code: what a slow call is to do, where an exit leads. */
#include "tcg/host/x86_64/host.h"

#include "core/util.h"

size_t slow_site_size(const struct slow_site *s)
{
    size_t n = offsetof(struct slow_site, span);
    if (s->group != ARG_NONE)
        n = offsetof(struct slow_site, pad_);
    if (s->kind == SLOW_FP)
        n = offsetof(struct slow_site, helper);
    for (unsigned k = 0; k < 4; k++)
        if (s->arg[k] >= ARG_CONST && s->arg[k] < ARG_NONE)
            n = s->kind == SLOW_CALL ? sizeof(*s) : offsetof(struct slow_site, consts);
    if (s->kind == SLOW_CALL && n < offsetof(struct slow_site, consts))
        n = offsetof(struct slow_site, consts);
    return n;
}

static const char *helper_name(const struct tcg_target *target, uint64_t helper)
{
    for (size_t i = 0; i < target->n_helpers; i++)
        if ((uintptr_t)target->helpers[i] == helper)
            return target->helpers[i]->name;
    return NULL;
}

/* NULL: this is no site, but bytes that look like one, which a guest may well make. */
static const char *site_name(const struct tcg_target *target, const struct slow_site *s)
{
    unsigned vec = (uint32_t)s->imm >> 8;
    switch (s->kind) {
    case SLOW_CALL: return helper_name(target, s->helper);
    case SLOW_FP: return s->code < N_IR_OPS ? ir_op_infos[s->code].name : NULL;
    case SLOW_VEC: return vec < N_IR_VECS ? ir_vec_infos[vec].name : NULL;
    default: return s->kind <= SLOW_WINDOW ? "" : NULL;
    }
}

struct visit {
    const struct tcg *tcg;
    const struct unit *u;
    void (*found)(void *opaque, const struct site *site);
    void *opaque;
};

/* Where the 32-bit displacement at `p` leads: an offset in the cache. */
static int64_t target_of(const struct tcg *tcg, const uint8_t *p)
{
    int32_t rel;
    memcpy(&rel, p, sizeof(rel));
    return p + 4 - tcg->rw + rel;
}

/* Behind the call of the slow thunk. */
static void slow_call_at(const struct visit *v, uint32_t at)
{
    static const char *const kinds[] = {
        [SLOW_LOAD] = "load",  [SLOW_STORE] = "store",   [SLOW_RMW] = "atomic",
        [SLOW_CAS] = "atomic", [SLOW_CALL] = "call",     [SLOW_FP] = "float",
        [SLOW_VEC] = "vector", [SLOW_WINDOW] = "window",
    };
    const uint8_t *code = v->tcg->rw + v->u->code_at;
    struct slow_site s = { 0 };
    uint32_t left = v->u->code_size - (at + 5);
    memcpy(&s, code + at + 5, MIN(left, sizeof(s)));
    const char *name = site_name(v->tcg->target, &s);
    if (!name)
        return;
    struct site site = { .at = at,
                         .n = 5 + (uint32_t)MIN(left, slow_site_size(&s)),
                         .kind = kinds[s.kind],
                         .name = name,
                         .off = s.off,
                         .slow = true };
    v->found(v->opaque, &site);
}

/* What a helper that was called right here may ask for: lea rax, [rip + n]; mov [rbp + site], rax. */
static void call_site_at(const struct visit *v, uint32_t at)
{
    static const uint8_t lea[] = { 0x48, 0x8d, 0x05 }, mov[] = { 0x48, 0x89, 0x85 };
    const uint8_t *p = v->tcg->rw + v->u->code_at + at;
    const int32_t disp = TCG_DISP(site);
    if (memcmp(p, lea, 3) || memcmp(p + 7, mov, 3) || memcmp(p + 10, &disp, 4))
        return;
    struct slow_site s;
    int64_t to = target_of(v->tcg, p + 3) - v->u->code_at;
    size_t n = offsetof(struct slow_site, span);
    if (to < 0 || to + (int64_t)n > v->u->code_size)
        return;
    memcpy(&s, v->tcg->rw + v->u->code_at + to, n);
    struct site site = {
        .at = (uint32_t)to, .n = (uint32_t)n, .kind = "instruction", .name = "", .off = s.off
    };
    v->found(v->opaque, &site);
}

void host_each_site(const struct tcg *tcg, const struct unit *u,
                    void (*found)(void *opaque, const struct site *site), void *opaque)
{
    const struct visit v = { tcg, u, found, opaque };
    const struct host *h = tcg->backend_data;
    const uint8_t *code = tcg->rw + u->code_at;
    for (unsigned k = 0; k < u->n_links; k++) {
        struct site site = { .at = u->links[k].stub_at - u->code_at,
                             .n = 5 + 8,
                             .kind = "exit",
                             .name = "",
                             .off = u->links[k].off };
        found(opaque, &site);
    }
    for (uint32_t at = 0; at + 14 <= u->code_size; at++) {
        int64_t to = code[at] == 0xe8 ? target_of(tcg, code + at + 1) : 0;
        if (to && (to == h->slow || to == h->slow_wide))
            slow_call_at(&v, at);
        else
            call_site_at(&v, at);
    }
}
