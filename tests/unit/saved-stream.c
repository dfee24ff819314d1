/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reader of saved guests on files that saved-make.py made from Xen's
 * specifications: whole, cut off and damaged at each byte of what is not
 * data; and the map of pages against a replay page by page.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "saved/saved.h"
#include "unit.h"

static char *bytes;
static size_t size;

/* Makes a file, and has it in memory. */
static void make(const char *kind, const char *options)
{
    char path[] = "/tmp/libxlx-saved-XXXXXX", command[512];
    const char *top = getenv("top_srcdir");
    int fd = mkstemp(path);

    assert_non_null(top);
    assert_true(fd >= 0);
    snprintf(command, sizeof(command), "python3 -B '%s'/tests/unit/"
             "saved-make.py %s %s %s > /dev/null", top, kind, path, options);
    assert_int_equal(system(command), 0);
    size = (size_t)lseek(fd, 0, SEEK_END);
    free(bytes);
    bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    close(fd);
    unlink(path);
}

/* The file that is tried, which begins as what was made. */
static int file = -1;

static void begin(void)
{
    if (file < 0)
        file = memfd_create("saved", MFD_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, bytes, size, 0), size);
}

static void put_byte(size_t at, char byte)
{
    assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
}

/* All of the begin, and a sample of what follows; with SLOW all of that. */
static size_t step(size_t at)
{
    return at < 600 || getenv("SLOW") ? 1 : 17;
}

/* Where the data of pages is: cuts inside it are all alike. */
static bool in_data(const struct xlx__saved_scan *s, size_t at)
{
    size_t i;
    const struct xlx__saved_run *r;

    for (i = 0; i < s->map.num; i++) {
        r = &s->map.runs[i];
        if (r->page != XLX__SAVED_NO_DATA && at > r->offset + 8 &&
            at + 8 < r->offset + r->count * XLX__SAVE_PAGE)
            return true;
    }
    return false;
}

static const struct { const char *kind, *options; } whole[] = {
    { "pvh", "pages=6" }, { "hvm", "pages=6" }, { "pv", "pages=20" },
    { "pv", "pages=20 version=2" }, { "live", "pages=40" },
    { "pvh", "pages=3 version=2" },
};

static void cut_off(void **state)
{
    struct xlx__saved_scan all, s;
    size_t i, len, have, tried = 0;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(whole); i++) {
        make(whole[i].kind, whole[i].options);
        begin();
        assert_ok(xlx__saved_scan(file, NULL, &all));
        assert_int_equal(all.length, size);
        assert_int_equal(ftruncate(file, 0), 0);
        for (len = have = 0; len < size; len += step(len)) {
            if (in_data(&all, len))
                continue;
            assert_int_equal(pwrite(file, bytes + have, len - have,
                                    (off_t)have), len - have);
            have = len;
            assert_fails(xlx__saved_scan(file, NULL, &s), ERROR_INVAL,
                         len ? "cut off here" : "is empty");
            xlx__saved_scan_free(&s);
            tried++;
        }
        xlx__saved_scan_free(&all);
    }
    print_message("%zu cuts\n", tried);
    assert_true(tried > 1000);
}

/* Nothing but a message, or a guest that is another one, may come of it. */
static void damaged(void **state)
{
    static const unsigned char change[] = { 0x01, 0x80, 0xff };
    struct xlx__saved_scan all, s;
    size_t i, at, c, failed = 0;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(whole); i++) {
        make(whole[i].kind, whole[i].options);
        begin();
        assert_ok(xlx__saved_scan(file, NULL, &all));
        for (at = 0; at < size; at += step(at)) {
            if (in_data(&all, at))
                continue;
            for (c = 0; c < sizeof(change); c++) {
                put_byte(at, (char)(bytes[at] ^ change[c]));
                failed += xlx__saved_scan(file, NULL, &s) != 0;
                xlx__saved_scan_free(&s);
                put_byte(at, bytes[at]);
            }
        }
        xlx__saved_scan_free(&all);
    }
    print_message("%zu refused\n", failed);
    assert_true(failed > 1000);
}

/* The end is found also when more follows, and through a pipe. */
static void more_behind(void **state)
{
    struct xlx__saved_scan s;
    int ends[2];

    (void)state;
    make("hvm", "pages=3");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    assert_int_equal(write(ends[1], bytes, size), size);
    assert_int_equal(write(ends[1], "behind", 6), 6);
    close(ends[1]);
    assert_ok(xlx__saved_scan(ends[0], NULL, &s));
    assert_int_equal(s.length, size);
    xlx__saved_scan_free(&s);
    close(ends[0]);
}

/* ---- the map ------------------------------------------------------------ */

#define PFNS 300

struct naive {
    uint64_t page;
    int data_type, type;            /* -1: the guest does not have it */
};

static void replay(struct naive *n, const struct xlx__saved_run *r)
{
    uint64_t i;

    for (i = 0; i < r->count; i++) {
        n[r->pfn + i].type = r->type;
        if (r->page == XLX__SAVED_NO_DATA)
            continue;
        n[r->pfn + i].page = r->page + i;
        n[r->pfn + i].data_type = r->data_type;
    }
}

static void assert_same(const struct xlx__saved_map *m,
                        const struct naive *n)
{
    uint64_t at = 0, i;
    size_t r;

    for (r = 0; r < m->num; r++) {
        for (; at < m->runs[r].pfn; at++)
            assert_int_equal(n[at].type, -1);
        for (i = 0; i < m->runs[r].count; i++, at++) {
            assert_int_equal(n[at].type, m->runs[r].type);
            if (n[at].page == XLX__SAVED_NO_DATA) {
                assert_int_equal(m->runs[r].page, XLX__SAVED_NO_DATA);
                continue;
            }
            assert_int_equal(n[at].page, m->runs[r].page + i);
            assert_int_equal((n[at].page + 1) * XLX__SAVE_PAGE,
                             m->runs[r].offset + i * XLX__SAVE_PAGE);
            assert_int_equal(n[at].data_type, m->runs[r].data_type);
        }
    }
    for (; at < PFNS; at++)
        assert_int_equal(n[at].type, -1);
}

static void random_map(unsigned int seed)
{
    struct xlx__saved_map m = { .runs = NULL };
    struct xlx__saved_run r;
    struct naive n[PFNS];
    uint64_t page = 0;
    int i, steps;

    srandom(seed);
    steps = (int)(random() % 40);
    for (i = 0; i < PFNS; i++)
        n[i] = (struct naive){ XLX__SAVED_NO_DATA, -1, -1 };
    for (i = 0; i < steps; i++) {
        r = (struct xlx__saved_run){
            .pfn = (uint64_t)random() % (PFNS - 30),
            .count = 1 + (uint64_t)random() % 30,
            .data_type = (uint8_t)(random() % 2),
        };
        r.page = random() % 4 ? page : XLX__SAVED_NO_DATA;
        if (r.page == XLX__SAVED_NO_DATA)
            r.data_type = XLX__PAGE_ABSENT;
        else
            page += r.count;
        r.offset = r.page == XLX__SAVED_NO_DATA
                   ? 0 : (page - r.count + 1) * XLX__SAVE_PAGE;
        r.type = r.data_type;
        assert_ok(xlx__saved_map_add(&m, &r));
        replay(n, &r);
    }
    assert_ok(xlx__saved_map_settle(&m));
    assert_same(&m, n);
    xlx__saved_map_free(&m);
}

static void map_is_a_replay(void **state)
{
    unsigned int seed;

    (void)state;
    for (seed = 0; seed < 3000; seed++)
        random_map(seed);
}

static void live(void **state)
{
    struct xlx__saved_scan s;
    uint64_t pages, data;

    (void)state;
    make("live", "pages=40");
    begin();
    assert_ok(xlx__saved_scan(file, NULL, &s));
    assert_int_equal(s.passes, 3);
    assert_int_equal(xlx__saved_map_length(&s.hot), 3);     /* 8, 19, 30 */
    xlx__saved_map_count(&s.map, &pages, &data);
    assert_int_equal(data, 48);
    assert_int_equal(s.num_data, 48 + 8 + 3);
    xlx__saved_scan_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
        cmocka_unit_test(more_behind),
        cmocka_unit_test(map_is_a_replay),
        cmocka_unit_test(live),
    };
    int r = cmocka_run_group_tests_name("saved-stream", tests, NULL, NULL);

    free(bytes);
    return r;
}
