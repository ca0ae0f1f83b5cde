/* Errors as values. */
#include "core/error.h"

#include "core/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct error {
    char *text;
};

static struct error *error_take(char *text)
{
    struct error *err = xmalloc(sizeof(*err));
    err->text = text;
    return err;
}

static char *format(const char *fmt, va_list ap)
{
    char *s;
    if (vasprintf(&s, fmt, ap) < 0)
        s = xstrdup(fmt);
    return s;
}

struct error *error_new(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    return error_take(text);
}

struct error *error_errno(const char *fmt, ...)
{
    int number = errno;
    va_list ap;
    va_start(ap, fmt);
    char *what = format(fmt, ap);
    va_end(ap);
    char why[128];
    char *text = xasprintf("%s: %s", what, strerror_r(number, why, sizeof(why)));
    free(what);
    return error_take(text);
}

struct error *error_in(struct error *err, const char *fmt, ...)
{
    if (!err)
        return NULL;
    va_list ap;
    va_start(ap, fmt);
    char *where = format(fmt, ap);
    va_end(ap);
    char *text = xasprintf("%s: %s", where, err->text);
    free(where);
    free(err->text);
    err->text = text;
    return err;
}

const char *error_text(const struct error *err)
{
    return err->text;
}

void error_free(struct error *err)
{
    if (err)
        free(err->text);
    free(err);
}
