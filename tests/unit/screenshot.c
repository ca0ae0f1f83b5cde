/* Pictures of a screen: what is in the file is what was on the screen. */
#include "ui/screenshot.h"

#include "board.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/vm.h"
#include "tandem-config.h"
#include "ui/display.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#ifdef HAVE_PNG
#include <png.h>
#endif

struct screen {
    struct device dev;
    struct head *head;
};
static const struct head_ops no_ops;

static struct vm *new_vm(struct screen *s)
{
    struct vm *vm;
    assert_null(vm_new(&vm));
    *s = (struct screen){ .dev = { .vm = vm } };
    s->head = head_new(&s->dev, 0, &no_ops);
    assert_true(head_resize(s->head, 5, 3));
    for (unsigned i = 0; i < 15; i++)
        head_pixels(s->head)[i] = i * 0x102030;
    return vm;
}

static void free_vm(struct vm *vm, struct screen *s)
{
    head_free(s->head);
    vm_free(vm);
}

static void a_ppm_holds_the_pixels(void **unused)
{
    struct screen s;
    struct vm *vm = new_vm(&s);
    uint8_t *data;
    size_t n;
    assert_null(screenshot_make(s.head, PICTURE_PPM, false, &data, &n));
    assert_int_equal(n, 11 + 45);
    assert_memory_equal(data, "P6\n5 3\n255\n", 11);
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(load_be(data + 11 + 3 * i, 2) << 8 | data[11 + 3 * i + 2], i * 0x102030);
    free(data);
    free_vm(vm, &s);
}

static void a_png_holds_the_pixels(void **unused)
{
#ifdef HAVE_PNG
    struct screen s;
    struct vm *vm = new_vm(&s);
    png_image image = { .version = PNG_IMAGE_VERSION };
    uint8_t *data, rgb[45];
    size_t n;
    assert_null(screenshot_make(s.head, PICTURE_PNG, false, &data, &n));
    assert_true(png_image_begin_read_from_memory(&image, data, n));
    assert_int_equal(image.width, 5);
    assert_int_equal(image.height, 3);
    image.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(rgb[3 * i] << 16 | rgb[3 * i + 1] << 8 | rgb[3 * i + 2], i * 0x102030);
    free(data);
    free_vm(vm, &s);
#else
    print_message("# without libpng\n");
    skip();
#endif
}

static void the_pointer_is_drawn_where_it_shows(void **unused)
{
    struct screen s;
    struct vm *vm = new_vm(&s);
    struct cursor_shape shape = { .width = 2, .height = 1, .argb = { 0xffffffff, 0x80ff0000 } };
    uint8_t *data;
    size_t n;
    head_pixels(s.head)[0] = 0;
    head_set_cursor(s.head, &shape);
    head_move_cursor(s.head, -1, 0);
    assert_null(screenshot_make(s.head, PICTURE_PPM, true, &data, &n));
    assert_int_equal(data[11], 0x80);
    assert_int_equal(data[12], 0);
    free(data);
    head_move_cursor(s.head, INT32_MAX, INT32_MAX);
    assert_null(screenshot_make(s.head, PICTURE_PPM, true, &data, &n));
    assert_int_equal(data[11], 0);
    free(data);
    free_vm(vm, &s);
}

static unsigned files_in(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void a_file_is_whole_or_not_there(void **unused)
{
    struct screen s;
    struct vm *vm = new_vm(&s);
    char folder[] = "/tmp/tandem-shot.XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/a.ppm", folder);
    assert_null(screenshot_write(s.head, PICTURE_PPM, false, path));
    assert_null(screenshot_write(s.head, PICTURE_PPM, false, path)); /* over it */
    assert_int_equal(files_in(folder), 1);
    assert_null(error_in(screenshot_write(s.head, PICTURE_PPM, false, "/dev/null"), "null"));
    char missing[64];
    snprintf(missing, sizeof(missing), "%s/no/a.ppm", folder);
    struct error *err = screenshot_write(s.head, PICTURE_PPM, false, missing);
    assert_non_null(strstr(error_text(err), missing));
    error_free(err);
    assert_int_equal(files_in(folder), 1);
    unlink(path);
    rmdir(folder);
    free_vm(vm, &s);
}

static void a_descriptor_is_written_to(void **unused)
{
    struct screen s;
    struct vm *vm = new_vm(&s);
    char path[32], head[11];
    int fd = memfd_create("shot", MFD_CLOEXEC), own = dup(fd);
    snprintf(path, sizeof(path), "/dev/fdset/%d", (int)fdset_add(vm, -1, own, NULL));
    assert_null(screenshot_write(s.head, PICTURE_PPM, false, path));
    assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
    assert_memory_equal(head, "P6\n5 3\n255\n", 11);
    close(fd);
    free_vm(vm, &s);
}

static void formats_are_named(void **unused)
{
    enum picture_format format = PICTURE_PNG;
    assert_null(picture_format_parse("ppm", &format));
    assert_int_equal(format, PICTURE_PPM);
    struct error *err = picture_format_parse("gif", &format);
    assert_string_equal(error_text(err), "'gif' is no picture format; accepted: ppm, png");
    error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ppm_holds_the_pixels),
        cmocka_unit_test(a_png_holds_the_pixels),
        cmocka_unit_test(the_pointer_is_drawn_where_it_shows),
        cmocka_unit_test(a_file_is_whole_or_not_there),
        cmocka_unit_test(a_descriptor_is_written_to),
        cmocka_unit_test(formats_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
