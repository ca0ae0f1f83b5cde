/* Heads and viewers: who is told what, and that a screen nobody watches is not drawn. */
#include "ui/display.h"

#include "board.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/vm.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A device that draws a pixel each time it is looked at while `busy`, and a viewer that keeps count. */
struct screen {
    struct device dev;
    struct head *head;
    bool busy;
    unsigned refreshes, redraws, width, height;
};
struct eyes {
    unsigned came, gone, damaged, cursors;
    struct rect last;
};

static void screen_refresh(struct device *dev, struct head *head, bool all)
{
    struct screen *s = (struct screen *)dev;
    s->refreshes++;
    s->redraws += all;
    if (s->busy || all) {
        head_pixels(head)[3] = 0xffffff;
        head_damage(head, (struct rect){ 3, 0, 1, 1 });
    }
}

static void screen_wish(struct device *dev, struct head *head, unsigned width, unsigned height)
{
    head_resize(head, width, height);
}

static const struct head_ops screen_ops = { screen_refresh, screen_wish };

static void on_changed(void *opaque, struct head *head, bool gone)
{
    struct eyes *e = opaque;
    e->came += !gone;
    e->gone += gone;
}

static void on_damaged(void *opaque, struct head *head, struct rect part)
{
    struct eyes *e = opaque;
    e->damaged++;
    e->last = part;
}

static void on_cursor(void *opaque, struct head *head)
{
    ((struct eyes *)opaque)->cursors++;
}

static const struct viewer_ops eye_ops = { on_changed, on_damaged, on_cursor };

static struct vm *new_vm(struct screen *s)
{
    struct vm *vm;
    assert_null(vm_new(&vm));
    *s = (struct screen){ .dev = { .vm = vm } };
    s->head = head_new(&s->dev, 0, &screen_ops);
    return vm;
}

static void run_for(struct vm *vm, unsigned ms)
{
    for (uint64_t end = host_now_ns() + ms * 1000000ull; host_now_ns() < end;)
        loop_once(vm->loop, 1);
}

static void a_screen_is_drawn_while_somebody_watches(void **unused)
{
    struct screen s;
    struct eyes e = { 0 };
    struct vm *vm = new_vm(&s);
    struct viewer *v = viewer_new(vm, &eye_ops, &e);
    assert_int_equal(e.came, 1);
    run_for(vm, 60);
    assert_int_equal(s.refreshes, 0);
    viewer_watch(v, s.head, true);
    for (int i = 0; i < 1000 && s.refreshes < 3; i++)
        loop_once(vm->loop, 10);
    assert_true(s.refreshes >= 3);
    assert_int_equal(s.redraws, 1);
    assert_int_equal(e.damaged, 1);
    viewer_watch(v, s.head, false);
    unsigned before = s.refreshes;
    run_for(vm, 60);
    assert_int_equal(s.refreshes, before);
    viewer_watch(v, s.head, true); /* it may have changed meanwhile */
    for (int i = 0; i < 1000 && s.redraws < 2; i++)
        loop_once(vm->loop, 10);
    assert_int_equal(s.redraws, 2);
    viewer_free(v);
    head_free(s.head);
    assert_null(vm->display);
    vm_free(vm);
}

static void a_single_look_draws_everything(void **unused)
{
    struct screen s;
    struct vm *vm = new_vm(&s);
    head_refresh(s.head);
    assert_int_equal(s.redraws, 1);
    assert_int_equal(head_pixels(s.head)[3], 0xffffff);
    head_free(s.head);
    vm_free(vm);
}

static void damage_is_cut_to_the_picture(void **unused)
{
    struct screen s;
    struct eyes e = { 0 };
    struct vm *vm = new_vm(&s);
    struct viewer *v = viewer_new(vm, &eye_ops, &e);
    head_damage(s.head, (struct rect){ 630, 470, ~0u, ~0u });
    assert_int_equal(e.last.width, 10);
    assert_int_equal(e.last.height, 10);
    head_damage(s.head, (struct rect){ 640, 0, 1, 1 });
    head_damage(s.head, (struct rect){ 0, 0, 0, 1 });
    assert_int_equal(e.damaged, 1);
    viewer_free(v);
    head_free(s.head);
    vm_free(vm);
}

static void a_size_out_of_bounds_changes_nothing(void **unused)
{
    struct screen s;
    struct eyes e = { 0 };
    struct vm *vm = new_vm(&s);
    struct viewer *v = viewer_new(vm, &eye_ops, &e);
    assert_false(head_resize(s.head, HEAD_MAX_SIDE + 1, 1));
    assert_false(head_resize(s.head, 1, 0));
    assert_int_equal(head_width(s.head), 640);
    assert_int_equal(e.came, 1);
    head_wish(s.head, 800, 600);
    assert_int_equal(head_width(s.head), 800);
    assert_int_equal(head_height(s.head), 600);
    assert_int_equal(e.came, 2);
    viewer_free(v);
    head_free(s.head);
    vm_free(vm);
}

static void a_head_that_goes_is_watched_no_more(void **unused)
{
    struct screen s;
    struct eyes e = { 0 };
    struct vm *vm = new_vm(&s);
    struct head *second = head_new(&s.dev, 1, &screen_ops);
    struct viewer *v = viewer_new(vm, &eye_ops, &e);
    assert_ptr_equal(head_find(vm, NULL, 1), second);
    assert_ptr_equal(head_at(vm, 1), second);
    viewer_watch(v, second, true);
    head_free(second);
    assert_int_equal(e.gone, 1);
    assert_null(head_at(vm, 1));
    run_for(vm, 20);
    viewer_free(v);
    head_free(s.head);
    vm_free(vm);
}

static void text_and_pointer_are_kept(void **unused)
{
    struct screen s;
    struct eyes e = { 0 };
    struct vm *vm = new_vm(&s);
    struct viewer *v = viewer_new(vm, &eye_ops, &e);
    uint16_t cells[] = { 'a', 0x741 };
    head_set_text(s.head, &(struct text_screen){ 2, 1, cells, true, 1, 0 });
    cells[0] = 0;
    assert_int_equal(head_text(s.head)->cells[0], 'a');
    head_set_text(s.head, NULL);
    assert_null(head_text(s.head));
    struct cursor_shape shape = { .width = 1, .height = 1, .argb = { 0xff00ff00 } };
    head_set_cursor(s.head, &shape);
    head_move_cursor(s.head, 7, -1);
    int x, y;
    head_cursor_place(s.head, &x, &y);
    assert_int_equal(x, 7);
    assert_int_equal(y, -1);
    assert_int_equal(head_cursor(s.head)->argb[0], 0xff00ff00);
    assert_int_equal(e.cursors, 2);
    viewer_free(v);
    head_free(s.head);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_screen_is_drawn_while_somebody_watches),
        cmocka_unit_test(a_single_look_draws_everything),
        cmocka_unit_test(damage_is_cut_to_the_picture),
        cmocka_unit_test(a_size_out_of_bounds_changes_nothing),
        cmocka_unit_test(a_head_that_goes_is_watched_no_more),
        cmocka_unit_test(text_and_pointer_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
