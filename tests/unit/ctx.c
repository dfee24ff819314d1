/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The context: its directories, its logger, and libxl's reason in our message.
 * Nothing here needs Xen; where Xen is, the test of its absence is skipped.
 */
#include <sys/stat.h>

#include "unit.h"

/* A caller's logger that keeps the last line. */
struct keeper {
    xentoollog_logger vtable;
    int level, destroyed;
    char line[256];
};

static void keep(xentoollog_logger *logger, xentoollog_level level,
                 int errnoval, const char *context, const char *format,
                 va_list al)
    __attribute__((format(printf, 5, 0)));

static void keep(xentoollog_logger *logger, xentoollog_level level,
                 int errnoval, const char *context, const char *format,
                 va_list al)
{
    struct keeper *k = (struct keeper *)logger;

    (void)errnoval;
    (void)context;
    k->level = level;
    vsnprintf(k->line, sizeof(k->line), format, al);
}

static void count_destroy(xentoollog_logger *logger)
{
    ((struct keeper *)logger)->destroyed++;
}

static int clean_env(void **state)
{
    (void)state;
    unsetenv("LIBXLX_STATE_DIR");
    unsetenv("LIBXLX_RUN_DIR");
    unsetenv("LIBXLX_DEBUG");
    return 0;
}

static void dirs(void **state)
{
    xlx_ctx *ctx = NULL;

    (void)state;
    assert_ok(xlx_ctx_alloc(&ctx, NULL, NULL));
    assert_string_equal(ctx->state_dir, XLX_STATE_DIR);
    assert_string_equal(ctx->run_dir, XLX_RUN_DIR);
    assert_null(ctx->libxl);
    xlx_ctx_free(ctx);
    xlx_ctx_free(NULL);

    setenv("LIBXLX_STATE_DIR", "/some/where", 1);
    setenv("LIBXLX_RUN_DIR", "/else", 1);
    assert_ok(xlx_ctx_alloc(&ctx, NULL, NULL));
    assert_string_equal(ctx->state_dir, "/some/where");
    assert_string_equal(ctx->run_dir, "/else");
    xlx_ctx_free(ctx);

    ctx = NULL;
    setenv("LIBXLX_RUN_DIR", "here", 1);
    assert_fails(xlx_ctx_alloc(&ctx, NULL, NULL), ERROR_INVAL,
                 "LIBXLX_RUN_DIR: \"here\": must be an absolute path");
    assert_null(ctx);
}

static void callers_logger(void **state)
{
    struct keeper k = { .vtable = { keep, NULL, count_destroy } };
    xlx_ctx *ctx = NULL;

    (void)state;
    assert_ok(xlx_ctx_alloc(&ctx, NULL, &k.vtable));
    xlx__debug(ctx, "number %d", 5);
    assert_string_equal(k.line, "number 5");
    assert_int_equal(k.level, XTL_DEBUG);
    xtl_progress(ctx->logger, "c", "w", 1, 2);  /* k has none */
    xlx_ctx_free(ctx);
    assert_int_equal(k.destroyed, 0);           /* it is the caller's */
}

/* The output of xlx__debug on stderr, in a context without a logger. */
static size_t stderr_of_debug(char *out, size_t size)
{
    xlx_ctx *ctx = NULL;
    int fds[2], saved;
    ssize_t r;

    assert_int_equal(pipe(fds), 0);
    fflush(stderr);
    saved = dup(2);
    dup2(fds[1], 2);
    close(fds[1]);
    assert_ok(xlx_ctx_alloc(&ctx, NULL, NULL));
    xlx__debug(ctx, "hello");
    xlx_ctx_free(ctx);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    r = read(fds[0], out, size - 1);
    close(fds[0]);
    out[r > 0 ? r : 0] = '\0';
    return r > 0 ? r : 0;
}

static void silent_unless_asked(void **state)
{
    char out[256];

    (void)state;
    assert_int_equal(stderr_of_debug(out, sizeof(out)), 0);
    setenv("LIBXLX_DEBUG", "1", 1);
    assert_true(stderr_of_debug(out, sizeof(out)) > 0);
    assert_non_null(strstr(out, "hello"));
}

static void libxl_said(void **state)
{
    struct keeper k = { .vtable = { keep, NULL, count_destroy } };
    libxl_ctx *nobodys = (libxl_ctx *)&k, *libxl = NULL;
    char long_line[300];
    xlx_ctx *ctx = NULL;

    (void)state;
    assert_ok(xlx_ctx_alloc(&ctx, nobodys, &k.vtable));
    assert_ok(xlx__ctx_libxl(ctx, &libxl));
    assert_ptr_equal(libxl, nobodys);
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL), "ERROR_FAIL");
    xtl_log(ctx->logger, XTL_INFO, -1, "libxl", "only information");
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL), "ERROR_FAIL");
    xtl_log(ctx->logger, XTL_ERROR, -1, "libxl",
            "libxl_dm.c:12:libxl__spawn: Domain 3:no %s", "QEMU");
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL),
                        "Domain 3:no QEMU");
    assert_string_equal(k.line, "libxl_dm.c:12:libxl__spawn: "
                        "Domain 3:no QEMU");
    xtl_log(ctx->logger, XTL_ERROR, ENOENT, "xc", "cannot open a.c: it");
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL),
                        "Domain 3:no QEMU; "
                        "cannot open a.c: it: No such file or directory");

    assert_ok(xlx__ctx_libxl(ctx, &libxl));
    memset(long_line, 'x', sizeof(long_line));
    long_line[sizeof(long_line) - 1] = '\0';
    xtl_log(ctx->logger, XTL_ERROR, -1, "libxl", "%s", long_line);
    xtl_log(ctx->logger, XTL_ERROR, -1, "libxl", "%s", long_line);
    xtl_log(ctx->logger, XTL_ERROR, -1, "libxl", "the end");
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL) +
                        strlen(long_line), "; the end");

    assert_ok(xlx__ctx_libxl(ctx, &libxl));
    assert_string_equal(xlx__ctx_libxl_said(ctx, ERROR_FAIL), "ERROR_FAIL");
    xlx_ctx_free(ctx);
}

static void calls(void **state)
{
    struct keeper k = { .vtable = { keep, NULL, count_destroy } };
    xlx_ctx *ctx = NULL;

    (void)state;
    assert_ok(xlx_ctx_alloc(&ctx, NULL, &k.vtable));
    xlx__error(ERROR_FAIL, "old");
    xlx__call_enter(ctx, "xlx_test");
    assert_string_equal(xlx_error_get(), "");
    assert_int_equal(xlx__call_leave(ctx, "xlx_test", 0), 0);
    assert_string_equal(xlx_error_get(), "");
    assert_non_null(strstr(k.line, "xlx_test"));

    assert_int_equal(xlx__call_leave(ctx, "xlx_test", ERROR_NI), ERROR_NI);
    assert_string_equal(xlx_error_get(), "xlx_test: failed (ERROR_NI)");
    assert_non_null(strstr(k.line, "ERROR_NI"));
    xlx__error(ERROR_FAIL, "the reason");
    xlx__call_leave(ctx, "xlx_test", ERROR_FAIL);
    assert_string_equal(xlx_error_get(), "the reason");
    xlx__error_clear();
    xlx__call_leave(ctx, "xlx_test", -12345);
    assert_string_equal(xlx_error_get(), "xlx_test: failed (error -12345)");
    xlx_ctx_free(ctx);
}

static void no_xen(void **state)
{
    xlx_ctx *ctx = NULL;
    libxl_ctx *libxl = NULL;
    int i;

    (void)state;
    if (!access("/proc/xen", F_OK) || !access("/dev/xen", F_OK))
        skip();
    assert_ok(xlx_ctx_alloc(&ctx, NULL, NULL));
    for (i = 0; i < 2; i++) {
        assert_int_not_equal(xlx__ctx_libxl(ctx, &libxl), 0);
        /* libxl's reason follows. */
        assert_ptr_equal(strstr(xlx_error_get(), "no Xen on this host: "),
                         xlx_error_get());
        assert_null(strstr(xlx_error_get(), "ERROR_"));
        assert_null(libxl);
    }
    xlx_ctx_free(ctx);
}

static void make_dir(void **state)
{
    char *top = unit_dir(), *deep = xlx__printf("%s/a/b/c", top);
    struct stat st;
    mode_t mask = umask(0);

    (void)state;
    assert_ok(xlx__make_directory(deep));
    assert_ok(xlx__make_directory(deep));
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    umask(mask);
    assert_int_equal(rmdir(deep), 0);
    fclose(fopen(deep, "w"));
    assert_fails(xlx__make_directory(deep), ERROR_FAIL, deep);
    unit_dir_remove(top);
    free(deep);
}

static void version(void **state)
{
    (void)state;
    assert_string_equal(xlx_version(), PACKAGE_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(dirs, clean_env),
        cmocka_unit_test_setup(callers_logger, clean_env),
        cmocka_unit_test_setup(silent_unless_asked, clean_env),
        cmocka_unit_test_setup(libxl_said, clean_env),
        cmocka_unit_test_setup(calls, clean_env),
        cmocka_unit_test_setup(no_xen, clean_env),
        cmocka_unit_test(make_dir),
        cmocka_unit_test(version),
    };

    return cmocka_run_group_tests_name("ctx", tests, NULL, NULL);
}
