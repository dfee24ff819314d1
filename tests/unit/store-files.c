/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Durable state without accidents: what is written can be read, what is not
 * ours or not right is refused with its path.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "core/store.h"
#include "unit.h"

#define ONE "01234567-89ab-cdef-0123-456789abcdef"
#define TWO "11234567-89ab-cdef-0123-456789abcdef"

static char *dir;
static xlx_ctx *ctx;
static libxl_uuid one, two;

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    libxl_uuid_from_string(&one, ONE);
    libxl_uuid_from_string(&two, TWO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return 0;
}

static int write_text(const libxl_uuid *uuid, const char *file,
                      const char *text)
{
    return xlx__store_write(ctx, uuid, file, text, strlen(text));
}

/* The member "n" of what is kept. */
static int read_n(const libxl_uuid *uuid, const char *file, int64_t *n_r)
{
    struct xlx__json_doc *doc;
    int rc;

    rc = xlx__store_read(ctx, uuid, file, 3, &doc);
    if (rc) return rc;
    rc = xlx__json_member_int64(xlx__json_root(doc), "n", n_r);
    xlx__json_free(doc);
    return rc;
}

/* A path below the state directory, until the next call. */
static const char *below(const char *rest)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", ctx->state_dir, rest);
    return path;
}

static void put_raw(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
}

static void write_read_remove(void **state)
{
    struct stat st;
    int64_t n = 0;

    (void)state;
    assert_fails(read_n(&one, "a.json", &n), ERROR_NOTFOUND, "a.json");
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    assert_ok(write_text(&one, "a.json", "{\"version\": 1, \"n\": 1}\n"));
    assert_ok(read_n(&one, "a.json", &n));
    assert_int_equal(n, 1);
    assert_ok(write_text(&one, "a.json", "{\"version\": 3, \"n\": 2}\n"));
    assert_ok(write_text(&one, "b.json", "{\"version\": 1, \"n\": 3}\n"));
    assert_ok(read_n(&one, "a.json", &n));
    assert_int_equal(n, 2);

    assert_int_equal(stat(below(ONE), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(below(ONE "/a.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    assert_fails(read_n(&one, "a.json", &n), ERROR_NOTFOUND, "a.json");
    assert_ok(read_n(&one, "b.json", &n));
    assert_ok(xlx__store_remove(ctx, &one, "b.json"));
    assert_int_equal(access(below(ONE), F_OK), -1);     /* empty: gone */
}

static void refused(void **state)
{
    static const struct { const char *text, *message; int rc; } cases[] = {
        { "", "a.json:1:1: ", ERROR_INVAL },
        { "{\"version\": 1,\n\"n\": ", "a.json:2:", ERROR_INVAL },
        { "[]", "a.json: must be an object", ERROR_INVAL },
        { "{}", "a.json: \"version\" is missing", ERROR_INVAL },
        { "{\"version\": 0}", "a.json: version: must be 1 or more",
          ERROR_INVAL },
        { "{\"version\": \"1\"}", "a.json: version: must be an integer",
          ERROR_INVAL },
        { "{\"version\": 4}", "a.json: written by a newer libxlx, in version"
          " 4 of the format; this one knows 3", ERROR_VERSION },
        { "{\"version\": 99999999999}", "newer libxlx", ERROR_VERSION },
    };
    int64_t n;
    size_t i;

    (void)state;
    assert_ok(write_text(&one, "a.json", "{\"version\": 1, \"n\": 1}"));
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        put_raw(below(ONE "/a.json"), cases[i].text);
        assert_fails(read_n(&one, "a.json", &n), cases[i].rc,
                     cases[i].message);
        assert_ptr_equal(strstr(xlx_error_get(), dir), xlx_error_get());
    }
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
}

static void not_ours(void **state)
{
    char *link, *target;
    int64_t n;

    (void)state;
    assert_ok(write_text(&one, "a.json", "{\"version\": 1, \"n\": 1}"));
    chmod(below(ONE "/a.json"), 0620);
    assert_fails(read_n(&one, "a.json", &n), ERROR_INVAL, "mode 0620");
    chmod(below(ONE "/a.json"), 0644);
    assert_ok(read_n(&one, "a.json", &n));
    if (!geteuid()) {
        assert_int_equal(chown(below(ONE "/a.json"), 1, 1), 0);
        assert_fails(read_n(&one, "a.json", &n), ERROR_INVAL, "owner 1");
    }
    link = strdup(below(ONE "/link.json"));
    target = strdup(below(ONE "/a.json"));
    assert_int_equal(symlink(target, link), 0);
    assert_int_not_equal(read_n(&one, "link.json", &n), 0);
    unlink(link);
    assert_int_equal(mkfifo(link, 0600), 0);
    assert_fails(read_n(&one, "link.json", &n), ERROR_INVAL,
                 "not a plain file");
    unlink(link);
    assert_int_equal(truncate(target, (16 << 20) + 1), 0);
    assert_int_equal(chown(target, geteuid(), -1), 0);
    assert_fails(read_n(&one, "a.json", &n), ERROR_INVAL,
                 "larger than 16 MiB");
    free(link);
    free(target);
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
}

static void too_large(void **state)
{
    size_t size = (16 << 20) + 1;
    char *text = malloc(size);
    int64_t n;

    (void)state;
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "{\"version\":1,\"n\":7}", 19);
    assert_fails(xlx__store_write(ctx, &one, "a.json", text, size),
                 ERROR_INVAL, "larger than 16 MiB");
    assert_int_equal(access(below(ONE), F_OK), -1);
    assert_ok(xlx__store_write(ctx, &one, "a.json", text, size - 1));
    assert_ok(read_n(&one, "a.json", &n));
    assert_int_equal(n, 7);
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    free(text);
}

static void guests(void **state)
{
    libxl_uuid *uuids = NULL;
    int num = -1;

    (void)state;
    assert_ok(xlx__store_guests(ctx, &uuids, &num));
    assert_int_equal(num, 0);
    free(uuids);

    assert_ok(write_text(&two, "a.json", "{}"));
    assert_ok(write_text(&one, "a.json", "{}"));
    /* Not guests: other names, a UUID in capitals, nothing but the rest of a
     * killed write, a file. */
    mkdir(below("lost+found"), 0700);
    mkdir(below("A1234567-89AB-CDEF-0123-456789ABCDEF"), 0700);
    put_raw(below("A1234567-89AB-CDEF-0123-456789ABCDEF/a.json"), "{}");
    mkdir(below("21234567-89ab-cdef-0123-456789abcdef"), 0700);
    put_raw(below("21234567-89ab-cdef-0123-456789abcdef/.a.json.new"), "{");
    put_raw(below("31234567-89ab-cdef-0123-456789abcdef"), "{}");
    put_raw(below("41234567-89ab-cdef-0123-456789abcdef0"), "{}");
    assert_ok(xlx__store_guests(ctx, &uuids, &num));
    assert_int_equal(num, 2);
    assert_int_equal(libxl_uuid_compare(&uuids[0], &one), 0);
    assert_int_equal(libxl_uuid_compare(&uuids[1], &two), 0);
    free(uuids);
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    assert_ok(xlx__store_remove(ctx, &two, "a.json"));
}

static void adopt(void **state)
{
    int64_t n;

    (void)state;
    assert_fails(xlx__store_adopt(ctx, &one, &two), ERROR_NOTFOUND, ONE);
    assert_ok(write_text(&one, "a.json", "{\"version\": 1, \"n\": 1}"));
    assert_ok(write_text(&one, "b.json", "{\"version\": 1, \"n\": 2}"));
    assert_ok(write_text(&two, "a.json", "{\"version\": 1, \"n\": 3}"));
    assert_fails(xlx__store_adopt(ctx, &one, &two), ERROR_INVAL,
                 TWO ": that guest has records already");
    assert_ok(xlx__store_remove(ctx, &two, "a.json"));
    /* The leftover of a killed write is not a record. */
    mkdir(below(TWO), 0700);
    put_raw(below(TWO "/.a.json.new"), "{");
    assert_ok(xlx__store_adopt(ctx, &one, &two));
    assert_int_equal(access(below(ONE), F_OK), -1);
    assert_ok(read_n(&two, "a.json", &n));
    assert_int_equal(n, 1);
    assert_ok(read_n(&two, "b.json", &n));
    assert_int_equal(n, 2);
    assert_ok(xlx__store_remove(ctx, &two, "a.json"));
    assert_ok(xlx__store_remove(ctx, &two, "b.json"));
}

static void sync_of_others(void **state)
{
    (void)state;
    assert_ok(xlx__store_sync(dir));
    assert_fails(xlx__store_sync(below("none")), ERROR_NOTFOUND, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_read_remove),
        cmocka_unit_test(refused),
        cmocka_unit_test(not_ours),
        cmocka_unit_test(too_large),
        cmocka_unit_test(guests),
        cmocka_unit_test(adopt),
        cmocka_unit_test(sync_of_others),
    };

    return cmocka_run_group_tests_name("store-files", tests, setup, teardown);
}
