/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lack of memory: each piece of work is done with its first allocation
 * failing, then its second, and so on until it succeeds.  Every time the
 * answer is ERROR_NOMEM with a message, and nothing leaks (the sanitizer and
 * valgrind look).
 */
#include "core/lock.h"
#include "core/store.h"
#include "snapshot/snapshot.h"
#include "starve.h"
#include "unit.h"

static char *dir;
static xlx_ctx *ctx;
static libxl_uuid uuid;

/* Returns how many allocations the work needed. */
static int starve(int (*work)(void))
{
    int n, rc;

    for (n = 0; n < 10000; n++) {
        xlx__error_clear();
        starve_left = n;
        rc = work();
        if (starve_left >= 0) {                        /* none had to fail */
            starve_left = -1;
            assert_ok(rc);
            return n;
        }
        /* A document that could not be made smaller is as good. */
        if (rc)
            assert_fails(rc, ERROR_NOMEM, "out of memory");
    }
    fail();
    return 0;
}

static int work_ctx(void)
{
    xlx_ctx *mine = NULL;
    int rc;

    rc = xlx_ctx_alloc(&mine, NULL, NULL);
    if (!rc)
        xlx_ctx_free(mine);
    return rc;
}

static int work_write(void)
{
    struct xlx__json_out *o = xlx__json_out_new(true);
    char *text;
    int i, rc;

    xlx__json_out_array(o);
    for (i = 0; i < 200; i++)
        xlx__json_out_string(o, "some \"text\" that takes room");
    xlx__json_out_end(o);
    rc = xlx__json_out_finish(o, &text, NULL);
    if (!rc)
        free(text);
    return rc;
}

/* Long enough for the block and yajl's buffer to grow; with an object so
 * large that its keys are sorted on the heap. */
static int work_parse(void)
{
    static char text[20000];
    const struct xlx__json_limits limits = { sizeof(text), 8 };
    struct xlx__json_doc *doc;
    size_t at = 0;
    int i, rc;

    at += sprintf(text + at, "{\"text\":\"\\n%05000d\"", 0);
    for (i = 0; i < 300; i++)
        at += sprintf(text + at, ",\"key%d\":[%d]", i, i);
    at += sprintf(text + at, "}");
    rc = xlx__json_parse("T", text, at, &limits, &doc);
    if (!rc)
        xlx__json_free(doc);
    return rc;
}

static int work_store(void)
{
    static const char text[] = "{\"version\": 1}";
    struct xlx__json_doc *doc;
    libxl_uuid *uuids;
    int num, rc;

    rc = xlx__store_write(ctx, &uuid, "a.json", text, strlen(text));
    if (rc) return rc;
    rc = xlx__store_read(ctx, &uuid, "a.json", 1, &doc);
    if (rc) return rc;
    xlx__json_free(doc);
    rc = xlx__store_guests(ctx, &uuids, &num);
    if (rc) return rc;
    free(uuids);
    rc = xlx__store_adopt(ctx, &uuid, &uuid);
    if (rc != ERROR_INVAL)                      /* onto itself */
        return rc;
    return xlx__store_remove(ctx, &uuid, "a.json");
}

static int work_lock(void)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char path[4096];
    int rc;

    rc = xlx__lock_guest(ctx, &uuid, &lock);
    xlx__unlock(&lock);
    if (rc) return rc;
    rc = xlx__lock_host(ctx, "test", &lock);
    xlx__unlock(&lock);
    if (rc) return rc;
    snprintf(path, sizeof(path), "%s/lock", dir);
    rc = xlx__lock_file(path, 0, &lock);
    xlx__unlock(&lock);
    return rc;
}

/* ---- records ----------------------------------------------------------- */

static const char *kept;            /* what the record must be, or become */

static char *read_file(const char *name)
{
    char *path = xlx__printf("%s/" LIBXL_UUID_FMT "/%s", ctx->state_dir,
                             LIBXL_UUID_BYTES(uuid), name);
    char *text = NULL;
    size_t len = 0;
    FILE *f = fopen(path, "r");

    free(path);
    if (!f)
        return NULL;
    if (getdelim(&text, &len, '\0', f) < 0)
        text = NULL;
    fclose(f);
    return text;
}

static xlx_snapshots record;
static xlx_guest guest;

static int work_record(void)
{
    return xlx__snapshot_record_write(ctx, &guest, &record);
}

static int work_journal(void)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_journal_save(ctx, &guest, &journal);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

/* However it fails, the file is the old one or the new one: to be short of
 * memory is not to have nothing to keep. */
static void starve_record(int (*work)(void), const char *name)
{
    char *text;
    int n, rc, had_to;

    for (n = 0; n < 10000; n++) {
        xlx__error_clear();
        starve_left = n;
        rc = work();
        had_to = starve_left < 0;
        starve_left = -1;
        text = read_file(name);
        assert_non_null(text);
        assert_non_null(strstr(text, kept));
        free(text);
        if (!had_to) {
            assert_ok(rc);
            return;
        }
    }
    fail();
}

static void recorded(void **state)
{
    char name[] = "guest", one[] = "one", *text;
    xlx_snapshot *s;

    (void)state;
    xlx_guest_init(&guest);
    guest.name = name;
    guest.uuid = uuid;
    xlx_snapshots_init(&record);
    s = xlx__snapshots_snapshots_append(&record);
    assert_non_null(s);
    assert_ok(xlx__set_string(&s->name, one));
    assert_ok(work_record());
    assert_ok(work_journal());
    kept = "\"one\"";
    starve_record(work_record, "snapshots.json");
    kept = "\"operation\"";
    starve_record(work_journal, "snapshot-journal.json");

    xlx_snapshots_dispose(&record);
    xlx_snapshots_init(&record);                /* now there are none */
    assert_ok(work_record());
    text = read_file("snapshots.json");
    assert_null(text);
    assert_ok(xlx__snapshot_journal_remove(ctx, &guest));
}

/* The number of places at which an allocation failed; a build that inlines has
 * fewer, and one that found hardly any would have tested nothing. */
static void context(void **state)
{
    (void)state;
    assert_in_range(starve(work_ctx), 3, 20);
}

static void json_written(void **state)
{
    (void)state;
    assert_in_range(starve(work_write), 3, 50);
}

static void json_parsed(void **state)
{
    (void)state;
    assert_in_range(starve(work_parse), 5, 50);
}

static void stored(void **state)
{
    (void)state;
    assert_in_range(starve(work_store), 5, 100);
}

static void locked(void **state)
{
    (void)state;
    assert_in_range(starve(work_lock), 3, 20);
}

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    libxl_uuid_generate(&uuid);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context),
        cmocka_unit_test(json_written),
        cmocka_unit_test(json_parsed),
        cmocka_unit_test(stored),
        cmocka_unit_test(locked),
        cmocka_unit_test(recorded),
    };

    return cmocka_run_group_tests_name("no-memory", tests, setup, teardown);
}
