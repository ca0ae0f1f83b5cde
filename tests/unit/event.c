/* Events: order, data, limits; what a VM's life tells. */
#include "core/event.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct ears {
    struct vm *vm;
    char heard[1000];
};

static void hear(void *opaque, const struct event *e)
{
    struct ears *ears = opaque;
    char *to = ears->heard;
    size_t n = strlen(to), room = sizeof(ears->heard);
    n += (size_t)snprintf(to + n, room - n, "%d", (int)e->kind);
    for (size_t i = 0; i < e->n; i++) {
        if (e->items[i].kind == ITEM_TEXT)
            n += (size_t)snprintf(to + n, room - n, " %s=%s", e->items[i].name, e->items[i].text);
        else
            n += (size_t)snprintf(to + n, room - n, " %s=%d", e->items[i].name,
                                  (int)e->items[i].number);
    }
    snprintf(to + n, room - n, "|");
}

static void open_ears(struct ears *ears)
{
    *ears = (struct ears){ 0 };
    assert_null(vm_new(&ears->vm));
    event_listen(ears->vm, hear, ears);
}

static void an_event_of_this_thread_is_heard_at_once(void **unused)
{
    struct ears ears;
    char want[100];
    open_ears(&ears);
    event_tell(ears.vm, EVENT_STOP);
    event_tell(ears.vm, EVENT_RESET, EVENT_FLAG("guest", true), EVENT_TEXT("reason", "x"),
               EVENT_TEXT("absent", NULL), EVENT_NUMBER("n", 7));
    snprintf(want, sizeof(want), "%d|%d guest=1 reason=x n=7|", EVENT_STOP, EVENT_RESET);
    assert_string_equal(ears.heard, want);
    vm_free(ears.vm);
}

static void *tell_three(void *vm)
{
    for (int i = 0; i < 3; i++)
        event_tell(vm, EVENT_DEVICE_DELETED, EVENT_NUMBER("n", i));
    return NULL;
}

static void an_event_of_another_thread_comes_by_the_loop_in_order(void **unused)
{
    struct ears ears;
    pthread_t thread;
    char want[100];
    open_ears(&ears);
    pthread_create(&thread, NULL, tell_three, ears.vm);
    pthread_join(thread, NULL);
    assert_string_equal(ears.heard, "");
    loop_once(ears.vm->loop, 0);
    snprintf(want, sizeof(want), "%d n=0|%d n=1|%d n=2|", EVENT_DEVICE_DELETED,
             EVENT_DEVICE_DELETED, EVENT_DEVICE_DELETED);
    assert_string_equal(ears.heard, want);
    vm_free(ears.vm);
}

static void a_limited_event_is_held_back_and_its_newest_comes(void **unused)
{
    struct ears ears;
    char want[100];
    open_ears(&ears);
    uint64_t end = host_now_ns() + 3 * NS_PER_S;
    event_tell(ears.vm, EVENT_VSERPORT_CHANGE, EVENT_TEXT("id", "a"), EVENT_FLAG("open", true));
    event_tell(ears.vm, EVENT_VSERPORT_CHANGE, EVENT_TEXT("id", "a"), EVENT_FLAG("open", false));
    event_tell(ears.vm, EVENT_VSERPORT_CHANGE, EVENT_TEXT("id", "a"), EVENT_FLAG("open", true));
    event_tell(ears.vm, EVENT_VSERPORT_CHANGE, EVENT_TEXT("id", "b"), EVENT_FLAG("open", true));
    int k = EVENT_VSERPORT_CHANGE;
    snprintf(want, sizeof(want), "%d id=a open=1|%d id=b open=1|", k, k);
    assert_string_equal(ears.heard, want);
    snprintf(want, sizeof(want), "%d id=a open=1|%d id=b open=1|%d id=a open=1|", k, k, k);
    while (strcmp(ears.heard, want) && host_now_ns() < end)
        loop_once(ears.vm->loop, 100);
    assert_string_equal(ears.heard, want);
    vm_free(ears.vm);
}

static void stop_and_continue_are_told_and_a_moments_pause_is_not(void **unused)
{
    struct ears ears;
    char want[100];
    open_ears(&ears);
    vm_reset(ears.vm); /* a VM without vCPUs runs, too */
    ears.heard[0] = 0;
    assert_null(vm_continue(ears.vm));
    vm_pause(ears.vm);
    vm_start(ears.vm);
    vm_stop(ears.vm, STOP_USER);
    vm_stop(ears.vm, STOP_USER);
    snprintf(want, sizeof(want), "%d|%d|", EVENT_RESUME, EVENT_STOP);
    assert_string_equal(ears.heard, want);
    vm_free(ears.vm);
}

static void a_guest_that_switched_off_wants_a_reset_first(void **unused)
{
    struct ears ears;
    open_ears(&ears);
    ears.vm->no_shutdown = true;
    assert_null(vm_continue(ears.vm));
    ears.heard[0] = 0;
    vm_request_end(ears.vm, VERDICT_POWERED_OFF, 0, NULL);
    loop_once(ears.vm->loop, 0);
    char want[200];
    snprintf(want, sizeof(want), "%d guest=1 reason=guest-shutdown|%d|", EVENT_SHUTDOWN,
             EVENT_STOP);
    assert_string_equal(ears.heard, want);
    struct error *err = vm_continue(ears.vm);
    assert_non_null(err);
    error_free(err);
    ears.heard[0] = 0;
    vm_request_reset_for(ears.vm, CAUSE_HOST_RESET);
    loop_once(ears.vm->loop, 0);
    snprintf(want, sizeof(want), "%d guest=0 reason=host-qmp-system-reset|", EVENT_RESET);
    assert_string_equal(ears.heard, want);
    assert_null(vm_continue(ears.vm));
    vm_free(ears.vm);
}

static void a_panic_does_what_its_action_says(void **unused)
{
    struct ears ears;
    char want[200];
    open_ears(&ears);
    ears.vm->panic_action = PANIC_PAUSE;
    assert_null(vm_continue(ears.vm));
    ears.heard[0] = 0;
    vm_request_end(ears.vm, VERDICT_GUEST_PANIC, 0, NULL);
    loop_once(ears.vm->loop, 0);
    snprintf(want, sizeof(want), "%d action=pause|%d|", EVENT_GUEST_PANICKED, EVENT_STOP);
    assert_string_equal(ears.heard, want);
    assert_int_equal(ears.vm->stopped_for, STOP_PANIC);
    assert_int_equal(ears.vm->verdict, VERDICT_NONE);
    vm_free(ears.vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_of_this_thread_is_heard_at_once),
        cmocka_unit_test(an_event_of_another_thread_comes_by_the_loop_in_order),
        cmocka_unit_test(a_limited_event_is_held_back_and_its_newest_comes),
        cmocka_unit_test(stop_and_continue_are_told_and_a_moments_pause_is_not),
        cmocka_unit_test(a_guest_that_switched_off_wants_a_reset_first),
        cmocka_unit_test(a_panic_does_what_its_action_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
