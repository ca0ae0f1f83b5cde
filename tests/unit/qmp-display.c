/* QMP's and the human monitor's commands for screens and viewers. */
#include "ui/qmp.h"

#include "core/device.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/loop.h"
#include "core/vm.h"
#include "tandem-config.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/hmp.h"
#include "ui/monitor.h"
#include "ui/vnc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct device_class screen_class = { .name = "screen" };
static const struct head_ops no_ops;
static struct {
    struct vm *vm;
    struct device dev;
    struct head *head;
} scene;

static int set_up(void **unused)
{
    assert_null(vm_new(&scene.vm));
    scene.dev = (struct device){ .vm = scene.vm, .cls = &screen_class, .id = "video0" };
    scene.head = head_new(&scene.dev, 0, &no_ops);
    return 0;
}

static int tear_down(void **unused)
{
    faces_free(scene.vm);
    head_free(scene.head);
    vm_free(scene.vm);
    return 0;
}

/* The reply as text: {"return": ...} or the error's description. */
static const char *ask(const char *command, const char *args)
{
    static char text[4096];
    struct qmp_call c = { .vm = scene.vm };
    json_t *a = args ? json_loads(args, 0, NULL) : NULL;
    json_t *reply = qmp_run(&c, command, a), *result = json_object_get(reply, "return");
    json_t *desc = json_object_get(json_object_get(reply, "error"), "desc");
    struct error *err = result ? qmp_check_reply(qmp_command_find(command), result) : NULL;
    if (err)
        fail_msg("%s: %s", command, error_text(err));
    char *json = result ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    snprintf(text, sizeof(text), "%s", json ? json : json_string_value(desc));
    free(json);
    json_decref(reply);
    json_decref(a);
    return text;
}

static void screendump_writes_a_picture(void **unused)
{
    char head[11];
    int fd = memfd_create("dump", MFD_CLOEXEC);
    assert_int_equal(fdset_add(scene.vm, 3, dup(fd), NULL), 3);
    assert_string_equal(ask("screendump", "{\"filename\":\"/dev/fdset/3\"}"), "{}");
    assert_int_equal(pread(fd, head, 11, 0), 11);
    assert_memory_equal(head, "P6\n640 480\n", 11);
    assert_string_equal(
        ask("screendump", "{\"filename\":\"/dev/fdset/3\",\"device\":\"video0\",\"head\":0}"),
        "{}");
    assert_string_equal(
        ask("screendump", "{\"filename\":\"/dev/fdset/3\",\"device\":\"video0\",\"head\":1}"),
        "Device 'video0' has no screen 1");
    assert_string_equal(ask("screendump", "{\"filename\":\"x\",\"head\":1}"),
                        "'head' must be specified together with 'device'");
    assert_non_null(strstr(ask("screendump", "{\"filename\":\"x\",\"format\":\"gif\"}"), "gif"));
    assert_non_null(strstr(ask("screendump", "{\"filename\":\"/no/such/x\"}"), "/no/such/x"));
    close(fd);
}

static void without_a_server_there_is_no_password(void **unused)
{
    assert_string_equal(ask("query-vnc", NULL), "{\"enabled\":false}");
    assert_string_equal(ask("query-vnc-servers", NULL), "[]");
    assert_non_null(
        strstr(ask("set_password", "{\"protocol\":\"vnc\",\"password\":\"x\"}"), "no VNC server"));
    assert_non_null(
        strstr(ask("expire_password", "{\"protocol\":\"spice\",\"time\":\"now\"}"), "not in use"));
    assert_non_null(strstr(ask("change-vnc-password", "{\"password\":\"x\"}"), "no VNC server"));
    assert_non_null(strstr(ask("display-reload", "{\"type\":\"vnc\",\"tls-certs\":true}"),
                           "vnc tls is not enabled"));
    assert_string_equal(ask("query-mice", NULL), "[]");
}

static void servers_and_viewers_are_listed(void **unused)
{
#ifdef HAVE_VNC
    int pair[2];
    assert_null(vnc_add(scene.vm, "none,password=on,id=one"));
    assert_string_equal(ask("set_password", "{\"protocol\":\"vnc\",\"password\":\"abc\","
                                            "\"connected\":\"keep\"}"),
                        "{}");
    assert_string_equal(ask("set_password", "{\"protocol\":\"vnc\",\"password\":\"abc\","
                                            "\"display\":\"two\"}"),
                        "there is no VNC server 'two'");
    assert_string_equal(ask("expire_password", "{\"protocol\":\"vnc\",\"time\":\"never\"}"), "{}");
    assert_non_null(
        strstr(ask("expire_password", "{\"protocol\":\"vnc\",\"time\":\"x\"}"), "is no time"));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fd_keep_named(scene.vm, "v", pair[1]);
    assert_string_equal(
        ask("add_client", "{\"protocol\":\"vnc\",\"fdname\":\"v\",\"skipauth\":true}"), "{}");
    assert_non_null(
        strstr(ask("add_client", "{\"protocol\":\"vnc\",\"fdname\":\"v\"}"), "not found"));
    assert_int_equal(write(pair[0], "RFB 003.008\n\1\1", 14), 14);
    struct vnc_end end;
    for (int i = 0; i < 2000 && !vnc_viewer(vnc_find(scene.vm, NULL), 0, &end); i++)
        loop_once(scene.vm->loop, 2);
    const char viewer[] =
        "{\"host\":\"\",\"service\":\"\",\"family\":\"unix\",\"websocket\":false}";
    char expected[300];
    snprintf(expected, sizeof(expected),
             "[{\"id\":\"one\",\"server\":[],\"clients\":[%s],\"auth\":\"vnc\"}]", viewer);
    assert_string_equal(ask("query-vnc-servers", NULL), expected);
    snprintf(expected, sizeof(expected), "{\"enabled\":true,\"auth\":\"vnc\",\"clients\":[%s]}",
             viewer);
    assert_string_equal(ask("query-vnc", NULL), expected);
    close(pair[0]);
#else
    print_message("# without libvncserver\n");
    skip();
#endif
}

static char said[1024];

static void note(void *opaque, const char *line)
{
    strncat(said, line, sizeof(said) - strlen(said) - 2);
    strcat(said, "\n");
}

static const char *type(const char *line)
{
    unsigned cpu = 0;
    struct hmp_call c = { .vm = scene.vm, .print = note, .cpu = &cpu };
    said[0] = 0;
    hmp_execute(&c, line);
    return said;
}

static void a_person_has_the_same(void **unused)
{
    assert_string_equal(type("info screens"), "0: screen 0 of screen, id \"video0\": 640 by 480\n");
    assert_string_equal(type("info vnc"), "no VNC server\n");
    assert_non_null(strstr(type("screendump /no/such/x.ppm"), "/no/such/x.ppm"));
    assert_non_null(strstr(type("screendump x -f gif"), "gif"));
    assert_non_null(strstr(type("mouse_set 7"), "no pointer 7"));
    assert_non_null(strstr(type("set_password spice x"), "accepted: vnc"));
    assert_non_null(strstr(type("expire_password vnc now"), "no VNC server"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(screendump_writes_a_picture, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_server_there_is_no_password, set_up, tear_down),
        cmocka_unit_test_setup_teardown(servers_and_viewers_are_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_person_has_the_same, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
