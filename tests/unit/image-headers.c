/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of qcow2 files that are read directly: well-formed headers, and
 * such as somebody made to be read wrong.
 */
#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "unit.h"

#include "disk/image.h"

static char *dir, *path;

/* Big-endian numbers at an offset of the file under test */
static void put(long offset, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "r+");

    assert_non_null(f);
    assert_int_equal(fseek(f, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void put16(long offset, uint16_t v)
{
    v = htobe16(v);
    put(offset, &v, sizeof(v));
}

static void put32(long offset, uint32_t v)
{
    v = htobe32(v);
    put(offset, &v, sizeof(v));
}

static void put64(long offset, uint64_t v)
{
    v = htobe64(v);
    put(offset, &v, sizeof(v));
}

/* Offsets are those of the format's specification. */
enum {
    BACKING_OFFSET = 8, BACKING_SIZE = 16, L1_SIZE = 36, L1_OFFSET = 40,
    NUM_TAGS = 60, TAGS_OFFSET = 64, TAGS = 4096,
};

static int header(void **state)
{
    FILE *f = fopen(path, "w");
    (void)state;

    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(truncate(path, 65536), 0);
    put32(0, 0x514649fb);
    put32(4, 3);
    put32(L1_SIZE, 8);
    put64(L1_OFFSET, 8192);
    return 0;
}

static long put_tag_id(long offset, const char *id, const char *name,
                       uint32_t extra)
{
    size_t len = strlen(name);

    put16(offset + 12, 1);              /* length of the id */
    put16(offset + 14, (uint16_t)len);
    put32(offset + 16, 1000);           /* seconds */
    put32(offset + 36, extra);
    put(offset + 40 + extra, id, 1);
    put(offset + 40 + extra + 1, name, len);
    return (long)((size_t)offset + 40 + extra + 1 + len + 7) / 8 * 8;
}

static long put_tag(long offset, const char *name, uint32_t extra)
{
    return put_tag_id(offset, "1", name, extra);
}

static void backing_is(const char *wanted)
{
    char *backing = NULL;

    assert_ok(xlx__image_backing(path, &backing));
    if (wanted)
        assert_string_equal(backing, wanted);
    else
        assert_null(backing);
    free(backing);
}

static void backing_names(void **state)
{
    char *beside = xlx__printf("%s/base", dir);
    (void)state;

    backing_is(NULL);
    put(512, "/a/b", 4);
    put64(BACKING_OFFSET, 512);
    put32(BACKING_SIZE, 4);
    backing_is("/a/b");
    put(512, "base", 4);
    backing_is(beside);
    put32(BACKING_SIZE, 0);
    backing_is(NULL);
    free(beside);
}

static void put_backing(const char *name)
{
    put(512, name, strlen(name));
    put64(BACKING_OFFSET, 512);
    put32(BACKING_SIZE, (uint32_t)strlen(name));
}

/* Names that QEMU takes for files of this host */
static void backing_spellings(void **state)
{
    static const char *const spellings[] = {
        "/a/b", "file:/a/b", "host_device:/a/b",
        ("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\","
         "\"filename\":\"/a/b\"}}"),
        "json:{\"file.filename\": \"/a/b\"}",
        "json:{\"driver\":\"file\",\"filename\":\"/a/b\"}",
        "json:{\"file\":{\"filename\":\"/a/b\"}}",
    };
    char *colon = xlx__printf("%s/./a:b", dir);
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(spellings); i++) {
        put_backing(spellings[i]);
        backing_is("/a/b");
    }
    put_backing("./a:b");
    backing_is(colon);
    free(colon);
}

static void backing_refused(void **state)
{
    static const struct { const char *name, *why; } names[] = {
        { "nbd://host/disk", "not a file of this host" },
        { "a:b", "not a file of this host" },
        { "fat:/etc", "not a file of this host" },
        { "file:base", "relative to the directory" },
        { "json:{\"file\":{\"filename\":\"base\"}}", "relative to" },
        { "json:", "cannot be read" },
        { "json:[]", "more than the name" },
        { "json:{\"file\":5}", "more than the name" },
        { "json:{\"driver\":\"nbd\",\"filename\":\"/a/b\"}",
          "more than the name" },
        { "json:{\"driver\":\"raw\",\"offset\":512,"
          "\"file\":{\"filename\":\"/a/b\"}}", "more than the name" },
        { "json:{\"file\":{\"driver\":\"nbd\",\"filename\":\"/a/b\"}}",
          "more than the name" },
        { "json:{\"file\":{\"driver\":\"qcow2\",\"file\":"
          "{\"filename\":\"/a/b\"}}}", "more than the name" },
    };
    char *backing = NULL;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(names); i++) {
        put_backing(names[i].name);
        assert_fails(xlx__image_backing(path, &backing), ERROR_INVAL,
                     names[i].why);
        assert_null(backing);
    }
}

static void backing_formats(void **state)
{
    char *below, *format;
    (void)state;

    put_backing("/a/b");
    assert_ok(xlx__image_below(path, "qcow2", &below, &format));
    assert_string_equal(below, "/a/b");
    assert_null(format);
    free(below);
    put32(100, 104);                    /* size of the header */
    put32(104, 0x6803f857);             /* another extension, 9 bytes */
    put32(108, 9);
    put32(104 + 24, 0xe2792aca);
    put32(104 + 28, 3);
    put(104 + 32, "raw", 3);
    assert_ok(xlx__image_below(path, "qcow2", &below, &format));
    assert_string_equal(below, "/a/b");
    assert_string_equal(format, "raw");
    free(below);
    free(format);
    /* a guest that writes such a header into its raw disk names nothing */
    assert_ok(xlx__image_below(path, "raw", &below, &format));
    assert_null(below);
    assert_null(format);
}

/* To open some files does something: they are not opened. */
static void no_files(void **state)
{
    char *fifo = xlx__printf("%s/fifo", dir), *backing = NULL;
    bool yes;
    (void)state;

    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_fails(xlx__image_backing(fifo, &backing), ERROR_INVAL,
                 "not a file and not a block device");
    assert_fails(xlx__image_in_use(fifo, &yes, NULL), ERROR_INVAL,
                 "not a file and not a block device");
    assert_fails(xlx__image_backing("/dev/null", &backing), ERROR_INVAL,
                 "not a file and not a block device");
    unlink(fifo);
    free(fifo);
}

static void sizes_and_features(void **state)
{
    struct xlx__image_features features;
    uint64_t size = 0;
    (void)state;

    put64(24, 12345 * 512);
    assert_ok(xlx__image_size(NULL, path, "qcow2", &size));
    assert_int_equal(size, 12345 * 512);
    assert_ok(xlx__image_size(NULL, path, "raw", &size));
    assert_int_equal(size, 65536);
    assert_ok(xlx__image_features(path, "qcow2", &features));
    assert_false(features.data_file || features.encrypted);
    put64(72, 4);                       /* incompatible feature: data file */
    put32(32, 2);                       /* LUKS */
    assert_ok(xlx__image_features(path, "raw", &features));
    assert_false(features.data_file || features.encrypted);
    assert_ok(xlx__image_features(path, "qcow2", &features));
    assert_true(features.data_file && features.encrypted);
    put32(4, 2);                        /* version 2 has no features */
    assert_ok(xlx__image_features(path, "qcow2", &features));
    assert_false(features.data_file);
    put32(0, 0);
    assert_fails(xlx__image_features(path, "qcow2", &features), ERROR_INVAL,
                 "not a qcow2 image");
}

static void hostile_backing(void **state)
{
    const uint32_t sizes[] = { 1024, 65536, 0x7fffffff, 0xffffffff };
    const uint64_t offsets[] = { 65536, 65535, INT64_MAX, UINT64_MAX };
    char *backing = NULL;
    size_t i;
    (void)state;

    put64(BACKING_OFFSET, 512);
    for (i = 0; i < XLX__ARRAY_SIZE(sizes); i++) {
        put32(BACKING_SIZE, sizes[i]);
        assert_fails(xlx__image_backing(path, &backing), ERROR_INVAL,
                     "backing file cannot be read");
    }
    put32(BACKING_SIZE, 16);
    for (i = 0; i < XLX__ARRAY_SIZE(offsets); i++) {
        put64(BACKING_OFFSET, offsets[i]);
        assert_fails(xlx__image_backing(path, &backing), ERROR_INVAL,
                     "backing file cannot be read");
    }
    assert_null(backing);
}

static void no_qcow2(void **state)
{
    char *backing = NULL;
    bool data;
    int i;
    (void)state;

    put32(4, 4);                        /* a version to come */
    backing_is(NULL);
    assert_fails(xlx__image_has_data(path, &data), ERROR_INVAL,
                 "not a qcow2 image");
    put32(4, 3);
    put32(0, 0x514649fa);
    backing_is(NULL);
    for (i = 0; i < 72; i += 8) {
        header(NULL);
        assert_int_equal(truncate(path, i), 0);
        backing_is(NULL);
    }
    unlink(path);
    assert_fails(xlx__image_backing(path, &backing), ERROR_NOTFOUND,
                 "No such file");
}

static void data(void **state)
{
    bool yes = true;
    (void)state;

    assert_ok(xlx__image_has_data(path, &yes));
    assert_false(yes);
    put64(8192 + 7 * 8, (1ull << 63) | 16384);
    assert_ok(xlx__image_has_data(path, &yes));
    assert_true(yes);
}

static void hostile_tables(void **state)
{
    bool yes = false;
    (void)state;

    put32(L1_SIZE, 0xffffffff);
    assert_fails(xlx__image_has_data(path, &yes), ERROR_INVAL, "too large");
    put32(L1_SIZE, 65536);
    assert_fails(xlx__image_has_data(path, &yes), ERROR_INVAL,
                 "cannot be read");
    put32(L1_SIZE, 8);
    put64(L1_OFFSET, UINT64_MAX);
    assert_fails(xlx__image_has_data(path, &yes), ERROR_INVAL,
                 "cannot be read");
    assert_false(yes);
}

static void tags(void **state)
{
    struct xlx__image_tag *list;
    long next;
    bool found;
    int num;
    (void)state;

    put32(NUM_TAGS, 3);
    put64(TAGS_OFFSET, TAGS);
    next = put_tag(TAGS, "first", 0);
    next = put_tag_id(next, "2", "", 16);
    put_tag_id(next, "3", "third one", 1024);
    assert_ok(xlx__image_tags(path, &list, &num));
    assert_int_equal(num, 3);
    assert_string_equal(list[0].name, "first");
    assert_string_equal(list[1].name, "");
    assert_string_equal(list[2].name, "third one");
    assert_int_equal(list[2].time, 1000);
    xlx__image_tags_free(list, num);
    assert_ok(xlx__image_has_tag(path, "third one", &found));
    assert_true(found);
    assert_ok(xlx__image_has_tag(path, "third", &found));
    assert_false(found);
}

static void tag_ids(void **state)
{
    char *id = NULL;
    bool found;
    long next;
    (void)state;

    put32(NUM_TAGS, 4);
    put64(TAGS_OFFSET, TAGS);
    next = put_tag_id(TAGS, "1", "2", 0);
    next = put_tag_id(next, "2", "1", 16);
    next = put_tag_id(next, "3", "twice", 0);
    next = put_tag_id(next, "4", "twice", 0);
    assert_ok(xlx__image_find_tag(path, "2", &id));
    assert_string_equal(id, "1");
    free(id);
    assert_ok(xlx__image_find_tag(path, "3", &id));     /* an id alone */
    assert_null(id);
    assert_fails(xlx__image_find_tag(path, "twice", &id), ERROR_INVAL,
                 "two snapshots named \"twice\" (ids 3 and 4)");
    assert_fails(xlx__image_has_tag(path, "twice", &found), ERROR_INVAL,
                 "two snapshots named");
    put32(NUM_TAGS, 5);
    put_tag_id(next, "1", "same id", 0);
    assert_fails(xlx__image_find_tag(path, "2", &id), ERROR_INVAL,
                 "two snapshots have the id 1");
}

static void hostile_tags(void **state)
{
    struct xlx__image_tag *list;
    int num;
    (void)state;

    put32(NUM_TAGS, 0xffffffff);
    put64(TAGS_OFFSET, TAGS);
    assert_fails(xlx__image_tags(path, &list, &num), ERROR_INVAL, "too many");
    put32(NUM_TAGS, 65536);             /* runs out of the file */
    assert_fails(xlx__image_tags(path, &list, &num), ERROR_INVAL,
                 "table of snapshots");
    put32(NUM_TAGS, 1);
    put_tag(TAGS, "x", 0);
    put32(TAGS + 36, 1025);             /* extra data */
    assert_fails(xlx__image_tags(path, &list, &num), ERROR_INVAL,
                 "table of snapshots");
    put32(TAGS + 36, 0);
    put16(TAGS + 14, 65535);            /* name beyond the end */
    assert_fails(xlx__image_tags(path, &list, &num), ERROR_INVAL,
                 "table of snapshots");
    put64(TAGS_OFFSET, UINT64_MAX - 7);
    assert_fails(xlx__image_tags(path, &list, &num), ERROR_INVAL,
                 "table of snapshots");
    assert_null(list);
    assert_int_equal(num, 0);
}

/* As QEMU locks what it has open */
static void locks(void **state)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1,
    };
    bool yes = true, writes = true;
    int fd;
    (void)state;

    assert_ok(xlx__image_in_use(path, &yes, &writes));
    assert_false(yes || writes);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_ok(xlx__image_in_use(path, &yes, &writes));
    assert_true(yes && !writes);        /* others are not to write */
    lock.l_start = 101;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_ok(xlx__image_in_use(path, &yes, &writes));
    assert_true(yes && writes);
    close(fd);
    assert_ok(xlx__image_in_use(path, &yes, &writes));
    assert_false(yes || writes);
}

static void sameness(void **state)
{
    char *other = xlx__printf("%s/other", dir);
    (void)state;

    assert_int_equal(symlink(path, other), 0);
    assert_true(xlx__image_same(path, other));
    unlink(other);
    assert_false(xlx__image_same(path, other));
    assert_false(xlx__image_same(path, NULL));
    assert_false(xlx__image_same(NULL, NULL));
    free(other);
}

int main(void)
{
    const struct CMUnitTest image_headers[] = {
        cmocka_unit_test_setup(backing_names, header),
        cmocka_unit_test_setup(backing_spellings, header),
        cmocka_unit_test_setup(backing_refused, header),
        cmocka_unit_test_setup(backing_formats, header),
        cmocka_unit_test_setup(no_files, header),
        cmocka_unit_test_setup(sizes_and_features, header),
        cmocka_unit_test_setup(hostile_backing, header),
        cmocka_unit_test_setup(no_qcow2, header),
        cmocka_unit_test_setup(data, header),
        cmocka_unit_test_setup(hostile_tables, header),
        cmocka_unit_test_setup(tags, header),
        cmocka_unit_test_setup(tag_ids, header),
        cmocka_unit_test_setup(hostile_tags, header),
        cmocka_unit_test_setup(locks, header),
        cmocka_unit_test_setup(sameness, header),
    };
    int r;

    dir = unit_dir();
    path = xlx__printf("%s/image", dir);
    r = cmocka_run_group_tests(image_headers, NULL, NULL);
    free(path);
    unit_dir_remove(dir);
    return r;
}
